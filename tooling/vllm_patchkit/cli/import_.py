"""Turn what people have today into a locked stack on a release from the registry.

Takes folders of per-file diffs, one big diff, mailboxes, quilt series, in any -p level, with
names relative to the wheel or to the package. Hunks that lost their place are put back by
git's own search and reported; nothing is placed silently, nothing is left out silently.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vllm_patchkit.cli.options import add_json_option, print_document
from vllm_patchkit.cli.parser import take_inputs
from vllm_patchkit.errors import ExitCode, UsageError
from vllm_patchkit.host.terminal import Console

if TYPE_CHECKING:
    from vllm_patchkit.fork.intake.importer import Imported, Rules

EXAMPLES = """\
  vllm-patchkit import ./diffs --base vllm==0.11.0 --name myfork
  vllm-patchkit import feature.diff --base vllm==0.11.0 --name myfork --squash "Add feature"
  vllm-patchkit import series.mbox --base ./vllm_omni-0.11.0-py3-none-any.whl --name omni
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``import``."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="folder or file")
    parser.add_argument(
        "--base", required=True,
        help="DISTRIBUTION==VERSION, or a wheel file; ? only says which release it may be",
    )  # fmt: skip
    parser.add_argument("--name", required=True, help="name of the stack and of its folder")
    parser.add_argument("--into", type=Path, default=Path("patches"), help="default: patches")
    parser.add_argument("-p", "--strip", type=int, metavar="N", help="take N components off names")
    parser.add_argument(
        "--fuzz", type=int, default=0, choices=(0, 1, 2), help="context lines a hunk may miss"
    )
    parser.add_argument(
        "--python-only", action="store_true", help="leave out files that the wheel does not ship"
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--squash", metavar="SUBJECT", help="make it one patch of that subject")
    shape.add_argument(
        "--split",
        choices=("file", "folder", "subsystem"),
        help="take each patch apart by where its files lie (default: as they are)",
    )
    parser.add_argument("--author", help='"Name <address>" of patches that do not name theirs')
    parser.add_argument("--signoff", action="store_true", help="add the Signed-off-by: of --author")
    parser.add_argument("--label", help="local version label (default: from the name)")
    parser.add_argument("--summary", help="one line for stack.toml")
    parser.add_argument("--force", action="store_true", help="replace a stack of that name")
    add_json_option(parser, "what was done")
    take_inputs(parser, "paths")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Read the patches, place them on the base, write the stack."""
    from vllm_patchkit.cli.refresh import print_published
    from vllm_patchkit.fork.intake.importer import Rules
    from vllm_patchkit.stack.metadata import NAME

    if not NAME.fullmatch(args.name):
        raise UsageError(f"{args.name!r} cannot name a stack", hint="use a-z, 0-9, - and _")
    if args.base == "?":
        return _find_base(args, console)
    if args.signoff and not args.author:
        raise UsageError("--signoff needs --author")
    rules = Rules(
        strip=args.strip,
        max_fuzz=args.fuzz,
        python_only=args.python_only,
        **({"author": args.author} if args.author else {}),
        signoff=args.signoff,
    )
    result: Imported = _import(args, rules, console)
    if args.json:
        notes = [{"kind": n.kind, "source": n.source, "text": n.text} for n in result.notes]
        print_document(console, "import", {**result.published.to_json(), "notes": notes})
        return ExitCode.OK
    for note in result.notes:
        console.note(f"{console.style(note.kind, 'yellow', console.err):9} {note}")
    print_published(result.published, console)
    console.note(f"check it: vllm-patchkit lint {result.published.folder}")
    return ExitCode.OK


def _find_base(args: argparse.Namespace, console: Console) -> int:
    """Say which release the patches were cut from; nothing is imported."""
    from vllm_patchkit.cli.base import find_base, print_origin

    origin = find_base(args.paths, "vllm", (), console)
    print_origin(origin, console)
    if origin.best is not None:
        console.note(f"nothing was imported yet: import --base {origin.best.spec.distribution}=="
                     f"{origin.best.spec.version}")  # fmt: skip
    return ExitCode.FAILED


def _import(args: argparse.Namespace, rules: Rules, console: Console) -> Imported:
    from vllm_patchkit.fork.base import load_base, parse_base
    from vllm_patchkit.fork.intake.founding import squash, write_stack
    from vllm_patchkit.fork.intake.importer import Imported, convert_patches
    from vllm_patchkit.fork.intake.sources import read_patches
    from vllm_patchkit.fork.split import split_change
    from vllm_patchkit.fork.store.repository import open_store

    found = read_patches(args.paths)
    left_out: dict[str, bytes] = {}
    with open_store() as store:
        base = load_base(store, parse_base(args.base), console)
        changes, notes = convert_patches(store, base, found.patches, rules, left_out=left_out)
        if args.squash:
            changes = squash(changes, args.squash, [patch.source for patch in found.patches])
        if args.split:
            changes = [
                piece for change in changes for piece in split_change(change, args.split, base.root)
            ]
        published = write_stack(
            store,
            args.into / args.name,
            base,
            changes,
            label=args.label,
            summary=args.summary,
            force=args.force,
            left_out=left_out,
        )
    return Imported(published=published, notes=(*found.notes, *notes))
