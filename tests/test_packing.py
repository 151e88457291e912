"""Rows joined without their padding: every decoder says what it says of rows one by one."""

import pytest
import torch
from conftest import SMALL_ADAPTER, make_vision, open_adapter, text_config
from hypothesis import given, settings
from hypothesis import strategies as st
from test_modeling import RESAMPLER
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
)

from leaml_hf import LeamlForVisualQA, LeamlInputError
from leaml_hf.calls import ChosenPlaces
from leaml_hf.packing import JOINED, Packing, group_rows

ROWS, LENGTHS = 7, [5, 20, 9, 6, 31, 8, 7]
DECODERS = {
    "llama": lambda: LlamaForCausalLM(text_config(initializer_range=0.2)),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=40, n_embd=32, n_layer=4, n_head=2, initializer_range=0.2)),
    "opt": lambda: OPTForCausalLM(
        OPTConfig(vocab_size=40, hidden_size=32, num_hidden_layers=4, num_attention_heads=2, ffn_dim=48, init_std=0.2,
                  word_embed_proj_dim=32)),
    "bloom": lambda: BloomForCausalLM(
        BloomConfig(vocab_size=40, hidden_size=32, n_layer=4, n_head=2, initializer_range=0.2)),
    "mamba": lambda: MambaForCausalLM(
        MambaConfig(vocab_size=40, hidden_size=32, num_hidden_layers=4, initializer_range=0.2)),
}  # fmt: skip
MIXING = ("bloom", "mamba")  # one counts distances along the joined row, the other remembers what was before


def make_model(decoder: str) -> LeamlForVisualQA:
    """With a resampler, a bridge that spells, and an adapter, all of it open."""
    torch.manual_seed(4)
    text = DECODERS[decoder]().eval()
    layers = {"bridge_layers": [1, 3], "bridge_dim": 16, "bridge_heads": 2, "bridge_ffn_dim": 16}
    lora = [2, 3] if decoder == "llama" else []
    resampler = RESAMPLER | ({"resampler_answer_tokens": 0} if decoder in MIXING else {})
    model = LeamlForVisualQA.from_backbones(
        make_vision(), text, fusion_layers=[2, 3], lora_layers=lora, **layers, **resampler, **SMALL_ADAPTER
    )
    for layer in model.bridge.values():
        layer.open_gate(0.7)
    return open_adapter(model).eval()


def make_batch(padding_side: str = "right", seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (ROWS, max(LENGTHS))
    places = torch.arange(shape[1])
    mask = (places < torch.tensor(LENGTHS)[:, None]).long()
    asked = torch.tensor([3, 8, 4, 2, 8, 5, 4])
    return {
        "input_ids": torch.randint(4, 26, shape, generator=generator),
        "attention_mask": mask if padding_side == "right" else mask.flip(1),
        "question_ids": torch.randint(4, 26, (ROWS, 8), generator=generator),
        "question_mask": (torch.arange(8) < asked[:, None]).long(),
        "vision_states": torch.randn(3, 16, 24, generator=generator),
        "vision_index": torch.tensor([0, 0, 1, 2, 1, 0, 2]),
        "example_tokens": torch.tensor([0, 4, 0, 0, 6, 0, 0]),
    }


def last_places(mask: torch.Tensor, counts: list[int]) -> torch.Tensor:
    """The last places but one of each row, as many as counted."""
    places = torch.zeros_like(mask, dtype=torch.bool)
    for row, count in enumerate(counts):
        own = mask[row].nonzero()[:, 0]
        places[row, own[len(own) - 1 - count : -1]] = True
    return places


def count_tokens(model: LeamlForVisualQA) -> list[int]:
    """What a list counts from now on: tokens that enter the last layer, a pass."""
    seen: list[int] = []

    def note(module: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        states = args[0] if args else kwargs["hidden_states"]
        seen.append(states.shape[0] * states.shape[1])

    model.get_submodule(model.layers_path)[-1].register_forward_pre_hook(note, with_kwargs=True)
    return seen


@pytest.mark.parametrize("padding_side", ["right", "left"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_logits_and_gradients_are_those_of_padded_rows(decoder: str, padding_side: str) -> None:
    model, batch = make_model(decoder), make_batch(padding_side)
    places = last_places(batch["attention_mask"], [3, 1, 2, 1, 0, 2, 1])  # one row has none
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def told(**given: torch.Tensor) -> list[torch.Tensor]:
        out = model(**batch, **given)
        logits = out.logits if "logits_to_keep" in given else out.logits[places]
        gradients = torch.autograd.grad(logits.log_softmax(-1)[:, 7].sum(), trained, allow_unused=True)
        told = logits, *gradients, out.vision_states, out.looked, out.spelled
        return [values for values in told if values is not None]

    expected = told()
    seen = count_tokens(model)
    for _ in range(2):
        for packed, padded in zip(told(logits_to_keep=places), expected, strict=True):
            torch.testing.assert_close(packed, padded, rtol=1e-4, atol=1e-4)
    if decoder == "llama":
        read = sum(length - 1 for length in LENGTHS) - (LENGTHS[4] - 1)
        assert seen[-1] < 1.2 * read  # 56 tokens of the 217 there are
    if decoder in MIXING:
        assert seen[-1] == batch["input_ids"].numel()


def test_joined_rows_go_with_gradient_checkpointing() -> None:
    batch, gradients = make_batch(), []
    places = last_places(batch["attention_mask"], [2] * ROWS)
    for checkpointing in (False, True):
        model = make_model("llama").train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        seen = count_tokens(model)
        loss = model(**batch, logits_to_keep=places).logits.log_softmax(-1)[:, 7].sum()
        loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
        assert seen[-1] < 0.6 * batch["input_ids"].numel()
    assert gradients[0].keys() == gradients[1].keys()
    for name, plain in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], plain, rtol=1e-4, atol=1e-4)


def test_hidden_states_come_back_in_their_rows() -> None:
    model, batch = make_model("llama"), make_batch()
    places = last_places(batch["attention_mask"], [1] * ROWS)
    with torch.no_grad():
        packed = model(**batch, logits_to_keep=places).last_hidden_state
        padded = model(**batch).last_hidden_state
    assert packed.shape == padded.shape
    torch.testing.assert_close(packed[places], padded[places], rtol=1e-4, atol=1e-4)
    assert not packed[batch["attention_mask"] == 0].any()


def test_a_decoder_that_hides_positions_cannot_copy_answers() -> None:
    text = MambaForCausalLM(MambaConfig(vocab_size=40, hidden_size=32, num_hidden_layers=4))
    model = LeamlForVisualQA.from_backbones(
        make_vision(), text, fusion_layers=[2], lora_layers=[], bridge_layers=[1], **RESAMPLER, **SMALL_ADAPTER
    )
    with pytest.raises(LeamlInputError, match="resampler_answer_tokens"):
        model(**make_batch())


@pytest.mark.parametrize("case", ["no padding", "a record is kept", "all logits", "no mask", "padding is wanted"])
def test_rows_stay_as_they_are(case: str) -> None:
    model, batch, given = make_model("llama"), make_batch(), {}
    seen = count_tokens(model)
    if case == "no padding":
        batch["attention_mask"] = torch.ones_like(batch["attention_mask"])
    if case == "no mask":
        del batch["attention_mask"]
    if case == "a record is kept":
        given["logits_to_keep"] = last_places(batch["attention_mask"], [1] * ROWS)
    elif case != "all logits":
        given["logits_to_keep"] = torch.ones_like(batch["input_ids"], dtype=torch.bool)
    with torch.no_grad():
        model(**batch, **given, output_attentions=case == "a record is kept")
    assert seen == [batch["input_ids"].numel()]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 90), min_size=1, max_size=40).filter(any))
def test_groups_hold_each_row_once_and_are_alike(lengths: list[int]) -> None:
    groups = group_rows(lengths)
    assert sorted(row for group in groups for row in group) == [row for row, length in enumerate(lengths) if length]
    filled = [sum(lengths[row] for row in group) for group in groups]
    assert min(filled) > 0
    even = sum(lengths) / len(groups)
    assert max(filled) <= even + max(lengths)
    assert len(groups) == max(1, round(sum(lengths) / max(JOINED, *lengths)))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 40))
def test_packing_and_unpacking(seed: int, rows: int, length: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    kept = torch.rand(rows, length, generator=generator) < 0.6
    kept[:, 0] = True
    values = torch.randn(rows, length, 3, generator=generator)
    packing = Packing.of(kept, group_rows(kept.sum(1).tolist()))
    packed = packing.pack(values)
    assert int(packing.own.sum()) == int(kept.sum())
    torch.testing.assert_close(packing.unpack(packed), values * kept[..., None])
    wanted = ChosenPlaces.of(kept & (torch.rand(rows, length, generator=generator) < 0.5))
    torch.testing.assert_close(packing.move(wanted).pick(packed), wanted.pick(values))
    at = packing.move(wanted)
    assert torch.equal(packing.rows[at.lines, at.columns], wanted.rows)
