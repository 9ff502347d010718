"""Author, date and message of a patch that somebody left, as a commit wants them. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timezone

from vllm_patchkit.errors import PatchFormatError, UsageError
from vllm_patchkit.fork.base import BaseTree
from vllm_patchkit.fork.intake.mailbox import RawPatch
from vllm_patchkit.fork.store.git import Person, parse_mail_date
from vllm_patchkit.stack.message import parse_address

SUBSYSTEM = "fork"


def author_of_raw(patch: RawPatch, author: str, base: BaseTree) -> Person:
    """Return who wrote a patch: whom it names, else ``author``.

    :raises UsageError: no commit can have that author.
    """
    name, email = patch.author, patch.email
    if not email:
        name, email = parse_address(author)
    if not name or re.search(r"[<>\n]", name + email):
        raise UsageError(
            f"{patch.source}: {name} <{email}> cannot be an author",
            hint='name one with --author "Name <address>"',
        )
    # Without a date of its own a patch gets its base's: the same input gives the same stack.
    return Person(name, email, _date(patch, base))


def _date(patch: RawPatch, base: BaseTree) -> str:
    if not patch.date:
        return base.date
    try:
        return parse_mail_date(patch.date)
    except PatchFormatError as fault:
        raise PatchFormatError(f"{patch.source}: {fault.message}", hint=fault.hint) from None


def message_of_raw(patch: RawPatch, signer: str | None, base: BaseTree) -> str:
    """Return the commit message, with the DEP-3 trailers that it lacks."""
    body = patch.body.strip("\n") or f"Imported from {patch.source}."
    last = body.rpartition("\n\n")[2]
    has_trailers = bool(
        re.fullmatch(r"(?:[A-Za-z][A-Za-z0-9-]*: .*(?:\n|\Z)|[ \t].*(?:\n|\Z))+", last)
    )
    seconds = int(_date(patch, base).split()[0])
    day = datetime.fromtimestamp(seconds, timezone.utc).date().isoformat()
    trailers = {"Subsystem": SUBSYSTEM, "Origin": "other", "Forwarded": "no", "Last-Update": day}
    if signer is not None:
        trailers["Signed-off-by"] = signer
    present = last.lower() if has_trailers else ""
    lines = [
        f"{key}: {value}"
        for key, value in trailers.items()
        if not re.search(rf"(?m)^{key.lower()}:", present)
    ]
    separator = "\n" if has_trailers else "\n\n"
    return f"{patch.subject}\n\n{body}" + (separator + "\n".join(lines) if lines else "") + "\n"
