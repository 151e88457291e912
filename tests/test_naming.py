"""Names that were never answers: the loss by which letters are learnt, the learning, the trainer's part."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import SMALL_ADAPTER, make_connector_config
from hypothesis import given, settings
from hypothesis import strategies as st
from test_lexicon import BRIDGE, LAYERS, RESAMPLER, TOWER, by_enumeration
from test_reading import Pictures, named_rows, pixels_of
from transformers import ResNetModel

from leaml_hf import LeamlForVisualQA, LeamlTrainer, LeamlTrainingArguments
from leaml_hf.lexicon import Lexicon, letter_places
from leaml_hf.processing_leaml import LeamlProcessor
from leaml_hf.training import names, naming
from leaml_hf.training.naming import learn_letters, readable_names, spotting_loss

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class TestLoss:
    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 1000))
    def test_is_the_surprise_at_a_name_among_others(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        told = (2 * torch.randn(2, 2, 3, 2, 4, generator=generator)).log_softmax(-1)
        words = [[0], [1, 2], [2, 0]]
        named = torch.tensor([[True, False, False], [True, False, True]])
        surprises = []
        for picture, of_it in zip(told.flatten(2, 3).double().numpy(), named, strict=True):
            lines = [line for line in picture if ((1 - np.exp(line[:, -1])) > 0.3).sum() >= 2]
            scores = [max(-30, by_enumeration(np.stack(lines), np.zeros((len(lines), 6)), word)) if lines else -30
                      for word in words]  # fmt: skip
            others = np.logaddexp.reduce([score for score, has in zip(scores, of_it, strict=True) if not has])
            surprises += [np.log1p(np.exp(others - s)) for s, has in zip(scores, of_it, strict=True) if has]
        letters = torch.tensor([[0, -1], [1, 2], [2, 0]])
        assert spotting_loss(told, letters, named).item() == pytest.approx(np.mean(surprises), rel=1e-4)

    def test_a_picture_without_text_says_nothing(self) -> None:
        told = torch.zeros(1, 2, 2, 1, 4)
        told[..., -1] = 5.0
        told = told.requires_grad_()
        spotting_loss(told.log_softmax(-1), torch.tensor([[0], [1]]), torch.tensor([[True, False]])).backward()
        assert not told.grad.any()


@pytest.fixture()
def folder(backbone_folders, tmp_path) -> Path:
    """A base that reads letters, over 4 x 4 cells of a picture."""
    torch.manual_seed(0)
    base = LeamlForVisualQA.from_backbones(
        ResNetModel(TOWER), backbone_folders[1], connector_config=make_connector_config(), **RESAMPLER, **BRIDGE,
        letters=LETTERS, letters_dim=16, fusion_layers=[], lora_layers=[],
    )  # fmt: skip
    base.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture()
def asking(processor) -> LeamlProcessor:
    return LeamlProcessor(processor.image_processor, processor.tokenizer, max_question_tokens=12)


def test_letters_of_names_are_learnt_and_the_source_stays(folder, asking, monkeypatch) -> None:
    """Of pictures in colours that are their names; the base is left as it is."""
    monkeypatch.setattr(naming, "RATE", 2e-2)
    model = LeamlForVisualQA.from_pretrained(folder)
    shown, source = Pictures(24), Pictures(12, 5)
    before = {name: p.clone() for name, p in model.named_parameters()}
    words = sorted({name for of_it in shown.names for name in of_it})
    named = torch.tensor([[word in of_it for word in words] for of_it in shown.names])
    cells = model.encode_cells(pixels_of(asking))[0]

    def loss(reader) -> float:
        with torch.no_grad():
            return spotting_loss(reader(cells), letter_places(words, LETTERS), named).item()

    reader = learn_letters(model, asking, shown, source, 40)
    assert loss(reader) < 0.5 * loss(model.letters)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert all(torch.equal(p, p.half().to(p.dtype)) and not p.requires_grad for p in reader.parameters())
    again = learn_letters(model, asking, shown, source, 40)
    assert all(torch.equal(p, q) for p, q in zip(reader.parameters(), again.parameters(), strict=True))

    told = model.encode_cells(pixels_of(asking, 12))[0]
    monkeypatch.setattr(naming, "KEPT", 0)
    free = learn_letters(model, asking, shown, source, 40)
    with torch.no_grad():
        kept, lost = ((one(told).exp() - model.letters(told).exp()).abs().mean() for one in (reader, free))
    assert kept < lost


def test_names_of_one_letter_stand_everywhere() -> None:
    named = SimpleNamespace(names=[["A", "ab"], ["B", "日本"], ["b, é c"]])
    assert readable_names(named, "abcA") == {0: ["ab"], 2: ["bc"]}


@pytest.fixture()
def make_trainer(folder, asking, tmp_path, monkeypatch) -> Callable[..., LeamlTrainer]:
    """A trainer of a new adapter on that base; all words that are not in each question are names."""
    monkeypatch.setattr(naming, "MIN_PICTURES", 4)
    monkeypatch.setattr(names, "RARE", 0.9)

    def make(**options) -> LeamlTrainer:
        torch.manual_seed(3)
        model = LeamlForVisualQA.from_backbone(folder, **LAYERS, **SMALL_ADAPTER)
        source = named_rows(8, 3).remove_columns(["question", "answer"])
        source = source.add_column("question", [f"what is {name} ?" for name in ("cyan", "teal") * 4])
        data = {
            "train_dataset": named_rows(10, 0),
            "unlabeled_dataset": named_rows(16, 1, answered=False),
            "eval_dataset": named_rows(8, 2),
            "replay_dataset": source.add_column("answer", ["red"] * 8),
        }
        data |= {name: options.pop(name) for name in list(options) if name.endswith("_dataset")}
        values = {"max_steps": 2, "evaluate_every": 2, "per_device_train_batch_size": 4, "reading_steps": 0,
                  "letter_steps": 2, "use_cpu": True, "disable_tqdm": True}  # fmt: skip
        arguments = LeamlTrainingArguments(output_dir=str(tmp_path / "out"), **(values | options))
        return LeamlTrainer(model, arguments, asking, **data)

    return make


def shares(monkeypatch: pytest.MonkeyPatch, *values: float) -> list[Lexicon | None]:
    """What share of the labels is right, each time; returns the lexicons that were asked with."""
    told, seen, judge = iter(values), [], LeamlTrainer._predict

    def predict(self, folds):
        share = next(told, None)
        if share is None:
            return judge(self, folds)
        seen.append(self.model.lexicon)
        return SimpleNamespace(correct=np.arange(10) < 10 * share)

    monkeypatch.setattr(LeamlTrainer, "_predict", predict)
    return seen


class TestTrainer:
    @pytest.mark.parametrize(("right", "kept"), [
        ((0.5, 0.5), None), ((0.5, 0.4), None), ((0.5, 0.6, 0.5), False), ((0.5, 0.6, 0.6), True),
    ])  # fmt: skip
    def test_the_labels_decide(self, make_trainer, monkeypatch, right, kept) -> None:
        """More of them for names at all, no fewer for learnt letters; names of the source are no new ones."""
        seen = shares(monkeypatch, *right)
        trainer = make_trainer()
        trainer.find_names()
        unlabeled = {name for of_it in names.NamedPictures(trainer.unlabeled).names for name in of_it}
        assert seen[0] is None and set(seen[1].names) == unlabeled - {"red"}
        assert set(seen[1].known) == {"cyan", "teal", "red"}
        entry = {"step": 0, "names": len(seen[1].names), "right_without_names": right[0],
                 "right_with_names": right[1], "names_kept": kept is not None}  # fmt: skip
        if kept is None:
            assert trainer.model.lexicon is None
        else:
            entry |= {"right_with_letters": right[2], "letters_kept": kept}
            assert trainer.model.lexicon is seen[2 if kept else 1] and trainer.better_than_base
            assert seen[1].reader is None and seen[2].reader is not None
        assert trainer.history == [entry]

    @pytest.mark.parametrize("options", [{"use_lexicon": False}, {"unlabeled_dataset": None}])
    def test_nothing_is_found_without_them(self, make_trainer, options) -> None:
        trainer = make_trainer(**options)
        trainer.find_names()
        assert trainer.model.lexicon is None and trainer.history == []

    def test_a_base_that_reads_no_letters_has_none(self, make_trainer) -> None:
        trainer = make_trainer()
        trainer.model.letters = None
        trainer.find_names()
        assert trainer.model.lexicon is None and trainer.history == []

    @pytest.mark.parametrize("options", [{"letter_steps": 0}, {"replay_dataset": None}])
    def test_letters_are_not_learnt_without(self, make_trainer, monkeypatch, options) -> None:
        seen = shares(monkeypatch, 0.5, 0.6)
        trainer = make_trainer(**options)
        trainer.find_names()
        assert trainer.model.lexicon is seen[1] and trainer.model.lexicon.reader is None

    def test_a_killed_training_goes_on_with_what_was_found(self, make_trainer, monkeypatch) -> None:
        shares(monkeypatch, 0.5, 0.6, 0.6)
        whole = make_trainer(max_steps=4, save_strategy="steps", save_steps=2)
        whole.train()
        again = make_trainer(max_steps=4, save_strategy="steps", save_steps=2)
        again.train(resume_from_checkpoint=str(Path(whole.args.output_dir) / "checkpoint-2"))
        assert again.history == whole.history
        ours, theirs = whole.model.lexicon, again.model.lexicon
        assert theirs.names == ours.names and theirs.known == ours.known
        for name, tensor in ours.reader.state_dict().items():
            assert torch.equal(tensor, theirs.reader.state_dict()[name])
        others = dict(whole.model.named_parameters())
        assert all(torch.equal(p, others[name]) for name, p in again.model.named_parameters())

    def test_trials_of_a_search_share_what_was_found(self, make_trainer, monkeypatch) -> None:
        pytest.importorskip("optuna")
        calls, learn = [], naming.learn_letters
        monkeypatch.setattr(naming, "learn_letters", lambda *args: calls.append(1) or learn(*args))
        shares(monkeypatch, 0.5, 0.6, 0.6)
        trainer = make_trainer()
        trainer.hyperparameter_search(n_trials=2)
        assert len(calls) == 1
