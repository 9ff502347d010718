"""What the general scenarios ask of streams."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from vllm_patchkit.worker.general.streaming import Stream, find_problems


def stream(name: str, pieces: int, finished: int = 1) -> Stream:
    case: Any = SimpleNamespace(name=name)
    return Stream(case=case, pieces=pieces, finished=finished)


def test_one_that_a_busy_reader_got_in_one_piece_is_fine() -> None:
    assert not find_problems([stream("a", 1), stream("b", 7)])


def test_nobody_streams() -> None:
    (problem,) = find_problems([stream("a", 1), stream("b", 1)])
    assert "every request came in one piece" in problem


def test_a_stream_ends_once() -> None:
    problems = find_problems([stream("a", 5, finished=2), stream("b", 5, finished=0)])
    assert problems == ["a: finished 2 times", "b: finished 0 times"]
