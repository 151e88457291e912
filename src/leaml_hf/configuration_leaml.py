"""Configuration of a LEAML model: which backbone it stands on, and what is added to it where."""

from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig
from transformers.configuration_utils import PreTrainedConfig, SubConfigSpec

from .errors import LeamlInputError

FORMAT = 1  # of what is saved; a version that changes what it means counts up
MOST = 2**20  # for all that takes memory


def _chosen(config: PreTrainedConfig, name: str) -> dict[str, Any]:
    """What a configuration and its parts have chosen under a name, in the form in which it can be set again."""
    parts = {key: getattr(config, key, None) for key in config.sub_configs}
    own = {"": getattr(config, f"_{name}_internal", None)}
    return own | {key: _chosen(part, name) for key, part in parts.items() if isinstance(part, PreTrainedConfig)}


@strict
class LeamlConfig(PreTrainedConfig):
    r"""
    Configuration of a [`LeamlForVisualQA`].

    A LEAML model stands either on a vision encoder and a causal LM (*composed*: `text_config` and `vision_config`), or
    on an existing image-text-to-text model (`backbone_config`). A model without LoRA and without fusion layers is a
    *base*.

    Args:
        text_config (`PreTrainedConfig` or `dict`, *optional*): of the causal LM of a composed model.
        vision_config (`PreTrainedConfig` or `dict`, *optional*): of the vision encoder of a composed model.
        backbone_config (`PreTrainedConfig` or `dict`, *optional*): of an existing image-text-to-text model.
        base_name_or_path (`str`, *optional*): the LEAML base or the image-text-to-text model that an adapter belongs
            to.
        base_revision (`str`, *optional*): its revision on the Hub.
        base_repo (`str`, *optional*): Hub id of a base that `base_name_or_path` calls by the name of a shipped one,
            for installations without it.
        text_name_or_path (`str`, *optional*): where the causal LM comes from.
        text_revision (`str`, *optional*): its revision on the Hub.
        text_source (`str`, *optional*): `"package"`, `"hub"` or `"folder"`: which of its sources was used.
        text_fingerprint (`str`, *optional*): of the LM that a LEAML base was trained with.
        vision_name_or_path (`str`, *optional*): where the vision encoder comes from, unless it belongs to a LEAML
            base.
        vision_revision (`str`, *optional*): its revision on the Hub.
        base_fingerprint (`str`, *optional*): of everything frozen that an adapter was trained on.
        bridge_layers (`list[int]`, *optional*, defaults to `[]`): decoder layers with a trained, frozen bridge (of a
            LEAML base).
        bridge_dim (`int`, *optional*, defaults to 256): inner width of the bridge's attention.
        bridge_heads (`int`, *optional*, defaults to 4): heads of the bridge's attention.
        bridge_ffn_dim (`int`, *optional*, defaults to 512): inner width of the bridge's feed-forward; 0 for none.
        connector_config (`PreTrainedConfig` or `dict`, *optional*): of a ViT with patch size 1 over the vision
            encoder's cells, part of a LEAML base: it lets far parts of a picture see each other.
        resampler_layers (`int`, *optional*, defaults to 0): layers of the question-aware resampler of a LEAML base,
            through which questions read pictures before the bridge hands on what they found; 0 for none.
        resampler_heads (`int`, *optional*, defaults to 4): heads of its attention.
        resampler_ffn_dim (`int`, *optional*, defaults to 768): inner width of its feed-forward.
        resampler_max_tokens (`int`, *optional*, defaults to 32): tokens of a question that it reads at most.
        resampler_answer_tokens (`int`, *optional*, defaults to 0): tokens of the answer that it spells and the decoder
            may copy; 0 for none.
        reader_dim (`int`, *optional*, defaults to 0): width of the codes of names that a LEAML base reads in pictures,
            for out-of-distribution scores; 0 for none.
        reader_ffn_dim (`int`, *optional*, defaults to 384): inner width of what reads them.
        letters (`str`, *optional*, defaults to `""`): characters that a LEAML base tells apart in pictures, for an
            adapter's lexicon; none for a base that does not read letters. Needs a resampler.
        letters_dim (`int`, *optional*, defaults to 256): inner width of what tells them.
        letters_slots (`int`, *optional*, defaults to 3): characters told within one cell of the vision encoder.
        letters_pointer_dim (`int`, *optional*, defaults to 128): width of what points to answers.
        num_vision_tokens (`int`, *optional*): vision states per picture, for information.
        decoder_layers (`str`, *optional*): the backbone's list of decoder layers; defaults to finding it.
        vision_features (`str`, *optional*): the module of an existing image-text-to-text model that gives its picture
            features; defaults to finding it.
        fusion_layers (`list[int]`, *optional*, defaults to `[]`): decoder layers with the adapter's own gated
            cross-attention.
        fusion_dim (`int`, *optional*, defaults to 256): inner width of its attention.
        fusion_heads (`int`, *optional*, defaults to 4): its heads.
        fusion_ffn_dim (`int`, *optional*, defaults to 256): inner width of its feed-forward; 0 for none.
        lora_layers (`list[int]`, *optional*, defaults to `[]`): decoder layers with LoRA.
        lora_targets (`list[str]`, *optional*): names of the linear modules there; defaults to every linear module.
        lora_rank (`int`, *optional*, defaults to 8): rank of LoRA.
        lora_alpha (`int`, *optional*, defaults to 16): scale of LoRA (alpha / rank multiplies the update).
        lora_dropout (`float`, *optional*, defaults to 0.0): dropout before LoRA, in [0, 1).
        adapt_bridge (`bool`, *optional*, defaults to `False`): LoRA in resampler and bridge of a LEAML base too; what
            is below them is still computed once a picture.
        adapt_vision (`bool`, *optional*, defaults to `False`): LoRA in vision encoder and connector too (composed
            only).
        adapt_reading (`bool`, *optional*, defaults to `False`): LoRA in vision encoder (convolutions, too) and
            connector that has learnt to read the domain's letters from its questions and then stays as it is (composed
            only).
        vision_lora_targets (`list[str]`, *optional*): names of the linear modules there; defaults to every linear
            module.
        versions (`dict`, *optional*): versions of the libraries that the model was made with.
        format (`int`, *optional*, defaults to 1): of the saved model.

    Raises:
        [`LeamlInputError`]: if a value is out of range; the message names it.
    """

    model_type = "leaml"
    sub_configs_defaults: ClassVar[dict[str, SubConfigSpec]] = {
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama", optional=True),
        "vision_config": SubConfigSpec(config_class=AutoConfig, model_type="vit", optional=True),
        "backbone_config": SubConfigSpec(config_class=AutoConfig, model_type="llava", optional=True),
        "connector_config": SubConfigSpec(config_class=AutoConfig, model_type="vit", optional=True),
    }

    text_config: dict | PreTrainedConfig | None = None
    vision_config: dict | PreTrainedConfig | None = None
    backbone_config: dict | PreTrainedConfig | None = None
    connector_config: dict | PreTrainedConfig | None = None
    base_name_or_path: str | None = None
    base_revision: str | None = None
    base_repo: str | None = None
    text_name_or_path: str | None = None
    text_revision: str | None = None
    text_source: str | None = None
    text_fingerprint: str | None = None
    vision_name_or_path: str | None = None
    vision_revision: str | None = None
    base_fingerprint: str | None = None
    bridge_layers: list[int] | None = None
    bridge_dim: int = 256
    bridge_heads: int = 4
    bridge_ffn_dim: int = 512
    resampler_layers: int = 0
    resampler_heads: int = 4
    resampler_ffn_dim: int = 768
    resampler_max_tokens: int = 32
    resampler_answer_tokens: int = 0
    reader_dim: int = 0
    reader_ffn_dim: int = 384
    letters: str = ""
    letters_dim: int = 256
    letters_slots: int = 3
    letters_pointer_dim: int = 128
    num_vision_tokens: int | None = None
    decoder_layers: str | None = None
    vision_features: str | None = None
    fusion_layers: list[int] | None = None
    fusion_dim: int = 256
    fusion_heads: int = 4
    fusion_ffn_dim: int = 256
    lora_layers: list[int] | None = None
    lora_targets: list[str] | None = None
    lora_rank: int = 8
    lora_alpha: int = 16
    lora_dropout: float | int = 0.0
    adapt_bridge: bool = False
    adapt_vision: bool = False
    adapt_reading: bool = False
    vision_lora_targets: list[str] | None = None
    versions: dict[str, str] | None = None
    format: int = FORMAT
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        if self.format != FORMAT:
            raise LeamlInputError(
                f"Update leaml_hf or save the model again: config.json has format {self.format}, but this version "
                f"reads format {FORMAT}."
            )
        for name in ("bridge_layers", "fusion_layers", "lora_layers"):
            layers = getattr(self, name) or []
            if any(isinstance(layer, bool) or not isinstance(layer, int) or layer < 0 for layer in layers):
                raise LeamlInputError(f"{name} must be a list of layer numbers from 0 up, but got {layers}.")
            setattr(self, name, sorted(set(layers)))
        for name in ("lora_rank", "lora_alpha", "bridge_dim", "bridge_heads", "fusion_dim", "fusion_heads",
                     "resampler_heads", "resampler_ffn_dim", "resampler_max_tokens", "reader_ffn_dim", "letters_dim",
                     "letters_slots", "letters_pointer_dim"):  # fmt: skip
            if not 1 <= getattr(self, name) <= MOST:
                raise LeamlInputError(f"{name} must be from 1 to {MOST}, but got {getattr(self, name)}.")
        for name in ("bridge_ffn_dim", "fusion_ffn_dim", "resampler_layers", "resampler_answer_tokens", "reader_dim"):
            if not 0 <= getattr(self, name) <= MOST:
                raise LeamlInputError(f"{name} must be from 0 to {MOST}, but got {getattr(self, name)}.")
        for part in ("bridge", "fusion"):
            dim, heads = getattr(self, f"{part}_dim"), getattr(self, f"{part}_heads")
            if heads < 1 or dim % heads:
                raise LeamlInputError(f"{part}_dim must be a multiple of {part}_heads, but got {dim} and {heads}.")
        if not 0.0 <= self.lora_dropout < 1.0:
            raise LeamlInputError(f"lora_dropout must be in [0, 1), but got {self.lora_dropout}.")
        if self.backbone_config is not None and (self.text_config is not None or self.vision_config is not None):
            raise LeamlInputError(
                "Give either backbone_config or both text_config and vision_config, but not all of them: a LEAML "
                "model stands on one backbone."
            )
        if (self.text_config is None) != (self.vision_config is None):
            raise LeamlInputError("Give text_config and vision_config together: a composed model needs both.")
        for name in ("bridge_layers", "connector_config", "resampler_layers", "reader_dim", "letters", "adapt_bridge",
                     "adapt_vision", "adapt_reading"):  # fmt: skip
            if self.backbone_config is not None and getattr(self, name):
                raise LeamlInputError(f"{name} is for composed models: leave it out with backbone_config.")
        if self.resampler_answer_tokens and not (self.bridge_layers and self.resampler_layers):
            raise LeamlInputError("resampler_answer_tokens needs resampler_layers and bridge_layers: without them "
                                  "nothing spells an answer or copies it.")  # fmt: skip
        if self.letters and not self.resampler_layers:
            raise LeamlInputError("letters needs resampler_layers: without them nothing points to an answer.")
        if len(set(self.letters)) < len(self.letters):
            raise LeamlInputError(f"letters must be different characters, but got {self.letters!r}.")
        if self.adapt_bridge and not (self.bridge_layers or self.resampler_layers):
            raise LeamlInputError("adapt_bridge needs a base with a bridge: leave it out, this base has none.")
        for name in ("attn_implementation", "experts_implementation"):  # the backbones keep their own
            kwargs.setdefault(name, _chosen(self, name))
        super().__post_init__(**kwargs)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> "LeamlConfig":
        """
        Reads a saved configuration.

        Args:
            config_dict (`dict`): what `config.json` holds.
            kwargs: fields to change, as in `PreTrainedConfig.from_dict`.

        Returns:
            [`LeamlConfig`].

        Raises:
            [`LeamlInputError`]: if it is of another format, or a value can't be what it is.
        """
        fixed = [name for name in config_dict if callable(getattr(cls, name, None))]
        fixed += [
            name for name in vars(LeamlConfig).keys() & config_dict if isinstance(vars(LeamlConfig)[name], property)
        ]
        if fixed:
            raise LeamlInputError(f"Fetch or save config.json again: it is damaged (it sets {', '.join(fixed)})")
        try:
            return super().from_dict(config_dict, **kwargs)
        except LeamlInputError:
            raise
        except (StrictDataclassError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            raise LeamlInputError(f"Fetch or save config.json again: it is damaged ({error})") from error

    @property
    def is_composed(self) -> bool:
        """`bool`: whether the backbone is a vision encoder and a causal LM rather than one model for both."""
        return self.backbone_config is None

    @property
    def has_adapter(self) -> bool:
        """`bool`: whether anything trainable is laid on the base (LoRA or fusion layers)."""
        return bool(self.lora_layers or self.fusion_layers)

    @property
    def decoder_config(self) -> PreTrainedConfig:
        """`PreTrainedConfig`: of the decoder that holds the adapted layers."""
        return self.text_config if self.is_composed else self.backbone_config.get_text_config(decoder=True)

    @property
    def first_adapted_layer(self) -> int:
        """`int`: the lowest decoder layer with bridge, fusion or LoRA; the number of layers if there is none."""
        adapted = [*self.bridge_layers, *self.fusion_layers, *self.lora_layers]
        return min(adapted, default=self.decoder_config.num_hidden_layers)
