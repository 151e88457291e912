"""
Out-of-distribution scores over states that the forward pass has computed already; higher = more unfamiliar.

One small class per score, all with `fit(states)`, `score(states)`, `state_dict()` and `load_state_dict()`, and one
combiner. No real out-of-distribution example is needed to fit any of them. States are a mapping from a name to an
array or tensor whose first dimension is the rows: `vision` `[n, Dv]`, `hidden` `[n, D]`, `logits` `[n, V]`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import LeamlInputError

States = Mapping[str, Any]


def state_array(states: States, key: str) -> np.ndarray:
    """
    One of the states as a float32 array.

    Args:
        states (`Mapping[str, np.ndarray | torch.Tensor]`): the states of n rows.
        key (`str`): which of them.

    Returns:
        `np.ndarray`: `[n, D]`, finite.

    Raises:
        [`LeamlInputError`]: if the state is missing, is not `[n, D]` with n, D ≥ 1, or holds NaN or infinity.
    """
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


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)  # [n, D]


def _logsumexp(logits: np.ndarray) -> np.ndarray:
    largest = logits.max(axis=1, keepdims=True)  # [n, 1]
    return largest[:, 0] + np.log(np.exp(logits - largest).sum(axis=1, dtype=np.float64))  # [n]


class Score:
    """
    Base of the scores: the arrays named in `arrays` are what `fit` learns and what is saved.

    Args:
        key (`str`, *optional*, defaults to `"logits"`): the state that the score reads.
    """

    kind: str
    arrays: tuple[str, ...] = ()

    def __init__(self, key: str = "logits"):
        self.key = key

    @property
    def name(self) -> str:
        """Unique within a combiner, for example `"vision.knn"`."""
        return f"{self.key}.{self.kind}"

    def config(self) -> dict[str, Any]:
        """What `__init__` needs, beside `kind`, to make the same score again (JSON types only)."""
        return {"kind": self.kind, "key": self.key}

    def fit(self, states: States) -> "Score":
        """Learns from in-distribution states; scores of the logits have nothing to learn."""
        return self

    def score(self, states: States) -> np.ndarray:
        """Scores of the rows, float64 `[n]`, higher = more unfamiliar."""
        raise NotImplementedError

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


class MaxSoftmax(Score):
    """
    One minus the largest softmax probability of the first answer token: `[n]` in [0, 1).

    Source: Hendrycks and Gimpel, 2017, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in
    Neural Networks" (https://arxiv.org/abs/1610.02136).
    """

    kind = "max_softmax"

    def score(self, states: States) -> np.ndarray:
        logits = state_array(states, self.key)  # [n, V]
        return -np.expm1(logits.max(axis=1) - _logsumexp(logits))


class Energy(Score):
    """
    Free energy -log Σ exp(logit) of the first answer token, in nats, at temperature 1: `[n]`.

    Source: Liu et al., 2020, "Energy-based Out-of-distribution Detection" (https://arxiv.org/abs/2010.03759).
    """

    kind = "energy"

    def score(self, states: States) -> np.ndarray:
        return -_logsumexp(state_array(states, self.key))


class Mahalanobis(Score):
    """
    Mahalanobis distance to the mean of the in-distribution states: `[n]`, 0 or more.

    The covariance is shrunk by Ledoit and Wolf's rule and kept in a compact form, the `components` leading directions
    and one mean variance for all others. So it can be inverted with fewer rows than dimensions, takes (components + 1)
    · D numbers, and still sees what lies outside the leading directions, which plain PCA would drop.

    Sources: Lee et al., 2018 (https://arxiv.org/abs/1807.03888), here with one Gaussian since answers are no classes;
    unit length before the fit (`normalize`) is Mahalanobis++, Mueller and Hein, 2025
    (https://arxiv.org/abs/2505.18032); shrinkage: Ledoit and Wolf, 2004, J. Multivar. Anal. 88; compact form: Tipping
    and Bishop, 1999, J. R. Stat. Soc. B 61.

    Args:
        key (`str`): a state, such as `"vision"` or `"hidden"`.
        normalize (`bool`, *optional*, defaults to `True`): scale every row to unit length first.
        components (`int`, *optional*, defaults to 64): the largest number of leading directions.
    """

    kind = "mahalanobis"
    arrays = ("mean", "directions", "precisions")

    def __init__(self, key: str, normalize: bool = True, components: int = 64):
        super().__init__(key)
        self.normalize = normalize
        self.components = components
        self.mean: np.ndarray | None = None  # [D]
        self.directions: np.ndarray | None = None  # [k, D], orthonormal
        self.precisions: np.ndarray | None = None  # [k + 1], the last for all other directions

    @property
    def name(self) -> str:
        return super().name + ("++" if self.normalize else "")

    def config(self) -> dict[str, Any]:
        return {**super().config(), "normalize": self.normalize, "components": self.components}

    def fit(self, states: States) -> "Mahalanobis":
        from scipy.linalg import eigh
        from sklearn.covariance import ledoit_wolf_shrinkage

        rows = state_array(states, self.key)
        n, width = rows.shape
        if n < 2:
            raise LeamlInputError(f"Give at least two rows of states to fit the score {self.name}, not {n}.")
        rows = _unit(rows) if self.normalize else rows
        self.mean = rows.mean(axis=0)
        centred = (rows - self.mean).astype(np.float64)
        total = float(np.mean(centred**2)) * width  # trace of the covariance
        if total <= 1e-12 * max(1.0, float(np.sum(self.mean**2))):
            raise LeamlInputError(f'Give pictures that differ: the state "{self.key}" is the same in all rows.')
        shrinkage = float(ledoit_wolf_shrinkage(centred, assume_centered=True))
        k = min(self.components, n - 1, width)
        # Eigenvectors of the smaller of the two products: many times faster than a singular value decomposition.
        product = centred @ centred.T if width > n else centred.T @ centred
        squared, vectors = eigh(product, subset_by_index=(len(product) - k, len(product) - 1))
        real = squared > 1e-10 * squared[-1]
        leading = squared[real] / n
        directions = vectors[:, real].T  # [k, n] or [k, D]
        if width > n:
            directions = directions @ centred / np.sqrt(squared[real])[:, None]  # [k, D]
        others = max(total - float(leading.sum()), 0.0) / max(width - len(leading), 1)
        # With no shrinkage and no variance left over, a floor keeps the other directions' precision finite.
        variances = (1 - shrinkage) * np.append(leading, others) + shrinkage * total / width
        variances = np.maximum(variances, 1e-6 * total / width)
        self.directions = directions.astype(np.float32)
        self.precisions = (1 / variances).astype(np.float32)
        return self

    def score(self, states: States) -> np.ndarray:
        self._check_fitted()
        rows = self._rows(states, len(self.mean))
        centred = (_unit(rows) if self.normalize else rows) - self.mean  # [n, D]
        projected = centred @ self.directions.T  # [n, k]
        rest = np.maximum(np.sum(centred**2, axis=1) - np.sum(projected**2, axis=1), 0)  # [n]
        squared = projected**2 @ self.precisions[:-1] + rest * self.precisions[-1]
        return np.sqrt(squared.astype(np.float64))


class KNN(Score):
    """
    Cosine distance to the k-th nearest of the stored in-distribution rows: `[n]` in [0, 2].

    Source: Sun et al., 2022, "Out-of-Distribution Detection with Deep Nearest Neighbors"
    (https://arxiv.org/abs/2204.06507).

    Args:
        key (`str`): a state, such as `"vision"`.
        neighbor (`int`, *optional*, defaults to 5): k; with fewer rows stored, the farthest of them.
        bank_size (`int`, *optional*, defaults to 512): at most this many rows are stored, as float16, chosen at
            random.
        seed (`int`, *optional*, defaults to 0): for that choice.
    """

    kind = "knn"
    arrays = ("bank",)

    def __init__(self, key: str, neighbor: int = 5, bank_size: int = 512, seed: int = 0):
        super().__init__(key)
        self.neighbor = neighbor
        self.bank_size = bank_size
        self.seed = seed
        self.bank: np.ndarray | None = None  # [m, D]

    def config(self) -> dict[str, Any]:
        return {**super().config(), "neighbor": self.neighbor, "bank_size": self.bank_size, "seed": self.seed}

    def fit(self, states: States) -> "KNN":
        # Several questions about one picture share its vision state: stored once, or they would be each other's
        # neighbours.
        rows = np.unique(_unit(state_array(states, self.key)).astype(np.float16), axis=0)
        if len(rows) > self.bank_size:
            rows = rows[np.random.default_rng(self.seed).permutation(len(rows))[: self.bank_size]]
        self.bank = rows
        return self

    def score(self, states: States) -> np.ndarray:
        self._check_fitted()
        rows = _unit(self._rows(states, self.bank.shape[1]))
        k = min(self.neighbor, len(self.bank))
        bank = _unit(self.bank.astype(np.float32))
        distances = [
            np.partition(1 - rows[start : start + 1024] @ bank.T, k - 1, axis=1)[:, k - 1]  # [b, m] -> [b]
            for start in range(0, len(rows), 1024)
        ]
        return np.maximum(np.concatenate(distances).astype(np.float64), 0)


SCORES: dict[str, type[Score]] = {score.kind: score for score in (MaxSoftmax, Energy, Mahalanobis, KNN)}


def default_scores() -> list[Score]:
    """Mahalanobis++ on vision and on hidden states, nearest neighbours on vision states, and the energy."""
    return [Mahalanobis("vision"), Mahalanobis("hidden"), KNN("vision"), Energy()]


class OODCombiner:
    """
    The mean of several scores, each in standard deviations from its mean on held-out in-distribution rows.

    The held-out rows come from cross-fitting: the pictures are divided into folds, and each fold is scored by scores
    fitted on the others, so that all rows serve both to fit and to standardise. The threshold is the lowest combined
    score at or below which 95% of these held-out scores lie (95% TPR with in-distribution as the positive class). The
    scores kept are then fitted on all rows.

    Args:
        scores (`Sequence[Score]`, *optional*): the scores, with distinct names; defaults to [`default_scores`].
        tpr (`float`, *optional*, defaults to 0.95): share of in-distribution rows that the threshold accepts.
        folds (`int`, *optional*, defaults to 5): number of folds, or one per picture where there are fewer pictures.
        seed (`int`, *optional*, defaults to 0): for the division into folds.
    """

    def __init__(self, scores: Sequence[Score] | None = None, tpr: float = 0.95, folds: int = 5, seed: int = 0):
        self.scores = default_scores() if scores is None else list(scores)
        names = [score.name for score in self.scores]
        if not names or len(set(names)) < len(names):
            raise LeamlInputError(f"Give one or more scores with distinct names, not {names}.")
        if not 0 < tpr < 1 or folds < 2:
            raise LeamlInputError(f"Give a `tpr` between 0 and 1 and two `folds` or more, not {tpr} and {folds}.")
        self.tpr = tpr
        self.folds = folds
        self.seed = seed
        self.centers: np.ndarray | None = None  # [s]
        self.scales: np.ndarray | None = None  # [s]
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
        arrays = {score.key: state_array(states, score.key) for score in self.scores}
        rows = {len(array) for array in arrays.values()}
        if len(rows) != 1:
            raise LeamlInputError(f"Give all states the same number of rows, not {sorted(rows)}.")
        n = rows.pop()
        if groups is not None and len(groups) != n:
            raise LeamlInputError(f"Give one group a row: there are {len(groups)} groups and {n} rows.")
        source = arrays[self.scores[0].key] if groups is None else np.asarray(groups)
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
            for column, score in enumerate(self.scores):
                if score.arrays:
                    score.fit({score.key: arrays[score.key][~outside]})
                held_out[outside, column] = score.score({score.key: arrays[score.key][outside]})
        self.centers = held_out.mean(axis=0)
        # A score that does not vary in distribution must not turn rounding into evidence.
        self.scales = np.maximum(held_out.std(axis=0), 1e-6 * (1 + np.abs(self.centers)))
        combined = np.sort(((held_out - self.centers) / self.scales).mean(axis=1))
        self.threshold = float(combined[int(np.ceil(self.tpr * n - 1e-9)) - 1])
        for score in self.scores:
            score.fit({score.key: arrays[score.key]})
        return self

    def components(self, states: States) -> dict[str, np.ndarray]:
        """Each score by name, `[n]`, in standard deviations above its in-distribution mean."""
        self._check_fitted()
        parts = zip(self.scores, self.centers, self.scales, strict=True)
        return {score.name: (score.score(states) - center) / scale for score, center, scale in parts}

    def score(self, states: States) -> np.ndarray:
        """The combined score, float64 `[n]`: 0 on average in distribution, higher = more unfamiliar."""
        return np.mean(list(self.components(states).values()), axis=0)

    def _check_fitted(self) -> None:
        if self.threshold is None:
            raise LeamlInputError("Fit the out-of-distribution scores on in-distribution states first.")

    def config(self) -> dict[str, Any]:
        """The scores and options as JSON types; [`OODCombiner.from_config`] reads it."""
        scores = [score.config() for score in self.scores]
        return {"scores": scores, "tpr": self.tpr, "folds": self.folds, "seed": self.seed}

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
        return cls(scores, **{name: config[name] for name in ("tpr", "folds", "seed")})

    def state_dict(self) -> dict[str, np.ndarray]:
        """All learnt arrays; those of a score under its name, as in `"vision.knn.bank"`."""
        self._check_fitted()
        state = {"centers": self.centers, "scales": self.scales, "threshold": np.array([self.threshold])}
        for score in self.scores:
            state.update({f"{score.name}.{name}": array for name, array in score.state_dict().items()})
        return state

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes the arrays of `state_dict()` back; missing or unknown names raise [`LeamlInputError`]."""
        own = ("centers", "scales", "threshold")
        expected = {*own, *(f"{score.name}.{name}" for score in self.scores for name in score.arrays)}
        if set(state) != expected:
            differing = sorted(expected ^ set(state))[:3]
            raise LeamlInputError(f"Save the out-of-distribution scores again: missing or unknown arrays {differing}.")
        for score in self.scores:
            score.load_state_dict({name: state[f"{score.name}.{name}"] for name in score.arrays})
        self.centers, self.scales = state["centers"], state["scales"]
        self.threshold = float(state["threshold"][0])
