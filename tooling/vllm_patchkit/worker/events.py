"""What a stage tells the host: one JSON object a line, on a pipe of its own.

Standard output and error are left to vLLM, whose log the guardian keeps in a file.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from typing import Any

CHANNEL = "VLLM_PATCHKIT_EVENTS"


class EnvironmentProblem(Exception):
    """This machine cannot do it: no GPU, too little memory, a port in use."""

    kind = "environment"

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class WrongOptions(EnvironmentProblem):
    """What was asked for does not exist in this artifact."""

    kind = "usage"


class WrongArtifact(Exception):
    """What would be imported is not the artifact; nothing after that would mean anything."""


def send(event: str, /, **fields: Any) -> None:
    """Write one event. Without a channel (a stage run by hand) it goes to standard output."""
    line = json.dumps({"event": event, **fields}) + "\n"
    handle = int(os.environ.get(CHANNEL, "1"))
    data = line.encode()
    while data:
        data = data[os.write(handle, data) :]


def check(stage: str, name: str, ok: bool, detail: str = "") -> bool:
    """Report one check and return ``ok``."""
    send("check", stage=stage, name=name, ok=bool(ok), detail=detail)
    return ok


def note(stage: str, text: str) -> None:
    """Say what is being done, for the progress display."""
    send("note", stage=stage, text=text)


def scenario(
    name: str,
    problems: Sequence[str],
    *,
    requests: int = 0,
    tokens: int = 0,
    seconds: float | None = None,
    images: Sequence[tuple[int, int]] = (),
    oracle: bool = False,
    **more: Any,
) -> bool:
    """Report a scenario, which holds if nothing is wrong, and return whether it does.

    :param seconds: that the tokens took, where a rate means something.
    :param images: height and width of each.
    :param oracle: whether an oracle said what the tokens have to be.
    :param more: further fields, or others than these make.
    """
    fields = {
        "ok": not problems,
        "problems": list(problems),
        "requests": requests,
        "tokens": tokens,
        "seconds": round(seconds or 0.0, 4),
        "tokens_per_s": round(tokens / seconds, 2) if tokens and seconds else None,
        "images": [{"height": height, "width": width} for height, width in images],
        "oracle": oracle,
    }
    send("scenario", name=name, **{**fields, **more})
    return not problems


def picture(name: str, size: tuple[int, int], png: bytes, **fields: Any) -> None:
    """Hand over a picture; the host writes it where its user wants it."""
    data = base64.b64encode(png).decode("ascii")
    send("picture", name=name, height=size[0], width=size[1], png=data, **fields)
