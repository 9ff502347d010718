"""The bill of materials of a patched wheel, for ``<dist-info>/sboms/`` (PEP 770).

CycloneDX 1.6 JSON (https://cyclonedx.org/docs/1.6/json/): the wheel is a component whose pedigree
names its ancestor, the base, and every patch. What upstream compiled into the base is not known
to us, and the document says that it is incomplete.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence

from vllm_patchkit.stack.model import Patch, Stack
from vllm_patchkit.version import __version__
from vllm_patchkit.wheel.provenance import Material, package_url

SPEC_VERSION = "1.6"


def format_sbom(
    stack: Stack,
    digest: str,
    distribution: str,
    version: str,
    materials: Iterable[Material],
    requires: Sequence[str] = (),
) -> bytes:
    """Return the document.

    :param digest: of the stack; with the version it makes the serial number, which must not be
        random.
    :param materials: the base first.
    :param requires: what the stack adds to the base's requirements, each a property.
    """
    base, *others = materials
    reference = package_url(distribution, version)
    serial = uuid.uuid5(uuid.NAMESPACE_URL, f"{reference}#{digest}#{base.sha256}")
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "tools": {
                "components": [
                    {"type": "application", "name": "vllm-patchkit", "version": __version__}
                ]
            },
            "component": {
                "type": "library",
                "bom-ref": reference,
                "name": distribution,
                "version": version,
                "purl": reference,
                **_licenses(base),
                "pedigree": {
                    "ancestors": [_component(base)],
                    "patches": [_patch(stack, patch) for patch in stack.patches],
                },
                **_properties(requires),
            },
        },
        "components": [_component(material) for material in others],
        "dependencies": [
            {"ref": reference, "dependsOn": [material.purl for material in others]},
            *({"ref": material.purl} for material in others),
        ],
        "compositions": [{"aggregate": "incomplete", "assemblies": [reference]}],
    }
    return json.dumps(document, indent=1).encode("ascii") + b"\n"


def sbom_name(stack: Stack) -> str:
    """Return the file's name inside ``sboms/``, one for each stack that a wheel carries."""
    return f"vllm-patchkit-{stack.name}.cdx.json"


def _component(material: Material) -> dict[str, object]:
    return {
        "type": "library",
        "bom-ref": material.purl,
        "name": material.distribution,
        "version": material.version,
        "purl": material.purl,
        "hashes": [{"alg": "SHA-256", "content": material.sha256}],
        **_licenses(material),
    }


def _licenses(material: Material) -> dict[str, object]:
    if material.license is None:
        return {}
    return {"licenses": [{"expression": material.license, "acknowledgement": "declared"}]}


def _properties(requires: Sequence[str]) -> dict[str, object]:
    if not requires:
        return {}
    return {"properties": [{"name": "vllm-patchkit:requires", "value": one} for one in requires]}


def _patch(stack: Stack, patch: Patch) -> dict[str, object]:
    origin = (patch.message.trailer("Origin") or "vendor").split(",")[0].strip()
    return {
        "type": "backport" if origin in ("backport", "upstream") else "unofficial",
        # Relative to this document, which lies in <dist-info>/sboms/.
        "diff": {"url": f"../vllm_patchkit/{stack.name}/{patch.name}"},
        "resolves": [{"type": "enhancement", "id": patch.name, "name": patch.message.subject}],
    }
