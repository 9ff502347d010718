"""Building an image through the engine's API, with its progress, and sealing the result."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from vllm_patchkit.container.base import ask_python, require_fit
from vllm_patchkit.container.context import context_size, stream_context
from vllm_patchkit.container.engine import ImageError, engine_errors, require_image
from vllm_patchkit.container.image import DOCKERFILE, ImagePlan
from vllm_patchkit.container.seal import OWN_LAYERS, format_archive, format_config, image_id
from vllm_patchkit.container.wheelhouse import serve_wheelhouse
from vllm_patchkit.host.terminal import Console

if TYPE_CHECKING:
    from docker import APIClient

STEP = re.compile(r"Step (\d+)/(\d+) : (.*)", re.DOTALL)
ANSI = re.compile(r"\x1b\[[0-9;]*m")
TAIL_LINES = 25
STEP_WIDTH = 72


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One layer of an image: its digest, and what it adds in bytes."""

    digest: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltImage:
    """An image that was built.

    :param digest: the image id, ``sha256:`` and 64 digits.
    :param layers: the layers that the Dockerfile adds to the base, first to last.
    :param sealed: the id depends on content alone (see ``seal``).
    """

    digest: str
    tags: tuple[str, ...]
    layers: tuple[Layer, ...]
    sealed: bool
    cached_steps: int
    steps: int


@dataclass(slots=True)
class BuildLog:
    """What the engine said while it built."""

    console: Console
    image: str = ""
    step: int = 0
    steps: int = 0
    cached: int = 0
    tail: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def add(self, line: dict[str, Any]) -> None:
        """Take one line of the engine's answer.

        :raises ImageError: it is the line that reports a failed step; ends with its last output.
        """
        if "aux" in line and "ID" in line["aux"]:
            self.image = line["aux"]["ID"]
        if "error" in line:
            raise self._failure(str(line["error"]))
        text = ANSI.sub("", str(line.get("stream", "")))
        step = STEP.match(text)
        if step:
            self._start(int(step[1]), int(step[2]), " ".join(step[3].split()))
        elif "Using cache" in text:
            self.cached += 1
        elif text.strip() and not text.startswith((" --->", "Removing intermediate")):
            self.tail = [*self.tail, text.rstrip()][-TAIL_LINES:]

    def _start(self, step: int, steps: int, instruction: str) -> None:
        self.step, self.steps, self.tail = step, steps, []
        if len(instruction) > STEP_WIDTH:
            instruction = instruction[: STEP_WIDTH - 3] + "..."
        elapsed = time.monotonic() - self.started
        self.console.note(f"[{step}/{steps}] {elapsed:4.0f} s  {instruction}")

    def _failure(self, error: str) -> ImageError:
        code = re.search(r"returned a non-zero code: (\d+)", error)
        what = f"ended with status {code[1]}" if code else error
        said = "".join(f"\n  {line}" for line in self.tail)
        return ImageError(f"step {self.step} of {self.steps} {what}{said}")


def build_image(
    client: APIClient,
    plan: ImagePlan,
    tags: Sequence[str],
    console: Console,
    *,
    wheelhouse: Path | None = None,
    use_cache: bool = True,
    network: str | None = None,
    pull: bool = True,
) -> BuiltImage:
    """Build the planned image, give it its tags, and return what it is.

    :param wheelhouse: folder with every file of the lock, on the engine's machine; then no
        index is asked, and the build's network is the host's.
    :param network: the network of the build's steps.
    :raises HostError: the base is not there and cannot be pulled.
    :raises ImageError: the wheel is for another Python than the base has, or a step failed.
    """
    base = require_image(
        client, plan.base_image, on_pull=(lambda line: _show_pull(line, console)) if pull else None
    )
    require_fit(plan.wheel, ask_python(client, plan.base_image), plan.base_image)
    former = {tag: _find_id(client, tag) for tag in tags}
    log = BuildLog(console)
    with ExitStack() as stack:
        arguments = plan.build_args(base_digest(base))
        if wheelhouse:
            arguments |= stack.enter_context(serve_wheelhouse(wheelhouse))
            network = "host"
        options = {"nocache": not use_cache, "network_mode": network, "buildargs": arguments}
        _run_build(client, plan, log, **options)
    if not log.image:
        raise ImageError("the engine ended the build without an image", hint="see its own log")
    image = _finish(client, plan, log, tags)
    if any(id_ not in (None, image.digest) for id_ in former.values()):
        console.note(
            "the image that had the name before, and those of its build, are left without one: "
            "docker image prune removes them"
        )
    return image


def _find_id(client: APIClient, name: str) -> str | None:
    from docker.errors import ImageNotFound

    try:
        return str(client.inspect_image(name)["Id"])
    except ImageNotFound:
        return None


def _run_build(client: APIClient, plan: ImagePlan, log: BuildLog, **options: Any) -> None:
    files = plan.context_files()
    context = stream_context(files, epoch=plan.epoch)
    with engine_errors("docker build"):
        # The engine answers when it has all of the context.
        with log.console.progress("context", context_size(files)) as bar:
            answer = client.build(
                # What requests sends has only to be iterable; the stubs say more.
                fileobj=cast(IO[bytes], _counted(context, bar.advance)),
                custom_context=True,
                dockerfile=DOCKERFILE,
                decode=True,
                rm=True,
                forcerm=True,
                **options,
            )
        for line in answer:
            log.add(line)


def _counted(blocks: Iterable[bytes], advance: Callable[[int], None]) -> Iterator[bytes]:
    for block in blocks:
        advance(len(block))
        yield block


def _show_pull(line: dict[str, Any], console: Console) -> None:
    if line.get("status") in ("Pulling from", "Download complete", "Pull complete"):
        console.note(f"base: {line.get('id', '')} {line['status'].lower()}")


def base_digest(inspected: dict[str, Any]) -> str:
    """Return the digest that names the base: its registry digest, or its id where it has none."""
    for name in inspected.get("RepoDigests") or ():
        digest: str = name.partition("@")[2]
        return digest
    return str(inspected["Id"])


def _finish(client: APIClient, plan: ImagePlan, log: BuildLog, tags: Sequence[str]) -> BuiltImage:
    with engine_errors("sealing the image"):
        built = client.inspect_image(log.image)
        digest, sealed = seal(client, built, plan, tags)
        if not sealed:
            for tag in tags:
                repository, _, version = tag.rpartition(":")
                client.tag(digest, repository, version)
        return BuiltImage(
            digest=digest,
            tags=tuple(tags),
            layers=list_layers(client, digest),
            sealed=sealed,
            cached_steps=log.cached,
            steps=log.steps,
        )


def seal(
    client: APIClient, built: dict[str, Any], plan: ImagePlan, tags: Sequence[str]
) -> tuple[str, bool]:
    """Give the built image a configuration without dates of its build.

    Return the id to use, and whether sealing worked. An engine with containerd's image store
    does not take an archive without layers; there the image stays as it was built.
    """
    from docker.errors import DockerException

    config = format_config(built, base_image=plan.base_image, epoch=plan.epoch)
    expected = image_id(config)
    try:
        for line in client.load_image(format_archive(config, tags)):
            if "error" in line:
                return str(built["Id"]), False
        client.inspect_image(expected)
    except DockerException:
        return str(built["Id"]), False
    return expected, True


def list_layers(client: APIClient, image: str) -> tuple[Layer, ...]:
    """Return the layers that the Dockerfile added, first to last.

    The engine lists the history newest first. A line that adds no layer has no size; a layer with
    nothing in it has none either, but none of these is ever empty.
    """
    digests = client.inspect_image(image)["RootFS"]["Layers"]
    sizes = [int(line["Size"]) for line in client.history(image) if line["Size"]]
    newest = zip(reversed(digests), sizes[: len(OWN_LAYERS)], strict=False)
    return tuple(Layer(digest=digest, size_bytes=size) for digest, size in newest)[::-1]
