"""What the engines of these tests have: one thread each, on whichever core is free.

By default vLLM ties every engine to the same cores, so that two of them share one while another
idles.
"""

import os

import pytest

QUIET = {"VLLM_CPU_OMP_THREADS_BIND": "all", "OMP_NUM_THREADS": "1"}
os.environ.update(QUIET)


@pytest.fixture(scope="session")
def as_user() -> dict[str, str]:
    """The environment of somebody who leaves vLLM's threads as they are."""
    return {name: text for name, text in os.environ.items() if name not in QUIET}
