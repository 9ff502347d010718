"""Planning a patched wheel: what every member will be, before one byte is written.

Nothing but reading members of the inputs is done here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vllm_patchkit.archive.flaws import require_no_flaws
from vllm_patchkit.archive.names import check_name, check_together
from vllm_patchkit.diff.model import Contents
from vllm_patchkit.errors import WheelError
from vllm_patchkit.stack.modes import EXECUTABLE, mode_of, modes_after
from vllm_patchkit.wheel.distinfo import carried_info, made_info, provenance_member
from vllm_patchkit.wheel.members import MadeMember, PlannedMember, RawMember, WheelPlan
from vllm_patchkit.wheel.metadata import WheelName, local_version
from vllm_patchkit.wheel.recipe import Part, Recipe
from vllm_patchkit.wheel.record import format_record


def plan_wheel(recipe: Recipe, patched: Contents) -> WheelPlan:
    """Return the plan of a patched wheel.

    :param patched: what the stack makes of the base's files.
    :raises WheelError: the members cannot be together in one wheel.
    """
    name = _wheel_name(recipe)
    dist_info = f"{name.stem}.dist-info"
    payload = _payload(recipe, patched)
    made = made_info(recipe, name, dist_info)
    provenance = provenance_member(recipe, dist_info, [*payload, *made])
    members: list[PlannedMember] = [
        *(_moved(member, recipe.base, name) for member in payload),
        *carried_info(recipe.base, dist_info),
        *sorted([*made, provenance], key=lambda member: member.name),
    ]
    own_path = f"{dist_info}/RECORD"
    record = format_record((member.row for member in members), own_path)
    members.append(MadeMember(name=own_path, data=record))
    names = [member.name for member in members]
    flaws = [flaw for member in names for flaw in check_name(member)]
    require_no_flaws(f"the planned {name.file_name}", [*flaws, *check_together(names)])
    return WheelPlan(name=name, members=tuple(members))


def _wheel_name(recipe: Recipe) -> WheelName:
    """Return the base's name with our version, and the tags of what is compiled in it."""
    base = recipe.base.contents
    labels = [recipe.source.label]
    if recipe.flavor.label:
        labels.append(recipe.flavor.label)
    name = base.name.with_version(local_version(base.version, *labels))
    if recipe.extension is None:
        return name
    compiled = recipe.extension.contents.name
    platform = recipe.extension.platform or compiled.platform
    return replace(name, python=compiled.python, abi=compiled.abi, platform=platform)


def _payload(recipe: Recipe, patched: Contents) -> list[PlannedMember]:
    """Return every member outside the dist-info: the base's order, then what is new, sorted."""
    base = recipe.base.contents
    modes = _modes(recipe)
    taken = {name: member for name, member in _taken(recipe) if name not in patched}
    members: list[PlannedMember] = []
    for member in base.archive.members:
        if member.is_folder or member.name.startswith(f"{base.dist_info}/"):
            continue
        if member.name in taken:
            members.append(taken.pop(member.name))
        elif member.name in patched:
            data = patched[member.name]
            executable = modes[member.name]
            if data is not None:
                members.append(MadeMember(name=member.name, data=data, executable=executable))
        elif recipe.keeps(member.name):
            row = base.rows[member.name]
            members.append(RawMember(name=member.name, role="base", member=member, row=row))
    new = [
        MadeMember(name=path, data=data, executable=modes[path])
        for path, data in patched.items()
        if data is not None and base.archive.find(path) is None
    ]
    fresh: list[PlannedMember] = [*new, *taken.values()]
    return members + sorted(fresh, key=lambda member: member.name)


def _modes(recipe: Recipe) -> dict[str, bool]:
    """Return which of the patched members are executable, as ``git apply`` leaves them."""
    archive = recipe.base.contents.archive

    def read(path: str) -> str | None:
        member = archive.find(path)
        return None if member is None else mode_of(executable=member.executable)

    after = modes_after((patch.files for patch in recipe.source.stack.patches), read)
    return {path: mode == EXECUTABLE for path, mode in after.items()}


def _taken(recipe: Recipe) -> Iterator[tuple[str, RawMember]]:
    """Yield the members that come out of the extension wheel.

    :raises WheelError: it has none of them.
    """
    if recipe.extension is None:
        return
    source = recipe.extension.contents
    if not any(recipe.flavor.takes(member.name) for member in source.archive.members):
        raise WheelError(
            f"{source.archive.path.name} has no {' or '.join(recipe.flavor.take)}, which flavor "
            f"{recipe.flavor.name} takes from it"
        )
    for member in source.archive.members:
        if recipe.flavor.takes(member.name):
            row = source.rows[member.name]
            yield member.name, RawMember(name=member.name, role="extension", member=member, row=row)


def _moved(member: PlannedMember, base: Part, name: WheelName) -> PlannedMember:
    """Return the member with the data folder named after our version."""
    folder = f"{base.contents.data_folder}/"
    if not member.name.startswith(folder):
        return member
    path = f"{name.stem}.data/{member.name.removeprefix(folder)}"
    if isinstance(member, RawMember):
        return replace(member, name=path, row=replace(member.row, path=path))
    return replace(member, name=path)
