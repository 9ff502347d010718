"""What an answer has to be, and the report of one scenario."""

from __future__ import annotations

import time
from collections.abc import Sequence

from patchkit_worker import events
from patchkit_worker.job import Job

from .cases import Case, begun_image
from .engine import is_exact
from .grammar import Image, parse_images
from .picture import draw_grid
from .prepare import read_vocabulary
from .vocabulary import Vocabulary


def find_problems(
    case: Case, tokens: Sequence[int], vocabulary: Vocabulary, *, exact: bool
) -> list[str]:
    """Return what is wrong with the answer ``tokens`` to ``case``.

    :param exact: greedy tokens have to be the oracle's.
    """
    problems = []
    if exact and case.expected is not None:
        problems += compare_tokens(case, tokens)
    try:
        sizes = tuple(image.size for image in find_images(case, tokens, vocabulary))
    except ValueError as error:
        return [*problems, str(error)]
    if case.image_sizes is not None and exact and sizes != case.image_sizes:
        problems.append(f"images of {_sizes(case.image_sizes)} expected, found {_sizes(sizes)}")
    elif case.image_sizes and not exact and sizes[:1] != case.image_sizes[:1]:
        problems.append(f"first image {_sizes(case.image_sizes)} expected, found {_sizes(sizes)}")
    return problems


def find_images(case: Case, tokens: Sequence[int], vocabulary: Vocabulary) -> list[Image]:
    """Return the images of an answer, with one that the prompt began.

    :raises ValueError: an image breaks the grammar.
    """
    return parse_images([*begun_image(case, vocabulary), *tokens], vocabulary)


def _sizes(sizes: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{height}*{width}" for height, width in sizes) or "no image"


def compare_tokens(case: Case, tokens: Sequence[int]) -> list[str]:
    """Return how ``tokens`` differ from the oracle's; the likeliest cause is named."""
    expected = case.expected or ()
    if tuple(tokens) == expected:
        return []
    if case.unguided is not None and tuple(tokens) == case.unguided:
        return ["guidance had no effect: the tokens are those of the unguided request"]
    differing = [
        place
        for place, pair in enumerate(zip(tokens, expected, strict=False))
        if pair[0] != pair[1]
    ]
    if not differing:
        return [f"{len(tokens)} tokens, the oracle has {len(expected)}"]
    first = differing[0]
    return [
        f"token {first} is {tokens[first]}, the oracle's is {expected[first]} "
        f"({len(differing)} differ; the oracle's smallest margin is {case.margin:.2g})"
    ]


def report(
    job: Job,
    scenario: str,
    answers: Sequence[tuple[Case, Sequence[int]]],
    started: float,
    problems: Sequence[str],
    *,
    pictures: bool = False,
) -> bool:
    """Judge the answers of one scenario, report it, and return whether it holds.

    :param started: ``time.monotonic()`` when the requests were sent; now is when they ended.
    :param problems: what the caller found wrong with the number or the shape of the results.
    :param pictures: hand over the pictures, too.
    """
    seconds = time.monotonic() - started
    vocabulary, exact = read_vocabulary(job), is_exact(job)
    found = list(problems)
    images: list[Image] = []
    for case, tokens in answers:
        wrong = find_problems(case, tokens, vocabulary, exact=exact)
        found += [f"{case.name}: {text}" if len(answers) > 1 else text for text in wrong]
        if not wrong:
            images += find_images(case, tokens, vocabulary)
    held: bool = events.scenario(
        scenario,
        found,
        requests=len(answers),
        tokens=sum(len(tokens) for _, tokens in answers),
        seconds=seconds,
        images=[image.size for image in images],
        oracle=exact and all(case.expected is not None for case, _ in answers),
    )
    if pictures:
        for number, image in enumerate(images, 1):
            png = draw_grid(image.rows)
            events.picture(f"{scenario}-{number}", image.size, png, kind="tokens")
    return held
