"""Say which release somebody's patches were cut from.

The ids in the patches' index lines decide, then whether their lines are there. Releases that are
in the cache are looked at; --release adds others, which are fetched.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vllm_patchkit.cli import options
from vllm_patchkit.cli.parser import take_inputs
from vllm_patchkit.errors import ExitCode, UsageError
from vllm_patchkit.host.terminal import Console

if TYPE_CHECKING:
    from vllm_patchkit.fork.intake.origin import Candidate, Origin

EXAMPLES = """\
  vllm-patchkit base ./diffs
  vllm-patchkit base feature.diff --release 0.10.1 --release 0.10.0
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``base``."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="folder or file")
    parser.add_argument(
        "--distribution", default="vllm", metavar="NAME", help="releases of what (default: vllm)"
    )
    parser.add_argument(
        "--release",
        action="append",
        default=[],
        metavar="VERSION",
        help="look at this one too, fetched if need be; may be repeated (default: the cache's)",
    )
    options.add_json_option(parser, "each release's files")
    take_inputs(parser, "paths")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Look, and print."""
    origin = look_around(args.paths, args.distribution, args.release, console)
    document = {
        "best": origin.best.spec.version if origin.best else None,
        "verdict": origin.verdict,
        "releases": {one.spec.version: one.files for one in origin.candidates},
        "left_out": origin.left_out,
    }
    if not options.print_document(args, console, document):
        print_origin(origin, console)
    sound = origin.best is not None and not origin.best.count("other") and not origin.left_out
    return ExitCode.OK if sound else ExitCode.FAILED


def look_around(
    paths: Sequence[Path],
    distribution: str,
    releases: Sequence[str],
    console: Console,
    *,
    hint: str = "name some to fetch: --release 0.11.0 --release 0.10.2",
) -> Origin:
    """Return which release the patches in ``paths`` fit.

    :param hint: what to do where there is no release to look at.
    :raises UsageError: there is no release to look at.
    """
    from vllm_patchkit.fork.base import parse_base
    from vllm_patchkit.fork.intake.origin import find_origin, releases_at_hand
    from vllm_patchkit.fork.intake.sources import read_patches
    from vllm_patchkit.fork.store.repository import open_store

    found = read_patches(paths)
    with open_store() as store:
        versions = dict.fromkeys([*releases_at_hand(store, distribution), *releases])
        if not versions:
            raise UsageError(
                f"no release of {distribution} is in the cache",
                hint=hint,
            )
        console.note(f"look at {distribution} {', '.join(versions)}")
        specs = {
            parse_base(version, distribution=distribution): version in releases
            for version in versions
        }
        return find_origin(store, found.patches, specs, console)


def print_origin(origin: Origin, console: Console) -> None:
    """Print a line for each release, the files that do not fit the best one, and the verdict."""
    for candidate in origin.candidates:
        console.result(f"{candidate.spec}: {_describe(candidate)}")
    for name, fault in origin.left_out.items():
        console.result(f"{name} is left out: {fault}")
    for name, fit in (origin.best.files if origin.best else {}).items():
        if fit in ("other", "absent"):
            console.result(f"  {fit:6}  {name}")
    console.result(origin.verdict)
    if origin.best is not None:
        spec, stuck = origin.best.spec, origin.best.count("other")
        edit = " --edit, which stops at what is of another one" if stuck else ""
        console.note(f"onto it: import --base {spec.distribution}=={spec.version}{edit}")


def _describe(candidate: Candidate) -> str:
    words = {"same": "its own", "fits": "more fit", "other": "do not fit", "absent": "not there"}
    counts = ((candidate.count(fit), text) for fit, text in words.items())  # type: ignore[arg-type]
    return f"of {len(candidate.files)} files " + ", ".join(f"{n} {text}" for n, text in counts if n)
