"""release --index ended, hindered and lied to at every step: no page ever says what is not so."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest

from support.denied import ORDINARY
from support.wheels import make_wheel, sha256
from vllm_patchkit.cli import main

KILLED, UNHINDERED = 113, 114
WRITE = os.O_WRONLY | os.O_RDWR
ANCHOR = re.compile(r'<a href="([^"#]*)(?:#sha256=(\w+))?"([^>]*)>')


def add(root: Path, *wheels: Path) -> int:
    return main(["release", "--quiet", "--index", str(root), *map(str, wheels)])


def plain(name: str, version: str, *lines: str) -> dict[str, bytes]:
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(lines)
    return {"METADATA": text.encode()}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """An index with one wheel."""
    assert add(tmp_path / "old", make_wheel(tmp_path / "made", version="1")) == 0
    return tmp_path / "old"


@pytest.fixture
def fresh(tmp_path: Path) -> list[Path]:
    """A second build of what is there, and the first of something else."""
    other = make_wheel(tmp_path / "made", {"o.py": b""}, name="other", version="1")
    return [make_wheel(tmp_path / "made", version="2"), other]


def tree(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else b"folder"
        for path in sorted(root.rglob("*"))
    }


def check(root: Path) -> set[str]:
    """Check all that the pages say, and return which wheels both kinds of them list."""
    listed: set[str] = set()
    projects = {one["name"] for one in json.loads((root / "index.json").read_bytes())["projects"]}
    hrefs = {href for href, _, _ in ANCHOR.findall((root / "index.html").read_text())}
    for name in projects | {href.rstrip("/") for href in hrefs}:
        folder = root / name
        html = {
            unquote(href): (digest, marks)
            for href, digest, marks in ANCHOR.findall((folder / "index.html").read_text())
        }
        entries = json.loads((folder / "index.json").read_bytes())["files"]
        for entry in entries:
            place = folder / unquote(entry["url"])
            assert entry["hashes"]["sha256"] == sha256(place)
            assert entry["core-metadata"]["sha256"] == sha256(folder / f"{place.name}.metadata")
            assert all((folder / unquote(one)).is_file() for one in entry.get("_statements", ()))
        for file, (digest, marks) in html.items():
            assert digest == sha256(folder / file)
            assert f"sha256={sha256(folder / f'{file}.metadata')}" in unescape(marks)
        listed |= html.keys() & {entry["filename"] for entry in entries}
    return listed


def at_step(step: int, root: Path, act: Callable[[], int], hinder: Callable[[], None]) -> int:
    """Run ``act`` in a child in which its ``step``-th change below ``root`` is hindered.

    :return: the child's exit code, UNHINDERED where it makes fewer changes.
    """
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    seen = 0

    def hook(event: str, words: tuple[object, ...]) -> None:
        nonlocal seen
        changes = event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod")
        if event == "open" and isinstance(words[2], int):
            changes = bool(words[2] & WRITE)
        # Files in a folder that is being deleted are named without it.
        if changes and (str(root) in str(words[0]) or event in ("os.remove", "os.rmdir")):
            seen += 1
            if seen == step + 1:
                hinder()

    sys.addaudithook(hook)
    code = 99
    try:
        code = act()
    finally:
        os._exit(code if seen > step else UNHINDERED)


def die() -> None:
    os._exit(KILLED)


def fill() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(("hinder", "codes"), [(die, {KILLED}), (fill, {0, 3})])
def test_an_addition_hindered_at_any_step(
    old: Path, fresh: list[Path], tmp_path: Path, hinder: Callable[[], None], codes: set[int]
) -> None:
    """Ended, or without space: what the pages list is there, the old build is listed, and the same
    command again makes the same index as if nothing had happened.
    """
    shutil.copytree(old, tmp_path / "whole")
    assert add(tmp_path / "whole", *fresh) == 0
    root = tmp_path / "simple"
    found = []
    while UNHINDERED not in found:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(old, root)
        step = len(found)
        found.append(at_step(step, root, partial(add, root, *fresh), hinder))
        assert check(root) >= {"vllm-1-cp38-abi3-manylinux1_x86_64.whl"}, step
        assert add(root, *fresh) == 0
        assert tree(root) == tree(tmp_path / "whole"), step
    assert len(found) > 25
    assert set(found) == {*codes, UNHINDERED}


def test_many_additions_at_once(tmp_path: Path) -> None:
    """Each is whole at the end, and whoever reads meanwhile finds what the pages list."""
    made = [make_wheel(tmp_path / "made", {}, version=str(n)) for n in range(8)]
    root = tmp_path / "simple"
    assert add(root, made[0]) == 0
    children = []
    for wheel in made[1:]:
        child = os.fork()
        if not child:
            os._exit(add(root, wheel))
        children.append(child)
    for child in children:
        check(root)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert check(root) == {wheel.name for wheel in made}


@pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None, reason="setpriv is not installed"
)
def test_a_folder_that_cannot_be_written(old: Path, fresh: list[Path]) -> None:
    before = tree(old)
    for place in (old, old / "vllm"):
        place.chmod(0o555)
    words = [sys.executable, "-m", "vllm_patchkit", "release", "--index", old, *fresh]
    done = subprocess.run(
        [*(ORDINARY if os.geteuid() == 0 else []), *words], capture_output=True, text=True
    )
    assert done.returncode == 3
    assert f"{old} cannot be written: Permission denied" in done.stderr
    assert tree(old) == before


def test_what_an_ended_addition_of_another_build_left(old: Path, tmp_path: Path) -> None:
    """Only a wheel that is there is published: what lies beside none belongs to nobody."""
    wheel = make_wheel(tmp_path / "made", version="2")
    (old / "vllm" / f"{wheel.name}.metadata").write_bytes(b"of another build")
    assert add(old, wheel) == 0
    assert wheel.name in check(old)
    (old / "empty").mkdir()
    assert add(old, wheel) == 0
    assert "empty" not in (old / "index.html").read_text()


def test_two_builds_of_one_name_in_one_call(
    old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(old)
    wheels = [make_wheel(tmp_path / f"m{n}", {"x.py": b"%d" % n}, version="2") for n in (1, 2)]
    assert add(old, *wheels) == 2
    assert "have one name, and other bytes" in capsys.readouterr().err
    assert tree(old) == before
    assert add(old, wheels[0], wheels[0]) == 0


@pytest.mark.parametrize(
    ("name", "version", "file", "lines"),
    [
        ("..", "1", "..-1-py3-none-any.whl", ()),
        (".hidden", "1", ".hidden-1-py3-none-any.whl", ()),
        ("../../up", "1", "up-1-py3-none-any.whl", ()),
        ("vllm", "1", "other-1-py3-none-any.whl", ()),
        ("vllm", "2", "vllm-1-py3-none-any.whl", ()),
        ("vllm", "one", "vllm-one-py3-none-any.whl", ()),
        ("vllm", "1", "vllm-1-py3-none.whl", ()),
        ("vllm", "1", "vllm-1-x-py3-none-any.whl", ()),
        ("vl\u043cm", "1", "vl\u043cm-1-py3-none-any.whl", ()),
        ("vllm", "1", "vllm-1-py3-none-any.whl", ("Requires-Python: whatever\n",)),
        ("vllm", "1", "vllm-1-py3-none-any.whl", ('Requires-Python: >=3" onclick="x\n',)),
        ("vllm", "1", "vllm-1-py3-none-any.whl", ("Name: other\n",)),
    ],
)
def test_a_wheel_that_pip_would_not_take_from_an_index(
    old: Path, tmp_path: Path, name: str, version: str, file: str, lines: tuple[str, ...]
) -> None:
    before = tree(old)
    place = tmp_path / "odd"
    place.mkdir()
    made = make_wheel(tmp_path / "x", {"x.py": b""}, name="x", version="1")
    stem = file.partition("-py3")[0]
    wheel = make_wheel(place, {"x.py": b""}, name=stem.rsplit("-", 1)[0], version=version,
                       file_name=file, info=plain(name, version, *lines))  # fmt: skip
    assert add(old, made, wheel) == 1
    assert tree(old) == before


@pytest.mark.parametrize("required", [">=3.9,<3.14", ">=3.9 , <4"])
def test_metadata_with_marks_of_html(old: Path, tmp_path: Path, required: str) -> None:
    lines = (f"Requires-Python: {required}\n", 'Summary: <script>"&amp;"</script>\n')
    wheel = make_wheel(tmp_path / "odd", {"x.py": b""}, name="x", version="1+a.b",
                       info=plain("x", "1+a.b", *lines))  # fmt: skip
    assert add(old, wheel) == 0
    assert wheel.name in check(old)
    (entry,) = json.loads((old / "x" / "index.json").read_bytes())["files"]
    assert entry["requires-python"] == required
