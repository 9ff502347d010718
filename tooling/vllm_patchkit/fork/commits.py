"""Commits that become patch files: read in one go, their messages settled."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vllm_patchkit.errors import StackError
from vllm_patchkit.fork.store.git import Person, Repository, parse_mail_date
from vllm_patchkit.stack.message import split_headers
from vllm_patchkit.stack.model import Message, Patch
from vllm_patchkit.stack.prose import (
    clean_lines,
    find_hazards,
    message_end,
    settle_message,
    split_message,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """A commit whose only parent is the one before it."""

    oid: str
    tree: str
    author: Person
    message: str

    def __str__(self) -> str:
        return f"commit {self.oid[:12]} ({self.message.partition(chr(10))[0]})"


def read_commits(repository: Repository, oids: Sequence[str]) -> list[Commit]:
    """Return the commits of these ids, in their order."""
    if not oids:
        return []
    listed = repository.run(
        "log", "--no-walk=unsorted", "--stdin", "-z", "--date=raw",
        "--format=%H%n%T%n%an%n%ae%n%ad%n%B",
        input_bytes="\n".join(oids).encode(),
    ).decode("utf-8", "surrogateescape")  # fmt: skip
    fields = (record.split("\n", 5) for record in listed.split("\0") if record)
    return [
        Commit(oid=oid, tree=tree, author=Person(name, email, date), message=message)
        for oid, tree, name, email, date, message in fields
    ]


def settle_commits(repository: Repository, base: str, commits: Sequence[Commit]) -> list[Commit]:
    """Return the commits with messages that a patch file can say, made again where they differ.

    :raises StackError: a message has no subject.
    """
    settled: list[Commit] = []
    made_again = False
    for commit in commits:
        message = settle_message(commit.message)
        if not message.partition("\n")[0]:
            raise StackError(
                f"{commit} has no subject",
                hint="give it a first line that says what it does: git commit --amend, or git "
                "rebase --interactive refs/patchkit/base",
            )
        oid = commit.oid
        made_again = made_again or message != commit.message
        if made_again:
            parent = settled[-1].oid if settled else repository.resolve(f"{base}^{{commit}}")
            oid = repository.write_commit(commit.tree, [parent or base], commit.author, message)
        settled.append(replace(commit, oid=oid, message=message))
    return settled


def quoted_lines(message: str) -> tuple[int, ...]:
    """Return the lines (1-based, subject first) of a message that have to be quoted."""
    _, body = split_message(message)
    return tuple(index + 3 for index in find_hazards(body))


def describe_quoted(commits: Sequence[Commit]) -> tuple[str, ...]:
    """Return one line for each commit of whose message lines are quoted."""
    return tuple(
        f"{commit}: line {', '.join(map(str, lines[:5]))} of the message would be read as a diff, "
        "as a separator or as a mail; it is written with '> ' before it"
        for commit in commits
        if (lines := quoted_lines(commit.message))
    )


def author_of(message: Message) -> Person:
    """Return a patch's author as git stores one.

    :raises StackError: the name or address holds a character that a commit cannot.
    """
    for text in (message.author, message.email):
        if re.search(r"[<>\n\0]", text):
            raise StackError(f"the author {message.author!r} <{message.email}> cannot be committed")
    return Person(message.author, message.email, parse_mail_date(message.date))


def commit_message(patch: Patch) -> str:
    """Return the commit message that ``git am --keep-non-patch`` makes of this file."""
    _, lines = split_headers(patch.data.decode("utf-8", "surrogateescape").split("\n"))
    if lines and lines[0].startswith("From: "):
        lines = lines[1:]
    body = "\n".join(clean_lines(lines[: message_end(lines)]))
    return f"{patch.message.subject}\n\n{body}\n" if body else f"{patch.message.subject}\n"
