"""Blind baselines: measured with other questions' pictures, kept over a kill, and told by the card."""

import json

import numpy as np
import pytest
from huggingface_hub import DatasetCard

from leaml_hf import LeamlInputError
from leaml_hf.data.journal import append_journal, read_journal
from leaml_hf.data.shards import write_shards
from leaml_hf.data.visual_arrays import iter_rows
from leaml_hf.evaluation import blind
from leaml_hf.evaluation.blind import BLIND, PART, measure_blind, read_blind
from leaml_hf.hub import baselines_section as section
from leaml_hf.hub.data_card import write_data_card

ROWS = 8 * PART


class Seer:
    """Knows every answer by its picture, and answers the question that it saw there."""

    def __init__(self) -> None:
        self.calls = 0
        rows = iter_rows("layout", "base", "test", 0, 8 * (2 * PART + 1))
        self.known = {(np.asarray(row["image"]).tobytes(), row["question"]): row["answer"] for row in rows}

    def fingerprint(self) -> str:
        return "seer"

    def predict(self, model, processor, dataset):
        self.calls += 1
        keys = [(np.asarray(row["image"].convert("RGB")).tobytes(), row["question"]) for row in dataset]
        told = [self.known.get(key) == answer for key, answer in zip(keys, dataset["answer"], strict=True)]
        return type("Predictions", (), {"correct": np.array(told)})


@pytest.fixture()
def seer(monkeypatch) -> Seer:
    seer = Seer()
    monkeypatch.setattr(blind, "predict", seer.predict)
    return seer


class TestMeasure:
    def test_every_question_is_asked_with_its_own_and_with_another_picture(self, seer, tmp_path) -> None:
        measure_blind(seer, None, "org/seer", ["layout"], tmp_path, 1)
        found = read_blind(tmp_path)
        assert found["model"] == "org/seer"
        programs = found["tasks"]["layout"]
        assert sum(figures["n"] for figures in programs.values()) == ROWS
        assert all(figures["picture"] == 1 for figures in programs.values())
        assert sum(figures["blind"] * figures["n"] for figures in programs.values()) / ROWS < 0.1

    def test_what_is_measured_is_kept_and_a_line_cut_off_is_measured_again(self, seer, tmp_path) -> None:
        path = measure_blind(seer, None, "org/seer", ["layout"], tmp_path, 2 * PART)
        whole = read_journal(path)
        assert [entry["start"] for entry in whole] == [0, PART] and seer.calls == 4
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:1]) + '{"model": "org/se')
        measure_blind(seer, None, "org/seer", ["layout"], tmp_path, 2 * PART)
        assert read_journal(path) == whole and seer.calls == 6

    def test_another_model_is_not_mixed_in(self, seer, tmp_path) -> None:
        for name in ("one", "other"):
            measure_blind(seer, None, name, ["layout"], tmp_path, 1)
        found = read_blind(tmp_path)
        assert found["model"] == "other"
        assert sum(figures["n"] for figures in found["tasks"]["layout"].values()) == ROWS

    def test_no_picture_is_refused(self, seer, tmp_path) -> None:
        with pytest.raises(LeamlInputError, match="At least 1 picture"):
            measure_blind(seer, None, "org/seer", ["layout"], tmp_path, 0)

    def test_a_model_is_asked(self, composed, processor, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(blind, "PART", 2)
        measure_blind(composed, processor, "tiny", ["layout", "chart"], tmp_path, 2)
        tasks = read_blind(tmp_path)["tasks"]
        assert {task: sum(p["n"] for p in found.values()) for task, found in tasks.items()} == {
            "layout": 16, "chart": 16
        }  # fmt: skip


def test_a_journal_goes_on_after_a_line_that_was_cut_off(tmp_path) -> None:
    path = tmp_path / "lines.jsonl"
    append_journal(path, {"a": 1})
    path.open("a").write('{"a": 2')
    append_journal(path, {"a": 3})
    append_journal(path, {"a": 4})
    assert read_journal(path) == [{"a": 1}, {"a": 3}, {"a": 4}]
    assert read_journal(tmp_path / "none.jsonl") == []


class TestCard:
    @pytest.fixture()
    def folder(self, tmp_path, monkeypatch):
        figures = {"count": {"n": 300, "prior": 0.2, "question_only": 0.25},
                   "relation": {"n": 100, "prior": 0.5, "question_only": 0.5}}  # fmt: skip
        monkeypatch.setattr(section, "visual_arrays_baselines", lambda task: {"programs": figures})
        write_shards("visual-arrays:layout/base", tmp_path, {"test": 8}, num_workers=1)
        return tmp_path

    def test_each_program_has_its_baselines(self, folder) -> None:
        text = DatasetCard.load(write_data_card(folder)).text
        assert "| **layout** | 400 | 0.275 | 0.312 |" in text
        assert "| layout/count | 300 | 0.200 | 0.250 |" in text
        assert "--blind MODEL" in text

    def test_what_a_model_answers_blindly_stands_beside(self, folder) -> None:
        entry = {"model": "leaml-smol", "fingerprint": "f", "task": "layout", "start": 0}
        (folder / BLIND).write_text(json.dumps(entry | {"programs": {"count": [8, 6, 2]}}) + "\n")
        text = DatasetCard.load(write_data_card(folder)).text
        assert "`leaml-smol`" in text and "--blind MODEL" not in text
        assert "| layout/count | 300 | 0.200 | 0.250 | 8 | 0.250 | 0.750 |" in text
        assert "| layout/relation | 100 | 0.500 | 0.500 | 0 | - | - |" in text
