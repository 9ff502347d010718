"""What docs/pipeline.md says of loading the authors' vision tokenizer."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from patchkit_own_emu3_5 import vision

ROOT = Path(__file__).parents[3]


def test_the_page_s_factory_calls_what_the_authors_have(tmp_path: Path) -> None:
    """``build_vision_tokenizer(type, model_path, device)`` of baaivision/Emu3.5, in ``src/``."""
    page = (ROOT / "docs" / "pipeline.md").read_text("utf-8")
    name, function = re.findall(r"`(\w+):(\w+)`:", page)[0]
    (factory,) = re.findall(r"```python\n([^`]*def load[^`]*)```", page)
    (tmp_path / f"{name}.py").write_text(factory)
    authors = tmp_path / "src" / "vision_tokenizer" / "__init__.py"
    authors.parent.mkdir(parents=True)
    authors.write_text("def build_vision_tokenizer(*words): return words\n")
    try:
        made = vision._call_factory(tmp_path, f"{name}:{function}", "cpu")
    finally:
        for module in (name, "src", "src.vision_tokenizer"):
            sys.modules.pop(module, None)
    assert made == ("ibq", str(tmp_path), "cpu")
