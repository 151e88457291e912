"""Only the neurons that matter for question answering are tuned, found by their importance for a few labels."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..adapters import lora_layers
from ..errors import LeamlInputError

if TYPE_CHECKING:
    from ..modeling_leaml import LeamlForVisualQA


def neuron_importance(
    model: "LeamlForVisualQA", batches: Iterable[Any], loss_of: Callable[[Any], Tensor]
) -> dict[str, Tensor]:
    """
    How much each output neuron of each layer with LoRA does for a loss.

    A first-order estimate of how the loss would change if the neuron were silent: its output times the gradient there,
    summed over a row's tokens, in absolute value, summed over rows (the Taylor criterion of Molchanov et al. 2017,
    arXiv 1611.06440). Of a linear layer without bias it is |gradient · value| of the neuron's row of weights, which
    needs no gradient of the frozen weights themselves. All layers' values are of one kind, so they can be compared.

    Args:
        model ([`LeamlForVisualQA`]): with an adapter; nothing of it changes.
        batches (`Iterable`): of a few labelled rows, one or more.
        loss_of (`Callable`): gives the scalar loss of a batch by `model`.

    Returns:
        `dict[str, Tensor]`: by layer `[out]` values of 0 or more on the CPU; zeros for a layer that did not run.

    Raises:
        [`LeamlInputError`]: if there is no batch.
    """
    layers = _own_layers(model)
    total = {name: torch.zeros(len(layer.lora_B[model.adapter_name].weight)) for name, layer in layers.items()}
    outputs: dict[str, list[Tensor]] = defaultdict(list)

    def keep(name: str) -> Callable[..., None]:
        return lambda module, args, output: outputs[name].append(output)

    handles = [layer.register_forward_hook(keep(name)) for name, layer in layers.items()]
    batch = None
    try:
        for batch in batches:
            outputs.clear()
            with torch.enable_grad():
                loss = loss_of(batch)
            seen = [(name, output) for name, found in outputs.items() for output in found if output.requires_grad]
            gradients = torch.autograd.grad(loss, [output for _, output in seen], allow_unused=True)
            for (name, output), gradient in zip(seen, gradients, strict=True):
                if gradient is not None:
                    product = (output.detach() * gradient).float()  # [B, out] or [B, …, out]
                    total[name] += product.reshape(len(product), -1, product.shape[-1]).sum(1).abs().sum(0).cpu()
    finally:
        for handle in handles:
            handle.remove()
    if batch is None:
        raise LeamlInputError("Give at least one batch of labelled rows to find neurons by: there is none.")
    return total


def qa_neurons(
    model: "LeamlForVisualQA", batches: Iterable[Any], loss_of: Callable[[Any], Tensor], share: float
) -> dict[str, Tensor]:
    """
    The neurons that matter most for a loss, over all layers with LoRA together.

    That only question-answering neurons, found by gradients, are tuned is from the LEAML paper (arXiv 2510.03232); the
    criterion, and LoRA's rows in place of whole weights, are ours.

    Args:
        model ([`LeamlForVisualQA`]): see [`neuron_importance`].
        batches (`Iterable`): see [`neuron_importance`].
        loss_of (`Callable`): see [`neuron_importance`].
        share (`float`): of all output neurons, in (0, 1].

    Returns:
        `dict[str, Tensor]`: by layer `[out]` bool; at least one is true.

    Raises:
        [`LeamlInputError`]: as [`neuron_importance`].
    """
    importance = neuron_importance(model, batches, loss_of)
    together = torch.cat(list(importance.values()))
    chosen = torch.zeros(len(together), dtype=torch.bool)
    chosen[together.topk(max(1, round(share * len(together)))).indices] = True
    return dict(zip(importance, chosen.split([len(part) for part in importance.values()]), strict=True))


@contextmanager
def tuning_only(model: "LeamlForVisualQA", neurons: Mapping[str, Tensor]) -> Iterator[None]:
    """
    Inside the `with` block only some neurons' rows of LoRA's B get gradients.

    The others' rows stay as they are under any optimizer that leaves alone what has no gradient (so: no weight decay
    on B). A new adapter's B is zero, so the weights of all other neurons are then exactly the backbone's. The gated
    fused layers, which belong to no neuron of the backbone, are trained as ever.

    Args:
        model ([`LeamlForVisualQA`]): with an adapter.
        neurons (`Mapping[str, Tensor]`): of [`qa_neurons`].
    """

    def masking(rows: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda gradient: gradient * rows.to(gradient)[:, None]

    layers = _own_layers(model)
    handles = [layers[name].lora_B[model.adapter_name].weight.register_hook(masking(chosen))
               for name, chosen in neurons.items()]  # fmt: skip
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _own_layers(model: "LeamlForVisualQA") -> dict[str, nn.Module]:
    """Layers with LoRA of the active adapter that is trained, as what has learnt to read is not."""
    layers = {name: layer for name, layer in lora_layers(model).items() if model.adapter_name in layer.lora_B}
    return {name: layer for name, layer in layers.items() if layer.lora_B[model.adapter_name].weight.requires_grad}
