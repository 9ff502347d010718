"""The pages: what they tell a reader to type works, and what they link to is there.

The tour and the first pages run as they stand; the commands of the other pages (GPUs, containers,
a reader's own files) are taken to the real parser.
"""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.pages import FENCE, SHELLS, Step, anchors, is_shown, links, read_commands, read_steps
from vllm_patchkit.cli import COMMANDS, make_parser
from vllm_patchkit.host.cache import cache_dir
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.wheel.fetch import fetch_input

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
# These have a test of their own that runs them.
RUN_HERE = ("README.md", "docs/getting-started.md", "docs/verification.md")
MARK = "@@status@@"

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    named = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert {page for page in PAGES if page != index} <= named


def test_the_pages_have_what_the_tests_of_each_page_look_for() -> None:
    """A page may have no link, no call and no target; that all have none is a broken search."""
    texts = [page.read_text() for page in PAGES]
    assert len(PAGES) > 10
    assert sum(len(list(links(page))) for page in PAGES) > 50
    assert sum(len(own_calls(text)) for text in texts) > 50
    assert sum(len(FENCE.findall(text)) for text in texts) > 20
    assert sum(len(made_targets(text)) for text in texts) > 10
    assert sum(len(quoted_calls(text)) for text in texts) > 20


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}"


@every_page
def test_targets_of_make_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in made_targets(page.read_text()):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page.name}: make {target}"


def made_targets(text: str) -> list[str]:
    """Return each target of make that a page names."""
    code = re.findall(r"`([^`\n]+)`", FENCE.sub("", text)) + read_commands(text)
    return [name for line in code for name in re.findall(r"(?:^|[$&;] ?)make ([a-z][a-z-]*)", line)]


def own_calls(text: str) -> list[str]:
    """Return each call of the tool in a page, without what a shell would do around it."""
    found = []
    for line in read_commands(text):
        for call in re.findall(r"vllm-patchkit [^|;&)]*", re.sub(r"(^|\s)#.*$", "", line)):
            found.append(re.sub(r"\s+[12]?>\S*\s*\S*|\\$", "", call))
    return found


@every_page
def test_every_call_is_one_that_the_parser_takes(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for call in own_calls(page.read_text()):
        _, *words = shlex.split(call)
        if words == ["--help"] or words == ["--version"] or words[0] == "COMMAND":
            continue
        assert words[0] in COMMANDS, call
        with contextlib.suppress(SystemExit):
            make_parser(words[0]).parse_args(words)
            continue
        assert "--help" in words, f"{page.name}: {call}\n{capsys.readouterr().err}"


@every_page
def test_options_in_running_text_exist(page: Path) -> None:
    """``command --option`` in the text of a page names an option that the command has."""
    for code in quoted_calls(page.read_text()):
        command, *words = code.split()
        if code.startswith("diff --git") or command not in COMMANDS:
            continue
        if not any(word.startswith("--") for word in words):
            continue
        known = make_parser(command).format_help() + _help(command)
        for word in words:
            if word == "--":
                break
            if word.startswith("--"):
                option = word.partition("=")[0].strip("[](),")
                assert re.search(rf"{option}\b", known), f"{page.name}: {command} {option}"


def quoted_calls(text: str) -> list[str]:
    """Return what a page's prose quotes and may be a call."""
    return re.findall(r"`(?:vllm-patchkit )?([a-z-]+ [^`\n]*)`", FENCE.sub("", text))


def _help(command: str) -> str:
    parser = make_parser(command)
    actions = parser._subparsers
    assert actions is not None
    (group,) = actions._group_actions
    assert isinstance(group.choices, dict)
    text: str = group.choices[command].format_help()
    return text


def test_every_command_is_documented() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    for command in COMMANDS:
        assert re.search(rf"(vllm-patchkit |`){command}\b", text), command


def test_every_page_with_shell_blocks_says_which_language() -> None:
    for page in PAGES:
        assert all(language in (*SHELLS, "python", "toml", "json", "text", "console")
                   for language, _ in FENCE.findall(page.read_text())), page  # fmt: skip


def test_explained_messages_are_ones_that_the_program_prints() -> None:
    """Each quoted message, less what varies, is text of the program; vLLM's own are left out."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text().partition("## vLLM, once it runs")[0]
    texts = "\n".join(
        node.value
        for path in (ROOT / "tooling").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    messages = re.findall(r"`([^`]+)`", "\n".join(re.findall(r"(?m)^\| (`.*?) \|", page)))
    parts = [
        part.strip(" ;:,'")
        for message in messages
        for part in re.split(r"\.\.\.|\S*\d\S*|\b[NM]\b|\bvllm/?", message)
        if len(part.split()) > 1
    ]
    assert len(parts) > 30
    assert [part for part in parts if part not in texts] == []


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the checkout, as somebody who clones it has it."""
    folder = tmp_path_factory.mktemp("reader") / "vllm-patchkit"
    listed = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, check=True)
    for path in listed.stdout.decode().splitlines():
        if (ROOT / path).is_file():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, folder / path)
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "all"]):
        subprocess.run(["git", "-C", folder, *identity, *words], check=True)
    return folder


def read_aloud(steps: list[Step], cwd: Path, environment: dict[str, str]) -> None:
    """Run the steps in one shell and compare status and shown lines of each."""
    script = "".join(f"{step.command}\nprintf '\\n{MARK}%s\\n' $?\n" for step in steps)
    done = subprocess.run(
        ["bash", "--norc"], input=script, cwd=cwd, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    outputs = re.split(rf"\n?{MARK}(\d+)\n", done.stdout)
    assert len(outputs) == 2 * len(steps) + 1, done.stdout[-2000:]
    for step, said, status in zip(steps, outputs[::2], outputs[1::2], strict=False):
        assert int(status) == step.status, f"{step.command}\n{said}"
        for line in step.shown:
            assert is_shown(line, said), f"{step.command}\nis to print: {line}\nprinted: {said}"


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("name", RUN_HERE)
def test_a_reader_can_copy_and_paste(name: str, checkout: Path, tmp_path: Path) -> None:
    """No home, no settings; pip finds the wheel of vLLM in the cache and the rest in the index."""
    for wheel in ("vllm-0.11.0", "vllm-0.11.1"):
        fetch_input(wheel, Console(quiet=True))
    for leftover in (".venv-tour", ".venv-tools", "wheels/out", "mine.patch", "patches/ours"):
        subprocess.run(["rm", "-rf", checkout / leftover], check=True)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "VLLM_PATCHKIT_CACHE": str(cache_dir()),
        "PIP_FIND_LINKS": str(cache_dir() / "inputs"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "LC_ALL": "C.UTF-8",
        **{key: value for key, value in os.environ.items() if key.startswith(("PIP_", "UV_"))},
    }
    read_aloud(read_steps((ROOT / name).read_text()), checkout, environment)
    status = ["git", "-C", checkout, "status", "--porcelain", "--untracked-files=all"]
    left = subprocess.run(status, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line for line in left if not line.startswith("?? patches/ours/")] == []


def test_the_comparison_of_lines_can_fail() -> None:
    assert is_shown("a ... c", "x\n  a b c\n")
    assert not is_shown("a ... c", "a b d\n")
    assert not is_shown("a", "ab\n")
    (step,) = read_steps("```console\n$ one \\\n  two\n# exit status 3\nthree\n```\n")
    assert step == Step("one \\\n  two", 3, ("three",))
