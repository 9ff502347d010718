"""``stack.toml``: what a stack is called, what it is cut from, how it is seen to be in force."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any, TypeVar

from vllm_patchkit.errors import StackError
from vllm_patchkit.stack.model import Base, Metadata, Parent, Patch, Probe, Smoke, Stack
from vllm_patchkit.stack.toml import parse_toml

FORMAT = 1
NAME = re.compile(r"[a-z0-9]+(?:[-_.][a-z0-9]+)*")
# One label becomes part of a local version label; PEP 440 allows these segments.
LABEL = re.compile(r"[a-z0-9]+(?:\.[a-z0-9]+)*")
# A requirement becomes a line of METADATA as it is written; what it may say is known with the base.
REQUIREMENT = re.compile(r"[A-Za-z0-9](?:[\x20-\x7e]*[\x21-\x7e])?")
WHEEL = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl)?")
SHA256 = re.compile(r"(?:[0-9a-f]{64})?")
DISTRIBUTION = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)?")
PACKAGE = re.compile(r"(?:[a-z][a-z0-9_]*)?")
SMOKE = re.compile(rb"(?m)^\[smoke\][ \t]*(?:#[^\n]*|\r)?\n(?:(?!\[)[^\n]*(?:\n|\Z))*")
PARENT_PATCH = re.compile(r"(\d{4}) ([0-9a-f]{16})")
Value = TypeVar("Value")


def with_patches(metadata: Metadata, patches: tuple[Patch, ...], data: bytes) -> Stack:
    """Return the stack of ``patches``; ``data`` is the file that ``metadata`` was read from."""
    known = {field.name: getattr(metadata, field.name) for field in fields(metadata)}
    return Stack(**known, patches=patches, metadata=without_smoke(data))


# A command looks for the base, then reads the stack: parsed once.
@lru_cache(maxsize=32)
def parse_metadata(data: bytes, source: str = "stack.toml") -> Metadata:
    """Return what ``stack.toml`` says.

    :raises StackError: a key is missing, unknown, or of the wrong type; names the key.
    """
    document = _Table(parse_toml(data, source), source)
    if document.take("format", int) != FORMAT:
        raise StackError(
            f"{source}: format {document.values['format']} is not known (expected {FORMAT})",
            hint="a newer vllm-patchkit may have written it",
        )
    stack = document.table("stack")
    base = document.table("base")
    probes, parents = document.tables("probe"), document.tables("parent")
    lint, wheel, smoke = map(document.optional, ("lint", "wheel", "smoke"))
    metadata = Metadata(
        name=stack.match("name", NAME),
        label=stack.match("label", LABEL),
        version=stack.take("version", int),
        summary=stack.take("summary", str),
        license=stack.take("license", str, ""),
        subsystems=stack.strings("subsystems"),
        patch_count=stack.take("patch-count", int) if "patch-count" in stack.values else None,
        base=_parse_base(base),
        probes=tuple(map(_parse_probe, probes)),
        requires=_parse_requires(wheel) if wheel else (),
        smoke=Smoke(
            package=smoke.match("package", PACKAGE, ""),
            architectures=smoke.strings("architectures", ()),
        )
        if smoke
        else Smoke(),
        ignores=_parse_ignores(lint) if lint else {},
        parents=tuple(map(_parse_parent, parents)),
    )
    if metadata.version < 1:
        raise StackError(f"{source}: [stack] version is {metadata.version}; it counts from 1")
    for table in filter(None, (document, stack, base, wheel, lint, smoke)):
        table.require_all_read()
    _require_apart(data, document.values, source)
    return metadata


def without_smoke(data: bytes) -> bytes:
    """Return ``stack.toml`` without the table ``[smoke]`` and the empty lines that set it off."""
    table = SMOKE.search(data)
    if table is None:
        return data
    before, after = data[: table.start()], data[table.end() :]
    return before + after if after else before.rstrip(b"\r\n") + b"\n"


def _require_apart(data: bytes, document: Mapping[str, Any], source: str) -> None:
    """Do nothing if what the digest leaves out is the table ``[smoke]`` and nothing else."""
    rest = {key: value for key, value in document.items() if key != "smoke"}
    cut = without_smoke(data)
    try:
        same = cut == data if "smoke" not in document else parse_toml(cut, source) == rest
    except StackError:
        same = False
    if not same:
        raise StackError(
            f"{source}: [smoke] is not a table of its own",
            hint="write the line [smoke] and its keys below it, before the next line with a [",
        )


def _parse_base(table: _Table) -> Base:
    root = table.take("root", str)
    if root.startswith("/") or ".." in root.split("/") or "\\" in root:
        raise StackError(f"{table.place('root')} is {root!r}; it is a folder inside the wheel")
    return Base(
        # A stack for a plain folder (the code beside a model's weights) names no distribution.
        distribution=table.match("distribution", DISTRIBUTION, ""),
        version=table.take("version", str),
        root=root.strip("/"),
        aliases=table.strings("aliases", ()),
        wheel=table.match("wheel", WHEEL, ""),
        sha256=table.match("sha256", SHA256, ""),
    )


def _parse_parent(table: _Table) -> Parent:
    found = [PARENT_PATCH.fullmatch(text) for text in table.strings("patches")]
    if None in found:
        raise StackError(f"{table.place('patches')}: each is 'NNNN' and 16 hex digits")
    parent = Parent(
        name=table.match("name", NAME),
        path=table.take("path", str),
        label=table.take("label", str),
        digest=table.take("digest", str),
        patches={match[1]: match[2] for match in found if match},
    )
    table.require_all_read()
    return parent


def _parse_ignores(table: _Table) -> dict[str, str]:
    ignores = table.take("ignore", dict, {})
    for code, reason in ignores.items():
        if not isinstance(reason, str):
            raise StackError(f"{table.place('ignore')}: {code} needs a reason, in quotes")
    return ignores


def _parse_requires(table: _Table) -> tuple[str, ...]:
    requires = table.strings("requires")
    for one in requires:
        if not REQUIREMENT.fullmatch(one):
            raise StackError(f"{table.place('requires')} has {one!r}, which is no requirement")
    return requires


def _parse_probe(table: _Table) -> Probe:
    probe = Probe(
        patch=table.take("patch", str),
        imports=table.strings("imports", ()),
        expression=table.take("expression", str),
    )
    table.require_all_read()
    return probe


class _Table:
    """One table of the document; remembers which keys were read, so that typing errors show."""

    def __init__(self, values: Mapping[str, Any], source: str, name: str = "") -> None:
        self.values = values
        self.source = source
        self.name = name
        self.read: set[str] = set()

    def place(self, key: str) -> str:
        return f"{self.source}: {self.name + ' ' if self.name else ''}{key}"

    def take(self, key: str, kind: type[Value], default: Value | None = None) -> Value:
        self.read.add(key)
        value = self.values.get(key, default)
        if value is None:
            raise StackError(f"{self.place(key)} is missing")
        if not isinstance(value, kind) or isinstance(value, bool):
            raise StackError(f"{self.place(key)} is {value!r}; expected {kind.__name__}")
        return value

    def strings(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        values = self.take(key, list, None if default is None else list(default))
        if not all(isinstance(value, str) for value in values):
            raise StackError(f"{self.place(key)} is {values!r}; expected a list of strings")
        return tuple(values)

    def match(self, key: str, pattern: re.Pattern[str], default: str | None = None) -> str:
        value = self.take(key, str, default)
        if not pattern.fullmatch(value):
            raise StackError(f"{self.place(key)} is {value!r}; expected {pattern.pattern}")
        return value

    def table(self, key: str) -> _Table:
        if key not in self.values:
            raise StackError(f"{self.source}: the table [{key}] is missing")
        return _Table(self.take(key, dict), self.source, f"[{key}]")

    def optional(self, key: str) -> _Table | None:
        return self.table(key) if key in self.values else None

    def tables(self, key: str) -> list[_Table]:
        entries = self.take(key, list, [])
        for number, entry in enumerate(entries, 1):
            if not isinstance(entry, dict):
                raise StackError(f"{self.source}: [[{key}]] {number} is not a table")
        return [_Table(one, self.source, f"[[{key}]] {n}") for n, one in enumerate(entries, 1)]

    def require_all_read(self) -> None:
        unknown = sorted(set(self.values) - self.read)
        if unknown:
            raise StackError(f"{self.place(unknown[0])} is not a key of this table")
