"""The doctor names the cause in environments that are really broken."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from vllm_patchkit.cli import main
from vllm_patchkit.doctor.checkpoint import read_checkpoint
from vllm_patchkit.doctor.diagnose import diagnose
from vllm_patchkit.doctor.facts import collect_facts
from vllm_patchkit.doctor.machine import weight_bytes
from vllm_patchkit.doctor.model import ModelNeed
from vllm_patchkit.wheel.fetch import fetch_input

pytestmark = pytest.mark.network

EMU3_5 = {
    "architectures": ["Emu3ForCausalLM"],
    "hidden_size": 5120,
    "intermediate_size": 25600,
    "num_hidden_layers": 64,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 282926,
    "max_position_embeddings": 32768,
}
SMI = """#!/bin/sh
echo "NVIDIA H200, {total}, {total}, {driver}, 9.0"
"""


def uv(*words: str | Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "uv", "-q", *map(str, words)], check=True, capture_output=True
    )


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the real vllm and torch, and versions that nobody tried together."""
    folder = tmp_path_factory.mktemp("doctor") / "env"
    uv("venv", "--python", sys.executable, folder)
    python = folder / "bin" / "python"
    wheel = fetch_input("vllm-0.11.0")
    packages = [
        "torch==2.8.0",
        "transformers==5.0.0",
        "tokenizers==0.23.1",
        "numpy==2.3.5",
        "typing-extensions",
    ]
    uv("pip", "install", "--python", python, "--no-deps", wheel, *packages)
    return python


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A folder that is put in front of the environment's site-packages for one test."""
    folder = tmp_path / "front"
    folder.mkdir()
    return folder


def codes(python: Path, *, cwd: Path, env: Mapping[str, str] | None = None) -> set[str]:
    return {finding["code"] for finding in findings(python, cwd=cwd, env=env)}


def findings(
    python: Path, *, cwd: Path, env: Mapping[str, str] | None = None, limits: str = ""
) -> list[dict[str, Any]]:
    """Run the real command, as a user would, under changed variables and limits."""
    command = f"{limits} exec {sys.executable} -m vllm_patchkit doctor --json --python {python}"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)["findings"]
    assert isinstance(found, list)
    return found


def fake_smi(
    folder: Path, *, total_mib: int = 143771, driver: str = "580.159.04"
) -> dict[str, str]:
    """Return a PATH on which ``nvidia-smi`` answers for one GPU."""
    program = folder / "nvidia-smi"
    program.write_text(SMI.format(total=total_mib, driver=driver))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def write_dist_info(folder: Path, name: str, version: str) -> None:
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_untried_requirements_are_named(environment: Path, tmp_path: Path) -> None:
    """transformers 5, tokenizers 0.23 and numpy 2.3 each get a finding, the rest one together."""
    found = {finding["code"]: finding for finding in findings(environment, cwd=tmp_path)}
    assert "5.0.0" in found["transformers-range"]["what"]
    assert "0.23.1" in found["tokenizers-range"]["what"]
    assert "2.3.5" in found["numpy-range"]["what"]
    assert "xgrammar" in found["requirements"]["what"]


def test_missing_cuda_libraries_are_named_and_do_break_torch(
    environment: Path, tmp_path: Path
) -> None:
    """The libraries that the doctor misses are the ones without which ``import torch`` fails."""
    assert "torch-cuda-libraries" in codes(environment, cwd=tmp_path)
    done = subprocess.run([environment, "-c", "import torch"], capture_output=True, check=False)
    assert b"cannot open shared object file" in done.stderr


def test_no_gpu_for_a_cuda_build(environment: Path, tmp_path: Path) -> None:
    assert "gpu-missing" in codes(environment, cwd=tmp_path)


def test_old_driver(environment: Path, tmp_path: Path) -> None:
    old = codes(environment, cwd=tmp_path, env=fake_smi(tmp_path, driver="470.82.01"))
    new = codes(environment, cwd=tmp_path, env=fake_smi(tmp_path))
    assert "driver-old" in old
    assert "driver-old" not in new


def test_hidden_gpus(environment: Path, tmp_path: Path) -> None:
    env = {**fake_smi(tmp_path), "CUDA_VISIBLE_DEVICES": ""}
    assert "gpu-hidden" in codes(environment, cwd=tmp_path, env=env)


def test_broken_driver(environment: Path, tmp_path: Path) -> None:
    env = fake_smi(tmp_path)
    (tmp_path / "nvidia-smi").write_text(
        "#!/bin/sh\necho 'Driver/library version mismatch'\nexit 9\n"
    )
    assert "driver-broken" in codes(environment, cwd=tmp_path, env=env)


def test_a_vllm_folder_in_the_working_directory(environment: Path, tmp_path: Path) -> None:
    """The folder wins over the installed package, as Python itself confirms."""
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "__init__.py").write_text("")
    assert "vllm-shadowed" in codes(environment, cwd=tmp_path)
    printed = subprocess.run(
        [environment, "-c", "import vllm; print(vllm.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(printed.stdout.strip()) == tmp_path / "vllm" / "__init__.py"


def test_a_vllm_checkout_on_pythonpath(environment: Path, scratch: Path, tmp_path: Path) -> None:
    (scratch / "vllm").mkdir()
    (scratch / "vllm" / "__init__.py").write_text("")
    assert "vllm-shadowed" in codes(environment, cwd=tmp_path, env={"PYTHONPATH": str(scratch)})


def test_an_unbroken_origin_is_not_called_shadowed(environment: Path, tmp_path: Path) -> None:
    assert "vllm-shadowed" not in codes(environment, cwd=tmp_path)


def test_two_distributions_claim_vllm(environment: Path, scratch: Path, tmp_path: Path) -> None:
    write_dist_info(scratch, "vllm", "0.10.2")
    assert "vllm-several" in codes(environment, cwd=tmp_path, env={"PYTHONPATH": str(scratch)})


def test_a_cpu_dist_info_makes_a_gpu_host_run_on_its_cpu(
    environment: Path, scratch: Path, tmp_path: Path
) -> None:
    write_dist_info(scratch, "vllm", "0.0.0+cpu")
    env = {**fake_smi(tmp_path), "PYTHONPATH": str(scratch)}
    assert "vllm-cpu-on-gpu" in codes(environment, cwd=tmp_path, env=env)


def test_another_torch(environment: Path, scratch: Path, tmp_path: Path) -> None:
    write_dist_info(scratch, "torch", "2.9.0")
    assert "torch-version" in codes(environment, cwd=tmp_path, env={"PYTHONPATH": str(scratch)})


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc makes the extension of this test")
@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("_ZN3c105ErrorC2ENS_14SourceLocationESs", "flash-attn-abi"),
        (
            "_ZN3c105ErrorC2ENS_14SourceLocationENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE",
            "",
        ),
    ],
)
def test_flash_attn_of_the_other_abi(
    symbol: str, expected: str, environment: Path, scratch: Path, tmp_path: Path
) -> None:
    """A real shared object that wants the symbol of one ABI; torch 2.8.0 offers the C++11 one."""
    source = tmp_path / "extension.c"
    source.write_text(f"extern void {symbol}(void); void start(void) {{ {symbol}(); }}\n")
    tag = f"{sys.version_info.major}{sys.version_info.minor}"
    library = scratch / f"flash_attn_2_cuda.cpython-{tag}-x86_64-linux-gnu.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    found = codes(environment, cwd=tmp_path, env={"PYTHONPATH": str(scratch)})
    assert ("flash-attn-abi" in found) is bool(expected)


def test_flash_attn_for_another_python(environment: Path, scratch: Path, tmp_path: Path) -> None:
    (scratch / "flash_attn_2_cuda.cpython-39-x86_64-linux-gnu.so").write_bytes(b"\x7fELF")
    assert "flash-attn-python" in codes(environment, cwd=tmp_path, env={"PYTHONPATH": str(scratch)})


@pytest.mark.parametrize(
    ("limits", "expected"),
    [("ulimit -n 256;", "nofile-low"), ("ulimit -v 8000000;", "address-space-limit")],
)
def test_limits_of_the_shell(limits: str, expected: str, environment: Path, tmp_path: Path) -> None:
    found = findings(environment, cwd=tmp_path, limits=limits)
    assert expected in {finding["code"] for finding in found}


def test_no_compiler(environment: Path, tmp_path: Path) -> None:
    """Triton needs one; a PATH without any is what slim images have."""
    empty = tmp_path / "bin"
    empty.mkdir()
    (empty / "sh").symlink_to("/bin/sh")
    assert "compiler-missing" in codes(environment, cwd=tmp_path, env={"PATH": str(empty)})


def test_the_cpu_build_needs_a_cxx_compiler(
    environment: Path, scratch: Path, tmp_path: Path
) -> None:
    """gcc alone is not enough for it, and a CUDA build does without g++."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "gcc"):
        (tools / name).symlink_to("/bin/sh")
    env = {"PATH": str(tools), "PYTHONPATH": str(scratch)}
    assert "cxx-compiler-missing" not in codes(environment, cwd=tmp_path, env=env)
    write_dist_info(scratch, "vllm", "0.11.0+cpu")
    assert "cxx-compiler-missing" in codes(environment, cwd=tmp_path, env=env)
    (tools / "g++").symlink_to("/bin/sh")
    assert "cxx-compiler-missing" not in codes(environment, cwd=tmp_path, env=env)


def need_of(config: Path, *, tensor_parallel_size: int = 1) -> ModelNeed:
    return ModelNeed(
        name="Emu3.5",
        config=read_checkpoint(config).config,
        tensor_parallel_size=tensor_parallel_size,
        gpu_memory_utilization=0.9,
        dtype_bytes=2.0,
        max_model_len=None,
    )


def test_a_model_that_does_not_fit(environment: Path, tmp_path: Path) -> None:
    """Emu3.5 in bf16 does not fit one 80 GB GPU with its default KV cache, two hold it."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps(EMU3_5))
    facts = collect_facts(environment, cwd=tmp_path)
    gpu = {
        "name": "H100",
        "total_mib": 81559,
        "free_mib": 81000,
        "driver": "580.1",
        "capability": "9.0",
    }
    facts["gpus"] = {"error": None, "devices": [gpu, gpu]}
    outcomes = {}
    for ranks in (1, 2, 4):
        need = need_of(config, tensor_parallel_size=ranks)
        found = diagnose(facts, subject="test", need=need).findings
        outcomes[ranks] = {f.code for f in found} & {"gpu-memory", "gpu-too-few"}
    assert outcomes == {1: {"gpu-memory"}, 2: set(), 4: {"gpu-too-few"}}


def test_weights_of_emu3_5_are_the_published_number(tmp_path: Path) -> None:
    """The published model has 34.1 B parameters."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps(EMU3_5))
    assert weight_bytes(need_of(config)) / 2 == pytest.approx(34.1e9, abs=0.1e9)


def test_an_interpreter_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--python", str(tmp_path / "python")]) == 2
    assert "there is no" in capsys.readouterr().err


def test_a_patched_file_that_was_edited(environment: Path, tmp_path: Path) -> None:
    """The state of the patches is part of the picture; a whole vLLM says nothing about them."""
    assert not {code for code in codes(environment, cwd=tmp_path) if code.startswith("patches-")}
    found = subprocess.run(
        [environment, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    registry = Path(found.stdout.strip(), "vllm/model_executor/models/registry.py")
    whole = registry.read_bytes()
    registry.unlink()
    registry.write_bytes(whole + b"# edited\n")
    try:
        assert "patches-drifted" in codes(environment, cwd=tmp_path)
    finally:
        registry.unlink()
        registry.write_bytes(whole)
