"""Which release somebody's patches were cut from: by the ids in their ``index`` lines, and by text.

A patch of git names the blob that each file was before; a release either has that very blob or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from packaging.version import Version

from vllm_patchkit.diff.model import FileDiff
from vllm_patchkit.diff.paths import folders_above
from vllm_patchkit.digest import blob_id
from vllm_patchkit.errors import NoRanges, PatchFormatError, PatchkitError, WheelError
from vllm_patchkit.fork.base import BaseSpec, find_stored, load_base, version_of
from vllm_patchkit.fork.glance import Release, open_file, open_remote, stored_release
from vllm_patchkit.fork.intake.layout import parse_any, place_files
from vllm_patchkit.fork.intake.mailbox import RawPatch
from vllm_patchkit.fork.store.git import Repository
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.wheel.fetch import find_release, inputs_folder

Fit = Literal["same", "fits", "other", "absent"]
# A file that a patch changes: the patch, and its diff of that file.
Change = tuple[RawPatch, FileDiff]


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A release, and for each file that the patches change how well it fits.

    :param files: name in the patches -> ``same`` (the very bytes), ``fits`` (every hunk's lines are
        there), ``other``, or ``absent``.
    """

    spec: BaseSpec
    files: dict[str, Fit]

    def count(self, *fits: Fit) -> int:
        """Return how many files fit so."""
        return sum(fit in fits for fit in self.files.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What can be said of where patches come from.

    :param candidates: every release that was looked at, oldest first.
    :param best: the one with the most of the files; None where none has any.
    :param left_out: releases at hand that could not be read, and why.
    """

    candidates: tuple[Candidate, ...]
    best: Candidate | None
    verdict: str
    left_out: Mapping[str, str]


def releases_at_hand(store: Repository, distribution: str) -> list[str]:
    """Return the versions that can be read without fetching anything."""
    listed = store.text("for-each-ref", "--format=%(refname)", f"refs/bases/{distribution}/")
    versions = {line.split("/")[3] for line in listed.splitlines()}
    stem = distribution.replace("-", "_") + "-"
    wheels = inputs_folder().glob(f"{stem}*.whl")
    versions |= {path.name[len(stem) :].partition("-")[0] for path in wheels}
    return sorted((one for one in versions if version_of(one)), key=Version)


def find_origin(
    store: Repository,
    patches: Sequence[RawPatch],
    specs: Mapping[BaseSpec, bool],
    console: Console,
) -> Origin:
    """Return how well each release fits the patches, and what that says.

    Of a wheel only the files that the patches change are read, or fetched where the index gives
    parts of it; else the whole, which is kept.

    :param specs: each release, and whether it was asked for; another that cannot be read is left
        out.
    :raises PatchkitError: one that was asked for cannot be read, or none of the others can.
    """
    changes = list(_read_changes(patches))
    candidates = []
    left_out: dict[str, PatchkitError] = {}
    for spec in sorted(specs, key=lambda spec: Version(spec.version)):
        try:
            candidates.append(Candidate(spec=spec, files=_look(store, spec, changes, console)))
        except PatchkitError as error:
            if specs[spec]:
                raise
            left_out[str(spec)] = error
    if not candidates and left_out:
        raise next(iter(left_out.values()))
    best = max(candidates, key=_rank, default=None)
    if best is not None and not best.count("same", "fits"):
        best = None
    return Origin(
        candidates=tuple(candidates),
        best=best,
        verdict=_verdict(candidates, best),
        left_out={name: error.message for name, error in left_out.items()},
    )


def _rank(candidate: Candidate) -> tuple[int, int, Version]:
    """Order by files that are the release's own, then by those that fit; equals by age."""
    return candidate.count("same"), candidate.count("fits"), Version(candidate.spec.version)


def _look(
    store: Repository, spec: BaseSpec, changes: Sequence[Change], console: Console
) -> dict[str, Fit]:
    """Return how well one release fits: read where it is at hand, in parts where it can be."""
    stored = find_stored(store, spec) if spec.wheel is None else None
    if stored is not None:
        return _fit_release(stored_release(store, stored), changes)
    wheel = spec.wheel or find_release(spec.distribution, spec.version)
    try:
        if wheel is None:
            return _fit_release(open_remote(spec, console), changes)
        with open_file(wheel) as release:
            return _fit_release(release, changes)
    except (NoRanges, WheelError) as why:
        console.note(f"{why.message}; so the whole wheel is {'read' if wheel else 'fetched'}")
    return _fit_release(stored_release(store, load_base(store, spec, console)), changes)


def _read_changes(patches: Sequence[RawPatch]) -> Iterator[Change]:
    """Yield each file that a patch changes; what is no patch changes none."""
    for patch in patches:
        try:
            files, _ = parse_any(patch.data, strip=patch.strip, source=patch.source)
        except PatchFormatError:
            continue
        yield from ((patch, diff) for diff in files if diff.old_path is not None)


def _fit_release(release: Release, changes: Sequence[Change]) -> dict[str, Fit]:
    folders = {folder for path in release.paths for folder in folders_above(path)}
    placed: dict[str, FileDiff | None] = {}
    for patch, diff in changes:
        # A later patch to the same file starts from what the first one left.
        assert diff.old_path is not None
        if diff.old_path not in placed:
            placed[diff.old_path] = _place(patch, diff, release, folders)
    paths = {diff.old_path for diff in placed.values() if diff is not None and diff.old_path}
    release.announce(paths & set(release.paths))
    return {name: _fit(release, diff) for name, diff in placed.items()}


def _place(patch: RawPatch, diff: FileDiff, release: Release, folders: set[str]) -> FileDiff | None:
    """Return a diff with its path in the release, None where it has no such file."""
    placed = place_files(
        [diff],
        lambda path: path in release.paths or path in folders,
        root=release.root,
        hint=patch.hint,
        exact=patch.strip is not None,
    )
    return placed.files[0] if placed.files else None


def _fit(release: Release, diff: FileDiff | None) -> Fit:
    if diff is None or diff.old_path is None or diff.old_path not in release.paths:
        return "absent"
    data = release.read(diff.old_path)
    if diff.old_blob and set(diff.old_blob) != {"0"} and blob_id(data).startswith(diff.old_blob):
        return "same"
    return "fits" if diff.hunks and all(hunk.before in data for hunk in diff.hunks) else "other"


def _verdict(candidates: Sequence[Candidate], best: Candidate | None) -> str:
    if best is None:
        return "no release at hand has a file that the patches fit"
    version, files = best.spec.version, best.files
    same = best.count("same")
    nowhere = [name for name in files if all(one.files[name] == "absent" for one in candidates)]
    known = {name for one in candidates for name, fit in one.files.items() if fit == "same"}
    lost = [name for name in files if name not in known and name not in nowhere]
    total = len(files) - len(nowhere)
    shipped = f"; {len(nowhere)} in no wheel" if nowhere else ""
    if same == total:
        return f"cut from {version}: all of {total} files are its own{shipped}"
    if not same:
        return f"{best.count('fits')} of {total} files fit {version}; none has its id{shipped}"
    said = f"{same} of {total} files are those of {version}"
    others = total - same - len(lost)
    if others:
        said += f", {others} of other releases"
    if lost:
        said += f", {len(lost)} of no release at hand"
    return f"{said}: cut {_between(candidates, best)}{shipped}"


def _between(candidates: Sequence[Candidate], best: Candidate) -> str:
    """Return between which releases the patches were cut: the best, and its better neighbour."""
    place = list(candidates).index(best)
    before = candidates[place - 1] if place else None
    after = candidates[place + 1] if place + 1 < len(candidates) else None
    score = {id(one): one.count("same", "fits") for one in (before, after) if one is not None}
    version = best.spec.version
    if before is not None and (after is None or score[id(before)] >= score[id(after)]):
        return f"between {before.spec.version} and {version}"
    if after is not None:
        return f"between {version} and {after.spec.version}"
    return f"near {version}"
