"""Answers with what is needed to trust them: confidence, states for the out-of-distribution scores, and evidence."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from .adapters import skipping_closed_lora
from .decoding import spelled_tokens, tell
from .errors import LeamlInputError
from .fusion import VisionCall
from .prefix import encode_features
from .retrieval import thumbnail

if TYPE_CHECKING:
    from .modeling_leaml import LeamlForVisualQA

KEPT_LOGITS = 64
STATES = ("vision", "texture", "question", "hidden", "logits", "gates", "attention")
CALL_INPUTS = ("input_ids", "pixel_values", "vision_states", "vision_index", "question_ids", "question_mask",
               "texture", "example_tokens")  # fmt: skip


class EncodedPicture(NamedTuple):
    """
    A picture that a composed model has encoded, see [`LeamlForVisualQA.encode_pictures`]; goes where pictures go.

    Args:
        states (`torch.Tensor`): `[N, Dv]`.
        texture (`torch.Tensor`): `[Dt]`.
        thumbnail (`torch.Tensor`, *optional*): `[64]`, see [`~retrieval.thumbnail`]; for a model that retrieves
            labelled examples.
    """

    states: torch.Tensor
    texture: torch.Tensor
    thumbnail: torch.Tensor | None = None


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


@dataclass
class AnswerRecords:
    """
    Raw results for n rows.

    Args:
        texts (`list[str]`): n answers.
        confidence (`np.ndarray`): `[n]` probability of the answer's tokens (end token included), in [0, 1], not
            calibrated.
        vision (`np.ndarray`): `[n, Dv]` mean vision state.
        texture (`np.ndarray`): `[n, Dt]` how pictures are drawn or taken, by the vision encoder's first stages;
            Dt = 0 for existing models.
        question (`np.ndarray`): `[n, De]` mean word embedding of the prompt, image tokens left out; of the question
            alone where labelled examples stand before it.
        hidden (`np.ndarray`): `[n, D]` last hidden state where the first answer token is predicted.
        logits (`np.ndarray`): `[n, 64]` float32: the 63 highest logits of the first answer token, falling, and the
            log-sum-exp of the others: probabilities and energy come out as from all V, and n rows stay small.
        gates (`np.ndarray`): `[n, G]` gates of all fused layers at that position, in (-1, 1).
        attention (`np.ndarray`): `[n, A]` entropies of the attention maps at that position, one a fused layer (mean
            of its heads) and first that of the resampler where there is one; in [0, 1], 1 = looked everywhere alike.
        evidence (`list[np.ndarray]`): n maps `[h, w]` that sum to 1.
    """

    texts: list[str]
    confidence: np.ndarray
    vision: np.ndarray
    texture: np.ndarray
    question: np.ndarray
    hidden: np.ndarray
    logits: np.ndarray
    gates: np.ndarray
    attention: np.ndarray
    evidence: list[np.ndarray]

    def states(self) -> dict[str, np.ndarray]:
        """
        The states that reliability is fitted on and applied to.

        Returns:
            `dict[str, np.ndarray]`: `vision`, `question`, `hidden`, `logits`, of composed models `texture` and, where
                there are fused layers, `gates` and `attention`.
        """
        states = {name: getattr(self, name) for name in STATES}
        return {name: state for name, state in states.items() if state.shape[1]}


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
    batches = list(iterate(model, images, questions, processor, batch_size, max_new_tokens))
    arrays = {name: np.concatenate([getattr(batch, name) for batch in batches]) for name in ("confidence", *STATES)}
    texts = [text for batch in batches for text in batch.texts]
    return AnswerRecords(texts=texts, evidence=[part for batch in batches for part in batch.evidence], **arrays)


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
    was_training = model.training
    if was_training:
        model.eval()
    try:
        for start in range(0, rows, batch_size):
            chosen = range(start, min(start + batch_size, rows))
            pictures = [images[row if len(images) > 1 else 0] for row in chosen]
            posed = [questions[row] for row in chosen]
            asked, rules = posed, [None] * len(chosen)
            if model.phrasebook is not None:
                asked, rules = zip(*model.phrasebook.find(posed), strict=True)
            answer_part = _answer_batch if model.retrieval is None else _answer_with_examples
            with skipping_closed_lora(model):
                records = answer_part(model, pictures, list(asked), processor, max_new_tokens)
            records.texts = [text if rule is None else rule.said(text, question)
                             for text, rule, question in zip(records.texts, rules, posed, strict=True)]  # fmt: skip
            yield records
    finally:
        if was_training:
            model.train()


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
    rows = len(told.tokens)
    return AnswerRecords(
        texts=processor.decode_answers(told.tokens),
        confidence=told.probability.cpu().numpy(),
        vision=_mean_states(call, rows).cpu().numpy(),
        texture=_textures(call, rows).cpu().numpy(),
        question=_mean_words(model, given["input_ids"], inputs["attention_mask"]).cpu().numpy(),
        hidden=call.last_hidden_state[:, told.place].float().cpu().numpy(),
        logits=compact_logits(told.first_logits.float()).cpu().numpy(),
        gates=_gates_at(call, rows, told.place).cpu().numpy(),
        attention=_dispersion(call, rows, told.place).cpu().numpy(),
        evidence=_evidence(model, call, rows),
    )


def compact_logits(logits: torch.Tensor, keep: int = KEPT_LOGITS) -> torch.Tensor:
    """
    The highest logits, and one that stands for all others.

    Args:
        logits (`torch.Tensor`): `[B, V]`.
        keep (`int`, *optional*): columns of the result; nothing is done where V is no larger.

    Returns:
        `torch.Tensor`: `[B, keep]` with the same log-sum-exp as `logits`.
    """
    if logits.shape[1] <= keep:
        return logits
    top = logits.topk(keep - 1)
    others = logits.scatter(1, top.indices, -torch.inf).logsumexp(1, keepdim=True)
    return torch.cat([top.values, others], dim=1)


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
            inputs["vision_states"], inputs["texture"] = encoded
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
    return _mean_words(model, inputs["input_ids"], inputs["attention_mask"]).cpu().numpy()


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
    return _mean_states(call, len(pictures)).cpu().numpy(), call.features


def _composed_inputs(pictures: list[Any], questions: list[str], processor: Any) -> dict[str, torch.Tensor]:
    """Inputs in which rows that share a picture object share its pixels."""
    unique = list({id(picture): picture for picture in pictures}.values())
    place = {id(picture): position for position, picture in enumerate(unique)}
    inputs = dict(processor(questions=questions))
    if isinstance(unique[0], EncodedPicture):
        inputs["vision_states"] = torch.stack([picture.states for picture in unique])  # [P, N, Dv]
        inputs["texture"] = torch.stack([picture.texture for picture in unique])  # [P, Dt]
    else:
        inputs["pixel_values"] = processor.encode_images(unique)
    inputs["vision_index"] = torch.tensor([place[id(picture)] for picture in pictures])  # [B]
    return inputs


def _mean_states(call: VisionCall, rows: int) -> torch.Tensor:
    if call.picture_states is not None:
        mean = call.picture_states.float().mean(1)  # [P, Dv]
        return mean if call.picture_index is None else mean[call.picture_index]
    states = call.states.float()  # [P, N, Dv]
    if call.mask is None:
        mean = states.mean(1)
    else:
        weight = call.mask[..., None].float()
        mean = (states * weight).sum(1) / weight.sum(1).clamp(min=1.0)
    index = call.rows(rows)
    return mean if index is None else mean[index]  # [B, Dv]


def _textures(call: VisionCall, rows: int) -> torch.Tensor:
    """`[B, Dt]`; no columns where the model keeps its vision to itself."""
    if call.texture is None:
        return torch.zeros(rows, 0)
    index = call.rows(rows) if call.picture_states is None else call.picture_index
    return call.texture if index is None else call.texture[index]


@torch.no_grad()
def _mean_words(model: "LeamlForVisualQA", input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """`[B, De]` mean word embedding of tokens `[B, T]`; image tokens, where there are any, do not count."""
    picture = None if model.config.is_composed else getattr(model.config.backbone_config, "image_token_id", None)
    words = attention_mask.bool() if picture is None else attention_mask.bool() & (input_ids != picture)  # [B, T]
    embedded = model.get_input_embeddings()(input_ids.where(words, 0)).float()  # [B, T, De]
    return (embedded * words[..., None]).sum(1) / words.sum(1, keepdim=True).clamp(min=1)


def _dispersion(call: VisionCall, rows: int, place: int) -> torch.Tensor:
    """`[B, A]` entropies of where each row looked, over the largest that its number of tokens allows."""
    columns = [] if call.looked is None else [_relative_entropy(call.looked.float(), call.looked.shape[1])]
    index = None if call.mask is None else call.rows(rows)
    for attentions in call.attentions.values():  # [B, heads, T, N]
        tokens = attentions.shape[-1]
        if call.mask is not None:
            tokens = (call.mask if index is None else call.mask[index]).sum(1, keepdim=True)  # [B, 1]
        columns.append(_relative_entropy(attentions[:, :, place].float(), tokens).mean(1))
    return torch.stack(columns, dim=1) if columns else torch.zeros(rows, 0)


def _relative_entropy(shares: torch.Tensor, tokens: torch.Tensor | int) -> torch.Tensor:
    """Entropy over the last axis of `[..., N]` over that of `tokens` equal shares; 0 for a single token."""
    shares = shares / shares.sum(-1, keepdim=True)
    largest = torch.as_tensor(tokens, device=shares.device).float().log().clamp(min=1e-6)
    return torch.special.entr(shares).sum(-1) / largest


def _gates_at(call: VisionCall, rows: int, place: int) -> torch.Tensor:
    if not call.gates:
        return torch.zeros(rows, 0)
    return torch.cat([gates[:, place].float() for gates in call.gates.values()], dim=1)  # [B, G]


def _evidence(model: "LeamlForVisualQA", call: VisionCall, rows: int) -> list[np.ndarray]:
    """Attention at the last prompt position, averaged over heads and layers by the size of their gates; with a
    resampler, that of the question's last token."""
    if call.looked is not None:
        maps = (call.looked / call.looked.sum(1, keepdim=True)).float().cpu().numpy()
        return [row.reshape(model.vision_grid(len(row))) for row in maps]
    tokens = call.states.shape[1]
    total = torch.zeros(rows, tokens, device=call.states.device)
    plain = torch.zeros_like(total)
    for name, attentions in call.attentions.items():
        last = attentions[:, :, -1].float()  # [B, heads, N]
        weight = call.gates[name][:, -1, : last.shape[1]].float().abs()  # [B, heads]
        total += (weight[..., None] * last).sum(1)
        plain += last.mean(1)
    closed = total.sum(1, keepdim=True) == 0
    maps = torch.where(closed, plain, total)
    if not call.attentions:
        maps = torch.ones_like(maps) if call.mask is None else call.mask.float()
    maps = (maps / maps.sum(1, keepdim=True)).cpu().numpy()
    if call.mask is None:
        grid = model.vision_grid(tokens)
        return [row.reshape(grid) for row in maps]
    lengths = call.mask.sum(1).tolist()
    return [row[:length].reshape(model.vision_grid(length)) for row, length in zip(maps, lengths, strict=True)]


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
