"""Stage ``offline``: every scenario through ``LLM.generate``, one by one and all at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from patchkit_worker import events
from patchkit_worker.engine import load
from patchkit_worker.job import Job

from .cases import QUESTION, Case, begun_image
from .engine import engine_arguments, is_exact, one_candidate_params, prompt_of, sampling_params
from .judge import report
from .prepare import read_cases, read_vocabulary
from .sequence import MultimodalSequence, parse_segments
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from vllm import LLM, SamplingParams

STAGE = "offline"
ALONE = ("text", "t2i", "x2i", "x2i-three-streams", "interleaved", "understanding", "free-size")


def run(job: Job) -> None:
    """Load the engine once and run the scenarios that were asked for."""
    cases = [case for case in read_cases(job) if case.name in ALONE]
    wanted = [case for case in cases if job.wants(case.name)]
    vocabulary = read_vocabulary(job)
    llm = load(STAGE, engine_arguments(job))
    for case in wanted:
        run_case(llm, job, case, vocabulary)
    if job.wants("sampled"):
        run_sampled(llm, job, cases)
    if job.wants("mixed"):
        run_mixed(llm, job, cases)


def run_case(llm: LLM, job: Job, case: Case, vocabulary: Vocabulary) -> None:
    """Run one request alone; for a guided one without an oracle also its unguided twin."""
    events.note(STAGE, f"scenario {case.name}")
    plain: list[tuple[Case, Sequence[int]]] = []
    if case.guided and not is_exact(job):
        plain, _ = ask(llm, job, [case.without_guidance()])
    started = time.monotonic()
    answers, problems = ask(llm, job, [case])
    guided = answers[0][1] if answers else []
    if plain and list(plain[0][1]) == list(guided):
        problems.append("guidance had no effect: the unguided request gives the same tokens")
    if report(job, case.name, answers, started, problems, pictures=True):
        export_sequence(llm, job, case, guided, vocabulary)


def run_sampled(llm: LLM, job: Job, cases: Sequence[Case]) -> None:
    """Draw tokens, which greedy requests never do, for an image and for text, twice in one batch.

    With one candidate a draw gives the oracle's token. A free one, of the same image with a seed,
    keeps to the grammar and repeats itself.
    """
    events.note(STAGE, "scenario sampled")
    named = {case.name: case for case in cases}
    narrow = [named["t2i"], named["text"]]
    drawn = replace(named["t2i"], name="t2i, drawn", expected=None, unguided=None)
    asked = [*narrow, drawn]
    params = [*map(one_candidate_params, narrow), sampling_params(drawn, greedy=False)]
    started = time.monotonic()
    answers, problems = ask(llm, job, asked + asked, params=params + params)
    if is_exact(job):
        first, second = answers[len(asked) - 1][1], answers[-1][1]
        if list(first) != list(second):
            problems.append("two draws with the same seed differ")
        if tuple(first) == named["t2i"].expected:
            problems.append("a draw among all visual tokens gave the greedy ones")
    report(job, "sampled", answers, started, problems)


def run_mixed(llm: LLM, job: Job, cases: Sequence[Case]) -> None:
    """Run all requests in one batch."""
    events.note(STAGE, "scenario mixed")
    started = time.monotonic()
    answers, problems = ask(llm, job, cases, as_ids=False)
    report(job, "mixed", answers, started, problems)


def ask(
    llm: LLM,
    job: Job,
    cases: Sequence[Case],
    *,
    as_ids: bool | None = None,
    params: Sequence[SamplingParams] | None = None,
) -> tuple[list[tuple[Case, Sequence[int]]], list[str]]:
    """Return the tokens for each case, and what is wrong with the results as such.

    :param params: of each case; None takes greedy ones for the tiny checkpoint, else usual ones.
    """
    if as_ids is None:
        as_ids = job.model is None
    prompts: list[Any] = [prompt_of(case, as_ids=as_ids) for case in cases]
    if params is None:
        params = [sampling_params(case, greedy=job.model is None) for case in cases]
    results = llm.generate(prompts, list(params), use_tqdm=False)
    problems = []
    if len(results) != len(cases):
        problems.append(f"{len(cases)} requests gave {len(results)} results")
    for case, result in zip(cases, results, strict=False):
        if len(result.outputs) != 1:
            problems.append(f"{case.name}: {len(result.outputs)} outputs, expected one")
        # Text was tokenized by the engine; a byte-level tokenizer leaves no choice how.
        if case.prompt_ids and tuple(result.prompt_token_ids or ()) != case.prompt_ids:
            problems.append(f"{case.name}: the prompt was tokenized differently")
    tokens = [list(result.outputs[0].token_ids) for result in results]
    return list(zip(cases, tokens, strict=False)), problems


def export_sequence(
    llm: LLM, job: Job, case: Case, tokens: Sequence[int], vocabulary: Vocabulary
) -> None:
    """Hand over the answer as JSON and protobuf, pictures decoded where that is possible."""
    import base64

    tokenizer = llm.get_tokenizer()
    sequence = MultimodalSequence(
        question=job.prompt or QUESTION,
        task=case.name,
        segments=parse_segments(
            [*begun_image(case, vocabulary), *tokens],
            vocabulary,
            lambda ids: str(tokenizer.decode(list(ids))),
        ),
        token_ids=tuple(tokens),
    )
    if job.vision_tokenizer is not None:
        from .vision import load_vision

        vision = load_vision(job.vision_tokenizer, job.vision_factory, job.device)
        sequence = sequence.with_pictures(vision.decode_png)
        for number, image in enumerate(sequence.images, 1):
            png = image.png or b""
            events.picture(f"{case.name}-{number}-decoded", image.size, png, kind="decoded")
    encoded = base64.b64encode(sequence.to_protobuf()).decode("ascii")
    events.send("sequence", name=case.name, json=sequence.to_json(), protobuf=encoded)
