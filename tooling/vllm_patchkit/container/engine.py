"""The container engine: one connection, and errors in plain words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vllm_patchkit.errors import HostError, PatchkitError, UsageError

if TYPE_CHECKING:
    from docker import APIClient

READ_TIMEOUT_S = 3600
"""A build step that installs 7 GB says nothing for minutes."""


class ImageError(PatchkitError):
    """An image could not be built, or is not what it should be."""


def connect() -> APIClient:
    """Return a client of the engine that ``DOCKER_HOST`` (or the usual socket) names.

    :raises HostError: docker's Python SDK is missing, or no engine answers.
    """
    try:
        import docker
        from docker.errors import DockerException
    except ImportError as error:
        raise HostError(
            "docker's Python SDK is not installed", hint="pip install 'vllm-patchkit[image]'"
        ) from error
    try:
        client = docker.from_env(timeout=READ_TIMEOUT_S).api
        client.ping()
    except DockerException as error:
        raise HostError(
            f"no container engine answers: {error}",
            hint="start one (systemctl start docker, or: sudo ci/engine.sh start), "
            "or point DOCKER_HOST at it",
        ) from None
    return client


@contextmanager
def engine_errors(doing: str) -> Iterator[None]:
    """Turn the SDK's errors in the block into ones that say what was being done."""
    from docker.errors import APIError, DockerException

    try:
        yield
    except APIError as error:
        raise ImageError(f"{doing}: {error.explanation or error}") from error
    except DockerException as error:
        raise HostError(f"{doing}: {error}") from error


def require_image(
    client: APIClient, name: str, *, on_pull: Callable[[dict[str, Any]], None] | None = None
) -> dict[str, Any]:
    """Return what the engine knows of an image, pulled if it is not there.

    :param on_pull: is given each line of the pull's progress; None forbids a pull.
    :raises UsageError: there is no such image.
    """
    from docker.errors import APIError, ImageNotFound

    found: dict[str, Any]
    try:
        found = client.inspect_image(name)
    except ImageNotFound:
        if on_pull is None:
            raise UsageError(f"there is no image {name}", hint="docker images lists them") from None
    else:
        return found
    try:
        for line in client.pull(name, stream=True, decode=True):
            on_pull(line)
            if "error" in line:
                raise _cannot_pull(name, str(line["error"]))
        found = client.inspect_image(name)
    except APIError as error:
        raise _cannot_pull(name, str(error.explanation or error)) from error
    return found


def _cannot_pull(name: str, why: str) -> HostError:
    return HostError(
        f"base image {name} is not here and cannot be pulled: {why}",
        hint="give another with --base-image; `make base-image` makes one from Debian packages",
    )
