"""Finding and opening the wheels that a build starts from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.archive.reader import Archive
from vllm_patchkit.errors import WheelError
from vllm_patchkit.host.files import file_sha256
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.stack.locked import LockedStack
from vllm_patchkit.wheel.contents import read_contents, require_distribution
from vllm_patchkit.wheel.fetch import fetch_input, fetch_pinned
from vllm_patchkit.wheel.flavor import find_flavor
from vllm_patchkit.wheel.integrity import require_sound
from vllm_patchkit.wheel.pins import WheelInput, find_input, find_pin, read_inputs
from vllm_patchkit.wheel.provenance import Material, Role
from vllm_patchkit.wheel.recipe import Order, Part, Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class Ingredient:
    """A wheel on disk, with the sha256 that it must have; None if nobody has vouched for it."""

    role: Role
    path: Path
    sha256: str | None
    platform: str | None = None


def make_order(source: LockedStack, flavor: str, python_tag: str | None) -> Order:
    """Return the order for a stack.

    :raises UsageError: the flavor or its Python tag does not exist.
    """
    chosen = find_flavor(flavor, source.stack.base.version)
    return Order(source=source, flavor=chosen, python_tag=chosen.choose_tag(python_tag))


def find_ingredients(order: Order, base: Path | None, console: Console) -> list[Ingredient]:
    """Return the wheels for an order, fetched if need be.

    :param base: a wheel to use instead of the pinned one.
    """
    if base is None:
        entry: WheelInput | None = find_pin(order.source.stack.base)
        assert entry is not None
        path = fetch_pinned(entry, console)
    else:
        path = base
        entry = next((one for one in read_inputs().values() if one.file == base.name), None)
    found = [_vouched("base", path, entry)]
    if order.python_tag is not None:
        extension = find_input(order.flavor.extensions[order.python_tag])
        found.append(_vouched("extension", fetch_input(extension.name, console), extension))
    return found


def _vouched(role: Role, path: Path, entry: WheelInput | None) -> Ingredient:
    """Return the ingredient that a file is; with a pin, its size must fit at once."""
    if entry is None:
        return Ingredient(role=role, path=path, sha256=None)
    if entry.size_bytes and path.is_file() and path.stat().st_size != entry.size_bytes:
        raise WheelError(
            f"{path} is not the pinned wheel: expected {entry.size_bytes} bytes, "
            f"found {path.stat().st_size}",
            hint="fetch it again; a wheel of your own needs a file name of its own, such as one "
            "with a build tag",
        )
    return Ingredient(role=role, path=path, sha256=entry.sha256, platform=entry.platform)


@contextmanager
def open_recipe(
    order: Order,
    ingredients: list[Ingredient],
    console: Console,
    *,
    base_archive: Archive | None = None,
) -> Iterator[Recipe]:
    """Open the ingredients and give what a wheel is planned from.

    :param base_archive: the base, where somebody has it open already and will close it.
    :raises WheelError: one of them is malformed, or of the wrong distribution.
    """
    with ExitStack() as opened:
        parts: dict[Role, Part] = {}
        for ingredient in ingredients:
            archive = base_archive if ingredient.role == "base" else None
            if archive is None:
                archive = opened.enter_context(Archive(ingredient.path))
            parts[ingredient.role] = _open_part(archive, ingredient, console)
        found = parts["base"].contents
        require_distribution(found.archive, found.distribution, order.source.stack.base)
        yield Recipe(
            source=order.source,
            flavor=order.flavor,
            python_tag=order.python_tag,
            base=parts["base"],
            extension=parts.get("extension"),
        )


def _open_part(archive: Archive, ingredient: Ingredient, console: Console) -> Part:
    contents = read_contents(archive)
    sha256 = ingredient.sha256
    if sha256 is None:
        console.note(f"{archive.path.name} is not a pinned wheel: verifying all of it")
        require_sound(archive, contents.rows, console)
        sha256 = file_sha256(archive.path, console)
    material = Material(
        role=ingredient.role,
        distribution=contents.distribution,
        version=contents.version,
        file=archive.path.name,
        sha256=sha256,
        license=contents.license,
    )
    return Part(contents=contents, material=material, platform=ingredient.platform)
