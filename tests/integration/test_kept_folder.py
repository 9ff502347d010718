"""A folder of a run goes with the run, whichever of its processes is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.waiting import wait_for
from vllm_patchkit.errors import HostError
from vllm_patchkit.launch.keeper import kept_folder

PREFIX = "vllm-patchkit-base-"
HOST = """
import time
from vllm_patchkit.launch.keeper import kept_folder
with kept_folder("vllm-patchkit-base-") as folder:
    (folder / "deep/er").mkdir(parents=True)
    (folder / "deep/er/file").write_text("some")
    print(folder, flush=True)
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        pass
"""


@pytest.fixture
def host(tmp_path):
    """Start a process that keeps a folder in ``tmp_path``; give it, the folder and the keeper."""
    started = []

    def start():
        process = subprocess.Popen(
            [sys.executable, "-c", HOST],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            # A shell's background job, as CI may be, hands down an ignored SIGINT.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        started.append(process)
        folder = Path(process.stdout.readline().strip())
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return process, folder, int(children[0])

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_ended_process_leaves_no_folder(host, tmp_path, number):
    process, folder, _ = host()
    assert (folder / "deep/er/file").exists()
    process.send_signal(number)
    assert wait_for(lambda: not list(tmp_path.iterdir())), list(tmp_path.rglob("*"))


def test_without_its_keeper_the_process_removes_the_folder(host, tmp_path):
    process, _, keeper = host()
    os.kill(keeper, signal.SIGKILL)
    process.send_signal(signal.SIGINT)
    process.wait(60)
    assert not list(tmp_path.iterdir())


def test_where_both_were_killed_the_next_one_removes_it_and_no_folder_in_use(host, tmp_path):
    process, lost, keeper = host()
    _, used, _ = host()
    os.kill(keeper, signal.SIGKILL)
    process.kill()
    process.wait(60)
    assert lost.exists()
    # Only then is the folder nobody's: the kernel unlocks it at the keeper's end.
    assert wait_for(lambda: not is_alive(keeper))
    (tmp_path / f"{PREFIX}link").symlink_to("/")
    _, new, _ = host()
    assert not lost.exists()
    assert (used / "deep/er/file").exists()
    assert (new / "deep/er/file").exists()
    assert (tmp_path / f"{PREFIX}link").is_symlink()


def test_where_no_folder_can_be_made_the_reason_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(HostError, match="no temporary folder can be made"), kept_folder(PREFIX):
        pass
