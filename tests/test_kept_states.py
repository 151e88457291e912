"""What the frozen part of an existing model computes is kept: the same logits and training, and nothing twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import SMALL_ADAPTER, make_llava, open_adapter
from test_modeling import RESAMPLER, make_base
from test_training import rows

from leaml_hf import LeamlForVisualQA, LeamlInputError, LeamlTrainer, LeamlTrainingArguments
from leaml_hf.modeling_leaml import answer_places
from leaml_hf.prefix import encode_prefix
from leaml_hf.processing_leaml import LeamlBackboneProcessor
from leaml_hf.training.cache import FrozenCache, PrefixCache
from leaml_hf.training.rows import LeamlCollator, RowDataset
from leaml_hf.training.store import FeatureStore, content_key

LAYERS = {"fusion_layers": [2, 3], "lora_layers": [2, 3]}


@pytest.fixture()
def llava() -> LeamlForVisualQA:
    return open_adapter(LeamlForVisualQA.from_backbone(make_llava(), **LAYERS, **SMALL_ADAPTER)).eval()


@pytest.fixture()
def backbone_processor(llava_processor) -> LeamlBackboneProcessor:
    return LeamlBackboneProcessor(llava_processor)


@pytest.fixture()
def some_rows() -> RowDataset:
    chosen = rows(6)
    asked = ["what colour is the circle ?", "what colour ?", "how many ?"] * 2
    return RowDataset(chosen.remove_columns("question").add_column("question", asked))


@pytest.fixture()
def ran(llava: LeamlForVisualQA) -> Iterator[list[str]]:
    """Names of the frozen parts that ran."""
    seen: list[str] = []
    watched = {"vision": llava.backbone.model.vision_tower, "layer 0": llava.decoder.layers[0].mlp,
               "layer 3": llava.decoder.layers[3].mlp}  # fmt: skip
    handles = [part.register_forward_hook(lambda *_, name=name: seen.append(name)) for name, part in watched.items()]
    yield seen
    for handle in handles:
        handle.remove()


def without_weights(inputs: dict) -> dict:
    return {name: value for name, value in inputs.items() if name != "weights"}


@torch.no_grad()
def test_kept_states_give_the_same_logits(llava, backbone_processor, some_rows) -> None:
    batch = [some_rows[i] for i in range(6)]
    plain = LeamlCollator(backbone_processor, None)(batch)
    kept = LeamlCollator(backbone_processor, PrefixCache(llava, backbone_processor))(batch)
    assert "pixel_values" not in kept
    whole, parts = llava(**without_weights(plain)), llava(**without_weights(kept))
    torch.testing.assert_close(parts.logits, whole.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(parts.loss, whole.loss, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_rows_can_be_put_together_anew(llava, backbone_processor, some_rows, ran) -> None:
    collator = LeamlCollator(backbone_processor, PrefixCache(llava, backbone_processor))
    collator([some_rows[i] for i in range(6)])
    ran.clear()
    for places in ([1], [4, 0], [2, 5, 1, 0]):  # other lengths, other padding
        kept = collator([some_rows[i] for i in places])
        assert ran == []
        parts = llava(**without_weights(kept))
        assert set(ran) == {"layer 3"}
        ran.clear()
        whole = llava(**without_weights(LeamlCollator(backbone_processor, None)([some_rows[i] for i in places])))
        torch.testing.assert_close(parts.loss, whole.loss, rtol=1e-4, atol=1e-4)
        ran.clear()


def test_the_layers_below_are_there_again(llava, backbone_processor, some_rows) -> None:
    plain = without_weights(LeamlCollator(backbone_processor, None)([some_rows[0]]))
    before = llava(**plain).logits
    kept = LeamlCollator(backbone_processor, PrefixCache(llava, backbone_processor))([some_rows[0]])
    llava(**without_weights(kept)).loss.backward()
    assert torch.equal(llava(**plain).logits, before)


def test_later_runs_read_the_folder(llava, backbone_processor, some_rows, ran, tmp_path: Path) -> None:
    batch = [some_rows[i] for i in range(4)]
    first = PrefixCache(llava, backbone_processor, folder=tmp_path).inputs(batch, [-1] * 4)
    ran.clear()
    again = PrefixCache(llava, backbone_processor, folder=tmp_path).inputs(batch, [-1] * 4)
    assert ran == []
    assert all(torch.equal(first[name], again[name]) for name in first)
    files = sorted(tmp_path.rglob("*.safetensors"))
    assert len(files) == 4
    files[0].write_bytes(files[0].read_bytes()[:40])  # a damaged one is made anew
    mended = PrefixCache(llava, backbone_processor, folder=tmp_path).inputs(batch, [-1] * 4)
    assert ran.count("vision") >= 1
    for name in first:
        torch.testing.assert_close(mended[name], first[name], rtol=1e-4, atol=1e-4)
    other = LeamlForVisualQA.from_backbone(make_llava(seed=9), **LAYERS, **SMALL_ADAPTER)
    PrefixCache(other, backbone_processor, folder=tmp_path).inputs(batch[:1], [-1])
    assert len(list(tmp_path.rglob("*.safetensors"))) == 5  # another base keeps its own


def test_encoded_pictures_of_a_composed_model_are_read_from_the_folder(composed, processor, tmp_path: Path) -> None:
    data = RowDataset(rows(4))
    batch, views = [data[i] for i in range(4)], [-1, 0, 1, -1]
    composed.eval()
    first = FrozenCache(composed, processor, folder=tmp_path).inputs(batch, views)
    seen: list[int] = []
    composed.vision_tower.register_forward_hook(lambda *_: seen.append(1))
    again = FrozenCache(composed, processor, folder=tmp_path).inputs(batch, views)
    assert seen == []
    assert all(torch.equal(first[name], again[name]) for name in first)
    FrozenCache(composed, processor, seed=1, folder=tmp_path).inputs(batch, views)  # other strong views
    assert seen


@pytest.mark.parametrize("adapt_bridge", [False, True])
def test_what_questions_read_is_kept_where_nothing_changes_it(
    backbone_folders, processor, some_rows, tmp_path: Path, adapt_bridge: bool
) -> None:
    base = make_base(backbone_folders[1], tmp_path / "base", **RESAMPLER)
    base.bridge["copy"].open_gate(0.5)
    base.save_pretrained(tmp_path / "base")
    model = LeamlForVisualQA.from_backbone(
        str(tmp_path / "base"), adapt_bridge=adapt_bridge, **LAYERS, **SMALL_ADAPTER
    )
    open_adapter(model).eval()
    processor.max_question_tokens = RESAMPLER["resampler_max_tokens"]
    calls: list[int] = []
    model.resampler.register_forward_hook(lambda *_: calls.append(1))
    collate, batch = LeamlCollator(processor, FrozenCache(model, processor)), [some_rows[i] for i in range(6)]
    plain = without_weights(LeamlCollator(processor, None)(batch))
    asked = {name: value for name, value in without_weights(collate(batch)).items() if name != "input_ids"}
    assert ("question_states" in asked, "vision_states" in asked) == (not adapt_bridge, adapt_bridge)
    places = answer_places(asked.pop("labels"))
    calls.clear()
    with torch.no_grad():
        kept = model(**asked, logits_to_keep=places)
        assert len(calls) == adapt_bridge
        whole = model(**{name: value for name, value in plain.items() if name != "labels"})
    torch.testing.assert_close(kept.logits, whole.logits[places], atol=0.05, rtol=0.02)  # lower states in bfloat16
    torch.testing.assert_close(kept.spelled, whole.spelled)
    calls.clear()
    again = collate(batch[2:5])
    assert not calls
    if not adapt_bridge:
        assert torch.equal(again["spelled"], asked["spelled"][2:5])


def test_what_is_wrong_is_told(llava, backbone_processor, some_rows) -> None:
    inputs = without_weights(LeamlCollator(backbone_processor, None)([some_rows[0]]))
    prefix = encode_prefix(llava, {name: value for name, value in inputs.items() if name != "labels"})
    with pytest.raises(LeamlInputError, match="no pixel_values"):
        llava(**inputs, lower_states=prefix.lower_states, vision_states=prefix.vision_states)
    lowest = LeamlForVisualQA.from_backbone(make_llava(), fusion_layers=[0], lora_layers=[0], **SMALL_ADAPTER)
    with pytest.raises(LeamlInputError, match="nothing below"):
        encode_prefix(lowest, inputs)


def train(processor: LeamlBackboneProcessor, folder: Path, keep: bool, layers: dict) -> LeamlTrainer:
    torch.manual_seed(0)
    model = LeamlForVisualQA.from_backbone(make_llava(), **layers, **SMALL_ADAPTER)
    options = {"max_steps": 4, "per_device_train_batch_size": 4, "learning_rate": 1e-2, "evaluate_every": 2}
    arguments = LeamlTrainingArguments(output_dir=str(folder), seed=3, use_cpu=True, disable_tqdm=True, **options)
    trainer = LeamlTrainer(model, arguments, processor, rows(12), rows(12, 1, answered=False))
    if not keep:
        trainer.cache = trainer.rows_collator.cache = None
    trainer.train()
    return trainer


def test_training_comes_to_the_same_adapter(backbone_processor, tmp_path: Path) -> None:
    kept, whole = (train(backbone_processor, tmp_path, keep, LAYERS) for keep in (True, False))
    assert isinstance(kept.cache, PrefixCache)
    for (name, one), (_, other) in zip(kept.average.values.items(), whole.average.values.items(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3, msg=name)


def test_a_model_whose_states_cannot_be_kept_is_trained_all_the_same(backbone_processor, tmp_path: Path) -> None:
    trainer = train(backbone_processor, tmp_path, True, {"fusion_layers": [1], "lora_layers": [0]})
    assert trainer.cache is None
    assert trainer.state.global_step == 4


def test_a_store_stays_below_its_limit() -> None:
    store = FeatureStore(max_bytes=3000)
    for number in range(4):
        store.put(str(number), {"states": torch.full((256,), float(number))})  # 1 KiB each
    assert [store.get(str(number)) is not None for number in range(4)] == [True, True, False, False]
    assert store.get("1")["states"].eq(1).all()
    store.put("1", {"states": torch.zeros(128), "cells": torch.zeros(64)})  # instead: 1.75 KiB in all
    store.put("4", {"states": torch.zeros(256)})
    assert store.get("4") is not None and store.get("1")["states"].shape == (128,)


def test_pictures_in_files_are_told_by_what_is_in_them(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(b"the same")
    assert content_key(str(tmp_path / "one")) == content_key(str(tmp_path / "two"))
    assert content_key("0123abcd") == "0123abcd"
