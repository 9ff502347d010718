"""The command line: a table of subcommands, each in a module that is imported when it runs."""

from __future__ import annotations

import argparse
import gc
import io
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, TextIO

from vllm_patchkit.errors import ExitCode, PatchkitError, UsageError
from vllm_patchkit.host.terminal import Console

# Reading a stack makes thousands of small values and no cycle: at Python's own threshold, looking
# for cycles takes a sixteenth of a command's time.
GC_THRESHOLD = 100_000


class Command(NamedTuple):
    """Where a subcommand lives and what ``--help`` says of it.

    ``verdict``: its exit code says all; with ``--quiet``, what it prints is kept back where that
    code is 0.
    """

    module: str
    help: str
    verdict: bool = False


COMMANDS: dict[str, Command] = {
    "verify": Command("verify", "say which state a target is in", True),
    "status": Command("status", "say what is applied to a target, for people and machines", True),
    "apply": Command("apply", "apply a stack to a target, as one transaction", True),
    "revert": Command("revert", "take a stack off a target, byte for byte", True),
    "identify": Command("identify", "say which patches are in a wheel, an environment or a tree"),
    "lint": Command("lint", "check a stack and report every finding", True),
    "lock": Command("lock", "write the lock of a stack", True),
    "wheel": Command("wheel", "build or check a patched wheel"),
    "image": Command("image", "build a container image from a patched wheel"),
    "flash-attn": Command("flash_attn", "name the prebuilt flash-attn that fits an environment"),
    "smoke": Command(
        "smoke", "run a wheel, an environment or an image and check what it writes", True
    ),
    "bench": Command("bench", "measure guided generation against plain sequences"),
    "import": Command("import_", "turn patches of any layout into a locked stack", True),
    "edit": Command("edit", "open a stack as a git work tree, one commit a patch"),
    "refresh": Command("refresh", "write a work tree's commits back as patches", True),
    "new": Command("new", "start a patch from changes made in an environment or a tree", True),
    "undo": Command("undo", "take back the last operation on a stack"),
    "diff": Command("diff", "show the net change of a stack"),
    "range-diff": Command("range_diff", "compare two versions of a stack"),
    "rebase": Command("rebase", "carry a stack over to another release"),
    "matrix": Command("matrix", "say which patches overlap, commute, or can be dropped"),
    "bisect": Command("bisect", "find the patch that breaks a command"),
    "export": Command("export", "write patches for upstream: mailbox, bundle or branch"),
    "report": Command("report", "write a stack as one page"),
    "doctor": Command("doctor", "explain an environment and how to mend it", True),
    "release": Command("release", "write everything that a release publishes"),
    "verify-release": Command("verify_release", "check a release folder", True),
    "completion": Command("completion", "print a completion script for a shell"),
}


def make_parser(*wanted: str) -> argparse.ArgumentParser:
    """Return the parser of the wanted commands, or one that lists all for ``--help`` and errors.

    Only the modules of wanted commands are imported; making every other parser would take longer
    than many a command.
    """
    parser = argparse.ArgumentParser(
        prog="vllm-patchkit",
        description="Apply, build, prove and maintain source patches on a pinned vLLM.",
        epilog="vllm-patchkit COMMAND --help shows a command's options and an example.",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-q", "--quiet", action="store_true", help="print errors and results only")
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
        if name in wanted:
            module = import_module(f"vllm_patchkit.cli.{entry.module}")
            sub.description = module.__doc__
            module.configure_parser(sub)
            sub.set_defaults(execute=module.execute)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    A known error is one message and a hint, no traceback, and so is a file that the system does not
    let us have; an unknown one keeps its traceback.
    """
    if argv is None:
        gc.set_threshold(GC_THRESHOLD)
    words = list(sys.argv[1:] if argv is None else argv)
    parser = make_parser(*(word for word in words[:1] if word in COMMANDS))
    try:
        args = parser.parse_args(words)
    except SystemExit as done:
        return int(done.code or 0)
    if args.version:
        from vllm_patchkit.version import __version__

        print(__version__)
        return ExitCode.OK
    if args.command is None:
        parser.print_help()
        return ExitCode.USAGE
    return _execute(args)


def _execute(args: argparse.Namespace) -> int:
    console = Console(quiet=args.quiet)
    kept_back = _keep_back(args, console)
    try:
        if args.log_file:
            console.log = _open_log(args.log_file)
        code = int(args.execute(args, console))
        if code != ExitCode.OK:
            sys.stdout.write(kept_back.getvalue())
        return code
    except PatchkitError as error:
        console.error(error.message, error.hint)
        return int(error.exit_code)
    except KeyboardInterrupt:
        console.error("interrupted")
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return ExitCode.OK
    except OSError as error:
        if error.filename is None:
            raise
        console.error(f"{error.filename}: {error.strerror}")
        return int(ExitCode.ENVIRONMENT)
    finally:
        if console.log is not None:
            console.log.close()


def _keep_back(args: argparse.Namespace, console: Console) -> io.StringIO:
    """Let a quiet verdict be printed only if it is bad; return where it is until then."""
    kept_back = io.StringIO()
    if args.quiet and COMMANDS[args.command].verdict and not getattr(args, "json", False):
        console.out = kept_back
    return kept_back


def _open_log(name: str) -> TextIO:
    try:
        return Path(name).open("a", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--log-file {name}: {error.strerror}") from error
