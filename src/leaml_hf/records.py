"""What one pass leaves behind: answers, their probability, states for the out-of-distribution scores, and evidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .calls import VisionCall
from .decoding import Told
from .vision_features import picture_places

if TYPE_CHECKING:
    from .modeling_leaml import LeamlForVisualQA

KEPT_LOGITS = 64
STATES = ("vision", "places", "texture", "names", "question", "hidden", "logits", "gates", "attention")


@dataclass
class AnswerRecords:
    """
    Raw results for n rows.

    Args:
        texts (`list[str]`): n answers.
        confidence (`np.ndarray`): `[n]` probability of the answer's tokens (end token included), in [0, 1], not
            calibrated.
        vision (`np.ndarray`): `[n, Dv]` mean vision state.
        places (`np.ndarray`): `[n, 2 N]` where in the picture something stands, see `picture_places`; no columns for
            existing models, whose pictures may have different numbers of places.
        texture (`np.ndarray`): `[n, Dt]` how pictures are drawn or taken, by the vision encoder's first stages;
            Dt = 0 for existing models.
        names (`np.ndarray`): `[n, 16 Dc]` codes of the names that are written in the picture, zeros where there
            are fewer, see [`~leaml_hf.name_reader.NameReader`]; no columns where a base does not read them.
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
    places: np.ndarray
    texture: np.ndarray
    names: np.ndarray
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
            `dict[str, np.ndarray]`: `vision`, `question`, `hidden`, `logits`, of composed models `places` and
                `texture`, of a base that reads names `names` and, where there are fused layers, `gates` and
                `attention`.
        """
        states = {name: getattr(self, name) for name in STATES}
        return {name: state for name, state in states.items() if state.shape[1]}

    @classmethod
    def joined(cls, batches: "Sequence[AnswerRecords]") -> "AnswerRecords":
        """Results of several batches, of the same model, one after the other."""
        arrays = {
            name: np.concatenate([getattr(batch, name) for batch in batches]) for name in ("confidence", *STATES)
        }
        lists = {name: [one for batch in batches for one in getattr(batch, name)] for name in ("texts", "evidence")}
        return cls(**lists, **arrays)


def read_records(
    model: "LeamlForVisualQA", call: VisionCall, told: Told, words: torch.Tensor, processor: Any
) -> AnswerRecords:
    """
    What one pass leaves behind.

    Args:
        model ([`LeamlForVisualQA`]): that answered.
        call ([`VisionCall`]): that recorded attention and gates.
        told ([`~decoding.Told`]): the answers to B rows.
        words (`torch.Tensor`): `[B, De]`, see [`mean_words`].
        processor ([`LeamlProcessor`]): the model's.

    Returns:
        [`AnswerRecords`]: of B rows.
    """
    rows = len(told.tokens)
    states = {
        **states_of_pictures(model, call, rows),
        "question": words,
        "hidden": call.last_hidden_state[:, told.place].float(),
        "logits": compact_logits(told.first_logits.float()),
        "gates": _gates_at(call, rows, told.place),
        "attention": _dispersion(call, rows, told.place),
    }
    return AnswerRecords(
        texts=processor.decode_answers(told.tokens),
        confidence=told.probability.cpu().numpy(),
        evidence=_evidence(model, call, rows),
        **{name: state.cpu().numpy() for name, state in states.items()},
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


def states_of_pictures(model: "LeamlForVisualQA", call: VisionCall, rows: int) -> dict[str, torch.Tensor]:
    """
    What is known of pictures before any question about them is answered.

    Args:
        model ([`LeamlForVisualQA`]): that sees them.
        call ([`VisionCall`]): with their vision states.
        rows (`int`): rows B.

    Returns:
        `dict[str, torch.Tensor]`: `vision`, `places`, `texture` and `names` of each row's picture, as in
            [`AnswerRecords`].
    """
    seen = call.states if call.picture_states is None else call.picture_states
    reads = model.reader is not None and seen is not None
    found = {
        "places": None if call.texture is None else picture_places(seen),
        "texture": call.texture,
        "names": model.reader.read(seen).flatten(1) if reads else None,
    }
    return {"vision": mean_states(call, rows)} | {name: _of_rows(call, rows, value) for name, value in found.items()}


def mean_states(call: VisionCall, rows: int) -> torch.Tensor:
    """Mean vision state `[B, Dv]` of the picture of each of B rows; padding does not count."""
    if call.picture_states is not None:
        return _of_rows(call, rows, call.picture_states.float().mean(1))
    states = call.states.float()  # [P, N, Dv]
    if call.mask is None:
        return _of_rows(call, rows, states.mean(1))
    weight = call.mask[..., None].float()
    return _of_rows(call, rows, (states * weight).sum(1) / weight.sum(1).clamp(min=1.0))


def _of_rows(call: VisionCall, rows: int, of_pictures: torch.Tensor | None) -> torch.Tensor:
    """What pictures `[P, D]` have, by row `[B, D]`; no columns where there is nothing."""
    if of_pictures is None:
        return torch.zeros(rows, 0)
    index = call.rows(rows) if call.picture_states is None else call.picture_index
    return of_pictures if index is None else of_pictures[index]


@torch.no_grad()
def mean_words(model: "LeamlForVisualQA", input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Mean word embedding `[B, De]` of tokens `[B, T]`; image tokens, where there are any, do not count."""
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
