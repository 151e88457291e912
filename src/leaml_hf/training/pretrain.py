"""`leaml pretrain`: makes the base `leaml-smol` from nothing but drawn pictures and a frozen language model."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import ResNetModel

from ..adapters import load_tensors
from ..backbones import SMOLLM2, load_text_backbone, load_tokenizer
from ..data.visual_arrays.scenes import QUESTIONS_PER_SCENE
from ..data.visual_arrays.targets import CHARACTERS, SLOTS
from ..modeling_leaml import LeamlForVisualQA
from ..processing_leaml import LeamlProcessor
from .pretrain_bridge import heldout_accuracy, pretrain_bridge
from .pretrain_letters import pretrain_letters
from .pretrain_reader import pretrain_reader
from .pretrain_report import write_pretrain_report
from .pretrain_tower import KEPT_PARTS, RESAMPLER, WIDTH, connector_config, pretrain_tower, tower_config
from .tower import DenseHeads

BRIDGE_LAYERS = [22, 24, 26, 28]
BATCH = 32  # pictures a batch that the rates are meant for
BRIDGE_BATCH = 3 / 8  # of the tower's: each of its pictures is 8 rows of the language model
READING = 0.11  # of the tower's batches
READER = 0.1  # of the tower's batches
READER_RATE = 3  # of the bridge's
READER_DIM = 64
LETTERS = 0.07  # of the tower's batches
LETTERS_RATE = 2  # of the bridge's
VISION_RATE = 0.2  # of the bridge's, when the vision half joins it
TOWER_MINUTES, READER_MINUTES, LETTERS_MINUTES = 3 / 5, 1 / 20, 1 / 20  # of a run against the clock
SAVE_EVERY = 400  # steps; against the clock, where each takes a thirtieth of a second on a GPU


def pretrain_base(
    output: Path, pictures: int, rows: int, start: str | None = None, batch_size: int = BATCH,
    learning_rate: float = 1e-3, minutes: float = math.inf, workers: int | None = None, device: str | None = None,
    passes: int = 1,
) -> dict[str, Any]:  # fmt: skip
    """
    Trains the vision half, then the bridge, then what reads names and letters, and saves the base; a killed run goes
    on from its last checkpoint.

    The same pictures come in the same order in every run; against the clock, their number and the rates differ.

    Args:
        output (`Path`): for checkpoints, logs and, in `base/`, the base.
        pictures (`int`): pictures that the vision half sees, at most.
        rows (`int`): questions that the bridge sees, at most.
        start (`str`, *optional*): a base whose vision half, resampler and bridge are trained on, instead of new ones.
        batch_size (`int`, *optional*, defaults to 32): pictures a batch for the vision half; 3/8 of it for the bridge.
        learning_rate (`float`, *optional*, defaults to 1e-3): peak of the bridge's and the vision half's rate at 32
            pictures a batch; it rises with the square root of `batch_size` (Malladi et al. 2022, arXiv 2205.10287).
        minutes (`float`, *optional*): time for all stages, three fifths of it for the vision half; the rates then fall
            by the clock, and nothing is held out to judge on the way. Defaults to no limit.
        workers (`int`, *optional*): processes that draw; defaults to one fewer than there are cores.
        device (`str`, *optional*): where to train; defaults to a GPU that PyTorch sees, else the CPU.
        passes (`int`, *optional*, defaults to 1): how often the vision half is trained on each batch; more than once
            where training is faster than drawing.

    Returns:
        `dict`: `output`, `pictures` and `rows` as given, and the finished base's held-out accuracy per task and
            program.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    peak = learning_rate * math.sqrt(batch_size / BATCH)
    bridge_batch = max(1, round(BRIDGE_BATCH * batch_size))
    options = {"device": device, "workers": workers}
    if math.isfinite(minutes):
        options |= {"evaluate_every": 0, "save_every": SAVE_EVERY}
    text, _ = load_text_backbone(SMOLLM2)
    tokenizer = load_tokenizer(SMOLLM2)
    words = text.get_input_embeddings().weight.detach()
    base = None if start is None else LeamlForVisualQA.from_pretrained(start, text=text)
    reading, given = (READING, None) if base is None else (0.0, tower_weights(base))
    weights = load_file(
        pretrain_tower(output, tokenizer, words, passes * max(1, pictures // batch_size), reading, batch_size, peak,
                       given, minutes=TOWER_MINUTES * minutes, passes=passes, **options)
    )  # fmt: skip
    model = LeamlForVisualQA.from_backbones(
        vision=ResNetModel(tower_config()), text=SMOLLM2, fusion_layers=[], lora_layers=[],
        connector_config=connector_config(), bridge_layers=BRIDGE_LAYERS, bridge_dim=256, bridge_heads=4,
        bridge_ffn_dim=512, reader_dim=READER_DIM, letters=CHARACTERS, letters_slots=SLOTS,
        **{f"resampler_{name.removeprefix('num_')}": value for name, value in RESAMPLER.items()},
    )  # fmt: skip
    if base is not None:
        load_tensors(model.bridge.state_dict(), base.bridge.state_dict(), "The given base's bridge")
    processor = LeamlProcessor.from_backbones(tokenizer, max_question_tokens=RESAMPLER["max_tokens"])
    dense = DenseHeads(WIDTH)
    modules = {name: getattr(model, part) for part, name in KEPT_PARTS.items()} | {"dense": dense}
    for part, module in modules.items():
        module.load_state_dict({k.removeprefix(part + "."): v for k, v in weights.items() if k.startswith(part + ".")})
    bridge_batches = max(1, rows // (bridge_batch * QUESTIONS_PER_SCENE))
    pretrain_bridge(model, processor, dense, output, bridge_batches, bridge_batch, peak, VISION_RATE * peak,
                    minutes=(1 - TOWER_MINUTES - READER_MINUTES - LETTERS_MINUTES) * minutes, **options)  # fmt: skip
    pretrain_reader(model, tokenizer, output, max(1, round(READER * pictures / batch_size)), batch_size,
                    READER_RATE * peak, minutes=READER_MINUTES * minutes, **options)  # fmt: skip
    pretrain_letters(model, tokenizer, output, max(1, round(LETTERS * pictures / batch_size)), batch_size,
                     LETTERS_RATE * peak, minutes=LETTERS_MINUTES * minutes, **options)  # fmt: skip
    folder = output / "base"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    with torch.inference_mode():
        accuracy = heldout_accuracy(model, processor)
    write_pretrain_report(output, output, accuracy, start)
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
