"""Pictures of all kinds, prompts and labels, saving and loading of processors."""

import io

import numpy as np
import pytest
import torch
from conftest import make_llava
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import AutoProcessor

from leaml_hf import LeamlForVisualQA, LeamlInputError, LeamlProcessor, load_image
from leaml_hf.processing_leaml import LeamlBackboneProcessor, load_processor


class TestPictures:
    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"])
    @pytest.mark.parametrize("size", [(1, 1), (7, 3)])
    def test_every_mode_becomes_rgb(self, mode, size):
        image = load_image(Image.new(mode, size))
        assert image.mode == "RGB"
        assert image.size == size

    def test_transparency_becomes_white(self):
        assert load_image(Image.new("RGBA", (2, 2), (0, 0, 0, 0))).getpixel((0, 0)) == (255, 255, 255)
        palette = Image.new("P", (2, 2), 0)
        palette.info["transparency"] = 0
        assert load_image(palette).getpixel((0, 0)) == (255, 255, 255)

    def test_sixteen_bits_keep_their_range(self, tmp_path):
        ramp = np.linspace(0, 65535, 16, dtype=np.uint16).reshape(4, 4)
        Image.fromarray(ramp).save(tmp_path / "ramp.png")
        values = np.asarray(load_image(tmp_path / "ramp.png"))[..., 0]
        np.testing.assert_allclose(values, ramp / 257, atol=1)

    def test_first_frame_of_an_animation(self, tmp_path):
        frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
        frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
        assert load_image(tmp_path / "a.gif").getpixel((0, 0)) == (255, 0, 0)

    def test_arrays_and_paths(self, tmp_path):
        array = np.zeros((5, 6, 3), dtype=np.uint8)
        Image.fromarray(array).save(tmp_path / "a.png")
        assert load_image(array).size == load_image(str(tmp_path / "a.png")).size == (6, 5)

    @given(data=st.binary(max_size=200), cut=st.integers(1, 60))
    @settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_damaged_files_are_told(self, tmp_path, data, cut):
        buffer = io.BytesIO()
        Image.new("RGB", (9, 9), "red").save(buffer, "PNG")
        for content in (data, buffer.getvalue()[:-cut]):
            (tmp_path / "bad.png").write_bytes(content)
            try:
                assert load_image(tmp_path / "bad.png").mode == "RGB"
            except LeamlInputError as error:
                assert "bad.png" in str(error)

    def test_missing_and_huge_pictures_are_told(self, tmp_path):
        with pytest.raises(LeamlInputError, match="no picture file"):
            load_image(tmp_path / "none.png")
        with pytest.raises(LeamlInputError, match="50 million"):
            load_image(Image.new("1", (10_000, 5_001)))
        with pytest.raises(LeamlInputError, match="empty"):
            load_image(Image.new("RGB", (0, 5)))


class TestRows:
    def test_shapes_and_template(self, processor, pictures):
        out = processor(images=pictures, questions=["how many?", "what is the colour?", "where"])
        assert out["pixel_values"].shape == (3, 3, 32, 32)
        assert out["input_ids"].shape == out["attention_mask"].shape
        assert processor.tokenizer.decode(out["input_ids"][0], skip_special_tokens=True).split() == [
            "Question", ":", "how", "many", "?", "Answer", ":",
        ]  # fmt: skip
        assert out["attention_mask"][:, -1].all()

    def test_labels_are_the_answer_and_the_end(self, processor):
        out = processor(questions=["how many?", "what is the colour of the circle?"], answers=["two", "red circle"])
        tokenizer = processor.tokenizer
        for labels, ids, answer in zip(out["labels"], out["input_ids"], ("two", "red circle"), strict=True):
            kept = labels[labels != -100]
            assert kept[-1] == tokenizer.eos_token_id
            assert tokenizer.decode(kept[:-1]) == answer
            assert torch.equal(ids[-len(kept) :], kept)
        assert not (out["attention_mask"] == 0)[:, -3:].any()

    def test_the_end_is_learnt_even_where_it_is_the_pad_token(self, processor):
        processor.tokenizer.pad_token = "<eos>"
        out = processor(questions=["how many?", "how many bars of the circle?"], answers=["two", "two"])
        assert (out["labels"] == processor.tokenizer.eos_token_id).sum(1).tolist() == [1, 1]
        assert out["attention_mask"].sum(1).tolist() == [9, 13]

    def test_prompts_tokenise_the_same_with_and_without_answers(self, processor):
        plain = processor(questions=["how many?"])["input_ids"][0]
        answered = processor(questions=["how many?"], answers=["two"])["input_ids"][0]
        assert torch.equal(answered[: len(plain)], plain)

    def test_rows_without_answers_have_no_labels(self, processor, pictures):
        rows = [{"image": pictures[0], "question": "how many?", "answer": answer} for answer in ("two", None)]
        out = processor.collate(rows)
        assert (out["labels"][1] == -100).all()
        assert "labels" not in processor.collate(rows[1:])

    @pytest.mark.parametrize(
        ("images", "questions", "answers", "message"),
        [
            (1, ["a", "b"], None, "1 images for 2 questions"),
            (0, None, None, "images is empty"),
            (None, None, None, "nothing to prepare"),
            (None, ["a"], ["x", "y"], "2 answers for 1 questions"),
            (None, ["a", "  "], None, "Question 2 of 2 is empty"),
        ],
    )
    def test_wrong_counts_are_told(self, processor, pictures, images, questions, answers, message):
        given_images = None if images is None else pictures[:images]
        with pytest.raises(LeamlInputError, match=message):
            processor(images=given_images, questions=questions, answers=answers)

    def test_a_template_without_question_is_told(self, processor):
        with pytest.raises(LeamlInputError, match="prompt_template"):
            LeamlProcessor(processor.image_processor, processor.tokenizer, prompt_template="Answer:")

    def test_generated_text_is_cut_at_the_first_line(self, processor):
        assert processor.decode_answers(torch.tensor([[16, 17, 1, 0]])) == ["red blue"]


class TestFiles:
    def test_questions_alone_for_a_resampler(self, processor, composed, tmp_path):
        plain = processor(questions=["how many bars?"])
        assert "question_ids" not in plain
        processor.max_question_tokens = 3
        inputs = processor(questions=["how many bars?", "what is the tallest?"], answers=["two", "red"])
        assert inputs["question_ids"].shape == (2, 3)  # the last three of each
        words = processor.tokenizer.batch_decode(inputs["question_ids"])
        assert [text.split() for text in words] == [["many", "bars", "?"], ["the", "tallest", "?"]]
        assert inputs["question_mask"].all()
        processor.save_pretrained(tmp_path)
        composed.config.save_pretrained(tmp_path)
        assert AutoProcessor.from_pretrained(tmp_path).max_question_tokens == 3

    def test_round_trip(self, processor, composed, pictures, tmp_path):
        processor.prompt_template = "{question} ?"
        processor.save_pretrained(tmp_path)
        composed.config.save_pretrained(tmp_path)
        for again in (LeamlProcessor.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)):
            assert isinstance(again, LeamlProcessor)
            assert again.prompt_template == "{question} ?"
            given_rows = {
                "images": pictures[:2],
                "questions": ["how many", "what is the colour"],
                "answers": ["two", "red"],
            }
            ours, theirs = processor(**given_rows), again(**given_rows)
            assert all(torch.equal(ours[key], theirs[key]) for key in ours)

    def test_no_processor_is_told(self, tmp_path):
        with pytest.raises(LeamlInputError, match="no processor files"):
            load_processor(tmp_path)


class TestExistingModels:
    def test_rows_and_answers(self, llava_processor, pictures):
        model = LeamlForVisualQA.from_backbone(make_llava())
        processor = LeamlBackboneProcessor(llava_processor)
        out = processor(images=pictures[:2], questions=["how many?", "what is the colour?"], answers=["two", "red"])
        assert (out["input_ids"] == 3).sum(1).tolist() == [16, 16]
        assert [row[row != -100].tolist() for row in out["labels"]] == [[20, 1], [16, 1]]
        assert model(**out).loss.isfinite()
        answers = model.answer(pictures, ["how many?"] * 3, processor, max_new_tokens=2)
        assert len(answers) == 3
        assert answers[0].evidence.shape == (4, 4)

    def test_saved_beside_the_model(self, llava_processor, tmp_path):
        LeamlBackboneProcessor(llava_processor).save_pretrained(tmp_path)
        make_llava().config.save_pretrained(tmp_path)
        assert isinstance(load_processor(tmp_path), LeamlBackboneProcessor)
