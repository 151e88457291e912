"""Batches without end, which can be taken up again anywhere."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from .curriculum import draw_easy


class EndlessBatches(Iterator[Any]):
    """
    Shuffled batches of a data set, round after round: a function of the seed and of how many were taken.

    Args:
        dataset (`Dataset`): of PyTorch, n rows.
        size (`int`): rows a batch, from 1 to n; what is left over at the end of a round is skipped.
        collate (`Callable`): makes a batch of a list of rows.
        seed (`int`, *optional*, defaults to 0): of the order.
        taken (`int`, *optional*, defaults to 0): batches that were taken before.
        share (`Callable`, *optional*): of the rows, then sorted from easy to hard, that a batch is drawn from, by its
            number: no rounds, but a draw for each batch.
    """

    def __init__(
        self,
        dataset: Dataset,
        size: int,
        collate: Callable[[list], Any],
        seed: int = 0,
        taken: int = 0,
        share: Callable[[int], float] | None = None,
    ) -> None:
        self.dataset, self.size, self.collate = dataset, size, collate
        self.seed, self.taken, self.share = seed, taken, share
        self._rng, self._rounds, self._order = np.random.default_rng([seed, 6]), 0, None

    def __next__(self) -> Any:
        if self.share is None:
            chosen = self._next_of_round()
        else:
            chosen = draw_easy(len(self.dataset), self.size, self.share(self.taken), self.seed, self.taken)
        self.taken += 1
        return self.collate([self.dataset[int(i)] for i in chosen])

    def _next_of_round(self) -> np.ndarray:
        number, place = divmod(self.taken, len(self.dataset) // self.size)
        while self._rounds <= number:
            self._order = self._rng.permutation(len(self.dataset))
            self._rounds += 1
        return self._order[place * self.size : (place + 1) * self.size]
