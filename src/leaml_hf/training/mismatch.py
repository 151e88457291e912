"""Unlabelled pictures from another domain than the labelled ones: found, and left out."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import Trainer

from ..data.budget import picture_keys
from ..evaluation.runner import picture_states
from ..reliability.ood import OODCombiner, States

if TYPE_CHECKING:
    from datasets import Dataset

MANY_FOREIGN = 0.1  # of the unlabelled rows; about one in a hundred is taken for foreign in any pool
FEWEST_PICTURES = 20  # labelled and unlabelled ones; fewer say too little of a domain
ACCEPTED = 0.99  # of the labelled pictures, by cross-fitting
NEAR = 0.5  # of the labelled pictures: what lies among these is of the domain, whatever was labelled of it
COMPONENTS, STRENGTH, FOLDS = 64, 0.003, 5  # of the classifier


class PoolCheck:
    """
    Tells which unlabelled rows look as if they were not from the labelled rows' domain.

    A classifier between labelled and unlabelled pictures sees only what the pool has besides the domain (learning from
    positive and unlabelled examples, Elkan and Noto 2008): what it finds less like the labelled pictures than 99% of
    these are, each judged without itself, is foreign, unless the default out-of-distribution scores place it within
    the nearer half of the labelled pictures: those may have been chosen for being unlike the others. About one row in
    a hundred of the domain itself is taken for foreign, too.

    Args:
        states (`Mapping`): of the n labelled rows; `vision` and, where there is such, `texture` are read.
        groups (`Sequence`): `[n]`, equal for rows of one picture.
        seed (`int`, *optional*, defaults to 0): of the folds.
    """

    def __init__(self, states: States, groups: Sequence[Any], seed: int = 0) -> None:
        self.seed, self.labelled = seed, np.unique(_features(states), axis=0)
        self.scores = None
        if len(set(groups)) >= FEWEST_PICTURES:
            self.scores = OODCombiner(tpr=NEAR, seed=seed).fit(_read(states), groups)

    def foreign(self, states: States) -> np.ndarray:
        """
        Which rows are not from the labelled rows' domain.

        Args:
            states (`Mapping`): of m unlabelled rows; they are told apart together, as one pool.

        Returns:
            `np.ndarray`: `[m]` bool; all `False` where too few labelled or unlabelled pictures were given.
        """
        pictures, place = np.unique(_features(states), axis=0, return_inverse=True)
        if self.scores is None or len(pictures) < FEWEST_PICTURES:
            return np.zeros(len(states["vision"]), bool)
        is_far = self.scores.score(states) > self.scores.threshold
        return is_far & self._stand_out(pictures)[place.reshape(-1)]

    def _stand_out(self, pictures: np.ndarray) -> np.ndarray:
        """Which of some pictures `[m, D]` a classifier tells from the labelled ones."""
        from sklearn.decomposition import PCA
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedKFold, cross_val_predict
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        both = np.concatenate([self.labelled, pictures]).astype(np.float64)
        of_pool = np.arange(len(both)) >= len(self.labelled)
        components = min(COMPONENTS, both.shape[1], len(both) * (FOLDS - 1) // FOLDS - 1)
        classifier = make_pipeline(
            StandardScaler(),
            PCA(components, random_state=self.seed),
            LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=1000),
        )
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=self.seed)
        likeness = cross_val_predict(classifier, both, of_pool, cv=folds, method="decision_function")
        return likeness[of_pool] > np.quantile(likeness[~of_pool], ACCEPTED)


def _read(states: States) -> States:
    """The states that are read."""
    return {name: states[name] for name in ("vision", "texture") if name in states}


def _features(states: States) -> np.ndarray:
    """`[n, D]` what the states tell of the pictures."""
    return np.concatenate(list(_read(states).values()), axis=1)


class MismatchMixin(Trainer):
    """The methods of [`LeamlTrainer`] that tell unlabelled rows of another domain."""

    def check_pool(self) -> PoolCheck:
        """What tells them, by what the model sees in the labelled pictures now."""
        rows = self._all_labelled()
        states = picture_states(self.model, self.processing_class, rows, self.cache)
        return PoolCheck(states, picture_keys(rows), self.args.seed)

    @cached_property
    def _pool_check(self) -> PoolCheck:
        return self.check_pool()

    def _foreign(self, states: dict[str, np.ndarray]) -> np.ndarray:
        """`[n]` bool, whether unlabelled rows look as if they were not from the labelled rows' domain."""
        if self.model.config.adapt_vision:  # what is seen has changed since
            self.__dict__.pop("_pool_check", None)
        return self._pool_check.foreign(states)

    def _note_foreign(self, rows: "Dataset", states: dict[str, np.ndarray]) -> np.ndarray:
        """As `_foreign`; which rows these are, and their share, is kept for the report."""
        foreign = self._foreign(states)
        self.foreign = rows.select(np.flatnonzero(foreign))
        self.history.append({"step": self.state.global_step, "foreign": float(foreign.mean())})
        return foreign
