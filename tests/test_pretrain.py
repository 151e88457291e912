"""Pre-training of a base: the stream of drawn pictures, the stages, and going on after a kill."""

import json
from bisect import bisect_left
from copy import deepcopy

import pytest
import torch
from conftest import make_text
from safetensors.torch import load_file
from transformers import ResNetModel

from leaml_hf import LeamlForVisualQA, LeamlInputError, LeamlProcessor
from leaml_hf.data.visual_arrays.scenes import TASKS
from leaml_hf.data.visual_arrays.targets import CHARACTERS, IGNORE, OPEN, TARGETS, name_id
from leaml_hf.training.pretrain_bridge import pretrain_bridge
from leaml_hf.training.pretrain_letters import pretrain_letters, written_at
from leaml_hf.training.pretrain_reader import pretrain_reader
from leaml_hf.training.pretrain_tower import (
    RESAMPLER,
    WIDTH,
    WORD,
    TowerModel,
    connector_config,
    evaluate_tower,
    pretrain_tower,
    tower_config,
)
from leaml_hf.training.source_data import CELLS, LONGEST, SourceStream, _end_of, source_loader
from leaml_hf.training.stage import ROUND, Averages, Stage, drawn_batches, schedule
from leaml_hf.training.tower import SPELLED, DenseHeads, NameHead, name_codes


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
        batch = SourceStream(tokenizer, 3, 0, 1, pages=1).batch(0)
        assert batch.pixels.shape == (4, 3, 224, 224) and batch.pixels.dtype == torch.uint8  # one page of names
        assert batch.targets.shape == (4, 196, len(TARGETS))
        page = batch.targets[3]
        names = page[:, list(TARGETS).index("label")]
        assert len(set(names.tolist()) - {IGNORE}) > 10 and (page[:, list(TARGETS).index("color")] == IGNORE).all()
        assert len(batch.questions) == len(batch.programs) == 24
        assert batch.input_ids.shape == batch.mask.shape == (3, 8, batch.input_ids.shape[2])
        assert batch.named.shape == (24, 2, 196) and batch.relevant.shape == (24, 196)
        for row, answer in zip(batch.answers, batch.answer_texts, strict=True):
            ids = [*tokenizer(f" {answer}")["input_ids"], tokenizer.eos_token_id][:SPELLED]
            assert batch.choices[row[row != IGNORE]].tolist() == ids
        assert batch.names.tolist() == sorted(set(batch.names.tolist()))
        assert len(batch.names) == len(batch.name_tokens) == len(batch.name_mask) and batch.name_mask[:, 0].all()
        meant = batch.name_targets[..., list(TARGETS).index("label")]
        assert set(meant[meant != IGNORE].tolist()) <= set(batch.names.tolist())

    def test_all_tasks_come_with_their_shares(self, tokenizer) -> None:
        assert sum(CELLS.values()) == pytest.approx(1) and {task for task, _ in CELLS} == set(TASKS)
        batch = SourceStream(tokenizer, 24, 0, 1).batch(0)
        assert {program.split("/")[0] for program in batch.programs} == set(TASKS)
        alone = SourceStream(tokenizer, 4, 0, 1, cells={("annotated", "synthetic"): 1.0}).batch(0)
        assert {program.split("/")[0] for program in alone.programs} == {"annotated"}

    @pytest.mark.parametrize("task", TASKS)
    def test_targets_of_every_task_fit_its_pictures(self, tokenizer, task) -> None:
        batch = SourceStream(tokenizer, 6, 0, 1, cells={(task, "synthetic"): 1.0}).batch(0)
        sizes = torch.tensor(list(TARGETS.values()))
        for targets in (batch.targets, batch.name_targets):
            assert ((targets == IGNORE) | ((targets >= 0) & ((targets < sizes) | (sizes == OPEN)))).all()
        for name in ("label", "next", "previous", "word"):
            told = batch.targets[..., list(TARGETS).index(name)]
            assert set(told[told != IGNORE].tolist()) <= set(batch.names.tolist())
        two = batch.named[:, 1].any(1)
        assert ((batch.claims[:, 0, 0] != IGNORE) <= two).all() and (
            (batch.rivalry != IGNORE).any((1, 2)) <= two
        ).all()
        for row, answer in zip(batch.claims[:, 0, 0], batch.answer_texts, strict=True):
            assert row in (IGNORE, int(answer == "yes"))

    def test_of_a_long_question_the_end_is_kept(self, tokenizer) -> None:
        text = "so " * 60 + "is red taller than blue?"
        ids, ends = SourceStream(tokenizer, 1, 0, 1)._tokens(text)
        assert ids == tokenizer(text)["input_ids"][-LONGEST:]
        assert tokenizer.decode([ids[bisect_left(ends, _end_of("blue", text))]]) == "blue"
        assert _end_of("red", "bored redder red?") == len("bored redder red")

    def test_with_a_processor_a_batch_has_what_the_language_model_reads(self, tokenizer) -> None:
        processor = LeamlProcessor.from_backbones(tokenizer, max_question_tokens=LONGEST)
        batch = SourceStream(tokenizer, 2, 0, 1, processor=processor).batch(0)
        text = processor(questions=batch.questions, answers=batch.answer_texts)
        assert torch.equal(batch.prompts, text["input_ids"]) and torch.equal(batch.prompt_mask, text["attention_mask"])
        span = batch.labels.shape[1]
        assert torch.equal(batch.labels, text["labels"][:, -span:]) and (text["labels"][:, : 1 - span] == -100).all()
        assert torch.equal(batch.input_ids.flatten(0, 1) * batch.mask.flatten(0, 1), text["question_ids"])

    def test_a_batch_goes_to_a_device_as_it_is(self, tokenizer) -> None:
        batch = SourceStream(tokenizer, 1, 0, 1).batch(0)
        moved = batch.to(torch.device("meta"))
        tensors = {name for name, value in vars(batch).items() if isinstance(value, torch.Tensor)}
        assert len(tensors) == 15 and all(getattr(moved, name).device.type == "meta" for name in tensors)
        assert moved.questions == batch.questions


class TestAverages:
    def test_means_of_figures_and_programs(self) -> None:
        means = Averages()
        for value in (1.0, torch.nan, 2.0):
            means.add("loss", torch.tensor(value, requires_grad=True))
        means.add("never", torch.tensor(torch.nan))
        means.add_programs(["chart/count", "chart/value", "layout/count"], torch.tensor([True, False, True]))
        assert means.read() == {
            "chart": 0.5, "chart/count": 1.0, "chart/value": 0.0, "layout": 1.0, "layout/count": 1.0, "loss": 1.5
        }  # fmt: skip
        assert means.read() == {}


class TestPasses:
    @pytest.mark.parametrize(
        ("passes", "start", "last"), [(1, 2, 5), (2, 0, 2 * ROUND + 3), (2, ROUND + 1, 40), (3, 50, 53)]
    )
    def test_rounds_of_batches_come_again_and_a_resumed_run_goes_on_within_one(
        self, tokenizer, tmp_path, monkeypatch, passes, start, last
    ) -> None:
        monkeypatch.setattr("leaml_hf.training.stage.source_loader", lambda stream, workers: Numbers(stream))
        stage = Stage("tower", tmp_path, torch.nn.Linear(1, 1), None, None, None, None, passes=passes)
        rest, whole = (
            [int(batch) for batch in stage._batches(tokenizer, 1, begin, last, torch.device("cpu"))]
            for begin in (start, 0)
        )
        assert whole[start:] == rest
        assert len(whole) == last and set(whole) == set(range(drawn_batches(last, passes)))
        full = whole[: last - last % (ROUND * passes)]
        assert all(full.count(number) == passes for number in set(full))
        if passes > 1:
            assert whole[: 2 * ROUND] == [*range(ROUND)] * 2


class Numbers:
    """Stands for a loader: batches that are their numbers."""

    def __init__(self, stream: SourceStream) -> None:
        self.stream = stream

    def __iter__(self):
        return map(torch.tensor, range(self.stream.start, self.stream.num_batches))


class TestTower:
    def test_a_resumed_run_ends_like_an_unbroken_one(self, tokenizer, words, tmp_path) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # sums in one order
        try:
            options = {"reading": 0.3, "batch_size": 2, "save_every": 1, "evaluate_every": 99}
            whole = pretrain_tower(tmp_path / "whole", tokenizer, words, 3, **options)
            first = pretrain_tower(tmp_path / "parts", tokenizer, words, 3, **options, stop_after=2)
            assert json.loads((tmp_path / "parts" / "tower_log.jsonl").read_text().splitlines()[-1])["step"] == 2
            assert first == pretrain_tower(tmp_path / "parts", tokenizer, words, 3, **options)
        finally:
            torch.set_num_threads(threads)
        a, b = load_file(whole), load_file(first)
        assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)

    def test_a_run_against_the_clock_ends_in_time_and_falls_by_the_clock(self, tokenizer, words, tmp_path) -> None:
        options = {"batch_size": 1, "save_every": 1, "evaluate_every": 0, "minutes": 0.1}
        pretrain_tower(tmp_path, tokenizer, words, 10**6, 0.0, **options)
        lines = [json.loads(line) for line in (tmp_path / "tower_log.jsonl").read_text().splitlines()]
        assert lines[-1]["seconds"] >= 6 and all(line["seconds"] <= 6 for line in lines[:-1])
        assert lines[-1]["step"] < 10**4  # by the number of batches it would still be warming up
        assert torch.load(tmp_path / "tower_state.pt")["optimizer"]["param_groups"][0]["lr"] > 1e-5
        pretrain_tower(tmp_path, tokenizer, words, 10**6, 0.0, **options)  # is over: nothing more is done
        assert len((tmp_path / "tower_log.jsonl").read_text().splitlines()) == len(lines)

    def test_held_out_accuracy_is_told_for_each_task(self, tokenizer, words) -> None:
        found = evaluate_tower(TowerModel(words), tokenizer, batches=1, batch_size=24)
        assert set(TASKS) <= set(found) and all(0 <= value <= 1 for value in found.values())

    def test_a_name_is_found_at_its_last_token(self, tokenizer) -> None:
        text = "Is red taller than blue?"
        ids, ends = SourceStream(tokenizer, 1, 0, 1)._tokens(text)
        assert [tokenizer.decode([ids[bisect_left(ends, _end_of(name, text))]]) for name in ("red", "blue")] == [
            "red", "blue"
        ]  # fmt: skip

    def test_a_run_starts_from_the_vision_half_and_resampler_of_a_base(self, tokenizer, words, tmp_path) -> None:
        given = {
            n: t for n, t in TowerModel(words).state_dict().items() if n.startswith(("vision", "conn", "question.r"))
        }
        options = {"reading": 0.0, "batch_size": 1, "peak_rate": 0.0, "save_every": 1, "evaluate_every": 99}
        trained = load_file(pretrain_tower(tmp_path, tokenizer, words, 9, **options, start=given, stop_after=1))
        assert torch.equal(trained["question.resampler.position"], given["question.resampler.position"])
        with pytest.raises(LeamlInputError, match="given base"):
            pretrain_tower(tmp_path / "other", tokenizer, words, 9, **options, start={"connector.foreign": words})

    def test_names_are_told_by_their_tokens_in_order(self, words) -> None:
        ids, mask = torch.tensor([[1, 2], [2, 1], [1, 0]]), torch.tensor([[True, True], [True, True], [True, False]])
        codes = name_codes(words, ids, mask)
        assert torch.allclose(codes.norm(dim=1), torch.ones(3))
        assert not torch.allclose(codes[0], codes[1], atol=0.1)
        assert torch.allclose(codes[2], torch.nn.functional.normalize(words[1], dim=0))
        torch.manual_seed(0)
        head, names = NameHead(16, 8), torch.tensor([3, 5, 2**32 - 1])
        targets = names.repeat(4)
        tokens = torch.nn.functional.one_hot(torch.arange(3).repeat(4), 16).float()
        optimizer = torch.optim.Adam(head.parameters(), 0.05)
        for _ in range(60):
            loss, accuracy = head(tokens, targets, names, codes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert accuracy == 1.0 and loss < 0.3
        assert head(tokens, torch.full_like(targets, IGNORE), names, codes)[0] == 0

    def test_reading_moves_the_tower_alone(self, tokenizer, words) -> None:
        model = TowerModel(words)
        batch = SourceStream(tokenizer, 2, 0, 1).batch(0)
        loss, accuracy = model.read(batch, model.cells(batch.pixels))
        loss.backward()
        moved = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
        assert moved == {"vision_tower", "local"}
        assert set(accuracy) <= {f"local/{name}" for name in ("glyph_0", "glyph_1", "glyph_2", "color")}

    def test_schedule_warms_up_and_falls(self) -> None:
        rates = [schedule(step / 1000, 1e-3) for step in range(1000)]
        assert rates[0] == 0 < rates[10] < rates[20] == 1e-3
        assert rates[20:] == sorted(rates[20:], reverse=True) and rates[-1] == pytest.approx(2e-5, rel=0.01)
        assert schedule(1.5, 1e-3) == pytest.approx(2e-5)


class TestBridge:
    @pytest.fixture()
    def base(self) -> LeamlForVisualQA:
        torch.manual_seed(0)
        return LeamlForVisualQA.from_backbones(
            ResNetModel(tower_config()), make_text(), fusion_layers=[], lora_layers=[], bridge_layers=[2, 3],
            bridge_dim=16, bridge_heads=2, bridge_ffn_dim=16, connector_config=connector_config(),
            resampler_layers=2, resampler_ffn_dim=16, resampler_answer_tokens=2,
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("vision_from", "moved"), [(2.0, {"bridge"}), (0.0, {"bridge", "resampler", "connector", "vision_tower"})]
    )
    def test_the_language_model_stays_and_the_parts_in_turn_move(
        self, base, tokenizer, tmp_path, vision_from, moved
    ) -> None:
        processor = LeamlProcessor.from_backbones(tokenizer, max_question_tokens=32)
        before = {name: p.detach().clone() for name, p in base.named_parameters()}
        options = {"batch_size": 1, "vision_from": vision_from, "save_every": 1, "evaluate_every": 99}
        pretrain_bridge(base, processor, DenseHeads(WIDTH), tmp_path, 9, **options, stop_after=2)
        for name in before:
            if name.startswith("backbone."):
                before[name] = before[name].bfloat16().float()  # it is trained on in bfloat16
        changed = {name.split(".")[0] for name, p in base.named_parameters() if not torch.equal(p, before[name])}
        assert changed == moved
        assert json.loads((tmp_path / "bridge_log.jsonl").read_text().splitlines()[-1])["step"] == 2

    def test_a_new_bridge_is_opened_and_a_trained_one_is_taken_as_it_is(self, base, tokenizer, tmp_path) -> None:
        processor = LeamlProcessor.from_backbones(tokenizer, max_question_tokens=32)
        options = {"batch_size": 1, "peak_rate": 0.0, "vision_rate": 0.0, "save_every": 1, "evaluate_every": 99}
        base.bridge["3"].open_gate(0.3)
        pretrain_bridge(base, processor, DenseHeads(WIDTH), tmp_path, 9, **options, stop_after=1)
        opened = [base.bridge[name].alpha.tanh().mean().item() for name in ("2", "3")]
        assert opened == pytest.approx([0.75, 0.3], abs=1e-5)


class TestReader:
    @pytest.fixture()
    def base(self) -> LeamlForVisualQA:
        torch.manual_seed(0)
        return LeamlForVisualQA.from_backbones(
            ResNetModel(tower_config()), make_text(), fusion_layers=[], lora_layers=[], bridge_layers=[3],
            bridge_dim=16, bridge_heads=2, bridge_ffn_dim=16, connector_config=connector_config(), reader_dim=16,
            reader_ffn_dim=32,
        )  # fmt: skip

    def test_it_alone_moves_and_sees_each_picture_once(self, base, tokenizer, tmp_path) -> None:
        before, seen = {name: p.detach().clone() for name, p in base.named_parameters()}, []
        base.vision_tower.register_forward_hook(lambda module, args, out: seen.append(1))
        pretrain_reader(base, tokenizer, tmp_path, ROUND, 1, save_every=8, workers=0)
        changed = {name.split(".")[0] for name, p in base.named_parameters() if not torch.equal(p, before[name])}
        assert changed == {"reader"} and len(seen) == ROUND
        lines = [json.loads(line) for line in (tmp_path / "reader_log.jsonl").read_text().splitlines()]
        assert lines[-1]["step"] == 2 * ROUND and lines[-1]["pictures"] == ROUND
        assert {"names", "written"} <= lines[-1].keys()

    def test_it_learns_where_names_are_and_goes_on_after_a_kill(self, base, tokenizer, tmp_path) -> None:
        options = {"save_every": 10, "workers": 0, "batch_size": 2}
        other = deepcopy(base)
        pretrain_reader(base, tokenizer, tmp_path / "whole", 12, **options)
        lines = [json.loads(line) for line in (tmp_path / "whole" / "reader_log.jsonl").read_text().splitlines()]
        assert lines[-1]["loss"] < lines[0]["loss"]
        pretrain_reader(other, tokenizer, tmp_path / "parts", 12, **options, stop_after=10)
        pretrain_reader(other, tokenizer, tmp_path / "parts", 12, **options)
        for name, parameter in base.reader.named_parameters():
            torch.testing.assert_close(other.reader.get_parameter(name), parameter)


class TestLetters:
    @pytest.fixture()
    def base(self) -> LeamlForVisualQA:
        torch.manual_seed(0)
        resampler = {f"resampler_{name.removeprefix('num_')}": value for name, value in RESAMPLER.items()}
        return LeamlForVisualQA.from_backbones(
            ResNetModel(tower_config()), make_text(), fusion_layers=[], lora_layers=[], bridge_layers=[3],
            bridge_dim=16, bridge_heads=2, bridge_ffn_dim=16, connector_config=connector_config(), **resampler,
            letters=CHARACTERS, letters_dim=16, letters_pointer_dim=8,
        )  # fmt: skip

    def test_they_alone_move_and_each_picture_is_seen_once(self, base, tokenizer, tmp_path) -> None:
        before, seen = {name: p.detach().clone() for name, p in base.named_parameters()}, []
        base.vision_tower.register_forward_hook(lambda module, args, out: seen.append(1))
        pretrain_letters(base, tokenizer, tmp_path, ROUND, 1, save_every=8, workers=0)
        changed = {name.split(".")[0] for name, p in base.named_parameters() if not torch.equal(p, before[name])}
        assert changed == {"letters", "pointer"} and len(seen) == ROUND
        lines = [json.loads(line) for line in (tmp_path / "letters_log.jsonl").read_text().splitlines()]
        assert lines[-1]["step"] == 2 * ROUND and lines[-1]["loss"] < lines[0]["loss"]
        assert {"letters", "pointed", "nowhere"} <= lines[-1].keys()

    def test_answers_are_where_their_names_are(self, tokenizer) -> None:
        """By the drawing's own boxes: of questions on the names of marks; colours, numbers and yes are nowhere."""
        batch = SourceStream(tokenizer, 8, 0, 1, pages=1).batch(0)
        places = written_at(batch)
        assert places.shape == (8, 8, 14 * 14 + 1)
        names = dict(zip(batch.names.tolist(), range(len(batch.names)), strict=True))
        for row, (answer, of_row) in enumerate(zip(batch.answer_texts, places.flatten(0, 1), strict=True)):
            word = batch.targets[row // 8, :, WORD]
            assert torch.equal(of_row[:-1], word == name_id(answer))
            if answer in ("yes", "no", "red", "4"):
                assert of_row[-1] or name_id(answer) in names
            assert not (of_row[-1] and of_row[:-1].any())
        assert 0.1 < places[..., :-1].any(-1).float().mean() < 0.5
