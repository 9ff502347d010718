"""From the end of a log to one clear line."""

from __future__ import annotations

import re
import signal

ENVIRONMENT = "environment"
FAILED = "failed"

# Pattern in the log, kind of problem, message, hint. The first that matches wins; groups of the
# pattern can be named in the message.
KNOWN: tuple[tuple[str, str, str], ...] = (
    (
        # vLLM also logs the same words when there is enough.
        r"Free memory on device \((?P<free>[^)]*)\) on startup is less",
        "too little free GPU memory: {free}",
        "free the GPU (nvidia-smi shows who holds it) or give a smaller --gpu-memory-utilization",
    ),
    (
        r"To serve at least one request[^\n]*?\((?P<length>[^)]*)\)[^\n]*",
        "too little KV cache space for one request of {length} tokens",
        "raise VLLM_CPU_KVCACHE_SPACE (GiB) on a CPU, --gpu-memory-utilization on a GPU",
    ),
    (
        r"No available memory for the cache blocks|Available KV cache memory: -",
        "no memory is left for the KV cache after loading the model",
        "raise VLLM_CPU_KVCACHE_SPACE (GiB) on a CPU, --gpu-memory-utilization on a GPU",
    ),
    (
        r"(?:CUDA out of memory|OutOfMemoryError)[^\n]*",
        "the GPU is out of memory",
        "use more GPUs (--tp), fewer images, or --quantization fp8",
    ),
    (
        r"DefaultCPUAllocator: (?:can't|not enough)[^\n]*|^MemoryError|Cannot allocate memory",
        "this machine is out of memory",
        "close other programs, or lower VLLM_CPU_KVCACHE_SPACE (GiB)",
    ),
    (
        r"(?:Address already in use|address already in use)[^\n]*",
        "the port is already in use",
        "give another --port, or none to let the system choose",
    ),
    (
        r"No CUDA GPUs are available|Found no NVIDIA driver|libcuda\.so\.1: cannot open",
        "no usable NVIDIA GPU or driver on this machine",
        "run with --device cpu on a CPU build, or on a machine with a GPU",
    ),
    (
        r"Failed to infer device type",
        "vLLM found no device that this build can run on",
        "a CUDA build needs a GPU; use a CPU build with --device cpu",
    ),
    (
        r"No working C\+\+ compiler found|InvalidCxxCompiler",
        "no C++ compiler, which the CPU build needs to draw a token",
        "install g++ (Debian: apt-get install g++), or name another compiler in CXX",
    ),
    (
        r"No space left on device",
        "the disk is full",
        "make room in the temporary folder (TMPDIR) or in ~/.cache/vllm",
    ),
)

# What a process says because another one failed, whose own words come before.
CONSEQUENCES = (
    "Engine core initialization failed",
    "WorkerProc initialization failed",
    "vllm serve ended with status",
)


def diagnose(log: str, status: int | None) -> dict[str, str]:
    """Return ``kind``, ``message`` and ``hint`` for a stage that ended with ``status``.

    :param status: as of ``subprocess``: negative for a signal; None where the deadline ended it.
    """
    if status is None:
        return _problem(FAILED, "did not end within the time limit", "raise --timeout (seconds)")
    for pattern, message, hint in KNOWN:
        if found := re.search(pattern, log, re.MULTILINE):
            return _problem(ENVIRONMENT, message.format(**found.groupdict()), hint)
    if status == -signal.SIGKILL:
        return _problem(
            ENVIRONMENT, "was killed", "the kernel kills what runs out of memory: dmesg"
        )
    return _problem(FAILED, last_error(log) or f"ended with status {status}", "the log is below")


def _problem(kind: str, message: str, hint: str) -> dict[str, str]:
    return {"kind": kind, "message": message, "hint": hint}


def last_error(log: str) -> str | None:
    """Return the last line that names an exception and no mere consequence of another one."""
    found = re.findall(r"(?:^|\s)((?:\w+\.)*\w*(?:Error|Exception|Failure): [^\n]+)", log)
    causes = [line for line in found if not any(text in line for text in CONSEQUENCES)]
    return (causes or found)[-1].strip()[:500] if found else None
