"""A stack of patches as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from vllm_patchkit.diff.model import FileDiff
from vllm_patchkit.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """The mail header and commit message of a ``git format-patch`` file.

    ``trailers`` are the ``Key: value`` lines of the last paragraph, in order, repeats kept;
    ``body`` is the prose between subject and trailers. ``date`` is the header's text as it is.
    """

    author: str
    email: str
    date: str
    subject: str
    body: str
    trailers: tuple[tuple[str, str], ...] = ()

    def trailer(self, key: str) -> str | None:
        """Return the value of the first trailer of that name (case-insensitive), or None."""
        wanted = key.lower()
        return next((value for name, value in self.trailers if name.lower() == wanted), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Patch:
    """One patch file. ``data`` is the file as it is; ``number`` is the NNNN of its name."""

    name: str
    number: int
    message: Message
    files: tuple[FileDiff, ...]
    data: bytes

    @property
    def paths(self) -> set[str]:
        """The files that it touches, by their names before and after it."""
        return {path for diff in self.files for path in (diff.old_path, diff.new_path) if path}

    def as_edited(self) -> Patch:
        """Return the patch without what no hand keeps up in its diffs."""
        return replace(self, files=tuple(diff.as_edited() for diff in self.files))


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """The release that a stack is cut from.

    :param wheel: the file name of the wheel that the stack was cut from; ``""`` where none is said.
    :param sha256: that wheel's digest.
    :param root: the folder (of the wheel, or of the tree) outside which no patch may write;
        ``""`` where the whole tree is the root.
    :param aliases: distributions that ship the same files under another name.
    """

    distribution: str
    version: str
    root: str
    aliases: tuple[str, ...] = ()
    wheel: str = ""
    sha256: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """How a smoke run sees that one patch is in force: a Python expression that must be true."""

    patch: str
    imports: tuple[str, ...]
    expression: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Smoke:
    """What ``smoke`` runs for a stack beyond its probes.

    :param package: folder beside the patches that holds scenarios of its own; "" for none.
    :param architectures: of the general scenarios; none for the usual ones.
    """

    package: str = ""
    architectures: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Parent:
    """A stack that a composed stack was made from, as it was then.

    :param path: where it lies, relative to the composed stack's folder; "" if that is not near.
    :param patches: number in the composed stack -> the start of the sha256 of the parent's file.
    """

    name: str
    path: str
    label: str
    digest: str
    patches: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Metadata:
    """The content of one ``stack.toml``.

    :param requires: what a patched wheel requires beside what the base does, as METADATA has it.
    :param ignores: code of a finding -> why ``lint`` passes over it.
    """

    name: str
    label: str
    version: int
    summary: str
    license: str = ""
    subsystems: tuple[str, ...]
    patch_count: int | None = None
    base: Base
    probes: tuple[Probe, ...] = ()
    requires: tuple[str, ...] = ()
    smoke: Smoke = field(default_factory=Smoke)
    parents: tuple[Parent, ...] = ()
    ignores: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack(Metadata):
    """A named, versioned series of patches on a base.

    ``metadata`` is ``stack.toml`` as bytes, less the table ``[smoke]``: how a stack is proved is no
    part of what it is.
    """

    patches: tuple[Patch, ...]
    metadata: bytes

    def place_of(self, text: str) -> int:
        """Return the place in the series of the patch of that number, or of that name.

        :raises UsageError: there is none.
        """
        number = text.partition("-")[0]
        for place, patch in enumerate(self.patches):
            if number.isdigit() and patch.number == int(number):
                return place
        numbers = [f"{patch.number:04}" for patch in self.patches]
        raise UsageError(
            f"{self.name} has no patch {text!r}",
            hint=f"its patches are {numbers[0]} to {numbers[-1]}" if numbers else None,
        )

    def parent_of(self, patch: Patch) -> str | None:
        """Return the name of the stack that a patch came from; None for one of this stack's own."""
        number = f"{patch.number:04d}"
        return next((one.name for one in self.parents if number in one.patches), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedFile:
    """The sha256 of one file before and after; None where it does not exist."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedPatch:
    """One patch of the lock: the digest of the patch file and what it does to each target file."""

    name: str
    sha256: str
    files: tuple[LockedFile, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """What a stack was when it was last locked.

    :param digest: the stack digest.
    :param files: the net effect, one entry a target file, sorted by path.
    :param released: version of the stack -> digest recorded when that version was released.
    :param known: other release of the base -> path -> sha256 (None where that release has no
        such file), to name a target of another version.
    """

    stack: str
    version: int
    base_version: str
    digest: str
    patches: tuple[LockedPatch, ...]
    files: tuple[LockedFile, ...]
    released: Mapping[int, str] = field(default_factory=dict)
    known: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
