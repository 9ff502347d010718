"""Stage ``prepare``: the checkpoint, the cases, and what the oracle answers to them."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

from patchkit_worker import events
from patchkit_worker.job import Job

from .cases import QUESTION, Case, Size, image_length, make_cases, tiny_cases
from .files import calm_checkpoint, cases_file, checkpoint
from .grammar import parse_images
from .oracle import decode
from .oracle_model import OracleModel
from .tiny import CALM, write_checkpoint
from .vocabulary import Vocabulary, published_vocabulary

BIASES = tuple(0.5 * step for step in range(4, 40))
REAL_SIZE: Size = (16, 16)
TAIL_TOKENS = 4
COT_TOKENS = 512


def run(job: Job) -> None:
    """Write the tiny checkpoint (or look at the given one) and ``cases.json``."""
    write_cases(job, _prepare_tiny(job) if job.model is None else _prepare_real(job))


def _prepare_tiny(job: Job) -> list[Case]:
    import torch

    torch.set_num_threads(1)
    vocabulary = write_checkpoint(checkpoint(job))
    if job.wants("precision"):
        write_checkpoint(calm_checkpoint(job), spread=CALM)
    events.check("prepare", "tiny checkpoint", True, f"{vocabulary.visual_count} visual tokens")
    model = OracleModel.read(checkpoint(job))
    answered = []
    for case in tiny_cases(vocabulary):
        started = time.monotonic()
        answered.append(answer(model, vocabulary, case))
        events.note("prepare", f"oracle: {case.name} {time.monotonic() - started:.1f} s")
    different = [case.name for case in answered if case.guided and case.expected == case.unguided]
    events.check(
        "prepare",
        "oracle: guidance changes every guided case",
        not different,
        ", ".join(different),
    )
    return answered


def answer(model: OracleModel, vocabulary: Vocabulary, case: Case) -> Case:
    """Return the case with the oracle's tokens, guided and unguided."""
    if case.name == "interleaved":
        case = find_interleaved(model, vocabulary, case)
    guided = decode(model, vocabulary, case)
    unguided = decode(model, vocabulary, case.without_guidance()).tokens if case.guided else None
    return replace(case, expected=guided.tokens, margin=guided.margin, unguided=unguided)


def find_interleaved(model: OracleModel, vocabulary: Vocabulary, case: Case) -> Case:
    """Return the case with the smallest bias on BOI under which text and two images alternate.

    A random network writes text for ever or images only; between the two lies a bias that gives
    both, and the oracle finds it. The length is cut to end in text after the second image.

    :raises RuntimeError: no bias does (the seed of the checkpoint is then of no use).
    """
    assert case.size is not None
    limit = 2 * image_length(case.size) + 40
    for bias in BIASES:
        trial = replace(
            case, logit_bias={vocabulary.special["boi"]: bias}, max_tokens=limit, expected=None
        )
        tokens = decode(model, vocabulary, trial).tokens
        images = parse_images(_whole(tokens, vocabulary), vocabulary)
        if len(images) < 2 or images[0].start == 0 or images[1].start == images[0].end + 1:
            continue
        end = min(images[1].end + 1 + TAIL_TOKENS, len(tokens))
        if len(images) > 2:
            end = min(end, images[2].start)
        return replace(trial, max_tokens=end, image_sizes=(case.size, case.size))
    raise RuntimeError("no bias on BOI makes the tiny checkpoint alternate text and images")


def _whole(tokens: tuple[int, ...], vocabulary: Vocabulary) -> tuple[int, ...]:
    """Return ``tokens`` up to the image that was cut off by the length, if one was."""
    boi, eoi = vocabulary.special["boi"], vocabulary.special["eoi"]
    for place in range(len(tokens) - 1, -1, -1):
        if tokens[place] == eoi:
            break
        if tokens[place] == boi:
            return tokens[:place]
    return tokens


def _prepare_real(job: Job) -> list[Case]:
    assert job.model is not None
    config = json.loads((Path(job.model) / "config.json").read_text(encoding="utf-8"))
    vocabulary = published_vocabulary(config)
    size = job.image_size or REAL_SIZE
    cases = make_cases(
        vocabulary,
        sizes=dict.fromkeys(("t2i", "x2i", "story", "reference"), size),
        question=job.prompt or QUESTION,
        text_tokens=64,
        slack=min(COT_TOKENS, int(config.get("max_position_embeddings", 32768)) // 16),
    )
    return list(cases.values())


def write_cases(job: Job, cases: list[Case]) -> None:
    """Leave the cases for the stages that follow."""
    text = json.dumps([case.to_json() for case in cases])
    cases_file(job).write_text(text, encoding="utf-8")


def read_cases(job: Job) -> list[Case]:
    """Return the cases that stage ``prepare`` left."""
    values = json.loads(cases_file(job).read_text(encoding="utf-8"))
    return [Case.from_json(value) for value in values]


def read_vocabulary(job: Job) -> Vocabulary:
    """Return the vocabulary of the checkpoint that the run uses."""
    text = (checkpoint(job) / "config.json").read_text(encoding="utf-8")
    return published_vocabulary(json.loads(text))
