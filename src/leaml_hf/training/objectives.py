"""Losses, and the averaged teacher."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..modeling_leaml import answer_places


@dataclass
class AnswerTokens:
    """
    What a model says of the n tokens of the answers of B rows.

    Args:
        logits (`Tensor`): `[n, V]`.
        tokens (`Tensor`): `[n]` long, the right ones.
        rows (`Tensor`): `[n]` long, the row of each.
        weights (`Tensor`): `[B]` of the rows, 0 or more.
    """

    logits: Tensor
    tokens: Tensor
    rows: Tensor
    weights: Tensor

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor, weights: Tensor) -> "AnswerTokens":
        """
        Picks the answers out of all that a model says.

        Args:
            logits (`Tensor`): `[B, T, V]`, or `[n, V]` where only these were made.
            labels (`Tensor`): `[B, T]`, -100 outside the answer.
            weights (`Tensor`): `[B]`.
        """
        places = answer_places(labels)
        picked = logits[places] if logits.dim() == 3 else logits
        return cls(picked, labels[:, 1:][places[:, :-1]], places.nonzero()[:, 0], weights)

    def by_row(self, token_loss: Tensor) -> Tensor:
        """`[B]` means over each row's tokens, of losses `[n]`; 0 where a row has none."""
        count = torch.bincount(self.rows, minlength=len(self.weights)).clamp_min(1).to(token_loss)
        return token_loss.new_zeros(len(count)).index_add(0, self.rows, token_loss) / count

    def mean(self, token_loss: Tensor) -> Tensor:
        """Weighted mean over rows of `by_row`, of losses `[n]`."""
        means = self.by_row(token_loss)
        return (means * self.weights.to(means)).sum() / self.weights.sum().clamp_min(1e-6).to(means)

    def are_right(self, said: Tensor) -> Tensor:
        """`[B]` bool, whether all of a row's tokens are the right ones, of tokens `[n]` that were said."""
        wrong = torch.bincount(self.rows[said != self.tokens], minlength=len(self.weights))
        return wrong == 0


def answer_loss(answers: AnswerTokens, smoothing: float) -> Tensor:
    """
    Weighted mean over rows of the mean cross-entropy of each row's answer tokens.

    Args:
        answers ([`AnswerTokens`]): of B rows.
        smoothing (`float`): label smoothing in [0, 1).

    Returns:
        `Tensor`: scalar.
    """
    return answers.mean(_cross_entropy(answers, smoothing))


def row_losses(answers: AnswerTokens, smoothing: float) -> Tensor:
    """
    Mean cross-entropy of each row's answer tokens.

    Args:
        answers ([`AnswerTokens`]): of B rows.
        smoothing (`float`): label smoothing in [0, 1).

    Returns:
        `Tensor`: `[B]`.
    """
    return answers.by_row(_cross_entropy(answers, smoothing))


def _cross_entropy(answers: AnswerTokens, smoothing: float) -> Tensor:
    return F.cross_entropy(answers.logits.float(), answers.tokens, label_smoothing=smoothing, reduction="none")


def focal_loss(answers: AnswerTokens, gamma: float = 3.0) -> Tensor:
    """
    Focal loss on answers: tokens that are certain already count less, so that few labels teach no over-confidence.

    Each token's cross-entropy is weighed by (1 - p)^gamma, p being the probability of the right token (Mukhoti et al.
    2020, arXiv 2002.09437, who recommend gamma = 3 for calibration).

    Args:
        answers ([`AnswerTokens`]): of B rows.
        gamma (`float`, *optional*, defaults to 3.0): 0 or more; 0 gives the cross-entropy.

    Returns:
        `Tensor`: scalar, weighted mean over rows of the mean over tokens.
    """
    log_right = -_cross_entropy(answers, 0.0)
    return answers.mean(-((1 - log_right.exp()) ** gamma) * log_right)


MMCE_WIDTH = 0.4  # of the kernel over confidences, as in the paper


def calibration_error(answers: AnswerTokens) -> Tensor:
    """
    Maximum mean calibration error of the rows of a batch (Kumar et al. 2018, ICML: MMCE, equation 4), squared.

    A row's confidence is the probability of its likeliest answer tokens, given the right ones before them; it is right
    if these are the label. The kernel is Laplacian, exp(-|r - r'| / 0.4). It is 0 in expectation where confidences are
    the chances to be right.

    Args:
        answers ([`AnswerTokens`]): of B rows.

    Returns:
        `Tensor`: scalar in [0, 1]; its gradient goes through the confidences alone.
    """
    likeliest, said = answers.logits.float().log_softmax(-1).max(-1)  # [n]
    confidence = likeliest.new_zeros(len(answers.weights)).index_add(0, answers.rows, likeliest).exp()  # [B]
    gap = answers.are_right(said).to(confidence) - confidence
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
    logits = SPELLING_SCALE * (told @ word_embeddings.T)
    return answer_loss(AnswerTokens(logits, labels[rows, columns], rows, weights), 0.0)


def consistency_loss(answers: AnswerTokens, told: Tensor) -> Tensor:
    """
    Weighted mean over rows of the mean divergence KL(teacher || student) of each row's answer tokens, in nats.

    The teacher's whole distribution is matched (Hinton et al. 2015, arXiv 1503.02531), where hard pseudo-answers would
    make the student surer than the teacher is. On unlabelled pictures of the new domain it also keeps what few labels
    would make the model forget (Li & Hoiem 2016, arXiv 1606.09282).

    Args:
        answers ([`AnswerTokens`]): of the student, the teacher's answers being the right ones.
        told (`Tensor`): `[n, V]` logits of the teacher.

    Returns:
        `Tensor`: scalar.
    """
    expected = told.float().log_softmax(-1)
    token_loss = F.kl_div(answers.logits.float().log_softmax(-1), expected, reduction="none", log_target=True)
    return answers.mean(token_loss.sum(-1))


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
