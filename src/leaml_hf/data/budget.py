"""How many of the answers present may be used, and which."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ..errors import LeamlInputError
from .chosen import is_chosen_file, read_chosen

if TYPE_CHECKING:
    from datasets import Dataset

HELD_OUT_SHARE = 0.3  # of the labels used: for early stopping, the guard and calibration
MAX_HELD_OUT = 400  # rows; what more of them would tell is worth less than learning from them
_Key = TypeVar("_Key", bound=Hashable)


def parse_budget(budget: str, available: int, option: str = "--labels") -> int:
    """Number of labels that "1%", "200" or "all" stands for; `option` is what errors call the budget.

    Raises:
        LeamlInputError: if the budget cannot be read, is not positive, or there are no labels.
    """
    text = str(budget).strip()
    if available == 0:
        raise LeamlInputError("The training data has no answers at all; add an answer to some rows of its metadata.")
    try:
        count = available if text == "all" else (
            round(available * float(text[:-1]) / 100) if text.endswith("%") else int(text)
        )  # fmt: skip
    except (ValueError, OverflowError):  # inf% overflows
        raise LeamlInputError(
            f"{option} takes a share such as 1%, a number such as 200, or all, not '{text}'."
        ) from None
    if count < 1:
        raise LeamlInputError(f"{option} {text} of {available} rows is no label at all; ask for more.")
    return min(count, available)


@dataclass
class LabelledPool:
    """`labelled` to learn from, `held_out` (labelled too) to stop, guard and calibrate by, the rest `unlabelled`."""

    labelled: "Dataset"
    held_out: "Dataset"
    unlabelled: "Dataset"

    @property
    def labels_used(self) -> int:
        return len(self.labelled) + len(self.held_out)


def draw_labels(dataset: "Dataset", budget: str, seed: int = 0) -> LabelledPool:
    """Draws the labels that may be used; all other answers are removed, so that nothing downstream can see them.

    Rows of one picture do not stand on both sides of labelled and held-out.

    Args:
        dataset (`Dataset`): rows with `image`, `question`, `answer`.
        budget (`str`): "1%", "200" or "all"; counts labelled and held-out rows together. Or a file of chosen rows
            (.jsonl or .csv, see `leaml select`), which may bring answers of its own.
        seed (`int`, *optional*, defaults to 0): of the draw.

    Raises:
        LeamlInputError: if there are fewer than 4 labels (two to learn from and two to check by), all of them are of
            one picture, or a file of chosen rows can't be used.
    """
    from datasets import Value

    offered: Iterable[int] = range(len(dataset))
    if is_chosen_file(budget):
        dataset, offered = read_chosen(budget, dataset)
    answers, questions = list(dataset["answer"]), list(dataset["question"])
    answered = np.array([i for i in offered if answers[i] and questions[i]], dtype=int)
    count = len(answered) if is_chosen_file(budget) else parse_budget(budget, len(answered))
    if count < 4:
        raise LeamlInputError(f"Only {count} label{'s' if count != 1 else ''} may be used; at least 4 are needed, two "
                              "to learn from and two to check the result by.")  # fmt: skip
    rng = np.random.default_rng([seed, 4711])
    chosen = rng.permutation(answered)[:count]
    pictures = picture_keys(dataset)
    sizes = Counter(pictures[i] for i in chosen)  # in the order drawn
    if len(sizes) == 1:
        raise LeamlInputError("All labels that may be used are of one picture, so none can be held out to check the "
                              "result by; label a second picture or ask for more.")  # fmt: skip
    held_pictures: set[str] = set()
    target, so_far = max(2, min(MAX_HELD_OUT, round(HELD_OUT_SHARE * count))), 0
    for key, size in sizes.items():
        if so_far < target and so_far + size <= count - 2:  # two labels at least stay to learn from
            held_pictures.add(key)
            so_far += size
    held = [int(i) for i in chosen if pictures[i] in held_pictures]
    labelled = [int(i) for i in chosen if pictures[i] not in held_pictures]
    used = set(map(int, chosen))
    hidden = dataset.remove_columns("answer").add_column("answer", [None] * len(dataset), feature=Value("string"))
    unlabelled = hidden.select([i for i in range(len(dataset)) if i not in used])
    return LabelledPool(dataset.select(labelled), dataset.select(held), unlabelled)


def rows_with(dataset: "Dataset", *columns: str) -> "Dataset":
    """The rows in which none of `columns` is empty."""
    cells = zip(*(dataset[column] for column in columns), strict=True)
    return dataset.select([i for i, row in enumerate(cells) if all(row)])


def picture_keys(dataset: "Dataset") -> list[str]:
    """A key per row that rows of the same picture share: its path, or a hash of its bytes."""
    import hashlib

    import datasets

    raw = dataset.select_columns("image").cast_column("image", datasets.Image(decode=False))["image"]
    return [r["path"] if r["bytes"] is None else hashlib.sha256(r["bytes"]).hexdigest() for r in raw]


def first_places(keys: Sequence[_Key]) -> dict[_Key, int]:
    """Each key once, in the order in which they come, and where it comes first."""
    first: dict[_Key, int] = {}
    for place, key in enumerate(keys):
        first.setdefault(key, place)
    return first
