"""Take a stack off a target, byte for byte, RECORD included.

The stack is the one recorded in the target. Where a patched file was edited since, the command
refuses and says where; --keep-edits saves the edits as a patch first.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vllm_patchkit.cli import options
from vllm_patchkit.errors import ExitCode
from vllm_patchkit.host.terminal import Console

EXAMPLES = """\
  vllm-patchkit revert --python ENV/bin/python
  vllm-patchkit revert --keep-edits my-edits.patch
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``revert``."""
    options.add_target_options(parser)
    options.add_stack_option(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the plan, write nothing")
    parser.add_argument(
        "--keep-edits", type=Path, metavar="FILE", help="save edits of patched files as a patch"
    )


def execute(args: argparse.Namespace, console: Console) -> int:
    """Revert and render."""
    from vllm_patchkit.operations.targets import revert

    answer = revert(
        args.target,
        python=args.python,
        stack=args.stack,
        keep_edits=args.keep_edits,
        dry_run=args.dry_run,
    )
    if not options.print_document(args, console, answer):
        options.print_change(answer, console)
        if answer.kept_edits and answer.done:
            console.result(f"edits of {', '.join(answer.kept_edits)} saved to {args.keep_edits}")
    return ExitCode.OK
