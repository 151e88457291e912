"""Scores of our own, from what only a gated vision-language model has, and from a second look at the picture."""

import numpy as np

from .base import Score, States, state_array, unit


class Unusual(Score):
    """
    How far a few values of each row are from where they lie in distribution: the root mean square of their deviations
    from the mean, each in standard deviations, `[n]`, 0 or more.

    Args:
        key (`str`): a state of few columns.
    """

    arrays = ("mean", "deviation")  # [G], [G]

    def fit(self, states: States) -> "Unusual":
        rows = state_array(states, self.key).astype(np.float64)
        self.mean = rows.mean(axis=0)
        # A value that never varies, such as a closed gate, must not turn rounding into evidence.
        self.deviation = np.maximum(rows.std(axis=0), 1e-4)
        return self

    def score(self, states: States) -> np.ndarray:
        self._check_fitted()
        standard = (self._rows(states, len(self.mean)) - self.mean) / self.deviation
        return np.sqrt(np.mean(standard**2, axis=1))


class Gates(Unusual):
    """
    Unusual gates: vision let in by other layers and heads than in distribution, or more or less of it.

    Args:
        key (`str`, *optional*, defaults to `"gates"`): the state `[n, G]` with the gates of all fused layers.
    """

    kind = "gates"

    def __init__(self, key: str = "gates"):
        super().__init__(key)


class Dispersion(Unusual):
    """
    Unusual spread of attention over the picture, by the entropies of the fused layers' maps.

    Args:
        key (`str`, *optional*, defaults to `"attention"`): the state `[n, A]` with the entropies, in [0, 1].
    """

    kind = "dispersion"

    def __init__(self, key: str = "attention"):
        super().__init__(key)


class Disagreement(Score):
    """
    Cosine distance between a state and that of another view of the same picture: `[n]` in [0, 2].

    It costs a second forward pass: add the states of the other view to those of the picture under their name and
    `_view`, as in `states | {"hidden_view": view_states["hidden"]}`.

    Args:
        key (`str`, *optional*, defaults to `"hidden"`): the state that is compared.
    """

    kind = "disagreement"

    def __init__(self, key: str = "hidden"):
        super().__init__(key)

    @property
    def reads(self) -> tuple[str, ...]:
        return self.key, f"{self.key}_view"

    def score(self, states: States) -> np.ndarray:
        one, other = (unit(state_array(states, name).astype(np.float64)) for name in self.reads)
        return 1 - np.sum(one * other, axis=1)
