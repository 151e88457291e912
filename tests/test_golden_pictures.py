"""
Rows of Visual Arrays are what they were when weights were trained on them, however they are drawn.

    .venv/bin/python tests/test_golden_pictures.py    # writes the digests anew, only where other rows are meant
"""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from leaml_hf.data.visual_arrays.builder import draw_scene
from leaml_hf.data.visual_arrays.conventions import VARIANTS
from leaml_hf.data.visual_arrays.scenes import TASKS

GOLDEN = Path(__file__).parent / "golden" / "pictures.json"
DRAWN_WITH = ("pillow", "fontpkg-roboto", "fontpkg-caveat")  # other versions may draw other pixels
EACH = {"chart": 24, "diagram": 6, "layout": 6, "annotated": 3}


def digest(task: str, variant: str) -> str:
    """Of pixels, boxes, characters, questions and answers of the first pictures."""
    total = hashlib.sha256()
    for index in range(EACH[task]):
        drawing, _, questions = draw_scene(task, variant, "train", index)
        boxes = [box for part in (*drawing.parts, *drawing.annotations.values()) for box in part]
        places = np.array([*boxes, *((glyph.x, glyph.y, glyph.upwards, 0) for glyph in drawing.glyphs)])
        said = [(question.text, question.answer, question.relevant) for question in questions]
        total.update(drawing.image.tobytes() + (1e4 * places).round().astype(np.int32).tobytes())
        total.update(repr((said, [glyph.char for glyph in drawing.glyphs])).encode())
    return total.hexdigest()


def observe() -> dict:
    digests = {f"{task}-{variant}": digest(task, variant) for task in TASKS for variant in VARIANTS}
    return {"versions": {name: version(name) for name in DRAWN_WITH}, "digests": digests}


@pytest.mark.parametrize("task", TASKS)
def test_rows_are_as_they_were(task):
    expected = json.loads(GOLDEN.read_text())
    if expected["versions"] != {name: version(name) for name in DRAWN_WITH}:
        pytest.skip("the digests are of pictures drawn with other versions of Pillow or the fonts")
    digests = {cell: value for cell, value in expected["digests"].items() if cell.startswith(task)}
    assert digests == {f"{task}-{variant}": digest(task, variant) for variant in VARIANTS}


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(observe(), indent=1) + "\n")
