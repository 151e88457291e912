"""DATA on the command line: a folder, a Hub data set, `real-charts`, or `visual-arrays:task/variant/domain`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LeamlInputError
from .budget import rows_with
from .conversations import as_rows
from .folders import load_folder
from .visual_arrays.builder import check_cell, load_visual_arrays

if TYPE_CHECKING:
    from datasets import Dataset

VISUAL_ARRAYS = "visual-arrays:"
REAL_CHARTS = "real-charts"
VISUAL_ARRAYS_ROWS = {"train": 8000, "validation": 800, "test": 1600}


def parse_cell(spec: str) -> tuple[str, str, str]:
    """Task, variant and domain of `visual-arrays:task/variant/domain`; without them, base and synthetic.

    Raises:
        LeamlInputError: if there is no such cell.
    """
    parts = spec.removeprefix(VISUAL_ARRAYS).split("/")
    if len(parts) > 3:
        raise LeamlInputError(f"'{spec}' has too many parts; write visual-arrays:task/variant/domain.")
    task, variant, domain = [*parts, *("base", "synthetic")[len(parts) - 1 :]]
    check_cell(task, variant, domain, "train")
    return task, variant, domain


def _visual_arrays(spec: str, splits: tuple[str, ...], seed: int) -> dict[str, "Dataset"]:
    cell = parse_cell(spec)
    return {split: load_visual_arrays(*cell, split, VISUAL_ARRAYS_ROWS[split], seed) for split in splits}


def _hub_dataset(name: str) -> dict[str, "Dataset"]:
    import datasets

    try:
        loaded = datasets.load_dataset(name)
    except (OSError, ValueError, datasets.exceptions.DatasetNotFoundError) as error:
        raise LeamlInputError(f"'{name}' is neither a folder here nor a data set that could be loaded from the Hub "
                              f"({type(error).__name__}); check the name and the network.") from None  # fmt: skip
    for split, rows in list(loaded.items()):
        loaded[split] = rows = as_rows(rows)
        for column in ("image", "question", "answer"):
            if column not in rows.column_names:
                raise LeamlInputError(f"The split {split} of '{name}' has no column {column}; rows need image, "
                                      "question and answer, or images and messages.")  # fmt: skip
        if "id" not in rows.column_names:
            loaded[split] = rows.add_column("id", [f"{split}-{row}" for row in range(len(rows))])
    return dict(loaded)


def complete_rows(dataset: "Dataset", name: str, columns: tuple[str, ...]) -> "Dataset":
    """The rows of DATA `name` in which no column of `columns` is empty.

    Raises:
        LeamlInputError: if there is no such row.
    """
    rows = rows_with(dataset, *columns)
    if len(rows) == 0:
        raise LeamlInputError(f"{name} has no row with {' and '.join(columns)}; add them to its metadata.")
    return rows


def load_data(
    spec: str, splits: tuple[str, ...] = ("train", "validation", "test"), seed: int = 0
) -> dict[str, "Dataset"]:
    """Rows of DATA by split.

    Args:
        spec (`str`): a folder, a Hub data set (rows or conversations), `real-charts` (drawn at first use) or
            `visual-arrays:task/variant/domain`.
        splits (`tuple[str, ...]`, *optional*): the splits wanted; one that DATA lacks is left out.
        seed (`int`, *optional*, defaults to 0): of drawn data, and of the split where a folder has none.

    Returns:
        `dict[str, Dataset]` with at least one split.

    Raises:
        LeamlInputError: if DATA does not exist, has none of the splits, or has bad rows.
    """
    if spec.startswith(VISUAL_ARRAYS):
        return _visual_arrays(spec, splits, seed)
    if spec == REAL_CHARTS:
        from .real_charts import build_real_charts, default_cache_dir

        spec = str(build_real_charts(default_cache_dir() / REAL_CHARTS, progress=sys.stderr.isatty()))
    loaded = load_folder(spec, seed) if Path(spec).exists() else _hub_dataset(spec)
    found = {split: loaded[split] for split in splits if split in loaded}
    if not found:
        raise LeamlInputError(f"{spec} has the splits {', '.join(loaded)}, but none of {', '.join(splits)}.")
    return found


def evaluation_split(spec: str, seed: int = 0) -> "Dataset":
    """The rows that `spec` is judged on: `test`, else `validation`, else all there is."""
    wanted = ("test",) if spec.startswith(VISUAL_ARRAYS) else ("train", "validation", "test")
    found = load_data(spec, wanted, seed)
    return found.get("test") or found.get("validation") or found["train"]
