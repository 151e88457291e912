"""Why an answer may fail: the picture looks new, its content is new, or neither is and the question is too hard."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import LeamlInputError
from .ood import Mahalanobis, OODCombiner, RelativeMahalanobis, States, UnknownNames, state_array

FAMILIAR = "familiar"
VISUAL_CUES = "novel visual cues"
CONTENT = "unfamiliar content"
REASONING = "reasoning gap"
CAUSES = (FAMILIAR, VISUAL_CUES, CONTENT, REASONING)


def _parts(states: States, seed: int, tpr: float) -> dict[str, OODCombiner]:
    """What tells the causes apart: how pictures are drawn or taken against what they show (with the names in them,
    where these are read) and are asked. Where a model keeps no `texture`, its `vision` has to tell how pictures look,
    and content is what is asked."""
    shown = UnknownNames() if _varies(states, "names") else RelativeMahalanobis("vision")
    seen = [Mahalanobis("vision", normalize=False), shown] if _varies(states, "vision") else []
    asked = [Mahalanobis("question", normalize=False)] if _varies(states, "question") else []
    textured = _varies(states, "texture")
    scores = {VISUAL_CUES: [Mahalanobis("texture", normalize=False)] if textured else seen,
              CONTENT: [*seen, *asked] if textured else asked}  # fmt: skip
    return {cause: OODCombiner(chosen, tpr=tpr, seed=seed) for cause, chosen in scores.items() if chosen}


def _varies(states: States, name: str) -> bool:
    """Whether there is such a state and it differs between familiar rows: one question for all tells nothing."""
    if name not in states:
        return False
    rows = state_array(states, name)
    return float(np.ptp(rows, axis=0).max()) > 1e-5 * float(np.abs(rows).max())


class Boundary:
    """
    Tells apart why rows may fail.

    Two combined out-of-distribution scores are fitted on familiar rows, one on how pictures are drawn or taken
    (`texture`), one on what they show and what is asked (`vision`, `names`, `question`). A row beyond either threshold
    lies outside for that reason, beyond both for the one that it is further beyond, in standard deviations. A row
    within both that is wrong or too unsure to be answered is a gap in reasoning.

    Args:
        tpr (`float`, *optional*, defaults to 0.975): share of familiar rows within each threshold.
        seed (`int`, *optional*, defaults to 0): of the folds that the scores are standardised by.
    """

    def __init__(self, tpr: float = 0.975, seed: int = 0) -> None:
        self.tpr, self.seed = tpr, seed
        self.scores: dict[str, OODCombiner] = {}

    def fit(self, states: States, groups: Sequence[Any] | np.ndarray | None = None) -> "Boundary":
        """
        Learns what is familiar; no labels and nothing from elsewhere are needed. Without a state that differs between
        rows there are no `scores` afterwards.

        Args:
            states (`Mapping`): of n familiar rows, as in [`OODCombiner.fit`].
            groups (`Sequence`, *optional*): `[n]`, equal for rows of one picture.

        Raises:
            [`LeamlInputError`]: as [`OODCombiner.fit`].
        """
        self.scores = {cause: scores.fit(states, groups)
                       for cause, scores in _parts(states, self.seed, self.tpr).items()}  # fmt: skip
        return self

    def beyond(self, states: States) -> dict[str, np.ndarray]:
        """
        How far rows lie beyond each threshold.

        Args:
            states (`Mapping`): of n rows.

        Returns:
            `dict[str, np.ndarray]`: `[n]` by cause, in standard deviations of familiar rows; above 0 = outside.
        """
        if not self.scores:
            raise LeamlInputError("Fit the boundary on familiar rows first.")
        return {cause: scores.score(states) - scores.threshold for cause, scores in self.scores.items()}

    def causes(self, states: States, failed: Sequence[bool] | np.ndarray) -> np.ndarray:
        """
        Why rows fail, or may.

        Args:
            states (`Mapping`): of n rows.
            failed (`Sequence[bool]`): `[n]`, whether each was answered wrongly or, without labels, is too unsure.

        Returns:
            `np.ndarray`: `[n]` of `CAUSES`.
        """
        beyond = self.beyond(states)
        names, distances = np.array(list(beyond)), np.stack(list(beyond.values()))  # [c], [c, n]
        outside = names[distances.argmax(0)]
        within = np.where(np.asarray(failed, bool), REASONING, FAMILIAR)
        return np.where(distances.max(0) > 0, outside, within)

    def config(self) -> dict[str, Any]:
        """The options and scores as JSON types."""
        return {"tpr": self.tpr, "seed": self.seed,
                "scores": {cause: scores.config() for cause, scores in self.scores.items()}}  # fmt: skip

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Boundary":
        """A boundary as `config()` describes it, without what was learnt."""
        boundary = cls(config["tpr"], config["seed"])
        boundary.scores = {cause: OODCombiner.from_config(scores) for cause, scores in config["scores"].items()}
        if not set(boundary.scores) <= set(CAUSES):
            raise LeamlInputError(f"Update leaml_hf: this version knows the causes {', '.join(CAUSES)} alone.")
        return boundary

    def state_dict(self) -> dict[str, np.ndarray]:
        """All learnt arrays, those of a score under its cause's place and its name."""
        return {f"{place}.{name}": array for place, scores in enumerate(self.scores.values())
                for name, array in scores.state_dict().items()}  # fmt: skip

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes the arrays of `state_dict()` back."""
        for place, scores in enumerate(self.scores.values()):
            prefix = f"{place}."
            scores.load_state_dict({name.removeprefix(prefix): array for name, array in state.items()
                                    if name.startswith(prefix)})  # fmt: skip

    def example_beyond(self) -> np.ndarray:
        """`[c]`, of a row of ones; fails or is no number where arrays or options do not go together."""
        return np.concatenate([scores.example_score() - scores.threshold for scores in self.scores.values()])


def report_causes(
    causes: Sequence[str] | np.ndarray, correct: Sequence[bool] | np.ndarray, familiar_accuracy: float | None = None
) -> dict[str, dict[str, float]]:
    """
    How a data set divides, and how well the model does in each part.

    Args:
        causes (`Sequence[str]`): `[n]` of [`Boundary.causes`].
        correct (`Sequence[bool]`): `[n]`.
        familiar_accuracy (`float`, *optional*): on familiar data; with it each part also has `lost`, what its rows
            cost in accuracy over the whole set against that.

    Returns:
        `dict`: by cause that occurs `n, share, accuracy` and perhaps `lost`.
    """
    causes, correct = np.asarray(causes), np.asarray(correct, bool)
    out = {}
    for cause in CAUSES:
        chosen = causes == cause
        if chosen.any():
            accuracy = float(correct[chosen].mean())
            out[cause] = {"n": int(chosen.sum()), "share": float(chosen.mean()), "accuracy": accuracy}
            if familiar_accuracy is not None:
                out[cause]["lost"] = float(chosen.mean()) * (familiar_accuracy - accuracy)
    return out
