"""Sets of requests on their way through an engine, and the time that its steps take with them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm import LLM, SamplingParams

# Steps at either end that are not all plain decodes: prompts, streams catching up.
SETTLE_STEPS = 12


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt and its parameters, in vLLM's terms."""

    prompt: dict[str, Any]
    params: SamplingParams


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One run of a set of requests.

    :param step_ms: median time of the steps in which every request got a token.
    :param tokens_per_s: tokens of all requests in those steps, by their time.
    :param seconds: of all steps.
    :param answers: the tokens of each request, in order.
    """

    step_ms: float
    tokens_per_s: float
    seconds: float
    steps: int
    answers: tuple[tuple[int, ...], ...]

    @property
    def token_ms(self) -> float:
        """Mean time in which every request got one token; a step may give some of them two."""
        return 1e3 * len(self.answers) / self.tokens_per_s


@dataclass(slots=True)
class Steps:
    """Durations (s), token counts and rows of an engine's steps on a set of requests."""

    seconds: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)


class Run:
    """One set of requests on its way through an engine, step by step.

    :param stagger: steps between the arrivals of two requests; 0 for all of them at once.
    :param together: number of requests that arrive in one step.
    """

    def __init__(
        self, llm: LLM, requests: Sequence[Request], *, stagger: int = 0, together: int = 1
    ) -> None:
        self.engine = llm.llm_engine
        self.number = len(requests)
        self.steps = Steps()
        self.answers: dict[str, list[int]] = {}
        self.stagger = max(stagger, 1)
        self.together = together if stagger else self.number
        self.coming = list(requests)

    def _arrive(self) -> None:
        from vllm.sampling_params import RequestOutputKind

        for request in self.coming[: self.together]:
            params = request.params.clone()
            params.output_kind = RequestOutputKind.DELTA
            prompt: Any = request.prompt
            name = f"{time.monotonic_ns()}-{len(self.answers)}"
            self.answers[name] = []
            self.engine.add_request(name, prompt, params)
        del self.coming[: self.together]

    def step(self) -> bool:
        """Make one step, if there is anything to do; return whether there was."""
        if self.coming and len(self.steps.seconds) % self.stagger == 0:
            self._arrive()
        if not self.engine.has_unfinished_requests():
            return False
        started = time.perf_counter()
        outputs: list[Any] = self.engine.step()
        self.steps.seconds.append(time.perf_counter() - started)
        self.steps.rows.append(len(outputs))
        self.steps.counts.append(sum(len(output.outputs[0].token_ids) for output in outputs))
        for output in outputs:
            self.answers[output.request_id] += output.outputs[0].token_ids
        return True

    def result(self) -> Measured:
        """Return what the steps took in which every request got a token."""
        steps = self.steps
        full = [place for place, rows in enumerate(steps.rows) if rows == self.number]
        window = full[SETTLE_STEPS : -SETTLE_STEPS // 2] or full[1:]
        times = [steps.seconds[place] for place in window]
        tokens = sum(steps.counts[place] for place in window)
        return Measured(
            step_ms=1e3 * statistics.median(times),
            tokens_per_s=tokens / sum(times),
            seconds=sum(steps.seconds),
            steps=len(steps.seconds),
            answers=tuple(map(tuple, self.answers.values())),
        )


def measure(*runs: Run) -> tuple[Measured, ...]:
    """Run sets of requests to their ends, in turns, and return what the steps of each took."""
    # Not `any`: all have to be asked each time.
    while sum([run.step() for run in runs]):
        pass
    return tuple(run.result() for run in runs)
