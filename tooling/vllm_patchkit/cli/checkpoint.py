"""Write a small checkpoint for a stack's model, to try it without the published weights.

Its token ids are those of the published checkpoints and its weights are random: code written for
them runs on it, and what it draws is noise. Any environment with the patched vLLM can write it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vllm_patchkit.cli import options
from vllm_patchkit.cli.parser import take_inputs
from vllm_patchkit.errors import ExitCode
from vllm_patchkit.host.terminal import Console

EXAMPLES = """\
  vllm-patchkit checkpoint --python /opt/vllm/bin/python tiny-model
  /opt/vllm/bin/vllm serve ./tiny-model
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``checkpoint``."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder to write; must not exist")
    parser.add_argument(
        "--python", type=Path, required=True, metavar="PATH", help="an environment with vLLM"
    )
    options.add_stack_option(parser)
    take_inputs(parser, "python")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Write it, and print the folder."""
    from vllm_patchkit.launch.checkpoint import write_checkpoint
    from vllm_patchkit.launch.subject import find_environment
    from vllm_patchkit.stack.read import find_stack

    write_checkpoint(find_stack(args.stack), find_environment(args.python), args.folder)
    console.note(f"random weights, the published token ids; vllm serve {args.folder.resolve()}")
    console.result(str(args.folder))
    return ExitCode.OK
