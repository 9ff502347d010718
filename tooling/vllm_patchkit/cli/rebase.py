"""Carry a stack over to another release, with a three-way merge a patch.

A conflict stops it in a git work tree: resolve there, git add, and --continue; the stack folder
stays as it was until the whole new stack applies and byte-compiles. With --dry-run nothing
changes: the answer is which patch breaks on which release.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from vllm_patchkit.cli import options
from vllm_patchkit.cli.parser import take_inputs
from vllm_patchkit.cli.refresh import print_published
from vllm_patchkit.errors import ExitCode, UsageError
from vllm_patchkit.host.terminal import Console

if TYPE_CHECKING:
    from vllm_patchkit.fork.rebase.outcome import PatchReport
    from vllm_patchkit.fork.rebase.progress import StyleRequest
    from vllm_patchkit.fork.rebase.session import Rebased
    from vllm_patchkit.fork.rebase.survey import Survey

COLOURS = {"clean": "green", "moved": "green", "upstream": "cyan", "conflict": "red"}
SHOWN_LINES = 12

EXAMPLES = """\
  vllm-patchkit rebase myfork --dry-run --onto 0.11.1 --onto 0.11.2 --onto 0.12.0
  vllm-patchkit rebase myfork --onto 0.11.1 --normalise
  vllm-patchkit rebase myfork --onto v0.11.1 --checkout ~/src/vllm
  vllm-patchkit rebase myfork --continue
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``rebase``."""
    options.add_stack_argument(parser)
    options.add_base_option(parser)
    parser.add_argument(
        "--onto", action="append", metavar="RELEASE",
        help="version, DISTRIBUTION==VERSION or wheel; may repeat: one after the other",
    )  # fmt: skip
    parser.add_argument(
        "--checkout", type=Path, metavar="REPO", help="take --onto, a tag, from this git repository"
    )
    step = parser.add_mutually_exclusive_group()
    step.add_argument("--dry-run", action="store_true", help="only say what would happen")
    options.add_step_options(parser, step, "the stack is as it was")
    parser.add_argument(
        "--normalise", "--normalize", dest="normalise", action="store_true",
        help="format both sides with the new release's formatter before merging",
    )  # fmt: skip
    parser.add_argument("--formatter", metavar="COMMAND", help="formatter to normalise with")
    parser.add_argument(
        "--style-config", type=Path, metavar="FILE", help="ruff.toml to normalise with"
    )
    parser.add_argument("--into", type=Path, metavar="DIR", help="write the new stack there")
    options.add_json_option(parser, "the reports")
    parser.add_argument("--markdown", action="store_true", help="print the forecast as Markdown")
    take_inputs(parser, "checkout", "style_config")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Start, resume, give up, or only try."""
    from vllm_patchkit.fork.rebase.rebase import KIND, continue_rebase
    from vllm_patchkit.fork.rebase.session import abort_session

    folder = _find_folder(args, console)
    if args.abort:
        console.note(f"deleted {abort_session(folder, KIND)}; {folder} is as it was")
        return ExitCode.OK
    if args.go_on or args.skip:
        return _follow(continue_rebase(folder, console, skip=args.skip), args, console)
    if not args.onto:
        raise UsageError("--onto is missing", hint="name a release: --onto 0.11.1")
    if args.dry_run:
        return _survey(args, folder, console)
    return _start(args, folder, console)


def _find_folder(args: argparse.Namespace, console: Console) -> Path:
    session = options.session_here(args)
    return options.stack_folder(args, console, session.folder if session else None)


def _style(args: argparse.Namespace) -> StyleRequest | None:
    from vllm_patchkit.fork.rebase.progress import StyleRequest

    if args.normalise or args.formatter or args.style_config:
        config = args.style_config and args.style_config.absolute()
        return StyleRequest(command=args.formatter, config=config)
    return None


def _start(args: argparse.Namespace, folder: Path, console: Console) -> int:
    from vllm_patchkit.fork.base import parse_base
    from vllm_patchkit.fork.rebase.rebase import start_rebase
    from vllm_patchkit.stack.read import read_metadata

    if len(args.onto) > 1 and args.checkout:
        raise UsageError("--checkout goes with one --onto", hint="rebase onto one after the other")
    distribution = read_metadata(folder).base.distribution
    onto = parse_base(args.onto[0], distribution=distribution, checkout=args.checkout)
    result = start_rebase(
        folder, onto, console, style=_style(args), target=args.into, work_tree=args.dir,
        rest=[_settle(text, distribution) for text in args.onto[1:]],
    )  # fmt: skip
    return _follow(result, args, console)


def _settle(text: str, distribution: str) -> str:
    """Return a release that is to follow as it is to be remembered, wherever one goes on.

    :raises UsageError: it names none; that is said before anything is begun.
    """
    from vllm_patchkit.fork.base import parse_base

    spec = parse_base(text, distribution=distribution)
    return str(spec.wheel or text)


def _follow(result: Rebased, args: argparse.Namespace, console: Console) -> int:
    """Print where a rebase is, and go on to the releases that are to follow."""
    from vllm_patchkit.fork.base import parse_base
    from vllm_patchkit.fork.rebase.rebase import start_rebase
    from vllm_patchkit.stack.read import read_metadata

    while result.published is not None and result.rest:
        folder = result.published.folder
        if not args.json:
            print_rebased(result, args, console)
        onto, *rest = result.rest
        console.note(f"on to {onto}")
        spec = parse_base(onto, distribution=read_metadata(folder).base.distribution)
        result = start_rebase(folder, spec, console, style=result.style, work_tree=args.dir,
                              rest=rest)  # fmt: skip
    return print_rebased(result, args, console)


def _survey(args: argparse.Namespace, folder: Path, console: Console) -> int:
    from vllm_patchkit.fork.base import parse_base
    from vllm_patchkit.fork.rebase.survey import survey_rebase
    from vllm_patchkit.stack.read import read_metadata

    distribution = read_metadata(folder).base.distribution
    targets = [
        parse_base(text, distribution=distribution, checkout=args.checkout) for text in args.onto
    ]
    surveys = survey_rebase(folder, targets, console, style=_style(args))
    releases = {one.onto.version: [asdict(report) for report in one.reports] for one in surveys}
    if options.print_document(args, console, {"releases": releases}):
        pass
    elif args.markdown:
        console.result(format_markdown(surveys))
    else:
        _print_surveys(surveys, args, console)
    return ExitCode.FAILED if any(survey.conflicts for survey in surveys) else ExitCode.OK


def _print_surveys(surveys: list[Survey], args: argparse.Namespace, console: Console) -> None:
    if len(surveys) == 1:
        _print_reports(surveys[0].reports, args, console)
    else:
        _print_forecast(surveys, console)
    for survey in surveys:
        broken = sum(report.status == "conflict" for report in survey.reports)
        console.result(
            f"{survey.onto}: {broken} of {len(survey.reports)} patches conflict, "
            f"in {survey.conflicts} places"
        )


def _print_forecast(surveys: list[Survey], console: Console) -> None:
    width = max(len(report.patch) for report in surveys[0].reports)
    heads = "  ".join(f"{survey.onto.version:>10}" for survey in surveys)
    console.result(f"{'patch':{width}}  {heads}")
    for row in zip(*(survey.reports for survey in surveys), strict=True):
        cells = "  ".join(console.style(f"{cell(report):>10}", COLOURS[report.status])
                          for report in row)  # fmt: skip
        console.result(f"{row[0].patch:{width}}  {cells}")


def cell(report: PatchReport) -> str:
    """Return a patch's status in the few letters of a table's cell."""
    count = len(report.conflicts)
    return f"{report.status} {count}" if count else report.status


def format_markdown(surveys: list[Survey]) -> str:
    """Return the forecast as a Markdown table, with the sums below."""
    from vllm_patchkit.fork.rebase.upstream import markdown_table

    rows = [
        (f"{row[0].patch[:4]} {row[0].subject}", *map(cell, row))
        for row in zip(*(survey.reports for survey in surveys), strict=True)
    ]
    sums = (
        f"{sum(report.status == 'conflict' for report in survey.reports)} patches, "
        f"{survey.conflicts} places"
        for survey in surveys
    )
    heads = ("patch", *(survey.onto.version for survey in surveys))
    return "\n".join(markdown_table(heads, [*rows, ("**in conflict**", *sums)]))


def _print_reports(
    reports: tuple[PatchReport, ...], args: argparse.Namespace, console: Console
) -> None:
    for report in reports:
        status = console.style(f"{report.status:9}", COLOURS.get(report.status, "yellow"))
        console.result(f"{status} {report.patch}")
        for move in report.moves:
            console.result(f"          {move}")
        for verdict in report.hunks:
            if args.verdicts or verdict.verdict != "still needed":
                note = f" ({verdict.note})" if verdict.note else ""
                console.result(
                    f"          {verdict.path}: hunk {verdict.hunk}: {verdict.verdict}{note}"
                )
        if report.status == "conflict":
            _print_conflicts(report, console)


def _print_conflicts(report: PatchReport, console: Console) -> None:
    for conflict in report.conflicts:
        place = f"{conflict.path}:{conflict.line}" if conflict.line else conflict.path
        console.result(f"          {place}: {conflict.kind}")
        for side, text in (("upstream", conflict.upstream), ("the patch", conflict.patch)):
            lines = text.splitlines()
            if lines:
                console.result(f"            {side}:")
            for line in lines[:SHOWN_LINES]:
                console.result(f"              {line}")
            if len(lines) > SHOWN_LINES:
                console.result(f"              ... and {len(lines) - SHOWN_LINES} lines")


def print_rebased(result: Rebased, args: argparse.Namespace, console: Console) -> int:
    """Print where a command that carries patches is, and return its exit code."""
    document = {
        "reports": [asdict(report) for report in result.reports],
        "work_tree": str(result.work_tree) if result.work_tree else None,
        "published": result.published.to_json() if result.published else None,
        "faults": list(result.faults),
        "findings": list(result.findings),
    }
    if not options.print_document(args, console, document):
        _print_reports(result.reports, args, console)
    if result.published is not None:
        for finding in result.findings:
            console.note(f"lint: {finding}")
        if not args.json:
            print_published(result.published, console)
        return ExitCode.OK
    if result.work_tree is None:
        console.note("nothing changed")
        return ExitCode.OK
    for fault in result.faults:
        console.error(f"the result does not byte-compile: {fault}")
    todo = "resolve and git add the files" if not result.faults else "commit what mends it"
    if any(one.kind == "contents" for report in result.reports for one in report.conflicts):
        console.note("<<<<<<< to ||||||| is upstream's side, ======= to >>>>>>> the patch's")
    console.note(
        f"stopped in {result.work_tree}: {todo}, then, in that folder: "
        f"vllm-patchkit {args.command} --continue (or --skip)"
    )
    return ExitCode.FAILED
