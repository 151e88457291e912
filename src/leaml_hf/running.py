"""How a pass runs: hooks lead the decoder's states through the fused layers, and only what is wanted is computed."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from .backbones import decoder_slice, position_ids_of
from .calls import VisionCall, tokens_asked
from .errors import LeamlInputError
from .fusion import add_to_streams, mean_stream
from .packing import Packing, pack_call
from .prefix import skipping_lower_layers
from .resampler import read_pictures
from .vision_features import capture_image_features, pad_image_features


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """
    Inside the `with` block a model is in evaluation mode, afterwards as it was.

    Args:
        model (`nn.Module`): such as [`LeamlForVisualQA`].
    """
    was_training = model.training
    if was_training:
        model.eval()
    try:
        yield
    finally:
        if was_training:
            model.train()


class RunningMixin:
    """
    The methods of [`LeamlForVisualQA`] that run a pass, and the hooks by which the fused layers take part in it.
    """

    _call: VisionCall | None = None
    _keeps_rows_apart: bool | None = None  # whether joined rows are to the decoder what they are one by one

    @contextmanager
    def _during(self, call: VisionCall | None) -> Iterator[None]:
        previous, self._call = self._call, call
        try:
            yield
        finally:
            self._call = previous

    def _leave_decoder(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        call = self._call
        if call is None:
            return None
        if call.last_hidden_state is None:
            call.last_hidden_state = output[0]
        if call.spelled is None:
            return None
        states, spelled, since, chosen = output.last_hidden_state, call.spelled, call.since, call.chosen
        if chosen is not None:  # each place as a row of its own
            states, since = chosen.pick(states)[:, None], chosen.pick(since)[:, None]
            spelled, call.chosen = spelled[chosen.rows], None
        elif (index := call.rows(states.shape[0])) is not None:
            spelled = spelled[index]  # [B, S, De]
        copied = self.bridge["copy"](states, spelled, since)
        output.last_hidden_state = copied if chosen is None else copied.flatten(0, 1)[None]
        return output

    def _enter_head(self, module: nn.Module, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        """Only chosen places go on, if some were chosen: as one row, since some models change their logits."""
        states, call = args[0], self._call
        if call is not None and call.chosen is not None and states.dim() == 3:
            states, call.chosen = call.chosen.pick(states)[None], None
        # A slice of the hidden states makes PyTorch copy the whole head for each row on a CPU: up to 100 times slower.
        return (states.contiguous(),)

    def _fuse(self, layer: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = self._call
        if call is None or call.states is None or (layer not in self.bridge and layer not in self.fusion):
            return None
        given = args[0] if args else kwargs["hidden_states"]  # [B, T, D], or several streams of it
        hidden_states = one = mean_stream(given, self.hidden_size, module)
        index = call.rows(hidden_states.shape[0])
        if call.spelled is not None and int(layer) == self.config.bridge_layers[0]:
            if kwargs.get("position_ids") is None:
                raise LeamlInputError(
                    f"The layers of a {self.config.text_config.model_type} decoder are not told positions, which "
                    "copying a spelt answer needs: leave out resampler_answer_tokens."
                )
            call.since = kwargs["position_ids"] + 1 - (call.asked if index is None else call.asked[index])  # [B, T]
        for part, modules in (("bridge", self.bridge), ("fusion", self.fusion)):
            if layer not in modules:
                continue
            name = f"{part}.{layer}"
            key_value = call.key_values.get(name)
            if key_value is None:
                key_value = modules[layer].key_value(call.states)
                if call.keep_key_values:
                    call.key_values[name] = key_value
            hidden_states, gates, attentions = modules[layer](
                hidden_states,
                vision_index=index,
                vision_mask=call.mask,
                key_value=key_value,
                output_attentions=call.record,
            )
            if call.record and name not in call.gates:
                call.gates[name], call.attentions[name] = gates, attentions
        if one is not given:
            hidden_states = add_to_streams(given, hidden_states - one, module)
        return ((hidden_states, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": hidden_states})

    def _run(
        self,
        call: VisionCall,
        input_ids: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        pixel_values: torch.Tensor | None = None,
        lower_states: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        logits_to_keep: int = 0,
        **kwargs: Any,
    ) -> Any:
        """The backbone's output for a call; arguments as in `forward`."""
        if call.chosen is not None and position_ids is None and self._may_pack(call, attention_mask, kwargs):
            packed = pack_call(call, attention_mask)
            if packed is not None and self._keeps_rows_apart is None:
                self._check_packing(call, packed, input_ids, attention_mask, lower_states)
            if packed is not None and self._keeps_rows_apart:
                return self._run_packed(call, packed, input_ids, lower_states)
        inputs = {"use_cache": False} | kwargs | {"attention_mask": attention_mask}
        if logits_to_keep:
            inputs["logits_to_keep"] = logits_to_keep
        slicing = nullcontext()
        if lower_states is not None and not self.config.is_composed:
            inputs["input_ids"] = input_ids
            slicing = skipping_lower_layers(self, lower_states)
        elif lower_states is not None:
            inputs["inputs_embeds"] = lower_states.to(self.get_input_embeddings().weight.dtype)
            slicing = decoder_slice(self.decoder, self.first_adapted_layer, None)
        else:
            inputs["input_ids"] = input_ids
        if self.config.is_composed:
            tokens = lower_states if input_ids is None else input_ids
            inputs["position_ids"] = position_ids_of(tokens, attention_mask) if position_ids is None else position_ids
        else:
            if pixel_values is not None:
                inputs["pixel_values"] = pixel_values
            if position_ids is not None:
                inputs["position_ids"] = position_ids
        with self._during(call), self._capture(call, input_ids, pixel_values), slicing:
            return self.backbone(**inputs)

    def _may_pack(self, call: VisionCall, attention_mask: torch.Tensor | None, options: dict[str, Any]) -> bool:
        """Whether padding may be left out: on processors, where a pass of few tokens takes as long as its products."""
        if self._keeps_rows_apart is False or self.device.type != "cpu" or call.record:
            return False
        is_plain = all(value is None or value is False for value in options.values())  # no cache, nothing unknown
        return is_plain and call.asked is not None and attention_mask is not None

    def _run_packed(
        self,
        call: VisionCall,
        packed: tuple[VisionCall, Packing, torch.Tensor],
        input_ids: torch.Tensor | None,
        lower_states: torch.Tensor | None,
    ) -> Any:
        joined, packing, positions = packed
        ids, lower = (None if values is None else packing.pack(values) for values in (input_ids, lower_states))
        output = self._run(joined, ids, None, lower_states=lower, position_ids=positions)
        call.chosen, call.last_hidden_state = joined.chosen, packing.unpack(joined.last_hidden_state)
        return output

    @torch.no_grad()
    def _check_packing(
        self,
        call: VisionCall,
        packed: tuple[VisionCall, Packing, torch.Tensor],
        input_ids: torch.Tensor | None,
        attention_mask: torch.Tensor,
        lower_states: torch.Tensor | None,
    ) -> None:
        """Decoders with a memory of their own, or whose positions are not those given, mix joined rows."""
        self._keeps_rows_apart = False  # so the first of these passes stays padded
        apart, joined = replace(call), replace(call)
        with evaluating(self):  # dropout would differ
            told = apart.chosen_logits(self._run(apart, input_ids, attention_mask, lower_states=lower_states).logits)
            output = self._run_packed(joined, (replace(packed[0]), *packed[1:]), input_ids, lower_states)
        difference = (joined.chosen_logits(output.logits) - told).abs().max()
        self._keeps_rows_apart = bool(difference <= (1e-4 if told.dtype == torch.float32 else 2e-2) * told.abs().max())

    def _new_call(
        self,
        input_ids: torch.Tensor | None,
        pixel_values: torch.Tensor | None,
        vision_states: torch.Tensor | None,
        vision_index: torch.Tensor | None,
        question_ids: torch.Tensor | None,
        question_mask: torch.Tensor | None,
        texture: torch.Tensor | None = None,
        cells: torch.Tensor | None = None,
        example_tokens: torch.Tensor | None = None,
        **flags: bool,
    ) -> VisionCall:
        if not self.config.is_composed:
            if vision_states is not None or vision_index is not None:
                raise LeamlInputError(
                    "vision_states and vision_index are for composed models: give pixel_values instead."
                )
            token = getattr(self.config.backbone_config, "image_token_id", None)
            counts = None if token is None or input_ids is None else (input_ids == token).sum(1)
            return VisionCall(image_token_counts=counts, **flags)
        if vision_states is None and pixel_values is not None:
            vision_states, texture, cells = self.encode_pictures(pixel_values)
        if self.resampler is None or vision_states is None:
            return VisionCall(states=vision_states, index=vision_index, texture=texture, **flags)
        if question_ids is None:
            raise LeamlInputError(
                "This base reads a picture with its question: give question_ids, as its processor does."
            )
        given, most = question_ids.shape[1], self.config.resampler_max_tokens
        if given > most:
            raise LeamlInputError(
                f"question_ids has {given} tokens, but this base reads {most} at most: keep the last ones, as its "
                "processor does."
            )
        mask = (torch.ones_like(question_ids) if question_mask is None else question_mask).bool()
        embeddings = self.get_input_embeddings()(question_ids).to(self.resampler.position.dtype)  # [B, Tq, De]
        states, looked, spelled = read_pictures(self.resampler, embeddings, mask, vision_states, vision_index)
        return VisionCall(
            states=states,
            mask=mask,
            picture_states=vision_states,
            picture_index=vision_index,
            looked=looked,
            spelled=spelled,
            texture=texture,
            cells=cells,
            asked=tokens_asked(mask, example_tokens),
            **flags,
        )

    def _prefix_call(
        self,
        input_ids: torch.Tensor | None,
        pixel_values: torch.Tensor | None,
        vision_states: torch.Tensor | None,
        vision_mask: torch.Tensor | None,
        **flags: bool,
    ) -> VisionCall:
        if input_ids is None or vision_states is None or pixel_values is not None:
            raise LeamlInputError(
                "With lower_states an existing model takes input_ids and vision_states, as encode_prefix gives them, "
                "and no pixel_values."
            )
        return VisionCall(states=vision_states, mask=vision_mask, **flags)

    @contextmanager
    def _capture(
        self, call: VisionCall, input_ids: torch.Tensor | None, pixel_values: torch.Tensor | None
    ) -> Iterator[None]:
        def keep(features: Any) -> None:
            rows = None if input_ids is None else input_ids.shape[0]
            call.features = features
            call.states, call.mask = pad_image_features(features, call.image_token_counts, rows)

        composed = self.config.is_composed
        watched = (self.backbone, keep, self.features_path, call.features)
        with nullcontext() if composed else capture_image_features(*watched):
            yield
        if pixel_values is not None and call.states is None and not composed:
            raise LeamlInputError(
                f"{type(self.backbone).__name__} made no picture features where they were looked for "
                f"({self.features_path or 'get_image_features'}): name the module that gives them as vision_features=."
            )
