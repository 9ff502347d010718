"""The sampler and the processor that tells it which row is what, on the worker's own batch and
logits from a generator.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import torch
from checkpoint import Vocabulary
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import probabilities
from vllm import SamplingParams
from vllm.v1.image_params import ImageParams
from vllm.v1.sample.guided_params import GuidedSamplingParams, StreamSamplingParams
from vllm.v1.sample.guided_sampler import GuidedSampler
from vllm.v1.sample.logits_processor import LogitsProcessors, MinPLogitsProcessor
from vllm.v1.sample.logits_processor.image_guidance import GuidanceRows
from vllm.v1.sample.sampler import Sampler
from vllm.v1.worker.gpu_input_batch import CachedRequestState, InputBatch

CPU = torch.device("cpu")
MAX_ROWS = 16

# Visual tokens at the end of the vocabulary, as published, and with text after them.
VOCABULARIES = [
    Vocabulary(visual_size=50, text_size=20),
    Vocabulary(visual_size=50, text_size=20, tail_size=7),
]
V = VOCABULARIES[0]


def guided_params(params: SamplingParams, group: str, num_streams: int) -> GuidedSamplingParams:
    """What the scheduler makes of a user's parameters."""
    image = ImageParams.from_sampling_params(params)
    return GuidedSamplingParams.from_sampling_params(params, image, group, num_streams)


class Batch:
    """The rows of a step, held as the worker holds them."""

    def __init__(
        self,
        vocabulary: Vocabulary = V,
        logprobs_mode: str = "processed_logprobs",
        *,
        is_async: bool = False,
    ):
        v = self.vocabulary = vocabulary
        config: Any = SimpleNamespace(
            model_config=SimpleNamespace(hf_config=v.hf_config(), get_vocab_size=lambda: v.size),
            scheduler_config=SimpleNamespace(max_num_seqs=MAX_ROWS, async_scheduling=is_async),
            additional_config={},
        )
        self.guidance = GuidanceRows(config, CPU, False)
        self.input_batch = InputBatch(
            max_num_reqs=MAX_ROWS,
            max_model_len=200,
            max_num_batched_tokens=200,
            device=CPU,
            pin_memory=False,
            vocab_size=v.size,
            block_sizes=[16],
            logitsprocs=LogitsProcessors([MinPLogitsProcessor(config, CPU, False), self.guidance]),
        )
        self.sampler = GuidedSampler(logprobs_mode=logprobs_mode)

    def add(
        self, name: str, prompt: list[int], params: SamplingParams, output: list[int] | None = None
    ) -> None:
        generator = None
        if params.seed is not None:
            generator = torch.Generator()
            generator.manual_seed(params.seed)
        self.input_batch.add_request(
            CachedRequestState(
                req_id=name,
                prompt_token_ids=prompt,
                mm_features=[],
                sampling_params=params,
                pooling_params=None,
                generator=generator,
                block_ids=([0],),
                num_computed_tokens=0,
                output_token_ids=[] if output is None else output,
            )
        )

    def add_guided(
        self,
        name: str,
        prompt: list[int],
        num_streams: int,
        seed: int | None = None,
        logprobs: int | None = None,
        temperature: float = 1.0,
        **extra_args: Any,
    ) -> None:
        """A request with image parameters, and the rows of its streams."""
        params = SamplingParams(
            seed=seed, logprobs=logprobs, temperature=temperature, extra_args=extra_args
        )
        self.add(name, prompt, guided_params(params, name, num_streams))
        for stream in range(num_streams):
            self.add(
                f"{name}-{stream}",
                [1],
                StreamSamplingParams.from_sampling_params(params, name, stream),
            )

    def row(self, name: str) -> int:
        return self.input_batch.req_id_to_index[name]

    def step(self, logits: torch.Tensor, *, append: bool = True) -> torch.Tensor:
        """One token for every row."""
        self.input_batch.refresh_metadata()
        tokens = (
            self.sampler(logits.clone(), self.input_batch.sampling_metadata)
            .sampled_token_ids[:, 0]
            .tolist()
        )
        if append:
            for output, token in zip(self.input_batch.req_output_token_ids, tokens, strict=False):
                assert output is not None
                output.append(token)
        return tokens

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """What each row is drawn from."""
        self.input_batch.refresh_metadata()
        for name in self.input_batch.req_ids:
            self.input_batch.num_logprobs[name] = 0
        metadata = self.input_batch._make_sampling_metadata()
        scores = logits.clone()
        for processor in metadata.logitsprocs.non_argmax_invariant:
            scores = processor.apply(scores)
        logprobs = self.sampler.sample(scores, metadata)[1]
        assert logprobs is not None
        return logprobs.exp()


def make_logits(
    rows: int, seed: int = 0, vocabulary: Vocabulary = V, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(rows, vocabulary.size, generator=generator)).to(dtype)


def open_image(vocabulary: Vocabulary = V, height: int = 3, width: int = 4) -> list[int]:
    """A prompt after which pixels begin."""
    return [vocabulary.bos, *vocabulary.header(height, width)]


def guided_logits(
    logits: torch.Tensor, rows: list[int], scale: float, image_scale: float
) -> torch.Tensor:
    """The definition: guidance on the log-probabilities of all tokens, in double precision."""
    c, u, n = (
        logits[row].double().log_softmax(-1)
        for row in (rows if len(rows) == 3 else [*rows, rows[1]])
    )
    return n + image_scale * (u - n) + scale * (c - u)


def masked(logits: torch.Tensor, tokens: Any) -> torch.Tensor:
    result = torch.full_like(logits, -torch.inf)
    result[list(tokens)] = logits[list(tokens)]
    return result


def visual(vocabulary: Vocabulary = V) -> range:
    return range(vocabulary.visual_start, vocabulary.visual_start + vocabulary.visual_size)


def text(vocabulary: Vocabulary = V) -> list[int]:
    return [token for token in range(vocabulary.size) if token not in visual(vocabulary)]


@pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=["published-order", "text-after-visual"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("scales", "streams"), [((0.5,), 1), ((5.0,), 1), ((3.0, 1.5), 2), ((1.0, 0.7), 2)]
)
def test_logits_of_the_slice_give_what_log_probabilities_give(
    vocabulary, dtype, scales, streams
) -> None:
    """A constant per row makes no difference to a softmax."""
    batch = Batch(vocabulary)
    names = ("guidance_scale", "image_cfg_scale")[: len(scales)]
    batch.add_guided(
        "a",
        open_image(vocabulary),
        streams,
        visual_top_k=0,
        **dict(zip(names, scales, strict=True)),
    )
    logits = make_logits(1 + streams, vocabulary=vocabulary, dtype=dtype)
    expected = guided_logits(
        logits, list(range(1 + streams)), scales[0], scales[1] if streams == 2 else 1.0
    )
    found = batch.probabilities(logits.float())[0].double()
    torch.testing.assert_close(
        found, masked(expected, visual(vocabulary)).softmax(-1), rtol=1e-4, atol=1e-7
    )


@pytest.mark.parametrize("scale", [0.3, 0.9, 1.0, 1.5, 5.0])
@pytest.mark.parametrize("streams", [0, 1, 2])
def test_forbidden_tokens_stay_forbidden(scale: float, streams: int) -> None:
    """-inf in the conditional row (bad words, allowed tokens) is no NaN, whatever the scale."""
    batch = Batch()
    batch.add_guided("a", open_image(), streams, guidance_scale=scale, image_cfg_scale=1.7)
    logits = make_logits(1 + streams)
    forbidden = list(visual())[::3]
    logits[0, forbidden] = -torch.inf
    found = batch.probabilities(logits)[0]
    assert not found.isnan().any()
    assert found[forbidden].eq(0).all()
    assert found.sum().item() == pytest.approx(1, abs=1e-5)


@settings(deadline=None, max_examples=60)
@given(
    vocabulary=st.sampled_from(VOCABULARIES),
    seed=st.integers(0, 999),
    limits=st.lists(
        st.tuples(
            st.sampled_from((0.5, 1.0, 1.7)),
            st.integers(0, 60),
            st.sampled_from((0.05, 0.5, 0.9, 1.0)),
            st.booleans(),
        ),
        min_size=1,
        max_size=6,
    ),
)
def test_limits_of_every_row_are_its_own(
    vocabulary: Vocabulary, seed: int, limits: list[Any]
) -> None:
    """Temperature, top-k and top-p of rows that share a batch, against one row at a time."""
    batch = Batch(vocabulary)
    logits = make_logits(len(limits), seed, vocabulary)
    expected = []
    for i, (temperature, top_k, top_p, in_image) in enumerate(limits):
        region = "visual" if in_image else "text"
        prompt = open_image(vocabulary) if in_image else [vocabulary.bos]
        arguments = {
            f"{region}_temperature": temperature,
            f"{region}_top_k": top_k,
            f"{region}_top_p": top_p,
        }
        batch.add_guided(f"r{i}", prompt, 0, **arguments)
        allowed = masked(logits[i].double(), visual(vocabulary) if in_image else text(vocabulary))
        expected.append(probabilities(allowed, temperature, top_k or vocabulary.size, top_p))
    torch.testing.assert_close(
        batch.probabilities(logits).double(), torch.stack(expected), rtol=1e-4, atol=1e-7
    )


@pytest.mark.parametrize(
    "others", [(), (7,), (0,)], ids=["alone", "another-top-k", "without-top-k"]
)
def test_tokens_that_tie_are_kept(others: tuple[int, ...]) -> None:
    """Of equal logits at the limit of top-k, none is left out at random."""
    batch = Batch()
    for i, top_k in enumerate((3, *others)):
        batch.add_guided(f"r{i}", open_image(), 0, visual_top_k=top_k)
    logits = make_logits(1 + len(others))
    start = V.visual_start
    logits[0] = -1.0
    logits[0, [start + 4, start + 40]] = torch.tensor([5.0, 4.0])
    logits[0, [start + 9, start + 10, start + 49]] = 3.0
    assert batch.probabilities(logits)[0].nonzero().flatten().tolist() == [
        start + i for i in (4, 9, 10, 40, 49)
    ]


def chi_square_p_value(counts: torch.Tensor, probs: torch.Tensor) -> float:
    """The chance of counts at least as unlikely, with rare tokens taken together."""
    expected = probs * counts.sum()
    rare = expected < 8
    observed = torch.cat((counts[~rare], counts[rare].sum()[None])).double()
    expected = torch.cat((expected[~rare], expected[rare].sum()[None]))
    observed, expected = observed[expected > 0], expected[expected > 0]
    statistic = ((observed - expected) ** 2 / expected).sum()
    freedom = torch.tensor((len(expected) - 1) / 2, dtype=torch.float64)
    return torch.special.gammaincc(freedom, statistic / 2).item()


@pytest.mark.parametrize("seeded", [False, True])
def test_draws_follow_the_probabilities(seeded: bool) -> None:
    """Chi-square over many draws, guided with limits in the image and with limits in text."""
    torch.manual_seed(0)
    batch = Batch()
    limits = {
        "visual_top_k": 20,
        "visual_top_p": 0.95,
        "visual_temperature": 1.5,
        "text_temperature": 2.0,
        "text_top_k": 0,
    }
    batch.add_guided(
        "image", open_image(), 1, guidance_scale=1.5, seed=1 if seeded else None, **limits
    )
    batch.add_guided("text", [V.bos], 0, seed=2 if seeded else None, **limits)
    logits = make_logits(3)
    guided = guided_logits(logits, [0, 1], 1.5, 1.0)
    expected = {
        0: probabilities(masked(guided, visual()), 1.5, 20, 0.95),
        2: probabilities(masked(logits[2].double(), text()), 2.0, V.size, 0.9),
    }
    draws = torch.tensor([batch.step(logits, append=False) for _ in range(4000)])
    assert torch.equal(draws[:, 0], draws[:, 1])
    for row, probs in expected.items():
        counts = torch.bincount(draws[:, row], minlength=V.size)
        assert counts[probs == 0].sum() == 0
        assert chi_square_p_value(counts, probs) > 1e-4


def crowd(batch: Batch, skip: str = "") -> None:
    """Rows of every kind."""
    v = batch.vocabulary
    makers: dict[str, Callable[[str], None]] = {
        "guided": lambda name: batch.add_guided(
            name, open_image(v), 1, guidance_scale=3.0, temperature=0.0
        ),
        "double": lambda name: batch.add_guided(
            name, open_image(v), 2, guidance_scale=3.0, image_cfg_scale=1.5, temperature=0.0
        ),
        "unguided": lambda name: batch.add_guided(
            name, open_image(v), 0, temperature=0.0, guidance_scale=1.0
        ),
        "text": lambda name: batch.add_guided(
            name, [v.bos], 0, temperature=0.0, guidance_scale=1.0
        ),
        "size": lambda name: batch.add_guided(
            name, [v.bos, v.boi], 0, temperature=0.0, guidance_scale=1.0
        ),
        "plain": lambda name: batch.add(name, [v.bos], SamplingParams(temperature=0.0)),
        "plain-image": lambda name: batch.add(name, open_image(v), SamplingParams(temperature=0.0)),
    }
    for name, make in makers.items():
        if name != skip:
            make(name)


def test_order_of_rows_does_not_matter() -> None:
    """Swapped, removed and condensed rows keep their tokens, and streams keep finding their
    request.
    """
    batch, shuffled = Batch(), Batch()
    for each in (batch, shuffled):
        crowd(each)
        each.add("gone", [1], SamplingParams(temperature=0.0))
        each.input_batch.refresh_metadata()
    names = list(batch.input_batch.req_ids)
    logits = make_logits(len(names), seed=3)
    expected = dict(zip(names, batch.step(logits), strict=True))

    input_batch = shuffled.input_batch
    input_batch.remove_request("gone")
    input_batch.remove_request("guided-0")
    input_batch.condense()
    for i, j in ((0, 5), (2, 3), (1, 5)):
        input_batch.swap_states(i, j)
    input_batch.refresh_metadata()
    params = SamplingParams(temperature=0.0)
    shuffled.add("guided-0", [1], StreamSamplingParams.from_sampling_params(params, "guided", 0))
    order = [names.index(name) for name in input_batch.req_ids]
    found = dict(zip(input_batch.req_ids, shuffled.step(logits[order]), strict=True))
    assert found == {name: token for name, token in expected.items() if name != "gone"}


def test_other_rows_are_the_stock_samplers() -> None:
    """Plain rows get the tokens they get without any image in the batch, from the same draws."""
    settings_of_rows = [
        SamplingParams(temperature=0.9, top_k=5, top_p=0.8, seed=11),
        SamplingParams(temperature=0.0),
        SamplingParams(temperature=1.3, min_p=0.1, seed=12),
        SamplingParams(temperature=1.0, seed=13),
    ]
    mixed, alone = Batch(), Batch()
    crowd(mixed, skip="plain")
    for each in (mixed, alone):
        for i, params in enumerate(settings_of_rows):
            each.add(f"p{i}", [V.bos], params)
    alone.sampler = Sampler(logprobs_mode="processed_logprobs")
    for seed in range(5):
        logits = make_logits(MAX_ROWS, seed)
        logits[:, V.boi] = -9
        rows = [mixed.row(f"p{i}") for i in range(4)]
        found = mixed.step(logits[: len(mixed.input_batch.req_ids)])
        assert [found[row] for row in rows] == alone.step(logits[rows])


def test_the_stock_sampler_gets_the_plain_rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a plain row's top-p sorts no other row, and min-p still finds its row."""
    batch = Batch()
    crowd(batch)
    batch.add("nucleus", [V.bos], SamplingParams(top_p=0.9, min_p=0.2, seed=3))
    sorted_rows = []
    stock = batch.sampler.topk_topp_sampler

    def count(logits: torch.Tensor, *args: Any) -> Any:
        sorted_rows.append(logits.clone())
        return stock.forward_native(logits, *args)

    monkeypatch.setattr(stock, "forward", count)
    logits = make_logits(len(batch.input_batch.req_ids))
    batch.step(logits)
    (found,) = sorted_rows
    assert len(found) == 2  # "plain" and "nucleus"
    probs = masked(logits[batch.row("nucleus")], text()).softmax(-1)
    kept = probs >= 0.2 * probs.max()
    assert (found[-1] > -torch.inf).tolist() == kept.tolist()


def test_with_async_scheduling_forced_tokens_come_from_the_position_alone() -> None:
    """A row in a grid is told what follows; one in text or in a size is not."""
    batch = Batch(is_async=True)
    batch.add_guided("row", open_image(height=2, width=1), 1, guidance_scale=3.0)
    batch.add_guided("size", [V.bos, V.boi], 0, guidance_scale=1.0, height=32, width=16, area=512)
    batch.add_guided("gone", open_image(height=2, width=1), 0, guidance_scale=1.0)
    batch.step(make_logits(4), append=False)
    gone = batch.row("gone")
    assert batch.sampler.get_forced(batch.input_batch, 200, {gone}) == {
        batch.row("row"): [V.eol],
        batch.row("row-0"): [V.eol],
    }


def test_seeds_do_not_see_the_batch() -> None:
    """A seeded image is the same alone, in a crowd, and with other limits in the crowd, token for
    token.
    """

    def draw(fill: Callable[[Batch], None]) -> list[int]:
        batch = Batch()
        fill(batch)
        batch.add_guided("seeded", open_image(), 1, seed=5, guidance_scale=2.0, visual_top_k=20)
        tokens = []
        for step in range(15):
            logits = make_logits(MAX_ROWS, seed=step)
            rows = len(batch.input_batch.req_ids)
            order = [0, 1] if rows == 2 else [*range(2, rows), 0, 1]
            tokens.append(batch.step(logits[order])[batch.row("seeded")])
        return tokens

    def with_seeds(batch: Batch) -> None:
        crowd(batch)
        batch.add_guided(
            "other", open_image(), 0, seed=6, guidance_scale=1.0, visual_top_k=40, visual_top_p=0.7
        )

    alone = draw(lambda _: None)
    assert alone == draw(crowd) == draw(with_seeds)
    assert [token in visual() for token in alone] == ([True] * 4 + [False]) * 3


def test_seeded_rows_draw_once_a_token_of_their_choice() -> None:
    """Forced tokens come with others or alone, so that they must not take part in the draws."""
    states = []
    for name, prompt in {
        "pixel": open_image(),
        "forced": [*open_image(width=1), V.visual_start],
        "text": [V.bos],
        "size": [V.bos, V.boi],
    }.items():
        batch = Batch()
        crowd(batch)
        batch.add_guided(f"seeded-{name}", prompt, 0, seed=9, guidance_scale=1.0)
        batch.step(make_logits(len(batch.input_batch.req_ids)))
        states.append(batch.input_batch.generators[batch.row(f"seeded-{name}")].get_state())
    image, one_text = torch.Generator().manual_seed(9), torch.Generator().manual_seed(9)
    untouched = torch.Generator().manual_seed(9)
    torch.empty(V.visual_size).exponential_(generator=image)
    torch.empty(V.visual_start).exponential_(generator=one_text)
    for found, expected in zip(states, (image, untouched, one_text, one_text), strict=True):
        assert torch.equal(found, expected.get_state())


@pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=["published-order", "text-after-visual"])
def test_images_are_well_formed(vocabulary: Vocabulary) -> None:
    """From text through size and pixels back to text, in rows that are out of step with one
    another.
    """
    v = vocabulary
    batch = Batch(v)
    sizes = {"a": (1, 1), "b": (3, 2), "c": (2, 5)}
    for i, (name, (height, width)) in enumerate(sizes.items()):
        batch.add_guided(
            name,
            [v.bos],
            i,
            guidance_scale=3.0,
            image_cfg_scale=2.0,
            height=16 * height,
            width=16 * width,
            area=256 * height * width,
        )
    batch.add("plain", [v.bos], SamplingParams())
    for seed in range(40):
        logits = make_logits(len(batch.input_batch.req_ids), seed, v)
        logits[:, v.boi] += 30
        for row, name in enumerate(batch.input_batch.req_ids):
            if name == "plain":
                logits[row, v.digits("23456789")] = -30
                logits[row, v.digits("01")] += 15
        batch.step(logits)
    for name, (height, width) in sizes.items():
        output = batch.input_batch.req_output_token_ids[batch.row(name)]
        image = [1 if v.is_visual(t) else t for t in v.image(height, width)]
        assert [1 if v.is_visual(t) else t for t in output][: len(image)] == image
        for stream in range({"a": 0, "b": 1, "c": 2}[name]):
            assert batch.input_batch.req_output_token_ids[batch.row(f"{name}-{stream}")] == output
    plain = batch.input_batch.req_output_token_ids[batch.row("plain")]
    assert plain[0] == v.boi
    assert plain[1] == v.digit("1")
    assert plain[3] == v.star
    assert plain[6] == v.img
    assert all(v.is_visual(t) for t in plain[7:17])


def test_text_never_has_visual_tokens() -> None:
    """However much the model prefers them, plain or not."""
    for vocabulary in VOCABULARIES:
        batch = Batch(vocabulary)
        batch.add("plain", [vocabulary.bos], SamplingParams(top_k=3))
        batch.add_guided("text", [vocabulary.bos], 0, guidance_scale=1.0)
        logits = make_logits(2, vocabulary=vocabulary)
        logits[:, visual(vocabulary)] += 100
        found = batch.probabilities(logits)
        assert found[:, visual(vocabulary)].eq(0).all()
        assert found.sum(-1).tolist() == pytest.approx([1, 1], abs=1e-5)


def test_batches_without_images_take_the_stock_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the guided sampler runs when nobody needs it."""
    monkeypatch.setattr(GuidedSampler, "_sample_region", None)
    batch = Batch()
    batch.add("plain", [V.bos], SamplingParams())
    batch.step(make_logits(1))


def test_rows_without_their_streams_are_not_guided() -> None:
    """A request in chunks whose streams are not in the batch is sampled somehow, as its sample is
    discarded.
    """
    batch = Batch()
    params = SamplingParams(extra_args={"guidance_scale": 3.0})
    batch.add("a", open_image(), guided_params(params, "a", 1))
    assert batch.step(make_logits(1))[0] in visual()


@pytest.mark.parametrize("greedy", [False, True])
def test_seeds_of_text_do_not_see_the_batch(greedy: bool) -> None:
    """Nor whether a neighbour has a seed or draws at all, on the processor as anywhere else."""

    def draw(*neighbours: SamplingParams) -> list[int]:
        batch = Batch()
        batch.add("seeded", [V.bos], SamplingParams(seed=5))
        for i, params in enumerate(neighbours):
            batch.add(f"n{i}", [V.bos], params)
        tokens = []
        for step in range(20):
            logits = make_logits(1 + len(neighbours), seed=step)
            logits[0] = make_logits(1, seed=step)[0]
            logits[:, V.boi] = -99
            tokens.append(batch.step(logits)[0])
        return tokens

    others = [SamplingParams(temperature=0.0 if greedy else 1.0), SamplingParams(seed=6)]
    assert draw() == draw(others[1]) == draw(*others)


class TestParameters:
    """What the scheduler tells a worker about a row."""

    ORIGINAL = SamplingParams(
        top_k=131072, top_p=0.9, temperature=0.6, extra_args={"guidance_scale": 3.0}
    )

    def test_the_original_is_left_alone(self) -> None:
        """The children of a request with n > 1 share their parameters."""
        original = self.ORIGINAL.clone()
        made = guided_params(original, "group", 2)
        assert original == self.ORIGINAL
        assert (made.top_k, made.top_p, made.temperature) == (0, 1.0, 1.0)
        assert (made.group, made.num_streams) == ("group", 2)
        assert made.image == ImageParams.from_sampling_params(original)

    def test_workers_get_them(self) -> None:
        """Through a pipe, as executors send them."""
        for made in (
            guided_params(self.ORIGINAL, "group", 2),
            StreamSamplingParams.from_sampling_params(self.ORIGINAL, "group", 1),
        ):
            sent = pickle.loads(pickle.dumps(made))
            assert type(sent) is type(made)
            assert sent == made

    def test_users_cannot_send_them(self) -> None:
        """What comes to the engine core is decoded as plain parameters."""
        stream = StreamSamplingParams.from_sampling_params(self.ORIGINAL, "group", 1)
        message = msgspec.msgpack.encode(stream)
        assert type(msgspec.msgpack.decode(message, type=SamplingParams)) is SamplingParams


def test_tags_of_users_are_nothing() -> None:
    """Names that once told rows apart do not reach a request's row, whatever their values."""
    v = V
    batch, alone = Batch(), Batch()
    for each in (batch, alone):
        each.add_guided("a", open_image(), 1, seed=3, guidance_scale=3.0)
    for i, extra_args in enumerate(
        (
            {"guidance_stream": 0},
            {"guidance_num_streams": "a"},
            {"guidance_stream": 0, "guidance_group": "a"},
            {"guidance_group": "a", "guidance_num_streams": 1},
        )
    ):
        batch.add(f"x{i}", [v.bos], SamplingParams(seed=9, extra_args=extra_args))
    for step in range(5):
        logits = make_logits(len(batch.input_batch.req_ids), seed=step)
        tokens = batch.step(logits)
        assert tokens[:2] == alone.step(logits[:2])
        assert not any(v.is_visual(token) for token in tokens[2:])


ALLOWED = [V.text_start, V.text_start + 1]


class TestMasks:
    """`allowed_token_ids` of one row say nothing about another one."""

    def rows(self, batch: Batch) -> dict[str, list[int]]:
        """The tokens that each row may take."""
        batch.input_batch.refresh_metadata()
        mask = batch.input_batch._make_sampling_metadata().allowed_token_ids_mask
        assert mask is not None
        return {
            name: (~mask[batch.row(name)]).nonzero().flatten().tolist()
            for name in batch.input_batch.req_ids
        }

    def test_swapped_rows_keep_their_own(self) -> None:
        batch = Batch()
        batch.add("free", [1], SamplingParams())
        batch.add("bound", [1], SamplingParams(allowed_token_ids=ALLOWED))
        batch.input_batch.swap_states(0, 1)
        everything = list(range(V.size))
        assert self.rows(batch) == {"bound": ALLOWED, "free": everything}

    def test_a_row_that_moved_leaves_none_behind(self) -> None:
        batch = Batch()
        batch.add("gone", [1], SamplingParams())
        batch.add("bound", [1], SamplingParams(allowed_token_ids=ALLOWED))
        batch.input_batch.refresh_metadata()
        batch.input_batch.remove_request("gone")
        batch.input_batch.condense()
        batch.input_batch.refresh_metadata()
        batch.add("free", [1], SamplingParams())
        assert self.rows(batch) == {"bound": ALLOWED, "free": list(range(V.size))}


class TestFailures:
    """A guided row that reads what is not finite says so with a token that no image has."""

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    @pytest.mark.parametrize("temperature", [0.0, 1.0])
    @pytest.mark.parametrize(
        "limits", [{}, {"visual_top_k": 0}, {"visual_top_p": 0.5}, {"visual_top_k": 3}]
    )
    @pytest.mark.parametrize("image_scale", [0.5, 1.5])
    @pytest.mark.parametrize("row", [1, 2])
    def test_a_hidden_row_is_not_finite(
        self,
        value: float,
        temperature: float,
        limits: dict[str, float],
        image_scale: float,
        row: int,
    ) -> None:
        batch = Batch()
        scales = {"guidance_scale": 3.0, "image_cfg_scale": image_scale}
        batch.add_guided("bad", open_image(), 2, temperature=temperature, **scales, **limits)
        batch.add_guided("good", open_image(), 2, temperature=temperature, **scales, **limits)
        logits = make_logits(6)
        logits[row, V.visual_start + 7] = value
        tokens = batch.step(logits)
        assert tokens[:3] == [V.boi] * 3
        assert V.is_visual(tokens[3])

    @pytest.mark.parametrize("temperature", [0.0, 1.0])
    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_the_guided_row_is_not_finite(self, temperature: float, value: float) -> None:
        batch = Batch()
        batch.add_guided("bad", open_image(), 1, temperature=temperature, guidance_scale=3.0)
        logits = make_logits(2)
        logits[0, V.visual_start + 3] = value
        assert batch.step(logits) == [V.boi] * 2

    @pytest.mark.parametrize("temperature", [0.0, 1.0])
    @pytest.mark.parametrize("num_streams", [0, 1])
    def test_no_visual_token_is_allowed(self, temperature: float, num_streams: int) -> None:
        batch = Batch()
        scale = {"guidance_scale": 3.0} if num_streams else {}
        batch.add_guided("bad", open_image(), num_streams, temperature=temperature, **scale)
        logits = make_logits(1 + num_streams)
        logits[0, visual()] = -torch.inf
        assert batch.step(logits) == [V.boi] * (1 + num_streams)

    @pytest.mark.parametrize("temperature", [0.0, 1.0])
    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_an_image_of_a_plain_request(self, temperature: float, value: float) -> None:
        batch = Batch()
        batch.add("bad", open_image(), SamplingParams(temperature=temperature))
        batch.add("good", open_image(), SamplingParams(temperature=temperature))
        logits = make_logits(2)
        logits[0, visual()] = value
        bad, good = batch.step(logits)
        assert bad == V.boi
        assert V.is_visual(good)

    def test_a_forced_token_is_what_it_is(self) -> None:
        batch = Batch()
        prompt = [*open_image(width=1), V.visual_start]
        batch.add_guided("bad", prompt, 1, guidance_scale=3.0)
        logits = make_logits(2)
        logits[1, V.visual_start] = -torch.inf
        assert batch.step(logits) == [V.eol] * 2


def test_raw_logprobs_are_those_of_the_conditional_row() -> None:
    batch = Batch(logprobs_mode="raw_logprobs")
    batch.add_guided("a", open_image(), 1, guidance_scale=3.0, logprobs=2)
    batch.input_batch.refresh_metadata()
    logits = make_logits(2)
    output = batch.sampler(logits.clone(), batch.input_batch._make_sampling_metadata())
    token = output.sampled_token_ids[0, 0]
    assert output.logprobs_tensors is not None
    assert output.logprobs_tensors.logprobs[0, 0].item() == pytest.approx(
        logits[0].log_softmax(-1)[token].item(), abs=1e-5
    )


def test_processed_logprobs_of_forced_tokens_are_zero() -> None:
    batch = Batch()
    batch.add_guided("a", [*open_image(width=1), V.visual_start], 0, guidance_scale=1.0)
    batch.add_guided("b", open_image(), 0, guidance_scale=1.0)
    found = batch.probabilities(make_logits(2))
    assert found[0].nonzero().flatten().tolist() == [V.eol]
    assert found[1, V.eol] == 0


def test_what_rows_write_is_followed_when_the_sampler_asks() -> None:
    """The device waits for `update_state`, not for the sampler."""
    batch = Batch()
    batch.add_guided("a", open_image(height=2, width=1), 1, guidance_scale=3.0)
    batch.input_batch.refresh_metadata()
    assert batch.guidance.is_idle
    batch.sampler._get_guidance(batch.input_batch.sampling_metadata)
    assert batch.guidance.is_visual_only
    # Rows that come and go in a step that samples nothing are not missed.
    batch.add_guided("b", open_image(height=2, width=1), 0, guidance_scale=1.0)
    batch.input_batch.refresh_metadata()
    batch.input_batch.refresh_metadata()
    tokens = batch.step(make_logits(3))
    assert tokens[0] == tokens[1]
    assert all(V.is_visual(token) for token in tokens)
    assert batch.step(make_logits(3)) == [V.eol] * 3


class TestForcedTokens:
    """Tokens that must follow a sampled one come with it."""

    def sample(
        self, batch: Batch, *, discarded: tuple[str, ...] = (), max_model_len: int = 200
    ) -> dict[str, list[int]]:
        """A step of the worker, on logits that begin images of the size 12*2."""
        names = batch.input_batch.req_ids
        logits = make_logits(len(names))
        logits[:, V.boi] += 30
        for place, character in enumerate("12"):
            logits[:, V.digit(character)] += 20 - place
        tokens = [[token] for token in batch.step(logits, append=False)]
        for name in discarded:
            tokens[batch.row(name)].clear()
        batch.sampler.append_forced(tokens, batch.input_batch, max_model_len)
        for row, new in enumerate(tokens):
            batch.input_batch.num_tokens_no_spec[row] += len(new)
            batch.input_batch.req_output_token_ids[row] += new
        return dict(zip(names, tokens, strict=True))

    def test_the_end_of_a_row_and_of_an_image(self) -> None:
        """For the streams as well."""
        batch = Batch()
        batch.add_guided("row", open_image(height=2, width=1), 2, guidance_scale=3.0)
        batch.add_guided("inside", open_image(height=1, width=2), 1, guidance_scale=3.0)
        first = self.sample(batch)
        assert [len(first[name]) for name in ("row", "inside")] == [2, 1]
        assert first["row"][1] == V.eol
        second = self.sample(batch)
        assert [second[name][1:] for name in ("row", "inside")] == [[V.eoi], [V.eoi]]
        for step in (first, second):
            assert step["row-0"] == step["row-1"] == step["row"]
            assert step["inside-0"] == step["inside"]
        third = self.sample(batch)
        assert third["row"] == [V.boi, *V.digits("2*1")]
        assert third["inside"] == [V.boi, *V.digits("1*2")]

    def test_the_digits_of_a_size(self) -> None:
        """A requested one with BOI, a free one's star with its second digit; IMG alone."""
        batch = Batch()
        wanted = {"height": 160, "width": 32, "area": 160 * 32}
        batch.add_guided("wanted", [V.bos], 0, guidance_scale=1.0, **wanted)
        batch.add("free", [V.bos, V.boi], SamplingParams(temperature=0.0))
        steps = [self.sample(batch) for _ in range(6)]
        assert [step["wanted"] for step in steps[:2]] == [[V.boi, *V.digits("10*2")], [V.img]]
        assert len(steps[2]["wanted"]) == 1
        assert V.is_visual(steps[2]["wanted"][0])
        assert steps[3]["wanted"][1:] == [V.eol]
        free = [token for step in steps for token in step["free"]]
        assert [len(step["free"]) for step in steps] == [1, 2, 1, 1, 1, 1]
        assert free[2] == V.star
        assert free[5] == V.img

    def test_a_discarded_sample_is_followed_by_nothing(self) -> None:
        batch = Batch()
        batch.add_guided("a", open_image(height=2, width=1), 1, guidance_scale=3.0)
        batch.add_guided("b", open_image(height=2, width=1), 0, guidance_scale=1.0)
        found = self.sample(batch, discarded=("a", "a-0"))
        assert found["a"] == found["a-0"] == []
        assert found["b"][1:] == [V.eol]

    def test_logprobs_need_a_step_a_token(self) -> None:
        """Their lists have one entry a step."""
        batch = Batch()
        batch.add_guided("a", open_image(height=2, width=1), 1, guidance_scale=3.0, logprobs=1)
        batch.add_guided("b", open_image(height=2, width=1), 0, guidance_scale=1.0)
        found = self.sample(batch)
        assert len(found["a"]) == len(found["a-0"]) == 1
        assert found["b"][1:] == [V.eol]
        found = self.sample(batch)
        assert found["a"] == found["a-0"] == [V.eol]

    @pytest.mark.parametrize("longer", ["a", "a-0"])
    def test_the_longest_row_has_to_have_room(self, longer: str) -> None:
        batch = Batch()
        batch.add_guided("a", open_image(height=2, width=1), 1, guidance_scale=3.0)
        batch.input_batch.num_tokens_no_spec[batch.row(longer)] = 98
        assert len(self.sample(batch, max_model_len=99)["a"]) == 1
        batch = Batch()
        batch.add_guided("a", open_image(height=2, width=1), 1, guidance_scale=3.0)
        batch.input_batch.num_tokens_no_spec[batch.row(longer)] = 98
        assert len(self.sample(batch, max_model_len=100)["a"]) == 2
