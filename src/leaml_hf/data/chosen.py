"""The file of chosen rows: written by `leaml select`, filled in by a person, and read as a label budget."""

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LeamlInputError
from .folders import as_text, read_records

if TYPE_CHECKING:
    from datasets import Dataset

SUFFIXES = (".jsonl", ".csv")
COLUMNS = ("id", "picture", "question", "answer")


def is_chosen_file(budget: str | int) -> bool:
    """Whether a label budget is the name of such a file."""
    return str(budget).strip().lower().endswith(SUFFIXES)


def write_chosen(path: str | Path, rows: "Dataset") -> Path:
    """
    Writes rows for a person to fill in; an answer that is missing is null, or nothing in CSV.

    Args:
        path (`str` or `Path`): a new .jsonl or .csv file.
        rows (`Dataset`): the chosen ones.

    Returns:
        `Path`: the file.

    Raises:
        [`LeamlInputError`]: if there is a file already, or its name ends otherwise.
    """
    path = check_new(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [dict(zip(COLUMNS, cells, strict=True)) for cells in
               zip(rows["id"], _files(rows), rows["question"], rows["answer"], strict=True)]  # fmt: skip
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix.lower() == ".csv":
            table = csv.DictWriter(file, COLUMNS)
            table.writeheader()
            table.writerows(records)
        else:
            file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    return path


def check_new(path: str | Path) -> Path:
    """Refuses a file that is there, with what a person may have written into it, or its picture, and other endings."""
    path = Path(path)
    if not is_chosen_file(path.name):
        raise LeamlInputError(f"{path} should end in .jsonl or .csv; give another name for the file of chosen rows.")
    for file in (path, path.with_suffix(".png")):
        if file.exists():
            raise LeamlInputError(f"{file} is there already; give a new name, so that nothing in it is lost.")
    return path


def read_chosen(path: str | Path, rows: "Dataset") -> tuple["Dataset", list[int]]:
    """
    The rows that a file names, with its answers.

    Args:
        path (`str` or `Path`): written by [`write_chosen`], its answers filled in.
        rows (`Dataset`): that the file was written from.

    Returns:
        `tuple[Dataset, list[int]]`: all rows, with the file's answers where it has some, and the places of those that
        it names, in its order.

    Raises:
        [`LeamlInputError`]: if the file can't be read, or a row of it isn't one of `rows`.
    """
    from datasets import Value

    path = Path(path)
    if not path.is_file():
        raise LeamlInputError(f"There is no file {path} of chosen rows; leaml select writes one.")
    places: dict[str, int] = {}
    for place, name in enumerate(rows["id"]):
        places.setdefault(str(name), place)
    answers, named = list(rows["answer"]), []
    for number, record in enumerate(read_records(path), 1):
        where = f"{path} row {number}"
        name = as_text(record.get("id"), where) if isinstance(record, dict) else None
        if name not in places:
            raise LeamlInputError(f"{where} has the id {name!r}, which none of the training rows has; keep the column "
                                  "id, and the --seed that the rows were chosen with.")  # fmt: skip
        answer = as_text(record.get("answer"), where)
        named.append(places[name])
        answers[places[name]] = answer or answers[places[name]]
    filled = rows.remove_columns("answer").add_column("answer", answers, feature=Value("string"))
    return filled, list(dict.fromkeys(named))


def _files(rows: "Dataset") -> list[str | None]:
    """Where the pictures lie; None for pictures in memory."""
    import datasets

    pictures = rows.select_columns("image").cast_column("image", datasets.Image(decode=False))["image"]
    return [picture["path"] for picture in pictures]
