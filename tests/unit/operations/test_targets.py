"""verify, status, apply, revert and identify on tiny targets."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from support.environments import (
    CHANGES,
    RELEASE,
    STEP_2,
    STEP_4,
    STEPS,
    Environment,
    check_record,
    edit,
    install,
    make_stack,
    snapshot,
    write_lock,
    write_wheel,
)
from support.stacks import METADATA, Change, add_scenarios, write_tree
from support.tiny_fixtures import environment as environment
from support.tiny_fixtures import stack as stack
from vllm_patchkit.cli import main
from vllm_patchkit.errors import StackError, TargetError, UsageError
from vllm_patchkit.operations.targets import (
    apply,
    identify,
    identify_contents,
    revert,
    status,
    verify,
)
from vllm_patchkit.stack.read import read_lock


def test_scenarios_of_a_stacks_own_are_kept_and_taken_back(
    tmp_path: Path, environment: Environment
) -> None:
    stack = make_stack(tmp_path / "tiny")
    add_scenarios(stack)
    before = snapshot(environment.site)
    apply(environment.prefix, stack=stack, upto="0002")
    kept = environment.site / environment.dist_info / "vllm_patchkit/tiny"
    assert (kept / "mine/deep/data.txt").read_bytes() == b"text\n"
    assert check_record(environment.site, environment.dist_info) == []
    apply(environment.prefix, stack=stack)
    assert (kept / "mine/proof.py").read_bytes() == b"PROOF = 1\n"
    assert check_record(environment.site, environment.dist_info) == []
    revert(environment.prefix, stack=stack)
    assert snapshot(environment.site) == before


@pytest.mark.parametrize("line_end", ["\r\n", "\n"], ids=["pip", "uv"])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_apply_then_revert_restores_every_byte(
    tmp_path: Path, stack: Path, line_end: str, count: int
) -> None:
    environment = install(tmp_path / "env", line_end=line_end)
    before = snapshot(environment.site)

    answer = apply(environment.prefix, stack=stack, upto=f"{count:04}")

    assert (answer.done, answer.before, answer.after) == (True, 0, count)
    assert environment.tree() == STEPS[count]
    assert check_record(environment.site, environment.dist_info) == []
    assert (environment.read(f"{environment.dist_info}/RECORD").count(b"\r\n") > 0) == (
        line_end == "\r\n"
    )
    assert revert(environment.prefix, stack=stack).done
    assert snapshot(environment.site) == before


def test_a_prefix_grows_patch_by_patch_and_reverts_at_once(
    environment: Environment, stack: Path
) -> None:
    before = snapshot(environment.site)
    for count in range(1, 5):
        answer = apply(environment.prefix, stack=stack, upto=f"{count:04}")
        assert (answer.before, answer.after) == (count - 1, count)
        assert environment.tree() == STEPS[count]
        assert check_record(environment.site, environment.dist_info) == []
    revert(environment.prefix, stack=stack)
    assert snapshot(environment.site) == before


def test_applying_twice_says_so_and_changes_nothing(environment: Environment, stack: Path) -> None:
    apply(environment.prefix, stack=stack)
    before = snapshot(environment.site)
    again = apply(environment.prefix, stack=stack)
    assert (again.done, again.changes, again.before, again.after) == (False, (), 4, 4)
    assert snapshot(environment.site) == before


def test_reverting_twice_says_so(environment: Environment, stack: Path) -> None:
    apply(environment.prefix, stack=stack)
    assert revert(environment.prefix, stack=stack).done
    again = revert(environment.prefix, stack=stack)
    assert (again.done, again.changes, again.before) == (False, (), 0)


def test_a_dry_run_tells_the_plan_and_touches_nothing(
    environment: Environment, stack: Path
) -> None:
    before = snapshot(environment.site)
    answer = apply(environment.prefix, stack=stack, dry_run=True)
    kinds = {change.path: change.kind for change in answer.changes}
    assert kinds["vllm/old.py"] == "delete"
    assert kinds["vllm/new/pkg/model.py"] == "add"
    assert kinds["vllm/engine.py"] == "modify"
    assert not answer.done
    assert snapshot(environment.site) == before

    apply(environment.prefix, stack=stack)
    applied = snapshot(environment.site)
    assert not revert(environment.prefix, stack=stack, dry_run=True).done
    assert snapshot(environment.site) == applied


def test_going_back_by_upto_is_refused(environment: Environment, stack: Path) -> None:
    apply(environment.prefix, stack=stack, upto="3")
    with pytest.raises(TargetError, match=r"has 3 patches of tiny, .* more than the 1") as told:
        apply(environment.prefix, stack=stack, upto="0001")
    assert "revert" in (told.value.hint or "")


@pytest.mark.parametrize("upto", ["0005", "0", "x"])
def test_an_unknown_patch_number_is_a_usage_error(
    environment: Environment, stack: Path, upto: str
) -> None:
    with pytest.raises(UsageError, match=f"tiny has no patch '{upto}'") as told:
        apply(environment.prefix, stack=stack, upto=upto)
    assert told.value.hint == "its patches are 0001 to 0004"


def test_a_drifted_target_is_refused_with_every_file(environment: Environment, stack: Path) -> None:
    before_edit = {"vllm/engine.py": b"mine\n", "vllm/new/pkg/model.py": b"older stack's\n"}
    write_tree(environment.site, before_edit)
    before = snapshot(environment.site)
    with pytest.raises(TargetError) as told:
        apply(environment.prefix, stack=stack)
    message = told.value.message
    assert "2 of 5 files are neither those of vllm 0.11.0 nor patched ones" in message
    assert "vllm/engine.py: expected sha256" in message
    assert "vllm/new/pkg/model.py: expected no file, found sha256" in message
    assert snapshot(environment.site) == before


def test_a_target_with_different_patches_in_different_files_is_refused(
    environment: Environment, stack: Path
) -> None:
    (environment.site / "vllm/old.py").unlink()
    with pytest.raises(TargetError, match=r"vllm/old\.py: as after patch 3 of 4"):
        apply(environment.prefix, stack=stack)


def test_a_lock_of_other_patches_is_refused_before_any_write(
    environment: Environment, tmp_path: Path
) -> None:
    folder = make_stack(tmp_path / "tiny")
    patch = folder / "0001-Return-three.patch"
    patch.write_bytes(patch.read_bytes().replace(b"return 3", b"return 9"))
    before = snapshot(environment.site)
    with pytest.raises(StackError, match="the lock of tiny was made of other patches") as told:
        apply(environment.prefix, stack=folder)
    assert told.value.hint == "run: vllm-patchkit lock tiny"
    assert snapshot(environment.site) == before


def test_a_result_that_the_lock_does_not_foresee_is_refused(
    environment: Environment, tmp_path: Path
) -> None:
    """The lock's digest may fit while its hashes lie; results are compared before any write."""
    folder = make_stack(tmp_path / "tiny")
    lock = read_lock(folder)
    last = lock.patches[-1]
    lying = replace(last, files=tuple(replace(file, after="0" * 64) for file in last.files))
    lies = {file.path: file.after for file in lying.files}
    net = tuple(replace(file, after=lies.get(file.path, file.after)) for file in lock.files)
    write_lock(folder, replace(lock, patches=(*lock.patches[:-1], lying), files=net))
    before = snapshot(environment.site)
    with pytest.raises(StackError, match=f"the lock says {'0' * 64}"):
        apply(environment.prefix, stack=folder)
    assert snapshot(environment.site) == before


def test_a_patch_outside_the_root_is_refused(environment: Environment, tmp_path: Path) -> None:
    outside = {**RELEASE, "sitecustomize.py": b"import evil\n"}
    folder = make_stack(tmp_path / "tiny", (Change("Escape", outside),))
    with pytest.raises(StackError, match=r"changes sitecustomize\.py, outside vllm/"):
        apply(environment.prefix, stack=folder)
    assert not (environment.site / "sitecustomize.py").exists()


def test_edits_stop_a_revert_and_are_named_by_line(environment: Environment, stack: Path) -> None:
    apply(environment.prefix, stack=stack)
    engine = environment.site / "vllm/engine.py"
    engine.write_bytes(engine.read_bytes() + b"\n\ndef mine():\n    pass\n")
    (environment.site / "vllm/new/pkg/model.py").unlink()
    before = snapshot(environment.site)
    with pytest.raises(TargetError) as told:
        revert(environment.prefix, stack=stack)
    assert "vllm/engine.py: edited at line 10-13" in told.value.message
    assert "vllm/new/pkg/model.py: it was deleted" in told.value.message
    assert "--keep-edits" in (told.value.hint or "")
    assert snapshot(environment.site) == before


@pytest.mark.parametrize("count", [2, 4])
def test_kept_edits_come_back_on_top_of_the_stack(
    environment: Environment, stack: Path, tmp_path: Path, count: int
) -> None:
    """Revert with --keep-edits, apply again, and the peer's `patch -p1` restores the edits."""
    import subprocess

    pristine = snapshot(environment.site)
    apply(environment.prefix, stack=stack, upto=str(count))
    engine = environment.site / "vllm/engine.py"
    engine.write_bytes(engine.read_bytes().replace(b"import sys", b"import os"))
    (environment.site / "vllm/new/pkg/model.py").write_bytes(b"MODEL = 2\n")
    edited = environment.tree()
    patch = tmp_path / "edits.patch"

    answer = revert(environment.prefix, stack=stack, keep_edits=patch)

    assert answer.kept_edits == ("vllm/engine.py", "vllm/new/pkg/model.py")
    assert snapshot(environment.site) == pristine
    apply(environment.prefix, stack=stack, upto=str(count))
    subprocess.run(["patch", "-p1", "-s", "-i", patch], cwd=environment.site, check=True)
    assert environment.tree() == edited


def test_saved_edits_are_never_overwritten(
    environment: Environment, stack: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "e.patch"
    saved.write_bytes(b"of last week\n")
    with pytest.raises(UsageError, match="exists, and may hold edits"):
        revert(environment.prefix, stack=stack, keep_edits=saved)
    with pytest.raises(UsageError, match="there is no folder"):
        revert(environment.prefix, stack=stack, keep_edits=tmp_path / "no" / "e.patch")
    assert saved.read_bytes() == b"of last week\n"


def test_what_was_installed_from_a_patched_wheel_is_not_reverted(
    stack: Path, tmp_path: Path
) -> None:
    """Its metadata carries the stack's version label, which no file of the base can undo."""
    built = apply(write_wheel(tmp_path), stack=stack, output=tmp_path / "out").output
    assert built is not None
    site = tmp_path / "site"
    with zipfile.ZipFile(built) as archive:
        archive.extractall(site)
    assert status(site, stack=stack).stacks[0].report.state == "applied"
    assert not apply(site, stack=stack).done
    before = snapshot(site)
    with pytest.raises(TargetError, match="installed from a wheel that was built patched") as told:
        revert(site, stack=stack)
    assert told.value.hint == "install the base: pip install --force-reinstall vllm==0.11.0"
    assert snapshot(site) == before


def test_an_output_folder_is_for_wheels(environment: Environment, stack: Path) -> None:
    with pytest.raises(UsageError, match="is no wheel"):
        apply(environment.prefix, stack=stack, output=environment.prefix)


def test_a_dry_run_saves_no_edits(environment: Environment, stack: Path, tmp_path: Path) -> None:
    apply(environment.prefix, stack=stack)
    (environment.site / "vllm/engine.py").write_bytes(b"mine\n")
    revert(environment.prefix, stack=stack, keep_edits=tmp_path / "e.patch", dry_run=True)
    assert not (tmp_path / "e.patch").exists()


def test_a_revert_needs_no_checkout_but_the_stack_s_name(
    environment: Environment, stack: Path, tmp_path: Path
) -> None:
    """The patches are those kept in the target, not those of a checkout that has moved on."""
    before = snapshot(environment.site)
    apply(environment.prefix, stack=stack)
    newer = make_stack(tmp_path / "tiny", CHANGES[:1])
    assert revert(environment.prefix, stack=newer).before == 4
    assert snapshot(environment.site) == before


def test_patches_applied_by_other_means_are_reverted_by_content(
    stack: Path, tmp_path: Path
) -> None:
    environment = install(tmp_path / "env", STEP_4)
    answer = revert(environment.prefix, stack=stack)
    assert (answer.before, answer.done) == (4, True)
    assert environment.tree() == RELEASE
    assert check_record(environment.site, environment.dist_info) == []


def test_patches_applied_by_other_means_are_continued(stack: Path, tmp_path: Path) -> None:
    environment = install(tmp_path / "env", STEP_2)
    assert apply(environment.prefix, stack=stack).before == 2
    assert environment.tree() == STEP_4
    revert(environment.prefix, stack=stack)
    assert environment.tree() == RELEASE
    assert check_record(environment.site, environment.dist_info) == []


def test_a_row_that_somebody_added_to_record_survives_a_revert(
    environment: Environment, stack: Path
) -> None:
    apply(environment.prefix, stack=stack)
    record = environment.site / environment.dist_info / "RECORD"
    record.write_bytes(record.read_bytes() + b"vllm/plugin.cfg,,\r\n")
    revert(environment.prefix, stack=stack)
    assert b"vllm/plugin.cfg,," in record.read_bytes()
    assert check_record(environment.site, environment.dist_info) == []


def test_another_version_of_the_stack_has_to_go_first(
    environment: Environment, stack: Path, tmp_path: Path
) -> None:
    apply(environment.prefix, stack=stack)
    newer = make_stack(
        tmp_path / "tiny", (Change("Other", edit(RELEASE, engine=b"x = 1\n")),),
        metadata=METADATA.replace("version = 1\n", "version = 2\n"),
    )  # fmt: skip
    answer = verify(environment.prefix, stack=newer)
    assert answer.report.state == "foreign-stack"
    with pytest.raises(TargetError, match=r"tiny \(tiny.1, 4 patches\), another version") as told:
        apply(environment.prefix, stack=newer)
    assert "vllm-patchkit revert" in (told.value.hint or "")
    revert(environment.prefix, stack=newer)
    assert apply(environment.prefix, stack=newer).done


def test_a_foreign_stack_is_named(environment: Environment, stack: Path, tmp_path: Path) -> None:
    other = make_stack(
        tmp_path / "other", (Change("Other", edit(RELEASE, engine=b"x = 1\n")),),
        metadata=METADATA.replace('"tiny"', '"other"'),
    )  # fmt: skip
    apply(environment.prefix, stack=other)
    answer = verify(environment.prefix, stack=stack)
    assert answer.report.state == "foreign-stack"
    with pytest.raises(TargetError, match=r"other \(other.1, 1 patches\) is applied here"):
        apply(environment.prefix, stack=stack)


def test_two_stacks_on_different_files_live_side_by_side(
    environment: Environment, stack: Path, tmp_path: Path
) -> None:
    other = make_stack(
        tmp_path / "other", (Change("Other", edit(RELEASE, request=b"x = 1\n")),),
        metadata=METADATA.replace('"tiny"', '"other"'),
    )  # fmt: skip
    before = snapshot(environment.site)
    apply(environment.prefix, stack=stack)
    apply(environment.prefix, stack=other)
    assert check_record(environment.site, environment.dist_info) == []
    names = {
        one.report.stack: one.report.state for one in status(environment.prefix, stack=stack).stacks
    }
    assert names == {"other": "applied", "tiny": "applied"}
    revert(environment.prefix, stack=stack)
    assert environment.tree() == edit(RELEASE, request=b"x = 1\n")
    assert check_record(environment.site, environment.dist_info) == []
    revert(environment.prefix, stack=other)
    after = snapshot(environment.site)
    record = f"{environment.dist_info}/RECORD"
    assert sorted(bytes(after.pop(record)).splitlines()) == sorted(
        bytes(before.pop(record)).splitlines()
    )
    assert after == before


def test_a_base_reinstalled_over_the_patches_leaves_a_stale_record_that_goes(
    environment: Environment, stack: Path
) -> None:
    before = environment.tree()
    apply(environment.prefix, stack=stack)
    for path in set(environment.tree()) - set(before):
        (environment.site / path).unlink()
    write_tree(environment.site, before)
    answer = status(environment.prefix, stack=stack)
    assert answer.stacks[0].report.state == "pristine"
    assert apply(environment.prefix, stack=stack).before == 0
    assert environment.tree() == STEP_4
    revert(environment.prefix, stack=stack)
    assert environment.tree() == RELEASE


def test_files_of_an_older_stack_are_told_and_go(
    environment: Environment, stack: Path, tmp_path: Path
) -> None:
    """An installer put the base back, but not what the older stack had added."""
    added = {**RELEASE, "vllm/gone_tomorrow.py": b"x = 1\n", "vllm/edited.py": b"y = 1\n"}
    older = make_stack(tmp_path / "tiny", (Change("Add", added),))
    apply(environment.prefix, stack=older)
    (environment.site / "vllm/edited.py").write_bytes(b"mine\n")
    (environment.site / "vllm/engine.py.rej").write_bytes(b"")
    (environment.site / "vllm/engine.py.orig").write_bytes(b"")

    answer = verify(environment.prefix, stack=stack)

    assert answer.report.state == "pristine"
    assert answer.leftovers == (
        "vllm/engine.py.orig", "vllm/engine.py.rej", "vllm/gone_tomorrow.py",
    )  # fmt: skip
    apply(environment.prefix, stack=stack)
    assert not (environment.site / "vllm/gone_tomorrow.py").exists()
    assert environment.read("vllm/edited.py") == b"mine\n"


def test_status_tells_what_was_applied_and_what_was_edited(
    environment: Environment, stack: Path
) -> None:
    assert status(environment.prefix, stack=stack).stacks[0].applied is None
    apply(environment.prefix, stack=stack, upto="0003")
    one = status(environment.prefix, stack=stack).stacks[0]
    assert one.applied is not None
    assert [name for name, _ in one.applied.patches] == [
        "0001-Return-three.patch", "0002-Add-a-package.patch", "0003-Stop-with-four.patch",
    ]  # fmt: skip
    assert (one.report.state, one.report.applied) == ("partial", 3)
    (environment.site / "vllm/engine.py").write_bytes(b"mine\n")
    one = status(environment.prefix, stack=stack).stacks[0]
    assert one.report.state == "drifted"


def test_a_tree_keeps_its_record_out_of_sight(stack: Path, tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "checkout", RELEASE)
    before = snapshot(tree)
    apply(tree, stack=stack)
    assert (tree / ".vllm-patchkit/tiny/applied.json").is_file()
    assert (tree / ".vllm-patchkit/.gitignore").read_bytes() == b"*\n"
    revert(tree, stack=stack)
    assert snapshot(tree) == before


def test_a_stack_for_a_model_folder_needs_no_distribution(tmp_path: Path) -> None:
    """base.root "" means the whole tree, as for a checkpoint's remote code."""
    base = {"modeling.py": b"a = 1\n", "config.json": b"{}\n"}
    folder = make_stack(
        tmp_path / "hf", (Change("Mend", {**base, "modeling.py": b"a = 2\n"}),), base=base,
        metadata=METADATA.replace('root = "vllm"', 'root = ""').replace('"vllm"', '""'),
    )  # fmt: skip
    model = write_tree(tmp_path / "model", base)
    before = snapshot(model)
    assert verify(model, stack=folder).report.state == "pristine"
    apply(model, stack=folder)
    assert (model / "modeling.py").read_bytes() == b"a = 2\n"
    revert(model, stack=folder)
    assert snapshot(model) == before
    with pytest.raises(UsageError, match="for a folder, not for an environment"):
        apply(stack=folder)
    (model / "modeling.py").write_bytes(b"a = 3\n")
    with pytest.raises(
        TargetError, match=r"1 of 1 files are neither those of 0\.11\.0 nor"
    ) as told:
        apply(model, stack=folder)
    assert told.value.hint == "put back the files of 0.11.0"


def test_without_a_name_the_stack_that_fits_the_target_is_meant(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One stack for the package, one for any folder, as in this repository."""
    base = {"modeling.py": b"a = 1\n"}
    make_stack(tmp_path / "patches/tiny")
    make_stack(
        tmp_path / "patches/hf", (Change("Mend", {"modeling.py": b"a = 2\n"}),), base=base,
        metadata=METADATA.replace('root = "vllm"', 'root = ""').replace('"tiny"', '"hf"'),
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert apply(environment.prefix).stack == "tiny"
    assert revert(environment.prefix).stack == "tiny"
    assert verify(write_tree(tmp_path / "model", base)).report.stack == "hf"
    make_stack(tmp_path / "patches/second", metadata=METADATA.replace('"tiny"', '"second"'))
    with pytest.raises(UsageError, match="holds several stacks"):
        verify(environment.prefix)


def test_identify_names_the_patches_of_every_kind_of_target(
    environment: Environment, stack: Path, tmp_path: Path
) -> None:
    apply(environment.prefix, stack=stack, upto="0003")
    answer = identify(environment.prefix, stacks=[stack])
    assert [patch.state for patch in answer.stacks[0].patches] == ["in", "in", "in", "out"]
    assert answer.stacks[0].prefix == 3
    assert answer.recorded[0].stack == "tiny"
    wheel = write_wheel(tmp_path, STEP_2)
    states = [patch.state for patch in identify(wheel, stacks=[stack]).stacks[0].patches]
    assert states == ["in", "in", "out", "out"]


def test_identify_passes_over_stacks_for_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stack for a model's folder says nothing of a wheel, and must not stop one that does."""
    make_stack(tmp_path / "patches/tiny")
    base = {"modeling.py": b"a = 1\n"}
    make_stack(
        tmp_path / "patches/hf", (Change("Mend", {"modeling.py": b"a = 2\n"}),), base=base,
        metadata=METADATA.replace('root = "vllm"', 'root = ""').replace('"tiny"', '"hf"')
        .replace('distribution = "vllm"', 'distribution = ""'),
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    answer = identify(write_wheel(tmp_path, STEP_2))
    assert [(stack.stack, stack.prefix) for stack in answer.stacks] == [("tiny", 2)]


def test_identify_sees_a_subset_and_patches_in_edited_files(stack: Path) -> None:
    """Somebody took 1 and 4 only, and edited the file of 1."""
    tree = {**RELEASE, "vllm/engine.py": b"# mine\n" + STEPS[1]["vllm/engine.py"]}
    tree.update({path: STEP_4[path] for path in STEP_4 if "E=1" in path})
    found = identify_contents(tree.get, stacks=[stack]).stacks[0]
    assert [patch.state for patch in found.patches] == ["in", "out", "partly", "in"] or [
        patch.state for patch in found.patches
    ] == ["in", "out", "out", "in"]
    assert found.prefix is None


def test_verify_and_status_read_wheels(stack: Path, tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, STEP_4)
    answer = verify(wheel, stack=stack)
    assert (answer.target.kind, answer.report.state) == ("wheel", "applied")
    assert status(wheel, stack=stack).stacks[0].report.state == "applied"
    with pytest.raises(TargetError, match="is a wheel; a wheel is never changed"):
        revert(wheel, stack=stack)


def test_what_is_recorded_inside_is_identified_by_what_is_inside(
    environment: Environment, stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkout has another stack, and another version of this one."""
    apply(environment.prefix, stack=stack)
    patches = tmp_path / "checkout" / "patches"
    newer = edit(RELEASE, engine=b"NEW = 1\n")
    make_stack(patches / "tiny", (Change("Other", newer),), metadata=METADATA)
    other = METADATA.replace("tiny", "other")
    make_stack(patches / "other", (Change("Add", edit(RELEASE, x=b"X = 1\n")),), metadata=other)
    monkeypatch.chdir(tmp_path / "checkout")
    found = identify(environment.prefix).stacks
    assert [(one.stack, len(one.patches), one.is_inside) for one in found] == [
        ("tiny", 4, True),
        ("other", 1, False),
    ]
    assert {patch.state for patch in found[0].patches} == {"in"}


def test_a_stack_that_is_not_inside_takes_one_line(
    environment: Environment, stack: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    apply(environment.prefix, stack=stack)
    other = METADATA.replace("tiny", "other")
    folder = tmp_path / "checkout" / "patches" / "other"
    make_stack(folder, (Change("Add", edit(RELEASE, x=b"X = 1\n")),), metadata=other)
    monkeypatch.chdir(tmp_path / "checkout")
    assert main(["identify", str(environment.prefix)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "tiny tiny.1: 4 of 4 patches"
    assert lines[-2:] == ["not inside: other other.1", "recorded: tiny tiny.1, 4 patches"]
    assert main(["identify", str(environment.prefix), "--stack", "other"]) == 0
    assert "  out      0001-Add.patch" in capsys.readouterr().out
