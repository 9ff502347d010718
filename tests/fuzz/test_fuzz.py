"""A fixed number of mutated inputs for every reader; `make fuzz` runs many more."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.harness import HARNESSES
from fuzz.seeds import seeds

RUNS = int(os.environ.get("FUZZ_RUNS", "400"))


@st.composite
def mutated(draw: st.DrawFn, name: str) -> bytes:
    """A valid input with a few edits: bytes changed, cut, doubled, or strange ones put in."""
    data = bytearray(draw(st.sampled_from(seeds(name))))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        size = draw(st.integers(0, 40))
        kind = draw(st.sampled_from(["set", "cut", "repeat", "insert", "truncate"]))
        if kind == "set" and at < len(data):
            data[at] = draw(st.integers(0, 255))
        elif kind == "cut":
            del data[at : at + size]
        elif kind == "repeat":
            data[at:at] = data[at : at + size]
        elif kind == "insert":
            data[at:at] = draw(st.one_of(st.binary(max_size=24), st.sampled_from(STRANGE)))
        else:
            del data[len(data) - size :]
    return bytes(data)


STRANGE = [
    b"../", b"/etc/passwd", b"\0", b"\r\n", b"@@ -1 +1 @@\n", b"\\ No newline at end of file\n",
    b"PK\x05\x06", b"PK\x01\x02", b"\xff" * 8, b"rename from ", b"GIT binary patch\n", b"120000",
    b"99999999999999999999", b'"\\303\\251"', b"=?utf-8?b?w6k=?=", b"\xe2\x80\xa8", b"\x0c", b"NaN",
]  # fmt: skip


@pytest.mark.parametrize("name", sorted(HARNESSES))
def test_no_reader_breaks_its_promise(name: str) -> None:
    harness = HARNESSES[name]

    @settings(
        max_examples=RUNS,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(data=st.one_of(mutated(name), st.binary(max_size=200)))
    def run(data: bytes) -> None:
        harness(data)

    run()


@pytest.mark.parametrize("name", sorted(HARNESSES))
def test_the_seeds_are_accepted(name: str) -> None:
    """Otherwise the mutants would all be refused at the first byte."""
    assert seeds(name)
    for data in seeds(name):
        HARNESSES[name](data)
