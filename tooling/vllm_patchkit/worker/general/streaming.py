"""Requests through ``AsyncLLM`` at once, as streams, one of them dropped on its way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..engine import is_float32, load_async
from ..job import Job
from .checkpoints import short_name
from .engine import cases_file, engine_arguments, greedy, prompt_of
from .faults import fault_of
from .judge import Answer, report
from .oracle import Case, read_cases

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

NAME = "streaming"
DROP_AFTER = 4


@dataclass(kw_only=True, slots=True)
class Stream:
    """What one request sent, piece by piece."""

    case: Case
    tokens: list[int] = field(default_factory=list)
    pieces: int = 0
    finished: int = 0


def run(job: Job, architecture: str) -> None:
    """Run the scenario."""
    asyncio.run(_run(job, architecture))


async def _run(job: Job, architecture: str) -> None:
    engine = load_async(NAME, engine_arguments(job, architecture))
    cases = read_cases(cases_file(job, architecture))
    started = time.monotonic()
    try:
        dropped, *streams = await asyncio.gather(
            _stream(engine, cases[3], "dropped", limit=DROP_AFTER),
            *(_stream(engine, case, case.name) for case in cases[:3]),
        )
    finally:
        engine.shutdown()
    problems = find_problems(streams)
    beginning = (dropped.case.tokens or ())[: len(dropped.tokens)]
    if is_float32(job) and beginning and tuple(dropped.tokens) != beginning:
        problems.append("the dropped request's tokens are not the beginning of transformers'")
    answers = [
        Answer(
            request=stream.case.name,
            case=stream.case,
            tokens=tuple(stream.tokens),
            expected=is_float32(job),
        )
        for stream in streams
    ]
    known = fault_of(job, architecture, NAME)
    report(f"{short_name(architecture)}/{NAME}", answers, problems, started, known=known)


async def _stream(engine: AsyncLLM, case: Case, name: str, limit: int | None = None) -> Stream:
    """Read a request's stream to its end, or drop it after ``limit`` tokens."""
    from vllm.sampling_params import RequestOutputKind

    params = greedy(case, output_kind=RequestOutputKind.DELTA)
    stream = Stream(case=case)
    prompt: Any = prompt_of(case)
    async for output in engine.generate(prompt, params, name):
        stream.pieces += 1
        stream.finished += output.finished
        stream.tokens += output.outputs[0].token_ids
        if limit is not None and len(stream.tokens) >= limit:
            break
    return stream


def find_problems(streams: Sequence[Stream]) -> list[str]:
    """Return what is wrong with streams as such.

    What a reader has not fetched yet vLLM merges, so one of them may come in one piece.
    """
    problems = [
        f"{stream.case.name}: finished {stream.finished} times"
        for stream in streams
        if stream.finished != 1
    ]
    if all(stream.pieces < 2 for stream in streams):
        problems.append("every request came in one piece, none as a stream")
    return problems
