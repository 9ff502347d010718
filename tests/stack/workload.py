"""Named requests that together cover what a batch may hold, and the greedy tokens that the oracle
gives for them.
"""

from __future__ import annotations

from checkpoint import Vocabulary
from engine import plain
from oracle import Oracle, Request

SIZES = ("1*1", "2*3", "4*4", "3*7", "6*2", "5*5", "10*3", "1*12")


def text_to_image(v: Vocabulary, seed: int, size: str | None, **fields: object) -> Request:
    """A prompt with the user's text, one without, and an image that follows at once."""
    arguments: dict[str, object] = {
        "prompt": v.text(6 + 3 * seed, seed=seed),
        "uncond": v.text(5, seed=100),
        "scale": (5.0, 2.0, 3.0)[seed % 3],
        "size": size,
        "stop": (v.eoi,),
        "logit_bias": {v.boi: 40.0},
        "max_tokens": 150,
    }
    return Request(**arguments | fields)


def interleaved(
    v: Vocabulary, seed: int, size: str | None, boi: float, **fields: object
) -> Request:
    """Text and images in turn: the bias of BOI makes a random model open one now and then."""
    arguments: dict[str, object] = {
        "prompt": v.text(12, seed=seed),
        "uncond": v.text(7, seed=200 + seed),
        "scale": 3.0,
        "size": size,
        "logit_bias": {v.boi: boi, v.eos: -100.0},
        "max_tokens": 90,
    }
    return Request(**arguments | fields)


def editing(v: Vocabulary, seed: int, **fields: object) -> Request:
    """A prompt with a reference image, one without the user's text, and one without the image
    either.
    """
    reference = v.image(4, 3, seed=seed)
    arguments: dict[str, object] = {
        "prompt": v.text(8, seed=seed) + reference + v.text(5, seed=seed + 1)[1:],
        "uncond": v.text(4, seed=300) + reference + v.text(3, seed=301)[1:],
        "uncond_no_image": v.text(6, seed=302),
        "scale": 3.0,
        "image_scale": 1.5,
        "size": "4*5",
        "stop": (v.eoi,),
        "logit_bias": {v.boi: 40.0},
    }
    return Request(**arguments | fields)


def make_requests(v: Vocabulary) -> dict[str, Request]:
    """All kinds of requests, by name."""
    requests = {f"image-{size}": text_to_image(v, seed, size) for seed, size in enumerate(SIZES)}
    ones = {v.digit("1"): 30.0, v.digit("0"): 30.0}
    requests |= {
        "interleaved": interleaved(v, 1, "2*3", boi=3.0),
        "interleaved-tall": interleaved(v, 2, "5*1", boi=3.5),
        "free-size-same": interleaved(
            v, 3, None, boi=40.0, max_tokens=300, logit_bias={v.boi: 40.0, v.eos: -99.0} | ones
        ),
        "free-size-free": interleaved(
            v,
            4,
            None,
            boi=40.0,
            max_tokens=300,
            same_size=False,
            logit_bias={v.boi: 40.0, v.eos: -99.0} | ones,
        ),
        "sized-then-free": interleaved(
            v,
            6,
            "2*2",
            boi=40.0,
            max_tokens=150,
            same_size=False,
            logit_bias={v.boi: 40.0, v.eos: -99.0} | ones,
        ),
        "free-size-cut": interleaved(v, 5, None, boi=40.0, max_tokens=60),
        "reference-image": editing(v, 5, uncond_no_image=None),
        "three-streams": editing(v, 6),
        "three-streams-interleaved": editing(
            v, 7, stop=(), size="2*2", logit_bias={v.boi: 3.0, v.eos: -100.0}, max_tokens=80
        ),
        "opened": text_to_image(v, 3, "3*3", prompt=[*v.text(20, seed=20), v.boi]),
        "opened-in-pixels": text_to_image(
            v, 4, None, prompt=[*v.text(20, seed=21), *v.image(3, 3, seed=1)[:9]]
        ),
        "opened-in-both": text_to_image(
            v,
            5,
            None,
            prompt=[*v.text(20, seed=22), *v.image(3, 3, seed=2)[:11]],
            uncond=[*v.text(9, seed=23), *v.image(3, 3, seed=2)[:11]],
        ),
        "bad-header": text_to_image(
            v, 6, "2*2", prompt=[*v.text(9, seed=24), v.boi, *v.digits("0*7"), v.img, *v.text(4)]
        ),
        "long-prompt": text_to_image(
            v, 7, "3*4", prompt=v.text(150, seed=25), uncond=v.text(70, seed=26)
        ),
        "long-unconditional": text_to_image(
            v, 2, "3*4", prompt=v.text(9, seed=27), uncond=v.text(130, seed=28)
        ),
        "scale-below-one": text_to_image(v, 1, "3*4", scale=0.5),
        "scale-one": text_to_image(v, 2, "3*4", scale=1.0),
        "text": Request(prompt=v.text(30, seed=30), max_tokens=40),
        "text-short": Request(prompt=v.text(3, seed=31), max_tokens=11),
        "text-after-image": Request(
            prompt=v.text(5, seed=32) + v.image(3, 5) + v.text(5, seed=33)[1:], max_tokens=30
        ),
    }
    requests["unguided-image"] = plain(text_to_image(v, 4, "4*6"))
    requests["unguided-interleaved"] = plain(interleaved(v, 8, "3*2", boi=3.0))
    return requests


class Workload:
    """The requests and, computed once, what the oracle generates for each."""

    def __init__(self, oracle: Oracle):
        self.oracle, self.requests = oracle, make_requests(oracle.vocabulary)
        self._expected: dict[str, list[int]] = {}

    def expected(self, name: str) -> list[int]:
        if name not in self._expected:
            self._expected[name] = self.oracle.generate(self.requests[name])
        return self._expected[name]

    def differences(self, found: dict[str, list[int]]) -> dict[str, str]:
        """What is wrong in each result, for those that are not the oracle's."""
        wrong = {}
        for name, tokens in found.items():
            expected = self.expected(name)
            if tokens != expected:
                at = next(
                    (i for i, (a, b) in enumerate(zip(tokens, expected, strict=False)) if a != b),
                    min(len(tokens), len(expected)),
                )
                found_tokens, wanted_tokens = tokens[at : at + 5], expected[at : at + 5]
                wrong[name] = f"at {at} of {len(expected)}: {found_tokens}, not {wanted_tokens}"
        return wrong
