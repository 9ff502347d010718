"""Claims of docs/security.md that no other test holds."""

from __future__ import annotations

import ast
import json
import os
import re
import stat
from pathlib import Path

import pytest

import vllm_patchkit
from support.environments import RELEASE, install, make_stack, snapshot, write_wheel
from support.stacks import METADATA, Change
from vllm_patchkit import apply, lint, lock, revert, status, verify
from vllm_patchkit.errors import PatchkitError, StackError, TargetError
from vllm_patchkit.fork.store.git import git_environment
from vllm_patchkit.host.files import replace_file
from vllm_patchkit.stack.lock import parse_lock
from vllm_patchkit.stack.metadata import parse_metadata
from vllm_patchkit.stack.series import parse_series

PACKAGE = Path(vllm_patchkit.__file__).parent
ROOT = Path(__file__).parents[2]
ESCAPES = ("../outside", "/tmp/outside", "vllm/../../outside", "C:/outside", "a\\b", ".git/config")


@pytest.mark.parametrize("path", ESCAPES)
@pytest.mark.parametrize("operation", ["apply", "revert"])
@pytest.mark.parametrize("field", ["entries", "folders", "prune"])
def test_a_journal_that_a_wheel_brought_along_reaches_nothing_outside(
    path: str, operation: str, field: str, tmp_path: Path
) -> None:
    """Recovery renames files by the journal's word, and the journal lies in the dist-info."""
    environment = install(tmp_path / "env")
    stack = make_stack(tmp_path / "stack")
    journal = environment.site / environment.dist_info / "vllm_patchkit/journal"
    (journal / "new").mkdir(parents=True)
    (journal / "new/0").write_bytes(b"planted")
    entry = {"path": path, "before": None, "after": "0" * 64}
    plan = {"format": 1, "operation": operation, "stack": "tiny", "title": "x",
            "entries": [], "folders": [], "prune": []}  # fmt: skip
    plan[field] = [entry] if field == "entries" else [path]
    (journal / "plan.json").write_text(json.dumps(plan))
    before = snapshot(tmp_path)
    for change in (apply, revert):
        with pytest.raises(TargetError, match="is refused"):
            change(environment.prefix, stack=stack)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("path", ESCAPES)
def test_a_lock_and_a_record_name_only_files_of_the_target(path: str, tmp_path: Path) -> None:
    environment = install(tmp_path / "env")
    stack = make_stack(tmp_path / "stack")
    document = json.loads((stack / "lock.json").read_text())
    document["files"][0]["path"] = path
    with pytest.raises(StackError, match="is refused"):
        parse_lock(json.dumps(document).encode(), "lock.json")
    apply(environment.prefix, stack=stack)
    record = environment.site / environment.dist_info / "vllm_patchkit/tiny/applied.json"
    applied = json.loads(record.read_text())
    applied["files"][0]["path"] = path
    record.write_text(json.dumps(applied))
    with pytest.raises(StackError, match="is refused"):
        status(environment.prefix, stack=stack)


@pytest.mark.parametrize("name", ["../up", "/abs", "a/b", "..", "", "a\x00b"])
def test_a_stack_s_name_is_one_folder(name: str) -> None:
    text = METADATA.replace('name = "tiny"', f"name = {json.dumps(name)}")
    with pytest.raises(StackError):
        parse_metadata(text.encode(), "stack.toml")


@pytest.mark.parametrize("line", ["../0001-a.patch", "/0001-a.patch", "a/0001-a.patch", "|true"])
def test_a_series_names_files_beside_it(line: str) -> None:
    with pytest.raises(StackError):
        parse_series(line.encode() + b"\n", "series")


def test_nothing_of_a_stack_is_run_but_by_smoke(tmp_path: Path) -> None:
    """Lint compiles what patches write and checks that a probe is an expression; no more."""
    touch = tmp_path / "executed"
    code = f"import pathlib\npathlib.Path({str(touch)!r}).touch()\n".encode()
    probe = (
        '\n[[probe]]\npatch = "0001"\nimports = ["vllm"]\n'
        f"expression = \"open({str(touch)!r}, 'w')\"\n"
    )
    stack = make_stack(
        tmp_path / "stack",
        (Change("Run", {**RELEASE, "vllm/__init__.py": code}),),
        metadata=METADATA + probe,
    )
    base = write_wheel(tmp_path / "base")
    environment = install(tmp_path / "env")
    lint(stack, base=base)
    lock(stack, base=base)
    apply(environment.prefix, stack=stack)
    verify(environment.prefix, stack=stack)
    status(environment.prefix, stack=stack)
    revert(environment.prefix, stack=stack)
    assert not touch.exists()


def test_no_shell_reads_anything() -> None:
    """Programs are started from lists of words; data is never evaluated or unpickled."""
    banned = {"eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads"}
    banned |= {"marshal.loads", "yaml.load", "tempfile.mktemp"}
    # The worker runs the probes of a stack, in the target's interpreter: that is what smoke is.
    allowed = {"worker", "smoke"}
    paths = list(PACKAGE.rglob("*.py"))
    assert len(paths) > 100
    for path in paths:
        for node in ast.walk(ast.parse(path.read_bytes())):
            if not isinstance(node, ast.Call):
                continue
            assert not any(word.arg == "shell" for word in node.keywords), path
            if path.relative_to(PACKAGE).parts[0] not in allowed:
                assert ast.unparse(node.func) not in banned, path


def test_settings_of_git_in_the_surroundings_do_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (
        "GIT_DIR",
        "GIT_SSH_COMMAND",
        "GIT_EXTERNAL_DIFF",
        "GIT_CONFIG_COUNT",
        "GIT_EDITOR",
    ):
        monkeypatch.setenv(name, "planted")
    assert "planted" not in git_environment().values()
    assert git_environment()["GIT_CONFIG_GLOBAL"] == os.devnull


def test_a_link_in_the_place_of_an_output_is_replaced_and_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    (tmp_path / "output").symlink_to(precious)
    replace_file(tmp_path / "output", b"new")
    assert precious.read_bytes() == b"mine"
    assert not (tmp_path / "output").is_symlink()


def test_a_temporary_file_is_private_until_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies beside its target, under a name nobody can foresee, readable by its owner only."""
    seen: list[int] = []

    def look(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            return
        seen.append(stat.S_IMODE(os.fstat(handle).st_mode))
        (only,) = tmp_path.iterdir()
        assert re.fullmatch(r"\.output\.\w{8}", only.name)

    monkeypatch.setattr("vllm_patchkit.host.files.os.fsync", look)
    replace_file(tmp_path / "output", b"data")
    assert seen
    assert all(mode & 0o022 == 0 for mode in seen)


def test_a_name_of_a_target_is_never_an_option(tmp_path: Path) -> None:
    with pytest.raises(PatchkitError, match="there is no"):
        verify("--help", stack=make_stack(tmp_path / "stack"))


@pytest.mark.parametrize("page", ["security.md", "attacks.md"])
def test_every_claim_names_a_test_that_exists(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    named = re.findall(r"`(test_\w+)`", text)
    code = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    missing = [name for name in named if not re.search(rf"def {name}\b", code)]
    assert len(named) > 20
    assert missing == []
