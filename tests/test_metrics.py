from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score, roc_curve

from leaml_hf.errors import LeamlInputError
from leaml_hf.evaluation import metrics

# Few distinct values, so that ties are the rule.
rows = st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=40)
both_kinds = rows.filter(lambda pairs: len({label for _, label in pairs}) == 2)


def columns(pairs):
    return np.array([level / 4 for level, _ in pairs]), np.array([float(right) for _, right in pairs])


def sample(n=400, seed=0):
    generator = np.random.default_rng(seed)
    confidence = generator.random(n)
    return confidence, (generator.random(n) < confidence).astype(float)


def slow_ece(confidence, correct, bins):
    total = 0.0
    for index in range(bins):
        low, high = index / bins, (index + 1) / bins
        inside = [i for i, c in enumerate(confidence) if low < c <= high or (index == 0 and c == 0)]
        if inside:
            gap = abs(np.mean([correct[i] for i in inside]) - np.mean([confidence[i] for i in inside]))
            total += gap * len(inside) / len(confidence)
    return total


@given(rows, st.integers(1, 15))
def test_ece_equals_a_slow_count(pairs, bins):
    confidence, correct = columns(pairs)
    assert metrics.ece(confidence, correct, bins) == pytest.approx(slow_ece(confidence, correct, bins))


@pytest.mark.parametrize("bins", [1, 2, 3, 7, 10, 15, 49, 100, 1000])
def test_bins_of_equal_width_are_closed_on_the_right_exactly(bins):
    borders = np.arange(bins + 1) / bins
    near = np.concatenate([borders, np.nextafter(borders, 2)[:-1], np.nextafter(borders, -1)[1:]])
    counted = np.bincount(np.searchsorted(borders[1:-1], near, side="left"), minlength=bins)
    assert metrics.reliability_bins(near, near > 0.5, bins)["count"].tolist() == counted.tolist()


def test_ece_of_equal_mass_bins():
    confidence = [0.1, 0.2, 0.3, 0.4, 0.9, 0.9]
    correct = [0, 0, 1, 0, 1, 0]
    expected = (abs(0 - 0.15) * 2 + abs(0.5 - 0.35) * 2 + abs(0.5 - 0.9) * 2) / 6
    assert metrics.ece(confidence, correct, bins=3, scheme="mass") == pytest.approx(expected)


@given(rows, st.integers(1, 10))
def test_bins_of_equal_mass_keep_ties_together_and_lose_nothing(pairs, bins):
    confidence, correct = columns(pairs)
    table = metrics.reliability_bins(confidence, correct, bins, "mass")
    assert table["count"].sum() == len(confidence)
    assert len(table["count"]) <= min(bins, len(set(confidence)))
    assert (np.diff(table["confidence"]) > 0).all()


def test_debiased_ece_is_nearer_the_truth():
    plain, debiased = [], []
    for seed in range(40):
        confidence, correct = sample(150, seed)  # calibrated: the truth is 0
        plain.append(metrics.ece(confidence, correct))
        debiased.append(metrics.ece(confidence, correct, debiased=True))
    assert np.mean(debiased) < 0.7 * np.mean(plain)
    assert metrics.ece(np.full(300, 0.9), np.arange(300) < 150, debiased=True) == pytest.approx(0.4, abs=1e-6)


def test_debiasing_equals_sampling():
    confidence, correct = sample(100, 3)
    table = metrics.reliability_bins(confidence, correct, 5)
    generator = np.random.default_rng(0)
    deviation = np.sqrt(table["accuracy"] * (1 - table["accuracy"]) / table["count"])
    drawn = generator.normal(table["accuracy"], deviation, size=(100_000, 5))
    weight = table["count"] / 100
    expected = 2 * metrics.ece(confidence, correct, 5) - np.mean(np.abs(drawn - table["confidence"]) @ weight)
    assert metrics.ece(confidence, correct, 5, debiased=True) == pytest.approx(max(0, expected), abs=1e-3)


def test_brier_and_nll_equal_scikit_learn():
    confidence, correct = sample()
    assert metrics.brier(confidence, correct) == pytest.approx(brier_score_loss(correct, confidence))
    assert metrics.nll(confidence, correct) == pytest.approx(log_loss(correct, confidence))
    assert metrics.nll([1.0], [0.0]) == pytest.approx(-np.log(1e-6))


def test_accuracy():
    assert metrics.accuracy([1, 0, 1, 1]) == 0.75
    assert metrics.accuracy(np.array([True, False])) == 0.5


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (3, 10), (10, 10), (470, 1000)])
def test_wilson_equals_scipy(successes, n):
    reference = binomtest(successes, n).proportion_ci(0.9, method="wilson")
    assert metrics.wilson_interval(successes, n, 0.9) == pytest.approx((reference.low, reference.high), abs=1e-12)


@given(rows, st.integers(1, 10), st.sampled_from(["width", "mass"]))
def test_brier_decomposition_is_murphys_and_adds_up(pairs, bins, scheme):
    confidence, correct = columns(pairs)
    parts = metrics.brier_decomposition(confidence, correct, bins, scheme)
    total = parts["reliability"] - parts["resolution"] + parts["uncertainty"] + parts["within"]
    assert total == pytest.approx(brier_score_loss(correct, confidence))
    assert min(parts["reliability"], parts["resolution"], parts["uncertainty"]) >= 0
    # With a bin for each distinct confidence (0, 1/4, ... 1), the three parts of Murphy by their definition.
    exact = metrics.brier_decomposition(confidence, correct, 5)
    base, n = correct.mean(), len(correct)
    groups = [(level, correct[confidence == level]) for level in np.unique(confidence)]
    assert exact["reliability"] == pytest.approx(sum(len(g) * (c - g.mean()) ** 2 for c, g in groups) / n)
    assert exact["resolution"] == pytest.approx(sum(len(g) * (g.mean() - base) ** 2 for _, g in groups) / n)
    assert exact["uncertainty"] == pytest.approx(base * (1 - base))
    assert exact["within"] == pytest.approx(0, abs=1e-12)


def test_classwise_ece_is_the_mean_over_classes():
    generator = np.random.default_rng(0)
    probabilities, answers = generator.dirichlet(np.ones(3), 200), generator.integers(0, 3, 200)
    expected = np.mean([slow_ece(probabilities[:, c], answers == c, 10) for c in range(3)])
    assert metrics.classwise_ece(probabilities, answers, 10) == pytest.approx(expected)
    for bad, message in (
        ((probabilities[:, 0], answers), "rows, candidates"),
        ((probabilities, answers + 1), "from 0 to 2"),
    ):
        with pytest.raises(LeamlInputError, match=message):
            metrics.classwise_ece(*bad)


def test_bootstrap_is_seeded_and_covers():
    confidence, correct = sample(300)
    found = metrics.bootstrap_interval(np.mean, correct, seed=3)
    assert found == metrics.bootstrap_interval(metrics.accuracy, correct, seed=3)
    assert found == pytest.approx(metrics.wilson_interval(correct.sum(), 300), abs=0.02)
    assert metrics.bootstrap_interval(np.mean, correct, seed=4) != found
    both = metrics.bootstrap_interval(lambda c: np.array([c.mean(), 1 - c.mean()]), correct, seed=3)
    assert np.array(both) == pytest.approx(np.array([found, (1 - found[1], 1 - found[0])]).T)
    low, high = metrics.bootstrap_interval(metrics.aurc, confidence, correct, resamples=200)
    assert low < metrics.aurc(confidence, correct) < high


def test_bootstrap_leaves_undefined_resamples_out():
    low, high = metrics.bootstrap_interval(metrics.auroc, [0.1, 0.4, 0.3, 0.9], [0, 0, 1, 1], resamples=200)
    assert 0 <= low <= 0.75 <= high <= 1
    with pytest.raises(LeamlInputError, match="Give more rows"):
        metrics.bootstrap_interval(metrics.auroc, [0.1, 0.4], [0, 1], resamples=200, seed=1)


def brute_force_risks(confidence, correct):
    """Mean over all orders of equal confidences of the risk at each coverage."""
    n = len(confidence)
    orders = [o for o in permutations(range(n)) if all(confidence[a] >= confidence[b] for a, b in pairwise(o))]
    return np.mean([[np.mean([1 - correct[i] for i in o[:k]]) for k in range(1, n + 1)] for o in orders], axis=0)


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6))
def test_risk_coverage_is_the_mean_over_orders_of_ties(pairs):
    confidence, correct = columns(pairs)
    risks = brute_force_risks(confidence, correct)
    coverage, risk = metrics.risk_coverage_curve(confidence, correct)
    assert coverage == pytest.approx(np.arange(1, len(pairs) + 1) / len(pairs))
    assert risk == pytest.approx(risks)
    assert metrics.aurc(confidence, correct) == pytest.approx(risks.mean())
    for kept in range(1, len(pairs) + 1):
        share = kept / len(pairs)
        assert metrics.selective_accuracy(confidence, correct, share) == pytest.approx(1 - risks[kept - 1])


@given(both_kinds, st.randoms())
def test_auroc_counts_pairs_and_order_does_not_matter(pairs, random):
    scores, labels = columns(pairs)
    wins = [(o > i) + 0.5 * (o == i) for o in scores[labels == 1] for i in scores[labels == 0]]
    assert metrics.auroc(scores, labels) == pytest.approx(np.mean(wins))
    assert metrics.auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))
    assert metrics.auprc(scores, labels) == pytest.approx(average_precision_score(labels, scores))
    shuffled = list(pairs)
    random.shuffle(shuffled)
    assert metrics.auprc(*columns(shuffled)) == pytest.approx(metrics.auprc(scores, labels))
    assert metrics.aurc(*columns(shuffled)) == pytest.approx(metrics.aurc(scores, labels))


@given(both_kinds, st.sampled_from([0.5, 0.8, 0.95, 1.0]))
def test_fpr_equals_the_roc_curve_with_in_distribution_positive(pairs, tpr):
    scores, labels = columns(pairs)
    fpr, recall, _ = roc_curve(1 - labels, -scores, drop_intermediate=False)
    assert metrics.fpr_at_tpr(scores, labels, tpr) == pytest.approx(fpr[np.flatnonzero(recall >= tpr - 1e-12)[0]])


def test_fpr_takes_in_distribution_as_the_positive_class():
    familiar, unfamiliar = np.arange(20), np.array([5.5, 18.5, 30, 40])
    scores, labels = np.concatenate([familiar, unfamiliar]), [0] * 20 + [1] * 4
    # 19 of 20 familiar rows (95%) score 18 or less; of the unfamiliar ones only 5.5 does.
    assert metrics.fpr_at_tpr(scores, labels) == 0.25


@pytest.mark.parametrize("metric", [metrics.auroc, metrics.auprc, metrics.fpr_at_tpr])
@pytest.mark.parametrize("label", [0, 1])
def test_one_kind_of_row_is_refused(metric, label):
    with pytest.raises(LeamlInputError, match=f"rows of both kinds.*all 3 labels are {label}"):
        metric([0.1, 0.2, 0.3], [label] * 3)


@pytest.mark.parametrize(
    ("confidence", "correct", "message"),
    [
        ([], [], "non-empty"),
        ([[0.5]], [1], "one non-empty list"),
        ([0.5, float("nan")], [1, 0], "not a finite number"),
        ([0.5, 1.5], [1, 0], "between 0 and 1"),
        ([0.5, 0.5], [1, 0.5], "zeros and ones"),
        ([0.5, 0.5], [1], "not 2 and 1"),
    ],
)
def test_bad_input_is_refused_with_a_sentence(confidence, correct, message):
    for metric in (metrics.ece, metrics.brier, metrics.nll, metrics.aurc, metrics.selective_accuracy):
        with pytest.raises(LeamlInputError, match=message):
            metric(confidence, correct)


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.wilson_interval(3, 2),
        lambda: metrics.wilson_interval(0, 0),
        lambda: metrics.wilson_interval(1, 2, 1.0),
        lambda: metrics.ece([0.5], [1], bins=0),
        lambda: metrics.ece([0.5], [1], scheme="other"),
        lambda: metrics.selective_accuracy([0.5], [1], 0),
        lambda: metrics.fpr_at_tpr([0.1, 0.2], [0, 1], 0),
        lambda: metrics.fpr_at_tpr([0.1, 0.2], [0, 1], positive="ood"),
        lambda: metrics.auprc([0.1, 0.2], [0, 1], positive=1),
        lambda: metrics.coverage_at_risk([0.5], [1], -0.1),
        lambda: metrics.bootstrap_interval(np.mean),
        lambda: metrics.bootstrap_interval(np.mean, [1.0], resamples=0),
        lambda: metrics.bootstrap_interval(np.mean, [1.0], [1.0, 2.0]),
    ],
)
def test_bad_options_are_refused(call):
    with pytest.raises(LeamlInputError):
        call()
