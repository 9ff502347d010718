"""Which file of the base a diff means, whatever prefix its author's tool wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from vllm_patchkit.diff.model import FileDiff
from vllm_patchkit.diff.parse import parse_diff
from vllm_patchkit.errors import PatchFormatError

Exists = Callable[[str], bool]
MAX_STRIP = 4


@dataclass(frozen=True, slots=True)
class Layout:
    """How names in a diff become paths of the base: take components off, put a folder before."""

    strip: int
    prefix: str

    def path(self, name: str) -> str | None:
        """Return the path, None where the name has too few components."""
        parts = name.split("/")[self.strip :]
        return self.prefix + "/".join(parts) if parts else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """A patch's diffs by where they belong.

    :param files: with paths of the base.
    :param missing: names whose file the base does not ship.
    """

    files: tuple[FileDiff, ...]
    missing: tuple[str, ...]
    layouts: frozenset[Layout]


def parse_any(data: bytes, *, strip: int | None, source: str) -> tuple[tuple[FileDiff, ...], int]:
    """Return the file diffs in ``data``, and how many components of their names are off already.

    A diff of git names both sides alike only once ``a/`` and ``b/`` are off; one made with
    ``--no-prefix`` or by ``diff -u`` may have nothing to take off.

    :raises PatchFormatError: the diff is malformed, whatever is taken off.
    """
    if strip is not None:
        return parse_diff(data, strip=strip, source=source), strip
    faults = []
    for taken in (1, 0):
        try:
            files = parse_diff(data, strip=taken, source=source)
        except PatchFormatError as fault:
            faults.append(fault)
            continue
        if taken == 1 and not _has_prefixes(data):
            try:
                return parse_diff(data, strip=0, source=source), 0
            except PatchFormatError:
                pass
        return files, taken
    raise faults[0]


def _has_prefixes(data: bytes) -> bool:
    """Return whether the first names are written the way git does: ``a/`` and ``b/``."""
    for line in data.split(b"\n"):
        if line.startswith(b"diff --git "):
            return line.startswith((b"diff --git a/", b'diff --git "a/', b"diff --git i/"))
        if line.startswith(b"+++ "):
            return line.startswith((b"+++ b/", b'+++ "b/'))
    return False


def place_files(
    files: Sequence[FileDiff],
    exists: Exists,
    *,
    root: str,
    hint: str | None = None,
    exact: bool = False,
) -> Placed:
    """Return the diffs with their names turned into paths of the base.

    Files that exist decide; new ones follow the layout of the others.

    :param exists: whether the base has a file or folder of that path.
    :param hint: what the place of a one-file patch says about its target.
    :param exact: the caller said what to strip, so nothing more is taken off.
    """
    layouts = _layouts(root, 0 if exact else MAX_STRIP)
    found: Counter[Layout] = Counter()
    placed: dict[int, FileDiff] = {}
    missing = []
    for index, diff in enumerate(files):
        if diff.old_path is None:
            continue
        layout = _find_layout(diff.old_path, exists, layouts, root)
        if layout is not None:
            found[layout] += 1
            placed[index] = _move(diff, layout)
        elif len(files) == 1 and hint and (target := _find_hint(hint, diff, exists, root)):
            placed[index] = replace(diff, old_path=target, new_path=diff.new_path and target)
        else:
            missing.append(diff.path)
    usual = [layout for layout, _ in found.most_common()]
    for index, diff in enumerate(files):
        if diff.old_path is not None:
            continue
        layout = _new_layout(diff.path, exists, usual, layouts, root)
        if layout is None:
            missing.append(diff.path)
        else:
            placed[index] = _move(diff, layout)
    return Placed(
        files=tuple(placed[index] for index in sorted(placed)),
        missing=tuple(missing),
        layouts=frozenset(found),
    )


def _layouts(root: str, max_strip: int) -> list[Layout]:
    prefix = f"{root}/" if root else ""
    ways = [Layout(0, ""), Layout(0, prefix)] if prefix else [Layout(0, "")]
    # Deeper names count only where the package's own name follows (src/vllm/x.py): below
    # tests/ there are folders named like those of the package.
    return ways + [Layout(count, "") for count in range(1, max_strip + 1)]


def _find_layout(name: str, exists: Exists, layouts: list[Layout], root: str) -> Layout | None:
    for layout in layouts:
        path = layout.path(name)
        if path is None or not exists(path):
            continue
        if not layout.strip or not root or path.startswith(f"{root}/"):
            return layout
    return None


def _find_hint(hint: str, diff: FileDiff, exists: Exists, root: str) -> str | None:
    name = diff.path.rpartition("/")[2]
    for path in (hint, f"{root}/{hint}"):
        # An editor's copy (core.py.orig, /tmp/x) says nothing; the patch's own place does.
        if exists(path) and (name.startswith(path.rpartition("/")[2]) or "/tmp/" in diff.path):
            return path
    return None


def _new_layout(
    name: str, exists: Exists, usual: list[Layout], layouts: list[Layout], root: str
) -> Layout | None:
    """Return the layout that puts a new file into a folder that makes sense for it."""
    for layout in layouts:
        path = layout.path(name)
        if path and root and path.startswith(f"{root}/") and not layout.prefix:
            return layout
    for layout in [*usual, *layouts]:
        path = layout.path(name)
        if path is None or (root and not path.startswith(f"{root}/")):
            continue
        parent = path.rpartition("/")[0]
        if exists(parent) and (parent != root or layout in usual):
            return layout
    return None


def _move(diff: FileDiff, layout: Layout) -> FileDiff:
    return replace(
        diff,
        old_path=None if diff.old_path is None else layout.path(diff.old_path),
        new_path=None if diff.new_path is None else layout.path(diff.new_path),
    )
