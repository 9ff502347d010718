"""Writing the small checkpoint that a stack's package knows how to make, in an environment."""

from __future__ import annotations

from pathlib import Path

from vllm_patchkit.errors import CommandFailed, HostError, UsageError
from vllm_patchkit.host.files import made_whole
from vllm_patchkit.host.process import run
from vllm_patchkit.launch.subject import Subject
from vllm_patchkit.stack.read import read_files, read_metadata

MODULE = "checkpoint"
WRITE_S = 900.0
CODE = """\
import sys
from importlib import import_module
from pathlib import Path
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import_module(sys.argv[2]).write(Path(sys.argv[3]))
"""


def write_checkpoint(stack: Path, subject: Subject, folder: Path) -> None:
    """Write a checkpoint for the model of the stack in the folder ``stack``.

    It is written beside its place and renamed, so that ``folder`` is whole or not there.

    :raises UsageError: the folder exists, or the stack has no such checkpoint.
    :raises HostError: the environment cannot write it, for want of torch or of space.
    """
    package = read_metadata(stack).smoke.package
    files = read_files(stack).own
    if f"{package}/{MODULE}.py" not in files:
        raise UsageError(f"the stack {stack.name} has no small checkpoint to write")
    if folder.exists():
        raise UsageError(f"{folder} exists already", hint="name a folder that does not")
    if not folder.resolve().parent.is_dir():
        raise UsageError(f"there is no {folder.parent}", hint="make it first")
    with made_whole(folder.resolve()) as made:
        code = made.with_name(f"{made.name}-code")
        for path, data in files.items():
            (code / path).parent.mkdir(parents=True, exist_ok=True)
            (code / path).write_bytes(data)
        words: list[str | Path] = [CODE, code, f"{package}.{MODULE}", made]
        try:
            run([*subject.argv, *words], cwd=made.parent, timeout_s=WRITE_S)
        except CommandFailed as error:
            raise HostError(
                f"{subject.location} cannot write the checkpoint: {error.last_line}",
                hint="give the environment of the patched vLLM, or ask: vllm-patchkit doctor",
            ) from error
