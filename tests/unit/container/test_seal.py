"""The configuration that replaces the engine's: settings kept, traces of the build gone."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

from support.images import LAYERS, inspected
from vllm_patchkit.container.seal import OWN_LAYERS, format_archive, format_config, image_id


def test_two_builds_of_the_same_layers_have_one_id() -> None:
    first = format_config(inspected(), base_image="base", epoch=0)
    later = inspected(Created="2027-01-01T00:00:00Z", Container="9" * 64, DockerVersion="28")
    later["Config"] = {**later["Config"], "Image": "sha256:" + "8" * 64}
    assert format_config(later, base_image="base", epoch=0) == first
    assert image_id(first) == "sha256:" + hashlib.sha256(first).hexdigest()


def test_settings_and_layers_show_in_the_id() -> None:
    first = format_config(inspected(), base_image="base", epoch=0)
    root = inspected()
    root["Config"] = {**root["Config"], "User": "root"}
    other = inspected(RootFS={"Type": "layers", "Layers": LAYERS[::-1]})
    ids = {format_config(image, base_image="base", epoch=0) for image in (root, other)}
    assert first not in ids
    assert len(ids) == 2


def test_the_document_has_the_fields_that_the_image_specification_requires() -> None:
    document = json.loads(format_config(inspected(), base_image="base", epoch=1759276800))
    assert document["created"] == "2025-10-01T00:00:00Z"
    assert document["rootfs"] == {"type": "layers", "diff_ids": LAYERS}
    assert document["config"]["Healthcheck"]["Test"] == ["CMD", "true"]
    assert "Cmd" not in document["config"]
    created_by = [line["created_by"] for line in document["history"]]
    assert created_by == ["base image base"] * 2 + list(OWN_LAYERS)
    assert len(document["history"]) == len(LAYERS)


def test_the_archive_names_the_layers_and_holds_none() -> None:
    config = format_config(inspected(), base_image="base", epoch=0)
    with tarfile.open(fileobj=io.BytesIO(format_archive(config, ["a:1", "b:2"]))) as archive:
        names = archive.getnames()
        stream = archive.extractfile("manifest.json")
        assert stream is not None
        (manifest,) = json.load(stream)
    assert names == [image_id(config)[7:] + ".json", "manifest.json"]
    assert manifest["RepoTags"] == ["a:1", "b:2"]
    assert [layer.removesuffix("/layer.tar") for layer in manifest["Layers"]] == [
        layer.removeprefix("sha256:") for layer in LAYERS
    ]
