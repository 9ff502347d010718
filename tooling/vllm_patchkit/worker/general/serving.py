"""``vllm serve`` and a plain OpenAI client: completions, a chat, a stream, usage, a refusal."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import events
from ..engine import is_float32
from ..job import Job
from ..server import MODEL, serve
from .checkpoints import short_name
from .engine import cases_file, context_of, engine_arguments
from .faults import fault_of
from .judge import Answer, report
from .oracle import Case, read_cases

if TYPE_CHECKING:
    from openai import OpenAI

NAME = "server"
STAGE = "serve"
TRIES = 5
# What may be refused; which of it is, ``--against`` compares.
EDGES: tuple[tuple[str, Any], ...] = (
    ("temperature", -1),
    ("temperature", "warm"),
    ("top_p", 0),
    ("n", 0),
    ("max_tokens", 0),
    ("logprobs", 1000),
    ("stop", ["a", "b"]),
    ("echo", True),
    ("suffix", "x"),
    ("best_of", 2),
    ("logit_bias", {"1000000": 1}),
    ("stream_options", {"include_usage": True}),
    ("prompt", []),
    ("prompt", [1_000_000]),
    ("model", "another"),
    ("unknown_parameter", 1),
)


def run(job: Job, architecture: str) -> None:
    """Run the scenario, then stop the server as an orchestrator would."""
    *cases, chat = read_cases(cases_file(job, architecture))
    with serve(job, STAGE, engine_arguments(job, architecture)) as client:
        started = time.monotonic()
        problems = ask_all(client, cases[:3], chat, exact=is_float32(job))
        problems += check_refusal(client, cases[0], context_of(job))
        refused = [ask_edge(client, cases[0], name, value) for name, value in EDGES]
        known = fault_of(job, architecture, NAME)
        report(f"{short_name(architecture)}/{NAME}", refused, problems, started, known=known)


def ask_all(client: OpenAI, cases: list[Case], chat: Case, *, exact: bool) -> list[str]:
    """Return what is wrong with the answers to completions, a stream and a chat."""
    problems = []
    for case in cases:
        events.note(STAGE, f"request {case.name}")
        whole: Any = client.completions.create(**_fields(case))
        problems += compare(case, whole.choices[0].text, exact=exact)
        problems += check_usage(case, whole.usage)
    problems += check_stream(client, cases[0], exact=exact)
    said: Any = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": chat.prompt}],
        max_tokens=chat.max_tokens,
        temperature=0.0,
    )
    return problems + compare(chat, said.choices[0].message.content or "", exact=exact)


def check_stream(client: OpenAI, case: Case, *, exact: bool) -> list[str]:
    """Return what is wrong with the answers to a request that is streamed.

    What a busy server has not sent yet it sends together, so one that came in one piece is asked
    for again.
    """
    for _ in range(TRIES):
        chunks: Any = client.completions.create(**_fields(case), stream=True)
        pieces = [choice.text for chunk in chunks for choice in chunk.choices]
        problems = compare(case, "".join(pieces), exact=exact, note=", streamed")
        if problems or len(pieces) > 1:
            return problems
    return [f"{case.name}, streamed: came in one piece, {TRIES} times"]


def _fields(case: Case) -> dict[str, Any]:
    return {
        "model": MODEL,
        "prompt": list(case.prompt_ids),
        "max_tokens": case.max_tokens,
        "temperature": 0.0,
    }


def compare(case: Case, text: str, *, exact: bool, note: str = "") -> list[str]:
    """Return how a text differs from transformers'."""
    if not exact or case.text is None or text == case.text:
        return []
    return [f"{case.name}{note}: {text!r}, transformers has {case.text!r}"]


def check_usage(case: Case, usage: Any) -> list[str]:
    """Return what is wrong with the counts of a request."""
    counted = (usage.prompt_tokens, usage.completion_tokens)
    expected = (len(case.prompt_ids), len(case.tokens) if case.tokens else counted[1])
    return [] if counted == expected else [f"{case.name}: usage {counted}, expected {expected}"]


def ask_edge(client: OpenAI, case: Case, name: str, value: Any) -> Answer:
    """Return whether the server takes a parameter, and if not, what it says."""
    from openai import APIStatusError

    refused = None
    try:
        body = {**_fields(replace(case, max_tokens=2)), name: value}
        client.post("/completions", body=body, cast_to=object)
    except APIStatusError as error:
        refused = f"{error.status_code}: {error.message}"[:300]
    return Answer(request=f"{name} {value}", case=case, tokens=(), expected=False, refused=refused)


def check_refusal(client: OpenAI, case: Case, context: int) -> list[str]:
    """A request that cannot be served is refused with the reason, and the next one is served."""
    from openai import BadRequestError

    problems = []
    try:
        client.completions.create(**{**_fields(case), "max_tokens": 2 * context})
        problems.append("a request longer than the context was accepted")
    except BadRequestError as error:
        if str(context) not in str(error):
            problems.append(f"the refusal does not name the limit of {context} tokens: {error}")
    again: Any = client.completions.create(**_fields(case))
    if not again.choices:
        problems.append("after a refused request the server answers no more")
    return problems
