"""Text and images from Emu3.5 in a few lines, on an ``LLM`` in this process or on a server.

>>> from vllm_patchkit.pipeline import Pipeline, Settings
>>> pipeline = Pipeline.load(Settings(model_path="BAAI/Emu3.5-Image"))  # doctest: +SKIP
>>> result = pipeline.generate("a red fox", task="t2i", aspect_ratio="4:3")  # doctest: +SKIP
>>> result.images[0].size  # doctest: +SKIP
(55, 73)

``Pipeline.connect("http://localhost:8000")`` does the same through ``vllm serve``.
"""

from .. import vocabulary
from ..sequence import ImageSegment, MultimodalSequence, TextSegment, ThoughtSegment
from .backend import LLMBackend, ServerBackend
from .generate import Pipeline
from .settings import Settings
from .tasks import ASPECT_RATIOS, TASKS

__all__ = [
    "ASPECT_RATIOS",
    "TASKS",
    "ImageSegment",
    "LLMBackend",
    "MultimodalSequence",
    "Pipeline",
    "ServerBackend",
    "Settings",
    "TextSegment",
    "ThoughtSegment",
    "vocabulary",
]
