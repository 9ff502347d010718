"""Write everything that a release publishes into one folder.

Builds the toolkit itself (`python -m build`), takes the patched wheels, and adds their SBOMs and
provenance, release notes out of CHANGELOG.md, and SHA256SUMS.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vllm_patchkit.cli.options import add_json_option, print_document
from vllm_patchkit.cli.parser import take_inputs
from vllm_patchkit.errors import ExitCode
from vllm_patchkit.host.terminal import Console

EXAMPLES = """\
  vllm-patchkit release --out build/release wheels/out/*.whl
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``release``."""
    parser.add_argument("wheels", type=Path, nargs="*", metavar="WHEEL", help="patched wheels")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; must not exist")
    parser.add_argument(
        "--project",
        type=Path,
        default=Path(),
        help="the toolkit's checkout, default: the current folder",
    )
    parser.add_argument("--sign", action="store_true", help="sign each file through sigstore")
    add_json_option(parser, "folder and digests")
    take_inputs(parser, "wheels", "project")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Build, collect, and print the folder."""
    import tempfile

    from vllm_patchkit.release.make import build_toolkit, make_release
    from vllm_patchkit.version import __version__

    changelog = (args.project / "CHANGELOG.md").read_text(encoding="utf-8")
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
    if args.json:
        document = {"folder": str(release.folder), "sha256": release.digests}
        print_document(console, "release", document)
    else:
        console.result(str(release.folder))
    return ExitCode.OK
