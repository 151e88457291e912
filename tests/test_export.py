"""A written cell of Visual Arrays reads back as what was drawn."""

import pytest

from leaml_hf import LeamlInputError
from leaml_hf.data.export import write_folder
from leaml_hf.data.folders import load_folder
from leaml_hf.data.visual_arrays import iter_rows


def test_what_is_written_reads_back_the_same(tmp_path):
    folder = write_folder("visual-arrays:layout/style", tmp_path / "out", rows=20, seed=4)
    splits = load_folder(folder)
    assert {name: len(part) for name, part in splits.items()} == {"train": 20, "validation": 20, "test": 20}
    for name, part in splits.items():
        for row, drawn in zip(part, iter_rows("layout", "style", name, 0, 20, seed=4), strict=True):
            assert row["image"].convert("RGB").tobytes() == drawn.pop("image").tobytes()
            assert all(row[key] == value for key, value in drawn.items())
    assert len(list((folder / "train").glob("*.png"))) == 3  # 8 questions share a picture


@pytest.mark.parametrize(
    ("spec", "rows", "reason"),
    [
        ("my-charts", 8, "cannot be generated"),
        ("visual-arrays:maps", 8, "no task 'maps'"),
        ("visual-arrays:chart", 0, "at least 1"),
    ],
)
def test_wrong_use_writes_nothing(tmp_path, spec, rows, reason):
    with pytest.raises(LeamlInputError, match=reason):
        write_folder(spec, tmp_path / "out", rows)
    assert not (tmp_path / "out").exists()


def test_files_that_are_there_stay(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for output in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(LeamlInputError, match="give a new folder"):
            write_folder("visual-arrays:chart", output, 8)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("notes.txt", "mine")]
