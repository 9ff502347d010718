"""Upstream's tests: which files are chosen, what is unpacked, how a file's end is told."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from vllm_patchkit.worker.upstream.choose import choose, find_imports, keep
from vllm_patchkit.worker.upstream.run import collect, is_local, judge_end
from vllm_patchkit.worker.upstream.unpack import unpack

TREE = {
    "tests/__init__.py": "",
    "tests/conftest.py": "import vllm.envs\n",
    "tests/utils.py": "import vllm.envs\n",
    "tests/test_plain.py": "import vllm.envs as envs\n",
    "tests/test_other.py": "import vllm\nfrom tests.utils import x\n",
    "tests/v1/core/utils.py": "from vllm.v1.core.sched.scheduler import Scheduler\n",
    "tests/v1/core/test_late.py": "def test():\n    from vllm.v1.core.sched import scheduler\n",
    "tests/v1/core/test_through.py": "from .utils import create\nfrom ...utils import y\n",
    "tests/v1/core/test_absolute.py": "from tests.v1.core.utils import create\n",
    "tests/v1/core/scheduler_test.py": "import vllm.v1.core.sched.scheduler\n",
    "tests/v1/core/test_wrong.py": "import vllm.envs (\n",
    "tests/v1/core/helper.py": "import vllm.envs\n",
}
SCHEDULER = "vllm.v1.core.sched.scheduler"


def write_tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def test_a_file_is_chosen_for_what_it_and_its_neighbours_import(tmp_path):
    found = choose(write_tree(tmp_path, TREE), [SCHEDULER, "vllm.envs", "vllm.unused"])
    assert found == {
        "tests/test_plain.py": ["vllm.envs"],
        "tests/test_other.py": ["vllm.envs"],
        "tests/v1/core/scheduler_test.py": [SCHEDULER],
        "tests/v1/core/test_absolute.py": [SCHEDULER],
        "tests/v1/core/test_late.py": [SCHEDULER],
        "tests/v1/core/test_through.py": [SCHEDULER],
    }


def test_a_name_is_the_end_of_a_path():
    chosen = {"tests/v1/test_a.py": ["m"], "tests/test_a.py": ["m"], "tests/v1/test_ba.py": ["m"]}
    assert list(keep(chosen, ["v1/test_a.py"])) == ["tests/v1/test_a.py"]
    assert list(keep(chosen, [])) == list(chosen)


def test_relative_imports_are_resolved_as_python_does(tmp_path):
    text = "from . import a\nfrom ..b import c\n"
    write_tree(tmp_path, {"tests/v1/test_x.py": text, "tests/v1/__init__.py": "from . import a\n"})
    assert set(find_imports(tmp_path / "tests/v1/test_x.py", tmp_path)) == {
        "tests.v1",
        "tests.v1.a",
        "tests.b",
        "tests.b.c",
    }
    assert "tests.v1.a" in set(find_imports(tmp_path / "tests/v1/__init__.py", tmp_path))


def write_sdist(path: Path, members: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return path


def test_only_tests_come_out_of_an_sdist(tmp_path):
    members = {
        "vllm-1/tests/test_a.py": b"a",
        "vllm-1/vllm/__init__.py": b"no",
        "vllm-1/pyproject.toml": b"p",
        "PKG-INFO": b"no",
    }
    sdist = write_sdist(tmp_path / "s.tar.gz", members, {"vllm-1/tests/link.py": "/etc/passwd"})
    unpack(sdist, tmp_path / "out")
    files = {path.relative_to(tmp_path / "out").as_posix() for path in tmp_path.glob("out/**/*.*")}
    assert files == {"tests/test_a.py", "pyproject.toml"}


def test_a_path_out_of_the_folder_is_refused(tmp_path):
    sdist = write_sdist(tmp_path / "s.tar.gz", {"vllm-1/tests/../../../evil.py": b"e"})
    with pytest.raises(ValueError, match="does not lead upwards"):
        unpack(sdist, tmp_path / "a/b/out")
    assert not list(tmp_path.rglob("evil.py"))


OUTCOMES = """
import os, socket, time, pytest

def test_passes(): pass
def test_fails(): assert 1 == 2
@pytest.mark.skip(reason="not here")
def test_skips(): pass
@pytest.mark.xfail
def test_expected(): assert False
@pytest.fixture
def broken(): raise RuntimeError("no fixture")
def test_error(broken): pass
def test_offline():
    with pytest.raises(OSError, match="no network here"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    with pytest.raises(OSError, match="no network here"):
        socket.create_connection(("example.org", 80), timeout=1)
def test_loopback():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
"""


def run(tmp_path: Path, text: str) -> dict:
    """Run a file as the stage does: in a process whose children are all the file's.

    Its time is over, by a clock that is put forward, when there is a file ``late``.
    """
    write_tree(tmp_path, {"tests/test_it.py": text})
    code = (
        "import json, sys, time; from pathlib import Path; from types import SimpleNamespace\n"
        "from importlib import import_module\n"
        "run = import_module('vllm_patchkit.worker.upstream.run')\n"
        "late = Path(sys.argv[1], 'late')\n"
        "clock = lambda: time.monotonic() + 1000 * late.exists()\n"
        "run.time = SimpleNamespace(monotonic=clock)\n"
        "ended = run.run_file(Path(sys.argv[1]), 'tests/test_it.py', None, 600.0)\n"
        "print(json.dumps(ended))"
    )
    return json.loads(subprocess.check_output([sys.executable, "-c", code, str(tmp_path)]))


def test_each_test_reports_its_end(tmp_path):
    ended = run(tmp_path, OUTCOMES)
    assert (ended["state"], ended["reason"]) == ("ended", "")
    short = {test.rpartition(":")[2]: how for test, how in ended["outcomes"].items()}
    assert {test: how[0] for test, how in short.items()} == {
        "test_passes": "passed",
        "test_fails": "failed",
        "test_skips": "skipped",
        "test_expected": "xfailed",
        "test_error": "error",
        "test_offline": "passed",
        "test_loopback": "passed",
    }
    assert short["test_fails"][1] == "assert 1 == 2"
    assert short["test_error"][1] == "RuntimeError: no fixture"


def test_what_cannot_be_collected_says_why(tmp_path):
    ended = run(tmp_path, "import no_such_module_at_all\n")
    assert ended["state"] == "ended"
    ((outcome, reason),) = ended["outcomes"].values()
    assert outcome == "collection error"
    assert "no_such_module_at_all" in reason


def test_a_test_that_hangs_is_named(tmp_path):
    hangs = "def test_b(): open('late', 'w').close(); time.sleep(9999)\n"
    ended = run(tmp_path, f"import time\ndef test_a(): pass\n{hangs}def test_c(): pass\n")
    assert ended["state"] == "timeout"
    assert [how for how, _ in ended["outcomes"].values()] == ["passed", "timeout"]
    assert 1000 < ended["seconds"] < 1600


def test_a_process_that_dies_is_a_crash_of_its_test(tmp_path):
    text = "import os, signal\ndef test_a(): os.kill(os.getpid(), signal.SIGSEGV)\n"
    ended = run(tmp_path, text)
    assert ended["state"] == "crashed"
    assert ended["reason"].startswith("signal 11")
    assert ended["outcomes"] == {"tests/test_it.py::test_a": ["crashed", ""]}


def test_a_conftest_that_fails_is_a_crash_with_its_reason(tmp_path):
    write_tree(tmp_path, {"tests/conftest.py": "import no_such_module_at_all\n"})
    ended = run(tmp_path, "def test_a(): pass\n")
    assert ended["state"] == "crashed"
    assert "no_such_module_at_all" in ended["reason"]
    assert ended["outcomes"] == {}


def test_the_end_of_a_run_that_said_nothing(tmp_path):
    assert judge_end(None, tmp_path / "none") == ("timeout", "")
    assert judge_end(-9, tmp_path / "none") == ("crashed", "signal 9: ")
    assert judge_end(5, tmp_path / "none") == ("ended", "")


def test_the_last_word_on_a_test_counts():
    lines = [["t", "started", ""], ["t", "passed", ""], ["t", "error", "x"], ["u", "started", ""]]
    found = collect([json.dumps(line).encode() for line in lines], "timeout")
    assert found == {"t": ("error", "x"), "u": ("timeout", "")}


@pytest.mark.parametrize("host", ["huggingface.co", "8.8.8.8", b"pypi.org", "2606:4700::1"])
def test_other_machines_are_no_part_of_this_one(host):
    assert not is_local(host)
