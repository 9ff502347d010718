"""The proofs that the artifact's stacks bring along: found, checked, and made importable.

A stack's package comes from the artifact's dist-info. One that the host sent is taken where the
artifact has none, and for a stack that was named to the host.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import re
import shutil
from importlib import import_module
from pathlib import Path

from . import events
from .contract import VERSION, Proof
from .identity import RECORDS, Installed, Record
from .job import Job

STAGE = "artifact"
CODE = Path(__file__).resolve().parents[1]
SENT = CODE / "patchkit_sent"
MODULE = "proof"


def load_proofs(installed: Installed, job: Job) -> dict[str, Proof]:
    """Return stack -> its proof, of every stack that has one; report what was found.

    :raises events.WrongArtifact: the artifact's package is not the one that RECORD lists.
    :raises events.EnvironmentProblem: it needs a newer worker.
    """
    if not job.own:
        return {}
    found = {}
    for record in installed.records:
        source = find_package(installed, record, preferred=record.name in job.preferred)
        if source is None:
            continue
        if not (source / f"{MODULE}.py").is_file():
            detail = f"{source.name} has no {MODULE}.py"
            events.check(STAGE, f"{record.name}: own scenarios", False, detail)
            continue
        require_contract(source, record.name)
        place_package(source, record.name)
        found[record.name] = load_proof(record.name)
        count = len(found[record.name].scenarios)
        whose = "the host's" if source.is_relative_to(SENT) else "the artifact's"
        events.check(STAGE, f"{record.name}: own scenarios", True, f"{count}, {whose}")
    return found


def find_package(installed: Installed, record: Record, *, preferred: bool) -> Path | None:
    """Return the folder of the stack's package, or None where there is none."""
    sent = SENT / record.name
    inside = record.metadata.get("smoke", {}).get("package")
    folder = record.folder / str(inside) if inside else None
    if folder is None or not folder.is_dir() or (preferred and sent.is_dir()):
        return sent if sent.is_dir() else None
    if not folder.resolve().is_relative_to(record.folder.resolve()):
        raise events.WrongArtifact
    wrong = find_unrecorded(installed, folder)
    if not events.check(
        STAGE, f"{record.name}: own scenarios match RECORD", not wrong, ", ".join(wrong)
    ):
        raise events.WrongArtifact
    return folder


def find_unrecorded(installed: Installed, folder: Path) -> list[str]:
    """Return the files of ``folder`` that RECORD does not list with their hash."""
    with (installed.dist_info / "RECORD").open(encoding="utf-8", newline="") as stream:
        listed = {row[0]: row[1] for row in csv.reader(stream) if len(row) > 1}
    wrong = []
    for path in package_files(folder):
        digest = hashlib.sha256(path.read_bytes()).digest()
        text = base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
        name = path.relative_to(installed.dist_info.parent).as_posix()
        if listed.get(name) != f"sha256={text}":
            wrong.append(name.partition(f"/{RECORDS}/")[2])
    return wrong


def package_files(folder: Path) -> list[Path]:
    """Return the files of a package; bytecode is none, nor is what Python renames to it."""
    found = (path for path in folder.rglob("*") if ".pyc" not in path.suffixes)
    return sorted(path for path in found if path.is_file())


def require_contract(package: Path, stack: str) -> None:
    """Refuse a package that may call what this worker does not have, before it is imported.

    :raises events.EnvironmentProblem: its ``CONTRACT``, 1 if it says none, is a later one.
    """
    text = (package / f"{MODULE}.py").read_text(encoding="utf-8")
    found = re.search(r"(?m)^CONTRACT\s*=\s*(\d+)", text)
    number = int(found[1]) if found else 1
    if number > VERSION:
        raise events.EnvironmentProblem(
            f"{stack}: its own scenarios are written for contract {number}, "
            f"this vllm-patchkit has {VERSION}",
            hint="update vllm-patchkit, or leave them out with --no-own-scenarios",
        )


def module_name(stack: str) -> str:
    """Return the name under which a stack's package is imported."""
    return f"patchkit_own_{re.sub(r'[^0-9a-z]', '_', stack)}"


def place_package(source: Path, stack: str) -> None:
    """Copy a package beside the worker, where every process of the run can import it."""
    target = CODE / module_name(stack)
    shutil.rmtree(target, ignore_errors=True)
    for path in package_files(source):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    (target / "__init__.py").touch()


def load_proof(stack: str) -> Proof:
    """Return what the stack's package declares.

    :raises RuntimeError: it declares something else than a ``Proof``.
    """
    proof = import_module(f"{module_name(stack)}.{MODULE}").PROOF
    if not isinstance(proof, Proof):
        raise RuntimeError(f"{stack}: {MODULE}.py: PROOF is {type(proof).__name__}, no Proof")
    return proof
