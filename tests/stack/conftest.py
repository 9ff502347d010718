"""Fixtures for the tests of the Emu3.5 stack. They need an interpreter that has the patched vLLM
(`make stack`).
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest

from support.order import pytest_collection_modifyitems  # noqa: F401

# Tests read and steer the engine, so it runs in this process unless a test starts a server or
# several ranks.
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "all")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

if importlib.util.find_spec("vllm") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    import checkpoint as tiny
    from engine import Engine
    from oracle import Oracle
    from workload import Workload

    @pytest.fixture(scope="session")
    def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tiny.Checkpoint:
        """The checkpoint that most tests use."""
        return tiny.make_checkpoint(tmp_path_factory.mktemp("emu3_5") / "gqa", seed=4)

    @pytest.fixture(scope="session")
    def oracle(checkpoint: tiny.Checkpoint) -> Oracle:
        return Oracle(checkpoint)

    @pytest.fixture(scope="session")
    def workload(oracle: Oracle) -> Workload:
        return Workload(oracle)

    @pytest.fixture(scope="module")
    def start_engine() -> Iterator[Callable[..., Engine]]:
        """Starts an engine in this process; a module has one at a time."""
        running: list[Engine] = []

        def start(checkpoint: tiny.Checkpoint, **arguments: object) -> Engine:
            while running:
                running.pop().stop()
            running.append(Engine(checkpoint, **arguments))
            return running[-1]

        yield start
        while running:
            running.pop().stop()

    @dataclass
    class Drafts:
        """What an engine with windows proposed, and how much of it was right."""

        steps: int = 0
        proposed: int = 0
        accepted: int = 0

    @pytest.fixture
    def drafts(monkeypatch: pytest.MonkeyPatch) -> Drafts:
        """Counts of the drafts of a test."""
        from vllm.v1.sample.logits_processor import image_guidance

        found = Drafts()
        count = image_guidance.count_committed

        def count_committed(drafts: Sequence[int], drawn: Sequence[int]) -> int:
            committed = count(drafts, drawn)
            found.steps += 1
            found.proposed += len(drafts)
            found.accepted += committed - 1
            return committed

        monkeypatch.setattr(image_guidance, "count_committed", count_committed)
        return found
