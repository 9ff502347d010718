"""The output is there in full, or nothing is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vllm_patchkit.errors import HostError
from vllm_patchkit.wheel.output import new_file

NO_TMPFILE = OSError(95, "Operation not supported")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(params=["unnamed", "hidden"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with unnamed files and with the fallback of file systems without them."""
    if request.param == "hidden":
        real = os.open

        def refuse(path: str, flags: int, *args: int, **kwargs: int) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise NO_TMPFILE
            return real(path, flags, *args, **kwargs)

        monkeypatch.setattr(os, "open", refuse)
    return str(request.param)


@pytest.mark.usefixtures("kind")
def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.whl"
    old = os.umask(0o077)
    try:
        with new_file(path, 4) as stream:
            stream.write(b"data")
            assert not path.exists()
    finally:
        os.umask(old)
    assert path.read_bytes() == b"data"
    assert path.stat().st_mode == 0o100644
    assert names(path.parent) == ["a.whl"]


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_when_the_block_fails(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.whl"
    path.write_bytes(b"old")

    def write_and_fail() -> None:
        with new_file(path, 4) as stream:
            stream.write(b"data")
            raise error

    with pytest.raises(error):
        write_and_fail()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.whl"]


@pytest.mark.usefixtures("kind")
def test_an_old_file_is_replaced_and_its_hard_links_are_not(tmp_path: Path) -> None:
    path = tmp_path / "a.whl"
    path.write_bytes(b"old")
    os.link(path, tmp_path / "link")
    with new_file(path, 3) as stream:
        stream.write(b"new")
    assert path.read_bytes() == b"new"
    assert (tmp_path / "link").read_bytes() == b"old"


def test_a_folder_without_room_is_refused_first(tmp_path: Path) -> None:
    with (
        pytest.raises(HostError, match=r"MB free; the wheel takes 1000000000 MB"),
        new_file(tmp_path / "a.whl", 10**15),
    ):
        raise AssertionError("the block must not run")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_bytes(b"")
    with (
        pytest.raises(HostError, match=r"cannot write .*a.whl: (Not a directory|File exists)"),
        new_file(blocker / "a.whl", 1),
    ):
        raise AssertionError("the block must not run")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_build_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from vllm_patchkit.wheel.output import new_file\n"
        f"with new_file(Path({str(tmp_path)!r}) / 'a.whl', 9) as stream:\n"
        "    stream.write(b'x' * 5_000_000); stream.flush(); print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(number)
        child.wait(60)
    time.sleep(0.01)
    assert names(tmp_path) == []
