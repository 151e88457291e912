"""Answers with what is needed to trust them, from pictures and questions to judged answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from .decoding import spelled_tokens, tell
from .errors import LeamlInputError
from .prefix import encode_features
from .quick_lora import quick_lora
from .records import AnswerRecords, mean_states, mean_words, read_records
from .retrieval import thumbnail
from .running import evaluating

if TYPE_CHECKING:
    from .modeling_leaml import LeamlForVisualQA

PICTURE_PARTS = ("vision_states", "texture", "cells")  # of `encode_pictures`
CALL_INPUTS = ("input_ids", "pixel_values", "vision_states", "vision_index", "question_ids", "question_mask",
               "texture", "cells", "example_tokens")  # fmt: skip


class EncodedPicture(NamedTuple):
    """
    A picture that a composed model has encoded, see [`LeamlForVisualQA.encode_pictures`]; goes where pictures go.

    Args:
        states (`torch.Tensor`): `[N, Dv]`.
        texture (`torch.Tensor`): `[Dt]`.
        thumbnail (`torch.Tensor`, *optional*): `[64]`, see [`~retrieval.thumbnail`]; for a model that retrieves
            labelled examples.
        cells (`torch.Tensor`, *optional*): `[h, w, Dt]`; for a model with a lexicon.
    """

    states: torch.Tensor
    texture: torch.Tensor
    thumbnail: torch.Tensor | None = None
    cells: torch.Tensor | None = None


@dataclass
class Answer:
    """
    One answer.

    Args:
        text (`str`): the answer.
        confidence (`float`): probability in [0, 1] that it is right; calibrated where the model has a reliability
            module.
        ood_score (`float`): rises with unfamiliarity; NaN without a reliability module.
        is_ood (`bool`): whether the score lies above the threshold; `False` without a reliability module.
        abstained (`bool`): whether it is too unsure to be given; `False` without a reliability module.
        evidence (`np.ndarray`): `[h, w]` over image patches, from 0, sums to 1: where the answer's first token looked.
        cause (`str`, *optional*): why it may fail, of [`~leaml_hf.reliability.CAUSES`]; `None` without a reliability
            module.
    """

    text: str
    confidence: float
    ood_score: float
    is_ood: bool
    abstained: bool
    evidence: np.ndarray
    cause: str | None = None


def answer(
    model: "LeamlForVisualQA",
    images: Sequence[Any],
    questions: Sequence[str],
    processor: Any,
    batch_size: int = 32,
    max_new_tokens: int = 8,
) -> list[Answer]:
    """
    Answers questions; see [`LeamlForVisualQA.answer`].

    Args:
        model ([`LeamlForVisualQA`]): answers.
        images (`Sequence`): n pictures or files, or one for all questions.
        questions (`Sequence[str]`): n questions.
        processor ([`LeamlProcessor`]): the model's.
        batch_size (`int`, *optional*, defaults to 32): rows at a time.
        max_new_tokens (`int`, *optional*, defaults to 8): longest answer in tokens.

    Returns:
        `list[Answer]`: n answers.
    """
    answers: list[Answer] = []
    for records in iterate(model, images, questions, processor, batch_size, max_new_tokens):
        answers += judge(model, records)
    return answers


def judge(model: "LeamlForVisualQA", records: AnswerRecords) -> list[Answer]:
    """
    Turns raw results into answers, with the model's reliability module where it has one.

    Args:
        model ([`LeamlForVisualQA`]): whose reliability module is applied.
        records ([`AnswerRecords`]): n raw results.

    Returns:
        `list[Answer]`: n answers.
    """
    rows = len(records.texts)
    if model.reliability is None:
        judged = {
            "confidence": records.confidence,
            "ood_score": np.full(rows, np.nan),
            "is_ood": np.zeros(rows, dtype=bool),
            "abstained": np.zeros(rows, dtype=bool),
        }
    else:
        judged = model.reliability.apply(records.states(), records.confidence)
    return [
        Answer(
            text=records.texts[row],
            confidence=float(judged["confidence"][row]),
            ood_score=float(judged["ood_score"][row]),
            is_ood=bool(judged["is_ood"][row]),
            abstained=bool(judged["abstained"][row]),
            evidence=records.evidence[row],
            cause=str(judged["cause"][row]) if "cause" in judged else None,
        )
        for row in range(rows)
    ]


def collect(
    model: "LeamlForVisualQA",
    images: Sequence[Any],
    questions: Sequence[str],
    processor: Any,
    batch_size: int = 32,
    max_new_tokens: int = 8,
) -> AnswerRecords:
    """
    Raw results of all rows in one object; see [`LeamlForVisualQA.collect`].

    Args:
        model ([`LeamlForVisualQA`]): answers.
        images (`Sequence`): n pictures or files, or one for all questions.
        questions (`Sequence[str]`): n questions.
        processor ([`LeamlProcessor`]): the model's.
        batch_size (`int`, *optional*, defaults to 32): rows at a time.
        max_new_tokens (`int`, *optional*, defaults to 8): longest answer in tokens.

    Returns:
        [`AnswerRecords`]: of n rows.
    """
    return AnswerRecords.joined(list(iterate(model, images, questions, processor, batch_size, max_new_tokens)))


def iterate(
    model: "LeamlForVisualQA",
    images: Sequence[Any],
    questions: Sequence[str],
    processor: Any,
    batch_size: int = 32,
    max_new_tokens: int = 8,
) -> Iterator[AnswerRecords]:
    """
    Raw results, one batch at a time, for data that does not fit into memory at once.

    Args:
        model ([`LeamlForVisualQA`]): answers.
        images (`Sequence`): n pictures or files, or one for all questions.
        questions (`Sequence[str]`): n questions.
        processor ([`LeamlProcessor`]): the model's.
        batch_size (`int`, *optional*, defaults to 32): rows at a time.
        max_new_tokens (`int`, *optional*, defaults to 8): longest answer in tokens.

    Yields:
        [`AnswerRecords`]: of up to `batch_size` rows, in order.

    Raises:
        [`LeamlInputError`]: if counts differ or a value is below 1.
    """
    from .processing_leaml import as_leaml_processor

    processor = as_leaml_processor(processor)
    for name, value in (("batch_size", batch_size), ("max_new_tokens", max_new_tokens)):
        if value < 1:
            raise LeamlInputError(f"{name} must be 1 or more, but got {value}.")
    rows = len(questions)
    if rows == 0:
        raise LeamlInputError("Give at least one question: there is none.")
    if len(images) not in (1, rows):
        raise LeamlInputError(
            f"Give one image for each question, or one for all: there are {len(images)} for {rows} questions."
        )
    with evaluating(model):
        for start in range(0, rows, batch_size):
            chosen = range(start, min(start + batch_size, rows))
            pictures = [images[row if len(images) > 1 else 0] for row in chosen]
            posed = [questions[row] for row in chosen]
            asked, rules = posed, [None] * len(chosen)
            if model.phrasebook is not None:
                asked, rules = zip(*model.phrasebook.find(posed), strict=True)
            answer_part = _answer_batch if model.retrieval is None else _answer_with_examples
            with torch.no_grad(), quick_lora(model):
                records = answer_part(model, pictures, list(asked), processor, max_new_tokens)
            records.texts = [text if rule is None else rule.said(text, question)
                             for text, rule, question in zip(records.texts, rules, posed, strict=True)]  # fmt: skip
            yield records


@torch.no_grad()
def spell(
    model: "LeamlForVisualQA", images: Sequence[Any], questions: Sequence[str], processor: Any, batch_size: int = 96
) -> list[str]:
    """
    Answers as the resampler spells them: without the decoder, some four times faster, and without a confidence.

    Args:
        model ([`LeamlForVisualQA`]): whose `can_spell` is true; questions are asked as they stand.
        images (`Sequence`): n pictures or files.
        questions (`Sequence[str]`): n questions.
        processor ([`LeamlProcessor`]): the model's.
        batch_size (`int`, *optional*, defaults to 96): rows at a time.

    Returns:
        `list[str]`: n answers, cut off after the resampler's `answer_tokens`.
    """
    words = model.get_input_embeddings().weight
    texts: list[str] = []
    for start in range(0, len(questions), batch_size):
        part = slice(start, start + batch_size)
        inputs = _composed_inputs(list(images[part]), list(questions[part]), processor)
        given = {name: inputs[name].to(model.device) for name in CALL_INPUTS if name in inputs}
        call = model._new_call(**dict.fromkeys(CALL_INPUTS) | given)
        texts += processor.decode_answers(spelled_tokens(call.spelled, words, processor.tokenizer.eos_token_id))
    return texts


def answer_batch(
    model: "LeamlForVisualQA",
    inputs: dict[str, torch.Tensor],
    processor: Any,
    max_new_tokens: int = 8,
    image_features: Any = None,
) -> AnswerRecords:
    """
    Raw results for a batch of prepared inputs.

    Args:
        model ([`LeamlForVisualQA`]): answers.
        inputs (`dict[str, torch.Tensor]`): of `forward`: `input_ids`, `attention_mask`, and `pixel_values` or
            `vision_states`, padded on the left.
        processor ([`LeamlProcessor`]): the model's.
        max_new_tokens (`int`, *optional*, defaults to 8): longest answer in tokens.
        image_features (*optional*): of the pictures, where an existing model has made them already, see
            [`~leaml_hf.prefix.encode_features`].

    Returns:
        [`AnswerRecords`]: of B rows.
    """
    inputs = {name: value.to(model.device) for name, value in inputs.items() if name != "labels"}
    given = {name: inputs.pop(name, None) for name in CALL_INPUTS}
    with torch.no_grad():
        call = model._new_call(**given, record=True, keep_key_values=True)
        call.features = image_features
        told = tell(model, call, given, inputs, processor.tokenizer, max_new_tokens)
    words = mean_words(model, given["input_ids"], inputs["attention_mask"])
    records = read_records(model, call, told, words, processor)
    if model.lexicon is not None:
        questions = processor.tokenizer.batch_decode(given["question_ids"], skip_special_tokens=True)
        model.lexicon.answer(model, call, questions, records)
    return records


def _answer_batch(
    model: "LeamlForVisualQA", pictures: list[Any], questions: list[str], processor: Any, max_new_tokens: int
) -> AnswerRecords:
    return answer_batch(model, prepare_inputs(model, pictures, questions, processor), processor, max_new_tokens)


def prepare_inputs(
    model: "LeamlForVisualQA", pictures: list[Any], questions: list[str], processor: Any
) -> dict[str, torch.Tensor]:
    """
    Inputs of a model for B questions.

    Args:
        model ([`LeamlForVisualQA`]): that they are for.
        pictures (`list`): B pictures; of a composed model also [`EncodedPicture`]s, where rows may share one.
        questions (`list[str]`): B questions.
        processor ([`LeamlProcessor`]): the model's.

    Returns:
        `dict[str, torch.Tensor]`: for [`answer_batch`].
    """
    if model.config.is_composed:
        return _composed_inputs(pictures, questions, processor)
    return dict(processor(images=pictures, questions=questions))


@torch.no_grad()
def _answer_with_examples(
    model: "LeamlForVisualQA", pictures: list[Any], questions: list[str], processor: Any, max_new_tokens: int
) -> AnswerRecords:
    """As `_answer_batch`, with the nearest labelled examples before each question. Pictures are encoded once: what
    finds the examples is what the model then sees."""
    thumbnails, asked = thumbnails_of(pictures), mean_words_of(model, processor, questions)
    if model.config.is_composed:
        inputs, features = _composed_inputs(pictures, questions, processor), None
        if "pixel_values" in inputs:
            encoded = model.encode_pictures(inputs.pop("pixel_values").to(model.device))
            inputs |= {name: part for name, part in zip(PICTURE_PARTS, encoded, strict=True) if part is not None}
        seen = inputs["vision_states"].float().mean(1)[inputs["vision_index"].to(inputs["vision_states"].device)]
        examples = model.retrieval.nearest(seen.cpu().numpy(), thumbnails, asked)
        inputs |= processor(questions=questions, examples=examples)
    else:
        seen, features = read_features(model, pictures, questions, processor)
        examples = model.retrieval.nearest(seen, thumbnails, asked)
        inputs = dict(processor(images=pictures, questions=questions, examples=examples))
    records = answer_batch(model, inputs, processor, max_new_tokens, features)
    records.question = asked
    return records


def thumbnails_of(pictures: Sequence[Any]) -> np.ndarray:
    """
    What tells copies of pictures.

    Args:
        pictures (`Sequence`): n pictures or files, or [`EncodedPicture`]s.

    Returns:
        `np.ndarray`: `[n, 64]`, see [`~retrieval.thumbnail`].

    Raises:
        [`LeamlInputError`]: if an encoded picture has no thumbnail.
    """
    unique = {id(picture): picture for picture in pictures}
    made = {place: _thumbnail(picture) for place, picture in unique.items()}
    return np.stack([made[id(picture)] for picture in pictures])


def _thumbnail(picture: Any) -> np.ndarray:
    if not isinstance(picture, EncodedPicture):
        return thumbnail(picture)
    if picture.thumbnail is None:
        raise LeamlInputError(
            "This model looks for labelled examples, which must not be copies of the picture: give the picture itself "
            "or its thumbnail too, or set model.retrieval to None."
        )
    return picture.thumbnail.float().numpy()


def words_asked(
    model: "LeamlForVisualQA", processor: Any, questions: Sequence[str], batch_size: int = 64
) -> np.ndarray:
    """
    The state `question` of [`~records.AnswerRecords`], without an answer.

    Args:
        model ([`LeamlForVisualQA`]): a composed model.
        processor ([`LeamlProcessor`]): the model's.
        questions (`Sequence[str]`): n questions.
        batch_size (`int`, *optional*, defaults to 64): questions at a time.

    Returns:
        `np.ndarray`: `[n, De]`.
    """
    found = []
    for start in range(0, len(questions), batch_size):
        asked = list(questions[start : start + batch_size])
        if model.phrasebook is not None:
            asked = [text for text, _ in model.phrasebook.find(asked)]
        if model.retrieval is not None:
            found.append(mean_words_of(model, processor, asked))
            continue
        text = processor(questions=asked)
        ids, mask = (text[name].to(model.device) for name in ("input_ids", "attention_mask"))
        found.append(mean_words(model, ids, mask).cpu().numpy())
    return np.concatenate(found)


def mean_words_of(model: "LeamlForVisualQA", processor: Any, questions: Sequence[str]) -> np.ndarray:
    """
    What questions say, as far as their words alone tell.

    Args:
        model ([`LeamlForVisualQA`]): whose word embeddings are read.
        processor ([`LeamlProcessor`]): the model's.
        questions (`Sequence[str]`): n questions.

    Returns:
        `np.ndarray`: `[n, De]`, the mean word embedding of each.
    """
    inputs = processor.tokenizer(list(questions), add_special_tokens=False, padding=True, return_tensors="pt")
    inputs = inputs.to(model.device)
    return mean_words(model, inputs["input_ids"], inputs["attention_mask"]).cpu().numpy()


@torch.no_grad()
def read_features(
    model: "LeamlForVisualQA", pictures: list[Any], questions: list[str], processor: Any
) -> tuple[np.ndarray, Any]:
    """
    What an existing model sees in pictures, without its decoder.

    Args:
        model ([`LeamlForVisualQA`]): over an existing image-text-to-text model.
        pictures (`list`): n pictures or files.
        questions (`list[str]`): n questions.
        processor ([`LeamlBackboneProcessor`]): the model's.

    Returns:
        `tuple`: mean vision states `[n, Dv]`, and the features for `answer_batch` with the same pictures.
    """
    inputs = processor(images=pictures, questions=questions)
    call = encode_features(model, {name: value.to(model.device) for name, value in inputs.items()})
    return mean_states(call, len(pictures)).cpu().numpy(), call.features


def _composed_inputs(pictures: list[Any], questions: list[str], processor: Any) -> dict[str, torch.Tensor]:
    """Inputs in which rows that share a picture object share its pixels."""
    unique = list({id(picture): picture for picture in pictures}.values())
    place = {id(picture): position for position, picture in enumerate(unique)}
    inputs = dict(processor(questions=questions))
    if isinstance(unique[0], EncodedPicture):
        inputs["vision_states"] = torch.stack([picture.states for picture in unique])  # [P, N, Dv]
        inputs["texture"] = torch.stack([picture.texture for picture in unique])  # [P, Dt]
        if all(picture.cells is not None for picture in unique):
            inputs["cells"] = torch.stack([picture.cells for picture in unique])  # [P, h, w, Dt]
    else:
        inputs["pixel_values"] = processor.encode_images(unique)
    inputs["vision_index"] = torch.tensor([place[id(picture)] for picture in pictures])  # [B]
    return inputs


class AnsweringMixin:
    """The methods of [`LeamlForVisualQA`] that answer questions."""

    def answer(
        self,
        images: list[Any],
        questions: list[str],
        processor: Any,
        batch_size: int = 32,
        max_new_tokens: int = 8,
    ) -> "list[Answer]":
        """
        Answers questions about pictures, and says how far each answer can be trusted.

        Args:
            images (`list`): n pictures or paths; rows that share a picture object share its encoding. One picture
                serves all. A composed model also takes [`EncodedPicture`]s.
            questions (`list[str]`): n questions.
            processor ([`LeamlProcessor`]): that belongs to this model.
            batch_size (`int`, *optional*, defaults to 32): rows at a time.
            max_new_tokens (`int`, *optional*, defaults to 8): longest answer in tokens.

        Returns:
            `list[Answer]`: n answers.

        Raises:
            [`LeamlInputError`]: if counts differ or a picture can't be read.
        """
        return answer(self, images, questions, processor, batch_size, max_new_tokens)

    def collect(
        self,
        images: list[Any],
        questions: list[str],
        processor: Any,
        batch_size: int = 32,
        max_new_tokens: int = 8,
    ) -> "AnswerRecords":
        """
        Like `answer`, but gives the raw arrays from which reliability is fitted and applied.

        Args:
            images (`list`): as in `answer`.
            questions (`list[str]`): as in `answer`.
            processor ([`LeamlProcessor`]): as in `answer`.
            batch_size (`int`, *optional*, defaults to 32): rows at a time.
            max_new_tokens (`int`, *optional*, defaults to 8): longest answer in tokens.

        Returns:
            [`AnswerRecords`].
        """
        return collect(self, images, questions, processor, batch_size, max_new_tokens)

    @property
    def can_spell(self) -> bool:
        """`bool`: whether a resampler spells answers before the decoder tells them."""
        return self.resampler is not None and self.resampler.spell is not None

    def spell(self, images: list[Any], questions: list[str], processor: Any, batch_size: int = 96) -> list[str]:
        """
        Answers as the resampler spells them, without the decoder; where `can_spell`.

        Args:
            images (`list`): n pictures or paths; rows that share a picture object share its encoding.
            questions (`list[str]`): n questions, asked as they stand.
            processor ([`LeamlProcessor`]): as in `answer`.
            batch_size (`int`, *optional*, defaults to 96): rows at a time.

        Returns:
            `list[str]`: n answers.
        """
        return spell(self, images, questions, processor, batch_size)
