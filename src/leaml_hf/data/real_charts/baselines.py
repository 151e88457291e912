"""How much the questions about real charts give away without a picture."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from ...errors import LeamlInputError
from ..baselines import Row, question_baselines


def real_charts_baselines(folder: str | os.PathLike) -> dict[str, object]:
    """
    Measures baselines that never see a picture, trained on `train/` and tested on `test/`.

    Args:
        folder (`str` or `os.PathLike`): a folder that `build_real_charts` wrote.

    Returns:
        `dict`: as from [`~data.baselines.question_baselines`].

    Raises:
        [`LeamlInputError`]: if the folder has no `metadata.jsonl` for both splits.
    """
    return question_baselines(*(_rows(Path(folder) / split / "metadata.jsonl") for split in ("train", "test")))


def _rows(path: Path) -> Iterator[Row]:
    if not path.is_file():
        raise LeamlInputError(f"{path} is missing: build the real charts first.")
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield row["program"], row["question"], row["answer"]
