"""What a safetensors file says it holds, checked as the format's own reader checks it.

Source of the rules: the format's README and ``SafeTensors::deserialize`` of the safetensors crate.
No tensor is read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vllm_patchkit.errors import PatchkitError

LENGTH_BYTES = 8
HEADER_LIMIT = 100_000_000
BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
    "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip


class SafetensorsError(PatchkitError):
    """A file is not a whole safetensors file; the message says why, without its name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tensor:
    """One entry of the header: what it is, and where its bytes lie behind the header."""

    shape: tuple[int, ...]
    bits: int
    begin: int
    end: int


def read_header(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name.

    :raises SafetensorsError: the file is cut short, or contradicts itself.
    :raises OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(LENGTH_BYTES), "little")
        if size < LENGTH_BYTES or length > min(HEADER_LIMIT, size - LENGTH_BYTES):
            raise SafetensorsError(f"a header of {length} bytes in a file of {size}")
        tensors = parse_header(stream.read(length))
    _require_whole(tensors, size - LENGTH_BYTES - length)
    return tensors


def parse_header(data: bytes) -> dict[str, Tensor]:
    """Return the tensors that a header names.

    :raises SafetensorsError: it is not JSON of the format's kind.
    """
    try:
        header = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise SafetensorsError(f"its header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise SafetensorsError("its header is not a JSON object")
    _require_metadata(header.pop("__metadata__", None))
    return {name: _tensor(name, entry) for name, entry in header.items()}


def _require_metadata(metadata: Any) -> None:
    if metadata is not None and not (
        isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    ):
        raise SafetensorsError("its __metadata__ is not text by name")


def _tensor(name: str, entry: Any) -> Tensor:
    try:
        bits, shape = BITS[entry["dtype"]], tuple(entry["shape"])
        begin, end = entry["data_offsets"]
    except (KeyError, TypeError, ValueError):
        raise SafetensorsError(f"{name}: its dtype, shape or data_offsets is unknown") from None
    if not all(type(value) is int and 0 <= value < 1 << 64 for value in (*shape, begin, end)):
        raise SafetensorsError(f"{name} has a shape or data_offsets that are no sizes")
    count = _product(name, shape)
    if count * bits != (end - begin) * 8:
        raise SafetensorsError(
            f"{name} takes {count * bits // 8} bytes, and its data_offsets {end - begin}"
        )
    return Tensor(shape=shape, bits=bits, begin=begin, end=end)


def _product(name: str, shape: tuple[int, ...]) -> int:
    """Return the number of elements, which the format's reader holds in 64 bits."""
    count = 1
    for side in shape:
        count *= side
        if count >> 64:
            raise SafetensorsError(f"{name} has more elements than a file can hold")
    return count


def _require_whole(tensors: dict[str, Tensor], size: int) -> None:
    """See that the tensors follow one another and end where the file does."""
    at = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin != at:
            raise SafetensorsError(f"{name} begins at byte {tensor.begin}, expected {at}")
        at = tensor.end
    if at != size:
        raise SafetensorsError(f"its tensors take {at} bytes, and {size} are there")
