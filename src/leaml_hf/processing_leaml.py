"""LeamlProcessor: pictures and questions (and answers, as labels) to tensors."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BatchFeature, PreTrainedTokenizerBase
from transformers.processing_utils import ProcessorMixin

from .errors import LeamlInputError
from .images import Picture, load_image
from .retrieval import Example

PROMPT_TEMPLATE = "Question: {question}\nAnswer:"
LARGEST_SIDE = 8192  # pixels of a picture as the encoder gets it

__all__ = ["LeamlBackboneProcessor", "LeamlProcessor", "load_image", "load_processor"]


class LeamlProcessor(ProcessorMixin):
    """
    Turns pictures, questions and answers into the inputs of a [`LeamlForVisualQA`].

    Prompts and answers are tokenised apart and padded on the left, so that training and answering see the same tokens.
    The label of every position is masked but those of the answer and of the end token behind it.

    Args:
        image_processor (`BaseImageProcessor`): of the vision encoder, for instance `ViTImageProcessorPil`.
        tokenizer (`PreTrainedTokenizerBase`): of the causal LM.
        prompt_template (`str`, *optional*, defaults to `"Question: {question}\\nAnswer:"`): must contain `{question}`.
        max_question_tokens (`int`, *optional*): for a base with a resampler: the last so many tokens of each question
            are given once more, alone, as `question_ids`.

    Raises:
        [`LeamlInputError`]: if the template has no `{question}`.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        prompt_template: str = PROMPT_TEMPLATE,
        max_question_tokens: int | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(prompt_template, str) or "{question}" not in prompt_template:
            raise LeamlInputError(f"prompt_template must contain {{question}}, but is {prompt_template!r}.")
        if max_question_tokens is not None and (not isinstance(max_question_tokens, int) or max_question_tokens < 1):
            raise LeamlInputError(f"max_question_tokens must be 1 or more, but is {max_question_tokens!r}.")
        super().__init__(image_processor, tokenizer, **kwargs)
        self.auto_map = {"AutoProcessor": f"processing_leaml.{type(self).__name__}"}  # for trust_remote_code
        self.prompt_template = prompt_template
        self.max_question_tokens = max_question_tokens
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.tokenizer.padding_side = "left"

    @classmethod
    def from_backbones(
        cls, text: str | PreTrainedTokenizerBase, image_size: int = 224, vision: str | None = None, **kwargs: Any
    ) -> "LeamlProcessor":
        """
        Makes the processor of a composed model.

        Args:
            text (`str` or `PreTrainedTokenizerBase`): the causal LM's folder or Hub id, or its tokenizer.
            image_size (`int`, *optional*, defaults to 224): side in pixels that pictures are brought to.
            vision (`str`, *optional*): folder or Hub id of the vision encoder, whose own image processor is then used.
            kwargs: other arguments of [`LeamlProcessor`].

        Returns:
            [`LeamlProcessor`].

        Raises:
            [`LeamlInputError`]: if a part can't be found.
        """
        from transformers import AutoImageProcessor
        from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

        from .backbones import load_tokenizer

        tokenizer = load_tokenizer(text) if isinstance(text, str) else text
        if vision is None:
            image_processor = ViTImageProcessorPil(size={"height": image_size, "width": image_size})
        else:
            image_processor = AutoImageProcessor.from_pretrained(vision, backend="pil")
        return cls(image_processor=image_processor, tokenizer=tokenizer, **kwargs)

    def __call__(
        self,
        images: Picture | Sequence[Picture] | None = None,
        questions: str | Sequence[str] | None = None,
        answers: str | Sequence[str | None] | None = None,
        examples: Sequence[Sequence[Example]] | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """
        Prepares n rows.

        Args:
            images (`Sequence`, *optional*): n pictures or files; left out for questions alone.
            questions (`Sequence[str]`, *optional*): n questions; left out for pictures alone.
            answers (`Sequence[str]`, *optional*): n answers to learn; `None` for a row without one.
            examples (`Sequence`, *optional*): for each question others with their answers, that are put before it.
            kwargs: ignored options of other processors (`return_tensors` is always `"pt"`).

        Returns:
            `BatchFeature`: `input_ids` and `attention_mask` `[n, T]`, `pixel_values` `[n, 3, H, W]`, with answers
                `labels` `[n, T]` (-100 outside the answer), and for a base with a resampler `question_ids` and
                `question_mask` `[n, Tq]` and, with examples, `example_tokens` `[n]`.

        Raises:
            [`LeamlInputError`]: if counts differ, a question is empty or a picture can't be read.
        """
        images = _as_list(images)
        questions, answers = (_as_list(texts) for texts in (questions, answers))
        _check_counts(images, questions, answers)
        data: dict[str, Any] = {}
        if questions is not None:
            data.update(self.encode_text(questions, answers, examples))
        if images is not None:
            data["pixel_values"] = self.encode_images(images)
        return BatchFeature(data)

    def check(self) -> None:
        """
        Prepares one row, which fails in one way or another if a value of a file is not what it should be.

        Raises:
            [`LeamlInputError`]: if pictures would be made larger than any encoder takes.
        """
        for name in ("size", "crop_size"):
            sides = dict(getattr(self.image_processor, name, None) or {}).values()
            if any(side is not None and side > LARGEST_SIDE for side in sides):
                raise LeamlInputError(f"{name} of the image processor is over {LARGEST_SIDE} pixels: save it again.")
        self([Image.new("RGB", (8, 8))], ["?"])

    def encode_images(self, images: Sequence[Picture]) -> torch.Tensor:
        """
        Prepares pictures alone.

        Args:
            images (`Sequence`): P pictures or files.

        Returns:
            `torch.Tensor`: `[P, 3, H, W]`.

        Raises:
            [`LeamlInputError`]: if one can't be read.
        """
        pictures = [load_image(image) for image in images]
        return self.image_processor(pictures, return_tensors="pt")["pixel_values"]

    def encode_text(
        self,
        questions: Sequence[str],
        answers: Sequence[str | None] | None = None,
        examples: Sequence[Sequence[Example]] | None = None,
    ) -> dict[str, torch.Tensor]:
        """
        Prepares text alone.

        Args:
            questions (`Sequence[str]`): n questions.
            answers (`Sequence[str]`, *optional*): n answers; `None` for a row without one.
            examples (`Sequence`, *optional*): as in [`LeamlProcessor.__call__`].

        Returns:
            `dict[str, torch.Tensor]`: `input_ids`, `attention_mask` and, with answers, `labels`, each `[n, T]`; for a
                base with a resampler also `question_ids` and `question_mask`, each `[n, Tq]`, and, with examples,
                `example_tokens` `[n]`, the tokens before each question's own prompt.
        """
        questions = [_one_line(question) for question in questions]
        texts = [self.prompt_template.replace("{question}", question) for question in questions]
        shown = [_shown(self.prompt_template, row) for row in examples or [()] * len(texts)]
        prompts = self.tokenizer([before + text for before, text in zip(shown, texts, strict=True)])["input_ids"]
        data = _pad_left(prompts, self.answer_ids(answers), self.tokenizer.pad_token_id)
        if self.max_question_tokens is not None:
            alone = self.tokenizer(questions, add_special_tokens=False)["input_ids"]
            data.update(_pad_right([ids[-self.max_question_tokens :] for ids in alone]))
            if any(shown):
                plain = self.tokenizer(texts)["input_ids"]
                data["example_tokens"] = torch.tensor(
                    [len(ids) - len(own) for ids, own in zip(prompts, plain, strict=True)]
                )
        return data

    def answer_ids(self, answers: Sequence[str | None] | None) -> list[list[int]] | None:
        """
        Tokens to learn for each answer: a space, the answer and the end token.

        Args:
            answers (`Sequence[str]`, *optional*): n answers; `None` for a row without one.

        Returns:
            `list[list[int]]` or `None`: n lists, empty for a row without an answer.
        """
        if answers is None:
            return None
        texts = [f" {answer.strip()}" for answer in answers if answer is not None]
        encoded = iter(self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else ())
        eos = self.tokenizer.eos_token_id
        return [[] if answer is None else [*next(encoded), eos] for answer in answers]

    def decode_answers(self, token_ids: torch.Tensor) -> list[str]:
        """
        Text of generated answers.

        Args:
            token_ids (`torch.Tensor`): `[n, T]` new tokens only.

        Returns:
            `list[str]`: n answers, first line only.
        """
        texts = self.tokenizer.batch_decode(token_ids, skip_special_tokens=True)
        return [text.strip().split("\n", 1)[0].strip() for text in texts]

    def collate(self, rows: Sequence[Mapping[str, Any]]) -> BatchFeature:
        """
        Data collator for rows `{"image", "question", "answer"}`.

        Args:
            rows (`Sequence[Mapping]`): n rows; `answer` may be missing or `None`, `image` may be missing in all.

        Returns:
            `BatchFeature`: as [`LeamlProcessor.__call__`]; without `labels` where no row has an answer.

        Raises:
            [`LeamlInputError`]: as [`LeamlProcessor.__call__`].
        """
        images = [row.get("image") for row in rows]
        answers = [row.get("answer") for row in rows]
        return self(
            images=None if all(image is None for image in images) else images,
            questions=[row["question"] for row in rows],
            answers=None if all(answer is None for answer in answers) else answers,
        )

    @property
    def model_input_names(self) -> list[str]:
        """`list[str]`: what the model takes."""
        names = ["input_ids", "attention_mask", "pixel_values"]
        return names if self.max_question_tokens is None else [*names, "question_ids", "question_mask"]


class LeamlBackboneProcessor:
    """
    The same interface over the processor of an existing image-text-to-text model.

    Args:
        processor (`ProcessorMixin`): the model's own; its chat template is used if it has one.
    """

    def __init__(self, processor: ProcessorMixin) -> None:
        self.processor = processor
        self.tokenizer = processor.tokenizer
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.tokenizer.padding_side = "left"

    answer_ids = LeamlProcessor.answer_ids
    decode_answers = LeamlProcessor.decode_answers
    collate = LeamlProcessor.collate

    def prompt(self, question: str, examples: Sequence[Example] = ()) -> str:
        """
        The text of one row, with a place for its picture.

        Args:
            question (`str`): the question.
            examples (`Sequence`, *optional*): others with their answers, that are put between picture and question.

        Returns:
            `str`: by the chat template, or else by LEAML's own.
        """
        shown = _shown(PROMPT_TEMPLATE, examples)
        if self.processor.chat_template is None:
            return f"{self.processor.image_token}\n{shown}{PROMPT_TEMPLATE.format(question=_one_line(question))}"
        text = f"{shown}Question: {_one_line(question)}" if shown else _one_line(question)
        content = [{"type": "image"}, {"type": "text", "text": text}]
        return self.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)

    def __call__(
        self,
        images: Picture | Sequence[Picture] | None = None,
        questions: str | Sequence[str] | None = None,
        answers: str | Sequence[str | None] | None = None,
        examples: Sequence[Sequence[Example]] | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """
        Prepares n rows.

        Args:
            images (`Sequence`): n pictures or files.
            questions (`Sequence[str]`): n questions.
            answers (`Sequence[str]`, *optional*): n answers to learn; `None` for a row without one.
            examples (`Sequence`, *optional*): for each question others with their answers, that are put before it.
            kwargs: ignored options of other processors.

        Returns:
            `BatchFeature`: the model's own inputs and, with answers, `labels` `[n, T]`.

        Raises:
            [`LeamlInputError`]: if counts differ or a picture can't be read.
        """
        images, questions, answers = (_as_list(rows) for rows in (images, questions, answers))
        if images is None or questions is None:
            raise LeamlInputError("Give images and questions: this backbone needs both.")
        _check_counts(images, questions, answers)
        pictures = [[load_image(image)] for image in images]
        shown = examples or [()] * len(questions)
        texts = [self.prompt(question, row) for question, row in zip(questions, shown, strict=True)]
        inputs = self.processor(images=pictures, text=texts, padding=True, return_tensors="pt")
        if answers is None:
            return inputs
        ids, mask = inputs["input_ids"], inputs["attention_mask"].bool()
        padded = _pad_left(
            [row[keep].tolist() for row, keep in zip(ids, mask, strict=True)], self.answer_ids(answers), 0
        )
        padded["input_ids"][padded["attention_mask"] == 0] = self.tokenizer.pad_token_id
        for name in ("token_type_ids", "mm_token_type_ids"):
            if name in inputs:
                kinds = [row[keep].tolist() for row, keep in zip(inputs[name], mask, strict=True)]
                longer = [
                    [*kind, *[0] * len(extra)] for kind, extra in zip(kinds, self.answer_ids(answers), strict=True)
                ]
                inputs[name] = _pad_left(longer, None, 0)["input_ids"]
        inputs.update(padded)
        return inputs

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """
        Saves the model's own processor.

        Args:
            folder (`str` or `PathLike`): made if it is not there.
        """
        self.processor.save_pretrained(folder)


def as_leaml_processor(processor: Any) -> "LeamlProcessor | LeamlBackboneProcessor":
    """
    The processor that answers need.

    Args:
        processor ([`LeamlProcessor`], [`LeamlBackboneProcessor`] or `ProcessorMixin`): of the model, for instance from
            `AutoProcessor`.

    Returns:
        [`LeamlProcessor`] or [`LeamlBackboneProcessor`]: the same, or wrapped if it belongs to an existing
            image-text-to-text model.
    """
    return processor if hasattr(processor, "decode_answers") else LeamlBackboneProcessor(processor)


def load_processor(name_or_path: str | os.PathLike, **kwargs: Any) -> LeamlProcessor | LeamlBackboneProcessor:
    """
    Loads the processor saved with a LEAML model, or wraps that of an existing image-text-to-text model.

    Args:
        name_or_path (`str` or `PathLike`): a folder, Hub id, or the name of a shipped base.
        kwargs: for `AutoProcessor.from_pretrained`.

    Returns:
        [`LeamlProcessor`] or [`LeamlBackboneProcessor`].

    Raises:
        [`LeamlInputError`]: if there is none, or its files are damaged.
    """
    from transformers import AutoProcessor

    from .backbones import resolve_base_path

    path = resolve_base_path(str(name_or_path))
    try:
        processor = AutoProcessor.from_pretrained(path, **({"trust_remote_code": False} | kwargs))
        if isinstance(processor, LeamlProcessor):
            processor.check()
    except LeamlInputError:
        raise
    except Exception as error:  # of a damaged tokenizer.json, tokenizers raises nothing more precise
        raise LeamlInputError(
            f"{name_or_path} has no processor files that can be read: save the processor beside the model."
        ) from error
    return as_leaml_processor(processor)


def _as_list(rows: Any) -> list[Any] | None:
    if rows is None:
        return None
    return [rows] if isinstance(rows, (str, os.PathLike, Image.Image, np.ndarray)) else list(rows)


def _check_counts(images: list[Any] | None, questions: list[str] | None, answers: list[Any] | None) -> None:
    if images is None and questions is None:
        raise LeamlInputError("Give images, questions, or both: there is nothing to prepare.")
    for name, rows in (("images", images), ("questions", questions), ("answers", answers)):
        if rows is not None and len(rows) == 0:
            raise LeamlInputError(f"Give at least one row: {name} is empty.")
    if images is not None and questions is not None and len(images) != len(questions):
        raise LeamlInputError(
            f"Give one image for each question: there are {len(images)} images for {len(questions)} questions."
        )
    if answers is not None and (questions is None or len(answers) != len(questions)):
        count = 0 if questions is None else len(questions)
        raise LeamlInputError(
            f"Give one answer for each question: there are {len(answers)} answers for {count} questions."
        )
    for position, question in enumerate(questions or ()):
        if not isinstance(question, str) or not question.strip():
            raise LeamlInputError(f"Question {position + 1} of {len(questions)} is empty: give it a text.")


def _one_line(question: str) -> str:
    return " ".join(question.split())


def _shown(template: str, examples: Sequence[Example]) -> str:
    """Questions with their answers as they stand before a question, each behind a prompt of its own."""
    return "".join(f"{template.replace('{question}', _one_line(q))} {_one_line(a)}\n" for q, a in examples)


def _pad_right(rows: list[list[int]]) -> dict[str, torch.Tensor]:
    width = max(len(row) for row in rows)
    return {
        "question_ids": torch.tensor([row + [0] * (width - len(row)) for row in rows]),  # [n, Tq]
        "question_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]),  # [n, Tq]
    }


def _pad_left(prompts: list[list[int]], answers: list[list[int]] | None, pad: int) -> dict[str, torch.Tensor]:
    """Rows of prompt (+ answer) tokens, padded on the left by length (the pad token may also be a real end token)."""
    ends = [[] for _ in prompts] if answers is None else answers
    rows = [[*prompt, *end] for prompt, end in zip(prompts, ends, strict=True)]
    width = max(len(row) for row in rows)
    data = {
        "input_ids": torch.tensor([[pad] * (width - len(row)) + row for row in rows]),  # [n, T]
        "attention_mask": torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows]),  # [n, T]
    }
    if answers is not None:
        data["labels"] = torch.tensor([[-100] * (width - len(end)) + end for end in ends])  # [n, T]
    return data
