"""What is advised where a wheel cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.wheels import make_wheel
from vllm_patchkit.archive.reader import Archive
from vllm_patchkit.errors import WheelError
from vllm_patchkit.wheel.contents import read_contents


def test_a_second_row_of_record_is_not_mended_by_fetching_again(tmp_path: Path) -> None:
    """A download can lose or flip bytes; it cannot write a row twice."""
    wheel = make_wheel(tmp_path, edit_record=lambda record: record + record.splitlines(True)[0])
    with Archive(wheel) as archive, pytest.raises(WheelError, match="more than once") as caught:
        read_contents(archive)
    assert "fetch" not in str(caught.value.hint)
    assert "built again" in str(caught.value.hint)
