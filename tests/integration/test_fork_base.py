"""base: which release patches were cut from; git wrote the ids that decide."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from support.fork_fixtures import home as home
from support.forks import (
    ENGINE,
    RELEASE_1,
    REQUEST,
    ROOT,
    SAMPLER,
    Git,
    Said,
    Tree,
    call,
    changed,
    engine_line,
    put_release,
)

# 2.0 changes engine.py and request.py; 3.0 changes sampler.py too.
RELEASE_2 = changed(RELEASE_1, ENGINE, engine_line(50), "def engine_50(): return 'two'\n")
RELEASE_2 = changed(RELEASE_2, REQUEST, "def request_9(): return 9\n", "def request_9(): pass\n")
RELEASE_3 = changed(RELEASE_2, SAMPLER, "def sampler_9(): return 9\n", "def sampler_9(): pass\n")


@pytest.fixture
def releases(home: Path) -> Path:
    put_release(home / "cache", "2.0", RELEASE_2)
    put_release(home / "cache", "3.0", RELEASE_3)
    return home


def patches_on(home: Path, tree: Tree, *words: str) -> Path:
    """Return a diff of three files, cut from a tree by git."""
    git = Git.create(home / "origin", tree)
    for path, line in ((ENGINE, engine_line(5)), (REQUEST, "def request_3(): return 3\n"),
                       (SAMPLER, "def sampler_3(): return 3\n")):  # fmt: skip
        file = git.folder / path
        file.write_text(file.read_text().replace(line, line + "# the fork\n"))
    place = home / "fork.diff"
    place.write_bytes(git.run("diff", *words))
    return place


def base(capsys: pytest.CaptureFixture[str], *words: str | Path) -> Said:
    return call(capsys, "base", "--distribution", "tiny-llm", *words)


@pytest.mark.parametrize("words", [[], ["--full-index"], ["--abbrev=9"]])
def test_ids_name_the_release(
    releases: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    said = base(capsys, patches_on(releases, RELEASE_2, *words))
    assert said.code == 0, said.err
    assert said.out.splitlines() == [
        "tiny-llm 1.0: of 3 files 1 its own, 2 more fit",
        "tiny-llm 2.0: of 3 files 3 its own",
        "tiny-llm 3.0: of 3 files 2 its own, 1 more fit",
        "cut from 2.0: all of 3 files are its own",
    ]


def test_of_a_wheel_at_hand_only_the_changed_files_are_read(
    releases: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every other member of it is damaged here, and nothing goes into the store."""
    place = patches_on(releases, RELEASE_2)
    wheel = releases / "cache" / "inputs" / f"{ROOT}-2.0-py3-none-any.whl"
    data = bytearray(wheel.read_bytes())
    damaged = 0
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if member.filename not in (ENGINE, REQUEST, SAMPLER) and member.file_size:
                start = member.header_offset + 30 + len(member.filename.encode())
                data[start] ^= 1
                damaged += 1
    assert damaged > 5
    wheel.write_bytes(data)
    said = base(capsys, place)
    assert said.code == 0, said.err
    assert said.out.splitlines()[-1] == "cut from 2.0: all of 3 files are its own"
    refs = Git(releases / "cache" / "git" / "store.git").run("for-each-ref", "refs/bases")
    assert refs == b""


@pytest.mark.parametrize("how", ["a byte", "cut short", "no zip"])
def test_a_damaged_wheel_at_hand_is_named_and_left_out(
    how: str, releases: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others answer; who asked for that one, or has no other, is told why there is none."""
    place = patches_on(releases, RELEASE_2)
    wheel = releases / "cache" / "inputs" / f"{ROOT}-1.0-py3-none-any.whl"
    data = wheel.read_bytes()
    damaged = {
        "a byte": data.replace(b"def engine_7()", b"def engine_8()"),
        "cut short": data[: len(data) // 2],
        "no zip": b"<html>not found</html>",
    }
    wheel.write_bytes(damaged[how])
    said = base(capsys, place)
    assert said.code == 1
    first, second, fault, verdict = said.out.splitlines()
    assert first == "tiny-llm 2.0: of 3 files 3 its own"
    assert second == "tiny-llm 3.0: of 3 files 2 its own, 1 more fit"
    assert fault.startswith("tiny-llm 1.0 is left out: ")
    assert wheel.name in fault
    assert verdict == "cut from 2.0: all of 3 files are its own"
    left_out = json.loads(base(capsys, place, "--json").out)["left_out"]
    assert [*left_out] == ["tiny-llm 1.0"]

    asked = base(capsys, place, "--release", "1.0")
    assert (asked.code, asked.out, wheel.name in asked.err) == (1, "", True), asked.err
    for version in ("2.0", "3.0"):
        (wheel.parent / f"{ROOT}-{version}-py3-none-any.whl").unlink()
    alone = base(capsys, place)
    assert (alone.code, alone.out, wheel.name in alone.err) == (1, "", True), alone.err


def test_a_commit_between_two_releases(releases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """engine.py is 2.0's, sampler.py has a line that no release had."""
    between = changed(RELEASE_2, SAMPLER, "def sampler_20(): return 20\n", "def s(): return 20\n")
    said = base(capsys, patches_on(releases, between))
    last = said.out.splitlines()[-1]
    assert last == (
        "2 of 3 files are those of 3.0, 1 of no release at hand: cut between 2.0 and 3.0"
    )
    assert "onto it: import --base tiny-llm==3.0\n" in said.err


def test_what_will_not_apply_is_said_to_need_edit(
    releases: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """sampler.py is changed beside a line that no release had."""
    between = changed(RELEASE_2, SAMPLER, "def sampler_4(): return 4\n", "def s(): return 4\n")
    said = base(capsys, patches_on(releases, between))
    onto = "onto it: import --base tiny-llm==3.0 --edit, which"
    assert (said.code, onto in said.err) == (1, True)


def test_without_ids_what_fits_decides(releases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = patches_on(releases, RELEASE_2)
    lines = place.read_bytes().splitlines(keepends=True)
    place.write_bytes(b"".join(line for line in lines if not line.startswith(b"index ")))
    said = base(capsys, place)
    assert said.code == 0
    assert said.out.splitlines()[-1] == "3 of 3 files fit 3.0; none has its id"


def test_names_relative_to_the_package_and_files_of_no_wheel(
    releases: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = patches_on(releases, RELEASE_1)
    data = place.read_bytes().replace(f"/{ROOT}/".encode(), b"/")
    tests = data.replace(b"engine.py", b"tests/nowhere.py").partition(b"diff --git a/v1")[0]
    place.write_bytes(data + tests)
    said = base(capsys, place, "--json")
    document = json.loads(said.out)
    assert document["best"] == "1.0"
    assert document["verdict"] == "cut from 1.0: all of 3 files are its own; 1 in no wheel"
    assert document["releases"]["1.0"]["tests/nowhere.py"] == "absent"


def test_patches_of_something_else(releases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = releases / "other.diff"
    other.write_bytes(b"--- a/other/x.py\n+++ b/other/x.py\n@@ -1 +1 @@\n-a\n+b\n")
    said = base(capsys, other)
    assert said.code == 1
    assert "no release at hand has a file that the patches fit" in said.out
    said = call(capsys, "base", other, "--distribution", "elsewhere")
    assert (said.code, "no release of elsewhere is in the cache" in said.err) == (2, True)


def test_import_asks_the_same(releases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = patches_on(releases, RELEASE_2)
    said = call(capsys, "import", place, "--base", "?", "--name", "fork")
    assert said.code == 2
    assert "no release of vllm is in the cache" in said.err
    assert not (releases / "patches").exists()
