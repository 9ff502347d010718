"""Requests of the benchmark, and the time that an engine's steps take with them."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .shapes import Shape
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from vllm import LLM, SamplingParams

PROMPT_TOKENS = 40
UNCOND_TOKENS = 16
PATCH_AREA = 256
# Steps at either end that are not all decodes of pixels: prompts, size digits, streams catching up.
SETTLE_STEPS = 12


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt and its parameters, in vLLM's terms."""

    prompt: dict[str, Any]
    params: SamplingParams


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One run of a set of requests.

    :param step_ms: median time of the steps in which every request got a token.
    :param tokens_per_s: tokens of all requests in those steps, by their time.
    :param seconds: from the first step to the last.
    """

    step_ms: float
    tokens_per_s: float
    seconds: float
    steps: int


def guided_requests(
    shape: Shape, number: int, size: tuple[int, int], top_k: int, *, seed: int
) -> list[Request]:
    """Return ``number`` guided images; each prompt ends where its image begins."""
    from vllm import SamplingParams

    vocabulary = shape.vocabulary
    boi, eoi = vocabulary.special["boi"], vocabulary.special["eoi"]
    height, width = size
    draw = random.Random(seed)
    params = SamplingParams(
        temperature=1.0,
        max_tokens=height * (width + 1) + 16,
        stop_token_ids=[eoi],
        ignore_eos=True,
        detokenize=False,
        extra_args={
            "guidance_scale": 5.0,
            "visual_top_k": top_k,
            "visual_temperature": 1.0,
            "visual_top_p": 1.0,
            "height": height,
            "width": width,
            "area": height * width * PATCH_AREA,
        },
    )
    return [
        Request(
            {
                "prompt_token_ids": [*_text(draw, PROMPT_TOKENS), boi],
                "uncond_prompt_token_ids": [*_text(draw, UNCOND_TOKENS), boi],
            },
            params,
        )
        for _ in range(number)
    ]


def plain_requests(
    shape: Shape, number: int, size: tuple[int, int], top_k: int, *, seed: int
) -> list[Request]:
    """Return ``number`` plain sequences as long as images and their hidden streams."""
    from vllm import SamplingParams

    height, width = size
    draw = random.Random(seed)
    params = SamplingParams(
        temperature=1.0,
        top_k=top_k,
        max_tokens=height * (width + 1) + 7,
        ignore_eos=True,
        detokenize=False,
    )
    lengths = [PROMPT_TOKENS if place % 2 == 0 else UNCOND_TOKENS for place in range(number)]
    return [Request({"prompt_token_ids": _text(draw, length)}, params) for length in lengths]


def _text(draw: random.Random, length: int) -> list[int]:
    """Return ids of plain text, other ones every time, so that no prefix is cached."""
    return [draw.randrange(100, 4000) for _ in range(length)]


@dataclass(slots=True)
class Steps:
    """Times and token counts of an engine's steps while it works on a set of requests."""

    ends: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)


def measure(llm: LLM, requests: Sequence[Request], vocabulary: Vocabulary) -> Measured:
    """Run the requests to their ends and return what their steps took."""
    started = time.perf_counter()
    steps = run_steps(llm, requests)
    full = [place for place, rows in enumerate(steps.rows) if rows == len(requests)]
    window = full[SETTLE_STEPS : -SETTLE_STEPS // 2] or full[1:]
    times = [steps.ends[place] - steps.ends[place - 1] for place in window]
    tokens = sum(steps.counts[place] for place in window)
    return Measured(
        step_ms=1e3 * statistics.median(times),
        tokens_per_s=tokens / sum(times),
        seconds=steps.ends[-1] - started,
        steps=len(steps.ends),
    )


def run_steps(
    llm: LLM, requests: Sequence[Request], after_step: Callable[[int], None] | None = None
) -> Steps:
    """Feed the requests to the engine and step it until they are done."""
    from vllm.sampling_params import RequestOutputKind

    engine = llm.llm_engine
    for number, request in enumerate(requests):
        params = request.params.clone()
        params.output_kind = RequestOutputKind.DELTA
        prompt: Any = request.prompt
        engine.add_request(f"{time.monotonic_ns()}-{number}", prompt, params)
    steps = Steps()
    while engine.has_unfinished_requests():
        outputs: list[Any] = engine.step()
        steps.ends.append(time.perf_counter())
        steps.rows.append(len(outputs))
        steps.counts.append(sum(len(output.outputs[0].token_ids) for output in outputs))
        if after_step is not None:
            after_step(len(steps.ends))
    return steps
