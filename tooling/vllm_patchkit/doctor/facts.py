"""The facts about an environment or an image, asked of its own interpreter."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

from vllm_patchkit.doctor.model import Facts
from vllm_patchkit.errors import CommandFailed, HostError, UsageError
from vllm_patchkit.host.process import capture

PROBE_TIMEOUT_S = 600.0
HASHING_TIMEOUT_S = 1800.0
PARTS = ("probe_path", "probe_files", "probe_place", "probe")
BOOT = """\
import sys
for name, source in {parts!r}:
    module = sys.modules[name] = type(sys)(name)
    module.__path__ = []
    exec(compile(source, name, "exec"), module.__dict__)
module.main({mark!r})
"""
# The facts are on a line that begins so: whatever runs when Python starts may print, too.
MARK = "vllm-patchkit facts: "
# What site says of a .pth file, and of sitecustomize and usercustomize.
STARTUP = re.compile(r"Error processing line \d+ of .*:|Error in \w+customize; .*")


def collect_facts(python: Path, *, cwd: Path | None = None, hashes: bool = False) -> Facts:
    """Run the probe in an interpreter and return what it saw.

    :param cwd: the folder from which vLLM would be started; a module there shadows.
    :param hashes: also read every installed file and compare its hash with RECORD.
    :raises UsageError: there is no such interpreter or folder.
    :raises HostError: the interpreter cannot be run.
    """
    _require_link(python)
    if python.is_dir():
        python = python / "bin" / "python"
        if not python.exists():
            raise UsageError(f"there is no {python}", hint="name an environment or a Python")
    if cwd is not None and not os.access(cwd / ".", os.X_OK):
        raise UsageError(f"{cwd} is no folder that you may enter", hint="name another --cwd")
    return _read_facts([python, "-B", "-"], str(python), cwd, hashes, lambda: _start_hint(python))


def collect_image_facts(image: str, *, hashes: bool = False) -> Facts:
    """Run the probe in a container of ``image``, without network, and return what it saw.

    :raises HostError: the image is not on this machine (it is never pulled), or holds no Python.
    """
    found = capture(["docker", "image", "inspect", "--format", "{{.Id}}", image])
    if found.status:
        said = found.stderr.decode("utf-8", "replace").strip()
        if "o such image" not in said:
            raise HostError(f"{image} cannot be looked at: {said}", hint="docker info")
        raise HostError(f"there is no image {image} on this machine", hint=f"docker pull {image}")
    argv = ["docker", "run", "--rm", "-i", "--pull", "never", "--network", "none"]
    argv += ["--entrypoint", "python3", image, "-B", "-"]
    hint = "name an image that holds a Python 3.8+"
    return _read_facts([*argv], image, None, hashes, lambda: hint)


def _require_link(python: Path) -> None:
    """Say of an environment's interpreter where it leads, if that is gone."""
    link = python / "bin" / "python" if python.is_dir() else python
    if link.is_symlink() and not link.exists():
        raise HostError(
            f"{link} leads to {os.path.realpath(link)}, which is not there: the Python that this "
            "environment was made from was removed or moved",
            hint="install that Python again, or make the environment anew",
        )


def _start_hint(python: Path) -> str:
    given = [name for name in ("PYTHONHOME", "PYTHONPATH") if os.environ.get(name)]
    if given:
        return f"{' and '.join(given)} is set: try again without (unset {' '.join(given)})"
    try:
        if capture([python, "-c", ""]).status and not capture([python, "-S", "-c", ""]).status:
            return f"{python} -S starts: look into pyvenv.cfg, the .pth files and sitecustomize.py"
    except (OSError, HostError):
        pass
    return "name a Python 3.8 or newer with --python"


def _read_facts(
    argv: list[str | Path],
    subject: str,
    cwd: Path | None,
    hashes: bool,
    hint: Callable[[], str],
) -> Facts:
    words = [*argv, *(["--hashes"] if hashes else [])]
    limit = HASHING_TIMEOUT_S if hashes else PROBE_TIMEOUT_S
    try:
        done = capture(words, input_bytes=_script(), cwd=cwd, timeout_s=limit)
        printed = done.require(words).decode("utf-8", "replace")
        found = re.search(f"^{MARK}(.*)$", printed, re.MULTILINE)
        if found is None:
            raise ValueError(f"it is no Python, and answers {printed[:80]!r}")
        facts: Facts = json.loads(found.group(1))
    except (CommandFailed, OSError, ValueError) as error:
        why = error.last_line if isinstance(error, CommandFailed) else str(error)
        raise HostError(
            f"{subject}: its Python cannot be questioned: {why}", hint=hint()
        ) from error
    return {**facts, "startup": read_startup(done.stderr.decode("utf-8", "replace"))}


def read_startup(complaints: str) -> list[str]:
    """Return what Python's start complained of: the file, and the last line of its traceback."""
    heads, parts = STARTUP.findall(complaints), STARTUP.split(complaints)[1:]
    traces = [re.findall(r"(?m)^  +(\S.*)$", part) or [""] for part in parts]
    rows = [f"{head} {trace[-1]}".strip() for head, trace in zip(heads, traces, strict=True)]
    return list(dict.fromkeys(rows))


def _script() -> bytes:
    package = __name__.rpartition(".")[0]
    parts = [(package.partition(".")[0], ""), (package, "")]
    parts += [
        (f"{package}.{name}", _plain(Path(__file__).with_name(f"{name}.py").read_text("utf-8")))
        for name in PARTS
    ]
    return BOOT.format(parts=parts, mark=MARK).encode()


def _plain(source: str) -> str:
    """Return a module as its target may compile it: docstrings are of no use there."""
    return re.sub(r'\A""".*?"""\n', "", source, flags=re.DOTALL)
