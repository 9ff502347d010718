"""What the smoke's engine is made with."""

import pytest
from patchkit_own_emu3_5.engine import engine_arguments, is_exact
from patchkit_worker.job import Job


@pytest.mark.parametrize(
    ("fields", "dtype", "exact"),
    [
        ({}, "float32", True),
        # Fp8Config.get_supported_act_dtypes() of vLLM 0.11.0: bfloat16 and half.
        ({"quantization": "fp8"}, "bfloat16", False),
        ({"dtype": "bfloat16"}, "bfloat16", False),
        ({"dtype": "half", "quantization": "fp8"}, "half", False),
    ],
)
def test_float32_unless_the_kernels_cannot(tmp_path, fields, dtype, exact):
    job = Job(scratch=tmp_path, stages=(), **fields)
    assert engine_arguments(job)["dtype"] == dtype
    assert is_exact(job) == exact


def test_a_real_checkpoint_keeps_its_own_dtype_and_length(tmp_path):
    arguments = engine_arguments(Job(scratch=tmp_path, stages=(), model="checkpoint"))
    assert {"dtype", "max_model_len"}.isdisjoint(arguments)
