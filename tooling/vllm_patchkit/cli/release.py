"""Write everything that a release publishes into one folder.

Builds the toolkit itself (`python -m build`), takes the patched wheels, and adds their SBOMs and
provenance, release notes out of CHANGELOG.md, and SHA256SUMS.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from vllm_patchkit.errors import ExitCode
from vllm_patchkit.host.terminal import Console

EXAMPLE = """\
example:
  vllm-patchkit release --out build/release wheels/out/*.whl
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``release``."""
    parser.epilog = EXAMPLE
    parser.add_argument("wheels", type=Path, nargs="*", metavar="WHEEL", help="patched wheels")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; must not exist")
    parser.add_argument("--project", type=Path, default=Path(), help="the toolkit's checkout")
    parser.add_argument("--sign", action="store_true", help="sign each file through sigstore")
    parser.add_argument("--json", action="store_true", help="print folder and digests as JSON")


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
        document = {"format": 1, "folder": str(release.folder), "sha256": release.digests}
        console.result(json.dumps(document, indent=2))
    else:
        console.result(str(release.folder))
    return ExitCode.OK
