"""Unlabelled pictures from another domain than the labelled ones: found, and left out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..reliability.ood import OODCombiner, States

FEWEST_PICTURES = 20  # labelled ones; fewer say too little of a domain
ACCEPTED = 0.99  # of the labelled pictures, by cross-fitting


class PoolCheck:
    """
    Tells which unlabelled rows look as if they were not from the labelled rows' domain.

    The default out-of-distribution scores are fitted on the labelled rows' pictures; what lies beyond 99% of these is
    taken for foreign, so that about one row in a hundred of the domain itself is, too.

    Args:
        states (`Mapping`): of the n labelled rows, `vision` and where there is one `texture`.
        groups (`Sequence`): `[n]`, equal for rows of one picture.
        seed (`int`, *optional*, defaults to 0): of the folds.
    """

    def __init__(self, states: States, groups: Sequence[Any], seed: int = 0) -> None:
        self.scores = None
        if len(set(groups)) >= FEWEST_PICTURES:
            self.scores = OODCombiner(tpr=ACCEPTED, seed=seed).fit(states, groups)

    def foreign(self, states: States) -> np.ndarray:
        """
        Which rows are not from the labelled rows' domain.

        Args:
            states (`Mapping`): of m unlabelled rows.

        Returns:
            `np.ndarray`: `[m]` bool; all `False` where too few labelled pictures were given.
        """
        if self.scores is None:
            return np.zeros(len(states["vision"]), bool)
        return self.scores.score(states) > self.scores.threshold
