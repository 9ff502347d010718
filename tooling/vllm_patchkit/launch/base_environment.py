"""The environment of an artifact with the release in it that its stacks are cut from.

Nothing is installed: a virtual environment of links to the artifact's packages, with a ``vllm`` in
which every file that a stack touches is the release's own. What differs is what the patches do.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.errors import CommandFailed, HostError, TargetError
from vllm_patchkit.host.files import link_or_copy
from vllm_patchkit.host.process import run
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.launch.keeper import kept_folder
from vllm_patchkit.launch.subject import Subject, find_environment
from vllm_patchkit.stack.applied import APPLIED_FOLDER
from vllm_patchkit.stack.folder import LOCK
from vllm_patchkit.stack.model import Base
from vllm_patchkit.stack.read import read_lock, read_metadata
from vllm_patchkit.targets.base import open_base

BASE = "base"
PREFIX = "vllm-patchkit-base-"
FACTS = (
    "import json, sys, sysconfig; print(json.dumps([sys._base_executable, "
    "sysconfig.get_path('purelib'), 'python%d.%d' % sys.version_info[:2]]))"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where an artifact is: its interpreter's base, its packages, its dist-info."""

    executable: Path
    site: Path
    version: str
    dist_info: Path


def find_place(python: str) -> Place:
    """Return where the patched vLLM of an interpreter is.

    :raises TargetError: it has none, or none that was patched.
    """
    try:
        executable, site, version = json.loads(run([python, "-I", "-c", FACTS]))
    except (CommandFailed, ValueError) as error:
        raise HostError(f"{python} cannot be asked where its packages are: {error}") from error
    found = sorted(Path(site).glob(f"vllm*.dist-info/{APPLIED_FOLDER}"))
    if not found:
        raise TargetError(
            f"{site} has no vLLM that was patched: there is no release to compare with",
            hint="name the other side: --against ENVIRONMENT",
        )
    return Place(
        executable=Path(executable), site=Path(site), version=version, dist_info=found[0].parent
    )


def touched_files(place: Place) -> tuple[Base, list[str]]:
    """Return the release that the recorded stacks are cut from, and the files that they touch."""
    files = sorted((place.dist_info / APPLIED_FOLDER).glob(f"*/{LOCK}"))
    touched = {file.path for lock in map(read_lock, files) for file in lock.files}
    return read_metadata(files[0].parent).base, sorted(touched)


@contextmanager
def find_base(spec: str, subject: Subject, console: Console) -> Iterator[Subject]:
    """Give the other side of a comparison: another environment, or the release (``base``)."""
    if spec != BASE:
        yield find_environment(Path(spec))
        return
    with base_environment(subject, console) as found:
        yield found


def describe_base(spec: str, base: Subject) -> str:
    """Return what is said before the other side of a comparison runs."""
    which = "the release without the patches, " if spec == BASE else ""
    return f"the same on {which}{base.location}"


@contextmanager
def base_environment(subject: Subject, console: Console) -> Iterator[Subject]:
    """Give the environment that is ``subject``'s but for the patches; it is removed on leaving.

    :raises TargetError: the subject is an image, or holds no patched vLLM.
    """
    if not subject.local:
        raise TargetError(
            "an image cannot be taken apart for its release", hint="--against OTHER-IMAGE"
        )
    place = find_place(subject.argv[0])
    base, names = touched_files(place)
    with kept_folder(PREFIX) as folder:
        site = make_shell(folder, place)
        copy_package(place, site)
        with closing(open_base(None, base, console)) as release:
            for name in names:
                put_back(site / name, release.read(name))
        yield find_environment(folder)


def make_shell(folder: Path, place: Place) -> Path:
    """Make a virtual environment of links to everything but vLLM; return its site-packages."""
    (folder / "bin").mkdir()
    (folder / "bin/python").symlink_to(place.executable)
    home = f"home = {place.executable.parent}\ninclude-system-site-packages = false\n"
    (folder / "pyvenv.cfg").write_text(home, encoding="utf-8")
    site = folder / "lib" / place.version / "site-packages"
    site.mkdir(parents=True)
    for entry in place.site.iterdir():
        if entry.name not in ("vllm", place.dist_info.name):
            (site / entry.name).symlink_to(entry)
    return site


def copy_package(place: Place, site: Path) -> None:
    """Link the files of vLLM and of its dist-info, less the records and the bytecode."""
    ignore = shutil.ignore_patterns("__pycache__", APPLIED_FOLDER)
    for name in ("vllm", place.dist_info.name):
        shutil.copytree(place.site / name, site / name, copy_function=link_or_copy, ignore=ignore)


def put_back(path: Path, content: bytes | None) -> None:
    """Make ``path`` what it is in the release; the file that it is a link of stays as it is."""
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)
