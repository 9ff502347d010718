"""What a smoke run is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vllm_patchkit.errors import UsageError

DEFAULT_TIMEOUT_S = 900.0
UPSTREAM_TIMEOUT_S = 7200.0
FILE_LIMIT_S = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class UpstreamTests:
    """The release's own tests, to run instead of scenarios.

    :param sdist: the file that holds them.
    :param touched: dotted names of the modules that the stack touches.
    :param only: ends of paths of test files; empty for all that import a touched module.
    :param supply: a folder of packages that the environment lacks, such as pytest.
    :param limit_s: of one file.
    """

    sdist: str
    sha256: str
    touched: tuple[str, ...]
    only: tuple[str, ...] = ()
    supply: str | None = None
    limit_s: float = FILE_LIMIT_S


@dataclass(frozen=True, kw_only=True, slots=True)
class SmokeOptions:
    """The options of ``vllm-patchkit smoke``; docs/smoke.md explains each.

    :param scenarios: names to run; empty for all that fit the device and the model.
    :param own_scenarios: run what the artifact's stacks declare of their own, which is their code.
    :param architectures: of the general scenarios' models; empty for the stack's or the usual ones.
    :param unpatched: the artifact may be a release without a stack.
    :param digests: stack -> stack digest that the artifact has to have.
    """

    device: str = "cpu"
    tensor_parallel_size: int = 1
    quantization: str | None = None
    dtype: str | None = None
    scenarios: tuple[str, ...] = ()
    own_scenarios: bool = True
    architectures: tuple[str, ...] = ()
    unpatched: bool = False
    checks_only: bool = False
    model: str | None = None
    prompt: str | None = None
    image_size: tuple[int, int] | None = None
    trust_remote_code: bool = False
    vision_tokenizer: str | None = None
    vision_factory: str | None = None
    gpu_memory_utilization: float | None = None
    port: int | None = None
    eager: bool = False
    timeout_s: float = DEFAULT_TIMEOUT_S
    digests: Mapping[str, str] = field(default_factory=dict)
    upstream: UpstreamTests | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without the target.

        :raises UsageError: options contradict each other.
        """
        vision = self.vision_tokenizer or self.vision_factory
        for option, value in (("--prompt", self.prompt), ("--vision-tokenizer", vision)):
            if value and not self.model:
                raise UsageError(
                    f"{option} needs a real checkpoint: the tiny one's weights are random",
                    hint="give --model PATH",
                )
        if self.model and not (Path(self.model) / "config.json").is_file():
            raise UsageError(
                f"{self.model} is no checkpoint: it has no config.json",
                hint="--model takes the folder of a downloaded checkpoint",
            )

    def to_job(self, expected: Mapping[str, Any]) -> dict[str, Any]:
        """Return the job that the worker reads.

        :param expected: what the subject knows of its artifact.
        """
        values = asdict(self)
        own, deadline_s = values.pop("own_scenarios"), values.pop("timeout_s")
        digests = values.pop("digests")
        return {
            **values,
            "stages": ("artifact", "upstream") if self.upstream else ("artifact",),
            "checks_only": self.checks_only or self.upstream is not None,
            "upstream": values["upstream"] or {},
            "own": own,
            "preferred": tuple(digests),
            "scenarios": self.scenarios or None,
            "model": str(Path(self.model).resolve()) if self.model else None,
            "deadline_s": deadline_s,
            "artifact": {**expected, "digests": digests},
        }
