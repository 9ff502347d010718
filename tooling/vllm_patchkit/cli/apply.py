"""Apply a stack to a target, as one transaction.

The base is verified, every patch is applied in memory with exact context, the results are compared
with the lock, and only then is anything written. Interrupted at any point, the next 'apply' or
'revert' brings the target to entirely new or entirely old. A wheel is not changed: a patched one is
written beside it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vllm_patchkit.cli import options
from vllm_patchkit.errors import ExitCode
from vllm_patchkit.host.terminal import Console

EXAMPLES = """\
  vllm-patchkit apply --python ENV/bin/python
  vllm-patchkit apply --stack myfork --upto 0007 --dry-run path/to/checkout
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``apply``."""
    options.add_target_options(parser)
    options.add_stack_option(parser)
    parser.add_argument("--upto", metavar="NNNN", help="apply the patches up to this one")
    parser.add_argument("--dry-run", action="store_true", help="print the plan, write nothing")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="for a wheel: where to write the patched one"
    )


def execute(args: argparse.Namespace, console: Console) -> int:
    """Apply and render."""
    from vllm_patchkit.operations.targets import apply

    answer = apply(
        args.target,
        python=args.python,
        stack=args.stack,
        upto=args.upto,
        dry_run=args.dry_run,
        output=args.out,
        console=console,
    )
    if not options.print_document(args, console, answer):
        options.print_change(answer, console)
    return ExitCode.OK
