"""Split an installed patched vLLM in two trees: what upstream shipped, and what the stack changed.

    split.py PREFIX OUT

``PREFIX`` is a virtual environment that holds vLLM and no requirement of it. Files named by the
stack's lock, the dist-info and the scripts go below ``OUT/stack``, all others of the distribution
below ``OUT/base``, each at its full path. Every locked file must have its locked hash.

Runs inside the image's build, so it uses the standard library only.
"""

import hashlib
import json
import os
import sys
from importlib import metadata
from pathlib import Path


def find_distribution(site_packages: Path) -> metadata.Distribution:
    """Return the vLLM distribution of a site-packages folder."""
    for distribution in metadata.distributions(name="vllm", path=[str(site_packages)]):
        return distribution
    raise SystemExit(f"error: no vllm in {site_packages}")


def read_locks(site_packages: Path, dist_info: str) -> "dict[str, str | None]":
    """Return path -> sha256 (None: deleted) of every file that a stack of the wheel touches."""
    locks = sorted((site_packages / dist_info / "vllm_patchkit").glob("*/lock.json"))
    if not locks:
        raise SystemExit("error: no stack's lock in the wheel: build it with `vllm-patchkit wheel`")
    locked = {}
    for lock in locks:
        for entry in json.loads(lock.read_text(encoding="utf-8"))["files"]:
            locked[entry["path"]] = entry["after"]
    return locked


def check_hashes(site_packages: Path, locked: "dict[str, str | None]") -> "list[str]":
    """Return one line for each locked file that is not what the lock says."""
    findings = []
    for path, expected in locked.items():
        file = site_packages / path
        found = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None
        if found != expected:
            findings.append(f"{path}: expected {expected or 'no file'}, found {found or 'none'}")
    return findings


def split(prefix: Path, out: Path) -> "dict[str, int]":
    """Move every file of vLLM below ``out`` and return how many went where."""
    site_packages = next((prefix / "lib").glob("python3*/site-packages"))
    distribution = find_distribution(site_packages)
    files = [str(file) for file in distribution.files or []]
    dist_info = next(file.split("/")[0] for file in files if file.endswith(".dist-info/RECORD"))
    locked = read_locks(site_packages, dist_info)
    findings = check_hashes(site_packages, locked)
    if findings:
        raise SystemExit("error: the wheel is not what its lock says:\n  " + "\n  ".join(findings))
    count = {"base": 0, "stack": 0}
    for file in files:
        source = Path(os.path.normpath(site_packages / file))
        ours = file in locked or file.startswith((dist_info + "/", "../"))
        part = "stack" if ours else "base"
        place = out / part / source.relative_to("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        source.rename(place)
        count[part] += 1
    return count


if __name__ == "__main__":
    counts = split(Path(sys.argv[1]), Path(sys.argv[2]))
    print("split: {base} unchanged files, {stack} of the stack".format(**counts))
