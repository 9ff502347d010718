"""Parts of patches that no wheel ships (tests, csrc), kept beside the stack, exported too. Pure.

They lie in ``left-out/``, one diff a source, with the names that the source used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from vllm_patchkit.stack.model import Patch

FOLDER = "left-out/"
SUBJECT = "Add what no wheel ships"


def left_out_name(source: str) -> str:
    """Return where the left-out part of a source is kept.

    >>> left_out_name("tests/v1/test it.py.patch")
    'left-out/tests-v1-test-it.py.diff'
    """
    stem = re.sub(r"[^A-Za-z0-9._]+", "-", source).strip("-.") or "part"
    return f"{FOLDER}{stem.removesuffix('.patch').removesuffix('.diff')}.diff"


def find_left_out(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the left-out parts of a stack folder, sorted by name."""
    return {name: files[name] for name in sorted(files) if name.startswith(FOLDER)}


def format_left_out(parts: Mapping[str, bytes], last: Patch) -> bytes:
    """Return the parts as one mail after the patches, by the author of the last of them."""
    message = last.message
    head = (
        f"From {'0' * 40} Mon Sep 17 00:00:00 2001\n"
        f"From: {message.author} <{message.email}>\nDate: {message.date}\nSubject: {SUBJECT}\n\n"
        "Tests, sources and other files that the patches before change with them.\n---\n"
    )
    return head.encode("utf-8", "surrogateescape") + b"".join(parts.values()) + b"\n"
