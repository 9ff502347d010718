"""The noise of a position is Philox's, Gumbel-distributed, independent in every direction, and a
function of key, position and token alone.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from scipy.stats import chi2_contingency, chisquare
from torch.utils._python_dispatch import TorchDispatchMode
from vllm.v1.sample.ops import position_noise
from vllm.v1.sample.ops.position_noise import position_gumbel, request_key

# Keys are fixed, so a test passes always or never; this is the chance that it never does.
LEVEL = 1e-5
KEYS = (0, 1, 42, -1, 2**31, 2**32, 2**63 - 1, -(2**63), 1234567890123456789)
POSITIONS = (0, 1, 7, 4096, 2**31, 2**32 + 1, 2**40 + 3, -1, 262_144)


def philox(counter, key):
    """Philox4x32-10 as its paper writes it, in integers without a limit."""
    left, right, low_key, high_key = (counter[0], counter[2], *key)
    others = [counter[1], counter[3]]
    for number in range(10):
        keys = [
            (low_key + number * 0x9E3779B9) % 2**32,
            (high_key + number * 0xBB67AE85) % 2**32,
        ]
        first, second = divmod(left * 0xD2511F53, 2**32), divmod(right * 0xCD9E8D57, 2**32)
        left, right = second[0] ^ others[0] ^ keys[0], first[0] ^ others[1] ^ keys[1]
        others = [second[1], first[1]]
    return [left, others[0], right, others[1]]


def golden_word(key, position, token):
    """The 32 bits of one token."""
    key, position = key % 2**64, position % 2**64
    counter = (token // 4, 0, position % 2**32, position // 2**32)
    return philox(counter, (key % 2**32, key // 2**32))[token % 4]


def golden_noise(key, position, token):
    """The noise of one token, in float64."""
    uniform = (2 * (golden_word(key, position, token) >> 9) + 1) / 2**24
    return -math.log(-math.log(uniform))


def gumbel(keys, positions, num_tokens):
    return position_gumbel(torch.tensor(keys), torch.tensor(positions), num_tokens)


def uniform_of(noise):
    return torch.exp(-torch.exp(-noise.double()))


class TestIntegers:
    @pytest.mark.parametrize(
        ("counter", "key", "words"),
        [
            ("00000000" * 4, "00000000" * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
            ("ffffffff" * 4, "ffffffff" * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
            (
                "243f6a8885a308d313198a2e03707344",
                "a4093822299f31d0",
                "d16cfe09 94fdcceb 5001e420 24126ea1",
            ),
        ],
    )
    def test_the_peer_gives_the_published_answers(self, counter, key, words):
        """Known answers of the paper's library, Random123, for philox4x32 with ten rounds."""
        counter, key = (
            [int(text[i : i + 8], 16) for i in range(0, len(text), 8)] for text in (counter, key)
        )
        assert philox(counter, key) == [int(word, 16) for word in words.split()]

    def test_words_are_those_of_the_peer(self):
        blocks = [0, 1, 2, 255, 256, 32_767, 70_731]
        words = position_noise._philox(
            torch.tensor(blocks), torch.tensor(KEYS)[:, None], torch.tensor(POSITIONS)[:, None]
        )
        assert words.tolist() == [
            [[golden_word(key, position, 4 * block + i) for i in range(4)] for block in blocks]
            for key, position in zip(KEYS, POSITIONS, strict=True)
        ]

    def test_noise_is_that_of_the_peer(self):
        """Within the rounding of two logarithms in float32."""
        noise = gumbel(KEYS, POSITIONS, 131_072).double()
        for row, (key, position) in enumerate(zip(KEYS, POSITIONS, strict=True)):
            for token in (0, 1, 2, 3, 4, 1023, 1024, 65_537, 131_071):
                expected = golden_noise(key, position, token)
                assert noise[row, token].item() == pytest.approx(expected, rel=1e-6, abs=1e-6)

    @pytest.mark.parametrize(("word", "uniform"), [(0, 2**-24), (2**32 - 1, 1 - 2**-24)])
    def test_no_word_gives_an_infinite_noise(self, monkeypatch, word, uniform):
        def constant(blocks, key, position):
            return torch.full((*position.shape[:1], *blocks.shape, 4), word)

        monkeypatch.setattr(position_noise, "_philox", constant)
        noise = gumbel([5], [6], 8)
        expected = -math.log(-math.log(uniform))
        assert torch.allclose(noise.double(), torch.tensor(expected).double(), rtol=1e-6)


class TestDistribution:
    """On 256 rows of 1,024 tokens, along tokens, positions and keys."""

    @pytest.fixture(scope="class")
    def cube(self):
        """Uniform numbers by key, position and token."""
        keys = torch.arange(1000, 1016).repeat_interleave(16)
        positions = torch.arange(16).repeat(16)
        return uniform_of(position_gumbel(keys, positions, 1024)).view(16, 16, 1024)

    def test_uniform(self, cube):
        counts = torch.histc(cube.flatten(), bins=1024, min=0, max=1)
        assert chisquare(counts.numpy()).pvalue > LEVEL

    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_uniform_at_every_key_position_and_token(self, cube, axis):
        """The p-values of the slices are uniform themselves; the least is no surprise."""
        slices = cube.movedim(axis, 0).flatten(1)
        bins = (slices * 16).long() + 16 * torch.arange(len(slices))[:, None]
        counts = torch.bincount(bins.flatten(), minlength=16 * len(slices)).view(-1, 16)
        least = min(chisquare(row).pvalue for row in counts.numpy())
        assert least > LEVEL / len(slices)

    @pytest.mark.parametrize("axis", [0, 1, 2])
    @pytest.mark.parametrize("lag", [1, 2, 3, 4, 8])
    def test_neighbours_are_independent(self, cube, axis, lag):
        """Chi-square of pairs in 16 x 16 cells, and the correlation, along one direction."""
        size = cube.shape[axis]
        left = cube.narrow(axis, 0, size - lag).flatten()
        right = cube.narrow(axis, lag, size - lag).flatten()
        cells = (left * 16).long() * 16 + (right * 16).long()
        counts = torch.bincount(cells, minlength=256).view(16, 16)
        assert chi2_contingency(counts.numpy()).pvalue > LEVEL
        correlation = torch.corrcoef(torch.stack([left, right]))[0, 1].item()
        assert abs(correlation) * math.sqrt(left.numel()) < 4.5

    def test_key_and_position_do_not_stand_in_for_each_other(self):
        """Key 3 at position 5 is not key 5 at position 3, nor 4 at 4, nor 3 with high bits."""
        keys = [3, 5, 4, 2, 3 + 2**32, 3 + 2**62, 3, 3]
        positions = [5, 3, 4, 6, 5, 5, 5 + 2**32, 5 + 2**62]
        uniform = uniform_of(gumbel(keys, positions, 4096))
        correlations = torch.corrcoef(uniform).fill_diagonal_(0)
        assert correlations.abs().max().item() * math.sqrt(4096) < 5

    @pytest.mark.parametrize("along", ["positions", "keys"])
    @pytest.mark.parametrize("temperature", [0.3, 1.0])
    def test_the_largest_is_a_draw(self, along, temperature):
        """The argmax of log-probabilities plus noise follows the softmax."""
        logits = torch.randn(40, generator=torch.Generator().manual_seed(3)) * 1.5 / temperature
        probs = logits.double().softmax(-1)
        draws = 60_000
        counting, fixed = torch.arange(draws), torch.full((draws,), 77)
        rows = (fixed, counting) if along == "positions" else (counting, fixed)
        tokens = (logits.log_softmax(-1) + position_gumbel(*rows, 40)).argmax(-1)
        counts = torch.bincount(tokens, minlength=40).double()
        order = probs.argsort()
        common = (probs[order].cumsum(0) * draws) > 10
        rare = order[~common]
        observed = [*counts[order[common]].tolist(), counts[rare].sum().item()]
        expected = [*(probs[order[common]] * draws).tolist(), probs[rare].sum().item() * draws]
        observed[0] += observed.pop()
        expected[0] += expected.pop()
        assert chisquare(observed, expected).pvalue > LEVEL


class TestRows:
    def test_a_row_alone_is_the_row_in_the_batch(self):
        together = gumbel(KEYS, POSITIONS, 5000)
        for row, (key, position) in enumerate(zip(KEYS, POSITIONS, strict=True)):
            assert torch.equal(gumbel([key], [position], 5000)[0], together[row])

    def test_order_and_strides_do_not_matter(self):
        pairs = torch.tensor([KEYS, POSITIONS]).T
        backwards = pairs.flip(0)
        noise = position_gumbel(backwards[:, 0], backwards[:, 1], 33)
        assert torch.equal(noise.flip(0), gumbel(KEYS, POSITIONS, 33))

    @pytest.mark.parametrize("num_tokens", [1, 2, 3, 4, 5, 1023, 4097])
    def test_noise_of_a_token_does_not_depend_on_their_number(self, num_tokens):
        many = gumbel(KEYS, POSITIONS, 5000)
        assert torch.equal(gumbel(KEYS, POSITIONS, num_tokens), many[:, :num_tokens])

    @pytest.mark.parametrize("max_blocks", [1, 30, 100, 1000])
    def test_parts_do_not_matter(self, monkeypatch, max_blocks):
        whole = gumbel(KEYS, POSITIONS, 100)
        monkeypatch.setattr(position_noise, "_MAX_BLOCKS", max_blocks)
        assert torch.equal(gumbel(KEYS, POSITIONS, 100), whole)

    @pytest.mark.parametrize(("rows", "num_tokens"), [(0, 7), (3, 0), (0, 0)])
    def test_nothing_is_asked_for(self, rows, num_tokens):
        keys = torch.zeros(rows, dtype=torch.int64)
        assert position_gumbel(keys, keys, num_tokens).shape == (rows, num_tokens)


class Operations(TorchDispatchMode):
    """Counts what runs, and notes the most bytes of a tensor that came out of it."""

    def __init__(self):
        super().__init__()
        self.count = 0
        self.most_bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.count += 1
        if isinstance(result, torch.Tensor) and result.dtype == torch.int64:
            self.most_bytes = max(self.most_bytes, result.numel() * result.element_size())
        return result


class TestCost:
    def test_rows_cost_no_operation_of_their_own(self):
        counts = set()
        for rows in (1, 8, 64):
            with Operations() as operations:
                gumbel([1] * rows, [2] * rows, 1024)
            counts.add(operations.count)
        assert len(counts) == 1

    def test_temporaries_stay_small(self):
        """Where the result has 32 MiB, no integers beside it have more than 8."""
        with Operations() as operations:
            noise = gumbel([1] * 64, [2] * 64, 131_072)
        assert noise.numel() * noise.element_size() == 32 * 2**20
        assert operations.most_bytes <= 8 * 2**20


class TestRequestKey:
    @pytest.mark.parametrize("seed", [0, 1, -1, 2**63 - 1, -(2**63)])
    def test_a_seed_is_its_key(self, seed):
        assert request_key(seed) == seed

    def test_a_larger_seed_wraps_around(self):
        assert request_key(2**63) == -(2**63)
        assert request_key(2**64 + 5) == 5

    def test_keys_without_a_seed_are_those_of_every_worker(self):
        """Ranks that are seeded alike draw the same keys, in 64 bits, none twice."""
        ranks = []
        for _ in range(2):
            torch.manual_seed(0)
            ranks.append([request_key(None) for _ in range(1000)])
        assert ranks[0] == ranks[1]
        assert len(set(ranks[0])) == 1000
        assert any(key < -(2**62) for key in ranks[0])
        assert any(key >= 2**62 for key in ranks[0])
        torch.tensor(ranks[0])


KERNEL = """
import torch, triton, triton.language as tl
import vllm.triton_utils as utils

# Without a GPU vLLM puts a placeholder here. Triton's interpreter has no libdevice; its own
# logarithm is numpy's.
utils.triton, utils.tl, utils.tldevice, utils.HAS_TRITON = triton, tl, tl, True
from vllm.v1.sample.ops import position_noise

keys, positions = torch.tensor({keys}), torch.tensor({positions})
for num_tokens in (3, 1025):
    plain = torch.empty(len(keys), num_tokens)
    kernel = torch.full_like(plain, float("nan"))
    position_noise._fill_torch(plain, keys, positions)
    position_noise._fill_triton(kernel, keys, positions)
    torch.testing.assert_close(kernel, plain, rtol=1e-6, atol=1e-6)
"""


class TestKernel:
    @pytest.mark.skipif(find_spec("triton") is None, reason="torch came without triton")
    def test_in_tritons_interpreter_it_equals_the_torch_version(self):
        script = KERNEL.format(keys=list(KEYS[2:5]), positions=list(POSITIONS[5:8]))
        result = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "TRITON_INTERPRET": "1"},
            capture_output=True,
            text=True,
            timeout=1200,
        )
        assert result.returncode == 0, result.stderr

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    def test_on_a_gpu_it_equals_the_torch_version(self):
        keys, positions = torch.tensor(KEYS), torch.tensor(POSITIONS)
        for num_tokens in (1, 1023, 1025, 131_072):
            noise = position_gumbel(keys.cuda(), positions.cuda(), num_tokens).cpu()
            torch.testing.assert_close(
                noise, position_gumbel(keys, positions, num_tokens), rtol=1e-6, atol=1e-6
            )
