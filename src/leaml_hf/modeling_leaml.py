"""LeamlForVisualQA: a frozen backbone with gated cross-attention and LoRA in chosen decoder layers.

Two kinds of backbone:
- composed: a vision encoder and a causal LM; vision enters through gated cross-attention alone;
- an existing image-text-to-text model; the gated path is added to what it does by itself.
The fused layers hang on the decoder's layers as hooks, so no parameter of a backbone changes its name.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel
from transformers.generation import GenerationMixin
from transformers.loss.loss_utils import ForCausalLMLoss
from transformers.modeling_outputs import ModelOutput

from .answering import AnsweringMixin
from .backbones import (
    decoder_hidden_size,
    decoder_layers,
    find_decoder,
    lower_hidden_states,
    module_path,
)
from .building import BuildingMixin
from .calls import ChosenPlaces, VisionCall, tokens_asked
from .configuration_leaml import LeamlConfig
from .errors import LeamlInputError
from .fusion import AnswerCopy, GatedCrossAttention
from .letters import AnswerPointer, LetterReader
from .name_reader import NameReader
from .resampler import QuestionResampler
from .running import RunningMixin, evaluating
from .switching import SwitchingMixin
from .vision_features import (
    encoder_states,
    find_image_features,
    image_feature_size,
    picture_texture,
    square_grid,
    vision_encoder,
    vision_hidden_size,
)


@dataclass
class LeamlOutput(ModelOutput):
    """
    Output of [`LeamlForVisualQA`].

    Args:
        loss (`torch.Tensor`): cross-entropy over the labels, in nats; only with labels.
        logits (`torch.Tensor`): `[B, T, V]`, `[B, logits_to_keep, V]`, or `[n, V]` of n chosen places.
        past_key_values (`Cache`): of the decoder; only with `use_cache`.
        last_hidden_state (`torch.Tensor`): `[B, T, D]` after the decoder's final norm; where places were chosen, 0 for
            tokens that they do not depend on.
        vision_states (`torch.Tensor`): `[P, N, Dv]`; `None` for text alone.
        gates (`dict[str, torch.Tensor]`): `[B, T, G]` by fused layer (`"bridge.3"`, `"fusion.5"`); only with
            `output_attentions`.
        cross_attentions (`dict[str, torch.Tensor]`): `[B, heads, T, N]` by fused layer; only with `output_attentions`.
        looked (`torch.Tensor`): `[B, N]` where each row's question looked; only of a base with a resampler.
        spelled (`torch.Tensor`): `[B, S, De]` unit vectors, the answer as the resampler spells it, where it does.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    past_key_values: Any = None
    last_hidden_state: torch.Tensor | None = None
    vision_states: torch.Tensor | None = None
    gates: dict[str, torch.Tensor] | None = None
    cross_attentions: dict[str, torch.Tensor] | None = None
    looked: torch.Tensor | None = None
    spelled: torch.Tensor | None = None


def answer_places(labels: torch.Tensor) -> torch.Tensor:
    """
    Where a model tells the tokens of the answers, one place before each; give it as `logits_to_keep` to save the
    others' logits.

    Args:
        labels (`torch.Tensor`): `[B, T]`, -100 where there is no target.

    Returns:
        `torch.Tensor`: `[B, T]` bool.
    """
    return F.pad(labels[:, 1:] != -100, (0, 1))


class LeamlForVisualQA(BuildingMixin, RunningMixin, SwitchingMixin, AnsweringMixin, PreTrainedModel, GenerationMixin):
    """
    A vision–language model with a LEAML adapter, or a base for one.

    Made by [`~LeamlForVisualQA.from_backbone`], [`~LeamlForVisualQA.from_backbones`] or
    [`~LeamlForVisualQA.from_pretrained`]. Until trained, it gives exactly the logits of what it stands on.

    Args:
        config ([`LeamlConfig`]): what to build.
        backbone (`PreTrainedModel`, *optional*): the causal LM or image-text-to-text model; defaults to one with
            random weights.
        vision_tower (`PreTrainedModel`, *optional*): the vision encoder; defaults to one with random weights.
    """

    config: LeamlConfig
    main_input_name = "input_ids"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True

    def __init__(
        self,
        config: LeamlConfig,
        backbone: PreTrainedModel | None = None,
        vision_tower: PreTrainedModel | None = None,
    ) -> None:
        super().__init__(config)
        if config.text_config is None and config.backbone_config is None:
            raise LeamlInputError("Give the configuration a backbone_config, or a text_config and a vision_config.")
        for given in (backbone, vision_tower):
            for module in given.modules() if given is not None else ():
                module._is_hf_initialized = True  # its weights stay as they are in post_init
        if config.is_composed:
            self.backbone = backbone or AutoModelForCausalLM.from_config(config.text_config)
            self.vision_tower = vision_tower or vision_encoder(AutoModel.from_config(config.vision_config))
        else:
            self.backbone = backbone or AutoModelForImageTextToText.from_config(config.backbone_config)
            self.vision_tower = None
        decoder = find_decoder(self.backbone, config.decoder_layers)
        self.layers_path = module_path(self, decoder_layers(decoder))
        self.num_layers = len(decoder_layers(decoder))
        self.hidden_size = decoder_hidden_size(self.backbone, decoder)
        self.features_path = None if config.is_composed else find_image_features(self.backbone, config.vision_features)
        # Eager attention: a base is for machines without a GPU, where it is the fastest at some 200 tokens.
        self.connector = config.connector_config and AutoModel.from_config(
            config.connector_config, add_pooling_layer=False, attn_implementation="eager"
        )
        self.resampler = None
        if config.resampler_layers:
            self.resampler = QuestionResampler(
                self.get_input_embeddings().embedding_dim,
                self.vision_size,
                config.resampler_layers,
                config.resampler_heads,
                config.resampler_ffn_dim,
                config.resampler_max_tokens,
                config.resampler_answer_tokens,
            )
        self.bridge = self._fused_layers("bridge")
        if config.resampler_answer_tokens:
            width = self.get_input_embeddings().embedding_dim
            self.bridge["copy"] = AnswerCopy(width, config.resampler_answer_tokens)
        self.reader = None
        if config.reader_dim:
            self.reader = NameReader(self.vision_size, config.reader_dim, config.reader_ffn_dim)
        self.letters = self.pointer = None
        if config.letters:
            cells = vision_hidden_size(config.vision_config)
            self.letters = LetterReader(cells, config.letters_dim, len(config.letters), config.letters_slots)
            self.pointer = AnswerPointer(self.vision_size, config.letters_pointer_dim)
        self.fusion = nn.ModuleDict()
        self.shelved_fusion = nn.ModuleDict()  # of adapters that are loaded but not active
        self._shelf = {}
        self.reliability = None
        self.phrasebook = None
        self.lexicon = None
        self.retrieval = None
        self._grid: tuple[int, int] | None = None
        self._lower_states_checked = False
        decoder.register_forward_hook(self._leave_decoder)
        for number, layer in enumerate(decoder_layers(decoder)):
            layer.register_forward_pre_hook(partial(self._fuse, str(number)), with_kwargs=True)
        if (head := self.get_output_embeddings()) is not None:
            head.register_forward_pre_hook(self._enter_head)
        self.post_init()
        if config.has_adapter:
            self._build_adapter()

    @property
    def vision_size(self) -> int:
        """`int`: width Dv of the vision states that the fused layers see."""
        if not self.config.is_composed:
            return image_feature_size(self.backbone, self.features_path) or self.hidden_size
        return vision_hidden_size(self.config.connector_config or self.config.vision_config)

    @property
    def decoder(self) -> nn.Module:
        """`nn.Module`: the part of the backbone that holds the decoder layers."""
        return self.get_submodule(self.layers_path.rpartition(".")[0])

    @property
    def first_adapted_layer(self) -> int:
        """`int`: the lowest decoder layer with bridge, fusion or LoRA."""
        return self.config.first_adapted_layer

    def get_input_embeddings(self) -> nn.Module:
        """
        The backbone's token embeddings.

        Returns:
            `nn.Module`.
        """
        return self.backbone.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module:
        """
        The backbone's output head.

        Returns:
            `nn.Module`.
        """
        return self.backbone.get_output_embeddings()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, GatedCrossAttention | AnswerCopy):  # gates closed, whatever the base class would draw
            module.reset_parameters()

    def _set_gradient_checkpointing(
        self, enable: bool = True, gradient_checkpointing_func: Any = checkpoint, **kwargs: Any
    ) -> None:
        def checkpoint_within_call(function: Any, *args: Any, **inner: Any) -> Any:
            call = self._call

            def run(*run_args: Any, **run_kwargs: Any) -> Any:
                with self._during(call):  # the backward pass runs this again, after the forward pass has ended
                    return function(*run_args, **run_kwargs)

            return gradient_checkpointing_func(run, *args, **inner)

        super()._set_gradient_checkpointing(enable, checkpoint_within_call, **kwargs)

    def encode_vision(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """
        Vision states of pictures (composed models).

        Args:
            pixel_values (`torch.Tensor`): `[P, 3, H, W]` as the processor makes them.

        Returns:
            `torch.Tensor`: `[P, N, Dv]`; class and register tokens are left out.

        Raises:
            [`LeamlInputError`]: as [`~LeamlForVisualQA.encode_cells`].
        """
        return self.encode_cells(pixel_values)[1]

    def encode_pictures(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """
        Vision states, textures and cells of pictures (composed models).

        Args:
            pixel_values (`torch.Tensor`): `[P, 3, H, W]` as the processor makes them.

        Returns:
            `tuple`: states `[P, N, Dv]`, class and register tokens left out; textures `[P, Dt]` of what the vision
                encoder's first stages or layers say, see `picture_texture`; and, of a base that reads letters, the
                encoder's states `[P, h, w, Dt]`, in which they are read, else `None`.

        Raises:
            [`LeamlInputError`]: as [`~LeamlForVisualQA.encode_cells`].
        """
        cells, states, output = self.encode_cells(pixel_values)
        texture = picture_texture(output.get("hidden_states") or [output.last_hidden_state])
        return states, texture, None if self.letters is None else cells

    def encode_cells(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, ModelOutput]:
        """
        What the vision encoder of a composed model leaves behind, and what its connector makes of it.

        Args:
            pixel_values (`torch.Tensor`): `[P, 3, H, W]` as the processor makes them.

        Returns:
            `tuple`: the encoder's states `[P, h, w, Dt]`, vision states `[P, N, Dv]`, and the encoder's output.

        Raises:
            [`LeamlInputError`]: for an existing image-text-to-text model, which keeps its vision states to itself.
        """
        if not self.config.is_composed:
            raise LeamlInputError(
                "encode_vision is for composed models: give pixel_values to forward() or generate() instead."
            )
        pixels = pixel_values.to(self.vision_tower.dtype).contiguous(memory_format=torch.channels_last)
        output = self.vision_tower(pixel_values=pixels, output_hidden_states=True)
        states, self._grid = encoder_states(output, self.config.vision_config, pixel_values.shape[-2:])
        cells = states.unflatten(1, self._grid)  # [P, h, w, Dt]
        if self.connector is not None:
            seen = self.connector(pixel_values=cells.permute(0, 3, 1, 2).to(self.connector.dtype))
            states, self._grid = encoder_states(seen, self.config.connector_config, self._grid)
        return cells, states, output

    def vision_grid(self, num_tokens: int) -> tuple[int, int]:
        """
        How vision tokens lie over the picture.

        Args:
            num_tokens (`int`): vision tokens N of a picture.

        Returns:
            `tuple[int, int]`: rows and columns; one row if nothing else is known.
        """
        grid = self._grid
        return grid if grid is not None and grid[0] * grid[1] == num_tokens else square_grid(num_tokens)

    @torch.no_grad()
    def encode_lower(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """
        Hidden states that enter layer `first_adapted_layer`: they depend on the text alone and never change in
        training.

        Args:
            input_ids (`torch.Tensor`): `[B, T]`.
            attention_mask (`torch.Tensor`, *optional*): `[B, T]`, 0 where padded; defaults to ones.

        Returns:
            `torch.Tensor`: `[B, T, D]`, for `forward(lower_states=...)`.

        Raises:
            [`LeamlInputError`]: for an existing image-text-to-text model, or a decoder that can't be run in two parts.
        """
        if not self.config.is_composed:
            raise LeamlInputError(
                "encode_lower is for composed models: an image-text-to-text model mixes the picture into its text."
            )
        if not self._lower_states_checked:
            self._check_lower_states(input_ids[:1], None if attention_mask is None else attention_mask[:1])
        return lower_hidden_states(self.decoder, self.first_adapted_layer, input_ids, attention_mask)

    @torch.no_grad()
    def read_questions(
        self, question_ids: torch.Tensor, question_mask: torch.Tensor, vision_states: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """
        What questions read in pictures, which never changes in training unless the bridge is adapted.

        Args:
            question_ids (`torch.Tensor`): `[B, Tq]`, as in `forward`.
            question_mask (`torch.Tensor`): `[B, Tq]`.
            vision_states (`torch.Tensor`): `[B, N, Dv]`.

        Returns:
            `dict[str, torch.Tensor]`: for `forward`, `question_states` `[B, Tq, Dv]` and, of a base that spells
                answers, `spelled` `[B, S, De]`.

        Raises:
            [`LeamlInputError`]: for a base without a resampler.
        """
        if self.resampler is None:
            raise LeamlInputError("read_questions is for bases with a resampler: give vision_states to forward().")
        call = self._new_call(None, None, vision_states, None, question_ids, question_mask)
        return {"question_states": call.states} | ({} if call.spelled is None else {"spelled": call.spelled})

    def _check_lower_states(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None) -> None:
        decoder = self.decoder
        lower = lower_hidden_states(decoder, self.first_adapted_layer, input_ids, attention_mask)
        with evaluating(self):  # dropout would differ
            whole = self(input_ids, attention_mask).last_hidden_state
            parts = self(input_ids, attention_mask, lower_states=lower).last_hidden_state
        if not torch.allclose(whole, parts, rtol=1e-2, atol=1e-2 * float(whole.abs().max())):
            raise LeamlInputError(
                f"A {self.config.text_config.model_type} decoder does more to its embeddings than hand them to its "
                "layers: leave out lower_states, so that all layers run."
            )
        self._lower_states_checked = True

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        vision_states: torch.Tensor | None = None,
        vision_index: torch.Tensor | None = None,
        question_ids: torch.Tensor | None = None,
        question_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        lower_states: torch.Tensor | None = None,
        vision_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool = False,
        logits_to_keep: int | torch.Tensor = 0,
        output_attentions: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
        example_tokens: torch.Tensor | None = None,
        question_states: torch.Tensor | None = None,
        spelled: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> LeamlOutput:
        """
        One pass.

        Args:
            input_ids (`torch.Tensor`, *optional*): `[B, T]`; not needed with `lower_states`.
            attention_mask (`torch.Tensor`, *optional*): `[B, T]` (with a cache: `[B, past + T]`), 0 where padded.
            pixel_values (`torch.Tensor`, *optional*): `[P, 3, H, W]`, or what the existing model's processor makes.
            vision_states (`torch.Tensor`, *optional*): `[P, N, Dv]` from `encode_vision`, instead of `pixel_values`.
            vision_index (`torch.Tensor`, *optional*): `[B]` picture of each row; defaults to row b and picture b.
            question_ids (`torch.Tensor`, *optional*): `[B, Tq]` tokens of the questions alone, padded on the right;
                for a base with a resampler, whose processor makes them.
            question_mask (`torch.Tensor`, *optional*): `[B, Tq]`, 0 where padded; defaults to ones.
            labels (`torch.Tensor`, *optional*): `[B, T]`, -100 where there is no target.
            lower_states (`torch.Tensor`, *optional*): `[B, T, D]` from `encode_lower`, or, with `vision_states`
                `[B, N, Dv]`, `vision_mask` and `input_ids`, but no `pixel_values`, from
                [`~leaml_hf.prefix.encode_prefix`]: only the layers from there up run.
            vision_mask (`torch.Tensor`, *optional*): `[B, N]`, `False` where `vision_states` of an existing model are
                padded; defaults to no padding.
            position_ids (`torch.Tensor`, *optional*): `[B, T]`; defaults to counting the unpadded tokens.
            past_key_values (`Cache`, *optional*): of earlier passes.
            use_cache (`bool`, *optional*, defaults to `False`): whether to return a cache.
            logits_to_keep (`int` or `torch.Tensor`, *optional*, defaults to 0): logits of the last positions only; 0
                for all. Or `[B, T]` bool, n places whose logits `[n, V]` are wanted; not with labels. On a processor
                a base with a resampler then leaves padding out.
            output_attentions (`bool`, *optional*, defaults to `False`): whether to return gates and cross-attentions.
            num_items_in_batch (`torch.Tensor` or `int`, *optional*): the loss is divided by it instead of by the
                number of targets.
            example_tokens (`torch.Tensor`, *optional*): `[B]` tokens of the examples before each question; for a base
                with a resampler, whose processor makes them.
            question_states (`torch.Tensor`, *optional*): `[B, Tq, Dv]` from `read_questions`, with `question_mask`
                and its `spelled`, instead of `vision_states` and `question_ids`.
            spelled (`torch.Tensor`, *optional*): `[B, S, De]` from `read_questions`.
            kwargs: other inputs of an existing image-text-to-text model.

        Returns:
            [`LeamlOutput`].

        Raises:
            [`LeamlInputError`]: if inputs do not go together.
        """
        if lower_states is not None and (past_key_values is not None or use_cache):
            raise LeamlInputError(
                "lower_states is for passes without a cache: leave out use_cache and past_key_values."
            )
        chosen = logits_to_keep if isinstance(logits_to_keep, torch.Tensor) else None
        if chosen is not None and labels is not None:
            raise LeamlInputError("The loss of labels needs all logits: leave out the places in logits_to_keep.")
        if question_states is not None:
            if self.resampler is None or question_mask is None:
                raise LeamlInputError(
                    "question_states are for bases with a resampler, and go with their question_mask."
                )
            call = VisionCall(
                states=question_states,
                mask=question_mask.bool(),
                spelled=spelled,
                asked=tokens_asked(question_mask, example_tokens),
                record=output_attentions,
            )
        elif self.config.is_composed or lower_states is None:
            call = self._new_call(
                input_ids,
                pixel_values,
                vision_states,
                vision_index,
                question_ids,
                question_mask,
                example_tokens=example_tokens,
                record=output_attentions,
            )
        else:
            call = self._prefix_call(input_ids, pixel_values, vision_states, vision_mask, record=output_attentions)
        call.chosen = None if chosen is None else ChosenPlaces.of(chosen)
        decodes = self.backbone.config.is_encoder_decoder  # its labels are what the decoder reads, one place later
        if decodes and labels is not None:
            kwargs["labels"] = labels
        cached = {"past_key_values": past_key_values, "use_cache": use_cache}
        output = self._run(
            call,
            input_ids,
            attention_mask,
            pixel_values,
            lower_states,
            position_ids,
            0 if chosen is not None else logits_to_keep,
            **cached,
            **kwargs,
        )
        logits = output.logits
        if chosen is not None:
            logits = call.chosen_logits(logits)
        loss = None
        if labels is not None:
            targets = labels[:, -logits_to_keep:] if logits_to_keep else labels
            loss = ForCausalLMLoss(
                # Some models give logits for the picture before those for the text.
                output.logits[:, -targets.shape[1] :].contiguous(),
                targets,
                vocab_size=output.logits.shape[-1],
                num_items_in_batch=num_items_in_batch,
                shift_labels=targets if decodes else None,
            )
        return LeamlOutput(
            loss=loss,
            logits=logits,
            past_key_values=output.get("past_key_values"),
            last_hidden_state=call.last_hidden_state,
            vision_states=call.states if call.picture_states is None else call.picture_states,
            gates=call.gates if output_attentions else None,
            cross_attentions=call.attentions if output_attentions else None,
            looked=call.looked,
            spelled=call.spelled,
        )

    @torch.no_grad()
    def generate(
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        vision_states: torch.Tensor | None = None,
        vision_index: torch.Tensor | None = None,
        question_ids: torch.Tensor | None = None,
        question_mask: torch.Tensor | None = None,
        example_tokens: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """
        Generates with the backbone's own `generate`; pictures are encoded once.

        Args:
            input_ids (`torch.Tensor`): `[B, T]`, padded on the left.
            pixel_values (`torch.Tensor`, *optional*): as in `forward`.
            vision_states (`torch.Tensor`, *optional*): as in `forward`.
            vision_index (`torch.Tensor`, *optional*): as in `forward`.
            question_ids (`torch.Tensor`, *optional*): as in `forward`.
            question_mask (`torch.Tensor`, *optional*): as in `forward`.
            example_tokens (`torch.Tensor`, *optional*): as in `forward`.
            kwargs: everything else for `GenerationMixin.generate`.

        Returns:
            `torch.Tensor` `[B, T + new tokens]`, or what `return_dict_in_generate` asks for.
        """
        call = self._new_call(
            input_ids,
            pixel_values,
            vision_states,
            vision_index,
            question_ids,
            question_mask,
            example_tokens=example_tokens,
            keep_key_values=True,
        )
        return self._generate(call, input_ids, pixel_values, **kwargs)

    def _generate(
        self, call: VisionCall, input_ids: torch.Tensor, pixel_values: torch.Tensor | None, **kwargs: Any
    ) -> Any:
        if not self.config.is_composed and pixel_values is not None:
            kwargs["pixel_values"] = pixel_values
        with self._during(call), self._capture(call, input_ids, pixel_values):
            return self.backbone.generate(input_ids=input_ids, **kwargs)
