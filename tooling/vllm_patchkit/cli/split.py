"""Take one patch of an open work tree apart into several.

By file, folder or subsystem (the package's own folders), or by hunk; the pieces are sorted, so that
the same patch is always taken apart the same way. Later patches stay as they are. Reorder, fold
and reword the pieces with git, then refresh.
"""

from __future__ import annotations

import argparse

from vllm_patchkit.cli import options
from vllm_patchkit.errors import ExitCode, UsageError
from vllm_patchkit.host.terminal import Console

EXAMPLES = """\
  vllm-patchkit split slow_steps --patch 0001 --by folder
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``split``."""
    options.add_stack_argument(parser)
    parser.add_argument(
        "--patch",
        default="0001",
        metavar="NNNN",
        help="its number in the work tree (default: 0001)",
    )
    parser.add_argument(
        "--by",
        choices=("file", "folder", "subsystem", "hunk"),
        default="file",
        help="what makes a piece (default: %(default)s)",
    )
    options.add_json_option(parser, "the pieces")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Split, and print the subjects of the pieces."""
    from vllm_patchkit.fork.edit import require_edit
    from vllm_patchkit.fork.split import split_patch
    from vllm_patchkit.fork.store.worktree import find_session
    from vllm_patchkit.stack.read import find_stack, read_metadata

    session = options.session_here(args)
    folder = session.folder if session else find_stack(args.stack)
    session = require_edit(folder, session or find_session(folder))
    number = args.patch.partition("-")[0]
    if not number.isdigit():
        raise UsageError(f"--patch {args.patch}: expected the number of a patch, such as 0001")
    root = read_metadata(folder).base.root
    subjects = split_patch(session, int(number), args.by, root)
    if not options.print_document(args, console, {"pieces": subjects}):
        for subject in subjects:
            console.result(subject)
    console.note("refresh writes them into the stack")
    return ExitCode.OK
