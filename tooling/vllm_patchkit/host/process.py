"""The one place that starts other programs."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.errors import CommandFailed, HostError

STDERR_TAIL_BYTES = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Completed:
    """How a program ended, and all that it wrote."""

    status: int
    stdout: bytes
    stderr: bytes

    def require(self, argv: Sequence[str | Path]) -> bytes:
        """Return the standard output.

        :raises CommandFailed: the status is not zero.
        """
        if self.status:
            tail = self.stderr[-STDERR_TAIL_BYTES:].decode("utf-8", "replace")
            raise CommandFailed([str(word) for word in argv], self.status, tail)
        return self.stdout


def isolated(python: str | Path, module: str) -> list[str | Path]:
    """Return how to run a module of a Python whatever lies in PYTHONPATH and this folder.

    A file ``random.py`` there would take the place of Python's own.
    """
    return [python, "-I", "-m", module]


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input_bytes: bytes | None = None,
    timeout_s: float | None = None,
) -> bytes:
    """Run a program to its end and return its standard output.

    :raises CommandFailed: the program ended with a status other than zero.
    :raises HostError: the program does not exist, or outran ``timeout_s``.
    """
    done = capture(argv, cwd=cwd, env=env, input_bytes=input_bytes, timeout_s=timeout_s)
    return done.require(argv)


def capture(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input_bytes: bytes | None = None,
    timeout_s: float | None = None,
) -> Completed:
    """Run a program whose status is part of its answer, and return how it ended.

    :raises HostError: the program does not exist, or outran ``timeout_s``.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=None if env is None else dict(env),
            input=input_bytes,
            stdin=subprocess.DEVNULL if input_bytes is None else None,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise _missing(words[0], error) from error
    except subprocess.TimeoutExpired as error:
        raise HostError(
            f"{' '.join(words)} did not end within {timeout_s} s",
            hint="run it by hand to see what it waits for",
        ) from error
    return Completed(status=done.returncode, stdout=done.stdout, stderr=done.stderr)


def _missing(program: str, error: FileNotFoundError) -> HostError:
    return HostError(
        f"{program} is not installed ({error.filename})",
        hint=f"install {Path(program).name}, or put its folder into PATH",
    )


def stream(
    argv: Sequence[str | Path],
    on_line: Callable[[str], None],
    *,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run a program to its end, handing each line of its standard output to ``on_line``.

    The program is stopped if ``on_line`` raises or the user interrupts.

    :raises CommandFailed: the program ended with a status other than zero.
    :raises HostError: the program does not exist.
    """
    words = [str(word) for word in argv]
    with tempfile.TemporaryFile() as stderr:
        try:
            child = subprocess.Popen(
                words,
                env=None if env is None else dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                errors="replace",
            )
        except FileNotFoundError as error:
            raise _missing(words[0], error) from error
        with child:
            assert child.stdout is not None
            try:
                for line in child.stdout:
                    on_line(line.rstrip("\n"))
            except BaseException:
                child.terminate()
                raise
        if child.returncode:
            stderr.seek(max(0, stderr.tell() - STDERR_TAIL_BYTES))
            tail = stderr.read().decode("utf-8", "replace")
            raise CommandFailed(words, child.returncode, tail)
