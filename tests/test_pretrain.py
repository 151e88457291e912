"""Pre-training of a base: the stream of drawn pictures, the stages, and going on after a kill."""

import json

import pytest
import torch
from safetensors.torch import load_file

from leaml_hf.data.visual_arrays.targets import TARGETS
from leaml_hf.training.pretrain_tower import TowerModel, pretrain_tower
from leaml_hf.training.source_data import SourceStream, source_loader
from leaml_hf.training.stage import schedule
from leaml_hf.training.tower import ANSWER_ID


@pytest.fixture()
def words(tokenizer) -> torch.Tensor:
    return torch.randn(len(tokenizer), 8, generator=torch.Generator().manual_seed(0))


class TestStream:
    def test_a_batch_depends_on_its_number_alone(self, tokenizer) -> None:
        whole = list(SourceStream(tokenizer, 2, 0, 3))
        rest = list(SourceStream(tokenizer, 2, 2, 3))
        assert torch.equal(whole[2].pixels, rest[0].pixels) and whole[2].questions == rest[0].questions

    def test_workers_give_the_same_batches(self, tokenizer) -> None:
        plain = list(SourceStream(tokenizer, 2, 0, 2))
        worked = list(source_loader(SourceStream(tokenizer, 2, 0, 2), num_workers=1))
        assert all(torch.equal(a.pixels, b.pixels) for a, b in zip(plain, worked, strict=True))

    def test_shapes_and_answers(self, tokenizer) -> None:
        batch = SourceStream(tokenizer, 3, 0, 1).batch(0)
        assert batch.pixels.shape == (3, 3, 224, 224) and batch.pixels.dtype == torch.uint8
        assert batch.targets.shape == (3, 196, len(TARGETS))
        assert len(batch.questions) == len(batch.programs) == 24
        assert batch.answers.tolist() == [ANSWER_ID[answer] for answer in batch.answer_texts]


class TestTower:
    def test_a_resumed_run_ends_like_an_unbroken_one(self, tokenizer, words, tmp_path) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # sums in one order
        try:
            options = {"reading_batches": 1, "batch_size": 2, "save_every": 1, "evaluate_every": 99}
            whole = pretrain_tower(tmp_path / "whole", tokenizer, words, 3, **options)
            first = pretrain_tower(tmp_path / "parts", tokenizer, words, 3, **options, stop_after=2)
            assert json.loads((tmp_path / "parts" / "tower_log.jsonl").read_text().splitlines()[-1])["step"] == 2
            assert first == pretrain_tower(tmp_path / "parts", tokenizer, words, 3, **options)
        finally:
            torch.set_num_threads(threads)
        a, b = load_file(whole), load_file(first)
        assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)

    def test_reading_moves_the_tower_alone(self, tokenizer, words) -> None:
        model = TowerModel(words)
        batch = SourceStream(tokenizer, 2, 0, 1).batch(0)
        loss, accuracy = model.read(batch, model.cells(batch.pixels))
        loss.backward()
        moved = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
        assert moved == {"vision_tower", "local"}
        assert set(accuracy) <= {f"local/{name}" for name in ("glyph_0", "glyph_1", "glyph_2", "color")}

    def test_schedule_warms_up_and_falls(self) -> None:
        rates = [schedule(step, 1000, 1e-3) for step in range(1000)]
        assert rates[0] < rates[100] < rates[149] == pytest.approx(1e-3, rel=0.01)
        assert rates[149:] == sorted(rates[149:], reverse=True) and rates[-1] < 5e-5
