"""Which labelled examples stand before the question of a row, in training as in answering."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..answering import mean_words_of, read_features, thumbnails_of
from ..data.budget import first_places
from ..evaluation.runner import CHUNK, open_pictures
from ..retrieval import Example, ExampleIndex
from .rows import RowDataset

if TYPE_CHECKING:
    from ..modeling_leaml import LeamlForVisualQA
    from .cache import FrozenCache

READ_AT_ONCE = 16  # pictures of an existing model


class ExampleFinder:
    """
    Reads what is needed to find examples for rows; each picture once.

    Args:
        model ([`LeamlForVisualQA`]): whose states are read, in evaluation mode.
        processor ([`LeamlProcessor`]): of the model.
        cache ([`FrozenCache`], *optional*): of the model; pictures are looked up there.
    """

    def __init__(self, model: "LeamlForVisualQA", processor: Any, cache: "FrozenCache | None" = None) -> None:
        self.model, self.processor, self.cache = model, processor, cache
        self._seen: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def fit(self, rows: RowDataset, k: int) -> ExampleIndex:
        """
        Makes an index of labelled rows.

        Args:
            rows ([`RowDataset`]): n rows in the words that the decoder is to see.
            k (`int`): examples for a question.

        Returns:
            [`ExampleIndex`].
        """
        examples = list(zip(rows.questions, rows.answers, strict=True))
        return ExampleIndex.fit(examples, *self._read(rows), k, self.model.config.base_fingerprint)

    def find(self, rows: RowDataset) -> list[list[Example]]:
        """
        The examples in the model's index to put before each question, none of them of the row's own picture.

        Args:
            rows ([`RowDataset`]): m rows.

        Returns:
            `list[list[tuple[str, str]]]`: for each row up to k questions with their answers.
        """
        return self.model.retrieval.nearest(*self._read(rows))

    def _read(self, rows: RowDataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each row mean vision states `[n, Dv]`, thumbnail `[n, 64]` and the question's words `[n, De]`."""
        new = [(key, place) for key, place in first_places(rows.keys).items() if key not in self._seen]
        for start in range(0, len(new), CHUNK):
            keys, places = zip(*new[start : start + CHUNK], strict=True)
            opened = open_pictures(self.model, self.processor, rows.pictures.select(places)["image"], keys, self.cache)
            pictures = [opened[key] for key in keys]
            states = self._mean_states(pictures, [rows.questions[place] for place in places])
            self._seen.update(zip(keys, zip(states, thumbnails_of(pictures), strict=True), strict=True))
        vision, thumbnails = zip(*(self._seen[key] for key in rows.keys), strict=True)
        return np.stack(vision), np.stack(thumbnails), mean_words_of(self.model, self.processor, rows.questions)

    def _mean_states(self, pictures: list[Any], questions: list[str]) -> np.ndarray:
        """`[P, Dv]`."""
        if self.model.config.is_composed:
            return np.stack([picture.states.float().mean(0).numpy() for picture in pictures])
        parts = [slice(start, start + READ_AT_ONCE) for start in range(0, len(pictures), READ_AT_ONCE)]
        read = [read_features(self.model, pictures[part], questions[part], self.processor)[0] for part in parts]
        return np.concatenate(read)
