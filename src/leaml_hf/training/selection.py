"""Which rows to have answered: a stratified sample, or (which taught less) those that stand for many, lie far from all
others, or are answered without certainty."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..data.budget import parse_budget
from ..data.conversations import as_rows
from ..errors import LeamlInputError
from .coverage import k_center, stratified, typical, uncertain
from .meaning import QuestionMeaning

if TYPE_CHECKING:
    from datasets import Dataset

    from ..modeling_leaml import LeamlForVisualQA
    from ..processing_leaml import LeamlProcessor
    from .cache import FrozenCache

METHODS = ("stratified", "typical", "k-center", "uncertain")
MOST_ROWS = 24_000  # that are compared; of more, as many at random
MOST_ASKED = 2_000  # rows that an adapter answers to find out which it is unsure of; of more, as many at random
ENCODED = 256  # pictures at a time


def select_rows(
    rows: "Dataset",
    budget: str | int,
    model: "LeamlForVisualQA",
    processor: "LeamlProcessor",
    method: str = "stratified",
    labelled: Sequence[int] = (),
    seed: int = 0,
    progress: bool = False,
    cache: "FrozenCache | None" = None,
) -> list[int]:
    """
    Chooses rows to be answered; no answer is looked at.

    Args:
        rows (`Dataset`): with `image`, `question` and `answer`, or conversations, whose places are those in
            [`~leaml_hf.data.conversations.as_rows`]; rows without a question are not chosen.
        budget (`str` or `int`): how many: a share of the rows that may be chosen ("1%"), a number, or "all".
        model ([`LeamlForVisualQA`]): base whose states tell what is alike; for `"uncertain"` one with an adapter.
        processor ([`LeamlProcessor`]): of the model.
        method (`str`, *optional*, defaults to `"stratified"`): `"stratified"` (by kinds of questions, spread over
            pictures), `"typical"` (TypiClust) or `"k-center"` for a start without labels, or `"uncertain"`: rows with
            a low calibrated confidence, spread over clusters.
        labelled (`Sequence[int]`, *optional*): places of rows that are labelled or about to be, beside those with an
            answer (where all rows have one, answers don't count); neither they nor rows like them are chosen.
        seed (`int`, *optional*, defaults to 0): of clusters, and of the draw where there are too many rows.
        progress (`bool`, *optional*, defaults to `False`): whether to show bars.
        cache ([`FrozenCache`], *optional*): of the model; pictures are looked up there.

    Returns:
        `list[int]`: places of the chosen rows, the best first.

    Raises:
        [`LeamlInputError`]: if the method is unknown, no row with a question is left, or there are fewer of them than
            the budget asks for.
    """
    if method not in METHODS:
        raise LeamlInputError(f"There is no method '{method}' of choosing rows; take {', '.join(METHODS)}.")
    rows = as_rows(rows)
    asked = np.array([bool(question) for question in rows["question"]], dtype=bool)
    answered = np.array([bool(answer) for answer in rows["answer"]], dtype=bool)
    known = answered & ~answered[asked].all()
    known[np.asarray(labelled, dtype=int)] = True
    free = np.flatnonzero(asked & ~known)
    if not len(free):
        raise LeamlInputError("No row has a question and still lacks an answer, so there is none to choose; write the "
                              "questions into the metadata.")  # fmt: skip
    count = _wanted(budget, len(free))
    free = _at_most(free, max(count, MOST_ASKED if method == "uncertain" else MOST_ROWS), seed)
    if method == "uncertain":
        features = row_features(rows.select(free), model, processor, cache)
        places = uncertain(
            features.joined, _uncertainty(rows.select(free), model, processor, progress, cache), count, seed
        )
        return free[places].tolist()
    places = np.concatenate([free, np.flatnonzero(asked & known)])
    features = row_features(rows.select(places), model, processor, cache)
    return places[cover(method, features, count, range(len(free), len(places)), seed)].tolist()


def cover(method: str, features: "RowFeatures", count: int, labelled: Sequence[int] = (), seed: int = 0) -> list[int]:
    """Places of `count` rows by `"stratified"`, `"typical"` or `"k-center"`, see [`~training.coverage`]."""
    if method == "stratified":
        return stratified(features.questions, features.pictures, count, labelled, seed)
    return (typical if method == "typical" else k_center)(features.joined, count, labelled, seed)


def _wanted(budget: str | int, available: int) -> int:
    text = str(budget).strip()
    if text.isdecimal() and int(text) > available:
        raise LeamlInputError(f"{text} rows are wanted, but only {available} with a question may be chosen; ask for "
                              "fewer.")  # fmt: skip
    return parse_budget(text, available, "--budget")


def _at_most(places: np.ndarray, count: int, seed: int) -> np.ndarray:
    return places if len(places) <= count else np.sort(np.random.default_rng([seed, 43]).permutation(places)[:count])


def _uncertainty(
    rows: "Dataset",
    model: "LeamlForVisualQA",
    processor: "LeamlProcessor",
    progress: bool,
    cache: "FrozenCache | None",
) -> np.ndarray:
    """`[n]`, in [0, 1]: how probable it is that the answer is wrong, as far as the model knows."""
    from ..evaluation.runner import apply_reliability, predict

    answered = predict(model, processor, rows, progress=progress, cache=cache)
    return 1 - apply_reliability(model, answered)["confidence"]


class RowFeatures(NamedTuple):
    """What tells n rows apart: the picture as the frozen encoder sees it, `[n, Dv]`, and the meaning of the question,
    `[n, D]`; float32, each of length 1."""

    pictures: np.ndarray
    questions: np.ndarray

    @property
    def joined(self) -> np.ndarray:
        """`[n, Dv + D]`, of length 1: half of a squared distance is due to each."""
        return np.concatenate(self, 1) / np.float32(np.sqrt(2))


def row_features(
    rows: "Dataset", model: "LeamlForVisualQA", processor: "LeamlProcessor", cache: "FrozenCache | None" = None
) -> RowFeatures:
    """
    Features of rows, each kind seen from its own mean.

    Args:
        rows (`Dataset`): n rows with `image` and `question`.
        model ([`LeamlForVisualQA`]): whose states are read.
        processor ([`LeamlProcessor`]): of the model.
        cache ([`FrozenCache`], *optional*): of the model; pictures are looked up there.

    Returns:
        [`RowFeatures`].
    """
    from ..evaluation.runner import picture_states

    model.eval()
    pictures = picture_states(model, processor, rows, cache)["vision"].astype(np.float32)
    questions = QuestionMeaning(model, processor.tokenizer)(rows["question"])
    return RowFeatures(_directions(pictures), _directions(questions))


def _directions(states: np.ndarray) -> np.ndarray:
    """States `[n, D]` seen from their mean, scaled to length 1."""
    centred = states - states.mean(0)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True).clip(1e-6)
