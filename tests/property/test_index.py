"""release --index beside pages that anybody may have written: only the files decide."""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.wheels import make_wheel, sha256
from vllm_patchkit.release.index import add_to_index

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def made() -> Iterator[tuple[Path, Path]]:
    """An index with one wheel, and a second wheel to add."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = make_wheel(folder, version="1")
        add_to_index(folder / "simple", [first])
        yield folder / "simple", make_wheel(folder, version="2")


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where in a document every value is."""
    yield path
    keys = value if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0)
    for key, one in ((key, value[key]) for key in keys):
        yield from places(one, (*path, key))


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    document = copy.deepcopy(document)
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return document


@given(data=st.data())
def test_whatever_a_page_holds_the_next_one_is_right(
    made: tuple[Path, Path], data: st.DataObject
) -> None:
    """One value of the page is another, anywhere: the whole, "hashes", "size", "filename"."""
    good, wheel = made
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "simple"
        shutil.copytree(good, root)
        page = root / "vllm" / "index.json"
        document = json.loads(page.read_bytes())
        # A sha256 that looks like one is believed as long as the size is right, so leave that one.
        held = [one for one in places(document) if one[-1:] != ("sha256",)]
        path = data.draw(st.sampled_from(held))
        page.write_text(json.dumps(replaced(document, path, data.draw(VALUES))))
        add_to_index(root, [wheel])
        files = {one["filename"]: one for one in json.loads(page.read_bytes())["files"]}
        assert len(files) == 2
        for path in root.glob("vllm/*.whl"):
            assert files[path.name]["hashes"] == {"sha256": sha256(path)}
            assert files[path.name]["size"] == path.stat().st_size


@pytest.mark.parametrize("text", ["", "[", "[" * 100_000, "\xff", '{"files": 3}', "NaN", "\0"])
def test_a_page_that_is_no_json(made: tuple[Path, Path], tmp_path: Path, text: str) -> None:
    good, wheel = made
    shutil.copytree(good, tmp_path / "simple")
    page = tmp_path / "simple" / "vllm" / "index.json"
    page.write_bytes(text.encode("latin-1"))
    add_to_index(tmp_path / "simple", [wheel])
    assert len(json.loads(page.read_bytes())["files"]) == 2
