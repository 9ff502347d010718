"""The model of the stand-in: Qwen3's decoder, behind an import that transformers dropped."""

from transformers import Qwen3ForCausalLM
from transformers.utils import logging
from transformers.utils.import_utils import is_torch_fx_available

from .configuration_emu3 import Emu3Config

logger = logging.get_logger(__name__)


def make_causal_mask(length: int) -> list[list[bool]]:
    """Return which position may see which."""
    return [[column <= row for column in range(length)] for row in range(length)]


# Symbolic tracing must see one call here, not its loops.
if is_torch_fx_available():
    import torch.fx

    make_causal_mask = torch.fx.wrap(make_causal_mask)


class Emu3ForCausalLM(Qwen3ForCausalLM):
    """A tiny Emu3.5."""

    config_class = Emu3Config
