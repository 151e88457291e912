"""`leaml pretrain`: makes the base `leaml-smol` from nothing but drawn pictures and a frozen language model."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import ResNetModel

from ..adapters import load_tensors
from ..backbones import SMOLLM2, load_text_backbone, load_tokenizer
from ..data.visual_arrays.scenes import QUESTIONS_PER_SCENE
from ..modeling_leaml import LeamlForVisualQA
from ..processing_leaml import LeamlProcessor
from .pretrain_bridge import heldout_accuracy, pretrain_bridge
from .pretrain_report import write_pretrain_report
from .pretrain_tower import KEPT_PARTS, RESAMPLER, WIDTH, connector_config, pretrain_tower, tower_config
from .tower import DenseHeads

BRIDGE_LAYERS = [22, 24, 26, 28]
TOWER_BATCH, BRIDGE_BATCH = 32, 12
READING_BATCHES = 900  # of the tower's


def pretrain_base(output: Path, pictures: int, rows: int, start: str | None = None) -> dict[str, Any]:
    """
    Trains the vision half, then the bridge, and saves the base; a killed run goes on from its last checkpoint.

    Args:
        output (`Path`): for checkpoints, logs and, in `base/`, the base.
        pictures (`int`): pictures that the vision half sees.
        rows (`int`): questions that the bridge sees.
        start (`str`, *optional*): a base whose vision half, resampler and bridge are trained on, instead of new ones.

    Returns:
        `dict`: `output`, `pictures`, `rows` and held-out accuracy per task and program.
    """
    text, _ = load_text_backbone(SMOLLM2)
    tokenizer = load_tokenizer(SMOLLM2)
    words = text.get_input_embeddings().weight.detach()
    base = None if start is None else LeamlForVisualQA.from_pretrained(start, text=text)
    reading, given = (READING_BATCHES, None) if base is None else (0, tower_weights(base))
    weights = load_file(
        pretrain_tower(output, tokenizer, words, pictures // TOWER_BATCH, reading, TOWER_BATCH, start=given)
    )
    model = LeamlForVisualQA.from_backbones(
        vision=ResNetModel(tower_config()), text=SMOLLM2, fusion_layers=[], lora_layers=[],
        connector_config=connector_config(), bridge_layers=BRIDGE_LAYERS, bridge_dim=256, bridge_heads=4,
        bridge_ffn_dim=512, **{f"resampler_{name.removeprefix('num_')}": value for name, value in RESAMPLER.items()},
    )  # fmt: skip
    if base is not None:
        load_tensors(model.bridge.state_dict(), base.bridge.state_dict(), "The given base's bridge")
    processor = LeamlProcessor.from_backbones(tokenizer, max_question_tokens=RESAMPLER["max_tokens"])
    dense = DenseHeads(WIDTH)
    modules = {name: getattr(model, part) for part, name in KEPT_PARTS.items()} | {"dense": dense}
    for part, module in modules.items():
        module.load_state_dict({k.removeprefix(part + "."): v for k, v in weights.items() if k.startswith(part + ".")})
    pretrain_bridge(model, processor, dense, output, rows // (BRIDGE_BATCH * QUESTIONS_PER_SCENE), BRIDGE_BATCH)
    folder = output / "base"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    with torch.inference_mode():
        accuracy = heldout_accuracy(model, processor)
    write_pretrain_report(output, output)
    results = {"output": str(folder), "pictures": pictures, "rows": rows, **accuracy}
    (output / "pretrain_results.json").write_text(json.dumps(results, indent=1))
    return results


def tower_weights(base: LeamlForVisualQA) -> dict[str, torch.Tensor]:
    """What a base has of a [`TowerModel`]: its vision half and resampler, by their names there."""
    return {
        f"{name}.{key}": tensor
        for part, name in KEPT_PARTS.items()
        for key, tensor in getattr(base, part).state_dict().items()
        if "pooler" not in key
    }
