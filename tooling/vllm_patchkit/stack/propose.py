"""A probe for a patch, read off its diff: the touched module imports and has what is new. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from vllm_patchkit.diff.model import FileDiff
from vllm_patchkit.stack.model import Patch, Probe

SUFFIX = ".py"
DEFINED = re.compile(
    rb"(?:(?:async\s+def|def|class)\s+([A-Za-z_]\w*)|([A-Za-z_]\w*)\s*(?::[^=]+)?=)"
)
TELLING = re.compile(r"[\x20-\x7e]{8,}")


def propose_probe(patch: Patch, root: str) -> Probe | None:
    """Return a probe that holds where the patch is in force; None for one that adds no code.

    A name that the patch defines at the top of a module is looked for there; without one, the
    first line that the patch adds is looked for in a module's source.

    :param root: the folder of the wheel that holds the package.
    """
    files = [file for file in patch.files if is_module(file, root)]
    number = f"{patch.number:04}"
    for file in files:
        for name in new_names(file):
            module = module_name(file.path)
            return Probe(patch=number, imports=(module,), expression=f"hasattr({module}, {name!r})")
    for file in files:
        for line in new_lines(file):
            module = module_name(file.path)
            return Probe(
                patch=number,
                imports=("inspect", module),
                expression=f"{line!r} in inspect.getsource({module})",
            )
    return None


def renew_probe(probe: Probe, before: Patch, after: Patch, root: str) -> Probe:
    """Return a patch's probe after the patch has changed: proposed anew, unless it is its author's.

    :param root: as for ``propose_probe``.
    """
    proposed = propose_probe(after, root) if probe == propose_probe(before, root) else None
    return proposed or replace(probe, patch=f"{after.number:04}")


def is_module(file: FileDiff, root: str) -> bool:
    """Return whether the file is, after the patch, a module of the package."""
    path = file.new_path
    parts = [] if path is None else path[: -len(SUFFIX)].split("/")
    return (
        path is not None
        and path.endswith(SUFFIX)
        and path.startswith(f"{root}/")
        and all(part.isidentifier() for part in parts)
    )


def module_name(path: str) -> str:
    """Return the dotted name of the module in a file.

    >>> module_name("vllm/v1/engine/__init__.py")
    'vllm.v1.engine'
    """
    return path[: -len(SUFFIX)].removesuffix("/__init__").replace("/", ".")


def new_names(file: FileDiff) -> Iterator[str]:
    """Yield the names that the diff defines at the top of the module, and did not find there."""
    gone = set(_names(file, " -"))
    yield from (name for name in _names(file, "+") if name not in gone)


def _names(file: FileDiff, ops: str) -> Iterator[str]:
    for hunk in file.hunks:
        for line in hunk.lines:
            match = DEFINED.match(line.content) if line.op in ops else None
            if match is not None:
                yield (match[1] or match[2]).decode("ascii")


def new_lines(file: FileDiff) -> Iterator[str]:
    """Yield the lines that the diff adds and that say something, without their indentation."""
    lines = [line for hunk in file.hunks for line in hunk.lines]
    found = {line.content.strip() for line in lines if line.op != "+"}
    for line in lines:
        text = line.content.strip().decode("utf-8", "replace")
        if line.op == "+" and line.content.strip() not in found and TELLING.fullmatch(text):
            yield text
