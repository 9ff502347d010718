"""The command line: a table of subcommands, each in a module that is imported when it runs."""

from __future__ import annotations

import argparse
import atexit
import errno
import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, TextIO

from vllm_patchkit.cli.parser import (
    HEADING,
    Parser,
    refuse_command,
    refuse_words,
    require_inputs,
)
from vllm_patchkit.errors import ExitCode, HostError, PatchkitError, UsageError
from vllm_patchkit.host.terminal import Console

# Reading a stack makes thousands of small values and no cycle: at Python's own threshold, looking
# for cycles takes a sixteenth of a command's time, and as much again at the end of the process.
GC_THRESHOLD = 100_000
INTERRUPTED = 130
RUNS_COMMAND = ("bisect",)
DENIED = (errno.EACCES, errno.EPERM)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class Command(NamedTuple):
    """Where a subcommand lives and what ``--help`` says of it."""

    module: str
    help: str


COMMANDS: dict[str, Command] = {
    "verify": Command("verify", "say which state a target is in"),
    "status": Command("status", "say what is applied to a target, for people and machines"),
    "apply": Command("apply", "apply a stack to a target, as one transaction"),
    "revert": Command("revert", "take a stack off a target, byte for byte"),
    "identify": Command("identify", "say which patches are in a wheel, an environment or a tree"),
    "lint": Command("lint", "check a stack and report every finding"),
    "lock": Command("lock", "write the lock of a stack"),
    "wheel": Command("wheel", "build or check a patched wheel"),
    "image": Command("image", "build a container image from a patched wheel"),
    "flash-attn": Command("flash_attn", "name the prebuilt flash-attn that fits an environment"),
    "smoke": Command("smoke", "run a wheel, an environment or an image and check what it writes"),
    "checkpoint": Command("checkpoint", "write a small checkpoint, to try a stack without weights"),
    "bench": Command("bench", "measure guided generation against plain sequences"),
    "base": Command("base", "say which release patches were cut from"),
    "import": Command("import_", "turn patches of any layout into a locked stack"),
    "edit": Command("edit", "open a stack as a git work tree, one commit a patch"),
    "split": Command("split", "take one patch of a work tree apart"),
    "refresh": Command("refresh", "write a work tree's commits back as patches"),
    "new": Command("new", "start a patch from changes made in an environment or a tree"),
    "undo": Command("undo", "take back the last operation on a stack"),
    "diff": Command("diff", "show the net change of a stack"),
    "range-diff": Command("range_diff", "compare two versions of a stack"),
    "rebase": Command("rebase", "carry a stack over to another release"),
    "compose": Command("compose", "make one stack of several"),
    "matrix": Command("matrix", "say which patches overlap, commute, or can be dropped"),
    "bisect": Command("bisect", "find the patch that breaks a command"),
    "export": Command("export", "write patches for upstream: mailbox, bundle or branch"),
    "report": Command("report", "write a stack as one page"),
    "doctor": Command("doctor", "explain an environment and how to mend it"),
    "release": Command("release", "write everything that a release publishes"),
    "verify-release": Command("verify_release", "check a release folder"),
    "completion": Command("completion", "print a completion script for a shell"),
}


def make_parser(*wanted: str) -> Parser:
    """Return the parser of the wanted commands, or one that lists all for ``--help`` and errors.

    Only the modules of wanted commands are imported; making every other parser would take longer
    than many a command.
    """
    parser = Parser(
        prog="vllm-patchkit",
        description="Apply, build, prove and maintain source patches on a pinned vLLM.",
        epilog="vllm-patchkit COMMAND --help shows a command's options and examples.",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    common = Parser(add_help=False)
    common.add_argument(
        "-q", "--quiet", action="store_true", help="print the result and errors, nothing by the way"
    )
    common.add_argument("--log-file", metavar="FILE", help="also write every message to FILE")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name in wanted or COMMANDS:
        entry = COMMANDS[name]
        sub = commands.add_parser(
            name,
            help=entry.help,
            parents=[common],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(parser=sub)
        if name in wanted:
            module = import_module(f"vllm_patchkit.cli.{entry.module}")
            sub.description = module.__doc__
            sub.epilog = HEADING + module.EXAMPLES
            module.configure_parser(sub)
            sub.set_defaults(execute=module.execute)
    return parser


def parse_call(words: Sequence[str]) -> argparse.Namespace:
    """Return the arguments of a call; ``words`` of a command to run follow ``--``.

    :raises UsageError: there is no such command, option or choice; names the likely one.
    :raises SystemExit: ``--help`` was asked for, and is printed.
    """
    name = words[0] if words else ""
    if name and not name.startswith("-") and name not in COMMANDS:
        raise refuse_command(name, COMMANDS)
    own, run = list(words), []
    if name in RUNS_COMMAND and "--" in own:
        cut = own.index("--")
        own, run = own[:cut], own[cut + 1 :]
    parser = make_parser(*(word for word in words[:1] if word in COMMANDS))
    args, left = parser.parse_known_args(own)
    if left:
        raise refuse_words(left, getattr(args, "parser", parser))
    args.words = run
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    A known error is one message and a hint, no traceback, and so is a file that the system does not
    let us have; an unknown one keeps its traceback. With ``--json`` it is JSON on stdout, too.
    """
    if argv is None:
        gc.set_threshold(GC_THRESHOLD)
        atexit.register(gc.freeze)
        _open_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    console = Console()
    call = argparse.Namespace(command=words[0] if words else "", json="--json" in words)
    try:
        code = _run(words, call, console)
        console.out.flush()
    except PatchkitError as error:
        return _fail(console, call, error)
    except KeyboardInterrupt:
        # What was in the middle of something complains when it is thrown away.
        sys.unraisablehook = lambda _: None
        return _fail(console, call, PatchkitError("interrupted"), code=INTERRUPTED)
    except BrokenPipeError:
        _drop_output()
        return ExitCode.OK
    except OSError as error:
        if error.filename is None and error.errno not in NO_SPACE:
            raise
        if error.errno in DENIED and isinstance(error.filename, str):
            from vllm_patchkit.host.permission import explain_denial

            return _fail(console, call, explain_denial(Path(error.filename)))
        return _fail(console, call, _explain(error))
    else:
        return code
    finally:
        if console.log is not None:
            console.log.close()


def _run(words: Sequence[str], call: argparse.Namespace, console: Console) -> int:
    """Parse the call and carry it out.

    :param call: what is known of the call so far; gets the rest.
    """
    try:
        args = parse_call(words)
    except SystemExit as done:
        return int(done.code or 0)
    vars(call).update(vars(args))
    if args.version:
        from vllm_patchkit.version import __version__

        console.result(__version__)
        return ExitCode.OK
    if args.command is None:
        make_parser().print_help()
        return ExitCode.USAGE
    console.quiet = args.quiet
    if args.log_file:
        console.log = _open_log(args.log_file)
    require_inputs(args)
    return int(args.execute(args, console))


def _fail(
    console: Console, call: argparse.Namespace, error: PatchkitError, *, code: int | None = None
) -> int:
    """Say what went wrong, for machines where they asked, and return the exit code."""
    code = int(error.exit_code) if code is None else code
    hint = error.hint
    if hint is None and isinstance(error, UsageError) and call.command in COMMANDS:
        hint = f"vllm-patchkit {call.command} --help"
    try:
        console.error(error.message, hint)
        if getattr(call, "json", False):
            from vllm_patchkit.cli.options import print_document

            what = {"message": error.message, "hint": hint, "exit_code": code}
            print_document(call, console, {"error": what})
        console.out.flush()
    except OSError:
        # Nobody is left to tell but by the code, which Python's own last flush must not change.
        _drop_output()
    return code


def _explain(error: OSError) -> HostError:
    """Return what is said of a place that the system does not let us have."""
    if not isinstance(error.filename, str):
        return HostError(str(error.strerror), hint="see what the disk has left: df")
    from vllm_patchkit.host.cache import find_cache

    place, cache = Path(error.filename).absolute(), find_cache().absolute()
    if place.is_relative_to(cache) or cache.is_relative_to(place):
        hint = f"the cache is {cache}; elsewhere with VLLM_PATCHKIT_CACHE=DIR"
    else:
        hint = f"look at {place.parent} (ls -ld, df), or name another place"
    return HostError(f"{error.filename}: {error.strerror}", hint=hint)


def _open_streams() -> None:
    """Give a process that was started with closed streams (``>&-``) ones that take all."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))


def _drop_output() -> None:
    handle = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            os.dup2(handle, stream.fileno())
    os.close(handle)


def _open_log(name: str) -> TextIO:
    try:
        return Path(name).open("a", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--log-file {name}: {error.strerror}") from error
