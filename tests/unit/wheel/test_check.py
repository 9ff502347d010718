"""--check tells a wheel that its provenance explains from one that was touched."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from support.stacks import add_scenarios
from support.wheels import BASE, TAGS, make_wheel
from vllm_patchkit.cli import main
from vllm_patchkit.errors import WheelError
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.wheel.build import build_wheel
from vllm_patchkit.wheel.check import check_wheel

QUIET = Console(quiet=True)


@pytest.fixture
def built(cache: Path, stack: Path, out: Path) -> Path:
    return build_wheel(stack, flavor="cuda", out=out, console=QUIET).path


def change_byte(wheel: Path, name: str, offset: int = 0) -> None:
    """Flip one bit in the data of a member; sizes and headers stay."""
    with zipfile.ZipFile(wheel) as archive:
        info = archive.getinfo(name)
    data = bytearray(wheel.read_bytes())
    data[info.header_offset + 30 + len(name.encode()) + offset] ^= 1
    wheel.write_bytes(data)


def rewrite(wheel: Path, edit: Callable[[dict[str, bytes]], None]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    edit(files)
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)


@pytest.mark.parametrize("flavor", ["cuda", "cpu"])
def test_a_wheel_is_what_it_says(cache: Path, stack: Path, out: Path, flavor: str) -> None:
    wheel = build_wheel(stack, flavor=flavor, out=out, console=QUIET).path
    assert check_wheel(wheel).differences == ()


def test_scenarios_of_a_stacks_own_travel_with_the_wheel(
    cache: Path, stack: Path, out: Path
) -> None:
    """Name and label stay; RECORD and the statement list them, and they are built again."""
    plain = build_wheel(stack, out=out).path.name
    add_scenarios(stack)
    (stack / "mine/__pycache__").mkdir()
    (stack / "mine/__pycache__/proof.pyc").write_bytes(b"")
    wheel = build_wheel(stack, out=out / "with").path
    assert wheel.name == plain
    assert check_wheel(wheel).differences == ()
    folder = "vllm-0.11.0+tiny.1.dist-info/vllm_patchkit/tiny"
    with zipfile.ZipFile(wheel) as archive:
        inside = [name for name in archive.namelist() if name.startswith(f"{folder}/mine/")]
        assert archive.read(f"{folder}/stack.toml") == (stack / "stack.toml").read_bytes()
        record = archive.read("vllm-0.11.0+tiny.1.dist-info/RECORD").decode()
        statement = archive.read(f"{folder}/provenance.json").decode()
    assert sorted(inside) == [f"{folder}/mine/deep/data.txt", f"{folder}/mine/proof.py"]
    assert all(name in record and name in statement for name in inside)
    change_byte(wheel, inside[0])
    with pytest.raises(WheelError):
        check_wheel(wheel)


def test_the_stack_on_disk_plays_no_part(built: Path, stack: Path) -> None:
    for path in stack.iterdir():
        path.unlink()
    assert check_wheel(built).differences == ()


@pytest.mark.parametrize(
    "name",
    ["vllm/_C.abi3.so", "vllm/engine.py", "vllm-0.11.0+tiny.1.dist-info/licenses/LICENSE"],
)
def test_a_changed_byte_names_its_member(built: Path, name: str) -> None:
    change_byte(built, name, 3)
    assert check_wheel(built).differences == (f"{name} has other bytes",)


def test_a_changed_mode_is_found_in_the_central_directory(built: Path) -> None:
    data = bytearray(built.read_bytes())
    directory = data.index(b"PK\x01\x02")
    data[directory + 40] ^= 0x80
    built.write_bytes(data)
    assert check_wheel(built).differences == ("(central directory) has other bytes",)


def test_another_file_name_is_found(built: Path) -> None:
    other = built.with_name(f"vllm-0.11.0+tiny.1-1-{TAGS}.whl")
    built.rename(other)
    assert check_wheel(other).differences == (f"the file name should be {built.name}",)


def test_an_added_member_is_found(built: Path) -> None:
    """Even one that RECORD lists: the whole is another."""

    def edit(files: dict[str, bytes]) -> None:
        files["vllm/engine.py"] = b"evil\n"

    rewrite(built, edit)
    with pytest.raises(WheelError, match=r"\[record\] RECORD gives 'vllm/engine.py'"):
        check_wheel(built)


def test_a_wheel_of_another_make_cannot_be_checked(cache: Path) -> None:
    with pytest.raises(WheelError, match="holds 0 statements"):
        check_wheel(cache / f"vllm-0.11.0-{TAGS}.whl")


def test_an_unpinned_base_must_be_named_and_must_be_the_same(
    cache: Path, stack: Path, out: Path, tmp_path: Path
) -> None:
    name = f"vllm-0.11.0-1own-{TAGS}.whl"
    base = make_wheel(tmp_path / "own", {**BASE, "vllm/own.py": b""}, file_name=name)
    wheel = build_wheel(stack, flavor="cuda", out=out, base=base, console=QUIET).path
    with pytest.raises(WheelError, match="not a pinned wheel") as caught:
        check_wheel(wheel)
    assert "--base" in (caught.value.hint or "")
    assert check_wheel(wheel, base=base).differences == ()
    other = make_wheel(tmp_path / "other", {**BASE, "vllm/more.py": b""}, file_name=name)
    with pytest.raises(WheelError, match="expected sha256"):
        check_wheel(wheel, base=other)


def edit_statement(built: Path, old: str, new: str) -> None:
    def edit(files: dict[str, bytes]) -> None:
        name = next(name for name in files if name.endswith("provenance.json"))
        assert old.encode() in files[name]
        files[name] = files[name].replace(old.encode(), new.encode())

    rewrite(built, edit)


def test_an_unknown_build_type_is_refused(built: Path) -> None:
    edit_statement(built, "#wheel/v1", "#wheel/v9")
    with pytest.raises(WheelError, match=r"build type .* is not known"):
        check_wheel(built)


def test_the_command_line_says_the_verdict(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wheel", "--check", str(built)]) == 0
    assert "byte for byte" in capsys.readouterr().out
    change_byte(built, "vllm/engine.py")
    assert main(["wheel", "--check", str(built), "--quiet"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{built.name} is not what its provenance says:",
        "  vllm/engine.py has other bytes",
    ]
    assert main(["wheel", "--check", str(built), "--json", "--quiet"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["differences"] == ["vllm/engine.py has other bytes"]


def test_several_wheels_are_each_checked(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``wheels/out/vllm-*.whl`` with both flavors built; one that fails fails the call."""
    other = tmp_path / built.name
    shutil.copyfile(built, other)
    words = ["wheel", "--check", str(built), str(other)]
    assert main(words) == 0
    assert capsys.readouterr().out.count("byte for byte") == 2
    change_byte(other, "vllm/engine.py")
    assert main([*words, "--json", "--quiet"]) == 1
    reports = json.loads(capsys.readouterr().out)["reports"]
    assert [bool(report["differences"]) for report in reports] == [False, True]


def test_the_command_line_builds(
    cache: Path, stack: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["wheel", "--stack", str(stack), "--out", str(out)]
    assert main([*words, "--flavor", "cpu"]) == 0
    shown = capsys.readouterr()
    name = "vllm-0.11.0+tiny.1.cpu-cp312-cp312-manylinux_2_32_x86_64.whl"
    assert shown.out == f"{out / name}\n"
    assert "4 patches on vllm-0.11.0-" in shown.err
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == "0.11.0+tiny.1"


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--stack", "none"], 2, "no stack 'none'"),
        (["--flavor", "rocm"], 2, "'rocm' is none of cuda, cpu"),
        (["--python-tag", "cp312"], 2, "no --python-tag"),
        (["--base", "none.whl"], 2, "there is no none.whl"),
        (["--check", "none.whl"], 2, "there is no none.whl"),
        (["--check", __file__, "--flavor", "cpu"], 2, "--check takes no --flavor"),
    ],
)
def test_a_mistake_is_one_message_and_its_exit_code(
    cache: Path,
    stack: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    status: int,
    message: str,
) -> None:
    if "--stack" not in words and "--check" not in words:
        words = ["--stack", str(stack), *words]
    assert main(["wheel", *words]) == status
    shown = capsys.readouterr()
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""
