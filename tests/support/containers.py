"""Running containers in a test, as docs/container.md tells people to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docker.models.containers import Container

ROOT = Path(__file__).parents[2]
# What docs/container.md tells people to run with.
HARDENED: dict[str, Any] = {
    "read_only": True,
    "network_mode": "none",
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "tmpfs": {"/tmp": "exec,mode=1777", "/home/vllm": "uid=10001,gid=10001"},
}


@dataclass
class Docker:
    """The engine's client, and what the tests made with it."""

    client: Any
    tags: set[str] = field(default_factory=set)

    @contextmanager
    def running(self, image: str, words: Sequence[str] = (), **options: Any) -> Iterator[Container]:
        """Start a container, and remove it at the end whatever happened."""
        container = self.client.containers.run(image, list(words), detach=True, **options)
        try:
            yield container
        finally:
            container.remove(force=True, v=True)

    def output(self, image: str, words: Sequence[str], **options: Any) -> str:
        """Return what a program of the image prints, run as documented."""
        settings = {**HARDENED, "entrypoint": [words[0]], **options}
        answer: bytes = self.client.containers.run(image, list(words[1:]), remove=True, **settings)
        return answer.decode()
