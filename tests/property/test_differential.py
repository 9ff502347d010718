"""The diff core against git apply and GNU patch, on generated edits: many files, few processes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from subprocess import CompletedProcess

import pytest

from support.edits import Edit, make_edits, mutate
from support.peers import Repository, git_apply, gnu_patch, read_contents, write_contents
from vllm_patchkit.diff.apply import Read, apply_diff, apply_file
from vllm_patchkit.diff.format import format_diff
from vllm_patchkit.diff.model import FileDiff, Hunk
from vllm_patchkit.diff.names import decode_name, encode_name
from vllm_patchkit.diff.parse import parse_diff
from vllm_patchkit.diff.reverse import reverse_diff
from vllm_patchkit.errors import HunkMismatch

Contents = dict[bytes, "bytes | None"]
Peer = Callable[..., "CompletedProcess[bytes]"]
BATCHES = [
    # context, git's algorithm, seed, edits: 2,400 in all
    pytest.param(3, "myers", 11, 900, id="U3"),
    pytest.param(0, "patience", 12, 500, id="U0"),
    pytest.param(1, "minimal", 13, 500, id="U1"),
    pytest.param(10, "histogram", 14, 500, id="U10"),
]


def reader(contents: Mapping[bytes, bytes | None]) -> Read:
    return lambda path: contents[encode_name(path)]


def by_name(result: Mapping[str, bytes | None]) -> Contents:
    return {encode_name(path): data for path, data in result.items()}


def unreadable_for_gnu_patch(edit: Edit) -> bool:
    """GNU patch 2.7 cannot take a name with a space off a ``diff --git`` line, and the diff of
    an empty file that comes or goes has no other line to take it from."""
    return b" " in edit.name and not (edit.before or edit.after)


@pytest.mark.parametrize(("context", "algorithm", "seed", "count"), BATCHES)
def test_generated_edits(context: int, algorithm: str, seed: int, count: int, tmp_path: Path):
    """Our result is what was edited, git's and GNU patch's result; ours reversed is the origin."""
    edits = list(make_edits(count, seed))
    old: Contents = {edit.name: edit.before for edit in edits}
    new: Contents = {edit.name: edit.after for edit in edits}
    repository = Repository.create(tmp_path / "repository")
    commits = repository.commit(old), repository.commit(new)
    options = [f"-U{context}", f"--diff-algorithm={algorithm}"]
    text = repository.git("diff", "--full-index", "--text", "--no-renames", *options, *commits)

    files = parse_diff(text)

    assert format_diff(files) == text
    assert by_name(apply_diff(files, reader(old))) == new
    assert by_name(apply_diff(reverse_diff(files), reader(new))) == old
    # git apply misplaces some hunks without context (--unidiff-zero is documented as unsafe).
    for peer in (git_apply, gnu_patch) if context else (gnu_patch,):
        tree = tmp_path / peer.__name__
        tree.mkdir()
        write_contents(tree, old)
        peer(tree, text)
        odd = {edit.name for edit in edits if unreadable_for_gnu_patch(edit)}
        found = read_contents(tree, new)
        wrong = {name for name in new if found[name] != new[name]}
        assert wrong <= (odd if peer is gnu_patch else set())


def make_stale(seed: int, count: int) -> tuple[list[Edit], Contents]:
    """Return modifications and, for each, what the file has become meanwhile."""
    edits = [
        edit
        for edit in make_edits(count, seed)
        if edit.before and edit.after and b" " not in edit.name and b"\n" not in edit.name
    ]
    rng = Random(seed)
    stale = {edit.name: mutate(rng, edit.before or b"") for edit in edits}
    return edits, stale


def exact_results(
    files: tuple[FileDiff, ...], contents: Contents
) -> tuple[Contents, dict[bytes, str]]:
    """Return our result a file, and for the files that we refuse the message."""
    results: Contents = {}
    refused: dict[bytes, str] = {}
    for diff in files:
        name = encode_name(diff.path)
        try:
            results[name] = apply_file(diff, contents[name])
        except HunkMismatch as error:
            refused[name] = error.message
    return results, refused


def test_edits_to_files_that_changed_meanwhile(tmp_path: Path):
    """What we accept, git apply and GNU patch accept with the same bytes. What we refuse, GNU
    patch refuses or moves (an offset), or git apply refuses because the file goes on."""
    edits, stale = make_stale(21, 700)
    repository = Repository.create(tmp_path / "repository")
    old: Contents = {edit.name: edit.before for edit in edits}
    new: Contents = {edit.name: edit.after for edit in edits}
    commits = repository.commit(old), repository.commit(new)
    text = repository.git("diff", "--text", "--no-renames", "-U2", *commits)
    # Without blob ids the context alone decides, as it does for the peers.
    files = tuple(replace(diff, old_blob=None, new_blob=None) for diff in parse_diff(text))

    ours, refused = exact_results(files, stale)

    assert len(ours) > 20
    assert len(refused) > 300
    by_git, _ = ask_peer(git_apply, tmp_path, files, stale, "--reject")
    by_patch, moved = ask_peer(gnu_patch, tmp_path, files, stale, "--verbose")
    for accepted, silent in ((by_git, without_context(files)), (by_patch, short_at_end(files))):
        compared = ours.keys() - silent
        assert len(compared) > 10
        assert {name: accepted.get(name, "refused") for name in compared} == {
            name: ours[name] for name in compared
        }
    words = ("a file that ends at", "where more lines follow")
    file_goes_on = {name for name in refused if any(word in refused[name] for word in words)}
    assert file_goes_on
    assert not file_goes_on & by_git.keys()
    assert not by_patch.keys() & refused.keys() - moved - file_goes_on


def ask_peer(
    peer: Peer, folder: Path, files: tuple[FileDiff, ...], stale: Contents, option: str
) -> tuple[Contents, set[bytes]]:
    """Return what a peer makes of the files that it accepts, and those with an offset."""
    tree = folder / peer.__name__
    tree.mkdir()
    write_contents(tree, stale)
    report = peer(tree, format_diff(files), option)
    names = [encode_name(diff.path) for diff in files]
    rejects = read_contents(tree, [name + b".rej" for name in names])
    accepted = [name for name in names if rejects[name + b".rej"] is None]
    return read_contents(tree, accepted), moved_files(report.stdout)


def without_context(files: tuple[FileDiff, ...]) -> set[bytes]:
    """Return the files with a hunk without context. To git such a hunk is the whole file unless
    --unidiff-zero is given for all; to us, as to GNU patch, it says no more than its lines."""
    return {
        encode_name(diff.path)
        for diff in files
        if any(all(line.op != " " for line in hunk.lines) for hunk in diff.hunks)
    }


def short_at_end(files: tuple[FileDiff, ...]) -> set[bytes]:
    """Return the files with a hunk of fewer context lines after the change than before it. To GNU
    patch the file has to end there; to us, as to git, only where there are none after it at all,
    because `git diff -W` writes such hunks anywhere."""

    def lengths(hunk: Hunk) -> tuple[int, int]:
        ops = "".join(line.op for line in hunk.lines)
        return len(ops) - len(ops.lstrip()), len(ops) - len(ops.rstrip())

    return {
        encode_name(diff.path)
        for diff in files
        if any(after < before for before, after in map(lengths, diff.hunks))
    }


def moved_files(report: bytes) -> set[bytes]:
    """Return the files in which GNU patch found a hunk at another line."""
    moved = set()
    for part in re.split(rb"(?m)^[Pp]atching file ", report)[1:]:
        heading, _, rest = part.partition(b"\n")
        name = heading.partition(b" using Plan")[0]
        if name.startswith(b"'"):
            name = name.strip(b"'")
        if re.search(rb"\(offset -?\d+ lines?\)", rest):
            moved.add(name)
    return moved


def test_renames_and_copies(tmp_path: Path):
    """Diffs with rename and copy detection give the new tree, and reversed the old one."""
    rng = Random(31)
    old: Contents = {}
    new: Contents = {}
    for edit in make_edits(300, 31):
        source = b"from/" + edit.name
        old[source] = text = b"".join(b"%d line %d\n" % (len(old), n) for n in range(30))
        kind = rng.choice(("rename", "copy", "keep"))
        new[source] = None if kind == "rename" else text + b"changed\n"
        if kind != "keep":
            new[b"to/" + edit.name] = text if rng.random() < 0.5 else text.replace(b"7", b"seven")
    repository = Repository.create(tmp_path / "repository")
    commits = repository.commit(old), repository.commit(new)
    text = repository.git("diff", "--full-index", "--find-copies", "-l0", *commits)

    files = parse_diff(text)

    assert sum(diff.renamed for diff in files) > 50
    assert sum(diff.copied for diff in files) > 50
    assert format_diff(files) == text
    whole = {**dict.fromkeys(new), **old}
    after = {**whole, **by_name(apply_diff(files, reader(whole)))}
    assert after == {**whole, **new}
    assert {**after, **by_name(apply_diff(reverse_diff(files), reader(after)))} == whole


@pytest.mark.parametrize("strip", [0, 1, 2])
def test_strip_counts_components(strip: int):
    """``strip`` takes off as many components as ``-p`` of git apply does."""
    diff = b"--- x/y/z.py\n+++ x/y/z.py\n@@ -1 +1 @@\n-a\n+b\n"
    (file,) = parse_diff(diff, strip=strip)
    assert encode_name(file.path) == b"x/y/z.py".split(b"/", strip)[-1]
    assert decode_name(b"z.py") in file.path
