"""
Figures about answers, confidences and out-of-distribution scores; NumPy only.

Every function takes what the model said first and the truth second. `correct` is 1 where the answer was right;
`ood_labels` is 1 where the row is out of distribution, and a higher `ood_scores` means more unfamiliar.

`make metric` copies what follows the imports into `metrics/leaml_ood/leaml_ood.py`, which must stand alone.
"""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np

from ..errors import LeamlInputError


def _numbers(values: Sequence[float] | np.ndarray, name: str) -> np.ndarray:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise LeamlInputError(f"Give `{name}` as numbers.") from None


def _vector(values: Sequence[float] | np.ndarray, name: str) -> np.ndarray:
    vector = _numbers(values, name)
    if vector.ndim != 1 or vector.size == 0:
        raise LeamlInputError(f"Give `{name}` as one non-empty list of numbers (its shape is {vector.shape}).")
    if not np.isfinite(vector).all():
        raise LeamlInputError(f"Remove the rows in which `{name}` is not a finite number.")
    return vector


def _binary(values: Sequence[float] | np.ndarray, name: str) -> np.ndarray:
    vector = _vector(values, name)
    if not ((vector == 0) | (vector == 1)).all():
        raise LeamlInputError(f"Give `{name}` as zeros and ones only.")
    return vector


def _paired(said: Sequence[float], truth: Sequence[float], names: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
    left, right = _vector(said, names[0]), _binary(truth, names[1])
    if len(left) != len(right):
        raise LeamlInputError(
            f"Give `{names[0]}` and `{names[1]}` the same number of rows, not {len(left)} and {len(right)}."
        )
    return left, right


def _confidence_and_correct(confidence: Sequence[float], correct: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    confidence, correct = _paired(confidence, correct, ("confidence", "correct"))
    if confidence.min() < 0 or confidence.max() > 1:
        raise LeamlInputError("Give `confidence` as probabilities between 0 and 1.")
    return confidence, correct


def _ood_scores_and_labels(ood_scores: Sequence[float], ood_labels: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    ood_scores, ood_labels = _paired(ood_scores, ood_labels, ("ood_scores", "ood_labels"))
    if ood_labels.min() == ood_labels.max():
        raise LeamlInputError(
            "Give rows of both kinds, in distribution (label 0) and out of distribution (label 1): "
            f"all {len(ood_labels)} labels are {int(ood_labels[0])}."
        )
    return ood_scores, ood_labels


def _by_level(keys: np.ndarray, hits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and hits at each distinct key, in ascending order: two times [k]."""
    if (keys[1:] < keys[:-1]).any():  # resamples of sorted rows are in order already
        order = np.argsort(keys)
        keys, hits = keys[order], hits[order]
    last = np.flatnonzero(np.append(keys[1:] != keys[:-1], True))
    return np.diff(last, prepend=-1), np.diff(np.cumsum(hits)[last], prepend=0)


def accuracy(correct: Sequence[float] | np.ndarray) -> float:
    """Share of right answers. `correct`: zeros and ones, shape `[n]`, n ≥ 1. Returns a `float` in [0, 1]."""
    return float(_binary(correct, "correct").mean())


def wilson_interval(successes: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """
    Wilson's score interval for a share.

    Args:
        successes (`float`): how many of the `n` trials succeeded, from 0 to `n`.
        n (`int`): number of trials, at least 1.
        confidence (`float`, *optional*, defaults to 0.95): coverage of the interval, between 0 and 1.

    Returns:
        `tuple[float, float]`: lower and upper end, both in [0, 1].

    Raises:
        [`LeamlInputError`]: if `n` < 1, `successes` is outside [0, n], or `confidence` outside (0, 1).

    Source: E. B. Wilson, 1927, J. Am. Stat. Assoc. 22.
    """
    if n < 1 or not 0 <= successes <= n:
        raise LeamlInputError(f"Give at least one trial and 0 to n successes, not {successes} of {n}.")
    _check_share(confidence, "confidence")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def _check_share(value: float, name: str) -> None:
    if not 0 < value < 1:
        raise LeamlInputError(f"Give `{name}` as a share strictly between 0 and 1, not {value}.")


def bootstrap_interval(
    statistic: Callable[..., float | np.ndarray],
    *columns: Sequence[float] | np.ndarray,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float] | tuple[np.ndarray, np.ndarray]:
    """
    Percentile bootstrap interval; the columns are resampled together, row by row.

    Args:
        statistic (`Callable`): takes the resampled columns, each `[n]`, and returns a number, or several as `[m]`.
        columns (`Sequence[float]`): one or more columns of shape `[n]`, for example `confidence, correct`. A resample
            keeps their order: columns sorted by what the statistic sorts by save it the sorting.
        confidence (`float`, *optional*, defaults to 0.95): coverage of the interval.
        resamples (`int`, *optional*, defaults to 1000): how many resamples are drawn.
        seed (`int`, *optional*, defaults to 0): the same seed gives the same interval.

    Returns:
        `tuple[float, float]`: lower and upper end, each `[m]` for m numbers. Resamples for which the statistic is
        undefined (an AUROC with rows of one kind only) are left out.

    Raises:
        [`LeamlInputError`]: if the columns differ in length, or the statistic is undefined for over half the
        resamples.

    Source: Efron, 1979, Ann. Statist. 7.
    """
    arrays = [_vector(column, f"column {number}") for number, column in enumerate(columns, start=1)]
    if not arrays or len({len(array) for array in arrays}) != 1:
        raise LeamlInputError("Give at least one column, and all columns the same number of rows.")
    _check_share(confidence, "confidence")
    if resamples < 1:
        raise LeamlInputError(f"Give at least one resample, not {resamples}.")
    generator = np.random.default_rng(seed)
    n = len(arrays[0])
    values = []
    for _ in range(resamples):
        times = np.bincount(generator.integers(n, size=n), minlength=n)  # how often each row is drawn
        try:
            values.append(statistic(*(np.repeat(array, times) for array in arrays)))
        except LeamlInputError:
            continue
    if len(values) < resamples / 2:
        raise LeamlInputError(
            f"Give more rows: for over half of the resamples of these {n} the statistic is undefined."
        )
    low, high = np.quantile(values, [0.5 - confidence / 2, 0.5 + confidence / 2], axis=0)
    return (low, high) if low.ndim else (float(low), float(high))


def _binned(confidence: np.ndarray, bins: int, scheme: str) -> np.ndarray:
    """The bin of each row: `[n]` from 0 to `bins` - 1."""
    if bins < 1:
        raise LeamlInputError(f"Give at least one bin, not {bins}.")
    if scheme == "width":
        low, high = np.arange(bins) / bins, np.arange(1, bins + 1) / bins
        index = np.minimum(confidence * bins, bins - 1).astype(np.intp)  # right but for borders and rounding
        index -= (confidence <= low[index]) & (index > 0)
        index += confidence > high[index]
        return index
    if scheme == "mass":
        edges = np.quantile(confidence, np.arange(1, bins) / bins, method="inverted_cdf")
        return np.searchsorted(edges, confidence, side="left")
    raise LeamlInputError(f'Give the scheme "width" or "mass", not "{scheme}".')


def reliability_bins(
    confidence: Sequence[float], correct: Sequence[float], bins: int = 15, scheme: str = "width"
) -> dict[str, np.ndarray]:
    """
    Groups answers by confidence: what a reliability diagram shows and the ECE sums up.

    Args:
        confidence (`Sequence[float]`): `[n]` probabilities in [0, 1].
        correct (`Sequence[float]`): `[n]` zeros and ones.
        bins (`int`, *optional*, defaults to 15): number of bins, at least 1.
        scheme (`str`, *optional*, defaults to `"width"`): `"width"` for bins of equal width over [0, 1], closed on the
            right (and the first on both sides); `"mass"` for bins of about equal numbers of rows, never splitting rows
            of equal confidence.

    Returns:
        `dict[str, np.ndarray]`: `count`, `confidence` (mean) and `accuracy`, each `[b]` for the b ≤ `bins` bins that
        hold a row, in ascending order of confidence.

    Raises:
        [`LeamlInputError`]: if the inputs are not of that form.
    """
    confidence, correct = _confidence_and_correct(confidence, correct)
    index = _binned(confidence, bins, scheme)
    count = np.bincount(index, minlength=bins)
    held = count > 0
    return {
        "count": count[held],
        "confidence": np.bincount(index, confidence, minlength=bins)[held] / count[held],
        "accuracy": np.bincount(index, correct, minlength=bins)[held] / count[held],
    }


def ece(
    confidence: Sequence[float],
    correct: Sequence[float],
    bins: int = 15,
    scheme: str = "width",
    debiased: bool = False,
) -> float:
    """
    Expected calibration error: the mean gap between confidence and accuracy over bins, weighted by their rows.

    Args:
        confidence (`Sequence[float]`): `[n]` probabilities in [0, 1].
        correct (`Sequence[float]`): `[n]` zeros and ones.
        bins (`int`, *optional*, defaults to 15): number of bins.
        scheme (`str`, *optional*, defaults to `"width"`): `"width"` or `"mass"`, see [`reliability_bins`].
        debiased (`bool`, *optional*, defaults to `False`): the plain estimate is too high with few rows a bin, since
            chance alone makes gaps. This takes the expected excess off, with each bin's accuracy taken as normal with
            the variance p(1 - p)/n, and never goes below 0.

    Returns:
        `float`: in [0, 1].

    Raises:
        [`LeamlInputError`]: if the inputs are not of that form.

    Sources: Naeini et al., 2015 (AAAI); Guo et al., 2017 (https://arxiv.org/abs/1706.04599); the debiasing is Kumar et
    al., 2019 (https://arxiv.org/abs/1909.10155), with the folded normal's mean in place of their sampling.
    """
    table = reliability_bins(confidence, correct, bins, scheme)
    weight = table["count"] / table["count"].sum()
    gap = np.abs(table["accuracy"] - table["confidence"])
    plain = float(weight @ gap)
    if not debiased:
        return plain
    deviation = np.sqrt(table["accuracy"] * (1 - table["accuracy"]) / table["count"])
    expected = np.array([_folded_normal_mean(*pair) for pair in zip(gap, deviation, strict=True)])
    return max(0.0, 2 * plain - float(weight @ expected))


def classwise_ece(
    probabilities: Sequence[Sequence[float]], answers: Sequence[int], bins: int = 15, scheme: str = "width"
) -> float:
    """
    Calibration of all probabilities, and not of the likeliest answer's alone: the mean of the classes' [`ece`].

    Args:
        probabilities (`Sequence[Sequence[float]]`): `[n, C]` of C candidate answers, in [0, 1].
        answers (`Sequence[int]`): `[n]` index of the right one, from 0 to C - 1.
        bins (`int`, *optional*, defaults to 15): number of bins.
        scheme (`str`, *optional*, defaults to `"width"`): `"width"` or `"mass"`, see [`reliability_bins`].

    Returns:
        `float`: in [0, 1].

    Raises:
        [`LeamlInputError`]: if the inputs are not of that form.

    Source: Kull et al., 2019 (https://arxiv.org/abs/1910.12656).
    """
    columns, answers = _numbers(probabilities, "probabilities"), _vector(answers, "answers")
    if columns.ndim != 2 or len(columns) != len(answers):
        raise LeamlInputError(f"Give `probabilities` as [rows, candidates] for {len(answers)} rows of `answers`.")
    if not np.isin(answers, np.arange(columns.shape[1])).all():
        raise LeamlInputError(f"Give `answers` as indices from 0 to {columns.shape[1] - 1}.")
    return float(np.mean([ece(column, answers == place, bins, scheme) for place, column in enumerate(columns.T)]))


def _folded_normal_mean(mean: float, deviation: float) -> float:
    """Mean of |x| for normal x."""
    if deviation == 0:
        return abs(mean)
    z = mean / deviation
    return deviation * math.sqrt(2 / math.pi) * math.exp(-z * z / 2) + mean * math.erf(z / math.sqrt(2))


def brier(confidence: Sequence[float], correct: Sequence[float]) -> float:
    """
    Mean squared difference between confidence (`[n]`, in [0, 1]) and `correct` (`[n]`, 0 or 1): a `float` in [0, 1].

    Source: Brier, 1950, Mon. Weather Rev. 78.
    """
    confidence, correct = _confidence_and_correct(confidence, correct)
    return float(np.mean((confidence - correct) ** 2))


def brier_decomposition(
    confidence: Sequence[float], correct: Sequence[float], bins: int = 15, scheme: str = "width"
) -> dict[str, float]:
    """
    What the Brier score is made of: `reliability - resolution + uncertainty + within`, exactly.

    Args:
        confidence (`Sequence[float]`): `[n]` probabilities in [0, 1].
        correct (`Sequence[float]`): `[n]` zeros and ones.
        bins (`int`, *optional*, defaults to 15): number of bins.
        scheme (`str`, *optional*, defaults to `"width"`): `"width"` or `"mass"`, see [`reliability_bins`].

    Returns:
        `dict[str, float]`: `reliability` (squared gap between confidence and accuracy of a bin; 0 is calibrated),
        `resolution` (how far the bins' accuracies are from that of all; higher is better), `uncertainty` (of guessing
        with that alone) and `within` (what the bins hide; 0 where all confidences of a bin are equal).

    Raises:
        [`LeamlInputError`]: if the inputs are not of that form.

    Sources: Murphy, 1973, J. Appl. Meteorol. 12; `within`: Stephenson et al., 2008, Weather Forecast. 23.
    """
    table = reliability_bins(confidence, correct, bins, scheme)
    weight = table["count"] / table["count"].sum()
    base = float(weight @ table["accuracy"])
    reliability = float(weight @ (table["confidence"] - table["accuracy"]) ** 2)
    resolution = float(weight @ (table["accuracy"] - base) ** 2)
    uncertainty = base * (1 - base)
    within = brier(confidence, correct) - (reliability - resolution + uncertainty)
    return {"reliability": reliability, "resolution": resolution, "uncertainty": uncertainty, "within": within}


def nll(confidence: Sequence[float], correct: Sequence[float], epsilon: float = 1e-6) -> float:
    """
    Mean negative log-likelihood, in nats, of being right or wrong as `confidence` says.

    Args:
        confidence (`Sequence[float]`): `[n]` probabilities in [0, 1].
        correct (`Sequence[float]`): `[n]` zeros and ones.
        epsilon (`float`, *optional*, defaults to 1e-6): confidences are kept within [epsilon, 1 - epsilon], so that
            one certain mistake costs 13.8 nats and not infinity.

    Returns:
        `float`: 0 or more.

    Raises:
        [`LeamlInputError`]: if the inputs are not of that form.
    """
    confidence, correct = _confidence_and_correct(confidence, correct)
    confidence = np.clip(confidence, epsilon, 1 - epsilon)
    return float(-np.mean(correct * np.log(confidence) + (1 - correct) * np.log1p(-confidence)))


def _expected_errors(confidence: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """Expected errors among the k most confident rows, k = 1…n, with equal confidences in random order: [n]."""
    count, right = _by_level(confidence, correct)
    return np.cumsum(np.repeat(1 - right / count, count)[::-1])


def risk_coverage_curve(confidence: Sequence[float], correct: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """
    Share of wrong answers when only the most confident are given.

    Args:
        confidence (`Sequence[float]`): `[n]` probabilities in [0, 1].
        correct (`Sequence[float]`): `[n]` zeros and ones.

    Returns:
        `tuple[np.ndarray, np.ndarray]`: coverage `[n]` (1/n … 1) and risk `[n]`. Among equal confidences the risk is
        the one expected for a random order, so the order of the rows does not matter.

    Raises:
        [`LeamlInputError`]: if the inputs are not of that form.

    Source: El-Yaniv and Wiener, 2010, JMLR 11.
    """
    confidence, correct = _confidence_and_correct(confidence, correct)
    kept = np.arange(1, len(confidence) + 1)
    return kept / len(confidence), _expected_errors(confidence, correct) / kept


def aurc(confidence: Sequence[float], correct: Sequence[float]) -> float:
    """
    Area under the risk-coverage curve: the mean risk over all coverages 1/n … 1; lower is better, in [0, 1].

    Arguments and ties as in [`risk_coverage_curve`]. Source: Geifman et al., 2019 (https://arxiv.org/abs/1805.08206).
    """
    return float(risk_coverage_curve(confidence, correct)[1].mean())


def eaurc(confidence: Sequence[float], correct: Sequence[float]) -> float:
    """
    Excess AURC: the [`aurc`] less that of the best order, all right answers before all wrong ones; in [0, 1], lower is
    better, and 0 for a perfect order whatever the accuracy.

    Arguments and ties as in [`risk_coverage_curve`]. Source: Geifman et al., 2019 (https://arxiv.org/abs/1805.08206),
    with the exact best area in place of their approximation for large n.
    """
    confidence, correct = _confidence_and_correct(confidence, correct)
    wrong = np.arange(1, len(correct) - correct.sum() + 1)  # the best order's errors, once all right answers are given
    best = float((wrong / (correct.sum() + wrong)).sum() / len(correct))
    return max(0.0, aurc(confidence, correct) - best)


def coverage_at_risk(confidence: Sequence[float], correct: Sequence[float], risk: float = 0.05) -> float:
    """
    The largest share of rows that a threshold on the confidence lets through with at most a share `risk` of it wrong.

    Args:
        confidence (`Sequence[float]`): `[n]` probabilities in [0, 1].
        correct (`Sequence[float]`): `[n]` zeros and ones.
        risk (`float`, *optional*, defaults to 0.05): largest share of wrong answers among those given, in [0, 1].

    Returns:
        `float`: in [0, 1]; 0 where no threshold keeps the risk. Rows of equal confidence stay together, as a threshold
        cannot tell them apart. It is an optimistic figure: the threshold is chosen on the rows it is judged on.

    Raises:
        [`LeamlInputError`]: if the inputs are not of that form.

    Sources: Geifman and El-Yaniv, 2017 (https://arxiv.org/abs/1705.08500); for visual questions Whitehead et al., 2022
    (https://arxiv.org/abs/2204.13631).
    """
    confidence, correct = _confidence_and_correct(confidence, correct)
    if not 0 <= risk <= 1:
        raise LeamlInputError(f"Give `risk` as a share from 0 to 1, not {risk}.")
    count, right = _by_level(confidence, correct)
    given = np.cumsum(count[::-1])
    wrong = given - np.cumsum(right[::-1])
    return float(given[wrong <= risk * given + 1e-9].max(initial=0) / len(confidence))


def selective_accuracy(confidence: Sequence[float], correct: Sequence[float], coverage: float = 0.8) -> float:
    """
    Accuracy over the most confident share of the rows.

    Args:
        confidence (`Sequence[float]`): `[n]` probabilities in [0, 1].
        correct (`Sequence[float]`): `[n]` zeros and ones.
        coverage (`float`, *optional*, defaults to 0.8): share of rows to answer, in (0, 1]; rounded up to whole rows.

    Returns:
        `float`: in [0, 1]; with ties at the border, the value expected for a random order.

    Raises:
        [`LeamlInputError`]: if the inputs are not of that form.
    """
    confidence, correct = _confidence_and_correct(confidence, correct)
    if not 0 < coverage <= 1:
        raise LeamlInputError(f"Give `coverage` as a share above 0 and up to 1, not {coverage}.")
    kept = int(np.ceil(coverage * len(confidence) - 1e-9))
    return float(1 - _expected_errors(confidence, correct)[kept - 1] / kept)


def auroc(ood_scores: Sequence[float], ood_labels: Sequence[int]) -> float:
    """
    Chance that an out-of-distribution row scores higher than an in-distribution one; ties count half.

    Args:
        ood_scores (`Sequence[float]`): `[n]`, higher = more unfamiliar.
        ood_labels (`Sequence[int]`): `[n]`, 1 = out of distribution; both kinds must occur.

    Returns:
        `float`: in [0, 1]; 0.5 is chance.

    Raises:
        [`LeamlInputError`]: if the inputs are not of that form or hold one kind of row only.
    """
    count, outside = _by_level(*_ood_scores_and_labels(ood_scores, ood_labels))
    inside = count - outside
    wins = outside @ (np.cumsum(inside) - inside / 2)  # pairs that are in the right order
    return float(wins / (inside.sum() * outside.sum()))


def _check_positive(positive: str) -> None:
    if positive not in ("in", "out"):
        raise LeamlInputError(f'Give `positive` as "in" or "out", not "{positive}".')


def auprc(ood_scores: Sequence[float], ood_labels: Sequence[int], positive: str = "out") -> float:
    """
    Average precision of finding the rows of one kind.

    Args:
        ood_scores (`Sequence[float]`): `[n]`, higher = more unfamiliar.
        ood_labels (`Sequence[int]`): `[n]`, 1 = out of distribution; both kinds must occur.
        positive (`str`, *optional*, defaults to `"out"`): the kind to find: `"out"` for out-of-distribution rows
            ("AUPR-Out"), `"in"` for the others, by low scores ("AUPR-In").

    Returns:
        `float`: in [0, 1]; chance is the share of the rows to find, so figures from sets of other proportions cannot
        be compared.

    Raises:
        [`LeamlInputError`]: if the inputs are not of that form or hold one kind of row only.
    """
    _check_positive(positive)
    count, found = _by_level(*_ood_scores_and_labels(ood_scores, ood_labels))
    if positive == "out":
        count, found = count[::-1], found[::-1]
    else:
        found = count - found
    return float(found @ (np.cumsum(found) / np.cumsum(count)) / found.sum())


def fpr_at_tpr(
    ood_scores: Sequence[float], ood_labels: Sequence[int], tpr: float = 0.95, positive: str = "in"
) -> float:
    """
    FPR95 and its like; by default **in-distribution rows are the positive class**, as in most papers.

    The threshold is the lowest score at or below which at least `tpr` of the in-distribution rows lie (they are
    accepted as familiar); the result is the share of out-of-distribution rows at or below it, that is, wrongly
    accepted as familiar. Rows that tie with the threshold are accepted. With `positive="out"` it is the other way
    round: the share of in-distribution rows flagged where `tpr` of the others are, a different figure (OpenOOD's).

    Args:
        ood_scores (`Sequence[float]`): `[n]`, higher = more unfamiliar.
        ood_labels (`Sequence[int]`): `[n]`, 1 = out of distribution; both kinds must occur.
        tpr (`float`, *optional*, defaults to 0.95): share of the positive rows to keep, in (0, 1].
        positive (`str`, *optional*, defaults to `"in"`): the positive class, `"in"` or `"out"`.

    Returns:
        `float`: in [0, 1]; lower is better.

    Raises:
        [`LeamlInputError`]: if the inputs are not of that form or hold one kind of row only.

    Source of the default convention: Liu et al., 2020 (https://arxiv.org/abs/2010.03759).
    """
    _check_positive(positive)
    ood_scores, ood_labels = _ood_scores_and_labels(ood_scores, ood_labels)
    if not 0 < tpr <= 1:
        raise LeamlInputError(f"Give `tpr` as a share above 0 and up to 1, not {tpr}.")
    wanted, others = ood_scores[ood_labels == 0], ood_scores[ood_labels == 1]
    if positive == "out":
        wanted, others = -others, -wanted
    place = math.ceil(tpr * len(wanted) - 1e-9) - 1
    return float(np.mean(others <= np.partition(wanted, place)[place]))
