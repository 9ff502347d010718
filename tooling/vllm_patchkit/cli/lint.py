"""Check a stack against every rule and report every finding.

Checked are the series, the mail headers and trailers, the form of the diffs, that each prefix of
the series applies exactly and byte-compiles, and that the lock is up to date.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from vllm_patchkit.cli.options import add_json_option, add_stack_argument, print_document
from vllm_patchkit.cli.parser import take_inputs
from vllm_patchkit.errors import ExitCode
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.operations.stacks import lint
from vllm_patchkit.stack.finding import Finding
from vllm_patchkit.stack.read import find_stack

EXAMPLES = """\
  vllm-patchkit lint patches/emu3_5 --base vllm-0.11.0-cp38-abi3-manylinux1_x86_64.whl
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lint``."""
    add_stack_argument(parser)
    parser.add_argument(
        "--base",
        metavar="WHEEL|TREE",
        help="what the stack is cut from (default: the release's wheel, fetched once)",
    )
    add_json_option(parser, "the findings")
    take_inputs(parser, "base")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Print every finding; 1 if there is one."""
    folder = find_stack(args.stack)
    findings = lint(folder, base=args.base, console=console)
    if args.json:
        print_document(console, "lint", _document(folder.name, findings))
    else:
        for finding in findings:
            _print_finding(finding, console)
        count = len(findings)
        console.note(f"{folder}: {f'{count} findings' if count != 1 else '1 finding'}")
    return ExitCode.FAILED if findings else ExitCode.OK


def _print_finding(finding: Finding, console: Console) -> None:
    code = console.style(finding.code.value, "yellow")
    console.result(f"{finding.place}: {code} {finding.code.fault}: {finding.message}")
    console.result(console.style(f"    {finding.code.remedy}", "dim"))


def _document(stack: str, findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "stack": stack,
        "findings": [
            {
                "code": finding.code.value,
                "fault": finding.code.fault,
                "place": finding.place,
                "message": finding.message,
                "remedy": finding.code.remedy,
            }
            for finding in findings
        ],
    }
