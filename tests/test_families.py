"""Every image-text-to-text family of transformers, through the generic path: the same eight promises for each."""

import copy
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import make_llava, open_adapter
from families import FAMILIES, KNOWN, OPTIONS, UNTESTED, make_batch, make_row, tiny_model
from safetensors.torch import load_file, save_file
from transformers import (
    CONFIG_MAPPING,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    LlavaConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import CausalLMOutputWithPast

from leaml_hf import LeamlForVisualQA, LeamlInputError
from leaml_hf.answering import answer_batch

SMALL = {
    "fusion_dim": 16,
    "fusion_heads": 2,
    "fusion_ffn_dim": 16,
    "lora_rank": 2,
    "fusion_layers": [1, 3],
    "lora_layers": [1, 3],
}
WITHOUT_CACHE = {"use_cache": False}  # with one, some processors multiply otherwise, in the last bits
CLOSE = {"rtol": 1e-3, "atol": 1e-3}
GREEDY = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False, "num_beams": 1,
          "suppress_tokens": [*range(50), *range(200, 320)]}  # fmt: skip  # nobody says image tokens


@cache
def prototype(family: str) -> PreTrainedModel:
    return tiny_model(family)


@cache
def rows(family: str) -> list[dict[str, torch.Tensor]]:
    return [make_row(prototype(family), words, seed) for seed, words in enumerate((7, 5))]


def backbone_of(family: str) -> PreTrainedModel:
    return copy.deepcopy(prototype(family))


def options_of(family: str) -> dict[str, Any]:
    return SMALL | OPTIONS.get(family, {})


def adapted(family: str) -> LeamlForVisualQA:
    """With every part of the adapter having an effect."""
    return open_adapter(LeamlForVisualQA.from_backbone(backbone_of(family), **options_of(family)))


@torch.no_grad()
def logits(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    return model(**inputs).logits


@cache
def fresh_process() -> ProcessPoolExecutor:
    """A process that has seen none of the models made here."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def logits_of_folder(folder: Path) -> torch.Tensor:
    model = LeamlForVisualQA.from_pretrained(folder / "adapter")
    return logits(model, load_file(folder / "batch.safetensors"))


def labels_of(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    return inputs["decoder_input_ids" if "decoder_input_ids" in inputs else "input_ids"].clone()


def generated(model: PreTrainedModel, inputs: dict[str, torch.Tensor], **options: bool) -> torch.Tensor:
    given = {name: value for name, value in inputs.items() if name != "decoder_input_ids"}
    return model.generate(**given, **GREEDY, **options)[:, -4:]


def unless_it_fails(run: Callable[[], Any], what: str) -> Any:
    """Skips where a backbone can't do by itself what is asked of the adapted one."""
    try:
        return run()
    except (RuntimeError, ValueError) as error:
        pytest.skip(f"the backbone itself {what} ({str(error).splitlines()[0]})")


def check_untrained(family: str, folder: Path) -> None:
    batch = make_batch(rows(family))
    backbone = backbone_of(family)
    expected = logits(backbone, batch | WITHOUT_CACHE)
    model = LeamlForVisualQA.from_backbone(backbone, **options_of(family))
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
    assert moved == trainable, f"stayed: {sorted(trainable - moved)}, moved too: {sorted(moved - trainable)}"


def check_chosen_places(family: str, folder: Path) -> None:
    model, batch = adapted(family), make_batch(rows(family))
    places = torch.zeros(labels_of(batch).shape, dtype=torch.bool)
    places[0, -3:] = places[1, -2] = True
    torch.testing.assert_close(
        logits(model, {**batch, "logits_to_keep": places}), logits(model, batch)[:, -places.shape[1] :][places]
    )


def check_round_trip(family: str, folder: Path) -> None:
    batch = make_batch(rows(family))
    backbone_of(family).save_pretrained(folder / "base")
    load = partial(AutoModelForImageTextToText.from_pretrained, folder / "base")
    again = unless_it_fails(load, "can't be loaded here once saved")
    if not torch.equal(logits(again, batch), logits(prototype(family), batch)):
        pytest.skip("the backbone itself does not give the same logits once saved and loaded")
    model = open_adapter(LeamlForVisualQA.from_backbone(folder / "base", **options_of(family)))
    model.save_pretrained(folder / "adapter")
    save_file(batch, folder / "batch.safetensors")
    assert torch.equal(fresh_process().submit(logits_of_folder, folder).result(), logits(model, batch))


def check_merge(family: str, folder: Path) -> None:
    model, batch = adapted(family), make_batch(rows(family))
    before = logits(model, batch)
    report = model.merge_adapter()
    assert report["changed"] == report["expected"] > 0
    torch.testing.assert_close(logits(model, batch), before, **CLOSE)


def check_cache(family: str, folder: Path) -> None:
    row = rows(family)[0]

    def same(model: PreTrainedModel) -> bool:
        return torch.equal(generated(model, row, use_cache=True), generated(model, row, use_cache=False))

    if not unless_it_fails(lambda: same(backbone_of(family)), "does not generate without a cache"):
        pytest.skip("the backbone itself says other things without a cache")
    assert same(adapted(family))


def check_batch(family: str, folder: Path) -> None:
    batch = make_batch(rows(family))

    def same(model: PreTrainedModel) -> bool:
        together, said = logits(model, batch), generated(model, batch)
        alone = [(logits(model, row)[0], generated(model, row)[0]) for row in rows(family)]
        return all(
            torch.allclose(together[place, -len(scores) :], scores, **CLOSE) and torch.equal(said[place], tokens)
            for place, (scores, tokens) in enumerate(alone)
        )

    if not unless_it_fails(lambda: same(backbone_of(family)), "does not run in a batch"):
        pytest.skip("the backbone itself says other things in a batch padded on the left")
    assert same(adapted(family))


def check_checkpointing(family: str, folder: Path) -> None:
    model, batch = adapted(family).train(), make_batch(rows(family))
    backbone = backbone_of(family).train()
    unless_it_fails(backbone.activation_checkpointing_enable, "has no gradient checkpointing")
    backbone.enable_input_require_grads()
    unless_it_fails(lambda: backbone(**batch), "can't learn with gradient checkpointing while it is frozen")
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
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
    expected = unless_it_fails(lambda: logits(backbone, batch | WITHOUT_CACHE), "does not run in bfloat16")
    model = LeamlForVisualQA.from_backbone(backbone, **options_of(family))
    assert torch.equal(logits(model, batch), expected)
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    loss = open_adapter(model).train()(**batch, labels=labels_of(batch)).loss
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


CHECKS = {
    "equal until trained": check_untrained,
    "a step moves the adapter": check_step,
    "logits of chosen places": check_chosen_places,
    "save and load": check_round_trip,
    "merge": check_merge,
    "cache": check_cache,
    "batch, left padding": check_batch,
    "checkpointing": check_checkpointing,
    "bfloat16": check_bfloat16,
}


SAMPLE = ("blip", "florence2", "glm5_next", "internvl", "mllama", "qwen3_vl")
CASES = [
    pytest.param(family, check, id=f"{family}: {check}", marks=[] if family in SAMPLE else pytest.mark.slow)
    for family in FAMILIES
    for check in CHECKS
]


@pytest.mark.parametrize(("family", "check"), CASES)
def test_families(family: str, check: str, tmp_path: Path) -> None:
    CHECKS[check](family, tmp_path)


def test_every_family_that_transformers_maps_is_tested_or_told_apart():
    assert set(UNTESTED) < set(KNOWN)
    assert len(FAMILIES) >= 40


TEXT = {"vocab_size": 200, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
        "num_attention_heads": 4, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}  # fmt: skip
VISION = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
          "image_size": 32, "patch_size": 8}  # fmt: skip
ENCODERS = {
    "clip_vision_model": VISION,
    "convnextv2": {"hidden_sizes": [8, 12, 16, 24], "depths": [1, 1, 1, 1], "image_size": 32},
    "dinov2": VISION,
    "siglip_vision_model": VISION,
    "vit": VISION,
}
LANGUAGE_MODELS = {
    "gemma2": TEXT | {"num_key_value_heads": 2, "head_dim": 8},
    "gpt2": {"vocab_size": 200, "n_embd": 32, "n_layer": 3, "n_head": 4, "bos_token_id": 1, "eos_token_id": 1},
    "gpt_neox": TEXT,
    "opt": TEXT | {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "qwen3": TEXT | {"num_key_value_heads": 2, "head_dim": 8},
}


@pytest.mark.parametrize("text", LANGUAGE_MODELS)
@pytest.mark.parametrize("vision", ENCODERS)
def test_encoders_and_language_models_go_together(vision: str, text: str):
    torch.manual_seed(0)
    encoder = AutoModel.from_config(CONFIG_MAPPING[vision](**ENCODERS[vision])).eval()
    language_model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[text](**LANGUAGE_MODELS[text])).eval()
    ids = torch.randint(4, 190, (2, 6))
    mask = torch.ones_like(ids)
    mask[1, :2] = 0
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    batch = {"input_ids": ids, "attention_mask": mask}
    expected = logits(language_model, batch | {"position_ids": positions})
    model = LeamlForVisualQA.from_backbones(
        encoder, language_model, **SMALL | {"fusion_layers": [2], "lora_layers": [2]}
    )
    batch["pixel_values"] = torch.randn(2, 3, 32, 32)
    assert torch.equal(logits(model, batch), expected)
    before = logits(open_adapter(model), batch)
    assert not torch.allclose(before, expected, atol=1e-4)
    assert torch.equal(generated(model, batch, use_cache=True), generated(model, batch, use_cache=False))
    model(**batch, labels=ids).loss.backward()
    assert all((p.grad is not None) == p.requires_grad for p in model.parameters())
    model.merge_adapter()
    torch.testing.assert_close(logits(model, batch), before, rtol=1e-4, atol=1e-4)


def test_an_encoder_decoder_answers_with_what_its_decoder_says():
    model, row = adapted("florence2"), rows("florence2")[0]
    tokens = SimpleNamespace(pad_token_id=0, eos_token_id=319)
    processor = SimpleNamespace(tokenizer=tokens, decode_answers=lambda ids: [str(row) for row in ids.tolist()])
    given = {name: value for name, value in row.items() if name != "decoder_input_ids"}
    records = answer_batch(model, given, processor, max_new_tokens=4)
    said = model.generate(**given, max_new_tokens=4, do_sample=False, num_beams=1, eos_token_id=319)
    assert records.texts == [str(said[0, 1:].tolist())]
    assert records.hidden.shape == (1, model.hidden_size)
    assert 0.0 < records.confidence[0] <= 1.0


def test_features_that_are_never_made_are_told():
    backbone = make_llava()
    backbone.model.spare = torch.nn.Linear(24, 32)
    model = LeamlForVisualQA.from_backbone(backbone, vision_features="model.spare")
    ids = torch.full((1, 18), 3)
    ids[:, -2:] = 5
    with pytest.raises(LeamlInputError, match=r"no picture features.*model\.spare.*vision_features="):
        model(ids, pixel_values=torch.randn(1, 3, 32, 32))


class Stranger(PreTrainedModel):
    """Keeps its layers and its picture features where nobody looks."""

    config_class = LlavaConfig
    _supports_sdpa = True

    def __init__(self, config: LlavaConfig) -> None:
        super().__init__(config)
        inner = make_llava()
        self.eyes, self.hand, self.head = inner.model.vision_tower, inner.model.multi_modal_projector, inner.lm_head
        self.mind = inner.model.language_model

    def get_decoder(self) -> torch.nn.Module:
        return torch.nn.Identity()

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.mind.embed_tokens

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.head

    def forward(self, input_ids: torch.Tensor, pixel_values: torch.Tensor, **kwargs: Any) -> CausalLMOutputWithPast:
        seen = self.hand(self.eyes(pixel_values).last_hidden_state)
        words = torch.cat([seen, self.mind.embed_tokens(input_ids)], 1)
        return CausalLMOutputWithPast(logits=self.head(self.mind(inputs_embeds=words).last_hidden_state))


def test_what_is_not_found_is_named_and_can_be_said():
    stranger = Stranger(make_llava().config).eval()
    with pytest.raises(LeamlInputError, match=r"decoder layers was found in Stranger.*fusion_layers="):
        LeamlForVisualQA.from_backbone(stranger)
    names = {"fusion_layers": ["mind.layers.1", "mind.layers.3"]}
    with pytest.raises(LeamlInputError, match=r"picture features were found in Stranger.*vision_features="):
        LeamlForVisualQA.from_backbone(stranger, **names)
    with pytest.raises(LeamlInputError, match=r"no module nose.*vision_features="):
        LeamlForVisualQA.from_backbone(stranger, **names, vision_features="nose")
    with pytest.raises(LeamlInputError, match=r"mind\.blocks"):
        LeamlForVisualQA.from_backbone(stranger, fusion_layers=["mind.blocks.1"], vision_features="hand")
    with pytest.raises(LeamlInputError, match="layers of one list"):
        LeamlForVisualQA.from_backbone(stranger, fusion_layers=["mind.layers.1", "eyes.layers.0"])
    batch = {"input_ids": torch.randint(4, 26, (2, 5)), "pixel_values": torch.randn(2, 3, 32, 32)}
    expected = logits(stranger, batch)
    model = LeamlForVisualQA.from_backbone(stranger, **names, vision_features="hand")
    assert torch.equal(logits(model, batch), expected)
    out = open_adapter(model)(**batch)
    assert out.vision_states.shape == (2, 17, 32)
    assert not torch.allclose(out.logits, expected, **CLOSE)


def test_a_text_only_decoder_is_refused_with_a_sentence():
    with pytest.raises(
        LeamlInputError, match=r"No picture features were found in Mistral4ForCausalLM.*vision_features="
    ):
        LeamlForVisualQA.from_backbone(tiny_model("mistral4"))
