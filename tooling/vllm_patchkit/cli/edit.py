"""Open a stack as a git work tree: the base, then one commit a patch.

The result on stdout is the path of the work tree. Commit, amend, reorder and drop there with
ordinary git; `vllm-patchkit refresh` writes the commits back as patches.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vllm_patchkit.cli import options
from vllm_patchkit.errors import ExitCode
from vllm_patchkit.host.terminal import Console

EXAMPLES = """\
  cd "$(vllm-patchkit edit myfork)"
  git commit --fixup=HEAD~3 && git rebase --interactive --autosquash refs/patchkit/base
  vllm-patchkit refresh
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``edit``."""
    options.add_stack_argument(parser)
    options.add_base_option(parser)
    parser.add_argument("--dir", type=Path, metavar="DIR", help="where to put the work tree")
    parser.add_argument("--close", action="store_true", help="delete the stack's work tree")
    parser.add_argument(
        "--force", action="store_true", help="with --close: even if commits in it would be lost"
    )


def execute(args: argparse.Namespace, console: Console) -> int:
    """Open or close a work tree."""
    from vllm_patchkit.fork.edit import close_edit, open_edit

    folder = options.stack_folder(args, console)
    if args.close:
        console.note(f"deleted {close_edit(folder, force=args.force)}")
        return ExitCode.OK
    session = open_edit(folder, args.dir, console)
    console.note(
        "refs/patchkit/base is the base; every commit after it is a patch. Commit there, then: "
        "vllm-patchkit refresh, and at the end edit --close"
    )
    console.result(str(session.work_tree))
    return ExitCode.OK
