"""Rules about the machine: GPUs and their driver, memory for a model, limits. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import Version

from vllm_patchkit.doctor.model import Facts, Finding, ModelNeed, Severity
from vllm_patchkit.doctor.versions import first_version, is_version

GIB = 1 << 30
# NVIDIA, "CUDA Compatibility", minor-version compatibility: CUDA 12.x needs a 525 driver or newer.
OLDEST_DRIVER = {"12": Version("525.60.13"), "13": Version("580.65.06")}
SHM_NEEDED = 1 * GIB
NOFILE_NEEDED = 4096
WORKSPACE_BYTES = 3 * GIB


def is_cpu_build(facts: Facts) -> bool:
    """Return whether the installed vLLM would take itself for a CPU build."""
    version = first_version(facts, "vllm")
    return version is not None and "cpu" in str(version)


def check_gpus(facts: Facts) -> Iterator[Finding]:
    """Yield what keeps a CUDA build from its GPUs."""
    if is_cpu_build(facts):
        return
    gpus = facts["gpus"]
    if gpus is None or (not gpus["devices"] and not gpus["error"]):
        yield Finding(
            code="gpu-missing",
            what="no NVIDIA GPU: nvidia-smi is not installed or lists none",
            why="a CUDA build ends with 'Failed to infer device type'",
            remedy="run on a GPU host (containers: docker run --gpus all), or install the CPU "
            "flavor: make build-wheel FLAVOR=cpu",
        )
        return
    if gpus["error"]:
        yield Finding(
            code="driver-broken",
            what=f"nvidia-smi fails: {gpus['error']}",
            why="CUDA cannot start",
            remedy="reinstall the NVIDIA driver, or reboot after its upgrade",
        )
        return
    yield from _driver(facts)
    yield from _visible(facts)


def _driver(facts: Facts) -> Iterator[Finding]:
    cuda = (facts["torch"] or {}).get("cuda")
    driver = facts["gpus"]["devices"][0]["driver"]
    oldest = OLDEST_DRIVER.get((cuda or "").split(".")[0])
    if oldest and is_version(driver) and Version(driver) < oldest:
        yield Finding(
            code="driver-old",
            what=f"the NVIDIA driver is {driver}; torch's CUDA {cuda} needs {oldest} or newer",
            why="CUDA reports 'driver version is insufficient'",
            remedy="upgrade the driver on the host",
        )


def _visible(facts: Facts) -> Iterator[Finding]:
    visible = facts["environment"].get("CUDA_VISIBLE_DEVICES")
    if visible is not None and not visible.strip(" ,"):
        yield Finding(
            code="gpu-hidden",
            what="CUDA_VISIBLE_DEVICES is set to nothing",
            why="the machine has GPUs, and torch sees none of them",
            remedy="unset CUDA_VISIBLE_DEVICES, or name the GPUs: CUDA_VISIBLE_DEVICES=0,1",
        )


def weight_bytes(need: ModelNeed) -> float:
    """Return the bytes of a dense decoder's weights, summed over all ranks.

    A layer has q, k, v and o projections, three MLP matrices and norms; embeddings and LM head
    are counted apart unless tied. A dense model of 34.1 B parameters is reproduced to 0.1 B.
    """
    config = need.config
    hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    kv_heads = int(config.get("num_key_value_heads") or heads)
    head_dim = int(config.get("head_dim") or hidden // heads)
    attention = hidden * head_dim * (2 * heads + 2 * kv_heads)
    mlp = 3 * hidden * int(config["intermediate_size"])
    embeddings = (
        int(config["vocab_size"]) * hidden * (1 if config.get("tie_word_embeddings") else 2)
    )
    parameters = int(config["num_hidden_layers"]) * (attention + mlp)
    return parameters * need.dtype_bytes + embeddings * 2


def kv_bytes_a_token(need: ModelNeed) -> int:
    """Return the bytes that one token of one stream takes in a bf16 KV cache, over all ranks."""
    config = need.config
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    kv_heads = config.get("num_key_value_heads") or heads
    return int(2 * 2 * config["num_hidden_layers"] * kv_heads * head_dim)


def check_model_fits(facts: Facts, need: ModelNeed) -> Iterator[Finding]:
    """Yield why a model would not load, or could not hold one guided image, on these GPUs."""
    gpus = facts["gpus"]
    devices = gpus["devices"] if gpus else []
    ranks = need.tensor_parallel_size
    if is_cpu_build(facts) or not devices:
        return
    if len(devices) < ranks:
        yield Finding(
            code="gpu-too-few",
            what=f"tensor_parallel_size {ranks} needs as many GPUs; the machine has {len(devices)}",
            why="the engine ends with a placement error",
            remedy=f"use --tensor-parallel-size {len(devices)}",
        )
        return
    heads = need.config["num_attention_heads"]
    if heads % ranks:
        yield Finding(
            code="gpu-heads",
            what=f"{heads} attention heads cannot be split over {ranks} GPUs",
            why="the engine refuses the tensor_parallel_size",
            remedy="choose a tensor_parallel_size that divides the heads",
        )
    sizes = [device["total_mib"] for device in devices[:ranks]]
    if None not in sizes:  # A GPU that shares the machine's memory names none.
        yield from _memory(need, min(sizes) << 20)


def _memory(need: ModelNeed, gpu_bytes: int) -> Iterator[Finding]:
    weights = weight_bytes(need) / need.tensor_parallel_size
    budget = gpu_bytes * need.gpu_memory_utilization
    length = need.max_model_len or need.config["max_position_embeddings"]
    cache = kv_bytes_a_token(need) * length / need.tensor_parallel_size
    if weights + WORKSPACE_BYTES + cache <= budget:
        return
    smaller = weights + WORKSPACE_BYTES <= budget
    yield Finding(
        code="gpu-memory",
        what=f"{need.name} needs about {weights / GIB:.1f} GiB of weights, "
        f"{WORKSPACE_BYTES / GIB:.0f} GiB of workspace and {cache / GIB:.1f} GiB of KV cache for "
        f"one sequence of {length} tokens on each GPU; {budget / GIB:.1f} GiB are granted "
        f"({gpu_bytes / GIB:.1f} GiB at gpu_memory_utilization {need.gpu_memory_utilization})",
        why="the engine ends with out-of-memory or 'No available memory for the cache blocks'",
        remedy="use --max-model-len, a higher --gpu-memory-utilization"
        if smaller
        else "use a larger --tensor-parallel-size, --quantization fp8, or a higher "
        "--gpu-memory-utilization",
    )


def check_limits(facts: Facts) -> Iterator[Finding]:
    """Yield limits of the machine or container that vLLM runs into."""
    shm = facts["shm"]
    if shm is None or shm["free"] < SHM_NEEDED:
        size = "missing" if shm is None else f"{shm['free'] >> 20} MiB free"
        yield Finding(
            code="shm-small",
            severity=Severity.WARNING,
            what=f"/dev/shm: {size}",
            why="tensor parallel workers pass messages through it: 'Bus error' under load",
            remedy="docker run --shm-size=8g (or --ipc=host); on a host: "
            "mount -o remount,size=8G /dev/shm",
        )
    nofile = facts["limits"]["nofile"]
    if nofile is not None and nofile < NOFILE_NEEDED:
        yield Finding(
            code="nofile-low",
            severity=Severity.WARNING,
            what=f"at most {nofile} open files (ulimit -n)",
            why="the server runs out of sockets: 'Too many open files'",
            remedy="ulimit -n 65536 (docker run --ulimit nofile=65536:65536)",
        )
    yield from _memory_limits(facts)
    if facts["compiler"] is None:
        yield Finding(
            code="compiler-missing",
            severity=Severity.WARNING,
            what="no C compiler (gcc, clang or cc) on PATH",
            why="Triton and torch.compile compile at start: 'Failed to find C compiler'",
            remedy="apt-get install gcc, or start with --enforce-eager",
        )
    if is_cpu_build(facts) and facts["cxx_compiler"] is None:
        yield Finding(
            code="cxx-compiler-missing",
            what="no C++ compiler (g++, or what CXX names) on PATH",
            why="the CPU build compiles its sampler at the first token that is drawn and not "
            "greedy: 'No working C++ compiler found', and the engine ends",
            remedy="apt-get install g++",
        )


def _memory_limits(facts: Facts) -> Iterator[Finding]:
    address_space = facts["limits"]["as"]
    if address_space is not None:
        yield Finding(
            code="address-space-limit",
            what=f"the address space is limited to {address_space / GIB:.1f} GiB (ulimit -v)",
            why="CUDA and torch reserve far more addresses than memory: std::bad_alloc",
            remedy="ulimit -v unlimited",
        )
    memory = facts["memory"]
    pages = memory.get("HugePages_Total", 0) * memory.get("Hugepagesize", 0)
    if pages and pages * 2 > memory.get("MemTotal", 0):
        yield Finding(
            code="hugepages-reserved",
            severity=Severity.WARNING,
            what=f"{pages >> 20} GiB of {memory['MemTotal'] >> 20} GiB are reserved as huge pages",
            why="vLLM cannot use reserved huge pages; loading weights runs out of memory",
            remedy="sysctl vm.nr_hugepages=0",
        )
