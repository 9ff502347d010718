"""What a stack requires is required by its wheel, in every document that tells of it."""

from __future__ import annotations

import json
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from support.environments import make_stack
from support.stacks import METADATA
from support.wheels import METADATA as BASE_METADATA
from support.wheels import TAGS, make_wheel
from vllm_patchkit.errors import StackError
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.wheel.build import build_wheel
from vllm_patchkit.wheel.check import check_wheel

QUIET = Console(quiet=True)
BASE = ["regex", "xformers>=1"]
# The flavor of the tiny inputs drops xformers, and with it what the stack says of xformers.
REQUIRED = {
    "cuda": [*BASE, "regex<2026", "xformers<2", "helper>=1"],
    "cpu": ["regex", "intel-openmp==1", "regex<2026", "helper>=1"],
}


def stack_with(folder: Path, *requires: str) -> Path:
    table = f"\n[wheel]\nrequires = {json.dumps(requires)}\n"
    return make_stack(folder / "requires" / "tiny", metadata=METADATA + table)


def base(folder: Path) -> Path:
    """Return a wheel like the pinned one that leaves room in the range of xformers."""
    text = BASE_METADATA.format(name="vllm", version="0.11.0").replace("==1", ">=1")
    name = f"vllm-0.11.0-1room-{TAGS}.whl"
    return make_wheel(folder, file_name=name, info={"METADATA": text.encode()})


def read(wheel: Path, name: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (member,) = [one for one in archive.namelist() if one.endswith(name)]
        return archive.read(member).decode()


@pytest.mark.parametrize("flavor", ["cuda", "cpu"])
def test_metadata_sbom_and_record_agree(
    cache: Path, tmp_path: Path, out: Path, flavor: str
) -> None:
    asked = ("regex<2026", "xformers<2", "helper>=1")
    stack = stack_with(tmp_path, *asked)
    wheel = build_wheel(stack, flavor=flavor, out=out, base=base(tmp_path), console=QUIET).path
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (info,) = site.glob("*.dist-info")
    assert PathDistribution(info).requires == REQUIRED[flavor]
    added = [one for one in asked if one in REQUIRED[flavor]]
    component = json.loads(read(wheel, ".cdx.json"))["metadata"]["component"]
    assert component["properties"] == [
        {"name": "vllm-patchkit:requires", "value": one} for one in added
    ]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(read(wheel, ".cdx.json")) is None
    assert json.loads(read(wheel, "/applied.json"))["requires"] == added
    assert check_wheel(wheel, base=base(tmp_path)).differences == ()


def test_a_wider_range_leaves_no_wheel(cache: Path, tmp_path: Path, out: Path) -> None:
    with pytest.raises(StackError, match=r"'xformers>=0': >=0 is not narrower .*xformers==1"):
        build_wheel(stack_with(tmp_path, "xformers>=0"), flavor="cuda", out=out, console=QUIET)
    assert not list(out.glob("*"))
