"""Writes a cell of Visual Arrays as an ImageFolder."""

import json
from pathlib import Path

from ..errors import LeamlInputError
from .png import encode_png
from .sources import VISUAL_ARRAYS, parse_cell
from .visual_arrays.builder import iter_rows
from .visual_arrays.scenes import QUESTIONS_PER_SCENE, SPLITS


def write_folder(spec: str, output: Path, rows: int, seed: int = 0) -> Path:
    """Writes `rows` rows a split of `visual-arrays:task/variant/domain`, one PNG a picture.

    Args:
        spec (`str`): the cell.
        output (`Path`): a new or empty folder.
        rows (`int`): rows in each of train, validation and test.
        seed (`int`, *optional*, defaults to 0): of the drawing.

    Returns:
        `Path`: the folder.

    Raises:
        LeamlInputError: if the cell does not exist, `rows` is below 1, or the folder holds something or is a file.
    """
    if not spec.startswith(VISUAL_ARRAYS):
        raise LeamlInputError(f"'{spec}' cannot be generated; give real-charts or visual-arrays:task/variant/domain.")
    if rows < 1:
        raise LeamlInputError(f"--rows must be at least 1, not {rows}.")
    if output.is_file():
        raise LeamlInputError(f"{output} is a file; give a new folder.")
    if output.exists() and any(output.iterdir()):
        raise LeamlInputError(f"{output} is not empty; give a new folder.")
    task, variant, domain = parse_cell(spec)
    for split in SPLITS:
        folder = output / split
        folder.mkdir(parents=True)
        with (folder / "metadata.jsonl").open("w") as metadata:
            for i, row in enumerate(iter_rows(task, variant, split, 0, rows, seed, domain)):
                name = f"{i // QUESTIONS_PER_SCENE:06d}.png"
                image = row.pop("image")
                if not (folder / name).exists():
                    (folder / name).write_bytes(encode_png(image))
                metadata.write(json.dumps({"file_name": name, **row}) + "\n")
    return output
