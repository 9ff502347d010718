"""An unpinned wheel is believed in nothing: every member is unpacked and compared with RECORD."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from support.hostile import Item, deflate, zip_bytes
from vllm_patchkit.archive.reader import Archive
from vllm_patchkit.errors import WheelError
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.wheel.integrity import BLOCK_BYTES, require_sound
from vllm_patchkit.wheel.record import RecordRow

QUIET = Console(quiet=True)


def check(tmp_path: Path, items: list[Item], recorded: dict[str, bytes] | None = None) -> None:
    path = tmp_path / "x.whl"
    path.write_bytes(zip_bytes(items))
    contents = recorded or {item.name.decode(): item.data for item in items}
    rows = {name: RecordRow.of(name, data) for name, data in contents.items()}
    with Archive(path) as archive:
        require_sound(archive, rows, QUIET)


SIZES = [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("method", [0, 8])
def test_sound_members_of_any_size_pass(tmp_path: Path, size: int, method: int) -> None:
    noise = bytes(range(256)) * (size // 256 + 1)
    check(tmp_path, [Item(b"flat", bytes(size), method), Item(b"noise", noise[:size], method)])


def test_a_record_that_lies_about_content_is_found(tmp_path: Path) -> None:
    items = [Item(b"a", b"evil\n"), Item(b"b", b"good\n")]
    with pytest.raises(WheelError, match=r"\[record\] RECORD gives 'a'") as caught:
        check(tmp_path, items, {"a": b"data\n", "b": b"good\n"})
    assert "'b'" not in caught.value.message


def test_every_damaged_member_is_listed(tmp_path: Path) -> None:
    items = [
        Item(b"crc", b"data", raw=deflate(b"datA")),
        Item(b"fine", b"data"),
        Item(b"junk", b"data", raw=b"\xff\xff\xff"),
        Item(b"open", b"data" * 9, raw=deflate(b"data" * 9)[:-1]),
        Item(b"tail", b"data", raw=deflate(b"data") + b"hidden"),
        Item(b"stored", b"data", method=0, raw=b"datA"),
    ]
    with pytest.raises(WheelError) as caught:
        check(tmp_path, items)
    found = [line for line in caught.value.message.splitlines() if "[content]" in line]
    assert [line.split("'")[1] for line in found] == ["crc", "junk", "open", "tail", "stored"]


def test_a_stream_is_never_unpacked_beyond_its_declared_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bomb that declares one byte costs one block, not 100 MB."""
    seen = 0
    real = zlib.decompressobj

    class Counting:
        def __init__(self, *args: int) -> None:
            self.inner = real(*args)

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

        def decompress(self, data: bytes, limit: int) -> bytes:
            nonlocal seen
            block = self.inner.decompress(data, limit)
            seen += len(block)
            return block

    monkeypatch.setattr(zlib, "decompressobj", Counting)
    bomb = Item(b"bomb", b"x", raw=deflate(bytes(100 << 20)))
    with pytest.raises(WheelError, match=r"\[content\] 'bomb'"):
        check(tmp_path, [bomb])
    assert seen == 2
