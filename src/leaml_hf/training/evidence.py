"""What a few weighed labels say of what answers stand for: counts, as a Dirichlet-multinomial."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

Reading = dict[str, str]  # what answers are expected to stand for; those left out stand for themselves

EXPECTED_ANSWER = 1.0  # labels that what an answer is expected to stand for is worth
ANY_ANSWER = 0.5  # labels that "it tells nothing" is worth
NO_WORD = -1


def leave_one_out(
    heard: np.ndarray, labels: np.ndarray, weights: np.ndarray, expected: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """
    How likely hypotheses make the labels, each judged by the others.

    A label's probability given the answer that was heard is its share of the weights of rows where that was heard,
    with `EXPECTED_ANSWER` added to what the answer should stand for and `ANY_ANSWER` spread like all labels.

    Args:
        heard (`np.ndarray`): `[H, n]`, by hypothesis and row the number of the answer that the base gave.
        labels (`np.ndarray`): `[n]`, numbers of the labels in the same numbering.
        weights (`np.ndarray`): `[n]`, above 0.
        expected (`np.ndarray`): `[H, n]`, what they should stand for; `NO_WORD` if they tell nothing.

    Returns:
        `tuple`: weighed log likelihoods `[H]`, and what the labels would be taken for `[H, n]`.
    """
    words, place = np.unique(labels, return_inverse=True)  # [C], [n]
    own = weights[:, None] * (place[:, None] == np.arange(len(words)))  # [n, C]
    others = own.sum(0) - own
    total = (weights.sum() - weights + 0.5)[:, None]
    both = (heard[:, :, None] == heard[:, None]).astype(float) @ own - own  # [H, n, C]
    stands_for = expected[..., None] == words
    beyond = (expected != NO_WORD) & ~stands_for.any(-1)  # [H, n]: an answer that no label is
    spread = 0.5 / (len(words) + beyond)
    mass = both + EXPECTED_ANSWER * stands_for + ANY_ANSWER * (others + spread[..., None]) / total  # [H, n, C]
    mass_beyond = beyond * (EXPECTED_ANSWER + ANY_ANSWER * spread / total[:, 0])
    right = mass[:, np.arange(len(labels)), place] / (mass.sum(-1) + mass_beyond)
    taken = np.where(mass_beyond > mass.max(-1), expected, words[mass.argmax(-1)])
    return np.log(right + 1e-3) @ weights, taken


def as_expected(heard: Sequence[str], labels: Sequence[str], weights: np.ndarray, reading: Reading) -> bool:
    """
    Whether most answers stand for what they are expected to.

    Args:
        heard (`Sequence[str]`): n answers.
        labels (`Sequence[str]`): n labels.
        weights (`np.ndarray`): `[n]`.
        reading (`Reading`): what answers are expected to stand for.
    """
    meant = np.array([reading.get(given, given) for given in heard])
    return 2 * float(weights[meant == np.array(labels)].sum()) >= float(weights.sum())


def read_off(heard: Sequence[str], labels: Sequence[str], weights: np.ndarray, reading: Reading) -> dict[str, str]:
    """
    What each answer most likely stands for, as the labels say.

    Args:
        heard (`Sequence[str]`): n answers.
        labels (`Sequence[str]`): n labels.
        weights (`np.ndarray`): `[n]`.
        reading (`Reading`): what answers are expected to stand for.

    Returns:
        `dict[str, str]`: of each answer, the commonest first.
    """
    often: Counter = Counter()
    both: dict[str, Counter] = defaultdict(Counter)
    alone: Counter = Counter()
    for given, label, weight in zip(heard, labels, weights.tolist(), strict=True):
        often[given] += weight
        both[given][label] += weight
        alone[label] += weight
    meant = {}
    for given in sorted(often, key=lambda word: (-often[word], word)):
        expected = reading.get(given, given)
        mass = {
            word: both[given][word]
            + ANY_ANSWER * alone[word] / (often.total() + 0.5)
            + EXPECTED_ANSWER * (word == expected)
            for word in sorted({*alone, expected})
        }
        meant[given] = max(mass, key=mass.get)
    return meant
