"""Several scores made into one, without an out-of-distribution example."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import LeamlInputError
from .base import Score, States, state_array
from .distances import KNN, Mahalanobis, RelativeMahalanobis, Retrieval, ViM
from .gated import Disagreement, Dispersion, Gates
from .logits import GEN, Energy, Entropy, MaxLogit, MaxSoftmax
from .names import UnknownNames

_KINDS = (MaxSoftmax, MaxLogit, Entropy, Energy, GEN, Mahalanobis, RelativeMahalanobis, KNN, Retrieval, ViM, Gates,
          Dispersion, Disagreement, UnknownNames)  # fmt: skip
SCORES: dict[str, type[Score]] = {score.kind: score for score in _KINDS}


_LEVELS = np.linspace(0, 0.8, 33)
"""Shares of the held-out rows at which a score's values are kept; above the last, its tail is taken as exponential."""
_SHORTEST_TAIL = 0.25  # standard deviations; a score that hardly varies must not turn rounding into evidence
_ARRAYS = {"mean": ("centers", "scales"), "fisher": ("centers", "scales", "levels", "tails", "total")}


def default_scores(states: States = ()) -> list[Score]:
    """Distances of the picture's states: Mahalanobis++ of what it shows and where, and Mahalanobis of how it is drawn
    or taken; without these states, Mahalanobis and relative Mahalanobis++ of what it shows. Where names in pictures
    are read, also how unknown these are."""
    names = [UnknownNames()] if "names" in states else []
    if "places" in states and "texture" in states:
        return [Mahalanobis("vision+places", components=128), Mahalanobis("texture", normalize=False), *names]
    return [Mahalanobis("vision", normalize=False), RelativeMahalanobis("vision"), *names]


class OODCombiner:
    """
    Several scores in one, by how rare each is in distribution.

    Each score is turned into the p-value that it has among held-out in-distribution rows, and the p-values are
    combined by Fisher's rule, the sum of -log p: many slightly unusual scores and a single very unusual one both
    count, and neither the scale nor the skew of a score matters. Within the highest fifth of the held-out rows and
    beyond, the tail is taken as exponential, so that the far can be told from the farther. The sum is given in
    standard deviations from its in-distribution mean.

    The held-out rows come from cross-fitting: the pictures are divided into folds, and each fold is scored by scores
    fitted on the others, so that all rows serve both to fit and to standardise. The threshold is the lowest combined
    score at or below which 95% of these held-out scores lie (95% TPR with in-distribution as the positive class). The
    scores kept are then fitted on all rows.

    Sources: Fisher, 1925, "Statistical Methods for Research Workers"; for out-of-distribution detection Haroush et
    al., 2021 (https://arxiv.org/abs/2102.12967); the tail: Pickands, 1975, Ann. Statist. 3.

    Args:
        scores (`Sequence[Score]`, *optional*): the scores, with distinct names; defaults to [`default_scores`] of the
            states that it is fitted on.
        tpr (`float`, *optional*, defaults to 0.95): share of in-distribution rows that the threshold accepts.
        folds (`int`, *optional*, defaults to 5): number of folds, or one per picture where there are fewer pictures.
        seed (`int`, *optional*, defaults to 0): for the division into folds.
        method (`str`, *optional*, defaults to `"fisher"`): or `"mean"`, the mean of the standardised scores.
    """

    def __init__(
        self,
        scores: Sequence[Score] | None = None,
        tpr: float = 0.95,
        folds: int = 5,
        seed: int = 0,
        method: str = "fisher",
    ):
        self._chooses = scores is None
        self.scores = default_scores() if scores is None else list(scores)
        names = [score.name for score in self.scores]
        if not names or len(set(names)) < len(names):
            raise LeamlInputError(f"Give one or more scores with distinct names, not {names}.")
        if not 0 < tpr < 1 or folds < 2:
            raise LeamlInputError(f"Give a `tpr` between 0 and 1 and two `folds` or more, not {tpr} and {folds}.")
        if method not in _ARRAYS:
            raise LeamlInputError(f'Give the method "fisher" or "mean", not "{method}".')
        self.tpr = tpr
        self.folds = folds
        self.seed = seed
        self.method = method
        self.centers: np.ndarray | None = None  # [s]
        self.scales: np.ndarray | None = None  # [s]
        self.levels: np.ndarray | None = None  # [s, 33] values of each score at _LEVELS
        self.tails: np.ndarray | None = None  # [s] mean excess over the last of them
        self.total: np.ndarray | None = None  # [2] mean and deviation of the sum of -log p
        self.threshold: float | None = None

    def fit(self, states: States, groups: Sequence[Any] | np.ndarray | None = None) -> "OODCombiner":
        """
        Fits the scores, their standardisation and the threshold on in-distribution states; no labels are needed.

        Args:
            states (`Mapping`): in-distribution states of n rows from four pictures or more; from about a hundred on,
                the threshold is reliable.
            groups (`Sequence`, *optional*): `[n]`, equal for rows of the same picture, which then stay in one fold. By
                default, rows whose first score's state is exactly equal count as one picture.

        Raises:
            [`LeamlInputError`]: if there are fewer than four pictures, or the states differ in their number of rows.
        """
        if self._chooses:
            self.scores = default_scores(states)
        arrays = {name: state_array(states, name) for score in self.scores for name in score.reads}
        rows = {len(array) for array in arrays.values()}
        if len(rows) != 1:
            raise LeamlInputError(f"Give all states the same number of rows, not {sorted(rows)}.")
        n = rows.pop()
        if groups is not None and len(groups) != n:
            raise LeamlInputError(f"Give one group a row: there are {len(groups)} groups and {n} rows.")
        source = state_array(arrays, self.scores[0].key) if groups is None else np.asarray(groups)
        kinds, index = np.unique(source, return_inverse=True, axis=0)
        pictures = len(kinds)
        if pictures < 4:
            raise LeamlInputError(f"Give states of at least four different pictures, not {pictures}.")
        count = min(self.folds, pictures)
        order = np.random.default_rng(self.seed).permutation(pictures)
        fold = (order % count)[index.ravel()]  # [n]
        held_out = np.empty((n, len(self.scores)))
        for number in range(count):
            outside = fold == number
            others, own = ({name: array[rows] for name, array in arrays.items()} for rows in (~outside, outside))
            for column, score in enumerate(self.scores):
                held_out[outside, column] = score.fit(others).score(own)
        self.centers = held_out.mean(axis=0)
        # A score that does not vary in distribution must not turn rounding into evidence.
        self.scales = np.maximum(held_out.std(axis=0), 1e-6 * (1 + np.abs(self.centers)))
        standard = (held_out - self.centers) / self.scales
        if self.method == "fisher":
            self.levels = np.quantile(standard, _LEVELS, axis=0).T
            excess = np.maximum(standard - self.levels[:, -1], 0)
            self.tails = np.maximum(excess.sum(axis=0) / np.maximum((excess > 0).sum(axis=0), 1), _SHORTEST_TAIL)
            rarity = self._rarity(standard)
            self.total = np.array([rarity.mean(), max(rarity.std(), 1e-6)])
        combined = np.sort(self._combined(standard))
        self.threshold = float(combined[int(np.ceil(self.tpr * n - 1e-9)) - 1])
        for score in self.scores:
            score.fit(arrays)
        return self

    def components(self, states: States) -> dict[str, np.ndarray]:
        """Each score by name, `[n]`, in standard deviations above its in-distribution mean."""
        self._check_fitted()
        parts = zip(self.scores, self.centers, self.scales, strict=True)
        return {score.name: (score.score(states) - center) / scale for score, center, scale in parts}

    def score(self, states: States) -> np.ndarray:
        """The combined score, float64 `[n]`: 0 on average in distribution, higher = more unfamiliar."""
        return self.combine(self.components(states))

    def combine(self, components: Mapping[str, np.ndarray]) -> np.ndarray:
        """The combined score `[n]` of rows from what [`OODCombiner.components`] gave for them."""
        return self._combined(np.stack(list(components.values()), axis=1))

    def excess(self, components: Mapping[str, np.ndarray]) -> np.ndarray:
        """
        How far the first score, by default of what is shown and where, lies beyond four fifths of familiar rows.

        Args:
            components (`Mapping[str, np.ndarray]`): of n rows, from [`OODCombiner.components`].

        Returns:
            `np.ndarray`: `[n]`, 0 or more; 1 is what the fifth of familiar rows beyond that has on average.

        Raises:
            [`LeamlInputError`]: with the method `"mean"`, which keeps no distribution of its scores.
        """
        if self.method != "fisher":
            raise LeamlInputError('Combine the scores by "fisher": "mean" does not know how they are distributed.')
        first = components[self.scores[0].name]
        return np.maximum(first - self.levels[0, -1], 0) / self.tails[0]

    def example_score(self) -> np.ndarray:
        """`[1]`, of a row of ones for each score; fails or is no number where arrays or options do not go together."""
        with np.errstate(all="ignore"):
            values = np.concatenate([score.score(score.example()) for score in self.scores])
            return self._combined((values - self.centers)[None] / self.scales)

    def _combined(self, standard: np.ndarray) -> np.ndarray:
        """One score a row from standardised ones `[n, s]`."""
        if self.method == "mean":
            return standard.mean(axis=1)
        return (self._rarity(standard) - self.total[0]) / self.total[1]

    def _rarity(self, standard: np.ndarray) -> np.ndarray:
        """Σ -log p of standardised scores `[n, s]`: `[n]`."""
        total = np.zeros(len(standard))
        for values, levels, tail in zip(standard.T, self.levels, self.tails, strict=True):
            total -= np.log1p(-np.interp(values, levels, _LEVELS)) - np.maximum(values - levels[-1], 0) / tail
        return total

    def _check_fitted(self) -> None:
        if self.threshold is None:
            raise LeamlInputError("Fit the out-of-distribution scores on in-distribution states first.")

    def config(self) -> dict[str, Any]:
        """The scores and options as JSON types; [`OODCombiner.from_config`] reads it."""
        scores = [score.config() for score in self.scores]
        return {"scores": scores, "tpr": self.tpr, "folds": self.folds, "seed": self.seed, "method": self.method}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "OODCombiner":
        """An unfitted combiner as `config()` describes it; an unknown kind of score raises [`LeamlInputError`]."""
        scores = []
        for options in config["scores"]:
            options = dict(options)
            kind = options.pop("kind")
            if kind not in SCORES:
                raise LeamlInputError(f'Update leaml_hf: this version has no score "{kind}", only {sorted(SCORES)}.')
            scores.append(SCORES[kind](**options))
        options = {name: config[name] for name in ("tpr", "folds", "seed")}
        return cls(scores, **options, method=config.get("method", "mean"))  # what there was before methods had names

    def state_dict(self) -> dict[str, np.ndarray]:
        """All learnt arrays; those of a score under its name, as in `"vision.knn.bank"`."""
        self._check_fitted()
        state = {name: getattr(self, name) for name in _ARRAYS[self.method]} | {
            "threshold": np.array([self.threshold])
        }
        for score in self.scores:
            state.update({f"{score.name}.{name}": array for name, array in score.state_dict().items()})
        return state

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes the arrays of `state_dict()` back; missing or unknown names raise [`LeamlInputError`]."""
        own = _ARRAYS[self.method]
        expected = {*own, "threshold", *(f"{score.name}.{name}" for score in self.scores for name in score.arrays)}
        if set(state) != expected:
            differing = sorted(expected ^ set(state))[:3]
            raise LeamlInputError(f"Save the out-of-distribution scores again: missing or unknown arrays {differing}.")
        for score in self.scores:
            score.load_state_dict({name: state[f"{score.name}.{name}"] for name in score.arrays})
        for name in own:
            setattr(self, name, state[name])
        self.threshold = float(state["threshold"][0])
