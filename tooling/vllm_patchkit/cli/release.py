"""Write everything that a release publishes into one folder.

Builds the toolkit itself (`python -m build`), takes the patched wheels, and adds their SBOMs and
provenance, release notes out of CHANGELOG.md, and SHA256SUMS. With --index it adds the wheels to
a package index, a folder that pip and uv install from; without --out it does only that.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vllm_patchkit.cli import options
from vllm_patchkit.cli.parser import take_inputs
from vllm_patchkit.errors import ExitCode, UsageError
from vllm_patchkit.host.terminal import Console

if TYPE_CHECKING:
    from vllm_patchkit.release.index import Indexed
    from vllm_patchkit.release.make import Release

EXAMPLES = """\
  vllm-patchkit release --out build/release wheels/out/*.whl
  vllm-patchkit release --index public/simple wheels/out/*.whl
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``release``."""
    parser.add_argument("wheels", type=Path, nargs="*", metavar="WHEEL", help="patched wheels")
    parser.add_argument(
        "--out", type=Path, help="folder to write; must not exist (default: none is written)"
    )
    parser.add_argument(
        "--index", type=Path, metavar="DIR", help="package index to add the wheels to"
    )
    parser.add_argument(
        "--project",
        type=Path,
        default=Path(),
        help="the toolkit's checkout, default: the current folder",
    )
    parser.add_argument("--sign", action="store_true", help="sign each file through sigstore")
    options.add_json_option(parser, "folder and digests")
    take_inputs(parser, "wheels", "project")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Build, collect, publish, and print the folders."""
    if args.out is None and args.index is None:
        raise UsageError(
            "neither --out nor --index is given",
            hint="name the folder to write: --out build/release",
        )
    from vllm_patchkit.release.make import unrecorded

    release = _make(args, console) if args.out else None
    indexed = _index(args, release.folder if release else None, console) if args.index else None
    for name in unrecorded(args.wheels):
        console.note(
            f"note: {name} is no recorded version (vllm-patchkit lock STACK --release); "
            "leave it out if it was a trial"
        )
    document = {
        "folder": str(release.folder) if release else None,
        "sha256": release.digests if release else {},
        "index": str(indexed.root) if indexed else None,
        "indexed": list(indexed.added) if indexed else [],
    }
    if options.print_document(args, console, document):
        return ExitCode.OK
    for folder in (release and release.folder, indexed and indexed.root):
        if folder is not None:
            console.result(str(folder))
    return ExitCode.OK


def _index(args: argparse.Namespace, folder: Path | None, console: Console) -> Indexed:
    """Add the wheels to the index: those of the release, which may be signed."""
    from vllm_patchkit.release.index import add_to_index

    wheels = [folder / wheel.name if folder else wheel for wheel in args.wheels]
    if not wheels:
        raise UsageError("--index goes with wheels, and none is named")
    indexed = add_to_index(args.index, wheels)
    for name in indexed.added:
        console.note(f"added {name}")
    console.note(f"{len(indexed.added)} files added, {indexed.files} in the index")
    return indexed


def _make(args: argparse.Namespace, console: Console) -> Release:
    import tempfile

    from vllm_patchkit.release.make import build_toolkit, make_release
    from vllm_patchkit.version import __version__

    notes = args.project / "CHANGELOG.md"
    if not notes.is_file():
        raise UsageError(
            f"{notes} does not exist: --out publishes the toolkit beside the wheels",
            hint="name its checkout with --project; --index alone publishes wheels",
        )
    changelog = notes.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as scratch:
        console.note("building the toolkit")
        toolkit = build_toolkit(args.project, Path(scratch))
        release = make_release(
            out=args.out,
            wheels=args.wheels,
            toolkit=toolkit,
            changelog=changelog,
            version=__version__,
            sign=args.sign,
        )
    console.note(f"{len(release.digests)} files and their checksums")
    return release
