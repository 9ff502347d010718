"""The one place that starts other programs."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from vllm_patchkit.errors import CommandFailed, HostError

STDERR_TAIL_BYTES = 4096


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
        raise HostError(f"{words[0]} is not installed ({error.filename})") from error
    except subprocess.TimeoutExpired as error:
        raise HostError(f"{' '.join(words)} did not end within {timeout_s} s") from error
    if done.returncode:
        tail = done.stderr[-STDERR_TAIL_BYTES:].decode("utf-8", "replace")
        raise CommandFailed(words, done.returncode, tail)
    return done.stdout
