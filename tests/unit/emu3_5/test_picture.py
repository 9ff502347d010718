import struct
import zlib

from patchkit_own_emu3_5.picture import code_colour, draw_grid


def chunks(png):
    """Walk the chunks of a PNG as its specification lays them out; check each CRC."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    place = 8
    while place < len(png):
        (size,) = struct.unpack(">I", png[place : place + 4])
        kind, data = png[place + 4 : place + 8], png[place + 8 : place + 8 + size]
        (crc,) = struct.unpack(">I", png[place + 8 + size : place + 12 + size])
        assert crc == zlib.crc32(kind + data)
        yield kind, data
        place += 12 + size


def test_a_grid_is_one_square_a_token():
    """Width and height are 16 pixels a token, and each pixel has the colour of its token."""
    rows = ((1, 2, 3), (4, 5, 6))
    parts = dict(chunks(draw_grid(rows, square=16)))
    assert list(parts) == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", parts[b"IHDR"]) == (48, 32, 8, 2, 0, 0, 0)
    pixels = zlib.decompress(parts[b"IDAT"])
    stride = 1 + 48 * 3
    assert len(pixels) == 32 * stride
    for y in range(32):
        line = pixels[y * stride : (y + 1) * stride]
        assert line[0] == 0
        for x in range(48):
            assert line[1 + 3 * x : 4 + 3 * x] == code_colour(rows[y // 16][x // 16])


def test_codes_have_colours_of_their_own():
    assert len({code_colour(code) for code in range(128)}) > 120
