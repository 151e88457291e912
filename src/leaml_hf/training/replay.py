"""Free rows of a shipped base's source: what it is asked in, and what keeps it from forgetting."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..backbones import SHIPPED_BASES
from ..data.visual_arrays import load_visual_arrays
from ..data.visual_arrays.builder import ask_scene
from ..data.visual_arrays.scenes import TASKS

if TYPE_CHECKING:
    from datasets import Dataset

SOURCE_ROWS = 2400
SCENES_READ = 100  # of each task, whose questions are compared with those of the new domain


def replay_rows(base: str, questions: Sequence[str], seed: int = 0) -> "Dataset | None":
    """
    Labelled rows that the base was trained on, drawn anew: of the task whose questions are worded most like the new
    ones.

    Args:
        base (`str`): name of a base; only the source of shipped ones can be drawn.
        questions (`Sequence[str]`): labelled questions of the new domain.
        seed (`int`, *optional*, defaults to 0): of the drawing.

    Returns:
        `Dataset` or `None`: rows with a `program`.
    """
    if base not in SHIPPED_BASES:
        return None
    return load_visual_arrays(nearest_task(questions), "base", split="train", num_rows=SOURCE_ROWS, seed=seed)


def nearest_task(questions: Sequence[str]) -> str:
    """
    The task of Visual Arrays whose questions are worded most like these, by the cosine of words and pairs of words.

    Args:
        questions (`Sequence[str]`): n questions, at least one.

    Returns:
        `str`: "chart", "layout", "diagram" or "annotated".
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    known = {task: sorted({question.text for scene in range(SCENES_READ)
                           for question in ask_scene(task, "train", scene)[1]}) for task in TASKS}  # fmt: skip
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+")
    vectorizer.fit([*questions, *(text for texts in known.values() for text in texts)])
    asked = vectorizer.transform(questions)
    nearness = {task: (asked @ vectorizer.transform(texts).T).max(axis=1).mean() for task, texts in known.items()}
    return max(nearness, key=nearness.get)
