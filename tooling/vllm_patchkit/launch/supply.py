"""What upstream's tests need and an environment lacks, in a folder beside it.

The environment stays as it is. The folder is the last place that its interpreter looks in, so that
nothing of its own is replaced.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from vllm_patchkit.errors import CommandFailed, HostError
from vllm_patchkit.host.cache import cache_dir
from vllm_patchkit.host.files import made_whole
from vllm_patchkit.host.process import isolated, run
from vllm_patchkit.host.shipped import find_file, shipped_folders
from vllm_patchkit.host.terminal import Console

LOCK = "requirements-tests.lock"
# What proves that nothing is lacking: the modules that tests and their conftest.py import.
MODULES = ("pytest", "pytest_asyncio", "tblib")
QUESTION = f"import importlib.util as u; print(all(map(u.find_spec, {MODULES!r})))"


def find_supply(python: str, console: Console) -> Path | None:
    """Return the folder to look in last, None where the environment has everything itself.

    :raises HostError: it cannot be filled.
    """
    if run([python, "-I", "-c", QUESTION]).strip() == b"True":
        return None
    lock = find_file(LOCK, shipped_folders("wheels"))
    if lock is None:
        raise HostError(f"{LOCK} was not found", hint=f"install {', '.join(MODULES)} there")
    folder = cache_dir() / "supply" / hashlib.sha256(lock.read_bytes()).hexdigest()[:24]
    if not folder.is_dir():
        console.note(f"fetch pytest for upstream's tests (kept in {folder})")
        _fill(folder, lock)
    return folder


def _fill(folder: Path, lock: Path) -> None:
    """Put what the lock names into ``folder``, which appears complete or not at all."""
    words = [*isolated(sys.executable, "pip"), "install", "--quiet", "--disable-pip-version-check"]
    words += ["--no-deps", "--require-hashes", "--only-binary=:all:", "--ignore-requires-python"]
    # Pure Python: it serves any interpreter, whichever this one is.
    words += ["--platform", "any", "--requirement", lock]
    try:
        with made_whole(folder) as fresh:
            run([*words, "--target", fresh])
    except CommandFailed as error:
        raise HostError(
            f"pip could not fetch what upstream's tests need: {error.last_line}",
            hint=f"or install {', '.join(MODULES)} into the environment itself",
        ) from None
