"""Writes what a pre-training run measured: curves as a picture, held-out accuracy per question kind as a table."""

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from ..data.visual_arrays.builder import ask_scene
from ..data.visual_arrays.scenes import TASKS

ASKED = ("tower", "bridge")  # stages that are trained by questions


def read_log(path: Path) -> list[dict[str, Any]]:
    """Lines of a stage's log, the last of each step where a resumed run wrote it again."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return list({line["step"]: line for line in lines}.values())


def write_pretrain_report(
    run: Path, folder: Path, accuracy: dict[str, float], start: str | None = None, scenes: int = 400
) -> Path:
    """
    Writes `leaml-smol.md` and `leaml-smol.png`.

    Args:
        run (`Path`): folder of a run, with `tower_log.jsonl`, `bridge_log.jsonl`, `reader_log.jsonl` and
            `letters_log.jsonl`.
        folder (`Path`): where to write.
        accuracy (`dict[str, float]`): of the finished base, per task and "task/program".
        start (`str`, *optional*): the base that the run went on from.
        scenes (`int`, *optional*, defaults to 400): held-out scenes that answer frequencies are counted on.

    Returns:
        `Path`: of the page.
    """
    priors = answer_priors(scenes)
    logs = {stage: read_log(run / f"{stage}_log.jsonl") for stage in (*ASKED, "reader", "letters")}
    _draw({stage: logs[stage] for stage in ASKED}, folder / "leaml-smol.png")
    lines = [
        "# How `leaml-smol` was trained",
        "",
        "Written by `leaml pretrain` from the logs of its run. Source data: variant `base` of Visual Arrays, train",
        "split; figures: its validation split, answers generated and compared as everywhere else.",
        *(() if start is None else (f"The run went on from an earlier `{Path(start).name}`.",)),
        "",
        "![Accuracy over pictures](leaml-smol.png)",
        "",
        "| stage | pictures | questions | hours |",
        "|---|---|---|---|",
    ]
    for stage, log in logs.items():
        if log:
            last = log[-1]
            questions = f"{8 * last['pictures']:,}" if stage in ASKED else "–"
            lines.append(f"| {stage} | {last['pictures']:,} | {questions} | {last['seconds'] / 3600:.2f} |")
    told = [line for line in logs["reader"] if "names" in line]  # a few pictures may have none
    if told:
        last = told[-1]
        lines += [
            "",
            f"The reader tells {last['names']:.0%} of the places with a name rightly among all names of a batch, and "
            f"for {last['written']:.0%}",
            "of all places whether a name is written there.",
        ]
    if logs["letters"]:
        last = logs["letters"][-1]
        lines += [
            "",
            f"Of the characters {last['letters']:.0%} are told, of the answers that are written {last['pointed']:.0%} "
            "are pointed at,",
            f"and of those that are not {last['nowhere']:.0%} are said not to be.",
        ]
    lines += ["", "| task and program | most frequent answer | accuracy |", "|---|---|---|"]
    for name, share in accuracy.items():
        prior = f"{priors[name]:.2f}" if name in priors else ""
        lines.append(f"| {name if '/' in name else f'**{name}**'} | {prior} | {share:.2f} |")
    page = folder / "leaml-smol.md"
    page.write_text("\n".join(lines) + "\n")
    return page


def answer_priors(scenes: int) -> dict[str, float]:
    """Share of the most frequent answer of each program, over so many held-out scenes of each task."""
    counts: dict[str, Counter] = defaultdict(Counter)
    for task in TASKS:
        for index in range(scenes):
            for question in ask_scene(task, "validation", index)[1]:
                counts[f"{task}/{question.program}"][question.answer] += 1
    return {name: max(counter.values()) / counter.total() for name, counter in counts.items()}


def _draw(logs: dict[str, list[dict[str, Any]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    for axes, (stage, log) in zip(figure.subplots(1, 2, sharey=True), logs.items(), strict=True):
        for task, color in zip(TASKS, ("#2457c5", "#b3372f", "#2e8b57", "#8a5fbf"), strict=True):
            curve = [(line["pictures"], line[task]) for line in log if task in line]
            axes.plot(*zip(*curve, strict=True) if curve else ([], []), color=color, label=f"{task}, while training")
            held_out = [(line["pictures"], line["heldout"][task]) for line in log if task in line.get("heldout", {})]
            if held_out:
                axes.plot(*zip(*held_out, strict=True), "o", color=color, label=f"{task}, held out")
        axes.set(title=stage, xlabel="pictures seen", ylim=(0, 1))
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("accuracy")
    figure.axes[0].legend()
    figure.savefig(path, dpi=110)
