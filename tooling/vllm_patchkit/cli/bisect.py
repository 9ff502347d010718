"""Find the patch that breaks a command, by git bisect over the series.

The command runs in a tree of the release with the first N patches applied, first on PYTHONPATH.
Status 0 is good, 125 cannot tell, any other up to 127 is bad. --libraries lays links to the
compiled files of an installed package into the tree, for commands that import it.

example:
  vllm-patchkit bisect --libraries .venv/lib/python3.12/site-packages emu3_5 -- \\
      python -m pytest -x tests/test_guidance.py
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from vllm_patchkit.errors import ExitCode, UsageError
from vllm_patchkit.host.terminal import Console


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bisect``."""
    parser.add_argument("stack", help="name or folder of the stack")
    parser.add_argument(
        "--libraries", type=Path, metavar="DIR", help="site-packages to take compiled files from"
    )
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Run the bisect and name the patch."""
    from vllm_patchkit.fork.bisect import bisect_stack
    from vllm_patchkit.stack.read import find_stack

    # argparse keeps the -- or takes it away, depending on what stands before it.
    words = args.words[1:] if args.words[:1] == ["--"] else args.words
    if args.words and args.words[0] != "--" and args.words[0].startswith("-"):
        raise UsageError(
            f"{args.words[0]!r} stands between the stack and --",
            hint="options go before the stack: bisect [OPTIONS] STACK -- COMMAND",
        )
    if not words:
        raise UsageError("which command?", hint="write it after --: bisect emu3_5 -- pytest -x")
    found = bisect_stack(find_stack(args.stack), words, console, libraries=args.libraries)
    if args.json:
        console.result(json.dumps({"format": 1, **dataclasses.asdict(found)}, indent=2))
        return ExitCode.OK if found.culprit is not None else ExitCode.FAILED
    console.note(f"the command ran {found.runs} times")
    if found.culprit is not None:
        console.result(found.culprit)
        return ExitCode.OK
    if found.suspects:
        console.result("\n".join(found.suspects))
        console.note("skipped trees hide which of these it is")
    else:
        console.note("the command fails on the bare release already: no patch is to blame")
    return ExitCode.FAILED
