"""The errors of vllm-patchkit and the exit codes of its command line."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """What the process tells its caller; stable and documented."""

    OK = 0
    FAILED = 1
    USAGE = 2
    ENVIRONMENT = 3


class PatchkitError(Exception):
    """A failure that the user can understand and act on.

    :param message: what failed, where, what was expected and what was found.
    :param hint: what to do next, or None.
    """

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(PatchkitError):
    """The call itself is wrong: an unknown stack, options that contradict each other."""

    exit_code = ExitCode.USAGE


class HostError(PatchkitError):
    """This machine cannot do it: no git, no container engine, no space, no permission."""

    exit_code = ExitCode.ENVIRONMENT


class NoRanges(HostError):
    """A part of a file on a web server cannot be had; the whole may be."""


class CommandFailed(PatchkitError):
    """A program that was run ended with a status other than zero."""

    def __init__(self, argv: list[str], status: int, stderr_tail: str) -> None:
        super().__init__(f"{argv[0]} ended with status {status}: {stderr_tail.strip()}")
        self.argv = argv
        self.status = status
        self.stderr_tail = stderr_tail

    @property
    def last_line(self) -> str:
        """The last line that it said, or how it ended where it said nothing."""
        return (self.stderr_tail.strip().splitlines() or [self.message])[-1]


class PatchFormatError(PatchkitError):
    """A patch file cannot be read; the message names the file and the line."""


class HunkMismatch(PatchkitError):
    """A hunk's context is not exactly what the file holds at its line."""


class StackError(PatchkitError):
    """A stack folder is incomplete or contradicts itself."""


class TargetError(PatchkitError):
    """A target cannot be found, or is not in the state that the operation needs."""


class WheelError(PatchkitError):
    """A wheel is malformed, hostile, or not the one that was asked for."""


def first_few(names: Sequence[object], most: int) -> str:
    """Return names as a message lists them: the first ones, and how many more there are.

    >>> first_few(["a", "b", "c", "d"], 2)
    'a, b and 2 more'
    """
    shown = ", ".join(map(str, names[:most]))
    return f"{shown} and {len(names) - most} more" if names[most:] else shown
