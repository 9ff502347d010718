"""A probe read off a diff."""

import pytest

from support.stacks import Change, make_diff, make_mail
from vllm_patchkit.stack.folder import make_patch
from vllm_patchkit.stack.propose import propose_probe

BASE = {"vllm/engine.py": b"import os\n\n\ndef step(n):\n    return n + 1\n"}


def propose(**edits):
    after = {**BASE, **{name.replace("__", "/") + ".py": text for name, text in edits.items()}}
    diff = make_diff(BASE, after)
    return propose_probe(make_patch("0007-a.patch", make_mail(Change("A", after), diff)), "vllm")


def test_a_new_name_is_looked_for_in_its_module():
    probe = propose(vllm__engine=BASE["vllm/engine.py"] + b"\n\ndef stop():\n    pass\n")
    assert (probe.patch, probe.imports) == ("0007", ("vllm.engine",))
    assert probe.expression == "hasattr(vllm.engine, 'stop')"


def test_a_name_that_was_there_is_no_proof():
    """A changed function, and one that only moved, had their names before."""
    probe = propose(vllm__engine=BASE["vllm/engine.py"].replace(b"step(n)", b"step(n, often=2)"))
    assert probe.imports == ("inspect", "vllm.engine")
    assert probe.expression == "'def step(n, often=2):' in inspect.getsource(vllm.engine)"


@pytest.mark.parametrize("name", ["tests__engine", "vllm__not-a-module"])
def test_what_is_no_module_of_the_package_has_no_probe(name):
    assert propose(**{name: b"def new():\n    pass\n"}) is None
