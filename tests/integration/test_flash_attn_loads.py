"""What ``flash-attn --check`` says of a compiled extension is what the dynamic loader does with it.

flash-attn's own files are on its release page, no registry has them. So an extension of its name is
compiled against the real torch 2.8.0 with either C++ ABI: it calls a function of torch that takes a
``std::string``, as flash-attn's does, and needs torch's own CUDA runtime.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vllm_patchkit.cli import main

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("SMOKE_TEST_PYTHON", ROOT / "build/env-cpu/bin/python"))
NAME = "flash_attn_2_cuda.cpython-312-x86_64-linux-gnu.so"
SOURCE = """
#include <string>
#include <c10/util/Exception.h>
extern "C" int call(int wanted) {
    TORCH_CHECK(wanted, std::string("as flash-attn checks its arguments"));
    return 42;
}
"""
LOAD = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1], mode=2).call(1))"

pytestmark = [
    pytest.mark.skipif(not PYTHON.exists(), reason="build/env-cpu is missing: run make env-cpu"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed"),
]


def make_environment(folder: Path, *, abi: bool, release: str) -> Path:
    """Return a site-packages with links to the real torch, and a flash-attn of one ABI."""
    (real,) = PYTHON.parents[1].glob("lib/python3*/site-packages")
    site = folder / "lib" / real.parent.name / "site-packages"
    site.mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text("home = /usr/bin\n")
    for name in ("torch", "torch-2.8.0.dist-info", "nvidia"):
        (site / name).symlink_to(real / name)
    (folder / "source.cpp").write_text(SOURCE)
    libraries = real / "torch" / "lib"
    runtime = real / "nvidia" / "cuda_runtime" / "lib"
    subprocess.run(
        [
            "g++", "-shared", "-fPIC", "-std=c++17", f"-D_GLIBCXX_USE_CXX11_ABI={int(abi)}",
            f"-I{real / 'torch' / 'include'}", "-o", site / NAME, folder / "source.cpp",
            "-Wl,--no-as-needed", f"-L{libraries}", "-lc10", runtime / "libcudart.so.12",
            f"-Wl,-rpath,{libraries}:{runtime}",
        ],
        check=True,
    )  # fmt: skip
    info = site / f"flash_attn-{release}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: flash_attn\nVersion: {release}\n")
    file = f"flash_attn-{release}+cu12torch2.8cxx11abi{str(abi).upper()}-cp312-cp312-linux_x86_64"
    address = f"https://example.org/{file.replace('+', '%2B')}.whl"
    (info / "direct_url.json").write_text(json.dumps({"url": address}))
    return site


@pytest.mark.parametrize("release", ["2.8.3", "2.8.3.post1"])
@pytest.mark.parametrize("abi", [True, False])
def test_the_check_and_the_loader_agree(
    abi: bool, release: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = make_environment(tmp_path / "env", abi=abi, release=release)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, site / NAME], capture_output=True, text=True, check=False
    )
    code = main(["flash-attn", "--check", "--python", str(tmp_path / "env"), "--release", release])
    said = capsys.readouterr()
    assert "unknown" not in said.out
    if abi:
        assert (done.stdout, code) == ("42\n", 0)
    else:
        assert "undefined symbol: _ZN3c106detail14torchCheckFailEPKcS2_jRKSs" in done.stderr
        assert code == 1
        assert "does not fit  C++11 ABI: found False, needed True" in said.out
        assert "ends with an undefined symbol" in " ".join(said.out.split())
        fits = f"flash_attn-{release}+cu12torch2.8cxx11abiTRUE-cp312-cp312-linux_x86_64.whl"
        assert said.err == f"the file that fits: {fits}\n"
