"""Real git, run so that only the repository and these settings decide what it does."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from vllm_patchkit.errors import PatchFormatError
from vllm_patchkit.host.process import Completed, capture

if TYPE_CHECKING:
    from git import Repo
    from gitdb import LooseObjectDB  # type: ignore[import-untyped]

COMMITTER = ("vllm-patchkit", "vllm-patchkit@localhost.invalid")
# Committer date of every commit we make: fixed, so that the same stack has the same commit ids.
COMMITTER_DATE = "1577836800 +0000"
# What git reads in a mail: years up to 2099, zones up to 14 hours.
FIRST_LOST_S = 4_102_444_800
LAST_ZONE = 1400
ABSENT = "000000"

# A person's settings must not change a byte of what we write. Everything that the diff, merge
# and mail machinery reads from configuration is pinned here.
SETTINGS: dict[str, str] = {
    "core.abbrev": "40",
    "core.attributesFile": os.devnull,
    "core.autocrlf": "false",
    "core.eol": "lf",
    "core.excludesFile": os.devnull,
    "core.fileMode": "true",
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.quotePath": "true",
    "core.safecrlf": "false",
    "core.useReplaceRefs": "false",
    "core.whitespace": "cr-at-eol",
    "apply.ignoreWhitespace": "no",
    "apply.whitespace": "nowarn",
    "commit.gpgSign": "false",
    "diff.algorithm": "myers",
    "diff.context": "3",
    "diff.indentHeuristic": "true",
    "diff.interHunkContext": "0",
    "diff.mnemonicPrefix": "false",
    "diff.noprefix": "false",
    "diff.orderFile": os.devnull,
    "diff.renames": "true",
    "diff.renameLimit": "0",
    "diff.suppressBlankEmpty": "false",
    "format.coverLetter": "false",
    "format.encodeEmailHeaders": "true",
    "format.from": "false",
    "format.pretty": "medium",
    "format.signOff": "false",
    "gc.auto": "0",
    "i18n.commitEncoding": "UTF-8",
    "i18n.logOutputEncoding": "UTF-8",
    "log.showSignature": "false",
    "maintenance.auto": "false",
    "merge.conflictStyle": "diff3",
    "merge.default": "text",
    "merge.renameLimit": "0",
    "merge.renames": "true",
    "merge.renormalize": "false",
    "protocol.file.allow": "always",
    "protocol.version": "2",
    "safe.directory": "*",
}


def git_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which git reads no configuration but the repository's and ours."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    name, email = COMMITTER
    env |= {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_EDITOR": "true",
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": email,
        "GIT_AUTHOR_DATE": COMMITTER_DATE,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": email,
        "GIT_COMMITTER_DATE": COMMITTER_DATE,
        "LC_ALL": "C",
        "TZ": "UTC",
    }
    # The environment's settings come after the repository's own file, so they win.
    env["GIT_CONFIG_COUNT"] = str(len(SETTINGS))
    for index, (key, value) in enumerate(SETTINGS.items()):
        env[f"GIT_CONFIG_KEY_{index}"] = key
        env[f"GIT_CONFIG_VALUE_{index}"] = value
    return env | dict(extra or {})


@dataclass(frozen=True, slots=True)
class Person:
    """An author as git stores one: ``date`` is ``<seconds since 1970> <+hhmm>``."""

    name: str
    email: str
    date: str

    def line(self) -> str:
        """Return what follows ``author`` in a commit object."""
        return f"{self.name} <{self.email}> {self.date}"


def parse_mail_date(text: str) -> str:
    """Return an RFC 2822 date as git stores it, its time zone kept.

    :raises PatchFormatError: it is no date, or none that git keeps: before 1970, after 2099, or
        more than 14 hours from UTC.
    """
    parsed = parsedate_tz(text)
    zone = re.search(r"([+-]\d{4})\s*(\(.*\))?$", text.strip())
    offset = zone.group(1) if zone else "+0000"
    try:
        seconds = -1 if parsed is None else int(mktime_tz(parsed))
    except (ValueError, OverflowError):
        seconds = -1
    if not 0 <= seconds < FIRST_LOST_S or abs(int(offset)) > LAST_ZONE:
        raise PatchFormatError(
            f"not a mail date that git can keep: {text!r}",
            hint="write it as in 'Fri, 2 Jan 2026 03:04:05 +0000', from 1970 to 2099",
        )
    return f"{seconds} {offset}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a tree: its mode as six octal digits, and the id of its blob."""

    mode: str
    blob: str


@dataclass(frozen=True, slots=True)
class Changed:
    """What a file was and what it is; None where there is no file."""

    before: Entry | None
    after: Entry | None

    @classmethod
    def parse(cls, row: str) -> Changed:
        """Return what a row of ``git diff-tree --raw`` says, its path left out."""
        old_mode, new_mode, old, new, _ = row.removeprefix(":").split(" ")
        sides = ((old_mode, old), (new_mode, new))
        return cls(*(None if mode == ABSENT else Entry(mode, blob) for mode, blob in sides))


class Repository:
    """A git repository, with or without a work tree.

    Programs are started through ``run``; single objects are read and written through GitPython,
    whose one long-lived ``git cat-file`` makes a thousand reads cost what a thousand reads cost.
    """

    def __init__(self, git_dir: Path, work_tree: Path | None = None) -> None:
        self.git_dir = git_dir
        self.work_tree = work_tree
        self._repo: Repo | None = None
        self._written: LooseObjectDB | None = None

    def capture(
        self,
        *words: str | Path,
        input_bytes: bytes | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run ``git`` with these words and return how it ended."""
        where = [f"--git-dir={self.git_dir}"]
        if self.work_tree is not None:
            where.append(f"--work-tree={self.work_tree}")
        return capture(
            ["git", *where, *words],
            cwd=self.work_tree or self.git_dir,
            env=git_environment(env),
            input_bytes=input_bytes,
        )

    def run(
        self,
        *words: str | Path,
        input_bytes: bytes | None = None,
        env: Mapping[str, str] | None = None,
    ) -> bytes:
        """Run ``git`` with these words and return its output.

        :raises CommandFailed: its status is not zero.
        """
        done = self.capture(*words, input_bytes=input_bytes, env=env)
        return done.require(["git", *words])

    def text(self, *words: str | Path) -> str:
        """Run ``git`` and return its output as text, without the last line end."""
        return self.run(*words).decode("utf-8", "surrogateescape").rstrip("\n")

    def resolve(self, revision: str) -> str | None:
        """Return the object id of a revision, or None where there is no such thing."""
        done = self.capture("rev-parse", "--verify", "--quiet", revision)
        return done.stdout.decode().strip() or None

    def list_tree(self, revision: str, *paths: str) -> dict[str, Entry]:
        """Return the files of a tree by path, submodules left out."""
        listed = self.run("ls-tree", "-r", "-z", revision, "--", *paths)
        entries = {}
        for record in listed.split(b"\0")[:-1]:
            header, path = record.split(b"\t", 1)
            mode, kind, blob = header.decode().split()
            if kind == "blob":
                entries[path.decode("utf-8", "surrogateescape")] = Entry(mode, blob)
        return entries

    def changes(self, before: str, after: str) -> dict[str, Changed]:
        """Return every file that differs between two trees, by path; a rename is two of them."""
        listed = self.run("diff-tree", "-r", "-z", "--raw", "--no-renames", before, after)
        words = listed.decode("utf-8", "surrogateescape").split("\0")[:-1]
        return {path: Changed.parse(row) for row, path in zip(words[::2], words[1::2], strict=True)}

    def read_blob(self, blob: str) -> bytes:
        """Return the bytes of a blob."""
        data: bytes = self._objects().odb.stream(bytes.fromhex(blob)).read()
        return data

    def find_object(self, name: str) -> str | None:
        """Return the id of what ``<commit>:<path>`` or ``<commit>^{tree}`` names, or None.

        The same as ``resolve``, without a process of its own.
        """
        try:
            found = self._objects().git.get_object_header(name)
        except ValueError:
            return None
        # GitPython's annotation says str; what it returns is bytes.
        oid: str | bytes = found[0]
        return oid.decode() if isinstance(oid, bytes) else oid

    def tree_of(self, commit: str) -> str:
        """Return the id of a commit's tree."""
        tree = self.find_object(f"{commit}^{{tree}}")
        assert tree is not None
        return tree

    def write_object(self, kind: str, data: bytes) -> str:
        """Store an object (``blob``, ``tree`` or ``commit``) and return its id."""
        # Not by GitPython's database, which starts a process for each since 3.2.
        from gitdb import IStream, LooseObjectDB

        if self._written is None:
            self._written = LooseObjectDB(str(self.git_dir / "objects"))
        stored = self._written.store(IStream(kind.encode(), len(data), BytesIO(data)))
        oid: str = stored.hexsha.decode()
        return oid

    def write_commit(self, tree: str, parents: Sequence[str], author: Person, message: str) -> str:
        """Store a commit with our fixed committer and return its id."""
        lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
        lines.append(f"author {author.line()}")
        lines.append(f"committer {COMMITTER[0]} <{COMMITTER[1]}> {COMMITTER_DATE}")
        text = "\n".join(lines) + "\n\n" + message
        return self.write_object("commit", text.encode("utf-8", "surrogateescape"))

    def close(self) -> None:
        """End the helper processes."""
        if self._repo is not None:
            self._repo.close()
            self._repo = None

    def _objects(self) -> Repo:
        if self._repo is None:
            from git import GitCmdObjectDB, Repo

            self._repo = Repo(self.git_dir, odbt=GitCmdObjectDB)
            self._repo.git.update_environment(**git_environment())
        return self._repo


@contextmanager
def open_repository(git_dir: Path, work_tree: Path | None = None) -> Iterator[Repository]:
    """Yield a repository whose helper processes end with the block."""
    repository = Repository(git_dir, work_tree)
    try:
        yield repository
    finally:
        repository.close()


def quote_path(path: str) -> bytes:
    """Return a path in the C-style quotes that ``git fast-import`` reads."""
    raw = path.encode("utf-8", "surrogateescape")
    escaped = raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"' + escaped + b'"'
