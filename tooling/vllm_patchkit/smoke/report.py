"""What a run found: events in, verdict and ``smoke.json`` out."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm_patchkit.errors import ExitCode
from vllm_patchkit.host.files import replace_file
from vllm_patchkit.launch.subject import Event
from vllm_patchkit.smoke.options import SmokeOptions
from vllm_patchkit.smoke.sheet import draw_sheet
from vllm_patchkit.version import __version__

if TYPE_CHECKING:
    from vllm_patchkit.smoke.against import Comparison
    from vllm_patchkit.smoke.upstream import UpstreamComparison

FORMAT = 1
Json = dict[str, Any]


@dataclass(kw_only=True, slots=True)
class Report:
    """Everything that a run reported so far. docs/smoke.md documents the JSON form."""

    subject: Mapping[str, Any]
    options: SmokeOptions
    artifact: Json | None = None
    versions: Json = field(default_factory=dict)
    stages: list[Json] = field(default_factory=list)
    checks: list[Json] = field(default_factory=list)
    scenarios: list[Json] = field(default_factory=list)
    problems: list[Json] = field(default_factory=list)
    pictures: list[Json] = field(default_factory=list)
    sequences: list[Json] = field(default_factory=list)
    answers: list[Json] = field(default_factory=list)
    tests: list[Json] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    plan: Json | None = None
    against: Comparison | None = None
    upstream: UpstreamComparison | None = None
    seconds: float = 0.0

    def add(self, event: Event) -> None:
        """Take one event in."""
        fields = {key: value for key, value in event.items() if key != "event"}
        kind = event["event"]
        if kind in ("artifact", "plan"):
            setattr(self, kind, fields)
        elif kind == "versions":
            self.versions = fields["versions"]
        elif kind == "stage":
            self._add_stage(fields)
        elif kind == "load":
            self.stages[-1]["load_s"] = fields["seconds"]
        elif kind == "problem":
            self.problems.append({"kind": "environment", **fields})
        elif kind == "warning":
            self.warnings.append(fields["text"])
        elif kind in ("check", "scenario", "picture", "sequence", "answer", "tests"):
            getattr(self, f"{kind.removesuffix('s')}s").append(fields)

    def _add_stage(self, fields: Json) -> None:
        if fields["state"] == "started":
            self.stages.append({"name": fields["stage"], "state": "started"})
            return
        if not self.stages or self.stages[-1]["name"] != fields["stage"]:
            self.stages.append({"name": fields["stage"]})
        self.stages[-1] |= {"state": fields["state"], "seconds": fields["seconds"]}
        explained = any(problem["stage"] == fields["stage"] for problem in self.problems)
        wrong = any(not check["ok"] and check["stage"] == fields["stage"] for check in self.checks)
        if fields["state"] == "failed" and not explained and not wrong:
            names = ("stage", "kind", "message", "hint", "log")
            self.problems.append({name: fields.get(name, "") for name in names})

    @property
    def missing(self) -> list[str]:
        """Scenarios that were asked for and never reported."""
        reported = {scenario["name"] for scenario in self.scenarios}
        return [name for name in self.selected if name not in reported]

    @property
    def selected(self) -> list[str]:
        """The scenarios that this run has to report."""
        return list(self.options.scenarios if self.plan is None else self.plan["scenarios"])

    @property
    def ok(self) -> bool:
        """Whether everything that was asked for ran and holds."""
        sound = all(entry["ok"] for entry in (*self.checks, *self.scenarios))
        ended = [stage["name"] for stage in self.stages if stage["state"] == "ended"]
        complete = self.plan is not None and ended == self.plan["stages"] and not self.missing
        same = all(other is None or other.ok for other in (self.against, self.upstream))
        return sound and complete and not self.problems and same

    @property
    def exit_code(self) -> ExitCode:
        """0 if all holds, 2 for an unknown scenario, 3 if this machine cannot run it, else 1."""
        if self.ok:
            return ExitCode.OK
        if any(problem["kind"] == "usage" for problem in self.problems):
            return ExitCode.USAGE
        failed = any(not entry["ok"] for entry in (*self.checks, *self.scenarios))
        hopeless = any(problem["kind"] == "environment" for problem in self.problems)
        return ExitCode.ENVIRONMENT if hopeless and not failed else ExitCode.FAILED

    def to_json(self) -> Json:
        """Return the report as JSON types, in the documented order of keys."""
        return {
            "format": FORMAT,
            "tool": f"vllm-patchkit {__version__}",
            "ok": self.ok,
            "exit_code": int(self.exit_code),
            "seconds": self.seconds,
            "subject": dict(self.subject),
            "options": asdict(self.options),
            "artifact": self.artifact,
            "versions": self.versions,
            "stages": self.stages,
            "checks": self.checks,
            "scenarios": self.scenarios,
            "missing": self.missing,
            "problems": self.problems,
            "warnings": self.warnings,
            "pictures": [
                {key: value for key, value in picture.items() if key != "png"}
                for picture in self.pictures
            ],
            "against": None if self.against is None else self.against.to_json(),
            "upstream": None if self.upstream is None else self.upstream.to_json(),
        }

    def write(self, folder: Path) -> list[Path]:
        """Write ``smoke.json``, pictures, their sheet and sequences; return the paths."""
        folder.mkdir(parents=True, exist_ok=True)
        files = {"smoke.json": format_json(self.to_json())}
        for picture in self.pictures:
            files[f"{picture['name']}.png"] = base64.b64decode(picture["png"])
        if self.pictures:
            files["pictures.svg"] = draw_sheet(self.pictures).encode()
        for sequence in self.sequences:
            files[f"{sequence['name']}.sequence.json"] = format_json(sequence["json"])
            files[f"{sequence['name']}.sequence.pb"] = base64.b64decode(sequence["protobuf"])
        for name, data in files.items():
            replace_file(folder / name, data)
        return [folder / name for name in files]


def format_json(value: object) -> bytes:
    """Return indented JSON with a line end."""
    return json.dumps(value, indent=1, default=str).encode() + b"\n"
