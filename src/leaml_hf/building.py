"""How a LEAML model is made, laid on a base, loaded, saved, frozen, merged and counted."""

import importlib
import tempfile
from collections.abc import Iterable
from dataclasses import fields as dataclass_fields
from functools import cache
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import PreTrainedModel

from .adapters import (
    VISION_HALF,
    adapter_state_dict,
    base_fingerprint,
    check_layers,
    count_parameters,
    decoder_lora_modules,
    default_fusion_dim,
    inject_lora,
    is_adapter_tensor,
    load_tensors,
    lower_lora_modules,
    merge_lora,
    reading_lora_modules,
    remove_lora,
    split_layer_names,
    unmerge_lora,
    upper_third,
)
from .backbones import (
    load_config,
    load_image_text_backbone,
    load_text_backbone,
    load_vision_backbone,
    resolve_base_path,
)
from .checkpoints import load_model, save_model
from .configuration_leaml import LeamlConfig
from .errors import LeamlInputError
from .fusion import GatedCrossAttention
from .relevance import RELEVANT, relevant_third
from .vision_features import vision_encoder

PUSH_OPTIONS = ("private", "revision", "token", "base", "commit_message")

if TYPE_CHECKING:
    from .modeling_leaml import LeamlForVisualQA


class BuildingMixin:
    """The methods of [`LeamlForVisualQA`] that make it, save it, and deal with its adapter as a whole."""

    @classmethod
    def from_backbone(
        cls,
        model: "str | PathLike | PreTrainedModel",
        fusion_layers: list[int] | list[str] | str | None = None,
        lora_layers: list[int] | str | None = None,
        lora_rank: int = 8,
        revision: str | None = None,
        dtype: torch.dtype | str | None = None,
        vision_features: str | None = None,
        quantization_config: Any = None,
        **options: Any,
    ) -> "LeamlForVisualQA":
        """
        Lays a new, closed adapter on an existing image-text-to-text model or on a LEAML base.

        Args:
            model (`str`, `PathLike` or `PreTrainedModel`): a folder, Hub id, the name of a shipped base, or a loaded
                model, which is used itself, not copied.
            fusion_layers (`list[int]`, `list[str]` or `str`, *optional*): decoder layers with gated cross-attention:
                numbers, or module names in a model whose layers are not found otherwise, or `"relevant"` for as many
                as a third, those that matter most for `examples`; defaults to the upper third.
            lora_layers (`list[int]` or `str`, *optional*): decoder layers with LoRA: numbers, or `"relevant"`;
                defaults to the upper third.
            lora_rank (`int`, *optional*, defaults to 8): rank of LoRA.
            revision (`str`, *optional*): of the model on the Hub.
            dtype (`torch.dtype` or `str`, *optional*): of the backbone.
            vision_features (`str`, *optional*): name of the module that gives an existing model's picture features,
                where they are not found otherwise.
            quantization_config (`QuantizationConfigMixin`, *optional*): how the backbone is quantised when it is
                loaded, such as `BitsAndBytesConfig(load_in_8bit=True)`.
            options: other fields of [`LeamlConfig`] about the adapter, such as `lora_alpha` or `adapt_vision`, and
                `examples` (batches with labels) for `"relevant"` layers.

        Returns:
            [`LeamlForVisualQA`]: gives the base's logits, bit for bit, until it is trained.

        Raises:
            [`LeamlInputError`]: if the model can't be found or a layer does not exist.
        """
        if not isinstance(model, PreTrainedModel):
            name = resolve_base_path(str(model))
            is_leaml = load_config(name, revision).model_type == LeamlConfig.model_type
            loader = cls.from_pretrained if is_leaml else load_image_text_backbone
            quantized = {} if quantization_config is None else {"quantization_config": quantization_config}
            loaded = loader(name, revision=revision, dtype=dtype, **quantized)
            names = {"base_name_or_path": str(model), "base_revision": revision}
        else:
            loaded, names = model, {"base_name_or_path": model.config._name_or_path or None}
        fusion_layers, decoder_layers = split_layer_names(fusion_layers)
        places = {"decoder_layers": decoder_layers, "vision_features": vision_features}
        if not isinstance(loaded, cls):
            loaded = cls(LeamlConfig(backbone_config=loaded.config, **places), backbone=loaded)
        elif any(places.values()):
            raise LeamlInputError("A LEAML base knows its layers by number and its picture features: leave out names.")
        loaded.attach_adapter(fusion_layers, lora_layers, lora_rank=lora_rank, **names, **options)
        return loaded

    @classmethod
    def from_backbones(
        cls,
        vision: "str | PathLike | PreTrainedModel",
        text: "str | PathLike | PreTrainedModel",
        fusion_layers: list[int] | None = None,
        lora_layers: list[int] | None = None,
        lora_rank: int = 8,
        vision_revision: str | None = None,
        text_revision: str | None = None,
        dtype: torch.dtype | str | None = None,
        **options: Any,
    ) -> "LeamlForVisualQA":
        """
        Puts a vision encoder and a causal LM together.

        Args:
            vision (`str`, `PathLike` or `PreTrainedModel`): a vision encoder, or a vision–text model whose vision part
                is taken.
            text (`str`, `PathLike` or `PreTrainedModel`): a causal LM.
            fusion_layers (`list[int]`, *optional*): decoder layers with gated cross-attention; defaults to the upper
                third.
            lora_layers (`list[int]`, *optional*): decoder layers with LoRA; defaults to the upper third.
            lora_rank (`int`, *optional*, defaults to 8): rank of LoRA.
            vision_revision (`str`, *optional*): of the encoder on the Hub.
            text_revision (`str`, *optional*): of the LM on the Hub.
            dtype (`torch.dtype` or `str`, *optional*): of both.
            options: other fields of [`LeamlConfig`]. A base to pre-train has `fusion_layers=[]`, `lora_layers=[]` and
                `bridge_layers=[...]`; its parts all require gradients.

        Returns:
            [`LeamlForVisualQA`]: gives the LM's logits, bit for bit, until it is trained.

        Raises:
            [`LeamlInputError`]: if a model can't be found or a layer does not exist.
        """
        names: dict[str, Any] = {"vision_revision": vision_revision, "text_revision": text_revision}
        if isinstance(text, PreTrainedModel):
            names["text_name_or_path"] = text.config._name_or_path or None
        else:
            names["text_name_or_path"] = str(text)
            text, names["text_source"] = load_text_backbone(str(text), text_revision, dtype=dtype)
        if isinstance(vision, PreTrainedModel):
            names["vision_name_or_path"] = vision.config._name_or_path or None
            vision = vision_encoder(vision)
        else:
            names["vision_name_or_path"] = str(vision)
            vision = load_vision_backbone(str(vision), vision_revision, dtype=dtype)
        base_fields = ("bridge_", "resampler_", "reader_", "letters", "connector_config", "num_vision_tokens")
        base_options = {key: options.pop(key) for key in list(options) if key.startswith(base_fields)}
        config = LeamlConfig(text_config=text.config, vision_config=vision.config, **names, **base_options)
        model = cls(config, backbone=text, vision_tower=vision)
        if fusion_layers != [] or lora_layers != []:
            model.attach_adapter(fusion_layers, lora_layers, lora_rank=lora_rank, **options)
        elif options:
            raise LeamlInputError(
                f"{sorted(options)[0]} is for adapters: leave it out for a base without fusion and LoRA layers."
            )
        return model.eval()

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | PathLike, *model_args: Any, **kwargs: Any
    ) -> "LeamlForVisualQA":
        """
        Loads a LEAML adapter with the base it names, or a LEAML base.

        Args:
            pretrained_model_name_or_path (`str` or `PathLike`): a folder, Hub id, or the name of a shipped base.
            base (`str`, `PathLike` or `PreTrainedModel`, *optional*): the base, if it is not where the adapter's
                configuration says.
            vision (`str` or `PreTrainedModel`, *optional*): the same for the vision encoder.
            text (`str` or `PreTrainedModel`, *optional*): the same for the causal LM.
            kwargs: `revision`, `token`, `cache_dir`, `local_files_only` and `subfolder` for the Hub; `dtype`,
                `device_map`, `attn_implementation` and `quantization_config` for the backbone.

        Returns:
            [`LeamlForVisualQA`]: in evaluation mode, with the logits it was saved with; only its adapter requires
                gradients.

        Raises:
            [`LeamlInputError`]: if a file is missing, damaged or does not fit, or if the base is another one.
        """
        return load_model(cls, str(pretrained_model_name_or_path), **kwargs)

    def save_pretrained(
        self,
        save_directory: str | PathLike,
        is_main_process: bool = True,
        state_dict: dict[str, torch.Tensor] | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """
        Saves the adapter (never the base), or, without an adapter, the base (never the causal LM).

        Args:
            save_directory (`str` or `PathLike`): made if it is not there.
            is_main_process (`bool`, *optional*, defaults to `True`): whether this process writes.
            state_dict (`dict[str, torch.Tensor]`, *optional*): the model's tensors, if they had to be gathered.
            push_to_hub (`bool`, *optional*, defaults to `False`): whether to upload the folder afterwards.
            kwargs: for `push_to_hub`; `repo_id` defaults to the folder's name.

        Raises:
            [`LeamlInputError`]: if the base has no name to find it by again, or a tensor holds NaN or infinity.
        """
        if is_main_process:
            save_model(self, str(save_directory), state_dict)
        if push_to_hub:
            repo_id = kwargs.pop("repo_id", None) or Path(save_directory).name
            self.push_to_hub(repo_id, **{key: kwargs[key] for key in PUSH_OPTIONS if key in kwargs})

    def push_to_hub(
        self,
        repo_id: str,
        private: bool | None = None,
        revision: str | None = None,
        token: str | None = None,
        base: str | None = None,
        commit_message: str | None = None,
    ) -> str:
        """
        Uploads what `save_pretrained` writes, a card, and the modules that load it without leaml_hf. The processor has
        a `push_to_hub` of its own; a folder with both and the figures goes up by [`~leaml_hf.hub.publish.publish`].

        Args:
            repo_id (`str`): `"name"` or `"owner/name"`; made if it is not there.
            private (`bool`, *optional*): whether a new repo is private.
            revision (`str`, *optional*): branch; made if it is not there.
            token (`str`, *optional*): defaults to `HF_TOKEN`, or that of `hf auth login`.
            base (`str`, *optional*): Hub id of the adapter's base, where it is not known by one yet.
            commit_message (`str`, *optional*): of the commit.

        Returns:
            `str`: address of the repo.

        Raises:
            [`LeamlError`]: if the Hub refused, or the upload broke off.
        """
        publishing = importlib.import_module("leaml_hf.hub.publish")  # not part of the code for trust_remote_code
        with tempfile.TemporaryDirectory() as folder:
            save_model(self, folder)
            return publishing.publish(folder, repo_id, private, revision, token, base, commit_message)["url"]

    def attach_adapter(
        self,
        fusion_layers: list[int] | str | None = None,
        lora_layers: list[int] | str | None = None,
        examples: Iterable[dict[str, torch.Tensor]] | None = None,
        **options: Any,
    ) -> None:
        """
        Lays a new, closed adapter on this base and freezes the base.

        Args:
            fusion_layers (`list[int]` or `str`, *optional*): decoder layers with gated cross-attention, or
                `"relevant"`; defaults to the upper third.
            lora_layers (`list[int]` or `str`, *optional*): decoder layers with LoRA, or `"relevant"`; defaults to the
                upper third.
            examples (`Iterable[dict]`, *optional*): batches with labels, by which `"relevant"` layers are found.
            options: other fields of [`LeamlConfig`] about the adapter.

        Raises:
            [`LeamlInputError`]: if there is an adapter already, or a value is wrong.
        """
        if self.config.has_adapter:
            raise LeamlInputError("This model has an adapter already: load its base and lay the new adapter on that.")
        width = default_fusion_dim(self.hidden_size)
        defaults = {"fusion_dim": width, "fusion_heads": max(1, width // 64), "fusion_ffn_dim": width}
        rules = {None: lambda: upper_third(self.num_layers), RELEVANT: cache(lambda: relevant_third(self, examples))}
        fields = {field.name: getattr(self.config, field.name) for field in dataclass_fields(LeamlConfig)}
        fields |= defaults | options
        for name, layers in (("fusion_layers", fusion_layers), ("lora_layers", lora_layers)):
            if isinstance(layers, str) and layers != RELEVANT:
                raise LeamlInputError(f"{name} must be layer numbers or {RELEVANT!r}, but got {layers!r}.")
            fields[name] = rules[layers]() if layers is None or layers == RELEVANT else layers
        self.config = LeamlConfig(**fields)
        if self.backbone.dtype != torch.float32:
            self.config.dtype = self.backbone.dtype  # loaded in it again, so that the logits are the same
        self._build_adapter()

    def _build_adapter(self) -> None:
        config = self.config
        for name in ("fusion_layers", "lora_layers"):
            check_layers(name, getattr(config, name), self.num_layers)
        if config.base_fingerprint is None and self.backbone.device.type != "meta":
            config.base_fingerprint = self.fingerprint()
        self.fusion = self._fused_layers("fusion").to(self.backbone.device)
        targets = decoder_lora_modules(self, self.layers_path, config.lora_layers, config.lora_targets)
        parts = [*(["resampler.", "bridge."] if config.adapt_bridge else []),
                 *(VISION_HALF if config.adapt_vision else [])]  # fmt: skip
        if parts:
            targets += lower_lora_modules(self, tuple(parts), config.vision_lora_targets)
        if config.adapt_reading:
            targets += reading_lora_modules(self)
        if targets:
            self._add_lora(targets)
        self.freeze_base()
        self.eval()

    def _add_lora(self, targets: list[str]) -> None:
        config = self.config
        inject_lora(self, targets, config.lora_rank, config.lora_alpha, config.lora_dropout, self.adapter_name)

    def _fused_layers(self, part: str) -> nn.ModuleDict:
        config = self.config
        layers = getattr(config, f"{part}_layers")
        check_layers(f"{part}_layers", layers, self.num_layers)
        dim, heads, ffn_dim = (getattr(config, f"{part}_{key}") for key in ("dim", "heads", "ffn_dim"))
        return nn.ModuleDict(
            {str(i): GatedCrossAttention(self.hidden_size, self.vision_size, dim, heads, ffn_dim) for i in layers}
        )

    def base_parts(self) -> list[nn.Module]:
        """
        The modules that belong to the base.

        Returns:
            `list[nn.Module]`: vision encoder, connector, resampler, bridge, readers of names and letters, pointer
                (composed models only) and backbone.
        """
        parts = (self.vision_tower, self.connector, self.resampler, self.bridge, self.reader, self.letters,
                 self.pointer, self.backbone)  # fmt: skip
        return [part for part in parts if part is not None]

    def fingerprint(self) -> str:
        """
        Tells this model's base from others.

        Returns:
            `str`: see [`~leaml_hf.adapters.base_fingerprint`].
        """
        return base_fingerprint(*self.base_parts())

    def freeze_base(self) -> None:
        """Lets only the active adapter (LoRA and fusion) require gradients, less what has learnt to read."""
        frozen = VISION_HALF if self.config.adapt_reading and not self.config.adapt_vision else ()
        for name, parameter in self.named_parameters():
            is_trained = is_adapter_tensor(name, self.adapter_name) and not name.startswith(frozen)
            parameter.requires_grad_(is_trained)

    def add_reading(self) -> None:
        """Puts LoRA into the vision half, which changes nothing yet, and lets that alone require gradients, until
        [`~LeamlForVisualQA.freeze_base`] lets all else of the adapter do so."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self._add_lora(reading_lora_modules(self))
        self.config.adapt_reading = True
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(is_adapter_tensor(name, self.adapter_name) and name.startswith(VISION_HALF))

    def reading_state(self) -> dict[str, torch.Tensor]:
        """
        What the vision half has learnt to read with.

        Returns:
            `dict[str, Tensor]`: the tensors themselves, by name; empty without [`~LeamlForVisualQA.add_reading`].
        """
        own = adapter_state_dict(dict(self.named_parameters()), self.adapter_name) if self.config.adapt_reading else {}
        return {name: tensor for name, tensor in own.items() if name.startswith(VISION_HALF)}

    def set_reading(self, values: dict[str, torch.Tensor]) -> None:
        """
        Lets the vision half read as another one with the same base did.

        Args:
            values (`dict[str, Tensor]`): of [`~LeamlForVisualQA.reading_state`]; empty for the base's own reading.

        Raises:
            [`LeamlInputError`]: if they do not fit.
        """
        if values and not self.config.adapt_reading:
            self.add_reading()
            self.freeze_base()
        elif self.config.adapt_reading and not values:
            self.drop_reading()
        load_tensors(self.reading_state(), values, "What another adapter reads with")

    def drop_reading(self) -> None:
        """Takes the LoRA of [`~LeamlForVisualQA.add_reading`] out again."""
        remove_lora(self, self.adapter_name, VISION_HALF)
        self.config.adapt_reading = False

    def train(self, mode: bool = True) -> "LeamlForVisualQA":
        """
        Switches to training; a frozen vision encoder, and frozen batch norms wherever they are, stay in evaluation
        mode: batch statistics must not move.

        Args:
            mode (`bool`, *optional*, defaults to `True`): training or evaluation.

        Returns:
            [`LeamlForVisualQA`]: itself.
        """
        super().train(mode)
        for part in (self.vision_tower, self.connector):
            own = () if part is None else (p for name, p in part.named_parameters() if ".lora_" not in name)
            if part is not None and not any(parameter.requires_grad for parameter in own):
                part.eval()
        for module in self.backbone.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and not any(
                p.requires_grad for p in module.parameters()
            ):
                module.eval()
        return self

    def merge_adapter(self) -> dict[str, int]:
        """
        Adds LoRA into the weights below it; gates stay as they are.

        Returns:
            `dict[str, int]`: `changed` and `expected` weights.

        Raises:
            [`LeamlInputError`]: if a weight that had to change did not.
        """
        return merge_lora(self, self.adapter_name)

    def unmerge_adapter(self) -> None:
        """Takes merged LoRA out of the weights again."""
        unmerge_lora(self)

    def num_added_parameters(self) -> dict[str, float]:
        """
        Counts parameters by part.

        Returns:
            `dict[str, float]`: `vision_encoder`, `connector`, `resampler`, `bridge`, `reader`, `letters`, `pointer`,
                `language_model` (of an existing image-text-to-text model: all of it), `lora`, `fusion`, `ood` (values
                that the reliability module keeps), `lexicon` (of the letters that it learnt), `base`, `added`, and
                `percent` (100 * added / base).
        """
        return count_parameters(self)

    def print_trainable_parameters(self) -> None:
        """Prints how many parameters require gradients, as PEFT does."""
        counts = [(p.numel(), p.requires_grad) for p in self.parameters()]
        trainable, total = sum(n for n, needs_grad in counts if needs_grad), sum(n for n, _ in counts)
        print(f"trainable params: {trainable:,} || all params: {total:,} || trainable%: {100 * trainable / total:.4f}")
