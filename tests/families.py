"""Every image-text-to-text family that transformers maps, as a tiny random model with inputs that fit it.

`tiny_config` shrinks the sizes in a family's default configuration by their names; `OVERRIDES` says what is left to
say about a few. `make_inputs` reads from the signature of `get_image_features` how a family wants its pictures, and
from what that gives how many image tokens the text needs.
"""

import dataclasses
import inspect
import re
from typing import Any

import torch
import torch.nn.functional as F
from transformers import CONFIG_MAPPING, AutoModelForImageTextToText, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

FAMILIES = tuple(sorted(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES))
LAYERS = 4
SIDE = 32
TOKENS = ("input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids")
HEAD = 16
VOCABULARY = 320
FIRST_SPECIAL = 200  # tokens from here on mean something to the model; text is drawn from 50 to 149
SIZES = {
    r"(num_hidden_|num_|decoder_|encoder_|n_|num_decoder_)layers|layers|depth|depths|num_global_layers": LAYERS,
    r"num_.*key_value_heads|linear_num_key_heads|index_n_heads": 2,
    r".*(num|attention)_heads|num_heads|n_heads?|linear_num_value_heads|linear_num_heads": 4,
    r"(linear_|swa_|index_|qk_nope_|qk_rope_|v_|mamba_|linear_(key|value)_)?head_dim|d_kv": HEAD,
    r"qk_head_dim": 2 * HEAD,
    r".*lora_rank": 16,
    r"moe_intermediate_size|shared_.*intermediate_size": 32,
    r".*(intermediate|ffn|d_ff|mlp_dim|aligner).*": 96,
    r".*(hidden_size|hidden_dim|d_model|embed_dim|proj_dim|output_dim|out_dim|in_dim|input_dim|projection_dim)": 64,
    r"(moe_)?num_(local_)?experts|n_routed_experts": 4,
    r"n_group": 2,
    r"num_experts_per_tok|moe_topk|moe_k|topk_group": 1,
    r"vocab_size|vocab_size_per_layer_input": VOCABULARY,
    r"image_size": 32,
    r"patch_size": 8,
    r"resolution": 32,
}
INDEX_LISTS = r".*(_indexes|_indices|_idxs|_layers)|insert_layer_id"
PER_LAYER = r".*layer_types|indexer_types|moe_layers|no_rope_layers|layer_rope_theta|rope_scaling_layers"
ROTARY = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0, "mrope_section": [2, 3, 3]}
TILES = [[32, 64]]  # two tiles and the whole picture
OVERRIDES: dict[str, dict[str, Any]] = {
    "aria": {"projector_patch_to_query_dict": {16: 4}},
    "chameleon": {
        "vocabulary_map": {"<image>": 200} | {f"IMGIMG{chr(65 + i)}Z": 210 + i for i in range(8)},
        "vq_config.num_embeddings": 8, "vq_config.base_channels": 32, "vq_config.channel_multiplier": [1, 1],
    },
    "cohere_compass": {"text_config.rope_parameters": {"full_attention": ROTARY}},
    "deepseek_ocr2": {"text_config.mlp_layer_types": ["dense", "sparse", "sparse", "sparse"]},
    "emu3": {
        "vocabulary_map": {"<image>": 200, "<|extra_200|>": 201}
        | {f"<|visual token {i:06}|>": 210 + i for i in range(8)},
        "vq_config.codebook_size": 8, "vq_config.base_channels": 32, "vq_config.channel_multiplier": [1, 1, 1, 1],
    },
    "ernie4_5_vl_moe": {"text_config.rope_parameters": ROTARY | {"mrope_section": [3, 3, 2]}},
    "gemma3": {"mm_tokens_per_image": 4},
    "shieldgemma2": {"mm_tokens_per_image": 4},
    "t5gemma2": {"encoder.mm_tokens_per_image": 4},
    "glm46v": {"text_config.rope_parameters": ROTARY},
    "glm4v": {"text_config.rope_parameters": ROTARY},
    "glm4v_moe": {"text_config.rope_parameters": ROTARY},
    "glm_ocr": {"text_config.rope_parameters": ROTARY},
    "glmga": {"text_config.rope_parameters": ROTARY},
    "qwen2_vl": {"text_config.rope_parameters": ROTARY},
    "qwen2_5_vl": {"text_config.rope_parameters": ROTARY},
    "qwen2_5_omni_thinker": {"text_config.rope_parameters": ROTARY, "vision_start_token_id": 240},
    "qwen3_omni_moe_thinker": {"vision_start_token_id": 240},
    "hunyuan_vl": {"text_config.head_dim": HEAD, "text_config.rope_parameters": ROTARY},
    "glm5_next": {"text_config.num_key_value_heads": 4},
    "mistral_large4": {"text_config.num_key_value_heads": 4},
    "granite4_vision": {"deepstack_layer_map": [[-1, 1]]},
    "llava_next": {"image_grid_pinpoints": TILES},
    "llava_next_video": {"image_grid_pinpoints": TILES},
    "llava_onevision": {"image_grid_pinpoints": TILES},
    "vipllava": {"vision_feature_layer": [-1, -2]},
    "molmo2": {"adapter_config.vision_feature_layer": [-1, -2]},
    "janus": {"vq_config.base_channels": 32, "vq_config.channel_multiplier": [1, 1]},
    "llama4": {"vision_config.pixel_shuffle_ratio": 0.5},
    "step3p7": {"text_config.sliding_window": 64},
    "nemotron_h_omni": {"image_token_id": 200},
    "blip-2": {"image_token_index": 200},
    "instructblip": {"image_token_index": 200},
    "unlimited_ocr": {"vision_config.sam_config.downsample_channels": [32, 64]},
    "deepseek_vl_hybrid": {},
}  # fmt: skip


def _size(name: str, value: int) -> int:
    rule = next((size for pattern, size in SIZES.items() if re.fullmatch(pattern, name)), None)
    return value if rule is None else min(value, rule)


def _shrink(config: PreTrainedConfig, tokens: dict[int, int], overrides: dict[str, Any]) -> PreTrainedConfig:
    values: dict[str, Any] = {}
    layers = next((getattr(config, key) for key in ("num_hidden_layers", "depth") if hasattr(config, key)), 32)
    for field in dataclasses.fields(config):
        name, value = field.name, vars(config).get(field.name)
        if isinstance(value, PreTrainedConfig):
            inner = {key.split(".", 1)[1]: v for key, v in overrides.items() if key.startswith(f"{name}.")}
            values[name] = _shrink(value, tokens, inner)
        elif isinstance(value, dict) or value is None or isinstance(value, bool | str | float):
            continue
        elif re.fullmatch(r".*token_(id|index|ids)|.*_id", name):
            known = lambda token: tokens.setdefault(token, FIRST_SPECIAL + len(tokens)) if token > 40 else token  # noqa: E731
            values[name] = known(value) if isinstance(value, int) else [known(token) for token in value]
        elif re.fullmatch(PER_LAYER, name):
            continue
        elif isinstance(value, list | tuple) and re.fullmatch(INDEX_LISTS, name):
            values[name] = sorted({index * LAYERS // layers for index in value})
        elif isinstance(value, int):
            values[name] = _size(name, value)
        elif isinstance(value, list | tuple) and all(type(item) is int for item in value):
            values[name] = type(value)(_size(name, item) for item in value)
    rope = getattr(config, "rope_parameters", None) or {}
    if "mrope_section" in rope:
        values["rope_parameters"] = rope | {"mrope_section": _rotary_sections(rope)}
    values |= {key: value for key, value in overrides.items() if "." not in key}
    return type(config)(**values)


def _rotary_sections(rope: dict[str, Any]) -> list[int]:
    total = int(HEAD * rope.get("partial_rotary_factor", 1.0)) // 2
    sections = [max(1, part * total // sum(rope["mrope_section"])) for part in rope["mrope_section"]]
    sections[0] += total - sum(sections)
    return sections


def tiny_config(family: str) -> PreTrainedConfig:
    """The family's default configuration with small sizes."""
    return _shrink(CONFIG_MAPPING[family](), {}, OVERRIDES.get(family, {}))


@torch.no_grad()
def tiny_model(family: str, seed: int = 0) -> PreTrainedModel:
    """A model of the family with weights large enough that its layers matter."""
    torch.manual_seed(seed)
    model = AutoModelForImageTextToText.from_config(tiny_config(family)).float()
    for name, parameter in sorted(model.named_parameters()):
        if parameter.dim() > 1:
            parameter.normal_(std=parameter.shape[-1] ** -0.5)
        elif not parameter.isfinite().all() or parameter.abs().max() > 10:
            parameter.fill_(1.0 if "norm" in name else 0.0)
    return model.eval()


def picture_owner(model: PreTrainedModel) -> PreTrainedModel | None:
    """The outermost part of a model that gives image features."""
    return next((part for part in model.modules() if hasattr(part, "get_image_features")), None)


def _setting(config: PreTrainedConfig, name: str, default: Any = None) -> Any:
    """A setting of the vision part, wherever a family keeps it."""
    parts = [config]
    for part in parts:
        subs = [getattr(part, key) for key in part.sub_configs if getattr(part, key, None) is not None]
        parts += sorted(subs, key=lambda sub: "vision" not in sub.model_type)
    found = [getattr(part, name) for part in parts if getattr(part, name, None) is not None]
    value = found[0] if found else default
    return value[0] if isinstance(value, list | tuple) else value


def make_picture(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """One picture as the family's own processor would hand it over."""
    owner = picture_owner(model)
    wants = inspect.signature(owner.get_image_features).parameters
    patch, side = _setting(model.config, "patch_size", 8), _setting(model.config, "image_size", 32)
    cells = SIDE // patch
    if "image_grid_thw" in wants or "image_grid_hw" in wants:
        depth = _setting(model.config, "temporal_patch_size", 1)
        grid = {"image_grid_thw": torch.tensor([[1, cells, cells]])}
        if "image_grid_hw" in wants:
            grid, depth = {"image_grid_hw": torch.tensor([[cells, cells]])}, 1
        return {"pixel_values": torch.randn(cells * cells, 3 * depth * patch * patch), **grid}
    if "spatial_shapes" in wants:
        mask = torch.ones(1, cells * cells, dtype=torch.long)
        shapes = torch.tensor([[cells, cells]])
        return {"pixel_values": torch.randn(1, cells * cells, 3 * patch * patch), "spatial_shapes": shapes,
                "pixel_attention_mask": mask}  # fmt: skip
    if "image_position_ids" in wants:
        places = torch.cartesian_prod(torch.arange(cells), torch.arange(cells)).flip(1)[None]
        return {"pixel_values": torch.rand(1, cells * cells, 3 * patch * patch), "image_position_ids": places}
    if "pixel_attention_mask" in wants:
        return {"pixel_values": torch.randn(1, 1, 3, side, side)}
    picture = {"pixel_values": torch.randn(1, 3, side, side)}
    return picture | ({"image_sizes": torch.tensor([[side, side]])} if "image_sizes" in wants else {})


def count_features(model: PreTrainedModel, picture: dict[str, torch.Tensor]) -> int:
    """Image tokens that one picture needs in the text."""
    owner = picture_owner(model)
    known = inspect.signature(owner.get_image_features).parameters
    with torch.no_grad():
        features = owner.get_image_features(**{key: value for key, value in picture.items() if key in known})
    pooled = getattr(features, "pooler_output", None)
    pooled = features if pooled is None else pooled
    return sum(piece.reshape(-1, piece.shape[-1]).shape[0] for piece in pooled)


def make_row(model: PreTrainedModel, words: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """A picture and a text of some words around it."""
    torch.manual_seed(seed)
    picture = make_picture(model)
    image_token = model.config.image_token_id
    text = torch.randint(50, 150, (words,))
    ids = torch.cat([text[:2], torch.full((count_features(model, picture),), image_token), text[2:]])[None]
    row = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **picture}
    wants = inspect.signature(model.forward).parameters
    return row | {name: (ids == image_token).long() for name in ("mm_token_type_ids", "token_type_ids") if name in wants}


def make_batch(rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Rows together, padded on the left with token 0."""
    width = max(row["input_ids"].shape[1] for row in rows)
    pad = lambda name, value: F.pad(value, (width - value.shape[1], 0)) if name in TOKENS else value  # noqa: E731
    return {name: torch.cat([pad(name, row[name]) for row in rows]) for name in rows[0]}
