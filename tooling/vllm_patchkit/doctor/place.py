"""Rules about where the interpreter stands, and what hides installed modules from it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import PurePosixPath

from vllm_patchkit.doctor.model import Facts, Finding, Severity
from vllm_patchkit.errors import first_few

SHOWN = 5


def check_place(facts: Facts) -> Iterator[Finding]:
    """Yield what is wrong with the environment's folder and with the paths that it is given."""
    yield from _unseen(facts)
    yield from _moved(facts)
    yield from _shadowed(facts)
    yield from _libraries(facts)
    yield from _startup(facts)


def leave(entry: str, winner: str, facts: Facts) -> str:
    """Return how to get rid of what an entry of the module path puts in front.

    :param entry: as sys.path has it; empty for the working directory.
    :param winner: the file that Python would load.
    """
    if entry == "" or PurePosixPath(entry) == PurePosixPath(facts["cwd"]):
        file = PurePosixPath(winner)
        named = file.parent if file.name == "__init__.py" else file
        return f"run from another folder, or rename {named}"
    given = facts["environment"].get("PYTHONPATH", "").split(":")
    if entry in given:
        return f"take {entry} off PYTHONPATH"
    return f"take {entry} out of the .pth file that adds it"


def _shadowed(facts: Facts) -> Iterator[Finding]:
    others = [row for row in facts["shadows"] if row[0] != "vllm"]
    for entry, group in groupby(others, key=lambda row: row[2]):
        rows = list(group)
        names = first_few([row[0] for row in rows], SHOWN)
        folder = entry or facts["cwd"]
        yield Finding(
            code="module-shadowed",
            what=f"`import {rows[0][0]}` loads {rows[0][1]}; {folder} hides {names}",
            why="vLLM and what it needs import these names and get other code",
            remedy=leave(entry, rows[0][1], facts)
            + (" and the others" if rows[1:] and folder == facts["cwd"] else ""),
        )


def _unseen(facts: Facts) -> Iterator[Finding]:
    place, version = facts["place"], facts["python"]["version"]
    if not place["unseen"]:
        return
    if place["marked"]:
        minor = ".".join(version.split(".")[:2])
        yield Finding(
            code="venv-other-python",
            what=f"{place['root']} has {', '.join(place['unseen'])}, and its interpreter is "
            f"Python {minor}",
            why="the Python that it was made with was replaced by another; nothing that is "
            "installed there is seen",
            remedy=f"make the environment anew with the other Python, or for {minor}",
        )
    elif not facts["python"]["prefix"].startswith(place["root"]):
        yield Finding(
            code="venv-unmarked",
            what=f"{place['root']} has packages but no pyvenv.cfg: {place['unseen'][0]}",
            why="its interpreter takes itself for the system's and sees none of them",
            remedy=f"write pyvenv.cfg anew: python3 -m venv --upgrade {place['root']}",
        )


def _moved(facts: Facts) -> Iterator[Finding]:
    script = facts["place"]["script"]
    if script:
        root = facts["place"]["root"]
        yield Finding(
            code="scripts-moved",
            severity=Severity.WARNING,
            what=f"{root}/bin/vllm starts {script}, which is not there",
            why="the environment was moved or copied: `vllm serve` ends with 'bad interpreter' or "
            "'No such file or directory'",
            remedy=f"make the environment in its place, or start it as {root}/bin/python -m "
            "vllm.entrypoints.cli.main serve",
        )


def _libraries(facts: Facts) -> Iterator[Finding]:
    found = facts["foreign_libraries"]
    if found:
        folders = sorted({str(PurePosixPath(path).parent) for path in found})
        yield Finding(
            code="library-path",
            severity=Severity.WARNING,
            what=f"LD_LIBRARY_PATH offers {found[0]}" + (" and more" if found[1:] else ""),
            why="the loader takes it before the libraries that torch brings: undefined symbols, or "
            "another CUDA than torch was built for",
            remedy=f"take {' and '.join(folders)} off LD_LIBRARY_PATH",
        )


def _startup(facts: Facts) -> Iterator[Finding]:
    for line in facts["startup"]:
        yield Finding(
            code="startup-error",
            severity=Severity.WARNING,
            what=f"Python complains when it starts: {line}",
            why="what that file was to do is left out: an editable install is not found, a hook is "
            "not set",
            remedy="install the package that the file belongs to again, or remove the file",
        )
