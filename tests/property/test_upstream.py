"""The diff core on the Python files of real releases, taken from their wheels."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import unidiff

from support.peers import Repository, git_apply, gnu_patch, read_contents, write_contents
from vllm_patchkit.diff.apply import apply_diff
from vllm_patchkit.diff.format import format_diff
from vllm_patchkit.diff.names import encode_name
from vllm_patchkit.diff.parse import parse_diff
from vllm_patchkit.diff.reverse import reverse_diff
from vllm_patchkit.wheel.fetch import fetch_input

pytestmark = pytest.mark.network

STEPS = [("vllm-0.10.2", "vllm-0.11.0"), ("vllm-0.11.0", "vllm-0.11.1")]
Contents = Mapping[bytes, "bytes | None"]


def read_sources(name: str) -> dict[bytes, bytes]:
    with zipfile.ZipFile(fetch_input(name)) as wheel:
        members = [member for member in wheel.namelist() if member.endswith(".py")]
        return {encode_name(member): wheel.read(member) for member in members}


@pytest.fixture(scope="module", params=STEPS, ids="->".join)
def step(request, tmp_path_factory) -> tuple[Contents, Contents, bytes, bytes]:
    """Two releases' files (None where one has no such file) and git's diffs between them: one
    with renames found, one without."""
    before, after = map(read_sources, request.param)
    whole = dict.fromkeys({**before, **after})
    old: Contents = {**whole, **before}
    new: Contents = {**whole, **after}
    repository = Repository.create(tmp_path_factory.mktemp("git") / "repository")
    commits = repository.commit(old), repository.commit(new)
    diffs = [
        repository.git("diff", "--full-index", *options, *commits)
        for options in (["--find-renames", "--find-copies"], ["--no-renames"])
    ]
    return old, new, diffs[0], diffs[1]


@pytest.mark.parametrize("renames", [True, False])
def test_one_release_becomes_the_other(step, renames: bool):
    """Applied to the old release, the diff gives the new one; reversed, the old one again."""
    old, new, with_renames, plain = step
    text = with_renames if renames else plain

    files = parse_diff(text)

    assert len(files) > 400
    assert any(diff.renamed for diff in files) == renames
    assert format_diff(files) == text
    result = apply_diff(files, lambda path: old[encode_name(path)])
    assert {**old, **{encode_name(path): data for path, data in result.items()}} == new
    back = apply_diff(reverse_diff(files), lambda path: new[encode_name(path)])
    assert {**new, **{encode_name(path): data for path, data in back.items()}} == old


def test_the_peers_agree(step, tmp_path: Path):
    """git apply and GNU patch make the same of the diff that we formatted."""
    old, new, with_renames, plain = step
    for peer, text in ((git_apply, with_renames), (gnu_patch, plain)):
        tree = tmp_path / peer.__name__
        tree.mkdir()
        write_contents(tree, old)
        done = peer(tree, format_diff(parse_diff(text)))
        assert done.returncode == 0, done.stderr[-500:]
        assert read_contents(tree, new) == new


def test_unidiff_reads_the_same(step):
    """unidiff counts the same files, hunks, added and removed lines."""
    _, _, _, plain = step
    ours = parse_diff(plain)
    theirs = unidiff.PatchSet(io.StringIO(plain.decode("utf-8", "surrogateescape"), newline="\n"))
    found = {
        diff.path: (
            len(diff.hunks),
            sum(line.op == "+" for hunk in diff.hunks for line in hunk.lines),
            sum(line.op == "-" for hunk in diff.hunks for line in hunk.lines),
        )
        for diff in ours
        if diff.hunks
    }
    assert found == {
        file.path: (len(file), file.added, file.removed) for file in theirs if len(file)
    }
