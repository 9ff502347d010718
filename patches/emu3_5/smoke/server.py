"""Stage ``server``: ``vllm serve`` in a process of its own, and a plain OpenAI client."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from patchkit_worker import events
from patchkit_worker.job import Job
from patchkit_worker.server import MODEL, serve

from .cases import Case
from .engine import engine_arguments, extra_args
from .judge import report
from .prepare import read_cases

if TYPE_CHECKING:
    from openai import OpenAI

STAGE = "server"
CASES = ("text", "t2i", "x2i-three-streams", "interleaved")


def run(job: Job) -> None:
    """Run the scenario ``server``, then stop the server as an orchestrator would."""
    with serve(job, STAGE, engine_arguments(job)) as client:
        _ask_all(client, job)
        _check_refusal(client, job)


def request_fields(case: Case, *, greedy: bool) -> dict[str, Any]:
    """Return the request of a completions client; what OpenAI does not know is the extra body."""
    extra = {
        "return_token_ids": True,
        "stop_token_ids": list(case.stop_token_ids),
        "skip_special_tokens": False,
        **extra_args(case, greedy=greedy),
    }
    if case.uncond is not None:
        extra["uncond_prompt"] = case.uncond
    if case.uncond_no_image is not None:
        extra["uncond_no_image_prompt"] = case.uncond_no_image
    fields: dict[str, Any] = {
        "model": MODEL,
        "prompt": case.prompt,
        "max_tokens": case.max_tokens,
        "temperature": 0.0 if greedy else 1.0,
        "extra_body": extra,
    }
    if case.logit_bias:
        fields["logit_bias"] = {str(token): bias for token, bias in case.logit_bias.items()}
    return fields


def _ask_all(client: OpenAI, job: Job) -> None:
    cases = [case for case in read_cases(job) if case.name in CASES]
    greedy = job.model is None
    problems: list[str] = []
    answers: list[tuple[Case, Sequence[int]]] = []
    started = time.monotonic()
    for case in cases:
        events.note(STAGE, f"request {case.name}")
        tokens, wrong = _complete(client, request_fields(case, greedy=greedy))
        answers.append((case, tokens))
        problems += [f"{case.name}: {text}" for text in wrong]
    guided = next(case for case in cases if case.guided)
    tokens, wrong = _stream(client, request_fields(guided, greedy=greedy))
    answers.append((guided, tokens))
    problems += [f"{guided.name}, streamed: {text}" for text in wrong]
    report(job, STAGE, answers, started, problems)


def _complete(client: OpenAI, fields: dict[str, Any]) -> tuple[list[int], list[str]]:
    """Return tokens and problems of one request."""
    completion = client.completions.create(**fields)
    problems = []
    if len(completion.choices) != 1:
        problems.append(f"{len(completion.choices)} choices, expected one")
    tokens = list((completion.choices[0].model_extra or {})["token_ids"])
    usage = completion.usage
    if usage is None or usage.completion_tokens != len(tokens):
        counted = None if usage is None else usage.completion_tokens
        problems.append(f"usage counts {counted} tokens, {len(tokens)} came")
    return tokens, problems


def _stream(client: OpenAI, fields: dict[str, Any]) -> tuple[list[int], list[str]]:
    """Return tokens and problems of one streamed request."""
    tokens: list[int] = []
    pieces = 0
    for chunk in client.completions.create(**fields, stream=True):
        for choice in chunk.choices:
            pieces += 1
            tokens += (choice.model_extra or {}).get("token_ids") or []
    return tokens, [] if pieces > 1 else ["came in one piece, not as a stream"]


def _check_refusal(client: OpenAI, job: Job) -> None:
    """A request that cannot be served is refused by name, and the next one is served."""
    from openai import BadRequestError

    cases = {case.name: case for case in read_cases(job)}
    fields = request_fields(cases["t2i"], greedy=True)
    del fields["extra_body"]["uncond_prompt"]
    try:
        client.completions.create(**fields)
        problem = "a guidance scale without an unconditional prompt was accepted"
    except BadRequestError as error:
        named = "guidance_scale" in str(error) or "uncond_prompt" in str(error)
        problem = "" if named else f"the refusal names no parameter: {error}"
    tokens, _ = _complete(client, request_fields(cases["text"], greedy=True))
    if not tokens:
        problem = problem or "after a refused request the server answers no more"
    events.check(STAGE, "a request that cannot be served is refused by name", not problem, problem)
