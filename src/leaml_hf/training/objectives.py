"""Losses, and the averaged teacher."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _mean_over_rows(token_loss: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over B rows of the mean over each row's tokens: losses `[n]` of tokens, the row `[n]` of each, and
    weights `[B]`."""
    scale = weights.to(token_loss)[rows] / torch.bincount(rows, minlength=len(weights)).to(token_loss)[rows]
    return (token_loss * scale).sum() / weights.sum().clamp_min(1e-6).to(token_loss)


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
    return _mean_over_rows(token_loss, chosen.nonzero()[:, 0], weights)


def focal_loss(logits: Tensor, labels: Tensor, weights: Tensor, gamma: float = 3.0) -> Tensor:
    """
    Focal loss on answers: tokens that are certain already count less, so that few labels teach no over-confidence.

    Each token's cross-entropy is weighed by (1 - p)^gamma, p being the probability of the right token (Mukhoti et al.
    2020, arXiv 2002.09437, who recommend gamma = 3 for calibration).

    Args:
        logits (`Tensor`): `[B, T, V]`.
        labels (`Tensor`): `[B, T]`, -100 outside the answer.
        weights (`Tensor`): `[B]`, 0 or more.
        gamma (`float`, *optional*, defaults to 3.0): 0 or more; 0 gives the cross-entropy.

    Returns:
        `Tensor`: scalar, weighted mean over rows of the mean over tokens.
    """
    labels = labels[:, 1:]  # [B, T - 1]
    chosen = labels != -100
    log_right = -F.cross_entropy(logits[:, :-1][chosen].float(), labels[chosen], reduction="none")
    token_loss = -((1 - log_right.exp()) ** gamma) * log_right
    return _mean_over_rows(token_loss, chosen.nonzero()[:, 0], weights)


MMCE_WIDTH = 0.4  # of the kernel over confidences, as in the paper


def calibration_error(logits: Tensor, labels: Tensor) -> Tensor:
    """
    Maximum mean calibration error of the rows of a batch (Kumar et al. 2018, ICML: MMCE, equation 4), squared.

    A row's confidence is the probability of its likeliest answer tokens, given the right ones before them; it is right
    if these are the label. The kernel is Laplacian, exp(-|r - r'| / 0.4). It is 0 in expectation where confidences are
    the chances to be right.

    Args:
        logits (`Tensor`): `[B, T, V]`.
        labels (`Tensor`): `[B, T]`, -100 outside the answer.

    Returns:
        `Tensor`: scalar in [0, 1]; its gradient goes through the confidences alone.
    """
    labels = labels[:, 1:]  # [B, T - 1]
    chosen = labels != -100
    likeliest, said = logits[:, :-1].float().log_softmax(-1).max(-1)  # [B, T - 1]
    confidence = (likeliest * chosen).sum(1).exp()  # [B]
    right = ((said == labels) | ~chosen).all(1).to(confidence)
    gap = right - confidence
    kernel = (-(confidence[:, None] - confidence[None]).abs() / MMCE_WIDTH).exp()
    return (gap[:, None] * gap[None] * kernel).mean()


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
    return _mean_over_rows(token_loss, rows, weights)


def consistency_loss(logits: Tensor, told: Tensor, labels: Tensor) -> Tensor:
    """
    Mean over rows of the mean divergence KL(teacher || student) of each row's answer tokens, in nats.

    The teacher's whole distribution is matched (Hinton et al. 2015, arXiv 1503.02531), where hard pseudo-answers would
    make the student surer than the teacher is. On unlabelled pictures of the new domain it also keeps what few labels
    would make the model forget (Li & Hoiem 2016, arXiv 1606.09282).

    Args:
        logits (`Tensor`): `[B, T, V]` of the student.
        told (`Tensor`): `[B, T, V]` of the teacher.
        labels (`Tensor`): `[B, T]`, the teacher's answer, -100 outside it.

    Returns:
        `Tensor`: scalar.
    """
    chosen = labels[:, 1:] != -100
    expected = told[:, :-1][chosen].float().log_softmax(-1)
    token_loss = F.kl_div(logits[:, :-1][chosen].float().log_softmax(-1), expected, reduction="none", log_target=True)
    row = torch.arange(len(labels), device=labels.device)[:, None].expand_as(chosen)[chosen]
    return (token_loss.sum(-1) / chosen.sum(1)[row]).sum() / len(labels)


def spelling_consistency(spelled: Tensor, told: Tensor) -> Tensor:
    """
    Mean divergence of what two resamplers spell, in nats: of von Mises-Fisher distributions of the concentration
    `SPELLING_SCALE` around their vectors, for a concentration below the width.

    Args:
        spelled (`Tensor`): `[B, S, De]` unit vectors.
        told (`Tensor`): `[B, S, De]` unit vectors of the teacher.

    Returns:
        `Tensor`: scalar.
    """
    return SPELLING_SCALE**2 / spelled.shape[-1] * (1 - (spelled * told).sum(-1)).mean()


class AdapterSnapshot:
    """
    Values of the trainable parameters alone; as a context, the model has these values.

    Args:
        model (`nn.Module`): whose trainable parameters are copied.
    """

    def __init__(self, model: nn.Module) -> None:
        self.parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.values = self._copied()

    def _copied(self) -> dict[str, Tensor]:
        return {n: p.detach().clone() for n, p in self.parameters.items()}

    @torch.no_grad()
    def load(self, values: dict[str, Tensor]) -> None:
        """Sets the parameters to `values`."""
        for name, parameter in self.parameters.items():
            parameter.copy_(values[name])

    def __enter__(self) -> "AdapterSnapshot":
        self._kept = self._copied()
        self.load(self.values)
        return self

    def __exit__(self, *exception: object) -> None:
        self.load(self._kept)


class AveragedAdapter(AdapterSnapshot):
    """
    Exponential moving average of the trainable parameters alone (mean teacher: Tarvainen & Valpola 2017).

    Args:
        model (`nn.Module`): whose trainable parameters are averaged.
        decay (`float`): in [0, 1); a warm-up keeps the early average close to the parameters.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model)
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the parameters."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, parameter in self.parameters.items():
            self.values[name].lerp_(parameter, 1 - decay)
