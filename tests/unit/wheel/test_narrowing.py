"""What a stack requires reaches METADATA as lines of its own, and only ever tightens."""

from __future__ import annotations

import email
import email.policy
from itertools import product

import pytest
from packaging.specifiers import SpecifierSet

from vllm_patchkit.errors import StackError
from vllm_patchkit.wheel.narrowing import narrowing_faults, require_narrower
from vllm_patchkit.wheel.requirements import (
    add_requirements,
    listed_requirements,
    missing_requirements,
    remove_requirements,
)

METADATA = (
    b"Metadata-Version: 2.4\nName: vllm\nVersion: 0.11.0\n"
    b"Requires-Dist: transformers>=4.55.2\nRequires-Dist: Typing_Extensions>=4.10\n"
    b'Requires-Dist: six>=1.16.0; python_version > "3.11"\nRequires-Dist: torch==2.8.0\n'
    b"Requires-Dist: regex\n"
    b'Provides-Extra: bench\nRequires-Dist: pandas; extra == "bench"\n'
    b"\nRequires-Dist: not-a-header\n"
)


def listed(metadata: bytes) -> list[str]:
    message = email.message_from_bytes(metadata, policy=email.policy.compat32)
    return message.get_all("Requires-Dist") or []


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_lines_follow_what_the_base_requires_and_come_out_again(line_end: bytes) -> None:
    before = METADATA.replace(b"\n", line_end)
    after = add_requirements(before, ["transformers<5", "helper>=1"])
    assert listed(after) == [
        "transformers>=4.55.2",
        "Typing_Extensions>=4.10",
        'six>=1.16.0; python_version > "3.11"',
        "torch==2.8.0",
        "regex",
        "transformers<5",
        "helper>=1",
        'pandas; extra == "bench"',
    ]
    assert after.count(b"\r\n") == (after.count(b"\n") if line_end == b"\r\n" else 0)
    assert remove_requirements(after, ["transformers<5", "helper>=1"]) == before


def test_adding_twice_changes_nothing() -> None:
    after = add_requirements(METADATA, ["a<2"])
    assert add_requirements(after, ["a<2"]) == after
    assert missing_requirements(after, ["a<2", "b", "b"]) == ("b",)


@pytest.mark.parametrize("metadata", [b"Name: a\n\nText\n", b"Name: a\n", b"Name: a"])
def test_metadata_without_a_requirement_gets_one(metadata: bytes) -> None:
    after = add_requirements(metadata, ["b"])
    assert listed(after) == ["b"]
    assert email.message_from_bytes(after)["Name"] == "a"
    assert after.endswith(b"\n\nText\n") == metadata.endswith(b"Text\n")


def test_requirements_of_extras_are_not_the_base_s() -> None:
    assert "pandas" not in " ".join(listed_requirements(METADATA))


@pytest.mark.parametrize(
    "requirement",
    [
        "transformers<5",
        "transformers>=4.55.2,<5",
        "transformers==4.57.6",
        "transformers~=4.57",
        "transformers!=4.56.0",
        "transformers>=4.56",
        "typing-extensions<5",
        "six<2",
        "regex>2020",
        'helper>=1; python_version < "3.12"',
        "helper",
        "pandas<3",
        "helper[fast]<2",
    ],
)
def test_a_narrower_range_or_a_new_distribution_is_fine(requirement: str) -> None:
    assert list(narrowing_faults([requirement], METADATA)) == []


@pytest.mark.parametrize(
    ("requirement", "fault"),
    [
        ("transformers", "says no more than"),
        ("transformers>=4.55.2", "says no more than"),
        ("transformers>=4.0", ">=4.0 is not narrower"),
        ("transformers>=4.0,<5", ">=4.0 is not narrower"),
        ("transformers!=3.0", "!=3.0 is not narrower"),
        ("transformers<4.55", "no version satisfies"),
        ("transformers==4.40.*", "no version satisfies"),
        ("torch>=2.8", ">=2.8 is not narrower"),
        ("torch==2.9.0", "no version satisfies"),
        ("helper>2,<1", "no version satisfies"),
        ("transformers[torch]<5", "asks for the extra torch"),
        ("helper @ https://example.org/h.whl", "names an address"),
        ('helper; extra == "x"', "belongs to an extra"),
        ("transformers===4.57", "=== compares text"),
        ("transformers << 5", "is no requirement"),
    ],
)
def test_anything_else_is_named_with_its_reason(requirement: str, fault: str) -> None:
    (found,) = narrowing_faults([requirement], METADATA)
    assert found.startswith(repr(requirement))
    assert fault in found


def test_a_distribution_stands_there_once() -> None:
    assert [
        fault.partition(": ")[2]
        for fault in narrowing_faults(["helper<2", "Helper>1", 'helper; os_name == "nt"'], METADATA)
    ] == ["the distribution stands there twice"]


def test_every_fault_is_raised_at_once() -> None:
    with pytest.raises(StackError, match=r"(?s)tiny.*>=4\.0.*an address") as told:
        require_narrower("tiny", ["transformers>=4.0", "a @ file:///x"], METADATA)
    assert "stack-format" in (told.value.hint or "")


@pytest.mark.parametrize("base", ["", ">=1.2", ">=1.2,<3", "~=1.4", "==1.*", "!=1.5", ">1!0.5"])
@pytest.mark.parametrize("clause", [">=1.0", ">=1.4.1", "<2", "<=1.5", "!=1.7.1", "==1.6", "<9"])
def test_the_verdict_is_that_of_trying_every_version(base: str, clause: str) -> None:
    """Versions on a fine grid decide, with packaging as the judge."""
    numbers = product(("", "1!"), range(12), range(9), range(4), (".dev0", "rc1", "", ".post1"))
    grid = [f"{epoch}{a}.{b}.{c}{end}" for epoch, a, b, c, end in numbers]
    allowed = list(SpecifierSet(base).filter(grid, prereleases=True))
    left = list(SpecifierSet(clause).filter(allowed, prereleases=True))
    faults = list(narrowing_faults([f"a{clause}"], f"Requires-Dist: a{base}\n".encode()))
    assert (faults == []) == (0 < len(left) < len(allowed))
