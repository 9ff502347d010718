"""The order of a stack and the names of its files."""

from __future__ import annotations

import re
from collections.abc import Iterable

from vllm_patchkit.errors import StackError

PATCH_NAME = re.compile(r"(\d{4})-[A-Za-z0-9._-]+\.patch")
SUFFIX = ".patch"
# git's default of format.filenameMaxLength, which counts the terminating NUL too.
NAME_MAX_LENGTH = 64


def parse_series(data: bytes, source: str = "series") -> tuple[str, ...]:
    """Return the names in a quilt-style ``series`` file, in order.

    ``#`` starts a comment. Options behind a name (quilt's ``-p0``, ``-R``) are refused: a stack
    is applied one way only.

    :raises StackError: not UTF-8, an option, or a name that is none of a patch file.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StackError(f"{source} is not UTF-8: {error}") from None
    names = []
    for number, line in enumerate(text.split("\n"), 1):
        words = line.partition("#")[0].split()
        if len(words) > 1:
            raise StackError(
                f"{source}:{number}: {' '.join(words[1:])!r} after the name of the patch",
                hint="patches of a stack all apply with -p1; a name stands alone on its line",
            )
        if words and not PATCH_NAME.fullmatch(words[0]):
            raise StackError(
                f"{source}:{number}: {words[0]!r} is not named NNNN-subject.patch",
                hint="'vllm-patchkit refresh' names patches as git format-patch does",
            )
        names.extend(words)
    return tuple(names)


def format_series(names: Iterable[str]) -> bytes:
    """Return the ``series`` file of ``names``."""
    return "".join(f"{name}\n" for name in names).encode("ascii")


def patch_number(name: str) -> int:
    """Return the NNNN of a patch file's name.

    :raises ValueError: it is not such a name.
    """
    match = PATCH_NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"not a patch file's name: {name!r}")
    return int(match[1])


def patch_name(number: int, subject: str) -> str:
    """Return the name that ``git format-patch`` gives patch ``number`` of that subject.

    Rule (git's ``pretty.c`` and ``log-tree.c``): runs of other characters than letters, digits,
    dot and underscore become one ``-``, runs of dots one dot, dots and dashes at the end go, and
    the stem is cut to fit 64 bytes together with the suffix and a NUL.

    >>> patch_name(7, "[Core] Run requests in lock-step: schedule them together, or not")
    '0007-Core-Run-requests-in-lock-step-schedule-them-togethe.patch'
    """
    slug = re.sub(rb"[^A-Za-z0-9._]+", b"-", subject.encode("utf-8")).lstrip(b"-")
    slug = re.sub(rb"\.+", b".", slug).rstrip(b".-")
    stem = f"{number:04d}-{slug.decode('ascii')}"
    return stem[: NAME_MAX_LENGTH - len(SUFFIX) - 1] + SUFFIX
