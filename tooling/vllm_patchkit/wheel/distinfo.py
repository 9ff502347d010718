"""The dist-info of a patched wheel: what is carried over, and what a build writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from vllm_patchkit.digest import sha256_hex
from vllm_patchkit.stack.applied import APPLIED_FOLDER, applied_files, make_applied
from vllm_patchkit.stack.lock import format_lock, version_label
from vllm_patchkit.version import __version__
from vllm_patchkit.wheel.members import MadeMember, PlannedMember, RawMember
from vllm_patchkit.wheel.metadata import (
    WheelName,
    change_requirements,
    change_wheel_file,
    set_header,
)
from vllm_patchkit.wheel.provenance import FILE_NAME, Provenance, format_provenance
from vllm_patchkit.wheel.recipe import Part, Recipe
from vllm_patchkit.wheel.record import SIGNATURES
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
    base, stack, flavor = recipe.base.contents, recipe.stack, recipe.flavor
    metadata = set_header(base.read_info("METADATA"), "Version", name.version)
    if flavor.drop_requirements or flavor.add_requirements:
        metadata = change_requirements(metadata, flavor.drop_requirements, flavor.add_requirements)
    generator = f"vllm-patchkit {__version__}"
    applied = make_applied(stack, recipe.lock, stack.patches, recipe.lock.files)
    materials = [part.material for part in recipe.parts]
    sbom = format_sbom(stack, recipe.lock.digest, base.distribution, name.version, materials)
    files = {
        "METADATA": metadata,
        "WHEEL": change_wheel_file(base.read_info("WHEEL"), name.tags, generator),
        f"sboms/{sbom_name(stack)}": sbom,
        **{
            f"{APPLIED_FOLDER}/{stack.name}/{path}": data
            for path, data in applied_files(recipe.files, stack, recipe.lock, applied).items()
        },
    }
    return [MadeMember(name=f"{dist_info}/{path}", data=data) for path, data in files.items()]


def provenance_member(
    recipe: Recipe, dist_info: str, members: Iterable[PlannedMember]
) -> MadeMember:
    """Return the statement, whose subjects are those of ``members`` that this build makes."""
    subjects = {
        member.name: sha256_hex(member.data) for member in members if isinstance(member, MadeMember)
    }
    provenance = Provenance(
        stack=recipe.stack.name,
        stack_label=version_label(recipe.stack, recipe.lock),
        stack_digest=recipe.lock.digest,
        lock_sha256=sha256_hex(format_lock(recipe.lock)),
        flavor=recipe.flavor.name,
        python_tag=recipe.python_tag,
        materials=tuple(part.material for part in recipe.parts),
        builder_version=__version__,
    )
    path = f"{dist_info}/{APPLIED_FOLDER}/{recipe.stack.name}/{FILE_NAME}"
    return MadeMember(name=path, data=format_provenance(provenance, subjects))
