"""What a card says of answers that need no picture, or none but a wrong one."""

import os

from ..data.visual_arrays.baselines import visual_arrays_baselines
from ..evaluation.blind import read_blind

Figures = dict[str, dict[str, float]]  # by program

_ALONE = {"questions": "n", "commonest answer": "prior", "question alone": "question_only"}
_SHOWN = {"shown": "n", "other picture": "blind", "own picture": "picture"}
_TEXT = """Accuracy on the test split without the picture, in the variant `base`: of the commonest answer of each
program, and of a logistic regression on the words of each question, trained on the training split.
{model}

{table}"""
_ASKED = """The model `{model}` was shown some of the questions with the picture of others, which is what it answers
blindly, and once more with their own (`leaml generate --blind`)."""
_NOT_ASKED = "No model was asked with wrong pictures; `leaml generate --format parquet --blind MODEL` asks one."


def baselines_section(folder: str | os.PathLike, tasks: list[str]) -> str:
    """
    Measures what needs no picture, and adds what a model was measured to answer blindly.

    Args:
        folder (`str` or `os.PathLike`): an output of `write_shards`, with what `measure_blind` wrote, if it did.
        tasks (`list[str]`): of `TASKS`.

    Returns:
        `str`: Markdown: a sentence or two, and a table with a row for each task and program.
    """
    asked = read_blind(folder)
    columns = [*_ALONE, *(_SHOWN if asked else ())]
    lines = [f"| program | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for task in tasks:
        alone, shown = visual_arrays_baselines(task)["programs"], asked["tasks"].get(task, {}) if asked else {}
        for name, programs in ((f"**{task}**", list(alone)), *((f"{task}/{p}", [p]) for p in alone)):
            cells = _cells(alone, programs, _ALONE) + (_cells(shown, programs, _SHOWN) if asked else [])
            lines.append(f"| {name} | {' | '.join(cells)} |")
    model = _ASKED.format(**asked) if asked else _NOT_ASKED
    return _TEXT.format(model=model, table="\n".join(lines))


def _cells(figures: Figures, programs: list[str], keys: dict[str, str]) -> list[str]:
    """How many questions some programs have, and mean accuracies over all of these."""
    found = [figures[program] for program in programs if program in figures]
    count = sum(figure["n"] for figure in found)
    means = [sum(figure[key] * figure["n"] for figure in found) / max(count, 1) for key in keys.values() if key != "n"]
    return [f"{count:,}", *(f"{mean:.3f}" if count else "-" for mean in means)]
