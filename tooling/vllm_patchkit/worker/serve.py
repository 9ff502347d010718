"""``vllm serve`` as the installed console script, with a lifeline to the stage that started it."""

from __future__ import annotations

import runpy
import shutil
import sys
from pathlib import Path

from . import lifeline

# Here, not under __main__: a child that vLLM spawns imports this module, and must be armed too.
lifeline.die_with_parent()


def find_script() -> Path | None:
    """Return the ``vllm`` script that was installed beside this interpreter, if there is one."""
    found = shutil.which("vllm", path=str(Path(sys.executable).parent))
    return Path(found) if found else None


def main() -> None:
    """Run ``vllm serve`` with this process's arguments."""
    script = find_script()
    sys.argv[0] = "vllm"
    if script is not None and script.read_bytes()[:2] == b"#!":
        runpy.run_path(str(script), run_name="__main__")
    else:
        # An environment unpacked without scripts (a folder of a GPU host, say).
        from vllm.entrypoints.cli.main import main as vllm_main

        vllm_main()


if __name__ == "__main__":
    main()
