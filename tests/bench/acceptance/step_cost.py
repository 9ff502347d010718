"""What a committed token costs, by window and acceptance.

Arithmetic on the figures of the design for several tokens a step, and no measurement of this
stack: milliseconds of a step of 34 B dimensions on one H100, by the tokens in it. Eight and more
tokens were pieces of a prompt in piecewise CUDA graphs, 64 are guided and sampled rows, two were a
decode in full graphs.
"""

from __future__ import annotations

STEP_MS = {2: 26.5, 8: 28.7, 16: 29.2, 32: 29.0, 64: 32.0}
# A guided image is two sequences.
STREAMS = 2


def step_ms(window: int) -> float:
    """Return the time of a step of one image; between two figures that of more tokens.

    :raises ValueError: where the window has more tokens than any figure.
    """
    tokens = STREAMS * window
    figures = [ms for number, ms in sorted(STEP_MS.items()) if number >= tokens]
    if not figures:
        raise ValueError(f"no figure for {tokens} tokens in a step, the most is {max(STEP_MS)}")
    return figures[0]


def tokens_a_step(window: int, acceptance: float) -> float:
    """Return the mean where each draft is right with this chance, whatever the others are."""
    return sum(acceptance**right for right in range(window))


def token_ms(window: int, mean_tokens: float) -> float:
    """Return the time of a committed token where a step commits so many."""
    return step_ms(window) / mean_tokens


def break_even(window: int) -> float:
    """Return the tokens a step above which a window is faster than one position."""
    return step_ms(window) / step_ms(1)


def break_even_acceptance(window: int) -> float:
    """Return the chance of a right draft at which a window costs what it saves."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if tokens_a_step(window, middle) < break_even(window):
            low = middle
        else:
            high = middle
    return high
