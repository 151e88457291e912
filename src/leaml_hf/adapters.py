"""Which layers get LoRA and gates, how LoRA is put in, merged and counted, and how a base is told from another."""

import hashlib
import json
import re
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from .errors import LeamlInputError

if TYPE_CHECKING:
    from peft import LoraConfig
    from peft.tuners.lora import LoraLayer

ADAPTER_NAME = "default"
SAMPLED_VALUES = 64
VISION_HALF = ("vision_tower.", "connector.")  # of a composed model
LARGEST = 1_000_000  # no trained weight is near it, and what is beyond may not give finite logits
STRUCTURE_KEYS = (
    "model_type",
    "hidden_act",
    "hidden_size",
    "image_size",
    "intermediate_size",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "patch_size",
    "vocab_size",
)


def upper_third(num_layers: int) -> list[int]:
    """
    The layers that are adapted by default.

    Args:
        num_layers (`int`): decoder layers.

    Returns:
        `list[int]`: the upper third of them, at least one.
    """
    return list(range(num_layers - max(1, num_layers // 3), num_layers))


def default_fusion_dim(hidden_size: int) -> int:
    """
    Inner width of the adapter's gated cross-attention by default: a quarter of the decoder's.

    With it, the reference configuration (ViT-L/16 and a 7B decoder, upper third fused) grows by about 3%.

    Args:
        hidden_size (`int`): width D of the decoder.

    Returns:
        `int`: a multiple of 64 for wide decoders, at least 16.
    """
    quarter = hidden_size // 4
    return quarter // 64 * 64 if quarter >= 64 else max(16, quarter)


def split_layer_names(layers: list[int] | list[str] | None) -> tuple[list[int] | None, str | None]:
    """
    Numbers of layers that are given by module names, and the list of layers that the names lead to.

    Args:
        layers (`list[int]` or `list[str]`, *optional*): such as `["model.text.blocks.6", "model.text.blocks.7"]`.

    Returns:
        `tuple`: numbers, and the name of the list (`"model.text.blocks"`) or `None`.

    Raises:
        [`LeamlInputError`]: if names are not those of layers of one list.
    """
    if not isinstance(layers, list) or not layers or not all(isinstance(layer, str) for layer in layers):
        return layers, None
    lists, _, numbers = zip(*(layer.rpartition(".") for layer in layers), strict=True)
    if len(set(lists)) > 1 or not all(number.isdecimal() for number in numbers):
        raise LeamlInputError(
            f"fusion_layers must be numbers, or names of layers of one list such as model.layers.6, but got {layers}."
        )
    return [int(number) for number in numbers], lists[0]


def check_layers(name: str, layers: list[int], num_layers: int) -> None:
    """
    Checks that chosen layers exist.

    Args:
        name (`str`): of the option, for the message.
        layers (`list[int]`): chosen layers.
        num_layers (`int`): decoder layers there are.

    Raises:
        [`LeamlInputError`]: if one does not exist.
    """
    wrong = [layer for layer in layers if layer >= num_layers]
    if wrong:
        raise LeamlInputError(
            f"{name} names layer {wrong[0]}, but the backbone has layers 0 to {num_layers - 1} only."
        )


def reading_lora_modules(model: PreTrainedModel) -> list[str]:
    """
    Modules of the vision half that get LoRA to learn to read: convolutions as well, since letters are told there.

    Args:
        model (`LeamlForVisualQA`): a composed model.

    Returns:
        `list[str]`: full module names, as if there were no LoRA.
    """
    names = linear_modules(model, convolutions=True)
    return [name for name in names if name.startswith(VISION_HALF) and "pooler" not in name]


def _takes_lora(name: str, module: nn.Module) -> bool:
    """Whether a module is a linear one, but neither a router of a model's own kind nor in an indexer of sparse
    attention (which only chooses what is attended to: no gradient reaches it)."""
    own_kind = type(module).__module__.startswith("transformers.models.")
    return isinstance(module, nn.Linear | Conv1D) and not own_kind and ".indexer." not in name


def linear_modules(model: nn.Module, convolutions: bool = False) -> list[str]:
    """
    The linear modules of a model, those that carry LoRA included, LoRA's own left out.

    Args:
        model (`nn.Module`): any.
        convolutions (`bool`, *optional*, defaults to `False`): whether two-dimensional ones without groups count, too.

    Returns:
        `list[str]`: full names, as if there were no LoRA.
    """
    names = [
        name
        for name, module in model.named_modules()
        if _takes_lora(name, module) or (convolutions and isinstance(module, nn.Conv2d) and module.groups == 1)
    ]
    return [name.removesuffix(".base_layer") for name in names if ".lora_" not in name]


def decoder_lora_modules(
    model: PreTrainedModel, layers_path: str, layers: list[int], targets: list[str] | None
) -> list[str]:
    """
    Linear modules of the decoder that get LoRA, anchored on the decoder's own path.

    Args:
        model (`PreTrainedModel`): the whole model.
        layers_path (`str`): of the list of its decoder layers.
        layers (`list[int]`): decoder layers to adapt.
        targets (`list[str]`, *optional*): last parts of the names of linear modules; defaults to every linear module.

    Returns:
        `list[str]`: full module names.

    Raises:
        [`LeamlInputError`]: if a layer to adapt has none of the targets.
    """
    chosen, names_of_all = [], linear_modules(model)
    for layer in layers:
        prefix = f"{layers_path}.{layer}."
        linear = [name for name in names_of_all if name.startswith(prefix)]
        found = [name for name in linear if targets is None or name.rsplit(".", 1)[-1] in targets]
        if not found:
            names = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in linear}))
            raise LeamlInputError(
                f"lora_targets {targets} names no linear module of decoder layer {layer}: choose from "
                f"{names or 'none'}."
            )
        chosen += found
    return chosen


def lower_lora_modules(model: PreTrainedModel, parts: tuple[str, ...], targets: list[str] | None) -> list[str]:
    """
    Linear modules outside the decoder that get LoRA.

    Args:
        model (`LeamlForVisualQA`): a composed model.
        parts (`tuple[str, ...]`): first parts of their names, such as `"connector."`.
        targets (`list[str]`, *optional*): last parts of names; defaults to every linear module but gates and poolers.

    Returns:
        `list[str]`: full module names.

    Raises:
        [`LeamlInputError`]: if there is none.
    """
    found = [
        name
        for name in linear_modules(model)
        if name.startswith(parts)
        and "pooler" not in name
        and not name.endswith("gate_proj")
        and (targets is None or name.rsplit(".", 1)[-1] in targets)
    ]
    if not found:
        raise LeamlInputError(f"vision_lora_targets {targets} names no linear module in {', '.join(parts)[:-1]}.")
    return found


def inject_lora(
    model: PreTrainedModel,
    module_names: list[str],
    rank: int,
    alpha: int,
    dropout: float,
    adapter_name: str = ADAPTER_NAME,
) -> None:
    """
    Puts LoRA into exactly the named modules; changes no output yet (B = 0).

    Freezes every parameter of the model but LoRA's.

    Args:
        model (`PreTrainedModel`): changed in place.
        module_names (`list[str]`): full names of linear modules.
        rank (`int`): rank.
        alpha (`int`): scale.
        dropout (`float`): in [0, 1).
        adapter_name (`str`, *optional*, defaults to `"default"`): PEFT's name of this LoRA.
    """
    from peft import inject_adapter_in_model

    pattern = "|".join(re.escape(name) for name in module_names)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config`")  # several adapters are meant to be there
        inject_adapter_in_model(lora_config(pattern, rank, alpha, dropout), model, adapter_name=adapter_name)
    for name, parameter in model.named_parameters():
        if "lora_" in name and parameter.dtype in (torch.float16, torch.bfloat16):
            parameter.data = parameter.data.float()


def lora_config(pattern: str, rank: int, alpha: int, dropout: float) -> "LoraConfig":
    """
    PEFT's configuration of the LoRA part.

    Args:
        pattern (`str`): regular expression over full module names.
        rank (`int`): rank.
        alpha (`int`): scale.
        dropout (`float`): in [0, 1).

    Returns:
        `LoraConfig`.
    """
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=f"(?:{pattern})", bias="none")


def lora_layers(model: nn.Module) -> dict[str, "LoraLayer"]:
    """
    The modules of a model that carry LoRA.

    Args:
        model (`nn.Module`): any.

    Returns:
        `dict[str, LoraLayer]`: by name.
    """
    from peft.tuners.lora import LoraLayer

    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


def activate_lora(model: nn.Module, adapter_name: str) -> None:
    """
    Lets one adapter's LoRA count, and no other.

    Args:
        model (`nn.Module`): changed in place.
        adapter_name (`str`): PEFT's name of it; modules without it then act as they would without LoRA.
    """
    for module in lora_layers(model).values():
        module.set_adapter(adapter_name)


def remove_lora(model: nn.Module, adapter_name: str, within: tuple[str, ...] = ("",)) -> None:
    """
    Takes one adapter's LoRA out.

    Args:
        model (`nn.Module`): changed in place.
        adapter_name (`str`): PEFT's name of it.
        within (`tuple[str, ...]`, *optional*): first parts of the names of the modules that lose it; defaults to all.
    """
    for name, module in lora_layers(model).items():
        if name.startswith(within):
            module.delete_adapter(adapter_name)


@torch.no_grad()
def merge_lora(model: nn.Module, adapter_name: str = ADAPTER_NAME) -> dict[str, int]:
    """
    Adds LoRA into the weights below it, so that it costs no time; [`unmerge_lora`] takes it out again.

    Args:
        model (`nn.Module`): changed in place.
        adapter_name (`str`, *optional*, defaults to `"default"`): the active adapter.

    Returns:
        `dict[str, int]`: `changed` weights and those `expected` to change (LoRA's B is not zero).

    Raises:
        [`LeamlInputError`]: if a weight that had to change did not, or LoRA holds NaN or infinity.
    """
    changed = expected = 0
    for name, module in lora_layers(model).items():
        if module.merged or adapter_name not in module.lora_A:
            continue
        weight = module.get_base_layer().weight
        if type(weight) not in (torch.Tensor, nn.Parameter):
            raise LeamlInputError(
                f"{name} is quantised ({type(weight).__name__}), so nothing can be added to it: keep the adapter "
                "beside it, or load the backbone without quantization_config to merge."
            )
        delta = module.get_delta_weight(adapter_name)
        if not delta.isfinite().all():
            raise LeamlInputError(
                f"The adapter of {name} holds NaN or infinity: train it again with a lower learning rate."
            )
        before = module.get_base_layer().weight.clone()
        module.merge()
        expected += bool(delta.any())
        changed += not torch.equal(before, module.get_base_layer().weight)
    if changed < expected:
        raise LeamlInputError(
            f"Merging changed {changed} of {expected} weights: the backbone's number format is too coarse, load it "
            "with "
            "dtype=torch.float32."
        )
    return {"changed": changed, "expected": expected}


def unmerge_lora(model: nn.Module) -> None:
    """
    Takes merged LoRA out of the weights.

    Args:
        model (`nn.Module`): changed in place.
    """
    for module in lora_layers(model).values():
        if module.merged:
            module.unmerge()


def is_adapter_tensor(name: str, adapter_name: str = ADAPTER_NAME) -> bool:
    """
    Whether a tensor belongs to the active adapter, and not to the base or to another adapter.

    Args:
        name (`str`): in the state dict of a `LeamlForVisualQA`.
        adapter_name (`str`, *optional*, defaults to `"default"`): the active adapter.

    Returns:
        `bool`.
    """
    return name.startswith("fusion.") or (".lora_" in name and f".{adapter_name}." in name.rpartition(".lora_")[2])


def is_any_adapter_tensor(name: str) -> bool:
    """
    Whether a tensor belongs to any of the adapters that are loaded side by side.

    Args:
        name (`str`): in the state dict of a `LeamlForVisualQA`.

    Returns:
        `bool`.
    """
    return name.startswith(("fusion.", "shelved_fusion.")) or ".lora_" in name


def adapter_state_dict(
    state_dict: dict[str, torch.Tensor], adapter_name: str = ADAPTER_NAME
) -> dict[str, torch.Tensor]:
    """
    All tensors of the active adapter, by names that do not depend on PEFT's adapter name.

    Args:
        state_dict (`dict[str, torch.Tensor]`): of a `LeamlForVisualQA`.
        adapter_name (`str`, *optional*, defaults to `"default"`): the active adapter.

    Returns:
        `dict[str, torch.Tensor]`: the same tensors, not copies.
    """
    own = re.compile(rf"(\.lora_\w+)\.{re.escape(adapter_name)}\.")
    return {own.sub(r"\1.", n): t for n, t in state_dict.items() if is_adapter_tensor(n, adapter_name)}


@torch.no_grad()
def round_adapter(model: nn.Module) -> None:
    """
    Rounds what is trained to values that float16 holds, so that it is saved in half the space without loss.

    Args:
        model (`nn.Module`): changed in place; parameters that require gradients.
    """
    for parameter in model.parameters():
        if parameter.requires_grad and (half := parameter.half()).isfinite().all():
            parameter.copy_(half)


@torch.no_grad()
def load_tensors(own: dict[str, torch.Tensor], given: dict[str, torch.Tensor], what: str) -> int:
    """
    Copies tensors into a model's own, all or none.

    Args:
        own (`dict[str, torch.Tensor]`): the model's.
        given (`dict[str, torch.Tensor]`): from a file.
        what (`str`): the file, for messages.

    Returns:
        `int`: tensors matched, which is all of them.

    Raises:
        [`LeamlInputError`]: if one is missing, unexpected, of another shape, or holds anything but numbers of a
            weight's size.
    """
    missing, unexpected = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
    if missing or unexpected:
        raise LeamlInputError(
            f"{what} does not fit this model: {len(missing)} of {len(own)} tensors are missing and {len(unexpected)} "
            "are not "
            f"expected (first names: {', '.join((missing + unexpected)[:3])}); fetch it again, or use the leaml_hf "
            "version it names."
        )
    for name, tensor in own.items():
        if tensor.shape != given[name].shape:
            raise LeamlInputError(
                f"{what} does not fit this model: {name} has shape {tuple(given[name].shape)}, but the model needs "
                f"{tuple(tensor.shape)}."
            )
        if tensor.is_floating_point() != given[name].is_floating_point():
            raise LeamlInputError(f"{what} is damaged: {name} holds {given[name].dtype}; train or fetch it again.")
        if not (given[name].float().abs() <= LARGEST).all():
            raise LeamlInputError(
                f"{what} is damaged: {name} holds NaN, infinity or values beyond {LARGEST:,}; train or fetch it again."
            )
    for name, tensor in own.items():
        tensor.copy_(given[name])
    return len(own)


def count_parameters(model: PreTrainedModel) -> dict[str, float]:
    """
    Counts the parameters of a LEAML model by part.

    Args:
        model (`LeamlForVisualQA`): any, also on the meta device.

    Returns:
        `dict[str, float]`: see [`LeamlForVisualQA.num_added_parameters`].
    """
    parts = {"vision_tower": "vision_encoder", "backbone": "language_model"}
    parts_of_base = ("vision_encoder", "connector", "resampler", "bridge", "reader", "letters", "pointer",
                     "language_model")  # fmt: skip
    counts: dict[str, float] = dict.fromkeys((*parts_of_base, "lora", "fusion"), 0)
    for name, parameter in model.named_parameters():
        prefix = name.split(".", 1)[0]
        if is_adapter_tensor(name, model.adapter_name) or not is_any_adapter_tensor(name):
            counts["lora" if ".lora_" in name else parts.get(prefix, prefix)] += parameter.numel()
    kept = {} if model.reliability is None else model.reliability.ood.state_dict()
    counts["ood"] = sum(int(array.size) for array in kept.values())
    learnt = None if model.lexicon is None else model.lexicon.reader
    counts["lexicon"] = 0 if learnt is None else sum(parameter.numel() for parameter in learnt.parameters())
    counts["base"] = sum(counts[part] for part in parts_of_base)
    counts["added"] = counts["lora"] + counts["fusion"] + counts["ood"] + counts["lexicon"]
    counts["percent"] = 100.0 * counts["added"] / counts["base"]
    return counts


def _structure(config: PreTrainedConfig) -> dict[str, Any]:
    subs = {
        key: _structure(getattr(config, key)) for key in config.sub_configs if getattr(config, key, None) is not None
    }
    own = vars(config) if config.is_heterogeneous else {key: getattr(config, key, None) for key in STRUCTURE_KEYS}
    return {key: own[key] for key in STRUCTURE_KEYS if own.get(key) is not None} | subs


@torch.no_grad()
def base_fingerprint(*parts: nn.Module) -> str:
    """
    Tells one frozen base from another, the same on each machine and in each number format.

    Hashes the structure of the configurations, and name, shape and up to 64 values (rounded to bfloat16) of each
    tensor that is not LoRA's. Poolers are left out: encoders are often loaded without theirs, and it is then drawn at
    random.

    Args:
        parts (`nn.Module`): the parts of the base, always in the same order.

    Returns:
        `str`: `"sha256:"` and 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, PreTrainedModel):
            digest.update(json.dumps(_structure(part.config), sort_keys=True, default=str).encode())
        for name, tensor in sorted(part.state_dict().items()):
            if ".lora_" in name or "pooler" in name or not tensor.is_floating_point():
                continue
            digest.update(f"{name.replace('.base_layer', '')}{tuple(tensor.shape)}".encode())
            if type(tensor) not in (torch.Tensor, nn.Parameter):  # quantised: its values have no view
                continue
            flat = tensor.reshape(-1)
            sample = flat[:: max(1, flat.numel() // SAMPLED_VALUES)][:SAMPLED_VALUES]
            digest.update(sample.to("cpu", torch.bfloat16).view(torch.int16).numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"
