"""The stack's bench: steps of guided images against those of plain sequences as wide and deep.

Both engines are made by this process, with the same settings. On a CPU both are alive and take
turns step by step, because other programs disturb; on a GPU, where two full-size models do not fit,
one follows the other.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from patchkit_worker import events
from patchkit_worker.bench import STAGE, copy_bandwidth, free_memory, peak_memory
from patchkit_worker.job import Job
from patchkit_worker.profile import profile_steps
from patchkit_worker.steps import Measured, Request, Run, measure

from .grammar import parse_images
from .shapes import Shape, full_shape, small_shape
from .vocabulary import Vocabulary
from .workload import guided_requests, plain_requests

if TYPE_CHECKING:
    from vllm import LLM

# Requests that stand for one image.
SEQUENCES = {"emu": 1, "plain": 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is measured.

    :param images: numbers of images at once; N images are compared with 2N plain sequences.
    :param size: height and width of an image in visual tokens.
    :param scenarios: numbers of images, each with the steps between the arrivals of two.
    :param tokens: of each image, 0 for the whole of it.
    :param beside: plain requests beside the images.
    :param top_p: of plain requests.
    """

    images: tuple[int, ...]
    size: tuple[int, int]
    scenarios: tuple[tuple[int, int], ...]
    sides: tuple[str, ...]
    tokens: int
    beside: int
    top_p: float
    plain_top_k: int
    async_scheduling: bool
    cudagraph_mode: str | None
    full_size: bool
    rounds: int
    top_k: int
    profile: bool
    in_process: bool

    @classmethod
    def from_job(cls, job: Job) -> Plan:
        """Return the plan that the host sent."""
        known = dict(job.bench)
        known["scenarios"] = tuple(map(tuple, known["scenarios"]))
        for name in ("images", "size", "sides"):
            known[name] = tuple(known[name])
        return cls(**known)


def run(job: Job) -> None:
    """Measure everything that was asked for; report each result as soon as it is known."""
    plan = Plan.from_job(job)
    if plan.in_process:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    shape = full_shape() if plan.full_size else small_shape(job.dtype or _small_dtype(job))
    _report_floor(job, shape)
    if job.device == "cpu":
        _take_turns(job, plan, shape)
    else:
        _one_after_the_other(job, plan, shape)


def _small_dtype(job: Job) -> str:
    return "float32" if job.device == "cpu" else "bfloat16"


def _report_floor(job: Job, shape: Shape) -> None:
    """Report how long a step must take at least: reading the weights once."""
    bandwidth = copy_bandwidth(job.device)
    size = shape.bytes_read(job.quantization, job.tensor_parallel_size)
    events.send(
        "bench",
        kind="floor",
        weight_bytes=size,
        bandwidth_bytes_per_s=round(bandwidth),
        floor_ms=round(1e3 * size / bandwidth, 3),
    )


def load(job: Job, plan: Plan, shape: Shape, kind: str) -> LLM:
    """Return the engine of ``emu`` or ``plain``; its load time is reported."""
    started = time.monotonic()
    events.note(STAGE, f"loading {kind}")
    from vllm import LLM

    write = shape.write_emu if kind == "emu" else shape.write_plain
    rows = max(2 * max(plan.images) + plan.beside, 8)
    arguments: dict[str, Any] = {
        # vLLM's cache of compiled code goes by the path: a relative one is the same in every run.
        "model": os.path.relpath(write(job.scratch / f"bench-{kind}")),
        "load_format": "dummy",
        "skip_tokenizer_init": True,
        "dtype": shape.dtype,
        "tensor_parallel_size": job.tensor_parallel_size,
        "quantization": job.quantization,
        "max_model_len": 64 + 16 + plan.size[0] * (plan.size[1] + 1),
        "max_num_seqs": rows,
        "enforce_eager": job.eager or job.device == "cpu",
        "seed": 0,
    }
    if plan.async_scheduling:
        arguments["async_scheduling"] = True
    if plan.cudagraph_mode is not None:
        arguments["compilation_config"] = {"cudagraph_mode": plan.cudagraph_mode}
    if job.device == "cuda":
        arguments["gpu_memory_utilization"] = job.gpu_memory_utilization or 0.9
    llm = LLM(**arguments)
    seconds = round(time.monotonic() - started, 2)
    events.send("bench", kind="load", engine=kind, seconds=seconds)
    return llm


def _take_turns(job: Job, plan: Plan, shape: Shape) -> None:
    engines = {kind: load(job, plan, shape, kind) for kind in ("emu", "plain")}
    _warm_up(engines["emu"], plan, shape)
    for number, stagger in plan.scenarios:
        rounds = []
        for turn in range(plan.rounds):
            guided, plain = measure(
                *(
                    _begin(llm, plan, shape, kind, number, stagger, turn)
                    for kind, llm in engines.items()
                )
            )
            _check_images(guided, number, plan, shape)
            rounds.append((guided, plain))
            ratio = guided.step_ms / plain.step_ms
            events.note(STAGE, f"{number} images, round {turn + 1}: ratio {ratio:.3f}")
        guided_runs, plain_runs = zip(*rounds, strict=True)
        _report_result((number, stagger), plan, guided_runs, plain_runs, peak_memory(job.device))
    if plan.profile:
        for kind, llm in engines.items():
            _profile(llm, job, plan, shape, kind)


def _one_after_the_other(job: Job, plan: Plan, shape: Shape) -> None:
    found: dict[str, dict[tuple[int, int], list[Measured]]] = {}
    # Of the guided engine, while it is there.
    memory: dict[tuple[int, int], int] = {}
    for kind in plan.sides:
        llm = load(job, plan, shape, kind)
        _warm_up(llm, plan, shape) if kind == "emu" else None
        found[kind] = {}
        for number, stagger in plan.scenarios:
            runs = [
                measured
                for turn in range(plan.rounds)
                for measured in measure(_begin(llm, plan, shape, kind, number, stagger, turn))
            ]
            if kind == "emu":
                memory[number, stagger] = peak_memory(job.device)
                for run in runs:
                    _check_images(run, number, plan, shape)
            found[kind][number, stagger] = runs
            _report_runs(kind, number, stagger, runs)
        if plan.profile:
            _profile(llm, job, plan, shape, kind)
        llm.llm_engine.engine_core.shutdown()
        del llm
        free_memory()
    for scenario in plan.scenarios if len(found) == len(SEQUENCES) else ():
        guided, plain = (found[kind][scenario] for kind in SEQUENCES)
        _report_result(scenario, plan, guided, plain, memory[scenario])


def _warm_up(llm: LLM, plan: Plan, shape: Shape) -> None:
    measure(Run(llm, guided_requests(shape, 1, (2, 4), plan.top_k, seed=99)))


def _check_images(run: Measured, number: int, plan: Plan, shape: Shape) -> None:
    """Report whether every guided answer is one image of the size that was asked for, unless the
    images are cut short.
    """
    if plan.tokens:
        return
    problems = image_problems(run.answers[:number], plan.size, shape.vocabulary)
    height, width = plan.size
    detail = problems[0] if problems else f"{number} images"
    events.check(STAGE, f"every image is a grid of {height}*{width}", not problems, detail)


def image_problems(
    answers: Sequence[Sequence[int]], size: tuple[int, int], vocabulary: Vocabulary
) -> list[str]:
    """Return what is wrong with answers that each are to finish one image, begun by the prompt."""
    problems = []
    for place, tokens in enumerate(answers):
        try:
            images = parse_images([vocabulary.special["boi"], *tokens], vocabulary)
        except ValueError as error:
            problems.append(f"image {place}: {error}")
            continue
        sizes = [image.size for image in images]
        if sizes != [size]:
            problems.append(f"image {place}: sizes {sizes}, expected one of {size}")
    return problems


def _begin(
    llm: LLM, plan: Plan, shape: Shape, kind: str, number: int, stagger: int, turn: int
) -> Run:
    requests = _requests(plan, shape, kind, number, turn)
    return Run(llm, requests, stagger=stagger, together=SEQUENCES[kind])


def _requests(plan: Plan, shape: Shape, kind: str, number: int, turn: int) -> list[Request]:
    number_plain = plan.beside + (0 if kind == "emu" else SEQUENCES[kind] * number)
    plain = plain_requests(
        shape, number_plain, plan.size, plan.plain_top_k, plan.top_p, seed=turn, tokens=plan.tokens
    )
    if kind == "plain":
        return plain
    return [
        *guided_requests(shape, number, plan.size, plan.top_k, seed=turn, tokens=plan.tokens),
        *plain,
    ]


def _report_runs(kind: str, number: int, stagger: int, runs: Sequence[Measured]) -> None:
    events.send(
        "bench",
        kind="runs",
        engine=kind,
        images=number,
        stagger=stagger,
        step_ms=[round(run.step_ms, 3) for run in runs],
        token_ms=[round(run.token_ms, 3) for run in runs],
        tokens_per_s=round(statistics.median(run.tokens_per_s for run in runs), 2),
    )


def _report_result(
    scenario: tuple[int, int],
    plan: Plan,
    guided: Sequence[Measured],
    plain: Sequence[Measured],
    memory: int,
) -> None:
    """Report medians over the rounds, and the medians of the rounds' ratios."""
    number, stagger = scenario
    pairs = list(zip(guided, plain, strict=True))
    ratios = [a.step_ms / b.step_ms for a, b in pairs]
    events.send(
        "bench",
        kind="result",
        images=number,
        stagger=stagger,
        sequences=2 * number + plan.beside,
        guided_step_ms=round(statistics.median(run.step_ms for run in guided), 3),
        plain_step_ms=round(statistics.median(run.step_ms for run in plain), 3),
        guided_token_ms=round(statistics.median(run.token_ms for run in guided), 3),
        plain_token_ms=round(statistics.median(run.token_ms for run in plain), 3),
        ratio=round(statistics.median(ratios), 4),
        ratios=[round(ratio, 4) for ratio in ratios],
        token_ratio=round(statistics.median(a.token_ms / b.token_ms for a, b in pairs), 4),
        image_tokens_per_s=round(
            statistics.median(1e3 * number / run.token_ms for run in guided), 2
        ),
        seconds_an_image=round(statistics.median(run.seconds for run in guided), 3),
        peak_memory_bytes=memory,
    )


def _profile(llm: LLM, job: Job, plan: Plan, shape: Shape, kind: str) -> None:
    """Profile the largest number of images, so that what grows with it shows."""
    number = max(plan.images)
    text = profile_steps(llm, _requests(plan, shape, kind, number, 1000), job.device)
    events.send("bench", kind="profile", engine=kind, images=number, text=text)
