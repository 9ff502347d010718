"""Write the commits of a stack's work tree back as patches, and lock the stack.

A patch that did not change keeps every byte of its file. Without a work tree, the patches are
exported again from the patch files; --check only says which of them would change.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vllm_patchkit.cli import options
from vllm_patchkit.errors import ExitCode
from vllm_patchkit.host.terminal import Console

if TYPE_CHECKING:
    from vllm_patchkit.fork.publish import Published

EXAMPLES = """\
  vllm-patchkit refresh                 (inside the work tree, or for the only stack)
  vllm-patchkit refresh myfork
  vllm-patchkit refresh myfork --check  (for CI: 1 if a file is not as git would write it)
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``refresh``."""
    options.add_stack_argument(parser)
    options.add_base_option(parser)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; say which patches would change"
    )
    options.add_json_option(parser, "what was done")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Refresh from the work tree, or from the patches themselves."""
    from vllm_patchkit.fork.edit import refresh_folder, refresh_session
    from vllm_patchkit.fork.store.worktree import find_session

    session = options.session_here(args)
    folder = options.stack_folder(args, console, session.folder if session else None)
    session = session or find_session(folder)
    if args.check:
        return _check(args, folder, console)
    found = refresh_session(session, console) if session else refresh_folder(folder, console)
    if not options.print_document(args, console, found.to_json()):
        print_published(found, console)
    return ExitCode.OK


def _check(args: argparse.Namespace, folder: Path, console: Console) -> int:
    from vllm_patchkit.fork.edit import list_changed

    names = list_changed(folder, console)
    if not options.print_document(args, console, {"stack": str(folder), "changed": names}):
        for name in names:
            console.result(f"{name} is not as git format-patch would write it")
    return ExitCode.FAILED if names else ExitCode.OK


def print_published(result: Published, console: Console) -> None:
    """Print what an operation changed in a stack folder."""
    for source, name in result.renamed:
        console.result(f"renamed  {source} -> {name}")
    for verb, names in (
        ("added", result.added),
        ("changed", result.changed),
        ("dropped", result.dropped),
    ):
        for name in names:
            console.result(f"{verb:8} {name}")
    for note in result.notes:
        console.note(f"{console.style('quoted', 'yellow', console.err)}   {note}")
    for fault in result.faults:
        console.note(console.style("does not compile: ", "yellow", console.err) + fault)
    console.result(f"{result.folder}: {result.patches} patches, {result.unchanged} unchanged")
