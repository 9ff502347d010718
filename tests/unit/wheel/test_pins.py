"""Pinned wheels come out of the cache, and into it only with the right bytes."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from support.wheels import TAGS, sha256, write_inputs
from vllm_patchkit.errors import CommandFailed, HostError, UsageError, WheelError
from vllm_patchkit.stack.model import Base
from vllm_patchkit.wheel import download, fetch, pins
from vllm_patchkit.wheel.fetch import fetch_input
from vllm_patchkit.wheel.flavor import find_flavor, python_tags, read_flavors
from vllm_patchkit.wheel.metadata import WheelName
from vllm_patchkit.wheel.pins import find_input, find_pin, read_inputs

BASE = f"vllm-0.11.0-{TAGS}.whl"


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """The wheels that a registry has: the same bytes as the pins."""
    folder = tmp_path / "registry"
    write_inputs(folder)
    return folder


@pytest.fixture
def downloads(
    cache: Path, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> list[Sequence[str | Path]]:
    """Stand in for pip; record how it is called."""
    calls: list[Sequence[str | Path]] = []

    def stream(
        argv: Sequence[str | Path],
        on_line: Callable[[str], None],
        *,
        env: Mapping[str, str] | None = None,
    ) -> None:
        calls.append(argv)
        folder = Path(argv[argv.index("--dest") + 1])
        wheel = registry / BASE
        if not wheel.exists():
            raise CommandFailed(["pip"], 1, "ERROR: Could not find it\nERROR: No matching x\n")
        on_line("Progress 10 of 20")
        on_line("noise")
        (folder / wheel.name).write_bytes(wheel.read_bytes())

    monkeypatch.setattr(download, "stream", stream)
    return calls


def test_a_cached_wheel_is_hashed_once(
    cache: Path, downloads: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fetch_input("base") == cache / BASE
    monkeypatch.setattr(fetch, "file_sha256", lambda *_: pytest.fail("hashed again"))
    assert fetch_input("base") == cache / BASE
    assert downloads == []


def test_a_cached_wheel_that_changed_is_fetched_again(cache: Path, downloads: list[object]) -> None:
    fetch_input("base")
    good = (cache / BASE).read_bytes()
    (cache / BASE).write_bytes(good[:-1] + b"x")
    assert fetch_input("base").read_bytes() == good
    assert len(downloads) == 1


def test_a_missing_wheel_is_fetched_by_name_and_hash(
    cache: Path, downloads: list[Sequence[str | Path]]
) -> None:
    (cache / BASE).unlink()
    path = fetch_input("base")
    assert sha256(path) == find_input("base").sha256
    words = [str(word) for word in downloads[0]]
    assert words[:5] == [sys.executable, "-I", "-m", "pip", "download"]
    for option in ("--no-deps", "--only-binary=:all:", "--require-hashes"):
        assert option in words
    for option, value in (
        ("--abi", "abi3"),
        ("--platform", "manylinux1_x86_64"),
        ("--python-version", "3.12"),
    ):
        assert words[words.index(option) + 1] == value
    assert not [word for word in words if "://" in word]
    assert {path.name for path in cache.iterdir() if path.name.startswith(".")} == set()


def test_what_is_not_the_pinned_wheel_never_enters_the_cache(
    cache: Path, registry: Path, downloads: list[object]
) -> None:
    (cache / BASE).unlink()
    (registry / BASE).write_bytes(b"evil")
    with pytest.raises(WheelError, match="sha256 is not"):
        fetch_input("base")
    assert BASE not in {path.name for path in cache.iterdir()}
    assert not list(cache.glob(".*"))


def test_a_failed_download_says_what_to_do(
    cache: Path, registry: Path, downloads: list[object]
) -> None:
    (cache / BASE).unlink()
    (registry / BASE).unlink()
    with pytest.raises(HostError, match=r"pip cannot download vllm 0.11.0 .*: No matching x") as it:
        fetch_input("base")
    assert str(cache / BASE) in (it.value.hint or "")


def test_an_unknown_name_lists_the_known_ones(cache: Path) -> None:
    with pytest.raises(UsageError, match="no input is called 'x'") as caught:
        fetch_input("x")
    assert "base, cpu-312" in (caught.value.hint or "")
    with pytest.raises(UsageError, match=r"no wheel of vllm 9 is pinned"):
        find_pin(Base(distribution="vllm", version="9", root=""))


class TestShippedTable:
    """The table that is committed."""

    def test_every_pin_is_well_formed(self) -> None:
        inputs = read_inputs()
        assert "vllm-0.11.0" in inputs
        for name, entry in inputs.items():
            parsed = WheelName.parse(entry.file)
            assert parsed.distribution.replace("_", "-") == entry.distribution
            assert parsed.version == entry.version
            assert re.fullmatch("[0-9a-f]{64}", entry.sha256)
            assert entry.size_bytes > 10_000_000
            assert name.startswith(f"{entry.distribution}-{entry.version}")

    def test_every_flavor_finds_its_extensions(self) -> None:
        assert set(read_flavors()) == {"cuda", "cpu"}
        for version in read_flavors()["cpu"]["base"]:
            flavor = find_flavor("cpu", version)
            assert find_input(f"vllm-{version}").version == version
            for tag, name in flavor.extensions.items():
                wheel = find_input(name)
                assert WheelName.parse(wheel.file).python == tag
                assert wheel.version.partition(".post")[0] == version
        assert {"cp311", "cp312", "cp38"} == set(python_tags())

    @pytest.mark.parametrize("version", ["0.11.1", "0.11", "0.33.0"])
    def test_a_base_without_a_cpu_build_is_refused_with_what_is_missing(self, version: str) -> None:
        """The official wheel alone makes no CPU wheel, and no build of another release does."""
        words = (
            rf"no cpu build of vLLM {version} is pinned.* 0\.10\.2, 0\.11\.0, 0\.12\.0, 0\.32\.0$"
        )
        with pytest.raises(UsageError, match=words) as caught:
            find_flavor("cpu", version)
        assert "wheels/inputs.toml" in (caught.value.hint or "")
        assert find_flavor("cuda", version).extensions == {}

    def test_a_base_may_take_more_of_its_cpu_build(self) -> None:
        assert find_flavor("cpu", "0.12.0").take == ("*.so",)
        assert find_flavor("cpu", "0.32.0").takes("vllm/utils/cpu_triton_utils.py")

    def test_it_names_no_address(self) -> None:
        assert "://" not in pins.inputs_file().read_text()
