"""What an existing image-text-to-text model computes below the first adapted layer: computed once, then skipped."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .backbones import decoder_layers
from .calls import VisionCall
from .errors import LeamlInputError

if TYPE_CHECKING:
    from .modeling_leaml import LeamlForVisualQA


@dataclass
class Prefix:
    """
    States that never change in training.

    Args:
        lower_states (`torch.Tensor`): `[B, T, D]`, what enters the first adapted layer.
        vision_states (`torch.Tensor`): `[B, N, Dv]`, what its fused layers look at.
        vision_mask (`torch.Tensor`): `[B, N]`, `False` where padded.
    """

    lower_states: torch.Tensor
    vision_states: torch.Tensor
    vision_mask: torch.Tensor


class _Reached(Exception):
    """Ends a pass: no error, the rest of it is not needed."""


@torch.no_grad()
def encode_prefix(model: "LeamlForVisualQA", inputs: dict[str, Any]) -> Prefix:
    """
    Runs the vision encoder and the layers below the first adapted one; the others do not run.

    Args:
        model (`LeamlForVisualQA`): over an existing image-text-to-text model.
        inputs (`dict`): what its processor makes for B rows with pictures, without labels.

    Returns:
        [`Prefix`].

    Raises:
        [`LeamlInputError`]: if the model's states have another form than `[B, T, D]`, or the first layer is adapted.
    """
    first = model.first_adapted_layer
    if first == 0:
        raise LeamlInputError("The first decoder layer is adapted: there is nothing below it to keep.")
    call, states = _run_up_to(model, first, inputs)
    if states is None or states.dim() != 3 or call.states is None:
        raise LeamlInputError(
            f"{type(model.backbone).__name__} has no states [rows, tokens, width] below layer {first} that could be "
            "kept: leave out lower_states, so that all of it runs."
        )
    return Prefix(states, call.states, call.mask)


@torch.no_grad()
def encode_features(model: "LeamlForVisualQA", inputs: dict[str, Any]) -> VisionCall:
    """
    Runs the vision encoder, and ends where the decoder begins.

    Args:
        model (`LeamlForVisualQA`): over an existing image-text-to-text model.
        inputs (`dict`): what its processor makes for B rows with pictures, without labels.

    Returns:
        [`VisionCall`]: with `states` `[B, N, Dv]`, `mask` `[B, N]`, and `features` for another call with the same
            pictures.
    """
    return _run_up_to(model, 0, inputs)[0]


def _run_up_to(
    model: "LeamlForVisualQA", layer: int, inputs: dict[str, Any]
) -> tuple[VisionCall, torch.Tensor | None]:
    """The call of a pass that ends before a decoder layer, and what came to that layer."""
    kept: list[torch.Tensor] = []

    def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        kept.append(args[0] if args else kwargs["hidden_states"])
        raise _Reached

    call = model._new_call(inputs["input_ids"], None, None, None, None, None)
    handle = decoder_layers(model.decoder)[layer].register_forward_pre_hook(keep, with_kwargs=True, prepend=True)
    try:
        with model._during(call), model._capture(call, inputs["input_ids"], None):
            model.backbone(**inputs, use_cache=False)
    except _Reached:
        pass
    finally:
        handle.remove()
    return call, kept[0] if kept else None


@contextmanager
def skipping_lower_layers(model: "LeamlForVisualQA", lower_states: torch.Tensor) -> Iterator[None]:
    """
    Inside the `with` block the layers below the first adapted one do nothing, and it is given `lower_states`.

    The layers stay where they are, so whatever a model does by a layer's number is done at the right one.

    Args:
        model (`LeamlForVisualQA`): over an existing image-text-to-text model.
        lower_states (`torch.Tensor`): `[B, T, D]`.
    """
    layers, first = decoder_layers(model.decoder), model.first_adapted_layer

    def skip(*args: Any, **kwargs: Any) -> torch.Tensor:
        return lower_states

    def give(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        return ((lower_states, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": lower_states})

    own = [layer.__dict__.get("forward") for layer in layers[:first]]
    for layer in layers[:first]:
        layer.forward = skip
    handle = layers[first].register_forward_pre_hook(give, with_kwargs=True, prepend=True)
    try:
        yield
    finally:
        handle.remove()
        for layer, forward in zip(layers[:first], own, strict=True):
            if forward is None:
                del layer.forward
            else:
                layer.forward = forward
