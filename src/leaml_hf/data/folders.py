"""A user's own pictures: the ImageFolder convention of `datasets`, checked before any work starts.

`datasets` reads the same folders, but without a word on which row lacks its file or which picture is corrupt; and it
copies pictures into its cache. Here rows keep the path and a picture is decoded when it is used.
"""

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import LeamlInputError

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)
SPLIT_FOLDERS = ("train", "validation", "test")
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
METADATA_NAMES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
SPLIT_SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}  # by picture, where a folder has no splits of its own


def _read_metadata(path: Path) -> list[dict[str, Any]]:
    """Rows of a metadata file, missing cells left out."""
    import pandas as pd

    readers = {".jsonl": lambda p: pd.read_json(p, lines=True, dtype=False, convert_dates=False),
               ".csv": lambda p: pd.read_csv(p, dtype=str), ".parquet": pd.read_parquet}  # fmt: skip
    try:
        table = readers[path.suffix](path)
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors, pyarrow's too
        raise LeamlInputError(f"{path} could not be read as {path.suffix[1:]} ({error}); mend or remove it.") from None
    if len(table) and "file_name" not in table.columns:
        raise LeamlInputError(f"{path} has no column file_name; every row must name its picture.")
    rows = []
    for record in table.to_dict("records"):
        rows.append({k: v for k, v in record.items() if not (pd.api.types.is_scalar(v) and pd.isna(v))})
    return rows


def _text(value: Any) -> str | None:
    """A question or an answer as text; an empty one counts as missing."""
    text = "" if value is None else str(value).strip()
    return text or None


def _folder_rows(folder: Path) -> list[dict[str, Any]]:
    found = [folder / name for name in METADATA_NAMES if (folder / name).exists()]
    if len(found) > 1:
        raise LeamlInputError(f"{folder} has {found[0].name} and {found[1].name}; keep one metadata file.")
    rows, named = [], set()
    for number, record in enumerate(_read_metadata(found[0]) if found else []):
        name = str(record.pop("file_name", ""))
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise LeamlInputError(f"{found[0]} row {number + 1} names '{name}', which lies outside the folder.")
        if not path.is_file():
            raise LeamlInputError(f"{found[0]} row {number + 1} names '{name}', but there is no such file; "
                                  "add the picture or remove the row.")  # fmt: skip
        named.add(path)
        row = {"image": str(path), "question": _text(record.pop("question", None)),
               "answer": _text(record.pop("answer", None)), "id": str(record.pop("id", f"{name}#{number}"))}  # fmt: skip
        rows.append({**row, **record})
    bare = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p not in named)
    if bare and found:
        logger.warning("%d pictures in %s have no row in %s; they count as unlabelled, without a question.",
                       len(bare), folder, found[0].name)  # fmt: skip
    for path in bare:
        rows.append({"image": str(path), "question": None, "answer": None, "id": str(path.relative_to(folder))})
    return rows


def split_of(picture: str, seed: int) -> str:
    """The split a picture falls into, by a hash of its path's name, so that no picture is on both sides."""
    digest = hashlib.sha256(f"{seed}/{Path(picture).name}".encode()).digest()
    point, edge = int.from_bytes(digest[:8], "big") / 2**64, 0.0
    for split, share in SPLIT_SHARES.items():
        edge += share
        if point < edge:
            return split
    return split


def rows_to_dataset(rows: list[dict[str, Any]]) -> "Dataset":
    """Rows as a `Dataset` whose pictures are decoded on use; keys that only some rows have become None elsewhere."""
    import datasets

    keys = dict.fromkeys(("image", "question", "answer", "id"))
    for row in rows:
        keys.update(dict.fromkeys(row))
    try:
        dataset = datasets.Dataset.from_dict({key: [row.get(key) for row in rows] for key in keys})
    except (TypeError, ValueError, OverflowError) as error:
        raise LeamlInputError(
            f"A metadata column holds values of different kinds ({error}); use one kind a column."
        ) from None
    for key in ("question", "answer"):  # a column of None alone has no type of its own
        dataset = dataset.cast_column(key, datasets.Value("string"))
    return dataset.cast_column("image", datasets.Image())


def check_pictures(paths: list[str]) -> None:
    """Decodes every picture once, so that a bad one is named before training and not in the middle of it.

    Raises:
        LeamlInputError: names the first bad picture and says how many there are.
    """
    from concurrent.futures import ThreadPoolExecutor

    from ..processing_leaml import load_image

    def problem(path: str) -> str | None:
        try:
            load_image(path)
        except LeamlInputError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(4) as pool:
        problems = [p for p in pool.map(problem, paths) if p]
    if problems:
        more = f" (and {len(problems) - 1} more pictures are bad)" if len(problems) > 1 else ""
        raise LeamlInputError(problems[0] + more)


def load_folder(folder: str | Path, seed: int = 0) -> dict[str, "Dataset"]:
    """Reads a folder of pictures.

    Args:
        folder (`str` or `Path`): pictures with metadata.jsonl, .csv or .parquet (`file_name`, optionally `question`,
            `answer`, `id` and anything else), or `train/`, `validation/`, `test/` folders of that form.
        seed (`int`, *optional*, defaults to 0): of the split by picture, where the folder has no splits.

    Returns:
        `dict[str, Dataset]`: by split; a split without rows is left out. A row without an answer is unlabelled, a picture
        without a row has no question.

    Raises:
        LeamlInputError: if the folder is missing or empty, a row's file is missing, or a picture cannot be used.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise LeamlInputError(f"There is no folder {folder}.")
    parts = [name for name in SPLIT_FOLDERS if (folder / name).is_dir()]
    if parts:
        splits = {name: _folder_rows(folder / name) for name in parts}
    else:
        splits = {name: [] for name in SPLIT_FOLDERS}
        for row in _folder_rows(folder):
            splits[split_of(row["image"], seed)].append(row)
    splits = {name: rows for name, rows in splits.items() if rows}
    if not splits:
        raise LeamlInputError(f"{folder} holds no pictures; put pictures and a metadata.jsonl with file_name, question "
                              "and answer into it.")  # fmt: skip
    check_pictures(sorted({row["image"] for rows in splits.values() for row in rows}))
    return {name: rows_to_dataset(rows) for name, rows in splits.items()}
