"""Say which patches are in a wheel, an environment, a tree or a container image.

Content decides, patch by patch; what is recorded inside the target is shown beside it.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from vllm_patchkit.cli.options import add_target_options, describe_target, print_reports
from vllm_patchkit.errors import ExitCode, UsageError
from vllm_patchkit.host.terminal import Console

if TYPE_CHECKING:
    from vllm_patchkit.targets.answers import IdentifyReport

EXAMPLES = """\
  vllm-patchkit identify vllm-0.11.0+emu3.5.3-cp38-abi3-manylinux1_x86_64.whl
  vllm-patchkit identify --python ENV/bin/python --stack emu3_5
  vllm-patchkit identify --image vllm-emu3-5:0.11.0-emu3.5.3
"""
STYLES = {"in": "green", "out": "dim", "partly": "yellow", "unknown": "red"}


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``identify``."""
    add_target_options(parser, nargs="*")
    parser.add_argument("--image", metavar="NAME", help="look into a container image")
    parser.add_argument(
        "--stack",
        action="append",
        default=[],
        metavar="STACK",
        help="look for this stack only (may be given several times; default: all at hand)",
    )


def execute(args: argparse.Namespace, console: Console) -> int:
    """Identify and render."""
    from vllm_patchkit.operations.targets import identify

    if args.image:
        answers = [_identify_image(args)]
    else:
        answers = [
            identify(target, python=args.python, stacks=args.stack)
            for target in args.target or [None]
        ]
    if args.json:
        print_reports(console, "identify", answers)
    else:
        for answer in answers:
            _print(answer, console)
    return ExitCode.OK


def _print(answer: IdentifyReport, console: Console) -> None:
    if answer.target is not None:
        console.result(describe_target(answer.target))
    for stack in answer.stacks:
        inside = sum(patch.state == "in" for patch in stack.patches)
        console.result(f"{stack.stack} {stack.label}: {inside} of {len(stack.patches)} patches")
        for patch in stack.patches:
            state = console.style(patch.state.ljust(7), STYLES[patch.state])
            console.result(f"  {state}  {patch.name}" + (f"  ({patch.note})" if patch.note else ""))
    for record in answer.recorded:
        console.result(f"recorded: {record.stack} {record.label}, {len(record.patches)} patches")


def _identify_image(args: argparse.Namespace) -> IdentifyReport:
    from vllm_patchkit.container.contents import read_image
    from vllm_patchkit.container.engine import connect
    from vllm_patchkit.operations.targets import identify_contents

    if args.target or args.python:
        raise UsageError("--image goes with no other target")
    with read_image(connect(), args.image) as read:
        return identify_contents(read, stacks=args.stack)
