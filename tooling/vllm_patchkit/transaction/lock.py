"""One process at a time changes a target."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from vllm_patchkit.errors import HostError, TargetError
from vllm_patchkit.host import files


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep other processes from changing the target while the block runs.

    :raises TargetError: another process holds it.
    :raises HostError: it cannot be opened, or its file system has no locks.
    """
    with ExitStack() as held:
        try:
            held.enter_context(files.hold(folder, wait=False))
        except BlockingIOError:
            raise TargetError(
                f"another vllm-patchkit process is changing {folder}",
                hint="wait until it has ended, then try again",
            ) from None
        except OSError as error:
            raise HostError(f"{folder} cannot be locked: {error.strerror}") from error
        yield


def is_held(folder: Path) -> bool:
    """Return whether another process is changing the target now."""
    try:
        with hold(folder):
            return False
    except TargetError:
        return True
