"""Refusals by a running engine: at the call that asks for it, by name, and nobody else notices."""

from __future__ import annotations

from dataclasses import replace

import checkpoint as tiny
import pytest
import torch
from engine import extra_args_of, params_of, prompt_of
from vllm import PoolingParams, SamplingParams
from vllm.sampling_params import StructuredOutputsParams
from workload import text_to_image


@pytest.fixture(scope="module")
def engine(start_engine, checkpoint):
    return start_engine(checkpoint, max_num_seqs=2, enable_prompt_embeds=True)


@pytest.fixture
def request_(oracle):
    return text_to_image(oracle.vocabulary, 2, "2*2")


@pytest.fixture(autouse=True)
def engine_alive(engine, oracle, request_):
    """After every refusal the engine answers as before."""
    yield
    assert engine.generate([request_]) == [oracle.generate(request_)]


EXTRA = {
    "zero-scale": ({"guidance_scale": 0.0}, "guidance_scale"),
    "negative-scale": ({"guidance_scale": -1.0}, "guidance_scale"),
    "infinite-scale": ({"guidance_scale": float("inf")}, "guidance_scale"),
    "nan-scale": ({"guidance_scale": float("nan")}, "guidance_scale"),
    "textual-scale": ({"guidance_scale": "5"}, "guidance_scale"),
    "no-scale": ({"guidance_scale": None}, "guidance_scale"),
    "image-scale-without-prompt": (
        {"image_cfg_scale": 2.0},
        "image_cfg_scale.*uncond_no_image_prompt",
    ),
    "width-alone": ({"height": None, "area": None}, "width"),
    "area-alone": ({"height": None, "width": None}, "area"),
    "negative-width": ({"width": -16}, "width"),
    "no-area": ({"area": 0}, "area"),
    "too-flat": ({"width": 64, "height": 4, "area": 256}, "height|size|area"),
    "too-long": ({"width": 1024, "height": 1024, "area": 1024 * 1024}, "max_model_len"),
    "text-top-p": ({"text_top_p": 1.5}, "text_top_p"),
    "visual-top-p": ({"visual_top_p": 0.0}, "visual_top_p"),
    "text-top-k": ({"text_top_k": -2}, "text_top_k"),
    "visual-top-k": ({"visual_top_k": 1.5}, "visual_top_k"),
    "text-temperature": ({"text_temperature": -1.0}, "text_temperature"),
    "visual-temperature": ({"visual_temperature": float("nan")}, "visual_temperature"),
    "same-size": ({"force_same_image_size": "yes"}, "force_same_image_size"),
}


@pytest.mark.parametrize("case", EXTRA)
def test_image_parameters(case, engine, request_):
    extra, message = EXTRA[case]
    params = params_of(request_, extra_args=extra_args_of(request_) | extra)
    with pytest.raises(ValueError, match=message):
        engine.llm.generate(prompt_of(request_), params, use_tqdm=False)


PROMPTS = {
    "scale-without-prompt": ({"uncond_prompt_token_ids": None}, "guidance_scale.*uncond_prompt"),
    "empty": ({"uncond_prompt_token_ids": []}, "uncond_prompt"),
    "outside-vocabulary": ({"uncond_prompt_token_ids": [1, 10**6]}, "uncond_prompt"),
    "too-long": ({"uncond_prompt_token_ids": [30] * 600}, "max_model_len"),
    "third-without-scale": ({"uncond_no_image_prompt_token_ids": [30]}, "image_cfg_scale"),
    "image-open-in-one-only": ({"uncond_prompt_token_ids": [1, 20, 5]}, "uncond_prompt.*image"),
    "text-of-wrong-type": (
        {"uncond_prompt_token_ids": None, "uncond_prompt": ["a"]},
        "uncond_prompt",
    ),
}


@pytest.mark.parametrize("case", PROMPTS)
def test_unconditional_prompts(case, engine, request_):
    prompt, message = PROMPTS[case]
    with pytest.raises((ValueError, TypeError), match=message):
        engine.llm.generate(prompt_of(request_) | prompt, params_of(request_), use_tqdm=False)


SAMPLING = {
    "structured-outputs": (
        {"structured_outputs": StructuredOutputsParams(choice=["a", "b"])},
        "[Ss]tructured",
    ),
    "min-p": ({"min_p": 0.1, "temperature": 1.0}, "min_p"),
}


@pytest.mark.parametrize("case", SAMPLING)
def test_sampling_parameters(case, engine, request_):
    overrides, message = SAMPLING[case]
    with pytest.raises(ValueError, match=message):
        engine.llm.generate(prompt_of(request_), params_of(request_, **overrides), use_tqdm=False)


def test_prompt_embeddings(engine, request_):
    prompt = {"prompt_embeds": torch.zeros(4, 64), "uncond_prompt_token_ids": request_.uncond}
    with pytest.raises(ValueError, match=r"prompt_embeds.*uncond_prompt_token_ids"):
        engine.llm.generate(prompt, params_of(request_), use_tqdm=False)


def test_too_few_rows(engine, request_):
    """Three streams do not fit `max_num_seqs=2`."""
    request = replace(request_, uncond_no_image=[1, 30, 31], image_scale=2.0)
    with pytest.raises(ValueError, match="max_num_seqs"):
        engine.generate([request])


def test_pooling(engine, request_):
    with pytest.raises(ValueError, match="pooling"):
        engine.llm.encode(
            prompt_of(request_), PoolingParams(), pooling_task="encode", use_tqdm=False
        )


def test_one_bad_request_ends_alone(engine, oracle, request_):
    """Requests that were added before the bad one are served."""
    llm_engine = engine.llm.llm_engine
    llm_engine.add_request("good", prompt_of(request_), params_of(request_))
    with pytest.raises(ValueError, match="guidance_scale"):
        llm_engine.add_request(
            "bad", prompt_of(request_), params_of(request_, extra_args={"guidance_scale": -3})
        )
    finished = []
    while llm_engine.has_unfinished_requests():
        finished += [output for output in llm_engine.step() if output.finished]
    assert [(o.request_id, list(o.outputs[0].token_ids)) for o in finished] == [
        ("good", oracle.generate(request_))
    ]


class TestOtherEngines:
    """Engines that cannot guide say so at start, or to the request that asks for it."""

    @pytest.fixture(autouse=True)
    def engine_alive(self):
        return

    def test_another_scheduler(self, start_engine, checkpoint, request_):
        """A scheduler of the user's own is kept; guided requests are refused, plain ones served."""
        engine = start_engine(checkpoint, scheduler_cls="other_scheduler.OtherScheduler")
        with pytest.raises(ValueError, match=r"scheduler_cls.*OtherScheduler"):
            engine.generate([request_])
        text = replace(request_, uncond=None, size=None, logit_bias={}, max_tokens=5, stop=())
        assert len(engine.generate([text])[0]) == 5

    def test_another_model(self, start_engine, tmp_path):
        """A model that writes no images cannot be guided."""
        qwen3 = tiny.make_checkpoint(
            tmp_path,
            architectures=["Qwen3ForCausalLM"],
            model_type="qwen3",
            auto_map=None,
            visual_token_offset=None,
            visual_vocab_size=None,
        )
        engine = start_engine(qwen3)
        with pytest.raises(ValueError, match=r"uncond_prompt.*writes no images"):
            engine.llm.generate(
                {"prompt_token_ids": [1, 30], "uncond_prompt_token_ids": [1]},
                SamplingParams(max_tokens=1, detokenize=False, extra_args={"guidance_scale": 2.0}),
            )

    def test_text_without_a_tokenizer(self, start_engine, checkpoint, request_):
        engine = start_engine(checkpoint, skip_tokenizer_init=True)
        with pytest.raises(
            ValueError, match=r"uncond_prompt.*skip_tokenizer_init.*uncond_prompt_token_ids"
        ):
            engine.llm.generate(
                {"prompt_token_ids": [1, 30], "uncond_prompt": "t24"},
                params_of(request_),
                use_tqdm=False,
            )
