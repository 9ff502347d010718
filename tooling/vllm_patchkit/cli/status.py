"""Say what is applied to a target, from the record inside it, and whether it still holds.

Exit code 0 if every recorded stack is as it was applied and no transaction was interrupted.
"""

from __future__ import annotations

import argparse

from vllm_patchkit.cli import options
from vllm_patchkit.errors import ExitCode
from vllm_patchkit.host.terminal import Console

EXAMPLES = """\
  vllm-patchkit status
  vllm-patchkit status --python ENV/bin/python --json
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``status``."""
    options.add_target_options(parser)
    options.add_stack_option(parser)


def execute(args: argparse.Namespace, console: Console) -> int:
    """Look and render."""
    from vllm_patchkit.operations.targets import status

    answer = status(args.target, python=args.python, stack=args.stack)
    if not options.print_document(args, console, answer):
        console.result(options.describe_target(answer.target))
        for one in answer.stacks:
            options.print_state(one.report, console, every_file=False)
            if one.applied is not None:
                console.result(f"  recorded: {one.applied.label}, by {one.applied.tool}")
                for name, _ in one.applied.patches:
                    console.result(f"    {name}")
        options.print_surroundings(answer.interruption, answer.leftovers, console)
    broken = any(
        one.report.applied != len(one.applied.patches)
        for one in answer.stacks
        if one.applied is not None
    )
    return ExitCode.FAILED if broken or answer.interruption else ExitCode.OK
