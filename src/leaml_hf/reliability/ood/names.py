"""A score of our own from the names that are written in pictures."""

from typing import Any

import numpy as np

from ...errors import LeamlInputError
from .base import Score, States, state_array, unit
from .distances import neighbor_distance

BLOCK = 512  # codes that are compared at once
MOST_PICTURES = 2048  # that are learnt from, for the sake of time: more would hardly tell more names


class UnknownNames(Score):
    """
    How unlike the names in a picture are to all names in familiar pictures: the mean, over the names read in it, of
    the cosine distance to the nearest known one, `[n]` in [0, 2].

    What a picture is about shows in what is written in it. Densities of its states do not see that: other names, or
    numbers of another size, move them no more than other names of the same kind do. A picture without names gets what
    is usual for familiar pictures, and so does each where no familiar picture has names. A score of our own; the
    distance is that to the nearest neighbour (Sun et al., 2022, https://arxiv.org/abs/2204.06507), of each name
    instead of the picture.

    Args:
        key (`str`, *optional*, defaults to `"names"`): the state `[n, places * Dc]`, codes of the names of each row,
            zeros where there are fewer, see [`~leaml_hf.name_reader.NameReader`].
        places (`int`, *optional*, defaults to 16): names that a row may have.
        alike (`float`, *optional*, defaults to 0.9): cosine from which on two codes count as the same name, of which
            one is stored.
        bank_size (`int`, *optional*, defaults to 4096): at most this many names, of at most 2,048 pictures, are
            stored, as float16, chosen at random.
        seed (`int`, *optional*, defaults to 0): for that choice.
    """

    kind = "unknown"
    arrays = ("bank", "usual")  # [m, Dc], [1]

    def __init__(
        self, key: str = "names", places: int = 16, alike: float = 0.9, bank_size: int = 4096, seed: int = 0
    ) -> None:
        super().__init__(key)
        self.places = places
        self.alike = alike
        self.bank_size = bank_size
        self.seed = seed

    def config(self) -> dict[str, Any]:
        options = {name: getattr(self, name) for name in ("places", "alike", "bank_size", "seed")}
        return {**super().config(), **options}

    def fit(self, states: States) -> "UnknownNames":
        rows = state_array(states, self.key)
        if rows.shape[1] % self.places:
            raise LeamlInputError(
                f'Give the state "{self.key}" with {self.places} codes a row: its width is {rows.shape[1]}.'
            )
        # Several questions about one picture share its names, which would be each other's neighbours.
        pictures, rng = np.unique(rows, axis=0), np.random.default_rng(self.seed)
        if len(pictures) > MOST_PICTURES:
            pictures = pictures[rng.permutation(len(pictures))[:MOST_PICTURES]]
        codes, owner = self._codes(pictures, rows.shape[1] // self.places)
        distances = np.zeros(len(codes))
        for at in range(0, len(codes), BLOCK):
            part = slice(at, at + BLOCK)
            of_others = np.where(owner[part, None] == owner, -1.0, codes[part] @ codes.T)  # [b, c]
            distances[part] = np.clip(1.0 - of_others.max(axis=1), 0.0, 2.0)
        of_rows = _means(distances, owner)
        self.usual = np.array([np.median(of_rows) if len(of_rows) > 1 else 0.0], np.float32)
        if len(of_rows) < 2:  # nothing is known of names here
            codes = codes[:0]
        bank = self._apart(codes)
        if len(bank) > self.bank_size:
            bank = bank[rng.permutation(len(bank))[: self.bank_size]]
        self.bank = bank.astype(np.float16)
        return self

    def score(self, states: States) -> np.ndarray:
        self._check_fitted()
        rows = self._rows(states, self.places * self.bank.shape[1])
        scores = np.full(len(rows), float(self.usual[0]))
        codes, owner = self._codes(rows, self.bank.shape[1])
        if len(codes) and len(self.bank):
            distances = neighbor_distance(codes, unit(self.bank.astype(np.float32)))
            scores[np.unique(owner)] = _means(distances, owner)
        return scores

    def example(self) -> dict[str, np.ndarray]:
        return {self.key: np.ones((1, self.places * self.bank.shape[-1]), np.float32)}

    def _codes(self, rows: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
        """Codes `[c, Dc]` of the names in rows, at length 1, and the row `[c]` of each, rising."""
        codes = rows.reshape(len(rows), self.places, dim)
        owner, place = np.nonzero(np.abs(codes).max(axis=2) > 0)
        return unit(codes[owner, place]), owner

    def _apart(self, codes: np.ndarray) -> np.ndarray:
        """Codes no two of which are alike, such that each one given is like one of them."""
        kept = codes[:0]
        for at in range(0, len(codes), BLOCK):
            block = codes[at : at + BLOCK]
            block = block[(block @ kept.T).max(axis=1, initial=-1.0) < self.alike]
            likeness, new = block @ block.T, []
            for place in range(len(block)):
                if likeness[place, new].max(initial=-1.0) < self.alike:
                    new.append(place)
            kept = np.concatenate([kept, block[new]])
        return kept


def _means(values: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Mean of the values `[c]` of each owner that has some, in the owners' order, float64."""
    place = np.unique(owner, return_inverse=True)[1]
    return np.bincount(place, values) / np.maximum(np.bincount(place), 1)
