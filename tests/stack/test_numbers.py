"""Every number that a request brings is one that the device can hold, or its caller reads which
is not: 64 bits for integers, 32 for floats.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint import Vocabulary
from vllm import SamplingParams
from vllm.inputs.preprocess import read_token_ids
from vllm.v1.engine.image_request import read_integer, read_params
from vllm.v1.image_grammar import ImageGrammar, ImageTokens, Region
from vllm.v1.image_params import ImageParams

V = Vocabulary()

HUGE = 10**400
IMAGE = {
    "area-of-400-digits": {"width": 64, "height": 64, "area": HUGE},
    "area-of-20-digits": {"width": 64, "height": 64, "area": 10**20},
    "tiny-sides": {"width": 1e-200, "height": 1e-200, "area": 4096},
    "tiny-width": {"width": 5e-324, "height": 64, "area": 4096},
    "too-many-rows": {"width": 1, "height": 1, "area": 2**62},
    "temperature-beyond-float32": {"visual_temperature": 1e39},
    "text-temperature-beyond-float32": {"text_temperature": 1e39},
    "temperature-of-400-digits": {"visual_temperature": HUGE},
    "scale-beyond-float32": {"guidance_scale": 1e39},
    "scale-that-overflows": {"guidance_scale": 1e30},
    "scale-that-underflows": {"guidance_scale": 1e-50},
    "image-scale-beyond-float32": {"image_cfg_scale": 1e39},
    "visual-top-k-beyond-int64": {"visual_top_k": 10**19},
    "text-top-k-beyond-int64": {"text_top_k": 10**19},
    "float-top-k-beyond-int64": {"text_top_k": 1e30},
    "top-k-that-is-nan": {"text_top_k": math.nan},
    "top-p-of-400-digits": {"text_top_p": HUGE},
    "flag-of-400-digits": {"force_same_image_size": HUGE},
    "flag-of-two": {"force_same_image_size": 2},
    "text": {"guidance_scale": np.str_("3")},
    "complex": {"guidance_scale": np.complex64(3)},
    "decimal": {"guidance_scale": Decimal(3)},
    "boolean": {"width": np.True_, "height": 64, "area": 4096},
    "array": {"guidance_scale": np.array([3.0, 2.0])},
    "empty-array": {"guidance_scale": np.array([])},
    "tensor": {"visual_top_k": torch.tensor([5, 6])},
    "tuple": {"width": (64, 64), "height": 64, "area": 4096},
    "list": {"visual_temperature": [1.0]},
}


@pytest.mark.parametrize("case", IMAGE)
def test_image_parameters_are_refused_by_name(case: str) -> None:
    with pytest.raises(ValueError, match=r"must be|make an image") as refused:
        ImageParams.from_sampling_params(SamplingParams(extra_args=IMAGE[case]))
    assert any(name in str(refused.value) for name in IMAGE[case])
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (np.float32(2.5), 2.5),
        (np.float64(2.5), 2.5),
        (np.int32(3), 3),
        (np.array(3.5), 3.5),
        (np.array([4]), 4),
        (torch.tensor(2.5), 2.5),
        (torch.tensor([3]), 3),
    ],
    ids=repr,
)
def test_computed_scales_are_taken(given: Any, plain: float) -> None:
    """What numpy and torch compute is what Python's numbers are."""
    params = SamplingParams(extra_args={"guidance_scale": given, "unknown": "kept"})
    assert ImageParams.from_sampling_params(params).guidance_scale == plain
    read = read_params(params, V.size)
    assert read.extra_args == {"guidance_scale": plain, "unknown": "kept"}
    assert type(read.extra_args["guidance_scale"]) in (int, float)
    # The caller's own object is left as it was.
    assert params.extra_args["guidance_scale"] is given


def test_computed_sizes_are_taken() -> None:
    sides = {"width": np.int64(64), "height": torch.tensor(64), "area": np.float64(4096)}
    assert ImageParams.from_sampling_params(SamplingParams(extra_args=sides)).size == (4, 4)


PLAIN = {
    "temperature": {"temperature": 1e39},
    "temperature-nan": {"temperature": math.nan},
    "temperature-infinite": {"temperature": math.inf},
    "temperature-400-digits": {"temperature": HUGE},
    "repetition-nan": {"repetition_penalty": math.nan},
    "repetition-tiny": {"repetition_penalty": 1e-40},
    "repetition-huge": {"repetition_penalty": 1e39},
    "top-k": {"top_k": 10**19},
    "seed": {"seed": 2**64},
    "seed-negative": {"seed": -(2**63) - 1},
    "seed-float": {"seed": 1.5},
    "max-tokens": {"max_tokens": 10**30},
    "min-tokens": {"min_tokens": 10**30, "max_tokens": None},
    "n": {"n": 10**9},
    "logprobs": {"logprobs": 10**30},
    "prompt-logprobs": {"prompt_logprobs": 1.5},
    "stop-ids": {"stop_token_ids": [10**30]},
    "stop-ids-masked": {"stop_token_ids": [10**6], "min_tokens": 1},
    "allowed-ids": {"allowed_token_ids": [3, V.size]},
    "allowed-ids-negative": {"allowed_token_ids": [-1]},
    "allowed-ids-text": {"allowed_token_ids": ["3"]},
    "bias": {"logit_bias": {3: 1e39}},
    "bias-nan": {"logit_bias": {3: math.nan}},
    "bias-infinite": {"logit_bias": {3: math.inf}},
    "bias-id": {"logit_bias": {"three": 1.0}},
    "bad-words": {"bad_words": [" "]},
    "unknown": {"extra_args": {"unknown": [10**30]}},
    "extra-args": {"extra_args": [3]},
}


@pytest.mark.parametrize("case", PLAIN)
def test_plain_parameters_are_refused_by_name(case: str) -> None:
    """A request for text runs in the same batch."""
    with pytest.raises(ValueError, match=r".") as refused:
        read_params(SamplingParams(**PLAIN[case]), V.size)
    assert any(name in str(refused.value) for name in PLAIN[case])
    assert len(str(refused.value)) < 300


def test_plain_parameters_are_taken() -> None:
    """What fits stays; what numpy computed becomes Python's."""
    params = SamplingParams(
        temperature=np.float32(0.5),
        seed=np.int64(2**63 - 1),
        max_tokens=np.int32(7),
        top_k=2**63 - 1,
        logit_bias={np.int64(3): np.float32(1.5), 4: -math.inf},
        stop_token_ids=[10**6],
    )
    read = read_params(params, V.size)
    assert (read.temperature, read.seed, read.max_tokens) == (0.5, 2**63 - 1, 7)
    assert read.logit_bias == {3: 1.5, 4: -math.inf}
    for value in (read.temperature, read.seed, read.max_tokens, *read.logit_bias):
        assert type(value) in (int, float)


def test_parameters_that_are_plain_are_not_copied() -> None:
    params = SamplingParams(seed=3, logit_bias={3: 1.0}, extra_args={"guidance_scale": 3.0})
    assert read_params(params, V.size) is params


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 1.0, "1", None, HUGE], ids=str)
def test_priorities_are_integers_of_64_bits(value: Any) -> None:
    with pytest.raises(ValueError, match="priority must be an integer of 64 bits"):
        read_integer("priority", value)


@pytest.mark.parametrize(
    "given",
    [(1, 2, 3), np.array([1, 2, 3]), torch.tensor([1, 2, 3]), [np.int32(1), torch.tensor(2), 3]],
    ids=repr,
)
def test_computed_token_ids_are_taken(given: Any) -> None:
    ids = read_token_ids("prompt_token_ids", given)
    assert ids == [1, 2, 3]
    assert {type(token_id) for token_id in ids} == {int}


@pytest.mark.parametrize(
    "given",
    [
        [1.0],
        ["1"],
        [None],
        [[1, 2]],
        "123",
        5,
        np.array([[1, 2]]),
        np.array([1.5]),
        torch.tensor(3),
        {1: 2},
    ],
    ids=repr,
)
def test_other_token_ids_are_refused_by_name(given: Any) -> None:
    with pytest.raises(ValueError, match="`uncond_prompt_token_ids` must be a flat list"):
        read_token_ids("uncond_prompt_token_ids", given)


def test_sizes_of_a_prompt_that_64_bits_cannot_count() -> None:
    """Digits without end are no size: the image is text, as any malformed one."""
    config = {
        "boi": V.boi,
        "img": V.img,
        "eol": V.eol,
        "eoi": V.eoi,
        "visual_start": V.visual_start,
        "visual_end": V.visual_start + V.visual_size,
        "size_ids": {character: V.digit(character) for character in "0123456789*"},
    }
    for digits in (7, 30, 5000):
        grammar = ImageGrammar(ImageTokens(**config))
        grammar.extend([V.boi, *V.digits("9" * digits + "*1")])
        assert grammar.region == Region.TEXT
        grammar.extend([V.boi, *V.digits("1*" + "9" * digits), V.img])
        assert grammar.region == Region.TEXT
    grammar.extend([V.boi, *V.digits("999999*999999"), V.img])
    assert grammar.region == Region.PIXELS
    assert grammar.num_pixels < 2**63
