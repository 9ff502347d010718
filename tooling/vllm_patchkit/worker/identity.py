"""Which vLLM Python would import, and whether its files are the ones that its record locks."""

from __future__ import annotations

import hashlib
import json
import marshal
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module, machinery, metadata, util
from pathlib import Path
from typing import Any

from . import events

STAGE = "artifact"
RECORDS = "vllm_patchkit"
PYC_HEADER_BYTES = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What one stack left in the dist-info: its lock and its metadata."""

    folder: Path
    name: str
    lock: Mapping[str, Any]

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The recorded ``stack.toml``."""
        # Python 3.10 has no parser of its own; pip has the same one inside.
        inside = "tomllib" if sys.version_info >= (3, 11) else "pip._vendor.tomli"
        text = (self.folder / "stack.toml").read_text(encoding="utf-8")
        document: dict[str, Any] = import_module(inside).loads(text)
        return document

    @property
    def files(self) -> dict[str, str | None]:
        """Path -> sha256 after all patches; None for a file that was deleted."""
        # " +x" behind a sha256 says that the file is executable, which is no matter of imports.
        return {
            entry["path"]: entry["after"] and entry["after"].partition(" ")[0]
            for entry in self.lock["files"]
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Installed:
    """The distribution that owns the vLLM that would be imported."""

    name: str
    version: str
    root: Path
    dist_info: Path
    records: tuple[Record, ...]
    distribution: metadata.Distribution

    @property
    def touched_modules(self) -> list[str]:
        """Dotted names of the modules that the patches write."""
        paths = {path for record in self.records for path, sha in record.files.items() if sha}
        names = [path[: -len(".py")].replace("/", ".") for path in paths if path.endswith(".py")]
        return sorted(name.removesuffix(".__init__") for name in names)

    def provenance(self) -> object:
        """Return the wheel's provenance statement, or None where it has none."""
        for path in sorted((self.dist_info / RECORDS).glob("**/*provenance*.json")):
            return json.loads(path.read_text(encoding="utf-8"))
        return None


def find_installed() -> Installed:
    """Return the one distribution that the import system would take vLLM from.

    :raises events.WrongArtifact: there is none, there are several, or something shadows it.
    """
    spec = util.find_spec("vllm")
    if spec is None or spec.origin is None:
        raise _wrong("vllm is importable", "this interpreter finds no module vllm")
    origin = Path(spec.origin).resolve()
    owners = list(_owners())
    places = ", ".join(f"{owner.metadata['Name']} {owner.version}" for owner in owners)
    if len(owners) != 1:
        raise _wrong("one distribution owns vllm", places or "no dist-info of vllm was found")
    owner = owners[0]
    expected = Path(str(owner.locate_file("vllm/__init__.py"))).resolve()
    if origin != expected:
        raise _wrong(
            "nothing shadows vllm", f"import takes {origin}, {places} installed {expected}"
        )
    events.check(STAGE, "one distribution owns vllm, nothing shadows it", True, str(origin.parent))
    dist_info = _dist_info(owner)
    return Installed(
        name=owner.metadata["Name"],
        version=owner.version,
        root=expected.parent.parent,
        dist_info=dist_info,
        records=tuple(read_records(dist_info)),
        distribution=owner,
    )


def _wrong(name: str, detail: str) -> events.WrongArtifact:
    events.check(STAGE, name, False, detail)
    return events.WrongArtifact()


def _owners() -> Iterator[metadata.Distribution]:
    """Yield every distribution that claims ``vllm/__init__.py``, whatever its name."""
    seen = set()
    for found in metadata.distributions():
        if not re.match(r"(?i)vllm(?:[-_.]|$)", found.metadata["Name"] or ""):
            continue
        folder = _dist_info(found)
        if folder in seen:
            continue
        seen.add(folder)
        claimed = any(str(file) == "vllm/__init__.py" for file in found.files or ())
        if claimed:
            yield found


def _dist_info(found: metadata.Distribution) -> Path:
    folder: Path = found._path  # type: ignore[attr-defined]
    return Path(folder)


def read_records(dist_info: Path) -> Iterator[Record]:
    """Yield the record of each stack in a dist-info."""
    for lock_file in sorted(dist_info.glob(f"{RECORDS}/*/lock.json")):
        lock = json.loads(lock_file.read_text(encoding="utf-8"))
        yield Record(folder=lock_file.parent, name=str(lock["stack"]), lock=lock)


def check_files(
    installed: Installed, wanted: Mapping[str, Any], *, unpatched: bool = False
) -> bool:
    """Check every patched file against the lock, and the lock against what the caller expects.

    :param wanted: ``locks`` maps stack -> sha256 of ``lock.json`` in the wheel that was given;
        ``digests`` maps stack -> stack digest that the caller expects.
    """
    if not installed.records and unpatched:
        return events.check(STAGE, "a release without a stack", True, installed.dist_info.name)
    if not installed.records:
        detail = (
            f"{installed.dist_info.name} has no {RECORDS}/ record: it was never patched; "
            "smoke --unpatched takes a release as it is"
        )
        return events.check(STAGE, "the artifact is a patched vLLM", False, detail)
    results = [_check_wanted(installed, wanted)]
    for record in installed.records:
        results += [_check_record(record), _check_hashes(installed, record)]
        results.append(_check_bytecode(installed, record))
    return all(results)


def _check_wanted(installed: Installed, wanted: Mapping[str, Any]) -> bool:
    wrong = []
    records = {record.name: record for record in installed.records}
    for name, sha in wanted.get("locks", {}).items():
        found = records.get(name)
        if found is None or _sha256(found.folder / "lock.json") != sha:
            wrong.append(f"{name}: the installed lock is not the wheel's")
    for name, digest in wanted.get("digests", {}).items():
        found = records.get(name)
        have = found.lock["digest"] if found else "nothing"
        if have != digest:
            wrong.append(f"{name}: expected stack digest {digest[:12]}, found {have[:12]}")
    return events.check(STAGE, "the record is the artifact's", not wrong, "; ".join(wrong))


def _check_record(record: Record) -> bool:
    """The patches in the record are the ones that the lock names."""
    found = {path.name: _sha256(path) for path in record.folder.glob("**/*.patch")}
    expected = {entry["name"]: entry["sha256"] for entry in record.lock["patches"]}
    wrong = sorted(name for name in expected if found.get(name) != expected[name])
    wrong += sorted(set(found) - set(expected))
    detail = f"{len(expected)} patches" if not wrong else f"differ: {', '.join(wrong)}"
    return events.check(STAGE, f"{record.name}: recorded patches match the lock", not wrong, detail)


def _check_hashes(installed: Installed, record: Record) -> bool:
    """Every patched file is byte for byte what the lock says."""
    wrong = [
        path
        for path, sha in record.files.items()
        if (_sha256(installed.root / path) if (installed.root / path).exists() else None) != sha
    ]
    detail = f"{len(record.files)} files" if not wrong else f"differ: {', '.join(sorted(wrong))}"
    return events.check(STAGE, f"{record.name}: files match the lock", not wrong, detail)


def _check_bytecode(installed: Installed, record: Record) -> bool:
    """No cached bytecode would be run instead of a patched file."""
    paths = [installed.root / path for path, sha in record.files.items() if sha]
    stale = [path.name for path in paths if path.suffix == ".py" and has_stale_bytecode(path)]
    return events.check(
        STAGE, f"{record.name}: no stale bytecode", not stale, ", ".join(sorted(stale))
    )


def has_current_bytecode(source: Path) -> bool:
    """Return whether Python would take a ``.pyc`` for ``source`` instead of compiling it.

    Source: PEP 552 and ``importlib``: flags 0 compare time and size, 1 trusts the file, 3 hashes.
    """
    cached = Path(util.cache_from_source(str(source)))
    if not cached.is_file():
        return False
    with cached.open("rb") as stream:
        header = stream.read(PYC_HEADER_BYTES)
    if header[:4] != util.MAGIC_NUMBER:
        return False
    flags = int.from_bytes(header[4:8], "little")
    if flags == 3:
        return header[8:16] == util.source_hash(source.read_bytes())
    status = source.stat()
    stamps = (int(status.st_mtime), status.st_size)
    stamp = b"".join((value & 0xFFFFFFFF).to_bytes(4, "little") for value in stamps)
    return flags == 1 or header[8:16] == stamp


def has_stale_bytecode(source: Path) -> bool:
    """Return whether a ``.pyc`` that Python would take for ``source`` holds other code.

    Time and size, or a promise, are what Python goes by, so the code itself is compared.
    """
    if not has_current_bytecode(source):
        return False
    data = Path(util.cache_from_source(str(source))).read_bytes()
    try:
        code = marshal.loads(data[PYC_HEADER_BYTES:])
    except (EOFError, ValueError, TypeError):
        return False
    return bool(code != compile(source.read_bytes(), str(source), "exec", dont_inherit=True))


def has_source_loader(module: object) -> bool:
    """Return whether Python read ``module`` from a source file."""
    loader = getattr(getattr(module, "__spec__", None), "loader", None)
    return isinstance(loader, machinery.SourceFileLoader)


def _sha256(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
