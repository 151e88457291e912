"""Which rows to label: coverage, uncertainty, the file that a person fills in, and the way back as a label budget."""

import csv
import json
from pathlib import Path

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_budget import make_rows
from test_training import rows as coloured_rows

from leaml_hf import LeamlInputError, select_rows
from leaml_hf.data.budget import draw_labels
from leaml_hf.data.chosen import read_chosen, write_chosen
from leaml_hf.data.contact_sheet import write_contact_sheet
from leaml_hf.processing_leaml import load_processor
from leaml_hf.reliability import Reliability
from leaml_hf.training import coverage, selection
from leaml_hf.training.coverage import k_center, stratified, typical, uncertain
from leaml_hf.training.selection import row_features


def groups(sizes: list[int], seed: int = 0) -> np.ndarray:
    """Points around far-off centres, `sizes[i]` at the i-th."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(size=(size, 3)) + 100 * np.eye(3)[i % 3] * (1 + i // 3)
                           for i, size in enumerate(sizes)]).astype(np.float32)  # fmt: skip


class TestCoverage:
    @settings(max_examples=25)
    @given(st.data(), st.integers(2, 60), st.sampled_from([typical, k_center]))
    def test_as_many_new_places_as_asked_for(self, data, n, strategy):
        labelled = data.draw(st.lists(st.integers(0, n - 1), max_size=n - 1, unique=True))
        count = data.draw(st.integers(1, n - len(labelled)))
        chosen = strategy(np.random.default_rng(n).normal(size=(n, 4)), count, labelled, 1)
        assert len(set(chosen)) == len(chosen) == count
        assert not set(chosen) & set(labelled) and set(chosen) <= set(range(n))

    @settings(max_examples=25)
    @given(st.data(), st.integers(2, 60))
    def test_a_stratified_sample_has_as_many_new_places(self, data, n):
        labelled = data.draw(st.lists(st.integers(0, n - 1), max_size=n - 1, unique=True))
        count = data.draw(st.integers(1, n - len(labelled)))
        questions, pictures = np.random.default_rng(n).normal(size=(2, n, 3))
        chosen = stratified(questions, pictures, count, labelled, 1)
        assert len(set(chosen)) == len(chosen) == count
        assert not set(chosen) & set(labelled) and set(chosen) <= set(range(n))

    def test_kinds_of_questions_have_their_share_from_the_first_row_on(self, monkeypatch):
        monkeypatch.setattr(coverage, "KINDS", 3)
        questions, kind = groups([60, 30, 10]), np.repeat(range(3), [60, 30, 10])
        pictures = groups([50, 50])[np.random.default_rng(0).permutation(100)]
        chosen = stratified(questions, pictures, 20)
        assert np.bincount(kind[chosen]).tolist() == [12, 6, 2]
        assert np.bincount(kind[chosen[:10]], minlength=3).tolist() == [6, 3, 1]
        more = stratified(questions, pictures, 10, np.flatnonzero(kind == 0)[:10])  # labels of one kind alone
        assert np.bincount(kind[more], minlength=3).tolist() == [2, 6, 2]

    def test_labels_of_a_kind_are_spread_over_its_pictures(self):
        questions, pictures = np.zeros((80, 2), np.float32), groups([70, 10])
        assert {row < 70 for row in stratified(questions, pictures, 2)} == {True, False}
        assert stratified(questions, pictures, 1, [3])[0] >= 70
        assert {tuple(stratified(questions, pictures, 4, (), seed)) for seed in range(4)} != {(0, 1, 2, 3)}
        assert stratified(questions, pictures, 9, (), 2) == stratified(questions, pictures, 9, (), 2)

    @pytest.mark.parametrize("strategy", [typical, k_center])
    def test_each_group_is_met_once_before_any_is_met_twice(self, strategy):
        points = groups([40, 30, 20, 10])
        of = np.repeat(range(4), [40, 30, 20, 10])
        assert set(of[strategy(points, 4)]) == {0, 1, 2, 3}
        assert set(of[strategy(points, 3, [0])]) == {1, 2, 3}  # the first group has a label

    def test_the_largest_group_comes_first_and_its_middle(self):
        points = groups([50, 20])
        first = typical(points, 2)[0]
        assert first < 50
        assert np.linalg.norm(points[first] - points[:50].mean(0)) < 1.5

    def test_points_that_are_all_the_same_do_no_harm(self):
        assert len(set(typical(np.zeros((9, 2), np.float32), 5))) == 5
        assert len(set(k_center(np.zeros((9, 2), np.float32), 5))) == 5

    @pytest.mark.parametrize("strategy", [typical, k_center])
    def test_the_seed_decides(self, strategy):
        points = groups([40, 40])
        assert strategy(points, 6, (), 3) == strategy(points, 6, (), 3)
        assert len({tuple(strategy(points, 6, (), seed)) for seed in range(5)}) > 1

    @given(st.integers(1, 30))
    def test_uncertain_points_come_first(self, count):
        doubt = np.random.default_rng(1).random(30)
        chosen = uncertain(groups([10, 10, 10]), doubt, count)
        assert len(set(chosen)) == count
        assert chosen[0] == doubt.argmax()
        assert len(set(uncertain(np.zeros((30, 2)), doubt, count))) == count

    def test_doubt_is_sought_in_every_group(self):
        points, doubt = groups([30, 30]), np.zeros(60)
        doubt[[3, 33]] = 1.0
        assert sorted(uncertain(points, doubt, 2)) == [3, 33]


class TestSelectRows:
    def test_rows_are_chosen_by_picture_and_question(self, composed, processor):
        rows = coloured_rows(30)
        features = row_features(rows, composed, processor)
        assert np.allclose(np.linalg.norm(features.joined[:, :24], axis=1) ** 2, 0.5, atol=1e-3)  # the pictures' half
        assert features.joined[:, 24:] * np.sqrt(2) == pytest.approx(features.questions, abs=1e-6)
        chosen = select_rows(rows, "10%", composed, processor)
        assert len(chosen) == 3 and {rows[i]["answer"] for i in chosen} == {"red", "green", "blue"}

    def test_answers_are_not_looked_at(self, composed, processor):
        rows = coloured_rows(30)
        other = rows.remove_columns("answer").add_column("answer", ["x"] * 30)
        assert select_rows(rows, 5, composed, processor) == select_rows(other, 5, composed, processor)

    def test_rows_with_an_answer_count_as_labelled(self, composed, processor):
        rows = coloured_rows(20)
        partly = rows.remove_columns("answer").add_column("answer", ["red"] * 8 + [None] * 12)
        assert sorted(select_rows(partly, "all", composed, processor)) == list(range(8, 20))
        assert not set(select_rows(rows, 5, composed, processor, labelled=range(10))) & set(range(10))

    def test_bare_pictures_are_left_alone(self, composed, processor):
        rows = coloured_rows(12)
        rows = rows.remove_columns("question").add_column("question", ["what is the colour ?", None] * 6)
        assert sorted(select_rows(rows, "all", composed, processor)) == list(range(0, 12, 2))

    def test_of_many_rows_some_are_compared(self, composed, processor, monkeypatch):
        monkeypatch.setattr(selection, "MOST_ROWS", 10)
        chosen = select_rows(coloured_rows(30), 4, composed, processor)
        assert len(set(chosen)) == 4
        assert len(set(select_rows(coloured_rows(30), 20, composed, processor))) == 20

    def test_unsure_rows_are_found_with_a_reliability_module(self, composed, processor, monkeypatch):
        rows = coloured_rows(24)
        doubted = np.arange(24) % 4 == 1
        monkeypatch.setattr(
            Reliability, "apply", lambda self, states, raw: {"confidence": np.where(doubted, 0.1, 1.0)}
        )
        composed.reliability = object.__new__(Reliability)
        chosen = select_rows(rows, 3, composed, processor, method="uncertain")
        assert all(doubted[chosen])

    def test_an_existing_vlm_has_features_too(self, shared):
        name = "org/leaml-llava"
        processor = load_processor(shared.folders[name])
        assert len(select_rows(coloured_rows(8), 3, shared.models[name], processor)) == 3

    @pytest.mark.parametrize(("budget", "reason"), [
        (13, "only 12 with a question"), ("13", "only 12"), ("1%", "ask for more"), ("some", "takes a share"),
    ])  # fmt: skip
    def test_a_budget_that_cannot_be_met_is_told(self, composed, processor, budget, reason):
        with pytest.raises(LeamlInputError, match=reason):
            select_rows(coloured_rows(12), budget, composed, processor)

    def test_no_question_and_no_such_method_are_told(self, composed, processor):
        rows = coloured_rows(4)
        bare = rows.remove_columns("question").add_column("question", [None] * 4, feature=datasets.Value("string"))
        with pytest.raises(LeamlInputError, match="No row has a question"):
            select_rows(bare, 2, composed, processor)
        with pytest.raises(LeamlInputError, match="no method 'best'"):
            select_rows(rows, 2, composed, processor, method="best")


@pytest.fixture(params=[".jsonl", ".csv"])
def file(request, tmp_path: Path) -> Path:
    return tmp_path / f"chosen{request.param}"


def fill_in(file: Path, answers: dict[str, str]) -> None:
    """Writes answers by id, as a person would."""
    if file.suffix == ".csv":
        with file.open(newline="") as opened:
            records = list(csv.DictReader(opened))
    else:
        records = [json.loads(line) for line in file.read_text().splitlines()]
    for record in records:
        record["answer"] = answers.get(record["id"], record["answer"])
    if file.suffix == ".csv":
        with file.open("w", newline="") as opened:
            table = csv.DictWriter(opened, list(records[0]))
            table.writeheader()
            table.writerows(records)
    else:
        file.write_text("".join(json.dumps(record) + "\n" for record in records))


class TestChosenFile:
    @settings(max_examples=30)
    @given(st.lists(st.tuples(st.text(min_size=1).map(str.strip).filter(bool), st.booleans()), min_size=1, max_size=8),
           st.sampled_from([".jsonl", ".csv"]))  # fmt: skip
    def test_what_is_written_is_read(self, tmp_path_factory, cells, suffix):
        cells = [(text.replace("\x00", "x"), answered) for text, answered in cells]
        path = tmp_path_factory.mktemp("chosen") / f"x{suffix}"
        rows = make_rows([1] * len(cells))
        answers = [text if answered else None for text, answered in cells]
        rows = rows.remove_columns("answer").add_column("answer", answers, feature=datasets.Value("string"))
        write_chosen(path, rows)
        filled, places = read_chosen(path, rows)
        assert places == list(range(len(cells)))
        assert [a and a.strip() for a in filled["answer"]] == [a and (a.strip() or None) for a in answers]

    def test_the_answers_are_those_of_the_file(self, file):
        rows = make_rows([1] * 8, unanswered=8)
        write_chosen(file, rows.select([9, 3, 12, 10, 8]))
        fill_in(file, {"9": "nine", "3": "three", "12": "twelve", "10": "ten"})
        pool = draw_labels(rows, str(file), seed=2)
        found = {row["id"]: row["answer"] for part in (pool.labelled, pool.held_out) for row in part}
        assert found == {
            "9": "nine",
            "3": "three",
            "12": "twelve",
            "10": "ten",
        }  # 8 has none, the others aren't chosen
        assert len(pool.unlabelled) == 12 and set(pool.unlabelled["answer"]) == {None}

    def test_answers_that_are_there_already_need_not_be_written(self, file):
        rows = make_rows([1] * 10)
        write_chosen(file, rows.select(range(0, 10, 2)))
        pool = draw_labels(rows, file)
        assert {*pool.labelled["id"], *pool.held_out["id"]} == {"0", "2", "4", "6", "8"}

    def test_the_picture_is_named_where_it_is_a_file(self, file, tmp_path):
        Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
        rows = datasets.Dataset.from_dict({"image": [str(tmp_path / "a.png")], "question": ["q"], "answer": ["x"],
                                           "id": ["a"]}).cast_column("image", datasets.Image())  # fmt: skip
        write_chosen(file, rows)
        assert str(tmp_path / "a.png") in file.read_text().replace("\\\\", "\\")

    def test_a_file_is_never_overwritten(self, file):
        write_chosen(file, make_rows([1]))
        with pytest.raises(LeamlInputError, match="is there already"):
            write_chosen(file, make_rows([1]))

    def test_nor_is_a_picture_beside_it(self, tmp_path):
        Image.new("RGB", (4, 4)).save(tmp_path / "mine.png")
        with pytest.raises(LeamlInputError, match=r"mine\.png is there already"):
            write_chosen(tmp_path / "mine.csv", make_rows([1]))

    def test_another_ending_is_told(self, tmp_path):
        with pytest.raises(LeamlInputError, match=r"\.jsonl or \.csv"):
            write_chosen(tmp_path / "chosen.txt", make_rows([1]))

    @pytest.mark.parametrize(("text", "reason"), [
        (None, "There is no file"), ("{", "could not be read"), ('{"id": "99"}', "id '99', which none"),
        ('{"answer": "x"}', "id None"), ("[1]", "id None"), ('{"id": "1", "answer": ["x"]}', "one text or number"),
        ("", "Only 0 labels"), ('{"id": "10"}', "Only 0 labels"), ('{"id": "1"}', "Only 1 label may"),
        ('{"id": "1"}\n' * 5, "Only 1 label may"),
    ])  # fmt: skip
    def test_a_file_that_cannot_be_used_is_told(self, tmp_path, text, reason):
        if text is not None:
            (tmp_path / "x.jsonl").write_text(text)
        with pytest.raises(LeamlInputError, match=reason):
            draw_labels(make_rows([1] * 8, unanswered=4), str(tmp_path / "x.jsonl"))


class TestContactSheet:
    @pytest.mark.parametrize(("count", "size"), [(1, (204, 249)), (8, (1548, 249)), (9, (1548, 486))])
    def test_its_size_follows_from_the_count(self, tmp_path, count, size):
        images = [Image.new("RGB", (400, 300), "red")] * count
        write_contact_sheet(tmp_path / "sheet.png", images, ["How many bars are there ?"] * count)
        sheet = Image.open(tmp_path / "sheet.png")
        assert sheet.size == size
        assert sheet.getpixel((20, 20)) == (255, 0, 0)

    def test_long_texts_and_many_pictures_are_cut(self, tmp_path):
        images = [Image.new("L", (3, 900))] * 250
        write_contact_sheet(tmp_path / "sheet.png", images, ["Grüße " * 99, "x" * 999, "", "図"] + ["q"] * 246)
        assert Image.open(tmp_path / "sheet.png").size == (1548, 12 + 25 * 237)
