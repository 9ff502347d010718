"""Drawn tokens follow the oracle's probabilities: guidance, then the mask, then the region's own
parameters.
"""

from __future__ import annotations

import math
from dataclasses import replace

import checkpoint as tiny
import pytest
import torch
from engine import extra_args_of, params_of, prompt_of
from oracle import TEXT_TOP_K, TEXT_TOP_P, Oracle, Request, probabilities
from scipy.stats import chisquare

DRAWS = 2000


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A checkpoint with 24 visual tokens, and text behind them in the vocabulary."""
    vocabulary = tiny.Vocabulary(visual_size=24, text_size=16, tail_size=6)
    return tiny.make_checkpoint(
        tmp_path_factory.mktemp("small"), tiny.ODD_HEADS, vocabulary, seed=8
    )


@pytest.fixture(scope="module")
def engine(start_engine, small):
    return start_engine(small, max_num_seqs=64)


@pytest.fixture(scope="module")
def oracle(small):
    return Oracle(small)


def draw(engine, requests, **overrides):
    """First tokens of DRAWS samples of each request, all in the same batches: (requests, DRAWS)."""
    prompts, params = [], []
    for number in range(DRAWS):
        for request, extra in requests:
            prompts.append(prompt_of(request))
            arguments = {
                "temperature": 1.0,
                "max_tokens": 1,
                "seed": None,
                "extra_args": extra_args_of(request) | extra,
            }
            params.append(params_of(request, **arguments | overrides))
            params[-1].seed = 10_000 + number if overrides.get("seed") else None
    outputs = engine.llm.generate(prompts, params, use_tqdm=False)
    tokens = torch.tensor([output.outputs[0].token_ids[0] for output in outputs])
    return tokens.view(DRAWS, len(requests)).T


def assert_follows(tokens, probs):
    """No token outside the support, and a chi-square test at one in a hundred thousand."""
    counts = torch.bincount(tokens, minlength=len(probs)).double()
    assert counts[probs == 0].sum() == 0
    # Cells that expect fewer than five draws are taken together.
    expected = probs.double() * len(tokens)
    rare = (expected < 5) & (expected > 0)
    common = expected >= 5
    observed, expected = ([*x[common].tolist(), float(x[rare].sum())] for x in (counts, expected))
    if expected[-1] < 1:
        observed[-2] += observed.pop()
        expected[-2] += expected.pop()
    scale = sum(observed) / sum(expected)
    assert len(expected) > 1
    assert chisquare(observed, [e * scale for e in expected]).pvalue > 1e-5


def in_pixels(vocabulary, **fields):
    """A request whose next token is a visual one."""
    arguments = {
        "prompt": [*vocabulary.text(9, seed=1), *vocabulary.header(3, 3)],
        "uncond": vocabulary.text(6, seed=2),
        "scale": 2.0,
        "max_tokens": 1,
    }
    return Request(**arguments | fields)


VISUAL = {
    "defaults": {},
    "temperature": {"visual_temperature": 1.7},
    "top-k": {"visual_top_k": 7},
    "top-p": {"visual_top_p": 0.8},
    "all": {"visual_temperature": 1.4, "visual_top_k": 12, "visual_top_p": 0.7},
    "text-parameters-do-not-matter": {"text_temperature": 0.2, "text_top_k": 1, "text_top_p": 0.1},
}


def test_visual_tokens(engine, oracle):
    """Every combination of parameters in one batch, with two and three streams and none hidden."""
    v = oracle.vocabulary
    kinds = {
        "two": in_pixels(v),
        "three": in_pixels(v, uncond_no_image=v.text(7, seed=3), image_scale=1.5),
        "one": replace(in_pixels(v), uncond=None),
    }
    cases = [(kinds["two"], extra) for extra in VISUAL.values()]
    cases += [(kind, {"visual_top_p": 0.95}) for name, kind in kinds.items() if name != "two"]
    for (request, extra), tokens in zip(cases, draw(engine, cases), strict=True):
        probs = probabilities(
            oracle.next_logits(request, []),
            extra.get("visual_temperature", 1.0),
            extra.get("visual_top_k", 5120),
            extra.get("visual_top_p", 1.0),
        )
        assert_follows(tokens, probs)


def test_seeded_draws(engine, oracle):
    """Seeds, one for each request, lead to the same distribution."""
    request = in_pixels(oracle.vocabulary)
    (tokens,) = draw(engine, [(request, {"visual_top_k": 9})], seed=1)
    assert_follows(tokens, probabilities(oracle.next_logits(request, []), 1.0, 9, 1.0))


def test_text_of_guided_requests(engine, oracle):
    """Outside of images: no visual tokens, no guidance, the text parameters."""
    v = oracle.vocabulary
    request = in_pixels(v, prompt=v.text(9, seed=4))
    cases = [
        (request, {}),
        (request, {"text_temperature": 1.6, "text_top_k": 10, "text_top_p": 0.9}),
        (request, {"text_top_p": 1.0, "visual_top_k": 1, "visual_temperature": 0.1}),
    ]
    for (_, extra), tokens in zip(cases, draw(engine, cases), strict=True):
        probs = probabilities(
            oracle.next_logits(replace(request, scale=1.0, uncond=None), []),
            extra.get("text_temperature", 1.0),
            extra.get("text_top_k", TEXT_TOP_K),
            extra.get("text_top_p", TEXT_TOP_P),
        )
        assert_follows(tokens, probs)


def test_size_digits(engine, oracle):
    """A free size begins with a digit from 1 to 9."""
    v = oracle.vocabulary
    request = in_pixels(v, prompt=[*v.text(9, seed=4), v.boi])
    (tokens,) = draw(engine, [(request, {"text_top_p": 1.0})])
    assert_follows(
        tokens,
        probabilities(oracle.next_logits(replace(request, uncond=None), []), 1.0, TEXT_TOP_K, 1.0),
    )


def test_plain_text_keeps_its_own_parameters(engine, oracle):
    """A request without any image parameter: temperature, top-k and top-p of the request itself."""
    v = oracle.vocabulary
    request = Request(prompt=v.text(9, seed=5), max_tokens=1)
    (tokens,) = draw(engine, [(request, {})], temperature=1.3, top_k=11, top_p=0.9)
    assert_follows(tokens, probabilities(oracle.next_logits(request, []), 1.3, 11, 0.9))


class TestWindows:
    """The tokens of one step, together: each is drawn given those before it, whatever stood there
    as a draft.
    """

    WINDOW = 3
    TOP_K = 3

    @pytest.fixture(scope="class")
    def engine(self, start_engine, small):
        """Its window is large enough for all images of a batch to have theirs."""
        return start_engine(small, max_num_seqs=64, additional_config={"image_window": 128})

    @pytest.fixture
    def joint(self, oracle):
        """A request whose next tokens are visual ones, and the probability of each row of them."""
        request = in_pixels(oracle.vocabulary, max_tokens=self.WINDOW)

        def conditional(*tokens):
            return probabilities(
                oracle.next_logits(request, list(tokens)), 1.0, self.TOP_K, 1.0
            ).tolist()

        probs = {}
        for first, a in enumerate(conditional()):
            for second, b in enumerate(conditional(first) if a else ()):
                for third, c in enumerate(conditional(first, second) if b else ()):
                    if c:
                        probs[first, second, third] = a * b * c
        assert len(probs) == self.TOP_K**self.WINDOW
        assert math.isclose(sum(probs.values()), 1, abs_tol=1e-6)
        return request, probs

    @pytest.mark.parametrize("seeded", [False, True])
    @pytest.mark.parametrize("likely", [False, True])
    def test_tokens_of_a_window(self, engine, joint, drafts, monkeypatch, likely, seeded):
        """Also where every draft is the likeliest token, which is kept more often than others."""
        request, probs = joint
        if likely:
            from vllm.v1.sample.image_drafts import ImageDrafts

            rows = sorted(probs, key=probs.__getitem__)
            monkeypatch.setattr(
                ImageDrafts, "propose", lambda self, name, cursor, count: list(rows[-1][1:])[:count]
            )
        extra = {"visual_top_k": self.TOP_K, "image_window": self.WINDOW}
        params = [
            params_of(
                request,
                temperature=1.0,
                seed=10_000 + number if seeded else None,
                extra_args=extra_args_of(request) | extra,
            )
            for number in range(DRAWS)
        ]
        outputs = engine.llm.generate([prompt_of(request)] * DRAWS, params, use_tqdm=False)
        cells = list(probs)
        drawn = [cells.index(tuple(output.outputs[0].token_ids)) for output in outputs]
        assert drafts.accepted > DRAWS / 20
        assert drafts.accepted < drafts.proposed
        assert_follows(torch.tensor(drawn), torch.tensor([probs[cell] for cell in cells]))
