"""The build context: any tar reads it, and equal files give equal bytes."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from vllm_patchkit.container.context import ContextFile, context_size, stream_context


@pytest.fixture
def files(tmp_path: Path) -> list[ContextFile]:
    contents = {"ci/Dockerfile": b"FROM x\n", "wheels/out/a+b.whl": bytes(3000), "ci/empty": b""}
    listed = []
    for number, (name, data) in enumerate(contents.items()):
        path = tmp_path / f"{number}"
        path.write_bytes(data)
        listed.append(ContextFile(name=name, path=path))
    return listed


def read(stream: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        members = archive.getmembers()
        assert {member.mode for member in members} == {0o644}
        assert {member.mtime for member in members} == {1759276800}
        assert {(member.uid, member.gid, member.uname) for member in members} == {(0, 0, "")}
        contents = {}
        for member in members:
            extracted = archive.extractfile(member)
            assert extracted is not None
            contents[member.name] = extracted.read()
        return contents


def test_tarfile_reads_the_stream(files: list[ContextFile]) -> None:
    stream = b"".join(stream_context(files, epoch=1759276800))
    assert read(stream) == {
        "ci/Dockerfile": b"FROM x\n",
        "ci/empty": b"",
        "wheels/out/a+b.whl": bytes(3000),
    }
    assert len(stream) % tarfile.BLOCKSIZE == 0
    assert context_size(files) == 3007


def test_order_dates_and_modes_on_disk_do_not_show(files: list[ContextFile]) -> None:
    first = b"".join(stream_context(files, epoch=1))
    for number, file in enumerate(files):
        os.utime(file.path, (number, number))
        file.path.chmod(0o600)
    assert b"".join(stream_context(files[::-1], epoch=1)) == first
