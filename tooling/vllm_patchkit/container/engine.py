"""The container engine: one connection, and errors in plain words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, cast

from vllm_patchkit.errors import HostError, PatchkitError, UsageError

READ_TIMEOUT_S = 3600
"""A build step that installs 7 GB says nothing for minutes."""


class ImageError(PatchkitError):
    """An image could not be built, or is not what it should be."""


class Engine(Protocol):
    """What is asked of an engine: the part of docker's ``APIClient`` that is used here."""

    def inspect_image(self, image: str) -> dict[str, Any]:
        """Return what the engine knows of an image."""
        ...

    def pull(self, repository: str, *, stream: bool, decode: bool) -> Iterable[dict[str, Any]]:
        """Fetch an image and yield the progress."""
        ...

    def build(
        self,
        *,
        fileobj: Iterable[bytes],
        custom_context: bool,
        dockerfile: str,
        buildargs: Mapping[str, str],
        nocache: bool,
        network_mode: str | None,
        decode: bool,
        rm: bool,
        forcerm: bool,
    ) -> Iterable[dict[str, Any]]:
        """Build an image and yield what each step says."""
        ...

    def load_image(self, data: bytes) -> Iterable[dict[str, Any]]:
        """Add the images of an archive and yield what was loaded."""
        ...

    def history(self, image: str) -> list[dict[str, Any]]:
        """Return the image's history, newest first, with the size that each line adds."""
        ...

    def tag(self, image: str, repository: str, tag: str) -> bool:
        """Give an image a name."""
        ...

    def create_container(
        self,
        image: str,
        *,
        command: list[str],
        entrypoint: list[str] | None = None,
        network_disabled: bool = False,
    ) -> Mapping[str, Any]:
        """Make a container that is not started; its id is under ``Id``."""
        ...

    def start(self, container: str) -> None:
        """Start a container."""
        ...

    def wait(self, container: str) -> Mapping[str, Any]:
        """Wait until a container ends; its status is under ``StatusCode``."""
        ...

    def logs(self, container: str) -> bytes:
        """Return what a container printed."""
        ...

    def remove_container(self, container: str, *, force: bool, v: bool) -> None:
        """Remove a container and its volumes."""
        ...

    def get_archive(self, container: str, path: str) -> tuple[Iterable[bytes], Mapping[str, Any]]:
        """Return a path of a container as a tar, and what is known of it."""
        ...


def connect() -> Engine:
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
    return cast(Engine, client)


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
    client: Engine, name: str, *, on_pull: Callable[[dict[str, Any]], None] | None = None
) -> dict[str, Any]:
    """Return what the engine knows of an image, pulled if it is not there.

    :param on_pull: is given each line of the pull's progress; None forbids a pull.
    :raises UsageError: there is no such image.
    """
    from docker.errors import APIError, ImageNotFound

    try:
        return client.inspect_image(name)
    except ImageNotFound:
        if on_pull is None:
            raise UsageError(f"there is no image {name}", hint="docker images lists them") from None
    try:
        for line in client.pull(name, stream=True, decode=True):
            on_pull(line)
            if "error" in line:
                raise _cannot_pull(name, str(line["error"]))
        return client.inspect_image(name)
    except APIError as error:
        raise _cannot_pull(name, str(error.explanation or error)) from error


def _cannot_pull(name: str, why: str) -> HostError:
    return HostError(
        f"base image {name} is not here and cannot be pulled: {why}",
        hint="give another with --base-image; `make base-image` makes one from Debian packages",
    )
