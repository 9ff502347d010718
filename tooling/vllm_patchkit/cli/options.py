"""Options and renderings that several commands share."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm_patchkit.cli.parser import positive, take_inputs, whole
from vllm_patchkit.errors import UsageError
from vllm_patchkit.host.terminal import Console

if TYPE_CHECKING:
    from vllm_patchkit.fork.store.worktree import Session
    from vllm_patchkit.targets.answers import ChangeReport, Interruption, TargetInfo
    from vllm_patchkit.targets.state import Report

JSON_FORMAT = 1
SHOWN_DIGITS = 12
STATE_STYLES = {"pristine": "cyan", "applied": "green", "unaffected": "dim"}
MARKS = {"add": "A", "modify": "M", "delete": "D"}


def add_target_options(parser: argparse.ArgumentParser, *, nargs: str = "?") -> None:
    """Add the target itself (``*`` for several), ``--python`` and ``--json``."""
    parser.add_argument(
        "target",
        nargs=nargs,
        help="wheel, environment, site-packages, unpacked wheel, git checkout or model folder "
        "(default: the current environment)",
    )
    parser.add_argument(
        "--python", metavar="PATH", help="interpreter, or its environment, that has the target"
    )
    add_json_option(parser, "the report")
    take_inputs(parser, "target", "python")


def add_json_option(parser: argparse._ActionsContainer, what: str) -> None:
    """Add ``--json``; docs/json.md has the keys of every command."""
    parser.add_argument("--json", action="store_true", help=f"print {what} as JSON")


def add_engine_options(parser: argparse._ActionsContainer, dtype: str) -> None:
    """Declare how the engine is made.

    :param dtype: what ``--dtype`` is of, and its default.
    """
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    parser.add_argument(
        "--tp",
        dest="tensor_parallel_size",
        type=whole(1),
        default=1,
        metavar="N",
        help="tensor parallel size, default: 1",
    )
    parser.add_argument("--quantization", metavar="METHOD", help="such as fp8")
    parser.add_argument("--dtype", help=dtype)
    parser.add_argument("--eager", action="store_true", help="no CUDA graphs, no torch.compile")
    parser.add_argument(
        "--gpu-memory-utilization",
        type=positive(1),
        metavar="FRACTION",
        help="as vllm serve takes it",
    )


def add_release_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--base``, the pristine release to read from."""
    parser.add_argument(
        "--base",
        metavar="WHEEL|TREE",
        help="what the stack is cut from (default: the release's wheel, fetched once)",
    )
    take_inputs(parser, "base")


def add_base_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--base``; stack_folder sees to it."""
    parser.add_argument(
        "--base", type=Path, metavar="WHEEL", help="the wheel that the stack was cut from"
    )
    take_inputs(parser, "base")


def stack_folder(args: argparse.Namespace, console: Console, folder: Path | None = None) -> Path:
    """Return the folder of the stack that was named, its base taken from ``--base`` if given.

    :param folder: where it is, if that is known already.
    """
    from vllm_patchkit.stack.read import find_stack

    folder = folder or find_stack(args.stack)
    if args.base is not None:
        from vllm_patchkit.fork.edit import take_base

        take_base(folder, args.base, console)
    return folder


def add_step_options(
    parser: argparse.ArgumentParser, step: argparse._ActionsContainer, given_up: str
) -> None:
    """Add what every command takes that stops in a work tree at a conflict.

    :param step: the group of flags of which one call takes one.
    :param given_up: what is left after ``--abort``.
    """
    step.add_argument(
        "--continue", dest="go_on", action="store_true", help="take the resolution and go on"
    )
    step.add_argument("--skip", action="store_true", help="drop the patch in conflict and go on")
    step.add_argument("--abort", action="store_true", help=f"give up; {given_up}")
    parser.add_argument("--dir", type=Path, metavar="DIR", help="where to put the work tree")
    parser.add_argument("--verdicts", action="store_true", help="also print a verdict a hunk")


def session_here(args: argparse.Namespace) -> Session | None:
    """Return the session of the work tree that the command is called in, if no stack is named."""
    from vllm_patchkit.fork.store.worktree import find_session_around

    return find_session_around(Path.cwd()) if args.stack is None else None


def find_open(args: argparse.Namespace, name: str | None, what: str, named: str) -> Path:
    """Return the folder of a stack that is still being made, which need not be there yet.

    :param what: what is being done; ``named``: how a call names the stack.
    :raises UsageError: none is named, and this is no work tree of one.
    """
    from vllm_patchkit.fork.store.worktree import find_session_around

    if name:
        return Path(name) if "/" in name else args.into / name
    session = find_session_around(Path.cwd())
    if session is None:
        raise UsageError(
            f"this is not the work tree of {what}",
            hint=f"go there, or name the stack: {named} --continue",
        )
    return session.folder


class _NameOnce(argparse.Action):
    """Stores the stack, which may be given as an argument or as an option, but not as both."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if getattr(namespace, self.dest, None) is not None:
            raise argparse.ArgumentError(self, "the stack is named twice")
        setattr(namespace, self.dest, values)


STACK_HELP = "name or folder of the stack (default: the only one of a distribution)"


def add_stack_option(parser: argparse._ActionsContainer, what: str = STACK_HELP) -> None:
    """Add ``--stack``, which every command takes that works on a stack."""
    parser.add_argument("--stack", action=_NameOnce, metavar="STACK", help=what)


def add_stack_argument(parser: argparse.ArgumentParser) -> None:
    """Add the stack as an argument and as ``--stack``, for commands without another target."""
    parser.add_argument(
        "stack",
        nargs="?",
        action=_NameOnce,
        default=argparse.SUPPRESS,
        metavar="STACK",
        help=STACK_HELP,
    )
    add_stack_option(parser)


def print_reports(args: argparse.Namespace, console: Console, reports: Sequence[Any]) -> bool:
    """Print one report as it is, several as a list under ``reports``, as :func:`print_document`."""
    rows = [dataclasses.asdict(report) for report in reports]
    return print_document(args, console, rows[0] if len(rows) == 1 else {"reports": rows})


def print_document(args: argparse.Namespace, console: Console, values: Any) -> bool:
    """Print values, or a record's fields, as JSON behind the format and the command.

    :return: whether that was asked for; if not, nothing is printed.
    """
    if args.json:
        fields = values if isinstance(values, Mapping) else dataclasses.asdict(values)
        document = {"format": JSON_FORMAT, "command": args.command, **fields}
        console.result(json.dumps(document, indent=2, default=str))
    return bool(args.json)


def describe_target(target: TargetInfo) -> str:
    """Return one line that names a target."""
    owner = f"{target.distribution} {target.version}" if target.distribution else target.kind
    editable = " (editable)" if target.editable else ""
    return f"{owner}{editable} in {target.location}"


def describe_state(report: Report, console: Console) -> str:
    """Return one line that says what state a target is in."""
    state = console.style(report.state, STATE_STYLES.get(report.state, "red"))
    if report.state == "partial" and report.applied is not None:
        return f"{report.stack}: {state}, the first {report.applied} of {report.total} patches"
    if report.state == "partial":
        return f"{report.stack}: {state}, different patches in different files"
    if report.state == "other-version":
        return f"{report.stack}: {state}, these are the files of {report.release}"
    if report.state == "applied":
        return f"{report.stack}: {state}, {report.total} patches"
    return f"{report.stack}: {state}"


def print_state(report: Report, console: Console, *, every_file: bool) -> None:
    """Print the state, and a verdict for each file (or only for those that are at odds)."""
    console.result(describe_state(report, console))
    for note in report.notes:
        console.result(f"  note: {note}")
    settled = report.applied is not None
    width = max((len(file.state) for file in report.files), default=0)
    for file in report.files:
        if every_file or not (settled or file.state in ("pristine", "applied", "unaffected")):
            style = STATE_STYLES.get(file.state, "cyan" if settled else "red")
            line = f"  {console.style(file.state.ljust(width), style)}  {file.path}"
            if file.expected != file.found:
                line += f"  expected {_short(file.expected)}, found {_short(file.found)}"
            console.result(line + (f"  {file.note}" if file.note else ""))


def print_surroundings(
    interruption: Interruption | None, leftovers: tuple[str, ...], console: Console
) -> None:
    """Print what else a reader must know of a target."""
    if interruption is not None and interruption.running:
        console.result(f"in progress: {interruption.title}, by another process")
    elif interruption is not None:
        console.result(
            f"interrupted: {interruption.title}; 'vllm-patchkit apply' or 'vllm-patchkit revert' "
            "brings the target to entirely new or entirely old"
        )
    for path in leftovers:
        console.result(f"left over: {path}")


def print_change(report: ChangeReport, console: Console) -> None:
    """Print what an apply or a revert did, or would do."""
    console.result(describe_target(report.target))
    if report.recovered:
        console.result(f"the interrupted transaction was {report.recovered}")
    for change in report.changes:
        if report.dry_run or not change.path.partition("/")[0].endswith((".dist-info", "patchkit")):
            console.result(f"  {MARKS[change.kind]} {change.path}")
    console.result(_summary(report))
    for note in report.notes:
        console.note(f"note: {note}")


def _summary(report: ChangeReport) -> str:
    would = "would be " if report.dry_run else ""
    if report.operation == "apply":
        count = f"{report.after} of {report.total} patches"
        if report.before == report.after:
            return f"{report.stack} {report.label}: already applied, {count}; nothing to do"
        where = f", written to {report.output}" if report.output else ""
        return f"{report.stack} {report.label}: {would}applied, {count}{where}"
    if not report.changes:
        return f"{report.stack}: already pristine; nothing to do"
    return f"{report.stack} {report.label}: {would}reverted"


def _short(digest: str | None) -> str:
    return "no file" if digest is None else digest[:SHOWN_DIGITS]
