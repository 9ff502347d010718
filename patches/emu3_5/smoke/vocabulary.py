"""The token ids of an Emu3.5 checkpoint, and texts that contain them.

Source: the table of token ids of the published checkpoints. The tiny checkpoint keeps the order of
the special tokens and moves them down to a vocabulary that a CPU goes through in no time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SIZE_CHARACTERS = "0123456789*"
SPECIAL_TEXTS = {
    "pad": "<|endoftext|>",
    "boc": "<|extra_50|>",
    "eoc": "<|extra_51|>",
    "bog": "<|extra_60|>",
    "eog": "<|extra_61|>",
    "bss": "<|extra_100|>",
    "ess": "<|extra_101|>",
    "eol": "<|extra_200|>",
    "eof": "<|extra_201|>",
    "tms": "<|extra_202|>",
    "bos": "<|extra_203|>",
    "eos": "<|extra_204|>",
    "img": "<|image token|>",
    "boi": "<|image start|>",
    "eoi": "<|image end|>",
}
PUBLISHED_IDS = {
    "pad": 151643,
    "boc": 151696,
    "eoc": 151697,
    "bog": 151706,
    "eog": 151707,
    "bss": 151746,
    "ess": 151747,
    "eol": 151846,
    "eof": 151847,
    "tms": 151848,
    "bos": 151849,
    "eos": 151850,
    "img": 151851,
    "boi": 151852,
    "eoi": 151853,
}
PUBLISHED_VISUAL_OFFSET = 151854
PUBLISHED_VISUAL_COUNT = 131072
BYTES = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Vocabulary:
    """The ids that the grammar of images needs.

    :param special: short name (a key of ``SPECIAL_TEXTS``) -> id.
    :param size_ids: character of a size such as ``4*6`` -> id.
    """

    special: Mapping[str, int]
    size_ids: Mapping[str, int]
    visual_offset: int
    visual_count: int

    def is_visual(self, token: int) -> bool:
        """Return whether ``token`` is one of the visual tokens."""
        return 0 <= token - self.visual_offset < self.visual_count

    @property
    def visual(self) -> range:
        """The ids of all visual tokens."""
        return range(self.visual_offset, self.visual_offset + self.visual_count)

    def image(self, rows: Sequence[Sequence[int]]) -> list[int]:
        """Return the tokens of an image from its rows of visual codes (0 is the first code)."""
        special = self.special
        size = f"{len(rows)}*{len(rows[0])}"
        tokens = [special["boi"], *(self.size_ids[char] for char in size), special["img"]]
        for number, row in enumerate(rows):
            tokens += [] if number == 0 else [special["eol"]]
            tokens += [self.visual_offset + code for code in row]
        return [*tokens, special["eoi"]]


def published_vocabulary(config: Mapping[str, Any]) -> Vocabulary:
    """Return the vocabulary that a checkpoint's ``config.json`` describes.

    Fields that are missing have the ids of the published checkpoints.
    """
    special = dict(PUBLISHED_IDS)
    for name in special:
        value = config.get(f"{name}_token_id")
        if isinstance(value, int):
            special[name] = value
    offset = int(config.get("visual_token_offset") or PUBLISHED_VISUAL_OFFSET)
    count = config.get("visual_vocab_size") or (int(config["vocab_size"]) - offset)
    digits = {char: 15 + int(char) for char in SIZE_CHARACTERS if char.isdigit()}
    size_ids = config.get("size_token_ids") or {**digits, "*": 9}
    return Vocabulary(
        special=special, size_ids=dict(size_ids), visual_offset=offset, visual_count=int(count)
    )


def tiny_vocabulary(visual_count: int) -> Vocabulary:
    """Return the vocabulary of the tiny checkpoint: 256 bytes, the special tokens, the codes."""
    special = {name: BYTES + rank for rank, name in enumerate(SPECIAL_TEXTS)}
    return Vocabulary(
        special=special,
        size_ids={char: byte_ids()[ord(char)] for char in SIZE_CHARACTERS},
        visual_offset=BYTES + len(special),
        visual_count=visual_count,
    )


def byte_ids() -> dict[int, int]:
    """Return byte -> id of a byte-level BPE without merges.

    The printable bytes come first, in order, so that ``0`` is 15 and ``*`` is 9 as in the
    published vocabulary. Source: the byte alphabet of GPT-2's tokenizer.
    """
    return {byte: rank for rank, (byte, _) in enumerate(byte_characters())}


def byte_characters() -> list[tuple[int, str]]:
    """Return (byte, character that stands for it) in the order of the ids."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(BYTES) if byte not in printable]
    return [(byte, chr(byte)) for byte in printable] + [
        (byte, chr(BYTES + rank)) for rank, byte in enumerate(rest)
    ]


def token_texts(vocabulary: Vocabulary) -> dict[str, int]:
    """Return text -> id of every token that stands for more than a piece of text."""
    texts = {SPECIAL_TEXTS[name]: token for name, token in vocabulary.special.items()}
    for code in range(vocabulary.visual_count):
        texts[visual_text(code)] = vocabulary.visual_offset + code
    return texts


def visual_text(code: int) -> str:
    """Return the text of a visual token."""
    return f"<|visual token {code:06d}|>"


def encode_bytes(text: str, vocabulary: Vocabulary) -> list[int]:
    """Return the ids of ``text`` as the tiny checkpoint's tokenizer has to give them."""
    texts, ids = token_texts(vocabulary), byte_ids()
    tokens: list[int] = []
    for part in re.split(r"(<\|[a-z0-9_ ]+\|>)", text):
        if part in texts:
            tokens.append(texts[part])
        else:
            tokens += [ids[byte] for byte in part.encode()]
    return tokens


def image_text(rows: Sequence[Sequence[int]]) -> str:
    """Return the text that a tokenizer turns into the tokens of an image."""
    lines = ["".join(visual_text(code) for code in row) for row in rows]
    body = SPECIAL_TEXTS["eol"].join(lines)
    size = f"{len(rows)}*{len(rows[0])}"
    return f"{SPECIAL_TEXTS['boi']}{size}{SPECIAL_TEXTS['img']}{body}{SPECIAL_TEXTS['eoi']}"
