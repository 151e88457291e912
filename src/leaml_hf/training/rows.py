"""From rows to tensors: the trainer's data sets and its collator."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from ..data.budget import picture_keys
from ..processing_leaml import LeamlProcessor
from ..retrieval import Example
from .cache import FrozenCache, PrefixCache
from .views import WEAK, view_of

if TYPE_CHECKING:
    from datasets import Dataset

    from ..phrasebook import Phrasebook

STRONG_VIEWS = 4  # different strong views of a picture


class RowDataset(torch.utils.data.Dataset):
    """Rows with the key of their picture, an answer that may stand in for a missing one, and a weight.

    Args:
        rows (`Dataset`): with `image`, `question`, `answer`.
        answers (`Sequence[str]`, *optional*): stand-ins for the rows' own answers.
        weights (`Sequence[float]`, *optional*): of each row's loss; defaults to 1.
        phrasebook ([`Phrasebook`], *optional*): puts questions and answers into the model's words.
    """

    def __init__(self, rows: "Dataset", answers: Sequence[str] | None = None, weights: Sequence[float] | None = None,
                 phrasebook: "Phrasebook | None" = None) -> None:  # fmt: skip
        self.pictures = rows.select_columns("image")
        self.questions = list(rows["question"])
        self.answers = list(rows["answer"]) if answers is None else answers
        if phrasebook is not None:
            self.questions, self.answers = phrasebook.teach(self.questions, self.answers)
        self.weights = [1.0] * len(rows) if weights is None else weights
        self.keys = picture_keys(rows)
        self.examples: Sequence[Sequence[Example]] = [()] * len(rows)  # before each question

    def __len__(self) -> int:
        return len(self.keys)

    def _load(self, index: int) -> Image.Image:
        return self.pictures[index]["image"]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """`load_image` decodes the picture when it is called, which a cached one never is."""
        return {
            "load_image": partial(self._load, index),
            "question": self.questions[index],
            "answer": self.answers[index],
            "examples": self.examples[index],
            "weight": self.weights[index],
            "key": self.keys[index],
        }


@dataclass
class LeamlCollator:
    """
    Rows to model inputs: token ids, labels masked to the answers, and vision states from the cache or pixels.

    Args:
        processor ([`LeamlProcessor`]): of the model.
        cache ([`FrozenCache`] or [`PrefixCache`], *optional*): without it the whole model runs.
        strong_views (`bool`, *optional*, defaults to `False`): whether rows are seen under a strong view.
        seed (`int`, *optional*, defaults to 0): of the views drawn.
        drawn (`int`, *optional*, defaults to 0): views that were drawn before.
    """

    processor: LeamlProcessor
    cache: FrozenCache | PrefixCache | None
    strong_views: bool = False
    seed: int = 0
    drawn: int = 0

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng([self.seed, 77])
        self._rng.integers(STRONG_VIEWS, size=self.drawn)

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        views = [int(self._rng.integers(STRONG_VIEWS)) if self.strong_views else WEAK for _ in rows]
        if self.cache is None:
            pictures = [view_of(r["load_image"](), r["key"], v, self.seed) for r, v in zip(rows, views, strict=True)]
            texts = {f"{name}s": [row[name] for row in rows] for name in ("question", "answer")}
            texts["examples"] = [row["examples"] for row in rows]
            batch = dict(self.processor(images=pictures, **texts))
        else:
            batch = self.cache.inputs(rows, views)
        batch["weights"] = torch.tensor([r["weight"] for r in rows], dtype=torch.float32)
        return batch
