"""Which decoder layers matter for answers, measured on a few labelled rows before anything is trained."""

from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .adapters import upper_third
from .backbones import decoder_layers
from .errors import LeamlInputError

if TYPE_CHECKING:
    from .modeling_leaml import LeamlForVisualQA


RELEVANT = "relevant"


def relevant_third(model: "LeamlForVisualQA", examples: Iterable[dict[str, torch.Tensor]] | None) -> list[int]:
    """
    The layers that matter most, as many as the upper third has.

    Args:
        model ([`LeamlForVisualQA`]): see [`layer_relevance`].
        examples (`Iterable[dict]`): see [`layer_relevance`].

    Returns:
        `list[int]`: rising.

    Raises:
        [`LeamlInputError`]: if there are no examples.
    """
    relevance = layer_relevance(model, examples or ())
    count = len(upper_third(len(relevance)))
    return sorted(sorted(range(len(relevance)), key=relevance.__getitem__)[-count:])


def layer_relevance(model: "LeamlForVisualQA", examples: Iterable[dict[str, torch.Tensor]]) -> list[float]:
    """
    How much each decoder layer does for the answers.

    A first-order estimate of how the loss would change without the layer: what the layer adds to its input, times the
    gradient there, in absolute value, summed over tokens (Molchanov et al. 2019, arXiv 1906.10771, for whole layers).

    Args:
        model ([`LeamlForVisualQA`]): with or without an adapter; nothing of it changes.
        examples (`Iterable[dict]`): inputs of `forward` with `labels`, such as `processor.collate(rows)`.

    Returns:
        `list[float]`: one value a layer, in nats a batch.

    Raises:
        [`LeamlInputError`]: if there are no examples, or they have no labels.
    """
    layers = decoder_layers(model.decoder)
    total, batches = torch.zeros(len(layers)), 0
    states: list[torch.Tensor] = []  # what enters the first layer, and what leaves each

    def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        states.append((args[0] if args else kwargs["hidden_states"]).detach().requires_grad_())
        return ((states[0], *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": states[0]})

    def leave(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        states.append(output if torch.is_tensor(output) else output[0])

    handles = [layers[0].register_forward_pre_hook(enter, with_kwargs=True)]
    handles += [layer.register_forward_hook(leave) for layer in layers]
    try:
        for batch in examples:
            if "labels" not in batch:
                raise LeamlInputError("Examples to measure layers by need answers: give batches with labels.")
            states.clear()
            with torch.enable_grad():
                loss = model(**{name: value.to(model.device) for name, value in batch.items()}).loss
            gradients = torch.autograd.grad(loss, states[1:])
            added = [after - before for before, after in pairwise(states)]
            products = [change * gradient for change, gradient in zip(added, gradients, strict=True)]
            total += torch.stack([product.detach().sum(-1).abs().sum().float() for product in products]).cpu()
            batches += 1
    finally:
        for handle in handles:
            handle.remove()
    if not batches:
        raise LeamlInputError("Give at least one batch of examples to measure layers by: there is none.")
    return (total / batches).tolist()
