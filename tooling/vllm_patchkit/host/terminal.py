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
FALLBACK_COLUMNS = 80
CLEAR_LINE = "\r\x1b[K"
REDRAW_S = 0.1
PLAIN_LINE_S = 10.0


def wants_colour(stream: TextIO) -> bool:
    """Return whether ``stream`` should be coloured (https://no-color.org, then FORCE_COLOR)."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return is_live(stream)


def is_live(stream: TextIO) -> bool:
    """Return whether a person looks at ``stream`` on a terminal that takes escape sequences."""
    return stream.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"


def terminal_width(stream: TextIO) -> int:
    """Return how many columns the terminal behind ``stream`` has; 80 where it does not say."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or FALLBACK_COLUMNS
    except (OSError, ValueError):
        return FALLBACK_COLUMNS


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
    shown: float = field(default_factory=time.monotonic)

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
        filled = min(BAR_WIDTH, BAR_WIDTH * self.done // self.total) if self.total else 0
        bar = "#" * filled + "-" * (BAR_WIDTH - filled)
        # A line that wraps is not taken away by the next one: it would leave a trail.
        shown = f"[{bar}] {text}"[: terminal_width(self.stream) - 1]
        print(f"{CLEAR_LINE}{shown}", end="", file=self.stream, flush=True)

    def close(self) -> None:
        """Take the bar off the terminal; elsewhere, say how far it came."""
        if self.live:
            print(CLEAR_LINE, end="", file=self.stream, flush=True)
        elif self.done:
            self._draw(time.monotonic())


@dataclass(slots=True)
class Console:
    """Where a command's words go.

    Results go to ``out`` and nothing else does, so that they can be piped. Progress, notes and
    errors go to ``err``. ``quiet`` leaves the results and the errors.
    """

    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    quiet: bool = False
    log: TextIO | None = None
    has_bar: bool = False

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
            print(f"{self._over_bar()}{text}", file=self.err, flush=True)
        self._log(text)

    def error(self, message: str, hint: str | None = None) -> None:
        """Print an error and, below it, what to do next."""
        name = self.style("vllm-patchkit: error:", "red", self.err)
        print(f"{self._over_bar()}{name} {message}", file=self.err)
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
        live = not self.quiet and is_live(self.err)
        stream = Path(os.devnull).open("w") if self.quiet else self.err
        bar = Progress(label, total, stream, live, unit=unit, scale=scale)
        self.has_bar = live
        try:
            yield bar
        finally:
            self.has_bar = False
            bar.close()
            if stream is not self.err:
                stream.close()

    def _over_bar(self) -> str:
        return CLEAR_LINE if self.has_bar else ""

    def _log(self, text: str) -> None:
        if self.log is not None:
            print(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}", file=self.log, flush=True)
