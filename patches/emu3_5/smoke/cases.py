"""The requests of the smoke: what is asked, and what an answer must look like."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .vocabulary import SPECIAL_TEXTS, Vocabulary, encode_bytes, image_text

Size = tuple[int, int]
QUESTION = "A red fox in the snow, 2 o'clock."
ALWAYS = 100.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One request.

    Prompts are given as text; the ``_ids`` beside them are filled in for the tiny checkpoint, whose
    tokenizer the oracle knows. Sizes are (height, width) in visual tokens.

    :param size: the size that the request wants, or None for a free one.
    :param image_sizes: the sizes of the images that the answer must hold, in order; None where
        nobody can know.
    :param expected: the oracle's tokens, or None without an oracle.
    :param unguided: the oracle's tokens for the same request without guidance.
    :param margin: the oracle's smallest distance between a chosen and the next best logit.
    """

    name: str
    prompt: str
    prompt_ids: tuple[int, ...] = ()
    uncond: str | None = None
    uncond_ids: tuple[int, ...] | None = None
    uncond_no_image: str | None = None
    uncond_no_image_ids: tuple[int, ...] | None = None
    guidance_scale: float | None = None
    image_cfg_scale: float | None = None
    size: Size | None = None
    force_same_image_size: bool = True
    stop_token_ids: tuple[int, ...] = ()
    max_tokens: int = 16
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    image_sizes: tuple[Size, ...] | None = ()
    expected: tuple[int, ...] | None = None
    unguided: tuple[int, ...] | None = None
    margin: float | None = None

    @property
    def guided(self) -> bool:
        """Whether the request has guidance."""
        return self.guidance_scale is not None

    def without_guidance(self) -> Case:
        """Return the same request with one stream, to see that guidance has an effect."""
        return replace(
            self,
            name=f"{self.name}, unguided",
            uncond=None,
            uncond_ids=None,
            uncond_no_image=None,
            uncond_no_image_ids=None,
            guidance_scale=None,
            image_cfg_scale=None,
            expected=self.unguided,
            unguided=None,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the case as JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Case:
        """Return the case that ``to_json`` wrote."""
        known = dict(value)
        for name in ("prompt_ids", "uncond_ids", "uncond_no_image_ids", "stop_token_ids"):
            known[name] = None if known[name] is None else tuple(known[name])
        for name in ("size", "expected", "unguided"):
            known[name] = None if known[name] is None else tuple(known[name])
        if known["image_sizes"] is not None:
            known["image_sizes"] = tuple(tuple(size) for size in known["image_sizes"])
        known["logit_bias"] = {int(key): bias for key, bias in known["logit_bias"].items()}
        return cls(**known)


def image_length(size: Size) -> int:
    """Return the number of tokens of an image, BOI and EOI included."""
    height, width = size
    return 1 + len(f"{height}*{width}") + 1 + height * (width + 1)


def make_template(task: str, question: str, image: str = "") -> str:
    """Return the prompt of a task; ``image`` is the reference image as text."""
    bos, bss = SPECIAL_TEXTS["bos"], SPECIAL_TEXTS["bss"]
    role = f"You are a helpful assistant for {task} task."
    return f"{bos}{role} USER: {question}{image} ASSISTANT: {bss}"


def make_uncond_template(image: str = "") -> str:
    """Return the unconditional prompt: the template without the user's text and the task."""
    bos, bss = SPECIAL_TEXTS["bos"], SPECIAL_TEXTS["bss"]
    return f"{bos}You are a helpful assistant. USER: {image} ASSISTANT: {bss}"


def reference_image(vocabulary: Vocabulary, size: Size) -> tuple[tuple[int, ...], ...]:
    """Return an arbitrary image as rows of codes, the same one every time."""
    draw = random.Random(7)
    count = vocabulary.visual_count
    return tuple(tuple(draw.randrange(count) for _ in range(size[1])) for _ in range(size[0]))


def tiny_cases(vocabulary: Vocabulary) -> list[Case]:
    """Return the cases for the tiny checkpoint, prompts as ids too."""
    special, size_ids = vocabulary.special, vocabulary.size_ids
    cases = make_cases(
        vocabulary,
        sizes={"t2i": (4, 6), "x2i": (5, 3), "story": (3, 5), "reference": (3, 4)},
        question=QUESTION,
        text_tokens=24,
        slack=4,
    )
    # A random network would hardly ever begin an image by itself. Half of the cases are pushed to
    # do so; in the other half the prompt ends inside the image, which every stream continues.
    for name in ("t2i", "x2i"):
        cases[name] = replace(cases[name], logit_bias={special["boi"]: ALWAYS})
    for name in ("x2i-three-streams", "free-size"):
        cases[name] = replace(cases[name], prompt=cases[name].prompt + SPECIAL_TEXTS["boi"])
    cases["free-size"] = replace(
        cases["free-size"],
        # Without the bias the first digits would be any, and the image up to 99 rows of 99.
        logit_bias={size_ids["1"]: ALWAYS - 20, size_ids["0"]: ALWAYS},
        max_tokens=image_length((10, 10)),
        image_sizes=((10, 10),),
    )
    return [with_ids(case, vocabulary) for case in cases.values()]


def make_cases(
    vocabulary: Vocabulary,
    *,
    sizes: Mapping[str, Size],
    question: str,
    text_tokens: int,
    slack: int,
) -> dict[str, Case]:
    """Return the cases by name, for any checkpoint.

    :param slack: tokens that may come before an image: a chain of thought.
    """
    image = image_text(reference_image(vocabulary, sizes["reference"]))
    special = vocabulary.special
    stop_image, stop_text = (special["eoi"], special["eos"]), (special["eos"],)

    def plain(name: str, picture: str = "") -> Case:
        prompt = make_template("understanding", question, picture)
        return Case(name=name, prompt=prompt, stop_token_ids=stop_text, max_tokens=text_tokens)

    def guided(name: str, task: str, scale: float, picture: str = "") -> Case:
        size = sizes[task]
        return Case(
            name=name,
            prompt=make_template(task, question, picture),
            uncond=make_uncond_template(picture),
            guidance_scale=scale,
            size=size,
            stop_token_ids=stop_image,
            max_tokens=image_length(size) + slack,
            image_sizes=(size,),
        )

    x2i = guided("x2i", "x2i", 5.0, image)
    story = guided("interleaved", "story", 2.0)
    cases = [
        plain("text"),
        guided("t2i", "t2i", 5.0),
        x2i,
        replace(
            x2i,
            name="x2i-three-streams",
            uncond_no_image=make_uncond_template(),
            image_cfg_scale=1.5,
        ),
        replace(
            story,
            stop_token_ids=stop_text,
            max_tokens=2 * image_length(sizes["story"]) + slack,
            image_sizes=None,
        ),
        plain("understanding", image),
        replace(guided("free-size", "t2i", 3.0), size=None, image_sizes=None),
    ]
    return {case.name: case for case in cases}


def with_ids(case: Case, vocabulary: Vocabulary) -> Case:
    """Return the case with its prompts as the ids that the tiny tokenizer has to give."""

    def encode(text: str | None) -> tuple[int, ...] | None:
        return None if text is None else tuple(encode_bytes(text, vocabulary))

    return replace(
        case,
        prompt_ids=tuple(encode_bytes(case.prompt, vocabulary)),
        uncond_ids=encode(case.uncond),
        uncond_no_image_ids=encode(case.uncond_no_image),
    )


def begun_image(case: Case, vocabulary: Vocabulary) -> list[int]:
    """Return the tokens of the image that the prompt leaves for the answer to finish, if any."""
    tokens = list(case.prompt_ids)
    boi, eoi = vocabulary.special["boi"], vocabulary.special["eoi"]
    if boi not in tokens:
        return []
    start = len(tokens) - 1 - tokens[::-1].index(boi)
    return [] if eoi in tokens[start:] else tokens[start:]
