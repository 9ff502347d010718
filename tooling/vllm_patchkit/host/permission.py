"""What this user may not read or write: the place that denies it, and whose it is."""

from __future__ import annotations

import os
from pathlib import Path

from vllm_patchkit.errors import HostError


def require_readable(path: Path, *, runs: bool = False) -> None:
    """See that a file may be read, or run, and a folder listed and entered.

    What is not there is not denied.

    :param runs: a file that is a program.
    :raises HostError: names the first folder on the way that denies it, or the path.
    """
    place = _denying(path, runs=runs)
    if place is not None:
        raise _refusal(f"you have no permission to read {path}", place)


def explain_denial(path: Path) -> HostError:
    """Return what is said where the system denied a file, to be read or to be written."""
    place = _denying(path)
    if place is not None:
        return _refusal(f"you have no permission to read {path}", place)
    place = path if path.exists() else path.parent
    return HostError(
        f"you have no permission to write {path}",
        hint=f"{place} belongs to {_owner(place)}: run as {_owner(place)}, or write elsewhere",
    )


def _denying(path: Path, *, runs: bool = False) -> Path | None:
    for way in (Path(os.path.abspath(path)), Path(os.path.realpath(path))):  # noqa: PTH100 - a link's own folders
        for folder in reversed(way.parents):
            if not os.access(folder, os.X_OK):
                return folder if os.path.lexists(folder) else None
        asked = os.R_OK | os.X_OK if os.path.isdir(way) else os.X_OK if runs else os.R_OK  # noqa: PTH112 - its errors are no answer
        if os.path.lexists(way) and os.path.exists(way) and not os.access(way, asked):  # noqa: PTH110 - as above
            return way
    return None


def _refusal(message: str, place: Path) -> HostError:
    return HostError(
        message,
        hint=f"run as {_owner(place)}, whose it is, or let {_owner(place)} do: chmod a+rX {place}",
    )


def _owner(place: Path) -> str:
    import pwd

    try:
        number = place.lstat().st_uid
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
    except OSError:
        return "another user"
