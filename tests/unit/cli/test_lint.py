"""vllm-patchkit lint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.environments import RELEASE, make_stack
from support.stacks import METADATA, write_stack, write_tree
from support.wheels import make_wheel
from vllm_patchkit.cli import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_stack(tmp_path / "patches" / "tiny")


@pytest.fixture
def base(tmp_path: Path) -> str:
    return str(write_tree(tmp_path / "base"))


def test_a_good_stack(folder: Path, base: str, capsys):
    assert main(["lock", str(folder), "--base", base]) == 0
    capsys.readouterr()
    assert main(["lint", str(folder), "--base", base]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"{folder}: 0 findings\n"


def test_every_finding_is_printed_with_its_remedy(folder: Path, base: str, capsys):
    """Place, code, fault, message; below it what to do. Exit 1."""
    patch = folder / "0001-Return-three.patch"
    patch.write_bytes(patch.read_bytes().replace(b"Origin: vendor\n", b""))
    assert main(["lint", str(folder), "--base", base]) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        "0001-Return-three.patch: H203 trailer missing: no Origin: trailer",
        "    add it to the last paragraph of the commit message",
        "lock.json: L501 lock missing: the stack has no lock",
        "    write the lock: vllm-patchkit lock",
    ]
    assert captured.err == f"{folder}: 2 findings\n"


def test_json(folder: Path, base: str, capsys):
    assert main(["lint", str(folder), "--base", base, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document == {
        "format": 1,
        "command": "lint",
        "stack": "tiny",
        "ignored": 0,
        "findings": [
            {
                "code": "L501",
                "fault": "lock missing",
                "place": "lock.json",
                "message": "the stack has no lock",
                "remedy": "write the lock: vllm-patchkit lock",
            }
        ],
    }


def test_by_name_from_a_folder_below(folder: Path, base: str, monkeypatch, capsys):
    monkeypatch.chdir(folder.parent)
    assert main(["lint", "tiny", "--base", base, "-q"]) == 1
    assert capsys.readouterr().err == ""


def test_metadata_that_cannot_be_read_needs_no_base(folder: Path, capsys):
    """Nothing is fetched for a stack that does not say what it is cut from."""
    (folder / "stack.toml").write_text("format = 7\n")
    assert main(["lint", str(folder)]) == 1
    assert capsys.readouterr().out.startswith("stack.toml: S101 metadata unreadable: ")


def test_an_unknown_stack_is_a_usage_error(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["lint", "nothing"]) == 2
    assert "there is no stack 'nothing'" in capsys.readouterr().err


def test_a_base_that_is_not_there(folder: Path, capsys):
    assert main(["lint", str(folder), "--base", "/nowhere"]) == 2
    assert "there is no /nowhere" in capsys.readouterr().err


def test_requirements_are_checked_against_the_base_s_metadata(tmp_path: Path, capsys):
    """A wheel has METADATA; a tree has none, so that nothing can be said there."""
    wheel = str(make_wheel(tmp_path, RELEASE))
    table = '\n[wheel]\nrequires = ["regex<3", "xformers>=0.9", "helper @ file:///x"]\n'
    folder = make_stack(tmp_path / "patches" / "tiny", metadata=METADATA + table)
    assert main(["lint", str(folder), "--base", wheel]) == 1
    assert capsys.readouterr().out.splitlines()[:3] == [
        "S110 requirement invalid: 2 findings",
        "    stack.toml: [wheel] requires 'xformers>=0.9': "
        ">=0.9 is not narrower than the base's xformers==1",
        "    stack.toml: [wheel] requires 'helper @ file:///x': "
        "names an address; an index decides where a distribution comes from",
    ]


def lock(folder: Path, base: str, capsys) -> None:
    assert main(["lock", str(folder), "--base", base]) == 0
    capsys.readouterr()


def test_findings_of_one_code_are_one_group(folder: Path, base: str, capsys):
    """Each message once with its places, the remedy once."""
    for patch in folder.glob("*.patch"):
        data = patch.read_bytes().replace(b"Origin: vendor\n", b"")
        patch.write_bytes(
            data.replace(b"Forwarded: not-needed\n", b"") if "0003" in patch.name else data
        )
    lock(folder, base, capsys)
    assert main(["lint", str(folder), "--base", base]) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        "H203 trailer missing: 4 findings",
        "    0001 to 0003: no Origin: trailer",
        "    0003-Stop-with-four.patch: no Forwarded: trailer",
        "    add it to the last paragraph of the commit message",
    ]
    assert captured.err == f"{folder}: 4 findings\n"


def test_an_ignored_code_is_counted_and_nothing_else(folder: Path, base: str, capsys):
    patch = folder / "0001-Return-three.patch"
    patch.write_bytes(patch.read_bytes().replace(b"Origin: vendor\n", b""))
    lock(folder, base, capsys)
    assert main(["lint", str(folder), "--base", base, "--ignore", "H203"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"{folder}: 0 findings, 1 ignored (H203)\n"


def test_a_stack_ignores_with_a_reason(folder: Path, base: str, capsys):
    patch = folder / "0001-Return-three.patch"
    patch.write_bytes(patch.read_bytes().replace(b"Origin: vendor\n", b""))
    toml = folder / "stack.toml"
    before = toml.read_text()
    toml.write_text(before + '\n[lint.ignore]\nH203 = "from somebody else"\n')
    lock(folder, base, capsys)
    assert main(["lint", str(folder), "--base", base]) == 0
    capsys.readouterr()
    for line, told in [
        ('H203 = " "', "H203 is ignored without a reason"),
        ('H203 = "x"\nH201 = "x"', "H201 is ignored, and nothing has it any more"),
        ('H203 = "x"\nL503 = "x"', "L503 cannot be ignored"),
        ('H203 = "x"\nH999 = "x"', "there is no code 'H999'"),
    ]:
        toml.write_text(f"{before}\n[lint.ignore]\n{line}\n")
        lock(folder, base, capsys)
        assert main(["lint", str(folder), "--base", base]) == 1
        out = capsys.readouterr().out
        assert f"stack.toml: S111 ignore invalid: [lint.ignore] {told}" in out


@pytest.mark.parametrize("code", ["A401", "L503", "X1", "h203"])
def test_what_cannot_be_ignored_is_a_usage_error(folder: Path, base: str, capsys, code: str):
    assert main(["lint", str(folder), "--base", base, "--ignore", code]) == 2
    assert "is no code that can be ignored" in capsys.readouterr().err
