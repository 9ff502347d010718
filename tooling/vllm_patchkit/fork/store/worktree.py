"""Work trees in which a stack is edited with ordinary git.

A work tree is a repository of its own (it survives the loss of the cache) with one branch:
the base, then one commit a patch. What it belongs to is kept in its private git folder, in
``.git/vllm-patchkit/session.json``; the cache only remembers where it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vllm_patchkit.errors import StackError, UsageError, first_few
from vllm_patchkit.fork.store.git import COMMITTER, Repository, git_environment
from vllm_patchkit.fork.store.history import stack_key
from vllm_patchkit.host.cache import cache_dir
from vllm_patchkit.host.files import replace_file, sweep
from vllm_patchkit.host.process import capture, run

FORMAT = 1
BASE_REF = "refs/patchkit/base"
START_REF = "refs/patchkit/start"
IGNORED = "__pycache__/\n*.py[co]\n*.so\n"
# Files of the git folder that say that git itself is in the middle of something.
UNFINISHED = {
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase or am",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "MERGE_HEAD": "a merge",
    "BISECT_LOG": "a bisect",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """A work tree and the stack that it edits.

    :param kind: ``edit``, or the command that stopped at a conflict.
    :param states: digests of the stack folder that this session has seen or written; a folder in
        another state was changed by somebody else.
    :param plan: what a rebase still has to do, as JSON.
    """

    work_tree: Path
    folder: Path
    kind: str
    states: tuple[str, ...]
    plan: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def begin(
        cls, folder: Path, kind: str, state: str, work_tree: Path | None, **plan: Any
    ) -> Session:
        """Return a session that has written nothing yet, its work tree in the usual place."""
        return cls(
            work_tree=(work_tree or default_work_tree(folder)).absolute(),
            folder=folder.resolve(),
            kind=kind,
            states=(state,),
            plan=plan,
        )

    @property
    def git_dir(self) -> Path:
        """The work tree's own git folder."""
        return self.work_tree / ".git"

    def write(self) -> None:
        """Put the session into the work tree's git folder."""
        holder = self.git_dir / "vllm-patchkit"
        holder.mkdir(exist_ok=True)
        document = {
            "format": FORMAT,
            "kind": self.kind,
            "stack": str(self.folder),
            "states": list(self.states),
            "plan": dict(self.plan),
        }
        replace_file(holder / "session.json", json.dumps(document, indent=1).encode() + b"\n")

    def announce(self, files: Mapping[str, bytes]) -> None:
        """Note what the stack folder is about to hold, for whoever comes after an interruption."""
        replace(self, states=(*self.states, folder_state(files))).write()

    def remove(self) -> None:
        """Delete the work tree and forget it."""
        shutil.rmtree(self.work_tree, ignore_errors=True)
        _pointer(self.folder).unlink(missing_ok=True)


def folder_state(files: Mapping[str, bytes]) -> str:
    """Return a digest of a folder's files and names."""
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        digest.update(f"{name}\0{len(data)}\0".encode("utf-8", "surrogateescape"))
        digest.update(data)
    return digest.hexdigest()


def _pointer(folder: Path) -> Path:
    return cache_dir() / "work" / f"{stack_key(folder)}.json"


def default_work_tree(folder: Path) -> Path:
    """Return where a stack's work tree is put unless the user names a place."""
    return cache_dir() / "work" / f"{folder.resolve().name}-{stack_key(folder)[:8]}"


def find_session(folder: Path) -> Session | None:
    """Return the open session of a stack, None where there is none (or its tree is gone).

    The usual place is looked at too: a command may have been killed before it noted the place.
    """
    places = [default_work_tree(folder)]
    with suppress(OSError, ValueError, KeyError):
        places.insert(0, Path(json.loads(_pointer(folder).read_bytes())["work_tree"]))
    for place in places:
        session = read_session(place)
        if session is not None and session.folder == folder.resolve():
            return session
    return None


def read_session(work_tree: Path) -> Session | None:
    """Return the session of a work tree, None where it is no work tree of ours.

    :raises StackError: its state cannot be read.
    """
    path = work_tree / ".git" / "vllm-patchkit" / "session.json"
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_bytes())
        return Session(
            work_tree=work_tree,
            folder=Path(document["stack"]),
            kind=document["kind"],
            states=tuple(document["states"]),
            plan=document["plan"],
        )
    except (ValueError, KeyError) as error:
        raise StackError(
            f"{path} is damaged: {error}",
            hint=f"your commits are safe in {work_tree}; open a new work tree with edit --dir",
        ) from None


def find_session_around(place: Path) -> Session | None:
    """Return the session of the work tree that ``place`` lies in."""
    for folder in (place.resolve(), *place.resolve().parents):
        session = read_session(folder)
        if session is not None:
            return session
    return None


def require_no_session(folder: Path) -> None:
    """Refuse to start where a session is open.

    :raises UsageError: names the open one.
    """
    session = find_session(folder)
    if session is not None:
        remedy = f"{session.kind} --continue, --skip or --abort"
        if session.kind == "edit":
            remedy = "go on there, then refresh; edit --close deletes it"
        raise UsageError(
            f"{folder.name} is open in a work tree already ({session.kind}): {session.work_tree}",
            hint=remedy,
        )


def create_work_tree(
    store: Repository,
    session: Session,
    *,
    base: str,
    tip: str,
    head: str | None = None,
    remember: bool = True,
) -> Repository:
    """Make the session's work tree, checked out at ``head`` (``tip`` by default).

    It is built beside its place and renamed, so a work tree that exists is complete.

    :param remember: let :func:`find_session` find it by its stack.

    :raises UsageError: the place is taken.
    """
    place = session.work_tree
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise UsageError(f"{place} exists and is not empty", hint="name another place with --dir")
    place.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".patchkit-{place.name}."
    sweep(place.parent, prefix)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=place.parent) as name:
        fresh = Path(name) / place.name
        run(
            ["git", "init", "--quiet", "--template=", "--initial-branch", "stack", fresh],
            env=git_environment(),
        )
        _configure(fresh)
        repository = Repository(fresh / ".git", fresh)
        start = head or tip
        store.run(
            "push", "--quiet", fresh, f"{base}:{BASE_REF}", f"{tip}:{START_REF}",
            f"{start}:refs/patchkit/head",
        )  # fmt: skip
        repository.run("reset", "--quiet", "--hard", start)
        replace(session, work_tree=fresh).write()
        if place.exists():
            place.rmdir()
        fresh.rename(place)
    if remember:
        _remember(session)
    return Repository(session.git_dir, session.work_tree)


def _remember(session: Session) -> None:
    pointer = _pointer(session.folder)
    pointer.parent.mkdir(exist_ok=True)
    document = {"work_tree": str(session.work_tree.resolve())}
    replace_file(pointer, json.dumps(document).encode() + b"\n")


def _configure(work_tree: Path) -> None:
    """Give the work tree what a person's own git needs there, without touching their settings."""
    settings = {
        "core.autocrlf": "false",
        "core.safecrlf": "false",
        "core.fileMode": "true",
        "merge.conflictStyle": "diff3",
        "rebase.autoSquash": "true",
        "advice.detachedHead": "false",
    }
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_DIR")}
    if capture(["git", "config", "user.email"], cwd=work_tree, env=own).status:
        settings |= {"user.name": COMMITTER[0], "user.email": COMMITTER[1]}
    for key, value in settings.items():
        run(["git", "config", key, value], cwd=work_tree, env=git_environment())
    info = work_tree / ".git" / "info"
    info.mkdir(exist_ok=True)
    (info / "exclude").write_text(IGNORED)


def require_settled(repository: Repository) -> str:
    """Return the commit at HEAD of a work tree in which nothing is pending.

    :raises StackError: there are uncommitted changes, or git is in the middle of something.
    """
    for name, what in UNFINISHED.items():
        if (repository.git_dir / name).exists():
            raise StackError(
                f"{repository.work_tree}: {what} is in progress",
                hint="finish it or abort it with git first",
            )
    # With renames an entry would be two fields: each side is an entry of its own.
    status = repository.run(
        "status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames"
    )
    dirty = [entry[3:].decode("utf-8", "replace") for entry in status.split(b"\0") if entry[3:]]
    if dirty:
        raise StackError(
            f"{repository.work_tree} has uncommitted changes: {first_few(dirty, 5)}",
            hint="commit them (git commit --fixup=COMMIT, then git rebase -i --autosquash "
            f"{BASE_REF}) or drop them",
        )
    head = repository.resolve("HEAD^{commit}")
    if head is None:
        raise StackError(f"{repository.work_tree} has no commit checked out")
    return head
