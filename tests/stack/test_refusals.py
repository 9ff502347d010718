"""What cannot be served is refused when it is asked for, to the one who asked, by name; the engine
goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from checkpoint import Vocabulary
from vllm import PoolingParams, SamplingParams
from vllm.sampling_params import StructuredOutputsParams
from vllm.utils import resolve_obj_by_qualname
from vllm.v1.engine.image_request import GUIDED_SCHEDULER, check_image_request
from vllm.v1.image_grammar import ImageTokens
from workload import text_to_image

V = Vocabulary()
PROMPT, UNCOND, NO_IMAGE = [V.bos, 30, 31], [V.bos, 30], [V.bos, 31]
TWO_STREAMS = {"uncond_prompt": UNCOND, "guidance_scale": 3.0}
THREE_STREAMS = TWO_STREAMS | {"uncond_no_image_prompt": NO_IMAGE, "image_cfg_scale": 1.5}
SIZE = {"width": 64, "height": 64, "area": 4096}

PROMPTS = ("uncond_prompt", "uncond_no_image_prompt")
SAMPLING = ("temperature", "min_p", "structured_outputs")


def make_config(**changes: Any) -> Any:
    """The parts of a `VllmConfig` that decide what can be served."""
    scheduler = {"scheduler_cls": GUIDED_SCHEDULER, "async_scheduling": False, "max_num_seqs": 8}
    config = {"speculative_config": None, "kv_transfer_config": None, "additional_config": {}}
    return SimpleNamespace(
        model_config=SimpleNamespace(
            hf_config=V.hf_config(), get_vocab_size=lambda: V.size, max_model_len=200
        ),
        scheduler_config=SimpleNamespace(
            **{name: changes.pop(name, value) for name, value in scheduler.items()}
        ),
        **config | changes,
    )


def check(arguments: dict[str, Any], config: Any = None, **changes: Any) -> None:
    """Checks a request that has `arguments`, some of which are prompts or sampling parameters."""
    config = config or make_config()
    extra_args = {
        name: value for name, value in arguments.items() if name not in (*PROMPTS, *SAMPLING)
    }
    sampling = {name: arguments[name] for name in SAMPLING if name in arguments}
    call = {
        "params": SamplingParams(extra_args=extra_args or None, **sampling),
        "prompt": PROMPT,
        "uncond_prompt": arguments.get("uncond_prompt"),
        "uncond_no_image_prompt": arguments.get("uncond_no_image_prompt"),
        "is_multimodal": False,
    }
    check_image_request(config, ImageTokens.from_config(config), **call | changes)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"temperature": 0.0},
        {"min_p": 0.1},
        TWO_STREAMS,
        THREE_STREAMS,
        TWO_STREAMS | SIZE,
        SIZE,
        {"guidance_scale": 1.0},
        {"guidance_scale": 1},
        TWO_STREAMS | {"guidance_scale": 1.0},
        TWO_STREAMS | {"image_cfg_scale": 1.0},
        TWO_STREAMS | {"text_top_k": 0, "visual_top_k": -1, "visual_top_k ": "ignored"},
        {"guidance_scale": None, "width": None, "height": None, "area": None},
        {"unknown": ...},
        TWO_STREAMS | {"force_same_image_size": False},
    ],
    ids=str,
)
def test_what_can_be_served_is_not_refused(arguments: dict[str, Any]) -> None:
    check(arguments)


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        ({"guidance_scale": 3.0}, ["guidance_scale is 3.0", "uncond_prompt"]),
        ({"uncond_prompt": UNCOND}, ["uncond_prompt", "without guidance_scale"]),
        (
            TWO_STREAMS | {"image_cfg_scale": 1.5},
            ["image_cfg_scale is 1.5", "uncond_no_image_prompt"],
        ),
        ({"image_cfg_scale": 1.5}, ["image_cfg_scale", "uncond_prompt"]),
        (
            TWO_STREAMS | {"uncond_no_image_prompt": NO_IMAGE},
            ["uncond_no_image_prompt", "without image_cfg_scale"],
        ),
        (
            {"uncond_no_image_prompt": NO_IMAGE, "image_cfg_scale": 1.5},
            ["uncond_no_image_prompt", "uncond_prompt"],
        ),
        (TWO_STREAMS | {"guidance_scale": float("nan")}, ["guidance_scale", "finite", "nan"]),
        (TWO_STREAMS | {"guidance_scale": float("inf")}, ["guidance_scale", "finite", "inf"]),
        (TWO_STREAMS | {"guidance_scale": 0}, ["guidance_scale", "greater than 0"]),
        (TWO_STREAMS | {"guidance_scale": -1.0}, ["guidance_scale", "-1.0"]),
        (TWO_STREAMS | {"guidance_scale": True}, ["guidance_scale", "number", "True"]),
        (TWO_STREAMS | {"guidance_scale": "5"}, ["guidance_scale", "number", "'5'"]),
        (THREE_STREAMS | {"image_cfg_scale": 0.0}, ["image_cfg_scale", "greater than 0"]),
        ({"width": 64, "height": 64}, ["area is missing"]),
        ({"area": 64}, ["width and height are missing"]),
        (SIZE | {"width": 0}, ["width", "greater than 0"]),
        (SIZE | {"area": float("nan")}, ["area", "finite"]),
        (SIZE | {"area": 100}, ["area=100", "0*0"]),
        (SIZE | {"width": 10_000}, ["width=10000", "ratio"]),
        ({"width": 512, "height": 512, "area": 512 * 512}, ["32*32", "max_model_len is 200"]),
        ({"visual_top_k": 1.5}, ["visual_top_k", "1.5"]),
        ({"visual_top_k": -2}, ["visual_top_k", "-2"]),
        ({"text_top_k": "many"}, ["text_top_k", "'many'"]),
        ({"text_top_p": 0}, ["text_top_p", "(0, 1]"]),
        ({"visual_top_p": 1.1}, ["visual_top_p", "1.1"]),
        ({"visual_temperature": -0.1}, ["visual_temperature", "-0.1"]),
        ({"text_temperature": float("inf")}, ["text_temperature", "finite"]),
        ({"force_same_image_size": "no"}, ["force_same_image_size", "'no'"]),
        (TWO_STREAMS | {"min_p": 0.1}, ["min_p", "visual_top_p"]),
        (
            TWO_STREAMS | {"structured_outputs": StructuredOutputsParams(choice=["a"])},
            ["Structured outputs"],
        ),
        (TWO_STREAMS | {"uncond_prompt": []}, ["uncond_prompt", "empty"]),
        (
            TWO_STREAMS | {"uncond_prompt": [V.size]},
            [f"Token id {V.size}", "uncond_prompt", "vocabulary"],
        ),
        (
            THREE_STREAMS | {"uncond_no_image_prompt": [-1]},
            ["Token id -1", "uncond_no_image_prompt"],
        ),
        (
            TWO_STREAMS | {"uncond_prompt": [V.bos, *V.header(2, 2)]},
            ["uncond_prompt", "ends inside an image"],
        ),
        (TWO_STREAMS | {"uncond_prompt": [V.bos] * 200}, ["200 tokens", "max_model_len=200"]),
    ],
    ids=str,
)
def test_parameters_that_cannot_be_served(arguments: dict[str, Any], messages: list[str]) -> None:
    """The message names the parameter and its value."""
    with pytest.raises(ValueError, match=re.escape(messages[0])) as refused:
        check(arguments)
    for message in messages:
        assert message in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"scheduler_cls": "vllm.v1.core.sched.scheduler.Scheduler"},
            "scheduler_cls is vllm.v1.core.sched.scheduler.Scheduler",
        ),
        ({"scheduler_cls": dict}, "scheduler_cls is builtins.dict"),
        ({"speculative_config": ...}, "speculative_config"),
        ({"kv_transfer_config": ...}, "kv_transfer_config"),
        ({"max_num_seqs": 1}, "max_num_seqs is 1"),
    ],
    ids=str,
)
def test_engines_that_cannot_guide(changes: dict[str, Any], message: str) -> None:
    """Requests for images are refused, plain ones are not."""
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        check(TWO_STREAMS, config=make_config(**changes))
    check({}, config=make_config(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": None}, "Prompt embeddings"),
        ({"is_multimodal": True}, "multi_modal_data"),
        ({"params": PoolingParams()}, "uncond_prompt cannot be used for pooling"),
    ],
    ids=str,
)
def test_inputs_that_cannot_be_guided(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(TWO_STREAMS, **changes)


@pytest.mark.parametrize(
    "arguments",
    [
        {"uncond_prompt": UNCOND},
        {"uncond_no_image_prompt": UNCOND},
        {"guidance_scale": 3.0},
        {"width": 64},
        {"visual_top_k": 5},
    ],
    ids=str,
)
def test_models_without_images_refuse_what_asks_for_one(arguments: dict[str, Any]) -> None:
    """Else the caller would get text without a word."""
    config = make_config()
    config.model_config.hf_config = SimpleNamespace()
    (name,) = arguments
    with pytest.raises(ValueError, match=f"{name} is given, but the model writes no images"):
        check(arguments, config=config)
    check({"unknown": 3, "min_p": 0.1}, config=config, prompt=[-1, V.size])


@pytest.mark.parametrize("token_id", [-1, V.size, 10**30])
def test_prompts_outside_of_the_vocabulary(token_id: int) -> None:
    """A worker would look for them in the embedding, for a request for text too."""
    with pytest.raises(ValueError, match=r"Token id .* of the prompt is out of vocabulary"):
        check({}, prompt=[V.bos, token_id])


@pytest.mark.parametrize("name", ["vllm.v1.core.sched.batch_scheduler.Scheduler", GUIDED_SCHEDULER])
def test_schedulers_that_guide(name: str) -> None:
    """The name that callers know, and a class made from the scheduler."""
    check(TWO_STREAMS, config=make_config(scheduler_cls=name))
    subclass = type("Own", (resolve_obj_by_qualname(name),), {})
    check(TWO_STREAMS, config=make_config(scheduler_cls=subclass))


def test_prompt_that_ends_in_an_image_of_another_size() -> None:
    for ending in ([V.boi, *V.digits("3")], V.header(3, 4)):
        with pytest.raises(
            ValueError,
            match=r"ask for an image of 4\*4 visual tokens, but the prompt ends in one of 3",
        ):
            check(SIZE, prompt=[*PROMPT, *ending])
    check(SIZE, prompt=[*PROMPT, V.boi, *V.digits("4")])
    check(SIZE, prompt=[*PROMPT, *V.header(4, 4)])


def test_prompt_that_ends_in_an_image_is_a_request_for_one() -> None:
    """Its grammar needs what any image needs, with or without parameters."""
    with pytest.raises(ValueError, match="min_p"):
        check({"min_p": 0.1}, prompt=[*PROMPT, *V.header(4, 4)])
    with pytest.raises(ValueError, match="speculative_config"):
        check({}, prompt=[*PROMPT, V.boi], config=make_config(speculative_config=object()))
    with pytest.raises(ValueError, match="max_model_len is 200"):
        check({}, prompt=[*PROMPT, *V.header(40, 40)])


@pytest.mark.parametrize("length", [200 - 4 - 4 * 5 - 3, 200 - 4 - 4 * 5 - 2])
def test_longest_prompt_that_an_image_fits_after(length: int) -> None:
    """BOI, three characters, IMG, and 4 * 5 tokens end with the context, in the longest of the
    streams.
    """
    fits = length + 5 + 4 * 5 <= 200
    arguments = TWO_STREAMS | SIZE | {"uncond_prompt": [V.bos] * length}
    if fits:
        check(arguments)
    else:
        with pytest.raises(ValueError, match="takes 25 more tokens after a prompt of 178"):
            check(arguments)


def test_engine_answers_after_every_refusal(
    start_engine: Callable[..., Any], checkpoint: Any, oracle: Any
) -> None:
    """A refusal reaches its caller as `ValueError`; the others' tokens are the oracle's."""
    engine = start_engine(checkpoint)
    request = text_to_image(checkpoint.vocabulary, 1, "2*3")
    expected = oracle.generate(request)
    guided = {"prompt_token_ids": PROMPT, "uncond_prompt_token_ids": UNCOND}
    refused: list[tuple[dict[str, Any], SamplingParams | PoolingParams]] = [
        ({"prompt_token_ids": PROMPT}, SamplingParams(extra_args={"guidance_scale": 3.0})),
        (guided, SamplingParams()),
        (guided, SamplingParams(extra_args={"guidance_scale": float("nan")})),
        (guided, SamplingParams(extra_args={"guidance_scale": 3.0, "width": 16})),
        (
            guided,
            SamplingParams(
                extra_args={
                    "guidance_scale": 3.0,
                    "width": 4096,
                    "height": 4096,
                    "area": 4096 * 4096,
                }
            ),
        ),
        (guided, SamplingParams(min_p=0.5, extra_args={"guidance_scale": 3.0})),
        (
            guided | {"uncond_prompt_token_ids": [10**6]},
            SamplingParams(extra_args={"guidance_scale": 3.0}),
        ),
    ]
    for prompt, params in refused:
        with pytest.raises(
            ValueError, match=r"guidance_scale|uncond_prompt|width|max_model_len|min_p"
        ):
            engine.llm.generate(prompt, params, use_tqdm=False)
        assert engine.generate([request]) == [expected]
    assert engine.free_blocks() == engine.total_blocks()


def test_request_that_outgrows_the_kv_cache_ends(
    start_engine: Callable[..., Any], checkpoint: Any, oracle: Any
) -> None:
    """Blocks for one context of 512 tokens do not hold two of 300; the next one is served."""
    engine = start_engine(checkpoint, num_gpu_blocks_override=34, max_num_seqs=4)
    request = text_to_image(checkpoint.vocabulary, 1, "15*20", max_tokens=400)
    small = text_to_image(checkpoint.vocabulary, 2, "2*3")
    large, other = engine.outputs([request, small])
    tokens = list(large.outputs[0].token_ids)
    assert large.outputs[0].finish_reason == "length"
    assert 150 < len(tokens) < 300
    assert tokens == oracle.generate(request)[: len(tokens)]
    assert list(other.outputs[0].token_ids) == oracle.generate(small)
    assert engine.free_blocks() == engine.total_blocks()
