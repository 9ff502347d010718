"""Why a worker did not start, in the words of whoever could not start it."""

import sys

import pytest

from vllm_patchkit.errors import HostError
from vllm_patchkit.launch import session
from vllm_patchkit.launch.subject import Subject

# What Docker 28 prints where nothing serves --gpus.
DOCKER = (
    'docker: Error response from daemon: could not select device driver "" with capabilities: '
    "[[gpu]]\n\nRun 'docker run --help' for more information\n"
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (DOCKER, DOCKER.splitlines()[0]),
        ("docker: no such image\nSee 'docker run --help'.\n", "docker: no such image"),
        ("Traceback (most recent call last):\nOSError: no\n", "OSError: no"),
        ("Run 'docker run --help' for more information\n", None),
        ("", None),
    ],
)
def test_the_reason_is_no_advice(text, reason):
    assert session.find_reason(text) == (reason or text.strip() or None)


def test_a_missing_gpu_runtime_is_named():
    code = f"import sys; sys.stderr.write({DOCKER!r}); sys.exit(125)"
    subject = Subject(kind="image", location="name", argv=(sys.executable, "-c", code))
    failing = pytest.raises(HostError, match="could not select device driver")
    with failing as error, session.listen(subject, {}) as events:
        list(events)
    assert "NVIDIA Container Toolkit" in error.value.hint
    assert "--checks-only" in error.value.hint
