"""Random numbers one by one, as NumPy draws them, in a quarter of the time."""

import numpy as np

BLOCK = 40  # words taken at once; a picture needs about thirty
HALF = 2**32
UNIT = 2.0**-53


class Draws:
    """
    The numbers that a `Generator` would give one by one, in the same order: its words are taken in blocks, and each
    becomes a number here, by the same rules (Lemire 2019, arXiv 1805.10941, for whole ones), since a call of NumPy's
    takes longer than all of that.

    Args:
        generator (`np.random.Generator`): of `np.random.default_rng`; others use words otherwise.
    """

    __slots__ = ("_bits", "_generator", "_half", "_words")

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator, self._bits = generator, generator.bit_generator
        state = self._bits.state
        self._half: int | None = state["uinteger"] if state["has_uint32"] else None
        self._words: list[int] = []  # in reverse

    def _word(self) -> int:
        if not self._words:
            self._words = self._bits.random_raw(BLOCK)[::-1].tolist()
        return self._words.pop()

    def random(self) -> float:
        """In [0, 1)."""
        return (self._word() >> 11) * UNIT

    def uniform(self, low: float, high: float) -> float:
        """In [low, high)."""
        return low + (high - low) * self.random()

    def integers(self, low: int, high: int | None = None) -> int:
        """From `low` to `high` - 1, or from 0 to `low` - 1; at most 2**32 - 1 different ones."""
        if high is None:
            low, high = 0, low
        count = high - low
        if count == 1:
            return low
        while True:
            half = self._half
            if half is None:
                word = self._word()
                half, self._half = word % HALF, word // HALF
            else:
                self._half = None
            whole, rest = divmod(half * count, HALF)
            if rest >= count or rest >= (HALF - count) % count:  # else some numbers would come more often
                return low + whole

    def generator(self) -> np.random.Generator:
        """The generator itself, which goes on from here; nothing may be drawn here any more."""
        self._bits.advance(-len(self._words))
        if self._half is not None:
            self._bits.state = self._bits.state | {"has_uint32": 1, "uinteger": self._half}
        return self._generator
