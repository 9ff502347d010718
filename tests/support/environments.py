"""Tiny wheels of a tiny vLLM, and environments that hold them, without running an installer.

``install`` lays files out as pip does (RECORD in CRLF, sorted) or as uv does (LF, hard links to a
cache). The integration tests use the real installers.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from support.stacks import BASE, METADATA, Change, Tree, write_stack
from vllm_patchkit.stack.lock import add_known, format_lock, make_lock
from vllm_patchkit.stack.model import Lock
from vllm_patchkit.stack.read import read_stack

COMMA = "vllm/configs/E=1,N=14336,device_name=NVIDIA_H100.json"
RELEASE: dict[str, bytes] = {
    **BASE,
    "vllm/__init__.py": b'__version__ = "0.11.0"\n',
    "vllm/old.py": b"OLD = 1\n",
    COMMA: b'{"BLOCK_SIZE_M": 16}\n',
    "vllm/configs/plain.json": b"{}\n",
}


def edit(tree: Tree, **edits: bytes | None) -> dict[str, bytes]:
    """Return a tree with modules right inside ``vllm/`` replaced; None takes one away."""
    merged = {**tree, **{f"vllm/{name}.py": content for name, content in edits.items()}}
    return {path: content for path, content in merged.items() if content is not None}


ENGINE = RELEASE["vllm/engine.py"]
STEP_1 = edit(RELEASE, engine=ENGINE.replace(b"1", b"3"))
STEP_2 = {**STEP_1, "vllm/new/pkg/__init__.py": b"", "vllm/new/pkg/model.py": b"MODEL = 1\n"}
STEP_3 = edit(STEP_2, engine=ENGINE.replace(b"1", b"3").replace(b"2", b"4"), old=None)
STEP_4 = {**STEP_3, COMMA: b'{"BLOCK_SIZE_M": 32}\n'}
STEPS = (RELEASE, STEP_1, STEP_2, STEP_3, STEP_4)
CHANGES = (
    Change("Return three", STEP_1),
    Change("Add a package", STEP_2, subsystem="model"),
    Change("Stop with four", STEP_3),
    Change("Tune a configuration", STEP_4),
)


def make_stack(
    folder: Path,
    changes: tuple[Change, ...] = CHANGES,
    *,
    base: Tree = RELEASE,
    metadata: str = METADATA,
    known: Mapping[str, Tree] | None = None,
) -> Path:
    """Write a stack with its lock and return its folder."""
    write_stack(folder, changes, base=base, metadata=metadata)
    lock = make_lock(read_stack(folder), base.get)
    for release, tree in (known or {}).items():
        lock = add_known(lock, release, tree.get)
    write_lock(folder, lock)
    return folder


def write_lock(folder: Path, lock: Lock) -> None:
    """Write ``lock.json``, its digest recorded as released."""
    (folder / "lock.json").write_bytes(
        format_lock(replace(lock, released={lock.version: lock.digest}))
    )


def dist_info_files(name: str, version: str) -> tuple[str, dict[str, bytes]]:
    """Return the folder name and the files of a dist-info, RECORD left out."""
    folder = f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nVersion: 9\n"
    wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    return folder, {
        f"{folder}/METADATA": metadata.encode(),
        f"{folder}/WHEEL": wheel.encode(),
        f"{folder}/entry_points.txt": b"[console_scripts]\nvllm = vllm.engine:run\n",
    }


def record_of(files: Tree, own: str, *, line_end: str = "\n", extra: tuple[str, ...] = ()) -> bytes:
    """Return a RECORD, written by the standard library's CSV writer."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=line_end)
    for path in sorted(files):
        digest = base64.urlsafe_b64encode(hashlib.sha256(files[path]).digest()).rstrip(b"=")
        writer.writerow([path, f"sha256={digest.decode()}", len(files[path])])
    for path in extra:
        writer.writerow([path, "", ""])
    writer.writerow([own, "", ""])
    return text.getvalue().encode()


def check_record(site: Path, dist_info: str) -> list[str]:
    """Return what is wrong with an installed RECORD, by the standard library's CSV reader."""
    wrong = []
    with (site / dist_info / "RECORD").open(newline="") as stream:
        rows = list(csv.reader(stream))
    for path, digest, size in rows:
        if not digest:
            continue
        content = (site / path).read_bytes() if (site / path).is_file() else None
        if content is None:
            wrong.append(f"{path} is missing")
            continue
        found = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        if (digest, size) != (f"sha256={found}", str(len(content))):
            wrong.append(f"{path} differs")
    listed = [row[0] for row in rows]
    wrong += [f"{path} is listed twice" for path in set(listed) if listed.count(path) > 1]
    files = {path for path in snapshot(site) if path.startswith(("vllm/", dist_info))}
    unlisted = {path for path in files - set(listed) if "__pycache__" not in path}
    return sorted(wrong + [f"{path} is not listed" for path in unlisted])


def write_wheel(
    folder: Path, tree: Tree = RELEASE, *, name: str = "vllm", version: str = "0.11.0"
) -> Path:
    """Write a wheel and return its path."""
    info, extra = dist_info_files(name, version)
    files = {**tree, **extra}
    files[f"{info}/RECORD"] = record_of(files, f"{info}/RECORD")
    path = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in files.items():
            item = zipfile.ZipInfo(member, (2025, 1, 1, 0, 0, 0))
            item.external_attr = 0o644 << 16
            item.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(item, content)
    return path


@dataclass(frozen=True)
class Environment:
    """An environment on disk."""

    prefix: Path
    dist_info: str

    @property
    def site(self) -> Path:
        return self.prefix / "lib" / "python3.12" / "site-packages"

    def read(self, path: str) -> bytes:
        return (self.site / path).read_bytes()

    def tree(self) -> dict[str, bytes]:
        """The distribution's own files, bytecode left out."""
        found = snapshot(self.site)
        return {
            path: content
            for path, content in found.items()
            if path.startswith("vllm/") and isinstance(content, bytes) and "__pycache__" not in path
        }


def install(
    prefix: Path,
    tree: Tree = RELEASE,
    *,
    name: str = "vllm",
    version: str = "0.11.0",
    line_end: str = "\r\n",
    cache: Path | None = None,
    extra_rows: tuple[str, ...] = (),
) -> Environment:
    """Lay out an environment; with ``cache``, its files are hard links to files there."""
    info, extra = dist_info_files(name, version)
    site = prefix / "lib" / "python3.12" / "site-packages"
    files = {**tree, **extra, f"{info}/INSTALLER": b"test\n"}
    files[f"{info}/RECORD"] = record_of(
        files, f"{info}/RECORD", line_end=line_end, extra=extra_rows
    )
    for path, content in files.items():
        place = site / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if cache is None:
            place.write_bytes(content)
            continue
        kept = cache / path
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(content)
        os.link(kept, place)
    (prefix / "pyvenv.cfg").write_text(
        "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.12.1\n"
    )
    return Environment(prefix=prefix, dist_info=info)


def snapshot(root: Path) -> dict[str, bytes | str]:
    """Return every file below a folder, links as their target, empty folders by a marker."""
    found: dict[str, bytes | str] = {}
    for folder, folders, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            content = f"-> {path.readlink()}" if path.is_symlink() else path.read_bytes()
            found[path.relative_to(root).as_posix()] = content
        if not folders and not names:
            found[Path(folder).relative_to(root).as_posix() + "/"] = "empty folder"
    return found
