"""PNG files from token grids and from pixels, without an imaging library."""

from __future__ import annotations

import colorsys
import struct
import zlib
from collections.abc import Sequence

SQUARE = 64
"""Points a token: four times as many as the model's own pixels, so that 4x6 tokens can be seen."""
GOLDEN_ANGLE = 0.618033988749895


def draw_grid(rows: Sequence[Sequence[int]], square: int = SQUARE) -> bytes:
    """Return a PNG with one square a visual token, ``square`` pixels wide.

    A code has the same colour in every picture; neighbouring codes have unlike ones.
    """
    lines = []
    for row in rows:
        line = b"".join(code_colour(code) * square for code in row)
        lines += [line] * square
    return encode_png(lines, len(rows[0]) * square)


def code_colour(code: int) -> bytes:
    """Return red, green and blue of a code."""
    hue = code * GOLDEN_ANGLE % 1.0
    light = 0.35 + 0.4 * ((code * 7 + 3) % 11) / 10
    return bytes(round(255 * part) for part in colorsys.hls_to_rgb(hue, light, 0.65))


def encode_png(lines: Sequence[bytes], width: int) -> bytes:
    """Return a PNG from lines of red, green, blue bytes.

    Source: PNG specification, third edition: signature, IHDR, IDAT, IEND; filter type 0.
    """
    header = struct.pack(">IIBBBBB", width, len(lines), 8, 2, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + line for line in lines), 9)
    chunks = (_chunk(b"IHDR", header), _chunk(b"IDAT", data), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
