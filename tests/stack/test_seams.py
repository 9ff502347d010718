"""What crosses from one part of vLLM to the next: with the stack's fields, and without them as it
was.
"""

from __future__ import annotations

import json
import pickle
from types import SimpleNamespace

import cloudpickle
import msgspec
import pytest
from vllm import SamplingParams
from vllm.entrypoints.openai.protocol import CompletionRequest
from vllm.inputs.data import TextPrompt, TokenInputs, TokensPrompt
from vllm.inputs.preprocess import InputPreprocessor
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.engine import EngineCoreRequest
from vllm.v1.request import Request
from vllm.v1.serial_utils import MsgpackDecoder, MsgpackEncoder


class Words:
    """A tokenizer: the length of each word."""

    bos_token_id, eos_token_id, truncation_side = 1, 2, "left"

    def encode(self, text: str, add_special_tokens: bool = True, **_: object) -> list[int]:
        return [1] * add_special_tokens + [len(word) for word in text.split()]


@pytest.fixture
def preprocessor():
    config = SimpleNamespace(
        is_encoder_decoder=False,
        is_multimodal_model=False,
        encoder_config=None,
        enable_prompt_embeds=True,
        hf_config=SimpleNamespace(model_type="any"),
    )
    return InputPreprocessor(config, Words())


PLAIN = {
    "text": ("ab cde", {"type": "token", "prompt": "ab cde", "prompt_token_ids": [1, 2, 3]}),
    "text-dict": (
        {"prompt": "ab", "cache_salt": "s"},
        {"type": "token", "prompt": "ab", "prompt_token_ids": [1, 2], "cache_salt": "s"},
    ),
    "tokens": ({"prompt_token_ids": [5]}, {"type": "token", "prompt_token_ids": [5]}),
}


@pytest.mark.parametrize("case", PLAIN)
def test_plain_prompts_have_no_further_keys(case, preprocessor):
    prompt, expected = PLAIN[case]
    assert preprocessor.preprocess(prompt) == expected


def test_unconditional_prompts_are_tokenized_like_the_prompt(preprocessor):
    """The same settings apply, and token ids go before text."""
    prompt = {
        "prompt": "ab cde",
        "uncond_prompt": "abcd",
        "uncond_no_image_prompt": "a",
        "uncond_no_image_prompt_token_ids": [9, 9],
    }
    inputs = preprocessor.preprocess(prompt, tokenization_kwargs={"add_special_tokens": False})
    assert inputs == {
        "type": "token",
        "prompt": "ab cde",
        "prompt_token_ids": [2, 3],
        "uncond_prompt_token_ids": [4],
        "uncond_no_image_prompt_token_ids": [9, 9],
    }


def test_absent_unconditional_prompts_may_be_none(preprocessor):
    prompt = {"prompt_token_ids": [5], "uncond_prompt": None, "uncond_prompt_token_ids": None}
    assert preprocessor.preprocess(prompt) == {"type": "token", "prompt_token_ids": [5]}


def test_prompt_schemas_name_the_keys():
    texts = {"uncond_prompt", "uncond_no_image_prompt"}
    tokens = {f"{name}_token_ids" for name in texts}
    assert (texts | tokens) <= TextPrompt.__annotations__.keys()
    assert (texts | tokens) <= TokensPrompt.__annotations__.keys()
    assert tokens <= TokenInputs.__annotations__.keys()
    assert {"prompt_token_ids"} == TokensPrompt.__required_keys__


def engine_request(**fields: object) -> EngineCoreRequest:
    arguments: dict[str, object] = {
        "request_id": "r",
        "prompt_token_ids": [1, 2, 3],
        "mm_features": None,
        "sampling_params": SamplingParams(),
        "pooling_params": None,
        "eos_token_id": 2,
        "arrival_time": 0.0,
        "lora_request": None,
        "cache_salt": None,
        "data_parallel_rank": None,
    }
    return EngineCoreRequest(**arguments | fields)


def test_engine_requests_cross_the_socket():
    """Encoded by the frontend, decoded by the engine core."""
    request = engine_request(uncond_prompt_token_ids=[4, 5], uncond_no_image_prompt_token_ids=[6])
    decoded = MsgpackDecoder(EngineCoreRequest).decode(MsgpackEncoder().encode(request))
    assert decoded.uncond_prompt_token_ids == [4, 5]
    assert decoded.uncond_no_image_prompt_token_ids == [6]


def test_engine_requests_without_the_fields_decode():
    """The new fields come last, so a message that ends before them is one of upstream's."""
    fields = msgspec.msgpack.decode(MsgpackEncoder().encode(engine_request())[0])
    decoded = msgspec.msgpack.decode(msgspec.msgpack.encode(fields[:-2]), type=EngineCoreRequest)
    assert decoded.request_id == "r"
    assert decoded.uncond_prompt_token_ids is None
    assert decoded.uncond_no_image_prompt_token_ids is None


def test_requests_pickle_as_ray_does():
    """Parameters that the scheduler tags reach a worker in another process."""
    params = SamplingParams(extra_args={"guidance_scale": 2.0})
    for pickler in (pickle, cloudpickle):
        assert pickle.loads(pickler.dumps(params)).extra_args == {"guidance_scale": 2.0}


def test_hidden_streams_hash_like_users_requests():
    """The prefix cache serves a hidden stream and a plain request with the same prompt alike."""
    init_none_hash(hash)
    hasher = get_request_block_hasher(4, hash)
    request = Request.from_engine_core_request(
        engine_request(uncond_prompt_token_ids=list(range(9))), hasher
    )
    stream = request.make_hidden_stream("s", list(range(9)), SamplingParams())
    plain = Request.from_engine_core_request(
        engine_request(prompt_token_ids=list(range(9))), hasher
    )
    assert len(stream.block_hashes) == 2
    assert stream.block_hashes == plain.block_hashes
    assert stream.block_hashes[:1] != request.block_hashes[:1]


def completion(**fields: object) -> CompletionRequest:
    return CompletionRequest(model="m", prompt="p", **fields)


def test_plain_completions_make_the_same_parameters():
    assert completion().to_sampling_params(5, None).extra_args is None
    assert completion(vllm_xargs={"a": 1}).to_sampling_params(5, None).extra_args == {"a": 1}


def test_image_fields_of_completions_become_extra_args():
    request = completion(
        vllm_xargs={"a": 1},
        guidance_scale=2.5,
        width=4,
        height=3,
        area=99,
        force_same_image_size=False,
    )
    assert request.to_sampling_params(5, None).extra_args == {
        "a": 1,
        "guidance_scale": 2.5,
        "width": 4,
        "height": 3,
        "area": 99,
        "force_same_image_size": False,
    }
    assert request.vllm_xargs == {"a": 1}


LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 320,
    "max_position_embeddings": 256,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "torch_dtype": "float32",
}


def test_other_models_keep_sampler_processors_and_scheduler(start_engine, tmp_path):
    """An engine for another model has nothing of the stack in it."""
    from vllm.v1.core.kv_cache_manager import KVCacheManager
    from vllm.v1.core.sched.scheduler import Scheduler
    from vllm.v1.sample.logits_processor.builtin import (
        LogitBiasLogitsProcessor,
        MinPLogitsProcessor,
        MinTokensLogitsProcessor,
    )
    from vllm.v1.sample.sampler import Sampler

    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    engine = start_engine(
        SimpleNamespace(path=tmp_path),
        load_format="dummy",
        skip_tokenizer_init=True,
        max_model_len=256,
    )

    scheduler = engine.core.scheduler
    runner = engine.core.model_executor.driver_worker.worker.model_runner
    assert type(scheduler) is Scheduler
    assert type(scheduler.kv_cache_manager) is KVCacheManager
    assert type(runner.sampler) is Sampler
    assert {type(processor) for processor in runner.input_batch.logitsprocs.all} == {
        LogitBiasLogitsProcessor,
        MinPLogitsProcessor,
        MinTokensLogitsProcessor,
    }


def test_model_config_installs_the_scheduler(start_engine, checkpoint):
    from vllm.v1.core.sched.batch_scheduler import Scheduler
    from vllm.v1.sample.guided_sampler import GuidedSampler

    engine = start_engine(checkpoint)
    runner = engine.core.model_executor.driver_worker.worker.model_runner
    assert type(engine.core.scheduler) is Scheduler
    assert type(runner.sampler) is GuidedSampler


class TestModelConfig:
    """What the architecture sets and refuses before an engine starts."""

    STOCK = ("vllm.core.scheduler.Scheduler", "vllm.v1.core.sched.scheduler.Scheduler")
    OURS = "vllm.v1.core.sched.batch_scheduler.GuidedScheduler"
    ALIAS = "vllm.v1.core.sched.batch_scheduler.Scheduler"

    def verify(self, *, hf_config=None, async_scheduling=False, scheduler_cls=STOCK[1]):
        from vllm.model_executor.models.config import MODELS_CONFIG_MAP
        from vllm.transformers_utils.configs import Emu3Config

        scheduler = SimpleNamespace(async_scheduling=async_scheduling, scheduler_cls=scheduler_cls)
        config = SimpleNamespace(
            model_config=SimpleNamespace(hf_config=hf_config or Emu3Config()),
            scheduler_config=scheduler,
        )
        MODELS_CONFIG_MAP["Emu3ForCausalLM"].verify_and_update_config(config)
        return scheduler.scheduler_cls

    @pytest.mark.parametrize("scheduler_cls", [*STOCK, OURS])
    def test_default_scheduler_is_replaced(self, scheduler_cls):
        assert self.verify(scheduler_cls=scheduler_cls) == self.OURS

    @pytest.mark.parametrize("scheduler_cls", ["my.Scheduler", SimpleNamespace, ALIAS])
    def test_own_scheduler_is_kept(self, scheduler_cls):
        assert self.verify(scheduler_cls=scheduler_cls) == scheduler_cls

    def test_async_scheduling_has_a_scheduler_of_its_own(self):
        """vLLM puts its own asynchronous scheduler in before a model is asked."""
        stock = "vllm.v1.core.sched.async_scheduler.AsyncScheduler"
        ours = "vllm.v1.core.sched.async_batch_scheduler.AsyncGuidedScheduler"
        assert self.verify(async_scheduling=True, scheduler_cls=stock) == ours

    def test_the_config_of_transformers_names_the_remedy(self):
        from transformers import Emu3Config

        with pytest.raises(ValueError, match="model_impl='transformers'"):
            self.verify(hf_config=Emu3Config())
