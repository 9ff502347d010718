"""What an answer has to be, and the report of one scenario."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import events
from .oracle import Case

# Of a log probability, between two float32 implementations.
BOUND = 2e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The tokens of one output.

    :param expected: whether they have to be the oracle's.
    :param logprobs: for each token the log probability of it and of some others, by token.
    :param refused: why the request was not served.
    """

    request: str
    case: Case
    tokens: tuple[int, ...]
    expected: bool = True
    logprobs: tuple[Mapping[int, float], ...] | None = None
    refused: str | None = None


def find_problems(answer: Answer) -> list[str]:
    """Return how an answer differs from transformers'."""
    expected = answer.case.tokens
    if not answer.expected or expected is None:
        return []
    if answer.tokens != expected:
        return [f"{answer.request}: {first_difference(answer.tokens, answer.case)}"]
    return [f"{answer.request}: {text}" for text in _compare_logprobs(answer)]


def first_difference(tokens: Sequence[int], case: Case) -> str:
    """Return where ``tokens`` leave the oracle's."""
    expected = case.tokens or ()
    places = [n for n, pair in enumerate(zip(tokens, expected, strict=False)) if len(set(pair)) > 1]
    if not places:
        return f"{len(tokens)} tokens, transformers has {len(expected)}"
    place = places[0]
    return (
        f"token {place} is {tokens[place]}, transformers' is {expected[place]} "
        f"(its smallest margin is {case.margin:.2g})"
    )


def _compare_logprobs(answer: Answer) -> list[str]:
    rows = answer.case.logprobs
    if answer.logprobs is None or rows is None:
        return []
    worst, where = 0.0, 0
    for place, found in enumerate(answer.logprobs):
        for token, value in found.items():
            difference = abs(value - float(rows[place][token]))
            worst, where = max((worst, where), (difference, place))
    if worst <= BOUND:
        return []
    return [f"a log probability of token {where} is off by {worst:.1e}, limit {BOUND:.0e}"]


def report(
    name: str,
    answers: Sequence[Answer],
    problems: Sequence[str],
    started: float,
    step_ms: float | None = None,
    known: str | None = None,
) -> bool:
    """Judge the answers of one scenario, report it, and return whether it holds.

    :param known: a fault of the release itself, which makes a warning of what is found.
    :param started: ``time.monotonic()`` when the requests were sent; now is when they ended.
    :param problems: what the caller found wrong beside the answers.
    """
    seconds = time.monotonic() - started
    found = [*problems, *(text for answer in answers for text in find_problems(answer))]
    if found and known is not None:
        events.send("warning", text=f"{name}: {found[0]}; {known}")
        found = []
    count = sum(len(answer.tokens) for answer in answers)
    for answer in answers:
        events.send("answer", scenario=name, **_as_fields(answer))
    return events.scenario(
        name,
        found,
        requests=len(answers),
        tokens=count,
        seconds=seconds,
        oracle=any(answer.expected and answer.case.tokens is not None for answer in answers),
        step_ms=step_ms,
        known_fault=known,
    )


def _as_fields(answer: Answer) -> dict[str, Any]:
    chosen = None
    if answer.logprobs is not None:
        pairs = zip(answer.tokens, answer.logprobs, strict=True)
        chosen = [round(float(row[token]), 6) for token, row in pairs]
    return {
        "request": answer.request,
        "tokens": list(answer.tokens),
        "logprobs": chosen,
        "refused": answer.refused,
    }
