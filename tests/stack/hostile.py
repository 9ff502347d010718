"""Requests as a stranger may send them: unknown keys, wrong types, huge and tiny numbers, NaN,
nested values, and the names that parts of the engine used for themselves.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from typing import Any

from checkpoint import Vocabulary

IMAGE = (
    "guidance_scale",
    "image_cfg_scale",
    "text_temperature",
    "text_top_k",
    "text_top_p",
    "visual_temperature",
    "visual_top_k",
    "visual_top_p",
    "width",
    "height",
    "area",
    "force_same_image_size",
)
INTERNAL = (
    "guidance_group",
    "guidance_stream",
    "guidance_num_streams",
    "group",
    "stream",
    "image",
    "num_streams",
    "kv_transfer_params",
    "_all_stop_token_ids",
    "no_such_name",
    "",
)
PLAIN = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "seed",
    "n",
    "max_tokens",
    "min_tokens",
    "logprobs",
    "prompt_logprobs",
    "stop_token_ids",
    "allowed_token_ids",
    "logit_bias",
    "ignore_eos",
    "skip_special_tokens",
    "truncate_prompt_tokens",
    "structured_outputs",
)
SERVER = (
    "echo",
    "stream_options",
    "priority",
    "response_format",
    "cache_salt",
    "return_token_ids",
    "add_special_tokens",
    "use_beam_search",
    "length_penalty",
    "suffix",
)
PROMPTS = ("uncond_prompt_token_ids", "uncond_no_image_prompt_token_ids")

NUMBERS = (0, 1, 2, 3, -1, 0.5, 1.0, 1.5, -2, 64, 4096, 131072)
EXTREMES = (
    10**19,
    -(10**19),
    2**31,
    2**63,
    2**64 - 1,
    10**400,
    1e39,
    -1e39,
    1e308,
    5e-324,
    1e-50,
    math.nan,
    math.inf,
    -math.inf,
)
OTHERS = (None, True, False, "", "5", "a", [], [1], [-1], [10**19], [[1]], ["x"], {}, {"a": 1})

# Of structured outputs: good ones; those without a constraint; those that no backend compiles;
# those that one backend compiles and another does not; those that a validator falls over.
STRUCTURED = (
    {"regex": "[a-z]+"},
    {"choice": ["a", "b"]},
    {"json_object": True},
    {"json": {"type": "object"}},
    {},
    {"json_object": False},
    {"whitespace_pattern": "("},
    {"json": ""},
    {"grammar": ""},
    {"structural_tag": ""},
    {"regex": "("},
    {"grammar": "x"},
    {"json": {"type": "nope"}},
    {"json": {"$ref": "#/nope"}},
    {"regex": "(?i)abc"},
    {"regex": r"\p{L}+"},
    {"json": {"type": "number", "multipleOf": 3}},
    {"grammar": "root ::= "},
    {"structural_tag": "{}"},
    {"structural_tag": "5"},
)


class Stranger:
    """Draws requests, the same ones for the same seed."""

    def __init__(self, vocabulary: Vocabulary, seed: int):
        self.v, self.draw = vocabulary, random.Random(seed)

    def value(self) -> Any:
        pool = self.draw.choices((NUMBERS, EXTREMES, OTHERS), weights=(5, 4, 3))[0]
        value = self.draw.choice(pool)
        if self.draw.random() < 0.05:
            for _ in range(self.draw.randrange(1, 40)):
                value = [value] if self.draw.random() < 0.5 else {"nested": value}
        return value

    def some(self, names: Iterable[str]) -> dict[str, Any]:
        """Values for up to three of the names, often for none."""
        names = self.draw.sample(list(names), self.draw.choice((0, 0, 0, 0, 1, 1, 2, 3)))
        return {name: self.value_of(name) for name in names}

    def value_of(self, name: str) -> Any:
        if name == "structured_outputs" and self.draw.random() < 0.8:
            return self.draw.choice(STRUCTURED)
        return self.value()

    def ids(self) -> Any:
        """Mostly a prompt; else ids that are none, an open image, or no list."""
        kind = self.draw.random()
        ids = self.v.text(self.draw.randint(1, 9), seed=self.draw.randrange(50))
        if kind < 0.85:
            return ids
        if kind < 0.9:
            return [
                *ids,
                self.draw.choice((-1, -(2**31), self.v.size, 10**6, 2**31, 2**63, 10**19)),
            ]
        if kind < 0.95:
            size = self.draw.choice(("", "3", "2*", "2*2", "9" * 30 + "*1", "1*" + "7" * 25, "0*0"))
            return [*ids, self.v.boi, *self.v.digits(size), *[self.v.img] * self.draw.randint(0, 1)]
        return self.value()

    def guided(self) -> dict[str, Any]:
        """What a guided request has, sizes up to 4*4."""
        height, width = self.draw.randint(1, 4), self.draw.randint(1, 4)
        return {
            "guidance_scale": 3.0,
            "height": 16 * height,
            "width": 16 * width,
            "area": 256 * height * width,
        }

    def request(self) -> tuple[Any, dict[str, Any], dict[str, Any], dict[str, Any]]:
        """A prompt, its unconditional prompts, the image parameters and the plain ones."""
        image, uncond = {}, {}
        if self.draw.random() < 0.5:
            image, uncond = self.guided(), {PROMPTS[0]: self.ids()}
        image |= self.some(IMAGE) | self.some(INTERNAL)
        if self.draw.random() < 0.1:
            uncond[PROMPTS[1]] = self.ids()
        plain = {
            "max_tokens": self.draw.choice((1, 4, 16)),
            "temperature": self.draw.choice((0, 1)),
        }
        return self.ids(), uncond, image, plain | self.some(PLAIN)
