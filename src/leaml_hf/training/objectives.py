"""Losses, the averaged teacher, and pseudo-answers for unlabelled rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def answer_loss(logits: Tensor, labels: Tensor, weights: Tensor, smoothing: float) -> Tensor:
    """
    Weighted mean over rows of the mean cross-entropy of each row's answer tokens.

    Args:
        logits (`Tensor`): `[B, T, V]`.
        labels (`Tensor`): `[B, T]`, -100 outside the answer.
        weights (`Tensor`): `[B]`, 0 or more.
        smoothing (`float`): label smoothing in [0, 1).

    Returns:
        `Tensor`: scalar.
    """
    labels = labels[:, 1:]  # [B, T - 1]
    chosen = labels != -100
    token_loss = F.cross_entropy(logits[:, :-1][chosen].float(), labels[chosen], label_smoothing=smoothing,
                                 reduction="none")  # fmt: skip
    row = torch.arange(len(labels), device=labels.device)[:, None].expand_as(labels)[chosen]
    scale = weights.to(token_loss)[row] / chosen.sum(1).to(token_loss)[row]
    return (token_loss * scale).sum() / weights.sum().clamp_min(1e-6).to(token_loss)


SPELLING_SCALE = 60.0  # of cosines; what `leaml pretrain` settles at


def spelling_loss(spelled: Tensor, labels: Tensor, weights: Tensor, word_embeddings: Tensor) -> Tensor:
    """
    Weighted mean over rows of the mean cross-entropy of the answer tokens that a resampler spells.

    It teaches the resampler what a question asks without the long way through the decoder.

    Args:
        spelled (`Tensor`): `[B, S, De]` unit vectors.
        labels (`Tensor`): `[B, T]`, -100 outside the answer.
        weights (`Tensor`): `[B]`, 0 or more.
        word_embeddings (`Tensor`): `[V, De]` unit vectors.

    Returns:
        `Tensor`: scalar.
    """
    place = (labels != -100).cumsum(1) - 1  # which token of the answer
    rows, columns = ((labels != -100) & (place < spelled.shape[1])).nonzero(as_tuple=True)
    told = spelled[rows, place[rows, columns]].to(word_embeddings.dtype)  # [answer tokens, De]
    logits = SPELLING_SCALE * (told @ word_embeddings.T).float()
    token_loss = F.cross_entropy(logits, labels[rows, columns], reduction="none")
    scale = weights.to(token_loss)[rows] / torch.bincount(rows, minlength=len(labels)).to(token_loss)[rows]
    return (token_loss * scale).sum() / weights.sum().clamp_min(1e-6).to(token_loss)


class AveragedAdapter:
    """
    Exponential moving average of the trainable parameters alone (mean teacher: Tarvainen & Valpola 2017).

    Args:
        model (`nn.Module`): whose trainable parameters are averaged.
        decay (`float`): in [0, 1); a warm-up keeps the early average close to the parameters.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.average = {n: p.detach().clone() for n, p in self.parameters.items()}
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the parameters."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, parameter in self.parameters.items():
            self.average[name].lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def load(self, values: dict[str, Tensor]) -> None:
        """Sets the parameters to `values`."""
        for name, parameter in self.parameters.items():
            parameter.copy_(values[name])

    def __enter__(self) -> "AveragedAdapter":
        self._kept = {n: p.detach().clone() for n, p in self.parameters.items()}
        self.load(self.average)
        return self

    def __exit__(self, *exception: object) -> None:
        self.load(self._kept)


@dataclass
class AdaptiveThreshold:
    """
    A confidence threshold for each answer: the running mean of the teacher's confidence, scaled down for an answer
    that it gives with less confidence than others (FreeMatch, Wang et al. 2023, eq. 5 and 8). Of each answer no more
    than `keep_share` of a draw is kept: the confident ones alone have too much of some answers, and what is trained on
    them says these ever more often. Nothing below `floor` is kept.
    """

    keep_share: float
    floor: float = 0.0
    momentum: float = 0.5
    value: float | None = None

    def keep(self, confidence: np.ndarray, answers: Sequence[str]) -> np.ndarray:
        """Which of `[n]` pseudo-answers are kept."""
        mean = float(confidence.mean())
        self.value = mean if self.value is None else self.momentum * self.value + (1 - self.momentum) * mean
        _, group = np.unique(answers, return_inverse=True)
        of_answer = np.bincount(group, confidence) / np.bincount(group)
        least = self.value * of_answer / of_answer.max()  # of each answer
        highest = np.array([np.quantile(confidence[group == one], 1 - self.keep_share) for one in range(len(least))])
        return confidence >= np.maximum(self.floor, np.maximum(least, highest))[group]
