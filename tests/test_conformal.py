import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import binomtest

from leaml_hf.errors import LeamlInputError
from leaml_hf.reliability.conformal import (
    AnswerSets,
    binomial_p_value,
    choose_abstention_threshold,
    conformal_quantile,
    control_error_rate,
    shift_weights,
)

SPLITS = 600


def clopper_pearson(errors, n, level):
    return binomtest(errors, n).proportion_ci(2 * level - 1, method="exact").high


def slow_threshold(confidence, correct, target, level):
    accepted = None
    for value in sorted(set(confidence), reverse=True):
        given_rows = confidence >= value
        errors = int((1 - correct[given_rows]).sum())
        n = int(given_rows.sum())
        if clopper_pearson(0, n, level) > target:
            continue
        if clopper_pearson(errors, n, level) > target:
            break
        accepted = n
    return accepted


@given(st.integers(0, 10_000), st.sampled_from([0.1, 0.2, 0.4]), st.integers(1, 150))
def test_abstention_equals_a_slow_search(seed, target, n):
    generator = np.random.default_rng(seed)
    confidence = generator.integers(0, 30, n) / 30
    correct = (generator.random(n) < 0.5 + confidence / 2).astype(float)
    rule = choose_abstention_threshold(confidence, correct, target)
    expected = slow_threshold(confidence, correct, target, 0.95)
    if expected is None:
        assert not rule.certified
        assert rule.threshold == 0.5
        assert rule.coverage == pytest.approx(np.mean(confidence >= 0.5))
    else:
        assert rule.certified
        assert rule.coverage == pytest.approx(expected / n)
        assert np.sum(confidence >= rule.threshold) == expected


def test_five_percent_needs_fifty_nine_labels():
    for n, certified in ((58, False), (59, True)):
        rule = choose_abstention_threshold(np.linspace(0.5, 1, n), np.ones(n))
        assert rule.certified is certified


def true_risk(threshold):
    """Of the answers above a threshold, where a confidence is uniform and is the probability of being right."""
    return (1 - threshold) / 2


def test_the_target_is_kept_as_often_as_promised():
    generator = np.random.default_rng(0)
    broken = certified = 0
    for _ in range(SPLITS):
        confidence = generator.random(200)
        correct = (generator.random(200) < confidence).astype(float)
        rule = choose_abstention_threshold(confidence, correct, target_risk=0.2)
        certified += rule.certified
        broken += rule.certified and true_risk(rule.threshold) > 0.2
    assert certified > 0.5 * SPLITS
    assert broken / SPLITS < 0.05 + 2 * np.sqrt(0.05 * 0.95 / SPLITS)


def test_a_target_that_no_threshold_meets_is_rarely_certified():
    # Confidence says nothing, and 10% are wrong, twice what is aimed at.
    generator = np.random.default_rng(1)
    rules = [choose_abstention_threshold(generator.random(150), generator.random(150) < 0.9) for _ in range(SPLITS)]
    assert np.mean([rule.certified for rule in rules]) < 0.05 + 2 * np.sqrt(0.05 * 0.95 / SPLITS)


def test_under_shift_the_target_is_broken():
    # The same confidences elsewhere, but answers are right less often than they say: nothing here can know.
    generator = np.random.default_rng(2)
    confidence = generator.random(2000)
    rule = choose_abstention_threshold(confidence, generator.random(2000) < confidence, target_risk=0.2)
    elsewhere = generator.random(20_000)
    right = generator.random(20_000) < 0.8 * elsewhere
    assert rule.certified
    assert np.mean(~right[elsewhere >= rule.threshold]) > 0.3


@given(st.integers(0, 40), st.integers(1, 40), st.sampled_from([0.01, 0.05, 0.3]))
def test_binomial_p_value_equals_scipy(errors, more, risk):
    expected = binomtest(errors, errors + more, risk, alternative="less").pvalue
    assert binomial_p_value(errors, errors + more, risk) == pytest.approx(expected, abs=1e-9)


@given(st.integers(0, 10_000), st.integers(1, 80), st.sampled_from([0.05, 0.1, 0.4]))
def test_error_control_equals_a_slow_search(seed, n, target):
    generator = np.random.default_rng(seed)
    confidence = generator.integers(0, 20, n) / 20
    correct = (generator.random(n) < 0.3 + confidence / 2).astype(float)
    kept = [t for t in (*np.unique(np.append(0, confidence)), 2.0)
            if (np.sum((confidence >= t) & (correct == 0)) + 1) / (n + 1) <= target + 1e-12]  # fmt: skip
    found = control_error_rate(confidence, correct, target)
    if kept:
        assert np.array_equal(confidence >= found, confidence >= kept[0])
    else:
        assert found == math.inf


def test_error_control_holds_on_average():
    generator = np.random.default_rng(0)
    rates = []
    for _ in range(SPLITS):
        confidence = generator.random(50)
        threshold = min(control_error_rate(confidence, generator.random(50) < confidence, 0.1), 1.0)
        rates.append((1 - threshold) ** 2 / 2)  # P(answered and wrong)
    assert 0.06 < np.mean(rates) < 0.1 + 2 * np.std(rates) / np.sqrt(SPLITS)


def candidates(generator, shape, ease):
    """Probabilities `[..., 4]` of a model that is right in them, sharper where `ease` is high, and which is right."""
    logits = generator.normal(size=(*shape, 4)) * np.asarray(ease)[..., None]
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    right = (generator.random((*shape, 1)) > probabilities.cumsum(-1)).sum(-1).clip(max=3)
    return probabilities, right


def test_quantile_is_the_order_statistic():
    scores = np.array([0.3, 0.1, 0.9, 0.5])
    assert conformal_quantile(scores, 0.6) == [0.5]  # the third of four: 0.6 * 5
    assert conformal_quantile(scores, 0.8) == [0.9]
    assert conformal_quantile(scores, 0.81) == [math.inf]
    # Tibshirani et al., eq. 7: the score at which normalised weights, the new row's at infinity, reach the level.
    weights, new = np.array([1.0, 2.0, 0.5, 0.5]), np.array([1.0, 0.2])
    for weight, found in zip(new, conformal_quantile(scores, 0.7, weights, new), strict=True):
        order = np.argsort(scores)
        share = np.cumsum(np.append(weights[order], weight)) / (weights.sum() + weight)
        assert found == np.append(scores[order], math.inf)[np.flatnonzero(share >= 0.7)[0]]


def test_sets_hold_the_right_answer_as_often_as_promised():
    generator = np.random.default_rng(0)
    probabilities, right = candidates(generator, (SPLITS, 60), np.full((SPLITS, 60), 2.0))
    held = [
        AnswerSets(0.8).fit(p[np.arange(59), r[:59]]).predict(p[59:])[0, r[59]]
        for p, r in zip(probabilities, right, strict=True)
    ]
    assert np.mean(held) == pytest.approx(0.8, abs=3 * np.sqrt(0.16 / SPLITS))


def test_weights_bring_the_coverage_back_under_covariate_shift():
    # Labelled questions are easy (x near 1), new ones hard (x near -1); given x they are answered alike.
    generator = np.random.default_rng(0)
    plain, weighted = [], []
    for _ in range(SPLITS):
        x = generator.normal(1, 1, 150), generator.normal(-1, 1, 150)
        (known, answer), (asked, truth) = (candidates(generator, (150,), 1 + 2 * expit(2 * part)) for part in x)
        probability = known[np.arange(150), answer]
        own, new = (np.exp(-2 * part) for part in x)  # the ratio of the densities
        rows = np.arange(150)
        plain.append(AnswerSets(0.8).fit(probability).predict(asked)[rows, truth].mean())
        weighted.append(AnswerSets(0.8).fit(probability, own).predict(asked, new)[rows, truth].mean())
    assert np.mean(plain) < 0.76
    assert 0.79 < np.mean(weighted) < 0.9


def test_shift_weights_recover_the_ratio_of_densities():
    generator = np.random.default_rng(0)
    x = generator.normal(0.5, 1, (4000, 1)), generator.normal(-0.5, 1, (2000, 1))
    own, new = shift_weights(*x)
    for part, weights in zip(x, (own, new), strict=True):
        assert np.corrcoef(np.log(weights), -part[:, 0])[0, 1] > 0.999
        assert np.polyfit(part[:, 0], np.log(weights), 1)[0] == pytest.approx(-1, abs=0.1)


def test_wrong_use_is_refused_with_a_sentence():
    sets = AnswerSets().fit([0.5, 0.6])
    for call, message in [
        (lambda: choose_abstention_threshold([0.5], [1], target_risk=0), "`target_risk`"),
        (lambda: choose_abstention_threshold([0.5], [1], confidence_level=1), "`confidence_level`"),
        (lambda: control_error_rate([0.5], [1], target_risk=1), "`target_risk`"),
        (lambda: AnswerSets(1.0), "`coverage`"),
        (lambda: AnswerSets().predict(np.ones((1, 2))), "Fit the answer sets"),
        (lambda: AnswerSets().fit([]), "at least one labelled row"),
        (lambda: AnswerSets().fit([0.5], [0.0]), "one weight above 0"),
        (lambda: AnswerSets().fit([0.5], [1.0, 1.0]), "one weight above 0"),
        (lambda: sets.predict(np.ones((1, 2)), [1.0]), "both to `fit` and to `predict`"),
    ]:
        with pytest.raises(LeamlInputError, match=message):
            call()


def test_too_few_labels_leave_no_candidate_out():
    assert AnswerSets(0.9).fit([0.5, 0.6]).predict(np.array([[0.0, 1.0]])).all()
