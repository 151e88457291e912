"""LoRA and the layer below it as one product, in that layer's number format.

PEFT computes LoRA beside its layer: over bfloat16 the input is copied to float32 for each, and the update is made,
scaled, added and rounded in passes of their own. With few tokens and a low rank these passes take as long as the
products, and they leave a copy of the input in memory for the backward pass.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .adapters import lora_layers

if TYPE_CHECKING:
    from peft.tuners.lora import LoraLayer


class LoraProduct(torch.autograd.Function):
    """`x W^T + b + scaling * x A^T B^T` (Hu et al. 2021, arXiv 2106.09685), with W and b frozen."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, lora_a: Tensor, lora_b: Tensor, scaling: float
    ) -> Tensor:
        """
        Both products.

        Args:
            ctx: of autograd.
            x (`Tensor`): `[..., in]` in the number format of the weight.
            weight (`Tensor`): `[out, in]`.
            bias (`Tensor`, *optional*): `[out]`.
            lora_a (`Tensor`): `[rank, in]`.
            lora_b (`Tensor`): `[out, rank]`.
            scaling (`float`): of the update.

        Returns:
            `Tensor`: `[..., out]`.
        """
        flat = x.reshape(-1, x.shape[-1])
        down, up = lora_a.to(weight.dtype), (scaling * lora_b).to(weight.dtype)
        inner = flat @ down.T  # [N, rank]
        ctx.save_for_backward(flat, weight, down, up, inner)
        ctx.shape, ctx.scaling, ctx.dtype = x.shape, scaling, lora_a.dtype
        return F.linear(flat, weight, bias).addmm_(inner, up.T).unflatten(0, x.shape[:-1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """
        Gradients of input, A and B.

        Args:
            ctx: of autograd.
            grad (`Tensor`): `[..., out]`.

        Returns:
            `tuple`: one for each argument of `forward`.
        """
        flat, weight, down, up, inner = ctx.saved_tensors
        grad = grad.reshape(-1, grad.shape[-1])
        of_inner = grad @ up  # [N, rank]
        of_x = (grad @ weight).addmm_(of_inner, down).view(ctx.shape) if ctx.needs_input_grad[0] else None
        of_a, of_b = of_inner.T @ flat, grad.T @ inner
        return of_x, None, None, of_a.to(ctx.dtype), ctx.scaling * of_b.to(ctx.dtype), None


@contextmanager
def quick_lora(model: nn.Module) -> Iterator[None]:
    """
    Inside the `with` block LoRA over plain linear layers is computed with them, and where no gradient is wanted LoRA
    that adds exactly nothing (B = 0, as before training) is not computed at all.

    Args:
        model (`nn.Module`): with LoRA or without.
    """
    layers = [(layer, forward) for layer in lora_layers(model).values() if (forward := _quick_forward(layer))]
    for layer, forward in layers:
        layer.forward = forward
    try:
        yield
    finally:
        for layer, _ in layers:
            layer.__dict__.pop("forward", None)  # another thread may have done so


def _quick_forward(layer: "LoraLayer") -> Callable[[Tensor], Tensor] | None:
    """What stands in for a layer's `forward`; `None` where PEFT's is needed."""
    base, active = layer.get_base_layer(), [name for name in layer.active_adapters if name in layer.lora_B]
    if layer.merged or layer.disable_adapters or "forward" in vars(layer):
        return None
    if not torch.is_grad_enabled() and not any(layer.lora_B[name].weight.any() for name in active):
        return base.__call__
    if len(active) != 1 or active[0] in layer.lora_variant or not _is_plain(base):
        return None
    (name,) = active
    lora_a, lora_b = layer.lora_A[name], layer.lora_B[name]
    if lora_b.bias is not None or not isinstance(layer.lora_dropout[name], nn.Identity):
        return None

    def forward(x: Tensor) -> Tensor:
        return LoraProduct.apply(x, base.weight, base.bias, lora_a.weight, lora_b.weight, layer.scaling[name])

    return forward


def _is_plain(base: nn.Module) -> bool:
    """Whether a layer is nothing but a product: not quantised, hooked, moved about, or under autocast; float16 needs
    PEFT's float32 beside it."""
    is_linear = type(base) is nn.Linear and type(base.weight) is nn.Parameter and "forward" not in vars(base)
    is_hooked = base._forward_hooks or base._forward_pre_hooks or base._backward_hooks
    return (
        is_linear
        and not is_hooked
        and not base.weight.requires_grad
        and base.weight.dtype in (torch.float32, torch.bfloat16)
        and not torch.is_autocast_enabled(base.weight.device.type)
    )
