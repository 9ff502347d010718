import pytest
from patchkit_own_emu3_5.grammar import find_region, parse_images, parse_size
from patchkit_own_emu3_5.vocabulary import tiny_vocabulary

VOCABULARY = tiny_vocabulary(32)
SPECIAL = VOCABULARY.special
ROWS = ((1, 2, 3), (4, 5, 6))


def spelled(text):
    return [VOCABULARY.size_ids[char] for char in text]


def test_an_image_has_the_length_that_the_facts_give():
    """A 64x64 image is 1 + 5 + 1 + 64*65 = 4,167 tokens."""
    rows = [[0] * 64 for _ in range(64)]
    assert len(VOCABULARY.image(rows)) == 4167


def test_parsing_gives_the_rows_back():
    """What ``Vocabulary.image`` spells, ``parse_images`` reads, wherever it stands."""
    tokens = [5, 6, *VOCABULARY.image(ROWS), 7, *VOCABULARY.image(((9,),))]
    images = parse_images(tokens, VOCABULARY)
    assert [image.rows for image in images] == [ROWS, ((9,),)]
    assert [tokens[image.end] for image in images] == [SPECIAL["eoi"]] * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda image: image[:-1], "not finished"),
        (lambda image: image[:6] + image[7:], "of 2*3 has"),
        (lambda image: [*image, VOCABULARY.visual_offset], "outside an image"),
        (lambda image: [*image[:6], 200, *image[7:]], "between the pixels"),
        (lambda image: [image[0], *spelled("2*"), *image[4:]], "size reads '2\\*'"),
        (lambda image: [image[0], *spelled("3*2"), *image[4:]], "of 3*2 has"),
    ],
)
def test_a_broken_image_is_refused(change, message):
    """A short row, a wrong size, a foreign or a stray token: each is named."""
    with pytest.raises(ValueError, match=message.replace("*2", r"\*2").replace("2*3", r"2\*3")):
        parse_images(change(VOCABULARY.image(ROWS)), VOCABULARY)


def test_every_token_of_an_image_is_allowed_where_it_stands():
    """Walking along an image, the region always allows the token that comes."""
    image = VOCABULARY.image(ROWS)
    kinds = []
    for place in range(1, len(image)):
        region = find_region(image[:place], VOCABULARY, (2, 3))
        kinds.append((region.kind, len(region.allowed)))
        assert image[place] in region.allowed
    visual = VOCABULARY.visual_count
    pixels = [("pixels", visual)] * 3
    assert kinds == [("size", 1)] * 4 + pixels + [("pixels", 1)] + pixels + [("pixels", 1)]


def test_text_forbids_nothing_but_visual_tokens():
    """Before BOI and after EOI the region is text."""
    image = VOCABULARY.image(ROWS)
    assert find_region([1, 2], VOCABULARY, None).kind == "text"
    assert find_region(image, VOCABULARY, (2, 3)).kind == "text"


def test_a_free_size_is_two_digits_each_way():
    """Positions 1 and 4 are 1-9, 2 and 5 are 0-9, 3 is a star, then IMG."""
    prefix = [SPECIAL["boi"]]
    expected = ["123456789", "0123456789", "*", "123456789", "0123456789"]
    for characters in expected:
        region = find_region(prefix, VOCABULARY, None)
        assert region.allowed == tuple(spelled(characters))
        prefix.append(region.allowed[0])
    assert find_region(prefix, VOCABULARY, None).allowed == (SPECIAL["img"],)


def test_a_size_of_zero_is_none():
    with pytest.raises(ValueError, match="size reads '0\\*4'"):
        parse_size(spelled("0*4"), VOCABULARY)
