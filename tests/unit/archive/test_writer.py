"""What is written is a plain zip in which nothing depends on where it was written."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from support.hostile import Item, zip_bytes
from vllm_patchkit.archive.reader import Archive
from vllm_patchkit.archive.writer import Sink, ZipWriter, local_size, member_overhead
from vllm_patchkit.errors import WheelError
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.wheel.source import BLOCK_BYTES, HashedSource

MEMBERS = {"vllm/a.py": b"a" * 100, "vllm/empty.py": b"", "vllm/ä.py": b"umlaut", "bin/run": b"#!"}


def written() -> bytes:
    sink = io.BytesIO()
    writer = ZipWriter(sink)
    for name, data in MEMBERS.items():
        writer.write_stored(name, data, executable=name.startswith("bin/"))
    writer.close()
    return sink.getvalue()


def test_zipfile_reads_every_member_with_fixed_attributes() -> None:
    with zipfile.ZipFile(io.BytesIO(written())) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == list(MEMBERS)
        for info in archive.infolist():
            assert archive.read(info) == MEMBERS[info.filename]
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert info.compress_type == zipfile.ZIP_STORED
            assert (info.create_system, info.create_version, info.extract_version) == (3, 20, 20)
            assert info.extra == b""
            assert info.comment == b""
            assert info.internal_attr == 0
            assert info.flag_bits == (0 if info.filename.isascii() else 0x800)
            mode = 0o100755 if info.filename == "bin/run" else 0o100644
            assert info.external_attr == mode << 16


def test_our_own_reader_accepts_it(tmp_path: Path) -> None:
    path = tmp_path / "x.whl"
    path.write_bytes(written())
    with Archive(path) as archive:
        assert {member.name: archive.read(member.name) for member in archive.members} == MEMBERS


def test_the_size_is_known_beforehand() -> None:
    sizes = [member_overhead(name) + len(data) for name, data in MEMBERS.items()]
    assert len(written()) == sum(sizes) + 22
    with zipfile.ZipFile(io.BytesIO(written())) as archive:
        second = archive.infolist()[1]
        assert second.header_offset == local_size("vllm/a.py") + 100


def test_a_raw_member_keeps_its_compressed_bytes(tmp_path: Path) -> None:
    items = [Item(b"old/name.py", b"x = 1\n" * 99, mode=0o100755), Item(b"b", b"y", method=0)]
    path = tmp_path / "x.whl"
    path.write_bytes(zip_bytes(items))
    sink = io.BytesIO()
    writer = ZipWriter(sink)
    with Archive(path) as archive, Console(quiet=True).progress("") as bar:
        source = HashedSource(archive, bar)
        for member in archive.members:

            def copy(to: Sink, offset: int = member.data_offset, size: int = member.end) -> None:
                source.copy(offset, size - offset, to)

            writer.write_raw(f"new/{member.name}", member, copy)
    writer.close()
    assert items[0].packed in sink.getvalue()
    with zipfile.ZipFile(sink) as archive:
        assert archive.testzip() is None
        assert archive.read("new/old/name.py") == items[0].data
        assert archive.getinfo("new/old/name.py").external_attr >> 16 == 0o100755
        assert archive.getinfo("new/b").compress_type == zipfile.ZIP_STORED


def test_too_many_members_are_refused() -> None:
    writer = ZipWriter(io.BytesIO())
    for number in range(0xFFFF):
        writer.write_stored(str(number), b"")
    with pytest.raises(WheelError, match="would need zip64"):
        writer.close()


class TestSource:
    @staticmethod
    def make(tmp_path: Path) -> tuple[Path, bytes]:
        data = zip_bytes([Item(b"a", bytes(range(256)) * 13000, method=0)])
        path = tmp_path / "x.whl"
        path.write_bytes(data)
        return path, data

    @pytest.mark.parametrize(
        "ranges",
        [
            [(0, 10)],
            [(5, BLOCK_BYTES)],
            [(BLOCK_BYTES - 1, 2), (BLOCK_BYTES + 1, BLOCK_BYTES)],
            [(100, 7), (50, 7), (200, 3 * BLOCK_BYTES - 300), (0, BLOCK_BYTES + 5)],
        ],
    )
    def test_ranges_in_any_order_are_copied(
        self, tmp_path: Path, ranges: list[tuple[int, int]]
    ) -> None:
        path, data = self.make(tmp_path)
        with Archive(path) as archive, Console(quiet=True).progress("") as bar:
            source = HashedSource(archive, bar)
            for offset, length in ranges:
                sink = io.BytesIO()
                source.copy(offset, length, sink)
                assert sink.getvalue() == data[offset : offset + length]
            with pytest.raises(WheelError, match="expected sha256 0000, found"):
                source.require_sha256("0000")
            assert bar.done == len(data)

    def test_the_hash_is_that_of_the_whole_file(self, tmp_path: Path) -> None:
        path, data = self.make(tmp_path)
        with Archive(path) as archive, Console(quiet=True).progress("") as bar:
            source = HashedSource(archive, bar)
            source.copy(1000, 5, io.BytesIO())
            source.require_sha256(hashlib.sha256(data).hexdigest())

    def test_a_file_that_shrinks_meanwhile_is_an_error(self, tmp_path: Path) -> None:
        path, data = self.make(tmp_path)
        with Archive(path) as archive, Console(quiet=True).progress("") as bar:
            with path.open("r+b") as stream:
                stream.truncate(len(data) // 2)
            with pytest.raises(WheelError, match="became shorter"):
                HashedSource(archive, bar).require_sha256("")
