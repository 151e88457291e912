"""An adapter once more in PEFT's own format, for `PeftModel.from_pretrained(leaml_model, repo, subfolder="peft")`.

It lies in a folder of its own: with an `adapter_config.json` at the root of a Hub repo, the Auto classes of
transformers would go straight to the base named there, and leave out gates and reliability module.
"""

import re
from pathlib import Path

from ..adapters import lora_config
from ..checkpoints import ADAPTER_FILE, base_name
from ..configuration_leaml import LeamlConfig
from ..files import read_tensors

FOLDER = "peft"
_PREFIX = "base_model.model."  # PEFT's, before the names of the model's own tensors


def write_peft_files(folder: Path, config: LeamlConfig) -> None:
    """
    Writes `peft/adapter_config.json` and `peft/adapter_model.safetensors`; nothing for a base.

    The model to lay it on is one of the same shape, `LeamlForVisualQA.from_backbone(base, ...)` with the same fusion
    layers: PEFT puts LoRA in by itself, but only fills fusion layers that are there.

    Args:
        folder (`Path`): holds an adapter.
        config ([`LeamlConfig`]): its configuration.
    """
    from safetensors.torch import save_file

    if not config.has_adapter:
        return
    tensors = read_tensors(folder / ADAPTER_FILE)
    adapted = sorted({name.partition(".lora_")[0] for name in tensors if ".lora_" in name})
    pattern = "|".join(map(re.escape, adapted)) or "(?!)"  # nothing
    options = lora_config(pattern, config.lora_rank, config.lora_alpha, config.lora_dropout)
    options.modules_to_save = [f"fusion.{layer}" for layer in config.fusion_layers] or None
    options.base_model_name_or_path, options.inference_mode = base_name(config), True
    options.save_pretrained(folder / FOLDER)
    named = {_PREFIX + name: tensor for name, tensor in tensors.items()}
    save_file(named, folder / FOLDER / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / FOLDER / "adapter_model.safetensors").chmod(0o644)  # safetensors keeps it to the owner
