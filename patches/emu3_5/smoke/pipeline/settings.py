"""The settings that adapters of Emu3.5 have today, one to one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Where the model is and how it generates unless a call says otherwise.

    :param vision_tokenizer_path: decodes images to PNG and reads reference pictures; without it
        images are grids of visual tokens.
    :param vision_factory: ``module:function`` that loads a vision tokenizer which does not bring
        its own code.
    :param image_area: pixels of an image whose aspect ratio is given.
    :param engine_arguments: further arguments of ``LLM``.
    """

    model_path: str
    vision_tokenizer_path: str | None = None
    vision_factory: str | None = None
    vision_device: str = "cuda"
    tensor_parallel_size: int = 2
    gpu_memory_utilization: float = 0.7
    guidance_scale: float = 5.0
    max_new_tokens: int = 5120
    image_area: int = 1048576
    trust_remote_code: bool = False
    engine_arguments: dict[str, Any] = field(default_factory=dict)

    def llm_arguments(self) -> dict[str, Any]:
        """Return the arguments of ``LLM``; what is not named is vLLM's default."""
        return {
            "model": self.model_path,
            "tensor_parallel_size": self.tensor_parallel_size,
            "gpu_memory_utilization": self.gpu_memory_utilization,
            "trust_remote_code": self.trust_remote_code,
            **self.engine_arguments,
        }
