"""Labelled examples that are put before a question: those nearest to it, by picture and by question."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.spatial.distance import cdist

from .errors import LeamlInputError
from .files import damaged, digest, read_checked
from .images import Picture, load_image

FORMAT = 1
TENSORS_NAME = "leaml_retrieval.safetensors"
CONFIG_NAME = "leaml_retrieval.json"
ARRAYS = ("pictures", "thumbnails", "questions")
SIDE = 8  # of a thumbnail
SAME_PICTURE = 0.04  # of the range from black to white: by how much a cell of a copy's thumbnail may differ
TOLD_APART = 4  # decimals of a likeness, so that what a batch adds by rounding does not change an order

Example = tuple[str, str]
"""A question and its answer."""


def thumbnail(picture: Picture) -> np.ndarray:
    """
    What a picture shares with its copies in another size, format or quality, and hardly with other pictures.

    The states of a vision encoder won't do: those of a picture at half its size may be further from its own than
    another picture's.

    Args:
        picture (`str`, `PathLike`, `PIL.Image.Image` or `np.ndarray`): as in [`~images.load_image`].

    Returns:
        `np.ndarray`: `[64]` float32, the mean brightness of 8 x 8 cells, in [0, 1].
    """
    cells = load_image(picture).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(cells, dtype=np.float32).ravel() / 255


class ExampleIndex:
    """
    Labelled examples, of which the nearest to a new question are put before it.

    Likeness is the mean of two cosines, of the picture's states and of the question's, each seen from the mean of the
    index: in-context examples chosen by picture and question, as in PICa (Yang et al. 2022, arXiv 2109.05014). Copies
    of the picture that is asked about are left out, whatever their size or format: else a labelled picture would bring
    its own answer.

    Made by [`ExampleIndex.fit`] or [`ExampleIndex.load`].

    Args:
        examples (`Sequence[tuple[str, str]]`): n questions with their answers, as the decoder is to see them.
        arrays (`dict[str, np.ndarray]`): `pictures` `[n, Dv]` and `questions` `[n, De]`, unit vectors, and
            `thumbnails` `[n, 64]`; float16.
        k (`int`): examples for a question.
        base_fingerprint (`str`, *optional*): of the base whose states they are.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        arrays: dict[str, np.ndarray],
        k: int,
        base_fingerprint: str | None = None,
    ) -> None:
        self.examples, self.arrays, self.k, self.base_fingerprint = list(examples), dict(arrays), k, base_fingerprint

    @classmethod
    def fit(
        cls,
        examples: Sequence[Example],
        pictures: np.ndarray,
        thumbnails: np.ndarray,
        questions: np.ndarray,
        k: int,
        base_fingerprint: str | None = None,
    ) -> "ExampleIndex":
        """
        Makes an index.

        Args:
            examples (`Sequence[tuple[str, str]]`): n questions with their answers, as the decoder is to see them.
            pictures (`np.ndarray`): `[n, Dv]` mean vision states.
            thumbnails (`np.ndarray`): `[n, 64]`, see [`thumbnail`].
            questions (`np.ndarray`): `[n, De]` mean word embeddings.
            k (`int`): examples for a question, 1 or more; where there are fewer, all of them.
            base_fingerprint (`str`, *optional*): of the base whose states they are.

        Returns:
            [`ExampleIndex`].

        Raises:
            [`LeamlInputError`]: if there is no example, or k is below 1.
        """
        if not examples:
            raise LeamlInputError("There is no labelled example to retrieve: give one or more.")
        if k < 1:
            raise LeamlInputError(f"k must be 1 or more, but got {k}.")
        arrays = {"pictures": _unit(pictures), "thumbnails": thumbnails, "questions": _unit(questions)}
        return cls(examples, {name: array.astype(np.float16) for name, array in arrays.items()}, k, base_fingerprint)

    def nearest(self, pictures: np.ndarray, thumbnails: np.ndarray, questions: np.ndarray) -> list[list[Example]]:
        """
        The examples to put before each question.

        Args:
            pictures (`np.ndarray`): `[m, Dv]`, as in [`~ExampleIndex.fit`].
            thumbnails (`np.ndarray`): `[m, 64]`.
            questions (`np.ndarray`): `[m, De]`.

        Returns:
            `list[list[tuple[str, str]]]`: for each question up to k examples, the nearest last; none of a picture
                whose thumbnail is that of the question's own.

        Raises:
            [`LeamlInputError`]: if states have another width than those of the index.
        """
        given = {"pictures": pictures, "questions": questions}
        for name, states in given.items():
            if states.shape[1] != self.arrays[name].shape[1]:
                raise LeamlInputError(
                    f"The labelled examples are of another base: their states of {name} have the width "
                    f"{self.arrays[name].shape[1]}, and this model's {states.shape[1]}; set model.retrieval to None "
                    "or train again."
                )
        likeness = np.mean([self._likeness(name, states) for name, states in given.items()], axis=0)  # [m, n]
        apart = cdist(thumbnails, self.arrays["thumbnails"], "chebyshev")  # [m, n]
        likeness = np.where(apart > SAME_PICTURE, likeness.round(TOLD_APART), -np.inf)
        order = np.argsort(-likeness, axis=1, kind="stable")[:, : self.k]
        return [[self.examples[i] for i in reversed(row) if likeness[asked, i] > -np.inf]
                for asked, row in enumerate(order)]  # fmt: skip

    def _likeness(self, name: str, states: np.ndarray) -> np.ndarray:
        """`[m, n]`, in [-1, 1]."""
        mean, known = self._directions[name]
        return _unit(_unit(states) - mean) @ known.T

    @cached_property
    def _directions(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """The mean, and the examples seen from it."""
        states = {name: self.arrays[name].astype(np.float32) for name in ("pictures", "questions")}
        return {name: (array.mean(0), _unit(array - array.mean(0))) for name, array in states.items()}

    def save(self, folder: str | Path) -> None:
        """
        Writes `leaml_retrieval.safetensors` (states and thumbnails) and `leaml_retrieval.json` (questions, answers
        and all else, with a checksum of both).

        Args:
            folder (`str` or `Path`): is there.
        """
        from safetensors.numpy import save

        tensors = save({name: np.ascontiguousarray(array) for name, array in self.arrays.items()})
        config: dict[str, Any] = {
            "format": FORMAT,
            "k": self.k,
            "base_fingerprint": self.base_fingerprint,
            "examples": self.examples,
        }
        config["sha256"] = digest(config, tensors)
        (Path(folder) / TENSORS_NAME).write_bytes(tensors)
        text = json.dumps(config, indent=1, ensure_ascii=False)
        (Path(folder) / CONFIG_NAME).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path, base_fingerprint: str | None = None) -> "ExampleIndex":
        """
        Reads what `save` wrote.

        Args:
            folder (`str` or `Path`): holds the two files.
            base_fingerprint (`str`, *optional*): of the base that it is for.

        Returns:
            [`ExampleIndex`]: gives exactly the examples of the one that was saved.

        Raises:
            [`LeamlInputError`]: if a file is missing, cut short or changed, of a format that this version can't read,
                or of another base.
        """
        folder = Path(folder)
        config, arrays = read_checked(folder, CONFIG_NAME, TENSORS_NAME, FORMAT)
        try:
            examples = [(question, answer) for question, answer in config["examples"]]
            index = cls(examples, arrays, config["k"], config["base_fingerprint"])
            if not index._is_sound():
                raise damaged(folder / CONFIG_NAME)
        except LeamlInputError:
            raise
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            raise damaged(folder / CONFIG_NAME) from error
        if index.base_fingerprint != base_fingerprint:
            raise LeamlInputError(
                f"{folder / CONFIG_NAME} is of another base than this adapter, so its examples can't be found by this "
                "model's states: fetch or save the adapter again."
            )
        return index

    def _is_sound(self) -> bool:
        """Whether the values are of the kinds that they should be, as those of a file may not be."""
        return (
            all(isinstance(text, str) for example in self.examples for text in example)
            and isinstance(self.k, int)
            and self.k >= 1
            and set(self.arrays) == set(ARRAYS)
            and all(a.ndim == 2 and a.shape[0] == len(self.examples) > 0 for a in self.arrays.values())
            and self.arrays["thumbnails"].shape[1] == SIDE * SIDE
            and all(a.shape[1] > 0 and np.abs(a).max() <= 1 for a in self.arrays.values())
        )


def _unit(states: np.ndarray) -> np.ndarray:
    """Rows `[n, D]` as float32 of length 1; rows of zeros stay."""
    states = np.asarray(states, dtype=np.float32)
    return states / np.linalg.norm(states, axis=1, keepdims=True).clip(1e-6)
