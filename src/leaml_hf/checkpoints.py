"""Files of a LEAML model: an adapter without its base, or a base without its causal LM. Safetensors and JSON only."""

import copy
import importlib.metadata
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.utils import cached_file

from .adapters import adapter_state_dict, base_fingerprint, load_tensors
from .backbones import (
    load_config,
    load_image_text_backbone,
    load_text_backbone,
    load_vision_backbone,
    resolve_base_path,
)
from .configuration_leaml import LeamlConfig
from .errors import LeamlInputError
from .files import read_tensors, written_whole
from .vision_features import vision_encoder

if TYPE_CHECKING:
    from .modeling_leaml import LeamlForVisualQA

ADAPTER_FILE = "leaml_adapter.safetensors"
BASE_FILE = "leaml_base.safetensors"
PHRASEBOOK_FILE = "leaml_phrasebook.json"
LEXICON_FILES = ("leaml_lexicon.safetensors", "leaml_lexicon.json")
RETRIEVAL_FILES = ("leaml_retrieval.safetensors", "leaml_retrieval.json")
RELIABILITY_FILES = ("leaml_reliability.safetensors", "leaml_reliability.json")
BASE_PARTS = ("vision_tower.", "connector.", "resampler.", "bridge.", "reader.", "letters.", "pointer.")
HUB_OPTIONS = ("revision", "token", "cache_dir", "local_files_only", "subfolder", "force_download", "proxies")
BASE_HUB_OPTIONS = ("token", "cache_dir", "local_files_only", "proxies")  # that hold for the base's repo as well
BACKBONE_OPTIONS = ("dtype", "device_map", "attn_implementation", "quantization_config")
LIBRARIES = ("leaml-hf", "torch", "transformers", "peft")
AUTO_MAP = {  # for trust_remote_code; the modules are only in published models
    "AutoConfig": "configuration_leaml.LeamlConfig",
    "AutoModel": "modeling_leaml.LeamlForVisualQA",
    "AutoModelForImageTextToText": "modeling_leaml.LeamlForVisualQA",
    "AutoModelForVisualQuestionAnswering": "modeling_leaml.LeamlForVisualQA",
}


def library_versions() -> dict[str, str]:
    """
    Versions of the libraries that decide what a saved model means.

    Returns:
        `dict[str, str]`: by name; LEAML's is left out where it runs without being installed.
    """
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def save_model(model: "LeamlForVisualQA", folder: str, state_dict: dict[str, torch.Tensor] | None = None) -> None:
    """
    Writes `config.json` and one safetensors file: of the adapter if there is one, else of the base.

    An adapter is saved without loss, in float16 where that is enough (training ends by rounding to it); a base's
    vision encoder, connector, resampler, bridge and reader of names in float16.

    Args:
        model ([`LeamlForVisualQA`]): to save.
        folder (`str`): made if it is not there.
        state_dict (`dict[str, torch.Tensor]`, *optional*): the model's tensors, if they had to be gathered.

    Raises:
        [`LeamlInputError`]: if the base has no name to find it by again, or a tensor holds NaN or infinity.
        [`LeamlError`]: if the disk is full; what is in the folder stays as it was.
    """
    config = model.config
    _check_named(config)
    if config.has_adapter:
        # not of state_dict(): bitsandbytes repacks its weights for that, and answers a little differently then
        tensors = dict(model.named_parameters()) if state_dict is None else state_dict
        name, tensors = ADAPTER_FILE, adapter_state_dict(tensors, model.adapter_name)
    else:
        tensors = model.state_dict() if state_dict is None else state_dict
        name, tensors = BASE_FILE, {key: _half(t) for key, t in tensors.items() if _belongs_to_base_file(key)}
        if config.is_composed:
            config.text_fingerprint = base_fingerprint(model.backbone)
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise LeamlInputError(
                f"{key} holds NaN or infinity: nothing was saved; train again with a lower learning rate."
            )
    config.versions = library_versions()
    config.architectures = [type(model).__name__]
    config.auto_map = dict(AUTO_MAP)
    tensors = {key: _compact(tensor.detach().to("cpu", copy=True).contiguous()) for key, tensor in tensors.items()}
    with written_whole(Path(folder)) as partial:
        _without_paths(config).save_pretrained(partial)
        save_file(tensors, partial / name, metadata={"format": "pt"} | config.versions)
        (partial / name).chmod(0o644)  # safetensors keeps it to the owner
        if model.reliability is not None:
            model.reliability.save(partial)
        if model.phrasebook is not None:
            model.phrasebook.save(partial)
        if model.lexicon is not None:
            model.lexicon.save(partial)
        if model.retrieval is not None:
            model.retrieval.save(partial)
    if model.phrasebook is None:
        (Path(folder) / PHRASEBOOK_FILE).unlink(missing_ok=True)  # of an earlier model there
    for part, files in ((model.lexicon, LEXICON_FILES), (model.retrieval, RETRIEVAL_FILES)):
        if part is None:
            for file in files:
                (Path(folder) / file).unlink(missing_ok=True)


def load_model(
    cls: type["LeamlForVisualQA"],
    name_or_path: str,
    config: LeamlConfig | None = None,
    base: str | PathLike | PreTrainedModel | None = None,
    vision: str | PathLike | PreTrainedModel | None = None,
    text: str | PathLike | PreTrainedModel | None = None,
    **kwargs: Any,
) -> "LeamlForVisualQA":
    """
    Reads what [`save_model`] wrote and lays it on the base that the configuration names.

    Args:
        cls (`type`): class of the model.
        name_or_path (`str`): a folder, Hub id, or the name of a shipped base.
        config ([`LeamlConfig`], *optional*): read already.
        base (`str`, `PathLike` or `PreTrainedModel`, *optional*): where the base is, if it is not where the
            configuration says.
        vision (`str` or `PreTrainedModel`, *optional*): the same for the vision encoder.
        text (`str` or `PreTrainedModel`, *optional*): the same for the causal LM.
        kwargs: options for the Hub and the backbone, see [`LeamlForVisualQA.from_pretrained`].

    Returns:
        [`LeamlForVisualQA`]: in evaluation mode.

    Raises:
        [`LeamlInputError`]: if a file is missing, damaged or does not fit, or if the base is another one.
    """
    hub = {key: kwargs[key] for key in HUB_OPTIONS if kwargs.get(key) is not None}
    options = {key: kwargs[key] for key in BACKBONE_OPTIONS if kwargs.get(key) is not None}
    for_base = {key: hub[key] for key in BASE_HUB_OPTIONS if key in hub}
    base, vision, text = (str(part) if isinstance(part, PathLike) else part for part in (base, vision, text))
    path = resolve_base_path(name_or_path)
    if config is None:
        config = load_config(path, **hub)
    if config.model_type != LeamlConfig.model_type:
        raise LeamlInputError(
            f"{name_or_path} holds a {config.model_type} model, not a LEAML model: lay an adapter on it with "
            "LeamlForVisualQA.from_backbone."
        )
    if config.has_adapter and config.dtype is not None:
        options.setdefault("dtype", config.dtype)
    stands_on = config.text_config if config.is_composed else config.backbone_config
    quantized = getattr(stands_on, "quantization_config", None)
    if config.has_adapter and quantized is not None:
        options.setdefault("quantization_config", quantized)  # as it was when the adapter was trained
    tensors = None if config.has_adapter else read_tensors(_find_file(path, BASE_FILE, hub))
    model = _load_base(cls, config, base, vision, text, options | for_base)
    if not config.has_adapter:
        _load_base_tensors(model, tensors)
        model.config._name_or_path = name_or_path
        return _finish(model, options)
    lay_adapter(model, config, path, hub)
    return _finish(model, options)


def lay_adapter(model: "LeamlForVisualQA", config: LeamlConfig, path: str, hub: dict[str, Any]) -> None:
    """
    Lays a saved adapter on its base.

    Args:
        model ([`LeamlForVisualQA`]): the base.
        config ([`LeamlConfig`]): of the adapter.
        path (`str`): folder or Hub id of the adapter.
        hub (`dict`): options for the Hub.

    Raises:
        [`LeamlInputError`]: if a file is missing, damaged or does not fit, or if the base is another one.
    """
    actual = model.fingerprint()
    if config.base_fingerprint is not None and actual != config.base_fingerprint:
        raise LeamlInputError(
            f"{path} was trained on another base: it needs {base_name(config)} with fingerprint "
            f"{config.base_fingerprint[:19]}, but the one found has {actual[:19]}; give the right one as base=, "
            "text= or vision=."
        )
    tensors = read_tensors(_find_file(path, ADAPTER_FILE, hub))
    model.config = config
    _check_sizes(model, tensors)
    model._build_adapter()
    own = adapter_state_dict(model.state_dict(keep_vars=True), model.adapter_name)
    load_tensors({key: tensor.data for key, tensor in own.items()}, tensors, ADAPTER_FILE)
    model.config._name_or_path = path
    _load_reliability(model, path, hub)
    _load_phrasebook(model, path, hub)
    _load_lexicon(model, path, hub)
    _load_retrieval(model, path, hub)


def _check_sizes(model: "LeamlForVisualQA", tensors: dict[str, torch.Tensor]) -> None:
    """Refuses sizes of the configuration that are not those of the file, before memory is taken for them."""
    config = model.config
    has_lora = config.lora_layers or config.adapt_bridge or config.adapt_vision or config.adapt_reading
    for is_used, what, size, part, axis in (
        (has_lora, "lora_rank", config.lora_rank, ".lora_A.", 0),
        (config.fusion_layers, "fusion_dim", config.fusion_dim, ".q_proj.weight", 0),
        (config.fusion_layers and config.fusion_ffn_dim, "fusion_ffn_dim", config.fusion_ffn_dim, ".ffn_in.weight", 0),
        (config.fusion_layers, "width of vision states", model.vision_size, ".kv_proj.weight", 1),
    ):
        found = {tensor.shape[axis : axis + 1] for name, tensor in tensors.items() if part in name}
        if is_used and found != {(size,)}:
            raise LeamlInputError(
                f"{ADAPTER_FILE} does not fit config.json: its tensors are not of {what} {size}; fetch both again."
            )


def _without_paths(config: PreTrainedConfig) -> PreTrainedConfig:
    """A copy in which no part remembers the folder that it was read from; what is needed to find it again has its own
    fields."""
    config = copy.deepcopy(config)
    parts = [config]
    while parts:
        part = parts.pop()
        part._name_or_path = ""
        parts += [getattr(part, key) for key in part.sub_configs if getattr(part, key, None) is not None]
    return config


def base_name(config: LeamlConfig) -> str:
    """
    The base of a model, for people.

    Args:
        config ([`LeamlConfig`]): of the model.

    Returns:
        `str`: name or names.
    """
    names = (config.vision_name_or_path, config.text_name_or_path)
    return config.base_name_or_path or " and ".join(name for name in names if name)


def _check_named(config: LeamlConfig) -> None:
    if not config.has_adapter:
        named = config.is_composed and config.text_name_or_path
    elif config.base_name_or_path:
        named = True
    else:
        own_parts = (
            config.bridge_layers or config.connector_config or config.resampler_layers
        )  # of a base that was never saved
        named = config.is_composed and config.text_name_or_path and config.vision_name_or_path and not own_parts
    if named:
        return
    raise LeamlInputError(
        "The base of this model has no name to find it by again: save the base first (or load it by name) and lay "
        "the adapter on the "
        "saved one."
    )


def _load_base(
    cls: type["LeamlForVisualQA"],
    config: LeamlConfig,
    base: str | PreTrainedModel | None,
    vision: str | PreTrainedModel | None,
    text: str | PreTrainedModel | None,
    options: dict[str, Any],
) -> "LeamlForVisualQA":
    """The model without its adapter; a base's own tensors are still to be read."""
    if config.has_adapter and (base is not None or config.base_name_or_path is not None):
        revision = config.base_revision if base is None else None
        base = resolve_base_path(config.base_name_or_path, config.base_repo) if base is None else base
        if isinstance(base, str):
            _check_base(config, base, revision, {key: options[key] for key in BASE_HUB_OPTIONS if key in options})
        if config.is_composed:
            return (
                base
                if isinstance(base, cls)
                else load_model(cls, base, vision=vision, text=text, revision=revision, **options)
            )
        if not isinstance(base, PreTrainedModel):
            base = load_image_text_backbone(base, revision, **options)
        places = {"decoder_layers": config.decoder_layers, "vision_features": config.vision_features}
        return cls(LeamlConfig(backbone_config=base.config, **places), backbone=base)
    if text is None:
        _check_part("text", config.text_name_or_path)
        text, _ = load_text_backbone(config.text_name_or_path, config.text_revision, config.text_source, **options)
    elif not isinstance(text, PreTrainedModel):
        text, _ = load_text_backbone(text, **options)
    if not config.has_adapter:
        if config.text_fingerprint is not None and base_fingerprint(text) != config.text_fingerprint:
            raise LeamlInputError(
                f"This base was trained with other weights of {config.text_name_or_path}: give the right ones as "
                "text=."
            )
        vision = vision_encoder(AutoModel.from_config(config.vision_config))
        return cls(config, backbone=text, vision_tower=vision)
    options = {key: value for key, value in options.items() if key != "quantization_config"}  # the LM's alone
    if vision is None:
        _check_part("vision", config.vision_name_or_path)
        vision = load_vision_backbone(config.vision_name_or_path, config.vision_revision, **options)
    elif not isinstance(vision, PreTrainedModel):
        vision = load_vision_backbone(vision, **options)
    return cls(LeamlConfig(text_config=text.config, vision_config=vision.config), backbone=text, vision_tower=vision)


def _check_part(name: str, path: str | None) -> None:
    if path is None:
        raise LeamlInputError(f"config.json names no {name} backbone: give the right one as {name}=.")


def _check_base(config: LeamlConfig, base: str, revision: str | None, hub: dict[str, Any]) -> None:
    """Refuses an adapter as the base, which could name the first one as its own base in turn."""
    found = load_config(base, revision, **hub)
    is_leaml = found.model_type == LeamlConfig.model_type
    if is_leaml != config.is_composed or (is_leaml and found.has_adapter):
        kind = "a LEAML base" if config.is_composed else "an existing image-text-to-text model"
        raise LeamlInputError(f"The adapter is for {kind}, but {base} is none: give the right one as base=.")


def _load_base_tensors(model: "LeamlForVisualQA", given: dict[str, torch.Tensor]) -> None:
    own = {key: tensor.data for key, tensor in model.state_dict(keep_vars=True).items() if _belongs_to_base_file(key)}
    load_tensors(own, given, BASE_FILE)


def _finish(model: "LeamlForVisualQA", options: dict[str, Any]) -> "LeamlForVisualQA":
    model.to(model.backbone.device)
    if options.get("dtype") is not None and model.vision_tower is not None:
        model.vision_tower.to(model.backbone.dtype)
    model.freeze_base()
    return model.eval()


def _load_reliability(model: "LeamlForVisualQA", path: str, hub: dict[str, Any]) -> None:
    folder = _folder_of(path, RELIABILITY_FILES, hub)
    if folder is not None:
        from .reliability import Reliability

        model.reliability = Reliability.load(folder)


def _load_phrasebook(model: "LeamlForVisualQA", path: str, hub: dict[str, Any]) -> None:
    file = _find_file(path, PHRASEBOOK_FILE, hub, required=False)
    if file is not None:
        from .phrasebook import Phrasebook

        model.phrasebook = Phrasebook.load(file.parent)


def _load_lexicon(model: "LeamlForVisualQA", path: str, hub: dict[str, Any]) -> None:
    folder = None if model.letters is None else _folder_of(path, LEXICON_FILES, hub)
    if folder is not None:
        from .lexicon import Lexicon

        model.lexicon = Lexicon.load(folder, model.config.letters, model.letters)


def _load_retrieval(model: "LeamlForVisualQA", path: str, hub: dict[str, Any]) -> None:
    folder = _folder_of(path, RETRIEVAL_FILES, hub)
    if folder is not None:
        from .retrieval import ExampleIndex

        model.retrieval = ExampleIndex.load(folder, model.config.base_fingerprint)


def _folder_of(path: str, names: Sequence[str], hub: dict[str, Any]) -> Path | None:
    """Where files are that belong together, `None` if there are none; one alone is found, too, and told later."""
    files = [_find_file(path, name, hub, required=False) for name in names]
    return next((file.parent for file in files if file is not None), None)


def _find_file(path: str, name: str, hub: dict[str, Any], required: bool = True) -> Path | None:
    file = cached_file(path, name, _raise_exceptions_for_missing_entries=False, **hub)
    if file is None and required:
        raise LeamlInputError(f"{path} has a LEAML configuration but no {name}: save or fetch it again.")
    return None if file is None else Path(file)


def _belongs_to_base_file(name: str) -> bool:
    return name.startswith(BASE_PARTS) and "pooler" not in name  # a pooler is never asked for


def _compact(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in float16 where that changes no value, as in a trained adapter, else as it is."""
    return half if torch.equal((half := _half(tensor)).to(tensor.dtype), tensor) else tensor


def _half(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in float16, or as it is where float16 has no room for it."""
    if not tensor.is_floating_point():
        return tensor
    half = tensor.half()
    return half if half.isfinite().all() else tensor
