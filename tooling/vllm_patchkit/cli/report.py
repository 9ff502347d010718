"""Write a stack as one page: series, purposes, diffs, overlaps, lock, rebase forecast.

The page needs no network and no script; it reads on paper and on a phone. With --target the state
of an environment, a wheel or a tree is verified and shown; --rebase takes what
`vllm-patchkit rebase --dry-run --json` printed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from vllm_patchkit.cli import options
from vllm_patchkit.cli.parser import take_inputs
from vllm_patchkit.errors import ExitCode, UsageError
from vllm_patchkit.host.terminal import Console

if TYPE_CHECKING:
    from vllm_patchkit.fork.rebase.outcome import PatchReport
    from vllm_patchkit.report.model import Report

EXAMPLES = """\
  vllm-patchkit report myfork --html report.html
  vllm-patchkit rebase myfork --dry-run --onto 0.11.1 --json > rebase.json
  vllm-patchkit report myfork --html report.html --rebase rebase.json --target wheel.whl
  vllm-patchkit report myfork --markdown
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``report``."""
    options.add_stack_argument(parser)
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument("--html", type=Path, metavar="FILE", help="write the page to FILE")
    form.add_argument("--markdown", action="store_true", help="print Markdown for a pull request")
    parser.add_argument("--target", metavar="TARGET", help="verify this wheel, environment or tree")
    parser.add_argument("--rebase", type=Path, metavar="FILE", help="JSON of rebase --dry-run")
    take_inputs(parser, "target", "rebase")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Gather, format, and write."""
    from vllm_patchkit.host.files import replace_file
    from vllm_patchkit.report.html import format_html

    report = gather(args.stack, target=args.target, rebase=args.rebase)
    if args.markdown:
        from vllm_patchkit.report.markdown import format_markdown

        console.result(format_markdown(report).rstrip("\n"))
        return ExitCode.OK

    if not args.html.parent.is_dir():
        raise UsageError(f"{args.html.parent} is not a folder", hint="make it first")
    replace_file(args.html, format_html(report).encode("utf-8"))
    console.note(f"wrote {args.html}")
    return ExitCode.OK


def gather(stack: str | None, *, target: str | None = None, rebase: Path | None = None) -> Report:
    """Return the report of a stack, verified against ``target`` where one is named."""
    from vllm_patchkit.fork.overlap import find_overlaps
    from vllm_patchkit.report.model import Report
    from vllm_patchkit.stack.lock import version_label
    from vllm_patchkit.stack.read import find_stack, read_lock, read_stack

    folder = find_stack(stack)
    found, lock = read_stack(folder), read_lock(folder)
    return Report(
        stack=found,
        lock=lock,
        label=version_label(found, lock),
        overlaps=find_overlaps(found.patches),
        verification=_verify(target, folder) if target else (),
        rebases=_read_rebases(rebase) if rebase else None,
    )


def _verify(target: str, folder: Path) -> tuple[str, ...]:
    from vllm_patchkit.operations.targets import verify

    result = verify(target, stack=folder)
    owner = result.target
    name = f"{owner.distribution or Path(target).name} {owner.version or ''}".rstrip()
    odd = [f"{file.path}: {file.state}" for file in result.report.files if file.note]
    return (f"{name}: {result.report.state}", *odd)


def _read_rebases(path: Path) -> dict[str, list[PatchReport]]:
    from vllm_patchkit.fork.rebase.outcome import PatchReport

    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {
            release: [PatchReport.from_json(item) for item in items]
            for release, items in document["releases"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} is not what `rebase --dry-run --json` prints: {error}",
            hint="vllm-patchkit rebase STACK --dry-run --onto RELEASE --json > FILE",
        ) from error
