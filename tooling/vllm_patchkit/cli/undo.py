"""Take back the last operation on a stack: import, refresh, new, rebase, compose.

The stack folder becomes what it was before that operation; run it again to go further back.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from vllm_patchkit.cli import options
from vllm_patchkit.errors import ExitCode, UsageError
from vllm_patchkit.host.terminal import Console

EXAMPLES = """\
  vllm-patchkit undo myfork --list
  vllm-patchkit undo myfork
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``undo``."""
    options.add_stack_argument(parser)
    parser.add_argument("--list", action="store_true", help="list what could be taken back")
    options.add_json_option(parser, "the outcome")
    parser.add_argument(
        "--force", action="store_true", help="even if the folder was edited by hand since"
    )


def execute(args: argparse.Namespace, console: Console) -> int:
    """Undo, or list the operations."""
    from vllm_patchkit.fork.edit import list_history, undo

    folder = _find_folder(args.stack)
    if args.list:
        operations = list_history(folder)
        if not options.print_document(args, console, {"operations": list(map(asdict, operations))}):
            for operation in operations:
                console.result(f"{operation.commit[:12]} {operation.title}")
        return ExitCode.OK
    title = undo(folder, force=args.force)
    if not options.print_document(args, console, {"undone": title}):
        console.result(f"undone: {title}")
    return ExitCode.OK


def _find_folder(name: str | None) -> Path:
    """Return a stack's folder, also where undo has to bring the folder itself back."""
    from vllm_patchkit.stack.read import find_stack

    try:
        return find_stack(name)
    except UsageError:
        if name is None or "/" not in name:
            raise
        return Path(name)
