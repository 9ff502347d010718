"""A probe read off a diff."""

from dataclasses import replace

import pytest

from support.stacks import Change, make_diff, make_mail
from vllm_patchkit.stack.folder import make_patch
from vllm_patchkit.stack.propose import propose_probe, renew_probe

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


def test_what_was_proposed_is_proposed_anew_and_an_author_s_own_only_numbered():
    patches = [
        make_patch(f"{number}-a.patch", make_mail(Change("A", after), make_diff(BASE, after)))
        for number, after in (
            ("0007", {**BASE, "vllm/a.py": b"def old():\n    pass\n"}),
            ("0003", {**BASE, "vllm/a.py": b"def new():\n    pass\n"}),
        )
    ]
    proposed = propose_probe(patches[0], "vllm")
    renewed = renew_probe(proposed, *patches, "vllm")
    assert (renewed.patch, renewed.expression) == ("0003", "hasattr(vllm.a, 'new')")
    own = replace(proposed, expression="1 < 2")
    assert renew_probe(own, *patches, "vllm") == replace(own, patch="0003")
