"""Kinds of drafts. None may change a token; they decide how many a step commits."""

from __future__ import annotations

import torch
from decoding import Drafts
from torch import Tensor


def shifted(size: int) -> Drafts:
    """The last step's draws behind what it committed; at the new end the token above."""
    return _above(size, keep_drawn=True)


def above(size: int) -> Drafts:
    """The token above, at every position anew."""
    return _above(size, keep_drawn=False)


def random(vocab_size: int) -> Drafts:
    """Any tokens."""
    generator = torch.Generator().manual_seed(0)

    def fill(sequences: Tensor, start: Tensor, number: int, drawn: Tensor) -> None:
        places = _places(sequences, start, number)
        guesses = torch.randint(vocab_size, places.shape, generator=generator)
        sequences.scatter_(1, places, guesses)

    return fill


def known(tokens: Tensor) -> Drafts:
    """These very tokens: always right where they are the answer, always wrong if none is."""

    def fill(sequences: Tensor, start: Tensor, number: int, drawn: Tensor) -> None:
        places = _places(sequences, start, number)
        sequences.scatter_(1, places, tokens.gather(1, places.clamp(max=tokens.shape[1] - 1)))

    return fill


def _above(size: int, *, keep_drawn: bool) -> Drafts:
    """In the first row the token to the left stands for the one above."""

    def fill(sequences: Tensor, start: Tensor, number: int, drawn: Tensor) -> None:
        for place in _places(sequences, start, number).T[:, :, None]:
            source = torch.where(place >= size, place - size, (place - 1).clamp(min=0))
            guess = sequences.gather(1, source)
            if keep_drawn:
                guess = torch.where(place < drawn[:, None], sequences.gather(1, place), guess)
            sequences.scatter_(1, place, guess)

    return fill


def _places(sequences: Tensor, start: Tensor, number: int) -> Tensor:
    """The positions to draft, (rows, number); those behind the end of a grid are never read."""
    places = start[:, None] + torch.arange(number)
    return places.clamp(max=sequences.shape[1] - 1)
