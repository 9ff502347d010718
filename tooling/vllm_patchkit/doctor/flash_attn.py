"""Which prebuilt flash-attn fits an environment, and whether the installed one does.

The project publishes one wheel for each Python, torch minor release, CUDA major release and C++
ABI, and only the file name tells them apart: the version inside is the same. A wrong one installs
without a word and fails when it is imported. Nothing here imports torch or flash-attn.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from vllm_patchkit.doctor.elf import read_library
from vllm_patchkit.errors import TargetError, UsageError
from vllm_patchkit.host.permission import require_readable

RELEASES = ("2.8.3", "2.8.3.post1")
"""Both have the same 48 files: their release workflow is the same."""
PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13")
TORCHES = ("2.4", "2.5", "2.6", "2.7", "2.8")
BY_HAND = ("2.9", "2.10")
"""Files for these were added later, ``cu12torch2.9``, ``cu13torch2.9`` and ``cu13torch2.10`` among
them; which of them there are, only the release page tells."""
CUDA = "12"
MACHINE = "x86_64"
FILE = re.compile(
    r"flash_attn-(?P<version>[^+-]+)\+cu(?P<cuda>\d+)torch(?P<torch>\d+\.\d+)"
    r"cxx11abi(?P<abi>TRUE|FALSE)-cp(?P<python>\d+)-cp\d+-(?P<platform>\w+)\.whl"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """What decides which build fits.

    :param python: minor release, such as ``3.12``.
    :param torch: minor release, such as ``2.8``.
    :param cuda: major release, such as ``12``.
    :param cxx11_abi: whether torch was built with libstdc++'s C++11 ABI.
    :param machine: as ``uname -m`` says, on Linux.
    """

    python: str
    torch: str
    cuda: str
    cxx11_abi: bool
    machine: str = MACHINE


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One property of the installed flash-attn: what fits, what was found, and whether it does.

    ``fits`` is None where the installation does not tell.
    """

    subject: str
    expected: str
    found: str
    fits: bool | None
    why: str | None = None


def release_file(environment: Environment, release: str = RELEASES[0]) -> str:
    """Return the name of the one file of a release that fits.

    :raises UsageError: no such file was published; says which value rules it out.
    """
    if environment.torch in BY_HAND:
        raise UsageError(
            f"flash-attn {release} is built for torch {', '.join(TORCHES)}; for torch "
            f"{environment.torch} single files were added by hand, and which is not known here",
            hint=f"look on its release page for cu{environment.cuda}torch{environment.torch}",
        )
    limits = (
        ("Python", environment.python, PYTHONS),
        ("torch", environment.torch, TORCHES),
        ("CUDA", environment.cuda, (CUDA,)),
        ("machine", environment.machine, (MACHINE,)),
    )
    for subject, value, published in limits:
        if value not in published:
            raise UsageError(
                f"flash-attn {release} was published for {subject} {', '.join(published)}; "
                f"this is {value}",
                hint="vLLM also runs without the package, on the flash-attn that it brings along",
            )
    if (environment.python, environment.torch) == ("3.13", "2.4"):
        raise UsageError("flash-attn was not published for Python 3.13 with torch 2.4")
    python = f"cp{environment.python.replace('.', '')}"
    build = f"cu{environment.cuda}torch{environment.torch}cxx11abi"
    abi = str(environment.cxx11_abi).upper()
    return f"flash_attn-{release}+{build}{abi}-{python}-{python}-linux_{environment.machine}.whl"


def read_environment(folders: Sequence[Path]) -> Environment:
    """Return what an environment is, from the files of its torch.

    :param folders: its site-packages folders.
    :raises TargetError: there is no torch, or it is a build without CUDA.
    """
    site = _site_of("torch", folders)
    if site is None:
        raise TargetError(
            f"torch is not installed in {', '.join(map(str, folders))}",
            hint="name the environment with --python, or give --torch, --cuda and --cxx11-abi",
        )
    source = (site / "torch" / "version.py").read_text(encoding="utf-8")
    version = re.search(r"__version__ = '(\d+\.\d+)", source)
    cuda = re.search(r"^cuda.*= '(\d+)\.", source, re.MULTILINE)
    if version is None or cuda is None:
        raise TargetError(
            f"{site / 'torch'} is a torch without CUDA", hint="flash-attn needs torch with CUDA"
        )
    python = re.search(r"python(3\.\d+)$", site.parent.name)
    return Environment(
        python=python[1] if python else ".".join(platform.python_version_tuple()[:2]),
        torch=version[1],
        cuda=cuda[1],
        cxx11_abi=read_library(site / "torch" / "lib" / "libc10.so").cxx11_abi is not False,
        machine=platform.machine(),
    )


def check_installed(folders: Sequence[Path], environment: Environment) -> list[Finding]:
    """Return a finding for each property of the installed flash-attn.

    :raises TargetError: it is not installed.
    """
    site = _site_of("flash-attn", folders)
    if site is None:
        raise TargetError(
            "flash-attn is not installed", hint=f"the file that fits: {release_file(environment)}"
        )
    distribution = next(iter(metadata.distributions(name="flash-attn", path=[str(site)])))
    version = distribution.version.partition("+")[0]
    expected = version if version in RELEASES else " or ".join(RELEASES)
    findings = [_finding("version", expected, version)]
    findings += _check_source(distribution, environment)
    findings += _check_extension(site, environment)
    return findings


def _site_of(name: str, folders: Sequence[Path]) -> Path | None:
    for folder in folders:
        require_readable(folder)
        if any(metadata.distributions(name=name, path=[str(folder)])):
            return folder
    return None


def _finding(subject: str, expected: str, found: str | None) -> Finding:
    if found is None:
        return Finding(subject=subject, expected=expected, found="not recorded", fits=None)
    return Finding(subject=subject, expected=expected, found=found, fits=found == expected)


def _check_source(distribution: metadata.Distribution, environment: Environment) -> list[Finding]:
    """Compare the file name that the installer recorded (``direct_url.json``, PEP 610)."""
    recorded = distribution.read_text("direct_url.json")
    address = json.loads(recorded)["url"] if recorded else ""
    name = FILE.fullmatch(unquote(urlsplit(address).path).rpartition("/")[2])
    return [_finding("torch it was built for", environment.torch, name["torch"] if name else None)]


def _check_extension(site: Path, environment: Environment) -> list[Finding]:
    """Compare what the compiled extension says: its Python, its CUDA runtime, its C++ ABI."""
    extensions = sorted(site.glob("flash_attn_2_cuda*.so"))
    if not extensions:
        return [_finding("extension", "flash_attn_2_cuda*.so", "none")]
    library = read_library(extensions[0])
    python = re.search(r"\.cpython-3(\d+)-", extensions[0].name)
    runtime = [re.match(r"libcudart\.so\.(\d+)", name) for name in library.needed]
    cuda = next((match[1] for match in runtime if match), None)
    abi = library.cxx11_abi
    return [
        _finding("Python", environment.python, f"3.{python[1]}" if python else None),
        _finding("CUDA", environment.cuda, cuda),
        _check_abi(environment.cxx11_abi, abi),
    ]


def _check_abi(torch: bool, extension: bool | None) -> Finding:
    found = _finding("C++11 ABI", str(torch), None if extension is None else str(extension))
    if found.fits is not False:
        return found
    string = {True: "std::__cxx11::basic_string", False: "the std::string of before GCC 5"}
    return replace(
        found,
        why=f"it asks for functions of torch that take {string[not torch]}; this torch has them "
        f"with {string[torch]} alone, so that `import flash_attn` ends with an undefined symbol",
    )
