"""The stacks' own scenarios that a run is sent, for artifacts that do not bring them along."""

from __future__ import annotations

from pathlib import Path

from vllm_patchkit.launch.session import Packages
from vllm_patchkit.stack.own import read_metadata, read_package
from vllm_patchkit.stack.read import list_stacks


def find_packages(named: Path | None = None) -> Packages:
    """Return stack -> files, of the stack in the folder ``named``, else of those that come along.

    :raises StackError: a stack is malformed, or the package that it names is not there.
    """
    packages: dict[str, dict[str, bytes]] = {}
    for folder in list_stacks() if named is None else [named]:
        metadata = read_metadata(folder)
        files = read_package(folder, metadata.smoke.package)
        packages[metadata.name] = {name.partition("/")[2]: data for name, data in files.items()}
    return {name: files for name, files in packages.items() if files}
