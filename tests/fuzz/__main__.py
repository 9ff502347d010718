"""Coverage-guided fuzzing with atheris: ``python -m fuzz HARNESS -runs=100000``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["vllm_patchkit"]):
    from fuzz.harness import HARNESSES
    from fuzz.seeds import seeds


def main() -> None:
    """Run one harness from its seeds."""
    name = sys.argv[1]
    with tempfile.TemporaryDirectory() as corpus:
        for number, data in enumerate(seeds(name)):
            (Path(corpus) / str(number)).write_bytes(data)
        atheris.Setup([sys.argv[0], *sys.argv[2:], corpus], HARNESSES[name])
        atheris.Fuzz()


main()
