"""Turn what people have today into a locked stack on a release from the registry.

Takes folders of per-file diffs, one big diff, mailboxes, quilt series, in any -p level, with
names relative to the wheel or to the package. Hunks that lost their place are put back by
git's own search and reported; nothing is placed silently, nothing is left out silently. With
--edit, what does not apply stops it in a git work tree, as rebase does: resolve there, git add,
and --continue; there is no stack until every patch is through.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vllm_patchkit.cli import options
from vllm_patchkit.cli.base import look_around, print_origin
from vllm_patchkit.cli.parser import take_inputs, whole
from vllm_patchkit.cli.rebase import print_rebased
from vllm_patchkit.cli.refresh import print_published
from vllm_patchkit.errors import ExitCode, UsageError
from vllm_patchkit.host.terminal import Console

if TYPE_CHECKING:
    from vllm_patchkit.fork.intake.importer import Converted
    from vllm_patchkit.fork.intake.note import Note
    from vllm_patchkit.fork.intake.state import Rules
    from vllm_patchkit.fork.publish import Published
    from vllm_patchkit.fork.rebase.session import Rebased
    from vllm_patchkit.fork.store.repository import Change

EXAMPLES = """\
  vllm-patchkit import ./diffs --base vllm==0.11.0 --name myfork
  vllm-patchkit import feature.diff --base vllm==0.11.0 --name myfork --squash "Add feature"
  vllm-patchkit import ./diffs --base vllm==0.11.0 --name myfork --edit
  vllm-patchkit import --name myfork --continue
  vllm-patchkit import series.mbox --base ./vllm_omni-0.11.0-py3-none-any.whl --name omni
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``import``."""
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="folder or file")
    parser.add_argument(
        "--base",
        help="DISTRIBUTION==VERSION, or a wheel file; ? only says which release it may be",
    )  # fmt: skip
    parser.add_argument("--name", help="name of the stack and of its folder")
    parser.add_argument("--into", type=Path, default=Path("patches"), help="default: patches")
    parser.add_argument(
        "-p", "--strip", type=whole(0), metavar="N", help="take N components off names"
    )
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
    step = parser.add_mutually_exclusive_group()
    step.add_argument(
        "--edit", action="store_true", help="stop in a work tree at what does not apply"
    )
    options.add_step_options(parser, step, "no stack is made")
    options.add_json_option(parser, "what was done")
    take_inputs(parser, "paths")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Read the patches, place them on the base, write the stack; or resume, or give up."""
    from vllm_patchkit.fork.rebase.session import Rebased

    if args.go_on or args.skip or args.abort:
        return _resume(args, console)
    _require_call(args)
    if args.base == "?":
        return _say_base(args, console)
    result, notes = _import(args, _rules(args), console)
    if isinstance(result, Rebased):
        _print_notes(notes, console)
        return print_rebased(result, args, console)
    return _print_imported(result, notes, args, console)


def _require_call(args: argparse.Namespace) -> None:
    """Refuse a call that lacks something or contradicts itself."""
    from vllm_patchkit.stack.metadata import NAME

    wanted = {"PATH": args.paths, "--base": args.base}
    if args.base != "?":
        wanted["--name"] = args.name
    if missing := [name for name, value in wanted.items() if not value]:
        raise UsageError(
            f"{', '.join(missing)} must be given",
            hint="vllm-patchkit import ./diffs --base vllm==0.11.0 --name myfork",
        )
    if args.name and not NAME.fullmatch(args.name):
        raise UsageError(f"{args.name!r} cannot name a stack", hint="use a-z, 0-9, - and _")
    if args.signoff and not args.author:
        raise UsageError("--signoff needs --author")
    if args.edit and (args.squash or args.split):
        raise UsageError(
            "--edit takes the patches as they are, without --squash and --split",
            hint=f"import first, then: edit {args.name}, and split or git rebase --interactive",
        )


def _rules(args: argparse.Namespace) -> Rules:
    from vllm_patchkit.fork.intake.state import Rules

    return Rules(
        strip=args.strip,
        max_fuzz=args.fuzz,
        python_only=args.python_only,
        **({"author": args.author} if args.author else {}),
        signoff=args.signoff,
        edit=args.edit,
    )


def _resume(args: argparse.Namespace, console: Console) -> int:
    """Go on with an import that stopped, or give it up."""
    from vllm_patchkit.fork.intake.resuming import KIND, continue_import
    from vllm_patchkit.fork.rebase.session import abort_session

    if args.paths:
        raise UsageError(
            "an import that stopped has its patches already", hint="leave the paths out"
        )
    folder = options.find_open(args, args.name, "an import", "import --name NAME")
    if args.abort:
        console.note(f"deleted {abort_session(folder, KIND)}; nothing was imported")
        return ExitCode.OK
    result = continue_import(folder, console, skip=args.skip)
    return print_rebased(result, args, console)


def _print_imported(
    result: Published, notes: Sequence[Note], args: argparse.Namespace, console: Console
) -> int:
    rows = [{"kind": n.kind, "source": n.source, "text": n.text} for n in notes]
    if not options.print_document(args, console, {**result.to_json(), "notes": rows}):
        _print_notes(notes, console)
        print_published(result, console)
        console.note(f"check it: vllm-patchkit lint {result.folder}")
    return ExitCode.OK


def _print_notes(notes: Sequence[Note], console: Console) -> None:
    for note in notes:
        console.note(f"{console.style(note.kind, 'yellow', console.err):9} {note}")


def _say_base(args: argparse.Namespace, console: Console) -> int:
    """Say which release the patches were cut from; nothing is imported."""
    from shlex import quote

    words = " ".join(quote(str(path)) for path in args.paths)
    hint = f"vllm-patchkit base {words} --release 0.11.0 --release 0.10.2 fetches some to look at"
    origin = look_around(args.paths, "vllm", (), console, hint=hint)
    print_origin(origin, console)
    if origin.best is not None:
        console.note(f"nothing was imported yet: import --base {origin.best.spec.distribution}=="
                     f"{origin.best.spec.version}")  # fmt: skip
    return ExitCode.FAILED


def _import(
    args: argparse.Namespace, rules: Rules, console: Console
) -> tuple[Published | Rebased, Sequence[Note]]:
    from vllm_patchkit.fork.base import load_base, parse_base
    from vllm_patchkit.fork.intake.founding import Order, require_free, write_stack
    from vllm_patchkit.fork.intake.importer import convert_patches
    from vllm_patchkit.fork.intake.resuming import start_import
    from vllm_patchkit.fork.intake.sources import read_patches
    from vllm_patchkit.fork.store.repository import open_store
    from vllm_patchkit.fork.store.worktree import require_no_session

    folder = args.into / args.name
    require_no_session(folder)
    require_free(folder, force=args.force)
    found = read_patches(args.paths)
    left_out: dict[str, bytes] = {}
    with open_store() as store:
        base = load_base(store, parse_base(args.base), console)
        converted, notes = convert_patches(store, base, found.patches, rules, left_out=left_out)
        notes = [*found.notes, *notes]
        order = Order(label=args.label, summary=args.summary, left_out=left_out)
        if any(one.origins for one in converted):
            started = start_import(
                store, folder, base, converted, order, console, work_tree=args.dir
            )
            return started, notes
        sources = [patch.source for patch in found.patches]
        changes = _shape(args, converted, sources, base.root)
        return write_stack(store, folder, base, changes, order), notes


def _shape(
    args: argparse.Namespace, converted: Sequence[Converted], sources: Sequence[str], root: str
) -> list[Change]:
    """Return the patches as they are, as one, or taken apart."""
    from vllm_patchkit.fork.intake.founding import squash
    from vllm_patchkit.fork.split import split_change

    changes = [one.change for one in converted]
    if args.squash:
        return squash(changes, args.squash, sources)
    if args.split:
        return [piece for one in changes for piece in split_change(one, args.split, root)]
    return changes
