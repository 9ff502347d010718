"""Founding a stack: its first patches, its stack.toml, its lock."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vllm_patchkit.errors import UsageError
from vllm_patchkit.fork.base import BaseTree
from vllm_patchkit.fork.folder import read_folder
from vllm_patchkit.fork.intake.heading import SUBSYSTEM
from vllm_patchkit.fork.publish import (
    Published,
    base_reader,
    compile_faults,
    compose_stack,
    publish,
    replace_stack,
)
from vllm_patchkit.fork.series import export_patches
from vllm_patchkit.fork.store.git import Repository
from vllm_patchkit.fork.store.repository import Change, File, import_commits
from vllm_patchkit.stack.edit import format_metadata
from vllm_patchkit.stack.folder import METADATA, make_patch
from vllm_patchkit.stack.model import Base, Metadata, Probe
from vllm_patchkit.stack.propose import propose_probe

SUBSYSTEM_TRAILER = re.compile(r"(?m)^Subsystem: *(\S+)$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What the new stack shall be, beside its patches.

    :param left_out: files to keep beside the patches.
    """

    label: str | None
    summary: str | None
    left_out: Mapping[str, bytes]

    def to_json(self) -> dict[str, Any]:
        """Return the value as JSON writes it."""
        parts = {name: data.decode("latin-1") for name, data in self.left_out.items()}
        return {"label": self.label, "summary": self.summary, "left_out": parts}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Order:
        """Return the value that :meth:`to_json` wrote."""
        parts = {name: text.encode("latin-1") for name, text in document["left_out"].items()}
        return cls(label=document["label"], summary=document["summary"], left_out=parts)


def squash(patches: Sequence[Change], subject: str, sources: Sequence[str]) -> list[Change]:
    """Return the changes as one, by the first one's author."""
    files: dict[str, File | None] = {}
    for patch in patches:
        files |= patch.files
    head, _, trailers = patches[0].message.rstrip("\n").rpartition("\n\n")
    assert head
    body = "Imported from:\n" + "\n".join(f"- {source}" for source in sources)
    message = f"{subject}\n\n{body}\n\n{trailers}\n"
    return [Change(author=patches[0].author, message=message, files=files)]


def write_stack(
    store: Repository,
    folder: Path,
    base: BaseTree,
    changes: Sequence[Change],
    order: Order,
) -> Published:
    """Commit the changes, export them as a stack into ``folder``, and lock it."""
    tip = import_commits(store, base.commit, changes)[-1]
    files, faults = found_stack(store, folder, base, tip, order)
    return publish(store, folder, files, title=f"import {len(changes)} patches", faults=faults)


def require_free(folder: Path, *, force: bool) -> None:
    """Refuse to found a stack where one is.

    :raises UsageError: the folder exists and not ``force``.
    """
    if not force and read_folder(folder):
        raise UsageError(
            f"{folder} exists already", hint="choose another --name, or replace it with --force"
        )


def found_stack(
    store: Repository,
    folder: Path,
    base: BaseTree,
    tip: str,
    order: Order,
) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Return the files of a new stack with the commits up to ``tip``, and what does not compile."""
    patches = export_patches(store, base.commit, tip)
    metadata = Metadata(
        name=folder.name,
        label=order.label or re.sub(r"[^a-z0-9]+", ".", folder.name.lower()).strip("."),
        version=1,
        summary=order.summary or f"Imported on {base.spec}",
        # Nobody said which license the patches have, so none is named.
        subsystems=tuple(_subsystems(patches)),
        base=Base(
            distribution=base.spec.distribution,
            version=base.spec.version,
            root=base.root,
            wheel=base.wheel,
            sha256=base.sha256,
        ),
        probes=tuple(propose_probes(patches, base.root)),
    )
    read = base_reader(store, base)
    old = {METADATA: format_metadata(metadata), **order.left_out}
    locked = compose_stack(folder, old, patches, base, read)
    return replace_stack(old, locked), compile_faults(locked.stack, read, skip=frozenset())


def propose_probes(patches: Mapping[str, bytes], root: str) -> list[Probe]:
    """Return a probe for each patch that adds code, for its author to look at."""
    found = (propose_probe(make_patch(name, data), root) for name, data in patches.items())
    return [probe for probe in found if probe is not None]


def _subsystems(patches: Mapping[str, bytes]) -> list[str]:
    """Return the subsystems that the patches' trailers name, in their order."""
    heads = (data.partition(b"\n---\n")[0].decode("utf-8", "replace") for data in patches.values())
    found = (SUBSYSTEM_TRAILER.search(head) for head in heads)
    return list(dict.fromkeys(match[1] for match in found if match)) or [SUBSYSTEM]
