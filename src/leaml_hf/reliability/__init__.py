"""How far an answer can be trusted: out-of-distribution scores, calibrated confidence and abstention in one."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import LeamlInputError
from ..files import damaged, digest, read_checked
from .boundary import CAUSES, Boundary, report_causes
from .calibration import CALIBRATORS, Calibrator, Identity, fit_calibrator, temper
from .conformal import FALLBACK_THRESHOLD, AbstentionRule, AnswerSets, choose_abstention_threshold
from .ood import OODCombiner, States

__all__ = [
    "CAUSES",
    "AbstentionRule",
    "AnswerSets",
    "Boundary",
    "OODCombiner",
    "Reliability",
    "choose_abstention_threshold",
    "fit_calibrator",
    "report_causes",
]

FORMAT = 1
TENSORS_NAME = "leaml_reliability.safetensors"
CONFIG_NAME = "leaml_reliability.json"


@dataclass
class Reliability:
    """
    Out-of-distribution scores, calibrator and thresholds of one model on one domain.

    Args:
        ood ([`OODCombiner`]): fitted.
        calibrator (`Calibrator`): fitted.
        abstention ([`AbstentionRule`]): the lowest calibrated confidence at which an answer is given.
        unlabeled_rows (`int`): how many rows the out-of-distribution scores were fitted on.
        labeled_rows (`int`): how many rows the calibrator and the abstention rule were fitted on.
        boundary ([`Boundary`], *optional*): fitted; tells why answers may fail.
        tempered_by (`str`, *optional*, defaults to `"first"`): what confidence falls with, see
            [`~calibration.temper`]: the first OOD score, or `"combined"`, all of them beyond their threshold, as in
            earlier files, or `""`, nothing.
    """

    ood: OODCombiner
    calibrator: Calibrator
    abstention: AbstentionRule
    unlabeled_rows: int
    labeled_rows: int
    boundary: Boundary | None = None
    tempered_by: str = "first"

    @classmethod
    def fit(
        cls,
        id_states: States,
        raw_confidence: Sequence[float] | np.ndarray,
        correct: Sequence[float] | np.ndarray,
        groups: Sequence[Any] | np.ndarray | None = None,
        labeled_states: States | None = None,
        ood: OODCombiner | None = None,
        target_risk: float = 0.05,
        seed: int = 0,
        confidence_level: float = 0.95,
        programs: Sequence[str] | None = None,
        earlier: tuple[Sequence[float], Sequence[float], States] | None = None,
    ) -> "Reliability":
        """
        Fits everything on in-distribution rows.

        Args:
            id_states (`Mapping`): states of n in-distribution rows, labelled or not, four pictures or more: `vision`
                `[n, Dv]`, `hidden` `[n, D]`, `logits` `[n, V]`.
            raw_confidence (`Sequence[float]`): `[m]` probabilities of the model's answers to labelled rows in [0, 1];
                the model must not have been trained on these labels.
            correct (`Sequence[float]`): `[m]`, 1 where that answer was right. With m = 0 the confidence is left as it
                is.
            groups (`Sequence`, *optional*): `[n]`, equal for rows of `id_states` about the same picture.
            labeled_states (`Mapping`, *optional*): states of the m labelled rows; with them, the confidence may fall
                with unfamiliarity where the labels show that it should, and the abstention threshold is
                chosen among those that are not out of distribution.
            ood ([`OODCombiner`], *optional*): an unfitted combiner; defaults to the default scores at 95% TPR.
            target_risk (`float`, *optional*, defaults to 0.05): share of wrong answers aimed at among those given.
            seed (`int`, *optional*, defaults to 0): for all random choices.
            confidence_level (`float`, *optional*, defaults to 0.95): how sure that target is to be kept.
            programs (`Sequence[str]`, *optional*): `[m]` kinds of the labelled questions; with them the calibrator may
                differ by kind, and `apply` has to be told the kinds of new questions if it does.
            earlier (`tuple`, *optional*): confidences, correct and states as of labelled rows, but of answers to other
                labels, that the model gave before it was trained on these; the calibrator alone may learn from them,
                see [`fit_calibrator`].

        Returns:
            [`Reliability`].

        Raises:
            [`LeamlInputError`]: if the inputs are not of that form.
        """
        ood = (OODCombiner(seed=seed) if ood is None else ood).fit(id_states, groups)
        rows = len(id_states[ood.scores[0].reads[0]])
        boundary = Boundary(seed=seed).fit(id_states, groups)
        boundary = boundary if boundary.scores else None  # no state that it reads is there, or differs
        tempered_by = "first" if ood.method == "fisher" else "combined"
        if len(raw_confidence) == 0 and len(correct) == 0:
            rule = AbstentionRule(FALLBACK_THRESHOLD, False, target_risk, confidence_level, 0.0)
            return cls(ood, Identity(), rule, rows, 0, boundary, tempered_by)
        parts = None if labeled_states is None else ood.components(labeled_states)
        ood_score = None if parts is None else ood.combine(parts)
        if earlier is not None:
            earlier = (*earlier[:2], None if ood_score is None else ood.score(earlier[2]))
        calibrator = fit_calibrator(raw_confidence, correct, ood_score, seed=seed, programs=programs, earlier=earlier)
        confidence = calibrator.transform(raw_confidence, ood_score, programs)
        if parts is not None:
            confidence = _tempered(confidence, ood, parts, ood_score, tempered_by)
        # Rows that are out of distribution get no answer anyway: the last ones to be accepted.
        ranked = confidence if ood_score is None else np.where(ood_score > ood.threshold, 0.0, confidence)
        rule = choose_abstention_threshold(ranked, correct, target_risk, confidence_level)
        return cls(ood, calibrator, rule, rows, len(confidence), boundary, tempered_by)

    def apply(
        self, states: States, raw_confidence: Sequence[float] | np.ndarray, programs: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        """
        Judges new answers.

        Args:
            states (`Mapping`): states of n rows, as in `fit`.
            raw_confidence (`Sequence[float]`): `[n]` probabilities of the model's answers, in [0, 1].
            programs (`Sequence[str]`, *optional*): `[n]` kinds of the questions, where `fit` was given such.

        Returns:
            `dict[str, np.ndarray]`, each `[n]`: `confidence` (calibrated, in [0, 1]; lower out of distribution),
            `ood_score` (0 on average in distribution, higher = more unfamiliar), `is_ood` (bool), `abstained` (bool:
            the confidence is below the abstention threshold, or the row is out of distribution) and, with a boundary,
            `cause` (of `CAUSES`; a confidence below that threshold counts as failing).

        Raises:
            [`LeamlInputError`]: if a state is missing or has another width than at the fit.
        """
        parts = self.ood.components(states)
        ood_score = self.ood.combine(parts)
        if len(raw_confidence) != len(ood_score):
            raise LeamlInputError(
                f"Give one confidence for each row: {len(raw_confidence)} came for {len(ood_score)} rows of states."
            )
        confidence = self.calibrator.transform(raw_confidence, ood_score, programs)
        confidence = _tempered(confidence, self.ood, parts, ood_score, self.tempered_by)
        is_ood, unsure = ood_score > self.ood.threshold, confidence < self.abstention.threshold
        judged = {
            "confidence": confidence,
            "ood_score": ood_score,
            "is_ood": is_ood,
            "abstained": is_ood | unsure,
        }
        return judged if self.boundary is None else judged | {"cause": self.boundary.causes(states, unsure)}

    def save(self, folder: str | Path) -> None:
        """
        Writes `leaml_reliability.safetensors` (the arrays) and `leaml_reliability.json` (all else, and a checksum of
        both).

        Args:
            folder (`str` or `Path`): made if it is not there.
        """
        from safetensors.numpy import save

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {f"ood.{name}": array for name, array in self.ood.state_dict().items()}
        arrays.update({f"calibrator.{name}": array for name, array in self.calibrator.state_dict().items()})
        if self.boundary is not None:
            arrays.update({f"boundary.{name}": array for name, array in self.boundary.state_dict().items()})
        tensors = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        config = {
            "format": FORMAT,
            "ood": self.ood.config(),
            "calibrator": self.calibrator.config(),
            "abstention": self.abstention.config(),
            "unlabeled_rows": self.unlabeled_rows,
            "labeled_rows": self.labeled_rows,
            "boundary": None if self.boundary is None else self.boundary.config(),
            "tempered_by": self.tempered_by,
        }
        config["sha256"] = digest(config, tensors)
        (folder / TENSORS_NAME).write_bytes(tensors)
        (folder / CONFIG_NAME).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> "Reliability":
        """
        Reads what `save` wrote; nothing in the files is run.

        Args:
            folder (`str` or `Path`): holds the two files.

        Returns:
            [`Reliability`]: gives exactly the results of the one that was saved.

        Raises:
            [`LeamlInputError`]: if a file is missing, cut short or changed, or of a format that this version can't
            read.
        """
        folder = Path(folder)
        config, arrays = read_checked(folder, CONFIG_NAME, TENSORS_NAME, FORMAT)
        try:
            ood = OODCombiner.from_config(config["ood"])
            options = dict(config["calibrator"])
            calibrator = CALIBRATORS[options.pop("kind")](**options)
            parts = {"ood.": ood, "calibrator.": calibrator}
            boundary = None
            if config.get("boundary") is not None:
                parts["boundary."] = boundary = Boundary.from_config(config["boundary"])
            for prefix, part in parts.items():
                part.load_state_dict({k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)})
            rule = AbstentionRule(**config["abstention"])
            rows = int(config["unlabeled_rows"]), int(config["labeled_rows"])
            tempered_by = config.get("tempered_by", "combined" if config.get("tempers") else "")  # of earlier files
            if tempered_by not in ("", "combined", "first") or (tempered_by == "first" and ood.method != "fisher"):
                raise damaged(folder / CONFIG_NAME)
            loaded = cls(ood, calibrator, rule, *rows, boundary, tempered_by)
            judged = [*ood.example_score(), *calibrator.transform([0.5], [0.0], ["?"]), rule.threshold]
            judged += [] if boundary is None else list(boundary.example_beyond())
            if not np.isfinite(judged).all():
                raise damaged(folder / TENSORS_NAME)
        except LeamlInputError:
            raise
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            raise damaged(folder / CONFIG_NAME) from error
        return loaded


def _tempered(
    confidence: np.ndarray, ood: OODCombiner, parts: dict[str, np.ndarray], score: np.ndarray, by: str
) -> np.ndarray:
    """Confidence `[n]` that yields to unfamiliarity."""
    if by == "first":
        return temper(confidence, ood.excess(parts))
    return temper(confidence, score - ood.threshold, 1.0) if by == "combined" else confidence
