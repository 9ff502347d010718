import hashlib
from pathlib import Path

import pytest

from support.environments import (
    CHANGES,
    COMMA,
    RELEASE,
    STEP_2,
    STEP_3,
    STEP_4,
    STEPS,
    edit,
    make_stack,
)
from support.stacks import Change, Tree
from vllm_patchkit.stack.histories import file_histories
from vllm_patchkit.stack.model import Lock
from vllm_patchkit.stack.read import read_lock
from vllm_patchkit.targets.state import check_target, same_release

OTHER = edit(RELEASE, engine=b"import os\n", old=b"OLD = 2\n")


@pytest.fixture(scope="module")
def lock(tmp_path_factory: pytest.TempPathFactory) -> Lock:
    known = {"0.10.2": OTHER, "0.11.1": edit(OTHER, old=b"OLD = 3\n")}
    return read_lock(make_stack(tmp_path_factory.mktemp("s") / "tiny", known=known))


@pytest.mark.parametrize("count", range(5))
def test_every_prefix_is_recognised(lock: Lock, count: int) -> None:
    report = check_target(lock, STEPS[count].get)
    states = {0: "pristine", 4: "applied"}
    assert (report.state, report.applied) == (states.get(count, "partial"), count)
    assert report.files
    assert all(file.expected == file.found for file in report.files)


def test_the_files_of_a_pristine_target_are_pristine(lock: Lock) -> None:
    report = check_target(lock, RELEASE.get)
    assert {file.state for file in report.files} == {"pristine"}
    assert {file.path for file in report.files} == {
        "vllm/engine.py", "vllm/new/pkg/model.py", "vllm/new/pkg/__init__.py", "vllm/old.py", COMMA,
    }  # fmt: skip


def test_a_file_between_two_patches_is_partial(lock: Lock) -> None:
    states = {file.path: file.state for file in check_target(lock, STEP_2.get).files}
    assert states["vllm/engine.py"] == "partial"
    assert states["vllm/new/pkg/model.py"] == "applied"
    assert states["vllm/old.py"] == "pristine"


def test_files_that_disagree_are_partial_without_a_prefix(lock: Lock) -> None:
    mixed = {**RELEASE, COMMA: STEP_4[COMMA]}
    report = check_target(lock, mixed.get)
    notes = {file.path: file.note for file in report.files}
    assert (report.state, report.applied) == ("partial", None)
    assert notes[COMMA] == "as after patch 4 of 4"
    assert notes["vllm/engine.py"] == "as before patch 1 of 4"


def test_an_edited_file_is_drifted_with_both_hashes(lock: Lock) -> None:
    report = check_target(lock, edit(RELEASE, engine=b"mine\n").get)
    verdict = next(file for file in report.files if file.path == "vllm/engine.py")
    assert (report.state, verdict.state) == ("drifted", "drifted")
    assert verdict.found == hashlib.sha256(b"mine\n").hexdigest()
    assert verdict.expected == lock.patches[0].files[0].before


def test_a_missing_and_an_extra_file_are_told_apart(lock: Lock) -> None:
    tree = {**edit(RELEASE, engine=None), "vllm/new/pkg/model.py": b"of an older stack\n"}
    states = {file.path: file.state for file in check_target(lock, tree.get).files}
    assert states["vllm/engine.py"] == "missing"
    assert states["vllm/new/pkg/model.py"] == "extra"


@pytest.mark.parametrize("release", ["0.10.2", "0.11.1"])
def test_another_release_is_named_by_its_hashes(lock: Lock, release: str) -> None:
    tree = OTHER if release == "0.10.2" else edit(OTHER, old=b"OLD = 3\n")
    report = check_target(lock, tree.get, version="0.11.0")
    assert (report.state, report.release) == ("other-version", release)


def test_releases_with_the_same_files_are_told_by_metadata_or_all_named(tmp_path: Path) -> None:
    twins = {"0.11.1": OTHER, "0.11.2": OTHER}
    lock = read_lock(make_stack(tmp_path / "tiny", known=twins))
    assert check_target(lock, OTHER.get, version="0.11.2").release == "0.11.2"
    assert check_target(lock, OTHER.get).release == "0.11.1 or 0.11.2"


def test_a_release_that_is_not_known_is_named_by_its_metadata(lock: Lock) -> None:
    report = check_target(lock, edit(RELEASE, engine=b"new\n").get, version="0.12.0")
    assert (report.state, report.release) == ("other-version", "0.12.0")


def test_content_decides_over_metadata(lock: Lock) -> None:
    report = check_target(lock, RELEASE.get, version="0.11.0.post2")
    assert report.state == "pristine"
    assert report.notes == ("the metadata says 0.11.0.post2; the content is that of 0.11.0",)


def test_a_local_label_is_no_contradiction(lock: Lock) -> None:
    assert check_target(lock, STEP_4.get, version="0.11.0+tiny.1").notes == ()


def test_another_stack_explains_the_difference(lock: Lock) -> None:
    tree = edit(RELEASE, engine=b"theirs\n")
    report = check_target(lock, tree.get, foreign="other (other.1, 3 patches)")
    assert report.state == "foreign-stack"
    assert "other (other.1, 3 patches)" in report.notes[-1]


def test_a_patch_that_an_edit_undoes_leaves_the_file_unaffected(tmp_path: Path) -> None:
    """Where the content allows several prefixes, the record settles which it is."""
    there = edit(RELEASE, engine=b"there\n")
    changes = (Change("There", there), Change("Back again", dict(RELEASE)))
    lock = read_lock(make_stack(tmp_path / "tiny", changes))
    assert check_target(lock, RELEASE.get, recorded=0).state == "pristine"
    assert check_target(lock, RELEASE.get, recorded=2).state == "applied"
    assert check_target(lock, RELEASE.get).files[0].state == "unaffected"


def test_histories_follow_each_file_through_the_series(lock: Lock) -> None:
    history = next(one for one in file_histories(lock) if one.path == "vllm/new/pkg/model.py")
    assert history.digests[:2] == (None, None)
    assert len(set(history.digests[2:])) == 1
    assert len(history.digests) == len(CHANGES) + 1


@pytest.mark.parametrize(
    ("version", "same"),
    [("0.11.0", True), ("0.11.0+cpu", True), ("0.11.0.post2", True), ("0.11.1", False),
     ("0.11.0rc1", False), ("0.11", False)],
)  # fmt: skip
def test_which_versions_are_rebuilds(version: str, same: bool) -> None:
    assert same_release(version, "0.11.0") is same


def test_step_three_is_no_other_state(lock: Lock) -> None:
    tree: Tree = STEP_3
    assert check_target(lock, tree.get, version="0.11.0").applied == 3
