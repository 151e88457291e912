"""How many labels may be used, which, and that nothing else sees the others."""

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from leaml_hf import LeamlInputError
from leaml_hf.data.budget import HELD_OUT_SHARE, draw_labels, parse_budget, picture_keys


def make_rows(sizes: list[int], unanswered: int = 0) -> datasets.Dataset:
    """Picture i has `sizes[i]` answered rows; then come rows without an answer, on pictures of their own."""
    owners = [i for i, size in enumerate(sizes) for _ in range(size)]
    owners += [len(sizes) + i for i in range(unanswered)]
    answers = [f"answer {i}" if owner < len(sizes) else None for i, owner in enumerate(owners)]
    return datasets.Dataset.from_dict(
        {
            "image": [Image.new("RGB", (2, 2), (owner % 256, owner // 256, 0)) for owner in owners],
            "question": [f"q{i}" for i in range(len(owners))],
            "answer": answers,
            "id": [str(i) for i in range(len(owners))],
        },
        features=datasets.Features(
            {"image": datasets.Image(), **dict.fromkeys(("question", "answer", "id"), datasets.Value("string"))}
        ),
    )


class TestParse:
    @pytest.mark.parametrize(
        ("budget", "available", "count"),
        [("1%", 1000, 10), ("1%", 8000, 80), ("12.5%", 800, 100), ("200", 8000, 200), (200, 8000, 200), ("all", 7, 7),
         ("200", 50, 50), ("300%", 50, 50), (" 5 ", 50, 5)],
    )  # fmt: skip
    def test_shares_numbers_and_all(self, budget, available, count):
        assert parse_budget(budget, available) == count

    @pytest.mark.parametrize(
        "budget", ["", "%", "some", "1%%", "0.5", "nan%", "inf%", "-inf%", "1e400%", "one", "5 %x"]
    )
    def test_nonsense_is_told(self, budget):
        with pytest.raises(LeamlInputError, match="takes a share such as 1%"):
            parse_budget(budget, 100)

    @pytest.mark.parametrize("budget", ["0%", "0", "-5", "-5%", "0.1%"])
    def test_no_label_at_all_is_told(self, budget):
        with pytest.raises(LeamlInputError, match="ask for more"):
            parse_budget(budget, 100)

    def test_no_answers_are_told(self):
        with pytest.raises(LeamlInputError, match="no answers at all"):
            parse_budget("all", 0)

    @given(st.integers(1, 100), st.integers(1, 100_000))
    def test_a_share_is_never_more_than_there_is(self, percent, available):
        exact = available * percent / 100
        if exact < 0.5:
            return
        try:
            assert abs(parse_budget(f"{percent}%", available) - exact) <= 0.5
        except LeamlInputError:
            assert round(exact) == 0


class TestDraw:
    def test_counts_and_what_is_left(self):
        rows = make_rows([2] * 30, unanswered=12)
        pool = draw_labels(rows, "20", seed=1)
        assert pool.labels_used == len(pool.labelled) + len(pool.held_out) == 20
        assert abs(len(pool.held_out) - HELD_OUT_SHARE * 20) <= 1
        assert len(pool.unlabelled) == 72 - 20
        assert set(pool.unlabelled["answer"]) == {None}
        assert pool.unlabelled.features["answer"] == rows.features["answer"]
        assert all(pool.labelled["answer"]) and all(pool.held_out["answer"])
        ids = [*pool.labelled["id"], *pool.held_out["id"], *pool.unlabelled["id"]]
        assert sorted(ids, key=int) == rows["id"]

    @given(st.lists(st.integers(1, 9), min_size=2, max_size=12), st.integers(4, 40), st.integers(0, 99))
    def test_no_picture_is_on_both_sides(self, sizes, budget, seed):
        if sum(sizes) < 4:
            return
        rows = make_rows(sizes)
        try:
            pool = draw_labels(rows, str(budget), seed)
        except LeamlInputError as error:
            assert "of one picture" in str(error)
            assert max(sizes) >= min(budget, sum(sizes))
            return
        assert len(pool.labelled) >= 2
        assert len(pool.held_out) >= 1
        assert pool.labels_used == min(budget, sum(sizes))
        assert not set(picture_keys(pool.labelled)) & set(picture_keys(pool.held_out))

    def test_a_picture_with_most_labels_is_learnt_from(self):
        for seed in range(10):
            pool = draw_labels(make_rows([9, 1]), "all", seed)
            assert (len(pool.labelled), len(pool.held_out)) == (9, 1)

    def test_the_seed_decides(self):
        rows = make_rows([1] * 50)
        first, again, other = (draw_labels(rows, "10", seed) for seed in (3, 3, 4))
        assert first.labelled["id"] == again.labelled["id"]
        assert first.held_out["id"] == again.held_out["id"]
        assert set(first.labelled["id"]) != set(other.labelled["id"])

    def test_all_labels_leave_nothing_unlabelled(self):
        pool = draw_labels(make_rows([1] * 8), "all")
        assert (pool.labels_used, len(pool.unlabelled)) == (8, 0)

    def test_an_answer_without_a_question_is_no_label(self):
        rows = make_rows([1] * 8)
        rows = rows.remove_columns("question").add_column("question", ["q"] * 5 + [None, "", "q"])
        assert draw_labels(rows, "all").labels_used == 6

    @pytest.mark.parametrize(("answered", "budget", "reason"), [
        (0, "all", "no answers at all"), (1, "all", "Only 1 label may be used"), (3, "all", "Only 3 labels may be"),
        (100, "1%", "Only 1 label may be used"), (100, "3", "at least 4 are needed"),
    ])  # fmt: skip
    def test_too_few_are_told(self, answered, budget, reason):
        with pytest.raises(LeamlInputError, match=reason):
            draw_labels(make_rows([1] * answered, unanswered=3), budget)

    def test_labels_of_one_picture_cannot_be_held_out(self):
        with pytest.raises(LeamlInputError, match="of one picture"):
            draw_labels(make_rows([12]), "all")


def test_keys_tell_pictures_apart_by_content_or_path(tmp_path):
    rows = make_rows([2, 1])
    assert len(set(picture_keys(rows))) == 2
    paths = [str(tmp_path / name) for name in ("a.png", "b.png", "a.png")]
    for path in paths:
        Image.fromarray(np.zeros((2, 2), np.uint8)).save(path)
    files = datasets.Dataset.from_dict({"image": paths}).cast_column("image", datasets.Image())
    assert picture_keys(files) == paths
