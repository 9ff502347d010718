"""Collect facts about the Python that runs this file; print them as JSON.

It is fed to the target's interpreter on standard input, so that the module path is what a user's
script would see in that folder. It imports nothing but the standard library and its own parts
(``probe_*.py``, sent along), runs nothing of vLLM's or torch's, writes nothing, and works from
Python 3.8 on.
"""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

from vllm_patchkit.doctor.probe_files import check_files, distributions, needed, torn
from vllm_patchkit.doctor.probe_path import FOLDERS, SEEN, listdir
from vllm_patchkit.doctor.probe_place import environment, foreign_libraries, shadows

FAULTS = ("missing", "changed", "unreadable")
REGISTRY_LIMIT = 1 << 20
ABI_MARK = re.compile(rb"_ZN3c105ErrorC[12]ENS_14SourceLocationE(NSt7__cxx11|Ss)")


def module_origins(name: str) -> list[str]:
    """Every place on sys.path that would answer `import name`, the winner first."""
    found = []
    for folder in FOLDERS:
        base = os.path.join(folder, name)
        for candidate in (os.path.join(base, "__init__.py"), base + ".py"):
            if os.path.isfile(candidate):
                found.append(os.path.abspath(candidate))
        if os.path.isdir(base) and not os.path.isfile(os.path.join(base, "__init__.py")):
            found.append(os.path.abspath(base) + os.sep)
    regular = [path for path in found if not path.endswith(os.sep)]
    return list(dict.fromkeys(spec_origin(name) + (regular or found)))


def spec_origin(name: str) -> list[str]:
    """What `import name` would load, editable installs included; a top-level name runs no code."""
    own, sys.path[:] = list(sys.path), SEEN
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return []
    finally:
        sys.path[:] = own
    return [os.path.abspath(spec.origin)] if spec and spec.origin else []


def read_text(path: str, limit: int = 65536) -> str:
    """The start of a text file; nothing where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(limit)
    except OSError:
        return ""


def torch_build() -> dict[str, Any] | None:
    """How the torch that would be imported was built."""
    origins = module_origins("torch")
    if not origins or not origins[0].endswith("__init__.py"):
        return None
    folder = os.path.dirname(origins[0])
    text = read_text(os.path.join(folder, "version.py"))
    cuda = re.search(r"^cuda[^=]*=\s*['\"]([\d.]+)['\"]", text, re.M)
    return {
        "folder": folder,
        "cuda": cuda.group(1) if cuda else None,
        "cxx11_abi": abi_of(os.path.join(folder, "lib", "libc10.so")),
        "libraries": missing_cuda_libraries(folder) if cuda else [],
    }


def named_in(package: str, module: str, pattern: str) -> list[str]:
    """What a pattern finds in a module of a package, which is read and not imported."""
    origins = module_origins(package)
    folder = os.path.dirname(origins[0]) if origins else ""
    found = re.findall(pattern, read_text(os.path.join(folder, module), REGISTRY_LIMIT), re.M)
    return sorted({" ".join(one) if isinstance(one, tuple) else one for one in found})


def abi_of(path: str) -> bool | None:
    """True for the C++11 ABI, False for the older one, None where the file does not tell."""
    try:
        with open(path, "rb") as stream:
            found = set(ABI_MARK.findall(stream.read()))
    except OSError:
        return None
    if len(found) != 1:
        return None
    return b"Ss" not in found


CUDA_LIBRARIES = {
    "nvidia-cublas-cu12": "cublas/lib/libcublas.so.12",
    "nvidia-cudnn-cu12": "cudnn/lib/libcudnn.so.9",
    "nvidia-cuda-runtime-cu12": "cuda_runtime/lib/libcudart.so.12",
    "nvidia-nccl-cu12": "nccl/lib/libnccl.so.2",
    "nvidia-cufft-cu12": "cufft/lib/libcufft.so.11",
    "nvidia-cusparse-cu12": "cusparse/lib/libcusparse.so.12",
    "nvidia-cuda-cupti-cu12": "cuda_cupti/lib/libcupti.so.12",
}


def missing_cuda_libraries(torch_folder: str) -> list[str]:
    """The packages whose libraries torch would not find."""
    places = [os.path.join(os.path.dirname(torch_folder), "nvidia")]
    places += [os.path.join(folder, "nvidia") for folder in FOLDERS]
    return sorted(
        name
        for name, tail in CUDA_LIBRARIES.items()
        if not any(os.path.exists(os.path.join(place, tail)) for place in places)
    )


def flash_attn_build() -> dict[str, Any] | None:
    """The file and the C++ ABI of flash-attn's extension."""
    for folder in FOLDERS:
        names = [name for name in listdir(folder) if name.startswith("flash_attn_2_cuda")]
        if names:
            return {"file": names[0], "cxx11_abi": abi_of(os.path.join(folder, names[0]))}
    return None


def gpus() -> dict[str, Any] | None:
    """What nvidia-smi says of the GPUs; None where it is not installed."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = "name,memory.total,memory.free,driver_version,compute_cap"
    try:
        done = subprocess.run(
            [program, "--query-gpu=" + query, "--format=csv,noheader,nounits"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return {"error": str(error), "devices": []}
    if done.returncode:
        return {
            "error": done.stderr.decode("utf-8", "replace").strip()[-300:]
            or done.stdout.decode("utf-8", "replace").strip()[-300:],
            "devices": [],
        }
    devices = []
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 5:
            devices.append(
                {
                    "name": parts[0],
                    "total_mib": mebibytes(parts[1]),
                    "free_mib": mebibytes(parts[2]),
                    "driver": parts[3],
                    "capability": parts[4],
                }
            )
    return {"error": None, "devices": devices}


def mebibytes(text: str) -> int | None:
    """A number of nvidia-smi's; None for "[N/A]", as where a GPU shares the machine's memory."""
    return int(float(text)) if re.match(r"\d+(\.\d+)?$", text) else None


def free_bytes(path: str) -> dict[str, int] | None:
    """Size and free space of a file system, in bytes."""
    try:
        info = os.statvfs(path)
    except OSError:
        return None
    return {"total": info.f_frsize * info.f_blocks, "free": info.f_frsize * info.f_bavail}


def limit(name: int) -> int | None:
    """The soft limit of a resource; None where there is none."""
    soft = resource.getrlimit(name)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def meminfo() -> dict[str, int]:
    """The lines of /proc/meminfo that matter, in KiB (pages: a count)."""
    found = re.findall(
        r"^(MemTotal|HugePages_Total|Hugepagesize):\s+(\d+)",
        read_text("/proc/meminfo"),
        re.M,
    )
    return {key: int(value) for key, value in found}


def facts(*, hashes: bool) -> dict[str, Any]:
    """Everything that the rules look at."""
    installed = distributions()
    files = [check_files(dist, hashes=hashes) for dist in needed(installed)]
    modules = [module for one in files for module in one.pop("modules")]
    return {
        "python": {
            "version": platform.python_version(),
            "executable": sys.executable,
            "implementation": platform.python_implementation(),
            "machine": platform.machine(),
            "prefix": sys.prefix,
        },
        "cwd": os.getcwd(),
        "environment": {
            key: value
            for key, value in os.environ.items()
            if key.startswith(("VLLM_", "CUDA_", "LD_", "PYTHON", "NCCL_", "HF_"))
        },
        "distributions": installed,
        "files": [one for one in files if any(one[key] for key in FAULTS) or not one["record"]],
        "files_checked": sum(one["checked"] for one in files),
        "torn": torn([folder for folder in FOLDERS if folder.endswith("-packages")]),
        "shadows": shadows(modules),
        "place": environment(),
        "foreign_libraries": foreign_libraries(),
        "origins": module_origins("vllm"),
        # The models of vLLM's registry, and the types whose configuration vLLM reads itself.
        "architectures": named_in("vllm", "model_executor/models/registry.py", r'^\s+"(\w+)":'),
        "config_types": named_in(
            "vllm", "transformers_utils/config.py", r'^\s+"?(\w+)"?[=:] *"?\w*Config\b'
        ),
        # Each type of model that transformers knows, with its class for text.
        "transformers_models": named_in(
            "transformers", "models/auto/modeling_auto.py", r'^\s+\("(.+)", "(\w+)"\)'
        ),
        "tokenizer_classes": named_in(
            "transformers", "models/auto/tokenization_auto.py", r'"(\w+Tokenizer(?:Fast)?)"'
        ),
        "torch": torch_build(),
        "flash_attn": flash_attn_build(),
        "gpus": gpus(),
        "shm": free_bytes("/dev/shm"),
        "limits": {
            "nofile": limit(resource.RLIMIT_NOFILE),
            "as": limit(resource.RLIMIT_AS),
        },
        "memory": meminfo(),
        "compiler": next((tool for tool in ("gcc", "clang", "cc") if shutil.which(tool)), None),
        # What torch.compile calls for code that runs on the processor.
        "cxx_compiler": shutil.which(os.environ.get("CXX", "g++")),
    }


def main(mark: str) -> None:
    """Print the facts, on a line that begins with a mark; a .pth file may print others."""
    print("\n" + mark + json.dumps(facts(hashes="--hashes" in sys.argv)))
