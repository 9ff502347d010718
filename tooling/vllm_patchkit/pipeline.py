"""The front end of a stack that comes with this package: ``pipeline`` in its own package.

``import vllm_patchkit.pipeline`` gives that package itself, its modules under this name too.
"""

import sys
from importlib import import_module
from types import ModuleType

from vllm_patchkit.stack.read import import_package, read_metadata, shipped_stacks


def _load() -> ModuleType:
    for folder in shipped_stacks():
        metadata = read_metadata(folder)
        package = metadata.smoke.package
        if package and (folder / package / "pipeline").is_dir():
            name = import_package(folder, metadata.name, package).__name__
            return import_module(f"{name}.pipeline")
    raise ImportError("no stack that comes with this package has a pipeline")


_found = _load()
sys.modules[__name__] = _found
for _name, _module in list(sys.modules.items()):
    if _name.startswith(f"{_found.__name__}."):
        sys.modules[__name__ + _name.removeprefix(_found.__name__)] = _module
