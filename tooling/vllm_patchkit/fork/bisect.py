"""Finding the patch that breaks a command, with git's own bisect."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.errors import PatchkitError, UsageError
from vllm_patchkit.fork.edit import load_stack
from vllm_patchkit.fork.store.git import Repository, open_repository
from vllm_patchkit.fork.store.repository import open_store
from vllm_patchkit.fork.store.worktree import Session, create_work_tree
from vllm_patchkit.host.process import Completed, capture
from vllm_patchkit.host.terminal import Console

SKIP = 125
LAST_STATUS = 127


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a bisect found.

    :param culprit: the first patch with which the command fails, None if the base fails already.
    :param suspects: the patches among which it is, where skipped ones hide it.
    :param runs: how often the command was run.
    """

    culprit: str | None
    suspects: tuple[str, ...]
    runs: int


def bisect_stack(
    folder: Path, command: Sequence[str], console: Console, *, libraries: Path | None = None
) -> Verdict:
    """Return the first patch with which ``command`` ends with another status than 0.

    The command runs in a tree of the base with the first patches of the stack applied, which is
    first on ``PYTHONPATH``. Status 125 says that a tree cannot be judged, as in git.

    :param libraries: an installed package folder whose compiled files the tree gets links to.
    :raises UsageError: the command succeeds with every patch applied.
    """
    with tempfile.TemporaryDirectory(prefix="patchkit-bisect-") as name:
        place = Path(name) / "tree"
        with open_store() as store:
            opened = load_stack(store, folder, console)
            session = Session(work_tree=place, folder=folder, kind="bisect", states=())
            create_work_tree(
                store, session, base=opened.base.commit, tip=opened.series.tip, remember=False
            ).close()
        names = dict(
            zip(opened.series.commits, (p.name for p in opened.stack.patches), strict=True)
        )
        with open_repository(place / ".git", place) as repository:
            if libraries is not None:
                _link_libraries(libraries, place, opened.base.root)
            return _bisect(repository, opened.base.commit, opened.series.commits, names, command,
                           console)  # fmt: skip


def _bisect(
    repository: Repository,
    base: str,
    commits: Sequence[str],
    names: dict[str, str],
    command: Sequence[str],
    console: Console,
) -> Verdict:
    runs = 1
    if _run(repository, commits[-1], command, "all patches", console) == 0:
        raise UsageError("the command succeeds with every patch applied: there is nothing to find")
    runs += 1
    if _run(repository, base, command, "the base", console) != 0:
        return Verdict(culprit=None, suspects=(), runs=runs)
    repository.run("bisect", "start", "--no-checkout", commits[-1], base)
    while True:
        head = repository.resolve("BISECT_HEAD")
        listed = repository.resolve("refs/bisect/bad")
        if head is None or listed is None:
            raise PatchkitError(f"{repository.work_tree}: git bisect lost its place")
        status = _run(repository, head, command, names.get(head, "the base"), console)
        runs += 1
        word = "skip" if status == SKIP else "bad" if status else "good"
        said = repository.capture("bisect", word)
        text = said.stdout.decode("utf-8", "replace")
        if "is the first bad commit" in text:
            bad = repository.resolve("refs/bisect/bad")
            assert bad is not None
            return Verdict(culprit=names[bad], suspects=(), runs=runs)
        if said.status or "only 'skip'ped commits left" in text.lower():
            suspects = tuple(names[word] for word in text.split() if word in names)
            return Verdict(culprit=None, suspects=suspects, runs=runs)


def _run(
    repository: Repository, commit: str, command: Sequence[str], title: str, console: Console
) -> int:
    """Run the command on one tree and return its status.

    :raises PatchkitError: it cannot be started, or says to stop (a status above 127).
    """
    assert repository.work_tree is not None
    repository.run("checkout", "--quiet", "--force", "--detach", commit)
    paths = [str(repository.work_tree), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    done = capture(list(command), cwd=repository.work_tree, env=env)
    if done.status > LAST_STATUS or done.status < 0:
        raise PatchkitError(
            f"{command[0]} ended with status {done.status} at {title}: {_tail(done)}"
        )
    words = {0: "good", SKIP: "skipped"}
    word = words.get(done.status, "bad")
    console.note(f"{title}: {word}" + (f" ({_tail(done)})" if word == "bad" else ""))
    return done.status


def _tail(done: Completed) -> str:
    """Return the last line that a command wrote."""
    lines = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else f"status {done.status}"


def _link_libraries(libraries: Path, place: Path, root: str) -> None:
    """Lay links to the compiled files of an installed package into the tree."""
    source = libraries if libraries.name == root else libraries / root
    if not source.is_dir():
        raise UsageError(f"{libraries} has no {root}/ to take compiled files from")
    for file in sorted(source.rglob("*.so")):
        link = place / root / file.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file.resolve())
    shutil.rmtree(place / root / "__pycache__", ignore_errors=True)
