"""
Out-of-distribution scores over states that the forward pass has computed already; higher = more unfamiliar.

One small class per score, all with `fit(states)`, `score(states)`, `state_dict()` and `load_state_dict()`, and one
combiner. No real out-of-distribution example is needed to fit any of them. States are a mapping from a name to an
array or tensor whose first dimension is the rows: `vision` `[n, Dv]` (the picture), `question` `[n, De]` (the
question), `hidden` `[n, D]` and `logits` `[n, V]` (both together), `gates` `[n, G]`, `attention` `[n, A]`; `places`,
`texture` and `names` say more of the picture. Scores that read a state `key` work on the picture, on the question, or
on both (`"vision+question"`).
"""

from .base import Score, States, state_array
from .combiner import SCORES, OODCombiner, default_scores
from .distances import KNN, Mahalanobis, RelativeMahalanobis, Retrieval, ViM
from .gated import Disagreement, Dispersion, Gates
from .logits import GEN, Energy, Entropy, MaxLogit, MaxSoftmax
from .names import UnknownNames

__all__ = [
    "GEN",
    "KNN",
    "SCORES",
    "Disagreement",
    "Dispersion",
    "Energy",
    "Entropy",
    "Gates",
    "Mahalanobis",
    "MaxLogit",
    "MaxSoftmax",
    "OODCombiner",
    "RelativeMahalanobis",
    "Retrieval",
    "Score",
    "States",
    "UnknownNames",
    "ViM",
    "default_scores",
    "state_array",
]
