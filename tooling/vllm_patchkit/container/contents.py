"""The files of vLLM in an image, read through the engine without running anything of it."""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from vllm_patchkit.container.engine import engine_errors, require_image
from vllm_patchkit.errors import TargetError

if TYPE_CHECKING:
    from docker import APIClient

PREFIXES = ("/opt/vllm", "/opt/venv", "/usr/local", "/usr")
RELEASES = tuple(f"python3.{minor}" for minor in range(14, 8, -1))
FOLDERS = ("site-packages", "dist-packages")


@contextmanager
def read_image(client: APIClient, image: str) -> Iterator[Callable[[str], bytes | None]]:
    """Yield a function from a path in site-packages to the file's bytes, or None without one.

    A container is made, never started, and removed at the end.

    :raises UsageError: there is no such image.
    :raises TargetError: there is no vllm in it.
    """
    config = require_image(client, image)["Config"]
    with engine_errors(f"reading {image}"):
        container = str(client.create_container(image, command=["true"])["Id"])
        try:
            site = _find_site(client, container, config)
            if site is None:
                raise TargetError(f"there is no vllm in the image {image}")
            yield partial(_read, client, container, site)
        finally:
            client.remove_container(container, force=True, v=True)


def _find_site(client: APIClient, container: str, config: Mapping[str, Any]) -> str | None:
    variables = dict(entry.partition("=")[::2] for entry in config.get("Env") or ())
    prefixes = dict.fromkeys((variables.get("VIRTUAL_ENV", ""), *PREFIXES))
    for prefix in filter(None, prefixes):
        for release in RELEASES:
            for folder in FOLDERS:
                site = f"{prefix}/lib/{release}/{folder}"
                if _read(client, container, site, "vllm/__init__.py") is not None:
                    return site
    return None


def _read(client: APIClient, container: str, site: str, path: str) -> bytes | None:
    from docker.errors import NotFound

    try:
        blocks, _ = client.get_archive(container, posixpath.join(site, path))
    except NotFound:
        return None
    with tarfile.open(fileobj=io.BytesIO(b"".join(blocks))) as archive:
        member = archive.next()
        content = archive.extractfile(member) if member and member.isfile() else None
        return content.read() if content else None
