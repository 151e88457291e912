"""Every image-text-to-text family that transformers maps, as a tiny random model with inputs that fit it.

`tiny_config` shrinks the sizes in a family's default configuration by their names; `OVERRIDES` says what is left to
say about a few. `make_inputs` reads from the signature of `get_image_features` how a family wants its pictures, and
from what that gives how many image tokens the text needs.
"""

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import CONFIG_MAPPING, AutoModelForImageTextToText, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

KNOWN = tuple(sorted(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES))
OPTIONS = {
    "granite4_vision": {"vision_features": "model.layerwise_projectors.0"},
    "udop": {"vision_features": "encoder.embed_patches"},
}
"""What a user has to say about families whose picture features can't be told otherwise."""

UNTESTED = {
    "diffusion_gemma": "writes blocks by diffusion, not token after token",
    "evolla": "reads proteins, not pictures; AutoModelForImageTextToText does not load it either",
    "fast_vlm": "its vision encoder needs timm",
    "gemma3n": "its vision encoder needs timm",
    "mistral4": "a text-only decoder",
    "perception_lm": "its vision encoder needs timm",
    "pi0": "gives a robot's actions, not text",
}
FAMILIES = tuple(family for family in KNOWN if family not in UNTESTED)

LAYERS = 4
SIDE = 32
TOKENS = ("input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids", "image_embeds_position_mask",
          "cross_attention_mask", "image_attention_mask", "bbox")  # fmt: skip
HEAD = 16
VOCABULARY = 320
FIRST_SPECIAL = 200  # tokens from here on mean something to the model; text is drawn from 50 to 149
SIZES = {
    r"(num_hidden_|num_|decoder_|encoder_|n_|num_decoder_)layers|layers|depth|depths|num_global_layers": LAYERS,
    r".*num_.*key_value_heads|linear_num_key_heads|index_n_heads": 2,
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
    "deepseek_ocr2": {
        "text_config.mlp_layer_types": ["dense", "sparse", "sparse", "sparse"],
        "text_config.num_experts_per_tok": 1, "vision_config.sam_config.downsample_channels": [32, 64],
    },
    "emu3": {
        "vocabulary_map": {"<image>": 200, "<|extra_200|>": 201}
        | {f"<|visual token {i:06}|>": 210 + i for i in range(8)},
        "vq_config.codebook_size": 8, "vq_config.base_channels": 32, "vq_config.channel_multiplier": [1, 1, 1, 2],
        "vq_config.num_attention_heads": 1,
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
    "granite4_vision": {
        "deepstack_layer_map": [[-1, 1]], "downsample_rate": "1/2", "spatial_target_layers": [0, 1, 2, 3],
        "image_grid_pinpoints": TILES,
    },
    "llava_next": {"image_grid_pinpoints": TILES},
    "llava_next_video": {"image_grid_pinpoints": TILES},
    "llava_onevision": {"image_grid_pinpoints": TILES},
    "vipllava": {"vision_feature_layer": [-1, -2]},
    "molmo2": {
        "adapter_config.vision_feature_layer": [-1, -2], "vision_config.image_size": [32, 32],
        "vision_config.num_position_embeddings": 16,
    },
    "janus": {"vq_config.base_channels": 32, "vq_config.channel_multiplier": [1, 1]},
    "llama4": {"vision_config.intermediate_size": 256},
    "step3p7": {"text_config.sliding_window": 64},
    "nemotron_h_omni": {"image_token_id": 200, "text_config.mamba_num_heads": 8},
    "blip-2": {"image_token_index": 200},
    "instructblip": {"image_token_index": 200},
    "unlimited_ocr": {"vision_config.sam_config.downsample_channels": [32, 64]},
    "vision-encoder-decoder": {
        "decoder_start_token_id": 1, "pad_token_id": 0,
        "decoder.is_decoder": True, "decoder.add_cross_attention": True,
    },
    "kosmos-2.5": {"latent_query_num": 4, "vision_config.patch_embed_hidden_size": 768},
    "pix2struct": {"vision_config.patch_embed_hidden_size": 768},
    "udop": {"decoder_start_token_id": 0},
    "kosmos-2": {"latent_query_num": 4},
    "instructblipvideo": {"image_token_index": 200, "video_token_index": 200},
    "kimi_k25": {"text_config.num_key_value_heads": 4},
    "minicpm_ocr": {"image_token_id": 200},
    "minicpmv4_6": {"image_token_id": 200},
    "minicpmv4_7": {"image_token_id": 200},
    "paddleocr_vl": {"text_config.rope_parameters": ROTARY},
    "inkling2": {"text_config.sliding_window_size": 16, "text_config.rel_extent": 64},
    "gemma4_unified": {"vision_config.pooling_kernel_size": 1, "vision_config.output_proj_dims": 64},
    "muse_glimmer": {"out_hidden_size": 256},
    "muse_spark": {"out_hidden_size": 256},
    "mllama": {
        "text_config.cross_attention_layers": [1, 3], "vision_config.intermediate_layers_indices": [1, 3],
        "vision_config.vision_output_dim": 192, "vision_config.supported_aspect_ratios": [[1, 1], [1, 2]],
        "vision_config.max_num_tiles": 2,
    },
    "qwen4_exp": {
        "text_config.indexer_n_heads": 2, "text_config.indexer_kv_heads": 1, "text_config.indexer_head_dim": HEAD,
        "text_config.indexer_budget": 32, "text_config.indexer_compress_ratio": 4, "text_config.hc_lowrank": 8,
        "text_config.num_experts_per_tok": 1, "text_config.ngram_vocab_size_base": 64,
        "text_config.split_ngram_parts": 1, "text_config.ple_embed_dim": 64,
    },
    "gemma3n": {"text_config.intermediate_size": 96},
    "dots3_note": {"text_config.num_key_value_heads": 4, "vision_config.num_hidden_layers": 42,
                   "audio_config.adapter_input_size": 64},
}  # fmt: skip


def _size(name: str, value: int) -> int:
    rule = next((size for pattern, size in SIZES.items() if re.fullmatch(pattern, name)), None)
    return value if rule is None else min(value, rule)


def _shrink(config: PreTrainedConfig, tokens: dict[int, int], overrides: dict[str, Any]) -> PreTrainedConfig:
    values: dict[str, Any] = {}
    layers = next((getattr(config, key) for key in ("num_hidden_layers", "depth") if hasattr(config, key)), 32)
    for field in dataclasses.fields(config):
        name, known_as = field.name, config.attribute_map.get(field.name)
        value = vars(config).get(name, vars(config).get(known_as))
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
    kind = CONFIG_MAPPING[family]
    missing = {"vision_config": {}} if getattr(kind(), "vision_config", 0) is None else {}
    return _shrink(kind(**missing), {}, OVERRIDES.get(family, {}))


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
        elif "gate" in name and not parameter.any():
            parameter.fill_(0.5)
    model.generation_config.pad_token_id = 0
    return model.eval().requires_grad_(False)


def picture_owner(model: PreTrainedModel) -> PreTrainedModel | None:
    """The innermost part of a model that gives image features: its signature is the whole one."""
    return next((part for part in reversed([*model.modules()]) if hasattr(part, "get_image_features")), None)


def _wants(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


def _setting(config: PreTrainedConfig, name: str, default: Any = None) -> Any:
    """A setting of the vision part, wherever a family keeps it."""
    parts = [config]
    for part in parts:
        subs = [getattr(part, key) for key in part.sub_configs if getattr(part, key, None) is not None]
        parts += sorted(subs, key=lambda sub: "vision" not in sub.model_type)
    found = [getattr(part, name) for part in parts if getattr(part, name, None) is not None]
    value = found[0] if found else default
    return value[0] if isinstance(value, list | tuple) else value


def _pixels(config: PreTrainedConfig) -> torch.Tensor:
    side = _setting(config, "image_size", SIDE)
    return torch.randn(1, 3, side, side)


def _patches(config: PreTrainedConfig, *shape: int) -> dict[str, torch.Tensor]:
    """Flat patches and their grid, in the manner of Qwen2-VL."""
    patch, depth = _setting(config, "patch_size"), _setting(config, "temporal_patch_size", 1)
    cells = SIDE // patch
    pixels = torch.randn(cells * cells, *(shape or (3 * depth * patch * patch,)))
    return {"pixel_values": pixels, "image_grid_thw": torch.tensor([[1, cells, cells]])}


def _square_patches(config: PreTrainedConfig) -> dict[str, torch.Tensor]:
    patch = _setting(config, "patch_size")
    return _patches(config, 3, patch, patch)


def _numbered_patches(config: PreTrainedConfig) -> dict[str, torch.Tensor]:
    """Patches that begin with their row and column, in the manner of Pix2Struct."""
    places = torch.cartesian_prod(torch.arange(1.0, 3.0), torch.arange(1.0, 3.0))[None]
    return {"flattened_patches": torch.cat([places, torch.randn(1, 4, 3 * 16 * 16)], -1)}


def _tiles(config: PreTrainedConfig) -> dict[str, torch.Tensor]:
    """Two tiles and the whole picture, in the manner of LLaVA-NeXT."""
    return {"pixel_values": torch.randn(1, 3, 3, SIDE, SIDE), "image_sizes": torch.tensor([[SIDE, 2 * SIDE]])}


def _pooled_patches(config: PreTrainedConfig) -> dict[str, torch.Tensor]:
    """One crop, whose patches are pooled by fours, in the manner of Molmo2."""
    patch = _setting(config, "patch_size")
    cells = SIDE // patch
    pooling = torch.arange(cells * cells).view(cells // 2, 2, cells // 2, 2).transpose(1, 2).reshape(-1, 4)
    grids = torch.tensor([[cells // 2, cells // 2, 0, 0]])
    return {"pixel_values": torch.randn(1, cells * cells, 3 * patch * patch), "image_token_pooling": pooling,
            "image_grids": grids}  # fmt: skip


PICTURES: dict[str, Callable[[PreTrainedConfig], dict[str, torch.Tensor]]] = {
    "deepseek_vl_hybrid": lambda config: {
        "pixel_values": _pixels(config), "high_res_pixel_values": _pixels(config)
    },
    "fuyu": lambda config: {"pixel_values": torch.randn(1, 16, 3 * config.patch_size**2)},
    "granite4_vision": _tiles,
    "granite_docling": lambda config: {
        "pixel_values": _pixels(config)[None], "pixel_attention_mask": torch.ones(1, 1, dtype=torch.bool)
    },
    "inkling2": lambda config: {
        "pixel_values": torch.randn(4, 16, 16, 3), "image_grid_thw": torch.tensor([[1, 2, 2]])
    },
    "inkling_mm_model": lambda config: {"pixel_values": torch.randn(4, 2, 8, 8, 3)},
    "idefics": lambda config: {"pixel_values": _pixels(config)[None]},
    "instructblipvideo": lambda config: {
        "pixel_values": _pixels(config).expand(1, 4, -1, -1, -1), "qformer_input_ids": torch.randint(50, 150, (1, 4))
    },
    "mllama": lambda config: {
        "pixel_values": torch.randn(1, 1, 2, 3, SIDE, SIDE), "aspect_ratio_ids": torch.tensor([[1]]),
        "aspect_ratio_mask": torch.tensor([[[1, 0]]]),
    },
    "instructblip": lambda config: {
        "pixel_values": _pixels(config), "qformer_input_ids": torch.randint(50, 150, (1, 4))
    },
    "kimi_k25": _square_patches,
    "llava_next": _tiles,
    "llava_next_video": _tiles,
    "llava_onevision": _tiles,
    "molmo2": _pooled_patches,
    "muse_glimmer": lambda config: _patches(config, 3 * 2 * 64),
    "muse_spark": lambda config: _patches(config, 3 * 2 * 64),
    "paddleocr_vl": _square_patches,
    "kosmos-2.5": _numbered_patches,
    "pix2struct": _numbered_patches,
    "video_llama_3": lambda config: _patches(config) | {"image_merge_sizes": torch.tensor([2])},
}  # fmt: skip


def make_picture(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """One picture as the family's own processor would hand it over."""
    config = model.config
    if config.model_type in PICTURES:
        return PICTURES[config.model_type](config)
    if picture_owner(model) is None:
        return {"pixel_values": _pixels(config)}
    wants = _wants(picture_owner(model).get_image_features)
    patch = _setting(config, "patch_size", 8)
    cells = SIDE // patch
    if "image_grid_thw" in wants:
        return _patches(config)
    flat = {"pixel_values": torch.rand(1, cells * cells, 3 * patch * patch)}
    if "image_grid_hw" in wants:
        return {"pixel_values": flat["pixel_values"][0], "image_grid_hw": torch.tensor([[cells, cells]])}
    if "spatial_shapes" in wants:
        mask = torch.ones(1, cells * cells, dtype=torch.long)
        return flat | {"spatial_shapes": torch.tensor([[cells, cells]]), "pixel_attention_mask": mask}
    if "image_position_ids" in wants:
        places = torch.cartesian_prod(torch.arange(cells), torch.arange(cells)).flip(1)[None]
        return flat | {"image_position_ids": places}
    if "target_sizes" in wants:
        strip = torch.randn(1, 3, patch, cells * cells * patch)
        return {"pixel_values": strip, "target_sizes": torch.tensor([[cells, cells]])}
    pixels = _pixels(config)
    if "pixel_attention_mask" in wants:
        return {"pixel_values": pixels[None]}
    if "image_sizes" in wants and wants["image_sizes"].default is inspect.Parameter.empty:
        return {"pixel_values": pixels, "image_sizes": torch.tensor([[*pixels.shape[-2:]]])}
    return {"pixel_values": pixels}


def count_features(model: PreTrainedModel, picture: dict[str, torch.Tensor]) -> int:
    """Image tokens that one picture needs in the text."""
    give = picture_owner(model).get_image_features
    with torch.no_grad():
        features = give(**{key: value for key, value in picture.items() if key in _wants(give)})
    pooled = getattr(features, "pooler_output", None)
    pooled = getattr(features, "last_hidden_state", features) if pooled is None else pooled
    return sum(piece.reshape(-1, piece.shape[-1]).shape[0] for piece in pooled)


IMAGE_TOKENS = {"granite4_vision": 14, "mllama": 1, "kosmos-2": 4, "kosmos-2.5": 4, "instructblipvideo": 128}
"""Of families whose `get_image_features` is missing or does not tell; none where they are not named."""

COMPANIONS: dict[str, Callable[[torch.Tensor, torch.Tensor], dict[str, torch.Tensor]]] = {
    "mllama": lambda ids, image: {"cross_attention_mask": torch.tensor([1, 0]).expand(1, ids.shape[1], 1, 2)},
    "idefics": lambda ids, image: {"image_attention_mask": torch.ones(1, ids.shape[1], 1, dtype=torch.long)},
    "kosmos-2": lambda ids, image: {"image_embeds_position_mask": image},
    "kosmos-2.5": lambda ids, image: {"image_embeds_position_mask": image},
    "udop": lambda ids, image: {"bbox": torch.zeros(1, ids.shape[1], 4)},
}
"""What goes with a text of token ids `[1, T]`, some of which are image tokens."""


def make_row(model: PreTrainedModel, words: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """A picture and a text of some words around it."""
    torch.manual_seed(seed)
    picture, kind = make_picture(model), model.config.model_type
    text = torch.randint(50, 150, (words,))
    counted = picture_owner(model) is not None and kind not in IMAGE_TOKENS
    tokens = count_features(model, picture) if counted else IMAGE_TOKENS.get(kind, 0)
    image_token = getattr(model.config, "image_token_id", None) or FIRST_SPECIAL
    ids = torch.cat([text[:2], torch.full((tokens,), image_token), text[2:]])[None]
    row = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **picture}
    image = (ids == image_token).long()
    if kind in COMPANIONS:
        row |= COMPANIONS[kind](ids, image)
    if model.config.is_encoder_decoder:
        row["decoder_input_ids"] = torch.randint(50, 150, (1, 4))
    if model.main_input_name != "input_ids" and "input_ids" not in _wants(model.forward):
        row = picture | {"decoder_input_ids": row["decoder_input_ids"]}
    return row | {name: image for name in {"mm_token_type_ids", "token_type_ids"} & _wants(model.forward).keys()}


def _shifted(row: dict[str, torch.Tensor], place: int) -> dict[str, torch.Tensor]:
    """Places of patches count through the pictures of a batch (Molmo2)."""
    if "image_token_pooling" not in row:
        return row
    return row | {"image_token_pooling": row["image_token_pooling"] + place * row["pixel_values"].shape[1]}


def make_batch(rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Rows together, padded on the left with token 0."""
    width = max(row["input_ids"].shape[1] if "input_ids" in row else 0 for row in rows)
    left = lambda value: value.new_zeros(1, width - value.shape[1], *value.shape[2:])  # noqa: E731
    pad = lambda name, value: torch.cat([left(value), value], 1) if name in TOKENS else value  # noqa: E731
    rows = [_shifted(row, place) for place, row in enumerate(rows)]
    side = {"pixel_values": -1} if "target_sizes" in rows[0] else {}  # pictures lie side by side in one strip
    return {name: torch.cat([pad(name, row[name]) for row in rows], side.get(name, 0)) for name in rows[0]}


def write_table(path: Path, results: dict[tuple[str, str], tuple[str, str]], checks: list[str]) -> None:
    """Writes what became of each check of each family (`passed`, `skipped` or `failed`, and why) as a page."""
    marks = {"passed": "✓", "skipped": "–", "failed": "✗"}
    families = sorted({family for family, _ in results})
    whole = sum(all(results[family, check][0] != "failed" for check in checks) for family in families)
    lines = [
        "# Families of vision–language models",
        "",
        "Each family of image-text-to-text models in transformers is built as a tiny random model and adapted by "
        "`LeamlForVisualQA.from_backbone`. This page is written by `make families`, from what its tests found with "
        f"transformers {transformers.__version__} and torch {torch.__version__}: {whole} of {len(families)} families "
        f"pass, of {len(KNOWN)} that transformers maps. ✓ passed, – the backbone itself can't do it (why is said "
        "below), ✗ failed.",
        "",
        f"| family | {' | '.join(checks)} |",
        f"|---|{'---|' * len(checks)}",
        *(f"| {f} | {' | '.join(marks[results[f, check][0]] for check in checks)} |" for f in families),
        "",
        "## What the families above that have a – can't do",
        "",
    ]
    reasons: dict[str, list[str]] = {}
    for (family, check), (outcome, reason) in sorted(results.items()):
        if outcome != "passed":
            reasons.setdefault(f"{check}: {reason}", []).append(family)
    lines += [f"- {reason} — {', '.join(names)}" for reason, names in sorted(reasons.items())]
    lines += ["", "## What has to be said", ""]
    lines += [f"- {family}: `{', '.join(f'{k}={v!r}' for k, v in said.items())}`" for family, said in OPTIONS.items()]
    lines += ["", "## Not tested", "", *(f"- {family}: {reason}" for family, reason in UNTESTED.items()), ""]
    path.write_text("\n".join(lines))
