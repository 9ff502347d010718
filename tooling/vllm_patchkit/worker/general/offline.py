"""The scenarios of one checkpoint through ``LLM`` and its engine's steps."""

from __future__ import annotations

import statistics
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import events
from ..engine import is_float32, load
from ..job import Job
from .checkpoints import short_name
from .engine import BATCHED_TOKENS, cases_file, engine_arguments, greedy, prompt_of
from .faults import fault_of
from .judge import Answer, report
from .oracle import Case, read_cases
from .refusals import refusals

if TYPE_CHECKING:
    from vllm import LLM, SamplingParams

SEED = 7
STOP_AT = 5
# Until requests come so close after each other that one is preempted.
TRIES = 5
# Draws of which most come again, since that is what penalties look at. Of the whole vocabulary
# hardly one does before the end of the text, and any penalty, right or wrong, prevents that one.
AGAIN: dict[str, Any] = {
    "allowed_token_ids": list(range(30, 42)),
    "max_tokens": 64,
    "ignore_eos": True,
}


@dataclass(kw_only=True, slots=True)
class Scenario:
    """One scenario while it runs: the engine, the cases, and what was found.

    :param exact: greedy tokens have to be the oracle's.
    """

    llm: LLM
    cases: Sequence[Case]
    exact: bool
    answers: list[Answer] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    step_ms: float | None = None

    def ask(
        self,
        cases: Sequence[Case],
        params: Sequence[SamplingParams] | None = None,
        *,
        note: str = "",
        expected: bool = True,
    ) -> list[Any]:
        """Generate, keep the answers, and return the results."""
        wanted = list(params or map(greedy, cases))
        results = self.llm.generate(list(map(prompt_of, cases)), wanted, use_tqdm=False)
        if len(results) != len(cases):
            self.problems.append(f"{len(cases)} requests gave {len(results)} results")
        for case, result in zip(cases, results, strict=False):
            self.keep(case, result, note=note, expected=expected)
        return list(results)

    def keep(self, case: Case, result: Any, *, note: str = "", expected: bool = True) -> None:
        """Keep the outputs of one result as answers."""
        for output in result.outputs:
            self.answers.append(
                Answer(
                    request=f"{case.name}{note}" + (f"#{output.index}" if output.index else ""),
                    case=case,
                    tokens=tuple(output.token_ids),
                    expected=expected and self.exact,
                    logprobs=_logprobs(output),
                )
            )

    def drive(
        self, cases: Sequence[Case], *, every: int, abort: int | None = None, after: int = 0
    ) -> None:
        """Step the engine while requests arrive, ``every`` so many steps one.

        :param abort: number of a case that is aborted ``after`` so many steps.
        """
        engine: Any = self.llm.llm_engine
        names = [f"{id(self)}-{number}" for number in range(len(cases))]
        coming = list(zip(names, cases, strict=True))
        results: dict[str, Any] = {}
        times: list[float] = []
        while coming or engine.has_unfinished_requests():
            if coming and len(times) % every == 0:
                name, case = coming.pop(0)
                engine.add_request(name, prompt_of(case), greedy(case))
            if abort is not None and len(times) == after:
                engine.abort_request([names[abort]])
            started = time.perf_counter()
            outputs = engine.step()
            times.append(time.perf_counter() - started)
            results.update({output.request_id: output for output in outputs})
        self.step_ms = round(1e3 * statistics.median(times), 3)
        for number, (name, case) in enumerate(zip(names, cases, strict=True)):
            if number == abort:
                continue
            if name not in results or not results[name].finished:
                self.problems.append(f"{case.name}: the engine stopped before it was finished")
            else:
                self.keep(case, results[name])


def _logprobs(output: Any) -> tuple[dict[int, float], ...] | None:
    if not output.logprobs:
        return None
    return tuple(
        {int(token): float(value.logprob) for token, value in row.items()}
        for row in output.logprobs
    )


def one(scenario: Scenario) -> None:
    """One request."""
    scenario.ask(scenario.cases[:1])


def batch(scenario: Scenario) -> None:
    """Requests of different lengths that arrive while others are under way."""
    scenario.drive(scenario.cases[:6], every=3)


def prefix_caching(scenario: Scenario) -> None:
    """The same prompt twice: the second time its blocks are there, and the tokens are the same."""
    longest = max(scenario.cases, key=lambda case: len(case.prompt_ids))
    scenario.ask([longest], note=", first")
    (again,) = scenario.ask([longest], note=", again")
    if again.num_cached_tokens == 0:
        scenario.problems.append("the second time no block of the prompt was cached")


def chunked_prefill(scenario: Scenario) -> None:
    """Prompts that do not fit into one step, beside requests that generate."""
    long = [case for case in scenario.cases if len(case.prompt_ids) > BATCHED_TOKENS]
    if not long:
        scenario.problems.append(f"no prompt has more than {BATCHED_TOKENS} tokens")
    scenario.llm.reset_prefix_cache()
    scenario.drive([scenario.cases[0], *long, scenario.cases[1]], every=2)


def preemption(scenario: Scenario) -> None:
    """More requests at once than the KV cache holds: some have to wait and begin again.

    The engine's process begins with the first of them. Where the others come late, on a busy
    machine, the cache holds all that are left, and nothing was proved: they are asked again.
    """
    before = preemptions(scenario.llm)
    for _ in range(TRIES):
        scenario.answers.clear()
        scenario.ask(scenario.cases)
        if before is None or preemptions(scenario.llm) != before:
            return
    scenario.problems.append("no request was preempted")


def preemptions(llm: LLM) -> float | None:
    """Return how many requests the engine preempted so far; None where it does not say."""
    for metric in llm.get_metrics():
        if "preemption" in metric.name and hasattr(metric, "value"):
            return float(metric.value)
    return None


def sampled(scenario: Scenario) -> None:
    """Drawn tokens: of one candidate the oracle's, with a seed twice the same, else several."""
    from vllm import SamplingParams

    first, second = scenario.cases[:2]
    narrow = SamplingParams(temperature=1.0, top_k=1, max_tokens=second.max_tokens)
    scenario.ask([second], [narrow], note=", one candidate")
    seeds = [SEED, SEED, *range(SEED + 1, SEED + 5)]
    drawn = [SamplingParams(temperature=1.5, seed=seed, max_tokens=12) for seed in seeds]
    results = scenario.ask([first] * len(seeds), drawn, note=", seed", expected=False)
    tokens = [tuple(result.outputs[0].token_ids) for result in results]
    if tokens[0] != tokens[1]:
        scenario.problems.append("two draws with the same seed differ")
    if len(set(tokens)) < 3:
        scenario.problems.append(f"{len(set(tokens)) - 1} other answers with five seeds")
    kinds: list[dict[str, Any]] = [
        {"top_p": 0.7},
        {"min_p": 0.1},
        {"top_k": 5},
        {"repetition_penalty": 1.4, **AGAIN},
        {"frequency_penalty": 0.4, **AGAIN},
        {"presence_penalty": 0.9, **AGAIN},
        {"logit_bias": {10: 4.0, 11: -4.0}},
        {"min_tokens": 10},
        {"allowed_token_ids": list(range(30, 60))},
        {"stop_token_ids": list(range(50, 60))},
        {"n": 2},
    ]
    for kind in kinds:
        params = SamplingParams(**{"temperature": 1.1, "seed": SEED, "max_tokens": 12} | kind)
        scenario.ask([first], [params], note=f", {next(iter(kind))}", expected=False)


def logprobs(scenario: Scenario) -> None:
    """The log probabilities of the chosen tokens and of the next best are the oracle's."""
    cases = scenario.cases[1:4]
    scenario.ask(cases, [greedy(case, logprobs=5) for case in cases])
    short = [answer.request for answer in scenario.answers if answer.logprobs is None]
    scenario.problems += [f"{name}: no log probabilities" for name in short]


def stop(scenario: Scenario) -> None:
    """A stop string ends the text before it."""
    case = scenario.cases[0]
    if case.text is None or len(case.text) <= STOP_AT:
        return
    word = case.text[STOP_AT : STOP_AT + 2]
    (result,) = scenario.ask([case], [greedy(case, stop=[word])], expected=False)
    output = result.outputs[0]
    expected = case.text[: case.text.index(word)]
    if scenario.exact and (output.text, output.finish_reason) != (expected, "stop"):
        scenario.problems.append(
            f"{output.text!r} ({output.finish_reason}) before the stop string {word!r}, "
            f"expected {expected!r}"
        )


def several(scenario: Scenario) -> None:
    """One request for three answers has three."""
    from vllm import SamplingParams

    case = scenario.cases[1]
    params = SamplingParams(temperature=1.0, top_k=1, n=3, max_tokens=case.max_tokens)
    (result,) = scenario.ask([case], [params])
    if len(result.outputs) != 3:
        scenario.problems.append(f"{len(result.outputs)} outputs, expected 3")


def abort(scenario: Scenario) -> None:
    """One request is aborted; the others are answered, and the engine has nothing left to do."""
    scenario.drive(scenario.cases[:4], every=1, abort=1, after=6)


SCENARIOS: dict[str, Callable[[Scenario], None]] = {
    "one": one,
    "batch": batch,
    "prefix-caching": prefix_caching,
    "chunked-prefill": chunked_prefill,
    "preemption": preemption,
    "sampled": sampled,
    "logprobs": logprobs,
    "stop": stop,
    "n": several,
    "abort": abort,
    "refusals": refusals,
}


def run(job: Job, architecture: str) -> None:
    """Load the engine once and run the scenarios that were asked for."""
    stage = short_name(architecture)
    llm = load(stage, {**engine_arguments(job, architecture), "disable_log_stats": False})
    cases = read_cases(cases_file(job, architecture))[:-1]
    for name, act in SCENARIOS.items():
        if job.wants(f"{stage}/{name}"):
            events.note(stage, f"scenario {name}")
            scenario = Scenario(llm=llm, cases=cases, exact=is_float32(job))
            known = fault_of(job, architecture, name)
            run_scenario(f"{stage}/{name}", act, scenario, known)


def run_scenario(
    name: str, act: Callable[[Scenario], None], scenario: Scenario, known: str | None
) -> None:
    """Run one scenario and report it, an error in it included."""
    started = time.monotonic()
    try:
        act(scenario)
    except Exception as error:
        traceback.print_exc()
        scenario.problems.append(f"{type(error).__name__}: {error}"[:500])
        # No wrong answer, which is all that a known fault excuses.
        known = None
    step_ms = scenario.step_ms
    report(name, scenario.answers, scenario.problems, started, step_ms=step_ms, known=known)
