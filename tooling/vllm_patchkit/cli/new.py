"""Start a patch from changes made inside an environment or a source tree.

What differs from the release with the stack applied (or from the bare release, whichever is
closer) becomes the stack's last patch: edited, new, deleted and renamed files.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from vllm_patchkit.cli import options
from vllm_patchkit.cli.parser import take_inputs
from vllm_patchkit.cli.refresh import print_published
from vllm_patchkit.errors import ExitCode, UsageError
from vllm_patchkit.host.terminal import Console

if TYPE_CHECKING:
    from vllm_patchkit.fork.store.git import Person

EXAMPLES = """\
  vllm-patchkit new myfork --from .venv/lib/python3.12/site-packages -m "[Core] Fix the count"
  vllm-patchkit new myfork --from ~/src/vllm -m "[Core] Fix it" --author "Ada <ada@example.org>"
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``new``."""
    options.add_stack_argument(parser)
    options.add_base_option(parser)
    parser.add_argument(
        "--from", dest="place", type=Path, required=True, metavar="DIR",
        help="folder that holds the package: site-packages, an environment, or a tree",
    )  # fmt: skip
    parser.add_argument("-m", "--message", required=True, help="subject, blank line, body")
    parser.add_argument("--author", help='"Name <address>" (default: GIT_AUTHOR_*, or git\'s own)')
    parser.add_argument("--date", help="mail date of the patch (default: now)")
    parser.add_argument("--against", choices=("base", "stack"), help="what was changed")
    options.add_json_option(parser, "what was done")
    take_inputs(parser, "place")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Capture the changes as a patch."""
    from vllm_patchkit.fork.change import capture_patch, require_message

    published, captured = capture_patch(
        options.stack_folder(args, console),
        _package_place(args.place),
        require_message(args.message),
        _author(args),
        console,
        against=args.against,
    )
    console.note(f"taken against the {captured.against}:")
    for path, file in sorted(captured.files.items()):
        console.note(f"  {'deleted' if file is None else 'changed'} {path}")
    if not options.print_document(args, console, published.to_json()):
        print_published(published, console)
    return ExitCode.OK


def _package_place(place: Path) -> Path:
    """Return the site-packages of an environment, any other folder as it is."""
    found = sorted(place.glob("lib/python3*/site-packages"))
    return found[0] if found else place


def _author(args: argparse.Namespace) -> Person:
    from vllm_patchkit.fork.store.git import Person, parse_mail_date
    from vllm_patchkit.host.process import capture
    from vllm_patchkit.stack.message import parse_address

    text = args.author
    if text is None and os.environ.get("GIT_AUTHOR_EMAIL"):
        text = "{GIT_AUTHOR_NAME} <{GIT_AUTHOR_EMAIL}>".format_map(
            {"GIT_AUTHOR_NAME": "", **os.environ}
        )
    if text is None:
        said = capture(["git", "var", "GIT_AUTHOR_IDENT"])
        text = said.stdout.decode("utf-8", "replace").rpartition(" ")[0].rpartition(" ")[0]
    name, email = parse_address(text)
    if not name or not email or any(letter in name + email for letter in "<>\n"):
        raise UsageError("who wrote the patch?", hint='--author "Name <address>"')
    date = parse_mail_date(args.date) if args.date else f"{int(time.time())} +0000"
    return Person(name, email, date)
