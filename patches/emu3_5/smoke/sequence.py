"""A generated sequence as segments of text, chains of thought and images; as JSON and protobuf.

``sequence.proto`` describes the binary form.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .grammar import parse_images
from .vocabulary import Vocabulary

Codes = tuple[tuple[int, ...], ...]
Decode = Callable[[Sequence[int]], str]
FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class TextSegment:
    """Text that the user is meant to read."""

    text: str

    def to_json(self) -> dict[str, Any]:
        """Return the segment as JSON types."""
        return {"type": "text", "text": self.text}


@dataclass(frozen=True, kw_only=True, slots=True)
class ThoughtSegment:
    """A chain of thought: of the whole answer (``global``) or of the image that follows."""

    text: str
    scope: str

    def to_json(self) -> dict[str, Any]:
        """Return the segment as JSON types."""
        return {"type": "chain_of_thought", "scope": self.scope, "text": self.text}


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSegment:
    """An image as codes of the vision tokenizer, row by row; ``png`` once it was decoded."""

    codes: Codes
    png: bytes | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in visual tokens."""
        return len(self.codes), len(self.codes[0])

    def to_json(self) -> dict[str, Any]:
        """Return the segment as JSON types."""
        height, width = self.size
        png = None if self.png is None else base64.b64encode(self.png).decode("ascii")
        codes = [list(row) for row in self.codes]
        return {"type": "image", "height": height, "width": width, "codes": codes, "png": png}


Segment = TextSegment | ThoughtSegment | ImageSegment


@dataclass(frozen=True, kw_only=True, slots=True)
class MultimodalSequence:
    """A question and its answer."""

    question: str
    task: str
    segments: tuple[Segment, ...]
    token_ids: tuple[int, ...]
    references: tuple[ImageSegment, ...] = ()

    @property
    def images(self) -> tuple[ImageSegment, ...]:
        """The generated images, in order."""
        return tuple(part for part in self.segments if isinstance(part, ImageSegment))

    @property
    def text(self) -> str:
        """The text for the reader, without chains of thought and images."""
        return "".join(part.text for part in self.segments if isinstance(part, TextSegment))

    def with_pictures(self, decode: Callable[[Codes], bytes]) -> MultimodalSequence:
        """Return the sequence with every image decoded to PNG by ``decode``."""
        segments = tuple(
            replace(part, png=decode(part.codes)) if isinstance(part, ImageSegment) else part
            for part in self.segments
        )
        return replace(self, segments=segments)

    def to_json(self) -> dict[str, Any]:
        """Return the sequence as JSON types."""
        return {
            "format": FORMAT,
            "question": self.question,
            "task": self.task,
            "references": [image.to_json() for image in self.references],
            "segments": [segment.to_json() for segment in self.segments],
            "token_ids": list(self.token_ids),
        }

    def to_protobuf(self) -> bytes:
        """Return the sequence as a serialized ``MultimodalSequence`` of ``sequence.proto``."""
        pb = _messages()
        message = pb.MultimodalSequence(
            question=self.question, task=self.task, token_ids=self.token_ids
        )
        message.references.extend(_image_message(image) for image in self.references)
        for segment in self.segments:
            part = message.segments.add()
            if isinstance(segment, TextSegment):
                part.text = segment.text
            elif isinstance(segment, ThoughtSegment):
                scope = pb.ChainOfThought.Scope.Value(segment.scope.upper())
                part.chain_of_thought.CopyFrom(pb.ChainOfThought(scope=scope, text=segment.text))
            else:
                part.image.CopyFrom(_image_message(segment))
        return bytes(message.SerializeToString(deterministic=True))


def _messages() -> Any:
    """Return the module that protoc made; it builds its classes when it is imported."""
    from . import sequence_pb2

    return sequence_pb2


def _image_message(image: ImageSegment) -> Any:
    pb = _messages()
    height, width = image.size
    codes = [code for row in image.codes for code in row]
    return pb.Image(height=height, width=width, codes=codes, png=image.png or b"")


def parse_segments(
    tokens: Sequence[int], vocabulary: Vocabulary, decode: Decode
) -> tuple[Segment, ...]:
    """Return the segments of generated ``tokens``.

    :param decode: text tokens to text. Tokens that only structure the sequence (BSS, ESS, EOS and
        the like) never reach it.
    :raises ValueError: an image breaks the grammar, or is not finished.
    """
    images = {image.start: image for image in parse_images(tokens, vocabulary)}
    special = vocabulary.special
    opens = {special["bog"]: ("global", special["eog"]), special["boc"]: ("image", special["eoc"])}
    silent = set(special.values())
    segments: list[Segment] = []
    text: list[int] = []
    place = 0
    while place < len(tokens):
        token = tokens[place]
        if token in opens or place in images:
            segments += _text_segments(text, decode)
            text = []
        if place in images:
            segments.append(ImageSegment(codes=images[place].rows))
            place = images[place].end
        elif token in opens:
            scope, closing = opens[token]
            end = _find(tokens, closing, place)
            inside = [t for t in tokens[place + 1 : end] if t not in silent]
            segments.append(ThoughtSegment(scope=scope, text=decode(inside)))
            place = end
        elif token not in silent:
            text.append(token)
        place += 1
    return (*segments, *_text_segments(text, decode))


def _text_segments(tokens: list[int], decode: Decode) -> list[Segment]:
    return [TextSegment(text=decode(tokens))] if tokens else []


def _find(tokens: Sequence[int], wanted: int, start: int) -> int:
    """Return where ``wanted`` stands after ``start``, or the end where it is missing."""
    places = (place for place in range(start, len(tokens)) if tokens[place] == wanted)
    return next(places, len(tokens))
