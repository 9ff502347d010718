"""Upstream wheels by name: pinned in ``inputs.toml``, fetched with pip, kept in the cache."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vllm_patchkit.cache import cache_dir
from vllm_patchkit.errors import CommandFailed, HostError, UsageError, WheelError
from vllm_patchkit.process import stream
from vllm_patchkit.terminal import Console, Progress
from vllm_patchkit.toml import parse_toml

BLOCK_BYTES = 1 << 20
# abi3 wheels run on every Python since the one in their tag; pip wants to be told one.
ABI3_PYTHON = "312"
RAW_PROGRESS_SINCE = (24, 1)
RESUME_SINCE = (25, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelInput:
    """One pinned upstream wheel.

    :param platform: the platform tag that its contents deserve, where the file name's is wrong.
    """

    name: str
    distribution: str
    version: str
    file: str
    size_bytes: int
    sha256: str
    platform: str | None = None

    @classmethod
    def from_table(cls, name: str, table: Mapping[str, Any]) -> WheelInput:
        """Return the input that a table of ``inputs.toml`` describes."""
        try:
            return cls(
                name=name,
                distribution=str(table["distribution"]),
                version=str(table["version"]),
                file=str(table["file"]),
                size_bytes=int(table["size"]),
                sha256=str(table["sha256"]),
                platform=table.get("platform"),
            )
        except (KeyError, ValueError) as error:
            raise WheelError(f"inputs.toml: input {name!r}: bad or missing {error}") from None


def inputs_file() -> Path:
    """Return where the pins are: in the installed package, or in the checkout around it."""
    package = Path(__file__).resolve().parents[1]
    packed = package / "_wheels" / "inputs.toml"
    return packed if packed.is_file() else package.parents[1] / "wheels" / "inputs.toml"


def read_tables() -> dict[str, Any]:
    """Return what ``inputs.toml`` holds."""
    path = inputs_file()
    return parse_toml(path.read_bytes(), str(path))


def read_inputs() -> dict[str, WheelInput]:
    """Return every pinned wheel by its name."""
    tables = read_tables()["input"]
    return {name: WheelInput.from_table(name, table) for name, table in tables.items()}


def find_input(name: str) -> WheelInput:
    """Return the pinned wheel of that name, such as ``vllm-0.11.0``."""
    inputs = read_inputs()
    if name not in inputs:
        raise UsageError(f"no input is called {name!r}", hint=f"pinned are: {', '.join(inputs)}")
    return inputs[name]


def find_base(distribution: str, version: str) -> WheelInput:
    """Return the pinned wheel of a release.

    :raises UsageError: it is not pinned.
    """
    for entry in read_inputs().values():
        if (entry.distribution, entry.version) == (distribution, version):
            return entry
    raise UsageError(
        f"no wheel of {distribution} {version} is pinned",
        hint="name one with --base, or pin it in wheels/inputs.toml",
    )


def fetch_input(name: str, console: Console | None = None) -> Path:
    """Return the path of a pinned wheel in the cache, downloading it first if it is not there.

    A cached file is trusted when its stamp says that these very bytes (size, modification time,
    inode) were hashed before; otherwise it is hashed now, and replaced if it is wrong.

    :raises HostError: it cannot be downloaded.
    :raises WheelError: what was downloaded is not what is pinned.
    """
    entry = find_input(name)
    console = console or Console(quiet=True)
    folder = cache_dir() / "inputs"
    folder.mkdir(exist_ok=True)
    path = folder / entry.file
    if path.is_file():
        if _is_stamped(entry, path):
            return path
        if hash_file(path, console) == entry.sha256:
            _write_stamp(entry, path)
            return path
        console.note(f"{path} is damaged (its sha256 is not the pinned one): fetching it again")
    _download(entry, path, console)
    return path


def hash_file(path: Path, console: Console | None = None) -> str:
    """Return the sha256 of a file, read in blocks, with progress."""
    digest = hashlib.sha256()
    console = console or Console(quiet=True)
    with console.progress(f"hash {path.name}", path.stat().st_size) as bar, path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            bar.advance(len(block))
    return digest.hexdigest()


def _download(entry: WheelInput, path: Path, console: Console) -> None:
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=path.parent) as name:
        folder = Path(name)
        requirements = folder / "requirements.txt"
        requirements.write_text(
            f"{entry.distribution}=={entry.version} --hash=sha256:{entry.sha256}\n"
        )
        # pip assembles the download in TMPDIR, which is often too small for 440 MB.
        environment = {**os.environ, "TMPDIR": name, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        with console.progress(f"fetch {entry.file}", entry.size_bytes) as bar:
            try:
                stream(_pip_argv(entry, requirements, folder), _reporter(bar), env=environment)
            except CommandFailed as failure:
                raise _fetch_error(entry, path, failure) from None
        fetched = folder / entry.file
        if not fetched.is_file():
            found = ", ".join(sorted(file.name for file in folder.glob("*.whl"))) or "nothing"
            raise WheelError(f"fetching {entry.name}: expected {entry.file}, pip brought {found}")
        if hash_file(fetched, console) != entry.sha256:
            raise WheelError(f"fetching {entry.name}: the sha256 is not {entry.sha256}")
        fetched.chmod(0o644)
        fetched.replace(path)
    _write_stamp(entry, path)


def _pip_argv(entry: WheelInput, requirements: Path, folder: Path) -> list[str | Path]:
    python, abi, platform = entry.file.removesuffix(".whl").split("-")[-3:]
    release = ABI3_PYTHON if abi == "abi3" else python.removeprefix("cp")
    argv: list[str | Path] = [sys.executable, "-m", "pip", "download", "--no-input"]
    argv += ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--require-hashes"]
    argv += ["--implementation", "cp", "--abi", abi, "--platform", platform]
    argv += ["--python-version", f"{release[0]}.{release[1:]}"]
    version = _pip_version()
    argv.append("--progress-bar=" + ("raw" if version >= RAW_PROGRESS_SINCE else "off"))
    if version >= RESUME_SINCE:
        argv.append("--resume-retries=20")
    return [*argv, "--dest", folder, "--requirement", requirements]


def _pip_version() -> tuple[int, int]:
    # Slow to import, and only a download needs it.
    from importlib import metadata

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
    lines = [line for line in failure.stderr_tail.splitlines() if line.startswith("ERROR:")]
    reason = lines[-1].removeprefix("ERROR:").strip() if lines else failure.message
    return HostError(
        f"pip cannot download {entry.distribution} {entry.version} ({entry.file}): {reason}",
        hint=f"check the network and pip's index settings, or put the file at {path}",
    )


def _stamp_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.verified")


def _stamp(entry: WheelInput, path: Path) -> str:
    stat = path.stat()
    return f"{entry.sha256} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}\n"


def _is_stamped(entry: WheelInput, path: Path) -> bool:
    try:
        return _stamp_path(path).read_text() == _stamp(entry, path)
    except OSError:
        return False


def _write_stamp(entry: WheelInput, path: Path) -> None:
    _stamp_path(path).write_text(_stamp(entry, path))
