"""Random numbers one by one, out of a hash: NumPy's streams take longer to seed than all that a picture draws."""

import hashlib
import struct

import numpy as np

BLOCK = 40  # words taken at once; a picture needs about thirty
UNIT = 2.0**-53
_UNPACK = struct.Struct(f"<{BLOCK}Q").unpack


class Draws:
    """
    A stream of random numbers that depends on a key alone: 64-bit words out of SHAKE128 (FIPS 202) of the key and the
    number of the block.

    Args:
        key: whole numbers or strings; other keys give other streams.
    """

    __slots__ = ("_blocks", "_key", "_words")

    def __init__(self, *key: int | str) -> None:
        self._key, self._blocks = repr(key), 0
        self._words = iter(())

    def _word(self) -> int:
        for word in self._words:
            return word
        digest = hashlib.shake_128(f"{self._key}{self._blocks}".encode()).digest(8 * BLOCK)
        self._blocks += 1
        self._words = iter(_UNPACK(digest))
        return next(self._words)

    def random(self) -> float:
        """In [0, 1)."""
        return (self._word() >> 11) * UNIT

    def uniform(self, low: float, high: float) -> float:
        """In [low, high)."""
        return low + (high - low) * self.random()

    def integers(self, low: int, high: int | None = None) -> int:
        """From `low` to `high` - 1, or from 0 to `low` - 1, each as often as the others to one in 2**64 / count."""
        if high is None:
            low, high = 0, low
        return low + (self._word() * (high - low) >> 64)

    def generator(self) -> np.random.Generator:
        """A generator for many numbers at once, seeded by the next two words."""
        return np.random.default_rng([self._word(), self._word()])
