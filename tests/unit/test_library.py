"""The package as a library: what it offers, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import vllm_patchkit
from support.environments import STEP_4, install, make_stack

HEAVY = ("torch", "vllm", "git", "docker", "unidiff", "requests", "packaging", "email")


def modules_after(code: str) -> set[str]:
    """Return what a fresh interpreter has imported after running ``code``."""
    program = f"import sys\n{code}\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def test_every_name_it_offers_is_there() -> None:
    for name in vllm_patchkit.__all__:
        assert getattr(vllm_patchkit, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = vllm_patchkit.nothing


def test_a_name_stays_a_function_after_its_module_was_imported() -> None:
    """A module called ``verify`` beside a function of that name would take its place."""
    vllm_patchkit.verify  # noqa: B018 - the import is what is tested
    for name in ("verify", "apply", "identify", "status", "revert"):
        assert callable(getattr(vllm_patchkit, name))


def test_it_works_without_the_command_line(tmp_path: Path) -> None:
    environment = install(tmp_path / "env")
    stack = make_stack(tmp_path / "stack")
    assert vllm_patchkit.apply(environment.prefix, stack=stack).done
    assert environment.tree() == STEP_4
    assert vllm_patchkit.verify(environment.prefix, stack=stack).report.state == "applied"


def test_importing_it_imports_next_to_nothing() -> None:
    added = modules_after("import vllm_patchkit") - modules_after("")
    own = {name for name in added if name.startswith("vllm_patchkit")}
    assert own == {"vllm_patchkit"}
    assert added - own <= {"__future__"} | modules_after("import typing")


@pytest.mark.parametrize("operation", ["verify", "status", "apply", "revert", "identify"])
def test_no_operation_imports_anything_heavy(tmp_path: Path, operation: str) -> None:
    """Start-up is most of the time of a verify; vllm and torch alone take seconds."""
    environment = install(tmp_path / "env")
    stack = make_stack(tmp_path / "stack")
    code = (
        "from vllm_patchkit.cli import main\n"
        f"main(['{operation}', '-q', '{environment.prefix}', '--stack', '{stack}'])"
    )
    assert not {name.partition(".")[0] for name in modules_after(code)} & set(HEAVY)
