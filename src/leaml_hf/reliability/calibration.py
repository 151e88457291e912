"""
Turning a raw confidence into the probability of being right, with as few as tens of labels, and choosing when to
abstain.

The raw confidence is the model's probability of its whole answer (the product over its tokens), in [0, 1].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import LeamlInputError

_EPSILON = 1e-6
# Spread of the prior around "unchanged": the logarithm of the slope, the shift in logits, and the logarithm of the
# weight of the out-of-distribution score (whose prior centre is e^-3 logits a standard deviation, next to nothing).
_SLOPE_SPREAD, _SHIFT_SPREAD, _OOD_CENTER, _OOD_SPREAD = 1.0, 1.5, -3.0, 1.0
_FEWEST_ROWS = 8


def _logit(confidence: np.ndarray) -> np.ndarray:
    confidence = np.clip(confidence, _EPSILON, 1 - _EPSILON)
    return np.log(confidence) - np.log1p(-confidence)


def _row_nll(probability: np.ndarray, correct: np.ndarray) -> np.ndarray:
    probability = np.clip(probability, _EPSILON, 1 - _EPSILON)
    return -np.where(correct == 1, np.log(probability), np.log1p(-probability))


def _checked(
    confidence: Sequence[float], correct: Sequence[float] | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    confidence = np.asarray(confidence, dtype=np.float64)
    if confidence.ndim != 1 or not ((confidence >= 0) & (confidence <= 1)).all():
        raise LeamlInputError("Give the confidences as one list of probabilities between 0 and 1.")
    if correct is None:
        return confidence, None
    correct = np.asarray(correct, dtype=np.float64)
    if correct.shape != confidence.shape or not np.isin(correct, (0, 1)).all():
        raise LeamlInputError("Give `correct` as zeros and ones, one for each confidence.")
    if not len(correct):
        raise LeamlInputError("Give at least one labelled answer to calibrate with.")
    return confidence, correct


class Identity:
    """Leaves the confidence as it is; what is used when there are too few labels to learn anything from."""

    kind = "identity"
    arrays: tuple[str, ...] = ()
    uses_ood = False

    def fit(
        self, confidence: Sequence[float], correct: Sequence[float], ood_score: Sequence[float] | None = None
    ) -> "Identity":
        """
        Learns from labelled answers.

        Args:
            confidence (`Sequence[float]`): `[n]` raw confidences in [0, 1].
            correct (`Sequence[float]`): `[n]` zeros and ones.
            ood_score (`Sequence[float]`, *optional*): `[n]`, in standard deviations; needed where `uses_ood`.

        Raises:
            [`LeamlInputError`]: if the inputs are not of that form.
        """
        _checked(confidence, correct)
        return self

    def transform(self, confidence: Sequence[float], ood_score: Sequence[float] | None = None) -> np.ndarray:
        """The calibrated confidence, `[n]` in [0, 1], from the raw one `[n]`; never falls as the raw one rises."""
        return _checked(confidence)[0]

    def state_dict(self) -> dict[str, np.ndarray]:
        """The learnt arrays by name."""
        state = {name: getattr(self, name) for name in self.arrays}
        if any(value is None for value in state.values()):
            raise LeamlInputError(f"Fit the {self.kind} calibrator on labelled answers first.")
        return state

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """
        Takes the arrays of `state_dict()` back.

        Raises:
            [`LeamlInputError`]: if the names are not exactly those of `state_dict()`.
        """
        if set(state) != set(self.arrays):
            raise LeamlInputError(
                f"Save the calibrator again: it needs {sorted(self.arrays)} but got {sorted(state)}."
            )
        for name in self.arrays:
            setattr(self, name, state[name])


class _Logistic(Identity):
    """sigmoid(slope · logit(p) + shift - weight · ood), fitted with normal priors around the identity."""

    arrays = ("coefficients",)  # [3]: slope > 0, shift, weight ≥ 0
    free: tuple[bool, bool, bool]

    def __init__(self) -> None:
        self.coefficients: np.ndarray | None = None

    def _design(self, confidence: np.ndarray, ood_score: Sequence[float] | None) -> np.ndarray:
        if self.uses_ood and ood_score is None:
            raise LeamlInputError(f"Give the {self.kind} calibrator the out-of-distribution scores too.")
        ood = np.asarray(ood_score, dtype=np.float64) if self.uses_ood else np.zeros_like(confidence)
        return np.stack([_logit(confidence), np.ones_like(confidence), -ood], axis=1)  # [n, 3]

    def fit(
        self, confidence: Sequence[float], correct: Sequence[float], ood_score: Sequence[float] | None = None
    ) -> "_Logistic":
        from scipy.optimize import minimize
        from scipy.special import expit

        confidence, correct = _checked(confidence, correct)
        design = self._design(confidence, ood_score)
        free = np.array(self.free)
        centre = np.array([0.0, 0.0, _OOD_CENTER])[free]
        spread = np.array([_SLOPE_SPREAD, _SHIFT_SPREAD, _OOD_SPREAD])[free]

        def coefficients(parameters: np.ndarray) -> np.ndarray:
            values = np.array([0.0, 0.0, -np.inf])
            values[free] = parameters
            return np.array([np.exp(values[0]), values[1], np.exp(values[2])])

        def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
            weights = coefficients(parameters)
            logits = design @ weights  # [n]
            residual = expit(logits) - correct
            gradient = (residual @ design) * np.array([weights[0], 1.0, weights[2]])
            offset = (parameters - centre) / spread
            value = np.sum(np.logaddexp(0, logits) - correct * logits) + 0.5 * offset @ offset
            return float(value), gradient[free] + offset / spread

        bounds = np.array([(-4.0, 4.0), (-20.0, 20.0), (-6.0, 4.0)])[free]
        found = minimize(objective, centre, jac=True, method="L-BFGS-B", bounds=bounds)
        self.coefficients = coefficients(found.x)
        return self

    def transform(self, confidence: Sequence[float], ood_score: Sequence[float] | None = None) -> np.ndarray:
        from scipy.special import expit

        weights = self.state_dict()["coefficients"]
        return expit(self._design(_checked(confidence)[0], ood_score) @ weights)


class TemperatureScaling(_Logistic):
    """
    sigmoid(logit(p) / T), one parameter.

    Source: Guo et al., 2017 (https://arxiv.org/abs/1706.04599), here on the logit of the answer's probability and with
    a normal prior on log T (mean 0, deviation 1), so that few labels, or labels that are all right, stay harmless.
    """

    kind = "temperature"
    free = (True, False, False)

    @property
    def temperature(self) -> float:
        """T; above 1 the model was overconfident."""
        return float(1 / self.state_dict()["coefficients"][0])


class PlattScaling(_Logistic):
    """
    sigmoid(a · logit(p) + b) with a > 0, two parameters.

    Source: Platt, 1999; on logits of a probability it is beta calibration with a = b (Kull et al., 2017). Normal
    priors on log a (mean 0, deviation 1) and on b (mean 0, deviation 1.5).
    """

    kind = "platt"
    free = (True, True, False)


class PlattOODScaling(_Logistic):
    """
    sigmoid(a · logit(p) + b - c · s) with a > 0, c ≥ 0 and s the out-of-distribution score, three parameters: the
    confidence never rises with unfamiliarity. Priors as in [`PlattScaling`]; log c has mean -3 and deviation 1.
    """

    kind = "platt_ood"
    free = (True, True, True)
    uses_ood = True


class IsotonicScaling(Identity):
    """
    A rising step function, joined by straight lines; shrunk by one right and one wrong answer a step, so never 0 or 1.

    Source: Zadrozny and Elkan, 2002; the smoothing of each step by (right + 1) / (n + 2) is Laplace's.
    """

    kind = "isotonic"
    arrays = ("raw", "calibrated")

    def __init__(self) -> None:
        self.raw: np.ndarray | None = None
        self.calibrated: np.ndarray | None = None

    def fit(
        self, confidence: Sequence[float], correct: Sequence[float], ood_score: Sequence[float] | None = None
    ) -> "IsotonicScaling":
        from sklearn.isotonic import IsotonicRegression

        confidence, correct = _checked(confidence, correct)
        level = IsotonicRegression().fit(confidence, correct).predict(confidence)
        _, step, count = np.unique(level, return_inverse=True, return_counts=True)
        raw = np.bincount(step, confidence) / count
        smoothed = (np.bincount(step, correct) + 1) / (count + 2)
        # Smoothing pulls small steps harder, which can turn two of them round: put in order, weighted by their rows.
        smoothed = IsotonicRegression().fit(raw, smoothed, sample_weight=count).predict(raw)
        self.raw, self.calibrated = raw, smoothed
        return self

    def transform(self, confidence: Sequence[float], ood_score: Sequence[float] | None = None) -> np.ndarray:
        state = self.state_dict()
        return np.interp(_checked(confidence)[0], state["raw"], state["calibrated"])


Calibrator = Identity
CALIBRATORS: dict[str, type[Calibrator]] = {
    kind.kind: kind for kind in (Identity, TemperatureScaling, PlattScaling, PlattOODScaling, IsotonicScaling)
}


def fit_calibrator(
    confidence_raw: Sequence[float],
    correct: Sequence[float],
    ood_score: Sequence[float] | None = None,
    folds: int = 5,
    repeats: int = 5,
    seed: int = 0,
) -> Calibrator:
    """
    Chooses a calibrator by cross-validated negative log-likelihood and fits it on all labels.

    The candidates are, from the simplest: temperature, Platt, Platt with the out-of-distribution score (where given),
    and isotonic. The simplest is taken whose likelihood lies within one standard error (of the row-by-row difference)
    of the best. With fewer than eight labels the confidence is left as it is. With more, leaving it is no candidate of
    its own: the prior keeps the temperature near 1 where that fits, whereas a rule that prefers no change misses gross
    overconfidence with 12 to 30 labels.

    Args:
        confidence_raw (`Sequence[float]`): `[n]` raw confidences in [0, 1].
        correct (`Sequence[float]`): `[n]` zeros and ones; they must not be labels that the model was trained on.
        ood_score (`Sequence[float]`, *optional*): `[n]` out-of-distribution scores of the same rows.
        folds (`int`, *optional*, defaults to 5): folds of the cross-validation.
        repeats (`int`, *optional*, defaults to 5): how often it is repeated with other folds.
        seed (`int`, *optional*, defaults to 0): for the folds.

    Returns:
        `Calibrator`: fitted.

    Raises:
        [`LeamlInputError`]: if the inputs are not of that form.
    """
    confidence, correct = _checked(confidence_raw, correct)
    n = len(confidence)
    if n < _FEWEST_ROWS:
        return Identity()
    ood = None if ood_score is None else np.asarray(ood_score, dtype=np.float64)
    if ood is not None and (ood.shape != confidence.shape or not np.isfinite(ood).all()):
        raise LeamlInputError("Give one finite out-of-distribution score for each confidence.")
    kinds: list[type[Calibrator]] = [TemperatureScaling, PlattScaling, IsotonicScaling]
    if ood is not None:
        kinds.insert(2, PlattOODScaling)
    generator = np.random.default_rng(seed)
    losses = np.zeros((len(kinds), n))
    for _ in range(repeats):
        fold = np.empty(n, dtype=int)
        # Right and wrong answers are spread evenly over the folds.
        order = np.lexsort((generator.permutation(n), correct))
        fold[order] = np.arange(n) % min(folds, n)
        for number in np.unique(fold):
            inside, outside = fold != number, fold == number
            scores = (None, None) if ood is None else (ood[inside], ood[outside])
            for row, kind in enumerate(kinds):
                fitted = kind().fit(confidence[inside], correct[inside], scores[0])
                losses[row, outside] += _row_nll(fitted.transform(confidence[outside], scores[1]), correct[outside])
    losses /= repeats
    excess = losses - losses[np.argmin(losses.mean(axis=1))]  # [candidates, n]
    close_to_best = excess.mean(axis=1) <= excess.std(axis=1) / np.sqrt(n)
    return kinds[int(np.argmax(close_to_best))]().fit(confidence, correct, ood)


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


FALLBACK_THRESHOLD = 0.5


def choose_abstention_threshold(
    confidence: Sequence[float],
    correct: Sequence[float],
    target_risk: float = 0.05,
    confidence_level: float = 0.9,
) -> AbstentionRule:
    """
    The lowest confidence (so the highest coverage) at which the answers given are wrong at most `target_risk` of the
    time.

    Fixed-sequence testing: from the fewest rows with which the target could be shown at all (45 without a mistake, for
    5% at level 0.9), more and more rows are accepted in order of confidence, equal confidences together, as long as
    the Clopper-Pearson upper bound on the share of wrong answers stays at or below the target; the first failure ends
    it, so no correction for many tests is due. Where nothing can be shown, which is the rule with fewer than 45
    labels, the threshold falls back to 0.5 (answers more likely wrong than right are withheld) and `certified` is
    `False`.

    Args:
        confidence (`Sequence[float]`): `[n]` calibrated confidences in [0, 1].
        correct (`Sequence[float]`): `[n]` zeros and ones.
        target_risk (`float`, *optional*, defaults to 0.05): share of wrong answers among those given, in (0, 1).
        confidence_level (`float`, *optional*, defaults to 0.9): probability, over the draw of the labels, that the
            target is kept on new data of the same kind, in (0, 1).

    Returns:
        [`AbstentionRule`].

    Raises:
        [`LeamlInputError`]: if the inputs are not of that form.

    Sources: Geifman and El-Yaniv, 2017 (https://arxiv.org/abs/1705.08500); Angelopoulos et al., 2021, "Learn then
    Test" (https://arxiv.org/abs/2110.01052); Clopper and Pearson, 1934, Biometrika 26.
    """
    from scipy.stats import beta

    for name, value in (("target_risk", target_risk), ("confidence_level", confidence_level)):
        if not 0 < value < 1:
            raise LeamlInputError(f"Give `{name}` as a share strictly between 0 and 1, not {value}.")
    confidence, correct = _checked(confidence, correct)
    levels, step, count = np.unique(-confidence, return_inverse=True, return_counts=True)
    levels = -levels  # falling
    accepted = np.cumsum(count)
    errors = np.cumsum(np.bincount(step, 1 - correct, minlength=len(levels)))
    bounds = np.ones(len(levels))
    some = errors < accepted
    bounds[some] = beta.ppf(confidence_level, errors[some] + 1, (accepted - errors)[some])
    fewest = np.log1p(-confidence_level) / np.log1p(-target_risk)
    last = None
    for index in np.flatnonzero(accepted >= fewest):
        if bounds[index] > target_risk:
            break
        last = index
    if last is None:
        answered = float(np.mean(confidence >= FALLBACK_THRESHOLD))
        return AbstentionRule(FALLBACK_THRESHOLD, False, target_risk, confidence_level, answered)
    # Half-way to the next lower confidence, so that rounding cannot drop the last accepted rows.
    lower = levels[last + 1] if last + 1 < len(levels) else 0.0
    threshold = float((levels[last] + lower) / 2)
    return AbstentionRule(threshold, True, target_risk, confidence_level, float(accepted[last] / len(correct)))
