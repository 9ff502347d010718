"""Upstream wheels by name: pinned in ``inputs.toml``, fetched with pip, kept in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vllm_patchkit.errors import UsageError, WheelError
from vllm_patchkit.host.cache import cache_dir
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.stack.model import Base
from vllm_patchkit.stack.toml import parse_toml

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelInput:
    """One pinned upstream wheel.

    :param size_bytes: 0 where it is not known.
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
    def of_base(cls, base: Base) -> WheelInput | None:
        """Return the wheel that a stack says it was cut from, None where it names none."""
        if not (base.wheel and base.sha256):
            return None
        return cls(
            name=f"{base.distribution}-{base.version}",
            distribution=base.distribution,
            version=base.version,
            file=base.wheel,
            size_bytes=0,
            sha256=base.sha256,
        )

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


def find_base(base: Base) -> WheelInput:
    """Return the wheel that a stack was cut from, as it or ``inputs.toml`` pins it.

    :raises UsageError: it is not pinned.
    """
    own = WheelInput.of_base(base)
    for entry in read_inputs().values():
        same = (entry.distribution, entry.version) == (base.distribution, base.version)
        if same and (own is None or own.sha256 == entry.sha256):
            return entry
    if own is not None:
        return own
    raise UsageError(
        f"no wheel of {base.distribution} {base.version} is pinned",
        hint="name one with --base, or pin it in stack.toml: [base] wheel and sha256",
    )


def keep_wheel(path: Path, console: Console | None = None) -> str:
    """Put a wheel into the cache under its sha256, and return that.

    It is linked where that is possible, so that 440 MB cost no second 440.
    """
    digest = hash_file(path, console)
    kept = kept_wheel(digest, path.name)
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".keep-", dir=kept.parent) as name:
            fresh = Path(name) / path.name
            try:
                os.link(path.resolve(), fresh)
            except OSError:
                shutil.copyfile(path, fresh)
            fresh.replace(kept)
    return digest


def kept_wheel(sha256: str, file: str) -> Path:
    """Return where in the cache a wheel of that digest is kept, if it is."""
    return cache_dir() / "wheels" / sha256 / file


def fetch_pinned(entry: WheelInput, console: Console | None = None) -> Path:
    """Return the path of the very wheel in the cache: found by its digest, or downloaded.

    :raises HostError: no registry has it.
    """
    console = console or Console(quiet=True)
    if read_inputs().get(entry.name) == entry:
        return fetch_input(entry.name, console)
    if cached := cached_wheel(entry, console):
        return cached
    from vllm_patchkit.wheel.fetch import download

    path = kept_wheel(entry.sha256, entry.file)
    path.parent.mkdir(parents=True, exist_ok=True)
    download(entry, path, console)
    _write_stamp(entry, path)
    return path


def cached_wheel(entry: WheelInput, console: Console) -> Path | None:
    """Return where in the cache the very wheel is, found by its digest; None where it is not."""
    places = (kept_wheel(entry.sha256, entry.file), cache_dir() / "inputs" / entry.file)
    return next((one for one in places if one.is_file() and _holds(entry, one, console)), None)


def _holds(entry: WheelInput, path: Path, console: Console) -> bool:
    if _is_stamped(entry, path):
        return True
    if hash_file(path, console) != entry.sha256:
        return False
    _write_stamp(entry, path)
    return True


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
        if _holds(entry, path, console):
            return path
        console.note(f"{path} is damaged (its sha256 is not the pinned one): fetching it again")
    # Starting programs is slow to import, and seldom needed.
    from vllm_patchkit.wheel.fetch import download

    download(entry, path, console)
    _write_stamp(entry, path)
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
