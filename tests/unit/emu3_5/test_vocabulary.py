import pytest
from patchkit_own_emu3_5.vocabulary import (
    SPECIAL_TEXTS,
    byte_characters,
    byte_ids,
    encode_bytes,
    image_text,
    published_vocabulary,
    tiny_vocabulary,
    visual_text,
)


def test_digits_and_star_have_the_published_ids():
    """The published table: digits are 15..24 and ``*`` is 9."""
    ids = byte_ids()
    assert [ids[ord(char)] for char in "0123456789*"] == [*range(15, 25), 9]


def test_the_byte_alphabet_is_a_bijection():
    pairs = byte_characters()
    assert sorted(byte for byte, _ in pairs) == list(range(256))
    assert len({char for _, char in pairs}) == 256


def test_published_ids_hold_without_any_field():
    """The facts' table, for a config that names nothing but the size of the vocabulary."""
    found = published_vocabulary({"vocab_size": 282926})
    assert found.special["boi"] == 151852
    assert found.special["eoi"] == 151853
    assert found.special["img"] == 151851
    assert found.special["eol"] == 151846
    assert (found.visual.start, found.visual.stop) == (151854, 282926)


def test_fields_of_the_config_win():
    found = published_vocabulary(
        {"vocab_size": 100, "boi_token_id": 7, "visual_token_offset": 50, "visual_vocab_size": 9}
    )
    assert found.special["boi"] == 7
    assert found.visual == range(50, 59)


def test_special_tokens_keep_their_published_order():
    tiny = tiny_vocabulary(8).special
    names = sorted(tiny, key=tiny.__getitem__)
    published = published_vocabulary({"vocab_size": 282926}).special
    assert names == sorted(published, key=published.__getitem__)


def test_an_image_as_text_encodes_to_its_tokens():
    """The text of a reference image and its tokens are two spellings of the same."""
    vocabulary = tiny_vocabulary(8)
    rows = ((0, 1), (6, 7), (3, 3))
    assert encode_bytes(image_text(rows), vocabulary) == vocabulary.image(rows)


@pytest.mark.parametrize("text", ["", "plain", "<|unknown|>", "é 日本", "<|extra_203|", "a|>b<|"])
def test_text_encodes_to_its_bytes(text):
    """Whatever is no token is bytes."""
    vocabulary = tiny_vocabulary(8)
    ids = byte_ids()
    assert encode_bytes(text, vocabulary) == [ids[byte] for byte in text.encode()]


def test_tokens_inside_text_are_found():
    vocabulary = tiny_vocabulary(8)
    text = f"a{SPECIAL_TEXTS['bss']}{visual_text(3)}b"
    special, ids = vocabulary.special, byte_ids()
    expected = [ids[ord("a")], special["bss"], vocabulary.visual_offset + 3, ids[ord("b")]]
    assert encode_bytes(text, vocabulary) == expected
