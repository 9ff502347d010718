"""Archives of every kind of harm are refused by name; sound ones read as zipfile reads them."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest

from support.hostile import Item, deflate, zip_bytes
from vllm_patchkit.archive.reader import Archive
from vllm_patchkit.errors import WheelError

GOOD = Item(b"vllm/engine.py", b"ENGINE = 1\n" * 50)
OTHER = Item(b"vllm/other.py", b"OTHER = 1\n" * 50)
ZIP64_EXTRA = struct.pack("<HHQQ", 1, 16, 5, 5)
PATH_EXTRA = struct.pack("<HHB", 0x7075, 1, 1)
END = {"count": 1, "here": 1}


def write(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "x-1-py3-none-any.whl"
    path.write_bytes(data)
    return path


BAD_NAMES = {
    "parent": b"vllm/../../etc/passwd",
    "only-parent": b"..",
    "absolute": b"/etc/passwd",
    "drive": b"C:/windows/x",
    "backslash": b"vllm\\..\\x",
    "empty": b"",
    "empty-part": b"vllm//x",
    "dot": b"vllm/./x",
    "nul": b"vllm/a\0.py",
    "newline": b"vllm/a\n.py",
    "undeclared-encoding": b"vllm/\xff.py",
    "part-too-long": b"a" * 300,
}


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)
def test_a_name_that_could_leave_its_folder_is_refused(tmp_path: Path, name: bytes) -> None:
    with pytest.raises(WheelError, match=r"\[unsafe-name\]"):
        Archive(write(tmp_path, zip_bytes([GOOD, Item(name)])))


BAD_PAIRS = {
    "duplicate": ("duplicate-name", [GOOD, GOOD]),
    "case": ("case-collision", [GOOD, Item(b"vllm/Engine.py")]),
    "case-of-a-folder": ("case-collision", [GOOD, Item(b"VLLM/other.py")]),
    "file-and-folder": ("duplicate-name", [GOOD, Item(b"vllm")]),
    "composed-and-decomposed": (
        "case-collision",
        [
            Item("vllm/\u00e9.py".encode(), central={"flags": 0x800}, local={"flags": 0x800}),
            Item("vllm/e\u0301.py".encode(), central={"flags": 0x800}, local={"flags": 0x800}),
        ],
    ),
}


@pytest.mark.parametrize(("code", "items"), BAD_PAIRS.values(), ids=BAD_PAIRS)
def test_names_that_cannot_be_together_are_refused(
    tmp_path: Path, code: str, items: list[Item]
) -> None:
    with pytest.raises(WheelError, match=rf"\[{code}\]"):
        Archive(write(tmp_path, zip_bytes(items)))


def both(**fields: int) -> dict[str, dict[str, int]]:
    return {"central": fields, "local": fields}


BAD_ITEMS = {
    "encrypted": ("encrypted", Item(b"a", **both(flags=1))),
    "strongly-encrypted": ("encrypted", Item(b"a", **both(flags=0x41))),
    "hidden-header": ("encrypted", Item(b"a", **both(flags=0x2000))),
    "data-descriptor": ("data-descriptor", Item(b"a", **both(flags=8))),
    "patch-data": ("flags", Item(b"a", **both(flags=0x20))),
    "bzip2": ("compression", Item(b"a", method=12)),
    "lzma": ("compression", Item(b"a", method=14)),
    "zstd": ("compression", Item(b"a", method=93)),
    "deflate64": ("compression", Item(b"a", method=9)),
    "symlink": ("special-file", Item(b"a", mode=0o120777)),
    "device": ("special-file", Item(b"a", mode=0o020666)),
    "fifo": ("special-file", Item(b"a", mode=0o010666)),
    "folder-without-slash": ("special-file", Item(b"a", mode=0o040755)),
    "folder-with-content": ("special-file", Item(b"a/", mode=0o040755)),
    "zip64-extra": ("zip64", Item(b"a", central_extra=ZIP64_EXTRA)),
    "zip64-extra-in-its-own-header": ("zip64", Item(b"a", local_extra=ZIP64_EXTRA)),
    "zip64-size": ("zip64", Item(b"a", **both(size=0xFFFFFFFF))),
    "zip64-offset": ("zip64", Item(b"a", central={"offset": 0xFFFFFFFF})),
    "second-name": ("unsafe-name", Item(b"a", central_extra=PATH_EXTRA)),
    "broken-extra": ("local-header", Item(b"a", central_extra=b"\1\2\3")),
    "other-name-inside": ("local-header", Item(b"a", local_name=b"b")),
    "longer-name-inside": ("local-header", Item(b"a", local_name=b"ab")),
    "other-crc-inside": ("local-header", Item(b"a", local={"crc": 1})),
    "other-size-inside": ("local-header", Item(b"a", local={"size": 1})),
    "other-method-inside": ("local-header", Item(b"a", local={"method": 0})),
    "stored-of-two-sizes": ("local-header", Item(b"a", method=0, **both(size=99))),
    "impossible-ratio": ("bomb", Item(b"a", **both(size=1 << 30))),
    "offset-nowhere": ("local-header", Item(b"a", central={"offset": 5})),
    "bytes-before": ("hidden-data", Item(b"a", before=b"secret")),
    "bytes-after": ("hidden-data", Item(b"a", after=b"secret")),
    "unlisted-member": ("hidden-data", Item(b"a", hidden=True)),
    "reaches-into-the-directory": ("overlap", Item(b"a", **both(packed=9999))),
}


@pytest.mark.parametrize(("code", "item"), BAD_ITEMS.values(), ids=BAD_ITEMS)
def test_a_member_that_two_readers_could_see_differently_is_refused(
    tmp_path: Path, code: str, item: Item
) -> None:
    with pytest.raises(WheelError, match=rf"\[{code}\]"):
        Archive(write(tmp_path, zip_bytes([GOOD, item])))


def test_two_rows_that_share_one_member_overlap(tmp_path: Path) -> None:
    """The classic quoted-overlap bomb: one kernel of data under many names."""
    kernel = Item(b"a", b"\0" * 1000)
    twin = Item(b"a", b"\0" * 1000, central={"offset": 0})
    data = zip_bytes([kernel, twin])
    with pytest.raises(WheelError, match=r"\[(overlap|duplicate-name)\]"):
        Archive(write(tmp_path, data))


def test_overlapping_files_are_an_overlap(tmp_path: Path) -> None:
    inner = zip_bytes([OTHER])[: -(46 + len(OTHER.name) + 22)]
    outer = Item(b"outer", inner, method=0)
    start = 30 + len(outer.name)
    rows = zip_bytes([outer, Item(OTHER.name, OTHER.data, central={"offset": start})])
    with pytest.raises(WheelError, match=r"\[overlap\]"):
        Archive(write(tmp_path, rows))


BAD_ENDS = {
    "empty": ("not-a-zip", b""),
    "text": ("not-a-zip", b"<html>404</html>"),
    "prefix": ("not-a-zip", b"#!/bin/sh\n" + zip_bytes([GOOD])),
    "cut-in-the-end-record": ("truncated", zip_bytes([GOOD])[:-1]),
    "cut-in-the-directory": ("truncated", zip_bytes([GOOD])[:-40]),
    "cut-in-the-data": ("truncated", zip_bytes([GOOD])[:60]),
    "appended": ("truncated", zip_bytes([GOOD]) + b"x"),
    "comment": ("truncated", zip_bytes([GOOD], end={"comment": 3}, tail=b"abc")),
    "promised-comment": ("not-a-zip", zip_bytes([GOOD], end={"comment": 3})),
    "two-disks": ("not-a-zip", zip_bytes([GOOD], end={"disk": 1})),
    "count-too-high": ("truncated", zip_bytes([GOOD], end={"count": 2, "here": 2})),
    "count-too-low": ("truncated", zip_bytes([GOOD, OTHER], end=END)),
    "zip64-count": ("zip64", zip_bytes([GOOD], end={"count": 0xFFFF, "here": 0xFFFF})),
    "zip64-offset": ("zip64", zip_bytes([GOOD], end={"offset": 0xFFFFFFFF})),
    "zip64-locator": ("zip64", zip_bytes([GOOD], before_end=b"PK\6\7" + bytes(16))),
    "bytes-before-the-end-record": ("hidden-data", zip_bytes([GOOD], before_end=b"secret")),
}


@pytest.mark.parametrize(("code", "data"), BAD_ENDS.values(), ids=BAD_ENDS)
def test_an_archive_that_does_not_end_as_it_should_is_refused(
    tmp_path: Path, code: str, data: bytes
) -> None:
    with pytest.raises(WheelError, match=rf"\[{code}\]"):
        Archive(write(tmp_path, data))


def test_an_executable_prefix_is_hidden_data_even_when_the_offsets_allow_for_it(
    tmp_path: Path,
) -> None:
    with pytest.raises(WheelError, match=r"\[(hidden-data|not-a-zip)\]"):
        Archive(write(tmp_path, zip_bytes([Item(b"a", before=b"PK\3\4" + b"x" * 60)])))


def test_many_members_that_unpack_to_far_too_much_are_a_bomb(tmp_path: Path) -> None:
    flat = [Item(b"%d" % number, bytes(1 << 20)) for number in range(20)]
    with pytest.raises(WheelError, match=r"\[bomb\].*more than 100 times"):
        Archive(write(tmp_path, zip_bytes(flat)))


def test_every_flaw_is_listed(tmp_path: Path) -> None:
    bad = [Item(b"/a"), Item(b"b", mode=0o120777), Item(b"c", method=12)]
    with pytest.raises(WheelError) as caught:
        Archive(write(tmp_path, zip_bytes(bad)))
    assert [code in caught.value.message for code in ("unsafe", "special", "compression")] == [
        True,
        True,
        True,
    ]


DAMAGED = {
    "other-data": Item(b"a", b"data\n", raw=deflate(b"evil\n")),
    "longer-than-said": Item(b"a", b"data\n", raw=deflate(b"data\nmore")),
    "shorter-than-said": Item(b"a", b"data\n", raw=deflate(b"da")),
    "no-stream": Item(b"a", b"data\n", raw=b"\xff\xff\xff\xff"),
    "empty-without-a-stream": Item(b"a", b"", raw=b"\xff"),
    "bytes-after-the-stream": Item(b"a", b"data\n", raw=deflate(b"data\n") + b"x"),
    "unfinished-stream": Item(b"a", b"data\n", raw=deflate(b"data\n")[:-1]),
    "stored-other-data": Item(b"a", b"data\n", method=0, raw=b"evil\n"),
}


@pytest.mark.parametrize("item", DAMAGED.values(), ids=DAMAGED)
def test_a_member_that_is_not_what_its_header_says_cannot_be_read(
    tmp_path: Path, item: Item
) -> None:
    with Archive(write(tmp_path, zip_bytes([GOOD, item]))) as archive:
        assert archive.read("vllm/engine.py") == GOOD.data
        with pytest.raises(WheelError, match=r"\[content\]"):
            archive.read("a")


def test_a_sound_archive_reads_as_zipfile_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("vllm/a,b.py", b"x" * 5000)
        archive.writestr("vllm/empty.py", b"")
        archive.writestr("vllm/folder/", b"")
        archive.writestr("vllm/ä.py", b"y", compress_type=zipfile.ZIP_STORED)
    with zipfile.ZipFile(path) as peer, Archive(path) as archive:
        assert [member.name for member in archive.members] == peer.namelist()
        for info in peer.infolist():
            member = archive.find(info.filename)
            assert member is not None
            assert member.header_offset == info.header_offset
            assert (member.crc, member.size, member.compressed_size) == (
                info.CRC,
                info.file_size,
                info.compress_size,
            )
            assert archive.read(info.filename) == peer.read(info.filename)


def test_a_member_that_is_not_there_is_named(tmp_path: Path) -> None:
    with (
        Archive(write(tmp_path, zip_bytes([GOOD]))) as archive,
        pytest.raises(WheelError, match=r"no member 'vllm/none.py'"),
    ):
        archive.read("vllm/none.py")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WheelError, match=r"cannot open .*No such file"):
        Archive(tmp_path / "none.whl")
