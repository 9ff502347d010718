"""What a person sees of upstream's tests: a row a file, then what differs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from vllm_patchkit.smoke.upstream import Difference, UpstreamComparison, count_outcomes

HEADER = ("test file", "patched", "release", "s", "s there")


def render_tests(comparison: UpstreamComparison) -> list[str]:
    """Return the table, the differences by name, and the counts of both sides."""
    tests = comparison.here.options.upstream
    assert tests is not None
    there = {one["file"]: one for one in comparison.base.tests}
    rows = [HEADER]
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
