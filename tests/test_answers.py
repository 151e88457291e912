import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaml_hf.errors import LeamlInputError
from leaml_hf.evaluation.answers import answers_match, normalize_answer


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("1,000", "1000"),
        ("1,234,567.50", "1234567.5"),
        ("3.0", "3"),
        (".5", "0.50"),
        ("+7", "7"),
        ("-0.0", "0"),
        ("\u22123", "-3"),
        ("12%", "12 %"),
        ("12 percent", "12.0%"),
        ("twelve percent", "12%"),
        ("$1,000.00", "$1000"),
        ("Three", "3"),
        ("the left one", "left 1"),
        ("The  Blue bar.", "blue bar"),
        ('"an apple"', "apple"),
        ("a bar", "bar"),
        ("Yes!", "yes"),
        ("(B)", "b"),
        ("  green\n", "Green"),
        ("caf\u00e9", "cafe\u0301"),
    ],
)
def test_same_answer_in_other_words(left, right):
    assert normalize_answer(left) == normalize_answer(right)
    assert answers_match(left, right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("-3", "3"),
        ("12%", "12"),
        ("1,2", "12"),
        ("1.5", "15"),
        ("A", ""),
        ("A and B", "B"),
        ("A B", "B"),
        ("?", "!"),
        ("someone", "some1"),
        ("10\u00b2", "102"),
        ("09:05", "9:5"),
        ("C", "C#"),
        ("blue", "light blue"),
    ],
)
def test_other_answers_stay_apart(left, right):
    assert not answers_match(left, right)


WORDS = ["a", "an", "the", ".", ",", "3", "1,000", "%", "", "one", "and", "b", "-"]


@given(st.text(max_size=30) | st.lists(st.sampled_from(WORDS)).map(" ".join))
def test_normal_form_is_stable(text):
    once = normalize_answer(text)
    assert normalize_answer(once) == once


@given(st.integers(-(10**12), 10**12), st.integers(0, 3))
def test_grouping_and_trailing_zeros_never_matter(value, zeros):
    assert normalize_answer(f"{value:,}.{'0' * zeros}") == str(value)


@pytest.mark.parametrize(
    ("prediction", "reference", "within"),
    [
        ("105", "100", True),
        ("95", "100", True),
        ("106", "100", False),
        ("-96", "-100", True),
        ("0.01", "0", False),
        ("0.0", "0", True),
        ("0.12", "12%", True),
        ("12", "12%", False),
        ("blue", "100", False),
        ("1,030", "one thousand", False),
        ("3.1", "three", True),
        ("$1,020", "1000", True),
    ],
)
def test_tolerance_follows_chartqa(prediction, reference, within):
    assert answers_match(prediction, reference, tolerance=0.05) is within


def test_tolerance_is_off_unless_asked_for():
    assert not answers_match("101", "100")
    assert not answers_match("101", "100", tolerance=0)


@pytest.mark.parametrize("tolerance", [-0.1, float("nan")])
def test_bad_tolerance_is_refused(tolerance):
    with pytest.raises(LeamlInputError, match="tolerance must be zero or more"):
        answers_match("1", "1", tolerance=tolerance)
