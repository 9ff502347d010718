"""Take vLLM out of an environment, in two trees: what upstream shipped, what the stack changed.

    split.py PREFIX OUT

Files that the stack changed, the dist-info and the scripts go below ``OUT/stack``; the other files
of vLLM, and flash-attn if it is there, below ``OUT/base``; each at its full path. What remains in
``PREFIX`` are the requirements. Every file of the stack must have the hash on record.

Runs inside the image's build, so it uses the standard library only.
"""

import hashlib
import json
import os
import sys
from importlib import metadata
from pathlib import Path

PREBUILT = "flash-attn"


def list_files(site_packages: Path, name: str) -> "list[str]":
    """Return the files of a distribution, as its RECORD has them; none if it is not there."""
    for distribution in metadata.distributions(name=name, path=[str(site_packages)]):
        return [str(file) for file in distribution.files or []]
    return []


def read_applied(site_packages: Path, dist_info: str) -> "dict[str, str | None]":
    """Return path -> sha256 (None: deleted) of every file that a stack of the wheel changed."""
    records = sorted((site_packages / dist_info / "vllm_patchkit").glob("*/applied.json"))
    if not records:
        raise SystemExit("error: the wheel holds no stack: build it with `vllm-patchkit wheel`")
    changed = {}
    for record in records:
        for entry in json.loads(record.read_text(encoding="utf-8"))["files"]:
            changed[entry["path"]] = entry["after"]
    return changed


def check_hashes(site_packages: Path, changed: "dict[str, str | None]") -> "list[str]":
    """Return one line for each changed file that is not what the record says."""
    findings = []
    for path, expected in changed.items():
        file = site_packages / path
        found = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None
        if found != expected:
            findings.append(f"{path}: expected {expected or 'no file'}, found {found or 'none'}")
    return findings


def move(site_packages: Path, file: str, out: Path) -> None:
    """Move one file of RECORD below ``out``, to its full path."""
    source = Path(os.path.normpath(site_packages / file))
    place = out / source.relative_to("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    source.rename(place)


def split(prefix: Path, out: Path) -> "dict[str, int]":
    """Move every file of vLLM below ``out`` and return how many went where."""
    site_packages = next((prefix / "lib").glob("python3*/site-packages"))
    files = list_files(site_packages, "vllm")
    if not files:
        raise SystemExit(f"error: no vllm in {site_packages}")
    dist_info = next(file.split("/")[0] for file in files if file.endswith(".dist-info/RECORD"))
    changed = read_applied(site_packages, dist_info)
    findings = check_hashes(site_packages, changed)
    if findings:
        raise SystemExit("error: the wheel is not what it records:\n  " + "\n  ".join(findings))
    ours = [file for file in files if file in changed or file.startswith((dist_info + "/", "../"))]
    others = sorted({*files} - {*ours}) + list_files(site_packages, PREBUILT)
    for part, members in (("base", others), ("stack", ours)):
        (out / part).mkdir(parents=True, exist_ok=True)
        for file in members:
            move(site_packages, file, out / part)
    return {"base": len(others), "stack": len(ours)}


if __name__ == "__main__":
    counts = split(Path(sys.argv[1]), Path(sys.argv[2]))
    print("split: {base} unchanged files, {stack} of the stack".format(**counts))
