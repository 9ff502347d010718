"""Requests of the benchmark: guided images, and plain sequences as long."""

from __future__ import annotations

import random

from patchkit_worker.steps import Request

from .shapes import Shape

PROMPT_TOKENS = 40
UNCOND_TOKENS = 16
PATCH_AREA = 256


def guided_requests(
    shape: Shape, number: int, size: tuple[int, int], top_k: int, *, seed: int, tokens: int = 0
) -> list[Request]:
    """Return ``number`` guided images; each prompt ends where its image begins.

    :param top_k: 0 for no top-k.
    """
    from vllm import SamplingParams

    vocabulary = shape.vocabulary
    boi, eoi = vocabulary.special["boi"], vocabulary.special["eoi"]
    height, width = size
    draw = random.Random(seed)
    params = SamplingParams(
        temperature=1.0,
        max_tokens=tokens or height * (width + 1) + 16,
        stop_token_ids=[eoi],
        ignore_eos=True,
        detokenize=False,
        extra_args={
            "guidance_scale": 5.0,
            "visual_top_k": top_k or vocabulary.visual_count,
            "visual_temperature": 1.0,
            "visual_top_p": 1.0,
            "height": height,
            "width": width,
            "area": height * width * PATCH_AREA,
        },
    )
    return [
        Request(
            {
                "prompt_token_ids": [*_text(draw, PROMPT_TOKENS), boi],
                "uncond_prompt_token_ids": [*_text(draw, UNCOND_TOKENS), boi],
            },
            params,
        )
        for _ in range(number)
    ]


def plain_requests(
    shape: Shape,
    number: int,
    size: tuple[int, int],
    top_k: int,
    top_p: float = 1.0,
    *,
    seed: int,
    tokens: int = 0,
) -> list[Request]:
    """Return ``number`` plain sequences as long as images and their hidden streams."""
    from vllm import SamplingParams

    height, width = size
    draw = random.Random(seed)
    params = SamplingParams(
        temperature=1.0,
        top_k=top_k or -1,
        top_p=top_p,
        max_tokens=tokens or height * (width + 1) + 7,
        ignore_eos=True,
        detokenize=False,
    )
    lengths = [PROMPT_TOKENS if place % 2 == 0 else UNCOND_TOKENS for place in range(number)]
    return [Request({"prompt_token_ids": _text(draw, length)}, params) for length in lengths]


def _text(draw: random.Random, length: int) -> list[int]:
    """Return ids of plain text, other ones every time, so that no prefix is cached."""
    return [draw.randrange(100, 4000) for _ in range(length)]
