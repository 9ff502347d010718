"""The ladder of cheap checks: compile, import, register, enter; then one probe a patch."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from . import events
from .identity import Installed, Record, has_current_bytecode, has_source_loader
from .job import Job
from .machine import has_gpus

STAGE = "artifact"


def climb(installed: Installed, job: Job, architectures: Sequence[str]) -> None:
    """Report every rung; a broken rung does not keep the next ones from being tried.

    :param architectures: of models that the stacks add.
    """
    check_wanted = partial(check_platform, job.device)
    rungs: list[tuple[str, Callable[[], str]]] = [
        ("every module of vllm compiles", lambda: compile_all(installed.root / "vllm")),
        ("the platform is the wanted one", check_wanted),
        ("the compiled extension loads", load_extension),
        ("touched modules import", lambda: import_touched(installed)),
        *(
            (f"the model registry loads {name}", partial(load_architecture, name))
            for name in architectures
        ),
        ("entry points load", lambda: load_entry_points(installed)),
    ]
    blind = job.device == "cuda" and not has_gpus()
    for name, rung in rungs:
        if blind and rung in (check_wanted, load_extension):
            events.send("warning", text=f"no GPU is here: not checked whether {name}")
        else:
            _try(name, rung)
    for record in installed.records:
        for probe in read_probes(record):
            _try(f"probe {probe['patch']}", partial(run_probe, probe))
        warn_unprobed(record)
    _try("imported vllm is the artifact", lambda: check_imported(installed))


def _try(name: str, rung: Callable[[], str]) -> None:
    try:
        events.check(STAGE, name, True, rung())
    except Exception as error:
        traceback.print_exc()
        events.check(STAGE, name, False, f"{type(error).__name__}: {error}"[:500])


def compile_all(package: Path) -> str:
    """Compile every source file that has no current bytecode; return how many there are.

    Nothing is written. Touched files were compiled before, when their bytecode was compared.
    """
    files = sorted(package.rglob("*.py"))
    stale = [path for path in files if not has_current_bytecode(path)]
    for path in stale:
        compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    return f"{len(files)} files, {len(stale)} of them without current bytecode"


def check_platform(device: str) -> str:
    """Raise unless vLLM takes itself for a build of ``device``."""
    from vllm.platforms import current_platform

    found = current_platform.device_type
    if found != device:
        raise RuntimeError(f"vLLM runs on {found!r} here, --device says {device!r}")
    return type(current_platform).__name__


def load_extension() -> str:
    """Load the compiled half of vLLM, which it would otherwise miss in the middle of a run.

    Which file that is differs by release and processor, so it is asked for what it registers. vLLM
    itself only warns where it does not load.
    """
    import torch

    import_module("vllm._custom_ops")
    count = sum(name.startswith("_C::") for name in torch._C._dispatch_get_all_op_names())
    if not count:
        # For the loader's own reason.
        import_module("vllm._C")
        raise RuntimeError("it registers no operator")
    return f"{count} operators"


def import_touched(installed: Installed) -> str:
    """Import every module that a patch writes; return how many."""
    names = installed.touched_modules
    for name in names:
        import_module(name)
    return f"{len(names)} modules"


def load_architecture(name: str) -> str:
    """Load the class behind the architecture's name through vLLM's own registry."""
    from vllm.model_executor.models.registry import ModelRegistry

    loaded = ModelRegistry.models[name].load_model_cls()
    return f"{loaded.__module__}.{loaded.__name__}"


def load_entry_points(installed: Installed) -> str:
    """Load what the distribution's console scripts would call."""
    scripts = [
        point for point in installed.distribution.entry_points if point.group == "console_scripts"
    ]
    if not scripts:
        raise RuntimeError("the distribution declares no console script")
    for script in scripts:
        script.load()
    return ", ".join(script.name for script in scripts)


def read_probes(record: Record) -> list[dict[str, Any]]:
    """Return the ``[[probe]]`` tables of the recorded ``stack.toml``."""
    probes: list[dict[str, Any]] = record.metadata.get("probe", [])
    return probes


def run_probe(probe: dict[str, Any]) -> str:
    """Evaluate one probe of the stack's metadata.

    The expression is code from the artifact, which this process imports anyway.
    """
    names: dict[str, Any] = {}
    for name in probe.get("imports", ()):
        import_module(name)
        top = name.partition(".")[0]
        names[top] = sys.modules[top]
    if not eval(probe["expression"], names):
        raise RuntimeError(f"not in force: {probe['expression']}")
    return str(probe["expression"])


def warn_unprobed(record: Record) -> None:
    """Warn of patches that no probe looks at, by name."""
    probed = {str(probe["patch"])[:4] for probe in read_probes(record)}
    names = [entry["name"] for entry in record.lock["patches"]]
    missing = [name for name in names if name[:4] not in probed]
    if missing:
        events.send("warning", text=f"{record.name}: no probe for {', '.join(missing)}")
    else:
        events.check(
            STAGE, f"{record.name}: every patch has a probe", True, f"{len(names)} patches"
        )


def check_imported(installed: Installed) -> str:
    """Raise if any module of vllm came from elsewhere than the distribution's own files."""
    root = installed.root / "vllm"
    loaded = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "vllm"}
    foreign = []
    for name, module in loaded.items():
        file = getattr(module, "__file__", None)
        if file is not None and not Path(file).resolve().is_relative_to(root.resolve()):
            foreign.append(f"{name} from {file}")
    touched = set(installed.touched_modules)
    foreign += [
        f"{name} not from source"
        for name, module in loaded.items()
        if name in touched and not has_source_loader(module)
    ]
    if foreign:
        raise RuntimeError("; ".join(sorted(foreign)))
    return f"{len(loaded)} modules"
