"""
Guarantees that hold for any model and with finitely many labels: when to give no answer, and sets of answers.

All of them speak of new questions drawn as the labelled ones were, and of an average over such draws; none of them
holds for other data (a shift), nor for each kind of question by itself. Where questions come from elsewhere but are
answered alike (covariate shift), weights bring the guarantee of [`AnswerSets`] back: [`shift_weights`].
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import LeamlInputError
from .calibration import checked_confidence

FALLBACK_THRESHOLD = 0.5


@dataclass(frozen=True)
class AbstentionRule:
    """
    When to give no answer.

    Args:
        threshold (`float`): answers whose calibrated confidence is below it are withheld; in [0, 1].
        certified (`bool`): whether the labels sufficed to bound the risk of the answers given.
        target_risk (`float`): the share of wrong answers aimed at.
        confidence_level (`float`): how sure the bound is.
        coverage (`float`): share of the labelled rows that would be answered.
    """

    threshold: float
    certified: bool
    target_risk: float
    confidence_level: float
    coverage: float

    def config(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return dict(vars(self))


def _check_shares(**shares: float) -> None:
    for name, value in shares.items():
        if not 0 < value < 1:
            raise LeamlInputError(f"Give `{name}` as a share strictly between 0 and 1, not {value}.")


def binomial_p_value(errors: np.ndarray | int, rows: np.ndarray | int, risk: float) -> np.ndarray:
    """
    How likely so few errors are if the true share is `risk` or more; at most δ exactly where the Clopper-Pearson upper
    bound at level 1 - δ lies at or below `risk`.

    Args:
        errors (`np.ndarray`): errors seen, from 0 to `rows`.
        rows (`np.ndarray`): of how many rows.
        risk (`float`): in (0, 1).

    Returns:
        `np.ndarray`: in [0, 1], of the inputs' shape.

    Source: Clopper and Pearson, 1934, Biometrika 26.
    """
    from scipy.stats import binom

    return binom.cdf(errors, rows, risk)


def choose_abstention_threshold(
    confidence: Sequence[float],
    correct: Sequence[float],
    target_risk: float = 0.05,
    confidence_level: float = 0.95,
) -> AbstentionRule:
    """
    The lowest confidence (so the highest coverage) at which the answers given are wrong at most `target_risk` of the
    time.

    Learn then test, in a fixed sequence: from the fewest rows with which the target could be shown at all (59 without
    a mistake, for 5% at level 0.95), more and more rows are accepted in order of confidence, equal confidences
    together, as long as an exact binomial test rejects a higher risk; the first failure ends it, so no correction for
    many tests is due. It holds exactly where the risk falls as the threshold rises, and if `confidence` was not fitted
    on these labels in a way that changes its order (a temperature does not). Where nothing can be shown, which is the
    rule with fewer than 59 labels, the threshold falls back to 0.5 (answers more likely wrong than right are withheld)
    and `certified` is `False`.

    Args:
        confidence (`Sequence[float]`): `[n]` calibrated confidences in [0, 1].
        correct (`Sequence[float]`): `[n]` zeros and ones.
        target_risk (`float`, *optional*, defaults to 0.05): share of wrong answers among those given, in (0, 1).
        confidence_level (`float`, *optional*, defaults to 0.95): probability, over the draw of the labels, that the
            target is kept on new data of the same kind, in (0, 1).

    Returns:
        [`AbstentionRule`].

    Raises:
        [`LeamlInputError`]: if the inputs are not of that form.

    Sources: Angelopoulos et al., 2021, "Learn then Test" (https://arxiv.org/abs/2110.01052); Geifman and El-Yaniv,
    2017 (https://arxiv.org/abs/1705.08500).
    """
    _check_shares(target_risk=target_risk, confidence_level=confidence_level)
    confidence, correct = checked_confidence(confidence, correct)
    levels, step, count = np.unique(-confidence, return_inverse=True, return_counts=True)
    levels = -levels  # falling
    accepted = np.cumsum(count)
    errors = np.cumsum(np.bincount(step, 1 - correct, minlength=len(levels)))
    shown = binomial_p_value(errors, accepted, target_risk) <= 1 - confidence_level
    tested = np.flatnonzero(binomial_p_value(0, accepted, target_risk) <= 1 - confidence_level)
    passed = tested[np.cumprod(shown[tested]).astype(bool)]
    if not len(passed):
        answered = float(np.mean(confidence >= FALLBACK_THRESHOLD))
        return AbstentionRule(FALLBACK_THRESHOLD, False, target_risk, confidence_level, answered)
    last = passed[-1]
    # Half-way to the next lower confidence, so that rounding cannot drop the last accepted rows.
    lower = levels[last + 1] if last + 1 < len(levels) else 0.0
    threshold = float((levels[last] + lower) / 2)
    return AbstentionRule(threshold, True, target_risk, confidence_level, float(accepted[last] / len(correct)))


def control_error_rate(confidence: Sequence[float], correct: Sequence[float], target_risk: float = 0.05) -> float:
    """
    The lowest confidence at which at most a share `target_risk` of all questions, answered or not, get a wrong answer.

    Conformal risk control: the expectation over labels and new questions is bounded, not the chance of an unlucky
    draw as in [`choose_abstention_threshold`], and the share is of all questions. So far fewer labels are needed: 19
    for 5%.

    Args:
        confidence (`Sequence[float]`): `[n]` confidences in [0, 1].
        correct (`Sequence[float]`): `[n]` zeros and ones.
        target_risk (`float`, *optional*, defaults to 0.05): share of questions with a wrong answer, in (0, 1).

    Returns:
        `float`: answers below it are withheld; infinity where the labels do not allow for a single answer.

    Raises:
        [`LeamlInputError`]: if the inputs are not of that form.

    Source: Angelopoulos et al., 2022, "Conformal Risk Control" (https://arxiv.org/abs/2208.02814).
    """
    _check_shares(target_risk=target_risk)
    confidence, correct = checked_confidence(confidence, correct)
    allowed = math.floor(target_risk * (len(correct) + 1) - 1 + 1e-9)  # errors: (errors + 1) / (n + 1) ≤ target
    if allowed < 0:
        return math.inf
    wrong = np.sort(confidence[correct == 0])[::-1]
    return 0.0 if allowed >= len(wrong) else float(np.nextafter(wrong[allowed], 2))


def conformal_quantile(
    scores: np.ndarray, level: float, weights: np.ndarray | None = None, new_weights: np.ndarray | None = None
) -> np.ndarray:
    """
    The value that the score of a new row does not exceed, with probability `level`.

    Args:
        scores (`np.ndarray`): `[n]` of labelled rows.
        level (`float`): in (0, 1).
        weights (`np.ndarray`, *optional*): `[n]` how much likelier each labelled row is where the new rows come from,
            up to a common factor; defaults to ones.
        new_weights (`np.ndarray`, *optional*): `[m]` the same of the new rows; defaults to a single one of weight 1.

    Returns:
        `np.ndarray`: `[m]` values, infinite where there are too few labelled rows to tell.

    Sources: Vovk et al., 2005; weights: Tibshirani et al., 2019, "Conformal Prediction Under Covariate Shift"
    (https://arxiv.org/abs/1904.06019).
    """
    order = np.argsort(scores)
    reached = np.cumsum(np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=np.float64)[order])
    new_weights = np.ones(1) if new_weights is None else np.asarray(new_weights, dtype=np.float64)
    needed = level * (reached[-1] + new_weights)  # the new row counts as one of unknown, largest score
    place = np.searchsorted(reached, needed * (1 - 1e-12), side="left")
    return np.append(scores[order], np.inf)[place]


class AnswerSets:
    """
    Sets of answers that hold the right one with a given probability: split conformal prediction over candidates.

    A candidate is in the set if its probability reaches a threshold found on labelled rows. One of the candidates must
    be right; where it need not be, add "none of these" with the probability that is left over.

    Args:
        coverage (`float`, *optional*, defaults to 0.9): share of sets that shall hold the right answer, in (0, 1).

    Sources: Sadinle et al., 2019, J. Am. Stat. Assoc. 114 (the score, one minus the probability); weights: Tibshirani
    et al., 2019 (https://arxiv.org/abs/1904.06019).
    """

    def __init__(self, coverage: float = 0.9):
        _check_shares(coverage=coverage)
        self.coverage = coverage
        self.scores: np.ndarray | None = None  # [n]
        self.weights: np.ndarray | None = None  # [n]

    def fit(self, right_probability: Sequence[float], weights: Sequence[float] | None = None) -> "AnswerSets":
        """
        Learns the threshold.

        Args:
            right_probability (`Sequence[float]`): `[n]` probability, in [0, 1], that the model gave to the right
                candidate of each labelled row; the model must not have been trained on these rows.
            weights (`Sequence[float]`, *optional*): `[n]` above 0, from [`shift_weights`], where the new rows come
                from elsewhere.

        Raises:
            [`LeamlInputError`]: if the inputs are not of that form.
        """
        probability = checked_confidence(right_probability)[0]
        if not len(probability):
            raise LeamlInputError("Give at least one labelled row to fit answer sets on.")
        self.scores = 1 - probability
        self.weights = None if weights is None else _checked_weights(weights, len(probability))
        return self

    def predict(self, probabilities: np.ndarray, weights: Sequence[float] | None = None) -> np.ndarray:
        """
        Which candidates are in each set.

        Args:
            probabilities (`np.ndarray`): `[m, C]` probabilities of the candidates, in [0, 1].
            weights (`Sequence[float]`, *optional*): `[m]`, where `fit` was given weights.

        Returns:
            `np.ndarray`: `[m, C]` bool; all candidates where there are too few labels to leave one out.

        Raises:
            [`LeamlInputError`]: if it is not fitted, or weights are given to one of `fit` and `predict` alone.
        """
        if self.scores is None:
            raise LeamlInputError("Fit the answer sets on labelled rows first.")
        if (weights is None) != (self.weights is None):
            raise LeamlInputError("Give weights both to `fit` and to `predict`, or to neither.")
        probabilities = np.asarray(probabilities, dtype=np.float64)
        new = None if weights is None else _checked_weights(weights, len(probabilities))
        return 1 - probabilities <= conformal_quantile(self.scores, self.coverage, self.weights, new)[:, None]


def _checked_weights(weights: Sequence[float], rows: int) -> np.ndarray:
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != (rows,) or not (np.isfinite(weights) & (weights > 0)).all():
        raise LeamlInputError("Give one weight above 0 for each row.")
    return weights


def shift_weights(labelled: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    How much likelier rows are among the new ones than among the labelled ones, by a logistic regression that tells the
    two apart; no labels of the new rows are needed.

    Args:
        labelled (`np.ndarray`): `[n, D]` states, or a few figures, of the labelled rows.
        new (`np.ndarray`): `[m, D]` the same of new rows.

    Returns:
        `tuple[np.ndarray, np.ndarray]`: weights `[n]` and `[m]`, above 0, for [`AnswerSets`].

    Source: Tibshirani et al., 2019, section 2.3 (https://arxiv.org/abs/1904.06019).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows, is_new = np.concatenate([labelled, new]), np.repeat([0, 1], [len(labelled), len(new)])
    logits = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, is_new).decision_function(rows)
    weights = np.exp(np.clip(logits, -20, 20))
    return weights[: len(labelled)], weights[len(labelled) :]
