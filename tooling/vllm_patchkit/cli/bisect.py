"""Find the patch that breaks a command, by git bisect over the series.

The command runs in a tree of the release with the first N patches applied, first on PYTHONPATH.
Status 0 is good, 125 cannot tell, any other up to 127 is bad. --libraries lays links to the
compiled files of an installed package into the tree, for commands that import it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vllm_patchkit.cli import options
from vllm_patchkit.cli.parser import take_inputs
from vllm_patchkit.errors import ExitCode, UsageError
from vllm_patchkit.host.terminal import Console

EXAMPLES = """\
  vllm-patchkit bisect --libraries .venv/lib/python3.12/site-packages myfork -- \\
      python -m pytest -x tests/test_guidance.py
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bisect``."""
    parser.usage = "%(prog)s [OPTION ...] [STACK] -- COMMAND [ARGUMENT ...]"
    options.add_stack_argument(parser)
    options.add_base_option(parser)
    parser.add_argument(
        "--libraries", type=Path, metavar="DIR", help="site-packages to take compiled files from"
    )
    options.add_json_option(parser, "the verdict")
    take_inputs(parser, "libraries")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Run the bisect and name the patch."""
    from vllm_patchkit.fork.bisect import bisect_stack

    if not args.words:
        raise UsageError("which command?", hint="write it after --: bisect myfork -- pytest -x")
    found = bisect_stack(
        options.stack_folder(args, console), args.words, console, libraries=args.libraries
    )
    if options.print_document(args, console, found):
        return ExitCode.OK if found.culprit is not None else ExitCode.FAILED
    console.note(f"the command ran {found.runs} times")
    if found.culprit is not None:
        console.result(found.culprit)
        return ExitCode.OK
    if found.suspects:
        console.result("\n".join(found.suspects))
        console.note("skipped trees hide which of these it is")
    else:
        console.note("the command fails on the bare release already: no patch is to blame")
    return ExitCode.FAILED
