"""Conversations in TRL's form: the rows they are taken apart into, in data sets, folders and the trainer."""

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_training import make_trainer, model, rows  # noqa: F401

from leaml_hf import LeamlInputError, evaluate_model
from leaml_hf.data import sources
from leaml_hf.data.budget import picture_keys
from leaml_hf.data.conversations import as_rows, question_answer_pairs
from leaml_hf.data.folders import load_folder
from leaml_hf.data.sources import load_data

FORMS = ("texts", "parts", "prompt", "prompt parts", "plain prompt")
words = st.text(min_size=1, max_size=12).map(lambda text: " ".join(text.split())).filter(bool)
turns = st.lists(st.tuples(words, st.none() | words), min_size=1, max_size=4)


def picture(shade: int) -> Image.Image:
    return Image.new("RGB", (6, 4), (shade % 256, 7, 9))


def content(text: str, form: str, first: bool = False) -> Any:
    if "parts" not in form:
        return text
    return [{"type": "image"}] * first + [{"type": "text", "text": text}]


def messages(pairs: list[tuple[str, str | None]], form: str = "parts") -> list[dict[str, Any]]:
    said = []
    for number, (question, answer) in enumerate(pairs):
        said.append({"role": "user", "content": content(question, form, number == 0)})
        if answer is not None:
            said.append({"role": "assistant", "content": content(answer, form)})
    return said


def conversation(pairs: list[tuple[str, str | None]], form: str) -> dict[str, Any]:
    said = messages(pairs, form)
    if form in ("texts", "parts"):
        return {"messages": said}
    last = 1 if said[-1]["role"] == "assistant" else 0
    prompt, completion = said[: len(said) - last], said[len(said) - last :]
    if form == "plain prompt":
        prompt, completion = pairs[0][0], pairs[0][1]
    return {"prompt": prompt, "completion": completion}


class TestPairs:
    @given(turns, st.sampled_from(FORMS[:4]))
    def test_each_question_with_its_answer(self, pairs, form):
        assert question_answer_pairs(conversation(pairs, form), "x") == pairs

    @given(words, words)
    def test_a_prompt_may_be_a_text(self, question, answer):
        assert question_answer_pairs({"prompt": question, "completion": answer}, "x") == [(question, answer)]
        assert question_answer_pairs({"prompt": question, "completion": None}, "x") == [(question, None)]

    def test_what_the_system_says_is_left_out(self):
        system = {"role": "system", "content": "Be short."}
        assert question_answer_pairs({"messages": [system, *messages([("q", "a")])]}, "x") == [("q", "a")]

    def test_parts_of_a_text_are_joined_and_missing_cells_do_no_harm(self):
        parts = [{"type": "text", "text": " How many"}, {"type": "image", "text": None, "image": None},
                 {"type": "text", "text": "bars?"}]  # fmt: skip
        said = [{"role": "user", "content": parts, "name": None}, {"role": "assistant", "content": ""}]
        assert question_answer_pairs({"messages": said}, "x") == [("How many bars?", None)]

    @pytest.mark.parametrize(("record", "reason"), [
        ({"messages": []}, "asks nothing"),
        ({"messages": messages([("q", "a")])[1:]}, "no question comes before"),
        ({"messages": [*messages([("q", "a")]), {"role": "assistant", "content": "b"}]}, "no question comes before"),
        ({"messages": [{"role": "user", "content": ""}]}, "without text"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "without text"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "role 'tool'"),
        ({"messages": [{"content": "x"}]}, "role None"),
        ({"messages": {"role": "user"}}, "no list of messages"),
        ({"messages": ["hello"]}, "no list of messages"),
        ({"prompt": None, "completion": "a"}, "no question comes before"),
        ({"prompt": None}, "asks nothing"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "neither text nor image"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "neither text nor image"),
        ({"messages": [{"role": "user", "content": 5}]}, "neither text nor image"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "image": "a.png"}]}]}, "inside a message"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}, {"type": "image"},
                                                    {"type": "text", "text": "q"}]}]}, "shows 2 pictures"),
    ])  # fmt: skip
    def test_what_cannot_be_taken_apart_is_told(self, record, reason):
        with pytest.raises(LeamlInputError, match=reason) as error:
            question_answer_pairs(record, "Row 7")
        assert str(error.value).startswith("Row 7 ") and "\n" not in str(error.value)


class TestDataSets:
    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("column", ["images", "image"])
    def test_all_forms_give_the_same_rows(self, form, column):
        talks = [[("How many?", "3")], [("What colour?", "red")]]
        records = [{column: [picture(i)] if column == "images" else picture(i), "kind": f"k{i}",
                    **conversation(pairs, form)} for i, pairs in enumerate(talks)]  # fmt: skip
        found = as_rows(datasets.Dataset.from_list(records))
        assert {"image", "question", "answer", "id", "kind"} == set(found.column_names)
        assert found.select_columns(["question", "answer", "id", "kind"]).to_list() == [
            {"question": "How many?", "answer": "3", "id": "0", "kind": "k0"},
            {"question": "What colour?", "answer": "red", "id": "1", "kind": "k1"},
        ]
        assert [image.getpixel((0, 0)) for image in found["image"]] == [(0, 7, 9), (1, 7, 9)]

    def test_a_row_for_each_turn_keeps_the_picture_and_the_rest(self):
        records = [{"id": "a", "images": [picture(1)], "messages": messages([("q1", "x"), ("q2", None), ("q3", "z")])},
                   {"id": "b", "images": [picture(2)], "messages": messages([("q4", None)])}]  # fmt: skip
        found = as_rows(datasets.Dataset.from_list(records))
        assert found["id"] == ["a/0", "a/1", "a/2", "b"]
        assert found["answer"] == ["x", None, "z", None]
        assert len(set(picture_keys(found))) == 2
        assert found.features["answer"] == datasets.Value("string")

    def test_files_are_not_opened_and_a_selection_is_respected(self, tmp_path):
        for number in range(3):
            picture(number).save(tmp_path / f"{number}.png")
        records = [{"images": [str(tmp_path / f"{i}.png")], "messages": messages([(f"q{i}", "a")]), "n": i}
                   for i in range(3)]  # fmt: skip
        found = as_rows(datasets.Dataset.from_list(records).select([2, 0]))
        assert (found["question"], found["n"]) == (["q2", "q0"], [2, 0])
        assert picture_keys(found) == [str(tmp_path / "2.png"), str(tmp_path / "0.png")]
        assert found[0]["image"].size == (6, 4)

    def test_rows_stay_as_they_are(self):
        plain = rows(3)
        assert as_rows(plain) is plain
        both = plain.add_column("messages", [messages([("q", "a")])] * 3)
        assert as_rows(both) is both

    @pytest.mark.parametrize(("pictures", "reason"), [
        ([], "has no picture"), (None, "has no picture"), ([picture(1), picture(2)], "shows 2 pictures"),
    ])  # fmt: skip
    def test_the_row_with_other_than_one_picture_is_named(self, pictures, reason):
        good = {"images": [picture(0)], "messages": messages([("q", "a")])}
        with pytest.raises(LeamlInputError, match=f"Row 2 of the data set {reason}"):
            as_rows(datasets.Dataset.from_list([good, good | {"images": pictures}]))

    def test_from_the_hub(self, monkeypatch):
        talks = datasets.Dataset.from_list([{"images": [picture(0)], "messages": messages([("q", "a"), ("r", None)])}])
        monkeypatch.setattr(datasets, "load_dataset", lambda name: datasets.DatasetDict({"train": talks}))
        assert load_data("somebody/talks")["train"]["question"] == ["q", "r"]
        assert sources.evaluation_split("somebody/talks")["answer"] == ["a", None]


def write(file: Path, *records: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


def talk(name: str, *pairs: tuple[str, str | None], column: str = "images", **others: Any) -> dict[str, Any]:
    return {column: [name] if column.startswith("images") else name, "messages": messages(list(pairs)), **others}


def all_rows(folder: Path) -> list[dict]:
    return sorted((row for part in load_folder(folder).values() for row in part), key=lambda row: row["id"])


class TestFolders:
    @pytest.fixture()
    def folder(self, tmp_path: Path) -> Path:
        for number, name in enumerate(("a.png", "b.png")):
            picture(number).save(tmp_path / name)
        return tmp_path

    @pytest.mark.parametrize("name", ["metadata.jsonl", "conversations.jsonl", "x.jsonl"])
    @pytest.mark.parametrize("column", ["images", "image", "file_name", "images_file_names"])
    def test_a_file_of_conversations(self, folder, name, column):
        write(folder / name, talk("a.png", ("q", "x"), ("r", None), column=column, kind="bar"),
              talk("b.png", ("s", "y"), column=column, id=5))  # fmt: skip
        found = [(row["id"], row["question"], row["answer"], row.get("kind")) for row in all_rows(folder)]
        assert found == [("5", "s", "y", None), ("a.png#0/0", "q", "x", "bar"), ("a.png#0/1", "r", None, "bar")]

    def test_rows_and_conversations_may_stand_together(self, folder):
        write(folder / "metadata.jsonl", talk("a.png", ("q", "x")),
              {"file_name": "b.png", "question": "r", "answer": 4})  # fmt: skip
        assert [row["answer"] for row in all_rows(folder)] == ["x", "4"]

    def test_files_named_after_splits(self, folder):
        write(folder / "train.jsonl", talk("a.png", ("q", "x")))
        write(folder / "test.jsonl", talk("b.png", ("r", "y")))
        assert {name: part["answer"] for name, part in load_folder(folder).items()} == {"train": ["x"], "test": ["y"]}

    def test_other_files_of_that_kind_are_not_read(self, folder):
        write(folder / "log.jsonl", {"step": 1})
        (folder / "broken.jsonl").write_text("{")
        (folder / "empty.jsonl").write_text("")
        assert [row["question"] for row in all_rows(folder)] == [None, None]

    @pytest.mark.parametrize(("record", "reason"), [
        (talk("c.png", ("q", "a")), "row 2 names 'c.png', but there is no such file"),
        (talk("../a.png", ("q", "a")), "outside the folder"),
        ({"images": ["a.png", "b.png"], "messages": messages([("q", "a")])}, "row 2 shows 2 pictures"),
        ({"messages": messages([("q", "a")])}, "row 2 has no picture"),
        ({"images": ["a.png"], "messages": "hello"}, None),
        ({"images": ["a.png"], "messages": [{"role": "assistant", "content": "a"}]}, "row 2 has an answer that no"),
    ])  # fmt: skip
    def test_a_row_that_cannot_be_used_is_named(self, folder, record, reason):
        write(folder / "metadata.jsonl", talk("a.png", ("q", "a")), record)
        if reason is None:
            assert len(all_rows(folder)) == 3  # b.png is bare
            return
        with pytest.raises(LeamlInputError, match=reason):
            load_folder(folder)

    def test_two_files_and_one_beside_split_folders_are_refused(self, folder):
        write(folder / "x.jsonl", talk("a.png", ("q", "a")))
        write(folder / "y.jsonl", talk("a.png", ("q", "a")))
        with pytest.raises(LeamlInputError, match=r"x\.jsonl and y\.jsonl"):
            load_folder(folder)
        (folder / "y.jsonl").unlink()
        (folder / "train").mkdir()
        with pytest.raises(LeamlInputError, match=r"x\.jsonl is not read"):
            load_folder(folder)


def as_talks(plain: datasets.Dataset) -> datasets.Dataset:
    return datasets.Dataset.from_list(
        [{"images": [row["image"]], "messages": messages([(row["question"], row["answer"])])} for row in plain]
    )


class TestTrainer:
    def test_conversations_train_as_rows_do(self, make_trainer):  # noqa: F811
        trainer = make_trainer(train_dataset=as_talks(rows(12)), unlabeled_dataset=as_talks(rows(12, 1, False)),
                               eval_dataset=as_talks(rows(8, 2)), max_steps=2)  # fmt: skip
        assert trainer.labelled["answer"] == rows(12)["answer"]
        trainer.train()
        trainer.fit_reliability(as_talks(rows(12, 3, False)))
        assert np.isfinite(trainer.history[0]["heldout_loss"])

    def test_questions_without_an_answer_are_the_unlabelled_rows(self, make_trainer):  # noqa: F811
        mixed = datasets.concatenate_datasets([rows(8), rows(12, 1, answered=False)])
        trainer = make_trainer(train_dataset=as_talks(mixed), eval_dataset=as_talks(mixed), unlabeled_dataset=None)
        assert (len(trainer.labelled), len(trainer.unlabeled), len(trainer.held_out)) == (8, 12, 8)

    def test_they_are_evaluated_as_rows_are(self, composed, processor):
        talks, plain = as_talks(rows(6)), rows(6)
        found, expected = (evaluate_model(composed, processor, data, {"x": data}) for data in (talks, plain))
        assert [record["prediction"] for record in found.predictions] == [
            record["prediction"] for record in expected.predictions
        ]
