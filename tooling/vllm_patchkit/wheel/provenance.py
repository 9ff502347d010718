"""The provenance statement of a patched wheel: in-toto Statement v1 with SLSA Provenance v1.

Sources: https://in-toto.io/Statement/v1 and https://slsa.dev/provenance/v1. A file cannot hold
its own digest, so the subjects are the members that this build made, not the wheel; the raw
copies are covered by the digest of the base. There is no time and no host in it: the statement is
part of what two builds must agree on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from vllm_patchkit.errors import WheelError

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILDER = "pkg:pypi/vllm-patchkit"
BUILD_TYPE = f"{BUILDER}#wheel/v1"
FILE_NAME = "provenance.json"

Role = Literal["base", "extension"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """An upstream wheel that went into a build.

    :param license: the SPDX expression that its METADATA declares, or None.
    """

    role: Role
    distribution: str
    version: str
    file: str
    sha256: str
    license: str | None = None

    @property
    def purl(self) -> str:
        """The package URL of the distribution, with the file as qualifier."""
        return f"{package_url(self.distribution, self.version)}?file_name={quote(self.file)}"


def package_url(distribution: str, version: str) -> str:
    """Return the package URL of a release (https://github.com/package-url/purl-spec).

    >>> package_url("vllm", "0.11.0+myfork.1")
    'pkg:pypi/vllm@0.11.0%2Bmyfork.1'
    """
    return f"pkg:pypi/{distribution.replace('_', '-').lower()}@{quote(version, safe='.!')}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """How a wheel was made: enough to make it again.

    :param stack_digest: digest of the stack; ``lock_sha256`` that of its lock file.
    :param builder_version: the vllm-patchkit that made it.
    """

    stack: str
    stack_label: str
    stack_digest: str
    lock_sha256: str
    flavor: str
    python_tag: str | None
    materials: tuple[Material, ...]
    builder_version: str


def format_provenance(provenance: Provenance, subjects: Mapping[str, str]) -> bytes:
    """Return the statement.

    :param subjects: member -> sha256 of everything that the build made.
    """
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": name, "digest": {"sha256": subjects[name]}} for name in sorted(subjects)
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "stack": provenance.stack,
                    "flavor": provenance.flavor,
                    "pythonTag": provenance.python_tag,
                },
                "internalParameters": {"stackLabel": provenance.stack_label},
                "resolvedDependencies": [
                    *map(_format_material, provenance.materials),
                    _dependency("stack", f"{provenance.stack}/", provenance.stack_digest),
                    _dependency("lock", f"{provenance.stack}/lock.json", provenance.lock_sha256),
                ],
            },
            "runDetails": {
                "builder": {
                    "id": BUILDER,
                    "version": {"vllm-patchkit": provenance.builder_version},
                },
            },
        },
    }
    return json.dumps(statement, indent=1).encode("ascii") + b"\n"


def parse_provenance(data: bytes, source: str) -> Provenance:
    """Return what a statement of ours says; ``source`` is what a message calls it.

    :raises WheelError: it is not one, or of a build type that this program does not know.
    """
    try:
        predicate = json.loads(data)["predicate"]
        definition = predicate["buildDefinition"]
        if definition["buildType"] != BUILD_TYPE:
            raise WheelError(
                f"{source}: build type {definition['buildType']!r} is not known",
                hint="check it with the vllm-patchkit that built it",
            )
        return _parse_definition(definition, predicate["runDetails"]["builder"]["version"])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise WheelError(f"{source} is damaged: {type(error).__name__}: {error}") from None


def _parse_definition(definition: Mapping[str, Any], builder: Mapping[str, str]) -> Provenance:
    roles = {item["annotations"]["role"]: item for item in definition["resolvedDependencies"]}
    external = definition["externalParameters"]
    wheels: tuple[Role, ...] = ("base", "extension")
    return Provenance(
        stack=external["stack"],
        stack_label=definition["internalParameters"]["stackLabel"],
        stack_digest=roles["stack"]["digest"]["sha256"],
        lock_sha256=roles["lock"]["digest"]["sha256"],
        flavor=external["flavor"],
        python_tag=external["pythonTag"],
        materials=tuple(_parse_material(role, roles[role]) for role in wheels if role in roles),
        builder_version=builder["vllm-patchkit"],
    )


def _format_material(material: Material) -> dict[str, object]:
    known = {"distribution": material.distribution, "version": material.version}
    return {
        **_dependency(material.role, material.file, material.sha256, **known),
        "uri": material.purl,
    }


def _parse_material(role: Role, item: Mapping[str, Any]) -> Material:
    return Material(
        role=role,
        distribution=item["annotations"]["distribution"],
        version=item["annotations"]["version"],
        file=item["name"],
        sha256=item["digest"]["sha256"],
    )


def _dependency(role: str, name: str, sha256: str, **known: str) -> dict[str, object]:
    return {"name": name, "digest": {"sha256": sha256}, "annotations": {"role": role, **known}}
