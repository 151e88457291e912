"""When two answers count as the same: one normalisation, and the tolerance of ChartQA where it is asked for."""

import re
import unicodedata
from decimal import Decimal

from ..errors import LeamlInputError

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
