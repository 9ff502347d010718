"""Stage ``precision``: guided logits in bfloat16 against a float64 oracle.

Greedy tokens cannot be compared across precisions, so the oracle is led along the engine's own
tokens, and what it would have chosen from is compared with what the engine chose from.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import events
from .cases import Case
from .engine import engine_arguments, prompt_of, sampling_params
from .job import Job
from .oracle import region_of, score
from .oracle_model import OracleModel
from .prepare import read_cases, read_vocabulary
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    import torch

STAGE = "precision"
CASES = ("t2i", "x2i-three-streams")
LIMIT = 1e-2


def run(job: Job) -> None:
    """Run the scenario ``precision``."""
    vocabulary = read_vocabulary(job)
    started = time.monotonic()
    answers = generate(job, vocabulary)
    model = OracleModel.read(job.checkpoint, double=True)
    problems = []
    count = 0
    for case, tokens, rows in answers:
        count += len(tokens)
        error, places = relative_error(model, vocabulary, case, tokens, rows)
        events.note(STAGE, f"{case.name}: relative error {error:.2e} over {places} choices")
        detail = f"{error:.2e} over {places} choices (limit {LIMIT:.0e})"
        name = f"bfloat16 guided logits of {case.name} near the float64 oracle's"
        if not events.check(STAGE, name, places > 0 and error < LIMIT, detail):
            problems.append(f"{case.name}: relative error {detail}")
    seconds = time.monotonic() - started
    events.send(
        "scenario",
        name=STAGE,
        ok=not problems,
        problems=problems,
        requests=len(answers),
        tokens=count,
        seconds=round(seconds, 4),
        tokens_per_s=None,
        images=[],
        oracle=True,
    )


def generate(
    job: Job, vocabulary: Vocabulary
) -> list[tuple[Case, list[int], list[dict[int, float]]]]:
    """Return case, tokens and, per token, the guided logits by token id."""
    started = time.monotonic()
    from vllm import LLM

    arguments = {
        **engine_arguments(job),
        "dtype": "bfloat16",
        # What was sampled from: guided, limited to the region.
        "logprobs_mode": "processed_logits",
        "max_logprobs": vocabulary.visual_count,
    }
    llm = LLM(**arguments)
    events.send("load", stage=STAGE, seconds=round(time.monotonic() - started, 2))
    answers = []
    for case in (case for case in read_cases(job) if case.name in CASES):
        params = sampling_params(case, greedy=True, logprobs=vocabulary.visual_count)
        prompts: list[Any] = [prompt_of(case, as_ids=True)]
        output = llm.generate(prompts, params, use_tqdm=False)[0].outputs[0]
        rows = [
            {token: entry.logprob for token, entry in row.items()} for row in output.logprobs or ()
        ]
        answers.append((case, list(output.token_ids), rows))
    return answers


def relative_error(
    model: OracleModel,
    vocabulary: Vocabulary,
    case: Case,
    tokens: Sequence[int],
    rows: Sequence[Mapping[int, float]],
) -> tuple[float, int]:
    """Return the error over all free choices of visual tokens, and how many there were.

    Per choice, logits are centred (a constant changes nothing) and compared as vectors; the result
    is the norm of all differences over the norm of the oracle's.
    """
    difference = total = 0.0
    places = 0
    for place, row in enumerate(rows):
        region = region_of(vocabulary, case, tokens[:place])
        if region.kind != "pixels" or region.allowed is None or len(region.allowed) == 1:
            continue
        wanted = score(model, vocabulary, case, tokens[:place], region)
        found, expected = _centred_pair(row, wanted, region.allowed)
        difference += float(((found - expected) ** 2).sum())
        total += float((expected**2).sum())
        places += 1
    return (difference / total) ** 0.5 if total else float("inf"), places


def _centred_pair(
    row: Mapping[int, float], wanted: torch.Tensor, allowed: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    found = torch.tensor([row[token] for token in allowed], dtype=torch.float64)
    expected = wanted[list(allowed)].double()
    return found - found.mean(), expected - expected.mean()
