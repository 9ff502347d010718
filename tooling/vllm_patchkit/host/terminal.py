"""What a person sees while a command works: progress on stderr, colour only where it belongs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
BAR_WIDTH = 28
REDRAW_S = 0.1
PLAIN_LINE_S = 10.0


def wants_colour(stream: TextIO) -> bool:
    """Return whether ``stream`` should be coloured (https://no-color.org, then FORCE_COLOR)."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"


@dataclass(slots=True)
class Progress:
    """A running total of one long operation; ``advance`` is cheap to call often."""

    label: str
    total: int
    stream: TextIO
    live: bool
    unit: str = "MB"
    scale: float = 1e6
    done: int = 0
    started: float = field(default_factory=time.monotonic)
    shown: float = 0.0

    def advance(self, amount: int) -> None:
        """Add ``amount`` (in the unscaled unit, bytes by default) to the total."""
        self.done += amount
        now = time.monotonic()
        if now - self.shown >= (REDRAW_S if self.live else PLAIN_LINE_S):
            self.shown = now
            self._draw(now)

    def line(self, now: float) -> str:
        """Return the progress as text: percentage, amounts, rate and time left."""
        elapsed = max(now - self.started, 1e-6)
        rate = self.done / elapsed
        text = f"{self.label}: {self.done / self.scale:.1f}"
        if self.total:
            text += f"/{self.total / self.scale:.1f} {self.unit} {100 * self.done // self.total}%"
        else:
            text += f" {self.unit}"
        text += f" {rate / self.scale:.1f} {self.unit}/s"
        if rate and self.total > self.done:
            text += f" {(self.total - self.done) / rate:.0f} s left"
        return text

    def _draw(self, now: float) -> None:
        text = self.line(now)
        if not self.live:
            print(text, file=self.stream, flush=True)
            return
        filled = BAR_WIDTH * self.done // self.total if self.total else 0
        bar = "#" * filled + "-" * (BAR_WIDTH - filled)
        print(f"\r\x1b[K[{bar}] {text}", end="", file=self.stream, flush=True)

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self.live:
            print("\r\x1b[K", end="", file=self.stream, flush=True)


@dataclass(slots=True)
class Console:
    """Where a command's words go.

    Results go to ``out`` and nothing else does, so that they can be piped. Progress, notes and
    errors go to ``err``. ``quiet`` leaves only errors and asked-for results.
    """

    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    quiet: bool = False
    log: TextIO | None = None

    def result(self, text: str) -> None:
        """Print a line of the result to stdout."""
        print(text, file=self.out)
        self._log(text)

    def raw(self, data: bytes) -> None:
        """Write a result to stdout byte for byte: a diff need not be text in any encoding."""
        self.out.flush()
        binary = getattr(self.out, "buffer", None)
        if binary is None:
            self.out.write(data.decode("utf-8", "replace"))
        else:
            binary.write(data)
            binary.flush()

    def note(self, text: str) -> None:
        """Say something by the way, on stderr; silent with ``--quiet``."""
        if not self.quiet:
            print(text, file=self.err, flush=True)
        self._log(text)

    def error(self, message: str, hint: str | None = None) -> None:
        """Print an error and, below it, what to do next."""
        print(f"{self.style('vllm-patchkit: error:', 'red', self.err)} {message}", file=self.err)
        if hint:
            print(f"{self.style('hint:', 'cyan', self.err)} {hint}", file=self.err, flush=True)
        self._log(f"error: {message}" + (f"\nhint: {hint}" if hint else ""))

    def style(self, text: str, style: str, stream: TextIO | None = None) -> str:
        """Return ``text`` in a style of ``STYLES`` if the stream (stdout by default) takes it."""
        if not wants_colour(stream or self.out):
            return text
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m"

    @contextmanager
    def progress(
        self, label: str, total: int = 0, *, unit: str = "MB", scale: float = 1e6
    ) -> Iterator[Progress]:
        """Show progress while the block runs; plain lines where there is no terminal."""
        live = not self.quiet and self.err.isatty() and not os.environ.get("CI")
        stream = Path(os.devnull).open("w") if self.quiet else self.err
        bar = Progress(label, total, stream, live, unit=unit, scale=scale)
        try:
            yield bar
        finally:
            bar.close()
            if stream is not self.err:
                stream.close()

    def _log(self, text: str) -> None:
        if self.log is not None:
            print(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}", file=self.log, flush=True)
