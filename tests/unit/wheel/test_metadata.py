"""File names and metadata change where they must and nowhere else."""

from __future__ import annotations

import email
import email.policy

import pytest
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from vllm_patchkit.errors import WheelError
from vllm_patchkit.wheel.metadata import (
    WheelName,
    change_requirements,
    change_wheel_file,
    find_header,
    header,
    local_version,
    set_header,
)

METADATA = (
    b"Metadata-Version: 2.4\nName: vllm\nVersion: 0.11.0\nSummary: x\n"
    b"Requires-Dist: regex\nRequires-Dist: ray[cgraph]>=2.48.0\nRequires-Dist: torch==2.8.0\n"
    b'Requires-Dist: xFormers==0.0.32; platform_system == "Linux"\n'
    b'Requires-Dist: ray; extra == "bench"\n'
    b"\nVersion: 9\n\nRequires-Dist: xformers\n"
)
NAMES = [
    "vllm-0.11.0-cp38-abi3-manylinux1_x86_64.whl",
    "vllm-0.11.0+emu3.5.1.cpu-cp312-cp312-manylinux_2_32_x86_64.whl",
    "vllm-0.11.0-1local-cp38-abi3-manylinux1_x86_64.whl",
    "six-1.0-py2.py3-none-any.whl",
    "a_b-1.0-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_name_is_read_as_packaging_reads_it(name: str) -> None:
    parsed = WheelName.parse(name)
    distribution, version, build, tags = parse_wheel_filename(name)
    assert parsed.distribution.replace("_", "-") == distribution
    assert Version(parsed.version) == version
    assert (parsed.build is None) == (build == ())
    assert set(parsed.tags) == {str(tag) for tag in tags}
    assert parsed.file_name == name


@pytest.mark.parametrize(
    "name", ["vllm.whl", "vllm-1-py3-none-any.zip", "a-1-b-c-py3-none-any.whl", "../a-1-b-c-d.whl"]
)
def test_another_file_name_is_refused(name: str) -> None:
    with pytest.raises(WheelError, match="not the name of a wheel"):
        WheelName.parse(name)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_only_the_version_line_changes(line_end: bytes) -> None:
    before = METADATA.replace(b"\n", line_end)
    after = set_header(before, "Version", "0.11.0+emu3.5.1")
    changed = [
        (old, new)
        for old, new in zip(before.split(b"\n"), after.split(b"\n"), strict=True)
        if old != new
    ]
    end = line_end.removesuffix(b"\n")
    assert changed == [(b"Version: 0.11.0" + end, b"Version: 0.11.0+emu3.5.1" + end)]


def test_the_description_is_no_header() -> None:
    assert header(METADATA, "Version") == "0.11.0"
    assert find_header(b"Name: a\n\nLicense: x\n", "License") is None


@pytest.mark.parametrize("text", [b"Name: vllm\n\nVersion: 1\n", b"Version: 1\nversion: 2\n\n"])
def test_a_version_that_is_missing_or_there_twice_is_refused(text: bytes) -> None:
    with pytest.raises(WheelError, match="lines 'Version:', where one belongs"):
        set_header(text, "Version", "2")


def test_requirements_are_replaced_in_place_and_those_of_extras_stay() -> None:
    after = change_requirements(METADATA, ["ray", "xformers"], ["intel-openmp==2024.2.1"])
    message = email.message_from_bytes(after, policy=email.policy.compat32)
    assert message.get_all("Requires-Dist") == [
        "regex",
        "intel-openmp==2024.2.1",
        "torch==2.8.0",
        'ray; extra == "bench"',
    ]
    assert after.endswith(b"\n\nVersion: 9\n\nRequires-Dist: xformers\n")


def test_a_requirement_that_is_not_there_cannot_be_dropped() -> None:
    with pytest.raises(WheelError, match="does not require triton"):
        change_requirements(METADATA, ["triton", "ray"], [])


def test_wheel_file_gets_the_tags_of_the_file_name() -> None:
    before = (
        b"Wheel-Version: 1.0\r\nGenerator: setuptools\r\nRoot-Is-Purelib: false\r\nTag: x\r\n\r\n"
    )
    after = change_wheel_file(before, ["cp38-abi3-manylinux1_x86_64"], "tool 1")
    assert after.decode().splitlines() == [
        "Wheel-Version: 1.0",
        "Generator: tool 1",
        "Root-Is-Purelib: false",
        "Tag: cp38-abi3-manylinux1_x86_64",
        "",
    ]


@pytest.mark.parametrize("text", [b"", b"Tag: x\n", b"Wheel-Version: 2.0\n"])
def test_a_wheel_file_of_another_format_is_refused(text: bytes) -> None:
    with pytest.raises(WheelError, match="another format"):
        change_wheel_file(text, [], "tool")


@pytest.mark.parametrize("labels", [("emu3.5.1",), ("emu3.5.1", "cpu"), ("emu3.5.12.d00ab34ef",)])
@pytest.mark.parametrize("base", ["0.11.0", "0.11.0+cu129", "0.11.0.post2"])
def test_versions_are_normal_and_newer_than_the_base(base: str, labels: tuple[str, ...]) -> None:
    version = local_version(base, *labels)
    assert str(Version(version)) == version
    assert Version(version) > Version(base)
