"""The package of a stack: where it is taken from, and what is refused."""

import base64
import hashlib
import sys
from importlib import import_module

import pytest

from vllm_patchkit.worker import contract, events, own
from vllm_patchkit.worker.identity import Installed, Record
from vllm_patchkit.worker.job import Job

SOURCE = "from patchkit_worker.contract import Proof\nPROOF = Proof(architectures=({name!r},))\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A worker's folder, and a dist-info with the record of a stack that has a package."""
    code = tmp_path / "code"
    monkeypatch.setattr(own, "CODE", code)
    monkeypatch.setattr(own, "SENT", code / "patchkit_sent")
    monkeypatch.setitem(sys.modules, "patchkit_worker.contract", contract)
    monkeypatch.syspath_prepend(str(code))
    folder = tmp_path / "site/vllm-1.dist-info/vllm_patchkit/tiny"
    (folder / "mine").mkdir(parents=True)
    (folder / "stack.toml").write_text('[smoke]\npackage = "mine"\n')
    write(folder / "mine", "FromArtifact")
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("patchkit_own_tiny")]:
        del sys.modules[name]


def write(folder, name):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "proof.py").write_text(SOURCE.format(name=name))


def record_all(place):
    site = place / "site"
    rows = []
    for path in site.rglob("*"):
        if path.is_file() and path.name != "RECORD":
            digest = hashlib.sha256(path.read_bytes()).digest()
            text = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            rows.append(f"{path.relative_to(site).as_posix()},sha256={text},1")
    (site / "vllm-1.dist-info/RECORD").write_text("\n".join(rows) + "\n")


def load(place, **fields):
    dist_info = place / "site/vllm-1.dist-info"
    record = Record(folder=dist_info / "vllm_patchkit/tiny", name="tiny", lock={})
    installed = Installed(
        name="vllm",
        version="1",
        root=place / "site",
        dist_info=dist_info,
        records=(record,),
        distribution=None,
    )
    job = Job(scratch=place, stages=(), **fields)
    return {name: proof.architectures for name, proof in own.load_proofs(installed, job).items()}


def test_the_artifacts_own_package_is_the_one_that_runs(place):
    write(place / "code/patchkit_sent/tiny", "FromHost")
    record_all(place)
    assert load(place) == {"tiny": ("FromArtifact",)}


def test_a_stack_that_was_named_is_taken_from_the_host(place):
    write(place / "code/patchkit_sent/tiny", "FromHost")
    record_all(place)
    assert load(place, preferred=("tiny",)) == {"tiny": ("FromHost",)}


def test_an_artifact_without_a_package_is_proved_with_the_hosts(place):
    folder = place / "site/vllm-1.dist-info/vllm_patchkit/tiny"
    (folder / "stack.toml").write_text("")
    record_all(place)
    assert load(place) == {}
    write(place / "code/patchkit_sent/tiny", "FromHost")
    assert load(place) == {"tiny": ("FromHost",)}


def test_a_package_that_record_does_not_list_is_not_run(place, capfd):
    record_all(place)
    (place / "site/vllm-1.dist-info/vllm_patchkit/tiny/mine/proof.py").write_text(
        "raise SystemExit"
    )
    with pytest.raises(events.WrongArtifact):
        load(place)
    assert "tiny/mine/proof.py" in capfd.readouterr().out


def test_without_own_scenarios_nothing_of_a_stack_is_imported(place):
    record_all(place)
    assert load(place, own=False) == {}
    assert "patchkit_own_tiny" not in sys.modules


def test_another_kind_of_object_is_named(place):
    folder = place / "site/vllm-1.dist-info/vllm_patchkit/tiny"
    (folder / "mine/proof.py").write_text("PROOF = 1\n")
    record_all(place)
    with pytest.raises(RuntimeError, match=r"tiny: proof\.py: PROOF is int, no Proof"):
        load(place)


@pytest.mark.parametrize("preferred", [(), ("tiny",)])
def test_a_package_for_a_later_worker_is_refused_before_it_is_imported(place, preferred):
    """What an older tool does not have it cannot know; a number it can compare."""
    later = f"CONTRACT = {contract.VERSION + 1}\nfrom patchkit_worker import what_is_not_there\n"
    carried = place / "site/vllm-1.dist-info/vllm_patchkit/tiny/mine/proof.py"
    carried.write_text(later)
    write(place / "code/patchkit_sent/tiny", "FromHost")
    (place / "code/patchkit_sent/tiny/proof.py").write_text(later)
    record_all(place)
    said = f"tiny: .* contract {contract.VERSION + 1}, this vllm-patchkit has {contract.VERSION}"
    with pytest.raises(events.EnvironmentProblem, match=said) as refused:
        load(place, preferred=preferred)
    assert "--no-own-scenarios" in refused.value.hint
    assert load(place, own=False) == {}


@pytest.mark.parametrize("number", range(1, contract.VERSION + 1))
def test_packages_for_this_and_earlier_workers_are_taken(place, number):
    carried = place / "site/vllm-1.dist-info/vllm_patchkit/tiny/mine/proof.py"
    carried.write_text(f"CONTRACT = {number}\n{SOURCE.format(name='Old')}")
    record_all(place)
    assert load(place) == {"tiny": ("Old",)}


# By contract: what a wheel that is out there calls stays, or its scenarios end with this tool.
NAMES = {
    1: (
        "bench.STAGE bench.copy_bandwidth bench.free_memory bench.peak_memory contract.Proof "
        "contract.Stage contract.report events.check events.note events.picture events.send "
        "general.load_tiny job.Job profile.profile_steps server.MODEL server.serve steps.Measured "
        "steps.Request steps.Run steps.measure"
    ),
    2: "engine.is_float32 engine.load engine.load_async engine.make_arguments "
    "engine.tiny_defaults events.scenario",
}


@pytest.mark.parametrize("name", [name for names in NAMES.values() for name in names.split()])
def test_what_a_contract_promised_is_there(name):
    module, _, attribute = name.partition(".")
    assert hasattr(import_module(f"vllm_patchkit.worker.{module}"), attribute)


def test_every_contract_says_what_it_added():
    assert list(NAMES) == list(range(1, contract.VERSION + 1))
