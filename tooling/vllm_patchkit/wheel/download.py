"""Downloading wheels with pip: a pinned one, or whichever a release has."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from vllm_patchkit.errors import CommandFailed, HostError, WheelError
from vllm_patchkit.host.files import file_sha256, made_whole
from vllm_patchkit.host.process import isolated, run, stream
from vllm_patchkit.host.terminal import Console, Progress
from vllm_patchkit.wheel.pins import WheelInput

# abi3 wheels run on every Python since the one in their tag; pip wants to be told one.
ABI3_PYTHON = "312"
RAW_PROGRESS_SINCE = (24, 1)
RESUME_SINCE = (25, 1)
# Wheels for another machine serve as well: only their Python files are read.
PLATFORMS = (
    "any", "manylinux1_x86_64", "manylinux2014_x86_64", "manylinux_2_28_x86_64",
    "manylinux_2_31_x86_64", "manylinux_2_35_x86_64",
)  # fmt: skip
PYTHONS = ("3.12", "3.11", "3.10", "3.13")


def download(entry: WheelInput, path: Path, console: Console) -> None:
    """Put the pinned wheel at ``path``, with pip; nothing else ever appears there.

    :raises HostError: pip is missing, or cannot download.
    :raises WheelError: what it brought is not what is pinned.
    """
    _require_space(entry, path.parent)
    with made_whole(path) as fetched:
        folder = fetched.parent
        requirements = folder / "requirements.txt"
        requirements.write_text(
            f"{entry.distribution}=={entry.version} --hash=sha256:{entry.sha256}\n"
        )
        with console.progress(f"fetch {entry.file}", entry.size_bytes) as bar:
            try:
                stream(
                    _pip_argv(entry, requirements, folder),
                    _reporter(bar),
                    env=pip_environment(folder),
                )
            except CommandFailed as failure:
                raise _fetch_error(entry, path, failure) from None
        require_fetched(fetched, f"fetching {entry.name}")
        if file_sha256(fetched, console) != entry.sha256:
            raise WheelError(f"fetching {entry.name}: the sha256 is not {entry.sha256}")
        fetched.chmod(0o644)


def require_fetched(path: Path, title: str) -> None:
    """Refuse another file than the one that pip was to bring into a folder.

    :raises WheelError: it brought another one.
    """
    if not path.is_file():
        kind = f"*{path.suffix}"
        found = ", ".join(sorted(one.name for one in path.parent.glob(kind))) or "nothing"
        raise WheelError(f"{title}: expected {path.name}, pip brought {found}")


def _require_space(entry: WheelInput, folder: Path) -> None:
    """See that the wheel fits before it is fetched.

    :raises HostError: it does not.
    """
    if shutil.disk_usage(folder).free < entry.size_bytes:
        raise _no_space(entry, folder)


def _no_space(entry: WheelInput, folder: Path) -> HostError:
    free = shutil.disk_usage(folder).free
    return HostError(
        f"no space left for {entry.file} ({entry.size_bytes / 1e6:.0f} MB) in {folder}, which has "
        f"{free / 1e6:.0f} MB free",
        hint="free some space there, or put the cache elsewhere: VLLM_PATCHKIT_CACHE=DIR",
    )


def download_release(distribution: str, version: str, folder: Path, console: Console) -> Path:
    """Put a wheel of a release into ``folder``, for this machine or another, and return it.

    :raises HostError: pip finds no wheel, or cannot reach the registry.
    """
    console.note(f"fetch the wheel of {distribution} {version} with pip")
    reasons = []
    for python in ("", *PYTHONS):
        foreign = [f"--python-version={python}", *(f"--platform={name}" for name in PLATFORMS)]
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as name:
            words = [*pip_download(), "--quiet", *(foreign if python else []), "--dest", name]
            try:
                run([*words, f"{distribution}=={version}"])
            except CommandFailed as failure:
                reasons.append(failure.last_line)
                continue
            (wheel,) = Path(name).glob("*.whl")
            return wheel.rename(folder / wheel.name)
    raise HostError(
        f"pip cannot download a wheel of {distribution} {version}: {reasons[0]}",
        hint=f"check the version and pip's index settings, or put the wheel into {folder}",
    )


def _pip_argv(entry: WheelInput, requirements: Path, folder: Path) -> list[str | Path]:
    argv = [*pip_download(), "--require-hashes", *_tag_options(entry.file)]
    version = _pip_version()
    argv.append("--progress-bar=" + ("raw" if version >= RAW_PROGRESS_SINCE else "off"))
    if version >= RESUME_SINCE:
        argv.append("--resume-retries=20")
    return [*argv, "--dest", folder, "--requirement", requirements]


def pip_download(kind: str = "--only-binary=:all:") -> list[str | Path]:
    """Return how pip is called to download, and of which kind."""
    argv = [*isolated(sys.executable, "pip"), "download", "--no-input", "--no-deps"]
    return [*argv, "--disable-pip-version-check", kind, "--no-cache-dir"]


def pip_environment(folder: Path) -> dict[str, str]:
    """Return pip's environment; in TMPDIR, often too small for 440 MB, it assembles downloads."""
    return {**os.environ, "TMPDIR": str(folder)}


def _tag_options(file: str) -> list[str]:
    """Return the options with which pip takes a wheel of these tags, whatever runs it."""
    python, abi, platform = file.removesuffix(".whl").split("-")[-3:]
    if not python.startswith("cp"):
        return ["--ignore-requires-python"]
    release = ABI3_PYTHON if abi == "abi3" else python.split(".")[0].removeprefix("cp")
    options = ["--implementation", "cp", "--abi", abi]
    for name in platform.split("."):
        options += ["--platform", name]
    return [*options, "--python-version", f"{release[0]}.{release[1:]}"]


def _pip_version() -> tuple[int, int]:
    try:
        major, minor = metadata.version("pip").split(".")[:2]
    except metadata.PackageNotFoundError:
        raise HostError(
            f"{sys.executable} has no pip to download with",
            hint=f"{sys.executable} -m ensurepip --upgrade, or name a wheel with --base",
        ) from None
    return int(major), int(minor)


def _reporter(bar: Progress) -> Callable[[str], None]:
    """Return a reader of pip's raw progress lines (``Progress <bytes> of <total>``)."""

    def report(line: str) -> None:
        words = line.split()
        if len(words) == 4 and words[0] == "Progress" and words[1].isdigit():
            bar.advance(int(words[1]) - bar.done)

    return report


def _fetch_error(entry: WheelInput, path: Path, failure: CommandFailed) -> HostError:
    if "No space left on device" in failure.stderr_tail:
        return _no_space(entry, path.parent)
    lines = [line for line in failure.stderr_tail.splitlines() if line.startswith("ERROR:")]
    reason = lines[-1].removeprefix("ERROR:").strip() if lines else failure.message
    return HostError(
        f"pip cannot download {entry.distribution} {entry.version} ({entry.file}): {reason}",
        hint=f"check the network and pip's index settings, or put the file at {path}",
    )
