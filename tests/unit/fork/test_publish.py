"""What does not compile is found in the patches that are new, whatever led to their files."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

from support.stacks import BASE, METADATA, Change, blob, make_diff, make_mail
from vllm_patchkit.fork.publish import compile_faults
from vllm_patchkit.stack.folder import StackFiles, make_stack
from vllm_patchkit.stack.model import Stack

ENGINE, MOTOR, REQUEST = "vllm/engine.py", "vllm/motor.py", "vllm/request.py"
BROKEN = {**BASE, ENGINE: BASE[ENGINE].replace(b"return 1", b"return (")}
MOVED = {path: data for path, data in BROKEN.items() if path != ENGINE}
MOVED[MOTOR] = BROKEN[ENGINE]
OTHER = {**MOVED, REQUEST: b"class Request(:\n"}
AGAIN = {**OTHER, MOTOR: OTHER[MOTOR].replace(b"return 2", b"return )")}
MENDED = {**AGAIN, MOTOR: BASE[ENGINE]}
RENAME = (
    f"diff --git a/{ENGINE} b/{MOTOR}\nsimilarity index 100%\n"
    f"rename from {ENGINE}\nrename to {MOTOR}\n"
).encode()


def test_a_patch_that_is_checked_already_costs_no_verdict(tmp_path: Path) -> None:
    """For each choice of patches to pass over, what is found is all, but for those patches."""
    diffs = {
        "Break the engine": make_diff(BASE, BROKEN),
        "Name it motor": RENAME,
        "Break requests": make_diff(MOVED, OTHER),
        "Break the motor": make_diff(OTHER, AGAIN),
        "Mend the motor": make_diff(AGAIN, MENDED),
    }
    assert blob(MOVED[MOTOR]).encode() in diffs["Break the motor"]
    stack = stack_of(diffs)
    every = compile_faults(stack, BASE.get, skip=frozenset())
    assert [fault[:4] for fault in every] == ["0001", "0002", "0003", "0004"]
    for count in range(len(diffs) + 1):
        for some in combinations(stack.patches, count):
            names = {patch.name for patch in some}
            found = compile_faults(stack, BASE.get, skip=frozenset(patch.data for patch in some))
            assert found == tuple(one for one in every if one.partition(":")[0] not in names)


def stack_of(diffs: dict[str, bytes]) -> Stack:
    patches = {
        f"{number:04d}-{subject.replace(' ', '-')}.patch": make_mail(Change(subject, {}), diff)
        for number, (subject, diff) in enumerate(diffs.items(), 1)
    }
    series = "".join(f"{name}\n" for name in patches).encode()
    return make_stack(StackFiles(place=".", metadata=METADATA.encode(), series=series,
                                 patches=patches))  # fmt: skip
