"""The tasks of Emu3.5: their prompts, where they stop, and their sampling defaults."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from vllm_patchkit.errors import UsageError

from ..cases import image_length, make_template, make_uncond_template

PATCH = 16
TEXT_SAMPLING = {"text_top_k": 1024, "text_top_p": 0.9, "text_temperature": 1.0}
VISUAL_SAMPLING = {"visual_top_p": 1.0, "visual_temperature": 1.0}
IMAGE_TOP_K = 5120
INTERLEAVED_TOP_K = 10240
# Height and width in visual tokens of the usual sizes at 1048576 pixels.
ASPECT_RATIOS = {
    "1:1": (64, 64),
    "4:3": (55, 73),
    "3:4": (73, 55),
    "3:2": (52, 78),
    "2:3": (78, 52),
    "16:9": (47, 85),
    "9:16": (85, 47),
    "21:9": (41, 97),
}
DEFAULT_RATIO = "4:3"
USUAL_AREA = 1048576


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What a task needs and gives.

    :param stop: short name of the token that ends the answer.
    :param guided: images are generated, with guidance.
    :param reference: ``no``, ``may`` or ``must`` have an image in the question.
    """

    name: str
    stop: str
    guided: bool
    reference: str
    visual_top_k: int = IMAGE_TOP_K

    def prompts(self, question: str, images: str) -> tuple[str, str | None, str | None]:
        """Return prompt, unconditional prompt, and the one without the reference image.

        :param images: the reference images as text, or ``""``.
        """
        prompt = make_template(self.name, question, images)
        if not self.guided:
            return prompt, None, None
        without_image = make_uncond_template() if images else None
        return prompt, make_uncond_template(images), without_image

    def sampling(self) -> dict[str, Any]:
        """Return the defaults per region."""
        return {**TEXT_SAMPLING, **VISUAL_SAMPLING, "visual_top_k": self.visual_top_k}


def _interleaved(name: str) -> Task:
    return Task(name=name, stop="eos", guided=True, reference="may", visual_top_k=INTERLEAVED_TOP_K)


TASKS: dict[str, Task] = {
    "t2i": Task(name="t2i", stop="eoi", guided=True, reference="no"),
    "x2i": Task(name="x2i", stop="eoi", guided=True, reference="must"),
    "story": _interleaved("story"),
    "howto": _interleaved("howto"),
    "explore": _interleaved("explore"),
    "vla": _interleaved("vla"),
    "understanding": Task(name="understanding", stop="eos", guided=False, reference="must"),
}


def find_task(name: str, references: int) -> Task:
    """Return the task of that name.

    :param references: how many images the question has.
    :raises UsageError: no such task, or it needs (or takes) other references.
    """
    task = TASKS.get(name)
    if task is None:
        raise UsageError(f"there is no task {name!r}", hint=f"one of: {', '.join(TASKS)}")
    if task.reference == "must" and not references:
        raise UsageError(f"task {name} needs a reference image", hint="give images=[...]")
    if task.reference == "no" and references:
        raise UsageError(f"task {name} takes no reference image", hint="task x2i does")
    return task


def image_size(aspect_ratio: str | tuple[int, int] | None, area: int) -> tuple[int, int] | None:
    """Return height and width in visual tokens; None leaves the size to the model.

    A ratio is written width:height, as photographers do. At the usual area the usual sizes are
    taken; otherwise the largest size of that shape within ``area`` pixels.

    :param aspect_ratio: ``4:3``, or height and width in visual tokens as they are.
    :raises UsageError: not a ratio, or no visual token fits.
    """
    if aspect_ratio is None or isinstance(aspect_ratio, tuple):
        return aspect_ratio
    if area == USUAL_AREA and aspect_ratio in ASPECT_RATIOS:
        return ASPECT_RATIOS[aspect_ratio]
    found = re.fullmatch(r"([1-9]\d*):([1-9]\d*)", aspect_ratio)
    if not found:
        raise UsageError(f"{aspect_ratio!r} is no aspect ratio", hint="width:height, such as 4:3")
    width, height = int(found[1]), int(found[2])
    unit = math.sqrt(area / (width * height))
    size = int(height * unit / PATCH), int(width * unit / PATCH)
    if not all(size):
        raise UsageError(f"an image of {area} pixels at {aspect_ratio} has no visual token")
    return size


def require_room(size: tuple[int, int] | None, limit: int) -> None:
    """Raise ``UsageError`` if an image of ``size`` has more than ``limit`` tokens."""
    if size is not None and limit < image_length(size):
        raise UsageError(
            f"an image of {size[0]}*{size[1]} has {image_length(size)} tokens, "
            f"max_new_tokens is {limit}",
            hint="give more max_new_tokens, or a smaller image",
        )


def size_arguments(size: tuple[int, int] | None) -> dict[str, int]:
    """Return width, height and area, chosen so that the engine's size is exactly ``size``.

    The engine takes r = int(sqrt(area / (h * w))) and then int(h * r / 16) by int(w * r / 16);
    with this area r is 16.
    """
    if size is None:
        return {}
    height, width = size
    return {"height": height, "width": width, "area": height * width * PATCH * PATCH}
