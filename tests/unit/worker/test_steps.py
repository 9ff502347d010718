import sys
from types import SimpleNamespace

from vllm_patchkit.worker import steps
from vllm_patchkit.worker.profile import find_gaps


def test_gaps_lie_between_spans_and_overlaps_count_once():
    spans = [(0.0, 4.0, "a"), (1.0, 2.0, "b"), (3.0, 6.0, "c"), (10.0, 11.0, "d")]
    assert find_gaps(spans) == (7.0, [(4.0, "c", "d")])


def test_images_arrive_so_many_steps_apart(monkeypatch):
    kinds = SimpleNamespace(RequestOutputKind=SimpleNamespace(DELTA="delta"))
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", kinds)
    left = {}

    def step():
        outputs = []
        for name in list(left):
            left[name] -= 1
            answer = SimpleNamespace(token_ids=[1])
            outputs.append(SimpleNamespace(request_id=name, outputs=[answer]))
            if not left[name]:
                del left[name]
        return outputs

    engine = SimpleNamespace(
        add_request=lambda name, prompt, params: left.update({name: 20}),
        has_unfinished_requests=lambda: bool(left),
        step=step,
    )
    request = steps.Request({}, SimpleNamespace(clone=SimpleNamespace))
    run = steps.Run(SimpleNamespace(llm_engine=engine), [request] * 6, stagger=4, together=2)
    while run.step():
        pass
    assert run.steps.rows == [2] * 4 + [4] * 4 + [6] * 12 + [4] * 4 + [2] * 4
    assert [len(answer) for answer in run.answers.values()] == [20] * 6
