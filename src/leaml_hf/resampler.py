"""Question-aware resampler: a question reads a picture, and leaves one state per question token for the decoder.

Between the vision half and the decoder of a LEAML base. The idea is that of InstructBLIP's Q-Former (Dai et al. 2023,
arXiv 2305.06500), but without learnt queries: the question's own tokens, through the language model's frozen word
embeddings, are the queries. The keys and values of a picture are computed once for all its questions.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Reading:
    """
    What a resampler found for P pictures with Q questions each, T tokens a question.

    Args:
        states (`torch.Tensor`): `[P, Q, T, D]` after the last layer and its norm.
        behind (`list[torch.Tensor]`): `[P, Q, T, D]` behind each layer.
        within (`list[torch.Tensor]`): `[P * Q, heads, T, T]` attention of each layer within the questions.
        across (`list[torch.Tensor]`): `[P, heads, Q, T, N]` attention of each layer to the pictures.
    """

    states: torch.Tensor
    behind: list[torch.Tensor] = field(default_factory=list)
    within: list[torch.Tensor] = field(default_factory=list)
    across: list[torch.Tensor] = field(default_factory=list)


class MultiHeadAttention(nn.Module):
    """
    Multi-head attention by explicit products: on a CPU faster, backward above all, than the fused kernels.

    Args:
        dim (`int`): width D of queries, keys, values and output.
        num_heads (`int`): heads; must divide `dim`.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, dim)
        self.kv_proj = nn.Linear(dim, 2 * dim)
        self.o_proj = nn.Linear(dim, dim)

    def forward(
        self, hidden_states: torch.Tensor, memory: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Attends from `hidden_states` to `memory`.

        Args:
            hidden_states (`torch.Tensor`): `[B, T, D]`.
            memory (`torch.Tensor`): `[B, N, D]`.
            mask (`torch.Tensor`, *optional*): `[B, N]` bool, `False` where memory is padding.

        Returns:
            `tuple`: `[B, T, D]`, and the weights `[B, heads, T, N]`.
        """
        query = self.q_proj(hidden_states).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # [B, heads, T, d]
        key, value = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in self.kv_proj(memory).chunk(2, -1)
        )  # [B, heads, N, d]
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5  # [B, heads, T, N]
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None], torch.finfo(scores.dtype).min)
        weights = scores.softmax(-1)
        return self.o_proj((weights @ value).transpose(1, 2).flatten(2)), weights


class ResamplerLayer(nn.Module):
    """
    Attention within a question, attention to its picture, feed-forward; all pre-norm.

    Args:
        dim (`int`): width D.
        num_heads (`int`): heads.
        ffn_dim (`int`): inner width of the feed-forward.
    """

    def __init__(self, dim: int, num_heads: int, ffn_dim: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))
        self.within = MultiHeadAttention(dim, num_heads)
        self.across = MultiHeadAttention(dim, num_heads)
        self.ffn_in = nn.Linear(dim, ffn_dim)
        self.ffn_out = nn.Linear(ffn_dim, dim)

    def forward(
        self, hidden_states: torch.Tensor, mask: torch.Tensor, vision: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        One layer over Q questions a picture.

        Args:
            hidden_states (`torch.Tensor`): `[P, Q, T, D]`.
            mask (`torch.Tensor`): `[P, Q, T]` bool, `False` where padded.
            vision (`torch.Tensor`): `[P, N, D]`.

        Returns:
            `tuple`: `[P, Q, T, D]`, and where each token looked: within its question `[P * Q, heads, T, T]`, and in
                its picture `[P, heads, Q, T, N]`.
        """
        _, questions, tokens, _ = hidden_states.shape
        normed = self.norms[0](hidden_states).flatten(0, 1)  # [P * Q, T, D]
        told, within = self.within(normed, normed, mask.flatten(0, 1))
        hidden_states = hidden_states + told.view_as(hidden_states)
        asked = self.norms[1](hidden_states).flatten(1, 2)  # [P, Q * T, D]
        found, across = self.across(asked, vision)  # [P, Q * T, D], [P, heads, Q * T, N]
        hidden_states = hidden_states + found.view_as(hidden_states)
        inner = torch.relu(self.ffn_in(self.norms[2](hidden_states)))
        return hidden_states + self.ffn_out(inner), within, across.unflatten(2, (questions, tokens))


class QuestionResampler(nn.Module):
    """
    Turns a picture and a question into one state per question token.

    Args:
        embedding_size (`int`): width De of the word embeddings.
        vision_size (`int`): width D of the vision states, and of the resampler.
        num_layers (`int`): layers.
        num_heads (`int`): heads of each attention.
        ffn_dim (`int`): inner width of the feed-forward.
        max_tokens (`int`): longest question in tokens; the processor shortens longer ones.
        answer_tokens (`int`, *optional*, defaults to 0): tokens of the answer that it spells; 0 for none.
    """

    def __init__(
        self, embedding_size: int, vision_size: int, num_layers: int, num_heads: int, ffn_dim: int, max_tokens: int,
        answer_tokens: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.max_tokens = max_tokens
        self.embedding_norm = nn.LayerNorm(embedding_size)
        self.embedding_proj = nn.Linear(embedding_size, vision_size)
        self.position = nn.Parameter(torch.randn(max_tokens, vision_size) * 0.02)
        self.layers = nn.ModuleList(ResamplerLayer(vision_size, num_heads, ffn_dim) for _ in range(num_layers))
        self.norm = nn.LayerNorm(vision_size)
        self.answer_tokens = answer_tokens
        self.spell = nn.Linear(vision_size, answer_tokens * embedding_size) if answer_tokens else None

    def spell_answer(self, last: torch.Tensor) -> torch.Tensor:
        """
        The answer as the language model's word embeddings would have it, one vector per token.

        The vocabulary stays open: a token is told by its likeness to the frozen embeddings, so that no list of answers
        enters the weights.

        Args:
            last (`torch.Tensor`): `[..., D]` state of each question's last token.

        Returns:
            `torch.Tensor`: `[..., answer_tokens, De]` unit vectors, in float32.
        """
        return F.normalize(self.spell(last).unflatten(-1, (self.answer_tokens, -1)).float(), dim=-1)

    @property
    def grounded_heads(self) -> int:
        """`int`: heads of each layer that pre-training teaches to look at the marks asked for; the others are free."""
        return max(1, self.layers[0].across.num_heads // 2)

    def forward(self, embeddings: torch.Tensor, mask: torch.Tensor, vision: torch.Tensor) -> Reading:
        """
        Reads P pictures, Q questions each.

        Args:
            embeddings (`torch.Tensor`): `[P, Q, T, De]` word embeddings, padded on the right; T is `max_tokens` at
                most.
            mask (`torch.Tensor`): `[P, Q, T]` bool, `False` where padded.
            vision (`torch.Tensor`): `[P, N, D]`.

        Returns:
            [`Reading`].
        """
        hidden_states = self.embedding_proj(self.embedding_norm(embeddings))  # [P, Q, T, D]
        hidden_states = hidden_states + self.position[: hidden_states.shape[2]]
        reading = Reading(hidden_states)
        for layer in self.layers:
            hidden_states, within, across = layer(hidden_states, mask, vision)
            reading.behind.append(hidden_states)
            reading.within.append(within)
            reading.across.append(across)
        reading.states = self.norm(hidden_states)
        return reading


def read_pictures(
    resampler: QuestionResampler,
    embeddings: torch.Tensor,
    mask: torch.Tensor,
    vision: torch.Tensor,
    index: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """
    Applies a resampler to rows that share pictures in any order.

    Args:
        resampler ([`QuestionResampler`]): reads.
        embeddings (`torch.Tensor`): `[B, T, De]` word embeddings, padded on the right.
        mask (`torch.Tensor`): `[B, T]` bool, `False` where padded.
        vision (`torch.Tensor`): `[P, N, D]`.
        index (`torch.Tensor`, *optional*): `[B]` picture of each row; defaults to row b and picture b.

    Returns:
        `tuple`: states `[B, T, D]`; where each question's last token looked in the last layer, `[B, N]`: the mean
            of the heads that are trained to look at what decides the answer; and the answer as the resampler spells it
            `[B, answer_tokens, De]`, or `None`.
    """
    pictures = vision.shape[0]
    rows = torch.arange(len(embeddings), device=vision.device)
    index = rows if index is None else index
    earlier = torch.tril(index[:, None] == index[None], diagonal=-1).sum(1)  # [B] rows of the same picture before it
    most = int(earlier.max()) + 1
    grouped = embeddings.new_zeros(pictures, most, *embeddings.shape[1:]).index_put((index, earlier), embeddings)
    seen = mask.new_zeros(pictures, most, mask.shape[1]).index_put((index, earlier), mask)  # [P, Q, T]
    reading = resampler(grouped, seen, vision)
    at_end = reading.across[-1][:, : resampler.grounded_heads].mean(1)[index, earlier, mask.sum(1) - 1]  # [B, N]
    states = reading.states[index, earlier]  # [B, T, D]
    spelled = None if resampler.spell is None else resampler.spell_answer(last_tokens(states, mask))
    return states, at_end, spelled


def last_tokens(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """
    The state of each question's last token.

    Args:
        states (`torch.Tensor`): `[..., T, D]`.
        mask (`torch.Tensor`): `[..., T]` bool, padded on the right.

    Returns:
        `torch.Tensor`: `[..., D]`.
    """
    last = mask.sum(-1, keepdim=True)[..., None] - 1  # [..., 1, 1]
    return states.gather(-2, last.expand(*last.shape[:-1], states.shape[-1])).squeeze(-2)
