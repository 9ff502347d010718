"""What a base image brings, asked before the first layer is made."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vllm_patchkit.container.engine import ImageError, engine_errors
from vllm_patchkit.container.wheelfacts import WheelFacts

if TYPE_CHECKING:
    from docker import APIClient

ASK = "import sys; print('python %d.%d' % sys.version_info[:2])"
ANSWER = re.compile(r"python (\d+)\.(\d+)")


def ask_python(client: APIClient, image: str) -> tuple[int, int]:
    """Return the version of the image's Python, which is run once, without a network.

    :raises ImageError: it has none.
    """
    from docker.errors import APIError

    with engine_errors(f"asking {image} for its Python"):
        made = client.create_container(
            image, entrypoint=["python3"], command=["-c", ASK], network_disabled=True
        )
        container = str(made["Id"])
        try:
            client.start(container)
            client.wait(container)
            said = client.logs(container).decode("utf-8", "replace")
        except APIError as error:
            said = str(error.explanation or error)
        finally:
            client.remove_container(container, force=True, v=True)
    found = ANSWER.search(said)
    if found is None:
        raise ImageError(
            f"the base image {image} has no Python: {said.strip()[-200:]}",
            hint="give one that has Python and venv: --base-image python:3.12-slim-bookworm",
        )
    return int(found[1]), int(found[2])


def require_fit(wheel: WheelFacts, python: tuple[int, int], image: str) -> None:
    """See that a wheel can be installed for the Python of its base image.

    :raises ImageError: it was built for another one.
    """
    tags = {tuple(tag.split("-")[:2]) for tag in wheel.tags}
    here = f"cp{python[0]}{python[1]}"
    exact = {name for name, abi in tags if abi != "abi3" and name.startswith("cp")}
    if not exact or here in exact or any(not name.startswith("cp") for name, _ in tags):
        return
    raise ImageError(
        f"{wheel.path.name} is for {'/'.join(sorted(exact))}; the base image {image} has Python "
        f"{python[0]}.{python[1]}",
        hint=f"vllm-patchkit wheel --flavor {wheel.flavor} --python-tag {here}, or another "
        "--base-image",
    )
