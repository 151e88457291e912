"""
Scores of the logits of the first answer token; nothing is learnt.

`logits` are `[n, V]`, or as `collect` gives them: the 63 highest, and one that stands for all other tokens, which then
count as one answer.
"""

from typing import Any

import numpy as np

from .base import Score, States, state_array


def log_sum_exp(logits: np.ndarray) -> np.ndarray:
    """log Σ exp over the columns of `[n, V]`: float64 `[n]`."""
    largest = logits.max(axis=1, keepdims=True).astype(np.float64)  # [n, 1]
    return largest[:, 0] + np.log(np.exp(logits - largest).sum(axis=1))  # [n]


def _probabilities(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits - log_sum_exp(logits)[:, None])  # [n, V]


class MaxSoftmax(Score):
    """
    One minus the largest softmax probability (MSP) of the first answer token: `[n]` in [0, 1).

    Source: Hendrycks and Gimpel, 2017, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in
    Neural Networks" (https://arxiv.org/abs/1610.02136).
    """

    kind = "max_softmax"

    def score(self, states: States) -> np.ndarray:
        logits = state_array(states, self.key)  # [n, V]
        return -np.expm1(logits.max(axis=1) - log_sum_exp(logits))


class MaxLogit(Score):
    """
    The largest logit of the first answer token, negative: `[n]`.

    Source: Hendrycks et al., 2022, "Scaling Out-of-Distribution Detection for Real-World Settings"
    (https://arxiv.org/abs/1911.11132).
    """

    kind = "max_logit"

    def score(self, states: States) -> np.ndarray:
        return -state_array(states, self.key).max(axis=1).astype(np.float64)


class Entropy(Score):
    """
    Entropy of the softmax of the first answer token, in nats: `[n]`, from 0 to log V.

    Source: Shannon, 1948, Bell Syst. Tech. J. 27; as a score for example in Chan et al., 2021
    (https://arxiv.org/abs/2012.06575).
    """

    kind = "entropy"

    def score(self, states: States) -> np.ndarray:
        from scipy.special import entr

        return entr(_probabilities(state_array(states, self.key))).sum(axis=1)


class Energy(Score):
    """
    Free energy -log Σ exp(logit) of the first answer token, in nats, at temperature 1: `[n]`.

    Source: Liu et al., 2020, "Energy-based Out-of-distribution Detection" (https://arxiv.org/abs/2010.03759).
    """

    kind = "energy"

    def score(self, states: States) -> np.ndarray:
        return -log_sum_exp(state_array(states, self.key))


class GEN(Score):
    """
    Generalised entropy Σ p^γ (1 - p)^γ over the most probable first answer tokens: `[n]`, 0 or more.

    Source: Liu et al., 2023, "GEN: Pushing the Limits of Softmax-Based Out-of-Distribution Detection" (CVPR), eq. 3
    and 4, there with the sign turned round.

    Args:
        key (`str`, *optional*, defaults to `"logits"`): the state with the logits.
        gamma (`float`, *optional*, defaults to 0.1): γ in (0, 1); the smaller, the more small probabilities count.
        tokens (`int`, *optional*, defaults to 100): how many of the most probable tokens are summed over.
    """

    kind = "gen"

    def __init__(self, key: str = "logits", gamma: float = 0.1, tokens: int = 100):
        super().__init__(key)
        self.gamma = gamma
        self.tokens = tokens

    def config(self) -> dict[str, Any]:
        return {**super().config(), "gamma": self.gamma, "tokens": self.tokens}

    def score(self, states: States) -> np.ndarray:
        probability = np.sort(_probabilities(state_array(states, self.key)), axis=1)[:, -self.tokens :]  # [n, tokens]
        return np.sum((probability * (1 - probability)).clip(min=0) ** self.gamma, axis=1)
