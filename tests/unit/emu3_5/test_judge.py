from dataclasses import replace

import pytest
from patchkit_own_emu3_5 import judge
from patchkit_own_emu3_5.cases import Case, begun_image
from patchkit_own_emu3_5.judge import find_problems
from patchkit_own_emu3_5.vocabulary import tiny_vocabulary
from patchkit_worker import events
from patchkit_worker.job import Job

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


@pytest.mark.parametrize(("tokens", "problems"), [(IMAGE, 0), (OTHER, 1)])
def test_a_scenario_is_reported_with_its_pictures(tmp_path, monkeypatch, tokens, problems):
    sent = []
    monkeypatch.setattr(events, "send", lambda event, **fields: sent.append((event, fields)))
    monkeypatch.setattr(judge, "read_vocabulary", lambda job: VOCABULARY)
    job = Job(scratch=tmp_path, stages=())
    assert judge.report(job, "t2i", [(CASE, tokens)], 0.0, [], pictures=True) == (not problems)
    event, fields = sent[0]
    assert (event, fields["name"], fields["ok"]) == ("scenario", "t2i", not problems)
    assert (len(fields["problems"]), fields["requests"], fields["oracle"]) == (problems, 1, True)
    assert fields["tokens"] == len(tokens)
    pictures = [(event, fields["name"]) for event, fields in sent[1:]]
    assert pictures == [("picture", "t2i-1")] * (not problems)
    assert fields["images"] == [{"height": 2, "width": 3}] * (not problems)


def test_a_model_without_an_oracle_is_judged_by_its_grids_alone(tmp_path, monkeypatch):
    sent = []
    monkeypatch.setattr(events, "send", lambda event, **fields: sent.append(fields))
    monkeypatch.setattr(judge, "read_vocabulary", lambda job: VOCABULARY)
    job = Job(scratch=tmp_path, stages=(), quantization="fp8")
    assert judge.report(job, "t2i", [(CASE, OTHER)], 0.0, [])
    assert [(fields["ok"], fields["oracle"]) for fields in sent] == [(True, False)]
