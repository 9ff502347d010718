"""From a question to a sequence of text and images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vllm_patchkit.errors import PatchkitError, UsageError

from ..sequence import Codes, ImageSegment, MultimodalSequence, parse_segments
from ..vision import Vision, VisionError, load_vision
from ..vocabulary import image_text
from .backend import Backend, LLMBackend, Request, ServerBackend
from .settings import Settings
from .tasks import (
    DEFAULT_RATIO,
    Task,
    find_task,
    image_size,
    require_room,
    size_arguments,
)

Picture = ImageSegment | Codes | Path | bytes


class Pipeline:
    """Generates on a backend; see the package for an example."""

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self.backend = backend
        self.settings = settings

    @classmethod
    def load(cls, settings: Settings) -> Pipeline:
        """Return a pipeline on a new ``LLM`` in this process."""
        from vllm import LLM

        return cls.of(LLM(**settings.llm_arguments()), settings)

    @classmethod
    def of(cls, llm: Any, settings: Settings) -> Pipeline:
        """Return a pipeline on an ``LLM`` that exists already."""
        return cls(LLMBackend(llm), settings)

    @classmethod
    def connect(cls, url: str, settings: Settings | None = None, **options: Any) -> Pipeline:
        """Return a pipeline on a running ``vllm serve``.

        :param options: of ``ServerBackend``: model, vocabulary, api_key, timeout_s.
        :raises HostError: nobody answers there.
        """
        backend = ServerBackend(url, **options)
        return cls(backend, settings or Settings(model_path=backend.model))

    def generate(
        self,
        prompt: str,
        *,
        task: str = "t2i",
        aspect_ratio: str | tuple[int, int] | None = DEFAULT_RATIO,
        guidance_scale: float | None = None,
        image_cfg_scale: float | None = None,
        images: Sequence[Picture] = (),
        max_new_tokens: int | None = None,
        seed: int | None = None,
        temperature: float = 1.0,
        **sampling: Any,
    ) -> MultimodalSequence:
        """Return the answer to one question.

        :param aspect_ratio: width:height; height and width in visual tokens; None for any.
        :param image_cfg_scale: three streams: how far to move from the answer without the image.
        :param images: reference images: segments, rows of codes, or (with a vision tokenizer)
            files or bytes of pictures.
        :param sampling: ``visual_top_k`` and the like, over the task's defaults.
        :raises UsageError: the arguments do not fit the task.
        :raises PatchkitError: the answer breaks the grammar of images, or was refused.
        """
        kind = find_task(task, len(images))
        references = tuple(self._reference(image) for image in images)
        text = "".join(image_text(reference.codes) for reference in references)
        conditional, uncond, uncond_no_image = kind.prompts(prompt, text)
        if image_cfg_scale is not None and uncond_no_image is None:
            raise UsageError("image_cfg_scale needs a guided task with a reference image")
        size = image_size(aspect_ratio, self.settings.image_area) if kind.guided else None
        limit = max_new_tokens or self.settings.max_new_tokens
        require_room(size, limit)
        vocabulary = self.backend.vocabulary
        stops = {vocabulary.special[kind.stop], vocabulary.special["eos"]}
        request = Request(
            prompt=conditional,
            uncond=uncond,
            uncond_no_image=uncond_no_image if image_cfg_scale is not None else None,
            stop_token_ids=tuple(sorted(stops)),
            max_tokens=limit,
            seed=seed,
            temperature=temperature,
            extra={
                **kind.sampling(),
                **size_arguments(size),
                **self._guidance(kind, guidance_scale, image_cfg_scale),
                **sampling,
            },
        )
        tokens = self.backend.complete([request])[0]
        return self._sequence(prompt, task, tokens, references)

    def _guidance(
        self, kind: Task, scale: float | None, image_scale: float | None
    ) -> dict[str, float]:
        """Return the scales of a task's guidance, by the engine's names."""
        scales = {}
        if kind.guided:
            scales["guidance_scale"] = self.settings.guidance_scale if scale is None else scale
        if image_scale is not None:
            scales["image_cfg_scale"] = image_scale
        return scales

    def _sequence(
        self,
        question: str,
        task: str,
        tokens: tuple[int, ...],
        references: tuple[ImageSegment, ...],
    ) -> MultimodalSequence:
        try:
            segments = parse_segments(tokens, self.backend.vocabulary, self.backend.decode)
        except ValueError as error:
            raise PatchkitError(
                f"the answer is no well-formed sequence: {error}",
                hint="an image that is not finished needs more max_new_tokens",
            ) from error
        sequence = MultimodalSequence(
            question=question,
            task=task,
            segments=segments,
            token_ids=tokens,
            references=references,
        )
        if self.settings.vision_tokenizer_path is None:
            return sequence
        return sequence.with_pictures(self._vision().decode_png)

    def _reference(self, picture: Picture) -> ImageSegment:
        """Return a reference image as codes, encoded if it is a picture."""
        if isinstance(picture, ImageSegment):
            return picture
        if isinstance(picture, Path):
            picture = picture.read_bytes()
        if isinstance(picture, bytes):
            return ImageSegment(codes=self._vision().encode_png(picture), png=picture)
        return ImageSegment(codes=tuple(tuple(row) for row in picture))

    def _vision(self) -> Vision:
        settings = self.settings
        if settings.vision_tokenizer_path is None:
            raise UsageError(
                "a picture can only be read with a vision tokenizer",
                hint="set vision_tokenizer_path, or give the image as rows of codes",
            )
        try:
            return load_vision(
                settings.vision_tokenizer_path, settings.vision_factory, settings.vision_device
            )
        except VisionError as error:
            raise UsageError(str(error)) from error
