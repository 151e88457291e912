"""
Turning a raw confidence into the probability of being right, with as few as tens of labels.

The raw confidence is the model's probability of its whole answer (the product over its tokens), in [0, 1].
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import LeamlInputError

_EPSILON = 1e-6
# Normal priors around "unchanged": spread of the logarithm of a slope, and of a shift in logits. The weight of the
# out-of-distribution score has its centre at e^-3 logits a standard deviation, next to nothing.
_SLOPE_SPREAD, _SHIFT_SPREAD, _OOD_CENTER, _OOD_SPREAD = 1.0, 1.5, -3.0, 1.0
_PROGRAM_SPREAD = 0.5  # of a program's log slope around that of all
_FEWEST_ROWS = 8


def _logit(confidence: np.ndarray) -> np.ndarray:
    confidence = np.clip(confidence, _EPSILON, 1 - _EPSILON)
    return np.log(confidence) - np.log1p(-confidence)


def _row_nll(probability: np.ndarray, correct: np.ndarray) -> np.ndarray:
    probability = np.clip(probability, _EPSILON, 1 - _EPSILON)
    return -np.where(correct == 1, np.log(probability), np.log1p(-probability))


def checked_confidence(
    confidence: Sequence[float], correct: Sequence[float] | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Both as float64 `[n]`; [`LeamlInputError`] where they are no probabilities, or no zeros and ones."""
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


def temper(confidence: np.ndarray, excess: np.ndarray, strength: float = 1.5) -> np.ndarray:
    """
    Confidence of answers about what is unfamiliar, where models are too sure: sigmoid(logit(p) / T) with
    T = 1 + strength · log(1 + excess) for p above one half; all else stays. It never rises with unfamiliarity, keeps
    the order of equally unfamiliar rows, and needs no unfamiliar example.

    After density-aware calibration, whose temperature rises with the distance from familiar states: Tomani et al.,
    2023 (https://arxiv.org/abs/2302.05118), here of one constant shape, for labels tell nothing of what lies beyond.
    Shape and strength were chosen with `leaml-smol`, on blurred, noisy or otherwise spoilt pictures of its own domains
    and on validation rows (docs/log.md).

    Args:
        confidence (`np.ndarray`): `[n]` in [0, 1].
        excess (`np.ndarray`): `[n]` how unfamiliar rows are, see [`~ood.OODCombiner.excess`]; 0 or less for familiar
            ones.
        strength (`float`, *optional*, defaults to 1.5): how fast the temperature rises, 0 or more.

    Returns:
        `np.ndarray`: `[n]` in [0, 1].
    """
    from scipy.special import expit

    temperature = 1 + strength * np.log1p(np.maximum(excess, 0))
    return np.where((temperature > 1) & (confidence > 0.5), expit(_logit(confidence) / temperature), confidence)


class Identity:
    """Leaves the confidence as it is; what is used when there are too few labels to learn anything from."""

    kind = "identity"
    arrays: tuple[str, ...] = ()
    uses_ood = False
    uses_programs = False

    def __init__(self) -> None:
        for name in self.arrays:
            setattr(self, name, None)

    def config(self) -> dict[str, Any]:
        """`kind`, and what `__init__` needs to make the same calibrator again (JSON types only)."""
        return {"kind": self.kind}

    def fit(
        self,
        confidence: Sequence[float],
        correct: Sequence[float],
        ood_score: Sequence[float] | None = None,
        programs: Sequence[str] | None = None,
    ) -> "Identity":
        """
        Learns from labelled answers.

        Args:
            confidence (`Sequence[float]`): `[n]` raw confidences in [0, 1].
            correct (`Sequence[float]`): `[n]` zeros and ones.
            ood_score (`Sequence[float]`, *optional*): `[n]`, in standard deviations; needed where `uses_ood`.
            programs (`Sequence[str]`, *optional*): `[n]` kinds of questions; needed where `uses_programs`.

        Raises:
            [`LeamlInputError`]: if the inputs are not of that form.
        """
        confidence, correct = checked_confidence(confidence, correct)
        self._learn(confidence, correct, *self._side_columns(len(confidence), ood_score, programs))
        return self

    def transform(
        self,
        confidence: Sequence[float],
        ood_score: Sequence[float] | None = None,
        programs: Sequence[str] | None = None,
    ) -> np.ndarray:
        """The calibrated confidence, `[n]` in [0, 1], from the raw one `[n]`; never falls as the raw one rises, all
        else equal. Arguments as in `fit`."""
        self.state_dict()
        confidence = checked_confidence(confidence)[0]
        return self._mapped(confidence, *self._side_columns(len(confidence), ood_score, programs))

    def _side_columns(
        self, rows: int, ood_score: Sequence[float] | None, programs: Sequence[str] | None
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """What it uses beside the confidence; the rest is `None`."""
        needed = (
            ("out-of-distribution score", ood_score, np.float64, self.uses_ood),
            ("program", programs, str, self.uses_programs),
        )
        for name, column, _, used in needed:
            if used and (column is None or len(column) != rows):
                raise LeamlInputError(f"Give the {self.kind} calibrator one {name} for each confidence.")
        return tuple(np.asarray(column, dtype=kind) if used else None for _, column, kind, used in needed)

    def _learn(
        self, confidence: np.ndarray, correct: np.ndarray, ood: np.ndarray | None, programs: np.ndarray | None
    ) -> None:
        """Learns from `[n]` columns in the form that `fit` asks for."""

    def _mapped(self, confidence: np.ndarray, ood: np.ndarray | None, programs: np.ndarray | None) -> np.ndarray:
        """Calibrated confidences `[n]` from `[n]` columns."""
        return confidence

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
    """
    sigmoid of a weighted sum, here slope · logit(p) + shift - weight · ood, fitted with normal priors around the
    identity. A weight is e to the power of its parameter where it must be `positive`, and stays at `fixed` where it is
    not `free`.
    """

    arrays = ("coefficients",)  # [3]
    positive: tuple[bool, ...] = (True, False, True)
    fixed: tuple[float, ...] = (1.0, 0.0, 0.0)
    centre: tuple[float, ...] = (0.0, 0.0, _OOD_CENTER)
    spread: tuple[float, ...] = (_SLOPE_SPREAD, _SHIFT_SPREAD, _OOD_SPREAD)
    free: tuple[bool, ...]

    def _design(self, confidence: np.ndarray, ood: np.ndarray | None) -> np.ndarray:
        unfamiliar = -ood if self.uses_ood else np.zeros_like(confidence)
        return np.stack([_logit(confidence), np.ones_like(confidence), unfamiliar], axis=1)  # [n, 3]

    def _learn(
        self, confidence: np.ndarray, correct: np.ndarray, ood: np.ndarray | None, programs: np.ndarray | None
    ) -> None:
        self.coefficients = self._fit_weights(self._design(confidence, ood), correct)

    def _fit_weights(
        self, design: np.ndarray, correct: np.ndarray, centre: Sequence[float] | None = None,
        spread: float | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Weights `[3]` of `design` `[n, 3]`; the prior is the class's own but for what is given."""
        from scipy.optimize import minimize
        from scipy.special import expit

        free, positive = np.array(self.free), np.array(self.positive)
        centres = np.array(self.centre if centre is None else centre)[free]
        spreads = np.array(self.spread)[free] if spread is None else spread

        def weights_of(parameters: np.ndarray) -> np.ndarray:
            weights = np.array(self.fixed)
            weights[free] = np.where(positive[free], np.exp(parameters), parameters)
            return weights

        def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
            weights = weights_of(parameters)
            logits = design @ weights  # [n]
            gradient = (expit(logits) - correct) @ design * np.where(positive, weights, 1.0)
            offset = (parameters - centres) / spreads
            value = np.sum(np.logaddexp(0, logits) - correct * logits) + 0.5 * offset @ offset
            return float(value), gradient[free] + offset / spreads

        bounds = np.where(positive[free, None], (-6.0, 4.0), (-20.0, 20.0))
        return weights_of(minimize(objective, centres, jac=True, method="L-BFGS-B", bounds=bounds).x)

    def _mapped(self, confidence: np.ndarray, ood: np.ndarray | None, programs: np.ndarray | None) -> np.ndarray:
        from scipy.special import expit

        return expit(self._design(confidence, ood) @ self.coefficients)


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


class ProgramTemperatureScaling(TemperatureScaling):
    """
    sigmoid(logit(p) / T), with a T for each program (kind of question), drawn towards that of all programs.

    log T of a program has a normal prior around the global one (deviation 0.5), so a program with few labels stays
    near it, and one that was not seen has it. A partially pooled (hierarchical) form of [`TemperatureScaling`], in two
    steps: the global one first.

    Args:
        programs (`Sequence[str]`, *optional*): the programs that were seen, in the order of `slopes`.
    """

    kind = "program_temperature"
    arrays = ("coefficients", "slopes")  # [3], [P]
    uses_programs = True

    def __init__(self, programs: Sequence[str] = ()) -> None:
        super().__init__()
        self.programs = tuple(programs)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "programs": list(self.programs)}

    def _learn(
        self, confidence: np.ndarray, correct: np.ndarray, ood: np.ndarray | None, programs: np.ndarray | None
    ) -> None:
        super()._learn(confidence, correct, ood, programs)
        design, centre = self._design(confidence, ood), (np.log(self.coefficients[0]), 0.0, 0.0)
        self.programs = tuple(np.unique(programs).tolist())
        rows = [programs == program for program in self.programs]
        fitted = [self._fit_weights(design[own], correct[own], centre, _PROGRAM_SPREAD) for own in rows]
        self.slopes = np.array([weights[0] for weights in fitted])

    def _mapped(self, confidence: np.ndarray, ood: np.ndarray | None, programs: np.ndarray | None) -> np.ndarray:
        from scipy.special import expit

        slopes = dict(zip(self.programs, self.slopes, strict=True))
        own = np.array([slopes.get(program, self.coefficients[0]) for program in programs.tolist()])
        return expit(own * _logit(confidence))


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


class BetaScaling(_Logistic):
    """
    sigmoid(a · log p - b · log(1 - p) + c) with a, b > 0, three parameters.

    Source: Kull et al., 2017, "Beta calibration" (AISTATS), here with normal priors on log a and log b (mean 0,
    deviation 1) and on c (mean 0, deviation 1.5).
    """

    kind = "beta"
    free = (True, True, True)
    positive = (True, True, False)
    centre = (0.0, 0.0, 0.0)
    spread = (_SLOPE_SPREAD, _SLOPE_SPREAD, _SHIFT_SPREAD)

    def _design(self, confidence: np.ndarray, ood: np.ndarray | None) -> np.ndarray:
        confidence = np.clip(confidence, _EPSILON, 1 - _EPSILON)
        return np.stack([np.log(confidence), -np.log1p(-confidence), np.ones_like(confidence)], axis=1)  # [n, 3]


class HistogramBinning(Identity):
    """
    One value a bin: (right + 1) / (rows + 2), Laplace's, of the labelled answers there.

    Up to ten bins of about equal numbers of rows, of eight or more each. Neighbouring bins whose values do not rise
    share their mean, so that a higher raw confidence never gives a lower calibrated one.

    Source: Zadrozny and Elkan, 2001 (ICML).
    """

    kind = "histogram"
    arrays = ("edges", "calibrated")  # [b - 1], [b]

    def _learn(
        self, confidence: np.ndarray, correct: np.ndarray, ood: np.ndarray | None, programs: np.ndarray | None
    ) -> None:
        from sklearn.isotonic import IsotonicRegression

        bins = int(np.clip(len(confidence) // 8, 1, 10))
        edges = np.unique(np.quantile(confidence, np.arange(1, bins) / bins, method="inverted_cdf"))
        place = np.searchsorted(edges, confidence, side="left")
        count = np.bincount(place, minlength=len(edges) + 1)
        value = (np.bincount(place, correct, minlength=len(edges) + 1) + 1) / (count + 2)
        self.edges = edges
        # The highest bin is empty where the last edge is the largest confidence.
        self.calibrated = IsotonicRegression().fit_transform(np.arange(len(value)), value, sample_weight=count + 1e-9)
        return self

    def _mapped(self, confidence: np.ndarray, ood: np.ndarray | None, programs: np.ndarray | None) -> np.ndarray:
        return self.calibrated[np.searchsorted(self.edges, confidence, side="left")]


class IsotonicScaling(Identity):
    """
    A rising step function, joined by straight lines; shrunk by one right and one wrong answer a step, so never 0 or 1.

    Source: Zadrozny and Elkan, 2002; the smoothing of each step by (right + 1) / (n + 2) is Laplace's.
    """

    kind = "isotonic"
    arrays = ("raw", "calibrated")  # [s], [s]

    def _learn(
        self, confidence: np.ndarray, correct: np.ndarray, ood: np.ndarray | None, programs: np.ndarray | None
    ) -> None:
        from sklearn.isotonic import IsotonicRegression

        level = IsotonicRegression().fit(confidence, correct).predict(confidence)
        _, step, count = np.unique(level, return_inverse=True, return_counts=True)
        raw = np.bincount(step, confidence) / count
        smoothed = (np.bincount(step, correct) + 1) / (count + 2)
        # Smoothing pulls small steps harder, which can turn two of them round: put in order, weighted by their rows.
        smoothed = IsotonicRegression().fit(raw, smoothed, sample_weight=count).predict(raw)
        self.raw, self.calibrated = raw, smoothed

    def _mapped(self, confidence: np.ndarray, ood: np.ndarray | None, programs: np.ndarray | None) -> np.ndarray:
        return np.interp(confidence, self.raw, self.calibrated)


Calibrator = Identity
# From the simplest to the one that takes the most labels: the order in which fit_calibrator prefers them.
_KINDS: tuple[type[Calibrator], ...] = (
    Identity, TemperatureScaling, ProgramTemperatureScaling, PlattScaling, PlattOODScaling, BetaScaling,
    HistogramBinning, IsotonicScaling,
)  # fmt: skip
CALIBRATORS: dict[str, type[Calibrator]] = {kind.kind: kind for kind in _KINDS}


def fit_calibrator(
    confidence_raw: Sequence[float],
    correct: Sequence[float],
    ood_score: Sequence[float] | None = None,
    folds: int = 5,
    repeats: int = 5,
    seed: int = 0,
    programs: Sequence[str] | None = None,
    earlier: tuple[Sequence[float], Sequence[float], Sequence[float] | None] | None = None,
) -> Calibrator:
    """
    Chooses a calibrator by cross-validated negative log-likelihood and fits it on all labels.

    The candidates are, from the simplest: temperature, one by program (where programs are given), Platt, Platt with
    the out-of-distribution score (where given), beta, histogram and isotonic. The simplest is taken whose likelihood
    lies within one standard error (of the row-by-row difference) of the best. With fewer than eight labels the
    confidence is left as it is. With more, leaving it is no candidate of its own: the prior keeps the temperature near
    1 where that fits, whereas a rule that prefers no change misses gross overconfidence with 12 to 30 labels.

    Labels that the model was trained on say nothing of how sure it is, but what it answered there before may: if a
    calibrator fitted on those earlier answers makes these ones as likely as one of the same kind that was
    cross-validated on them, within one standard error, it is fitted on both together.

    Args:
        confidence_raw (`Sequence[float]`): `[n]` raw confidences in [0, 1].
        correct (`Sequence[float]`): `[n]` zeros and ones; they must not be labels that the model was trained on.
        ood_score (`Sequence[float]`, *optional*): `[n]` out-of-distribution scores of the same rows.
        folds (`int`, *optional*, defaults to 5): folds of the cross-validation.
        repeats (`int`, *optional*, defaults to 5): how often it is repeated with other folds.
        seed (`int`, *optional*, defaults to 0): for the folds.
        programs (`Sequence[str]`, *optional*): `[n]` kinds of questions; they must be known for new answers too.
        earlier (`tuple`, *optional*): raw confidences `[m]`, correct `[m]` and out-of-distribution scores `[m]` (or
            `None`, as `ood_score`) of answers to other labels, that the model gave before it was trained on them;
            not together with `programs`.

    Returns:
        `Calibrator`: fitted.

    Raises:
        [`LeamlInputError`]: if the inputs are not of that form.
    """
    confidence, correct = checked_confidence(confidence_raw, correct)
    n = len(confidence)
    if n < _FEWEST_ROWS:
        return Identity()
    ood = None if ood_score is None else np.asarray(ood_score, dtype=np.float64)
    if ood is not None and (ood.shape != confidence.shape or not np.isfinite(ood).all()):
        raise LeamlInputError("Give one finite out-of-distribution score for each confidence.")
    if programs is not None and len(programs) != n:
        raise LeamlInputError("Give one program for each confidence.")
    names = None if programs is None else np.asarray(programs, dtype=str)
    kinds = [kind for kind in _KINDS[1:]
             if (ood is not None or not kind.uses_ood) and (names is not None or not kind.uses_programs)]  # fmt: skip
    losses = _cross_validated(kinds, confidence, correct, ood, names, folds, repeats, seed)
    excess = losses - losses[np.argmin(losses.mean(axis=1))]  # [candidates, n]
    chosen = int(np.argmax(excess.mean(axis=1) <= _standard_error(excess)))
    if earlier is not None and len(earlier[0]) >= _FEWEST_ROWS:
        if names is not None:
            raise LeamlInputError("Give programs or earlier answers, not both.")
        before = fit_calibrator(*earlier, folds, repeats, seed)
        worse = _row_nll(before.transform(confidence, ood), correct) - losses[kinds.index(type(before))]
        if worse.mean() <= _standard_error(worse):
            columns = zip((confidence, correct, ood), earlier, strict=True)
            both = [None if now is None else np.concatenate([now, then]) for now, then in columns]
            return fit_calibrator(*both, folds, repeats, seed)
    return kinds[chosen]().fit(confidence, correct, ood, names)


def _standard_error(rows: np.ndarray) -> np.ndarray:
    return rows.std(axis=-1) / np.sqrt(rows.shape[-1])


def _cross_validated(
    kinds: Sequence[type[Calibrator]],
    confidence: np.ndarray,
    correct: np.ndarray,
    ood: np.ndarray | None,
    names: np.ndarray | None,
    folds: int,
    repeats: int,
    seed: int,
) -> np.ndarray:
    """Negative log-likelihoods `[kinds, n]` of rows by calibrators fitted without them, mean over repeats."""
    generator, n = np.random.default_rng(seed), len(confidence)
    losses = np.zeros((len(kinds), n))
    for _ in range(repeats):
        fold = np.empty(n, dtype=int)
        # Right and wrong answers are spread evenly over the folds.
        order = np.lexsort((generator.permutation(n), correct))
        fold[order] = np.arange(n) % min(folds, n)
        for number in np.unique(fold):
            inside, outside = fold != number, fold == number
            known, asked = ([None if column is None else column[rows] for column in (ood, names)]
                            for rows in (inside, outside))  # fmt: skip
            for row, kind in enumerate(kinds):
                fitted = kind().fit(confidence[inside], correct[inside], *known)
                losses[row, outside] += _row_nll(fitted.transform(confidence[outside], *asked), correct[outside])
    return losses / repeats
