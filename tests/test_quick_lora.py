"""LoRA as one product with its layer: what PEFT computes, forward and backward."""

import pytest
import torch
from conftest import open_adapter
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from leaml_hf.adapters import lora_layers, merge_lora
from leaml_hf.quick_lora import quick_lora


def make_layers(seed: int = 0, dtype: torch.dtype = torch.float32, **options: float) -> nn.Module:
    """Two linear layers with LoRA that counts, one with a bias and one without."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(24, 32), nn.Tanh(), nn.Linear(32, 16, bias=False)).to(dtype)
    model = inject_adapter_in_model(LoraConfig(r=4, lora_alpha=10, target_modules=["0", "2"], **options), model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = ".lora_" in name
        if ".lora_" in name:
            parameter.data = 0.3 * torch.randn(parameter.shape)
    return model.train()


def ran(model: nn.Module, x: torch.Tensor, quick: bool) -> tuple[torch.Tensor, ...]:
    """Output, and gradients of the input and of all of LoRA."""
    x = x.clone().requires_grad_()
    model.zero_grad()
    if quick:
        with quick_lora(model):
            out = model(x)
    else:
        out = model(x)
    out.float().square().sum().backward()
    return out.detach(), x.grad, *(p.grad for p in model.parameters() if p.requires_grad)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(5,), (2, 3), (2, 1, 4)]))
def test_equals_peft(seed: int, shape: tuple[int, ...]) -> None:
    model = make_layers(seed)
    x = torch.randn(*shape, 24)
    for quick, plain in zip(ran(model, x, True), ran(model, x, False), strict=True):
        torch.testing.assert_close(quick, plain, rtol=1e-4, atol=1e-4)


def test_in_bfloat16_only_rounding_differs() -> None:
    x = torch.randn(64, 24, generator=torch.Generator().manual_seed(1)).bfloat16()
    model, exact = make_layers(dtype=torch.bfloat16), make_layers()
    exact.load_state_dict(model.state_dict())
    for quick, plain, right in zip(
        *(ran(*case) for case in ((model, x, True), (model, x, False), (exact, x.float(), False))), strict=True
    ):
        assert quick.dtype == plain.dtype
        assert (quick.float() - right).norm() < 0.02 * right.norm()


def test_without_gradients_no_graph_is_made_and_closed_lora_is_passed_over() -> None:
    model, x = make_layers(), torch.randn(3, 24)
    expected = model(x)
    with torch.no_grad(), quick_lora(model):
        torch.testing.assert_close(model(x), expected)
        assert not model(x).requires_grad
    for layer in lora_layers(model).values():
        nn.init.zeros_(layer.lora_B["default"].weight)
        nn.init.constant_(layer.lora_A["default"].weight, float("nan"))
    with torch.no_grad(), quick_lora(model):
        assert model(x).isfinite().all()


@pytest.mark.parametrize("case", ["dropout", "merged", "switched off", "hooked", "autocast", "half"])
def test_peft_computes_what_is_no_plain_product(case: str) -> None:
    dtype = torch.float16 if case == "half" else torch.float32
    model = make_layers(dtype=dtype, lora_dropout=0.5 if case == "dropout" else 0.0)
    x, layers, seen = torch.randn(6, 24, dtype=dtype), list(lora_layers(model).values()), []
    if case == "merged":
        merge_lora(model)
    for layer in layers:
        if case == "switched off":
            layer.enable_adapters(False)
        if case == "hooked":
            layer.base_layer.register_forward_hook(lambda *_: seen.append(1))
    with torch.autocast("cpu", enabled=case == "autocast"):
        torch.manual_seed(0)
        plain = model(x)
        torch.manual_seed(0)
        with quick_lora(model):
            assert torch.equal(model(x), plain)
    assert len(seen) == (4 if case == "hooked" else 0)


def test_leaves_nothing_behind(composed, processor, pictures) -> None:
    open_adapter(composed)
    batch = processor(images=pictures, questions=["how many"] * 3)
    plain = composed(**batch).logits
    with pytest.raises(KeyError), quick_lora(composed):
        torch.testing.assert_close(composed(**batch).logits, plain)
        with quick_lora(composed):
            pass
        raise KeyError
    assert torch.equal(composed(**batch).logits, plain)
    assert not any("forward" in vars(layer) for layer in lora_layers(composed).values())
