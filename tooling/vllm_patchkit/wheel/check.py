"""Checking a patched wheel: building it again from what it says of itself, and comparing."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.archive.reader import Archive
from vllm_patchkit.archive.writer import local_size
from vllm_patchkit.errors import WheelError
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.stack.applied import APPLIED_FOLDER
from vllm_patchkit.stack.folder import LOCK, gather_files
from vllm_patchkit.stack.lock import parse_lock
from vllm_patchkit.stack.locked import make_locked
from vllm_patchkit.version import __version__
from vllm_patchkit.wheel.build import write_plan
from vllm_patchkit.wheel.contents import WheelContents, read_contents
from vllm_patchkit.wheel.fetch import cached_wheel, fetch_input
from vllm_patchkit.wheel.flavor import find_flavor
from vllm_patchkit.wheel.ingredients import Ingredient, open_recipe
from vllm_patchkit.wheel.members import WheelPlan
from vllm_patchkit.wheel.pins import read_inputs
from vllm_patchkit.wheel.plan import plan_wheel
from vllm_patchkit.wheel.provenance import FILE_NAME, Material, Provenance, parse_provenance
from vllm_patchkit.wheel.recipe import Order

DIRECTORY = "(central directory)"


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckReport:
    """What came of a check; ``differences`` is empty where the wheel is what it says it is.

    :param builder_version: the vllm-patchkit that built the wheel; ``checker_version`` this one.
    """

    wheel: Path
    version: str
    differences: tuple[str, ...]
    builder_version: str
    checker_version: str = __version__


class ComparingSink:
    """Takes what a build writes and compares it with a file, without keeping either."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._position = 0
        self.differing: list[tuple[int, int]] = []

    def write(self, data: bytes | memoryview, /) -> object:
        """Compare the next bytes; where they differ, note the range."""
        if self._archive.pread(self._position, len(data)) != data:
            self.differing.append((self._position, self._position + len(data)))
        self._position += len(data)
        return len(data)


def check_wheel(
    wheel: str | Path, *, base: str | Path | None = None, console: Console | None = None
) -> CheckReport:
    """Build a wheel again from its provenance and return where the bytes differ.

    :param base: where the base is, if it was not a pinned wheel.
    :raises WheelError: the wheel is malformed, or was not made by this program.
    """
    path = Path(wheel)
    console = console or Console(quiet=True)
    with Archive(path) as archive:
        contents = read_contents(archive)
        provenance, folder = _read_provenance(contents)
        order = _read_order(contents, folder, provenance)
        place = None if base is None else Path(base)
        ingredients = [_find(material, place, console) for material in provenance.materials]
        with open_recipe(order, ingredients, console) as recipe:
            plan = plan_wheel(recipe, order.source.apply(recipe.base.contents.archive.get))
            sink = ComparingSink(archive)
            write_plan(plan, recipe, sink, console)
        return CheckReport(
            wheel=path,
            version=contents.version,
            differences=tuple(_differences(plan, archive, sink)),
            builder_version=provenance.builder_version,
        )


def _read_provenance(contents: WheelContents) -> tuple[Provenance, str]:
    """Return the statement and the folder that holds it and the stack."""
    start = f"{contents.dist_info}/{APPLIED_FOLDER}/"
    found = [
        member.name
        for member in contents.archive.members
        if member.name.startswith(start) and member.name.endswith(f"/{FILE_NAME}")
    ]
    if len(found) != 1:
        raise WheelError(
            f"{contents.archive.path.name} holds {len(found)} statements of vllm-patchkit",
            hint="only a wheel that 'vllm-patchkit wheel' built can be checked",
        )
    name = found[0]
    provenance = parse_provenance(contents.archive.read(name), name)
    return provenance, name.removesuffix(f"/{FILE_NAME}")


def _read_order(contents: WheelContents, folder: str, provenance: Provenance) -> Order:
    """Return the order that the wheel was built to; the stack is the one inside it."""
    archive, lock = contents.archive, f"{folder}/{LOCK}"
    files = gather_files(
        folder,
        lambda name: archive.read(f"{folder}/{name}"),
        archive.files_below(folder),
    )
    source = make_locked(files, parse_lock(archive.read(lock), lock))
    return Order(
        source=source,
        flavor=find_flavor(provenance.flavor, source.stack.base.version),
        python_tag=provenance.python_tag,
    )


def _find(material: Material, base: Path | None, console: Console) -> Ingredient:
    """Return the wheel that a statement names, by its sha256."""
    pinned = [entry for entry in read_inputs().values() if entry.sha256 == material.sha256]
    platform = pinned[0].platform if pinned else None
    if material.role == "base" and base is not None:
        path = base
    elif pinned:
        path = fetch_input(pinned[0].name, console)
    elif (cached := cached_wheel(material.file, material.sha256, console)) is not None:
        path = cached
    else:
        raise WheelError(
            f"{material.file} (sha256 {material.sha256}) is not a pinned wheel",
            hint="say where it is with --base",
        )
    return Ingredient(role=material.role, path=path, sha256=material.sha256, platform=platform)


def _differences(plan: WheelPlan, archive: Archive, sink: ComparingSink) -> list[str]:
    """Return a line for each member with other bytes, and for another name or size."""
    lines: list[str] = []
    if plan.name.file_name != archive.path.name:
        lines.append(f"the file name should be {plan.name.file_name}")
    if plan.size_bytes != archive.size_bytes:
        lines.append(f"{archive.size_bytes} bytes, where a build has {plan.size_bytes}")
    starts, names = [0], []
    for member in plan.members:
        names.append(member.name)
        starts.append(starts[-1] + local_size(member.name) + member.stored_size)
    names.append(DIRECTORY)
    hit = {bisect_right(starts, start) - 1 for start, _ in sink.differing}
    return lines + [f"{names[index]} has other bytes" for index in sorted(hit)]
