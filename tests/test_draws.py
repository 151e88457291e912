"""Random numbers out of a hash: the same for a key, others for another, in their ranges, each as often as any."""

import hashlib
import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from leaml_hf.data.visual_arrays.draws import BLOCK, Draws

KEYS = st.lists(st.one_of(st.integers(), st.text(max_size=8)), max_size=6)


@given(key=KEYS, other=KEYS, count=st.integers(1, 3 * BLOCK))
def test_a_key_has_one_stream(key: list, other: list, count: int) -> None:
    draws, again, others = Draws(*key), Draws(*key), Draws(*other)
    numbers = [draws.random() for _ in range(count)]
    assert numbers == [again.random() for _ in range(count)]
    assert (numbers == [others.random() for _ in range(count)]) == (key == other)
    assert len(set(numbers)) == count
    many = [one.generator().integers(2**63) for one in (draws, again, others)]
    assert many[0] == many[1] and (many[0] == many[2]) == (key == other)


@given(key=KEYS, low=st.integers(-(2**40), 2**40), count=st.integers(1, 2**40), wide=st.floats(0, 1e9))
def test_numbers_lie_in_their_ranges(key: list, low: int, count: int, wide: float) -> None:
    draws = Draws(*key)
    for _ in range(20):
        assert 0 <= draws.random() < 1
        assert low <= draws.uniform(low, low + wide) <= low + wide
        assert low <= draws.integers(low, low + count) < low + count
        assert 0 <= draws.integers(count) < count


def test_words_are_those_of_the_hash() -> None:
    """Written out once more: streams must not change, or data sets would."""
    words = [word for block in range(3) for word in struct.unpack(
        f"<{BLOCK}Q", hashlib.shake_128(f"(7, 'chart', -1){block}".encode()).digest(8 * BLOCK))]  # fmt: skip
    draws = Draws(7, "chart", -1)
    assert [draws.integers(2**64) for _ in words] == words


def test_numbers_are_even_and_do_not_follow_from_each_other() -> None:
    draws = [Draws(seed, "x") for seed in range(400)]
    table = np.array([[one.random() for _ in range(100)] for one in draws])
    assert kstest(table.ravel(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(table[:, :-1].ravel(), table[:, 1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(table[:-1].ravel(), table[1:].ravel())[0, 1]) < 0.02
    assert chisquare(np.bincount([one.integers(7) for one in draws for _ in range(100)])).pvalue > 1e-3
