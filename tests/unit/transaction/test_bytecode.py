import importlib.util
import py_compile
import sys
from pathlib import Path

import pytest

from vllm_patchkit.transaction.bytecode import cached_bytecode


def compile_to(source: Path, **options: object) -> Path:
    return Path(py_compile.compile(str(source), doraise=True, **options))  # type: ignore[arg-type]


def test_every_level_and_interpreter_is_found(tmp_path: Path) -> None:
    source = tmp_path / "vllm" / "a.py"
    source.parent.mkdir()
    source.write_text("x = 1\n")
    made = [compile_to(source, optimize=level) for level in (0, 1, 2)]
    other = made[0].with_name("a.cpython-39.opt-1.pyc")
    half_written = made[0].with_name(f"{made[0].name}.139872")
    for path in (other, half_written):
        path.write_bytes(b"")
    made[0].with_name("ab.cpython-312.pyc").write_bytes(b"of another module")

    assert cached_bytecode(tmp_path, ["vllm/a.py", "vllm/x.json"]) == sorted(
        {*made, other, half_written}
    )


def test_bytecode_kept_elsewhere_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PYTHONPYCACHEPREFIX mirrors the absolute path of a source below another folder."""
    source = tmp_path / "site" / "a.py"
    source.parent.mkdir()
    source.write_text("x = 1\n")
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "elsewhere"))
    made = Path(importlib.util.cache_from_source(str(source)))
    compile_to(source)
    assert made.is_file()

    assert cached_bytecode(tmp_path / "site", ["a.py"]) == [made]


def test_no_cache_is_no_error(tmp_path: Path) -> None:
    assert cached_bytecode(tmp_path, ["vllm/a.py", "b.py"]) == []
