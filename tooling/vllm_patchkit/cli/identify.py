"""Say which patches are in a wheel, an environment, a tree or a container image.

Content decides, patch by patch; a stack that is recorded inside is taken from there, and one of
which nothing is inside is only named.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from vllm_patchkit.cli import options
from vllm_patchkit.errors import ExitCode, UsageError
from vllm_patchkit.host.terminal import Console

if TYPE_CHECKING:
    from vllm_patchkit.targets.identify import IdentifyReport, StackIdentity

EXAMPLES = """\
  vllm-patchkit identify vllm-0.11.0+myfork.3-cp38-abi3-manylinux1_x86_64.whl
  vllm-patchkit identify --python ENV/bin/python --stack myfork
  vllm-patchkit identify --image vllm-myfork:0.11.0-myfork.3
"""
STYLES = {"in": "green", "out": "dim", "partly": "yellow", "unknown": "red"}


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``identify``."""
    options.add_target_options(parser, nargs="*")
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
    if not options.print_reports(args, console, answers):
        for answer in answers:
            _print(answer, console, named=bool(args.stack))
    return ExitCode.OK


def _print(answer: IdentifyReport, console: Console, *, named: bool) -> None:
    if answer.target is not None:
        console.result(options.describe_target(answer.target))
    absent = [stack for stack in answer.stacks if not (named or stack.is_inside)]
    for stack in answer.stacks:
        if stack not in absent:
            _print_stack(stack, console)
    for stack in absent:
        unknown = sum(patch.state == "unknown" for patch in stack.patches)
        note = f" ({unknown} of {len(stack.patches)} patches cannot be told)" if unknown else ""
        console.result(f"not inside: {stack.stack} {stack.label}{note}")
    for record in answer.recorded:
        console.result(f"recorded: {record.stack} {record.label}, {len(record.patches)} patches")


def _print_stack(stack: StackIdentity, console: Console) -> None:
    count = sum(patch.state == "in" for patch in stack.patches)
    console.result(f"{stack.stack} {stack.label}: {count} of {len(stack.patches)} patches")
    for patch in stack.patches:
        state = console.style(patch.state.ljust(7), STYLES[patch.state])
        origin = f"  from {patch.parent}" if patch.parent else ""
        note = f"  ({patch.note})" if patch.note else ""
        console.result(f"  {state}  {patch.name}{origin}{note}")


def _identify_image(args: argparse.Namespace) -> IdentifyReport:
    from vllm_patchkit.container.contents import read_image
    from vllm_patchkit.container.engine import connect
    from vllm_patchkit.operations.targets import identify_contents

    if args.target or args.python:
        raise UsageError("--image goes with no other target")
    with read_image(connect(), args.image) as read:
        return identify_contents(read, stacks=args.stack)
