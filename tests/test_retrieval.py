"""Labelled examples before a question: which are found, how they are put, saved and trained with."""

import io
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import datasets
import numpy as np
import pytest
import torch
from conftest import SMALL_ADAPTER, make_llava, make_text, make_vision, open_adapter
from PIL import Image
from test_modeling import RESAMPLER, make_base

from leaml_hf import LeamlForVisualQA, LeamlInputError, LeamlProcessor, LeamlTrainer, LeamlTrainingArguments
from leaml_hf.answering import EncodedPicture
from leaml_hf.phrasebook import Phrasebook, Rule
from leaml_hf.processing_leaml import LeamlBackboneProcessor
from leaml_hf.retrieval import ExampleIndex, thumbnail
from leaml_hf.training.examples import ExampleFinder
from leaml_hf.training.rows import RowDataset

LAYERS = {"fusion_layers": [2, 3], "lora_layers": [2, 3]}
ASKED = ["how many bars ?", "what is the colour ?", "where is the tallest circle ?"]
ANSWERS = ["one", "two", "three", "four", "red", "blue", "green"]


def scene(seed: int, side: int = 96) -> Image.Image:
    """Sixteen coloured fields: no two such pictures are alike."""
    fields = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(fields).resize((side, side), Image.Resampling.NEAREST)


def scenes(n: int, seed: int = 0, per_picture: int = 1) -> datasets.Dataset:
    """Rows with pictures 1000 * seed, 1000 * seed + 1 and so on; up to seven have each an answer of its own."""
    places = [i // per_picture for i in range(n)]
    data = {"image": [scene(1000 * seed + place) for place in places], "question": [ASKED[i % 3] for i in range(n)],
            "answer": [ANSWERS[place % 7] for place in places], "id": [f"{seed}-{i}" for i in range(n)]}  # fmt: skip
    features = datasets.Features({"image": datasets.Image(), **dict.fromkeys(("question", "answer", "id"),
                                                                             datasets.Value("string"))})  # fmt: skip
    return datasets.Dataset.from_dict(data, features=features)


def index_of(model: LeamlForVisualQA, processor: LeamlProcessor, rows: datasets.Dataset, k: int) -> ExampleIndex:
    return ExampleFinder(model.eval(), processor).fit(RowDataset(rows), k)


@pytest.fixture()
def model(composed: LeamlForVisualQA) -> LeamlForVisualQA:
    return open_adapter(composed).eval()


@pytest.fixture()
def kinds(processor, llava_processor, backbone_folders, tmp_path) -> dict[str, Callable[[], tuple]]:
    """Models of each kind with their processors."""

    def composed() -> tuple:
        return open_adapter(LeamlForVisualQA.from_backbones(make_vision(), make_text(), **LAYERS, **SMALL_ADAPTER))

    def existing() -> tuple:
        return open_adapter(LeamlForVisualQA.from_backbone(make_llava(), **LAYERS, **SMALL_ADAPTER))

    def with_resampler() -> LeamlForVisualQA:
        make_base(backbone_folders[1], tmp_path / "base", **RESAMPLER)
        made = open_adapter(LeamlForVisualQA.from_backbone(str(tmp_path / "base"), **SMALL_ADAPTER))
        made.bridge["copy"].open_gate(0.9)
        return made

    def reading() -> LeamlProcessor:
        options = {"image_processor": processor.image_processor, "tokenizer": processor.tokenizer}
        return LeamlProcessor(**options, max_question_tokens=RESAMPLER["resampler_max_tokens"])

    return {
        "composed": lambda: (composed().eval(), processor),
        "existing": lambda: (existing().eval(), LeamlBackboneProcessor(llava_processor)),
        "resampler": lambda: (with_resampler().eval(), reading()),
    }


@contextmanager
def put(processor: LeamlProcessor, monkeypatch: pytest.MonkeyPatch) -> Iterator[list]:
    """What is put before each question while it is asked."""
    seen: list = []
    plain = type(processor).__call__

    def call(self, *args, **options):
        seen.extend(options.get("examples") or ())
        return plain(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(type(processor), "__call__", call)
        yield seen


def reencoded(picture: Image.Image, quality: int) -> Image.Image:
    content = io.BytesIO()
    picture.convert("RGB").save(content, "JPEG", quality=quality)
    return Image.open(content)


COPIES = {
    "the same": lambda picture: picture.copy(),
    "JPEG": lambda picture: reencoded(picture, 50),
    "half": lambda picture: picture.resize((48, 48), Image.Resampling.BICUBIC),
    "twice": lambda picture: picture.resize((192, 192), Image.Resampling.BILINEAR),
    "other sides": lambda picture: picture.resize((128, 80), Image.Resampling.LANCZOS),
    "half, JPEG": lambda picture: reencoded(picture.resize((48, 48), Image.Resampling.BICUBIC), 60),
    "RGBA": lambda picture: picture.convert("RGBA"),
    "array": np.asarray,
}


class TestIndex:
    def index(self, n: int = 12, k: int = 3, seed: int = 0) -> tuple[ExampleIndex, tuple[np.ndarray, ...]]:
        rng = np.random.default_rng(seed)
        arrays = rng.normal(2.0, 1.0, (n, 6)), rng.random((n, 64)), rng.normal(size=(n, 5))
        return ExampleIndex.fit([(f"q{i}", f"a{i}") for i in range(n)], *arrays, k, "sha256:x"), arrays

    def test_the_nearest_come_last_and_none_of_the_own_picture(self):
        index, (pictures, thumbnails, questions) = self.index()
        rng = np.random.default_rng(1)
        asked = rng.normal(2.0, 1.0, (4, 6)), np.concatenate([thumbnails[:3], rng.random((1, 64))])
        words = rng.normal(size=(4, 5))
        found = index.nearest(*asked, words)
        for row in range(4):
            likeness = {}
            for i in range(12):
                cosines = []
                for known, new in ((pictures, asked[0]), (questions, words)):
                    lengths = known / np.linalg.norm(known, axis=1, keepdims=True)
                    a = lengths[i] - lengths.mean(0)
                    b = new[row] / np.linalg.norm(new[row]) - lengths.mean(0)
                    cosines.append(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
                likeness[f"q{i}"] = np.mean(cosines)
            if row < 3:
                del likeness[f"q{row}"]
            expected = sorted(likeness, key=likeness.get)[-3:]
            assert [question for question, _ in found[row]] == expected
            assert all(answer == question.replace("q", "a") for question, answer in found[row])

    @pytest.mark.parametrize("n", [1, 2, 4])
    def test_with_few_labels_it_gives_what_there_is(self, n):
        index, arrays = self.index(n, k=50)
        assert [len(row) for row in index.nearest(*arrays)] == [n - 1] * n
        new = np.ones((1, 6)), np.zeros((1, 64)), np.ones((1, 5))
        assert len(index.nearest(*new)[0]) == n

    def test_round_trip(self, tmp_path):
        index, arrays = self.index()
        index.save(tmp_path)
        read = ExampleIndex.load(tmp_path, "sha256:x")
        assert read.nearest(*arrays) == index.nearest(*arrays) and read.k == 3

    def test_bad_values_get_a_sentence(self):
        index, (pictures, thumbnails, questions) = self.index()
        with pytest.raises(LeamlInputError, match="no labelled example"):
            ExampleIndex.fit([], pictures[:0], thumbnails[:0], questions[:0], 3)
        with pytest.raises(LeamlInputError, match="k must be 1 or more, but got 0"):
            ExampleIndex.fit(index.examples, pictures, thumbnails, questions, 0)
        with pytest.raises(LeamlInputError, match="another base: their states of questions have the width 5"):
            index.nearest(pictures, thumbnails, pictures)

    @pytest.mark.parametrize(
        ("values", "reason"),
        [({"format": 2}, "format 2"), ({"k": 4}, "damaged"), ({"examples": []}, "damaged"),
         ({"sha256": "0"}, "damaged"), ({"base_fingerprint": "sha256:y"}, "damaged")],
    )  # fmt: skip
    def test_a_changed_file_is_refused(self, tmp_path, values, reason):
        self.index()[0].save(tmp_path)
        file = tmp_path / "leaml_retrieval.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))
        with pytest.raises(LeamlInputError, match=reason):
            ExampleIndex.load(tmp_path, "sha256:x")

    def test_a_missing_cut_or_foreign_file_is_refused(self, tmp_path):
        index, _ = self.index()
        index.save(tmp_path)
        with pytest.raises(LeamlInputError, match="of another base"):
            ExampleIndex.load(tmp_path, "sha256:y")
        tensors = tmp_path / "leaml_retrieval.safetensors"
        for content in (tensors.read_bytes()[:-3], b"", None):
            tensors.unlink()
            if content is not None:
                tensors.write_bytes(content)
            with pytest.raises(LeamlInputError, match=r"leaml_retrieval\.safetensors"):
                ExampleIndex.load(tmp_path, "sha256:x")


class TestCopies:
    @pytest.mark.parametrize("copy", COPIES)
    def test_a_copy_of_a_labelled_picture_does_not_bring_its_answer(self, model, processor, monkeypatch, copy):
        rows = scenes(8, per_picture=2)
        model.retrieval = index_of(model, processor, rows, k=8)
        with put(processor, monkeypatch) as seen:
            for number, own in enumerate(ANSWERS[:4]):
                model.answer([COPIES[copy](scene(number))], ASKED[:1], processor, max_new_tokens=1)
                answers = [answer for _, answer in seen[-1]]
                assert len(answers) == 6 and own not in answers
            model.answer([scene(99)], ASKED[:1], processor, max_new_tokens=1)
            assert len(seen[-1]) == 8

    def test_thumbnails_tell_pictures_apart(self):
        made = np.stack([thumbnail(scene(number)) for number in range(30)])
        assert made.shape == (30, 64) and made.min() >= 0 and made.max() <= 1
        apart = np.abs(made[:, None] - made[None]).max(-1) + np.eye(30)
        assert apart.min() > 0.1

    def test_encoded_pictures_need_their_thumbnail(self, model, processor):
        model.retrieval = index_of(model, processor, scenes(4), k=2)
        states, textures, _ = model.encode_pictures(processor.encode_images([scene(9)]))
        whole = EncodedPicture(states[0], textures[0], torch.from_numpy(thumbnail(scene(9))))
        told = [model.answer([picture], ASKED[:1], processor)[0] for picture in (whole, scene(9))]
        assert told[0].text == told[1].text
        with pytest.raises(LeamlInputError, match="thumbnail"):
            model.answer([EncodedPicture(states[0], textures[0])], ASKED[:1], processor)


class TestAnswering:
    @pytest.mark.parametrize("kind", ["composed", "existing", "resampler"])
    def test_a_batch_is_answered_as_each_alone_and_nothing_frozen_runs_twice(self, kinds, kind):
        model, processor = kinds[kind]()
        pictures, asked = [scene(50 + i) for i in range(5)], [*ASKED, *ASKED[:2]]
        plain = model.collect(pictures, asked, processor, max_new_tokens=3)
        model.retrieval = index_of(model, processor, scenes(10), k=3)
        tower = model.vision_tower if model.config.is_composed else model.backbone.model.vision_tower
        ran = []
        handle = tower.register_forward_hook(lambda *_: ran.append(1))
        together = model.collect(pictures, asked, processor, max_new_tokens=3)
        handle.remove()
        assert len(ran) == 1
        alone = [model.collect([p], [q], processor, max_new_tokens=3) for p, q in zip(pictures, asked, strict=True)]
        assert together.texts == [records.texts[0] for records in alone]
        for name, state in together.states().items():
            if name != "logits" or state.shape[1] > 1:
                singles = np.concatenate([getattr(records, name) for records in alone])
                np.testing.assert_allclose(state, singles, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(together.vision, plain.vision, rtol=1e-4, atol=1e-5)
        assert not np.allclose(together.hidden, plain.hidden, atol=1e-3)  # the examples are read
        model.retrieval = None
        again = model.collect(pictures, asked, processor, max_new_tokens=3)
        assert again.texts == plain.texts
        assert all(np.array_equal(again.states()[name], state) for name, state in plain.states().items())

    def test_the_prompt_shows_questions_with_their_answers(self, processor, llava_processor):
        examples = [[("how many\nbars ?", "two"), ("where ?", "red")]]
        shown = processor(questions=["what ?"], examples=examples)["input_ids"]
        by_hand = "Question: how many bars ? Answer: two Question: where ? Answer: red Question: what ? Answer:"
        assert shown[0].tolist() == processor.tokenizer(by_hand)["input_ids"]
        existing = LeamlBackboneProcessor(llava_processor)
        first, second = "Question: how many bars ?\nAnswer: two\n", "Question: where ?\nAnswer: red\n"
        assert existing.prompt("what ?", examples[0]) == f"<image>\n{first}{second}Question: what ?\nAnswer:"
        llava_processor.chat_template = "{{ messages[0]['content'][1]['text'] }}"
        assert existing.prompt("what ?", examples[0]).endswith("Answer: red\nQuestion: what ?")
        assert existing.prompt("what ?") == "what ?"
        for ids in (processor(questions=["what ?"]), processor(questions=["what ?"], examples=[()])):
            assert ids["input_ids"][0].tolist() == processor.tokenizer("Question: what ? Answer:")["input_ids"]

    def test_a_spelt_answer_is_copied_in_turn_behind_examples(self, kinds):
        base, processor = kinds["resampler"]()
        processor.prompt_template = "Question: {question} of Answer:"  # five tokens, as the copy begins with
        words = base.get_output_embeddings().weight.detach()
        answer = processor.tokenizer.convert_tokens_to_ids(["red", "two", "circle"])
        torch.nn.init.zeros_(base.resampler.spell.weight)
        base.resampler.spell.bias.data.copy_(words[answer].flatten())
        base.bridge["copy"].open_gate(0.99)
        base.bridge["copy"].log_scale.data.fill_(9.0)
        examples = [[("how many ?", "one")] * 3, [("where ?", "green")], ()]
        inputs = processor([scene(1)] * 3, ASKED, examples=examples)
        assert inputs["example_tokens"].tolist() == [3 * 9, 8, 0]
        options = {"do_sample": False, "pad_token_id": 0, "eos_token_id": None}
        out = base.generate(**inputs, max_new_tokens=3, **options)
        assert out[:, -3:].tolist() == [answer] * 3
        base.retrieval = index_of(base, processor, scenes(6), k=3)
        told = base.collect([scene(9)] * 3, ASKED, processor, max_new_tokens=3).texts
        assert told == ["red two circle"] * 3

    def test_examples_are_found_by_what_is_put_to_the_decoder(self, model, processor, monkeypatch):
        rule = Rule("count", "how many ?", ASKED[2], 0, {"red": "yes"}, 10.0, 0.9, 0.9)
        model.phrasebook = Phrasebook([rule], {"how many ?": (0, ASKED[2]), "what is ?": None})
        model.retrieval = index_of(model, processor, scenes(9), k=3)
        with put(processor, monkeypatch) as seen:
            model.answer([scene(77)], ["how many ?"], processor, max_new_tokens=1)
            assert seen[0][-1][0] == ASKED[2]
        taught = RowDataset(scenes(9).map(lambda row: {"question": "how many ?", "answer": "yes"}),
                            phrasebook=model.phrasebook)  # fmt: skip
        assert set(ExampleFinder(model, processor).fit(taught, 1).examples) == {(ASKED[2], "red")}

    def test_of_equal_pictures_the_example_with_the_question_is_nearest(self, model, processor, monkeypatch):
        model.retrieval = index_of(model, processor, scenes(12), k=4)
        with put(processor, monkeypatch) as seen:
            for question in ASKED:
                model.answer([scene(77)], [question], processor, max_new_tokens=1)
                assert seen[-1][-1][0] == question


class TestSaved:
    @pytest.fixture()
    def saved(self, backbone_folders, processor, tmp_path) -> LeamlForVisualQA:
        model = open_adapter(LeamlForVisualQA.from_backbones(*backbone_folders, **LAYERS, **SMALL_ADAPTER))
        model.retrieval = index_of(model, processor, scenes(9), k=3)
        model.save_pretrained(tmp_path / "adapter")
        return model

    def told(self, model: LeamlForVisualQA, processor: LeamlProcessor) -> list[tuple]:
        answers = model.answer([scene(70 + i) for i in range(3)], ASKED, processor)
        return [(answer.text, answer.confidence) for answer in answers]

    def test_a_loaded_model_answers_the_same(self, saved, processor, tmp_path):
        loaded = LeamlForVisualQA.from_pretrained(tmp_path / "adapter")
        assert loaded.retrieval.examples == saved.retrieval.examples
        with_examples = self.told(saved, processor)
        assert self.told(loaded, processor) == with_examples
        loaded.retrieval = None
        assert self.told(loaded, processor) != with_examples

    def test_saving_without_one_removes_an_older_one(self, saved, tmp_path):
        saved.retrieval = None
        saved.save_pretrained(tmp_path / "adapter")
        assert not list((tmp_path / "adapter").glob("leaml_retrieval*"))
        assert LeamlForVisualQA.from_pretrained(tmp_path / "adapter").retrieval is None

    def test_an_index_of_another_base_is_refused(self, saved, processor, backbone_folders, tmp_path):
        make_text(seed=9).save_pretrained(tmp_path / "other")
        other = LeamlForVisualQA.from_backbones(backbone_folders[0], tmp_path / "other", **LAYERS, **SMALL_ADAPTER)
        other.retrieval = index_of(other, processor, scenes(9), k=3)
        other.save_pretrained(tmp_path / "foreign")
        for file in (tmp_path / "foreign").glob("leaml_retrieval*"):
            shutil.copyfile(file, tmp_path / "adapter" / file.name)
        with pytest.raises(LeamlInputError, match=r"leaml_retrieval.json is of another base than this adapter"):
            LeamlForVisualQA.from_pretrained(tmp_path / "adapter")

    def test_each_adapter_has_its_own(self, saved, processor, tmp_path):
        alone = self.told(saved, processor)
        saved.retrieval = None
        saved.save_pretrained(tmp_path / "without")
        model = LeamlForVisualQA.from_pretrained(tmp_path / "without")
        plain = self.told(model, processor)
        model.load_adapter(tmp_path / "adapter", "examples")
        assert self.told(model, processor) == alone
        model.set_adapter("default")
        assert model.retrieval is None and self.told(model, processor) == plain


class TestTraining:
    def trainer(self, model: LeamlForVisualQA, processor: LeamlProcessor, tmp_path, **options) -> LeamlTrainer:
        values = {"max_steps": 4, "learning_rate": 5e-3, "evaluate_every": 2, "refresh_steps": 2, "refresh_rows": 6,
                  "per_device_train_batch_size": 6, "replay_share": 0.0, "use_cpu": True,
                  "disable_tqdm": True}  # fmt: skip
        data = {"train_dataset": scenes(12, per_picture=3), "unlabeled_dataset": scenes(9, 1),
                "eval_dataset": scenes(6, 2)}  # fmt: skip
        data |= {name: options.pop(name) for name in list(options) if name.endswith("_dataset")}
        arguments = LeamlTrainingArguments(str(tmp_path / "out"), **values | options)
        return LeamlTrainer(model, arguments, processor, **data)

    @pytest.mark.parametrize("kind", ["composed", "existing", "resampler"])
    def test_rows_are_trained_with_examples_of_other_pictures(self, kinds, kind, tmp_path, monkeypatch):
        model, processor = kinds[kind]()
        trainer = self.trainer(model, processor, tmp_path, retrieved_examples=4, eval_dataset=None)
        with put(processor, monkeypatch) as seen:
            trainer.train()
        assert any(len(row) == 4 for row in seen)
        labelled = list(zip(trainer.labelled["question"], trainer.labelled["answer"], strict=True))
        assert model.retrieval.examples == labelled
        for row, (_, own) in zip(trainer.train_dataset, labelled, strict=True):
            answers = [answer for _, answer in row["examples"]]
            assert len(answers) == 4 and own not in answers and set(answers) <= set(ANSWERS[:4])

    def test_it_is_off_by_default_and_an_earlier_index_is_dropped(self, model, processor, tmp_path):
        model.retrieval = index_of(model, processor, scenes(4), k=2)
        trainer = self.trainer(model, processor, tmp_path, max_steps=1)
        trainer.train()
        assert model.retrieval is None and trainer.train_dataset[0]["examples"] == ()

    @pytest.mark.parametrize("better", [True, False])
    def test_the_start_is_the_base_without_examples(self, model, processor, tmp_path, monkeypatch, better):
        trainer = self.trainer(model, processor, tmp_path, retrieved_examples=2)
        had, losses = [], iter([1.0, 0.5, 0.4] if better else [1.0, 1.5, 1.4])
        monkeypatch.setattr(trainer, "_loss", lambda folds: had.append(model.retrieval is not None) or next(losses))
        trainer.train()
        assert had == [False, True, True]
        assert (model.retrieval is not None) is better

    def test_an_encoder_that_learned_is_asked_anew(self, processor, tmp_path):
        model = LeamlForVisualQA.from_backbones(
            make_vision(), make_text(), **LAYERS, **SMALL_ADAPTER, adapt_vision=True
        )
        trainer = self.trainer(model, processor, tmp_path, retrieved_examples=2, eval_dataset=None, learning_rate=0.05)
        trainer.train()
        again = index_of(model, processor, trainer.labelled, k=2)
        for name, array in model.retrieval.arrays.items():
            assert np.array_equal(array, again.arrays[name])

    def test_a_negative_number_is_named(self, tmp_path):
        with pytest.raises(LeamlInputError, match="retrieved_examples must be 0 or more"):
            LeamlTrainingArguments(str(tmp_path), retrieved_examples=-1)
