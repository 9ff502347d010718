"""Runs every ``bench_*.py`` beside this file and prints one table; exits 1 if a goal is missed.

    run.py [--stack STACK] [--work FOLDER] [NAME ...]

Each module has ``measure(work, stack) -> Iterator[Row]``. Only ratios are judged: both sides of
each were measured in this run, on this machine.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

SIGNS = {"at_most": "<=", "at_least": ">="}


def main() -> int:
    """Measure, print and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stack", default="emu3_5")
    parser.add_argument("--work", type=Path, default=HERE.parents[1] / "build" / "bench")
    parser.add_argument("names", nargs="*", help="modules to run, such as wheel (default: all)")
    args = parser.parse_args()
    # What is installed has its bytecode, on both sides; a shell that forbids it times the compiler.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    names = args.names or sorted(
        path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py")
    )
    args.work.mkdir(parents=True, exist_ok=True)
    missed = 0
    print(f"{'what':<24} {'ours':>10}  {'ratio':>8}  {'goal':>8}  peer")
    for name in names:
        module = importlib.import_module(f"bench_{name}")
        work = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=args.work))
        try:
            for row in module.measure(work, args.stack):
                goal = f"{SIGNS[row.kind]} {row.goal:g}"
                verdict = "" if row.met else "  MISSED"
                print(
                    f"{row.name:<24} {row.ours:>10}  {row.ratio:>8.2f}  {goal:>8}  "
                    f"{row.peer}{verdict}",
                    flush=True,
                )
                missed += not row.met
        finally:
            shutil.rmtree(work)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
