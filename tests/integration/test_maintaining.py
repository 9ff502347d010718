"""docs/maintaining.md, executed: every command in order, every line that it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.pages import is_shown, read_steps
from vllm_patchkit.host.cache import cache_dir
from vllm_patchkit.wheel.fetch import fetch_input

pytestmark = [pytest.mark.network, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "maintaining.md"
MARK = "@@done@@"
REACH = re.compile(r"UV_|SSL_CERT_|(?i:https?|all|no)_(?i:proxy)$")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh cache with the wheels that this machine has fetched already."""
    for name in ("vllm-0.11.0", "vllm-0.11.1", "vllm-0.11.2"):
        fetch_input(name)
    cache = tmp_path_factory.mktemp("cache")
    (cache / "inputs").symlink_to(cache_dir() / "inputs")
    return cache


def uv_cache() -> str:
    """Where uv keeps what this machine has downloaded already."""
    uv = Path(sys.executable).with_name("uv")
    return subprocess.run(
        [uv, "cache", "dir"], check=True, capture_output=True, text=True
    ).stdout.strip()


def python_3_12() -> Path:
    """The interpreter that the CPU wheel's extension is for."""
    argv = [ROOT / "ci" / "find-python.sh", "3.12"]
    found = subprocess.run(argv, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(found.stderr.strip())
    return Path(found.stdout.strip())


def cheaper(command: str) -> str:
    """Return a command of the page as it is run here: the engine itself only where asked for."""
    if os.environ.get("PATCHKIT_WALK") == "whole":
        return command
    return re.sub(r"(vllm-patchkit smoke .*?) --against base .*", r"\1 --checks-only", command,
                  flags=re.S)  # fmt: skip


def environment(cache: Path, place: Path) -> dict[str, str]:
    """A newcomer's environment: no home, no git identity or configuration."""
    home = place / "home"
    home.mkdir(exist_ok=True)
    tools = Path(sys.executable).parent
    # How this machine reaches a registry is no setting of a newcomer's.
    reach = {name: text for name, text in os.environ.items() if REACH.match(name)}
    return {
        **reach,
        "PATH": f"{tools}:{python_3_12().parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "TMPDIR": str(place),
        "UV_CACHE_DIR": uv_cache(),
        "VLLM_PATCHKIT_CACHE": str(cache),
        "NO_COLOR": "1",
        "CI": "1",
        "LC_ALL": "C.UTF-8",
    }


def test_page_in_order(tmp_path: Path, cache: Path) -> None:
    text = PAGE.read_text()
    (begin,) = re.findall(r"^```sh\n(export .*?)^```$", text, re.DOTALL | re.MULTILINE)
    steps = read_steps(text)
    assert len(steps) > 30
    script = begin + "".join(
        f"{cheaper(step.command)}\nprintf '\\n{MARK}%s\\n' $?\n" for step in steps
    )
    done = subprocess.run(
        ["bash", "--norc"],
        input=script,
        cwd=ROOT,
        env=environment(cache, tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    outputs = re.split(rf"\n?{MARK}(\d+)\n", done.stdout)
    assert len(outputs) == 2 * len(steps) + 1, done.stdout[-2000:]
    for step, said, status in zip(steps, outputs[::2], outputs[1::2], strict=False):
        assert int(status) == step.status, f"{step.command}\n{said}"
        for line in step.shown:
            assert is_shown(f"...{line}...", said), (
                f"{step.command}\nshall print: {line}\nprinted: {said}"
            )


@pytest.mark.parametrize(("part", "words"), [("plain", []), ("normalised", ["--normalise"])])
def test_forecast_of_emu3_5_is_as_measured(
    tmp_path: Path, cache: Path, part: str, words: list[str]
) -> None:
    argv = [sys.executable, "-m", "vllm_patchkit", "rebase", str(ROOT / "patches" / "emu3_5"),
            "--dry-run", "--onto", "0.11.1", "--onto", "0.11.2", "--markdown", *words]  # fmt: skip
    done = subprocess.run(
        argv, cwd=tmp_path, env=environment(cache, tmp_path), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    found = re.search(rf"<!-- emu3_5 {part} -->\n(.*?)<!-- end -->", PAGE.read_text(), re.S)
    assert found is not None
    assert found[1] == done.stdout, f"put this into {PAGE.name}:\n{done.stdout}"


def test_normalising_takes_away_two_of_five_conflicts_of_emu3_5() -> None:
    """The documented tables, which the test above holds to what is measured, say so. The others are
    places that the releases changed, not only formatted.
    """
    text = PAGE.read_text()
    sums = []
    for part in ("plain", "normalised"):
        found = re.search(rf"<!-- emu3_5 {part} -->\n(.*?)<!-- end -->", text, re.S)
        assert found is not None
        sums.append([int(count) for count in re.findall(r"(\d+) places", found[1])])
    plain, normalised = sums
    assert len(plain) == len(normalised) == 2
    assert all(5 * less <= 3 * more for less, more in zip(normalised, plain, strict=True))
