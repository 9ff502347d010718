"""What a person sees: progress while the smoke works, and a table at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm_patchkit.host.terminal import Console
from vllm_patchkit.launch.subject import Event
from vllm_patchkit.smoke.report import Report
from vllm_patchkit.smoke.upstream import Difference, UpstreamComparison, count_outcomes

if TYPE_CHECKING:
    from rich.status import Status

    from vllm_patchkit.smoke.against import Comparison

HEADER = ("scenario", "", "requests", "tokens", "tokens/s", "images", "oracle")
NUMBERS = (2, 3, 4)
TESTS_HEADER = ("test file", "patched", "release", "s", "s there")


class Watch:
    """Shows events as they come: a live line on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.started = time.monotonic()
        self.status: Status | None = None

    def __enter__(self) -> Watch:
        """Start the live line, if there is a terminal and rich is installed."""
        if not self.console.quiet and self.console.err.isatty():
            self.status = _make_status()
            if self.status is not None:
                self.status.start()
        return self

    def __exit__(self, *unused: object) -> None:
        """Take the live line away."""
        if self.status is not None:
            self.status.stop()

    def __call__(self, event: Event, report: Report) -> None:
        """Show one event."""
        text = describe_event(event, self.console)
        if text is None:
            return
        if self.status is not None and event["event"] == "note":
            self.status.update(f"{text} ({len(report.scenarios)} scenarios done)")
        elif self.status is not None:
            self.status.console.print(text, highlight=False, markup=False)
        elif event["event"] != "note":
            elapsed = time.monotonic() - self.started
            self.console.note(f"{elapsed:6.1f} s  {text}")


def _make_status() -> Status | None:
    try:
        from rich.console import Console as RichConsole
    except ModuleNotFoundError:
        return None
    return RichConsole(stderr=True).status("starting", spinner="dots")


def describe_event(event: Event, console: Console) -> str | None:
    """Return one line for an event, or None for one that is not worth a line."""
    kind = event["event"]
    if kind == "note":
        return f"{event['stage']}: {event['text']}"
    if kind == "check":
        detail = f": {event['detail']}" if event["detail"] else ""
        return f"{mark(event['ok'], console)} {event['name']}{detail}"
    if kind == "scenario":
        problems = "".join(f"\n     {text}" for text in event["problems"])
        rate = event["tokens_per_s"]
        speed = f", {rate} tokens/s" if rate is not None else ""
        counts = f" ({event['tokens']} tokens{speed})"
        return f"{mark(event['ok'], console)} scenario {event['name']}{counts}{problems}"
    if kind == "tests":
        return f"   {event['file']}: {describe(event)}, {event['seconds']:.0f} s"
    if kind == "load":
        return f"   {event['stage']}: engine ready after {event['seconds']} s"
    return None


def mark(ok: bool, console: Console) -> str:
    """Return ``ok`` or ``FAILED``, coloured where that is wanted."""
    if ok:
        return console.style("ok", "green", sys.stderr)
    return console.style("FAILED", "red", sys.stderr)


def render(report: Report) -> str:
    """Return the final summary: artifact, table of scenarios, problems, verdict."""
    lines = _head(report)
    if report.scenarios:
        lines += ["", *format_table([HEADER, *_rows(report)], numbers=NUMBERS)]
    failed = [check for check in report.checks if not check["ok"]]
    lines += [f"FAILED {check['name']}: {check['detail']}" for check in failed]
    if report.artifact is None and report.subject["kind"] == "environment":
        lines.append(f"  hint: vllm-patchkit doctor --python {report.subject['location']}")
    for problem in report.problems:
        lines.append(f"{problem['stage']}: {problem['message']}")
        lines += [f"  hint: {problem['hint']}"] if problem.get("hint") else []
    lines += [f"warning: {text}" for text in report.warnings]
    if report.against is not None:
        lines += ["", *_comparison(report.against)]
    if report.upstream is not None:
        lines += ["", *render_tests(report.upstream)]
    missing = report.missing
    lines += [f"not run: {', '.join(missing)}"] if missing else []
    passed = sum(check["ok"] for check in report.checks)
    verdict = "PASSED" if report.ok else "FAILED"
    counts = f"{passed} of {len(report.checks)} checks"
    if report.upstream is None:
        counts += f", {_holding(report)} scenarios"
    return "\n".join([*lines, f"{verdict}: {counts}, {report.seconds:.0f} s"])


def _comparison(comparison: Comparison) -> list[str]:
    """Return the table of the scenarios here and on the release."""
    table = [("scenario", "against the release", "step ms", "there", "first difference")]
    for row in comparison.rows:
        here, there = ("-" if value is None else f"{value:.2f}" for value in row.step_ms)
        table.append((row.scenario, row.state, here, there, row.first or "-"))
    lines = [f"against {comparison.base.subject['location']}", *format_table(table)]
    failed = [check["name"] for check in comparison.base.checks if not check["ok"]]
    lines += [f"there FAILED {name}" for name in failed]
    lines += [f"there {entry['stage']}: {entry['message']}" for entry in comparison.base.problems]
    lines += [f"there not run: {name}" for name in comparison.base.missing]
    return lines


def _holding(report: Report) -> str:
    holding = sum(scenario["ok"] for scenario in report.scenarios)
    return f"{holding} of {len(report.selected)}"


def _head(report: Report) -> list[str]:
    lines = [f"{report.subject['kind']} {report.subject['location']}"]
    if report.artifact:
        stacks = ", ".join(
            f"{stack['name']} {stack['version']} ({stack['patches']} patches, "
            f"{stack['digest'][:12]})"
            for stack in report.artifact["stacks"]
        )
        name = f"{report.artifact['distribution']} {report.artifact['version']}"
        lines.append(f"{name}: {stacks or 'no stack'}")
    known = [f"{name} {value}" for name, value in report.versions.items() if value]
    return [*lines, *([", ".join(known)] if known else [])]


def _rows(report: Report) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for scenario in report.scenarios:
        sizes = [f"{image['height']}*{image['width']}" for image in scenario["images"]]
        rows.append(
            (
                scenario["name"],
                "ok" if scenario["ok"] else "FAILED",
                str(scenario["requests"]),
                str(scenario["tokens"]),
                "-" if scenario["tokens_per_s"] is None else str(scenario["tokens_per_s"]),
                " ".join(sizes) or "-",
                "equal" if scenario["oracle"] and scenario["ok"] else "-",
            )
        )
    return rows


def render_tests(comparison: UpstreamComparison) -> list[str]:
    """Return the table, the differences by name, and the counts of both sides."""
    tests = comparison.here.options.upstream
    assert tests is not None
    there = {one["file"]: one for one in comparison.base.tests}
    rows = [TESTS_HEADER]
    for one in comparison.here.tests:
        other = there.get(one["file"])
        seconds = (f"{side['seconds']:.0f}" if side else "-" for side in (one, other))
        rows.append((one["file"], describe(one), describe(other), *seconds))
    lines = [f"upstream's tests: {Path(tests.sdist).name} (sha256 {tests.sha256[:12]})"]
    lines += [*format_table(rows), "", *_verdicts(comparison)]
    for name, side in (("patched", comparison.here), ("release", comparison.base)):
        lines.append(f"{name}: {count(count_outcomes(side.tests))}")
    return lines


def format_table(rows: Sequence[Sequence[str]], *, numbers: Collection[int] = ()) -> Iterator[str]:
    """Yield the lines of a table whose columns are as wide as their widest cell.

    :param numbers: the columns that are set to the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            text.rjust(width) if column in numbers else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def _verdicts(comparison: UpstreamComparison) -> list[str]:
    worse = [one for one in comparison.differences if one.worse]
    other = [one for one in comparison.differences if not one.worse]
    lines = [f"only with the patches: {line}" for one in worse for line in describe_one(one)]
    lines += [f"differs: {line}" for one in other for line in describe_one(one)]
    lines += [f"unstable: {line}" for one in comparison.unstable for line in describe_one(one)]
    lines += [f"there {entry['stage']}: {entry['message']}" for entry in comparison.base.problems]
    if not comparison.ran:
        lines.append("no test ran on both sides")
    return lines or ["no test ended differently"]


def describe_one(one: Difference) -> list[str]:
    """Return a difference as lines: what, how on both sides, and why."""
    ends = f"{one.here or 'not there'}, on the release {one.there or 'not there'}"
    return [f"{one.test or one.file}: {ends}", *([f"  {one.reason}"] if one.reason else [])]


def describe(file: dict[str, Any] | None) -> str:
    """Return one side's cell of a file."""
    if file is None:
        return "not run"
    counts = count(count_outcomes([file]))
    return counts if file["state"] == "ended" else f"{file['state']} after {counts}"


def count(outcomes: dict[str, int]) -> str:
    """Return ``3 failed, 12 passed``.

    >>> count({"passed": 12, "failed": 3})
    '3 failed, 12 passed'
    """
    return ", ".join(f"{number} {how}" for how, number in sorted(outcomes.items())) or "no tests"
