"""How each test ended, told as a pytest plugin."""

from __future__ import annotations

import json
import os
import re
from typing import Any

REASON_LENGTH = 300


class Recorder:
    """Writes a line of JSON as each test starts and ends: its id, its outcome, and why."""

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def _send(self, test: str, outcome: str, reason: str = "") -> None:
        # Ids can hold addresses of objects, which are others in every process.
        line = [re.sub(r"0x[0-9a-f]{6,}", "0x", test), outcome, reason]
        data = json.dumps(line).encode() + b"\n"
        while data:
            data = data[os.write(self.handle, data) :]

    def pytest_collectreport(self, report: Any) -> None:
        """Tell of a module, or a class in it, that could not be collected."""
        if report.failed:
            self._send(report.nodeid or ".", "collection error", find_reason(report.longrepr))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Tell that a test begins, for the case that nothing else is heard of it."""
        self._send(nodeid, "started")

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Tell how a test ended; an error on leaving replaces what was said of the test."""
        outcome = classify(report)
        if outcome is not None:
            self._send(report.nodeid, outcome, find_reason(report.longrepr))


def classify(report: Any) -> str | None:
    """Return the outcome that a phase of a test decides, or None where it decides none."""
    if report.failed:
        return "failed" if report.when == "call" else "error"
    if report.skipped:
        return "xfailed" if hasattr(report, "wasxfail") else "skipped"
    return "passed" if report.when == "call" else None


def find_reason(text: Any) -> str:
    """Return one line of why a test did not pass."""
    crash = getattr(text, "reprcrash", None)
    words = text[2] if isinstance(text, tuple) else getattr(crash, "message", None) or text or ""
    lines = [line.strip() for line in str(words).splitlines() if line.strip()]
    # A crash begins with its message; a traceback ends with it.
    line = lines[0 if crash else -1] if lines else ""
    return line.removeprefix("E ").strip()[:REASON_LENGTH]
