"""Say which patches of a stack (or of two) overlap, commute, or can be dropped.

Lines are followed through the patches in between. "same lines" and "needs" (the later patch
changes a file that the earlier one makes) fix the order; "near" means within git's three lines
of context. Names that a later patch writes are listed as hints.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm_patchkit.cli import options
from vllm_patchkit.errors import ExitCode, UsageError
from vllm_patchkit.host.terminal import Console

if TYPE_CHECKING:
    from vllm_patchkit.fork.overlap import Overlap

COLOURS = {"same lines": "red", "needs": "red", "near": "yellow", "same file": "dim"}

EXAMPLES = """\
  vllm-patchkit matrix myfork
  vllm-patchkit matrix myfork --with ./patches/other --json
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``matrix``."""
    options.add_stack_argument(parser)
    options.add_base_option(parser)
    parser.add_argument("--with", dest="other", metavar="STACK", help="a second stack")
    options.add_json_option(parser, "the relations")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Print the relations."""
    from vllm_patchkit.stack.read import find_stack

    folder = options.stack_folder(args, console)
    if args.other:
        return _cross(args, folder, find_stack(args.other), console)
    return _within(args, folder, console)


def _within(args: argparse.Namespace, folder: Path, console: Console) -> int:
    from vllm_patchkit.fork.droppable import find_dependants
    from vllm_patchkit.fork.edit import load_stack
    from vllm_patchkit.fork.overlap import find_overlaps, find_uses
    from vllm_patchkit.fork.store.repository import open_store

    with open_store() as store:
        opened = load_stack(store, folder, console)
        needed_by = dict(find_dependants(store, opened))
    patches = opened.stack.patches
    overlaps = find_overlaps(patches)
    uses = find_uses(patches)
    document = {
        "overlaps": [_to_json(item) for item in overlaps],
        "droppable": {name: blocked is None for name, blocked in needed_by.items()},
        "needed_by": {name: blocked for name, blocked in needed_by.items() if blocked},
        "uses": [
            {"first": first, "second": second, "names": names}
            for (first, second), names in uses.items()
        ],
    }
    if options.print_document(args, console, document):
        return ExitCode.OK
    _print_overlaps(overlaps, console)
    for name, blocked in needed_by.items():
        users = [f"{second[:4]} ({', '.join(names[:3])})"
                 for (first, second), names in uses.items() if first == name]  # fmt: skip
        verdict = f"needed by {blocked[:4]}" if blocked else "merges without it"
        hint = f"; its names are in {', '.join(users)}" if users else ""
        console.result(f"drop {name[:4]}: {verdict}{hint}")
    return ExitCode.OK


def _cross(args: argparse.Namespace, folder: Path, other: Path, console: Console) -> int:
    from vllm_patchkit.fork.overlap import find_crossings
    from vllm_patchkit.stack.read import read_stack

    left, right = read_stack(folder), read_stack(other)
    if (left.base.distribution, left.base.version) != (right.base.distribution, right.base.version):
        raise UsageError(
            f"{left.name} is on {left.base.version}, {right.name} on {right.base.version}",
            hint="rebase one of them first",
        )
    crossings = find_crossings(left.patches, right.patches)
    if not options.print_document(
        args, console, {"overlaps": [_to_json(item) for item in crossings]}
    ):
        _print_overlaps(crossings, console)
    return ExitCode.OK


def _print_overlaps(overlaps: list[Overlap], console: Console) -> None:
    for item in overlaps:
        relation = console.style(f"{item.relation:10}", COLOURS[item.relation])
        order = "any order" if item.commutes else "this order"
        console.result(f"{item.first[:4]} {item.second[:4]} {relation} {order:10} {item.path}")
    if not overlaps:
        console.result("no two patches meet in a file")


def _to_json(item: Overlap) -> dict[str, Any]:
    return {**asdict(item), "commutes": item.commutes}
