"""Writing files that somebody named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vllm_patchkit.errors import UsageError
from vllm_patchkit.host.files import replace_file


def test_a_stream_of_dev_is_written_and_stays(tmp_path: Path) -> None:
    """`--output /dev/stdout` of root would put a file in place of the device."""
    reader, writer = os.pipe()
    replace_file(Path(f"/dev/fd/{writer}"), b"text")
    os.close(writer)
    assert os.read(reader, 10) == b"text"
    os.close(reader)


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        replace_file(tmp_path, b"text")
    assert list(tmp_path.parent.glob(".*")) == []
