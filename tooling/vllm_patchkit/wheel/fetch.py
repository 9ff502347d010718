"""Wheels in the cache, by name or by digest; what is missing is downloaded."""

from __future__ import annotations

from pathlib import Path

from vllm_patchkit.host.cache import cache_dir
from vllm_patchkit.host.files import file_sha256, link_or_copy, made_whole
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.wheel.pins import WheelInput, find_input, read_inputs


def keep_wheel(path: Path, console: Console | None = None) -> str:
    """Put a wheel into the cache under its sha256, and return that.

    It is linked where that is possible, so that 440 MB cost no second 440.
    """
    digest = file_sha256(path, console)
    kept = kept_wheel(digest, path.name)
    if not kept.is_file():
        with made_whole(kept) as fresh:
            link_or_copy(path.resolve(), fresh)
    return digest


def kept_wheel(sha256: str, file: str) -> Path:
    """Return where in the cache a wheel of that digest is kept, if it is."""
    return cache_dir() / "wheels" / sha256 / file


def fetch_input(name: str, console: Console | None = None) -> Path:
    """Return the path of the wheel that ``inputs.toml`` pins under a name; see `fetch_pinned`."""
    return fetch_pinned(find_input(name), console)


def fetch_pinned(entry: WheelInput, console: Console | None = None) -> Path:
    """Return the path of the very wheel in the cache: found by its digest, or downloaded.

    :raises HostError: it cannot be downloaded.
    :raises WheelError: what was downloaded is not what is pinned.
    """
    console = console or Console(quiet=True)
    if cached := cached_wheel(entry.file, entry.sha256, console):
        return cached
    pinned = read_inputs().get(entry.name) == entry
    path = inputs_folder() / entry.file if pinned else kept_wheel(entry.sha256, entry.file)
    if path.is_file():
        console.note(f"{path} is damaged (its sha256 is not the pinned one): fetching it again")
    # Starting programs is slow to import, and seldom needed.
    from vllm_patchkit.wheel.download import download

    path.parent.mkdir(parents=True, exist_ok=True)
    download(entry, path, console)
    _write_stamp(path, entry.sha256)
    return path


def cached_wheel(file: str, sha256: str, console: Console) -> Path | None:
    """Return where in the cache the very wheel is, found by its digest; None where it is not.

    A file is trusted when its stamp says that these very bytes (size, modification time, inode)
    were hashed before; otherwise it is hashed now.
    """
    places = (kept_wheel(sha256, file), inputs_folder() / file)
    return next((one for one in places if one.is_file() and _holds(one, sha256, console)), None)


def inputs_folder() -> Path:
    """Return the folder of the cache that keeps files of releases under their own names."""
    return cache_dir() / "inputs"


def _holds(path: Path, sha256: str, console: Console) -> bool:
    if _is_stamped(path, sha256):
        return True
    if file_sha256(path, console) != sha256:
        return False
    _write_stamp(path, sha256)
    return True


def fetch_release(
    distribution: str, version: str, console: Console, pin: WheelInput | None = None
) -> Path:
    """Return the path of a wheel of a release in the cache; pinned ones are checked by sha256.

    :param pin: which wheel of the release it has to be; None takes any.
    :raises HostError: pip finds no wheel, or cannot reach the registry.
    """
    if pin is not None:
        return fetch_pinned(pin, console)
    name = f"{distribution}-{version}"
    if name in read_inputs():
        return fetch_input(name, console)
    if kept := find_release(distribution, version):
        return kept
    from vllm_patchkit.wheel.download import download_release

    folder = inputs_folder()
    folder.mkdir(exist_ok=True)
    return download_release(distribution, version, folder, console)


def find_release(distribution: str, version: str) -> Path | None:
    """Return a wheel of a release that is in the cache, whatever its bytes are."""
    stem = f"{distribution.replace('-', '_')}-{version}-"
    kept = (path for path in inputs_folder().glob("*.whl") if path.name.lower().startswith(stem))
    return min(kept, default=None)


def _stamp_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.verified")


def _stamp(path: Path, sha256: str) -> str:
    stat = path.stat()
    return f"{sha256} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}\n"


def _is_stamped(path: Path, sha256: str) -> bool:
    try:
        return _stamp_path(path).read_text() == _stamp(path, sha256)
    except OSError:
        return False


def _write_stamp(path: Path, sha256: str) -> None:
    _stamp_path(path).write_text(_stamp(path, sha256))
