"""Every image-text-to-text family of transformers, through the generic path: the same eight promises for each."""

import copy
from functools import cache
from pathlib import Path

import pytest
import torch
from conftest import open_adapter
from families import FAMILIES, make_batch, make_row, tiny_model
from transformers import AutoModelForImageTextToText, PreTrainedModel

from leaml_hf import LeamlForVisualQA

SMALL = {"fusion_dim": 16, "fusion_heads": 2, "fusion_ffn_dim": 16, "lora_rank": 2}
CLOSE = {"rtol": 1e-3, "atol": 1e-3}
GREEDY = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False, "num_beams": 1, "pad_token_id": 0}


@cache
def prototype(family: str) -> PreTrainedModel:
    return tiny_model(family)


@cache
def rows(family: str) -> list[dict[str, torch.Tensor]]:
    return [make_row(prototype(family), words, seed) for seed, words in enumerate((7, 5))]


def backbone_of(family: str) -> PreTrainedModel:
    return copy.deepcopy(prototype(family))


def adapted(family: str) -> LeamlForVisualQA:
    """With every part of the adapter having an effect."""
    return open_adapter(LeamlForVisualQA.from_backbone(backbone_of(family), **SMALL))


@torch.no_grad()
def logits(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    return model(**inputs).logits


def labels_of(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    return inputs.get("decoder_input_ids", inputs["input_ids"]).clone()


def generated(model: PreTrainedModel, inputs: dict[str, torch.Tensor], **options: bool) -> torch.Tensor:
    given = {name: value for name, value in inputs.items() if name != "decoder_input_ids"}
    return model.generate(**given, **GREEDY, **options)[:, -4:]


def check_untrained(family: str, folder: Path) -> None:
    batch = make_batch(rows(family))
    backbone = backbone_of(family)
    expected = logits(backbone, batch)
    model = LeamlForVisualQA.from_backbone(backbone, **SMALL)
    assert torch.equal(logits(model, batch), expected)
    for layer in model.fusion.values():
        layer.open_gate(0.7)
    out = model(**batch)
    assert out.vision_states.shape[0] == 2
    assert not torch.allclose(out.logits, expected, **CLOSE)


def check_step(family: str, folder: Path) -> None:
    model = adapted(family).train()
    batch = make_batch(rows(family))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    model(**batch, labels=labels_of(batch)).loss.backward()
    optimizer.step()
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert all(name.startswith("fusion.") or ".lora_" in name for name in trainable)
    assert moved == trainable


def check_round_trip(family: str, folder: Path) -> None:
    batch = make_batch(rows(family))
    backbone_of(family).save_pretrained(folder / "base")
    again = AutoModelForImageTextToText.from_pretrained(folder / "base")
    if not torch.equal(logits(again, batch), logits(prototype(family), batch)):
        pytest.skip("the backbone itself does not give the same logits once saved and loaded")
    model = open_adapter(LeamlForVisualQA.from_backbone(folder / "base", **SMALL))
    model.save_pretrained(folder / "adapter")
    assert torch.equal(logits(LeamlForVisualQA.from_pretrained(folder / "adapter"), batch), logits(model, batch))


def check_merge(family: str, folder: Path) -> None:
    model, batch = adapted(family), make_batch(rows(family))
    before = logits(model, batch)
    report = model.merge_adapter()
    assert report["changed"] == report["expected"] > 0
    torch.testing.assert_close(logits(model, batch), before, **CLOSE)


def check_cache(family: str, folder: Path) -> None:
    row = rows(family)[0]
    for what, model in (("backbone", backbone_of(family)), ("adapted", adapted(family))):
        same = torch.equal(generated(model, row, use_cache=True), generated(model, row, use_cache=False))
        if what == "backbone" and not same:
            pytest.skip("the backbone itself says other things without a cache")
    assert same


def check_batch(family: str, folder: Path) -> None:
    batch = make_batch(rows(family))
    for what, model in (("backbone", backbone_of(family)), ("adapted", adapted(family))):
        together = logits(model, batch)
        same = []
        for place, row in enumerate(rows(family)):
            alone = logits(model, row)[0]
            same.append(torch.allclose(together[place, -len(alone) :], alone, **CLOSE))
            same.append(torch.equal(generated(model, row)[0], generated(model, batch)[place]))
        if what == "backbone" and not all(same):
            pytest.skip("the backbone itself says other things in a batch padded on the left")
    assert all(same)


def check_checkpointing(family: str, folder: Path) -> None:
    model, batch = adapted(family).train(), make_batch(rows(family))
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            if not model.backbone.supports_gradient_checkpointing:
                pytest.skip("the backbone itself has no gradient checkpointing")
            model.activation_checkpointing_enable()
        model.zero_grad()
        torch.manual_seed(0)
        model(**batch, labels=labels_of(batch)).loss.backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, **CLOSE)


def check_bfloat16(family: str, folder: Path) -> None:
    batch = {n: v.bfloat16() if v.is_floating_point() else v for n, v in make_batch(rows(family)).items()}
    backbone = backbone_of(family).bfloat16()
    expected = logits(backbone, batch)
    model = LeamlForVisualQA.from_backbone(backbone, **SMALL)
    assert torch.equal(logits(model, batch), expected)
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    loss = open_adapter(model).train()(**batch, labels=labels_of(batch)).loss
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


CHECKS = {
    "equal until trained": check_untrained,
    "a step moves the adapter": check_step,
    "save and load": check_round_trip,
    "merge": check_merge,
    "cache": check_cache,
    "batch, left padding": check_batch,
    "checkpointing": check_checkpointing,
    "bfloat16": check_bfloat16,
}


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_families(family: str, check: str, tmp_path: Path) -> None:
    CHECKS[check](family, tmp_path)
