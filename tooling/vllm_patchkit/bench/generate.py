"""Guided images against plain sequences: the measurement's options, results and rendering."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from vllm_patchkit.errors import ExitCode
from vllm_patchkit.launch.session import Packages, listen
from vllm_patchkit.launch.subject import Event, Subject
from vllm_patchkit.version import __version__

FORMAT = 1
# Of 131,072 visual tokens, and as large a share of the small model's 4,096.
FULL_TOP_K = 5120
SMALL_TOP_K = 160
# The engines that take part.
SIDES = {"both": ("emu", "plain"), "guided": ("emu",), "plain": ("plain",)}
# Options that the worker takes by their own names, of the engine and of the measurement.
OF_ENGINE = (
    "own", "unpatched", "device", "tensor_parallel_size", "quantization", "dtype", "eager",
    "gpu_memory_utilization",
)  # fmt: skip
OF_BENCH = (
    "images", "size", "tokens", "beside", "top_p", "async_scheduling", "cudagraph_mode",
    "full_size", "rounds", "profile",
)  # fmt: skip
Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchOptions:
    """The options of ``vllm-patchkit bench generate``."""

    images: tuple[int, ...] = (1, 8, 32)
    size: tuple[int, int] = (32, 32)
    staggers: tuple[int, ...] = (0,)
    sides: str = "both"
    tokens: int = 0
    beside: int = 0
    top_p: float = 1.0
    plain_top_k: int | None = None
    async_scheduling: bool = False
    cudagraph_mode: str | None = None
    full_size: bool = False
    device: str = "cpu"
    tensor_parallel_size: int = 1
    quantization: str | None = None
    dtype: str | None = None
    rounds: int = 3
    top_k: int | None = None
    eager: bool = False
    profile: bool = False
    in_process: bool = False
    gpu_memory_utilization: float | None = None
    own: bool = True
    unpatched: bool = False
    timeout_s: float = 590.0

    @property
    def effective_top_k(self) -> int:
        """The top-k of both sides; by default the published share of the visual tokens."""
        if self.top_k is not None:
            return self.top_k
        return FULL_TOP_K if self.full_size else SMALL_TOP_K

    @property
    def scenarios(self) -> tuple[tuple[int, int], ...]:
        """Numbers of images and steps between arrivals; one image has nobody to be in step with."""
        return tuple(
            (images, stagger)
            for stagger in self.staggers
            for images in self.images
            if images > 1 or stagger == self.staggers[0]
        )

    def to_job(self) -> Json:
        """Return the job that the worker reads."""
        # The profiler and alternating engines need the engine core in the measuring process.
        in_process = self.in_process or self.profile or self.device == "cpu"
        values = asdict(self)
        plain_top_k = self.effective_top_k if self.plain_top_k is None else self.plain_top_k
        made = {
            "scenarios": self.scenarios,
            "sides": SIDES[self.sides],
            "top_k": self.effective_top_k,
            "plain_top_k": plain_top_k,
            "in_process": in_process,
        }
        return {
            "stages": ("bench",),
            "deadline_s": self.timeout_s,
            **{name: values[name] for name in OF_ENGINE},
            "bench": {**{name: values[name] for name in OF_BENCH}, **made},
        }


@dataclass(kw_only=True, slots=True)
class BenchReport:
    """What was measured; docs/bench.md documents the JSON form."""

    options: BenchOptions
    location: str
    artifact: Json | None = None
    floor: Json | None = None
    versions: Json = field(default_factory=dict)
    loads: dict[str, float] = field(default_factory=dict)
    runs: list[Json] = field(default_factory=list)
    results: list[Json] = field(default_factory=list)
    general: list[Json] = field(default_factory=list)
    profile: str = ""
    problem: Json | None = None

    def add(self, event: Event) -> None:
        """Take one event in."""
        kind = event.get("kind")
        fields = {key: value for key, value in event.items() if key not in ("event", "kind")}
        if event["event"] == "artifact":
            self.artifact = {name: fields[name] for name in ("version", "stacks")}
        elif event["event"] == "check" and not event["ok"]:
            message = f"{event['name']}: {event['detail']}"
            hint = f"ask: vllm-patchkit doctor --python {self.location}"
            self.problem = {"stage": "bench", "kind": "failed", "message": message, "hint": hint}
        elif event["event"] == "versions":
            self.versions = event["versions"]
        elif event["event"] == "bench" and kind == "floor":
            self.floor = fields
        elif event["event"] == "bench" and kind == "load":
            self.loads[event["engine"]] = event["seconds"]
        elif event["event"] == "bench" and kind == "runs":
            self.runs.append(fields)
        elif event["event"] == "bench" and kind == "general":
            self.general.append({**fields, "base_step_ms": None, "ratio": None})
        elif event["event"] == "bench" and kind == "result":
            self.results.append(fields)
        elif event["event"] == "bench" and kind == "profile":
            self.profile += f"=== {event['engine']}: {event['text']}\n"
        elif event["event"] == "problem" or (
            event["event"] == "stage" and event["state"] == "failed" and self.problem is None
        ):
            self.problem = {**fields, "kind": kind}

    @property
    def exit_code(self) -> ExitCode:
        """0 if everything was measured, 3 if this machine cannot, else 1."""
        if self.problem is not None and self.problem["kind"] == "environment":
            return ExitCode.ENVIRONMENT
        if self.general:
            done = len(self.general) == len(self.options.images)
            return ExitCode.OK if done and self.problem is None else ExitCode.FAILED
        sides = len(SIDES[self.options.sides])
        found = len(self.results) if sides == 2 else len(self.runs)
        done = found == len(self.options.scenarios)
        return ExitCode.OK if done and self.problem is None else ExitCode.FAILED

    def to_json(self) -> Json:
        """Return the report as JSON types."""
        return {
            "format": FORMAT,
            "tool": f"vllm-patchkit {__version__}",
            "location": self.location,
            "artifact": self.artifact,
            "options": asdict(self.options),
            "versions": self.versions,
            "load_s": self.loads,
            "floor": self.floor,
            "runs": self.runs,
            "results": self.results,
            "general": self.general,
            "problem": self.problem,
        }


def measure_generate(
    subject: Subject,
    options: BenchOptions,
    observe: Callable[[Event], None],
    packages: Packages | None = None,
) -> BenchReport:
    """Measure in the target's interpreter and return the report.

    :param observe: called with every event as it comes.
    """
    report = BenchReport(options=options, location=subject.location)
    with listen(subject, options.to_job(), packages) as events:
        for event in events:
            report.add(event)
            observe(event)
    return report


def compare_general(report: BenchReport, base: BenchReport) -> None:
    """Put the steps of the release beside those of ``report``."""
    times = {row["sequences"]: row["step_ms"] for row in base.general}
    for row in report.general:
        row["base_step_ms"] = times.get(row["sequences"])
        if row["base_step_ms"]:
            row["ratio"] = round(row["step_ms"] / row["base_step_ms"], 4)
    if base.problem is not None and report.problem is None:
        report.problem = {**base.problem, "message": f"the release: {base.problem['message']}"}


GENERAL_HEADER = f"{'sequences':>9} {'step ms':>9} {'release':>9} {'ratio':>7} {'tokens/s':>10}"


def format_general(row: Json) -> str:
    """Return one line of the table of plain sequences."""
    base = "-" if row["base_step_ms"] is None else f"{row['base_step_ms']:.3f}"
    ratio = "-" if row["ratio"] is None else f"{row['ratio']:.3f}"
    return (
        f"{row['sequences']:9d} {row['step_ms']:9.3f} {base:>9} {ratio:>7} "
        f"{row['tokens_per_s']:10.1f}"
    )


HEADER = (
    f"{'images':>6} {'apart':>5} {'rows':>5} {'guided ms':>10} {'plain ms':>10} {'ratio':>7} "
    f"{'a token':>8} {'image tok/s':>12} {'s/image':>8} {'floor ms':>9} {'memory GiB':>11}"
)


def format_result(result: Json, floor: Json | None) -> str:
    """Return one line of the table."""
    floor_ms = f"{floor['floor_ms']:9.2f}" if floor else " " * 9
    return (
        f"{result['images']:6d} {result.get('stagger', 0):5d} {result['sequences']:5d} "
        f"{result['guided_step_ms']:10.2f} {result['plain_step_ms']:10.2f} "
        f"{result['ratio']:7.3f} {result['token_ratio']:8.3f} "
        f"{result['image_tokens_per_s']:12.1f} {result['seconds_an_image']:8.2f} {floor_ms} "
        f"{result['peak_memory_bytes'] / 2**30:11.2f}"
    )


def describe_event(event: Event) -> str | None:
    """Return one line for an event that is worth one while the measurement works."""
    if event["event"] == "note":
        return str(event["text"])
    if event["event"] != "bench":
        return None
    if event["kind"] == "load":
        return f"{event['engine']}: engine ready after {event['seconds']} s"
    if event["kind"] == "floor":
        rate = event["bandwidth_bytes_per_s"] / 1e9
        return (
            f"copy bandwidth {rate:.0f} GB/s, weights {event['weight_bytes'] / 1e9:.2f} GB: "
            f"a step takes at least {event['floor_ms']:.2f} ms"
        )
    if event["kind"] == "runs":
        times = ", ".join(f"{value:.2f}" for value in event["step_ms"])
        tokens = ", ".join(f"{value:.2f}" for value in event["token_ms"])
        return (
            f"{event['engine']}, {event['images']} images, {event['stagger']} steps apart: "
            f"{times} ms a step, {tokens} ms a token"
        )
    return None
