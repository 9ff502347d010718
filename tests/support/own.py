"""What the repository's stack declares of its own, importable here as in a target's interpreter."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from vllm_patchkit.launch.session import WORKER
from vllm_patchkit.stack.read import import_package

ROOT = Path(__file__).parents[2]


def load() -> None:
    """Make ``patchkit_worker`` and ``patchkit_own_emu3_5`` importable in this process."""
    if "patchkit_worker" not in sys.modules:
        spec = spec_from_file_location(
            "patchkit_worker", WORKER / "__init__.py", submodule_search_locations=[str(WORKER)]
        )
        module = module_from_spec(spec)
        sys.modules["patchkit_worker"] = module
        spec.loader.exec_module(module)
    import_package(ROOT / "patches/emu3_5", "emu3_5", "smoke")


load()
