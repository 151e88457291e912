"""Scores that compare a row's states with those of familiar rows: Gaussians, nearest neighbours, and a subspace."""

from typing import Any, NamedTuple

import numpy as np

from ...errors import LeamlInputError
from .base import Score, States, state_array, unit
from .logits import log_sum_exp


class Precision(NamedTuple):
    """An inverse covariance: `directions` `[k, D]`, orthonormal, and `precisions` `[k + 1]`, the last for all other
    directions."""

    directions: np.ndarray
    precisions: np.ndarray

    def squared_distance(self, centred: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis distances of centred rows `[n, D]`: `[n]`."""
        projected = centred @ self.directions.T  # [n, k]
        rest = centred - projected @ self.directions  # [n, D]
        return projected**2 @ self.precisions[:-1] + np.sum(rest**2, axis=1) * self.precisions[-1]


def leading_directions(rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The directions `[k, D]`, k ≤ `count`, in which rows `[n, D]` are largest, and the mean square `[k]` there."""
    from scipy.linalg import eigh

    n, width = rows.shape
    # Eigenvectors of the smaller of the two products: many times faster than a singular value decomposition.
    product = rows @ rows.T if width > n else rows.T @ rows
    squared, vectors = eigh(product, subset_by_index=(len(product) - count, len(product) - 1))
    real = squared > 1e-10 * squared[-1]
    directions = vectors[:, real].T  # [k, n] or [k, D]
    if width > n:
        directions = directions @ rows / np.sqrt(squared[real])[:, None]  # [k, D]
    return directions, squared[real] / n


def fit_precision(centred: np.ndarray, components: int) -> Precision:
    """
    Inverse covariance of centred rows `[n, D]` (float64), shrunk by Ledoit and Wolf's rule, in a compact form.

    At most `components` leading directions are kept, and one mean variance for all others. So it can be inverted with
    fewer rows than dimensions, takes (components + 1) · D numbers, and still sees what lies outside the leading
    directions, which plain PCA would drop.

    Sources: Ledoit and Wolf, 2004, J. Multivar. Anal. 88; Tipping and Bishop, 1999, J. R. Stat. Soc. B 61.
    """
    from sklearn.covariance import ledoit_wolf_shrinkage

    n, width = centred.shape
    total = float(np.mean(centred**2)) * width  # trace of the covariance
    shrinkage = float(ledoit_wolf_shrinkage(centred, assume_centered=True))
    directions, leading = leading_directions(centred, min(components, n - 1, width))
    others = max(total - float(leading.sum()), 0.0) / max(width - len(leading), 1)
    # With no shrinkage and no variance left over, a floor keeps the other directions' precision finite.
    variances = (1 - shrinkage) * np.append(leading, others) + shrinkage * total / width
    variances = np.maximum(variances, 1e-6 * total / width)
    return Precision(directions.astype(np.float32), (1 / variances).astype(np.float32))


class Mahalanobis(Score):
    """
    Mahalanobis distance to the mean of the in-distribution states, with a shrunk covariance: `[n]`, 0 or more.

    Sources: Lee et al., 2018 (https://arxiv.org/abs/1807.03888), here with one Gaussian since answers are no classes;
    unit length before the fit (`normalize`) is Mahalanobis++, Mueller and Hein, 2025
    (https://arxiv.org/abs/2505.18032). The covariance: [`fit_precision`].

    Args:
        key (`str`): a state, such as `"vision"` or `"hidden"`.
        normalize (`bool`, *optional*, defaults to `True`): scale every row to unit length first.
        components (`int`, *optional*, defaults to 64): the largest number of leading directions.
    """

    kind = "mahalanobis"
    arrays = ("mean", "directions", "precisions")  # [D], [k, D], [k + 1]

    def __init__(self, key: str, normalize: bool = True, components: int = 64):
        super().__init__(key)
        self.normalize = normalize
        self.components = components

    @property
    def name(self) -> str:
        return super().name + ("++" if self.normalize else "")

    def config(self) -> dict[str, Any]:
        return {**super().config(), "normalize": self.normalize, "components": self.components}

    def _prepared(self, rows: np.ndarray) -> np.ndarray:
        rows = rows.astype(np.float64)
        return unit(rows) if self.normalize else rows

    def _centred(self, states: States) -> np.ndarray:
        """Learns the mean of rows that differ, and takes it off them."""
        rows = state_array(states, self.key)
        if len(rows) < 2:
            raise LeamlInputError(f"Give at least two rows of states to fit the score {self.name}, not {len(rows)}.")
        rows = self._prepared(rows)
        self.mean = rows.mean(axis=0).astype(np.float32)
        centred = rows - self.mean
        if np.sum(centred**2) <= 1e-12 * len(rows) * max(1.0, float(np.sum(self.mean**2))):
            raise LeamlInputError(f'Give pictures that differ: the state "{self.key}" is the same in all rows.')
        return centred

    def fit(self, states: States) -> "Mahalanobis":
        self.directions, self.precisions = fit_precision(self._centred(states), self.components)
        return self

    def score(self, states: States) -> np.ndarray:
        self._check_fitted()
        centred = self._prepared(self._rows(states, len(self.mean))) - self.mean
        return np.sqrt(Precision(self.directions, self.precisions).squared_distance(centred))


class RelativeMahalanobis(Mahalanobis):
    """
    Squared Mahalanobis distance to the nearest of several classes less that to all in-distribution states: `[n]`.

    What is unusual for all familiar rows alike then does not count. The classes share one covariance. Visual questions
    have no classes, so they are clusters of the states.

    Sources: Ren et al., 2021, "A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection"
    (https://arxiv.org/abs/2106.09022); clusters in place of classes: Sehwag et al., 2021, "SSD"
    (https://arxiv.org/abs/2103.12051).

    Args:
        key (`str`): a state, such as `"vision"` or `"hidden"`.
        normalize (`bool`, *optional*, defaults to `True`): scale every row to unit length first.
        components (`int`, *optional*, defaults to 64): the largest number of leading directions.
        classes (`int`, *optional*, defaults to 8): clusters, of four different rows on average or more.
        seed (`int`, *optional*, defaults to 0): for the clusters.
    """

    kind = "relative_mahalanobis"
    arrays = (*Mahalanobis.arrays, "centers", "class_directions", "class_precisions")  # [c, D], [k, D], [k + 1]

    def __init__(self, key: str, normalize: bool = True, components: int = 64, classes: int = 8, seed: int = 0):
        super().__init__(key, normalize, components)
        self.classes = classes
        self.seed = seed

    def config(self) -> dict[str, Any]:
        return {**super().config(), "classes": self.classes, "seed": self.seed}

    def fit(self, states: States) -> "RelativeMahalanobis":
        from sklearn.cluster import KMeans

        centred = self._centred(states)
        self.directions, self.precisions = fit_precision(centred, self.components)
        count = max(1, min(self.classes, len(np.unique(centred, axis=0)) // 4))
        found = KMeans(count, n_init=4, random_state=self.seed).fit(centred)
        self.centers = found.cluster_centers_.astype(np.float32)
        within = centred - self.centers[found.labels_]
        self.class_directions, self.class_precisions = fit_precision(within, self.components)
        return self

    def score(self, states: States) -> np.ndarray:
        self._check_fitted()
        centred = self._prepared(self._rows(states, len(self.mean))) - self.mean
        classes = Precision(self.class_directions, self.class_precisions)
        nearest = np.min([classes.squared_distance(centred - center) for center in self.centers], axis=0)
        return nearest - Precision(self.directions, self.precisions).squared_distance(centred)


def neighbor_distance(rows: np.ndarray, bank: np.ndarray, neighbor: int = 1) -> np.ndarray:
    """Cosine distance `[n]`, float64 in [0, 2], of rows `[n, D]` to the `neighbor`-th nearest of `[m, D]`, all of
    length 1."""
    distances = [
        np.partition(1 - rows[start : start + 1024] @ bank.T, neighbor - 1, axis=1)[:, neighbor - 1]  # [b, m] -> [b]
        for start in range(0, len(rows), 1024)
    ]
    return np.maximum(np.concatenate(distances).astype(np.float64), 0)


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
    arrays = ("bank",)  # [m, D]

    def __init__(self, key: str, neighbor: int = 5, bank_size: int = 512, seed: int = 0):
        super().__init__(key)
        self.neighbor = neighbor
        self.bank_size = bank_size
        self.seed = seed

    def config(self) -> dict[str, Any]:
        return {**super().config(), "neighbor": self.neighbor, "bank_size": self.bank_size, "seed": self.seed}

    def _stored(self, rows: np.ndarray) -> np.ndarray:
        # Several questions about one picture share its vision state: stored once, or they would be each other's
        # neighbours.
        rows = np.unique(rows.astype(np.float16), axis=0)
        if len(rows) > self.bank_size:
            rows = rows[np.random.default_rng(self.seed).permutation(len(rows))[: self.bank_size]]
        return rows

    def fit(self, states: States) -> "KNN":
        self.bank = self._stored(unit(state_array(states, self.key)))
        return self

    def score(self, states: States) -> np.ndarray:
        self._check_fitted()
        rows = unit(self._rows(states, self.bank.shape[1]))
        return neighbor_distance(rows, unit(self.bank.astype(np.float32)), min(self.neighbor, len(self.bank)))


class Retrieval(KNN):
    """
    Distance to the nearest known example by picture and question together: `[n]`, 0 or more.

    Each state is centred and scaled to a mean square length of 1, so that both count alike. Fit it on the examples
    that retrieval may draw on, the labelled ones; within a combiner it is fitted on the in-distribution rows. A score
    of our own; the distance is that of [`KNN`], Euclidean.

    Args:
        key (`str`, *optional*, defaults to `"vision+question"`): states, joined by `+`.
        neighbor (`int`, *optional*, defaults to 1): which of the nearest examples.
        bank_size (`int`, *optional*, defaults to 512): as in [`KNN`].
        seed (`int`, *optional*, defaults to 0): as in [`KNN`].
    """

    kind = "retrieval"
    arrays = ("bank", "mean", "scale")  # [m, D], [D], [D]

    def __init__(self, key: str = "vision+question", neighbor: int = 1, bank_size: int = 512, seed: int = 0):
        super().__init__(key, neighbor, bank_size, seed)

    def fit(self, states: States) -> "Retrieval":
        rows = state_array(states, self.key)
        self.mean = rows.mean(axis=0)
        widths = [state_array(states, name).shape[1] for name in self.reads]
        parts = np.split(rows - self.mean, np.cumsum(widths)[:-1], axis=1)
        lengths = [max(float(np.sqrt(np.mean(np.sum(part**2, axis=1)))), 1e-6) for part in parts]
        self.scale = np.repeat(lengths, widths).astype(np.float32)
        self.bank = self._stored((rows - self.mean) / self.scale)
        return self

    def score(self, states: States) -> np.ndarray:
        from scipy.spatial.distance import cdist

        self._check_fitted()
        rows = (self._rows(states, len(self.mean)) - self.mean) / self.scale
        k = min(self.neighbor, len(self.bank))
        return np.partition(cdist(rows, self.bank.astype(np.float32)), k - 1, axis=1)[:, k - 1]


class ViM(Score):
    """
    Virtual-logit matching: the part of the last hidden state outside the in-distribution subspace as one more logit,
    less the log-sum-exp of the others: `[n]`; its sigmoid is the virtual logit's softmax probability.

    The subspace is about the origin, where a head without bias gives all logits alike.

    Source: Wang et al., 2022, "ViM: Out-Of-Distribution with Virtual-logit Matching"
    (https://arxiv.org/abs/2203.10807).

    Args:
        key (`str`, *optional*, defaults to `"hidden"`): the state that the output head reads.
        components (`int`, *optional*, defaults to 64): dimensions of the subspace, at most half of rows and width.
    """

    kind = "vim"
    arrays = ("directions", "alpha")  # [k, D], [1]

    def __init__(self, key: str = "hidden", components: int = 64):
        super().__init__(key)
        self.components = components

    @property
    def reads(self) -> tuple[str, ...]:
        return (*super().reads, "logits")

    def config(self) -> dict[str, Any]:
        return {**super().config(), "components": self.components}

    def _residual(self, rows: np.ndarray) -> np.ndarray:
        rows = rows.astype(np.float64)
        return np.linalg.norm(rows - (rows @ self.directions.T) @ self.directions, axis=1)  # [n]

    def fit(self, states: States) -> "ViM":
        rows = state_array(states, self.key)
        if len(rows) < 2:
            raise LeamlInputError(f"Give at least two rows of states to fit the score {self.name}, not {len(rows)}.")
        count = max(1, min(self.components, len(rows) // 2, rows.shape[1] // 2))
        self.directions = leading_directions(rows.astype(np.float64), count)[0].astype(np.float32)
        largest = abs(float(state_array(states, "logits").max(axis=1).mean()))
        self.alpha = np.array([largest / max(float(self._residual(rows).mean()), 1e-12)])
        return self

    def score(self, states: States) -> np.ndarray:
        self._check_fitted()
        rows = self._rows(states, self.directions.shape[1])
        return self.alpha[0] * self._residual(rows) - log_sum_exp(state_array(states, "logits"))
