"""Print a completion script for a shell.

The script holds every command and option of this version; write it again after an upgrade. It is
made by shtab, which the extra "completion" installs.
"""

from __future__ import annotations

import argparse

from vllm_patchkit.errors import ExitCode, HostError
from vllm_patchkit.host.terminal import Console

SHELLS = ("bash", "zsh")
EXAMPLES = """\
  vllm-patchkit completion bash > ~/.local/share/bash-completion/completions/vllm-patchkit
  vllm-patchkit completion zsh > ~/.zfunc/_vllm-patchkit    (with ~/.zfunc in fpath)
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``completion``."""
    parser.add_argument("shell", choices=SHELLS, help="the shell to complete in")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Print the script."""
    try:
        import shtab
    except ModuleNotFoundError:
        raise HostError(
            "completion needs shtab, which is not installed",
            hint="pip install 'vllm-patchkit[completion]'",
        ) from None
    from vllm_patchkit.cli import COMMANDS, make_parser

    console.result(shtab.complete(make_parser(*COMMANDS), args.shell).rstrip("\n"))
    return ExitCode.OK
