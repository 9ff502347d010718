"""The configuration of the stand-in: Qwen3's, under the name that the checkpoint uses."""

from transformers import Qwen3Config


class Emu3Config(Qwen3Config):
    """Configuration of a tiny Emu3.5."""

    model_type = "Emu3"
