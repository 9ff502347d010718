"""Timing whole processes against a peer, taking turns so that both meet the same machine."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One run: wall time, processor time, and the peak memory of the largest of its processes."""

    seconds: float
    peak_bytes: int
    cpu_seconds: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the report. ``goal`` is the ratio that ``ratio`` must not exceed or fall below.

    :param ratio: ours to the peer's time for "at_most", the peer's to ours for "at_least".
    """

    name: str
    ours: str
    peer: str
    ratio: float
    kind: str
    goal: float

    @property
    def met(self) -> bool:
        return self.ratio <= self.goal if self.kind == "at_most" else self.ratio >= self.goal


def run(*commands: Sequence[str | Path], cwd: Path | None = None) -> Sample:
    """Run commands one after the other and return their time together and highest peak."""
    os.sync()
    peak = 0
    cpu_seconds = 0.0
    start = time.perf_counter()
    for command in commands:
        with subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as child:
            assert child.stderr is not None
            errors = child.stderr.read()
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            sys.exit(f"{command[0]} failed: {errors.decode(errors='replace')}")
        peak = max(peak, usage.ru_maxrss * 1024)
        cpu_seconds += usage.ru_utime + usage.ru_stime
    seconds = time.perf_counter() - start
    return Sample(seconds=seconds, peak_bytes=peak, cpu_seconds=cpu_seconds)


def take_turns(
    ours: Callable[[], Sample], peer: Callable[[], Sample], turns: int
) -> tuple[Sample, Sample]:
    """Run both, ``turns`` times, and return the medians of the times and the highest peaks."""
    pairs = [(ours(), peer()) for _ in range(turns)]
    first, second = (_summarize([pair[index] for pair in pairs]) for index in (0, 1))
    return first, second


def _summarize(samples: Sequence[Sample]) -> Sample:
    return Sample(
        seconds=statistics.median(sample.seconds for sample in samples),
        peak_bytes=max(sample.peak_bytes for sample in samples),
        cpu_seconds=statistics.median(sample.cpu_seconds for sample in samples),
    )
