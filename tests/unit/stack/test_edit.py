"""stack.toml edited: what was asked for changes, every other byte stays."""

from __future__ import annotations

import sys

import pytest

from vllm_patchkit.errors import StackError
from vllm_patchkit.stack.edit import edit_metadata, format_metadata
from vllm_patchkit.stack.model import Base, Metadata

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOML = b"""\
# A comment = "kept"
format = 1

[stack]
name = "x"
version = 3
patch-count = 2

[base]
distribution = "vllm"
version = "0.11.0"  # why
root = "vllm"

[[probe]]
patch = "0001"
imports = ["a"]
expression = "'[base]' != 'x'"

[[probe]]
patch = "0002"
imports = []
expression = "True"
"""


def test_only_what_was_asked_for_changes() -> None:
    edited = edit_metadata(TOML, base={"version": "0.11.1"}, patch_count=7)
    assert edited == TOML.replace(b'"0.11.0"', b'"0.11.1"').replace(b"count = 2", b"count = 7")


def test_probes_follow_their_patches_and_go_with_them() -> None:
    edited = edit_metadata(TOML, numbers={"0001": None, "0002": "0001"})
    assert edited.count(b"[[probe]]") == 1
    assert b'patch = "0001"\nimports = []' in edited
    swapped = edit_metadata(TOML, numbers={"0001": "0002", "0002": "0001"})
    assert swapped.index(b'"0002"') < swapped.index(b'"0001"')


def test_missing_base_is_an_error() -> None:
    with pytest.raises(StackError, match="base"):
        edit_metadata(b"[stack]\nversion = 1\n", base={"version": "2"})


@pytest.mark.parametrize(
    "base",
    [
        'aliases = ["vllm-cpu"]\nversion = "1"\nroot = ""',
        "version = '1'\nroot = ''",
        '# see [base] and [stack]\nversion = "1"',
        'version="1" # [x]',
        'version = """1"""',
        "root = '''a\n[base]\nversion = \"2\"\n'''\nversion = '1'",
    ],
)
def test_any_toml_can_be_edited(base: str) -> None:
    """What tomllib reads afterwards is what it read before, with the one value changed."""
    before = f"[stack]\nname = 'x'\n[base]\n{base}\n[[probe]]\npatch = '0001'\n"
    after = edit_metadata(before.encode(), base={"version": "2.0"}, numbers={"0001": "0002"})
    expected = tomllib.loads(before)
    expected["base"]["version"] = "2.0"
    expected["probe"][0]["patch"] = "0002"
    assert tomllib.loads(after.decode()) == expected
    unchanged = edit_metadata(before.encode(), base={"version": "1"}, numbers={"0001": "0001"})
    assert unchanged == before.encode()


@pytest.mark.parametrize("text", ['"', "\\", "line\nline", "\x7f\x01", "日本", "[x]", "'\"'''"])
def test_any_text_can_be_written(text: str) -> None:
    """A summary of any characters is read again as it is."""
    base = Base(distribution="d", version="1", root="r")
    metadata = Metadata(name="x", label="x", version=1, summary=text, subsystems=(text,), base=base)
    read = tomllib.loads(format_metadata(metadata).decode())
    assert (read["stack"]["summary"], read["stack"]["subsystems"]) == (text, [text])


def test_a_key_can_be_taken_out() -> None:
    """A value of None takes the key's line and nothing else."""
    text = b'[base]\nversion = "1"\nsha256 = "x"\nroot = ""\n'
    assert edit_metadata(text, base={"sha256": None}) == text.replace(b'sha256 = "x"\n', b"")
