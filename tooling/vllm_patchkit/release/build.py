"""Build the toolkit itself, the same bytes every time."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from vllm_patchkit.errors import UsageError
from vllm_patchkit.host.process import run

TIMEOUT_S = 600.0
# 2020-02-02, hatchling's own default: a date that zip can hold and that no clock decides.
EPOCH = "1580601600"


def build_toolkit(project: Path, out: Path) -> list[Path]:
    """Build sdist and wheel of ``project`` into ``out`` and return them, the sdist first.

    :raises UsageError: ``project`` is no checkout of the toolkit.
    """
    if not (project / "pyproject.toml").is_file():
        raise UsageError(
            f"{project} has no pyproject.toml", hint="name the checkout: --project DIR"
        )
    environment = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH, "PYTHONHASHSEED": "0"}
    argv: list[str | Path] = [sys.executable, "-m", "build", "--outdir", out, project]
    run(argv, env=environment, timeout_s=TIMEOUT_S)
    return [*sorted(out.glob("*.tar.gz")), *sorted(out.glob("*.whl"))]
