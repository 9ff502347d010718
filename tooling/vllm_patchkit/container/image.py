"""What goes into an image, decided before the engine is asked: arguments, context, name."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.container.context import ContextFile
from vllm_patchkit.container.wheelfacts import WheelFacts
from vllm_patchkit.errors import CommandFailed, HostError, UsageError
from vllm_patchkit.host.files import file_sha256
from vllm_patchkit.host.process import run
from vllm_patchkit.host.shipped import find_lock, folders_around, shipped_folders

DEFAULT_BASE = "python:3.12-slim-bookworm"
DEFAULT_EPOCH = 1759276800
"""2025-10-01, the week of vLLM 0.11.0; zip files need a date after 1980 and so do people."""
DOCKERFILE = "ci/Dockerfile"
SCRIPTS = "ci/image"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImagePlan:
    """An image to build.

    :param files: folder that holds ``Dockerfile`` and ``image/`` (``ci/`` of a checkout).
    :param requirements: the hash-locked requirements.
    :param flash_attn: a prebuilt flash-attn wheel, or None.
    :param revision: the commit of the checkout, or "".
    :param epoch: the date of everything in the image, in seconds since 1970.
    """

    files: Path
    base_image: str
    wheel: WheelFacts
    requirements: Path
    flash_attn: Path | None
    revision: str
    epoch: int

    @property
    def name(self) -> str:
        """The default tag; ``+`` of the version is no character of a tag."""
        stack = re.sub(r"[^a-z0-9]+", "-", self.wheel.stack.lower())
        return f"vllm-{stack}:{self.wheel.version.replace('+', '-')}"

    def context_files(self) -> tuple[ContextFile, ...]:
        """Return the context: what the Dockerfile copies and nothing else."""
        scripts = (self.files / "image").iterdir()
        listed = {f"{SCRIPTS}/{path.name}": path for path in scripts if path.is_file()}
        listed[DOCKERFILE] = self.files / "Dockerfile"
        listed[f"wheels/{self.requirements.name}"] = self.requirements
        listed[f"wheels/out/{self.wheel.path.name}"] = self.wheel.path
        if self.flash_attn:
            listed[f"wheels/{self.flash_attn.name}"] = self.flash_attn
        return tuple(ContextFile(name=name, path=path) for name, path in sorted(listed.items()))

    def require_context(self) -> None:
        """See that ``docker build`` finds every file of the context beside ``ci/``.

        :raises UsageError: some lie elsewhere, as with an installed toolkit.
        """
        root = self.files.parent
        strange = [
            file.path
            for file in self.context_files()
            if not (root / file.name).exists() or not (root / file.name).samefile(file.path)
        ]
        if strange:
            raise UsageError(
                f"docker build would not find {strange[0]} below {root}",
                hint="--print-args is for a checkout with wheels/out; vllm-patchkit image without "
                "it sends every file from where it lies",
            )

    def build_args(self, base_digest: str = "") -> dict[str, str]:
        """Return the build arguments of the Dockerfile."""
        arguments = {
            "BASE_IMAGE": self.base_image,
            "BASE_DIGEST": base_digest,
            "FLAVOR": self.wheel.flavor,
            "WHEEL": f"wheels/out/{self.wheel.path.name}",
            "WHEEL_SHA256": self.wheel.sha256,
            "REQUIREMENTS": f"wheels/{self.requirements.name}",
            "SOURCE_DATE_EPOCH": str(self.epoch),
            "VERSION": self.wheel.version,
            "REVISION": self.revision,
            "STACK": self.wheel.stack,
            "STACK_DIGEST": self.wheel.stack_digest,
        }
        if self.flash_attn:
            arguments["FLASH_ATTN_WHEEL"] = f"wheels/{self.flash_attn.name}"
            arguments["FLASH_ATTN_SHA256"] = file_sha256(self.flash_attn)
        return arguments


def source_epoch() -> int:
    """Return ``SOURCE_DATE_EPOCH``, or the fixed default."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return DEFAULT_EPOCH
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"SOURCE_DATE_EPOCH is not a number: {text!r}") from None


def find_revision(folder: Path) -> str:
    """Return the commit that ``folder`` is at, or "" outside git or with uncommitted changes."""
    try:
        if run(["git", "-C", folder, "status", "--porcelain", "--untracked-files=no"]).strip():
            return ""
        return run(["git", "-C", folder, "rev-parse", "HEAD"]).decode("ascii").strip()
    except (CommandFailed, HostError):
        return ""


def find_files(start: Path) -> Path:
    """Return the folder of the Dockerfile: ``ci/`` of ``start`` or a parent, or the package's."""
    for folder in (*folders_around("ci", start), *shipped_folders("ci")):
        if (folder / "Dockerfile").is_file() and (folder / "image").is_dir():
            return folder
    raise UsageError("there is no ci/Dockerfile here or above", hint="give --files FOLDER")


def find_requirements(flavor: str, version: str, files: Path) -> Path:
    """Return the locked requirements of a flavor's wheel, of the checkout or of the package."""
    found = find_lock(flavor, version, (files.parent / "wheels", *shipped_folders("wheels")))
    if found is None:
        raise UsageError(
            f"there is no wheels/requirements-{flavor}.lock", hint="give --requirements FILE"
        )
    return found
