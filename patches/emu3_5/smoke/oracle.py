"""The oracle's decoding: greedy, guided, one token after the other, in plain Python.

``guided = u + s (c - u)``, or with a third stream ``n + s_img (u - n) + s (c - u)``, on log
probabilities, inside the pixels of an image only. The unconditional stream holds its own prompt and
the tokens of images (BOI to EOI), not the text between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .cases import Case, begun_image
from .grammar import Region, find_region, parse_size
from .oracle_model import OracleModel
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the oracle says.

    :param margin: the smallest distance between the best and the second best logit of a choice,
        to judge whether an engine that differs was merely less precise.
    """

    tokens: tuple[int, ...]
    margin: float


def decode(model: OracleModel, vocabulary: Vocabulary, case: Case) -> Answer:
    """Return the greedy tokens of ``case``."""
    output: list[int] = []
    margin = float("inf")
    while len(output) < case.max_tokens:
        region = region_of(vocabulary, case, output)
        if region.allowed is not None and len(region.allowed) == 1:
            token = region.allowed[0]
        else:
            scores = score(model, vocabulary, case, output, region)
            best = scores.topk(2)
            token = int(best.indices[0])
            margin = min(margin, float(best.values[0] - best.values[1]))
        output.append(token)
        if token in case.stop_token_ids:
            break
    return Answer(tokens=tuple(output), margin=margin)


def region_of(vocabulary: Vocabulary, case: Case, output: Sequence[int]) -> Region:
    """Return where the next token of ``case`` stands."""
    size = case.size
    if size is None and case.force_same_image_size:
        size = _first_size(vocabulary, output)
    return find_region([*case.prompt_ids, *output], vocabulary, size)


def _first_size(vocabulary: Vocabulary, output: Sequence[int]) -> tuple[int, int] | None:
    """Return the size of the first image that was generated, once it is finished."""
    special = vocabulary.special
    if special["eoi"] not in output or special["boi"] not in output:
        return None
    start = list(output).index(special["boi"])
    end = list(output).index(special["img"])
    return parse_size(output[start + 1 : end], vocabulary)


def score(
    model: OracleModel,
    vocabulary: Vocabulary,
    case: Case,
    output: Sequence[int],
    region: Region,
) -> torch.Tensor:
    """Return the scores (vocabulary,) that the next token maximises; -inf where forbidden."""
    import torch

    scores = model.logits([*case.prompt_ids, *output])
    for token, bias in case.logit_bias.items():
        scores[token] += bias
    if region.kind == "pixels":
        scores = guide(model, vocabulary, case, output, scores)
    mask = torch.zeros_like(scores, dtype=torch.bool)
    if region.allowed is None:
        mask[vocabulary.visual.start : vocabulary.visual.stop] = True
    else:
        mask[:] = True
        mask[list(region.allowed)] = False
    return scores.masked_fill(mask, float("-inf"))


def guide(
    model: OracleModel,
    vocabulary: Vocabulary,
    case: Case,
    output: Sequence[int],
    conditional: torch.Tensor,
) -> torch.Tensor:
    """Return the guided log probabilities."""
    if case.guidance_scale is None or case.uncond_ids is None:
        return conditional
    c = conditional.log_softmax(dim=-1)
    # What the prompt says of an image that it leaves open belongs to every stream.
    tail = begun_image(case, vocabulary) + _image_tokens(vocabulary, case, output)
    u = model.logits([*case.uncond_ids, *tail]).log_softmax(dim=-1)
    if case.uncond_no_image_ids is None or case.image_cfg_scale is None:
        return u + case.guidance_scale * (c - u)
    n = model.logits([*case.uncond_no_image_ids, *tail]).log_softmax(dim=-1)
    return n + case.image_cfg_scale * (u - n) + case.guidance_scale * (c - u)


def _image_tokens(vocabulary: Vocabulary, case: Case, output: Sequence[int]) -> list[int]:
    """Return the tokens of ``output`` that belong to images."""
    special = vocabulary.special
    inside = bool(begun_image(case, vocabulary))
    kept = []
    for token in output:
        inside = inside or token == special["boi"]
        if inside:
            kept.append(token)
        inside = inside and token != special["eoi"]
    return kept
