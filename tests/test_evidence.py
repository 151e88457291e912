"""What weighed labels say: the array form against a loop over hypotheses and rows."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaml_hf.training.evidence import ANY_ANSWER, EXPECTED_ANSWER, NO_WORD, as_expected, leave_one_out, read_off


def probability(heard, labels, weights, expected, row: int) -> dict[int, float]:
    """Of each word where `row` is left out, written out as the sum that it is."""
    others = [k for k in range(len(labels)) if k != row]
    words = {*labels} | ({expected[row]} - {NO_WORD})
    total = sum(weights[k] for k in others)
    mass = {}
    for word in words:
        both = sum(weights[k] for k in others if heard[k] == heard[row] and labels[k] == word)
        alone = sum(weights[k] for k in others if labels[k] == word)
        mass[word] = both + EXPECTED_ANSWER * (word == expected[row])
        mass[word] += ANY_ANSWER * (alone + 0.5 / len(words)) / (total + 0.5)
    scale = sum(mass.values())
    return {word: value / scale for word, value in mass.items()}


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 4))
def test_leave_one_out_equals_a_loop(seed: int, rows: int, hypotheses: int) -> None:
    rng = np.random.default_rng(seed)
    heard, labels = rng.integers(0, 5, (hypotheses, rows)), rng.integers(0, 4, rows)
    weights = rng.uniform(0.1, 1.0, rows)
    expected = np.where(rng.random((hypotheses, 1)) < 0.3, NO_WORD, heard)
    likelihood, told = leave_one_out(heard, labels, weights, expected)
    for one in range(hypotheses):
        found = [probability(heard[one], labels, weights, expected[one], row) for row in range(rows)]
        wanted = sum(w * math.log(p[label] + 1e-3) for w, p, label in zip(weights, found, labels, strict=True))
        assert likelihood[one] == pytest.approx(wanted)
        assert all(p[word] == pytest.approx(max(p.values())) for p, word in zip(found, told[one], strict=True))


def test_answers_are_read_as_the_labels_say() -> None:
    heard, labels, weights = ["sideways"] * 3 + ["up"] * 2, ["flat", "flat", "tall", "tall", "tall"], np.ones(5)
    assert read_off(heard, labels, weights, {}) == {"sideways": "flat", "up": "tall"}
    assert not as_expected(heard, labels, weights, {})
    assert as_expected(["no", "yes", "no"], ["yes", "no", "no"], np.ones(3), {"yes": "no", "no": "yes"})


def test_one_label_does_not_outweigh_what_an_answer_means() -> None:
    assert read_off(["red"], ["blue"], np.array([0.4]), {}) == {"red": "red"}
