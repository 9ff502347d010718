"""The dist-info of a patched wheel: what is carried over, and what a build writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from vllm_patchkit.digest import sha256_hex
from vllm_patchkit.stack.applied import APPLIED_FOLDER, record_files
from vllm_patchkit.stack.lock import format_lock
from vllm_patchkit.version import __version__
from vllm_patchkit.wheel.members import MadeMember, PlannedMember, RawMember
from vllm_patchkit.wheel.metadata import (
    WheelName,
    change_requirements,
    change_wheel_file,
    normalize_name,
    set_header,
)
from vllm_patchkit.wheel.provenance import FILE_NAME, Provenance, format_provenance
from vllm_patchkit.wheel.recipe import Part, Recipe
from vllm_patchkit.wheel.record import SIGNATURES
from vllm_patchkit.wheel.requirements import add_requirements
from vllm_patchkit.wheel.sbom import format_sbom, sbom_name


def carried_info(base: Part, dist_info: str) -> Iterator[RawMember]:
    """Yield the base's dist-info files that stay as they are, under our dist-info's name."""
    contents = base.contents
    changed = {
        f"{contents.dist_info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", *SIGNATURES)
    }
    for member in contents.archive.members:
        inside = member.name.startswith(f"{contents.dist_info}/")
        if inside and not member.is_folder and member.name not in changed:
            path = dist_info + member.name.removeprefix(contents.dist_info)
            row = replace(contents.rows[member.name], path=path)
            yield RawMember(name=path, role="base", member=member, row=row)


def made_info(recipe: Recipe, name: WheelName, dist_info: str) -> list[MadeMember]:
    """Return the dist-info files that this build writes, but for provenance and RECORD."""
    base, source = recipe.base.contents, recipe.source
    stack, requires = source.stack, required(recipe)
    generator = f"vllm-patchkit {__version__}"
    materials = [part.material for part in recipe.parts]
    sbom = format_sbom(
        stack, source.lock.digest, base.distribution, name.version, materials, requires
    )
    files = {
        "METADATA": _made_metadata(recipe, name, requires),
        "WHEEL": change_wheel_file(base.read_info("WHEEL"), name.tags, generator),
        f"sboms/{sbom_name(stack)}": sbom,
        **{
            f"{APPLIED_FOLDER}/{stack.name}/{path}": data
            for path, data in record_files(source, source.total, requires).items()
        },
    }
    return [MadeMember(name=f"{dist_info}/{path}", data=data) for path, data in files.items()]


def required(recipe: Recipe) -> tuple[str, ...]:
    """Return what the stack requires of this wheel; a flavor may have dropped the distribution.

    :raises StackError: one of them is not narrower than what the base requires.
    """
    stack = recipe.source.stack
    if not stack.requires:
        return ()
    # packaging is slow to import, and few stacks need it.
    from packaging.requirements import Requirement

    from vllm_patchkit.wheel.narrowing import require_narrower

    require_narrower(stack.name, stack.requires, recipe.base.contents.read_info("METADATA"))
    dropped = {normalize_name(name) for name in recipe.flavor.drop_requirements}
    return tuple(
        one for one in stack.requires if normalize_name(Requirement(one).name) not in dropped
    )


def _made_metadata(recipe: Recipe, name: WheelName, requires: tuple[str, ...]) -> bytes:
    flavor = recipe.flavor
    metadata = set_header(recipe.base.contents.read_info("METADATA"), "Version", name.version)
    if flavor.drop_requirements or flavor.add_requirements:
        metadata = change_requirements(metadata, flavor.drop_requirements, flavor.add_requirements)
    return add_requirements(metadata, requires) if requires else metadata


def provenance_member(
    recipe: Recipe, dist_info: str, members: Iterable[PlannedMember]
) -> MadeMember:
    """Return the statement, whose subjects are those of ``members`` that this build makes."""
    subjects = {
        member.name: sha256_hex(member.data) for member in members if isinstance(member, MadeMember)
    }
    source = recipe.source
    provenance = Provenance(
        stack=source.stack.name,
        stack_label=source.label,
        stack_digest=source.lock.digest,
        lock_sha256=sha256_hex(format_lock(source.lock)),
        flavor=recipe.flavor.name,
        python_tag=recipe.python_tag,
        materials=tuple(part.material for part in recipe.parts),
        builder_version=__version__,
    )
    path = f"{dist_info}/{APPLIED_FOLDER}/{source.stack.name}/{FILE_NAME}"
    return MadeMember(name=path, data=format_provenance(provenance, subjects))
