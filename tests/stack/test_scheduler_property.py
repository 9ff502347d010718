"""The scheduler without a model: random worlds, and a worker that remembers which tokens each KV
slot was computed from.

The worker follows the protocol of `GPUModelRunner`. What it stores in a slot is a hash of all
tokens up to it, so every read of a slot that was not computed, or was computed from other tokens,
is found in the step that reads it.
"""

from __future__ import annotations

import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from checkpoint import Vocabulary
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import Grammar, open_image
from vllm import SamplingParams
from vllm.v1.core import kv_cache_utils
from vllm.v1.core.sched import batch_scheduler
from vllm.v1.core.sched.async_batch_scheduler import AsyncGuidedScheduler
from vllm.v1.core.sched.batch_scheduler import GuidedKVCacheManager, GuidedScheduler
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus
from vllm.v1.sample.guided_params import StreamSamplingParams

VOCABULARY = Vocabulary(visual_size=6, text_size=8)

# More steps than any world needs; a world that takes longer is starving somebody.
MAX_STEPS = 4000


def hash_prefix(parent: object, token: int) -> object:
    return hash((parent, token))


class BlockHashes:
    """A hash function for blocks that remembers what it hashed."""

    def __init__(self) -> None:
        self.blocks: dict[bytes, tuple[bytes, tuple[int, ...]]] = {}
        self._known: dict[Any, bytes] = {}

    def __call__(self, value: Any) -> bytes:
        digest = self._known.setdefault(value, b"%032d" % len(self._known))
        parent, tokens, _ = value
        self.blocks[digest] = (parent, tokens)
        return digest

    def tokens(self, digest: bytes) -> list[int]:
        """All tokens up to the end of a block."""
        tokens: list[int] = []
        while digest in self.blocks:
            digest, block = self.blocks[digest]
            tokens[:0] = block
        return tokens


@dataclass(kw_only=True)
class World:
    """Limits of an engine, and the requests that it gets."""

    rng: random.Random
    block_size: int
    num_blocks: int
    max_num_seqs: int
    max_num_batched_tokens: int
    max_model_len: int
    caching: bool
    chunked_prefill: bool
    threshold: int
    priority: bool
    pipeline: bool
    overlaps: bool
    """Whether a step is scheduled before the last one's tokens are known (async scheduling)."""
    appends_forced: bool
    """Whether the worker returns forced tokens together with the one before."""
    arrivals: list[Arrival]
    window: int | None = None
    """The most positions of an image a step, if requests may ask for several."""


@dataclass(kw_only=True)
class Arrival:
    """A request, when it comes, and after how many tokens its user gives up."""

    step: int
    prompt: list[int]
    uncond: list[int] | None
    uncond_no_image: list[int] | None
    size: str | None
    same_size: bool
    max_tokens: int
    priority: int
    image_rate: float
    patience: int | None
    window: int | None = None

    @property
    def num_streams(self) -> int:
        return (self.uncond is not None) + (self.uncond_no_image is not None)


def make_prompt(rng: random.Random, length: int) -> list[int]:
    """Text, often the same beginning, so that prompts share blocks."""
    return VOCABULARY.text(1 + length, seed=rng.choice((1, 1, 2)))


def share_prefix(rng: random.Random, prompt: list[int], others: list[list[int]]) -> list[int]:
    """Now and then a long beginning of somebody else's prompt, as two edits of one image have."""
    if not others or rng.random() < 0.6:
        return prompt
    other = rng.choice(others)
    return other[: rng.randrange(len(other) // 2, len(other)) + 1]


def make_arrival(
    rng: random.Random, max_model_len: int, budget: int | None, others: list[list[int]]
) -> Arrival:
    """A request beside others, given by their prompts in text."""
    v = VOCABULARY
    longest = max_model_len - 30 if budget is None else min(max_model_len - 30, budget)
    prompt = make_prompt(rng, rng.randrange(0, max(1, longest * rng.choice((1, 1, 2)) // 2)))
    streams = rng.choice((0, 1, 1, 1, 2))
    uncond = share_prefix(rng, make_prompt(rng, rng.randrange(0, 20)), others) if streams else None
    no_image = make_prompt(rng, rng.randrange(0, 12)) if streams == 2 else None
    others.append(prompt)
    size = f"{rng.randrange(1, 4)}*{rng.randrange(1, 5)}" if rng.random() < 0.8 else None
    ending = rng.choice(("text", "text", "boi", "digits", "pixels"))
    if ending == "boi":
        prompt = [*prompt, v.boi]
    elif ending == "digits":
        prompt, size = [*prompt, v.boi, v.digit("2")], None
    elif ending == "pixels":
        image = v.image(3, 2, seed=rng.randrange(3))
        prompt, size = [*prompt, *image[: rng.randrange(6, len(image))]], None
        if uncond is not None and rng.random() < 0.5:
            uncond = [*uncond, *open_image(v, prompt)]
    return Arrival(
        step=rng.randrange(0, 40),
        prompt=prompt,
        uncond=uncond,
        uncond_no_image=no_image,
        size=size,
        same_size=rng.random() < 0.7,
        max_tokens=rng.choice((1, 5, 20, 45, 80)),
        priority=rng.randrange(3),
        image_rate=rng.choice((0.02, 0.3, 1.0)),
        patience=rng.randrange(25) if rng.random() < 0.2 else None,
    )


def add_windows(world: World) -> World:
    """Lets some of the requests take several positions of an image in a step, where they may."""
    if world.pipeline or world.overlaps or world.rng.random() < 0.3:
        return world
    world.window = world.rng.choice((1, 2, 3, 6, 16))
    for arrival in world.arrivals:
        if world.rng.random() < 0.8:
            arrival.window = world.rng.randrange(1, world.window + 1)
    return world


def make_world(rng: random.Random) -> World:
    block_size = rng.choice((1, 2, 4, 8))
    max_model_len = rng.choice((60, 90, 120))
    chunked = rng.random() < 0.8
    max_num_seqs = rng.randrange(1, 12)
    budget = rng.choice((max_num_seqs, max_num_seqs + 1, 16, 30, 64)) if chunked else max_model_len
    budget = max(budget, max_num_seqs)
    # As the engine does, leave enough blocks for one plain request of the greatest length.
    fewest = -(-max_model_len // block_size) + 1
    prompts: list[list[int]] = []
    arrivals = [
        make_arrival(rng, max_model_len, None if chunked else budget, prompts)
        for _ in range(rng.randrange(1, 9))
    ]
    world = World(
        rng=rng,
        block_size=block_size,
        num_blocks=rng.choice((fewest, fewest + 3, fewest * 2, fewest * 8)),
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=budget,
        max_model_len=max_model_len,
        caching=rng.random() < 0.7,
        chunked_prefill=chunked,
        threshold=rng.choice((0, 0, 5)),
        priority=rng.random() < 0.4,
        pipeline=(pipeline := rng.random() < 0.3),
        overlaps=(overlaps := not pipeline and rng.random() < 0.5),
        # Not with pipeline parallelism.
        appends_forced=not pipeline and (overlaps or rng.random() < 0.7),
        # The frontend refuses requests that need more rows than there are.
        arrivals=sorted(
            (a for a in arrivals if 1 + a.num_streams <= max_num_seqs), key=lambda a: a.step
        ),
    )
    return add_windows(world)


def make_crowded_world(rng: random.Random) -> World:
    """Requests of all priorities that see one image, in hardly enough memory: while the prompt of
    one is computed in chunks, the hidden streams of others begin with the same tokens.
    """
    prompt = VOCABULARY.text(rng.randrange(40, 58), seed=1)
    block_size = rng.choice((1, 2, 2, 4))
    max_num_seqs = rng.randrange(6, 12)

    def arrive(step: int, priority: int, **others: Any) -> Arrival:
        return Arrival(
            step=step,
            priority=priority,
            uncond_no_image=None,
            same_size=True,
            patience=None,
            **{
                "prompt": make_prompt(rng, rng.randrange(0, 8)),
                "uncond": None,
                "size": "1*1",
                "max_tokens": rng.choice((5, 10, 20, 45)),
                "image_rate": 0.02,
                **others,
            },
        )

    arrivals = [
        arrive(rng.randrange(0, 4), rng.randrange(1, 4), prompt=prompt),
        *(arrive(rng.randrange(0, 12), rng.randrange(3)) for _ in range(rng.randrange(1, 6))),
        *(
            arrive(
                rng.randrange(0, 12),
                rng.randrange(2),
                uncond=prompt[: rng.randrange(10, len(prompt))],
                image_rate=1.0,
            )
            for _ in range(rng.randrange(1, 3))
        ),
    ]
    world = World(
        rng=rng,
        block_size=block_size,
        num_blocks=60 // block_size + 1 + rng.randrange(3),
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=16,
        max_model_len=60,
        caching=True,
        chunked_prefill=True,
        threshold=5,
        priority=True,
        pipeline=(pipeline := rng.random() < 0.2),
        overlaps=(overlaps := not pipeline and rng.random() < 0.5),
        appends_forced=not pipeline and (overlaps or rng.random() < 0.7),
        arrivals=sorted(arrivals, key=lambda a: a.step),
    )
    return add_windows(world)


def make_scheduler(world: World) -> GuidedScheduler:
    config = SimpleNamespace(
        model_config=SimpleNamespace(
            hf_config=VOCABULARY.hf_config(), is_encoder_decoder=False, is_multimodal_model=False
        ),
        scheduler_config=SimpleNamespace(
            max_num_seqs=world.max_num_seqs,
            max_num_batched_tokens=world.max_num_batched_tokens,
            max_model_len=world.max_model_len,
            policy="priority" if world.priority else "fcfs",
            long_prefill_token_threshold=world.threshold,
            chunked_prefill_enabled=world.chunked_prefill,
            max_num_encoder_input_tokens=0,
            encoder_cache_size=0,
        ),
        cache_config=SimpleNamespace(
            num_gpu_blocks=world.num_blocks,
            block_size=world.block_size,
            enable_prefix_caching=world.caching,
        ),
        parallel_config=SimpleNamespace(
            decode_context_parallel_size=1,
            data_parallel_rank=0,
            pipeline_parallel_size=2 if world.pipeline else 1,
        ),
        lora_config=None,
        kv_events_config=None,
        kv_transfer_config=None,
        speculative_config=None,
        additional_config={} if world.window is None else {"image_window": world.window},
    )
    spec = FullAttentionSpec(
        block_size=world.block_size, num_kv_heads=1, head_size=1, dtype=torch.float32
    )
    structured = SimpleNamespace(
        should_advance=lambda request: False, grammar_bitmask=lambda *_: None
    )
    return (AsyncGuidedScheduler if world.overlaps else GuidedScheduler)(
        vllm_config=config,
        kv_cache_config=KVCacheConfig(
            num_blocks=world.num_blocks,
            kv_cache_tensors=[],
            kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)],
        ),
        structured_output_manager=structured,
        mm_registry=SimpleNamespace(supports_multimodal_inputs=lambda _: False),
        log_stats=True,
    )


@dataclass
class Row:
    """What a worker keeps of a request."""

    params: SamplingParams
    tokens: list[int]
    blocks: list[int]
    computed: int
    # The tokens as the first rank of a pipeline knows them.
    first_rank: list[int]
    # Number of tokens that have arrived, and the positions of those that the device has from the
    # last step, or that the grammar forces.
    arrived: int = 0
    on_device: set[int] = field(default_factory=set)
    prefix: list[object] = field(default_factory=list)

    def hashes(self, length: int) -> list[object]:
        """Hashes of the prefixes of up to `length` tokens."""
        while len(self.prefix) < length:
            parent = self.prefix[-1] if self.prefix else None
            self.prefix.append(hash_prefix(parent, self.tokens[len(self.prefix)]))
        return self.prefix[:length]

    def hashes_with(self, drafts: list[int], length: int) -> list[object]:
        """The same where drafts follow the tokens."""
        values = self.hashes(min(length, len(self.tokens)))
        for token in drafts[: length - len(values)]:
            values.append(hash_prefix(values[-1], token))
        return values


class Worker:
    """Keeps rows and slots as the workers do, and checks every step it is given."""

    def __init__(
        self,
        world: World,
        arrivals: dict[str, Arrival],
        scheduler: GuidedScheduler,
        hashes: BlockHashes,
    ):
        self.world, self.arrivals, self.scheduler, self.hashes = world, arrivals, scheduler, hashes
        self.rows: dict[str, Row] = {}
        self.slots: dict[int, object] = {}
        # The request and the number of each hidden stream, by its id.
        self.streams: dict[str, tuple[str, int]] = {}
        self.sampled_tokens: dict[str, list[int]] = {}
        # The drafts of the current step, by row.
        self.drafts: dict[str, list[int]] = {}

    def execute(self, output: Any) -> ModelRunnerOutput:
        scheduled = output.num_scheduled_tokens
        assert (
            sum(scheduled.values())
            == output.total_num_scheduled_tokens
            <= self.world.max_num_batched_tokens
        )
        assert len(scheduled) <= self.world.max_num_seqs
        self.update_rows(output)
        if self.world.overlaps:
            self.check_known(scheduled)
        self.drafts = self.make_drafts(output.scheduled_spec_decode_tokens)
        self.compute(scheduled)
        sampling = [
            r
            for r, count in scheduled.items()
            if self.rows[r].computed + count - len(self.drafts.get(r, ()))
            == len(self.rows[r].tokens)
        ]
        assert set(self.drafts) <= set(sampling), "a window has no token before its drafts"
        self.check_lockstep(scheduled, sampling)
        tokens = self.sample(sampling)
        if any(self.arrivals[row].num_streams for row in self.rows if row in self.arrivals):
            assert not any(output.num_common_prefix_blocks)
        for row in self.rows.values() if scheduled else ():
            row.on_device = set()
        for request_id in sampling:
            row, count = self.rows[request_id], len(self.rows[request_id].tokens)
            row.tokens += tokens[request_id]
            row.on_device = set(range(count, len(row.tokens)))
        for request_id, count in scheduled.items():
            self.rows[request_id].computed += count
        self.check_prefix_cache()
        ids = list(scheduled)
        return ModelRunnerOutput(
            req_ids=ids,
            req_id_to_index={r: i for i, r in enumerate(ids)},
            sampled_token_ids=[list(tokens.get(r, ())) for r in ids],
            logprobs=None,
            prompt_logprobs_dict={},
            pooler_output=[],
        )

    def make_drafts(self, scheduled: dict[str, list[int]]) -> dict[str, list[int]]:
        """Tokens for as many drafts as each row is to have, the same in all rows of a group."""
        v, rng = VOCABULARY, self.world.rng
        drafts: dict[str, list[int]] = {}
        for request_id in self.arrivals:
            if request_id not in scheduled:
                continue
            count = len(scheduled[request_id])
            assert 0 < count < (self.arrivals[request_id].window or 0), "nobody asked for it"
            grammar = self.grammar(request_id)
            assert grammar.in_pixels
            tokens = []
            for _ in range(count):
                assert grammar.in_pixels, "a window goes beyond its image"
                allowed = list(grammar.allowed())
                tokens.append(rng.choice(allowed))
                grammar.read_output(tokens[-1:])
                if rng.random() < 0.1:
                    tokens[-1] = rng.randrange(v.visual_start)
            assert grammar.in_pixels, "a window goes beyond its image"
            drafts[request_id] = tokens
        for row, tokens in scheduled.items():
            if row not in drafts:
                request_id, _ = self.streams[row]
                assert len(drafts[request_id]) == len(tokens), "streams have other windows"
                drafts[row] = drafts[request_id]
        return drafts

    def update_rows(self, output: Any) -> None:
        for request_id in output.finished_req_ids:
            self.rows.pop(request_id, None)
        for new in output.scheduled_new_reqs:
            assert new.req_id not in self.rows, "the worker was never told to forget it"
            (blocks,) = new.block_ids
            tokens = list(new.prompt_token_ids)
            self.rows[new.req_id] = Row(
                new.sampling_params,
                tokens,
                list(blocks),
                new.num_computed_tokens,
                list(tokens),
                arrived=len(tokens),
            )
            if isinstance(new.sampling_params, StreamSamplingParams):
                params = new.sampling_params
                self.streams[new.req_id] = params.group, params.stream
            else:
                self.sampled_tokens.setdefault(new.req_id, [])
        cached = output.scheduled_cached_reqs
        assert len(set(cached.req_ids)) == len(cached.req_ids)
        news = {new.req_id for new in output.scheduled_new_reqs}
        assert news | set(cached.req_ids) == set(output.num_scheduled_tokens)
        assert not news & set(cached.req_ids)
        for i, request_id in enumerate(cached.req_ids):
            assert request_id in self.rows, "the worker has never heard of it"
            row = self.rows[request_id]
            row.computed = cached.num_computed_tokens[i]
            if cached.resumed_from_preemption[i]:
                (blocks,) = cached.new_block_ids[i]
                row.blocks = list(blocks)
            elif cached.new_block_ids[i] is not None:
                (blocks,) = cached.new_block_ids[i]
                row.blocks += blocks
            if self.world.overlaps:
                arrived = cached.new_token_ids[i]
                assert row.tokens[row.arrived : row.arrived + len(arrived)] == arrived
                row.arrived += len(arrived)
            if self.world.pipeline:
                self.update_first_rank(row, cached.new_token_ids[i])
                assert len(cached.new_token_ids[i]) == output.num_scheduled_tokens[request_id]

    @staticmethod
    def update_first_rank(row: Row, new: list[int]) -> None:
        """As `GPUModelRunner._update_states` does on all ranks but the last one."""
        unknown = row.computed + len(new) - len(row.first_rank)
        if unknown > 0:
            row.first_rank += new[-unknown:]
        row.first_rank[row.computed : row.computed + len(new)] = new

    def check_known(self, scheduled: dict[str, int]) -> None:
        """Each token that is computed has arrived, or is on the device since the last step; and
        where the grammar reads the tokens, all have arrived.
        """
        for request_id, count in scheduled.items():
            row = self.rows[request_id]
            end = row.computed + count
            for position in range(max(row.arrived, row.computed), end):
                assert position in row.on_device, "a token is computed that nobody knows"
            if (
                end == len(row.tokens)
                and request_id in self.arrivals
                and not self.in_pixels_after(request_id, row.arrived)
            ):
                assert row.arrived == end, "the grammar lacks a token"

    def in_pixels_after(self, request_id: str, length: int) -> bool:
        """Whether the grid is known from so many tokens, and the next token is one of it."""
        arrival, row = self.arrivals[request_id], self.rows[request_id]
        if not arrival.num_streams or not self.grammar(request_id).in_pixels:
            return False
        known = Grammar(VOCABULARY, arrival.size, arrival.same_size).read_prompt(arrival.prompt)
        return known.read_output(row.tokens[len(arrival.prompt) : length]).in_pixels

    def compute(self, scheduled: dict[str, int]) -> None:
        """Writes the slots of all rows, then reads all that attention reads."""
        size = self.world.block_size
        written: dict[int, object] = {}
        for request_id, count in scheduled.items():
            row = self.rows[request_id]
            assert count > 0
            end = row.computed + count
            drafts = self.drafts.get(request_id, [])
            assert end <= len(row.tokens) + len(drafts), "a token is computed that nobody sampled"
            assert end <= self.world.max_model_len
            if self.world.pipeline:
                assert row.first_rank[:end] == row.tokens[:end]
            assert end <= len(row.blocks) * size, "a token is computed that has no slot"
            values = row.hashes_with(drafts, end)
            for position, value in enumerate(values[row.computed :], row.computed):
                slot = row.blocks[position // size] * size + position % size
                assert slot >= size, "the null block is written"
                assert written.setdefault(slot, value) == value, (
                    "two rows write other tokens to one slot"
                )
        self.slots |= written
        for request_id, count in scheduled.items():
            row = self.rows[request_id]
            drafts = self.drafts.get(request_id, [])
            for position, value in enumerate(row.hashes_with(drafts, row.computed + count)):
                slot = row.blocks[position // size] * size + position % size
                assert self.slots.get(slot) == value, (
                    f"{request_id} reads a slot of other tokens at {position}"
                )

    def check_lockstep(self, scheduled: dict[str, int], sampling: list[str]) -> None:
        """In an image, the streams of a request are sampled when it is; else they do not run."""
        stream_ids = {self.streams[row]: row for row in scheduled if row in self.streams}
        assert stream_ids.keys() | set(self.arrivals) >= {
            self.streams.get(row, row) for row in scheduled
        }
        for request_id, arrival in self.arrivals.items():
            streams = [stream_ids.get((request_id, i)) for i in range(arrival.num_streams)]
            known = [stream for stream in streams if stream is not None]
            if not known and request_id not in scheduled:
                continue
            tokens = self.rows[request_id].tokens
            if not self.grammar(request_id).in_pixels:
                assert not known, "a stream runs outside of an image"
                continue
            assert len({row in sampling for row in (request_id, *streams)}) == 1, (
                "streams are sampled apart"
            )
            if request_id in sampling:
                assert len({len(self.drafts.get(r, ())) for r in (request_id, *streams)}) == 1
                output = tokens[len(arrival.prompt) :]
                for stream, expected in zip(
                    streams, self.expected_streams(arrival, output), strict=True
                ):
                    assert self.rows[stream].tokens == expected

    def grammar(self, request_id: str) -> Grammar:
        arrival = self.arrivals[request_id]
        grammar = Grammar(VOCABULARY, arrival.size, arrival.same_size).read_prompt(arrival.prompt)
        return grammar.read_output(self.rows[request_id].tokens[len(arrival.prompt) :])

    def expected_streams(self, arrival: Arrival, output: list[int]) -> Iterator[list[int]]:
        """The tokens of the streams of a request in an image."""
        v = VOCABULARY
        opened = open_image(v, arrival.prompt)
        images: list[list[int]] = [opened] if opened else []
        inside = bool(opened)
        for token in output:
            if not inside and token == v.boi:
                images.append([])
                inside = True
            if inside:
                images[-1].append(token)
                inside = token != v.eoi
        for prompt, starts_afresh in ((arrival.uncond, False), (arrival.uncond_no_image, True)):
            if prompt is not None:
                own = prompt[: len(prompt) - len(open_image(v, prompt))]
                yield own + (
                    images[-1] if starts_afresh else [token for image in images for token in image]
                )

    def sample(self, sampling: list[str]) -> dict[str, list[int]]:
        """Tokens that the grammar allows; streams repeat those of their request."""
        tokens: dict[str, list[int]] = {}
        for request_id in sampling:
            if request_id in self.arrivals:
                tokens[request_id] = self.choose_all(request_id, sampling)
                self.sampled_tokens[request_id] += tokens[request_id]
        return tokens | {r: tokens[self.streams[r][0]] for r in sampling if r not in self.arrivals}

    def choose_all(self, request_id: str, sampling: list[str]) -> list[int]:
        """A token and those that must follow it, up to IMG and as far as all rows have room."""
        grammar = self.grammar(request_id)
        # Only the position is known in advance where steps overlap.
        may_append = self.world.appends_forced and (grammar.in_pixels or not self.world.overlaps)
        if drafts := self.drafts.get(request_id):
            return self.commit(request_id, grammar, drafts)
        tokens = [self.choose(request_id, grammar)]
        if not may_append:
            return tokens
        rows = [r for r in sampling if request_id in (r, self.streams.get(r, (None,))[0])]
        longest = max(len(self.rows[row].tokens) for row in rows)
        while longest + len(tokens) < self.world.max_model_len:
            grammar.read_output(tokens[-1:])
            try:
                allowed = grammar.allowed() if grammar.opened else ()
            except KeyError:
                break
            if len(allowed) != 1 or allowed == [VOCABULARY.img]:
                break
            tokens += allowed
        return tokens

    def commit(self, request_id: str, grammar: Grammar, drafts: list[int]) -> list[int]:
        """The tokens up to the one that replaces the first wrong draft."""
        tokens: list[int] = []
        for draft in (*drafts, None):
            is_right = draft in grammar.allowed() and self.world.rng.random() < 0.6
            tokens.append(draft if is_right else self.choose(request_id, grammar))
            grammar.read_output(tokens[-1:])
            if tokens[-1] != draft:
                break
        return tokens

    def choose(self, request_id: str, grammar: Grammar) -> int:
        rng, arrival = self.world.rng, self.arrivals[request_id]
        if not grammar.opened:
            if rng.random() < arrival.image_rate:
                return VOCABULARY.boi
            return rng.choice(
                (*range(VOCABULARY.text_start, VOCABULARY.visual_start), VOCABULARY.eos)
            )
        try:
            allowed = grammar.allowed()
        except KeyError:
            # A header that the prompt begins in a way that the model would not.
            allowed = [VOCABULARY.img]
        small = [VOCABULARY.digit("1"), VOCABULARY.digit("0")]
        return rng.choice([token for token in allowed if token in small] or allowed)

    def check_prefix_cache(self) -> None:
        """Each slot of a block in the prefix cache is computed, from the tokens that the block is
        found by.
        """
        size = self.world.block_size
        for block in self.scheduler.kv_cache_manager.block_pool.blocks:
            if block.block_hash is None:
                continue
            tokens = self.hashes.tokens(kv_cache_utils.get_block_hash(block.block_hash))
            value: object = None
            for position, token in enumerate(tokens):
                value = hash_prefix(value, token)
                offset = position - (len(tokens) - size)
                if offset >= 0:
                    assert self.slots.get(block.block_id * size + offset) == value, (
                        "a block is cached too early"
                    )


def make_request(request_id: str, arrival: Arrival, hasher: Any) -> Request:
    extra: dict[str, Any] = {"force_same_image_size": arrival.same_size}
    if arrival.uncond is not None:
        extra["guidance_scale"] = 3.0
    if arrival.uncond_no_image is not None:
        extra["image_cfg_scale"] = 1.5
    if arrival.size is not None:
        height, width = map(int, arrival.size.split("*"))
        extra |= {"height": 16 * height, "width": 16 * width, "area": 256 * height * width}
    if arrival.window is not None:
        extra["image_window"] = arrival.window
    params = SamplingParams(max_tokens=arrival.max_tokens, extra_args=extra, detokenize=False)
    return Request(
        request_id,
        list(arrival.prompt),
        params,
        None,
        VOCABULARY.eos,
        arrival_time=float(arrival.step),
        priority=arrival.priority,
        block_hasher=hasher,
        uncond_prompt_token_ids=arrival.uncond,
        uncond_no_image_prompt_token_ids=arrival.uncond_no_image,
    )


def run(world: World) -> int:
    """Runs a world to its end, checks every step, and returns how many there were."""
    hashes = BlockHashes()
    kv_cache_utils.NONE_HASH = b"none"
    hasher = (
        kv_cache_utils.get_request_block_hasher(world.block_size, hashes) if world.caching else None
    )
    scheduler = make_scheduler(world)
    arrivals: dict[str, Arrival] = {}
    worker = Worker(world, arrivals, scheduler, hashes)
    pending = deque(world.arrivals)
    received: dict[str, list[int]] = {}
    ended: dict[str, str] = {}
    in_flight: deque[tuple[Any, ModelRunnerOutput]] = deque()

    for step in itertools.count():
        assert step < MAX_STEPS, "starving"
        while pending and (pending[0].step <= step or not scheduler.has_requests()):
            request_id = f"r{len(arrivals)}"
            arrivals[request_id] = pending.popleft()
            received[request_id] = []
            scheduler.add_request(make_request(request_id, arrivals[request_id], hasher))
        for request_id, arrival in arrivals.items():
            if (
                request_id not in ended
                and arrival.patience is not None
                and len(received[request_id]) >= arrival.patience
            ):
                scheduler.finish_requests(request_id, RequestStatus.FINISHED_ABORTED)
                ended[request_id] = "abort"
        if scheduler.has_requests():
            output = scheduler.schedule()
            in_flight.append((output, worker.execute(output)))
            # A pipeline of two ranks is given the next batch before it returns the first one.
            # So is a device, unless it has done with the first one already.
            waits = world.pipeline or (world.overlaps and world.rng.random() < 0.9)
            if output.total_num_scheduled_tokens > 0 and len(in_flight) < 2 and waits:
                continue
        if in_flight:
            collect(scheduler.update_from_output(*in_flight.popleft()), received, ended)
        if not pending and not in_flight and not scheduler.has_requests():
            break

    assert ended.keys() == arrivals.keys()
    for request_id, arrival in arrivals.items():
        tokens = worker.sampled_tokens.get(request_id, [])
        assert received[request_id] == tokens[: len(received[request_id])]
        if ended[request_id] == "stop":
            assert received[request_id][-1] == VOCABULARY.eos
        elif ended[request_id] == "length" and len(tokens) < arrival.max_tokens:
            assert_had_no_room(world, arrival, tokens)
    assert_nothing_leaked(scheduler, worker)
    return step


def collect(outputs: dict[int, Any], received: dict[str, list[int]], ended: dict[str, str]) -> None:
    for output in outputs.get(0).outputs if 0 in outputs else ():
        assert output.request_id in received, "a hidden stream has an output"
        assert output.request_id not in ended
        assert output.stop_reason is None, "a request ended with an error"
        received[output.request_id] += output.new_token_ids
        if output.finish_reason is not None:
            ended[output.request_id] = str(output.finish_reason)


def assert_had_no_room(world: World, arrival: Arrival, tokens: list[int]) -> None:
    """Without the tokens it was allowed, a request may only end where the context or all of the KV
    cache is full.
    """
    v = VOCABULARY
    prompts = [
        arrival.prompt,
        *(p for p in (arrival.uncond, arrival.uncond_no_image) if p is not None),
    ]
    longest = max(map(len, prompts)) + len(open_image(v, arrival.prompt)) + len(tokens)
    # Up to BOI and six tokens of a size are set aside for each stream.
    blocks = sum(
        -(-(len(p) + len(open_image(v, arrival.prompt)) + len(tokens) + 8) // world.block_size)
        for p in prompts
    )
    assert longest >= world.max_model_len or blocks > world.num_blocks - 1, (
        "ended with room to go on"
    )


def assert_nothing_leaked(scheduler: GuidedScheduler, worker: Worker) -> None:
    manager = scheduler.kv_cache_manager
    assert manager.block_pool.get_num_free_blocks() == manager.block_pool.num_gpu_blocks - 1
    assert not any(block.ref_cnt for block in manager.block_pool.blocks if not block.is_null)
    for single in manager.coordinator.single_type_managers:
        assert not single.req_to_blocks
        assert not single.num_cached_block
    assert not scheduler.requests
    assert not scheduler.running
    assert not scheduler.waiting
    assert not scheduler.groups
    worker.execute(scheduler.schedule())
    assert not worker.rows, "the worker keeps rows for ever"
    assert scheduler.max_num_running_reqs == worker.world.max_num_seqs


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_every_step_of_random_worlds(rng: random.Random) -> None:
    """No step breaks an invariant, everybody ends, and nothing is left behind."""
    run(make_world(rng))


@pytest.mark.parametrize("make", [make_world, make_crowded_world])
def test_many_more_steps(make: Callable[[random.Random], World]) -> None:
    """The same over worlds that hypothesis does not choose, with how many steps that is."""
    steps = sum(run(make(random.Random(seed))) for seed in range(1000))
    assert steps > 20_000


class TestOneRequestEndsAlone:
    """What cannot go on ends with an error that its caller reads, and nobody else notices."""

    def world(self, **arguments: Any) -> World:
        def arrive(**others: Any) -> Arrival:
            return Arrival(
                **{
                    "step": 0,
                    "prompt": VOCABULARY.text(9),
                    "uncond": VOCABULARY.text(5),
                    "uncond_no_image": None,
                    "size": "2*2",
                    "same_size": True,
                    "max_tokens": 20,
                    "priority": 0,
                    "image_rate": 1.0,
                    "patience": None,
                    **others,
                }
            )

        return World(
            **{
                "rng": random.Random(1),
                "block_size": 4,
                "num_blocks": 100,
                "max_num_seqs": 8,
                "max_num_batched_tokens": 64,
                "max_model_len": 60,
                "caching": True,
                "chunked_prefill": True,
                "threshold": 0,
                "priority": False,
                "pipeline": False,
                "appends_forced": False,
                "overlaps": False,
                "arrivals": [arrive(), arrive(), arrive(uncond=None)],
                **arguments,
            }
        )

    def run(self, world: World, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, str]]:
        """The reasons of requests that ended with an error."""
        errors = {}

        def collect_errors(outputs: Any, received: Any, ended: Any) -> None:
            for output in outputs[0].outputs if 0 in outputs else ():
                if isinstance(output.stop_reason, str):
                    errors[output.request_id] = (str(output.finish_reason), output.stop_reason)
                    output.stop_reason = None
            collect(outputs, received, ended)

        collect = globals()["collect"]
        monkeypatch.setitem(globals(), "collect", collect_errors)
        run(world)
        return errors

    @pytest.mark.parametrize("pipeline", [False, True])
    def test_a_token_that_no_image_has(
        self, pipeline: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """So the sampler says that it read what is not finite."""
        choose = Worker.choose

        def fail(self: Worker, request_id: str, grammar: Grammar) -> int:
            if request_id == "r1" and grammar.in_pixels:
                return VOCABULARY.boi
            return choose(self, request_id, grammar)

        monkeypatch.setattr(Worker, "choose", fail)
        errors = self.run(self.world(pipeline=pipeline), monkeypatch)
        assert errors.keys() == {"r1"}
        assert errors["r1"][0] == "abort"
        assert "not finite" in errors["r1"][1]

    def test_what_the_frontend_missed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        make = make_request

        def make_bad(request_id: str, *args: Any) -> Request:
            request = make(request_id, *args)
            if request_id == "r1":
                request.sampling_params.extra_args["guidance_scale"] = "much"
            return request

        monkeypatch.setitem(globals(), "make_request", make_bad)
        errors = self.run(self.world(), monkeypatch)
        assert errors.keys() == {"r1"}
        assert "guidance_scale" in errors["r1"][1]

    def test_streams_out_of_step(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An invariant that breaks for one group."""
        grant = GuidedScheduler._grant_tokens

        def forget(self: GuidedScheduler) -> Any:
            granted = grant(self)
            group = self.groups.get("r1")
            if group is not None and group.grammar.position == 3:
                group.streams[0].num_granted = 0
            return granted

        monkeypatch.setattr(GuidedScheduler, "_grant_tokens", forget)
        monkeypatch.setattr(Worker, "check_lockstep", lambda *_: None)
        errors = self.run(self.world(), monkeypatch)
        assert errors.keys() == {"r1"}
        assert "out of step" in errors["r1"][1]


def test_many_that_wait_are_no_burden() -> None:
    """An arrival costs about the same however many wait, under either policy."""

    def cost(*, priority: bool) -> float:
        world = make_world(random.Random(0))
        world.priority, world.caching = priority, False
        scheduler = make_scheduler(world)
        requests = [
            Request(f"r{i}", [1], SamplingParams(max_tokens=1), None, None, arrival_time=float(i))
            for i in range(8000)
        ]
        start = time.process_time()
        for request in requests:
            scheduler.add_request(request)
        return time.process_time() - start

    assert cost(priority=True) < 10 * cost(priority=False) + 0.1


def no_hold(patch: pytest.MonkeyPatch) -> None:
    grant = GuidedScheduler._grant_tokens
    patch.setattr(GuidedScheduler, "_grant_tokens", lambda self: (grant(self)[0], []))


def no_trim(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        GuidedScheduler, "_trim_last_tokens", lambda self, output: self.trimmed_groups.clear()
    )


def trim_after_full_allocation(patch: pytest.MonkeyPatch) -> None:
    """The last token's slot is allocated, and so published, though it is computed a step later."""
    allocate = GuidedKVCacheManager.allocate_slots

    def allocate_all(
        self: GuidedKVCacheManager, request: Request, *args: Any, **kwargs: Any
    ) -> Any:
        blocks = allocate(self, request, *args, **kwargs)
        if (
            blocks is not None
            and self.scheduler.trimmed_groups
            and self.scheduler.trimmed_groups[-1].request is request
        ):
            self.coordinator.allocate_new_blocks(request.request_id, request.num_tokens)
            self.cache_blocks(request, request.num_tokens)
        return blocks

    patch.setattr(GuidedKVCacheManager, "allocate_slots", allocate_all)


def early_caching(patch: pytest.MonkeyPatch) -> None:
    allocate = GuidedKVCacheManager._allocate_stream

    def allocate_and_publish(self: GuidedKVCacheManager, group: Any, stream: Any) -> None:
        allocate(self, group, stream)
        self.cache_blocks(stream.request, stream.request.num_tokens)

    patch.setattr(GuidedKVCacheManager, "_allocate_stream", allocate_and_publish)


def missing_free(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        GuidedKVCacheManager, "free_stream", lambda self, stream: self.scheduler.park(stream)
    )


def missing_park(patch: pytest.MonkeyPatch) -> None:
    def park(self: GuidedScheduler, stream: Any) -> None:
        stream.is_known = False

    patch.setattr(GuidedScheduler, "park", park)


def rows_not_reserved(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(GuidedScheduler, "admit", lambda self, group: None)


def rows_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(GuidedScheduler, "has_rows", lambda self, group: True)


def rows_not_returned(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        GuidedScheduler, "dismiss", lambda self, group: setattr(group, "is_admitted", False)
    )


def budget_not_reserved(patch: pytest.MonkeyPatch) -> None:
    grant = GuidedScheduler._grant_tokens
    patch.setattr(GuidedScheduler, "_grant_tokens", lambda self: (0, grant(self)[1]))


def too_few_slots(patch: pytest.MonkeyPatch) -> None:
    """A stream takes the memory for the last token that it needs as it runs."""
    number = GuidedKVCacheManager._get_num_slots
    patch.setattr(GuidedKVCacheManager, "_get_num_slots", lambda *args: number(*args) - 1)


def last_token_of_a_stream_runs_alone(patch: pytest.MonkeyPatch) -> None:
    missing = batch_scheduler.Stream.num_missing.fget
    assert missing is not None
    patch.setattr(
        batch_scheduler.Stream,
        "num_missing",
        property(lambda self: missing(self) + (not self.is_known)),
    )


def text_reaches_the_streams(patch: pytest.MonkeyPatch) -> None:
    def push(self: GuidedScheduler, group: Any, token: int) -> None:
        group.grammar.push(token)
        for stream in group.streams:
            stream.request.append_output_token_ids(token)
            if not group.in_lockstep:
                self.park(stream)

    patch.setattr(GuidedScheduler, "_push_token", push)


def third_stream_keeps_images(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(GuidedScheduler, "_forget_images", lambda self, stream: None)


def common_prefix_blocks(patch: pytest.MonkeyPatch) -> None:
    """Cascade attention would read blocks that hidden rows do not share."""
    update = GuidedScheduler._update_after_schedule

    def count(self: GuidedScheduler, output: Any) -> None:
        update(self, output)
        output.num_common_prefix_blocks = [int(bool(self.running))]

    patch.setattr(GuidedScheduler, "_update_after_schedule", count)


def blocks_of_preempted_requests_stay_cached(patch: pytest.MonkeyPatch) -> None:
    """Blocks that a running request is about to compute are published at once."""
    allocate = GuidedKVCacheManager.allocate_slots

    def allocate_and_publish(
        self: GuidedKVCacheManager, *args: Any, delay_cache_blocks: bool = False, **kwargs: Any
    ) -> Any:
        return allocate(self, *args, **kwargs)

    patch.setattr(GuidedKVCacheManager, "allocate_slots", allocate_and_publish)


def stuck_groups_wait_for_ever(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(GuidedScheduler, "_end_stuck_group", lambda self, group: None)


def all_blocks_hit(patch: pytest.MonkeyPatch) -> None:
    """No token but the trimmed one is left to schedule."""
    patch.delattr(GuidedKVCacheManager, "get_computed_blocks")


def nobody_waits_for_tokens(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(AsyncGuidedScheduler, "_must_wait", lambda self, request: False)


def arrived_tokens_are_not_sent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(AsyncGuidedScheduler, "_send", lambda self, request: [])


def forced_tokens_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(AsyncGuidedScheduler, "_count_forced", lambda self, group: 0)


def tokens_are_taken_twice(patch: pytest.MonkeyPatch) -> None:
    """The streams do not know that their request's tokens have arrived."""
    patch.setattr(AsyncGuidedScheduler, "_push_token", GuidedScheduler._push_token)


def unknown_tokens_are_published(patch: pytest.MonkeyPatch) -> None:
    def publish(self: GuidedKVCacheManager, stream: Any) -> None:
        self.cache_blocks(stream.request, stream.request.num_computed_tokens)

    patch.setattr(GuidedKVCacheManager, "publish", publish)


def rejected_slots_are_read(patch: pytest.MonkeyPatch) -> None:
    """What a stream computed from wrong drafts counts as computed."""
    patch.setattr(GuidedScheduler, "_reject_drafts", lambda *_: None)


def uncommitted_slots_are_published(patch: pytest.MonkeyPatch) -> None:
    """A block enters the prefix cache once the tokens of its slots are known, although the last of
    these were computed from drafts.
    """
    update = GuidedScheduler.update_from_output

    def update_and_publish(self: GuidedScheduler, output: Any, result: Any) -> Any:
        computed = {
            stream: stream.request.num_computed_tokens
            for group in self.groups.values()
            for stream in group.streams
        }
        outputs = update(self, output, result)
        for group in self.groups.values():
            for stream in group.streams:
                name = stream.request.request_id
                if name in output.scheduled_spec_decode_tokens and stream.num_slots > 0:
                    self.kv_cache_manager.cache_blocks(
                        stream.request, min(computed[stream], stream.request.num_tokens)
                    )
        return outputs

    patch.setattr(GuidedScheduler, "update_from_output", update_and_publish)


def drafts_count_as_tokens(patch: pytest.MonkeyPatch) -> None:
    """The step of a window is none that samples."""
    sampled = GuidedScheduler._get_sampled_groups

    def ignore(self: GuidedScheduler, output: Any) -> Any:
        drafts = output.scheduled_spec_decode_tokens
        output.scheduled_spec_decode_tokens = {}
        found = sampled(self, output)
        output.scheduled_spec_decode_tokens = drafts
        return found

    patch.setattr(GuidedScheduler, "_get_sampled_groups", ignore)


def closed_windows_are_computed(patch: pytest.MonkeyPatch) -> None:
    """A window for which there is no memory goes on in the conditional request."""
    patch.setattr(
        GuidedScheduler, "_trim_drafts", lambda self, output: self._closed_windows.clear()
    )


def windows_need_no_slots(patch: pytest.MonkeyPatch) -> None:
    number = GuidedKVCacheManager._get_num_slots
    patch.setattr(
        GuidedKVCacheManager,
        "_get_num_slots",
        lambda self, group, stream: number(self, group, stream) - group.num_drafts,
    )


def windows_have_no_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(GuidedScheduler, "_get_room", lambda self, group: 99)


def windows_take_no_budget(patch: pytest.MonkeyPatch) -> None:
    open_windows = GuidedScheduler._open_windows
    patch.setattr(GuidedScheduler, "_open_windows", lambda *args: 0 * open_windows(*args))


FAULTS: list[Callable[[pytest.MonkeyPatch], None]] = [
    no_hold,
    no_trim,
    trim_after_full_allocation,
    early_caching,
    missing_free,
    missing_park,
    rows_not_reserved,
    rows_not_looked_at,
    rows_not_returned,
    budget_not_reserved,
    too_few_slots,
    last_token_of_a_stream_runs_alone,
    text_reaches_the_streams,
    third_stream_keeps_images,
    common_prefix_blocks,
    blocks_of_preempted_requests_stay_cached,
    stuck_groups_wait_for_ever,
    all_blocks_hit,
    nobody_waits_for_tokens,
    arrived_tokens_are_not_sent,
    forced_tokens_are_not_counted,
    tokens_are_taken_twice,
    unknown_tokens_are_published,
    rejected_slots_are_read,
    uncommitted_slots_are_published,
    drafts_count_as_tokens,
    closed_windows_are_computed,
    windows_need_no_slots,
    windows_have_no_end,
    windows_take_no_budget,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_faults_are_found(
    fault: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checks above fail when the scheduler is broken in any of these ways.

    Only an assertion is a finding: a fault that does not fit the code any more raises other errors.
    """
    monkeypatch.setattr(f"{__name__}.MAX_STEPS", 1500)
    fault(monkeypatch)
    for seed in range(600):
        for make in (make_world, make_crowded_world):
            try:
                run(make(random.Random(seed)))
            except AssertionError:
                return
    pytest.fail("1200 worlds did not notice")
