"""States that the forward pass has computed already, and what all scores over them share."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import LeamlInputError

States = Mapping[str, Any]


def state_array(states: States, key: str) -> np.ndarray:
    """
    One of the states as a float32 array, or several side by side.

    Args:
        states (`Mapping[str, np.ndarray | torch.Tensor]`): the states of n rows.
        key (`str`): which of them; names joined by `+`, as in `"vision+question"`, give both at unit length.

    Returns:
        `np.ndarray`: `[n, D]`, finite.

    Raises:
        [`LeamlInputError`]: if a state is missing, is not `[n, D]` with n, D ≥ 1, or holds NaN or infinity.
    """
    names = key.split("+")
    if len(names) > 1:
        return np.concatenate([unit(state_array(states, name)) for name in names], axis=1)
    if key not in states:
        raise LeamlInputError(f'Give the state "{key}": only {sorted(states)} are there.')
    value = states[key]
    array = value if isinstance(value, np.ndarray) else value.detach().float().cpu().numpy()
    array = array.astype(np.float32, copy=False)
    if array.ndim != 2 or 0 in array.shape:
        raise LeamlInputError(f'Give the state "{key}" as [rows, width], not with the shape {array.shape}.')
    if not np.isfinite(array).all():
        raise LeamlInputError(f'Check the model: the state "{key}" holds values that are not finite numbers.')
    return array


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows `[n, D]` at length 1; rows of zeros stay."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)  # [n, D]


class Score:
    """
    Base of the scores: the arrays named in `arrays` are what `fit` learns and what is saved.

    Args:
        key (`str`, *optional*, defaults to `"logits"`): the state that the score reads; of several, joined by `+`.
    """

    kind: str
    arrays: tuple[str, ...] = ()

    def __init__(self, key: str = "logits"):
        self.key = key
        for name in self.arrays:
            setattr(self, name, None)

    @property
    def name(self) -> str:
        """Unique within a combiner, for example `"vision.knn"`."""
        return f"{self.key}.{self.kind}"

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the states that it needs."""
        return tuple(self.key.split("+"))

    def config(self) -> dict[str, Any]:
        """What `__init__` needs, beside `kind`, to make the same score again (JSON types only)."""
        return {"kind": self.kind, "key": self.key}

    def fit(self, states: States) -> "Score":
        """Learns from in-distribution states; scores of the logits have nothing to learn."""
        return self

    def score(self, states: States) -> np.ndarray:
        """Scores of the rows, float64 `[n]`, higher = more unfamiliar."""
        raise NotImplementedError

    def example(self) -> dict[str, np.ndarray]:
        """States of one row, all ones, of the widths that it was fitted on: to see whether what was read is sound."""
        width = getattr(self, self.arrays[0]).shape[-1] if self.arrays else 2
        first, *others = self.key.split("+")
        widths = {first: width - len(others)} | dict.fromkeys(others, 1)
        return {name: np.ones((1, widths.get(name, 2)), np.float32) for name in self.reads}

    def state_dict(self) -> dict[str, np.ndarray]:
        """The learnt arrays by name."""
        self._check_fitted()
        return {name: getattr(self, name) for name in self.arrays}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes the arrays of `state_dict()` back; missing or unknown names raise [`LeamlInputError`]."""
        if set(state) != set(self.arrays):
            raise LeamlInputError(f"Save {self.name} again: it needs {sorted(self.arrays)} but got {sorted(state)}.")
        for name in self.arrays:
            setattr(self, name, state[name])

    def _check_fitted(self) -> None:
        if any(getattr(self, name) is None for name in self.arrays):
            raise LeamlInputError(f"Fit the score {self.name} on in-distribution states first.")

    def _rows(self, states: States, width: int) -> np.ndarray:
        rows = state_array(states, self.key)
        if rows.shape[1] != width:
            raise LeamlInputError(
                f"The score {self.name} was fitted on states of width {width}, not {rows.shape[1]}: "
                "use it with the model that it was fitted for."
            )
        return rows
