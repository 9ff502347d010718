"""What comes with the program is found in an installed package and in a checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from vllm_patchkit.host import shipped

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", shipped.PACKED)
def test_a_checkout_has_every_folder_and_the_build_packs_it_where_it_is_looked_for(
    name: str,
) -> None:
    packed, own = shipped.shipped_folders(name)
    assert (own, own.is_dir()) == (ROOT / name, True)
    assert packed.parent == ROOT / "tooling" / "vllm_patchkit"
    # The other end of the promise: what hatchling is told to put there.
    assert f'= "vllm_patchkit/{packed.name}' in (ROOT / "pyproject.toml").read_text()


def test_the_packages_own_files_come_before_a_checkouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "PACKAGE", tmp_path / "lib" / "vllm_patchkit")
    monkeypatch.setattr(shipped, "CHECKOUT", tmp_path / "checkout")
    for folder in (packed := shipped.PACKAGE / "_ci", own := shipped.CHECKOUT / "ci"):
        folder.mkdir(parents=True)
    (own / "Dockerfile").touch()
    assert shipped.find_file("Dockerfile", shipped.shipped_folders("ci")) == own / "Dockerfile"
    (packed / "Dockerfile").touch()
    assert shipped.find_file("Dockerfile", shipped.shipped_folders("ci")) == packed / "Dockerfile"


def test_a_folder_of_the_files_name_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "first" / "series").mkdir(parents=True)
    (tmp_path / "second").mkdir()
    assert shipped.find_file("series", [tmp_path / "first", tmp_path / "second"]) is None


def test_the_nearest_folder_around_a_place_comes_first(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b")
    found = shipped.folders_around("patches", tmp_path / "link")
    assert found[:3] == [tmp_path / "a/b/patches", tmp_path / "a/patches", tmp_path / "patches"]
    assert found[-1] == Path("/patches")
