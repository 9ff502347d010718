"""What the general scenarios ask of streams."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from vllm_patchkit.worker.engine import give_turns
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


def read(core: Any) -> list[list[int]]:
    """What a reader is given, and when, by a loop like that of ``AsyncLLM``."""

    async def run() -> list[list[int]]:
        waiting: list[int] = []
        pieces: list[list[int]] = []
        came = asyncio.Event()

        async def fetch() -> None:
            while sum(map(len, pieces)) < 3:
                await came.wait()
                came.clear()
                pieces.append(waiting.copy())
                waiting.clear()

        reader = asyncio.create_task(fetch())
        await asyncio.sleep(0)
        for _ in range(3):
            waiting.append(await core.get_output_async())
            came.set()
        await reader
        return pieces

    return asyncio.run(run())


def test_a_reader_takes_what_each_step_gave() -> None:
    """Of outputs that have all arrived; an engine that gives them at the end is not covered up."""

    class Core:
        def __init__(self) -> None:
            self.outputs = iter((1, 2, 3))

        async def get_output_async(self) -> int:
            return next(self.outputs)

    assert read(Core()) == [[1, 2, 3]]
    core = Core()
    give_turns(SimpleNamespace(engine_core=core))
    assert read(core) == [[1], [2], [3]]
