"""How much of Visual Arrays needs its picture: what a model answers when it sees the picture of other questions."""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.journal import append_journal, read_journal
from ..data.visual_arrays.builder import iter_rows, row_features
from ..data.visual_arrays.scenes import QUESTIONS_PER_SCENE
from ..errors import LeamlInputError
from .runner import predict

if TYPE_CHECKING:
    from ..modeling_leaml import LeamlForVisualQA
    from ..processing_leaml import LeamlProcessor

BLIND = "blind.jsonl"
PART = 10  # pictures that are judged between two lines of the file


def measure_blind(
    model: "LeamlForVisualQA",
    processor: "LeamlProcessor",
    name: str,
    tasks: Iterable[str],
    folder: str | os.PathLike,
    pictures: int = 200,
    progress: bool = False,
) -> Path:
    """
    Asks a model questions of the test split (variant `base`, domain `synthetic`, seed 0), with their own picture and
    with that of the next questions. What a killed run has measured is kept.

    Args:
        model ([`LeamlForVisualQA`]): whom to ask.
        processor ([`LeamlProcessor`]): of the model.
        name (`str`): how the model is called in the card.
        tasks (`Iterable[str]`): of `TASKS`.
        folder (`str` or `os.PathLike`): an output of `write_shards`; the figures are written to `BLIND` in it.
        pictures (`int`, *optional*, defaults to 200): of each task, 8 questions each; rounded up to a
            multiple of `PART`.
        progress (`bool`, *optional*, defaults to `False`): whether to show a bar.

    Returns:
        `Path`: the file.

    Raises:
        [`LeamlInputError`]: if `pictures` is below 1.
    """
    from tqdm import tqdm

    if pictures < 1:
        raise LeamlInputError(f"At least 1 picture is needed to measure by, not {pictures}.")
    path, asked = Path(folder) / BLIND, {"model": name, "fingerprint": model.fingerprint()}
    parts = [asked | {"task": task, "start": start} for task in tasks for start in range(0, pictures, PART)]
    known = [{key: entry[key] for key in parts[0]} for entry in read_journal(path)]
    for part in tqdm([part for part in parts if part not in known], desc="blind", unit="part", disable=not progress):
        programs = _judge(model, processor, part["task"], part["start"])
        append_journal(path, part | {"programs": programs})
    return path


def _judge(model: "LeamlForVisualQA", processor: "LeamlProcessor", task: str, start: int) -> dict[str, list[int]]:
    """Of `PART` pictures, by program: questions, right answers to them, and right answers with the next picture."""
    import datasets

    step = QUESTIONS_PER_SCENE
    rows = list(iter_rows(task, "base", "test", step * start, step * (start + PART + 1)))
    others = [row | {"image": other["image"]} for row, other in zip(rows, rows[step:], strict=False)]
    own, other = (
        predict(model, processor, datasets.Dataset.from_list(shown, features=row_features())).correct
        for shown in (rows[:-step], others)
    )
    found: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(3, int))
    for row, *right in zip(others, own, other, strict=True):
        found[row["program"]] += (1, *right)
    return {program: counts.tolist() for program, counts in sorted(found.items())}


def read_blind(folder: str | os.PathLike) -> dict[str, Any] | None:
    """
    Figures of the model that was asked last.

    Args:
        folder (`str` or `os.PathLike`): with what [`measure_blind`] wrote.

    Returns:
        `dict` or `None`: `model` (its name), and under `tasks`, for each task and there for each program, `n`,
            `picture` and `blind` (accuracies in [0, 1] with their own picture and with another); `None` where nothing
            was measured.
    """
    entries = read_journal(Path(folder) / BLIND)
    if not entries:
        return None
    counts: dict[str, dict[str, np.ndarray]] = defaultdict(lambda: defaultdict(lambda: np.zeros(3, int)))
    for entry in entries:
        if (entry["model"], entry["fingerprint"]) == (entries[-1]["model"], entries[-1]["fingerprint"]):
            for program, found in entry["programs"].items():
                counts[entry["task"]][program] += found
    tasks = {
        task: {
            program: {"n": int(n), "picture": float(own / n), "blind": float(other / n)}
            for program, (n, own, other) in sorted(found.items())
        }
        for task, found in counts.items()
    }
    return {"model": entries[-1]["model"], "tasks": tasks}
