"""A release's source distribution in the cache: what holds upstream's own tests."""

from __future__ import annotations

from pathlib import Path

from vllm_patchkit.errors import CommandFailed, HostError
from vllm_patchkit.host.files import file_sha256, made_whole
from vllm_patchkit.host.process import run
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.wheel.download import pip_download, pip_environment, require_fetched
from vllm_patchkit.wheel.fetch import inputs_folder
from vllm_patchkit.wheel.pins import WheelInput, read_tables

# pip asks a downloaded sdist for its requirements, of its build backend. This one answers instead,
# so that nothing of the sdist runs and nothing has to be installed for it.
BACKEND = """\
from pathlib import Path

def prepare_metadata_for_build_wheel(folder, config_settings=None):
    info = Path(folder, {info!r})
    info.mkdir()
    (info / "METADATA").write_text({metadata!r})
    return info.name
"""


def find_sdist(distribution: str, version: str) -> WheelInput | None:
    """Return the pinned sdist of a release, None where ``inputs.toml`` has none."""
    for name, table in read_tables().get("sdist", {}).items():
        entry = WheelInput.from_table(name, table)
        if (entry.distribution, entry.version) == (distribution, version):
            return entry
    return None


def fetch_sdist(distribution: str, version: str, console: Console) -> Path:
    """Return the path of a release's sdist in the cache, downloaded if it is not there.

    :raises HostError: pip finds none, or cannot reach the registry.
    :raises WheelError: it is not what is pinned.
    """
    pin = find_sdist(distribution, version)
    name = pin.file if pin else f"{distribution.replace('-', '_')}-{version}.tar.gz"
    path = inputs_folder() / name
    if pin is None:
        console.note(f"no sdist of {distribution} {version} is pinned: taking the registry's")
    if not path.is_file() or (pin and file_sha256(path) != pin.sha256):
        _download(distribution, version, path, pin, console)
    return path


def _download(
    distribution: str, version: str, path: Path, pin: WheelInput | None, console: Console
) -> None:
    console.note(f"fetch {path.name} with pip")
    with made_whole(path) as fetched:
        folder = fetched.parent
        backend = write_backend(folder, distribution, version)
        requirements = folder / "requirements.txt"
        check = f" --hash=sha256:{pin.sha256}" if pin else ""
        requirements.write_text(f"{distribution}=={version}{check}\n", encoding="utf-8")
        words = [*pip_download(f"--no-binary={distribution}"), "--quiet", "--no-build-isolation"]
        words += ["--dest", folder, "--requirement", requirements]
        try:
            run(words, env={**pip_environment(folder), "PYTHONPATH": str(backend)})
        except CommandFailed as failure:
            raise HostError(
                f"pip cannot download the sdist of {distribution} {version}: {failure.last_line}",
                hint=f"check the network and pip's index settings, or put the file at {path}",
            ) from None
        require_fetched(fetched, f"the sdist of {distribution} {version}")


def write_backend(folder: Path, distribution: str, version: str) -> Path:
    """Write what stands in for setuptools as a build backend; return its place on the path."""
    package = folder / "backend" / "setuptools"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    stem = f"{distribution.replace('-', '_')}-{version}"
    metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
    text = BACKEND.format(info=f"{stem}.dist-info", metadata=metadata)
    (package / "build_meta.py").write_text(text, encoding="utf-8")
    return package.parent
