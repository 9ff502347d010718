"""Grids of tokens from two photographs: each patch is the number of its nearest k-means centre."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_sample_images
from torch import Tensor

PATCH = 4
# A crop's condition says which photograph, and in which of 3 x 3 parts of it its middle lies.
PARTS = 3


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Both photographs in tokens, once for each way to lay the patches over them."""

    codes: list[list[Tensor]]
    vocab_size: int

    @property
    def num_conditions(self) -> int:
        return len(self.codes) * PARTS**2

    @classmethod
    def load(cls, vocab_size: int) -> Pictures:
        """Cluster the patches of the photographs that ship with scikit-learn."""
        photographs = [image.astype(np.float32) / 255 for image in load_sample_images().images]
        first = np.concatenate([_patches(image, 0, 0)[0] for image in photographs])
        kmeans = MiniBatchKMeans(vocab_size, batch_size=4096, n_init=1, random_state=0).fit(first)
        codes = []
        for image in photographs:
            codes.append([])
            for phase in range(PATCH**2):
                patches, rows = _patches(image, phase // PATCH, phase % PATCH)
                tokens = torch.from_numpy(kmeans.predict(patches).astype(np.int64))
                codes[-1].append(tokens.view(rows, -1))
        return cls(codes=codes, vocab_size=vocab_size)

    def crops(self, size: int, number: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the tokens, (number, size * size), and conditions of random square crops."""

        def draw(limit: int) -> int:
            return int(torch.randint(limit, (), generator=generator))

        grids, conditions = [], []
        for _ in range(number):
            photograph = draw(len(self.codes))
            codes = self.codes[photograph][draw(PATCH**2)]
            height, width = codes.shape
            top, left = draw(height - size + 1), draw(width - size + 1)
            grids.append(codes[top : top + size, left : left + size].flatten())
            row = PARTS * (2 * top + size) // (2 * height)
            column = PARTS * (2 * left + size) // (2 * width)
            conditions.append((photograph * PARTS + row) * PARTS + column)
        return torch.stack(grids), torch.tensor(conditions)


def _patches(image: np.ndarray, top: int, left: int) -> tuple[np.ndarray, int]:
    """Return patches as rows of numbers, and how many rows of patches they are."""
    rows, columns = (image.shape[0] - top) // PATCH, (image.shape[1] - left) // PATCH
    image = image[top : top + rows * PATCH, left : left + columns * PATCH]
    patches = image.reshape(rows, PATCH, columns, PATCH, -1).swapaxes(1, 2)
    return patches.reshape(rows * columns, -1), rows
