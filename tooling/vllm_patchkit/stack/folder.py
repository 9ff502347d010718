"""The files of a stack folder, and the stack that they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from vllm_patchkit.diff.parse import parse_diff
from vllm_patchkit.errors import StackError
from vllm_patchkit.stack.message import first_diff_line, parse_message
from vllm_patchkit.stack.metadata import parse_metadata, with_patches
from vllm_patchkit.stack.model import Patch, Stack
from vllm_patchkit.stack.series import SUFFIX, parse_series, patch_number

METADATA = "stack.toml"
SERIES = "series"
LOCK = "lock.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class StackFiles:
    """The files of a stack folder, unparsed. ``patches`` holds every ``*.patch``, by name.

    :param own: the package that ``[smoke]`` names, by path in the folder.
    """

    place: str
    metadata: bytes
    series: bytes
    patches: dict[str, bytes]
    own: Mapping[str, bytes] = field(default_factory=dict)


def gather_files(place: str, read: Callable[[str], bytes], names: Iterable[str]) -> StackFiles:
    """Return the files of a stack, wherever they lie: a folder, a wheel, a target's record.

    What ``stack.toml`` gets wrong shows where the stack is made of them; bytecode is none of it.

    :param place: what messages call it.
    :param read: gives a file's bytes by its path in there.
    :param names: all of these paths, of folders inside too.
    """
    metadata, series = read(METADATA), read(SERIES)
    listed = sorted(names)
    inside = f"{package_of(metadata, place)}/"
    return StackFiles(
        place=place,
        metadata=metadata,
        series=series,
        patches={name: read(name) for name in listed if "/" not in name and name.endswith(SUFFIX)},
        own={
            name: read(name)
            for name in listed
            if name.startswith(inside) and "__pycache__" not in name.split("/")
        },
    )


def package_of(metadata: bytes, place: str) -> str:
    """Return the package of its own that a stack names in ``[smoke]``; "" for none."""
    try:
        return parse_metadata(metadata, f"{place}/{METADATA}").smoke.package
    except StackError:
        return ""


def make_stack(folder: StackFiles) -> Stack:
    """Return the stack that ``folder`` holds."""
    metadata = parse_metadata(folder.metadata, f"{folder.place}/{METADATA}")
    names = parse_series(folder.series, f"{folder.place}/{SERIES}")
    missing = [name for name in names if name not in folder.patches]
    if missing:
        raise StackError(f"{folder.place}/{SERIES} names {missing[0]}, which does not exist")
    patches = tuple(make_patch(name, folder.patches[name]) for name in names)
    return with_patches(metadata, patches, folder.metadata)


# A command that exports patches proves each one and then locks it: read once.
@lru_cache(maxsize=500)
def make_patch(name: str, data: bytes) -> Patch:
    """Return the patch that the file ``name`` with content ``data`` is.

    What the message quotes is no part of its diff; where the message ends, ``git am`` decides.

    :raises PatchFormatError: the diff is malformed.
    """
    return Patch(
        name=name,
        number=patch_number(name),
        message=parse_message(data),
        files=parse_diff(data, source=name, first_line=first_diff_line(data)),
        data=data,
    )
