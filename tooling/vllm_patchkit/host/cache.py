"""Where downloads and private git stores are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return the cache folder, created if it is missing."""
    folder = find_cache()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def find_cache() -> Path:
    """Return where the cache is or would be.

    ``VLLM_PATCHKIT_CACHE`` wins; then ``XDG_CACHE_HOME``; then ``~/.cache``.
    """
    named = os.environ.get("VLLM_PATCHKIT_CACHE")
    if named:
        return Path(named)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "vllm-patchkit"
