import pytest
from patchkit_own_emu3_5.vocabulary import image_text, tiny_vocabulary

from vllm_patchkit.errors import PatchkitError, UsageError
from vllm_patchkit.pipeline import ImageSegment, Pipeline, Settings, TextSegment, ThoughtSegment

VOCABULARY = tiny_vocabulary(64)
SPECIAL = VOCABULARY.special
ROWS = ((1, 2), (3, 4), (5, 6))


class FakeBackend:
    """Remembers what it is asked and answers with fixed tokens; text token n reads as ``n``."""

    vocabulary = VOCABULARY

    def __init__(self, tokens):
        self.tokens = tuple(tokens)
        self.requests = []

    def complete(self, requests):
        self.requests += requests
        return [self.tokens] * len(requests)

    def decode(self, tokens):
        return " ".join(str(token) for token in tokens)


def make(tokens, **settings):
    backend = FakeBackend(tokens)
    return Pipeline(backend, Settings(model_path="m", **settings)), backend


def test_an_image_comes_back_as_codes():
    pipeline, backend = make(VOCABULARY.image(ROWS))
    result = pipeline.generate("a fox", aspect_ratio=(3, 2))
    assert result.images == (ImageSegment(codes=ROWS),)
    (request,) = backend.requests
    assert request.extra["guidance_scale"] == 5.0
    assert (request.extra["height"], request.extra["width"]) == (3, 2)
    assert request.extra["visual_top_k"] == 5120
    assert request.uncond_no_image is None
    assert set(request.stop_token_ids) == {SPECIAL["eoi"], SPECIAL["eos"]}
    assert request.max_tokens == 5120


def test_settings_and_arguments_override_defaults():
    pipeline, backend = make(VOCABULARY.image(ROWS), guidance_scale=2.0, max_new_tokens=90)
    pipeline.generate("a", aspect_ratio=None)
    pipeline.generate("a", aspect_ratio=None, guidance_scale=3.0, visual_top_k=7, seed=1)
    first, second = backend.requests
    assert (first.extra["guidance_scale"], first.max_tokens) == (2.0, 90)
    assert (second.extra["guidance_scale"], second.extra["visual_top_k"]) == (3.0, 7)
    assert second.seed == 1
    assert "height" not in first.extra


def test_segments_keep_the_order_of_the_sequence():
    tokens = [
        *(SPECIAL["bog"], 1, 2, SPECIAL["eog"]),
        *(3, 4, SPECIAL["boc"], 5, SPECIAL["eoc"]),
        *VOCABULARY.image(ROWS),
        *(6, SPECIAL["ess"], SPECIAL["eos"]),
    ]
    pipeline, _ = make(tokens)
    result = pipeline.generate("tell", task="story", aspect_ratio=(3, 2))
    assert result.segments == (
        ThoughtSegment(text="1 2", scope="global"),
        TextSegment(text="3 4"),
        ThoughtSegment(text="5", scope="image"),
        ImageSegment(codes=ROWS),
        TextSegment(text="6"),
    )
    assert result.text == "3 46"
    assert result.token_ids == tuple(tokens)


def test_understanding_is_not_guided_and_reads_the_image():
    pipeline, backend = make([7, 8, SPECIAL["eos"]])
    result = pipeline.generate("what is it?", task="understanding", images=[ROWS])
    (request,) = backend.requests
    assert request.uncond is None
    assert "guidance_scale" not in request.extra
    assert image_text(ROWS) in request.prompt
    assert result.text == "7 8"
    assert result.references == (ImageSegment(codes=ROWS),)


def test_three_streams_only_when_asked_for():
    pipeline, backend = make(VOCABULARY.image(ROWS))
    pipeline.generate("blue", task="x2i", images=[ROWS], aspect_ratio=(3, 2))
    pipeline.generate("blue", task="x2i", images=[ROWS], aspect_ratio=(3, 2), image_cfg_scale=1.5)
    two, three = backend.requests
    assert two.uncond_no_image is None
    assert image_text(ROWS) in two.uncond
    assert image_text(ROWS) not in three.uncond_no_image
    assert three.extra["image_cfg_scale"] == 1.5
    with pytest.raises(UsageError, match="image_cfg_scale needs"):
        pipeline.generate("blue", image_cfg_scale=1.5)


def test_what_cannot_fit_is_refused_before_it_is_sent():
    pipeline, backend = make([], max_new_tokens=4166)
    with pytest.raises(UsageError, match=r"64\*64 has 4167 tokens, max_new_tokens is 4166"):
        pipeline.generate("a", aspect_ratio="1:1")
    with pytest.raises(UsageError, match="only be read with a vision tokenizer"):
        pipeline.generate("a", task="x2i", images=[b"PNG"])
    assert backend.requests == []


def test_a_broken_answer_is_no_sequence():
    pipeline, _ = make(VOCABULARY.image(ROWS)[:-1])
    with pytest.raises(PatchkitError, match="not finished"):
        pipeline.generate("a", aspect_ratio=(3, 2))


def test_json_holds_everything():
    pipeline, _ = make(VOCABULARY.image(ROWS))
    document = pipeline.generate("a fox", aspect_ratio=(3, 2)).to_json()
    assert list(document) == [
        "format",
        "question",
        "task",
        "references",
        "segments",
        "token_ids",
    ]
    (segment,) = document["segments"]
    assert segment["codes"] == [list(row) for row in ROWS]
    assert (segment["height"], segment["width"]) == (3, 2)


def test_the_binary_form_is_the_protos():
    """Decoded by a reader of the wire format that shares nothing with protobuf's library."""
    tokens = [SPECIAL["bog"], 1, SPECIAL["eog"], 2, *VOCABULARY.image(ROWS)]
    pipeline, _ = make(tokens)
    sequence = pipeline.generate("a fox", task="story", aspect_ratio=(3, 2))
    message = fields(sequence.to_protobuf())
    assert message[1] == [b"a fox"]
    assert message[2] == [b"story"]
    thought, text, image = (fields(data) for data in message[3])
    assert fields(thought[2][0]) == {1: [1], 2: [b"1"]}
    assert text[1] == [b"2"]
    picture = fields(image[3][0])
    assert (picture[1], picture[2]) == ([3], [2])
    assert list(varints(picture[3][0])) == [1, 2, 3, 4, 5, 6]
    assert list(varints(message[4][0])) == tokens


def varints(data):
    """Protocol buffers encoding: seven bits a byte, low ones first, the top bit says more."""
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value = shift = 0


def fields(data):
    """Return field number -> values; wire types 0 (varint) and 2 (length-delimited) only."""
    found = {}
    place = 0
    while place < len(data):
        key, place = one_varint(data, place)
        value, place = one_varint(data, place)
        if key & 7 == 2:
            value, place = data[place : place + value], place + value
        else:
            assert key & 7 == 0
        found.setdefault(key >> 3, []).append(value)
    return found


def one_varint(data, place):
    end = place
    while data[end] >= 0x80:
        end += 1
    return next(varints(data[place : end + 1])), end + 1
