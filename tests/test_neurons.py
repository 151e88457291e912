"""Tuning only the neurons that matter: their importance, and that all others stay as they are."""

from collections.abc import Callable

import pytest
import torch
from conftest import SMALL_ADAPTER, make_llava, open_adapter
from test_modeling import RESAMPLER, make_base
from test_training import rows

from leaml_hf import LeamlForVisualQA, LeamlInputError, LeamlTrainer, LeamlTrainingArguments
from leaml_hf.adapters import lora_layers
from leaml_hf.processing_leaml import LeamlBackboneProcessor
from leaml_hf.training.neurons import neuron_importance, qa_neurons

LAYERS = {"fusion_layers": [2, 3], "lora_layers": [2, 3]}


@pytest.fixture()
def composed(backbone_folders) -> LeamlForVisualQA:
    vision, text = map(str, backbone_folders)
    return LeamlForVisualQA.from_backbones(vision, text, **LAYERS, **SMALL_ADAPTER)


@pytest.fixture()
def llava() -> LeamlForVisualQA:
    return LeamlForVisualQA.from_backbone(make_llava(), **LAYERS, **SMALL_ADAPTER)


@pytest.fixture()
def resampler(backbone_folders, tmp_path) -> LeamlForVisualQA:
    folder = tmp_path / "base"
    make_base(backbone_folders[1], folder, **RESAMPLER)
    return LeamlForVisualQA.from_backbone(str(folder), adapt_bridge=True, **LAYERS, **SMALL_ADAPTER)


@pytest.fixture()
def batches(processor) -> list[dict[str, torch.Tensor]]:
    data = rows(6)
    return [processor.collate([data[i] for i in part]) for part in ((0, 1, 2), (3, 4, 5))]


def changes(model: LeamlForVisualQA) -> dict[str, torch.Tensor]:
    """What LoRA adds to the weights of each layer `[out, in]`."""
    return {name: layer.get_delta_weight("default").detach() for name, layer in lora_layers(model).items()}


class TestImportance:
    def test_is_what_silencing_a_neuron_does_to_first_order(self, composed, batches) -> None:
        model = open_adapter(composed)
        one = [{name: value[:1] for name, value in batches[0].items()}]

        def loss_of(batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return model(**batch).loss

        found = neuron_importance(model, one, loss_of)
        name = next(name for name in found if name.endswith("3.mlp.down_proj"))
        layer, step = lora_layers(model)[name], 1e-2
        for neuron in (0, 7, 21):
            losses = []
            for factor in (1 - step, 1 + step):
                scale = torch.ones(len(found[name]))
                scale[neuron] = factor
                handle = layer.register_forward_hook(lambda m, args, output, scale=scale: output * scale)
                with torch.no_grad():
                    losses.append(loss_of(one[0]).item())
                handle.remove()
            slope = abs(losses[1] - losses[0]) / (2 * step)
            assert found[name][neuron].item() == pytest.approx(slope, rel=0.05, abs=1e-5)

    def test_a_share_over_all_layers_is_chosen(self, composed, batches) -> None:
        def loss_of(batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return composed(**batch).loss

        importance = neuron_importance(composed, batches, loss_of)
        chosen = qa_neurons(composed, batches, loss_of, 0.1)
        assert chosen.keys() == lora_layers(composed).keys()
        together, kept = torch.cat([*importance.values()]), torch.cat([*chosen.values()])
        assert kept.sum() == round(0.1 * len(kept))
        assert together[kept].min() >= together[~kept].max() and together[kept].min() > 0
        assert all(parameter.grad is None for parameter in composed.parameters())

    def test_rows_are_needed(self, composed) -> None:
        with pytest.raises(LeamlInputError, match="labelled rows"):
            qa_neurons(composed, [], lambda batch: None, 0.5)


class TestTrainer:
    @pytest.fixture()
    def train(self, tmp_path) -> Callable[..., LeamlTrainer]:
        def run(model: LeamlForVisualQA, processor: object, **options: object) -> LeamlTrainer:
            values = {"max_steps": 4, "learning_rate": 1e-2, "per_device_train_batch_size": 8, "replay_share": 0.0,
                      "neuron_share": 0.2, "weight_decay": 0.1, "use_cpu": True, "disable_tqdm": True}  # fmt: skip
            arguments = LeamlTrainingArguments(output_dir=str(tmp_path / "out"), **(values | options))
            trainer = LeamlTrainer(model, arguments, processor, rows(16), rows(16, 1, answered=False))
            trainer.train()
            return trainer

        return run

    @pytest.mark.parametrize("kind", ["composed", "llava", "resampler"])
    def test_other_neurons_are_exactly_the_backbones(self, kind, request, train, processor, tmp_path) -> None:
        model = request.getfixturevalue(kind)
        if kind == "llava":
            processor = LeamlBackboneProcessor(request.getfixturevalue("llava_processor"))
        if kind == "resampler":
            processor.max_question_tokens = RESAMPLER["resampler_max_tokens"]
        trainer = train(model, processor)
        moved = {name: change.abs().sum(1) > 0 for name, change in changes(model).items()}
        share = torch.cat([*moved.values()]).float().mean().item()
        assert 0.15 <= share <= 0.2 + 1e-3  # the first may have had a gradient of 0
        trainer.average.load(trainer.average.values)
        for name, change in changes(model).items():
            assert not change[~moved[name]].any()
        if kind != "llava":
            trainer.save_model(str(tmp_path / "saved"))
            loaded = LeamlForVisualQA.from_pretrained(tmp_path / "saved")
            for name, change in changes(loaded).items():
                assert torch.equal(change.abs().sum(1) > 0, moved[name])

    def test_what_was_trained_before_stays_where_it_is_not_chosen(self, composed, train, processor) -> None:
        model = open_adapter(composed)
        before = {n: p.detach().clone() for n, p in model.named_parameters() if ".lora_B." in n}
        train(model, processor)
        same = [(p == before[n].half().float()).all(1) for n, p in model.named_parameters() if n in before]
        assert torch.cat(same).float().mean().item() == pytest.approx(0.8, abs=0.01)

    def test_all_of_them_by_default(self, composed, train, processor) -> None:
        train(composed, processor, neuron_share=1.0)
        assert all(change.abs().sum(1).gt(0).float().mean() > 0.9 for change in changes(composed).values())

    @pytest.mark.parametrize("share", [0.0, 1.5])
    def test_a_share_out_of_range_is_named(self, share: float, tmp_path) -> None:
        with pytest.raises(LeamlInputError, match="neuron_share"):
            LeamlTrainingArguments(str(tmp_path), neuron_share=share)
