import math

import pytest
from vllm_patchkit.pipeline.settings import Settings
from vllm_patchkit.pipeline.tasks import ASPECT_RATIOS, TASKS, find_task, image_size, size_arguments

from vllm_patchkit.errors import UsageError


def test_templates_are_the_published_ones():
    """Word for word as in the facts."""
    prompt, uncond, without_image = TASKS["t2i"].prompts("a fox", "")
    assert prompt == (
        "<|extra_203|>You are a helpful assistant for t2i task. "
        "USER: a fox ASSISTANT: <|extra_100|>"
    )
    assert uncond == "<|extra_203|>You are a helpful assistant. USER:  ASSISTANT: <|extra_100|>"
    assert without_image is None


def test_a_reference_image_stands_in_both_prompts():
    prompt, uncond, without_image = TASKS["x2i"].prompts("make it blue", "[image]")
    assert "USER: make it blue[image] ASSISTANT:" in prompt
    assert "USER: [image] ASSISTANT:" in uncond
    assert "USER:  ASSISTANT:" in without_image


def test_defaults_are_the_published_ones():
    text = {"text_top_k": 1024, "text_top_p": 0.9, "text_temperature": 1.0}
    image = {"visual_top_k": 5120, "visual_top_p": 1.0, "visual_temperature": 1.0}
    assert TASKS["t2i"].sampling() == {**text, **image}
    assert TASKS["story"].sampling() == {**text, **image, "visual_top_k": 10240}
    assert {name for name, task in TASKS.items() if task.stop == "eoi"} == {"t2i", "x2i"}
    assert not TASKS["understanding"].guided


def engine_size(width, height, area):
    """The engine's rule, as the facts give it."""
    r = int(math.sqrt(area / (height * width)))
    return int(height * r / 16), int(width * r / 16)


@pytest.mark.parametrize("size", [*ASPECT_RATIOS.values(), (1, 1), (3, 5), (99, 2), (33, 97)])
def test_the_engine_arrives_at_the_size(size):
    """Whatever the ratio, the area is chosen so that rounding loses nothing."""
    arguments = size_arguments(size)
    assert engine_size(**arguments) == size


def test_usual_ratios_have_the_usual_sizes():
    """h*w of the facts; a ratio is width:height."""
    assert image_size("1:1", 1048576) == (64, 64)
    assert image_size("4:3", 1048576) == (55, 73)
    assert image_size("16:9", 1048576) == (47, 85)
    assert image_size("21:9", 1048576) == (41, 97)


def test_other_areas_and_ratios_are_computed():
    height, width = image_size("2:1", 512 * 1024)
    assert (height, width) == (32, 64)
    assert image_size("1:1", 518400) == (45, 45)
    assert image_size(None, 1) is None
    assert image_size((7, 9), 1) == (7, 9)


@pytest.mark.parametrize("ratio", ["4x3", "0:3", "", "4:3:2"])
def test_a_bad_ratio_is_refused(ratio):
    with pytest.raises(UsageError, match="is no aspect ratio"):
        image_size(ratio, 1048576)


def test_an_area_without_a_token_is_refused():
    with pytest.raises(UsageError, match="no visual token"):
        image_size("1:1", 100)


@pytest.mark.parametrize(
    ("task", "references", "message"),
    [
        ("t3i", 0, "there is no task 't3i'"),
        ("x2i", 0, "needs a reference image"),
        ("understanding", 0, "needs a reference image"),
        ("t2i", 1, "takes no reference image"),
    ],
)
def test_a_task_says_what_it_needs(task, references, message):
    with pytest.raises(UsageError, match=message):
        find_task(task, references)


def test_settings_have_the_adapters_defaults():
    settings = Settings(model_path="m")
    assert settings.llm_arguments() == {
        "model": "m",
        "tensor_parallel_size": 2,
        "gpu_memory_utilization": 0.7,
        "trust_remote_code": False,
    }
    assert settings.guidance_scale == 5.0
    assert settings.max_new_tokens == 5120
    assert settings.image_area == 1048576
