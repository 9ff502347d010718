from dataclasses import replace

from patchkit_own_emu3_5.cases import Case, begun_image
from patchkit_own_emu3_5.judge import find_problems
from patchkit_own_emu3_5.vocabulary import tiny_vocabulary

VOCABULARY = tiny_vocabulary(32)
ROWS = ((1, 2, 3), (4, 5, 6))
IMAGE = VOCABULARY.image(ROWS)
OTHER = VOCABULARY.image(((1, 2, 3), (4, 5, 7)))
CASE = Case(
    name="t2i",
    prompt="",
    prompt_ids=(1, 2),
    guidance_scale=5.0,
    image_sizes=((2, 3),),
    expected=tuple(IMAGE),
    unguided=tuple(OTHER),
    margin=0.25,
)


def test_the_oracles_tokens_hold():
    assert find_problems(CASE, IMAGE, VOCABULARY, exact=True) == []


def test_an_unguided_answer_is_called_that():
    """The fallback that nobody sees in a picture."""
    (problem,) = find_problems(CASE, OTHER, VOCABULARY, exact=True)
    assert problem.startswith("guidance had no effect")


def test_the_first_differing_token_is_named():
    tokens = list(IMAGE)
    tokens[6] += 1
    (problem,) = find_problems(CASE, tokens, VOCABULARY, exact=True)
    assert problem.startswith(f"token 6 is {tokens[6]}, the oracle's is {IMAGE[6]} (1 differ")


def test_a_missing_end_is_a_difference():
    problems = find_problems(CASE, IMAGE[:-1], VOCABULARY, exact=True)
    assert problems[0] == f"{len(IMAGE) - 1} tokens, the oracle has {len(IMAGE)}"
    assert "not finished" in problems[1]


def test_without_an_oracle_the_grid_still_counts():
    """A quantized model's tokens are its own; its images have the wanted size all the same."""
    assert find_problems(CASE, OTHER, VOCABULARY, exact=False) == []
    wide = VOCABULARY.image(((1, 2, 3, 4),))
    (problem,) = find_problems(CASE, wide, VOCABULARY, exact=False)
    assert problem == "first image 2*3 expected, found 1*4"


def test_an_image_that_the_prompt_began_is_judged_whole():
    case = replace(CASE, prompt_ids=(1, *IMAGE[:1]), expected=tuple(IMAGE[1:]))
    assert begun_image(case, VOCABULARY) == IMAGE[:1]
    assert find_problems(case, IMAGE[1:], VOCABULARY, exact=True) == []


def test_a_case_survives_json():
    assert Case.from_json(CASE.to_json()) == CASE
