"""What a run leaves behind when it is ended: nothing. With real processes, without vLLM."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.waiting import wait_for
from vllm_patchkit.errors import HostError
from vllm_patchkit.launch import session
from vllm_patchkit.launch.subject import Subject
from vllm_patchkit.smoke.options import SmokeOptions
from vllm_patchkit.smoke.report import Report

# A stage that behaves as badly as an engine can: children in sessions of their own, which ignore
# SIGTERM, an orphan among them, and a file in the temporary folder.
STAGE = """
import os, signal, subprocess, sys, tempfile, time
from . import events

SLEEPER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
ORPHAN = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPER!r}])"

def run(job):
    tempfile.mkstemp()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen([sys.executable, "-c", SLEEPER], start_new_session=True)
    subprocess.run([sys.executable, "-c", ORPHAN], start_new_session=True, check=True)
    if os.fork() == 0:
        time.sleep(600)
    events.check("artifact", "asleep", True)
    time.sleep(600)
"""
HOST = """
import sys
from pathlib import Path
from vllm_patchkit.launch import session
from vllm_patchkit.launch.subject import Subject
session.WORKER = Path(sys.argv[1])
subject = Subject(kind="environment", location="here", argv=(sys.executable, "-c"))
with session.listen(subject, {"stages": ("artifact",), "deadline_s": float(sys.argv[2])}) as events:
    for event in events:
        print(event["event"], event.get("state", ""), event.get("message", ""), flush=True)
"""


@pytest.fixture
def worker(tmp_path):
    """The worker with the badly behaved stage in place of ``artifact``."""
    folder = tmp_path / "worker"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(session.WORKER, folder, ignore=ignore)
    (folder / "artifact.py").write_text(STAGE, encoding="utf-8")
    return folder


@pytest.fixture
def host(worker, tmp_path):
    """Start a host; give it, its temporary folder, and a function that finds its processes."""
    started = []
    mark = f"SMOKE_TEST_MARK={tmp_path}"

    def start(deadline_s=600.0):
        temporary = tmp_path / "tmp"
        temporary.mkdir(exist_ok=True)
        name, value = mark.split("=", 1)
        process = subprocess.Popen(
            [sys.executable, "-c", HOST, str(worker), str(deadline_s)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(temporary), name: value},
            # A shell's background job, as CI may be, hands down an ignored SIGINT.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        started.append(process)
        return process, temporary, lambda: marked(mark.encode())

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
    for pid in marked(mark.encode()):
        os.kill(pid, signal.SIGKILL)


def marked(mark):
    """Return the processes that inherited the test's mark in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if mark in environment and state != "Z":
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_ended_host_leaves_no_process_and_no_file(host, number):
    """However the host is ended, all processes below it and all temporary files go."""
    process, temporary, alive = host()
    while process.stdout.readline().split()[0] != "check":
        pass
    # What was started a moment ago may not have its environment yet.
    assert wait_for(lambda: len(alive()) >= 6), alive()
    assert list(temporary.iterdir())
    process.send_signal(number)
    assert wait_for(lambda: not alive()), alive()
    assert wait_for(lambda: not list(temporary.iterdir())), list(temporary.iterdir())


def test_a_killed_guardian_leaves_no_process_and_no_file(host):
    """The one process that cleans up may be killed too; the host then removes its files."""
    process, temporary, alive = host()
    while process.stdout.readline().split()[0] != "check":
        pass
    guardian = next(
        pid
        for pid in alive()
        if b"patchkit_worker import guardian" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    os.kill(guardian, signal.SIGKILL)
    process.wait(60)
    assert wait_for(lambda: not list(temporary.iterdir())), list(temporary.iterdir())
    lines = process.stdout.read()
    assert "the worker ended with status -9" in lines


def test_the_deadline_ends_a_stage(host):
    """Past the limit the stage is ended, and the report says so."""
    process, temporary, alive = host(deadline_s=2.0)
    lines = process.stdout.read()
    assert "stage failed did not end within the time limit" in lines
    assert process.wait(60) == 0
    assert not alive()
    assert not list(temporary.iterdir())


def run(argv, job):
    subject = Subject(kind="environment", location="here", argv=argv)
    options = SmokeOptions(checks_only=True)
    report = Report(subject=subject.describe(), options=options)
    with session.listen(subject, job) as events:
        for event in events:
            report.add(event)
    return report


def test_an_interpreter_without_vllm_is_the_wrong_artifact(tmp_path):
    """Said by name, as a failed check and not as a traceback."""
    environment = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    report = run((str(environment / "bin" / "python"), "-c"), SmokeOptions().to_job({}))
    assert [(check["name"], check["ok"]) for check in report.checks] == [
        ("vllm is importable", False)
    ]
    assert report.exit_code == 1
    assert not report.problems
    assert json.loads(json.dumps(report.to_json()))["ok"] is False


def test_an_interpreter_that_does_not_start_is_named():
    with pytest.raises(HostError, match="cannot be started"):
        run(("/nonexistent/python", "-c"), SmokeOptions().to_job({}))
    with pytest.raises(HostError, match="the worker did not start in here"):
        run((shutil.which("false"), "-c"), SmokeOptions().to_job({}))
