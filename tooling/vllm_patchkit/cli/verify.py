"""Say which state a target is in, with one verdict a file.

The state is pristine, applied, partial, drifted, other-version or foreign-stack. Content decides;
the version that the metadata claims is checked too. Nothing is imported and nothing is written.
Exit code 0 for pristine and applied, 1 for every other state, and for any but the --expect one.
"""

from __future__ import annotations

import argparse

from vllm_patchkit.cli import options
from vllm_patchkit.errors import ExitCode
from vllm_patchkit.host.terminal import Console

EXAMPLES = """\
  vllm-patchkit verify --python ENV/bin/python --expect applied
  vllm-patchkit verify vllm-0.11.0-cp38-abi3-manylinux1_x86_64.whl
"""
STATES = ("pristine", "applied", "partial", "drifted", "other-version", "foreign-stack")


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``verify``."""
    options.add_target_options(parser)
    options.add_stack_option(parser)
    parser.add_argument("--expect", choices=STATES, help="fail in any other state")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Verify and render."""
    from vllm_patchkit.operations.targets import verify

    answer = verify(args.target, python=args.python, stack=args.stack)
    if not options.print_document(args, console, answer):
        console.result(options.describe_target(answer.target))
        options.print_state(answer.report, console, every_file=True)
        options.print_surroundings(answer.interruption, answer.leftovers, console)
    fine = (args.expect,) if args.expect else ("pristine", "applied")
    sound = answer.report.state in fine and answer.interruption is None
    return ExitCode.OK if sound else ExitCode.FAILED
