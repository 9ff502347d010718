"""An engine, a base image of Debian packages, and images that are removed at the end."""

from __future__ import annotations

import gc
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import suppress

import docker
import docker.errors
import pytest

from support.containers import ROOT, Docker
from vllm_patchkit.container.engine import connect
from vllm_patchkit.errors import HostError

BASE = "vllm-patchkit-base:bookworm"
BASE_TIMEOUT_S = 3000


def why_no_engine() -> str:
    """Return why no engine can be used, or nothing where one answers."""
    try:
        connect()
    except HostError as error:
        reason = error.message
    else:
        return ""
    # The SDK leaves the socket that did not connect to the garbage collector.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    return reason


@pytest.fixture(scope="session")
def engine() -> Iterator[Docker]:
    reason = why_no_engine()
    if reason:
        pytest.skip(f"{reason}; ci/engine.sh start starts one")
    found = Docker(docker.from_env(timeout=600))
    yield found
    for tag in found.tags:
        with suppress(docker.errors.ImageNotFound):
            found.client.images.remove(tag, force=True)
    found.client.close()


@pytest.fixture(scope="session")
def base_image(engine: Docker) -> str:
    """A base image of debootstrap and ``docker import``, with Python 3.11."""
    if not engine.client.images.list(BASE) and shutil.which("debootstrap") is None:
        pytest.skip("debootstrap is not installed, which makes the base image")
    made = subprocess.run(
        [ROOT / "ci" / "base-image.sh", BASE],
        capture_output=True,
        text=True,
        timeout=BASE_TIMEOUT_S,
        check=False,
    )
    if made.returncode == 3:
        pytest.skip(made.stderr.strip())
    assert made.returncode == 0, made.stderr
    return BASE
