"""Requests at the edges of what is allowed: which are refused, and with which words.

What a release refuses is its own affair; ``--against`` compares it with the other side's. Here only
what none can serve has to be refused, and the engine has to answer afterwards.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .engine import context_of_engine, prompt_of
from .judge import Answer
from .oracle import Case

if TYPE_CHECKING:
    from .offline import Scenario

TOKENS = 4
# With a seed, so that what is drawn is the same on both sides.
USUAL: dict[str, Any] = {"temperature": 0.0, "seed": 7, "max_tokens": TOKENS}
# No release can serve these.
HOPELESS = ("temperature -1", "n 0", "a prompt that is too long")
PARAMETERS: tuple[tuple[str, Any], ...] = (
    ("temperature", -1.0),
    ("temperature", 3.5),
    ("n", 0),
    ("top_p", 0.0),
    ("top_p", 1.5),
    ("top_k", -2),
    ("top_k", -1),
    ("top_k", 2.5),
    ("top_k", 100_000),
    ("min_p", 1.5),
    ("presence_penalty", 3.0),
    ("frequency_penalty", -3.0),
    ("repetition_penalty", 0.0),
    ("max_tokens", 0),
    ("min_tokens", -1),
    ("min_tokens", TOKENS + 1),
    ("logprobs", -2),
    ("logprobs", 1000),
    ("prompt_logprobs", 1000),
    ("stop", [""]),
    ("stop_token_ids", ["a"]),
    ("stop_token_ids", [1_000_000]),
    ("allowed_token_ids", []),
    ("allowed_token_ids", [10, 1_000_000]),
    ("logit_bias", {1_000_000: 1.0}),
    ("bad_words", ["a"]),
    ("seed", -1),
    ("ignore_eos", True),
    ("extra_args", {"unknown": 1}),
)


def refusals(scenario: Scenario) -> None:
    """Ask for what may be refused, one request at a time, then for what is not."""
    case = replace(scenario.cases[0], max_tokens=TOKENS)
    for name, value in PARAMETERS:
        ask(scenario, f"{name} {value}", case, **{name: value})
    ask(scenario, "an empty prompt", replace(case, prompt_ids=()))
    ask(scenario, "a token that is not there", replace(case, prompt_ids=(10, 1_000_000)))
    long = case.prompt_ids * (1 + context_of_engine(scenario.llm) // len(case.prompt_ids))
    ask(scenario, "a prompt that is too long", replace(case, prompt_ids=long))
    served = [answer.request for answer in scenario.answers if answer.refused is None]
    scenario.problems += [f"{name} was not refused" for name in HOPELESS if name in served]
    scenario.ask(scenario.cases[:1], note=", after refusals")


def ask(scenario: Scenario, name: str, case: Case, **fields: Any) -> None:
    """Ask, and keep the tokens, or why there are none."""
    from vllm import SamplingParams

    tokens: tuple[int, ...] = ()
    refused = None
    try:
        params = SamplingParams(**{**USUAL, **fields})
        (result,) = scenario.llm.generate([prompt_of(case)], [params], use_tqdm=False)
        tokens = tuple(result.outputs[0].token_ids)
    except Exception as error:
        refused = f"{type(error).__name__}: {error}"[:300]
    scenario.answers.append(
        Answer(request=name, case=case, tokens=tokens, expected=False, refused=refused)
    )
