"""Write the lock of a stack: what every patch makes of every file, by sha256.

The lock is derived from the patches and the base, never written by hand. Recorded versions and
the hashes of other releases are carried over.
"""

from __future__ import annotations

import argparse

from vllm_patchkit.cli import options
from vllm_patchkit.errors import ExitCode
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.operations.stacks import lock
from vllm_patchkit.stack.lock import version_label

EXAMPLES = """\
  vllm-patchkit lock myfork
  vllm-patchkit lock myfork --known 0.10.2 0.11.1 vllm-0.11.2-cp38-abi3-manylinux1_x86_64.whl
  vllm-patchkit lock myfork --release
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lock``."""
    options.add_stack_argument(parser)
    options.add_release_option(parser)
    parser.add_argument(
        "--known",
        nargs="+",
        default=[],
        metavar="WHEEL|VERSION",
        help="also record the hashes that the stack's files have in these releases",
    )
    parser.add_argument(
        "--release",
        action="store_true",
        help="record the stack's digest for its version, which then never changes",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if the lock would change"
    )
    options.add_json_option(parser, "the outcome")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Write the lock and say what it is; with ``--check`` 1 if it would change."""
    done = lock(
        args.stack,
        base=args.base,
        known=args.known,
        release=args.release,
        dry_run=args.check,
        console=console,
    )
    label = version_label(done.stack, done.lock)
    outcome = {
        "path": str(done.path),
        "changed": done.changed,
        "label": label,
        "digest": done.lock.digest,
    }
    if not options.print_document(args, console, outcome):
        if not done.changed:
            state = "is up to date"
        else:
            state = "is out of date" if args.check else "is written"
        patches, files = len(done.lock.patches), len(done.lock.files)
        console.result(f"{done.path} {state}: {patches} patches, {files} files, label {label}")
    return ExitCode.FAILED if args.check and done.changed else ExitCode.OK
