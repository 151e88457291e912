"""Pairs of questions and answers that a second adapter writes: text, generator, filter, and training on them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SMALL_ADAPTER, make_llava, make_text, make_vision
from hypothesis import given
from hypothesis import strategies as st
from test_training import COLORS, rows

from leaml_hf import LeamlError, LeamlForVisualQA, LeamlInputError, LeamlTrainer, LeamlTrainingArguments
from leaml_hf.adapters import lora_layers
from leaml_hf.processing_leaml import LeamlBackboneProcessor
from leaml_hf.training.objectives import AdapterSnapshot, AnswerTokens, consistency_loss
from leaml_hf.training.pseudo_qa import (
    PAIRS_A_PICTURE,
    PairGenerator,
    agreed,
    answer_probability,
    one_row_a_picture,
    pair_precision,
    pair_text,
    parse_pair,
    rows_of,
)
from leaml_hf.training.rows import LeamlCollator

QUESTION = "what colour is the circle ?"
LAYERS = {"fusion_layers": [2, 3], "lora_layers": [2, 3]}


def sure(backbone: Any) -> Any:
    """The backbone with a head that can be sure of a token, as those of real models can."""
    with torch.no_grad():
        backbone.get_output_embeddings().weight *= 3
    return backbone


@pytest.fixture()
def model() -> LeamlForVisualQA:
    return LeamlForVisualQA.from_backbones(make_vision(), sure(make_text()), **LAYERS, **SMALL_ADAPTER)


@pytest.fixture()
def make_trainer(model, processor, tmp_path) -> Callable[..., LeamlTrainer]:
    def make(model: LeamlForVisualQA = model, processor: Any = processor, **options: Any) -> LeamlTrainer:
        values = {"max_steps": 2, "learning_rate": 1e-2, "evaluate_every": 30, "per_device_train_batch_size": 8,
                  "replay_share": 0.0, "pseudo_qa_weight": 1.0, "pseudo_qa_steps": 2, "use_cpu": True,
                  "disable_tqdm": True}  # fmt: skip
        bare = rows(24, 1, answered=False).select_columns("image")
        data = {"train_dataset": rows(24), "unlabeled_dataset": bare, "eval_dataset": rows(16, 2)}
        for name in list(options):
            if name.endswith("_dataset"):
                data[name] = options.pop(name)
        arguments = LeamlTrainingArguments(output_dir=str(tmp_path / "out"), **(values | options))
        return LeamlTrainer(model, arguments, processor, **data)

    return make


@pytest.fixture()
def make_generator(make_trainer) -> Callable[..., PairGenerator]:
    def make(**options: Any) -> PairGenerator:
        trainer = make_trainer()
        given = {"steps": 40, "learning_rate": 1e-2} | options
        return PairGenerator(trainer.model, trainer.processing_class, trainer._answers, trainer.cache, **given)

    return make


class TestText:
    @given(st.text("ab?:% ", min_size=1).filter(str.strip), st.text("1x.-: ", min_size=1).filter(str.strip))
    def test_what_is_written_is_read(self, question: str, answer: str) -> None:
        assert parse_pair(pair_text(question, answer)) == (" ".join(question.split()), " ".join(answer.split()))

    def test_tokens_with_spaces_around_are_read(self) -> None:
        assert parse_pair(" what is it ? Answer : red ") == ("what is it ?", "red")

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "what is it ?",
            "Answer: red",
            "what is it ? Answer:",
            "whatAnswer: red",
            "what ? Answer: is it ? Answer: red",
        ],
    )
    def test_a_part_is_missing(self, text: str) -> None:
        assert parse_pair(text) is None


class TestFilter:
    def test_probability_is_the_product_over_the_answers_tokens(self) -> None:
        torch.manual_seed(0)
        logits = torch.randn(2, 4, 5)
        labels = torch.tensor([[-100, -100, 3, 1], [-100, -100, -100, 2]])
        first = logits[0, 1].softmax(-1)[3] * logits[0, 2].softmax(-1)[1]
        expected = torch.stack([first, logits[1, 2].softmax(-1)[2]])
        answers = AnswerTokens.of(logits, labels, torch.ones(2))
        torch.testing.assert_close(answer_probability(answers), expected)

    def test_precision_is_of_answered_questions_alone(self) -> None:
        labelled = rows(4, 7)
        right = labelled["answer"]
        wrong = "where" if right[1] != "where" else "red"
        pairs = rows_of(labelled, ["What colour is the circle?", QUESTION, "how many bars ?", QUESTION],
                        [f"{right[0].upper()}.", wrong, "one", right[3]])  # fmt: skip
        assert pair_precision(pairs, labelled) == (2, 3)
        assert pair_precision(pairs.select([]), labelled) == (0, 0)

    def test_what_the_model_answers_itself_is_kept(self, make_trainer) -> None:
        trainer = make_trainer(max_steps=40, pseudo_qa_weight=0.0)
        trainer.train()
        collators = [LeamlCollator(trainer.processing_class, trainer.cache, strong) for strong in (False, True)]
        unseen = rows(20, 5)
        wrong = [next(name for name in COLORS if name != answer) for answer in unseen["answer"]]
        kept = [agreed(rows_of(unseen, unseen["question"], answers), None, trainer._answers, collators)
                for answers in (unseen["answer"], wrong)]  # fmt: skip
        assert kept[0].mean() >= 0.6 and kept[1].mean() <= 0.1
        assert not (kept[0] & kept[1]).any()
        assert agreed(rows_of(unseen.select([]), [], []), None, trainer._answers, collators).shape == (0,)


class TestGenerator:
    def test_learns_to_write_and_leaves_the_adapter_as_it_was(self, make_generator, model) -> None:
        before, pictures = AdapterSnapshot(model), rows(16, 1, answered=False)
        generator = make_generator().fit(rows(24), pictures)
        state = torch.get_rng_state()
        pairs = generator.write(pictures)
        assert all(torch.equal(p, before.values[n]) for n, p in before.parameters.items())
        assert not model.training and torch.equal(state, torch.get_rng_state())
        assert 12 <= len(pairs) <= PAIRS_A_PICTURE * 16
        assert np.mean([question == QUESTION for question in pairs["question"]]) >= 0.5
        true = rows_of(pictures, [QUESTION] * 16, rows(16, 1)["answer"])
        right, compared = pair_precision(pairs, true)
        assert compared >= 12 and right / compared >= 0.7  # it sees what it writes of
        again = generator.write(pictures)
        assert again["question"] == pairs["question"] and again["answer"] == pairs["answer"]

    def test_each_question_once_a_picture(self, make_generator, monkeypatch) -> None:
        generator, pictures = make_generator(steps=1).fit(rows(8), rows(2, 1)), rows(2, 1)
        texts = ["is it ? Answer: red", "Is it? Answer: blue", "broken", "what ? Answer: one"]
        monkeypatch.setattr(generator, "_sampled", lambda rows: ((i, t) for i in range(2) for t in texts))
        pairs = generator.write(pictures)
        assert pairs["question"] == ["is it ?", "what ?"] * 2 and pairs["answer"] == ["red", "one"] * 2

    def test_captions_are_what_the_model_itself_says(self, make_generator, model) -> None:
        """Not what stands beside it to answer the domain's questions."""
        generator, pictures = make_generator(steps=1), rows(4, 1, answered=False)
        plain = generator._captions(pictures)

        class Lexicon:
            def answer(self, model, call, questions, records) -> None:
                records.texts[:] = ["a name"] * len(questions)

        model.lexicon = lexicon = Lexicon()
        assert generator._captions(pictures).answers == plain.answers
        assert model.lexicon is lexicon

    def test_caption_distillation_keeps_what_the_backbone_says(self, make_generator, model) -> None:
        pictures, drift = rows(8, 1, answered=False), {}
        for weight in (0.0, 10.0):
            generator = make_generator(caption_weight=weight, steps=30).fit(rows(16), pictures)
            captions = generator._captions(pictures)
            batch = generator.collator([captions[i] for i in range(8)])
            with torch.no_grad():
                told = generator.forward(batch)
                with generator.adapter:
                    drift[weight] = consistency_loss(generator.forward(batch), told.logits).item()
        assert drift[10.0] < 0.5 * drift[0.0]

    def test_only_chosen_neurons_learn(self, make_generator, model) -> None:
        generator = make_generator(steps=3, neuron_share=0.1).fit(rows(16), rows(4, 1))
        with generator.adapter:
            moved = [layer.get_delta_weight("default").abs().sum(1) > 0 for layer in lora_layers(model).values()]
        assert 0 < torch.cat(moved).float().mean() <= 0.101

    def test_nan_stops_with_a_sentence(self, make_generator, model) -> None:
        before, generator = AdapterSnapshot(model), make_generator()
        forward = generator.forward
        generator.forward = lambda batch: replace(forward(batch), logits=forward(batch).logits * float("nan"))
        with pytest.raises(LeamlError, match="lower learning_rate"):
            generator.fit(rows(8), rows(2, 1))
        assert all(torch.equal(p, before.values[n]) for n, p in before.parameters.items())


class TestTrainer:
    def test_bare_pictures_teach(self, make_trainer, model) -> None:
        trainer = make_trainer(max_steps=30, pseudo_qa_steps=40, refresh_steps=15, refresh_rows=20, patience=9)
        losses = []
        rows_loss = trainer._rows_loss
        trainer._rows_loss = lambda *given: losses.append(len(given[1]["weights"])) or rows_loss(*given)
        trainer.train()
        assert trainer.unlabeled is None and not any("foreign" in entry for entry in trainer.history)
        entries = [entry for entry in trainer.history if "pairs_kept" in entry]
        assert [entry["step"] for entry in entries] == [0, 15]
        assert entries[0]["pairs_written"] == len(trainer.pairs) >= 10
        assert entries[0]["pairs_kept"] < 0.2 and entries[1]["pairs_kept"] > 0.3
        assert entries[0]["pair_precision"] is None or entries[0]["pair_precision_n"] > 0
        assert entries[1]["pair_precision_n"] >= 5 and entries[1]["pair_precision"] >= 0.9
        assert losses[-2:] == [8, 4]  # labelled rows, and half as many pairs
        pictures = {bytes(image.tobytes()) for image in trainer.pictures["image"]}
        assert all(image.tobytes() in pictures for image in trainer.pairs["image"])

    def test_of_an_existing_model(self, make_trainer, llava_processor) -> None:
        llava = LeamlForVisualQA.from_backbone(sure(make_llava()), **LAYERS, **SMALL_ADAPTER)
        options = {"pseudo_qa_steps": 50, "refresh_rows": 8, "eval_dataset": None}
        trainer = make_trainer(llava, LeamlBackboneProcessor(llava_processor), **options)
        trainer.train()
        (entry,) = [entry for entry in trainer.history if "pairs_kept" in entry]
        assert entry["pairs_written"] >= 6 and QUESTION in trainer.pairs["question"]

    def test_a_picture_with_questions_is_written_for_once(self, make_trainer) -> None:
        asked = rows(6, 1, answered=False).select([0, 1, 2, 3, 4, 5, 0, 1])
        assert len(one_row_a_picture(asked)) == 6
        trainer = make_trainer(unlabeled_dataset=asked, eval_dataset=None, consistency_weight=1.0)
        trainer.train()
        names = {name for entry in trainer.history for name in entry}
        assert {"foreign", "pairs_written", "pairs_kept"} <= names  # the teacher's rows are there as ever
        assert [entry["pair_precision_n"] for entry in trainer.history if "pairs_kept" in entry] == [0]

    def test_off_by_default(self, make_trainer) -> None:
        trainer = make_trainer(pseudo_qa_weight=LeamlTrainingArguments.pseudo_qa_weight)
        trainer.train()
        assert trainer.pictures is None and trainer.pairs is None and trainer.pair_batches is None

    @pytest.mark.parametrize(("name", "value"), [("pseudo_qa_weight", -1.0), ("pseudo_qa_steps", 0)])
    def test_bad_arguments_are_named(self, name: str, value: float, tmp_path) -> None:
        with pytest.raises(LeamlInputError, match=name):
            LeamlTrainingArguments(str(tmp_path), **{name: value})
