"""A user's own pictures: the ImageFolder convention of `datasets`, checked before any work starts.

`datasets` reads the same folders, but without a word on which row lacks its file or which picture is corrupt; and it
copies pictures into its cache. Here rows keep the path and a picture is decoded when it is used.
"""

import csv
import hashlib
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import LeamlInputError
from .conversations import TEXT_COLUMNS, are_conversations, one_picture, question_answer_pairs, turn_name

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)
SPLIT_FOLDERS = ("train", "validation", "test")
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
FILE_COLUMNS = ("file_name", "images", "image", "images_file_names")  # that name the picture of a conversation
METADATA_NAMES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
SPLIT_SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}  # by picture, where a folder has no splits of its own


def read_records(path: Path) -> list[Any]:
    """Rows of a metadata file with the types they have there; of a CSV file, texts.

    Raises:
        LeamlInputError: if the file can't be read.
    """
    try:
        return _records(path)
    except (ValueError, OSError, csv.Error) as error:  # the parsers of JSON and Parquet raise ValueErrors
        raise LeamlInputError(f"{path} could not be read as {path.suffix[1:]} ({error}); mend or remove it.") from None


def _records(path: Path) -> list[Any]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text("utf-8-sig").split("\n") if line.strip()]
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            records = list(csv.DictReader(file, strict=True))
        if any(None in record for record in records):
            raise ValueError("a row has more cells than the first line")
        return [{key: value for key, value in record.items() if value != ""} for record in records]
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path).to_pylist()


def _read_metadata(path: Path) -> list[dict[str, Any]]:
    """Rows of a metadata file, missing cells left out, with an `id`; a conversation gives one for each question."""
    rows = []
    for number, record in enumerate(read_records(path), 1):
        row = {k: v for k, v in record.items() if v is not None and v == v} if isinstance(record, dict) else {}
        turns = [row]
        if are_conversations(row):
            turns = _turns(row, f"{path} row {number}")
        elif not row.get("file_name"):
            raise LeamlInputError(f"{path} row {number} has no file_name; every row must name its picture.")
        name = str(row.get("id", f"{turns[0]['file_name']}#{number - 1}"))
        rows += [{**part, "id": turn_name(name, turn, len(turns)), "row": number} for turn, part in enumerate(turns)]
    return rows


def _turns(row: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """A conversation as rows with file_name, question and answer."""
    others = {key: value for key, value in row.items() if key not in (*TEXT_COLUMNS, *FILE_COLUMNS)}
    names = {"images": next((row[key] for key in FILE_COLUMNS if row.get(key)), None)}
    name = one_picture(names, where)
    return [{**others, "file_name": name, "question": question, "answer": answer}
            for question, answer in question_answer_pairs(row, where)]  # fmt: skip


def as_text(value: Any, where: str) -> str | None:
    """A question or an answer as text; an empty one counts as missing."""
    if isinstance(value, (list, dict)):
        raise LeamlInputError(f"{where} has a list as question or answer; give one text or number.")
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # pandas makes floats of integers beside a missing one
    text = "" if value is None else str(value).strip()
    return text or None


def _folder_rows(folder: Path) -> list[dict[str, Any]]:
    found = [folder / name for name in METADATA_NAMES if (folder / name).exists()] or _conversation_files(folder)
    if len(found) > 1:
        raise LeamlInputError(f"{folder} has {found[0].name} and {found[1].name}; keep one metadata file.")
    rows = _named_rows(folder, found[0]) if found else []
    named = {Path(row["image"]) for row in rows}
    bare = sorted(path for path in folder.rglob("*") if _is_picture(path, folder) and path not in named)
    if bare and found:
        logger.warning("%d pictures in %s have no row in %s; they count as unlabelled, without a question.",
                       len(bare), folder, found[0].name)  # fmt: skip
    for path in bare:
        rows.append({"image": str(path), "question": None, "answer": None, "id": str(path.relative_to(folder))})
    return rows


def _named_rows(folder: Path, metadata: Path) -> list[dict[str, Any]]:
    """The rows of a metadata file whose pictures lie in `folder`."""
    rows = []
    for record in _read_metadata(metadata):
        name, where = str(record.pop("file_name")), f"{metadata} row {record.pop('row')}"
        inside = os.path.normpath(name)
        if os.path.isabs(inside) or inside.split(os.sep)[0] == "..":
            raise LeamlInputError(f"{where} names '{name}', which lies outside the folder; name a file within it.")
        path = folder / inside
        if not os.path.isfile(path):
            raise LeamlInputError(f"{where} names '{name}', but there is no such file; "
                                  "add the picture or remove the row.")  # fmt: skip
        row = {"image": str(path), "question": as_text(record.pop("question", None), where),
               "answer": as_text(record.pop("answer", None), where), "id": record.pop("id")}  # fmt: skip
        rows.append({**row, **{key: value for key, value in record.items() if key not in row}})
    return rows


def _conversation_files(folder: Path) -> list[Path]:
    """Files of conversations, whatever their name; others that end in .jsonl are none of ours."""
    return [path for path in sorted(folder.glob("*.jsonl")) if path.name not in METADATA_NAMES and _is_talk(path)]


def _is_talk(path: Path) -> bool:
    """Whether the first line of a file holds a conversation."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = json.loads(next((line for line in file if line.strip()), "null"))
    except (ValueError, OSError):
        return False
    return isinstance(first, dict) and are_conversations(first)


def _is_picture(path: Path, folder: Path) -> bool:
    """Whether a file is named like a picture; what file managers and notebooks hide beside pictures is none."""
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden and path.is_file()


def split_of(picture: str, seed: int) -> str:
    """The split a picture falls into, by a hash of its file: a picture is on one side, under all its names."""
    content = hashlib.sha256(Path(picture).read_bytes()).hexdigest()
    digest = hashlib.sha256(f"{seed}/{content}".encode()).digest()
    point, edge = int.from_bytes(digest[:8], "big") / 2**64, 0.0
    for split, share in SPLIT_SHARES.items():
        edge += share
        if point < edge:
            return split
    return split


def rows_to_dataset(rows: list[dict[str, Any]]) -> "Dataset":
    """Rows as a `Dataset` whose pictures are decoded on use; keys that only some rows have become None elsewhere."""
    import datasets
    import pyarrow as pa

    keys = dict.fromkeys(("image", "question", "answer", "id"))
    for row in rows:
        keys.update(dict.fromkeys(row))
    columns = {key: [row.get(key) for row in rows] for key in keys}
    try:
        features = datasets.Features.from_arrow_schema(pa.table(columns).schema)
        features |= {"image": datasets.Image(), **dict.fromkeys(("question", "answer"), datasets.Value("string"))}
        return datasets.Dataset.from_dict(columns, features=features)
    except (TypeError, ValueError, OverflowError) as error:
        raise LeamlInputError(
            f"A metadata column holds values of different kinds ({error}); use one kind a column."
        ) from None


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
            `answer`, `id` and anything else), or `train/`, `validation/`, `test/` folders of that form. Rows may be
            conversations (see [`~leaml_hf.data.conversations`]) whose `images` or `file_name` names their picture;
            these may also lie in a .jsonl file of any name, or in train.jsonl, validation.jsonl and test.jsonl.
        seed (`int`, *optional*, defaults to 0): of the split by picture, where the folder has no splits.

    Returns:
        `dict[str, Dataset]`: by split; a split without rows is left out. A row without an answer is unlabelled, a
        picture without a row has no question.

    Raises:
        LeamlInputError: if the folder is missing or empty, a row's file is missing, or a picture cannot be used.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise LeamlInputError(f"There is no folder {folder}.")
    parts = [name for name in SPLIT_FOLDERS if (folder / name).is_dir()]
    files = {path.stem: path for path in _conversation_files(folder)}
    if parts:
        _check_nothing_beside(folder)
        splits = {name: _folder_rows(folder / name) for name in parts}
    elif files and files.keys() <= set(SPLIT_FOLDERS):
        parts = [name for name in SPLIT_FOLDERS if name in files]
        splits = {name: _named_rows(folder, files[name]) for name in parts}
    else:
        splits = {"": _folder_rows(folder)}
    rows = [row for part in splits.values() for row in part]
    if not rows:
        raise LeamlInputError(f"{folder} holds no pictures; put pictures and a metadata.jsonl with file_name, "
                              "question and answer into it.")  # fmt: skip
    pictures = sorted({row["image"] for row in rows})
    check_pictures(pictures)
    if not parts:
        split = {picture: split_of(picture, seed) for picture in pictures}
        splits = {name: [row for row in rows if split[row["image"]] == name] for name in SPLIT_FOLDERS}
    return {name: rows_to_dataset(part) for name, part in splits.items() if part}


def _check_nothing_beside(folder: Path) -> None:
    """Refuses metadata, and tells of pictures, that lie beside split folders, where nothing is read."""
    metadata = [folder / name for name in METADATA_NAMES if (folder / name).exists()] + _conversation_files(folder)
    if metadata:
        raise LeamlInputError(f"{folder} has split folders, so {metadata[0].name} is not read; put one into each of "
                              "them, with file_name relative to it.")  # fmt: skip
    beside = [path for path in folder.rglob("*") if _is_picture(path, folder)
              and path.relative_to(folder).parts[0] not in SPLIT_FOLDERS]  # fmt: skip
    if beside:
        logger.warning("%d pictures in %s are not read, since they are in none of %s.", len(beside), folder,
                       ", ".join(SPLIT_FOLDERS))  # fmt: skip
