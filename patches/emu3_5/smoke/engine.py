"""Requests and engine arguments in vLLM's terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from patchkit_worker.engine import is_float32, make_arguments, tiny_defaults
from patchkit_worker.job import Job

from .cases import Case
from .files import checkpoint
from .tiny import CONTEXT

if TYPE_CHECKING:
    from vllm import SamplingParams

PATCH_AREA = 16 * 16
REAL_SAMPLING = {
    "text_top_k": 1024,
    "text_top_p": 0.9,
    "text_temperature": 1.0,
    "visual_top_k": 5120,
    "visual_top_p": 1.0,
    "visual_temperature": 1.0,
}
ONE_CANDIDATE = {**REAL_SAMPLING, "text_top_k": 1, "visual_top_k": 1}
"""Draws that leave no choice: the token is the greedy one."""
SEED = 1234


def engine_arguments(job: Job) -> dict[str, Any]:
    """Return the arguments of ``LLM``, ``AsyncEngineArgs`` and ``vllm serve``.

    What is not named here is vLLM's default: scheduler, prefix caching, chunked prefill, graphs.
    """
    defaults: dict[str, Any] = {}
    if job.model is None:
        defaults = {**tiny_defaults(job), "max_model_len": CONTEXT, "max_num_seqs": 32}
        if job.device == "cuda":
            # Float32 runs on FlexAttention there, which indexes a cache of this size and not one
            # of a whole GPU ("64-bit indexing is not yet implemented for triton templates").
            defaults["num_gpu_blocks_override"] = 4096
    arguments: dict[str, Any] = make_arguments(job, checkpoint(job), defaults)
    return arguments


def is_exact(job: Job) -> bool:
    """Return whether the engine's greedy tokens have to be the oracle's."""
    return job.model is None and bool(is_float32(job))


def prompt_of(case: Case, *, as_ids: bool) -> dict[str, Any]:
    """Return the engine's prompt, as text or as token ids."""
    if as_ids:
        fields: dict[str, Any] = {
            "prompt_token_ids": list(case.prompt_ids),
            "uncond_prompt_token_ids": case.uncond_ids and list(case.uncond_ids),
            "uncond_no_image_prompt_token_ids": (
                case.uncond_no_image_ids and list(case.uncond_no_image_ids)
            ),
        }
    else:
        fields = {
            "prompt": case.prompt,
            "uncond_prompt": case.uncond,
            "uncond_no_image_prompt": case.uncond_no_image,
        }
    return {name: value for name, value in fields.items() if value is not None}


def extra_args(
    case: Case, *, greedy: bool, regions: Mapping[str, Any] = REAL_SAMPLING
) -> dict[str, Any]:
    """Return the parameters of images, by the names that offline and server requests share."""
    extra: dict[str, Any] = {} if greedy else dict(regions)
    if case.guidance_scale is not None:
        extra["guidance_scale"] = case.guidance_scale
    if case.image_cfg_scale is not None:
        extra["image_cfg_scale"] = case.image_cfg_scale
    if case.size is not None:
        height, width = case.size
        # With this area a unit of height and width is one visual token.
        extra |= {"height": height, "width": width, "area": height * width * PATCH_AREA}
    if not case.force_same_image_size:
        extra["force_same_image_size"] = False
    return extra


def sampling_params(case: Case, *, greedy: bool, **fields: Any) -> SamplingParams:
    """Return the sampling parameters of an offline or asynchronous request."""
    from vllm import SamplingParams

    return SamplingParams(
        temperature=0.0 if greedy else 1.0,
        seed=None if greedy else SEED,
        max_tokens=case.max_tokens,
        stop_token_ids=list(case.stop_token_ids),
        logit_bias=dict(case.logit_bias) or None,
        skip_special_tokens=False,
        extra_args=extra_args(case, greedy=greedy) or None,
        **fields,
    )


def one_candidate_params(case: Case) -> SamplingParams:
    """Return parameters that draw every token, without a seed, from its likeliest one alone."""
    params: SamplingParams = sampling_params(case, greedy=False)
    params.seed = None
    if case.size is None:
        params.top_k, params.extra_args = 1, None
    else:
        params.extra_args = extra_args(case, greedy=False, regions=ONE_CANDIDATE)
    return params
