"""Compare two versions of a stack, patch by patch, as git range-diff does."""

from __future__ import annotations

import argparse
from pathlib import Path

from vllm_patchkit.cli import options
from vllm_patchkit.cli.parser import take_inputs
from vllm_patchkit.errors import ExitCode
from vllm_patchkit.host.terminal import Console, wants_colour

EXAMPLES = """\
  vllm-patchkit range-diff myfork                   (against the state before the last operation)
  vllm-patchkit range-diff myfork --rev HEAD~3      (against the folder in your repository)
  vllm-patchkit range-diff myfork --other ./myfork-0.11.1
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``range-diff``."""
    options.add_stack_argument(parser)
    options.add_base_option(parser)
    former = parser.add_mutually_exclusive_group()
    former.add_argument("--rev", metavar="REV", help="revision of the stack's git repository")
    former.add_argument("--other", type=Path, metavar="DIR", help="folder of the other version")
    parser.add_argument("--summary", action="store_true", help="one line a patch, no diffs")
    take_inputs(parser, "other")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Print the range diff."""
    from vllm_patchkit.fork.compare import range_diff

    words = ["--no-patch"] if args.summary else []
    words += ["--color=always"] if wants_colour(console.out) else []
    console.raw(
        range_diff(options.stack_folder(args, console), args.other or args.rev, console, *words)
    )
    return ExitCode.OK
