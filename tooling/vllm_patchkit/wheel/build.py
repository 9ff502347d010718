"""Building a patched wheel."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vllm_patchkit.archive.writer import Sink, ZipWriter
from vllm_patchkit.diff.model import Contents
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.stack.read import find_stack, read_locked
from vllm_patchkit.wheel.ingredients import find_ingredients, make_order, open_recipe
from vllm_patchkit.wheel.members import MadeMember, WheelPlan
from vllm_patchkit.wheel.output import new_file
from vllm_patchkit.wheel.plan import plan_wheel
from vllm_patchkit.wheel.recipe import Recipe
from vllm_patchkit.wheel.source import HashedSource


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltWheel:
    """The wheel that a build left, and what it holds."""

    path: Path
    distribution: str
    version: str
    size_bytes: int
    patches: int
    base: str
    base_sha256: str


def build_wheel(
    stack: str | Path | None = None,
    *,
    out: str | Path,
    flavor: str = "cuda",
    base: str | Path | None = None,
    python_tag: str | None = None,
    console: Console | None = None,
) -> BuiltWheel:
    """Build the wheel of a stack into the folder ``out``, and return what was built.

    :param stack: name or folder; None is the only one there is.
    :param base: a wheel to patch instead of the pinned release, which is fetched.
    :param python_tag: which extension a flavor with several should take.
    :raises PatchkitError: an input, the stack or the output folder is not as it must be;
        ``out`` is left as it was.
    """
    console = console or Console(quiet=True)
    order = make_order(read_locked(find_stack(stack)), flavor, python_tag)
    ingredients = find_ingredients(order, None if base is None else Path(base), console)
    with open_recipe(order, ingredients, console) as recipe:
        patched = order.source.apply(recipe.base.contents.archive.get)
        for note in (*recipe.notes(patched), *recipe.explain_name()):
            console.note(note)
        return write_wheel(recipe, patched, Path(out), console)


def write_wheel(recipe: Recipe, patched: Contents, out: Path, console: Console) -> BuiltWheel:
    """Write the wheel of a recipe into the folder ``out``.

    :param patched: what the stack makes of the base's files.
    """
    plan = plan_wheel(recipe, patched)
    path = out / plan.name.file_name
    with new_file(path, plan.size_bytes) as sink:
        write_plan(plan, recipe, sink, console)
    return BuiltWheel(
        path=path,
        distribution=recipe.base.contents.distribution,
        version=plan.name.version,
        size_bytes=plan.size_bytes,
        patches=recipe.source.total,
        base=recipe.base.material.file,
        base_sha256=recipe.base.material.sha256,
    )


def write_plan(plan: WheelPlan, recipe: Recipe, sink: Sink, console: Console) -> None:
    """Write the planned wheel, reading and hashing every input once from start to end.

    :raises WheelError: an input is not the one that the plan was made from; what went to the
        sink is then worthless.
    """
    total = sum(part.contents.archive.size_bytes for part in recipe.parts)
    with ExitStack() as opened, console.progress(f"write {plan.name.file_name}", total) as bar:
        sources = {
            part.material.role: opened.enter_context(
                closing(HashedSource(part.contents.archive, bar))
            )
            for part in recipe.parts
        }
        writer = ZipWriter(sink)
        for planned in plan.members:
            if isinstance(planned, MadeMember):
                writer.write_stored(planned.name, planned.data, executable=planned.executable)
                continue
            member = planned.member
            source = sources[planned.role]
            copy = partial(source.copy, member.data_offset, member.compressed_size)
            writer.write_raw(planned.name, member, copy)
        writer.close()
        for part in recipe.parts:
            sources[part.material.role].require_sha256(part.material.sha256)
