"""Which test files import what a stack touches, from their text alone."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

TESTS = "tests"
PATTERNS = ("test_*.py", "*_test.py")


def choose(root: Path, touched: Collection[str]) -> dict[str, list[str]]:
    """Return test file -> the touched modules that it imports, of each file that imports any.

    Helpers in a test's own folder count as the test's text; those that all tests share do not,
    through which every test would import nearly everything.

    :param root: the folder that holds ``tests``.
    :param touched: dotted names.
    """
    files = sorted({file for pattern in PATTERNS for file in root.glob(f"{TESTS}/**/{pattern}")})
    found = {}
    for file in files:
        modules = sorted(frozenset(touched) & _reach(root, file))
        if modules:
            found[file.relative_to(root).as_posix()] = modules
    return found


def keep(chosen: Mapping[str, list[str]], only: Collection[str]) -> dict[str, list[str]]:
    """Return the files whose path ends with one of the names, or all without a name.

    >>> keep({"tests/v1/test_a.py": [], "tests/test_ba.py": []}, ["test_a.py"])
    {'tests/v1/test_a.py': []}
    """
    return {
        file: modules
        for file, modules in chosen.items()
        if not only or any(f"/{file}".endswith(f"/{name}") for name in only)
    }


def _reach(root: Path, test: Path) -> set[str]:
    """Return what a test file imports, itself or through helpers in its own folder."""
    found: set[str] = set()
    todo, seen = [test], {test}
    while todo:
        names = set(find_imports(todo.pop(), root))
        found |= names
        helpers = {path for path in _files_of(root, names) if path.is_relative_to(test.parent)}
        todo += helpers - seen
        seen |= helpers
    return found


def _files_of(root: Path, modules: Iterable[str]) -> Iterator[Path]:
    """Yield the files of the modules that are the tests' own."""
    for name in modules:
        place = root.joinpath(*name.split("."))
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if name.startswith(f"{TESTS}.") and path.is_file():
                yield path


def find_imports(file: Path, root: Path) -> Iterator[str]:
    """Yield every module that a file imports, anywhere in it; a name imported from one may be one.

    A file that this Python cannot parse imports nothing.
    """
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        return
    package = file.relative_to(root).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *filter(None, [node.module])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
