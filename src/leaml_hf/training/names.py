"""The names in questions, and the pictures in which they stand."""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from PIL import Image

from ..data.budget import picture_keys
from ..evaluation.runner import picture_states
from .mismatch import MANY_FOREIGN, MismatchMixin

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)
RARE = 0.01  # share of the pictures of whose questions a word may stand in and still name something
ALTERNATIVES = 8  # different words, written like names, that stand between the same words where names stand
RARE_PICTURES = 2  # a word of so few is rare in any number of pictures
MIN_PICTURES = 50  # with names, below which there is too little to learn from
ROWS_LOOKED_AT = 40_000  # unlabelled ones
LOOKED_AT = 200  # pictures with names, which tell whether many are from another domain than the labelled ones
CHECKED = 3000  # of a pool in which many are; the others are left out
_WORD = re.compile(r"\w+(?:[.\-'/&]\w+)*")


class _Word(NamedTuple):
    """A word of a question: from where to where it stands, its neighbours, and whether it is written like a name."""

    start: int
    end: int
    text: str
    between: tuple[str, str]
    like_a_name: bool


def names_asked(questions: Sequence[Sequence[str]]) -> list[list[str]]:
    """
    The names in the questions about each picture. What is asked is worded alike again and again, what is named is not:
    a name has a word that is rare among all questions, or one that is written like a name (with a capital that begins
    no sentence, or letters and digits) where many others stand between the same words. Such words beside each other,
    and numbers with them, are one name ("Batch 5", "Grade 8").

    Args:
        questions (`Sequence[Sequence[str]]`): of P pictures.

    Returns:
        `list[list[str]]`: of P pictures, different names in alphabetical order.
    """
    split = [[(text, _words_of(text)) for text in texts] for texts in questions]
    pictures_of: Counter[str] = Counter()
    instead: dict[tuple[str, str], set[str]] = defaultdict(set)
    for texts in split:
        pictures_of.update({word.text for _, words in texts for word in words})
        for word in (word for _, words in texts for word in words if word.like_a_name):
            instead[word.between].add(word.text)
    most = max(RARE_PICTURES, RARE * len(questions))

    def names(word: _Word) -> bool:
        return pictures_of[word.text] <= most or (word.like_a_name and len(instead[word.between]) >= ALTERNATIVES)

    return [sorted({name for text, words in texts for name in _names_in(text, words, names)}) for texts in split]


def bag_of(names: Sequence[Sequence[str]]) -> tuple[list[str], torch.Tensor]:
    """
    The W different names of P pictures, in alphabetical order, and `[P, W]` bool, which of them are of which picture.
    """
    bag = sorted({name for of_it in names for name in of_it})
    return bag, torch.tensor([[name in of_it for name in bag] for of_it in names])


def _words_of(text: str) -> list[_Word]:
    found = list(_WORD.finditer(text))
    texts = ["", *(word.group() for word in found), ""]
    words = []
    for place, word in enumerate(found):
        begins = place == 0 or any(mark in text[found[place - 1].end() : word.start()] for mark in ".?!:")
        capital, digit, letter = (any(map(is_it, word.group())) for is_it in (str.isupper, str.isdigit, str.isalpha))
        like_a_name = (capital and not begins) or (digit and letter)
        between = texts[place].lower(), texts[place + 2].lower()
        words.append(_Word(word.start(), word.end(), word.group(), between, like_a_name))
    return words


def _names_in(text: str, words: Sequence[_Word], names: Callable[[_Word], bool]) -> Iterator[str]:
    run: list[_Word] = []
    for word in words:
        joins = word.like_a_name or word.text.isdigit() or names(word)
        if run and not (joins and text[run[-1].end : word.start].isspace()):
            yield from _name_of(text, run, names)
            run = []
        if joins:
            run.append(word)
    yield from _name_of(text, run, names)


def _name_of(text: str, run: Sequence[_Word], names: Callable[[_Word], bool]) -> Iterator[str]:
    if any(map(names, run)):
        yield text[run[0].start : run[-1].end]


class NamedPictures:
    """
    Pictures with the names that their questions name.

    Args:
        rows (`Dataset`): with `image` and `question`; rows of one picture count as one.
    """

    def __init__(self, rows: "Dataset") -> None:
        asked: dict[str, list[int]] = {}
        for place, key in enumerate(picture_keys(rows)):
            asked.setdefault(key, []).append(place)
        questions = rows["question"]
        names = names_asked([[questions[place] for place in places] for places in asked.values()])
        named = [(places[0], of_it) for places, of_it in zip(asked.values(), names, strict=True) if of_it]
        self.names = [of_it for _, of_it in named]
        self.rows = rows.select_columns(["image", "question"]).select([place for place, _ in named])

    def select(self, places: Sequence[int]) -> "NamedPictures":
        """Those at some places."""
        chosen = copy(self)
        chosen.names, chosen.rows = [self.names[place] for place in places], self.rows.select(places)
        return chosen

    def __len__(self) -> int:
        return len(self.names)

    def different_names(self) -> list[str]:
        """In alphabetical order."""
        return sorted({name for of_it in self.names for name in of_it})

    def images(self, places: Sequence[int]) -> list[Image.Image]:
        """Decoded pictures."""
        return [self.rows[int(place)]["image"] for place in places]


class NamesMixin(MismatchMixin):
    """The names that [`LeamlTrainer`] finds in questions."""

    @cached_property
    def named_pictures(self) -> NamedPictures:
        """Unlabelled ones; if many of these look as if from another domain than the labelled ones, those that do
        not."""
        pictures = NamedPictures(self.unlabeled.select(range(min(len(self.unlabeled), ROWS_LOOKED_AT))))
        if len(pictures) < MIN_PICTURES:
            return pictures
        self.model.eval()
        check, order = self.check_pool(), np.random.default_rng([self.args.seed, 23]).permutation(len(pictures))

        def foreign(places: np.ndarray) -> np.ndarray:
            rows = pictures.rows.select(places)
            return check.foreign(picture_states(self.model, self.processing_class, rows, self.cache))

        if foreign(order[:LOOKED_AT]).mean() <= MANY_FOREIGN:
            return pictures
        places = np.sort(order[:CHECKED])
        of_domain = places[~foreign(places)]
        logger.info("%d of %d unlabelled pictures with names look as if from another domain and are left out.",
                    len(places) - len(of_domain), len(places))  # fmt: skip
        return pictures.select(of_domain)

    @cached_property
    def named_source(self) -> NamedPictures:
        """Those of the base's source."""
        return NamedPictures(self.source)
