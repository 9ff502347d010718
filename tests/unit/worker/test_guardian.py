import os

import pytest

from vllm_patchkit.worker import guardian
from vllm_patchkit.worker.job import Job


def make(tmp_path, **fields):
    job = Job(scratch=tmp_path, stages=(), **fields)
    folders = guardian.Folders(scratch=tmp_path, code=tmp_path / "code", sockets=tmp_path / "s")
    return guardian.make_environment(job, folders)


def test_nothing_of_the_callers_python_reaches_the_target(tmp_path, monkeypatch):
    """A PYTHONPATH could shadow the artifact, a PYTHONHOME break it."""
    monkeypatch.setenv("PYTHONPATH", "/shadow")
    monkeypatch.setenv("PYTHONHOME", "/other")
    environment = make(tmp_path)
    assert environment["PYTHONPATH"] == str(tmp_path / "code")
    assert "PYTHONHOME" not in environment
    assert environment["VLLM_RPC_BASE_PATH"] == str(tmp_path / "s")


def test_a_users_own_settings_win(tmp_path, monkeypatch):
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "7")
    monkeypatch.delenv("VLLM_CPU_OMP_THREADS_BIND", raising=False)
    environment = make(tmp_path, tensor_parallel_size=2)
    assert environment["VLLM_CPU_KVCACHE_SPACE"] == "7"
    assert environment["VLLM_CPU_OMP_THREADS_BIND"] == "all|all"
    assert "VLLM_CPU_OMP_THREADS_BIND" not in make(tmp_path, device="cuda", tensor_parallel_size=2)


def test_without_a_home_the_run_has_one(tmp_path, monkeypatch):
    """A container's user may have none that can be written to."""
    monkeypatch.setenv("HOME", "/nonexistent")
    assert make(tmp_path)["HOME"] == str(tmp_path / "tmp")


@pytest.mark.parametrize("length", [10, 90])
def test_sockets_have_room_for_their_names(tmp_path, monkeypatch, length):
    """A Unix socket's path has at most 107 bytes, whatever the temporary folder is called."""
    base = tmp_path / ("x" * length)
    base.mkdir()
    monkeypatch.setattr(guardian.tempfile, "gettempdir", lambda: str(base))
    code = base / "vllm-patchkit-abcdefgh"
    code.mkdir()
    folders = guardian.make_folders(code)
    try:
        name = folders.sockets / "1c2b8e6f-48fe-4a43-b3eb-0904e632d5d8"
        assert len(os.fsencode(name)) <= 107
        assert folders.scratch.parent == base
    finally:
        folders.remove()
    assert not list(base.iterdir())
    assert not folders.sockets.exists()
