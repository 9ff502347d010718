"""The grammar of images in plain Python, for the oracle and for checking results.

Rules (last token decides the region): outside BOI..EOI no visual tokens; after BOI a size
``<h>*<w>`` and IMG; after IMG, at position p (from 1), EOI at p = h(w+1), EOL at other multiples of
w+1, else a visual token. A free size has two digits each way, the first of them not 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .vocabulary import Vocabulary

FREE_SIZE = ("123456789", "0123456789", "*", "123456789", "0123456789")


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """Where the next token stands.

    :param kind: ``text``, ``size`` or ``pixels``.
    :param allowed: the ids that may come next; one id is a forced token. None in text, where
        everything but visual tokens may come.
    """

    kind: str
    allowed: tuple[int, ...] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """A finished image: codes by row, and where its tokens begin and end (EOI included)."""

    rows: tuple[tuple[int, ...], ...]
    start: int
    end: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in visual tokens."""
        return len(self.rows), len(self.rows[0])


def find_region(
    tokens: Sequence[int], vocabulary: Vocabulary, size: tuple[int, int] | None
) -> Region:
    """Return where the token after ``tokens`` stands.

    :param size: height and width that the request wants, or None where they are free.
    """
    start = _open_image(tokens, vocabulary)
    if start is None:
        return Region(kind="text", allowed=None)
    inside = list(tokens[start + 1 :])
    img = vocabulary.special["img"]
    if img in inside:
        spelled = inside[: inside.index(img)]
        return _pixels(len(inside) - len(spelled), parse_size(spelled, vocabulary), vocabulary)
    if size is not None:
        wanted = [vocabulary.size_ids[char] for char in f"{size[0]}*{size[1]}"] + [img]
        return Region(kind="size", allowed=(wanted[len(inside)],))
    if len(inside) == len(FREE_SIZE):
        return Region(kind="size", allowed=(img,))
    choices = FREE_SIZE[len(inside)]
    return Region(kind="size", allowed=tuple(vocabulary.size_ids[char] for char in choices))


def _pixels(position: int, size: tuple[int, int], vocabulary: Vocabulary) -> Region:
    height, width = size
    if position == height * (width + 1):
        return Region(kind="pixels", allowed=(vocabulary.special["eoi"],))
    if position % (width + 1) == 0:
        return Region(kind="pixels", allowed=(vocabulary.special["eol"],))
    return Region(kind="pixels", allowed=tuple(vocabulary.visual))


def _open_image(tokens: Sequence[int], vocabulary: Vocabulary) -> int | None:
    """Return where the image that is not closed yet begins, or None."""
    for place in range(len(tokens) - 1, -1, -1):
        if tokens[place] == vocabulary.special["eoi"]:
            return None
        if tokens[place] == vocabulary.special["boi"]:
            return place
    return None


def parse_size(spelled: Sequence[int], vocabulary: Vocabulary) -> tuple[int, int]:
    """Return height and width from the tokens between BOI and IMG.

    :raises ValueError: they do not spell a size.
    """
    characters = {token: char for char, token in vocabulary.size_ids.items()}
    text = "".join(characters.get(token, "?") for token in spelled)
    height, star, width = text.partition("*")
    if not (star and height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise ValueError(f"an image's size reads {text!r}")
    return int(height), int(width)


def parse_images(tokens: Sequence[int], vocabulary: Vocabulary) -> list[Image]:
    """Return the images in ``tokens``, checked strictly against the grammar.

    :raises ValueError: a row is too short or too long, a separator is missing, an image is not
        finished, or a visual token stands outside an image.
    """
    images, place = [], 0
    while place < len(tokens):
        if vocabulary.is_visual(tokens[place]):
            raise ValueError(f"token {place} is a visual token outside an image")
        if tokens[place] == vocabulary.special["boi"]:
            image = _parse_image(tokens, place, vocabulary)
            images.append(image)
            place = image.end
        place += 1
    return images


def _parse_image(tokens: Sequence[int], start: int, vocabulary: Vocabulary) -> Image:
    special = vocabulary.special
    try:
        img = list(tokens).index(special["img"], start)
        end = list(tokens).index(special["eoi"], img)
    except ValueError:
        raise ValueError(f"the image that begins at token {start} is not finished") from None
    height, width = parse_size(tokens[start + 1 : img], vocabulary)
    rows: list[list[int]] = [[]]
    for token in tokens[img + 1 : end]:
        if token == special["eol"]:
            rows.append([])
        elif vocabulary.is_visual(token):
            rows[-1].append(token - vocabulary.visual_offset)
        else:
            raise ValueError(f"token {token} stands between the pixels of an image")
    if len(rows) != height or any(len(row) != width for row in rows):
        found = f"{len(rows)} rows of {sorted({len(row) for row in rows})}"
        raise ValueError(f"an image of {height}*{width} has {found} visual tokens")
    return Image(rows=tuple(map(tuple, rows)), start=start, end=end)
