"""Whether this machine can run the job, before anything expensive; and what is installed on it."""

from __future__ import annotations

import errno
import platform
import socket
from importlib import metadata
from pathlib import Path

from . import events
from .events import EnvironmentProblem
from .job import Job

STAGE = "artifact"
TINY_MEMORY_BYTES = 3 << 30
VERSIONS = ("torch", "transformers", "tokenizers", "triton", "flash-attn", "numpy", "protobuf")


def check_machine(job: Job) -> None:
    """Check the port, the memory and the device.

    :raises EnvironmentProblem: one of them will not do.
    """
    if job.port is not None:
        require_port(job.port)
    if job.model is None and not job.bench:
        require_memory(available_memory(), TINY_MEMORY_BYTES)
    if job.device == "cuda" and not (job.checks_only and not has_gpus()):
        require_gpus(job.tensor_parallel_size)
    events.check(STAGE, "the machine can run it", True, job.device)


def require_port(port: int) -> None:
    """Raise unless ``port`` can be bound."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise EnvironmentProblem(
                    f"port {port} is already in use",
                    "give another --port, or none to let the system choose",
                ) from None
            raise EnvironmentProblem(f"port {port} cannot be used: {error.strerror}") from None


def available_memory() -> int | None:
    """Return the bytes that a new process can have, from ``/proc/meminfo`` and the cgroup."""
    found = []
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) * 1024)
    limit = "".join(_lines(Path("/sys/fs/cgroup/memory.max"))).strip()
    used = "".join(_lines(Path("/sys/fs/cgroup/memory.current"))).strip()
    if limit.isdigit() and used.isdigit():
        found.append(int(limit) - int(used))
    return min(found, default=None)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return []


def require_memory(available: int | None, needed: int) -> None:
    """Raise if less than ``needed`` bytes are known to be available."""
    if available is not None and available < needed:
        raise EnvironmentProblem(
            f"too little memory: {available / 2**30:.1f} GiB available, "
            f"{needed / 2**30:.1f} GiB needed",
            "close other programs, or run on a larger machine",
        )


def has_gpus() -> bool:
    """Return whether torch sees any GPU."""
    import torch

    return bool(torch.cuda.is_available())


def require_gpus(wanted: int) -> None:
    """Raise unless torch sees ``wanted`` GPUs."""
    import torch

    hint = "run with --device cpu on a CPU build, or on a machine with enough GPUs"
    if not torch.cuda.is_available():
        built = torch.version.cuda
        reason = "no NVIDIA GPU or driver" if built else "this torch is built without CUDA"
        raise EnvironmentProblem(f"--device cuda: {reason}", hint)
    if torch.cuda.device_count() < wanted:
        found = torch.cuda.device_count()
        raise EnvironmentProblem(f"--tp {wanted}: this machine has {found} GPU(s)", hint)


def describe_versions() -> dict[str, str | None]:
    """Return name -> version of what decides how the artifact behaves."""
    import torch

    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in VERSIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    versions["cuda"] = torch.version.cuda
    if torch.cuda.is_available():
        versions["gpu"] = torch.cuda.get_device_name(0)
        versions["gpus"] = str(torch.cuda.device_count())
    versions["machine"] = platform.machine()
    return versions
