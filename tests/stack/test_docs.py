"""The examples of docs/emu3_5.md, run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import checkpoint as tiny
import pytest
from server import Server

PAGE = Path(__file__).resolve().parents[2] / "docs" / "emu3_5.md"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A tiny model with the published vocabulary's ids, as the page uses them."""
    path = tmp_path_factory.mktemp("published")
    return tiny.make_published(path)


@pytest.mark.slow
def test_examples(published, tmp_path):
    """All Python blocks in one namespace; the server's block talks to the command of the page."""
    page = PAGE.read_text()
    *offline, client = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (command,) = re.findall(r"```sh\nvllm serve (.*?)\n```", page)
    assert command == "BAAI/Emu3.5-Image"
    namespace: dict[str, object] = {}

    for block in offline:
        exec(block.replace("BAAI/Emu3.5-Image", str(published.path)), namespace)
    del namespace["llm"]
    tokens = namespace["tokens"]
    assert_image(tokens[tokens.index(151852) :], 16, 16)

    with Server(published, tmp_path / "log", "--max-model-len", "4096") as server:
        exec(client.replace("http://localhost:8000", server.url), namespace)
    tokens = namespace["tokens"]
    assert_image(tokens[tokens.index(151852) :], 16, 16)


def assert_image(tokens, height, width):
    """`tokens` are one image of the published vocabulary."""
    digits = [9 if character == "*" else 15 + int(character) for character in f"{height}*{width}"]
    assert tokens[: len(digits) + 2] == [151852, *digits, 151851]
    pixels = tokens[len(digits) + 2 :]
    rows = [pixels[at : at + width + 1] for at in range(0, len(pixels), width + 1)]
    assert len(rows) == height
    assert all(151854 <= token < 282926 for row in rows for token in row[:-1])
    assert [row[-1] for row in rows] == [151846] * (height - 1) + [151853]
