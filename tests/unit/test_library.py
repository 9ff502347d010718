"""The package as a library: what it offers, and what importing it costs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vllm_patchkit
from support.environments import STEP_4, install, make_stack, write_wheel
from vllm_patchkit.cli import COMMANDS

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


def test_lint_lock_and_wheels_are_there_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Values come back and nothing is printed, where the command line prints."""
    stack = make_stack(tmp_path / "tiny")
    base = write_wheel(tmp_path / "base")
    assert vllm_patchkit.lint(stack, base=base) == []
    (stack / "lock.json").unlink()
    (finding,) = vllm_patchkit.lint(stack, base=base)
    assert finding.code.value == "L501"
    assert vllm_patchkit.lock(stack, base=base, release=True).changed
    assert not vllm_patchkit.lock(stack, base=base).changed
    built = vllm_patchkit.build_wheel(stack, out=tmp_path / "out", base=base)
    assert built.version == "0.11.0+tiny.1"
    assert vllm_patchkit.check_wheel(built.path, base=base).differences == ()
    assert vllm_patchkit.identify(built.path, stacks=[stack]).stacks[0].prefix == 4
    assert capsys.readouterr() == ("", "")


def test_what_goes_wrong_is_an_error_with_a_code_and_never_an_exit(tmp_path: Path) -> None:
    with pytest.raises(vllm_patchkit.PatchkitError, match="there is no stack 'nothing'") as caught:
        vllm_patchkit.lint("nothing")
    assert caught.value.exit_code is vllm_patchkit.ExitCode.USAGE
    assert isinstance(caught.value, vllm_patchkit.errors.UsageError)


def test_nothing_but_the_command_line_prints_or_exits() -> None:
    """The worker runs in another process and talks to this one through its standard output."""
    package = Path(vllm_patchkit.__file__).parent
    edges = {package / name for name in ("cli", "worker", "host/terminal.py", "__main__.py")}
    edges |= {package / "smoke" / "__main__.py", package / "doctor" / "probe.py"}
    paths = sorted(package.rglob("*.py"))
    assert edges < {*paths, *(folder for path in paths for folder in path.parents)}
    for path in paths:
        if edges & {path, *path.parents}:
            continue
        for call in (node for node in ast.walk(ast.parse(path.read_bytes()))
                     if isinstance(node, ast.Call)):  # fmt: skip
            assert ast.unparse(call.func) not in ("print", "sys.exit", "exit", "quit"), path


def test_the_page_s_example_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "library.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    install(tmp_path / "env")
    make_stack(tmp_path / "patches" / "ours")
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "library.md", "exec"), {})
    offered = {name for name in vllm_patchkit.__all__ if name != "__version__"}
    rows = "\n".join(re.findall(r"^\| .*", page, re.MULTILINE))
    assert {name for name in offered if not re.search(rf"`{name}\b", rows)} == set()


def test_types_name_what_the_module_offers() -> None:
    """What type checkers see and what is found when the program runs are one list."""
    tree = ast.parse(Path(vllm_patchkit.__file__).read_bytes())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.name
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed | {"__version__"} == set(vllm_patchkit.__all__)


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


# The choices and defaults of these two stand where their work is done.
@pytest.mark.parametrize("command", sorted({*COMMANDS} - {"image", "flash-attn"}))
def test_no_options_import_anything_heavy(command: str) -> None:
    """What a command needs is imported when it runs; a typing mistake is answered before."""
    code = (
        "from vllm_patchkit.cli import main\n"
        f"try: main(['{command}', '--help'])\nexcept SystemExit: pass"
    )
    found = modules_after(code)
    assert f"vllm_patchkit.cli.{COMMANDS[command].module}" in found
    assert not {name.partition(".")[0] for name in found} & set(HEAVY)
    assert not {name for name in found if name.startswith("vllm_patchkit.fork")}
