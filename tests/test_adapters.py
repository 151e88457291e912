"""Which modules are adapted, what identifies a base, how tensors are matched."""

import importlib.util
from pathlib import Path

import pytest
import torch
from conftest import make_llava, make_text, make_vision, open_adapter
from hypothesis import given
from hypothesis import strategies as st
from transformers import BitsAndBytesConfig, LlavaForConditionalGeneration, TorchAoConfig

from leaml_hf import LeamlForVisualQA, LeamlInputError
from leaml_hf.adapters import base_fingerprint, default_fusion_dim, load_tensors, lora_layers, merge_lora, upper_third
from leaml_hf.reference import build_reference
from leaml_hf.relevance import layer_relevance


@given(st.integers(1, 200))
def test_upper_third_is_at_the_top_and_never_empty(num_layers):
    layers = upper_third(num_layers)
    assert layers[-1] == num_layers - 1
    assert layers == list(range(layers[0], num_layers))
    assert max(1, num_layers // 3) == len(layers)


@given(st.integers(16, 16384))
def test_fusion_width_is_at_most_a_quarter_where_the_decoder_is_wide(hidden_size):
    width = default_fusion_dim(hidden_size)
    assert width >= 16
    assert width <= max(16, hidden_size // 4)
    assert width % max(1, width // 64) == 0


def test_lora_goes_into_the_chosen_decoder_layers_only():
    model = LeamlForVisualQA.from_backbone(make_llava(), lora_layers=[1, 3], lora_targets=["q_proj", "down_proj"])
    expected = {
        f"backbone.model.language_model.layers.{layer}.{name}"
        for layer in (1, 3)
        for name in ("self_attn.q_proj", "mlp.down_proj")
    }
    assert set(lora_layers(model)) == expected  # the vision tower has q_proj too


def test_lora_reaches_every_linear_module_by_default(composed):
    assert len(lora_layers(composed)) == 2 * 7
    assert not any("lm_head" in name for name in lora_layers(composed))


def test_unknown_targets_are_told_with_the_known_ones():
    with pytest.raises(LeamlInputError, match="down_proj, gate_proj"):
        LeamlForVisualQA.from_backbones(make_vision(), make_text(), lora_targets=["query"])
    with pytest.raises(LeamlInputError, match="vision_lora_targets"):
        LeamlForVisualQA.from_backbones(
            make_vision(), make_text(), adapt_vision=True, vision_lora_targets=["nothing"], fusion_dim=16
        )


class TestLayers:
    @pytest.fixture()
    def examples(self) -> list[dict[str, torch.Tensor]]:
        torch.manual_seed(4)
        ids = torch.randint(4, 26, (2, 6))
        return [{"input_ids": ids, "pixel_values": torch.randn(2, 3, 32, 32), "labels": ids} for _ in range(2)]

    def test_relevance_is_what_the_loss_would_lose(self, examples):
        model = LeamlForVisualQA.from_backbones(make_vision(), make_text(), fusion_dim=16)
        for layer in (0, 2):  # layers that add next to nothing can't matter
            block = model.decoder.layers[layer]
            for projection in (block.self_attn.o_proj, block.mlp.down_proj):
                projection.weight.data.mul_(1e-6)
        relevance = layer_relevance(model, examples)
        assert max(relevance[0], relevance[2]) < 1e-3 * min(relevance[1], relevance[3])

    def test_relevant_layers_are_as_many_as_a_third(self, examples):
        text = make_text()
        for layer in (0, 2, 3):
            text.model.layers[layer].mlp.down_proj.weight.data.mul_(1e-6)
            text.model.layers[layer].self_attn.o_proj.weight.data.mul_(1e-6)
        model = LeamlForVisualQA.from_backbones(
            make_vision(), text, fusion_layers="relevant", lora_layers="relevant", examples=examples, fusion_dim=16
        )
        assert model.config.fusion_layers == model.config.lora_layers == [1]
        assert not model.fusion["1"].alpha.any()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"fusion_layers": "relevant"}, "at least one batch of examples"),
            ({"fusion_layers": "relevant", "examples": [{"input_ids": torch.ones(1, 2).long()}]}, "with labels"),
            ({"lora_layers": "highest"}, "lora_layers must be layer numbers or 'relevant', but got 'highest'"),
        ],
    )
    def test_wrong_choices_are_told(self, options, message):
        with pytest.raises(LeamlInputError, match=message):
            LeamlForVisualQA.from_backbones(make_vision(), make_text(), fusion_dim=16, **options)


class TestQuantised:
    @pytest.fixture()
    def folder(self, tmp_path: Path) -> Path:
        make_llava().save_pretrained(tmp_path / "base")
        return tmp_path

    @pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is here")
    def test_a_missing_library_is_told(self, folder):
        with pytest.raises(LeamlInputError, match=r"Can't load .*bitsandbytes"):
            LeamlForVisualQA.from_backbone(folder / "base", quantization_config=BitsAndBytesConfig(load_in_8bit=True))

    @pytest.mark.parametrize(("library", "bits"), [("bitsandbytes", 8), ("bitsandbytes", 4), ("torchao", 8)])
    def test_backbones_load_learn_and_load_again(self, folder, library, bits):
        quantization = pytest.importorskip(f"{library}.quantization" if library == "torchao" else library)
        if library == "torchao":
            how = TorchAoConfig(quantization.Int8WeightOnlyConfig())
        else:
            how = BitsAndBytesConfig(load_in_8bit=bits == 8, load_in_4bit=bits == 4)
        if bits == 4:  # on a CPU it packs blocks of 32
            config = make_llava().config
            config.vision_config.hidden_size, config.vision_config.intermediate_size = 64, 128
            config.text_config.hidden_size, config.text_config.head_dim = 64, 16
            config.text_config.num_key_value_heads = 4
            torch.manual_seed(0)
            LlavaForConditionalGeneration(config).save_pretrained(folder / "base")
        model = open_adapter(LeamlForVisualQA.from_backbone(folder / "base", quantization_config=how))
        ids = torch.full((1, 18), 3)
        ids[:, -2:] = 5
        batch = {"input_ids": ids, "pixel_values": torch.randn(1, 3, 32, 32)}
        model(**batch, labels=ids).loss.backward()
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
        model.eval().save_pretrained(folder / library)  # bitsandbytes runs another kernel in training
        with torch.no_grad():
            again = LeamlForVisualQA.from_pretrained(folder / library)
            assert torch.equal(again(**batch).logits, model(**batch).logits)
        with pytest.raises(LeamlInputError, match="is quantised"):
            model.merge_adapter()


class TestFingerprint:
    def test_it_is_stable_under_adapters_and_number_formats(self, composed):
        plain = base_fingerprint(make_text())
        assert base_fingerprint(make_text()) == plain
        assert base_fingerprint(make_text().bfloat16()) == plain
        assert base_fingerprint(open_adapter(composed).backbone) == plain

    def test_it_tells_weights_and_structure_apart(self):
        plain = base_fingerprint(make_text())
        assert base_fingerprint(make_text(seed=1)) != plain
        changed = make_text()
        changed.config.num_attention_heads = 2
        assert base_fingerprint(changed) != plain


class TestLoadTensors:
    def test_all_or_nothing(self):
        own = {"a": torch.zeros(2), "b": torch.zeros(3)}
        with pytest.raises(LeamlInputError, match="b has shape"):
            load_tensors(own, {"a": torch.ones(2), "b": torch.ones(4)}, "file")
        assert not own["a"].any()
        assert load_tensors(own, {"a": torch.ones(2), "b": torch.ones(3)}, "file") == 2
        assert own["b"].all()

    def test_names_that_do_not_match_are_counted(self):
        with pytest.raises(LeamlInputError, match="1 of 1 tensors are missing and 1 are not expected"):
            load_tensors({"a": torch.zeros(2)}, {"b": torch.ones(2)}, "file")


def test_merging_refuses_infinity(composed):
    with torch.no_grad():
        next(iter(lora_layers(composed).values())).lora_B["default"].weight[0, 0] = float("inf")
    with pytest.raises(LeamlInputError, match="infinity"):
        merge_lora(composed)


def test_merging_notices_weights_too_coarse_to_change():
    model = LeamlForVisualQA.from_backbones(make_vision().bfloat16(), make_text().bfloat16(), fusion_dim=16)
    with torch.no_grad():
        for layer in lora_layers(model).values():
            layer.lora_B["default"].weight.fill_(1e-9)
    with pytest.raises(LeamlInputError, match="number format is too coarse"):
        model.merge_adapter()


def test_the_reference_configuration_adds_two_to_four_percent():
    counts = build_reference().num_added_parameters()
    assert 300e6 < counts["vision_encoder"] < 310e6
    assert 6.7e9 < counts["language_model"] < 6.8e9
    assert 2.0 < counts["percent"] < 4.0
