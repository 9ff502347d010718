"""One grammar for the command line: each rule is asked of every command."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pty
import re
import shlex
import termios
from fcntl import ioctl
from pathlib import Path
from struct import pack

import pytest

from vllm_patchkit.cli import COMMANDS, main, make_parser, parse_call
from vllm_patchkit.cli.parser import INTERPRETERS
from vllm_patchkit.errors import UsageError
from vllm_patchkit.host.terminal import Console

# Their output is a diff, a page, a path or a script, which is for machines already.
NO_JSON = {"diff", "range-diff", "report", "export", "edit", "completion", "checkpoint"}
# What these work on is no stack: a wheel, an environment, a release, a shell.
NO_STACK = {
    "image",
    "flash-attn",
    "bench",
    "base",
    "import",
    "release",
    "verify-release",
    "completion",
}
# The argument of these is a target, so that the stack is named with --stack alone.
TARGETS = {"verify", "status", "apply", "revert", "identify", "smoke", "doctor", "checkpoint"}
# What else a call needs before the argument in question is looked at.
NEEDED = {
    "bench": ["generate"],
    "import": ["--base", "vllm==0.11.0", "--name", "x"],
    "new": ["-m", "x"],
    "report": ["--markdown"],
    "release": ["--out", "x"],
    "checkpoint": ["x", "--python", "/bin/sh"],
}

each = pytest.mark.parametrize("command", COMMANDS)


def parser_of(command: str) -> argparse.ArgumentParser:
    (commands,) = (
        action
        for action in make_parser(command)._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    parser = commands.choices[command]
    assert isinstance(parser, argparse.ArgumentParser)
    return parser


def options_of(command: str) -> set[str]:
    return {word for action in parser_of(command)._actions for word in action.option_strings}


@each
def test_the_common_options(command: str) -> None:
    options = options_of(command)
    assert {"--help", "--quiet", "--log-file"} <= options
    assert ("--json" in options) == (command not in NO_JSON)


@each
def test_examples_are_the_last_part_and_calls_that_the_parser_takes(command: str) -> None:
    page = parser_of(command).format_help()
    assert re.findall(r"(?im)^.*\bexamples?:.*$", page) == ["examples:"]
    lines = page.partition("\nexamples:\n")[2].replace("\\\n", "").splitlines()
    assert lines
    calls = [re.sub(r"\s+\(.*\)$|\s[>|&]+\s.*$", "", line.strip()) for line in lines]
    own = [shlex.split(call)[1:] for call in calls if call.startswith("vllm-patchkit")]
    assert any(words[0] == command for words in own) or f"vllm-patchkit {command}" in page
    for words in own:
        assert parse_call(words).command == words[0]


@each
def test_every_argument_is_explained_with_its_choices_and_default(command: str) -> None:
    page = parser_of(command).format_help()
    for action in parser_of(command)._actions:
        assert action.help, f"{command}: {action.dest} has no help"
        if action.choices is not None:
            assert all(str(choice) in page for choice in action.choices)
        if action.default not in (None, False, [], argparse.SUPPRESS) and action.type:
            assert "default" in str(action.help) or action.dest in INTERPRETERS or (
                str(action.default) in str(action.help)
            ), f"{command}: {action.dest} does not say its default"  # fmt: skip


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in NO_STACK])
def test_a_stack_is_named_with_stack_everywhere_and_plainly_where_nothing_else_is(
    command: str,
) -> None:
    needed = NEEDED.get(command, []) + (["--from", "x"] if command == "new" else [])
    assert parse_call([command, *needed, "--stack", "ours"]).stack in ("ours", ["ours"])
    if command not in TARGETS:
        assert parse_call([command, "ours", *needed]).stack == "ours"
        with pytest.raises(UsageError, match="named twice"):
            parse_call([command, "ours", *needed, "--stack", "theirs"])


@each
def test_a_slip_of_a_command_gives_one_guess(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    slip = command[:2] + command[3:]
    assert main([slip]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"vllm-patchkit: error: there is no command {slip!r}",
        f"hint: did you mean {command}?",
    ]


@each
def test_a_slip_of_an_option_gives_one_guess(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*NEEDED.get(command, []), *(["--from", "x"] if command == "new" else [])]
    words += ["bash"] if command == "completion" else []
    words += ["x"] if command in ("base", "import", "verify-release") else []
    assert main([command, *words, "--quite"]) == 2
    assert capsys.readouterr().err.endswith("hint: did you mean --quiet?\n")


def test_a_slip_of_a_choice_gives_one_guess(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wheel", "--flavor", "cdua"]) == 2
    assert "'cdua' is none of cuda, cpu; did you mean cuda?" in capsys.readouterr().err


def test_a_word_that_is_like_none_gives_no_guess(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["xyzzy"]) == 2
    assert capsys.readouterr().err.endswith("hint: vllm-patchkit --help lists the commands\n")


def missing_inputs() -> list[tuple[str, str]]:
    return [
        (command, name)
        for command in COMMANDS
        for name in parser_of(command).get_default("inputs") or ()
    ]


def call_with(command: str, name: str, value: str) -> list[str]:
    """Return a call of a command in which one input is ``value``."""
    (action,) = (one for one in parser_of(command)._actions if one.dest == name)
    words = [command, *NEEDED.get(command, [])]
    words += ["--from", str(Path.cwd())] if command == "new" and name != "place" else []
    words += [*action.option_strings[-1:], value]
    return words + (["--", "true"] if command == "bisect" else [])


@pytest.mark.parametrize(("command", "name"), missing_inputs())
def test_what_is_not_there_has_one_message_and_one_code(
    command: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A target, an interpreter, a wheel, any file or folder: exit code 2, JSON where asked."""
    gone = str(tmp_path / "gone.whl")
    words = call_with(command, name, gone)
    asked = [words[0], "--json", *words[1:]] if command not in NO_JSON else words
    assert main(asked) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"vllm-patchkit: error: there is no {gone}\nhint: ")
    if command not in NO_JSON:
        error = json.loads(said.out)
        assert list(error) == ["format", "command", "error"]
        assert (error["command"], error["error"]["exit_code"]) == (command, 2)
        assert error["error"]["message"] == f"there is no {gone}"
    else:
        assert said.out == ""


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in NO_STACK])
def test_a_stack_that_is_not_there_has_one_message_and_one_code(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [command, "--stack", "no-such-stack"]
    if command == "smoke":
        words += ["--python", os.path.realpath("/bin/sh")]
    words += {"rebase": ["--onto", "0.11.1"], "bisect": ["--", "true"]}.get(command, [])
    words[1:1] = NEEDED.get(command, [])
    words += ["--from", str(tmp_path)] if command == "new" else []
    assert main(words) == 2
    assert "there is no stack 'no-such-stack'" in capsys.readouterr().err


@each
def test_a_mistake_of_the_call_is_json_where_json_was_asked_for(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--no-such-option", "--json"]) == 2
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert document["command"] == command
    assert document["error"]["message"] in said.err


def read_all(leader: int) -> str:
    """Return what was written to a terminal whose other end is closed."""
    drawn = b""
    with contextlib.suppress(OSError):
        while block := os.read(leader, 65536):
            drawn += block
    return drawn.decode()


@pytest.mark.parametrize("columns", [20, 80, 200])
def test_progress_is_one_line_of_the_terminal(columns: int) -> None:
    """Every redraw stays short of the last column, so that no wrapped line is left behind."""
    leader, follower = pty.openpty()
    ioctl(follower, termios.TIOCSWINSZ, pack("HHHH", 24, columns, 0, 0))
    environment, os.environ["CI"] = os.environ.get("CI"), ""
    try:
        with os.fdopen(follower, "w") as terminal:
            console = Console(err=terminal)
            with console.progress("verify vllm-0.11.0+emu3.5.7-cp38-abi3.whl", 10**9) as bar:
                for _ in range(3):
                    bar.shown = 0.0
                    bar.advance(10**8)
                console.note("by the way")
        drawn = read_all(leader)
    finally:
        os.close(leader)
        if environment is None:
            del os.environ["CI"]
        else:
            os.environ["CI"] = environment
    redraws = re.split(r"\r\x1b\[K", drawn)
    assert len(redraws) == 6
    assert max(len(text) for text in redraws) < columns
    assert "by the way\r\n" in redraws
    assert redraws[-1] == ""


def test_progress_in_a_pipe_ends_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w") as stream:
        console = Console(err=stream)
        with console.progress("fetch", 2_000_000) as bar:
            bar.advance(1_000_000)
            bar.advance(1_000_000)
    (line,) = path.read_text().splitlines()
    assert line.startswith("fetch: 2.0/2.0 MB 100%")


def test_progress_that_stops_midway_does_not_say_that_it_came_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with (
        path.open("w") as stream,
        contextlib.suppress(OSError),
        Console(err=stream).progress("write", 2_000_000) as bar,
    ):
        bar.advance(1_000_000)
        raise OSError("full")
    assert " 50% " in path.read_text()


def values_of(command: str) -> list[argparse.Action]:
    """Return the options of a command that take a value."""
    return [one for one in parser_of(command)._actions if one.option_strings and one.nargs != 0]


@each
def test_a_number_is_never_below_what_it_counts(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for action in values_of(command):
        if not isinstance(action.default, int | float) and action.metavar not in ("N", "K"):
            continue
        for text in ("-1", "nan", "inf", "1e999", "x", "9" * 400 + "x"):
            assert main([command, f"{action.option_strings[-1]}={text}"]) == 2
            assert action.option_strings[-1] in capsys.readouterr().err


@each
@pytest.mark.parametrize(("text", "why"), [("", "empty"), (" ", "empty"), ("\udce9", "no UTF-8")])
def test_a_value_that_says_nothing_is_refused(
    command: str, text: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shell variable that was not set; bytes that are no text."""
    for action in values_of(command):
        if action.type is Path and why != "empty":
            continue
        assert main([command, action.option_strings[-1], text]) == 2
        said = capsys.readouterr().err
        assert why in said, said
        assert action.option_strings[-1] in said
