"""Name the prebuilt flash-attn that fits, or check the one that is installed.

Prints the one release file for a Python, torch, CUDA and C++ ABI: those of an environment, read
from its files, or those given. With --check, compares the installed flash-attn with them.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import textwrap
from typing import TYPE_CHECKING

from vllm_patchkit.cli import options
from vllm_patchkit.cli.parser import take_inputs
from vllm_patchkit.errors import ExitCode, UsageError
from vllm_patchkit.host.terminal import Console

if TYPE_CHECKING:
    from vllm_patchkit.doctor.flash_attn import Environment

WIDTH = 96
EXAMPLES = """\
  vllm-patchkit flash-attn --python ENV/bin/python
  vllm-patchkit flash-attn --python-version 3.12 --torch 2.8 --cuda 12 --cxx11-abi true
  vllm-patchkit flash-attn --check
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``flash-attn``."""
    from vllm_patchkit.doctor.flash_attn import RELEASES

    parser.add_argument("--python", help="interpreter of the environment (default: this one)")
    parser.add_argument("--python-version", help="such as 3.12")
    parser.add_argument("--torch", help="such as 2.8")
    parser.add_argument("--cuda", help="such as 12 or 12.8")
    parser.add_argument("--cxx11-abi", choices=["true", "false"], help="torch's C++ ABI")
    parser.add_argument(
        "--release", choices=RELEASES, default=RELEASES[0], help="of flash-attn, default: 2.8.3"
    )
    parser.add_argument("--check", action="store_true", help="check the installed flash-attn")
    options.add_json_option(parser, "the file or the findings")
    take_inputs(parser, "python")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Print the file name, or one line for each property that was checked."""
    from vllm_patchkit.doctor.flash_attn import check_installed, read_environment, release_file
    from vllm_patchkit.targets.environment import site_folders

    given = _given(args)
    if given is not None and not args.check:
        return _print_file(release_file(given, args.release), args, console)
    folders = site_folders(args.python or sys.executable)
    environment = given or read_environment(folders)
    if not args.check:
        return _print_file(release_file(environment, args.release), args, console)
    findings = check_installed(folders, environment)
    misfit = any(finding.fits is False for finding in findings)
    rows = [dataclasses.asdict(finding) for finding in findings]
    if options.print_document(args, console, {"findings": rows}):
        return ExitCode.FAILED if misfit else ExitCode.OK
    marks = {True: ("fits", "green"), False: ("does not fit", "red"), None: ("unknown", "yellow")}
    for finding in findings:
        word, colour = marks[finding.fits]
        found = f"found {finding.found}" + ("" if finding.fits else f", needed {finding.expected}")
        console.result(f"{console.style(f'{word:>12}', colour)}  {finding.subject}: {found}")
        if finding.why:
            indent = " " * 14
            start = f"{'why':>12}  "
            console.result(
                textwrap.fill(finding.why, WIDTH, initial_indent=start, subsequent_indent=indent)
            )
    if not misfit:
        return ExitCode.OK
    console.note(f"the file that fits: {release_file(environment, args.release)}")
    return ExitCode.FAILED


def _print_file(name: str, args: argparse.Namespace, console: Console) -> int:
    if not options.print_document(args, console, {"file": name}):
        console.result(name)
    return ExitCode.OK


def _given(args: argparse.Namespace) -> Environment | None:
    from vllm_patchkit.doctor.flash_attn import Environment

    values = (args.python_version, args.torch, args.cuda, args.cxx11_abi)
    if not any(values):
        return None
    if not all(values):
        raise UsageError("--python-version, --torch, --cuda and --cxx11-abi go together")
    return Environment(
        python=args.python_version,
        torch=".".join(args.torch.split(".")[:2]),
        cuda=args.cuda.split(".")[0],
        cxx11_abi=args.cxx11_abi == "true",
    )
