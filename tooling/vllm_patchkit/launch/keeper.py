"""A temporary folder that goes when this process does, however it ends, SIGKILL included.

Another process, the keeper, makes the folder, and removes it at the end of its standard input, a
pipe from here. Were both killed, the next keeper finds a folder that nobody has locked.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vllm_patchkit.errors import HostError

KEEP_S = 30.0
# The name that others look for comes after the lock, so that nobody finds a new folder unlocked.
CODE = """
import fcntl, os, shutil, signal, sys, tempfile, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
prefix, place = sys.argv[1], tempfile.gettempdir()

def lock(path):
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return handle

for entry in os.scandir(place):
    if entry.name.startswith(prefix) and entry.stat(follow_symlinks=False).st_uid == os.geteuid():
        try:
            os.close(lock(entry.path))
        except OSError:
            continue
        shutil.rmtree(entry.path, ignore_errors=True)
new = tempfile.mkdtemp(prefix=".new-" + prefix, dir=place)
lock(new)
folder = os.path.join(place, prefix + new.rpartition("-")[2])
os.rename(new, folder)
print(folder, flush=True)
sys.stdin.read()
for _ in range(100):
    shutil.rmtree(folder, ignore_errors=True)
    if not os.path.lexists(folder):
        break
    time.sleep(0.1)
"""


@contextmanager
def kept_folder(prefix: str) -> Iterator[Path]:
    """Give a new folder in the temporary folder; nothing of it stays.

    :param prefix: of its name; folders of that name that nobody keeps any more are removed.
    :raises HostError: the folder cannot be made.
    """
    with subprocess.Popen(
        [sys.executable, "-I", "-c", CODE, prefix],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Ctrl-C, and a signal to the group, are for this process.
        start_new_session=True,
    ) as keeper:
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        assert keeper.stderr is not None
        name = keeper.stdout.readline().rstrip("\n")
        if not name:
            reason = keeper.stderr.read().strip().splitlines()[-1:]
            raise HostError(
                f"no temporary folder can be made: {' '.join(reason)}",
                hint="name another one in TMPDIR",
            )
        try:
            yield Path(name)
        finally:
            keeper.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                keeper.wait(KEEP_S)
            # Only where the keeper was killed is there anything left.
            shutil.rmtree(name, ignore_errors=True)
