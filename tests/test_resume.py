"""A training that is killed, or whose disk is full, goes on from its last checkpoint as if nothing had been."""

import errno
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SMALL_ADAPTER
from safetensors.torch import load_file
from test_training import rows
from transformers import TrainerCallback

from leaml_hf import LeamlError, LeamlForVisualQA, LeamlInputError, LeamlTrainer, LeamlTrainingArguments
from leaml_hf.checkpoints import ADAPTER_FILE
from leaml_hf.phrasebook import Phrasebook, Rule
from leaml_hf.training import progress
from leaml_hf.training.batches import EndlessBatches
from leaml_hf.training.rows import LeamlCollator

QUESTION = "what colour is the circle ?"
ALL_PARTS = {"pseudo_qa_weight": 1.0, "pseudo_qa_steps": 8, "neuron_share": 0.5, "retrieved_examples": 1,
             "curriculum_steps": 5}  # fmt: skip
RULE = Rule("hue", QUESTION, "what is the colour ?", 0, {}, 8.0, 1.0, 1.0)


@pytest.fixture()
def build(backbone_folders: tuple[Path, Path], processor, tmp_path: Path) -> Callable[..., LeamlTrainer]:
    """A trainer, with a new model, that needs all that a checkpoint holds."""

    def make(name: str, **options: Any) -> LeamlTrainer:
        torch.manual_seed(11)
        model = LeamlForVisualQA.from_backbones(
            *backbone_folders, fusion_layers=[2, 3], lora_layers=[2, 3], lora_dropout=0.1, **SMALL_ADAPTER
        )
        values = {
            "max_steps": 6,
            "learning_rate": 5e-3,
            "evaluate_every": 3,
            "refresh_steps": 3,
            "refresh_rows": 8,
            "per_device_train_batch_size": 4,
            "teacher_decay": 0.5,
            "consistency_weight": 1.0,
            "save_strategy": "steps",
            "save_steps": 2,
            "save_total_limit": 2,
            "use_cpu": True,
            "disable_tqdm": True,
        }
        data = {
            "train_dataset": rows(10),
            "unlabeled_dataset": rows(16, 1, answered=False),
            "eval_dataset": rows(6, 2),
            "replay_dataset": rows(6, 3).add_column("program", ["hue"] * 6),
        }
        data |= {key: options.pop(key) for key in list(options) if key.endswith("_dataset")}
        callbacks = options.pop("callbacks", None)
        arguments = LeamlTrainingArguments(output_dir=str(tmp_path / name), **(values | options))
        return LeamlTrainer(model, arguments, processor, callbacks=callbacks, **data)

    return make


def run(work: Callable[[], None]) -> int:
    """Exit code of a process of its own that does the work; minus the signal that ended it."""

    def told() -> None:
        # After a fork torch remakes its thread pool without a lock, so no threads that load weights may be the first.
        torch.set_num_threads(1)
        try:
            work()
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)  # the other is a buffer that ends with the process
            raise

    process = get_context("fork").Process(target=told)
    process.start()
    process.join(120)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


def dies_at_call(function: Callable, number: int, after: bool = False) -> Callable:
    """The function, which kills the process at its call of that number, before or after its work."""
    calls = 0

    def called(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **kwargs)
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return called


def kill_in_step(trainer: LeamlTrainer, patch: pytest.MonkeyPatch) -> None:
    trainer.compute_loss = dies_at_call(trainer.compute_loss, 6)


def kill_in_judging(trainer: LeamlTrainer, patch: pytest.MonkeyPatch) -> None:
    trainer._loss = dies_at_call(trainer._loss, 2)  # at step 3


def kill_in_save(trainer: LeamlTrainer, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(progress, "save_file", dies_at_call(progress.save_file, 2, after=True))


def kill_after_last_step(trainer: LeamlTrainer, patch: pytest.MonkeyPatch) -> None:
    trainer._finalize_training = dies_at_call(trainer._finalize_training, 1)


def train_and_save(trainer: LeamlTrainer, resume: bool = False) -> None:
    trainer.train(resume_from_checkpoint=resume)
    folder = Path(trainer.args.output_dir)
    trainer.save_model()
    (folder / "history.json").write_text(json.dumps(trainer.history))


class FoundWords:
    """Stands in for a `PatternTeacher` that finds words which help, in all folds but one; two in three rows are
    trusted."""

    trust = (1.0, 1.0)

    def __init__(self, *parts: Any) -> None:
        self.asked = 0

    def fit(self, *given: Any) -> "FoundWords":
        return self

    def phrasebook(self, questions: list[str]) -> Phrasebook:
        self.asked += 1
        return Phrasebook([RULE], {QUESTION: None if self.asked == 2 else (0, RULE.pattern)})

    def without(self, rows: np.ndarray) -> "FoundWords":
        return self

    def nearest(self, questions: list[str]) -> list[int | None]:
        return [(0, 1, None)[row % 3] for row in range(len(questions))]


class TestKilled:
    @pytest.mark.parametrize("options", [{}, ALL_PARTS])
    def test_the_adapter_is_the_same_bit_for_bit(self, build, tmp_path, monkeypatch, options) -> None:
        monkeypatch.setattr("leaml_hf.training.words.PatternTeacher", FoundWords)
        build, unbroken = partial(build, **options), tmp_path / "unbroken"
        assert run(lambda: train_and_save(build("unbroken"))) == 0
        moments = {kill_in_step: 4, kill_in_judging: 2}
        if not options:
            moments |= {kill_in_save: 2, kill_after_last_step: 6}
        for kill, last in moments.items():

            def killed(kill: Callable = kill) -> None:
                trainer = build(kill.__name__)
                kill(trainer, monkeypatch)
                train_and_save(trainer)

            assert run(killed) == -signal.SIGKILL, kill
            output = tmp_path / kill.__name__
            assert Path(progress.last_checkpoint(output)).name == f"checkpoint-{last}"
            assert run(lambda kill=kill: train_and_save(build(kill.__name__), resume=True)) == 0
            assert not (output / "_partial").exists()
            for file in ("leaml_phrasebook.json", "history.json"):
                assert (output / file).read_bytes() == (unbroken / file).read_bytes(), (kill, file)
            end, expected = (load_file(folder / ADAPTER_FILE) for folder in (output, unbroken))
            assert end.keys() == expected.keys()
            assert all(torch.equal(end[name], tensor) for name, tensor in expected.items()), kill
        history = json.loads((unbroken / "history.json").read_text())
        assert history[0]["trusted"] < 1 and {entry["step"] for entry in history} == {0, 3, 6}
        assert any(value.any() for value in load_file(unbroken / ADAPTER_FILE).values())
        self.check_files(unbroken / "checkpoint-6")

    def check_files(self, checkpoint: Path) -> None:
        """The adapter, not the base, and no pickle of ours."""
        assert LeamlForVisualQA.from_pretrained(checkpoint).phrasebook is not None
        pickles = {path.name for path in checkpoint.rglob("*") if path.suffix in (".pt", ".pth", ".bin", ".pkl")}
        assert pickles == {"optimizer.pt", "scheduler.pt", "rng_state.pth"}  # of transformers
        adapter = (checkpoint / ADAPTER_FILE).stat().st_size
        assert (checkpoint / progress.TENSORS_FILE).stat().st_size < 4 * adapter  # average, best, teacher, texts


class TestTakenUp:
    def test_where_training_had_ended_no_step_is_added(self, build) -> None:
        first = build("out", eval_dataset=None, use_patterns=False)
        first.train()
        second = build("out", eval_dataset=None, use_patterns=False)
        second.train(resume_from_checkpoint=True)
        assert second.state.global_step == 6
        assert all(torch.equal(p, q) for p, q in zip(first.model.parameters(), second.model.parameters(), strict=True))

    def test_what_cannot_be_gone_on_from_is_told(self, build, tmp_path) -> None:
        options = {"use_patterns": False, "max_steps": 2}
        with pytest.raises(LeamlInputError, match="holds no checkpoint"):
            build("out", **options).train(resume_from_checkpoint=True)
        build("out", **options).train()
        with pytest.raises(LeamlInputError, match="other rows"):
            build("out", train_dataset=rows(11), **options).train(resume_from_checkpoint=True)
        state = tmp_path / "out" / "checkpoint-2" / progress.STATE_FILE
        state.write_text(state.read_text()[:-9])
        with pytest.raises(LeamlInputError, match="damaged"):
            build("out", **options).train(resume_from_checkpoint=True)
        state.unlink()
        with pytest.raises(LeamlInputError, match="missing"):
            build("out", **options).train(resume_from_checkpoint=True)

    @pytest.mark.parametrize("taken", [0, 1, 5, 6, 17])
    def test_batches_go_on_anywhere(self, processor, taken: int) -> None:
        views = [[], []]

        def batches(which: int, taken: int) -> EndlessBatches:
            collator = LeamlCollator(processor, None, strong_views=True, seed=4, drawn=3 * taken)
            collate = lambda part: views[which].append(collator._rng.integers(4, size=3).tolist()) or part  # noqa: E731
            return EndlessBatches(range(20), 3, collate, seed=4, taken=taken)

        whole, later = batches(0, 0), batches(1, taken)
        expected = [next(whole) for _ in range(taken + 9)]
        assert [next(later) for _ in range(9)] == expected[taken:] and views[1] == views[0][taken:]
        assert sorted(row for part in expected[:6] for row in part) == sorted({*expected[0]}.union(*expected[1:6]))


class TestFullDisk:
    def test_of_a_checkpoint_ends_in_a_sentence_and_the_last_one_is_there(self, build, monkeypatch, tmp_path) -> None:
        calls = 0
        save = torch.save

        def full(*args: Any, **kwargs: Any) -> None:
            nonlocal calls
            calls += 1
            if calls > 4:
                raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 124800 vs 124688")
            save(*args, **kwargs)

        trainer = build("out", use_patterns=False)
        with monkeypatch.context() as patch:
            patch.setattr(torch, "save", full)
            with pytest.raises(LeamlError, match=r"disk of .* is full"):
                trainer.train()
        assert {path.name for path in (tmp_path / "out").iterdir()} == {"checkpoint-2"}
        own = dict(trainer.model.named_parameters())
        assert all(torch.equal(own[name], v.half().float()) for name, v in trainer.best["values"].items())
        again = build("out", use_patterns=False)
        again.train(resume_from_checkpoint=True)
        assert again.state.global_step == 6

    @pytest.mark.parametrize("where", ["leaml_hf.checkpoints.save_file", "leaml_hf.phrasebook.Phrasebook.save"])
    def test_of_the_adapter_leaves_the_earlier_one(self, build, monkeypatch, tmp_path, where: str) -> None:
        trainer = build("out", use_patterns=False)
        trainer.model.phrasebook = Phrasebook([RULE], {QUESTION: (0, RULE.pattern)})
        trainer.save_model()
        before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
        with torch.no_grad():
            for parameter in trainer.average.parameters.values():
                parameter += 1.0

        def full(*args: Any, **kwargs: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(where, full)
        with pytest.raises(LeamlError, match=r"disk of .* is full"):
            trainer.save_model()
        assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


class TestNoNumbers:
    @pytest.mark.parametrize("held_out", [True, False])
    def test_a_loss_that_is_none_stops_with_the_last_good_state(self, build, held_out: bool) -> None:
        options = {} if held_out else {"eval_dataset": None}
        trainer = build("out", use_patterns=False, learning_rate=1e38, warmup_steps=4, **options)
        with pytest.raises(LeamlError, match="lower learning_rate"):
            trainer.train()
        assert all(p.isfinite().all() for p in trainer.model.parameters())
        trainer.save_model()


class TestHabits:
    def test_evaluate_gives_texts_to_compute_metrics(self, build) -> None:
        seen = []
        trainer = build("out", use_patterns=False, max_steps=2, eval_strategy="steps", eval_steps=1)
        trainer.compute_metrics = lambda given: seen.append(given) or {"rows": len(given.predictions)}
        trainer.train()
        figures = trainer.evaluate()
        assert len(seen) == 3 and list(seen[-1].label_ids) == list(rows(6, 2)["answer"])
        assert figures["eval_rows"] == 6 and np.isfinite(figures["eval_loss"])
        right = np.mean(seen[-1].predictions == seen[-1].label_ids)
        assert figures["eval_accuracy"] == pytest.approx(right)
        assert trainer.evaluate(rows(5, 7), metric_key_prefix="test")["test_rows"] == 5
        with pytest.raises(LeamlInputError, match="eval_dataset"):
            build("other", eval_dataset=None).evaluate()

    def test_evaluating_takes_no_batch_of_the_training(self, build) -> None:
        ends = []
        for strategy in ("no", "steps"):
            trainer = build(strategy, use_patterns=False, eval_strategy=strategy, eval_steps=2, save_strategy="no")
            trainer.train()
            ends.append([p.clone() for p in trainer.average.values.values()])
        assert all(torch.equal(p, q) for p, q in zip(*ends, strict=True))

    def test_callbacks_and_trackers(self, build) -> None:
        called = []

        class Tracker(TrainerCallback):
            def on_step_end(self, args, state, control, **kwargs):
                called.append(state.global_step)

            def on_save(self, args, state, control, **kwargs):
                called.append("saved")

            def on_log(self, args, state, control, logs, **kwargs):
                called.append("logged")

        build("out", use_patterns=False, max_steps=2, logging_steps=1, report_to=[], callbacks=[Tracker()]).train()
        assert [entry for entry in called if entry in (1, 2)] == [1, 2] and {"saved", "logged"} <= {*called}

    def test_several_processes_are_refused(self, build, monkeypatch) -> None:
        monkeypatch.setattr(LeamlTrainingArguments, "world_size", 2)
        with pytest.raises(LeamlInputError, match="--num_processes 1"):
            build("out")
