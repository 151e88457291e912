"""How accuracy, calibration and OOD scores change from one environment and strength to the next, on the same rows."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..data.budget import rows_with
from ..errors import LeamlInputError
from . import metrics
from .environments import ENVIRONMENTS, STRENGTHS, check_environments, environment_rows
from .runner import Predictions, apply_reliability, judge_ood, judge_predictions, predict

if TYPE_CHECKING:
    from datasets import Dataset

    from ..modeling_leaml import LeamlForVisualQA
    from ..processing_leaml import LeamlProcessor

CLEAN = ("clean", 0)


def answer_in_environments(
    model: "LeamlForVisualQA",
    processor: "LeamlProcessor",
    dataset: "Dataset",
    names: Sequence[str] = tuple(ENVIRONMENTS),
    strengths: Sequence[int] = STRENGTHS,
    seed: int = 0,
    batch_size: int = 64,
    tolerance: float | None = None,
    progress: bool = False,
) -> dict[tuple[str, int], Predictions]:
    """
    Answers the same rows as they are and in each environment.

    Args:
        model ([`LeamlForVisualQA`]): put into evaluation mode.
        processor ([`LeamlProcessor`]): of the model.
        dataset (`Dataset`): rows; those without question or answer are left out.
        names (`Sequence[str]`, *optional*): the environments; defaults to all.
        strengths (`Sequence[int]`, *optional*): from 1 to 5; defaults to all.
        seed (`int`, *optional*, defaults to 0): of the views.
        batch_size (`int`, *optional*, defaults to 64): rows a forward pass.
        tolerance (`float`, *optional*): relative error that numbers may have.
        progress (`bool`, *optional*, defaults to `False`): whether to show a bar on standard error.

    Returns:
        `dict[tuple[str, int], Predictions]`: by environment and strength; the rows as they are under `("clean", 0)`.

    Raises:
        [`LeamlInputError`]: if there is no such environment or strength, or no row with question and answer.
    """
    from tqdm.auto import tqdm

    check_environments(tuple(names), tuple(strengths))
    rows = rows_with(dataset, "question", "answer")
    if len(rows) == 0:
        raise LeamlInputError("No row has both a question and an answer, so there is nothing to judge by.")
    settings = [CLEAN, *((name, strength) for name in names for strength in strengths)]
    answered = {}
    for name, strength in tqdm(settings, desc="environments", disable=not progress):
        seen = rows if (name, strength) == CLEAN else environment_rows(rows, name, strength, seed)
        answered[name, strength] = predict(model, processor, seen, batch_size, tolerance)
    return answered


def judge_environments(
    model: "LeamlForVisualQA", answered: Mapping[tuple[str, int], Predictions]
) -> dict[str, dict[str, Any]]:
    """
    Figures by environment and strength.

    Args:
        model ([`LeamlForVisualQA`]): whose reliability judges the answers.
        answered (`Mapping`): what [`answer_in_environments`] gave.

    Returns:
        `dict`: `clean` with the figures of the rows as they are, and each environment with figures by strength (`"1"`
        to `"5"`): those of `evaluate_model` for one set, `confidence_auroc` (chance that a right answer has a higher
        confidence than a wrong one; `None` if all are right or all wrong) and, but for `clean`, `auroc`, `auprc` and
        `fpr95` of the OOD scores against those of the clean rows: whether the score sees the environment.
    """
    judged = {setting: apply_reliability(model, seen) for setting, seen in answered.items()}
    figures: dict[str, dict[str, Any]] = {}
    for (name, strength), seen in answered.items():
        found = judge_predictions(seen, judged[name, strength])
        some = 0 < seen.correct.sum() < len(seen.correct)
        confidence = judged[name, strength]["confidence"]
        found["confidence_auroc"] = metrics.auroc(confidence, seen.correct) if some else None
        if (name, strength) == CLEAN:
            figures[name] = found
        else:
            found |= judge_ood(judged[CLEAN]["ood_score"], judged[name, strength]["ood_score"])
            figures.setdefault(name, {})[str(strength)] = found
    return figures
