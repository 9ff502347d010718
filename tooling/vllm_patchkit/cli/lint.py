"""Check a stack against every rule and report every finding.

Checked are the series, the mail headers and trailers, the form of the diffs, that each prefix of
the series applies exactly and byte-compiles, and that the lock is up to date.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from vllm_patchkit.cli import options
from vllm_patchkit.errors import ExitCode
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.operations.stacks import lint_all
from vllm_patchkit.stack.finding import Code, Finding
from vllm_patchkit.stack.read import find_stack
from vllm_patchkit.stack.series import PATCH_NAME

EXAMPLES = """\
  vllm-patchkit lint patches/myfork --base vllm-0.11.0-cp38-abi3-manylinux1_x86_64.whl
  vllm-patchkit lint backports --ignore S108 --ignore H203
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lint``."""
    options.add_stack_argument(parser)
    options.add_release_option(parser)
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="CODE",
        help="pass over this code; may be repeated (default: those in [lint.ignore])",
    )
    options.add_json_option(parser, "the findings")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Print every finding; 1 if there is one."""
    folder = find_stack(args.stack)
    findings, ignored = lint_all(folder, base=args.base, ignore=args.ignore, console=console)
    rows = [
        {
            "code": one.code.value,
            "fault": one.code.fault,
            "place": one.place,
            "message": one.message,
            "remedy": one.code.remedy,
        }
        for one in findings
    ]
    document = {"stack": folder.name, "ignored": len(ignored), "findings": rows}
    if not options.print_document(args, console, document):
        for group in _group(findings):
            _print_group(group, console)
        count = len(findings)
        codes = ", ".join(sorted({finding.code.value for finding in ignored}))
        passed = f", {len(ignored)} ignored ({codes})" if ignored else ""
        console.note(f"{folder}: {f'{count} findings' if count != 1 else '1 finding'}{passed}")
    return ExitCode.FAILED if findings else ExitCode.OK


def _group(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Return the findings by code, in the order in which the codes first come."""
    groups: dict[Code, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.code, []).append(finding)
    return list(groups.values())


def _print_group(group: Sequence[Finding], console: Console) -> None:
    """Print what has one code: its remedy once, each message once, with the places of it."""
    first, code = group[0], group[0].code
    shown = console.style(code.value, "yellow")
    if len(group) == 1:
        console.result(f"{first.place}: {shown} {code.fault}: {first.message}")
    else:
        console.result(f"{shown} {code.fault}: {len(group)} findings")
        places: dict[str, list[str]] = {}
        for finding in group:
            places.setdefault(finding.message, []).append(finding.place)
        for message, where in places.items():
            console.result(f"    {_places(where)}: {message}")
    console.result(console.style(f"    {code.remedy}", "dim"))


def _places(places: Sequence[str]) -> str:
    """Return where a message holds; numbered patches in a row as a range.

    >>> _places(["0001-a.patch", "0002-b.patch", "0003-c.patch", "0007-d.patch", "lock.json"])
    '0001 to 0003, 0007, lock.json'
    """
    if len(places) == 1:
        return places[0]
    runs: list[list[str]] = []
    for place in places:
        name = place[:4] if PATCH_NAME.fullmatch(place) else place
        follows = runs and runs[-1][-1].isdigit() and name.isdigit()
        if follows and int(name) == int(runs[-1][-1]) + 1:
            runs[-1].append(name)
        else:
            runs.append([name])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs)
