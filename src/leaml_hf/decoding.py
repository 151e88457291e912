"""Greedy decoding of answers: token by token, or from a draft that is checked in one pass."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from .calls import VisionCall

if TYPE_CHECKING:
    from .modeling_leaml import LeamlForVisualQA


@dataclass
class Told:
    """Answers of B rows as the decoder told them: tokens `[B, S]`, their probability `[B]`, logits `[B, V]` of the
    first token, and the place from the end at which the first pass predicted it."""

    tokens: torch.Tensor
    probability: torch.Tensor
    first_logits: torch.Tensor
    place: int


def tell(
    model: "LeamlForVisualQA",
    call: VisionCall,
    given: dict[str, Any],
    inputs: dict[str, torch.Tensor],
    tokenizer: Any,
    max_new_tokens: int,
) -> Told:
    """
    Greedy answers of the decoder to B prepared questions.

    Args:
        model ([`LeamlForVisualQA`]): answers.
        call ([`~calls.VisionCall`]): of these rows, with `keep_key_values`.
        given (`dict[str, torch.Tensor]`): the inputs named in `CALL_INPUTS`.
        inputs (`dict[str, torch.Tensor]`): the others.
        tokenizer: the model's.
        max_new_tokens (`int`): longest answer in tokens.

    Returns:
        [`Told`]: of B rows.
    """
    # recurrent states can't forget the part of a draft that was wrong
    if call.spelled is None or model.backbone._is_stateful:
        return _generate(model, call, given, inputs, tokenizer, max_new_tokens)
    return _check_spelled(model, call, given, inputs["attention_mask"], tokenizer.eos_token_id, max_new_tokens)


def _generate(
    model: "LeamlForVisualQA",
    call: VisionCall,
    given: dict[str, Any],
    inputs: dict[str, torch.Tensor],
    tokenizer: Any,
    max_new_tokens: int,
) -> Told:
    output = model._generate(
        call,
        given["input_ids"],
        given["pixel_values"],
        **inputs,
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        temperature=None,
        top_p=None,
        top_k=None,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        return_dict_in_generate=True,
        output_logits=True,
    )
    start = 1 if model.backbone.config.is_encoder_decoder else given["input_ids"].shape[1]
    tokens = output.sequences[:, start:]  # [B, new tokens]
    told = _log_probabilities(tokens, torch.stack(output.logits, dim=1))
    return Told(tokens, _sequence_probability(tokens, told, tokenizer.eos_token_id), output.logits[0], place=-1)


def _check_spelled(
    model: "LeamlForVisualQA", call: VisionCall, given: dict[str, Any], attention_mask: torch.Tensor, end: int,
    max_new_tokens: int,
) -> Told:  # fmt: skip
    """
    Greedy decoding without a step for each token: one pass tells what follows after each token of a draft, so as far
    as the draft says the same the answer is known (speculative decoding, Leviathan et al. 2023, arXiv 2211.17192). The
    draft is what the resampler spelled; where it is wrong, decoding goes on token by token from what that pass knows.
    """
    drafts = spelled_tokens(call.spelled, model.get_input_embeddings().weight, end)[:, :max_new_tokens]
    width = min(int((drafts != end).sum(1).max()) + 1, drafts.shape[1])
    drafts = drafts[:, :width]
    ids = torch.cat([given["input_ids"], drafts[:, :-1]], 1)
    mask = F.pad(attention_mask, (0, width - 1), value=1)
    output = model._run(call, ids, mask, logits_to_keep=width, use_cache=True)
    logits = output.logits.float()  # [B, width, V]
    said = logits.argmax(-1)
    agreed = (said == drafts).long().cumprod(1)[:, :-1]
    known = F.pad(agreed, (1, 0), value=1).bool()  # [B, width] what follows after tokens that were said
    tokens = F.pad(torch.where(known, said, end), (0, max_new_tokens - width), value=end)
    told = F.pad(_log_probabilities(said, logits), (0, max_new_tokens - width))
    is_open = ~((said == end) & known).any(1) & (known.sum(1) < max_new_tokens)
    if rows := is_open.nonzero().squeeze(1).tolist():
        mask = torch.cat([attention_mask, agreed], 1)[rows]  # wrong drafts are not looked at
        cache = output.past_key_values
        cache.batch_select_indices(torch.tensor(rows, device=mask.device))
        begun = known.sum(1)[rows]  # [b] tokens that are known
        last = said[rows].gather(1, begun[:, None] - 1).squeeze(1)
        left = max_new_tokens - int(begun.min())
        rest, rest_told = _go_on(model, call.select(rows), cache, last, mask, left, end)
        for place, row in enumerate(rows):
            free = slice(int(begun[place]), min(int(begun[place]) + rest.shape[1], max_new_tokens))
            length = free.stop - free.start
            tokens[row, free], told[row, free] = rest[place, :length], rest_told[place, :length]
    return Told(tokens, _sequence_probability(tokens, told, end), logits[:, 0], place=-width)


def _go_on(
    model: "LeamlForVisualQA", call: VisionCall, cache: Any, last: torch.Tensor, mask: torch.Tensor, steps: int,
    end: int,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Greedy decoding after tokens `[b]`, from a cache of what `mask` `[b, T]` lets be seen before them: tokens and
    their log probabilities, each `[b, at most steps]`."""
    tokens, told = [], []
    is_open = torch.ones_like(last, dtype=torch.bool)
    while is_open.any() and len(tokens) < steps:
        mask = F.pad(mask, (0, 1), value=1)
        logits = model._run(call, last[:, None], mask, past_key_values=cache, use_cache=True).logits.float()
        last = logits[:, -1].argmax(-1).where(is_open, end)
        tokens.append(last)
        told.append(_log_probabilities(last[:, None], logits[:, -1:])[:, 0])
        is_open &= last != end
    return torch.stack(tokens, 1), torch.stack(told, 1)


def spelled_tokens(spelled: torch.Tensor, words: torch.Tensor, end: int) -> torch.Tensor:
    """
    Tokens of answers that the resampler spelled.

    Args:
        spelled (`torch.Tensor`): `[B, S, De]` one vector a token.
        words (`torch.Tensor`): `[V, De]` word embeddings.
        end (`int`): the token that ends an answer.

    Returns:
        `torch.Tensor`: `[B, S]`, the words of the nearest direction; only `end` after the first one.
    """
    # [V] lengths, and no table of words of length 1, which takes longer than what follows
    lengths = words.norm(dim=-1).clamp(min=1e-6)
    tokens = torch.full(spelled.shape[:2], end, device=spelled.device)
    open_rows = torch.arange(len(spelled), device=spelled.device)
    for place in range(spelled.shape[1]):
        likeness = F.linear(spelled[open_rows, place].to(words.dtype), words) / lengths  # [b, V]
        tokens[open_rows, place] = likeness.argmax(-1)
        open_rows = open_rows[tokens[open_rows, place] != end]
    return tokens


def _log_probabilities(tokens: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """`[B, S]` of tokens `[B, S]` by logits `[B, S, V]`."""
    logits = logits.float()
    return logits.gather(-1, tokens[..., None]).squeeze(-1) - logits.logsumexp(-1)


def _sequence_probability(tokens: torch.Tensor, told: torch.Tensor, end: int) -> torch.Tensor:
    """`[B]` probability of tokens `[B, S]` up to and including the first end, from the logarithms of theirs."""
    ended_before = (tokens == end).cumsum(1) - (tokens == end).long() > 0
    return told.masked_fill(ended_before, 0.0).sum(1).exp()
