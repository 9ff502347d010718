"""``[smoke]``: what it names, and that it is no part of a stack's digest."""

from pathlib import Path

import pytest

from support.stacks import METADATA, write_stack
from vllm_patchkit.errors import StackError
from vllm_patchkit.stack.lock import stack_digest
from vllm_patchkit.stack.metadata import parse_metadata, without_smoke
from vllm_patchkit.stack.read import read_files, read_stack

TABLE = '[smoke]  # how it is proved\npackage = "mine"\narchitectures = [\n  "A",\n]\n'
PROBE = '\n[[probe]]\npatch = "0001"\nexpression = "1"\n'


def test_it_is_read() -> None:
    smoke = parse_metadata(f"{METADATA}\n{TABLE}".encode(), "stack.toml").smoke
    assert smoke.package == "mine"
    assert smoke.architectures == ("A",)


@pytest.mark.parametrize(
    ("without", "table"),
    [
        (METADATA, f"{METADATA}\n{TABLE}"),
        (METADATA + PROBE, f"{METADATA}\n{TABLE}{PROBE}"),
        (METADATA + PROBE, f"{METADATA}{PROBE}\n{TABLE}"),
        (METADATA + PROBE, f"{METADATA}{PROBE}\n{TABLE}".rstrip("\n")),
    ],
)
def test_the_digest_is_that_of_the_stack_without_it(
    tmp_path: Path, without: str, table: str
) -> None:
    plain = read_stack(write_stack(tmp_path / "plain", metadata=without))
    folder = write_stack(tmp_path / "proved", metadata=table)
    (folder / "mine").mkdir()
    proved = read_stack(folder)
    assert proved.smoke.package == "mine"
    assert without_smoke(table.encode()) == without.encode()
    assert stack_digest(plain) == stack_digest(proved)


@pytest.mark.parametrize(
    "text",
    [
        'smoke = { package = "mine" }\n' + METADATA,
        METADATA.replace('summary = "', 'summary = """\n[smoke]\nx = "1"\n""" # "'),
        METADATA + '\n[smoke]\npackage = "mine"\n[smoke.more]\nx = 1\n',
        METADATA + '\n[smoke]\npackage = "../up"\n',
        METADATA + '\n[smoke]\npackages = "mine"\n',
    ],
)
def test_nothing_can_hide_from_the_digest(text: str) -> None:
    with pytest.raises(StackError, match="smoke"):
        parse_metadata(text.encode(), "stack.toml")


def test_the_package_is_its_files_without_bytecode(tmp_path: Path) -> None:
    folder = write_stack(tmp_path / "stack", metadata=f"{METADATA}\n{TABLE}")
    with pytest.raises(StackError, match="no such folder"):
        read_files(folder)
    (folder / "mine/__pycache__").mkdir(parents=True)
    (folder / "mine/__pycache__/proof.pyc").write_bytes(b"")
    (folder / "mine/proof.py").write_bytes(b"PROOF = None\n")
    assert read_files(folder).own == {"mine/proof.py": b"PROOF = None\n"}
