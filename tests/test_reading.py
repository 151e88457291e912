"""Learning to read from the names in unlabelled questions: the loss, the LoRA, the trainer's part."""

import math
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import SMALL_ADAPTER, make_connector_config, make_text
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from test_training import foreign_rows, rows
from transformers import ResNetConfig, ResNetModel

from leaml_hf import LeamlForVisualQA, LeamlTrainer, LeamlTrainingArguments
from leaml_hf.checkpoints import ADAPTER_FILE
from leaml_hf.data.budget import picture_keys
from leaml_hf.data.visual_arrays import load_visual_arrays
from leaml_hf.training import names, reading
from leaml_hf.training.cache import FrozenCache
from leaml_hf.training.names import NamedPictures
from leaml_hf.training.reading import learn_to_read, naming_loss
from leaml_hf.training.views import WEAK

LAYERS = {"fusion_layers": [2, 3], "lora_layers": [2, 3]}


class TestLoss:
    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 1000))
    def test_is_the_expected_surprise_at_the_places_of_a_name(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        codes, names = (F.normalize(torch.randn(*shape, generator=generator), dim=-1) for shape in ((3, 5, 8), (4, 8)))
        logits = torch.randn(3, 5, generator=generator)
        named = torch.rand(3, 4, generator=generator) < 0.5
        named[0, 0] = True
        losses = []
        for picture, name in named.nonzero().tolist():
            told = [math.log(math.exp(16 * codes[picture, place] @ names[name])
                             / sum(math.exp(16 * codes[picture, place] @ other) for other in names))
                    for place in range(5)]  # fmt: skip
            shown = [math.exp(2 * t) / (1 + math.exp(-logits[picture, k])) for k, t in enumerate(told)]
            losses.append(-sum(s * t for s, t in zip(shown, told, strict=True)) / sum(shown))
        assert naming_loss(codes, logits, named, names).item() == pytest.approx(np.mean(losses), rel=1e-4)

    def test_pulls_the_likeliest_place_towards_the_name(self) -> None:
        names = torch.eye(4)[:2]
        codes = F.normalize(torch.tensor([[[0.5, 0.4, 0, 0], [0.0, 0.9, 0.1, 0.1]]]), dim=-1).requires_grad_()
        naming_loss(codes, torch.zeros(1, 2), torch.tensor([[True, False]]), names).backward()
        moved = -codes.grad[0]
        assert moved[0, 0] > 0 > moved[0, 1] and moved[0].norm() > 100 * moved[1].norm()


def build(text, **options) -> LeamlForVisualQA:
    """With a reader of names, over 4 x 4 cells of a picture."""
    torch.manual_seed(0)
    tower = ResNetConfig(embedding_size=8, hidden_sizes=[8, 24], depths=[1, 1], layer_type="basic")
    parts = {"connector_config": make_connector_config(), "reader_dim": 8, "reader_ffn_dim": 16}
    model = LeamlForVisualQA.from_backbones(ResNetModel(tower), text, **parts, **options)
    torch.nn.init.normal_(model.reader.written.weight)
    return model


def save_base(folder: Path, text: Path) -> Path:
    bridge = {"bridge_layers": [3], "bridge_dim": 16, "bridge_heads": 2, "bridge_ffn_dim": 16}
    build(text, fusion_layers=[], lora_layers=[], **bridge).save_pretrained(folder)
    return folder


@pytest.fixture()
def model() -> LeamlForVisualQA:
    return build(make_text(), **LAYERS, **SMALL_ADAPTER)


class Pictures:
    """Each with the name of its colour somewhere in it."""

    def __init__(self, n: int = 24, seed: int = 0) -> None:
        self.rows = rows(n, seed)
        self.names = [[name] for name in self.rows["answer"]]

    def __len__(self) -> int:
        return len(self.names)

    def images(self, places) -> list:
        return [self.rows[int(place)]["image"] for place in places]


def pixels_of(processor, n: int = 24) -> torch.Tensor:
    return processor(images=list(rows(n)["image"]))["pixel_values"]


class TestLearning:
    def test_new_reading_changes_nothing_and_alone_has_gradients(self, model, processor) -> None:
        pixels = pixels_of(processor, 3)
        before, trained = model.encode_vision(pixels), {n for n, p in model.named_parameters() if p.requires_grad}
        model.add_reading()
        assert torch.equal(model.encode_vision(pixels), before)
        learning = {name for name, p in model.named_parameters() if p.requires_grad}
        assert learning and all(name.startswith(("vision_tower.", "connector.")) for name in learning)
        assert any("convolution" in name for name in learning) and not any("pooler" in name for name in learning)
        model.freeze_base()
        assert {name for name, p in model.named_parameters() if p.requires_grad} == trained

    def test_names_become_likelier_and_the_source_stays(self, model, processor) -> None:
        shown, pixels = Pictures(), pixels_of(processor)
        codes_of = reading.NameCodes(model, processor.tokenizer)
        source = Pictures(12, 5)

        def loss() -> float:
            with torch.no_grad():
                return naming_loss(*model.reader(model.encode_vision(pixels)), *codes_of(shown.names)).item()

        model.add_reading()
        before = loss()
        others = {name: tensor.clone() for name, tensor in model.state_dict().items() if ".lora_" not in name}
        learn_to_read(model, processor, shown, source, 30)
        assert loss() < before - 0.1
        assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in others.items())
        assert all(torch.equal(tensor, tensor.half().float()) for tensor in model.reading_state().values())

    def test_a_heavier_weight_keeps_the_source_nearer(self, model, processor, monkeypatch) -> None:
        source, shown = Pictures(12, 5), Pictures()
        pixels = processor(images=source.images(range(12)))["pixel_values"]
        before, moved = model.encode_vision(pixels), []
        for weight in (0.0, 100.0):
            monkeypatch.setattr(reading, "KEEP_WEIGHT", weight)
            model.add_reading()
            learn_to_read(model, processor, shown, source, 20)
            moved.append(F.mse_loss(model.encode_vision(pixels), before).item())
            model.drop_reading()
            assert torch.equal(model.encode_vision(pixels), before)
        assert moved[1] < 0.5 * moved[0]

    def test_it_is_saved_and_handed_to_other_models(self, backbone_folders, tmp_path, processor) -> None:
        folder = save_base(tmp_path / "base", backbone_folders[1])
        model = LeamlForVisualQA.from_backbone(folder, **LAYERS, **SMALL_ADAPTER)
        pixels, fingerprint = pixels_of(processor, 3), model.fingerprint()
        plain = model.encode_vision(pixels)
        model.add_reading()
        for name, tensor in model.reading_state().items():
            if "lora_B" in name:
                torch.nn.init.normal_(tensor, std=0.05)
        model.freeze_base()
        read = model.encode_vision(pixels)
        assert not torch.allclose(read, plain) and model.fingerprint() == fingerprint
        model.save_pretrained(tmp_path / "adapter")
        loaded = LeamlForVisualQA.from_pretrained(tmp_path / "adapter")
        assert loaded.config.adapt_reading and torch.equal(loaded.encode_vision(pixels), read)
        assert not any(p.requires_grad for n, p in loaded.named_parameters() if n.startswith("vision_tower."))
        loaded.merge_adapter()
        torch.testing.assert_close(loaded.encode_vision(pixels), read, rtol=1e-4, atol=1e-4)
        loaded.unmerge_adapter()
        other = LeamlForVisualQA.from_backbone(folder, **LAYERS, **SMALL_ADAPTER)
        other.set_reading(model.reading_state())
        assert torch.equal(other.encode_vision(pixels), read)
        other.set_reading({})
        assert torch.equal(other.encode_vision(pixels), plain) and not other.config.adapt_reading
        other.save_pretrained(tmp_path / "plain")
        assert not any(name.startswith("vision_tower.") for name in load_file(tmp_path / "plain" / ADAPTER_FILE))
        other.load_adapter(tmp_path / "adapter", "reader")
        assert torch.equal(other.encode_vision(pixels), read)
        other.set_adapter("default")
        assert torch.equal(other.encode_vision(pixels), plain)

    def test_states_that_are_kept_are_those_of_what_was_learnt(self, model, processor, tmp_path) -> None:
        shown = rows(3)
        keys, views, load = picture_keys(shown), [WEAK] * 3, [lambda k=k: shown[k]["image"] for k in range(3)]
        for folder in (None, tmp_path):
            cache = FrozenCache(model, processor, folder=folder)
            plain = torch.stack([one.states for one in cache.pictures(keys, views, load)])
            model.add_reading()
            for tensor in model.reading_state().values():
                torch.nn.init.normal_(tensor, std=0.05)
            read = torch.stack([one.states for one in cache.pictures(keys, views, load)])
            own = torch.stack([one.states for one in cache.pictures(keys, views, load, build(make_text()))])
            assert torch.equal(own, plain)
            torch.testing.assert_close(read, model.encode_vision(pixels_of(processor, 3)))
            assert not torch.allclose(read, plain)
            model.drop_reading()
            assert torch.equal(torch.stack([one.states for one in cache.pictures(keys, views, load)]), plain)


QUESTION = "what is the colour of {} ?"


def named_rows(n: int, seed: int, answered: bool = True) -> datasets.Dataset:
    """Rows that name what stands in their pictures."""
    shown = rows(n, seed, answered)
    names = rows(n, seed)["answer"]
    return shown.remove_columns("question").add_column("question", [QUESTION.format(name) for name in names])


@pytest.fixture()
def make_trainer(backbone_folders, processor, tmp_path, monkeypatch) -> Callable[..., LeamlTrainer]:
    """A trainer of a new adapter on the same base; all words that are not in each question are names."""
    folder = save_base(tmp_path / "base", backbone_folders[1])
    monkeypatch.setattr(reading, "MIN_PICTURES", 4)
    monkeypatch.setattr(names, "RARE", 0.9)

    def make(**options) -> LeamlTrainer:
        torch.manual_seed(3)
        model = LeamlForVisualQA.from_backbone(folder, **LAYERS, **SMALL_ADAPTER)
        data = {
            "train_dataset": named_rows(10, 0),
            "unlabeled_dataset": named_rows(16, 1, answered=False),
            "eval_dataset": named_rows(8, 2),
            "replay_dataset": named_rows(8, 3).add_column("program", ["hue"] * 8),
        }
        data |= {name: options.pop(name) for name in list(options) if name.endswith("_dataset")}
        values = {"max_steps": 2, "evaluate_every": 2, "per_device_train_batch_size": 4, "reading_steps": 3,
                  "use_cpu": True, "disable_tqdm": True}  # fmt: skip
        arguments = LeamlTrainingArguments(output_dir=str(tmp_path / "out"), **(values | options))
        return LeamlTrainer(model, arguments, processor, **data)

    return make


def losses(monkeypatch: pytest.MonkeyPatch, *values: float) -> None:
    """What the labels' loss is, each time."""
    told = iter(values)
    monkeypatch.setattr(LeamlTrainer, "_loss", lambda self, folds: next(told, 1.0))


class TestTrainer:
    def test_reading_that_makes_labels_likelier_is_kept_and_frozen(self, make_trainer, monkeypatch) -> None:
        losses(monkeypatch, 2.0, 1.5)
        trainer = make_trainer()
        trained = {name for name, p in trainer.model.named_parameters() if p.requires_grad}
        trainer.learn_reading()
        assert trainer.history == [{"step": 0, "named_pictures": 16, "unread_loss": 2.0, "read_loss": 1.5,
                                    "reading_kept": True}]  # fmt: skip
        kept = {name: tensor.clone() for name, tensor in trainer.model.reading_state().items()}
        assert any(tensor.any() for name, tensor in kept.items() if "lora_B" in name)
        assert trainer.better_than_base
        trainer.train()
        assert {name for name, p in trainer.model.named_parameters() if p.requires_grad} == trained
        for name, tensor in trainer.model.reading_state().items():
            assert torch.equal(tensor, kept[name])  # neither learnt again nor tuned by the labels
        trainer.fit_reliability(named_rows(16, 1))
        trainer.model.answer(list(rows(1)["image"]), [QUESTION.format("red")], trainer.processing_class)

    def test_what_has_learnt_to_read_has_no_neurons_to_choose_from(self, make_trainer, monkeypatch) -> None:
        losses(monkeypatch, 2.0, 1.5)
        trainer = make_trainer(neuron_share=0.5)
        trainer.train()
        assert trainer.model.config.adapt_reading

    @pytest.mark.parametrize(("told", "steps"), [((1.0, 0.95), 3), ((1.0, 0.95, 0.5), 5), ((1.0, 0.5, 0.95), 5)])
    def test_reading_that_does_not_is_dropped(self, make_trainer, monkeypatch, told, steps) -> None:
        """At once if it does not help early on; a little likelier is not enough."""
        losses(monkeypatch, *told)
        monkeypatch.setattr(reading, "LOOK", 4)
        trainer = make_trainer(reading_steps=steps)
        pixels = pixels_of(trainer.processing_class, 3)
        before = trainer.model.encode_vision(pixels)
        trainer.learn_reading()
        assert not trainer.model.config.adapt_reading and torch.equal(trainer.model.encode_vision(pixels), before)
        assert trainer.history[0]["read_loss"] == 0.95 and not trainer.history[0]["reading_kept"]

    @pytest.mark.parametrize("options", [
        {"reading_steps": 0}, {"unlabeled_dataset": None}, {"replay_dataset": None},
        {"unlabeled_dataset": rows(16, 1, answered=False)},
    ])  # fmt: skip
    def test_nothing_is_learnt_from_nothing(self, make_trainer, options) -> None:
        trainer = make_trainer(**options)
        trainer.learn_reading()
        assert not trainer.model.config.adapt_reading
        assert all(entry["named_pictures"] == 0 for entry in trainer.history)

    @pytest.mark.parametrize("foreign", [0, 2, 30])
    def test_names_of_a_foreign_half_of_the_pool_are_left_out(self, make_trainer, monkeypatch, foreign) -> None:
        monkeypatch.setattr(names, "MIN_PICTURES", 20)
        own, noise = named_rows(30, 1, answered=False), foreign_rows(30).select(range(foreign))
        noise = noise.remove_columns("question").add_column("question", [QUESTION.format("static")] * foreign)
        trainer = make_trainer(train_dataset=named_rows(30, 0), eval_dataset=named_rows(10, 2),
                               unlabeled_dataset=datasets.concatenate_datasets([own, noise]))  # fmt: skip
        shown = trainer.named_pictures
        found = [name for of_it in shown.names for name in of_it]
        if foreign < 30:
            assert len(found) == 30 + foreign
        else:
            assert found.count("static") <= 1 and len(found) >= 25
        noisy = [np.asarray(image).std((0, 1)).min() > 40 for image in shown.images(range(len(shown)))]
        assert noisy == [name == "static" for name in found]

    def test_a_killed_training_goes_on_with_what_was_learnt(self, make_trainer, monkeypatch) -> None:
        losses(monkeypatch, 2.0, 1.5)
        whole = make_trainer(max_steps=4, save_strategy="steps", save_steps=2)
        whole.train()
        again = make_trainer(max_steps=4, save_strategy="steps", save_steps=2)
        again.train(resume_from_checkpoint=str(Path(whole.args.output_dir) / "checkpoint-2"))
        assert again.history == whole.history and again.model.config.adapt_reading
        others = dict(whole.model.named_parameters())
        assert all(torch.equal(p, others[name]) for name, p in again.model.named_parameters())

    def test_trials_of_a_search_share_what_was_learnt(self, make_trainer, monkeypatch) -> None:
        pytest.importorskip("optuna")
        calls = []
        monkeypatch.setattr(reading, "learn_to_read", lambda *args: calls.append(1) or True)
        losses(monkeypatch, 2.0)
        trainer = make_trainer()
        trainer.hyperparameter_search(n_trials=2)
        assert len(calls) == 1
        assert not trainer.model.config.adapt_reading  # as it was


@pytest.mark.slow
def test_what_is_written_anew_is_read_better_where_it_stands() -> None:
    """`leaml-smol` on annotated pictures with other label layouts: the share of the places with a name where the name
    is told among all names of other pictures, by the drawing's own record of what stands where."""
    from leaml_hf.data.visual_arrays.builder import draw_scene
    from leaml_hf.data.visual_arrays.targets import (
        IGNORE,
        TARGETS,
        attribute_table,
        name_id,
        token_owners,
        token_targets,
    )
    from leaml_hf.processing_leaml import load_processor

    model, processor = LeamlForVisualQA.from_backbone("leaml-smol"), load_processor("leaml-smol")
    drawn = [draw_scene("annotated", "annotation", "validation", index)[:2] for index in range(64)]
    pixels = processor(images=[drawing.image for drawing, _ in drawn])["pixel_values"]
    written = np.stack([token_targets(attribute_table(scene), drawing, token_owners(drawing, 14))
                        for drawing, scene in drawn])[..., list(TARGETS).index("word")]  # fmt: skip
    known = {name_id(mark.label): mark.label for _, scene in drawn for mark in scene.marks if mark.label}
    codes = reading.NameCodes(model, processor.tokenizer)([[name] for name in known.values()])[1]
    order = {name: place for place, name in enumerate(sorted(known.values()))}
    there = written != IGNORE
    right = torch.tensor([order[known[name]] for name in written[there]])

    def told() -> float:
        with torch.no_grad():
            found = model.reader(model.encode_vision(pixels))[0]
        return float(((found[torch.from_numpy(there)] @ codes.T).argmax(1) == right).float().mean())

    before = told()
    model.add_reading()
    sets = [load_visual_arrays("annotated", variant, num_rows=4000) for variant in ("annotation", "base")]
    assert learn_to_read(model, processor, *map(NamedPictures, sets), 60)
    assert told() > before + 0.2
