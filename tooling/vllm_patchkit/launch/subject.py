"""What a smoke run looks at: an environment, a wheel in an environment of its own, or an image."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vllm_patchkit.archive.reader import Archive
from vllm_patchkit.digest import sha256_hex
from vllm_patchkit.errors import HostError, UsageError, WheelError
from vllm_patchkit.host.files import file_sha256
from vllm_patchkit.stack.applied import APPLIED_FOLDER
from vllm_patchkit.stack.folder import LOCK

Event = dict[str, Any]
"""What the worker reports: one line of JSON, with its kind under ``event``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """How to start the target's interpreter.

    :param argv: the command that takes the bootstrap code as its last argument.
    :param expected: what is known of the artifact: ``locks`` maps stack -> sha256 of its lock.
    :param local: the worker's files are on this machine.
    :param start_hint: what to do if the interpreter does not start.
    """

    kind: str
    location: str
    argv: tuple[str, ...]
    expected: Mapping[str, Any] = field(default_factory=dict)
    sha256: str | None = None
    local: bool = True
    start_hint: str | None = None

    def describe(self) -> dict[str, str | None]:
        """Return what the report says of the subject."""
        return {"kind": self.kind, "location": self.location, "sha256": self.sha256}


def find_environment(spec: Path) -> Subject:
    """Return the environment of an interpreter, or of a virtual environment's folder.

    :raises UsageError: there is no interpreter.
    """
    python = spec / "bin" / "python" if spec.is_dir() else spec
    if not python.is_file() or not os.access(python, os.X_OK):
        is_name = spec.parent == Path() and not spec.is_dir()
        found = shutil.which(str(spec)) if is_name else None
        if found is None:
            raise UsageError(
                f"{spec} is neither an interpreter nor the folder of an environment",
                hint="give the path of bin/python, or the environment's folder",
            )
        python = Path(found)
    return Subject(kind="environment", location=str(spec), argv=(str(python.absolute()), "-c"))


def make_wheel_subject(wheel: Path, python: Path) -> Subject:
    """Return the subject for ``wheel``, which is installed in the environment of ``python``."""
    data = read_locks(wheel)
    return Subject(
        kind="wheel",
        location=str(wheel),
        argv=(str(python), "-c"),
        expected={"locks": data},
        sha256=file_sha256(wheel),
    )


def read_locks(wheel: Path) -> dict[str, str]:
    """Return stack -> sha256 of the lock that the wheel's dist-info holds.

    :raises WheelError: not a wheel, or not a patched one.
    """
    try:
        with Archive(wheel) as archive:
            locks = {
                Path(name).parent.name: sha256_hex(archive.read(name))
                for name in (member.name for member in archive.members)
                if f".dist-info/{APPLIED_FOLDER}/" in name and name.endswith(f"/{LOCK}")
            }
    except WheelError as error:
        raise WheelError(f"{wheel} cannot be read as a wheel: {error}") from error
    if not locks:
        raise WheelError(
            f"wrong artifact: {wheel.name} was never patched (its dist-info has no "
            f"{APPLIED_FOLDER}/)",
            hint="build a patched wheel with: vllm-patchkit wheel",
        )
    return locks


def make_image_subject(image: str, *, gpus: bool, mounts: tuple[Path, ...] = ()) -> Subject:
    """Return the subject for a container image, run without network, root or a writable root.

    :param gpus: the container sees all GPUs.
    :param mounts: folders (a checkpoint) that the container sees read-only at the same path.
    :raises HostError: there is no container engine's client.
    """
    docker = shutil.which("docker")
    if docker is None:
        raise HostError(
            "an image needs docker, which is not installed",
            hint="install a Docker client, or give a wheel or an environment",
        )
    argv = [docker, "run", "--rm", "--interactive", "--network", "none", "--read-only"]
    argv += ["--tmpfs", "/tmp:exec", "--shm-size", "1g", "--cap-drop", "ALL"]
    argv += ["--security-opt", "no-new-privileges", "--pull", "never"]
    argv += ["--name", f"vllm-patchkit-smoke-{uuid.uuid4().hex[:12]}"]
    argv += ["--gpus", "all"] if gpus else []
    for folder in mounts:
        argv += ["--volume", f"{folder.resolve()}:{folder.resolve()}:ro"]
    return Subject(
        kind="image",
        location=image,
        argv=(*argv, "--entrypoint", "python3", image, "-c"),
        local=False,
        start_hint="see that the engine runs and has the image: docker image ls",
    )
