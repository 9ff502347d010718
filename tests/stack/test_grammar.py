"""The image grammar and the parameters of requests, against the oracle's reading of the same
description.
"""

from __future__ import annotations

import random
import re
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import pytest
from checkpoint import Vocabulary
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Grammar, forced_size, open_image
from vllm import SamplingParams
from vllm.v1.image_grammar import (
    ImageGrammar,
    ImageTokens,
    Region,
    close_prompts,
    get_open_image,
)
from vllm.v1.image_params import (
    ImageParams,
    RegionSampling,
)

V = Vocabulary(visual_size=6, text_size=8, tail_size=3)


def make_config(additional_config: object = None, **fields: Any) -> Any:
    """The parts of a `VllmConfig` that name token ids."""
    return SimpleNamespace(
        model_config=SimpleNamespace(hf_config=V.hf_config(**fields)),
        additional_config=additional_config or {},
    )


TOKENS = ImageTokens.from_config(make_config())
assert TOKENS is not None


def params(**extra_args: Any) -> ImageParams:
    return ImageParams.from_sampling_params(SamplingParams(extra_args=extra_args))


def make_prompt(rng: random.Random) -> list[int]:
    """Text, images, and what is neither."""
    tokens: list[int] = []
    for _ in range(rng.randrange(5)):
        kind = rng.randrange(4)
        if kind == 0:
            tokens += V.text(rng.randrange(1, 5), seed=rng.randrange(9))
        elif kind == 1:
            tokens += V.image(rng.randrange(1, 4), rng.randrange(1, 4), seed=rng.randrange(9))
        elif kind == 2:
            image = V.image(rng.randrange(1, 4), rng.randrange(1, 12))
            tokens += [*image[: rng.randrange(len(image))], V.eoi]
        else:
            tokens += rng.choices(
                [V.boi, V.img, V.star, *V.digits("012"), V.text_start], k=rng.randrange(6)
            )
    if rng.random() < 0.3:
        image = V.image(3, 2)
        tokens += image[: rng.randrange(len(image))]
    return tokens


def overruns(tokens: list[int]) -> bool:
    """Whether an image of a prompt has more tokens than its size says, which the description
    leaves open.
    """
    grammar = ImageGrammar(TOKENS)
    for token in tokens:
        region = grammar.region
        grammar.push(token)
        if region == Region.PIXELS and grammar.region == Region.TEXT and token != V.eoi:
            return True
    return False


def state(grammar: ImageGrammar) -> object:
    allowed = grammar.allowed()
    pixels = (
        (grammar.height, grammar.width, grammar.position)
        if grammar.region == Region.PIXELS
        else None
    )
    return (
        grammar.region,
        pixels,
        allowed and tuple(allowed),
        grammar.forced(),
        grammar.num_tokens_to_pixels,
    )


@settings(deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_outputs_are_those_of_the_oracle(rng: random.Random, same_size: bool) -> None:
    """At every token of an output, the same tokens are allowed."""
    prompt = (
        [token for token in make_prompt(rng) if token != V.boi] if rng.random() < 0.5 else [V.bos]
    )
    size = rng.choice((None, (1, 1), (2, 3), (12, 1), (1, 10)))
    ours = ImageGrammar(TOKENS, size, same_size)
    ours.extend(prompt)
    ours.end_prompt()
    oracle = Grammar(V, f"{size[0]}*{size[1]}" if size else None, same_size).read_prompt(prompt)
    for _ in range(60):
        expected = oracle.allowed()
        allowed = ours.allowed()
        if allowed is None:
            assert expected == [token for token in range(V.size) if not V.is_visual(token)]
            token = rng.choice((V.boi, V.boi, V.text_start))
        else:
            assert sorted(allowed) == sorted(expected)
            token = rng.choice([token for token in expected if token in V.digits("01")] or expected)
        assert ours.forced() == (expected[0] if len(expected) == 1 else None)
        ours.push(token)
        oracle.read_output([token])


@settings(deadline=None)
@given(st.randoms(use_true_random=False))
def test_prompts_open_the_images_that_the_oracle_opens(rng: random.Random) -> None:
    """A malformed header means text, and never an exception."""
    prompt = make_prompt(rng)
    expected = open_image(V, prompt)
    if V.img not in expected:
        # The oracle waits for IMG to tell; a size that cannot become one is bad before.
        written = "".join(Grammar(V).characters(expected))
        if not re.fullmatch(r"([1-9][0-9]*(\*([1-9][0-9]*)?)?)?", written):
            expected = []
    if not overruns(prompt):
        assert get_open_image(TOKENS, prompt) == expected


@settings(deadline=None)
@given(st.randoms(use_true_random=False))
def test_state_depends_on_the_tokens_alone(rng: random.Random) -> None:
    """One by one, all at once or in two parts: the state is the same."""
    tokens = make_prompt(rng)
    one_by_one, at_once, in_parts = (ImageGrammar(TOKENS, (2, 2)) for _ in range(3))
    for token in tokens:
        one_by_one.push(token)
    at_once.extend(tokens)
    cut = rng.randrange(len(tokens) + 1)
    in_parts.extend(tokens[:cut])
    in_parts.extend(tokens[cut:])
    assert state(one_by_one) == state(at_once) == state(in_parts)


@settings(deadline=None)
@given(st.randoms(use_true_random=False))
def test_size_ends_within_the_announced_number_of_tokens(rng: random.Random) -> None:
    """The scheduler sets slots aside for as many tokens."""
    grammar = ImageGrammar(TOKENS, rng.choice((None, (3, 4), (12, 7))))
    grammar.extend([V.boi, *V.digits(rng.choice(("", "1", "12", "123", "1*", "12*3", "1*23")))])
    grammar.end_prompt()
    announced = grammar.num_tokens_to_pixels
    for count in range(1, announced + 1):
        grammar.push(rng.choice(grammar.allowed()))
        if grammar.region == Region.PIXELS:
            break
        assert grammar.num_tokens_to_pixels <= announced - count
    assert grammar.region == Region.PIXELS
    assert grammar.num_tokens_to_pixels == 0


@settings(deadline=None)
@given(st.randoms(use_true_random=False))
def test_what_must_follow_a_token_is_what_the_oracle_leaves(rng: random.Random) -> None:
    """Up to IMG, which always has a step of its own; looking ahead changes nothing."""
    size = rng.choice((None, f"{rng.randrange(1, 13)}*{rng.randrange(1, 13)}"))
    oracle = Grammar(V, size)
    ours = ImageGrammar(TOKENS, None if size is None else tuple(map(int, size.split("*"))))
    ours.end_prompt()
    for _ in range(rng.randrange(1, 80)):
        token = V.boi if not oracle.opened else rng.choice(oracle.allowed())
        before = state(ours)
        found = ours.forced_after(token)
        assert state(ours) == before
        ours.push(token)
        oracle.read_output([token])
        expected = []
        ahead = deepcopy(oracle)
        while ahead.opened and len(ahead.allowed()) == 1 and ahead.allowed() != [V.img]:
            expected += ahead.allowed()
            ahead.read_output(expected[-1:])
        assert found == expected


def test_requested_size_is_spelled_and_repeated() -> None:
    grammar = ImageGrammar.parse(TOKENS, params(height=32, width=64, area=32 * 64), [V.bos], [])
    for _ in range(2):
        for token in V.image(2, 4):
            assert grammar.forced() in (None, token)
            grammar.push(token)
        assert grammar.region == Region.TEXT


def test_size_of_a_reference_image_binds_nobody() -> None:
    prompt = [V.bos, *V.image(2, 3), V.boi]
    grammar = ImageGrammar.parse(TOKENS, params(), prompt, [])
    assert list(grammar.allowed()) == V.digits("123456789")


def test_size_of_the_image_that_a_prompt_opens_is_the_first_one() -> None:
    image = V.image(2, 3)
    grammar = ImageGrammar.parse(TOKENS, params(), [V.bos, *image[:7]], [*image[7:], V.boi])
    assert grammar.forced() == V.digit("2")


@settings(deadline=None)
@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(1, 4_000_000))
def test_sizes_follow_the_formula(width: int, height: int, area: int) -> None:
    """h and w are the sides times r, over 16, where r = int(sqrt(area / (h * w)))."""
    expected = forced_size(width, height, area)
    if "0" in expected.split("*"):
        with pytest.raises(ValueError, match=f"area={area}"):
            params(width=width, height=height, area=area)
    else:
        found = params(width=width, height=height, area=area).size
        assert found is not None
        assert f"{found[0]}*{found[1]}" == expected


def test_published_sizes() -> None:
    """The sizes that the facts name, from the ratios and areas that give them."""
    assert params(width=64, height=64, area=1024 * 1024).size == (64, 64)
    assert params(width=73, height=55, area=55 * 73 * 256).size == (55, 73)


class TestRegions:
    """A region's own parameter, else the request's, else the default of requests for images."""

    def read(
        self, sampling: dict[str, Any], **extra_args: Any
    ) -> tuple[RegionSampling, RegionSampling]:
        image = ImageParams.from_sampling_params(
            SamplingParams(**sampling, extra_args=extra_args or None)
        )
        return image.text, image.visual

    def test_defaults_of_the_reference(self) -> None:
        assert self.read({}, guidance_scale=2.0) == (
            RegionSampling(1.0, 1024, 0.9),
            RegionSampling(1.0, 5120, 1.0),
        )

    def test_plain_requests_keep_their_own(self) -> None:
        own = RegionSampling(0.7, 9, 0.8)
        assert self.read({"temperature": 0.7, "top_k": 9, "top_p": 0.8}) == (own, own)
        assert self.read({}) == (RegionSampling(), RegionSampling())

    def test_own_parameters_of_a_region_win(self) -> None:
        text, visual = self.read(
            {"temperature": 0.7, "top_k": 131072, "top_p": 0.5},
            text_top_k=3,
            visual_top_p=0.6,
            visual_temperature=2,
        )
        assert text == RegionSampling(0.7, 3, 0.5)
        assert visual == RegionSampling(2, 131072, 0.6)

    def test_zero_is_all_tokens(self) -> None:
        assert (
            self.read({}, visual_top_k=0)[1].top_k == self.read({}, visual_top_k=-1)[1].top_k == 0
        )

    def test_greedy_is_greedy_in_both(self) -> None:
        greedy = RegionSampling(temperature=0.0)
        assert self.read({"temperature": 0.0}, visual_temperature=1.0, text_temperature=0.5) == (
            greedy,
            greedy,
        )

    def test_one_region_may_be_greedy(self) -> None:
        text, visual = self.read({}, text_temperature=0.0)
        assert (text, visual.temperature) == (RegionSampling(temperature=0.0), 1.0)

    def test_missing_is_the_same_as_none(self) -> None:
        names = (
            "text_top_k",
            "text_top_p",
            "text_temperature",
            "visual_top_k",
            "width",
            "height",
            "area",
        )
        assert self.read({}, guidance_scale=2.0, **dict.fromkeys(names)) == self.read(
            {}, guidance_scale=2.0
        )


class TestStreams:
    """Which prompts run beside the conditional one."""

    @pytest.mark.parametrize(
        ("scale", "image_scale", "expected"),
        [
            (1.0, None, []),
            (1.0, 1.0, []),
            (3.0, None, ["u"]),
            (3.0, 1.0, ["u"]),
            (3.0, 1.5, ["u", "n"]),
            (1.0, 1.5, ["u", "n"]),
            (3.0, 3.0, ["n"]),
        ],
    )
    def test_streams_without_weight_do_not_run(
        self, scale: float, image_scale: float | None, expected: list[str]
    ) -> None:
        """s*c + (s_img - s)*u + (1 - s_img)*n is the guided sum; a weight of 0 needs no stream."""
        prompts = {"u": [V.bos, 24], "n": [V.bos, 25]}
        streams = params(guidance_scale=scale, image_cfg_scale=image_scale).hidden_prompts(
            prompts["u"], prompts["n"]
        )
        assert streams == [(prompts[name], name == "n") for name in expected]

    def test_two_streams(self) -> None:
        assert params(guidance_scale=3.0).hidden_prompts([7], None) == [([7], False)]
        assert params(guidance_scale=3.0).hidden_prompts(None, None) == []

    def test_open_image_ends_every_prompt(self) -> None:
        opened = V.image(2, 2)[:7]
        assert close_prompts(TOKENS, [V.bos, 24, *opened], [V.bos]) == [V.bos, *opened]
        assert close_prompts(TOKENS, [V.bos, 24, *opened], [V.bos, *opened]) == [V.bos, *opened]
        assert close_prompts(TOKENS, [V.bos, 24], [V.bos]) == [V.bos]


class TestTokens:
    """Where the ids come from."""

    def test_other_models_have_none(self) -> None:
        config = SimpleNamespace(
            model_config=SimpleNamespace(hf_config=SimpleNamespace()), additional_config={}
        )
        assert ImageTokens.from_config(config) is None
        assert (
            ImageTokens.from_config(SimpleNamespace(model_config=None, additional_config={}))
            is None
        )

    @pytest.mark.parametrize("key", [int, str])
    def test_additional_config_wins(self, key: type) -> None:
        """Callers of the public patches pass ids, and JSON turns those of a map into strings."""
        characters = {key(70 + i): character for i, character in enumerate("0123456789*")}
        config = make_config(
            {
                "boi_token_id": 90,
                "soi_token_id": 91,
                "eol_token_id": 92,
                "eoi_token_id": 93,
                "resolution_map": characters,
            }
        )
        tokens = ImageTokens.from_config(config)
        assert tokens is not None
        assert (tokens.boi, tokens.img, tokens.eol, tokens.eoi) == (90, 91, 92, 93)
        assert tokens.size_ids == {character: 70 + i for i, character in enumerate("0123456789*")}

    def test_missing_character_is_named(self) -> None:
        config = make_config({"resolution_map": {3: "0", 4: "1"}})
        with pytest.raises(ValueError, match=r"'\*', '2'.*resolution_map"):
            ImageTokens.from_config(config)
