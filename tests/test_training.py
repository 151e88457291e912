"""The trainer and what it stands on: losses, averaging, thresholds, caches, guards."""

from collections.abc import Callable
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import scipy.stats
import torch
from conftest import SMALL_ADAPTER, make_text, make_vision
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from leaml_hf import (
    LeamlError,
    LeamlForVisualQA,
    LeamlInputError,
    LeamlProcessor,
    LeamlTrainer,
    LeamlTrainingArguments,
)
from leaml_hf.data.budget import picture_keys
from leaml_hf.evaluation.runner import Predictions, predict
from leaml_hf.phrasebook import Phrasebook, Rule
from leaml_hf.reliability import OODCombiner, Reliability
from leaml_hf.training.cache import FrozenCache
from leaml_hf.training.mismatch import PoolCheck
from leaml_hf.training.objectives import (
    SPELLING_SCALE,
    AdapterSnapshot,
    AnswerTokens,
    AveragedAdapter,
    answer_loss,
    calibration_error,
    consistency_loss,
    focal_loss,
    spelling_consistency,
    spelling_loss,
)
from leaml_hf.training.patterns import PatternTeacher
from leaml_hf.training.rows import LeamlCollator, RowDataset
from leaml_hf.training.views import WEAK, strong_view, view_of

COLORS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 220)}


def rows(n: int, seed: int = 0, answered: bool = True) -> datasets.Dataset:
    """One coloured square a picture; the question asks for its colour."""
    rng = np.random.default_rng(seed)
    names = [list(COLORS)[i] for i in rng.integers(len(COLORS), size=n)]
    pictures = [Image.fromarray(np.clip(np.full((32, 32, 3), COLORS[c]) + rng.integers(-20, 20, (32, 32, 3)), 0, 255)
                                .astype(np.uint8)) for c in names]  # fmt: skip
    data = {"image": pictures, "question": ["what colour is the circle ?"] * n,
            "answer": names if answered else [None] * n, "id": [f"{seed}-{i}" for i in range(n)]}  # fmt: skip
    features = datasets.Features({"image": datasets.Image(), **dict.fromkeys(("question", "answer", "id"),
                                                                             datasets.Value("string"))})  # fmt: skip
    return datasets.Dataset.from_dict(data, features=features)


def foreign_rows(n: int) -> datasets.Dataset:
    """Noise instead of coloured squares."""
    rng = np.random.default_rng(9)
    pictures = [Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(n)]
    plain = rows(n, 9, answered=False)
    return datasets.Dataset.from_dict(plain.to_dict() | {"image": pictures}, features=plain.features)


@pytest.fixture()
def model() -> LeamlForVisualQA:
    layers = {"fusion_layers": [2, 3], "lora_layers": [2, 3]}
    return LeamlForVisualQA.from_backbones(make_vision(), make_text(), **layers, **SMALL_ADAPTER)


@pytest.fixture()
def make_trainer(model: LeamlForVisualQA, processor: LeamlProcessor, tmp_path) -> Callable[..., LeamlTrainer]:
    def make(**options: object) -> LeamlTrainer:
        values = {
            "max_steps": 6,
            "learning_rate": 5e-3,
            "evaluate_every": 3,
            "refresh_steps": 2,
            "refresh_rows": 12,
            "per_device_train_batch_size": 8,
            "replay_share": 0.0,
            "consistency_weight": 1.0,
            "use_cpu": True,
            "disable_tqdm": True,
        }
        data = {
            "train_dataset": rows(24),
            "unlabeled_dataset": rows(24, 1, answered=False),
            "eval_dataset": rows(16, 2),
        }
        for name in list(options):
            if name.endswith("_dataset"):
                data[name] = options.pop(name)
        arguments = LeamlTrainingArguments(output_dir=str(tmp_path / "out"), **(values | options))
        return LeamlTrainer(model, arguments, processor, **data)

    return make


class TestAnswerLoss:
    @settings(max_examples=30)
    @given(st.integers(0, 10_000), st.floats(0, 0.3))
    def test_equals_a_loop_over_rows(self, seed: int, smoothing: float) -> None:
        generator = torch.Generator().manual_seed(seed)
        logits = torch.randn(3, 5, 7, generator=generator)
        labels = torch.randint(0, 7, (3, 5), generator=generator)
        labels[:, :2] = -100
        labels[1, 3] = -100
        weights = torch.rand(3, generator=generator)
        expected = 0.0
        for row in range(3):
            tokens = [t for t in range(1, 5) if labels[row, t] != -100]
            losses = []
            for t in tokens:
                log_probs = logits[row, t - 1].log_softmax(-1)
                losses.append(-(1 - smoothing) * log_probs[labels[row, t]] - smoothing * log_probs.mean())
            expected += weights[row] * sum(losses) / len(losses)
        torch.testing.assert_close(
            answer_loss(AnswerTokens.of(logits, labels, weights), smoothing), expected / weights.sum()
        )


class TestSpellingLoss:
    @settings(max_examples=20)
    @given(st.integers(0, 10_000))
    def test_equals_a_loop_over_rows(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        words = torch.nn.functional.normalize(torch.randn(9, 4, generator=generator), dim=-1)
        spelled = torch.nn.functional.normalize(torch.randn(3, 2, 4, generator=generator), dim=-1).requires_grad_()
        answers = [[3, 5, 8], [1], [7, 2]]  # the third token of the first is beyond what is spelt
        labels = torch.full((3, 6), -100)
        for row, answer in enumerate(answers):
            labels[row, 6 - len(answer) :] = torch.tensor(answer)
        weights = torch.rand(3, generator=generator)
        expected = 0.0
        for row, answer in enumerate(answers):
            losses = [
                -(SPELLING_SCALE * words @ spelled[row, k]).log_softmax(-1)[token]
                for k, token in enumerate(answer[:2])
            ]
            expected += weights[row] * sum(losses) / len(losses)
        loss = spelling_loss(spelled, labels, weights, words)
        torch.testing.assert_close(loss, expected / weights.sum())
        loss.backward()
        assert spelled.grad.abs().sum() > 0


class TestAveragedAdapter:
    def test_follows_the_parameters_and_gives_them_back(self) -> None:
        layer = torch.nn.Linear(2, 2)
        layer.bias.requires_grad_(False)
        average = AveragedAdapter(layer, decay=0.9)
        start = layer.weight.detach().clone()
        with torch.no_grad():
            layer.weight += 1.0
        for _ in range(200):
            average.update()
        assert set(average.values) == {"weight"}
        torch.testing.assert_close(average.values["weight"], start + 1.0, atol=1e-4, rtol=0)
        with torch.no_grad():
            layer.weight += 1.0
        with average:
            torch.testing.assert_close(layer.weight.detach(), start + 1.0, atol=1e-4, rtol=0)
        torch.testing.assert_close(layer.weight.detach(), start + 2.0)


class TestConsistency:
    def test_is_the_divergence_of_the_answer_tokens_alone(self) -> None:
        torch.manual_seed(0)
        student, teacher = torch.randn(2, 3, 5, 7)
        labels = torch.tensor([[-100, -100, -100, 3, 4], [-100, -100, 2, 1, 4], [-100, -100, -100, -100, 6]])
        rows = []
        for row in range(3):
            spots = [t for t in range(4) if labels[row, t + 1] != -100]
            p, q = (x[row, spots].softmax(-1).numpy().astype(np.float64) for x in (teacher, student))
            rows.append(scipy.stats.entropy(p, q, axis=1).mean())
        answers, told = (AnswerTokens.of(logits, labels, torch.ones(3)) for logits in (student, teacher))
        assert consistency_loss(answers, told.logits).item() == pytest.approx(np.mean(rows), rel=1e-5)
        assert consistency_loss(told, told.logits).item() == pytest.approx(0, abs=1e-6)

    def test_spelt_answers_are_compared_as_von_mises_fisher_distributions(self) -> None:
        rng = np.random.default_rng(0)
        first, second = rng.normal(size=(2, 576))
        first, second = first / np.linalg.norm(first), second / np.linalg.norm(second)
        # E_p[log p - log q] by sampling: the normalisers cancel
        drawn = scipy.stats.vonmises_fisher(first, SPELLING_SCALE, seed=1).rvs(20_000)
        expected = SPELLING_SCALE * (drawn @ (first - second)).mean()
        given = [torch.tensor(x, dtype=torch.float32)[None, None] for x in (second, first)]
        assert spelling_consistency(*given).item() == pytest.approx(expected, rel=0.05)


class TestViews:
    def test_a_view_is_the_same_each_time_and_another_number_another_view(self) -> None:
        image = rows(1)[0]["image"]
        first, again, other = (np.asarray(view_of(image, "key", view)) for view in (0, 0, 1))
        assert np.array_equal(first, again) and not np.array_equal(first, other)
        assert view_of(image, "key", WEAK) is image

    @settings(max_examples=30)
    @given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 60))
    def test_any_size_stays_what_it_is(self, seed: int, width: int, height: int) -> None:
        view = strong_view(Image.new("RGB", (width, height), (200, 30, 30)), np.random.default_rng(seed))
        assert view.size == (width, height) and view.mode == "RGB"


class TestCollator:
    def test_cached_inputs_give_the_logits_of_plain_ones(self, model, processor: LeamlProcessor) -> None:
        data = RowDataset(rows(6))
        batch = [data[i] for i in range(6)]
        cached = LeamlCollator(processor, FrozenCache(model, processor))(batch)
        plain = LeamlCollator(processor, None)(batch)
        assert "pixel_values" in plain and "lower_states" in cached
        with torch.no_grad():
            whole = model(plain["input_ids"], plain["attention_mask"], pixel_values=plain["pixel_values"]).logits
            parts = model(attention_mask=cached["attention_mask"], vision_states=cached["vision_states"],
                          lower_states=cached["lower_states"]).logits  # fmt: skip
        answer = plain["labels"][:, 1:] != -100
        torch.testing.assert_close(parts[:, :-1][answer], whole[:, :-1][answer], atol=0.05, rtol=0.02)  # bfloat16

    def test_a_cached_picture_is_not_decoded_again(self, model: LeamlForVisualQA, processor: LeamlProcessor) -> None:
        collator = LeamlCollator(processor, FrozenCache(model, processor))
        data = RowDataset(rows(4))
        first = collator([data[i] for i in range(4)])
        data.pictures = None  # decoding would fail now
        again = collator([data[i] for i in range(4)])
        assert torch.equal(first["vision_states"], again["vision_states"])


class TestTrainer:
    def test_learns_and_only_the_adapter_moves(self, make_trainer, model: LeamlForVisualQA) -> None:
        before = {n: p.detach().clone() for n, p in model.named_parameters()}
        options = {"max_steps": 60, "evaluate_every": 10, "learning_rate": 1e-2, "patience": 99}
        trainer = make_trainer(consistency_weight=0.0, **options)
        trainer.train()
        accuracy = [line["heldout_accuracy"] for line in trainer.history if "heldout_accuracy" in line]
        assert max(accuracy) >= 0.9 and accuracy[0] < 0.6
        moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
        trainable = {n for n, p in model.named_parameters() if p.requires_grad}
        assert moved <= trainable and len(moved) == len(trainable)

    def test_what_the_teacher_says_of_unlabelled_rows_is_kept(self, make_trainer, model: LeamlForVisualQA) -> None:
        start, unlabelled, moved = AdapterSnapshot(model), rows(24, 1, answered=False), {}
        for weight in (0.0, 30.0):
            options = {"eval_dataset": None, "max_steps": 12, "learning_rate": 1e-2, "refresh_steps": 12}
            trainer = make_trainer(unlabeled_dataset=unlabelled, consistency_weight=weight, **options)
            data = RowDataset(unlabelled, ["red"] * 24)
            batch = LeamlCollator(trainer.processing_class, None)([data[i] for i in range(24)])
            given = {name: batch[name] for name in ("input_ids", "attention_mask", "pixel_values")}
            said = []
            for train in (lambda: None, trainer.train):
                train()
                with torch.no_grad():
                    said.append(model.eval()(**given).logits[:, -3].softmax(-1))
            moved[weight] = (said[1] - said[0]).abs().sum(-1).mean().item()
            start.load(start.values)
        assert moved[30.0] < 0.5 * moved[0.0]

    def test_unlabelled_rows_need_no_column_of_answers(self, make_trainer) -> None:
        found = []
        for unlabelled in (rows(24, 1, answered=False), rows(24, 1).remove_columns("answer")):
            trainer = make_trainer(unlabeled_dataset=unlabelled, max_steps=3)
            trainer.train()
            trainer.fit_reliability()
            found.append({name: value.clone() for name, value in trainer.average.parameters.items()})
        assert found[0].keys() == found[1].keys()
        assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())

    def test_the_teacher_is_refreshed(self, make_trainer) -> None:
        trainer, taught = make_trainer(refresh_steps=2, max_steps=6), []
        refresh = trainer.refresh_teacher
        trainer.refresh_teacher = lambda: taught.append(trainer.state.global_step) or refresh()
        trainer.train()
        assert taught == [0, 2, 4]
        assert any(
            not torch.equal(value, trainer.best["values"][name]) for name, value in trainer.teacher.values.items()
        )

    def test_switched_off_no_teacher_is_asked(self, make_trainer) -> None:
        trainer = make_trainer(unlabeled_dataset=rows(24, 1, answered=False), consistency_weight=0.0)
        trainer.train()
        assert trainer.unlabeled_batches is None and trainer.teacher is None and len(trainer.unlabeled) == 24

    def test_an_adapter_worse_than_its_base_is_not_handed_over(self, make_trainer, model: LeamlForVisualQA) -> None:
        options = {"max_steps": 60, "evaluate_every": 20, "learning_rate": 1e-2, "consistency_weight": 0.0}
        make_trainer(patience=99, **options).train()  # so that there is something to lose
        values = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
        wrong = rows(24).map(lambda row: {"answer": "where"})
        trainer = make_trainer(train_dataset=wrong, **options)
        trainer.train()
        assert not trainer.better_than_base
        kept = {n: v.half().float() for n, v in values.items()}  # training ends by rounding
        assert all(torch.equal(p, kept[n]) for n, p in model.named_parameters() if n in kept)

    def test_nan_loss_stops_with_a_sentence_and_the_best_adapter_kept(self, make_trainer, model) -> None:
        trainer = make_trainer()
        values = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
        trainer._rows_loss = lambda *args, **options: torch.tensor(float("nan"), requires_grad=True)
        with pytest.raises(LeamlError, match="lower learning_rate"):
            trainer.train()
        kept = {n: v.half().float() for n, v in values.items()}  # training ends by rounding
        assert all(torch.equal(p, kept[n]) for n, p in model.named_parameters() if n in kept)

    def test_what_the_base_knows_is_asked_in_its_own_words(self, make_trainer, monkeypatch) -> None:
        known = "in what hue is it ?"
        source = rows(24, 3).remove_columns("question").add_column("question", [known] * 24)
        source = source.add_column("program", ["hue"] * 24)
        trainer = make_trainer(replay_dataset=source, replay_share=1.0, max_steps=1, eval_dataset=None)
        pictures = {name: np.array(color) for name, color in COLORS.items()}

        def collect(self, images, questions, processor, batch_size):
            names = [min(pictures, key=lambda n: abs(pictures[n] - image.states.numpy()).sum()) for image in images]
            texts = [name if question == known else "?" for name, question in zip(names, questions, strict=True)]
            return SimpleNamespace(texts=texts)

        def mean_color(self, pixels):
            color = (pixels.mean((2, 3)) + 1) * 127.5
            return color, color, None

        monkeypatch.setattr(type(trainer.model), "encode_pictures", mean_color)
        monkeypatch.setattr(type(trainer.model), "collect", collect)
        trainer.find_words()
        entry = trainer.history[-1]
        asked = [rule for rule in entry["patterns"] if rule["program"] == "hue"]
        assert asked and entry["trusted"] > 0
        question = asked[0]["example"]
        assert trainer.model.phrasebook.find([question])[0][0] == known
        assert known in trainer.train_dataset.questions and set(trainer.train_dataset.answers) <= COLORS.keys()

    @pytest.mark.parametrize("helps", [True, False])
    def test_words_that_cost_held_out_answers_are_dropped(self, make_trainer, monkeypatch, helps) -> None:
        rule = Rule("hue", "what colour is the circle ?", "in what hue is it ?", 0, {}, 8.0, 1.0, 1.0)
        book = Phrasebook([rule], {rule.example: (0, rule.pattern)})
        monkeypatch.setattr(PatternTeacher, "phrasebook", lambda self, questions: book)
        source = rows(24, 3).add_column("program", ["hue"] * 24)
        trainer = make_trainer(replay_dataset=source, replay_share=1.0, consistency_weight=0.0)
        trainer.model.phrasebook = Phrasebook([rule], {"of an earlier training": (0, rule.pattern)})

        def judged(model, processor, dataset, cache):
            n, right = len(dataset), (model.phrasebook is book) == helps
            return Predictions([""] * n, np.full(n, 0.5), np.full(n, right), {}, 0.0, 0.0)

        monkeypatch.setattr("leaml_hf.training.trainer.predict", judged)
        trainer.find_words()
        assert trainer.model.phrasebook is (book if helps else None)
        assert (rule.pattern in trainer.train_dataset.questions) is helps
        assert trainer.history[-1]["patterns_found"] == 1 and len(trainer.history[-1]["patterns"]) == helps
        parts = [picture_keys(part) for part, _ in trainer.folds]
        assert sorted(key for part in parts for key in part) == sorted(picture_keys(trainer.held_out))
        pictures = {key for part in parts for key in part}  # each in one part alone
        assert len(parts) == (3 if helps else 1) and sum(len({*part}) for part in parts) == len(pictures)

    def test_patterns_are_switched_off_by_one_argument(self, make_trainer) -> None:
        source = rows(24, 3).add_column("program", ["hue"] * 24)
        trainer = make_trainer(replay_dataset=source, replay_share=1.0, max_steps=1, use_patterns=False)
        trainer.train()
        assert trainer.model.phrasebook is None and not any("patterns" in entry for entry in trainer.history)

    def test_reliability_is_fitted_saved_and_loaded(self, make_trainer, processor, tmp_path) -> None:
        trainer = make_trainer(unlabeled_dataset=rows(40, 1, answered=False))
        trainer.train()
        reliability = trainer.fit_reliability()
        assert trainer.model.reliability is reliability and reliability.labeled_rows == 16
        answers = trainer.model.answer([rows(1, 9)[0]["image"]], ["what colour is the circle ?"], processor)
        assert 0 <= answers[0].confidence <= 1 and np.isfinite(answers[0].ood_score)

    @pytest.mark.parametrize("helped_by", ["nothing", "phrasebook", "examples"])
    def test_what_is_familiar_is_read_without_an_answer(
        self, make_trainer, model: LeamlForVisualQA, processor, monkeypatch, helped_by
    ) -> None:
        given, fit = [], Reliability.fit
        monkeypatch.setattr(Reliability, "fit", lambda *args, **named: given.append(args[0]) or fit(*args, **named))
        trainer = make_trainer(unlabeled_dataset=rows(40, 1, answered=False), eval_dataset=None)
        if helped_by == "phrasebook":
            rule = Rule("hue", "what colour is the circle ?", "in what hue is it ?", 0, {}, 8.0, 1.0, 1.0)
            model.phrasebook = Phrasebook([rule], {rule.example: (0, rule.pattern)})
        elif helped_by == "examples":
            trainer.args.retrieved_examples = 2
            trainer.index_examples()
        expected = predict(model, processor, trainer.unlabeled).states
        monkeypatch.setattr(model, "collect", None)  # whatever answers
        reliability = trainer.fit_reliability()
        assert set(given[0]) == {"vision", "places", "texture", "question"} and reliability.boundary is not None
        for name, state in given[0].items():
            np.testing.assert_allclose(state, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)

    def test_calibration_hears_what_the_base_says_of_labels_trained_on(
        self, make_trainer, model: LeamlForVisualQA, processor, monkeypatch
    ) -> None:
        given, fit = [], Reliability.fit
        monkeypatch.setattr(Reliability, "fit", lambda *args, **named: given.append(named) or fit(*args, **named))
        base = predict(model, processor, rows(24))  # a new adapter adds nothing
        trainer = make_trainer(max_steps=12, learning_rate=1e-2, evaluate_every=12, eval_dataset=rows(16, 2))
        trainer.train()
        values = {n: p.detach().clone() for n, p in model.named_parameters()}
        trained = predict(model, processor, rows(24))
        trainer.fit_reliability()
        confidence, correct, states = given[0]["earlier"]
        assert np.allclose(confidence, base.raw_confidence, atol=1e-5) and np.array_equal(correct, base.correct)
        assert np.allclose(states["hidden"], base.states["hidden"], atol=1e-4)
        assert not np.allclose(confidence, trained.raw_confidence, atol=1e-2)
        assert all(torch.equal(parameter, values[name]) for name, parameter in model.named_parameters())

    def test_same_seed_same_adapter(self, make_trainer, model: LeamlForVisualQA) -> None:
        start = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
        ends = []
        for _ in range(2):
            with torch.no_grad():
                for n, p in model.named_parameters():
                    if n in start:
                        p.copy_(start[n])
            trainer = make_trainer(eval_dataset=None)
            trainer.train()
            ends.append({n: p.detach().clone() for n, p in model.named_parameters() if n in start})
        assert all(torch.equal(ends[0][n], ends[1][n]) for n in start)

    def test_a_model_without_adapter_and_no_rows_are_refused(self, make_trainer, processor, tmp_path) -> None:
        layers = {"fusion_layers": [], "lora_layers": [], "bridge_layers": [3]}
        base = LeamlForVisualQA.from_backbones(make_vision(), make_text(), **layers)
        with pytest.raises(LeamlInputError, match="no adapter"):
            LeamlTrainer(base, LeamlTrainingArguments(str(tmp_path)), processor, rows(4))
        with pytest.raises(LeamlInputError, match="no labelled rows"):
            make_trainer(train_dataset=rows(4).select([]))

    @pytest.mark.parametrize(("name", "value"), [("min_trust", 1.5), ("patience", 0), ("replay_share", -1.0)])
    def test_bad_arguments_are_named(self, name: str, value: float, tmp_path) -> None:
        with pytest.raises(LeamlInputError, match=name):
            LeamlTrainingArguments(str(tmp_path), **{name: value})


class TestCalibrationObjectives:
    @pytest.fixture()
    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(0)
        labels = torch.full((6, 5), -100)
        for row, length in enumerate((1, 2, 3, 1, 2, 3)):
            labels[row, 5 - length :] = torch.randint(9, (length,))
        return 2 * torch.randn(6, 5, 9, dtype=torch.float64), labels

    def test_focal_loss_is_the_formula(self, batch) -> None:
        logits, labels = batch
        weights = torch.tensor([1.0, 0.5, 2.0, 0.0, 1.0, 1.0])
        expected = 0.0
        for row in range(6):
            places = [t for t in range(1, 5) if labels[row, t] != -100]
            right = [scipy.special.softmax(logits[row, t - 1].numpy())[labels[row, t]] for t in places]
            expected += float(weights[row]) * np.mean([-((1 - p) ** 3) * np.log(p) for p in right])
        answers = AnswerTokens.of(logits, labels, weights)
        assert focal_loss(answers).item() == pytest.approx(expected / 5.5, rel=1e-5)
        plain = answer_loss(answers, 0.0)
        assert focal_loss(answers, gamma=0.0).item() == pytest.approx(plain.item(), rel=1e-5)

    def test_calibration_error_is_the_formula(self, batch) -> None:
        logits, labels = batch
        confidence, right = [], []
        for row in range(6):
            places = [t for t in range(1, 5) if labels[row, t] != -100]
            shares = [scipy.special.softmax(logits[row, t - 1].numpy()) for t in places]
            confidence.append(np.prod([share.max() for share in shares]))
            right.append(all(share.argmax() == labels[row, t] for share, t in zip(shares, places, strict=True)))
        expected = np.mean([[(right[i] - confidence[i]) * (right[j] - confidence[j])
                             * np.exp(-abs(confidence[i] - confidence[j]) / 0.4) for j in range(6)]
                            for i in range(6)])  # fmt: skip
        assert calibration_error(AnswerTokens.of(logits, labels, torch.ones(6))).item() == pytest.approx(
            expected, rel=1e-5
        )

    def test_it_falls_where_over_confidence_falls(self) -> None:
        labels = torch.tensor([[-100, 1], [-100, 2], [-100, 3], [-100, 4]])
        said = torch.tensor([1, 2, 1, 1])  # half of them right
        logits = torch.zeros(4, 2, 6)
        logits[torch.arange(4), 0, said] = 1.0
        told = [AnswerTokens.of(scale * logits, labels, torch.ones(4)) for scale in (1.6, 4.0, 12.0)]
        errors = [calibration_error(answers).item() for answers in told]
        assert errors == sorted(errors)  # confidences of about 0.5, 0.9 and 1.0
        assert errors[0] < 0.01 < 0.1 < errors[2]

    @pytest.mark.parametrize("objective", ["focal", "mmce"])
    def test_trainer_takes_it(self, make_trainer, objective: str) -> None:
        trainer = make_trainer(calibration_objective=objective, max_steps=2)
        trainer.train()
        assert trainer.state.global_step == 2

    def test_another_name_is_refused(self, tmp_path) -> None:
        with pytest.raises(LeamlInputError, match="calibration_objective"):
            LeamlTrainingArguments(str(tmp_path), calibration_objective="ece", use_cpu=True)


class TestForeignPictures:
    def test_they_are_left_out(self, make_trainer) -> None:
        mixed = datasets.concatenate_datasets([rows(30, 1, answered=False), foreign_rows(30)])
        trainer = make_trainer(unlabeled_dataset=mixed, refresh_rows=60, max_steps=1)
        trainer.train()
        (entry,) = [entry for entry in trainer.history if "foreign" in entry]
        assert 0.4 <= entry["foreign"] <= 0.65
        names = set(trainer.foreign["id"])
        assert sum(name.startswith("9-") for name in names) >= 28
        assert sum(name.startswith("1-") for name in names) <= 6
        trainer.fit_reliability()
        assert trainer.model.reliability.unlabeled_rows <= 36

    def states(self, pictures: np.ndarray) -> dict[str, np.ndarray]:
        columns = {"vision": slice(16), "places": slice(16, 24), "texture": slice(24, None)}
        return {name: pictures[:, part].astype(np.float32) for name, part in columns.items()}

    def test_a_part_of_the_pool_is_told_apart_that_distances_hardly_tell(self) -> None:
        rng = np.random.default_rng(0)
        labelled, own, foreign = rng.normal(size=(3, 200, 32))
        foreign[:, :6] += 1.7
        check = PoolCheck(self.states(labelled), range(200))
        found = check.foreign(self.states(np.concatenate([own, foreign])))
        by_distance = OODCombiner(tpr=0.99).fit(self.states(labelled), range(200))
        assert (by_distance.score(self.states(foreign)) > by_distance.threshold).mean() <= 0.1
        assert found[:200].mean() <= 0.05 and found[200:].mean() >= 0.5
        assert check.foreign(self.states(own)).mean() <= 0.05

    def test_rows_of_one_picture_are_judged_alike(self) -> None:
        rng = np.random.default_rng(1)
        check = PoolCheck(self.states(rng.normal(size=(60, 32))), range(60))
        pool = np.concatenate([rng.normal(size=(40, 32)), rng.normal(size=(40, 32)) + 2])
        found = check.foreign(self.states(pool.repeat(3, axis=0))).reshape(80, 3)
        assert (found == found[:, :1]).all() and np.array_equal(found[:, 0], check.foreign(self.states(pool)))

    def test_labels_chosen_for_being_unlike_the_rest_do_not_make_it_foreign(self) -> None:
        rng = np.random.default_rng(2)
        pictures = rng.normal(size=(400, 32))
        order = np.argsort(-np.linalg.norm(pictures, axis=1))
        check = PoolCheck(self.states(pictures[order[:80]]), range(80))
        assert check.foreign(self.states(pictures[order[80:]])).mean() <= 0.05

    def test_few_labelled_pictures_judge_nobody(self, make_trainer) -> None:
        trainer = make_trainer(train_dataset=rows(8), eval_dataset=rows(4, 2), unlabeled_dataset=foreign_rows(12),
                               max_steps=1)  # fmt: skip
        trainer.train()
        assert [entry["foreign"] for entry in trainer.history if "foreign" in entry] == [0.0]
