"""Stage ``streaming``: requests through ``AsyncLLM`` at once, as streams, one of them aborted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from patchkit_worker.engine import load_async
from patchkit_worker.job import Job

from .cases import Case
from .engine import engine_arguments, prompt_of, sampling_params
from .judge import report
from .prepare import read_cases

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

STAGE = "streaming"
CASES = ("text", "t2i", "x2i")
ABORT_AFTER = 8


@dataclass(kw_only=True, slots=True)
class Stream:
    """What one request sent, piece by piece."""

    case: Case
    tokens: list[int] = field(default_factory=list)
    pieces: int = 0
    finished: int = 0
    outputs: set[int] = field(default_factory=set)


def run(job: Job) -> None:
    """Run the scenario ``streaming``."""
    asyncio.run(_run(job))


async def _run(job: Job) -> None:
    engine = load_async(STAGE, engine_arguments(job))
    try:
        await _stream_all(engine, job)
    finally:
        engine.shutdown()


async def _stream_all(engine: AsyncLLM, job: Job) -> None:
    cases = [case for case in read_cases(job) if case.name in CASES]
    guided = next(case for case in cases if case.guided)
    started = time.monotonic()
    aborted, *streams = await asyncio.gather(
        _stream(engine, job, guided, "aborted", limit=ABORT_AFTER),
        *(_stream(engine, job, case, f"request-{case.name}") for case in cases),
    )
    problems = [text for stream in streams for text in stream_problems(stream)]
    # What a reader has not fetched yet vLLM merges, so one of them may well come in one piece.
    if all(stream.pieces < 2 for stream in streams):
        problems.append("every request came in one piece, none as a stream")
    problems += _aborted_problems(aborted)
    answers: list[tuple[Case, Sequence[int]]] = [(s.case, s.tokens) for s in streams]
    report(job, STAGE, answers, started, problems)


async def _stream(
    engine: AsyncLLM, job: Job, case: Case, request_id: str, limit: int | None = None
) -> Stream:
    """Read a request's stream to its end, or drop it after ``limit`` tokens."""
    from vllm.sampling_params import RequestOutputKind

    tiny = job.model is None
    params = sampling_params(case, greedy=tiny, output_kind=RequestOutputKind.DELTA)
    stream = Stream(case=case)
    prompt: Any = prompt_of(case, as_ids=tiny)
    async for output in engine.generate(prompt, params, request_id):
        stream.pieces += 1
        stream.finished += output.finished
        for completion in output.outputs:
            stream.outputs.add(completion.index)
            stream.tokens += completion.token_ids
        if limit is not None and len(stream.tokens) >= limit:
            break
    return stream


def stream_problems(stream: Stream) -> list[str]:
    """Return what is wrong with a stream as such."""
    problems = []
    if stream.outputs != {0}:
        problems.append(f"{stream.case.name}: outputs {sorted(stream.outputs)}, expected one")
    if stream.finished != 1:
        problems.append(f"{stream.case.name}: finished {stream.finished} times")
    return problems


def _aborted_problems(stream: Stream) -> list[str]:
    """An aborted request sent what the full one begins with."""
    expected = stream.case.expected
    if expected is None or tuple(stream.tokens) == expected[: len(stream.tokens)]:
        return []
    return ["the aborted request's tokens are not the beginning of the oracle's"]
