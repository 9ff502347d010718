"""Imports point down: each package imports what it may, lazily or not, and no circle closes.

The table is the architecture (docs/architecture.md). A new pair is a decision, made here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import vllm_patchkit

PACKAGE = Path(vllm_patchkit.__file__).parent
NAME = "vllm_patchkit"

# From the ground up. ``errors`` may be imported by all.
MAY_IMPORT = {
    "errors": "",
    "version": "",
    "worker": "",
    "digest": "",
    "host": "",
    "archive": "",
    "diff": "digest",
    "stack": "diff digest host version",
    "transaction": "diff digest host",
    "wheel": "archive diff digest host stack version",
    "targets": "archive diff digest host stack transaction wheel",
    "inplace": "diff host stack targets transaction wheel",
    "operations": "diff host inplace stack targets transaction wheel",
    "fork": "archive diff digest host stack wheel",
    "report": "diff fork stack",
    "doctor": "host operations",
    "release": "archive host wheel",
    "container": "archive digest host stack",
    "launch": "archive digest host stack targets",
    "smoke": "host launch version",
    "bench": "launch version",
    "pipeline": "stack",
    "cli": "bench container doctor fork host launch operations release report smoke stack "
    "targets version wheel",
    "__init__": "operations stack targets version wheel",
    "__main__": "cli",
}
# The one way up: ``python -m vllm_patchkit.smoke`` is the command by another name.
UPWARDS = {("smoke", "cli"): "smoke/__main__.py"}

# Values in, values out: these import one another and nothing that reads or writes.
PURE = """
    errors version digest diff/* stack/* archive/entries archive/flaws archive/names
    archive/zipformat wheel/metadata wheel/provenance wheel/record wheel/requirements wheel/sbom
    targets/answers targets/explain targets/identify targets/model targets/state
"""
READERS = ("stack/read",)
EFFECTS = """
    asyncio ctypes fcntl glob http os shutil signal socket subprocess tempfile threading time
    urllib.request zipfile
"""


def modules() -> list[Path]:
    found = sorted(PACKAGE.rglob("*.py"))
    assert len(found) > 100
    return found


def imported(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, inside functions too, by its full name."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                # The worker is another package where it runs; it only looks inside itself.
                assert package_of(path) == "worker", path
                assert node.level < len(path.relative_to(PACKAGE).parts), path
                continue
            assert node.module is not None
            yield node.module
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if _file_of(inner) is not None:
                    yield inner


def _file_of(module: str) -> Path | None:
    base = PACKAGE.parent.joinpath(*module.split("."))
    places = (base.with_suffix(".py"), base / "__init__.py")
    own = module.partition(".")[0] == NAME
    return next((place for place in places if own and place.is_file()), None)


def test_the_tool_knows_no_model() -> None:
    """What knows one is a stack's own; one line says how the engines of its bench are called."""
    lines = [
        f"{path.relative_to(PACKAGE).as_posix()}: {line.strip()}"
        for path in modules()
        for line in path.read_text(encoding="utf-8").splitlines()
        if "emu" in line.lower()
    ]
    assert [line.partition(" = ")[0] for line in lines] == ["bench/generate.py: SIDES"]


def package_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def pairs() -> dict[tuple[str, str], list[str]]:
    """Return importing and imported package -> who does it and what it imports."""
    found: dict[tuple[str, str], list[str]] = {}
    for path in modules():
        own = package_of(path)
        for module in imported(path):
            parts = module.split(".")
            if parts[0] != NAME or len(parts) < 2 or parts[1] == own:
                continue
            line = f"{path.relative_to(PACKAGE).as_posix()} imports {module}"
            found.setdefault((own, parts[1]), []).append(line)
    return found


def test_every_import_points_down() -> None:
    wrong = {
        f"{own} -> {other}": lines
        for (own, other), lines in pairs().items()
        if other not in {"errors", *MAY_IMPORT.get(own, "").split()} and (own, other) not in UPWARDS
    }
    assert wrong == {}


def test_the_way_up_is_taken_in_one_file() -> None:
    for pair, place in UPWARDS.items():
        assert {line.split()[0] for line in pairs()[pair]} == {place}


def test_every_package_is_in_the_table_and_every_pair_in_it_is_there() -> None:
    """A pair that nothing needs any more leaves the table, so that it stays true."""
    assert {package_of(path) for path in modules()} == set(MAY_IMPORT)
    stated = {(own, other) for own, others in MAY_IMPORT.items() for other in others.split()}
    assert stated - set(pairs()) == set()


def test_the_page_s_table_is_this_one() -> None:
    page = (PACKAGE.parents[1] / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| (`[^|]*`) \|[^|]*\|([^|]*)\|$", page, re.M)
    said = {name: text.split() for names, text in rows for name in re.findall(r"`(\w+)`", names)}
    for name, others in MAY_IMPORT.items():
        if name not in ("errors", "cli", "__init__", "__main__"):
            assert said[name] == others.split(), name
    assert set(said) <= set(MAY_IMPORT)


def test_the_table_has_no_circle() -> None:
    order = TopologicalSorter({own: others.split() for own, others in MAY_IMPORT.items()})
    assert len(tuple(order.static_order())) == len(MAY_IMPORT)


def pure_modules() -> list[Path]:
    found = [path for name in PURE.split() for path in PACKAGE.glob(f"{name}.py")]
    kept = [path for path in found if _short(path) not in READERS]
    assert len(kept) > 40
    return kept


def _short(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


@pytest.mark.parametrize("path", pure_modules(), ids=_short)
def test_the_pure_core_imports_nothing_that_reads_or_writes(path: Path) -> None:
    pure = set(pure_modules())
    for module in imported(path):
        assert module not in EFFECTS.split(), f"{_short(path)} imports {module}"
        if module.startswith(f"{NAME}."):
            file = _file_of(module)
            assert file is not None
            assert file in pure or file.name == "__init__.py", f"{_short(path)} imports {module}"


def test_the_worker_imports_nothing_of_ours_by_this_package_s_name() -> None:
    """It runs in the target's interpreter, where there is no vllm_patchkit."""
    own = [path for path in modules() if package_of(path) == "worker"]
    assert len(own) > 5
    for path in own:
        named = [name for name in imported(path) if name.partition(".")[0] == NAME]
        assert named == [], path
