"""What a target keeps of the stack that was applied to it.

A patched wheel and an environment patched in place hold the same files, in
``<dist-info>/vllm_patchkit/<stack>/``: the stack itself, so that ``revert``, ``status`` and
``wheel --check`` need no checkout, and ``applied.json``, which says how much of it is in force.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vllm_patchkit.digest import sha256_hex
from vllm_patchkit.errors import StackError
from vllm_patchkit.stack.folder import LOCK, METADATA, SERIES
from vllm_patchkit.stack.lock import format_lock, parse_files
from vllm_patchkit.stack.locked import LockedStack
from vllm_patchkit.stack.model import LockedFile
from vllm_patchkit.version import __version__

FORMAT = 1
APPLIED = "applied.json"
APPLIED_FOLDER = "vllm_patchkit"
"""The folder inside a dist-info that says which stacks were applied."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Applied:
    """How much of which stack is in force.

    :param patches: name and sha256 of each applied patch file, in series order.
    :param files: every file that they changed, with its sha256 before and after all of them.
    :param requires: the lines that the dist-info's METADATA has because of it.
    :param tool: the version of vllm-patchkit that applied them.
    """

    stack: str
    version: int
    label: str
    digest: str
    base: str
    patches: tuple[tuple[str, str], ...]
    files: tuple[LockedFile, ...]
    tool: str
    requires: tuple[str, ...] = ()


def record_files(source: LockedStack, count: int, requires: Sequence[str] = ()) -> dict[str, bytes]:
    """Return the folder's files by name: the whole stack, and that ``count`` patches are in.

    :param requires: what was added to the distribution's requirements.
    """
    return {
        METADATA: source.files.metadata,
        **source.files.own,
        SERIES: source.files.series,
        LOCK: format_lock(source.lock),
        **{patch.name: patch.data for patch in source.stack.patches},
        APPLIED: format_applied(make_applied(source, count, requires)),
    }


def make_applied(source: LockedStack, count: int, requires: Sequence[str] = ()) -> Applied:
    """Return the record of applying the first ``count`` patches of a stack."""
    return Applied(
        stack=source.stack.name,
        version=source.stack.version,
        label=source.label,
        digest=source.lock.digest,
        base=f"{source.stack.base.distribution} {source.stack.base.version}",
        patches=tuple((one.name, sha256_hex(one.data)) for one in source.stack.patches[:count]),
        files=source.net_files(count),
        tool=__version__,
        requires=tuple(requires),
    )


def format_applied(applied: Applied) -> bytes:
    """Return the text of ``applied.json``: deterministic, one value a line."""
    patches = [{"name": name, "sha256": digest} for name, digest in applied.patches]
    document = {"format": FORMAT, **asdict(applied), "patches": patches}
    if not applied.requires:
        del document["requires"]
    return json.dumps(document, indent=1).encode("ascii") + b"\n"


def parse_applied(data: bytes, source: str = APPLIED) -> Applied:
    """Return the record that ``data`` holds.

    :raises StackError: not JSON, of another format, or a field is missing.
    """
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            raise StackError(
                f"{source}: format {document['format']!r} is not known (expected {FORMAT})",
                hint="use the vllm-patchkit that applied it",
            )
        return _parse_document(document)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise StackError(f"{source} is damaged: {type(error).__name__}: {error}") from None


def _parse_document(document: Mapping[str, Any]) -> Applied:
    return Applied(
        stack=str(document["stack"]),
        version=int(document["version"]),
        label=str(document["label"]),
        digest=str(document["digest"]),
        base=str(document["base"]),
        patches=tuple((str(row["name"]), str(row["sha256"])) for row in document["patches"]),
        files=parse_files(document["files"]),
        tool=str(document["tool"]),
        requires=tuple(map(str, document.get("requires", ()))),
    )
