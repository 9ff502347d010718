"""Make one stack of several: each one's patches, carried over those before it.

Where two touch the same lines it stops in a git work tree, as rebase does: resolve there, git
add, and --continue. The new stack remembers its parents; --update carries what changed in them
over, and keeps what was resolved. 'matrix A --with B' says beforehand where two stacks meet.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from vllm_patchkit.cli import options
from vllm_patchkit.cli.rebase import print_rebased
from vllm_patchkit.errors import ExitCode, UsageError
from vllm_patchkit.host.terminal import Console

if TYPE_CHECKING:
    from vllm_patchkit.fork.rebase.session import Rebased

EXAMPLES = """\
  vllm-patchkit compose myfork slow_steps --name house
  vllm-patchkit compose house --update
  vllm-patchkit compose house --continue
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``compose``."""
    options.add_stack_argument(parser)
    parser.add_argument(
        "others", nargs="*", metavar="OTHER", help="the other parents, in order (default: none)"
    )
    parser.add_argument("--name", help="what to call the new stack (default: none)")
    parser.add_argument("--label", help="its version label (default: from the name)")
    parser.add_argument(
        "--into", type=Path, default=Path("patches"), metavar="DIR",
        help="the folder that gets the stack's folder (default: patches)",
    )  # fmt: skip
    step = parser.add_mutually_exclusive_group()
    step.add_argument("--update", action="store_true", help="carry over what changed in parents")
    step.add_argument("--check", action="store_true", help="only say whether a parent changed")
    options.add_step_options(parser, step, "no stack is changed")
    options.add_json_option(parser, "the reports")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Compose, update, resume or give up."""
    from vllm_patchkit.fork.compose.compose import KIND, continue_compose, update_compose
    from vllm_patchkit.fork.rebase.session import abort_session

    if args.check:
        return _check(args, _find_composed(args), console)
    if args.abort:
        console.note(f"deleted {abort_session(_find_open(args), KIND)}; no stack was changed")
        return ExitCode.OK
    if args.go_on or args.skip:
        result = continue_compose(_find_open(args), console, skip=args.skip)
    elif args.update:
        result = update_compose(_find_composed(args), console, work_tree=args.dir)
    else:
        result = _start(args, console)
    return print_rebased(result, args, console)


def _start(args: argparse.Namespace, console: Console) -> Rebased:
    from vllm_patchkit.fork.compose.compose import start_compose
    from vllm_patchkit.stack.metadata import LABEL, NAME
    from vllm_patchkit.stack.read import find_stack

    parents = [find_stack(name) for name in (args.stack, *args.others) if name is not None]
    if not args.name or not NAME.fullmatch(args.name):
        raise UsageError(
            f"{args.name!r} is no name for a stack" if args.name else "--name is missing",
            hint="name the new stack: --name house",
        )
    label = args.label or re.sub(r"[^a-z0-9]+", ".", args.name).strip(".")
    if not LABEL.fullmatch(label):
        raise UsageError(f"--label {label}: expected lower case letters, digits and single dots")
    folder = args.into / args.name
    return start_compose(folder, parents, console, label=label, work_tree=args.dir)


def _named(args: argparse.Namespace) -> str | None:
    """Return the composed stack that a call names.

    :raises UsageError: it names several.
    """
    if args.others:
        raise UsageError("this goes with one stack, the composed one", hint="name it alone")
    name: str | None = args.stack
    return name


def _find_composed(args: argparse.Namespace) -> Path:
    from vllm_patchkit.stack.read import find_stack

    return find_stack(_named(args))


def _find_open(args: argparse.Namespace) -> Path:
    return options.find_open(args, _named(args) or args.name, "a composition", "compose NAME")


def _check(args: argparse.Namespace, folder: Path, console: Console) -> int:
    from vllm_patchkit.fork.compose.parents import changed_parents
    from vllm_patchkit.stack.read import read_stack

    lines = changed_parents(folder, read_stack(folder))
    if not options.print_document(args, console, {"changed": lines}) and lines:
        console.result("\n".join(lines))
        console.note(f"carry it over: vllm-patchkit compose {folder.name} --update")
    return ExitCode.FAILED if lines else ExitCode.OK
