"""Fetch every wheel of a hash-locked requirements file into a folder, for one Python on Linux.

    fetch-wheels.py --python 3.11 --out FOLDER LOCK

Taken by pip from the registry that it is configured with, and checked against the lock's hashes.
What the folder holds and the lock does not name any more is removed.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(35, 4, -1)]
PLATFORMS += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"]


def download(lock: Path, python: str, out: Path) -> None:
    """Run pip's download for another Python than this one.

    The lock is complete, so no dependency is asked for and no marker evaluated beyond its own.
    """
    options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    options += ["--implementation", "cp", "--python-version", python]
    for abi in (f"cp{python.replace('.', '')}", "abi3", "none"):
        options += ["--abi", abi]
    for platform in PLATFORMS:
        options += ["--platform", platform]
    options += ["--dest", str(out), "--requirement", str(lock)]
    print(f"fetching every file of {lock} into {out}: gigabytes, in silence", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "pip", "download", *options], check=True)


def remove_others(lock: Path, out: Path) -> None:
    """Remove wheels of a distribution and version that the lock does not name."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock.read_text(encoding="utf-8"), re.M)
    wanted = {(re.sub(r"[-_.]+", "_", name).lower(), version) for name, version in pins}
    for wheel in out.glob("*.whl"):
        name, version = wheel.name.split("-")[:2]
        if (re.sub(r"[-_.]+", "_", name).lower(), version) not in wanted:
            wheel.unlink()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("lock", type=Path)
    args = parser.parse_args()
    download(args.lock, args.python, args.out)
    remove_others(args.lock, args.out)
