"""DATA on the command line."""

import json
from pathlib import Path

import datasets
import pytest
from PIL import Image

from leaml_hf import LeamlInputError
from leaml_hf.data import sources
from leaml_hf.data.sources import complete_rows, evaluation_split, load_data, parse_cell


@pytest.fixture()
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "VISUAL_ARRAYS_ROWS", {"train": 16, "validation": 9, "test": 8})


def write_split(folder: Path, answers: list[str | None]) -> None:
    folder.mkdir(parents=True)
    Image.new("RGB", (4, 4), (len(str(folder)) % 256, 1, 2)).save(folder / "a.png")
    rows = [{"file_name": "a.png", "question": "q", "answer": answer} for answer in answers]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("spec", "cell"),
    [
        ("visual-arrays:chart", ("chart", "base", "synthetic")),
        ("visual-arrays:layout/style", ("layout", "style", "synthetic")),
        ("visual-arrays:chart/style/synthetic", ("chart", "style", "synthetic")),
    ],
)
def test_a_cell_has_defaults(spec, cell):
    assert parse_cell(spec) == cell


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ("", "no task ''"),
        ("maps", "no task 'maps'"),
        ("chart/", "no variant ''"),
        ("chart/photo", "no variant 'photo'"),
        ("chart/base/real", "no domain 'real'"),
        ("chart/base/synthetic/test", "too many parts"),
    ],
)
def test_a_cell_that_does_not_exist_is_told(rest, reason):
    with pytest.raises(LeamlInputError, match=reason):
        load_data(f"visual-arrays:{rest}")


def test_drawn_data_has_the_splits_asked_for(few_rows):
    splits = load_data("visual-arrays:layout/style", ("train", "validation"), seed=2)
    assert {name: len(part) for name, part in splits.items()} == {"train": 16, "validation": 9}
    assert set(splits["train"]["variant"]) == {"style"}
    assert load_data("visual-arrays:layout", ("test",), seed=2)["test"]["answer"] != splits["train"]["answer"][:8]


def test_a_folder_gives_the_splits_that_it_has(tmp_path):
    write_split(tmp_path / "train", ["x", "y"])
    write_split(tmp_path / "test", ["z"])
    assert list(load_data(str(tmp_path))) == ["train", "test"]
    assert list(load_data(str(tmp_path), ("test",))) == ["test"]
    with pytest.raises(LeamlInputError, match="train, test, but none of validation"):
        load_data(str(tmp_path), ("validation",))


class TestEvaluationSplit:
    def test_the_first_of_test_validation_and_train(self, tmp_path):
        write_split(tmp_path / "one" / "train", ["train"])
        assert evaluation_split(str(tmp_path / "one"))["answer"] == ["train"]
        write_split(tmp_path / "one" / "validation", ["validation"])
        assert evaluation_split(str(tmp_path / "one"))["answer"] == ["validation"]
        write_split(tmp_path / "one" / "test", ["test"])
        assert evaluation_split(str(tmp_path / "one"))["answer"] == ["test"]

    def test_of_drawn_data_only_the_test_split_is_drawn(self, few_rows):
        assert set(evaluation_split("visual-arrays:chart")["id"]) == {f"chart-base-test-0-0-{i}" for i in range(8)}


class TestHub:
    @pytest.mark.parametrize("name", ["nobody/nothing", "/no/such/folder", "a b", "x/y/z"])
    def test_what_is_nowhere_is_told(self, name, monkeypatch):
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        with pytest.raises(LeamlInputError, match="neither a folder here nor a data set") as error:
            load_data(name)
        assert name in str(error.value)

    def test_a_data_set_without_the_columns_is_told(self, monkeypatch):
        texts = datasets.DatasetDict({"train": datasets.Dataset.from_dict({"text": ["x"]})})
        monkeypatch.setattr(datasets, "load_dataset", lambda name: texts)
        with pytest.raises(LeamlInputError, match="no column image"):
            load_data("somebody/texts")


class TestCompleteRows:
    rows = datasets.Dataset.from_dict({"question": ["q", "q", None, ""], "answer": ["a", None, "a", "a"]})

    def test_rows_with_an_empty_cell_are_left_out(self):
        assert len(complete_rows(self.rows, "data", ("question", "answer"))) == 1
        assert len(complete_rows(self.rows, "data", ("question",))) == 2

    def test_none_at_all_is_told(self):
        with pytest.raises(LeamlInputError, match="data has no row with question and answer"):
            complete_rows(self.rows.select([1, 2]), "data", ("question", "answer"))
