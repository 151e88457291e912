"""Does a model know when it doesn't know? Accuracy, calibration, abstention and out-of-distribution scores.

Pure functions on NumPy arrays, and at the end an `evaluate.Metric` over them. This one file is the whole module.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from statistics import NormalDist
from typing import Any

import datasets
import evaluate
import numpy as np


class LeamlInputError(ValueError):
    """Bad input, or a figure that is undefined for it; the message says what to change."""


# ---- written by metrics/update.py from leaml_hf.evaluation: change it there ----

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NUMBER_WORDS = {word: str(value) for value, word in enumerate(_NUMBERS)}
_DASHES = str.maketrans({"\u2212": "-", "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-"})
_PUNCTUATION = r"""\s,;:!?'"`*_()\[\]{}\u2018\u2019\u201c\u201d\u201e\u2026"""
_LEADING = re.compile(rf"^(?:[{_PUNCTUATION}]|\.(?![0-9]))+")
_TRAILING = re.compile(rf"[.{_PUNCTUATION}]+$")
# "a" is also a common label: it is an article only before a word of two letters or more, and never in "a and b".
_ARTICLE = re.compile(r"(?<!\S)(?:(?:an|the)\s+(?=\w)|a\s+(?!(?:and|or)\b)(?=\w\w))")
_PERCENT = re.compile(r"(?<=[0-9])\s*(?:%|percent\b|per cent\b)")
_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+"
_TOKEN = re.compile(rf"(?P<sign>[-+]?)(?P<currency>[$€£¥]?)(?P<digits>{_DIGITS})(?P<rest>%?[,;:)]*)")
_WORD = re.compile(rf"\b(?:{'|'.join(_NUMBER_WORDS)})\b")


def _canonical_token(token: str) -> str:
    match = _TOKEN.fullmatch(token)
    if match is None:
        return token
    digits = format(Decimal(match["digits"].replace(",", "")), "f")
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    sign = "-" if match["sign"] == "-" and digits.strip("0.") else ""
    return f"{sign}{match['currency']}{digits}{match['rest']}"


def normalize_answer(text: str) -> str:
    """
    Brings an answer to the one form in which answers are compared.

    Case, spaces, articles before a word, and punctuation at both ends do not count; neither does the way a number is
    written: `"1,000"` is `"1000"`, `"3.0"` is `"3"`, `"12 %"` and `"12 percent"` are `"12%"`, `"three"` is `"3"` (zero
    to twelve, as whole words). Text that would vanish altogether, such as a lone `"?"`, is kept.

    Args:
        text (`str`): the answer as written by a person or a model.

    Returns:
        `str`: the normal form; normalising it again changes nothing.
    """
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).translate(_DASHES)
    kept = " ".join(text.split())
    while True:
        before = kept
        stripped = _TRAILING.sub("", _LEADING.sub("", kept))
        if not stripped:
            return kept
        stripped = _ARTICLE.sub("", stripped)
        stripped = _WORD.sub(lambda match: _NUMBER_WORDS[match[0]], stripped)
        stripped = _PERCENT.sub("%", stripped)
        kept = " ".join(_canonical_token(token) for token in stripped.split())
        if kept == before:
            return kept


def _to_number(normalized: str) -> float | None:
    match = _TOKEN.fullmatch(normalized)
    if match is None or match["rest"] not in ("", "%"):
        return None
    value = float(match["sign"] + match["digits"].replace(",", ""))
    return value / 100 if match["rest"] else value


def answers_match(prediction: str, reference: str, tolerance: float | None = None) -> bool:
    """
    Whether a predicted answer counts as right.

    Args:
        prediction (`str`): the model's answer.
        reference (`str`): the true answer.
        tolerance (`float`, *optional*): the largest relative error a number may have, such as 0.05. Without it numbers
            must be equal. As in ChartQA, `"12%"` stands for 0.12, and a reference of zero is matched by zero alone.

    Returns:
        `bool`: `True` where the normal forms are equal, or both are numbers within the tolerance.

    Raises:
        [`LeamlInputError`]: if the tolerance is negative.

    The rule for numbers is "relaxed accuracy" of ChartQA (Masry et al., 2022, https://arxiv.org/abs/2203.10244), after
    PlotQA (Methani et al., 2020).
    """
    if tolerance is not None and not tolerance >= 0:
        raise LeamlInputError(f"The tolerance must be zero or more, for example 0.05, but it is {tolerance}.")
    predicted, expected = normalize_answer(prediction), normalize_answer(reference)
    if predicted == expected:
        return True
    if tolerance is None:
        return False
    value, target = _to_number(predicted), _to_number(expected)
    if value is None or target is None or target == 0:
        return False
    return abs(value - target) <= tolerance * abs(target)


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


# ---- end of what metrics/update.py writes ----

RISKS = (0.01, 0.05)
INPUTS = ("predictions", "references", "confidences", "ood_scores", "ood_labels")

_DESCRIPTION = """
Figures for models that answer, say how sure they are, and say how unfamiliar an input is: accuracy (with ChartQA's
tolerance for numbers on request), calibration (ECE with bins of equal width, of equal mass, and debiased; Brier score;
negative log-likelihood), abstention (AURC, E-AURC, coverage at a given risk) and out-of-distribution detection (AUROC,
AUPRC, FPR at a given TPR), each with a bootstrap interval on request.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (`list`): answers as texts or whole numbers; or what a pipeline or model gives, each with a text
        (`text`, `answer`, `generated_text` or `prediction_text`) and, where there is one, a confidence (`confidence`
        or `score`) and an `ood_score`.
    references (`list`): true answers as texts or whole numbers.
    confidences (`list[float]`): probability in [0, 1] that the prediction is right.
    ood_scores (`list[float]`): higher = more unfamiliar.
    ood_labels (`list[int]`): 1 = out of distribution, 0 = in distribution.
    tolerance (`float`, *optional*): relative error that numbers may have; 0.05 is ChartQA's relaxed accuracy.
    bins (`int`, *optional*, defaults to 15): bins of the calibration errors.
    tpr (`float`, *optional*, defaults to 0.95): share of in-distribution rows accepted, for `fpr_at_tpr`.
    risks (`Sequence[float]`, *optional*, defaults to `(0.01, 0.05)`): wrong answers allowed for `coverage_at_risk_…`.
    resamples (`int`, *optional*, defaults to 0): bootstrap resamples; above 0 each figure gets an interval.
    confidence_level (`float`, *optional*, defaults to 0.95): coverage of the intervals.
    seed (`int`, *optional*, defaults to 0): of the resamples.

Returns:
    `dict[str, float]`: of predictions and references `accuracy`; with confidences also `ece`, `ece_mass`,
    `ece_debiased`, `brier`, `nll`, `aurc`, `eaurc`, `coverage_at_risk_0.01`, `coverage_at_risk_0.05`; of OOD scores
    and labels `auroc`, `auprc` (out-of-distribution rows to be found), `auprc_in`, `fpr_at_tpr` (in-distribution rows
    are positive). Inputs left out leave their figures out. With `resamples`, `accuracy_ci` and so on as `[low, high]`.

Raises:
    `ValueError`: where an input is missing, empty or not finite, or a figure is undefined (AUROC of one kind of rows).

Examples:
    >>> metric = evaluate.load("metrics/leaml_ood")
    >>> metric.compute(predictions=["12", "red"], references=["12.5", "red"], tolerance=0.05)
    {'accuracy': 1.0}
    >>> metric.compute(ood_scores=[0.1, 0.4, 0.35, 0.8], ood_labels=[0, 0, 1, 1])["auroc"]
    0.75
"""

_CITATION = """\
@article{guo2017calibration, title={On Calibration of Modern Neural Networks}, author={Guo, Chuan and others},
journal={arXiv:1706.04599}, year={2017}}
@article{kumar2019verified, title={Verified Uncertainty Calibration}, author={Kumar, Ananya and others},
journal={arXiv:1909.10155}, year={2019}}
@article{geifman2018bias, title={Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers},
author={Geifman, Yonatan and others}, journal={arXiv:1805.08206}, year={2018}}
@article{liu2020energy, title={Energy-based Out-of-distribution Detection}, author={Liu, Weitang and others},
journal={arXiv:2010.03759}, year={2020}}
"""


def answer_figures(
    correct: Sequence[float] | np.ndarray,
    confidences: Sequence[float] | np.ndarray | None = None,
    bins: int = 15,
    risks: Sequence[float] = RISKS,
) -> dict[str, float]:
    """
    Figures about answers.

    Args:
        correct (`Sequence[float]`): `[n]` zeros and ones.
        confidences (`Sequence[float]`, *optional*): `[n]` probabilities in [0, 1]; without them accuracy is all.
        bins (`int`, *optional*, defaults to 15): bins of the calibration errors.
        risks (`Sequence[float]`, *optional*, defaults to `(0.01, 0.05)`): wrong answers allowed for
            `coverage_at_risk_…`.

    Returns:
        `dict[str, float]`: see [`LeamlOod`].
    """
    if confidences is None:
        return {"accuracy": accuracy(correct)}
    pair = confidences, correct
    return {
        "accuracy": accuracy(correct),
        "ece": ece(*pair, bins),
        "ece_mass": ece(*pair, bins, scheme="mass"),
        "ece_debiased": ece(*pair, bins, debiased=True),
        "brier": brier(*pair),
        "nll": nll(*pair),
        "aurc": aurc(*pair),
        "eaurc": eaurc(*pair),
    } | {f"coverage_at_risk_{risk:g}": coverage_at_risk(*pair, risk) for risk in risks}


def ood_figures(
    ood_scores: Sequence[float] | np.ndarray, ood_labels: Sequence[int] | np.ndarray, tpr: float = 0.95
) -> dict[str, float]:
    """
    Figures about out-of-distribution scores.

    Args:
        ood_scores (`Sequence[float]`): `[n]`, higher = more unfamiliar.
        ood_labels (`Sequence[int]`): `[n]`, 1 = out of distribution; both kinds must occur.
        tpr (`float`, *optional*, defaults to 0.95): share of in-distribution rows accepted, for `fpr_at_tpr`.

    Returns:
        `dict[str, float]`: see [`LeamlOod`].
    """
    return {
        "auroc": auroc(ood_scores, ood_labels),
        "auprc": auprc(ood_scores, ood_labels),
        "auprc_in": auprc(ood_scores, ood_labels, positive="in"),
        "fpr_at_tpr": fpr_at_tpr(ood_scores, ood_labels, tpr),
    }


def _with_intervals(
    figures: Callable[..., dict[str, float]],
    keys: np.ndarray,
    truth: np.ndarray,
    resamples: int,
    confidence_level: float,
    seed: int,
) -> dict[str, Any]:
    """The figures of two columns and, for `resamples` > 0, their intervals."""
    order = np.argsort(keys)  # in order once, so that no figure and no resample has to sort
    columns = keys[order], truth[order]
    results = figures(*columns)
    if not resamples:
        return results
    low, high = bootstrap_interval(
        lambda *drawn: np.array(list(figures(*drawn).values())),
        *columns,
        confidence=confidence_level,
        resamples=resamples,
        seed=seed,
    )
    return results | {f"{name}_ci": [float(a), float(b)] for name, a, b in zip(results, low, high, strict=True)}


def _is_whole(column: Any) -> bool:
    return isinstance(column, np.ndarray) and column.dtype.kind in "biu"


def judge_answers(predictions: Sequence[Any], references: Sequence[Any], tolerance: float | None = None) -> np.ndarray:
    """
    Which predictions are right.

    Args:
        predictions (`Sequence`): n texts or numbers; arrays of whole numbers are compared without a detour by text.
        references (`Sequence`): n texts or numbers.
        tolerance (`float`, *optional*): relative error that numbers may have, see [`answers_match`].

    Returns:
        `np.ndarray`: `[n]` bool.
    """
    if _is_whole(predictions) and _is_whole(references):
        answers_match("", "", tolerance)  # refuses a tolerance below zero
        right = predictions == references
        if tolerance:
            expected = references.astype(np.float64)
            right |= np.abs(predictions - expected) <= tolerance * np.abs(expected)
        return right
    pairs = list(zip(map(_text, predictions), map(_text, references), strict=True))
    known = {pair: answers_match(*pair, tolerance) for pair in set(pairs)}
    return np.array([known[pair] for pair in pairs], dtype=bool)


def _text(answer: Any) -> str:
    if isinstance(answer, str):
        return answer
    if isinstance(answer, bool | int | np.bool_ | np.integer):
        return str(int(answer))
    if isinstance(answer, float | np.floating) and math.isfinite(answer):
        return np.format_float_positional(answer, trim="-")
    raise LeamlInputError(f"Give each answer as a text or a finite number, not {answer!r}.")


def _field(answer: Any, *names: str) -> Any:
    get = answer.get if isinstance(answer, Mapping) else lambda name: getattr(answer, name, None)
    return next((value for value in map(get, names) if value is not None), None)


def _unpack(answers: Sequence[Any]) -> dict[str, Any]:
    """Texts, confidences and OOD scores of what a pipeline or `model.answer` gives; bare answers as they are."""
    if hasattr(answers, "__array__") and np.asarray(answers).dtype != object:
        return {"predictions": np.asarray(answers)}
    best = [answer[0] if isinstance(answer, list | tuple) and answer else answer for answer in answers]  # of a top k
    if any(isinstance(answer, str | bool | int | float | np.generic) for answer in best):
        return {"predictions": best}
    columns = {
        "confidences": [_field(answer, "confidence", "score") for answer in best],
        "ood_scores": [_field(answer, "ood_score") for answer in best],
    }
    texts = [_field(answer, "text", "answer", "generated_text", "prediction_text") for answer in best]
    told = {name: column for name, column in columns.items() if any(x is not None and x == x for x in column)}
    return {"predictions": texts} | told


def _columns(predictions: Any = None, references: Any = None, **others: Any) -> dict[str, Any]:
    """The columns that are given, all of one length."""
    columns = {} if predictions is None else _unpack(predictions)
    given = {"references": references, **others}
    columns |= {name: np.asarray(column) if hasattr(column, "__array__") else column
                for name, column in given.items() if column is not None}  # fmt: skip
    columns |= {name: _numbers(columns[name], name) for name in columns.keys() & set(INPUTS[2:])}
    if len({len(column) for column in columns.values()}) > 1:
        counts = ", ".join(f"{len(column)} {name}" for name, column in columns.items())
        raise LeamlInputError(f"Give all inputs the same number of rows, not {counts}.")
    return columns


def _known(column: Any, name: str) -> Any:
    """A column, or `None` where no row has a value."""
    gaps = column.count(None) if isinstance(column, list) else 0
    if gaps and gaps < len(column):
        raise LeamlInputError(f"Give `{name}` for every row or for none: {gaps} of {len(column)} rows have none.")
    return None if gaps else column


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class LeamlOod(evaluate.Metric):
    """The figures of [`answer_figures`] and [`ood_figures`], from whichever inputs are given."""

    def _info(self) -> evaluate.MetricInfo:
        text, number = (
            datasets.Value("large_string"),
            datasets.Value("float64"),
        )  # `evaluate` wants no gaps in "string"
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(dict(zip(INPUTS, [text, text, number, number, number], strict=True))),
            license="Apache-2.0",
            reference_urls=["https://arxiv.org/abs/1706.04599", "https://arxiv.org/abs/1805.08206"],
        )

    def add(self, *, prediction: Any = None, reference: Any = None, **others: Any) -> None:
        """Stores one row; inputs other than prediction and reference have their plural names."""
        row = {"predictions": prediction, "references": reference, **others}
        self.add_batch(**{name: [value] for name, value in row.items() if value is not None})

    def add_batch(self, *, predictions: Any = None, references: Any = None, **others: Any) -> None:
        """Stores rows; an input may be left out in all batches."""
        columns = _columns(predictions, references, **others)
        for name in columns.keys() & {"predictions", "references"}:
            columns[name] = [_text(answer) for answer in columns[name]]
        gaps = [None] * max(map(len, columns.values()), default=0)
        super().add_batch(**{name: gaps for name in INPUTS} | columns)

    def compute(self, *, predictions: Any = None, references: Any = None, **others: Any) -> dict[str, Any] | None:
        """Figures of the rows given here, after those that `add` and `add_batch` have stored."""
        options = {name: others.pop(name) for name in list(others) if name not in INPUTS}
        columns = _columns(predictions, references, **others)
        if self.writer is None and self.num_process == 1:
            return self._compute(**columns, **options)  # straight from memory, not by way of a file
        return super().compute(**dict.fromkeys(INPUTS) | columns, **options)

    def _compute(
        self,
        predictions: Any = None,
        references: Any = None,
        confidences: Any = None,
        ood_scores: Any = None,
        ood_labels: Any = None,
        tolerance: float | None = None,
        bins: int = 15,
        tpr: float = 0.95,
        risks: Sequence[float] = RISKS,
        resamples: int = 0,
        confidence_level: float = 0.95,
        seed: int = 0,
    ) -> dict[str, Any]:
        given = predictions, references, confidences, ood_scores, ood_labels
        columns = {name: _known(column, name) for name, column in zip(INPUTS, given, strict=True)}
        predictions, references, confidences, ood_scores, ood_labels = columns.values()
        sampling = resamples, confidence_level, seed
        results = {}
        if predictions is not None and references is not None:
            correct = judge_answers(predictions, references, tolerance)
            if confidences is None:
                results |= _with_intervals(lambda _, right: answer_figures(right), correct, correct, *sampling)
            else:
                pair = _confidence_and_correct(confidences, correct)
                results |= _with_intervals(
                    lambda *rows: answer_figures(rows[1], rows[0], bins, risks), *pair, *sampling
                )
        if ood_scores is not None and ood_labels is not None:
            pair = _ood_scores_and_labels(ood_scores, ood_labels)
            results |= _with_intervals(lambda *rows: ood_figures(*rows, tpr), *pair, *sampling)
        if not results:
            raise LeamlInputError("Give `predictions` with `references`, or `ood_scores` with `ood_labels`.")
        return results
