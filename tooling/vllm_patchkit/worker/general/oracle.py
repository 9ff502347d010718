"""What transformers answers: greedy tokens and their log probabilities, in float32, one by one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checkpoints import CHARACTERS

if TYPE_CHECKING:
    import torch

# Two float32 implementations agree on a choice that is not closer than this, in log probabilities.
MARGIN = 1e-2
TRIES = 40
CHAT = "Name three rivers."
# Of the tokens of each answer, where the requests differ in length.
LENGTHS = ((6, 24), (17, 12), (40, 30), (9, 48), (75, 16), (23, 36), (120, 20), (5, 40))


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One request, and what transformers answers to it.

    :param tokens: the greedy answer, which ends with an end-of-text token or at ``max_tokens``.
    :param logprobs: for each of them the log probabilities of the whole vocabulary.
    :param margin: the smallest distance between a chosen and the next best log probability.
    """

    name: str
    prompt: str
    prompt_ids: tuple[int, ...]
    max_tokens: int
    tokens: tuple[int, ...] | None = None
    text: str | None = None
    logprobs: torch.Tensor | None = None
    margin: float = float("inf")


class Oracle:
    """A checkpoint as transformers runs it."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
        self.model = model.to(torch.float32).eval()

    def answer(self, case: Case) -> Case:
        """Return the case with the answer."""
        import torch

        with torch.no_grad():
            made: Any = self.model.generate(
                torch.tensor([case.prompt_ids]),
                attention_mask=torch.ones(1, len(case.prompt_ids), dtype=torch.long),
                do_sample=False,
                max_new_tokens=case.max_tokens,
                output_logits=True,
                return_dict_in_generate=True,
                pad_token_id=self.tokenizer.pad_token_id or 0,
            )
        tokens = made.sequences[0, len(case.prompt_ids) :].tolist()
        logprobs = torch.cat(made.logits).float().log_softmax(dim=-1)
        best = logprobs.topk(2).values
        return replace(
            case,
            tokens=tuple(tokens),
            text=self.tokenizer.decode(tokens, skip_special_tokens=True),
            logprobs=logprobs,
            margin=float((best[:, 0] - best[:, 1]).min()),
        )


def make_cases(oracle: Oracle) -> list[Case]:
    """Return the requests with their answers: texts of several lengths, and a chat.

    Of random texts those are taken for which no choice is so close that rounding could turn it.

    :raises RuntimeError: hardly any is.
    """
    draw = random.Random(11)
    cases = []
    for number, (length, limit) in enumerate(LENGTHS):
        answers = (
            oracle.answer(_random_case(oracle, f"request-{number}", length, limit, draw))
            for _ in range(TRIES)
        )
        found = next((case for case in answers if is_clear(case, limit)), None)
        if found is None:
            raise RuntimeError(f"of {TRIES} prompts none has an answer without a near tie")
        cases.append(found)
    return [*cases, oracle.answer(chat_case(oracle))]


def make_plain_cases(folder: Path) -> list[Case]:
    """Return requests for a checkpoint that transformers cannot run here: nobody knows answers."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    draw = random.Random(11)
    cases = []
    for number, (length, limit) in enumerate((*LENGTHS, LENGTHS[0])):
        prompt = "".join(draw.choices(CHARACTERS, k=length))
        cases.append(make_case(tokenizer, f"request-{number}", prompt, limit))
    return cases


def is_clear(case: Case, limit: int) -> bool:
    """Return whether the answer is long enough, says several things, and has no near tie."""
    tokens = case.tokens or ()
    return case.margin > MARGIN and len(tokens) >= limit // 2 and len(set(tokens)) > 3


def _random_case(oracle: Oracle, name: str, length: int, limit: int, draw: random.Random) -> Case:
    prompt = "".join(draw.choices(CHARACTERS, k=length)).strip() or "x"
    return make_case(oracle.tokenizer, name, prompt, limit)


def make_case(tokenizer: Any, name: str, prompt: str, max_tokens: int) -> Case:
    """Return a request without an answer."""
    ids = tuple(tokenizer(prompt)["input_ids"])
    return Case(name=name, prompt=prompt, prompt_ids=ids, max_tokens=max_tokens)


def chat_case(oracle: Oracle) -> Case:
    """Return the request that the server is asked as a chat."""
    ids = oracle.tokenizer.apply_chat_template(
        [{"role": "user", "content": CHAT}], add_generation_prompt=True, return_dict=False
    )
    return Case(name="chat", prompt=CHAT, prompt_ids=tuple(ids), max_tokens=16)


def save_cases(cases: Sequence[Case], file: Path) -> None:
    """Leave the cases for the stages that follow."""
    from dataclasses import asdict

    import torch

    torch.save([asdict(case) for case in cases], file)


def read_cases(file: Path) -> list[Case]:
    """Return the cases that ``save_cases`` left."""
    import torch

    return [Case(**value) for value in torch.load(file, weights_only=True)]
