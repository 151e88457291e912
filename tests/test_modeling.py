"""The model: equality with its backbone, cached parts, generation, saving and loading."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_connector_config, make_llava, make_text, make_vision, open_adapter, text_config
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy.spatial import distance
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageTextToText,
    AutoModelForVisualQuestionAnswering,
    GemmaConfig,
    GemmaForCausalLM,
    LlavaForConditionalGeneration,
    PreTrainedModel,
)

from leaml_hf import LeamlConfig, LeamlForVisualQA, LeamlInputError, LeamlProcessor
from leaml_hf.adapters import lora_layers
from leaml_hf.answering import EncodedPicture
from leaml_hf.modeling_leaml import answer_places

SRC = Path(__file__).resolve().parents[1] / "src"
SMALL = {"fusion_dim": 16, "fusion_heads": 2, "fusion_ffn_dim": 16}
GREEDY = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}


@pytest.fixture()
def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(4, 26, (3, 8), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, :3], ids[1, :3] = 0, 0
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "pixel_values": torch.randn(3, 3, 32, 32, generator=generator),
    }


def make_base(text_folder: Path, folder: Path, **options: int) -> LeamlForVisualQA:
    """A LEAML base with an open bridge and a connector, saved."""
    torch.manual_seed(5)
    base = LeamlForVisualQA.from_backbones(
        make_vision(), text_folder, fusion_layers=[], lora_layers=[], bridge_layers=[1, 3], bridge_dim=16,
        bridge_heads=2, bridge_ffn_dim=16, connector_config=make_connector_config(), **options,
    )  # fmt: skip
    for layer in base.bridge.values():
        layer.open_gate(0.8)
    base.save_pretrained(folder)
    return base


RESAMPLER = {
    "resampler_layers": 2,
    "resampler_heads": 2,
    "resampler_ffn_dim": 16,
    "resampler_max_tokens": 8,
    "resampler_answer_tokens": 3,
}


def questions() -> dict[str, torch.Tensor]:
    ids = torch.randint(4, 26, (3, 5), generator=torch.Generator().manual_seed(8))
    mask = torch.ones_like(ids)
    mask[2, 3:] = 0
    return {"question_ids": ids, "question_mask": mask}


def saved_adapter(backbone_folders: tuple[Path, Path], folder: Path) -> LeamlForVisualQA:
    vision, text = backbone_folders
    model = open_adapter(LeamlForVisualQA.from_backbones(vision, text, fusion_layers=[2, 3], lora_layers=[3], **SMALL))
    model.save_pretrained(folder)
    return model


@torch.no_grad()
def logits(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    return model(**inputs).logits


def text_only(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    mask = inputs["attention_mask"]
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    return {"input_ids": inputs["input_ids"], "attention_mask": mask, "position_ids": positions}


class TestUntrained:
    def test_composed_gives_the_bits_of_its_language_model(self, composed, batch):
        assert torch.equal(logits(composed, batch), logits(make_text(), text_only(batch)))

    def test_existing_model_gives_its_own_bits(self):
        backbone = make_llava()
        ids = torch.randint(4, 26, (2, 20))
        ids[:, 2:18] = 3
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": torch.randn(2, 3, 32, 32)}
        expected = logits(backbone, inputs)
        model = LeamlForVisualQA.from_backbone(backbone)
        assert torch.equal(logits(model, inputs), expected)
        assert not torch.equal(logits(open_adapter(model), inputs), expected)

    def test_adapter_on_a_base_gives_the_bits_of_the_base(self, backbone_folders, tmp_path, batch):
        make_base(backbone_folders[1], tmp_path)
        base = LeamlForVisualQA.from_pretrained(tmp_path)
        model = LeamlForVisualQA.from_backbone(str(tmp_path), lora_rank=2, adapt_vision=True)
        assert torch.equal(logits(model, batch), logits(base, batch))
        assert not torch.allclose(logits(base, batch), logits(make_text(), text_only(batch)))

    def test_gates_are_closed_after_loading(self, backbone_folders, tmp_path):
        vision, text = backbone_folders
        LeamlForVisualQA.from_backbones(vision, text, **SMALL).save_pretrained(tmp_path)
        model = AutoModel.from_pretrained(tmp_path)
        assert len(model.fusion) == 1
        assert all(not layer.alpha.any() for layer in model.fusion.values())

    def test_gates_are_closed_in_a_model_from_its_configuration(self, composed):
        model = AutoModel.from_config(composed.config)
        assert all(not layer.alpha.any() for layer in model.fusion.values())

    def test_states_that_are_already_infinite_pass_unchanged(self, composed):
        hidden = torch.randn(1, 3, 32)
        hidden[0, 1, 4] = float("inf")
        out, _, _ = composed.fusion["2"](hidden, torch.randn(1, 16, 24))
        assert torch.equal(out, hidden)


class TestResampler:
    @pytest.fixture()
    def base(self, backbone_folders, tmp_path) -> LeamlForVisualQA:
        return make_base(backbone_folders[1], tmp_path, **RESAMPLER).eval()

    def test_a_loaded_base_gives_the_same_logits(self, base, backbone_folders, tmp_path, batch):
        again = AutoModel.from_pretrained(tmp_path)
        for part in (base.vision_tower, base.connector, base.resampler, base.bridge):
            part.half().float()  # as saved
        assert torch.equal(logits(again, batch | questions()), logits(base, batch | questions()))

    def test_a_spelt_answer_is_copied_in_turn(self, base, batch):
        answer = [5, 9, 7]
        words = base.get_output_embeddings().weight.detach()
        torch.nn.init.zeros_(base.resampler.spell.weight)
        base.resampler.spell.bias.data.copy_(words[answer].flatten())
        copy = base.bridge["copy"]
        copy.open_gate(0.99)
        copy.log_scale.data.fill_(9.0)
        asked = questions()
        lengths = asked["question_mask"].sum(1) + 5  # the prompt puts five tokens around a question
        ids = torch.randint(4, 26, (3, int(lengths.max())), generator=torch.Generator().manual_seed(2))
        mask = (torch.arange(ids.shape[1])[None] >= ids.shape[1] - lengths[:, None]).long()
        given = asked | {"attention_mask": mask, "pixel_values": batch["pixel_values"]}
        out = base.generate(ids, **given, max_new_tokens=3, do_sample=False, pad_token_id=0, eos_token_id=None)
        assert out[:, ids.shape[1] :].tolist() == [answer] * 3
        beams = base.generate(ids, **given, max_new_tokens=3, num_beams=2, do_sample=False, pad_token_id=0,
                              eos_token_id=None)  # fmt: skip
        assert beams[:, ids.shape[1] :].tolist() == [answer] * 3
        closed = logits(base, given | {"input_ids": ids})
        copy.alpha.data.zero_()
        plain = logits(base, given | {"input_ids": ids})
        early = ids.shape[1] - 6  # nothing is copied within the question
        assert torch.equal(closed[:, :early], plain[:, :early]) and not torch.equal(closed, plain)

    def test_spelt_answers_end_where_the_resampler_ends_them(self, base, processor, pictures):
        assert base.can_spell
        word = processor.tokenizer.convert_tokens_to_ids
        words = base.get_input_embeddings().weight.detach()
        torch.nn.init.zeros_(base.resampler.spell.weight)
        base.resampler.spell.bias.data.copy_(words[[word("two"), word("<eos>"), word("red")]].flatten())
        processor.max_question_tokens = base.resampler.max_tokens
        assert base.spell([pictures[0]] * 2 + [pictures[1]], ["how many?"] * 3, processor, batch_size=2) == ["two"] * 3

    @pytest.mark.parametrize("with_draft", [True, False])
    @pytest.mark.parametrize("seed", range(6))
    def test_checked_answers_are_those_of_generate(self, base, processor, pictures, monkeypatch, seed, with_draft):
        torch.manual_seed(seed)
        base.bridge["copy"].open_gate(0.9)
        base.resampler.spell.weight.data.normal_(std=3.0)
        base.get_input_embeddings().weight.data[processor.tokenizer.eos_token_id] *= 1 + seed / 3  # some end early
        processor.max_question_tokens = base.resampler.max_tokens
        asked = ["how many?", "what colour is the circle ?", "where?", "how many bars?", "where?", "how many?"]
        images = pictures[:2] * 3
        longest = 1 + seed
        if not with_draft:
            monkeypatch.setattr(base.backbone, "_is_stateful", True)
        found = base.collect(images, asked, processor, batch_size=4, max_new_tokens=longest)
        for row, (image, question) in enumerate(zip(images, asked, strict=True)):
            inputs = processor([image], [question])
            out = base.generate(
                **inputs, max_new_tokens=longest, do_sample=False, output_logits=True, return_dict_in_generate=True,
                pad_token_id=0, eos_token_id=processor.tokenizer.eos_token_id,
            )  # fmt: skip
            tokens = out.sequences[0, inputs["input_ids"].shape[1] :]
            told = torch.stack(out.logits, 1)[0].log_softmax(-1).gather(1, tokens[:, None])
            assert found.texts[row] == processor.decode_answers(tokens[None])[0]
            assert found.confidence[row] == pytest.approx(told.sum().exp().item(), rel=1e-3)
            states = base(**inputs, output_attentions=True)
            np.testing.assert_allclose(found.hidden[row], states.last_hidden_state[0, -1].detach(), atol=1e-4)
            gates = torch.cat([gate[0, -1] for gate in states.gates.values()])
            np.testing.assert_allclose(found.gates[row], gates.detach(), atol=1e-4)
            likeliest = states.logits[0, -1].detach().sort(descending=True)[0]
            np.testing.assert_allclose(found.logits[row, :-1], likeliest[: found.logits.shape[1] - 1], atol=1e-3)

    def test_padding_and_shared_pictures_change_nothing(self, base, batch):
        inputs = batch | questions() | {"vision_index": torch.tensor([1, 0, 1])}
        together = logits(base, inputs)
        for row, picture in enumerate((1, 0, 1)):
            alone = {n: v[row : row + 1] for n, v in inputs.items() if n not in ("pixel_values", "vision_index")}
            length = int(alone["question_mask"].sum())
            alone |= {n: alone[n][:, :length] for n in ("question_ids", "question_mask")}
            alone["pixel_values"] = batch["pixel_values"][picture : picture + 1]
            kept = batch["attention_mask"][row].bool()
            torch.testing.assert_close(logits(base, alone)[0, kept], together[row, kept])

    def test_the_answer_depends_on_question_and_picture(self, base, batch):
        other_question = questions()
        other_question["question_ids"] = other_question["question_ids"].flip(0)
        other_picture = batch | {"pixel_values": batch["pixel_values"].flip(0)}
        first = logits(base, batch | questions())
        assert not torch.allclose(first[0], logits(base, batch | other_question)[0])
        assert not torch.allclose(first[0], logits(base, other_picture | questions())[0])

    def test_generation_with_cache_equals_generation_without(self, base, batch):
        inputs = batch | questions()
        assert torch.equal(
            base.generate(**inputs, **GREEDY, use_cache=True), base.generate(**inputs, **GREEDY, use_cache=False)
        )

    def test_where_it_looked_is_the_evidence(self, base, batch, tokenizer, pictures):
        output = base(**batch, **questions())
        assert output.looked.shape == (3, 16) and torch.allclose(output.looked.sum(1), torch.ones(3))
        processor = LeamlProcessor.from_backbones(tokenizer, image_size=32, max_question_tokens=8)
        answers = base.answer(pictures, ["how many bars?", "what colour is the circle?", "where?"], processor)
        assert all(answer.evidence.shape == (4, 4) and answer.evidence.sum() == pytest.approx(1) for answer in answers)

    def test_a_missing_question_is_told_in_a_sentence(self, base, batch):
        with pytest.raises(LeamlInputError, match="question_ids"):
            base(**batch)
        with pytest.raises(LeamlInputError, match="9 tokens"):
            base(**batch, question_ids=torch.ones(3, 9, dtype=torch.long))


class TestNumberFormat:
    def test_an_adapter_is_loaded_in_the_format_it_was_trained_in(self, backbone_folders, tmp_path, batch):
        make_base(backbone_folders[1], tmp_path / "base")
        model = open_adapter(LeamlForVisualQA.from_backbone(tmp_path / "base", dtype=torch.bfloat16, **SMALL))
        model.save_pretrained(tmp_path / "adapter")
        again = AutoModel.from_pretrained(tmp_path / "adapter")
        assert again.backbone.dtype == torch.bfloat16
        assert torch.equal(logits(again, batch), logits(model, batch))
        assert (
            LeamlForVisualQA.from_pretrained(tmp_path / "adapter", dtype=torch.float32).backbone.dtype == torch.float32
        )

    def test_cached_lower_states_serve_a_backbone_in_bfloat16(self, backbone_folders, tmp_path, batch):
        make_base(backbone_folders[1], tmp_path / "base")
        model = LeamlForVisualQA.from_backbone(tmp_path / "base", dtype=torch.bfloat16, **SMALL)
        lower = model.encode_lower(batch["input_ids"], batch["attention_mask"]).float()
        kept = batch["attention_mask"].bool()
        torch.testing.assert_close(
            logits(model, batch | {"lower_states": lower})[kept], logits(model, batch)[kept], rtol=0.02, atol=0.02
        )


class TestGradients:
    def test_every_adapter_parameter_learns_and_nothing_else(self, composed, batch):
        open_adapter(composed).train()
        labels = batch["input_ids"].clone()
        labels[:, :5] = -100
        composed(**batch, labels=labels).loss.backward()
        for name, parameter in composed.named_parameters():
            is_adapter = name.startswith("fusion.") or ".lora_" in name
            assert parameter.requires_grad == is_adapter, name
            assert (parameter.grad is not None and bool(parameter.grad.any())) == is_adapter, name

    def test_a_closed_gate_can_open(self, composed, batch):
        composed(**batch, labels=batch["input_ids"]).loss.backward()
        assert all(layer.alpha.grad.any() for layer in composed.fusion.values())

    def test_checkpointing_keeps_the_gradients(self, composed, batch):
        open_adapter(composed).train()
        gradients = []
        for checkpointing in (False, True):
            if checkpointing:
                composed.activation_checkpointing_enable()
            composed.zero_grad()
            composed(**batch, labels=batch["input_ids"]).loss.backward()
            gradients.append({n: p.grad.clone() for n, p in composed.named_parameters() if p.grad is not None})
        assert gradients[0].keys() == gradients[1].keys()
        for name, gradient in gradients[0].items():
            torch.testing.assert_close(gradients[1][name], gradient)

    @pytest.mark.parametrize(
        ("options", "parts"),
        [
            ({}, {"backbone"}),
            ({"adapt_vision": True}, {"backbone", "vision_tower", "connector"}),
            ({"adapt_bridge": True}, {"backbone", "resampler", "bridge"}),
        ],
    )
    def test_lora_reaches_the_parts_asked_for(self, backbone_folders, tmp_path, batch, options, parts):
        make_base(backbone_folders[1], tmp_path, **RESAMPLER)
        model = open_adapter(LeamlForVisualQA.from_backbone(str(tmp_path), **options, **SMALL)).train()
        model(**batch, **questions(), labels=batch["input_ids"]).loss.backward()
        reached = {n.split(".")[0] for n, p in model.named_parameters() if ".lora_" in n and p.grad.any()}
        assert reached == parts

    def test_frozen_encoder_stays_in_evaluation_mode(self, composed):
        composed.train()
        assert composed.training
        assert not composed.vision_tower.training

    def test_loss_is_the_mean_over_the_answer(self, composed, batch):
        labels = batch["input_ids"].clone()
        labels[:, :6] = -100
        out = composed(**batch, labels=labels)
        chosen = out.logits[:, 5:7].log_softmax(-1).gather(-1, labels[:, 6:, None])
        torch.testing.assert_close(out.loss, -chosen.mean())
        short = composed(**batch, labels=labels, logits_to_keep=3)
        assert short.logits.shape[1] == 3
        torch.testing.assert_close(short.loss, out.loss)

    def test_logits_of_chosen_places_alone(self, composed, batch):
        labels = torch.full_like(batch["input_ids"], -100)
        labels[0, 7:] = labels[1, 5:7] = 1
        places = answer_places(labels)
        assert places.nonzero().tolist() == [[0, 6], [1, 4], [1, 5]]
        chosen = composed(**batch, logits_to_keep=places).logits
        torch.testing.assert_close(chosen, composed(**batch).logits[places])
        with pytest.raises(LeamlInputError, match="leave out the places"):
            composed(**batch, labels=labels, logits_to_keep=places)


class TestCachedParts:
    def test_lower_states_give_the_same_logits(self, composed, batch):
        open_adapter(composed)
        lower = composed.encode_lower(batch["input_ids"], batch["attention_mask"])
        again = logits(composed, {**batch, "lower_states": lower})
        torch.testing.assert_close(again, logits(composed, batch), rtol=1e-5, atol=1e-5)

    def test_lower_states_from_the_first_layer(self, batch):
        model = open_adapter(LeamlForVisualQA.from_backbones(make_vision(), make_text(), [0], [0], **SMALL))
        lower = model.encode_lower(batch["input_ids"], batch["attention_mask"])
        assert torch.equal(lower, model.get_input_embeddings()(batch["input_ids"]))
        torch.testing.assert_close(logits(model, {**batch, "lower_states": lower}), logits(model, batch))

    def test_a_decoder_that_scales_its_embeddings_runs_in_two_parts_rightly_or_is_refused(self, batch):
        sizes = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
        config = GemmaConfig(head_dim=8, num_key_value_heads=2, **{key: getattr(text_config(), key) for key in sizes})
        model = LeamlForVisualQA.from_backbones(make_vision(), GemmaForCausalLM(config).eval(), **SMALL)
        try:
            lower = model.encode_lower(batch["input_ids"], batch["attention_mask"])
        except LeamlInputError as error:
            assert "gemma" in str(error)
        else:
            torch.testing.assert_close(logits(model, {**batch, "lower_states": lower}), logits(model, batch))

    def test_lower_states_refuse_a_cache(self, composed, batch):
        with pytest.raises(LeamlInputError, match="without a cache"):
            composed(lower_states=torch.zeros(1, 2, 32), use_cache=True)

    def test_vision_states_and_index_give_the_same_logits(self, composed, batch):
        open_adapter(composed)
        index = torch.tensor([0, 1, 0])
        repeated = {**batch, "pixel_values": batch["pixel_values"][index]}
        states = composed.encode_vision(batch["pixel_values"][:2])
        shared = {**batch, "pixel_values": None, "vision_states": states, "vision_index": index}
        torch.testing.assert_close(logits(composed, shared), logits(composed, repeated))

    def test_text_alone_needs_no_picture(self, composed, batch):
        del batch["pixel_values"]
        with torch.no_grad():
            assert composed(**batch).vision_states is None

    def test_the_encoder_of_an_existing_model_runs_once(self):
        backbone = make_llava()
        runs = []
        backbone.model.vision_tower.register_forward_hook(lambda *_: runs.append(1))
        model = LeamlForVisualQA.from_backbone(backbone)
        ids = torch.full((1, 18), 3)
        ids[:, -2:] = 5
        out = model(ids, pixel_values=torch.randn(1, 3, 32, 32), output_attentions=True)
        assert len(runs) == 1
        assert out.vision_states.shape == (1, 16, 32)
        assert "get_image_features" not in vars(backbone)

    def test_a_copy_is_independent(self, composed, batch):
        twin = copy.deepcopy(composed)
        open_adapter(twin)
        assert torch.equal(logits(composed, batch), logits(make_text(), text_only(batch)))
        assert not torch.allclose(logits(twin, batch), logits(composed, batch))


class TestGeneration:
    def test_left_padding_changes_nothing(self, composed, batch):
        open_adapter(composed)
        single = {key: value[1:2] for key, value in batch.items()}
        single["input_ids"], single["attention_mask"] = single["input_ids"][:, 3:], single["attention_mask"][:, 3:]
        torch.testing.assert_close(logits(composed, single)[0], logits(composed, batch)[1, 3:], rtol=1e-5, atol=1e-5)
        together = composed.generate(**batch, **GREEDY)
        alone = composed.generate(**single, **GREEDY)
        assert torch.equal(alone[0, -5:], together[1, -5:])

    def test_cache_changes_nothing(self, composed, batch):
        open_adapter(composed)
        runs = []
        composed.vision_tower.register_forward_hook(lambda *_: runs.append(1))
        with_cache = composed.generate(**batch, **GREEDY)
        assert len(runs) == 1
        assert torch.equal(with_cache, composed.generate(**batch, **GREEDY, use_cache=False))

    def test_beams_share_the_picture(self, composed, batch):
        open_adapter(composed)
        together = composed.generate(**batch, max_new_tokens=4, num_beams=2, do_sample=False, eos_token_id=None)
        alone = composed.generate(
            batch["input_ids"][:1], batch["pixel_values"][:1], max_new_tokens=4, num_beams=2, do_sample=False,
            eos_token_id=None,
        )  # fmt: skip
        assert torch.equal(together[0], alone[0])

    def test_steps_by_hand_with_the_models_own_cache(self, composed, batch):
        open_adapter(composed)
        expected = composed.generate(**batch, **GREEDY)
        ids, mask, past = batch["input_ids"], batch["attention_mask"], None
        states, tokens = composed.encode_vision(batch["pixel_values"]), ids
        with torch.no_grad():
            for _ in range(5):
                out = composed(tokens, mask, vision_states=states, past_key_values=past, use_cache=True)
                past, tokens = out.past_key_values, out.logits[:, -1:].argmax(-1)
                ids, mask = torch.cat([ids, tokens], 1), torch.cat([mask, torch.ones_like(tokens)], 1)
        assert torch.equal(ids, expected)

    def test_existing_model_generates_as_it_predicts(self):
        model = open_adapter(LeamlForVisualQA.from_backbone(make_llava(), fusion_layers=[1, 3]))
        ids = torch.randint(4, 26, (2, 20))
        ids[:, 2:18] = 3
        pixels = torch.randn(2, 3, 32, 32)
        generated = model.generate(ids, pixels, **GREEDY)
        with torch.no_grad():
            for _ in range(5):
                ids = torch.cat([ids, model(ids, pixel_values=pixels).logits[:, -1:].argmax(-1)], 1)
        assert torch.equal(generated, ids)


class TestAnswers:
    def test_answers_have_what_they_promise(self, composed, processor, pictures):
        open_adapter(composed)
        questions = ["how many bars?", "what is the tallest?", "where is the circle"]
        answers = composed.answer(pictures, questions, processor, batch_size=2, max_new_tokens=4)
        assert len(answers) == 3
        for answer in answers:
            assert isinstance(answer.text, str)
            assert 0.0 < answer.confidence <= 1.0
            assert np.isnan(answer.ood_score)
            assert not answer.is_ood
            assert not answer.abstained
            assert answer.evidence.shape == (4, 4)
            assert answer.evidence.sum() == pytest.approx(1.0, abs=1e-5)
            assert (answer.evidence >= 0).all()

    def test_batches_and_shared_pictures_change_nothing(self, composed, processor, pictures):
        open_adapter(composed)
        questions = ["how many bars?", "what is the colour of the tallest?", "how many"]
        seen = []

        def count(module, args, kwargs, out):
            seen.append(kwargs["pixel_values"].shape[0])

        composed.vision_tower.register_forward_hook(count, with_kwargs=True)
        together = composed.collect([pictures[0]], questions, processor, max_new_tokens=3)
        assert seen == [1]
        apart = composed.collect([pictures[0]] * 3, questions, processor, batch_size=1, max_new_tokens=3)
        assert together.texts == apart.texts
        for name in ("confidence", "vision", "places", "texture", "hidden", "logits", "gates"):
            np.testing.assert_allclose(getattr(together, name), getattr(apart, name), rtol=1e-4, atol=1e-5)
        assert set(together.states()) == {"vision", "places", "texture", "question", "hidden", "logits", "gates",
                                          "attention"}  # fmt: skip

    def test_lora_that_adds_nothing_is_not_run(self, composed, processor, pictures):
        asked = pictures, ["how many"] * 3, processor
        before = composed.collect(*asked)
        down = [layer.lora_A["default"].weight for layer in lora_layers(composed).values()]
        kept = [weight.clone() for weight in down]
        for weight in down:
            torch.nn.init.constant_(weight, float("nan"))  # times B = 0 is NaN
        assert down and np.array_equal(composed.collect(*asked).logits, before.logits)
        assert composed(**processor(images=pictures, questions=asked[1])).logits.isnan().any()  # there it does run
        for weight, values in zip(down, kept, strict=True):
            weight.data.copy_(values)
        plain = composed(**processor(images=pictures, questions=asked[1])).logits
        open_adapter(composed)
        assert not np.array_equal(composed.collect(*asked).logits, before.logits)
        assert not torch.equal(composed(**processor(images=pictures, questions=asked[1])).logits, plain)

    def test_texture_is_of_the_first_layers(self, composed, processor, pictures):
        records = composed.collect(pictures, ["how many"] * 3, processor, batch_size=2)
        pixels = processor(images=pictures)["pixel_values"]
        with torch.no_grad():
            zeroth, first = composed.vision_tower(pixels, output_hidden_states=True).hidden_states[:2]
        steps = np.stack([zeroth[:, k] - zeroth[:, k - 1] for k in range(zeroth.shape[1])], axis=1)
        expected = [zeroth.mean(1), first.mean(1), np.log(np.abs(steps) + 0.01).mean(1)]
        np.testing.assert_allclose(records.texture, np.concatenate(expected, axis=1), rtol=1e-4, atol=1e-5)
        states, textures, _ = composed.encode_pictures(pixels)
        encoded = [EncodedPicture(*both) for both in zip(states, textures, strict=True)]
        again = composed.collect(encoded, ["how many"] * 3, processor)
        for name in ("confidence", "vision", "places", "texture"):
            np.testing.assert_allclose(getattr(again, name), getattr(records, name), rtol=1e-4, atol=1e-5)

    def test_a_base_that_reads_names_tells_them_of_each_picture(self, backbone_folders, tmp_path, processor, pictures):
        base = make_base(backbone_folders[1], tmp_path / "base", **RESAMPLER, reader_dim=5, reader_ffn_dim=7)
        torch.nn.init.normal_(base.reader.written.weight, generator=torch.Generator().manual_seed(0))
        base.save_pretrained(tmp_path / "base")
        assert {name.split(".")[0] for name in load_file(tmp_path / "base" / "leaml_base.safetensors")} == {
            "vision_tower", "connector", "resampler", "bridge", "reader"
        }  # fmt: skip
        loaded = LeamlForVisualQA.from_pretrained(tmp_path / "base")
        reading = LeamlProcessor(processor.image_processor, processor.tokenizer, max_question_tokens=8)
        asked = [pictures[0], pictures[1], pictures[0]], ["how many bars?", "how many", "how many"], reading
        found = loaded.collect(*asked).names.reshape(3, 16, 5)
        with torch.no_grad():
            states = loaded.encode_vision(processor(images=pictures[:2])["pixel_values"])
            shown = loaded.reader.written(states)[..., 0].sigmoid()
            codes = loaded.reader.code(torch.nn.functional.gelu(loaded.reader.hidden(loaded.reader.norm(states))))
        for row, picture in enumerate((0, 1, 0)):
            expected = []
            for place in shown[picture].argsort(descending=True):
                code = codes[picture, place] / codes[picture, place].norm()
                if shown[picture, place] > 0.3 and all(code @ other <= 0.7 for other in expected):
                    expected.append(code)
            np.testing.assert_allclose(found[row, : len(expected)], torch.stack(expected), atol=1e-4)
            assert not found[row, len(expected) :].any()
        assert np.abs(found).max() > 0.1
        counts = loaded.num_added_parameters()
        assert counts["reader"] == sum(p.numel() for p in loaded.reader.parameters())
        model = LeamlForVisualQA.from_backbone(tmp_path / "base", **SMALL)
        assert not any(parameter.requires_grad for parameter in model.reader.parameters())
        np.testing.assert_allclose(model.collect(*asked).names, found.reshape(3, 80), atol=1e-5)

    def test_places_are_told_by_their_distance_from_the_mean(self, composed, processor, pictures):
        records = composed.collect(pictures, ["how many"] * 3, processor, batch_size=2)
        with torch.no_grad():
            states = composed.encode_vision(processor(images=pictures)["pixel_values"]).double().numpy()
        mean = states.mean(1)
        cosine = [
            [1 - distance.cosine(place, middle) for place in own] for own, middle in zip(states, mean, strict=True)
        ]
        away = np.linalg.norm(states - mean[:, None], axis=2) / np.linalg.norm(mean, axis=1, keepdims=True)
        np.testing.assert_allclose(records.places, np.concatenate([cosine, away], axis=1), rtol=1e-4, atol=1e-4)

    def test_confidence_is_the_probability_of_the_tokens(self, composed, processor, pictures):
        open_adapter(composed)
        inputs = processor(images=pictures[:1], questions=["how many bars?"])
        records = composed.collect(pictures[:1], ["how many bars?"], processor, max_new_tokens=3)
        tokens = composed.generate(**inputs, max_new_tokens=3, do_sample=False, eos_token_id=1, pad_token_id=0)
        new = tokens.shape[1] - inputs["input_ids"].shape[1]
        mask = torch.ones_like(tokens)
        with torch.no_grad():
            scores = composed(tokens, mask, inputs["pixel_values"]).logits[:, -new - 1 : -1].log_softmax(-1)
        expected = scores.gather(-1, tokens[:, -new:, None]).sum().exp().item()
        assert records.confidence[0] == pytest.approx(expected, rel=1e-4)
        first = scores[0, 0]  # as if of the full vocabulary
        kept = torch.from_numpy(records.logits[0]).log_softmax(-1)
        assert kept.shape == (64,) and kept[:63].tolist() == pytest.approx(first.topk(63).values.tolist(), abs=1e-4)

    def test_reliability_is_applied(self, composed, processor, pictures):
        class Doubtful:
            def apply(self, states, raw):
                assert states["hidden"].shape == (3, 32)
                ones = np.ones(len(raw))
                return {"confidence": ones / 2, "ood_score": ones * 7, "is_ood": ones > 0, "abstained": ones > 0}

        composed.reliability = Doubtful()
        answer = composed.answer(pictures, ["how many?"] * 3, processor)[0]
        assert (answer.confidence, answer.ood_score, answer.is_ood, answer.abstained) == (0.5, 7.0, True, True)

    def test_a_base_without_gates_shows_its_bridge(self, backbone_folders, tmp_path, processor, pictures):
        base = make_base(backbone_folders[1], tmp_path)
        answer = base.answer(pictures[:1], ["how many?"], processor)[0]
        assert answer.evidence.shape == (4, 4)
        assert answer.evidence.std() > 0

    def test_only_a_resampler_reads_questions(self, composed, pictures):
        with pytest.raises(LeamlInputError, match="bases with a resampler"):
            composed.read_questions(*questions().values(), torch.zeros(3, 4, 32))
        with pytest.raises(LeamlInputError, match="bases with a resampler"):
            composed(input_ids=torch.ones(3, 4).long(), question_states=torch.zeros(3, 4, 32))

    @pytest.mark.parametrize(
        ("images", "questions", "options", "message"),
        [
            (2, 3, {}, "2 for 3"),
            (1, 0, {}, "at least one question"),
            (1, 1, {"batch_size": 0}, "batch_size"),
            (1, 1, {"max_new_tokens": 0}, "max_new_tokens"),
        ],
    )
    def test_wrong_use_is_told(self, composed, processor, pictures, images, questions, options, message):
        with pytest.raises(LeamlInputError, match=message):
            composed.answer(pictures[:images], ["how many?"] * questions, processor, **options)


class TestFiles:
    def test_round_trip_in_another_process(self, backbone_folders, tmp_path, batch):
        model = saved_adapter(backbone_folders, tmp_path / "adapter")
        save_file(batch, tmp_path / "batch.safetensors")
        code = (
            "import sys, torch, leaml_hf\n"
            "from safetensors.torch import load_file, save_file\n"
            "from transformers import AutoModel\n"
            "torch.set_num_threads(1)\n"
            "model = AutoModel.from_pretrained(sys.argv[1] + '/adapter')\n"
            "assert type(model) is leaml_hf.LeamlForVisualQA and not model.training\n"
            "with torch.no_grad():\n"
            "    out = model(**load_file(sys.argv[1] + '/batch.safetensors')).logits\n"
            "save_file({'logits': out}, sys.argv[1] + '/out.safetensors')\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(SRC), "HF_HUB_OFFLINE": "1"}
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=environment, capture_output=True)
        assert torch.equal(load_file(tmp_path / "out.safetensors")["logits"], logits(model, batch))
        assert not torch.allclose(logits(model, batch), logits(make_text(), text_only(batch)))

    @pytest.mark.parametrize("auto_class", [AutoModelForImageTextToText, AutoModelForVisualQuestionAnswering])
    def test_other_auto_classes_load_it(self, backbone_folders, tmp_path, batch, auto_class):
        model = saved_adapter(backbone_folders, tmp_path)
        assert torch.equal(logits(auto_class.from_pretrained(tmp_path), batch), logits(model, batch))

    def test_a_folder_holds_the_adapter_alone_and_no_path_but_the_base(self, backbone_folders, tmp_path):
        model = saved_adapter(backbone_folders, tmp_path)
        assert {file.name for file in tmp_path.iterdir()} == {"config.json", "leaml_adapter.safetensors"}
        tensors = load_file(tmp_path / "leaml_adapter.safetensors")
        assert sum(t.numel() for t in tensors.values()) == model.num_added_parameters()["added"]
        config = json.loads((tmp_path / "config.json").read_text())
        assert config["text_name_or_path"] == str(backbone_folders[1])
        assert not config["text_config"].get("_name_or_path")
        assert config["versions"]["transformers"]
        assert config["architectures"] == ["LeamlForVisualQA"]

    def test_base_and_adapter_on_it(self, backbone_folders, tmp_path, batch):
        base = make_base(backbone_folders[1], tmp_path / "base")
        names = set(load_file(tmp_path / "base" / "leaml_base.safetensors"))
        assert names
        assert {name.split(".")[0] for name in names} == {"vision_tower", "connector", "bridge"}
        loaded = LeamlForVisualQA.from_pretrained(tmp_path / "base")
        torch.testing.assert_close(logits(loaded, batch), logits(base, batch), rtol=1e-2, atol=1e-2)  # float16 on disk
        model = open_adapter(LeamlForVisualQA.from_backbone(tmp_path / "base", adapt_vision=True, **SMALL))
        model.save_pretrained(tmp_path / "adapter")
        again = AutoModel.from_pretrained(tmp_path / "adapter")
        assert torch.equal(logits(again, batch), logits(model, batch))
        assert again.config.first_adapted_layer == 1

    def test_adapter_on_an_existing_model(self, tmp_path):
        make_llava().save_pretrained(tmp_path / "base")
        model = open_adapter(LeamlForVisualQA.from_backbone(tmp_path / "base"))
        model.save_pretrained(tmp_path / "adapter")
        ids = torch.full((1, 18), 3)
        ids[:, -2:] = 5
        inputs = {"input_ids": ids, "pixel_values": torch.randn(1, 3, 32, 32)}
        assert torch.equal(logits(AutoModel.from_pretrained(tmp_path / "adapter"), inputs), logits(model, inputs))

    def test_a_moved_base_can_be_named(self, backbone_folders, tmp_path, batch):
        make_base(backbone_folders[1], tmp_path / "base")
        model = open_adapter(LeamlForVisualQA.from_backbone(tmp_path / "base", **SMALL))
        model.save_pretrained(tmp_path / "adapter")
        (tmp_path / "base").rename(tmp_path / "moved")
        with pytest.raises(LeamlInputError, match="base"):
            LeamlForVisualQA.from_pretrained(tmp_path / "adapter")
        again = LeamlForVisualQA.from_pretrained(tmp_path / "adapter", base=str(tmp_path / "moved"))
        assert torch.equal(logits(again, batch), logits(model, batch))

    def test_another_base_is_refused(self, backbone_folders, tmp_path):
        saved_adapter(backbone_folders, tmp_path / "adapter")
        with pytest.raises(LeamlInputError, match=r"another base.*sha256"):
            LeamlForVisualQA.from_pretrained(tmp_path / "adapter", text=make_text(seed=9))
        make_base(backbone_folders[1], tmp_path / "base")
        with pytest.raises(LeamlInputError, match="other weights"):
            LeamlForVisualQA.from_pretrained(tmp_path / "base", text=make_text(seed=9))

    def test_a_file_cut_short_is_refused(self, backbone_folders, tmp_path):
        saved_adapter(backbone_folders, tmp_path)
        file = tmp_path / "leaml_adapter.safetensors"
        file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(LeamlInputError, match="cut short"):
            LeamlForVisualQA.from_pretrained(tmp_path)

    def test_a_missing_file_is_told(self, backbone_folders, tmp_path):
        saved_adapter(backbone_folders, tmp_path)
        (tmp_path / "leaml_adapter.safetensors").unlink()
        with pytest.raises(LeamlInputError, match=r"no leaml_adapter\.safetensors"):
            AutoModel.from_pretrained(tmp_path)

    @pytest.mark.parametrize("damage", ["missing", "unexpected", "shape", "nan"])
    def test_tensors_that_do_not_match_are_refused(self, backbone_folders, tmp_path, damage):
        saved_adapter(backbone_folders, tmp_path)
        file = tmp_path / "leaml_adapter.safetensors"
        tensors = load_file(file)
        name = next(key for key in tensors if "lora_B" in key)
        if damage == "missing":
            del tensors[name]
        elif damage == "unexpected":
            tensors["backbone.model.layers.0.self_attn.q_proj.lora_A.weight"] = torch.zeros(8, 32)
        elif damage == "shape":
            tensors[name] = tensors[name][:, :4].contiguous()
        else:
            tensors[name][0, 0] = float("nan")
        save_file(tensors, file)
        with pytest.raises(LeamlInputError, match="lora"):
            LeamlForVisualQA.from_pretrained(tmp_path)

    def test_a_model_with_nan_is_not_saved(self, backbone_folders, tmp_path):
        model = saved_adapter(backbone_folders, tmp_path / "good")
        with torch.no_grad():
            model.fusion["2"].alpha[0] = float("nan")
        with pytest.raises(LeamlInputError, match=r"fusion\.2\.alpha"):
            model.save_pretrained(tmp_path / "bad")
        assert not (tmp_path / "bad").exists()

    def test_a_base_without_a_name_is_told(self, composed, tmp_path):
        with pytest.raises(LeamlInputError, match="save the base first"):
            composed.save_pretrained(tmp_path)

    def test_another_kind_of_model_is_told(self, backbone_folders):
        with pytest.raises(LeamlInputError, match="holds a llama model"):
            LeamlForVisualQA.from_pretrained(backbone_folders[1])


class TestMerging:
    def test_merging_changes_only_rounding(self, composed, batch):
        open_adapter(composed)
        before = logits(composed, batch)
        report = composed.merge_adapter()
        assert report == {"changed": 14, "expected": 14}
        torch.testing.assert_close(logits(composed, batch), before, rtol=1e-4, atol=1e-4)
        composed.unmerge_adapter()
        torch.testing.assert_close(logits(composed, batch), before, rtol=1e-4, atol=1e-4)

    def test_an_untrained_adapter_merges_to_nothing(self, composed):
        assert composed.merge_adapter() == {"changed": 0, "expected": 0}

    def test_a_merged_model_saves_the_same_adapter(self, backbone_folders, tmp_path, batch):
        model = saved_adapter(backbone_folders, tmp_path / "a")
        before = logits(model, batch)
        model.merge_adapter()
        model.save_pretrained(tmp_path / "b")
        assert torch.equal(logits(LeamlForVisualQA.from_pretrained(tmp_path / "b"), batch), before)


class TestMaking:
    def test_configuration_round_trip(self, composed, tmp_path):
        composed.config.save_pretrained(tmp_path)
        config = AutoConfig.from_pretrained(tmp_path)
        assert isinstance(config, LeamlConfig)
        assert config.fusion_layers == [2, 3]
        assert config.text_config.model_type == "llama"
        assert config.first_adapted_layer == 2

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"lora_rank": 0}, "lora_rank must be from 1 to .*, but got 0"),
            ({"fusion_layers": [-1]}, "fusion_layers"),
            ({"fusion_dim": 10, "fusion_heads": 4}, "10 and 4"),
            ({"lora_dropout": 1.0}, "lora_dropout"),
            ({"text_config": text_config()}, "together"),
        ],
    )
    def test_wrong_values_are_named(self, options, message):
        with pytest.raises(LeamlInputError, match=message):
            LeamlConfig(**options)

    def test_layers_that_do_not_exist_are_named(self):
        with pytest.raises(LeamlInputError, match="layer 4, but the backbone has layers 0 to 3"):
            LeamlForVisualQA.from_backbones(make_vision(), make_text(), fusion_layers=[4])
        with pytest.raises(LeamlInputError, match="fusion_alpha"):
            LeamlForVisualQA.from_backbones(
                make_vision(), make_text(), fusion_layers=[], lora_layers=[], fusion_alpha=1
            )

    def test_one_adapter_at_a_time(self, composed):
        with pytest.raises(LeamlInputError, match="has an adapter already"):
            composed.attach_adapter()

    def test_a_loaded_model_is_used_itself(self):
        backbone = make_llava()
        assert LeamlForVisualQA.from_backbone(backbone).backbone is backbone
        assert isinstance(backbone, LlavaForConditionalGeneration)

    def test_half_precision_keeps_the_adapter_in_single(self, batch):
        model = LeamlForVisualQA.from_backbones(make_vision().bfloat16(), make_text().bfloat16(), **SMALL)
        trainable = {p.dtype for p in model.parameters() if p.requires_grad}
        assert trainable == {torch.float32}
        assert logits(open_adapter(model), batch).dtype == torch.bfloat16

    def test_parameters_are_counted_by_part(self, composed, capsys):
        counts = composed.num_added_parameters()
        trainable = sum(p.numel() for p in composed.parameters() if p.requires_grad)
        assert counts["lora"] + counts["fusion"] == trainable
        assert counts["base"] + trainable == sum(p.numel() for p in composed.parameters())
        composed.print_trainable_parameters()
        assert f"{trainable:,}" in capsys.readouterr().out

    def test_processor_and_model_go_together(self, composed, processor, pictures):
        rows = [{"image": picture, "question": "how many?", "answer": "two"} for picture in pictures]
        assert isinstance(pictures[0], Image.Image)
        assert isinstance(processor, LeamlProcessor)
        assert composed(**processor.collate(rows)).loss.isfinite()


@pytest.mark.parametrize("first", ["from transformers import AutoProcessor", "from leaml_hf import LeamlConfig"])
def test_the_auto_classes_know_leaml_and_importing_the_package_is_cheap(first):
    code = (
        "import sys, leaml_hf\n"
        "assert 'torch' not in sys.modules\n"
        f"{first}\n"
        "from transformers import AutoConfig, AutoModel, AutoProcessor\n"
        "from transformers.models.auto.processing_auto import PROCESSOR_MAPPING\n"
        "config_class = type(AutoConfig.for_model('leaml'))\n"
        "assert AutoModel._model_mapping[config_class] is leaml_hf.LeamlForVisualQA\n"
        "assert PROCESSOR_MAPPING[config_class] is leaml_hf.LeamlProcessor\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(SRC)})
