"""Write patches for upstream: a mailbox for git am, a bundle, or a branch in a checkout.

`git am` cuts tags such as [Core] off the subject unless it is told --keep-non-patch. Chosen
patches are merged onto the base without the others; one that needs those is refused.
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
    from vllm_patchkit.fork.export import Choice

EXAMPLES = """\
  vllm-patchkit export myfork --upto 0007 -o series.mbox && git am --keep-non-patch series.mbox
  vllm-patchkit export myfork --only 0003 --only 0005 --upstream -o fix.mbox
  vllm-patchkit export myfork --checkout ~/src/vllm --onto v0.11.0 --branch myfork
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``export``."""
    options.add_stack_argument(parser)
    options.add_base_option(parser)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--upto", metavar="NNNN", help="the patches up to this one")
    choice.add_argument("--only", action="append", metavar="NNNN", help="this patch; may repeat")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: stdout")
    parser.add_argument(
        "--check-upstream",
        action="append",
        metavar="RELEASE",
        help="only say what this release made of each patch: needed, partly, merged or "
        "superseded; may be repeated",
    )
    parser.add_argument("--bundle", action="store_true", help="write a git bundle to --output")
    parser.add_argument("--checkout", type=Path, metavar="REPO", help="add a branch there")
    parser.add_argument("--onto", metavar="TAG", help="tag or commit that the branch starts from")
    parser.add_argument("--branch", metavar="NAME", help="name of the branch (default: the stack)")
    parser.add_argument(
        "--upstream", action="store_true", help="leave out the trailers that only a fork needs"
    )
    take_inputs(parser, "checkout")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Export in the form that was asked for."""
    folder = options.stack_folder(args, console)
    if args.checkout:
        return _branch(args, folder, console)
    if args.onto or (args.branch and not args.bundle):
        raise UsageError("--onto and --branch need --checkout")
    if args.check_upstream:
        return _check_upstream(args, folder, console)
    if args.bundle:
        return _bundle(args, folder, console)
    return _mailbox(args, folder, console)


def _check_upstream(args: argparse.Namespace, folder: Path, console: Console) -> int:
    """Print what upstream made of each patch; nothing is exported."""
    from packaging.version import Version

    from vllm_patchkit.fork.base import parse_base
    from vllm_patchkit.fork.rebase.survey import survey_rebase
    from vllm_patchkit.fork.rebase.upstream import format_fates, judge_patches
    from vllm_patchkit.host.files import replace_file
    from vllm_patchkit.stack.read import read_metadata

    distribution = read_metadata(folder).base.distribution
    specs = [parse_base(text, distribution=distribution) for text in args.check_upstream]
    specs.sort(key=lambda spec: Version(spec.version))
    surveys = survey_rebase(folder, specs, console)
    page = format_fates(judge_patches(surveys), [spec.version for spec in specs])
    if args.output is None:
        console.result(page)
    else:
        replace_file(args.output, f"{page}\n".encode())
    return ExitCode.OK


def _choice(args: argparse.Namespace) -> Choice:
    from vllm_patchkit.fork.export import Choice

    return Choice(upto=args.upto, only=args.only, clean_trailers=args.upstream)


def _branch(args: argparse.Namespace, folder: Path, console: Console) -> int:
    from vllm_patchkit.fork.export import export_branch

    if not args.onto:
        raise UsageError("--checkout needs --onto", hint="name a tag: --onto v0.11.0")
    branch = args.branch or folder.resolve().name
    commit = export_branch(folder, _choice(args), args.checkout, args.onto, branch, console)
    console.result(f"{branch} {commit}")
    return ExitCode.OK


def _bundle(args: argparse.Namespace, folder: Path, console: Console) -> int:
    from vllm_patchkit.fork.export import export_bundle

    if args.output is None:
        raise UsageError("--bundle needs --output FILE")
    branch = args.branch or folder.resolve().name
    export_bundle(folder, _choice(args), args.output, branch, console)
    console.note(f"git clone --branch {branch} {args.output}")
    return ExitCode.OK


def _mailbox(args: argparse.Namespace, folder: Path, console: Console) -> int:
    from vllm_patchkit.fork.export import export_mailbox
    from vllm_patchkit.host.files import replace_file

    data = export_mailbox(folder, _choice(args), console)
    if args.output is None:
        console.raw(data)
    else:
        replace_file(args.output, data)
        console.note(f"git am --keep-non-patch --keep-cr {args.output}")
    return ExitCode.OK
