"""A training that begins with the easiest rows and ends with all of them."""

from collections.abc import Callable
from typing import Any

import datasets
import numpy as np
import pytest
from conftest import SMALL_ADAPTER, make_text, make_vision
from hypothesis import given
from hypothesis import strategies as st
from test_training import rows

from leaml_hf import LeamlForVisualQA, LeamlInputError, LeamlTrainer, LeamlTrainingArguments
from leaml_hf.data.budget import picture_keys
from leaml_hf.training.batches import EndlessBatches
from leaml_hf.training.curriculum import PacedSampler, competence, draw_easy, easy_first


class TestCompetence:
    @given(start=st.floats(0.01, 1), length=st.integers(1, 500))
    def test_it_grows_from_the_start_to_all_ever_more_slowly(self, start: float, length: int) -> None:
        shares = np.array([competence(number, start, length) for number in range(length + 3)])
        assert shares[0] == pytest.approx(start) and (shares[length:] == 1).all()
        growth = np.diff(shares[: length + 1])
        assert (growth >= -1e-12).all() and (np.diff(growth) <= 1e-12).all()
        np.testing.assert_allclose(np.diff(shares[: length + 1] ** 2), (1 - start**2) / length, atol=1e-12)

    @given(count=st.integers(1, 40), size=st.integers(1, 9), share=st.floats(0.01, 1), number=st.integers(0, 99))
    def test_batches_are_of_different_easy_rows(self, count: int, size: int, share: float, number: int) -> None:
        places = draw_easy(count, size, share, 3, number)
        assert len(set(places.tolist())) == len(places) == min(size, count)
        assert places.max() < max(size, np.ceil(share * count))
        assert (places == draw_easy(count, size, share, 3, number)).all()

    def test_all_easy_rows_are_drawn_alike(self) -> None:
        drawn = np.concatenate([draw_easy(20, 4, 0.5, 0, number) for number in range(500)])
        counts = np.bincount(drawn, minlength=20)
        assert (counts[10:] == 0).all() and (abs(counts[:10] - 200) < 50).all()


class TestOrder:
    def test_complexity_decides_where_all_rows_tell_it(self) -> None:
        table = datasets.Dataset.from_dict({"complexity": [3, 1, 2, 1]})
        assert easy_first(table, lambda: pytest.fail("not needed")).tolist() == [1, 3, 2, 0]

    @pytest.mark.parametrize("table", [{"answer": ["a", "b", "c"]}, {"complexity": [1, None, 3]}])
    def test_else_what_the_model_finds_hard(self, table: dict[str, list]) -> None:
        assert easy_first(datasets.Dataset.from_dict(table), lambda: np.array([0.3, 0.1, 0.2])).tolist() == [1, 2, 0]

    def test_the_sampler_goes_through_epochs_at_one_pace(self) -> None:
        order = np.array([5, 3, 1, 0, 2, 4, 6])
        sampler = PacedSampler(order, 3, lambda number: competence(number, 0.4, 5), seed=1)
        seen = []
        for epoch in range(6):
            sampler.set_epoch(epoch)
            places = list(sampler)
            assert len(places) == len(sampler) == 7
            seen += [places[:3], places[3:6], places[6:]]
        assert set(seen[0]) == {5, 3, 1}
        assert [set(part) <= set(order[: np.ceil(7 * competence(number, 0.4, 5)).astype(int)].tolist())
                for number, part in enumerate(seen)] == [True] * 18  # fmt: skip
        assert seen[6:] != seen[3:6] and {place for part in seen[3:] for place in part} == set(order.tolist())

    @pytest.mark.parametrize("taken", [0, 1, 7])
    def test_endless_batches_go_on_anywhere(self, taken: int) -> None:
        def batches(taken: int) -> EndlessBatches:
            return EndlessBatches(range(20), 3, list, seed=4, taken=taken, share=lambda n: competence(n, 0.2, 6))

        whole, later = batches(0), batches(taken)
        expected = [next(whole) for _ in range(taken + 9)]
        assert [next(later) for _ in range(9)] == expected[taken:]
        assert max(expected[0]) < 4 and max(max(part) for part in expected) > 15


class TestTrainer:
    @pytest.fixture()
    def make(self, processor, tmp_path) -> Callable[..., LeamlTrainer]:
        def make(train: datasets.Dataset, unlabelled: datasets.Dataset, **options: Any) -> LeamlTrainer:
            model = LeamlForVisualQA.from_backbones(
                make_vision(), make_text(), fusion_layers=[2, 3], lora_layers=[2, 3], **SMALL_ADAPTER
            )
            values = {"max_steps": 6, "per_device_train_batch_size": 4, "replay_share": 0.0, "refresh_rows": 16,
                      "unlabeled_share": 1.0, "use_cpu": True, "disable_tqdm": True}  # fmt: skip
            arguments = LeamlTrainingArguments(str(tmp_path), **(values | options))
            return LeamlTrainer(model, arguments, processor, train, unlabelled)

        return make

    def spied(self, trainer: LeamlTrainer, patch: pytest.MonkeyPatch) -> tuple[list, list]:
        """Keys of the labelled and of the unlabelled pictures of each batch to come."""
        labelled, unlabelled = [], []
        collate, loss = trainer.data_collator, trainer.compute_loss

        def collated(batch: list[dict]) -> dict:
            labelled.append([row["key"] for row in batch])
            return collate(batch)

        def lost(model: Any, inputs: dict, **kwargs: Any) -> Any:
            if trainer.unlabeled_batches is not None and not hasattr(trainer.unlabeled_batches, "spied"):
                inner = trainer.unlabeled_batches.collate
                trainer.unlabeled_batches.collate = lambda batch: (
                    unlabelled.append([row["key"] for row in batch]) or inner(batch)
                )
                trainer.unlabeled_batches.spied = True
            return loss(model, inputs, **kwargs)

        patch.setattr(trainer, "data_collator", collated)
        patch.setattr(trainer, "compute_loss", lost)
        return labelled, unlabelled

    @pytest.mark.parametrize("accumulated", [1, 2])
    def test_each_step_draws_from_more_rows(self, make, monkeypatch, accumulated: int) -> None:
        levels = [4, 2, 1, 3] * 4
        train, other = (rows(16, seed).add_column("complexity", levels) for seed in (0, 1))
        trainer = make(train, other, curriculum_steps=4, curriculum_start=0.25, max_steps=8, consistency_weight=1.0,
                       gradient_accumulation_steps=accumulated)  # fmt: skip
        labelled, unlabelled = self.spied(trainer, monkeypatch)
        trainer.train()
        assert len(labelled) >= 8 * accumulated and len(unlabelled) == 8 * accumulated
        for data, batches in ((train, labelled), (other, unlabelled)):
            level = dict(zip(picture_keys(data), levels, strict=True))
            highest = [max(level[key] for key in batch) for batch in batches]
            for number, value in enumerate(highest):
                assert value <= np.ceil(4 * competence(number, 0.25, 4 * accumulated)), (number, highest)
            assert highest[0] == 1 and 4 in highest[4 * accumulated :]

    def test_without_levels_the_base_tells_what_is_hard(self, make) -> None:
        trainer = make(rows(12), rows(16, 1, answered=False), curriculum_steps=4)
        trainer.train()
        losses = trainer._losses(trainer.train_dataset)
        assert losses.shape == (12,) and (losses > 0).all()
        untrained = make(
            rows(12), rows(16, 1, answered=False), curriculum_steps=4, learning_rate=0.0, weight_decay=0.0
        )
        untrained.train()
        losses = untrained._losses(untrained.train_dataset)
        assert (np.diff(losses[untrained.easy_first]) >= 0).all() and np.ptp(losses) > 0
        answered = {key: losses[i] for i, key in enumerate(untrained.train_dataset.keys)}
        assert len(answered) == 12

    def test_its_options_are_checked(self, tmp_path) -> None:
        for options in ({"curriculum_start": 0.0}, {"curriculum_start": 1.1}, {"curriculum_steps": -1}):
            with pytest.raises(LeamlInputError, match=next(iter(options))):
                LeamlTrainingArguments(str(tmp_path), **options)
