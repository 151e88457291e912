"""Single random numbers are NumPy's own, in its order."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from leaml_hf.data.visual_arrays.draws import BLOCK, Draws

NUMBERS = st.one_of(
    st.tuples(st.just("random")),
    st.tuples(st.just("uniform"), st.floats(-9, 9), st.floats(9, 99)),
    st.tuples(st.just("integers"), st.integers(1, 2**32 - 1)),
    st.tuples(st.just("integers"), st.integers(-99, 0), st.integers(1, 99)),
)


@settings(max_examples=200)
@given(seed=st.integers(0, 2**32 - 1), before=st.integers(0, 3), asked=st.lists(NUMBERS, max_size=3 * BLOCK))
def test_they_are_those_of_the_generator(seed: int, before: int, asked: list[tuple]) -> None:
    own, theirs = np.random.default_rng(seed), np.random.default_rng(seed)
    for generator in (own, theirs):  # an odd number of halves leaves one over
        generator.integers(7, size=before)
    draws = Draws(own)
    for name, *bounds in asked:
        number = getattr(draws, name)(*bounds)
        assert number == getattr(theirs, name)(*bounds)
        assert type(number) in (int, float)
    after = draws.generator()
    states = [generator.bit_generator.state for generator in (after, theirs)]
    assert after is own and states[0]["state"] == states[1]["state"]
    assert states[0]["has_uint32"] == states[1]["has_uint32"]
    assert after.integers(9) == theirs.integers(9)
    assert (after.normal(size=3) == theirs.normal(size=3)).all() and after.integers(9) == theirs.integers(9)


def test_numbers_that_would_come_too_often_are_drawn_again() -> None:
    count = 3 * 2**30  # a quarter of the halves is thrown away
    draws, theirs = Draws(np.random.default_rng(1)), np.random.default_rng(1)
    drawn = [draws.integers(count) for _ in range(4000)]
    assert drawn == [theirs.integers(count) for _ in range(4000)]
    assert abs(np.mean(np.array(drawn) < count / 3) - 1 / 3) < 0.03
