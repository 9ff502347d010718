"""The documents in a wheel are what their specifications say, by others' validators."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import in_toto_attestation.predicates.provenance.v1.provenance_pb2 as provenance_pb
import in_toto_attestation.v1.statement_pb2 as statement_pb
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.v1.statement import Statement

from vllm_patchkit.errors import WheelError
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.wheel.build import build_wheel
from vllm_patchkit.wheel.provenance import parse_provenance


@pytest.fixture(params=["cuda", "cpu"])
def built(request: pytest.FixtureRequest, cache: Path, stack: Path, out: Path) -> Path:
    return build_wheel(stack, flavor=request.param, out=out, console=Console(quiet=True)).path


def read(wheel: Path, suffix: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(suffix)]
        return archive.read(name).decode("ascii")


def test_the_sbom_is_strictly_valid_cyclonedx(built: Path) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    text = read(built, "dist-info/sboms/vllm-patchkit-tiny.cdx.json")
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"unofficial"', '"surprising"')) is not None


def test_every_reference_of_the_sbom_has_one_component(built: Path) -> None:
    document = json.loads(read(built, ".cdx.json"))
    main = document["metadata"]["component"]
    references = [main["bom-ref"], *(item["bom-ref"] for item in document["components"])]
    assert sorted(references) == sorted({item["ref"] for item in document["dependencies"]})
    assert len(references) == (2 if ".cpu-" in built.name else 1)


def test_the_statement_is_valid_in_toto_with_slsa_provenance(built: Path) -> None:
    document = json.loads(read(built, "/provenance.json"))
    statement = json_format.ParseDict(document, statement_pb.Statement())
    Statement.copy_from_pb(statement).validate()
    predicate = json_format.ParseDict(document["predicate"], provenance_pb.Provenance())
    assert statement.predicate_type == "https://slsa.dev/provenance/v1"
    assert predicate.build_definition.build_type
    assert predicate.run_details.builder.id
    assert len(predicate.build_definition.resolved_dependencies) == (
        4 if ".cpu-" in built.name else 3
    )


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"predicate": {"buildDefinition": {}}}'])
def test_a_damaged_statement_is_named(text: str) -> None:
    with pytest.raises(WheelError, match=r"x/provenance.json is damaged"):
        parse_provenance(text.encode(), "x/provenance.json")


def test_no_compressor_has_a_say(
    cache: Path, stack: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """zlib may unpack and sum, but nothing that it packs gets into a wheel."""
    import zlib

    def refuse(*_: object) -> None:
        raise AssertionError("something was compressed")

    monkeypatch.setattr(zlib, "compressobj", refuse)
    monkeypatch.setattr(zlib, "compress", refuse)
    assert build_wheel(stack, flavor="cuda", out=out, console=Console(quiet=True)).path.exists()
