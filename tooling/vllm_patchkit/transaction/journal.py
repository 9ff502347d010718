"""The journal of a transaction: what it will do, with the originals and the new files.

The folder ``journal/`` lies beside the applied records and exists only while a transaction runs:

``new/<i>``        the content that entry ``i`` will have, until it is renamed into place
``old/<i>``        the content that it had (a hard link), until it is renamed back
``plan.json``      everything above is on disk; the transaction can go either way
``rollback.json``  the same plan, once it was decided to go back; there is no way forward any more

Without either file nothing of the target was touched. The rename that creates ``plan.json`` and
the unlink that removes it are the two moments that matter. One process at a time has one: it holds
the target's root.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from vllm_patchkit.diff.paths import require_plain
from vllm_patchkit.errors import HostError, TargetError
from vllm_patchkit.host import files

Operation = Literal["apply", "revert"]
Direction = Literal["plan", "rollback"]

FORMAT = 1
FOLDER = "journal"
PLAN = "plan.json"
ROLLBACK = "rollback.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What happens to one file: sha256 before and after, None where it does not exist.

    :param executable: whether it is to be; None leaves that as it is.
    """

    path: str
    before: str | None
    after: str | None
    executable: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A whole transaction.

    :param folders: those that it creates, outermost first.
    :param prune: those that it removes if they end up empty, innermost first.
    """

    operation: Operation
    stack: str
    title: str
    entries: tuple[Entry, ...]
    folders: tuple[str, ...] = ()
    prune: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Journal:
    """A journal found on disk; ``plan`` is None when it was interrupted while being prepared."""

    folder: Path
    plan: Plan | None
    direction: Direction = "plan"


def format_plan(plan: Plan) -> bytes:
    """Return the plan as it is kept on disk."""
    return json.dumps({"format": FORMAT, **asdict(plan)}, indent=1).encode() + b"\n"


def parse_plan(data: bytes) -> Plan:
    """Return the plan of a file that ``format_plan`` wrote.

    :raises ValueError: it is another format, or damaged.
    """
    raw = json.loads(data)
    if raw.get("format") != FORMAT:
        raise ValueError(f"format {raw.get('format')}, where this program knows {FORMAT}")
    try:
        return Plan(
            operation=raw["operation"],
            stack=raw["stack"],
            title=raw["title"],
            entries=tuple(Entry(**_plain(entry)) for entry in raw["entries"]),
            folders=tuple(map(require_plain, raw["folders"])),
            prune=tuple(map(require_plain, raw["prune"])),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a field is missing or of another type: {error}") from error


def _plain(entry: dict[str, str | None]) -> dict[str, Any]:
    """Return an entry as it is; a wheel could bring a journal that reaches out of its folder."""
    require_plain(str(entry["path"]))
    return entry


def read_journal(state: Path) -> Journal | None:
    """Return the journal in a folder of applied records, or None where there is none.

    :raises TargetError: it was written by another version of this program.
    """
    folder = state / FOLDER
    if not os.path.lexists(folder):
        return None
    directions: tuple[tuple[str, Direction], ...] = ((ROLLBACK, "rollback"), (PLAN, "plan"))
    for name, direction in directions:
        try:
            plan = parse_plan((folder / name).read_bytes())
        except FileNotFoundError:
            continue
        except ValueError as error:
            raise TargetError(
                f"{folder / name} cannot be read: {error}",
                hint="recover with the version of vllm-patchkit that was interrupted",
            ) from error
        return Journal(folder=folder, plan=plan, direction=direction)
    return Journal(folder=folder, plan=None)


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
