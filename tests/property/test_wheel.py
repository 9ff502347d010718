"""Rules that hold for every wheel: against zipfile, under any damage, in any surroundings."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.environments import STEP_4, make_stack
from support.wheels import COMPILED, TAGS, make_wheel, write_inputs
from vllm_patchkit.archive.names import check_name, check_together
from vllm_patchkit.archive.reader import Archive
from vllm_patchkit.archive.writer import ZipWriter
from vllm_patchkit.errors import PatchkitError
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.wheel import pins
from vllm_patchkit.wheel.build import build_wheel
from vllm_patchkit.wheel.record import RecordRow, format_record, parse_record

QUIET = Console(quiet=True)
OWN = f"vllm-0.11.0-1own-{TAGS}.whl"

parts = st.text(
    st.characters(categories=["L", "N", "P", "S"], exclude_characters="/\\:"),
    min_size=1,
    max_size=12,
).filter(lambda part: part not in (".", ".."))
paths = (
    st.lists(parts, min_size=1, max_size=4)
    .map("/".join)
    .filter(lambda path: not list(check_name(path)))
)
members = st.dictionaries(paths, st.binary(max_size=300), max_size=12).filter(
    lambda tree: not list(check_together(tree))
)


@given(tree=members, method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
def test_what_zipfile_writes_we_read(tree: dict[str, bytes], method: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.whl")
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, data in tree.items():
                archive.writestr(name, data)
        with Archive(path) as ours:
            assert {member.name: ours.read(member.name) for member in ours.members} == tree


@given(tree=members)
def test_what_we_write_zipfile_reads(tree: dict[str, bytes]) -> None:
    sink = io.BytesIO()
    writer = ZipWriter(sink)
    for name, data in tree.items():
        writer.write_stored(name, data)
    writer.close()
    with zipfile.ZipFile(sink) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == tree


@given(tree=members)
def test_record_parsed_is_record_written(tree: dict[str, bytes]) -> None:
    """For every path that a member may have, commas and quotation marks included."""
    own = "vllm-1.dist-info/RECORD"
    rows = [RecordRow.of(path, data) for path, data in tree.items()]
    parsed, flaws = parse_record(format_record(rows, own), own)
    assert not flaws
    assert list(parsed.values()) == rows


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    write_inputs(folder / "cache" / "inputs")
    make_stack(folder / "tiny")
    make_wheel(folder, file_name=OWN)
    return folder


@pytest.fixture(autouse=True)
def pinned(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_PATCHKIT_CACHE", str(place / "cache"))
    monkeypatch.setattr(pins, "inputs_file", lambda: place / "cache" / "inputs" / "inputs.toml")


SHARED = settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SHARED
@given(data=st.data())
def test_no_damage_to_a_base_ever_gets_into_a_wheel(place: Path, data: st.DataObject) -> None:
    """A changed byte, a cut or an inserted run: an error and no output, or the right contents.

    The right contents remain possible where only a timestamp or a mode was hit.
    """
    whole = bytearray((place / OWN).read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "insert"]))
    if kind == "flip":
        whole[at] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del whole[at : at + data.draw(st.integers(1, 50))]
    else:
        whole[at:at] = data.draw(st.binary(min_size=1, max_size=50))
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder, OWN)
        base.write_bytes(whole)
        out = Path(folder, "out")
        try:
            wheel = build_wheel(
                place / "tiny", flavor="cuda", out=out, base=base, console=QUIET
            ).path
        except PatchkitError:
            assert not out.exists() or not list(out.iterdir())
            return
        with zipfile.ZipFile(wheel) as archive:
            assert archive.testzip() is None
            found = {
                name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name
            }
        assert found == {**COMPILED, **STEP_4}


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    umask=st.sampled_from([0o000, 0o022, 0o077, 0o777]),
    zone=st.sampled_from(["UTC", "Pacific/Chatham", "America/St_Johns"]),
    locale=st.sampled_from(["C", "C.UTF-8", "tr_TR.UTF-8", "ja_JP.eucJP"]),
    seed=st.integers(0, 4294967295),
    optimize=st.sampled_from(["", "1", "2"]),
    epoch=st.sampled_from(["0", "315532800", "4102444800"]),
)
def test_no_surroundings_have_a_say(
    place: Path, umask: int, zone: str, locale: str, seed: int, optimize: str, epoch: str
) -> None:
    code = (
        "import os, sys; from pathlib import Path\n"
        "from vllm_patchkit.wheel import pins\n"
        "from vllm_patchkit.wheel.build import build_wheel\n"
        "from vllm_patchkit.host.terminal import Console\n"
        "place, out = map(Path, sys.argv[1:3])\n"
        "pins.inputs_file = lambda: place / 'cache' / 'inputs' / 'inputs.toml'\n"
        "os.umask(int(sys.argv[3]))\n"
        "build_wheel(place / 'tiny', flavor='cpu', out=out, console=Console(quiet=True))\n"
    )
    environment = {
        **os.environ,
        "TZ": zone,
        "LC_ALL": locale,
        "PYTHONHASHSEED": str(seed),
        "PYTHONOPTIMIZE": optimize,
        "SOURCE_DATE_EPOCH": epoch,
    }
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        subprocess.run(
            [sys.executable, "-c", code, place, out, str(umask)],
            env=environment,
            check=True,
            cwd=out,
        )
        (wheel,) = out.iterdir()
        reference = build_wheel(
            place / "tiny", flavor="cpu", out=place / "reference", console=QUIET
        ).path
        assert hashlib.sha256(wheel.read_bytes()).digest() == (
            hashlib.sha256(reference.read_bytes()).digest()
        )
        assert wheel.name == reference.name
        assert wheel.stat().st_mode == 0o100644
