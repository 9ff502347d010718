"""An image's configuration without the traces of one build: same layers, same image id.

An image's id is the sha256 of its configuration. The classic builder writes the time of every
step, the ids of the build's containers and its own version into that. Here the configuration is
written anew, as the OCI image specification has it, with one date and one history line a layer.
The layers are not touched: an archive that names only layers which the engine has already is a
few kilobytes, and loading it adds the configuration alone.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from vllm_patchkit.digest import sha256_hex

# https://github.com/opencontainers/image-spec/blob/main/config.md, and Docker's Healthcheck.
CONFIG_FIELDS = (
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "Healthcheck",
)
OWN_LAYERS = (
    "compiler, init and user",
    "lock of the requirements",
    "requirements",
    "members of the wheel that the stack leaves alone",
    "patched members and dist-info",
)


def format_config(inspected: Mapping[str, Any], *, base_image: str, epoch: int) -> bytes:
    """Return the image's configuration, deterministic for equal layers and settings.

    :param inspected: what the engine says of the image it built.
    """
    created = datetime.fromtimestamp(epoch, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    layers = list(inspected["RootFS"]["Layers"])
    from_base = len(layers) - len(OWN_LAYERS)
    names = [f"base image {base_image}"] * from_base + list(OWN_LAYERS)
    config = {key: inspected["Config"].get(key) for key in CONFIG_FIELDS}
    document = {
        "architecture": inspected["Architecture"],
        "config": {key: value for key, value in config.items() if value},
        "created": created,
        "history": [{"created": created, "created_by": name} for name in names],
        "os": inspected["Os"],
        "rootfs": {"type": "layers", "diff_ids": layers},
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("utf-8")


def image_id(config: bytes) -> str:
    """Return the id that an engine gives an image of that configuration."""
    return f"sha256:{sha256_hex(config)}"


def format_archive(config: bytes, tags: Sequence[str]) -> bytes:
    """Return a ``docker load`` archive that holds the configuration and none of its layers."""
    name = f"{sha256_hex(config)}.json"
    layers = [diff.partition(":")[2] for diff in json.loads(config)["rootfs"]["diff_ids"]]
    manifest = [
        {"Config": name, "RepoTags": list(tags), "Layers": [f"{diff}/layer.tar" for diff in layers]}
    ]
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as writer:
        for member, data in ((name, config), ("manifest.json", json.dumps(manifest).encode())):
            entry = tarfile.TarInfo(member)
            entry.size = len(data)
            writer.addfile(entry, io.BytesIO(data))
    return archive.getvalue()
