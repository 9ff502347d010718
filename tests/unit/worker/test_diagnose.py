import pytest

from vllm_patchkit.worker.diagnose import diagnose

# Lines as vLLM 0.11.0, torch and uvicorn write them.
LINES = {
    "ValueError: Free memory on device (3.1/79.1 GiB) on startup is less than desired GPU memory "
    "utilization (0.9, 71.2 GiB). Decrease": "too little free GPU memory: 3.1/79.1 GiB",
    "ValueError: To serve at least one request with the models's max seq len (32768), (8.00 GiB KV "
    "cache is needed": "too little KV cache space for one request of 32768 tokens",
    "ValueError: No available memory for the cache blocks. Try increasing": "no memory is left",
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate": "the GPU is out of memory",
    "RuntimeError: [enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory"
    ": you tried": "this machine is out of memory",
    "OSError: [Errno 98] Address already in use": "the port is already in use",
    "RuntimeError: No CUDA GPUs are available": "no usable NVIDIA GPU",
    "RuntimeError: Failed to infer device type, please set": "vLLM found no device",
    "torch._inductor.exc.InductorError: InvalidCxxCompiler: No working C++ compiler found in "
    "torch._inductor.config.cpp.cxx: (None, 'g++')": "no C++ compiler",
    "OSError: [Errno 28] No space left on device": "the disk is full",
}


@pytest.mark.parametrize(("line", "message"), LINES.items())
def test_a_known_end_of_a_log_becomes_one_line(line, message):
    """Also between other lines, as a log has them."""
    found = diagnose(f"INFO something\n(EngineCore pid=7) {line}\nINFO more\n", 1)
    assert found["message"].startswith(message)
    assert found["kind"] == "environment"
    assert found["hint"]


def test_what_vllm_logs_when_all_is_well_is_no_diagnosis():
    """The same words as in the error, as gpu_worker.py logs them after profiling."""
    log = (
        "DEBUG Free memory on device (70.0/79.1 GiB) on startup. Desired GPU memory\nKeyError: 1\n"
    )
    assert diagnose(log, 1)["message"] == "KeyError: 1"


def test_an_unknown_error_is_quoted():
    log = "INFO a\nKeyError: 'x'\n(EngineCore pid=3) ValueError: size not representable: 0*4\n"
    found = diagnose(log, 1)
    assert found["kind"] == "failed"
    assert found["message"] == "ValueError: size not representable: 0*4"


def test_the_cause_is_quoted_and_not_its_consequence():
    """As the processes of one engine log it, root cause first."""
    log = (
        "(EngineCore_DP0 pid=74) AttributeError: no attribute 'init_cpu_threads_env'\n"
        "RuntimeError: Engine core initialization failed. See root cause above.\n"
        "RuntimeError: vllm serve ended with status 1 while starting\n"
    )
    assert diagnose(log, 1)["message"].startswith("AttributeError: no attribute")


def test_the_deadline_and_the_kernel_are_told_apart():
    assert diagnose("", None)["message"] == "did not end within the time limit"
    assert diagnose("", -9)["kind"] == "environment"
    assert diagnose("", 7)["message"] == "ended with status 7"
