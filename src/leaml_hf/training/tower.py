"""First stage of pre-training a base: the vision half with a small question head and dense object-level targets."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.visual_arrays.conventions import COLOR_NAMES, LABELS
from ..data.visual_arrays.scenes import SHAPES, STEPS
from ..data.visual_arrays.targets import IGNORE, TARGETS

_NUMBERS = sorted({k * step for k in range(11) for step in STEPS})
ANSWERS = tuple(dict.fromkeys(
    (*COLOR_NAMES, *LABELS, *SHAPES, *map(str, _NUMBERS), "yes", "no", "up", "down", "positive", "negative", "bar",
     "line", "pie", "scatter")
))  # fmt: skip
ANSWER_ID = {answer: i for i, answer in enumerate(ANSWERS)}


class Attention(nn.Module):
    """Multi-head attention by explicit products: on a CPU faster, backward above all, than the fused kernels."""

    def __init__(self, width: int, heads: int = 3) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, hidden: Tensor, memory: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """hidden [B, T, D], memory [B, N, D], mask (True = seen) [B, N] -> [B, T, D] and weights [B, heads, T, N]."""
        split = lambda x: x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # noqa: E731  [B, heads, T, d]
        query = split(self.query(hidden))
        key, value = (split(x) for x in self.key_value(memory).chunk(2, -1))
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None], torch.finfo(scores.dtype).min)
        weights = scores.softmax(-1)  # [B, heads, T, N]
        return self.out((weights @ value).transpose(1, 2).flatten(2)), weights


class QuestionLayer(nn.Module):
    """Self-attention within a question, attention to its picture, feed-forward."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.within, self.across = Attention(width), Attention(width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, hidden: Tensor, seen: Tensor, vision: Tensor) -> tuple[Tensor, Tensor]:
        """hidden [B * K, T, D], seen [B * K, T], vision [B, N, D]; K questions share a picture's keys and values.

        Returns hidden states and where each token looked, [B * K, T, N], the mean over heads.
        """
        normed = self.norms[0](hidden)
        hidden = hidden + self.within(normed, normed, seen)[0]
        asked = self.norms[1](hidden).reshape(len(vision), -1, hidden.shape[-1])  # [B, K * T, D]
        found, weights = self.across(asked, vision)
        hidden = hidden + found.reshape(hidden.shape)
        looked = weights.mean(1).reshape(*hidden.shape[:2], -1)  # [B * K, T, N]
        return hidden + self.feed_forward(self.norms[2](hidden)), looked


class QuestionHead(nn.Module):
    """Reads a question over vision tokens and picks one of `ANSWERS`: what the tower is trained with, then dropped."""

    def __init__(self, word_embeddings: Tensor, width: int, num_layers: int = 2, max_tokens: int = 32) -> None:
        super().__init__()
        self.register_buffer("words", word_embeddings, persistent=False)  # [V, D], frozen
        self.project = nn.Linear(word_embeddings.shape[1], width)
        self.positions = nn.Parameter(torch.randn(max_tokens, width) * 0.02)
        self.layers = nn.ModuleList(QuestionLayer(width) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width)
        self.answer = nn.Linear(width, len(ANSWERS))

    def forward(self, input_ids: Tensor, padding: Tensor, vision: Tensor) -> tuple[Tensor, Tensor]:
        """input_ids, padding (True = padding) [B * K, T]; vision [B, N, D].

        Returns logits [B * K, answers], and where the last token looked in the last layer, [B * K, N].
        """
        hidden = self.project(self.words[input_ids] * 10.0) + self.positions[: input_ids.shape[1]]  # [B * K, T, D]
        for layer in self.layers:
            hidden, looked = layer(hidden, ~padding, vision)
        rows, last = torch.arange(len(hidden), device=hidden.device), (~padding).sum(1) - 1
        return self.answer(self.norm(hidden[rows, last])), looked[rows, last]


def grounding_loss(looked: Tensor, relevant: Tensor) -> Tensor:
    """
    Mean negative log of the attention that falls on the marks that decide the answer.

    Questions that name a mark stay at chance for very long without it: nothing tells the attention where to look.

    Args:
        looked (`Tensor`): `[Q, N]` attention, 0 or more, of sum 1 at most.
        relevant (`Tensor`): `[Q, N]` bool; rows without any token are left out.

    Returns:
        `Tensor`: scalar.
    """
    asked = relevant.any(1)
    return -((looked.float() * relevant).sum(1)[asked] + 1e-6).log().mean()


class DenseHeads(nn.Module):
    """One linear classifier per target on every vision token.

    Args:
        width (`int`): of the tokens.
        names (`tuple[str, ...]`): targets to predict, of `TARGETS`.
    """

    def __init__(self, width: int, names: tuple[str, ...] = tuple(TARGETS)) -> None:
        super().__init__()
        self.sizes = {name: TARGETS[name] for name in names}
        self.columns = [list(TARGETS).index(name) for name in names]
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, sum(self.sizes.values()))

    def forward(self, tokens: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, float]]:
        """tokens [B, N, D], targets [B, N, TARGETS] -> summed loss and the accuracy of each target."""
        logits = self.out(self.norm(tokens)).float().flatten(0, 1)  # [B * N, classes]
        loss, accuracy = logits.new_zeros(()), {}
        for name, column, part in zip(
            self.sizes, self.columns, logits.split(list(self.sizes.values()), 1), strict=True
        ):
            target = targets[..., column].flatten()
            keep = target != IGNORE
            if keep.any():
                loss = loss + F.cross_entropy(part[keep], target[keep])
                accuracy[name] = (part[keep].argmax(1) == target[keep]).float().mean().item()
        return loss, accuracy


@dataclass
class TowerBatch:
    """B pictures with K questions each.

    pixels [B, 3, H, W] uint8, targets [B, N, TARGETS], input_ids and padding [B * K, T], answers [B * K], B * K texts.
    """

    pixels: Tensor
    targets: Tensor
    input_ids: Tensor
    padding: Tensor
    answers: Tensor
    relevant: Tensor
    programs: list[str]
    questions: list[str]
    answer_texts: list[str]
