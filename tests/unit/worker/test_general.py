"""The general scenarios' judgement, without an engine."""

import json
from types import SimpleNamespace

import pytest

from vllm_patchkit.worker import events
from vllm_patchkit.worker.engine import is_float32
from vllm_patchkit.worker.general import judge, offline, serving
from vllm_patchkit.worker.general.architectures import find_architecture
from vllm_patchkit.worker.general.checkpoints import short_name
from vllm_patchkit.worker.general.engine import engine_arguments
from vllm_patchkit.worker.general.faults import known_fault
from vllm_patchkit.worker.general.oracle import Case, is_clear
from vllm_patchkit.worker.job import Job


def case(tokens=(1, 2, 3), **fields):
    return Case(
        name="request-0", prompt="x", prompt_ids=(7,), max_tokens=4, tokens=tokens, **fields
    )


def answer(tokens, **fields):
    rows = ({1: -0.5}, {2: -0.25}, {3: -0.125})
    return judge.Answer(
        request="request-0", case=case(logprobs=rows, margin=0.2), tokens=tokens, **fields
    )


@pytest.mark.parametrize(
    ("tokens", "problem"),
    [
        ((1, 2, 3), None),
        ((1, 9, 3), "request-0: token 1 is 9, transformers' is 2 (its smallest margin is 0.2)"),
        ((1, 2), "request-0: 2 tokens, transformers has 3"),
    ],
)
def test_greedy_tokens_are_those_of_transformers(tokens, problem):
    assert judge.find_problems(answer(tokens)) == ([] if problem is None else [problem])
    assert judge.find_problems(answer(tokens, expected=False)) == []


@pytest.mark.parametrize(("off", "holds"), [(0.001, True), (0.003, False)])
def test_log_probabilities_are_within_the_bound(off, holds):
    found = ({1: -0.5}, {2: -0.25 + off}, {3: -0.125})
    problems = judge.find_problems(answer((1, 2, 3), logprobs=found))
    assert (not problems) == holds
    assert holds or "a log probability of token 1 is off by 3.0e-03, limit 2e-03" in problems[0]


def checkpoint(folder, *names):
    """Write a checkpoint's file with these tensors in its header."""
    header = json.dumps({name: {"dtype": "F32"} for name in names}).encode()
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    return folder


def test_a_fault_of_the_release_is_a_warning(monkeypatch, tmp_path):
    sent = []
    monkeypatch.setattr(events, "send", lambda event, **fields: sent.append((event, fields)))
    plain = checkpoint(tmp_path / "plain", "model.layers.0.self_attn.q_proj.weight")
    known = known_fault("preemption", "cpu", "0.11.0+slow.steps.1.cpu", plain)
    assert "vLLM 0.11.0" in known
    for name, device, version in (("one", "cpu", "0.11.0"), ("preemption", "cuda", "0.11.0")):
        assert known_fault(name, device, version, plain) is None
    assert known_fault("preemption", "cpu", "0.12.0", plain) is None
    normed = checkpoint(tmp_path / "normed", "model.layers.0.self_attn.q_norm.weight")
    assert "vLLM 0.12.0" in known_fault("one", "cpu", "0.12.0+x.1.cpu", normed)
    for device, version in (("cuda", "0.12.0"), ("cpu", "0.11.0"), ("cpu", "0.32.0")):
        assert known_fault("one", device, version, normed) is None
    assert judge.report("qwen3/preemption", [answer((9,))], [], 0.0, known=known)
    kinds = [event for event, _ in sent]
    assert kinds == ["warning", "answer", "scenario"]
    assert "token 0 is 9, transformers' is 1" in sent[0][1]["text"]
    assert sent[2][1]["known_fault"] == known


def test_an_error_is_no_known_fault(monkeypatch):
    sent = []
    monkeypatch.setattr(events, "send", lambda event, **fields: sent.append((event, fields)))

    def die(scenario):
        raise RuntimeError("the engine is dead")

    scenario = offline.Scenario(llm=None, cases=(), exact=True)
    offline.run_scenario("llama/preemption", die, scenario, "the release resumes wrongly")
    ((event, fields),) = sent
    assert (event, fields["ok"], fields["known_fault"]) == ("scenario", False, None)
    assert fields["problems"] == ["RuntimeError: the engine is dead"]


@pytest.mark.parametrize(
    ("counted", "asked", "problems"),
    [([3, 4], 1, 0), ([3, 3, 3, 5], 3, 0), ([3] * 9, 5, 1), ([None] * 9, 1, 0)],
)
def test_requests_that_came_too_late_to_be_preempted_are_sent_again(
    monkeypatch, counted, asked, problems
):
    counts, kept = iter(counted), []
    monkeypatch.setattr(offline, "preemptions", lambda llm: next(counts))
    monkeypatch.setattr(
        offline.Scenario, "ask", lambda self, cases: self.answers.append(kept.append(cases))
    )
    scenario = offline.Scenario(llm=None, cases=(case(),), exact=True)
    offline.preemption(scenario)
    assert (len(kept), len(scenario.answers), len(scenario.problems)) == (asked, 1, problems)


@pytest.mark.parametrize(
    ("answers", "problems"),
    [
        ([["a", "bc"]], []),
        ([["abc"], ["abc"], ["ab", "c"]], []),
        ([["abd"]], ["request-0, streamed: 'abd', transformers has 'abc'"]),
        ([["abc"]] * 5, ["request-0, streamed: came in one piece, 5 times"]),
    ],
)
def test_an_answer_in_one_piece_may_be_a_busy_servers(answers, problems):
    coming = iter(answers)

    def create(**_):
        return [SimpleNamespace(choices=[SimpleNamespace(text=text)]) for text in next(coming)]

    client = SimpleNamespace(completions=SimpleNamespace(create=create))
    assert serving.check_stream(client, case(text="abc"), exact=True) == problems
    assert not list(coming)


def test_a_text_and_its_counts_are_compared():
    usage = type("Usage", (), {"prompt_tokens": 1, "completion_tokens": 3})
    one = case(text="abc")
    assert serving.compare(one, "abc", exact=True) == []
    assert serving.compare(one, "abd", exact=True) == ["request-0: 'abd', transformers has 'abc'"]
    assert serving.compare(one, "abd", exact=False) == []
    assert serving.check_usage(one, usage) == []
    usage.completion_tokens = 4
    assert serving.check_usage(one, usage) == ["request-0: usage (1, 4), expected (1, 3)"]


def test_a_case_is_taken_if_rounding_cannot_turn_it():
    good = case(tokens=(1, 2, 3, 4), margin=0.02)
    assert is_clear(good, 4)
    assert not is_clear(case(tokens=(1, 2, 3, 4), margin=0.005), 4)
    assert not is_clear(case(tokens=(1, 1, 1, 1), margin=0.02), 4)
    assert not is_clear(case(tokens=(1, 2, 3, 4), margin=0.02), 10)


@pytest.mark.parametrize(
    ("fields", "dtype", "exact"),
    [({}, "float32", True), ({"quantization": "fp8"}, "bfloat16", False)],
)
def test_the_engine_is_small_so_that_load_happens(tmp_path, fields, dtype, exact):
    job = Job(scratch=tmp_path, stages=(), **fields)
    arguments = engine_arguments(job, "LlamaForCausalLM")
    assert arguments["dtype"] == dtype
    assert is_float32(job) == exact
    assert arguments["max_num_batched_tokens"] < 120
    # One request of full length has to fit, all of them must not.
    room = arguments["num_gpu_blocks_override"] * arguments["block_size"]
    assert arguments["max_model_len"] < room < 521


OURS = ("GemmaForCausalLM", "LlamaForCausalLM", "GPT2LMHeadModel", "BertModel")
THEIRS = ("GemmaForCausalLM", "LlamaForCausalLM", "GPT2LMHeadModel", "JAISLMHeadModel")


@pytest.mark.parametrize("name", ["GemmaForCausalLM", "gemma", "Gemma"])
def test_an_architecture_goes_by_its_name_and_by_that_of_its_scenarios(name):
    assert find_architecture(name, OURS, THEIRS) == "GemmaForCausalLM"


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("BertModel", "vLLM has no such model", "a name such as"),
        ("JAISLMHeadModel", "transformers, the oracle, has no such model", "near: GPT2LMHeadModel"),
        ("LamaForCausalLM", "neither vLLM nor transformers", "near: LlamaForCausalLM"),
    ],
)
def test_an_architecture_that_is_not_there_is_refused_by_name(name, message, hint):
    with pytest.raises(events.WrongOptions) as error:
        find_architecture(name, OURS, THEIRS)
    assert error.value.message.startswith(f"--architecture {name}: ")
    assert message in error.value.message
    assert error.value.hint.startswith(hint)


def test_models_are_called_by_their_architecture():
    assert short_name("Qwen3MoeForCausalLM") == "qwen3moe"


def test_where_no_tokens_are_counted_there_is_no_rate(monkeypatch):
    """A server's answers are compared and not timed."""
    sent = []
    monkeypatch.setattr(events, "send", lambda event, **fields: sent.append(fields))
    for tokens in (0, 8):
        events.scenario("server", [], tokens=tokens, seconds=2.0)
    assert [fields["tokens_per_s"] for fields in sent] == [None, 4.0]
