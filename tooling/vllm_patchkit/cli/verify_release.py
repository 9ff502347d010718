"""Check a release folder: checksums, wheels, SBOMs, provenance and, if asked, signatures."""

from __future__ import annotations

import argparse
from pathlib import Path

from vllm_patchkit.cli import options
from vllm_patchkit.cli.parser import take_inputs
from vllm_patchkit.errors import ExitCode, UsageError
from vllm_patchkit.host.terminal import Console

EXAMPLES = """\
  vllm-patchkit verify-release vllm-patchkit-0.1.0/
  vllm-patchkit verify-release DIR --identity release@example.org --issuer https://accounts.example.org
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``verify-release``."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="what `release` wrote")
    parser.add_argument("--identity", help="require sigstore signatures by this identity")
    parser.add_argument("--issuer", help="the OIDC issuer that vouches for --identity")
    options.add_json_option(parser, "every check")
    take_inputs(parser, "folder")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Check, and print what does not hold; 1 if anything does not."""
    from vllm_patchkit.release.verify import Signer, verify_release

    if bool(args.identity) != bool(args.issuer):
        raise UsageError("--identity and --issuer go together")
    signer = Signer(identity=args.identity, issuer=args.issuer) if args.identity else None
    checks = verify_release(args.folder, signer=signer)
    failed = [check for check in checks if check.problem]
    rows = [{"subject": c.subject, "check": c.name, "problem": c.problem} for c in checks]
    if options.print_document(args, console, {"ok": not failed, "checks": rows}):
        return ExitCode.FAILED if failed else ExitCode.OK
    for check in failed:
        console.result(f"{check.subject}: {check.name}: {check.problem}")
    signatures = "signatures checked" if signer else "signatures not checked"
    console.note(f"{len(checks)} checks, {len(failed)} failed; {signatures}")
    return ExitCode.FAILED if failed else ExitCode.OK
