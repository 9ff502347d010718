"""Formatters in the very version that a release pins, and what they made of a file before."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from vllm_patchkit.errors import CommandFailed, HostError
from vllm_patchkit.host.cache import cache_dir
from vllm_patchkit.host.files import made_whole, replacement
from vllm_patchkit.host.process import isolated, run

# As -m would run it, with its folder before all others, and whatever PYTHONPATH says.
RUN_FROM = (
    "import runpy, sys; sys.path.insert(0, {!r}); "
    "runpy.run_module({!r}, run_name='__main__', alter_sys=True)"
)

Words = tuple[str, ...]
Format = Callable[[dict[str, str]], dict[str, bytes]]


def find_formatter(name: str, version: str) -> tuple[Words, str]:
    """Return the command that runs a formatter, and the version that it is.

    The pinned version is installed into a folder of the cache, once. Where no registry can be
    reached, the one that is installed beside this program serves.

    :raises HostError: neither can be had.
    """
    folder = cache_dir() / "tools" / f"{name}-{version}"
    if not folder.is_dir():
        try:
            _install(name, version, folder)
        except CommandFailed as failure:
            return _find_installed(name, version, failure)
    if (folder / "bin" / name).is_file() and name == "ruff":
        return (str(folder / "bin" / name),), version
    return (sys.executable, "-I", "-c", RUN_FROM.format(str(folder), name)), version


def _install(name: str, version: str, folder: Path) -> None:
    with made_whole(folder) as fresh:
        argv = [*isolated(sys.executable, "pip"), "install", "--quiet", "--no-input"]
        argv += ["--disable-pip-version-check", "--no-cache-dir", "--target", fresh]
        run([*argv, f"{name}=={version}"])


def find_program(name: str) -> str | None:
    """Return the program beside this Python, or else on ``PATH``."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.is_file() else shutil.which(name)


def _find_installed(name: str, version: str, failure: CommandFailed) -> tuple[Words, str]:
    found = find_program(name)
    if found is None:
        raise HostError(
            f"--normalise needs {name} {version}, which pip cannot install: {failure.last_line}",
            hint=f"pip install {name}, or name a formatter with --formatter",
        ) from None
    words = run([found, "--version"]).decode("utf-8", "replace").split()
    return (found,), next((word for word in words if word[:1].isdigit()), "of unknown version")


def format_cached(key: str | None, files: dict[str, str], format_all: Format) -> dict[str, bytes]:
    """Return blob id -> formatted content; what was formatted before is taken from the cache.

    :param key: says formatter, version and settings; None formats anew.
    :param files: blob id -> path.
    :param format_all: formats what is not in the cache.
    """
    if key is None:
        return format_all(files)
    folder = cache_dir() / "formatted" / hashlib.sha256(key.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    # Some rules look at a file's name (__init__.py).
    places = {blob: folder / f"{blob}-{path.rpartition('/')[2]}" for blob, path in files.items()}
    known = {blob: place.read_bytes() for blob, place in places.items() if place.is_file()}
    fresh = format_all({blob: path for blob, path in files.items() if blob not in known})
    for blob, data in fresh.items():
        with replacement(places[blob]) as stream:
            stream.write(data)
    return known | fresh
