"""Where the interpreter stands: what hides installed modules, and whether its folder is whole.

Part of the probe: standard library alone, Python 3.8, nothing is written.
"""

from __future__ import annotations

import os
import re
import sys
import zipfile
from typing import Any

from vllm_patchkit.doctor.probe_path import FOLDERS, SEEN, STDLIB, listdir

SITES = ("site-packages", "dist-packages")
OWN_ZIP = re.compile(r".*/python3\d+\.zip$")
# Libraries of which another copy in front makes torch load the wrong one.
LOADED = ("libtorch", "libc10", "libcudart.so", "libnccl.so", "libcudnn", "libcublas")


def shadows(modules: list[str]) -> list[list[str]]:
    """Modules that a folder in front of the installed packages answers instead of them.

    :returns: name, the file that wins, and the entry of sys.path that holds it.
    """
    own = set(modules) | set(getattr(sys, "stdlib_module_names", ())) - set(
        sys.builtin_module_names
    )
    found = []
    for entry, folder in dict(zip(SEEN, FOLDERS)).items():
        if os.path.basename(folder) in SITES:
            break
        if folder == STDLIB or folder.endswith("lib-dynload") or OWN_ZIP.match(folder):
            own -= set(getattr(sys, "stdlib_module_names", ()))
            continue
        for name in importable(folder):
            if name[0] in own:
                found.append([name[0], name[1], entry])
    return found


def importable(folder: str) -> list[tuple[str, str]]:
    """Module -> file, for what `import` would take out of a folder or a zip file."""
    if os.path.isfile(folder):
        return zipped(folder)
    found = []
    for name in listdir(folder):
        path = os.path.join(folder, name)
        if name.endswith(".py") and os.path.isfile(path):
            found.append((name[:-3], path))
        elif os.path.isfile(os.path.join(path, "__init__.py")):
            found.append((name, os.path.join(path, "__init__.py")))
    return found


def zipped(path: str) -> list[tuple[str, str]]:
    """Module -> file, for what `import` would take out of a zip file."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile):
        return []
    found = [re.match(r"([A-Za-z_]\w*)(?:/__init__)?\.py$", name) for name in names]
    return [(one.group(1), os.path.join(path, one.group())) for one in found if one]


def environment() -> dict[str, Any]:
    """The folder of the interpreter: is it marked, is it for this Python, was it moved?"""
    root = os.path.dirname(os.path.dirname(os.path.abspath(sys.executable)))
    lib = os.path.join(root, "lib")
    versions = [name for name in listdir(lib) if name.startswith("python3.")]
    sites = [os.path.join(lib, name, "site-packages") for name in versions]
    return {
        "root": root,
        "marked": os.path.isfile(os.path.join(root, "pyvenv.cfg")),
        "unseen": [site for site in sites if os.path.isdir(site) and site not in FOLDERS],
        "script": dead_script(os.path.join(root, "bin", "vllm")),
    }


def dead_script(path: str) -> str | None:
    """The interpreter that the script `vllm` names, where it is not there."""
    try:
        with open(path, "rb") as stream:
            line = stream.readline(4096)
    except OSError:
        return None
    if not line.startswith(b"#!/"):
        return None
    program = line[2:].decode("utf-8", "replace").strip().split(" ")[0]
    return None if os.path.exists(program) else program


def foreign_libraries() -> list[str]:
    """Libraries of torch's and CUDA's names in the folders of LD_LIBRARY_PATH."""
    found = []
    for folder in filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":")):
        names = [name for name in listdir(folder) if name.startswith(LOADED)]
        found += [os.path.join(folder, name) for name in names]
    return found
