"""From the easiest rows to all of them: data and complexity scaled up step by step."""

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from torch.utils.data import Sampler

if TYPE_CHECKING:
    from datasets import Dataset

COMPLEXITY = "complexity"  # column of Visual Arrays: how many things must be read and compared


def competence(number: int, start: float, length: int) -> float:
    """
    Share of the rows, the easiest first, that a batch is drawn from: `sqrt(n (1 - c^2) / T + c^2)`, and 1 from batch T
    on, so that each new row has as much time before the next as the one before it (Platanios et al. 2019, arXiv
    1903.09848, equation 7).

    Args:
        number (`int`): of the batch, n, from 0 on.
        start (`float`): share of the first batch, c, in (0, 1].
        length (`int`): batches until all rows are drawn from, T.

    Returns:
        `float`: in (0, 1].
    """
    if number >= length:
        return 1.0
    return math.sqrt(number * (1 - start**2) / length + start**2)


def draw_easy(count: int, size: int, share: float, seed: int, number: int) -> np.ndarray:
    """Places of one batch: `size` of the first `share` of `count` rows, which are sorted from easy to hard, at random;
    a function of its arguments alone, so that a training can go on from any batch."""
    first = max(size, math.ceil(share * count))
    return np.random.default_rng([seed, 9, number]).permutation(min(first, count))[:size]


def easy_first(rows: "Dataset", difficulty: Callable[[], np.ndarray]) -> np.ndarray:
    """Places of n rows from easy to hard: by `complexity` where all rows tell it, else by `difficulty()` `[n]`."""
    levels = list(rows[COMPLEXITY]) if COMPLEXITY in rows.column_names else [None]
    values = difficulty() if any(level is None for level in levels) else np.array(levels, float)
    return np.argsort(values, kind="stable")


class PacedSampler(Sampler[int]):
    """
    Places of labelled rows for a `DataLoader`, batch by batch from more and harder rows.

    Args:
        order (`np.ndarray`): places of n rows from easy to hard.
        size (`int`): rows a batch.
        share (`Callable`): of the rows that a batch, told by its number, is drawn from.
        seed (`int`): of the draws.
    """

    def __init__(self, order: np.ndarray, size: int, share: Callable[[int], float], seed: int) -> None:
        self.order, self.size, self.share, self.seed = order, size, share, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[int]:
        count = len(self.order)
        starts = range(0, count, self.size)
        for number, start in enumerate(starts, self.epoch * len(starts)):
            size = min(self.size, count - start)
            yield from self.order[draw_easy(count, size, self.share(number), self.seed, number)].tolist()
