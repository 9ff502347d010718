"""The facts about an environment or an image, asked of its own interpreter."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from vllm_patchkit.doctor.model import Facts
from vllm_patchkit.errors import CommandFailed, HostError
from vllm_patchkit.host.process import capture, run

PROBE_TIMEOUT_S = 120.0
HASHING_TIMEOUT_S = 1800.0
PARTS = ("probe_path", "probe_files", "probe_place", "probe")
BOOT = """\
import sys
for name, source in {parts!r}:
    module = sys.modules[name] = type(sys)(name)
    module.__path__ = []
    exec(compile(source, name, "exec"), module.__dict__)
module.main()
"""


def collect_facts(python: Path, *, cwd: Path | None = None, hashes: bool = False) -> Facts:
    """Run the probe in an interpreter and return what it saw.

    :param cwd: the folder from which vLLM would be started; a module there shadows.
    :param hashes: also read every installed file and compare its hash with RECORD.
    :raises HostError: the interpreter cannot be run.
    """
    _require_link(python)
    if python.is_dir():
        python = python / "bin" / "python"
    return _read_facts([python, "-B", "-"], str(python), cwd, hashes, _variables_hint())


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
    return _read_facts([*argv], image, None, hashes, "name an image that holds a Python 3.8+")


def _require_link(python: Path) -> None:
    """Say of an environment's interpreter where it leads, if that is gone."""
    link = python / "bin" / "python" if python.is_dir() else python
    if link.is_symlink() and not link.exists():
        raise HostError(
            f"{link} leads to {os.path.realpath(link)}, which is not there: the Python that this "
            "environment was made from was removed or moved",
            hint="install that Python again, or make the environment anew",
        )


def _variables_hint() -> str:
    given = [name for name in ("PYTHONHOME", "PYTHONPATH") if os.environ.get(name)]
    if given:
        return f"{' and '.join(given)} is set: try again without (unset {' '.join(given)})"
    return "name a Python 3.8 or newer with --python"


def _read_facts(
    argv: list[str | Path], subject: str, cwd: Path | None, hashes: bool, hint: str
) -> Facts:
    words = [*argv, *(["--hashes"] if hashes else [])]
    limit = HASHING_TIMEOUT_S if hashes else PROBE_TIMEOUT_S
    try:
        printed = run(words, input_bytes=_script(), cwd=cwd, timeout_s=limit)
        facts: Facts = json.loads(printed)
    except (CommandFailed, PermissionError, OSError, json.JSONDecodeError) as error:
        raise HostError(
            f"{subject}: its Python cannot be questioned: {error}", hint=hint
        ) from error
    return facts


def _script() -> bytes:
    package = __name__.rpartition(".")[0]
    parts = [(package.partition(".")[0], ""), (package, "")]
    parts += [
        (f"{package}.{name}", _plain(Path(__file__).with_name(f"{name}.py").read_text("utf-8")))
        for name in PARTS
    ]
    return BOOT.format(parts=parts).encode()


def _plain(source: str) -> str:
    """Return a module as its target may compile it: docstrings are of no use there."""
    return re.sub(r'\A""".*?"""\n', "", source, flags=re.DOTALL)
