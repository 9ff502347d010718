"""A step whose rows all write visual tokens reads only their rows of the LM head."""

from __future__ import annotations

import pytest
import torch
from oracle import Request
from vllm.model_executor.models.emu3_5 import Emu3ForCausalLM
from workload import text_to_image

HEIGHT, WIDTH = 3, 4


@pytest.fixture(scope="module")
def engine(start_engine, checkpoint):
    return start_engine(checkpoint)


@pytest.fixture
def request_(checkpoint):
    return text_to_image(checkpoint.vocabulary, 0, f"{HEIGHT}*{WIDTH}")


@pytest.fixture
def model(engine):
    return engine.core.model_executor.driver_worker.worker.model_runner.get_model()


def test_they_are_the_logits_of_the_whole_head(engine, model):
    """The chosen columns are the whole head's; the rest can never be sampled."""
    tokens = engine.core.scheduler.image_tokens
    visual = slice(tokens.visual_start, tokens.visual_end)
    hidden = torch.randn(5, model.config.hidden_size)
    whole, some = model.compute_logits(hidden), model.compute_logits_of(hidden, visual)
    assert whole.shape == some.shape
    torch.testing.assert_close(some[:, visual], whole[:, visual])
    some[:, visual] = -float("inf")
    assert bool((some == -float("inf")).all())


def steps_by_head(engine, monkeypatch, requests: list[Request], **overrides) -> tuple[int, int]:
    """Return how many steps read the visual rows alone, and how many the whole head."""
    counts = {"visual": 0, "whole": 0}
    part, whole = Emu3ForCausalLM.compute_logits_of, Emu3ForCausalLM.compute_logits

    def count_part(self, hidden_states, token_ids):
        counts["visual"] += 1
        return part(self, hidden_states, token_ids)

    def count_whole(self, hidden_states):
        counts["whole"] += 1
        return whole(self, hidden_states)

    monkeypatch.setattr(Emu3ForCausalLM, "compute_logits_of", count_part)
    monkeypatch.setattr(Emu3ForCausalLM, "compute_logits", count_whole)
    engine.outputs(requests, **overrides)
    return counts["visual"], counts["whole"]


def test_only_what_precedes_the_pixels_needs_the_whole_head(engine, request_, monkeypatch):
    """h rows of w tokens are h * w steps: what must follow a token comes with it."""
    visual, whole = steps_by_head(engine, monkeypatch, [request_])
    assert visual == HEIGHT * WIDTH
    assert whole == len(["BOI 3 * 4", "IMG"])


def test_logprobs_need_the_whole_head(engine, request_, monkeypatch):
    """And a step for every token."""
    visual, whole = steps_by_head(engine, monkeypatch, [request_], logprobs=1)
    assert visual == 0
    assert whole == len(["BOI", "3", "*", "4", "IMG"]) + HEIGHT * (WIDTH + 1)
