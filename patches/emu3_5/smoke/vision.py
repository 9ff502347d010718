"""The vision tokenizer: codes to pixels and back, through the code that comes with it.

Two ways to load one. A folder whose ``config.json`` has an ``auto_map`` is loaded by transformers
with its own remote code. Any other is handed to a factory that the user names (``module:function``,
importable in the target), called with the path and the device. What comes back needs one of the
decoding methods below; sizes are in codes, pixels are channels first, from -1 to 1.

``decode_code(codes, shape)``: codes (1, h*w), shape (1, h, w, width of a code); or
``decode(codes)``: codes (1, h, w).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .picture import encode_png

if TYPE_CHECKING:
    import torch

PIXELS_PER_CODE = 16
CODE_WIDTH = 256


class VisionError(Exception):
    """The vision tokenizer cannot be loaded, or lacks the method that is needed."""


@dataclass(frozen=True, slots=True)
class Vision:
    """A loaded vision tokenizer."""

    model: Any
    device: str
    code_width: int = CODE_WIDTH

    def decode_png(self, codes: Sequence[Sequence[int]]) -> bytes:
        """Return the picture of ``codes`` (rows) as PNG, 16 pixels a code each way."""
        import torch

        height, width = len(codes), len(codes[0])
        tensor = torch.tensor(codes, device=self.device)
        with torch.inference_mode():
            if hasattr(self.model, "decode_code"):
                shape = (1, height, width, self.code_width)
                pixels = self.model.decode_code(tensor.reshape(1, -1), shape=shape)
            elif hasattr(self.model, "decode"):
                pixels = self.model.decode(tensor[None])
            else:
                raise VisionError("the vision tokenizer has neither decode_code nor decode")
        return pixels_to_png(pixels)

    def encode_png(self, picture: bytes) -> tuple[tuple[int, ...], ...]:
        """Return the rows of codes of a picture in any format that Pillow reads.

        The picture is cut to multiples of 16 pixels each way.
        """
        import torch

        if not hasattr(self.model, "encode"):
            raise VisionError("the vision tokenizer has no method encode")
        pixels = picture_to_pixels(picture).to(self.device)
        height, width = (side // PIXELS_PER_CODE for side in pixels.shape[-2:])
        with torch.inference_mode():
            result = self.model.encode(pixels[None])
        codes = _last_tensor(result).reshape(height, width)
        return tuple(tuple(int(code) for code in row) for row in codes.tolist())


def _last_tensor(value: Any) -> Any:
    """Return the codes of an encoder that gives them last in nested tuples."""
    while isinstance(value, (tuple, list)):
        value = value[-1]
    return value


def pixels_to_png(pixels: torch.Tensor) -> bytes:
    """Return a PNG from pixels (1, 3, height, width) from -1 to 1."""
    import torch

    scaled = ((pixels[0].float() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
    image = scaled.permute(1, 2, 0).contiguous().cpu()
    lines = [bytes(line.flatten().tolist()) for line in image]
    return encode_png(lines, int(image.shape[1]))


def picture_to_pixels(picture: bytes) -> torch.Tensor:
    """Return pixels (3, height, width) from -1 to 1, cut to multiples of 16."""
    import io

    import torch
    from PIL import Image

    image = Image.open(io.BytesIO(picture)).convert("RGB")
    width, height = (side - side % PIXELS_PER_CODE for side in image.size)
    if not (width and height):
        raise VisionError(f"a picture of {image.size} pixels is smaller than one visual token")
    image = image.crop((0, 0, width, height))
    flat = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return flat.view(height, width, 3).permute(2, 0, 1).float() / 127.5 - 1.0


@lru_cache(maxsize=1)
def load_vision(path: str, factory: str | None, device: str) -> Vision:
    """Return the vision tokenizer in the folder ``path``.

    :param factory: ``module:function``; None for a folder that brings its code along.
    :raises VisionError: neither way leads to one.
    """
    folder = Path(path)
    if factory is not None:
        model = _call_factory(folder, factory, device)
    elif _has_remote_code(folder):
        from transformers import AutoModel

        model = AutoModel.from_pretrained(folder, trust_remote_code=True).to(device)
    else:
        raise VisionError(
            f"{folder} does not bring its own code (no auto_map in its config.json): name what "
            "loads it with --vision-factory MODULE:FUNCTION"
        )
    if hasattr(model, "eval"):
        model = model.eval()
    return Vision(model, device, int(getattr(model, "code_width", CODE_WIDTH)))


def _has_remote_code(folder: Path) -> bool:
    config = folder / "config.json"
    return config.is_file() and "auto_map" in json.loads(config.read_text(encoding="utf-8"))


def _call_factory(folder: Path, factory: str, device: str) -> Any:
    module, _, function = factory.partition(":")
    sys.path.append(str(folder))
    try:
        return getattr(import_module(module), function)(str(folder), device)
    except (ImportError, AttributeError) as error:
        raise VisionError(f"--vision-factory {factory}: {error}") from error
    finally:
        sys.path.remove(str(folder))
