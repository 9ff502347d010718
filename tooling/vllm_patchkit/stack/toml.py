"""TOML text to plain values, on every Python the package runs on."""

from __future__ import annotations

import sys
from typing import Any

from vllm_patchkit.errors import StackError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def parse_toml(data: bytes, source: str) -> dict[str, Any]:
    """Return the table that ``data`` holds.

    :raises StackError: not UTF-8 or not TOML; names ``source`` and the line.
    """
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StackError(f"{source} is not TOML: {error}") from None
