"""Build the wheel of a patched release, or check one.

The base is fetched with pip by name and sha256, or given with --base. Members that no patch
touches are copied as they are; the same inputs give the same bytes everywhere. --check builds a
wheel again from the statement inside it and compares.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vllm_patchkit.cli import options
from vllm_patchkit.cli.parser import take_inputs
from vllm_patchkit.errors import ExitCode, UsageError
from vllm_patchkit.host.terminal import Console

if TYPE_CHECKING:
    from vllm_patchkit.wheel.check import CheckReport

DEFAULT_OUT = Path("wheels/out")

EXAMPLES = """\
  vllm-patchkit wheel --stack myfork --flavor cuda
  vllm-patchkit wheel --stack myfork --flavor cpu --python-tag cp311 --out dist
  vllm-patchkit wheel --check wheels/out/vllm-0.11.0+myfork.3-cp38-abi3-manylinux1_x86_64.whl
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``wheel``."""
    from vllm_patchkit.wheel.flavor import python_tags, read_flavors

    options.add_stack_argument(parser)
    parser.add_argument("--flavor", choices=list(read_flavors()), help="default: cuda")
    parser.add_argument(
        "--base", type=Path, metavar="WHEEL", help="patch this wheel instead of the pinned one"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help=f"where to put the wheel (default: {DEFAULT_OUT})"
    )
    parser.add_argument(
        "--python-tag", choices=python_tags(), help="cpu only, default: the base's first"
    )
    parser.add_argument(
        "--check", type=Path, nargs="+", metavar="WHEEL", help="build these again and compare"
    )
    options.add_json_option(parser, "the result")
    take_inputs(parser, "base", "check")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Build, or check; print the path of the wheel, or the verdict."""
    return _check(args, console) if args.check else _build(args, console)


def _build(args: argparse.Namespace, console: Console) -> int:
    from vllm_patchkit.wheel.build import build_wheel

    built = build_wheel(
        args.stack,
        out=args.out or DEFAULT_OUT,
        flavor=args.flavor or "cuda",
        base=args.base,
        python_tag=args.python_tag,
        console=console,
    )
    if not options.print_document(args, console, built):
        console.note(
            f"{built.distribution} {built.version}: {built.patches} patches on {built.base}"
        )
        console.result(str(built.path))
    return ExitCode.OK


def _check(args: argparse.Namespace, console: Console) -> int:
    from vllm_patchkit.wheel.check import check_wheel

    if args.base and len(args.check) > 1:
        raise UsageError("--base is of one wheel, and several are to be checked")
    for option in ("stack", "flavor", "out", "python_tag"):
        if getattr(args, option) is not None:
            name = option.replace("_", "-")
            raise UsageError(f"--check takes no --{name}: the wheel says what it was built from")
    reports = [check_wheel(wheel, base=args.base, console=console) for wheel in args.check]
    if not options.print_reports(args, console, reports):
        for report in reports:
            _print_report(report, console)
    return ExitCode.FAILED if any(report.differences for report in reports) else ExitCode.OK


def _print_report(report: CheckReport, console: Console) -> None:
    if not report.differences:
        console.result(f"{report.wheel.name} is, byte for byte, what its provenance says")
        return
    console.result(f"{report.wheel.name} is not what its provenance says:")
    for difference in report.differences:
        console.result(f"  {difference}")
    if report.builder_version != report.checker_version:
        console.note(
            f"note: it was built by vllm-patchkit {report.builder_version}; this is "
            f"{report.checker_version}, which may write other bytes"
        )
