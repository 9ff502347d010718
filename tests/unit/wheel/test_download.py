"""Downloading wheels with pip: what it is asked for, and what is made of how it ends."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.tags import parse_tag

from vllm_patchkit.errors import CommandFailed, HostError, WheelError
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.wheel import download
from vllm_patchkit.wheel.pins import read_inputs

ENTRY = read_inputs()["vllm-0.11.0"]
QUIET = Console(quiet=True)


def options(file: str) -> dict[str, list[str]]:
    words = download._tag_options(file)
    found: dict[str, list[str]] = {}
    for name, value in zip(words[::2], words[1::2], strict=True):
        found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize(
    ("tag", "python"),
    [
        ("cp38-abi3-manylinux1_x86_64", "3.12"),
        ("cp311-cp311-linux_x86_64", "3.11"),
        ("cp39-cp39-manylinux_2_17_x86_64.manylinux2014_x86_64", "3.9"),
    ],
)
def test_pip_is_asked_for_the_tags_that_the_file_name_has(tag: str, python: str) -> None:
    """The oracle reads the name as packaging does."""
    found = options(f"vllm-0.11.0-{tag}.whl")
    tags = parse_tag(tag)
    assert set(found["--platform"]) == {one.platform for one in tags}
    assert found["--abi"] == list({one.abi for one in tags})
    assert (found["--implementation"], found["--python-version"]) == (["cp"], [python])


def test_a_wheel_for_any_python_is_taken_whatever_it_requires() -> None:
    words = download._tag_options("tiny_llm-1.0-py3-none-any.whl")
    assert words == ["--ignore-requires-python"]


@pytest.mark.parametrize(
    ("version", "progress", "resumes"),
    [("23.3.2", "off", False), ("24.1", "raw", False), ("25.1.1", "raw", True)],
)
def test_an_older_pip_is_not_given_what_it_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, progress: str, resumes: bool
) -> None:
    monkeypatch.setattr(download.metadata, "version", lambda name: version)
    words = download._pip_argv(ENTRY, tmp_path / "requirements.txt", tmp_path)
    assert f"--progress-bar={progress}" in words
    assert ("--resume-retries=20" in words) == resumes


def test_a_python_without_pip_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise download.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(download.metadata, "version", version)
    with pytest.raises(HostError, match="has no pip to download with") as missing:
        download._pip_version()
    assert "ensurepip" in str(missing.value.hint)


def test_progress_is_the_bytes_that_pip_counts() -> None:
    with QUIET.progress("fetch", 100) as bar:
        report = download._reporter(bar)
        seen = []
        for line in (
            "Progress 10 of 100",
            "Collecting x",
            "Progress x of 100",
            "Progress 70 of 100",
        ):
            report(line)
            seen.append(bar.done)
    assert seen == [10, 10, 10, 70]


def test_another_file_than_the_pinned_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stream(argv: Sequence[str | Path], *_: object, **__: object) -> None:
        (Path(argv[argv.index("--dest") + 1]) / "other-1-py3-none-any.whl").touch()

    monkeypatch.setattr(download, "stream", stream)
    small = replace(ENTRY, size_bytes=0)
    with pytest.raises(WheelError, match=r"expected vllm-0\.11\.0.*, pip brought other-1-py3"):
        download.download(small, tmp_path / small.file, QUIET)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_not_called_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tail = "OSError: [Errno 28] No space left on device\nERROR: Could not install packages\n"
    error = download._fetch_error(ENTRY, tmp_path / ENTRY.file, CommandFailed(["pip"], 2, tail))
    assert error.message.startswith(f"no space left for {ENTRY.file}")
    assert "network" not in f"{error.message}{error.hint}"
    usage = os.statvfs_result((4096, 4096, 100, 1, 1, 10, 10, 10, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: usage)
    with pytest.raises(HostError, match="no space left for"):
        download._require_space(ENTRY, tmp_path)


class Pip:
    """Stands in for pip: has a wheel for one Python, for the others it says why not."""

    def __init__(self, has: str | None) -> None:
        self.has = has
        self.asked: list[str] = []

    def __call__(self, argv: Sequence[str | Path]) -> None:
        words = [str(word) for word in argv]
        python = next((w.partition("=")[2] for w in words if w.startswith("--python-version")), "")
        self.asked.append(python)
        if python != self.has:
            raise CommandFailed(["pip"], 1, f"noise\nERROR: nothing for {python or 'this one'}\n")
        (Path(words[words.index("--dest") + 1]) / "tiny_llm-1.0-cp311-cp311-any.whl").touch()


def fetch_release(pip: Pip, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(download, "run", pip)
    return download.download_release("tiny-llm", "1.0", folder, QUIET)


def test_a_release_for_another_python_serves_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = Pip("3.11")
    wheel = fetch_release(pip, tmp_path, monkeypatch)
    assert pip.asked == ["", "3.12", "3.11"]
    assert list(tmp_path.iterdir()) == [wheel]


def test_a_release_that_nobody_has_is_explained_by_what_this_machine_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        HostError, match=r"wheel of tiny-llm 1\.0: ERROR: nothing for this one$"
    ) as it:
        fetch_release(Pip(None), tmp_path, monkeypatch)
    assert str(tmp_path) in str(it.value.hint)
    assert list(tmp_path.iterdir()) == []
