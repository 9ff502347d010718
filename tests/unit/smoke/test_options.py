import pytest

from vllm_patchkit.errors import UsageError
from vllm_patchkit.smoke.options import SmokeOptions


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": "a fox"}, "--prompt needs a real checkpoint"),
        ({"vision_tokenizer": "x"}, "--vision-tokenizer needs a real checkpoint"),
        ({"model": "/nonexistent"}, "/nonexistent is no checkpoint"),
    ],
)
def test_contradictions_are_refused(fields, message):
    with pytest.raises(UsageError, match=message):
        SmokeOptions(**fields)


def test_the_worker_reads_every_field_of_the_job(tmp_path):
    """What the host sends and what the worker declares are the same names."""
    from vllm_patchkit.worker.job import Job

    job = Job.from_json(SmokeOptions(image_size=(2, 3)).to_job({"locks": {}}), tmp_path)
    assert job.image_size == (2, 3)
    assert job.stages == ("artifact",)
    assert job.scenarios is None
    assert job.own
