"""Show the net change of a stack, or of one of its patches."""

from __future__ import annotations

import argparse

from vllm_patchkit.cli import options
from vllm_patchkit.errors import ExitCode
from vllm_patchkit.host.terminal import Console, wants_colour

EXAMPLES = """\
  vllm-patchkit diff myfork --stat
  vllm-patchkit diff myfork --patch 0007
  vllm-patchkit diff myfork > net.diff       (git apply takes it)
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``diff``."""
    options.add_stack_argument(parser)
    options.add_base_option(parser)
    parser.add_argument("--patch", metavar="NNNN", help="only this patch")
    parser.add_argument("--stat", action="store_true", help="files and line counts only")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Print the diff."""
    from vllm_patchkit.fork.compare import net_diff

    words = ["--stat=100"] if args.stat else []
    words += ["--color=always"] if wants_colour(console.out) else []
    console.raw(net_diff(options.stack_folder(args, console), console, *words, patch=args.patch))
    return ExitCode.OK
