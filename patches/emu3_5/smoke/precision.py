"""Stage ``precision``: guided log probabilities in bfloat16 against a float64 oracle.

Greedy tokens cannot be compared across precisions, so the oracle is led along the engine's own
tokens, and what it would have chosen from is compared with what the engine chose from.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from patchkit_worker import events
from patchkit_worker.engine import load
from patchkit_worker.job import Job

from .cases import Case
from .engine import engine_arguments, prompt_of, sampling_params
from .files import calm_checkpoint
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
    oracle = OracleModel.read(calm_checkpoint(job), "float64")
    plain = OracleModel.read(calm_checkpoint(job), "bfloat16")
    problems = []
    for case, tokens, rows in answers:
        scores = oracle_scores(oracle, vocabulary, case, tokens)
        error = relative_error(rows, scores)
        peer = relative_error(oracle_scores(plain, vocabulary, case, tokens), scores)
        detail = f"{error:.1e} over {len(scores)} choices, limit {LIMIT:.0e} "
        detail += f"(plain PyTorch in bfloat16: {peer:.1e})"
        name = f"bfloat16: guided log probabilities of {case.name} are near the float64 oracle's"
        if not events.check(STAGE, name, error < LIMIT, detail):
            problems.append(f"{case.name}: relative error {detail}")
    events.scenario(
        STAGE,
        problems,
        requests=len(answers),
        tokens=sum(len(tokens) for _, tokens, _ in answers),
        seconds=time.monotonic() - started,
        oracle=True,
        # Most of the time was the oracles'.
        tokens_per_s=None,
    )


def generate(
    job: Job, vocabulary: Vocabulary
) -> list[tuple[Case, list[int], dict[int, torch.Tensor]]]:
    """Return case, tokens and, per token, what was sampled from by token id."""
    arguments = {
        **engine_arguments(job),
        "model": str(calm_checkpoint(job)),
        "dtype": "bfloat16",
        # What was sampled from: guided, limited to the region.
        "logprobs_mode": "processed_logprobs",
        "max_logprobs": vocabulary.visual_count,
    }
    llm = load(STAGE, arguments)
    answers = []
    for case in (case for case in read_cases(job) if case.name in CASES):
        params = sampling_params(case, greedy=True, logprobs=vocabulary.visual_count)
        prompts: list[Any] = [prompt_of(case, as_ids=True)]
        output = llm.generate(prompts, params, use_tqdm=False)[0].outputs[0]
        answers.append((case, list(output.token_ids), _visual_rows(output.logprobs, vocabulary)))
    return answers


def _visual_rows(rows: Any, vocabulary: Vocabulary) -> dict[int, torch.Tensor]:
    """Return place -> log probabilities of the visual tokens, where all of them are given."""
    import torch

    found = {}
    for place, row in enumerate(rows):
        if all(token in row for token in vocabulary.visual):
            values = [row[token].logprob for token in vocabulary.visual]
            found[place] = torch.tensor(values, dtype=torch.float64)
    return found


def oracle_scores(
    model: OracleModel, vocabulary: Vocabulary, case: Case, tokens: Sequence[int]
) -> dict[int, torch.Tensor]:
    """Return place -> log probabilities of the visual tokens, for every free choice of one."""
    found = {}
    for place in range(len(tokens)):
        region = region_of(vocabulary, case, tokens[:place])
        if region.kind == "pixels" and region.allowed is not None and len(region.allowed) > 1:
            scores = score(model, vocabulary, case, tokens[:place], region)
            found[place] = scores[list(region.allowed)].double().log_softmax(dim=-1)
    return found


def relative_error(
    found: Mapping[int, torch.Tensor], expected: Mapping[int, torch.Tensor]
) -> float:
    """Return the norm of all differences over the norm of all expected log probabilities.

    Infinite where there is nothing to compare, or a place is missing.
    """
    if not expected or not found.keys() >= expected.keys():
        return float("inf")
    difference = sum(float(((found[place] - row) ** 2).sum()) for place, row in expected.items())
    total = sum(float((row**2).sum()) for row in expected.values())
    return float((difference / total) ** 0.5)
