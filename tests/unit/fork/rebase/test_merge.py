"""What git says of a merge, read."""

from __future__ import annotations

from vllm_patchkit.fork.rebase.merge import parse_conflicts, parse_merge

OID = "0123456789012345678901234567890123456789"


def test_clean_merge() -> None:
    merged = parse_merge(f"{OID}\0\0001\0x.py\0Auto-merging\0Auto-merging x.py\n\0".encode())
    assert (merged.tree, merged.clean) == (OID, True)
    assert merged.messages == (("Auto-merging", "Auto-merging x.py"),)


def test_conflict_with_a_space_in_its_name() -> None:
    record = "".join(f"100644 {OID} {stage}\ta b.py\0" for stage in (1, 2, 3))
    message = "1\0a b.py\0CONFLICT (contents)\0CONFLICT (content): Merge conflict in a b.py\n\0"
    merged = parse_merge(f"{OID}\0{record}\0{message}".encode())
    assert not merged.clean
    assert sorted(merged.stages["a b.py"]) == [1, 2, 3]


MARKED = b"""\
one
<<<<<<< ours
two
TWO
||||||| base
2
=======
zwei
>>>>>>> theirs
three
<<<<<<< ours
||||||| base
=======
added
>>>>>>> theirs
"""


def test_conflicts_are_counted_in_the_lines_of_the_release() -> None:
    first, second = parse_conflicts("x", MARKED)
    assert (first.line, first.upstream, first.base, first.patch) == (
        2,
        "two\nTWO\n",
        "2\n",
        "zwei\n",
    )
    assert (second.line, second.upstream, second.patch) == (5, "", "added\n")
