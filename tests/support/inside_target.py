"""Checks of the stack's own scenarios that need torch and transformers, in the target.

    python inside_target.py CHECK FOLDER

``patchkit_own_emu3_5`` has to be importable. A check raises if it does not hold.
"""

import io
import json
import random
import sys
from pathlib import Path

WORDS = ["fox", " ", "2*3", "é", "日本", "\n", "<|", "|>", "<|extra_203|>", "<|image token|>"]
FACTORY = """
import torch

class ByShape:
    '''Pixels follow from codes: red is the code, green the row, blue the column.'''
    def decode_code(self, codes, shape):
        batch, height, width, _ = shape
        grid = codes.reshape(height, width)
        row = torch.arange(height)[:, None].expand(height, width)
        column = torch.arange(width)[None].expand(height, width)
        pixels = torch.stack([grid, row, column]).float() / 127.5 - 1
        return pixels.repeat_interleave(16, 1).repeat_interleave(16, 2)[None]

    def encode(self, pixels):
        red = pixels[:, 0, ::16, ::16]
        return None, None, (None, ((red + 1) * 127.5).round().long().flatten())

class ByGrid:
    def decode(self, codes):
        assert codes.dim() == 3
        return ByShape().decode_code(codes[0], (1, *codes.shape[1:], 0))

def load(path, device):
    assert device == "cpu"
    return ByShape()

def load_other(path, device):
    return ByGrid()
"""
CONFIGURATION = """
from transformers import PretrainedConfig

class FakeConfig(PretrainedConfig):
    model_type = "fake-vision"
"""
MODELING = """
import torch
from transformers import PreTrainedModel
from .configuration_fake import FakeConfig

class FakeModel(PreTrainedModel):
    config_class = FakeConfig
    def __init__(self, config):
        super().__init__(config)
        self.scale = torch.nn.Parameter(torch.ones(1))
    def decode_code(self, codes, shape):
        pixels = (codes.reshape(shape[1:3]) * self.scale / 127.5 - 1).expand(3, *shape[1:3])
        return pixels.repeat_interleave(16, 1).repeat_interleave(16, 2)[None]
"""


def check_network(folder):
    """The oracle's logits are those of transformers' Qwen3 with the same weights."""
    import torch
    from patchkit_own_emu3_5 import tiny
    from patchkit_own_emu3_5.oracle_model import OracleModel
    from transformers import Qwen3Config, Qwen3ForCausalLM

    vocabulary = tiny.write_checkpoint(folder)
    config = tiny.make_config(vocabulary)
    kept = {name: config[name] for name in (*tiny.SHAPE, "vocab_size")}
    peer = Qwen3ForCausalLM(Qwen3Config(**kept, attn_implementation="eager")).double()
    oracle = OracleModel.read(folder, "float64")
    missing, unexpected = peer.load_state_dict(oracle.weights, strict=False)
    assert (missing, unexpected) == ([], [])
    draw = random.Random(3)
    single = OracleModel.read(folder)
    for length in (1, 2, 17, 120):
        tokens = [draw.randrange(config["vocab_size"]) for _ in range(length)]
        with torch.no_grad():
            expected = peer(torch.tensor([tokens])).logits[0, -1]
        # transformers computes the rotary angles in float32 whatever the weights are.
        torch.testing.assert_close(oracle.logits(tokens), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(single.logits(tokens).double(), expected, rtol=1e-3, atol=1e-3)


def check_tokenizer(folder):
    """The tokenizer that is written encodes as ``encode_bytes`` says, and decodes back."""
    from patchkit_own_emu3_5 import tiny
    from patchkit_own_emu3_5.vocabulary import encode_bytes, visual_text
    from transformers import AutoTokenizer

    vocabulary = tiny.write_checkpoint(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    draw = random.Random(5)
    words = [*WORDS, visual_text(0), visual_text(127), visual_text(128)]
    for _ in range(300):
        text = "".join(draw.choices(words, k=draw.randrange(12)))
        tokens = encode_bytes(text, vocabulary)
        assert tokenizer.encode(text) == tokens, text
        assert tokenizer.decode(tokens) == text, text


def check_checkpoint(folder):
    """The same seed gives the same bytes; another one other weights."""
    from patchkit_own_emu3_5 import tiny

    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        tiny.write_checkpoint(folder / name, seed)
    first, second, third = (
        (folder / name / "model.safetensors").read_bytes() for name in ("a", "b", "c")
    )
    assert first == second
    assert first != third


def check_png(folder):
    """Pillow sees one square a token, in the token's colour."""
    from patchkit_own_emu3_5.picture import code_colour, draw_grid
    from PIL import Image

    rows = ((0, 1, 127), (5, 5, 6))
    image = Image.open(io.BytesIO(draw_grid(rows, square=16)))
    image.load()
    assert image.size == (48, 32)
    for y in range(32):
        for x in range(48):
            assert bytes(image.getpixel((x, y))) == code_colour(rows[y // 16][x // 16])


def check_vision(folder):
    """Either decoding interface gives the pixels that follow from the codes; codes come back."""
    from patchkit_own_emu3_5.vision import VisionError, load_vision
    from PIL import Image

    (folder / "fake_vision.py").write_text(FACTORY)
    rows = ((10, 20, 30), (40, 50, 60))
    for function in ("load", "load_other"):
        vision = load_vision(str(folder), f"fake_vision:{function}", "cpu")
        image = Image.open(io.BytesIO(vision.decode_png(rows)))
        assert image.size == (48, 32)
        for y in range(32):
            for x in range(48):
                pixel = (rows[y // 16][x // 16], y // 16, x // 16)
                assert image.getpixel((x, y)) == pixel, (x, y)
    vision = load_vision(str(folder), "fake_vision:load", "cpu")
    # A picture that is no multiple of 16 pixels is cut.
    picture = Image.open(io.BytesIO(vision.decode_png(rows))).resize((48, 32))
    canvas = Image.new("RGB", (50, 33))
    canvas.paste(picture)
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG")
    assert vision.encode_png(buffer.getvalue()) == rows
    for factory in ("fake_vision:nothing", "no_such_module:load"):
        message = ""
        try:
            load_vision(str(folder), factory, "cpu")
        except VisionError as error:
            message = str(error)
        assert factory in message


def check_remote_code(folder):
    """A folder with an ``auto_map`` is loaded through the code that it brings."""
    import torch
    from patchkit_own_emu3_5.vision import load_vision
    from PIL import Image
    from safetensors.torch import save_file

    (folder / "configuration_fake.py").write_text(CONFIGURATION)
    (folder / "modeling_fake.py").write_text(MODELING)
    auto_map = {
        "AutoConfig": "configuration_fake.FakeConfig",
        "AutoModel": "modeling_fake.FakeModel",
    }
    config = {"model_type": "fake-vision", "auto_map": auto_map, "torch_dtype": "float32"}
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"scale": torch.full((1,), 2.0)}, folder / "model.safetensors", {"format": "pt"})
    vision = load_vision(str(folder), None, "cpu")
    image = Image.open(io.BytesIO(vision.decode_png(((10, 20), (30, 40)))))
    assert [image.getpixel(at)[0] for at in ((0, 0), (31, 0), (0, 31), (31, 31))] == [
        20,
        40,
        60,
        80,
    ]


def check_protobuf(folder):
    """The library that vLLM depends on reads back what was written."""
    from patchkit_own_emu3_5 import sequence, sequence_pb2

    written = sequence.MultimodalSequence(
        question="q",
        task="x2i",
        segments=(
            sequence.ThoughtSegment(text="plan", scope="global"),
            sequence.ThoughtSegment(text="detail", scope="image"),
            sequence.ImageSegment(codes=((1, 2), (3, 400)), png=b"\x89PNG"),
            sequence.TextSegment(text="日本"),
        ),
        token_ids=(1, 282925),
        references=(sequence.ImageSegment(codes=((7,),)),),
    )
    read = sequence_pb2.MultimodalSequence.FromString(written.to_protobuf())
    assert (read.question, read.task, list(read.token_ids)) == ("q", "x2i", [1, 282925])
    kinds = [segment.WhichOneof("content") for segment in read.segments]
    assert kinds == ["chain_of_thought", "chain_of_thought", "image", "text"]
    scopes = [segment.chain_of_thought.scope for segment in read.segments[:2]]
    assert scopes == [sequence_pb2.ChainOfThought.GLOBAL, sequence_pb2.ChainOfThought.IMAGE]
    image = read.segments[2].image
    assert (image.height, image.width, list(image.codes)) == (2, 2, [1, 2, 3, 400])
    assert image.png == b"\x89PNG"
    assert read.segments[3].text == "日本"
    assert list(read.references[0].codes) == [7]


def check_trained(folder):
    """Write a checkpoint that begins an image after BSS by itself, as a trained one does."""
    from patchkit_own_emu3_5 import tiny
    from patchkit_own_emu3_5.cases import QUESTION, make_template
    from patchkit_own_emu3_5.oracle_model import OracleModel
    from patchkit_own_emu3_5.vocabulary import encode_bytes
    from safetensors.torch import save_file

    vocabulary = tiny.write_checkpoint(folder)
    model = OracleModel.read(folder)
    tokens = encode_bytes(make_template("t2i", QUESTION), vocabulary)
    # The logits of BOI are this row times the last hidden state: make it point the same way.
    head = model.weights["lm_head.weight"]
    rows, expected = head.shape[1], model.logits(tokens)
    hidden = head[:rows].inverse() @ expected[:rows]
    head[vocabulary.special["boi"]] = hidden / hidden.norm() * head.norm(dim=1).max() * 5
    save_file(model.weights, folder / "model.safetensors", {"format": "pt"})
    assert int(model.logits(tokens).argmax()) == vocabulary.special["boi"]
    (folder / "fake_vision.py").write_text(FACTORY)


def check_pipeline(folder):
    """Tasks of the pipeline on an ``LLM``, pictures decoded and read back."""
    import os

    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    from vllm import LLM

    from vllm_patchkit.errors import PatchkitError
    from vllm_patchkit.pipeline import Pipeline, Settings

    check_trained(folder)
    settings = Settings(
        model_path=str(folder),
        vision_tokenizer_path=str(folder),
        vision_factory="fake_vision:load",
        vision_device="cpu",
        tensor_parallel_size=1,
        max_new_tokens=64,
        engine_arguments={"dtype": "float32", "enforce_eager": True, "max_model_len": 512},
    )
    pipeline = Pipeline.of(LLM(**settings.llm_arguments()), settings)
    drawn = pipeline.generate("A fox.", aspect_ratio=(4, 6), seed=1)
    (image,) = drawn.images
    assert image.size == (4, 6)
    assert drawn.token_ids[-1] == pipeline.backend.vocabulary.special["eoi"]
    plain = pipeline.generate("A fox.", aspect_ratio=(4, 6), seed=1, guidance_scale=1.0)
    assert plain.images[0].codes != image.codes
    # The picture is read by the vision tokenizer, and its codes are in the prompt.
    edited = pipeline.generate(
        "Make it night.",
        task="x2i",
        images=[image.png],
        image_cfg_scale=1.5,
        aspect_ratio=(2, 3),
        seed=1,
    )
    assert edited.references[0].codes == image.codes
    assert edited.images[0].size == (2, 3)
    # This model begins an image whatever it is asked; cut off, that is no answer.
    message = ""
    try:
        pipeline.generate("What is it?", task="understanding", images=[image], max_new_tokens=4)
    except PatchkitError as error:
        message = str(error)
    assert "the image that begins at token 0 is not finished" in message


def check_mistral(folder):
    """A checkpoint that no stack has a part in, for ``--model``."""
    from patchkit_worker.general.checkpoints import write_checkpoint

    write_checkpoint("MistralForCausalLM", folder)


if __name__ == "__main__":
    globals()[f"check_{sys.argv[1]}"](Path(sys.argv[2]))
