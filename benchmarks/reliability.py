"""Does it know when it doesn't know? OOD detection, calibration and abstention over tasks, shifts, domains and seeds.

    .venv/bin/python benchmarks/reliability.py            # some 66,000 answers: about 40 minutes on two cores

For each task of Visual Arrays and each seed, reliability is fitted on `base/synthetic` of the train split alone: OOD
scores on 1,000 unlabelled rows, calibrator and abstention on 200 labels (1% of 20,000 rows). Judged on the test split
of `base`, of the four shifts and of the two other domains, none of which anything was fitted on. Beside it stand what
a vision-language model usually offers, the probability of the answer's tokens, and the published score that is best on
these very sets, which nobody could have known beforehand. Answers in --folder are not given again. Writes
docs/reliability.md and its picture.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from ood_scores import A_PICTURE, DOCS, draw_rows, single_scores

from leaml_hf import LeamlForVisualQA
from leaml_hf.backbones import fastest_dtype
from leaml_hf.data.budget import picture_keys
from leaml_hf.data.sources import VISUAL_ARRAYS
from leaml_hf.data.visual_arrays.scenes import TASKS
from leaml_hf.evaluation.metrics import auroc, ece, fpr_at_tpr, selective_accuracy
from leaml_hf.evaluation.runner import predict
from leaml_hf.processing_leaml import load_processor
from leaml_hf.reliability import Reliability

BASE, SHIFTS, DOMAINS = "base", ("style", "content", "noise", "annotation"), ("base/natural", "base/medical")
SEEDS, LABELS, UNLABELLED, COVERAGE = range(5), 200, 1000, 0.8
ROWS, DOMAIN_ROWS = 2000, 300  # for judging: the calibration error of few rows is mostly noise
OWN, PROBABILITY, BEST = "LEAML", "sequence probability", "best published score"
GOALS = {  # of docs/reliability.md: figure, goal, whether more is better
    "AUROC, shifts": (0.90, True),
    "AUROC, other domains": (0.97, True),
    "FPR95, shifts": (0.35, False),
    "ECE, base": (0.03, False),
    "ECE, shifts": (0.06, False),
    "debiased ECE, base": (0.03, False),
    "debiased ECE, shifts": (0.06, False),
    "accuracy gained at 80% coverage, base": (0.08, True),
    "accuracy gained at 80% coverage, shifts": (0.08, True),
}
Answers = dict[str, np.ndarray]  # states, and `picture`, `correct`, `confidence`


def answers_of(answer: partial, task: str, cell: str, split: str, count: int, seed: int, folder: Path) -> Answers:
    """Answers to `count` rows of a cell, kept in a file; of the train split, one a picture."""
    path = folder / f"{task}-{cell.replace('/', '-')}-{split}-{count}-{seed}.npz"
    if not path.exists():
        a_picture = 1 if split == "train" else A_PICTURE
        rows = draw_rows(f"{VISUAL_ARRAYS}{task}/{cell}", split, count, seed, a_picture)
        seen = answer(rows)
        np.savez(path, picture=picture_keys(rows), correct=seen.correct, confidence=seen.raw_confidence, **seen.states)
        print(path.stem, flush=True)
    return dict(np.load(path))


def part(answers: Answers, rows: slice) -> Answers:
    return {name: values[rows] for name, values in answers.items()}


def judge_task(answer: partial, task: str, folder: Path) -> list[dict]:
    """Figures of each cell, seed and score."""
    cells = {cell: answers_of(answer, task, cell, "test", DOMAIN_ROWS if cell in DOMAINS else ROWS, 0, folder)
             for cell in (BASE, *SHIFTS, *DOMAINS)}  # fmt: skip
    found = []
    for seed in SEEDS:
        known = answers_of(answer, task, BASE, "train", LABELS + UNLABELLED, seed, folder)
        labelled, unlabelled = part(known, slice(LABELS)), part(known, slice(LABELS, None))
        reliability = Reliability.fit(
            unlabelled, labelled["confidence"], labelled["correct"], unlabelled["picture"], labelled, seed=seed
        )
        scores = {score.name: score.fit(unlabelled).score for score in single_scores()}
        scores |= {OWN: reliability.ood.score, PROBABILITY: lambda seen: -seen["confidence"]}
        own = {name: score(cells[BASE]) for name, score in scores.items()}
        for cell, seen in cells.items():
            judged, correct = reliability.apply(seen, seen["confidence"]), seen["correct"]
            entry = {"task": task, "cell": cell, "seed": seed, "accuracy": float(correct.mean())}
            for name, confidence in ((OWN, judged["confidence"]), (PROBABILITY, seen["confidence"])):
                entry[f"ece {name}"] = ece(confidence, correct)
                entry[f"debiased {name}"] = ece(confidence, correct, scheme="mass", debiased=True)
                entry[f"gain {name}"] = selective_accuracy(confidence, correct, COVERAGE) - entry["accuracy"]
            if cell != BASE:
                for name, score in scores.items():
                    pair = np.concatenate([own[name], score(seen)]), np.repeat([0, 1], [len(own[name]), len(correct)])
                    entry[f"auroc {name}"], entry[f"fpr95 {name}"] = auroc(*pair), fpr_at_tpr(*pair)
            found.append(entry)
    return found


def summarise(found: list[dict], task: str | None = None) -> dict[str, dict[str, tuple[float, float]]]:
    """Mean over tasks and cells, and its standard deviation over seeds, of each figure and score."""
    found = [entry for entry in found if task in (None, entry["task"])]

    def over(key: str, cells: tuple[str, ...]) -> tuple[float, float]:
        by_seed = [np.mean([e[key] for e in found if e["seed"] == seed and e["cell"] in cells]) for seed in SEEDS]
        return float(np.mean(by_seed)), float(np.std(by_seed, ddof=1))

    names = [key.removeprefix("auroc ") for key in found[-1] if key.startswith("auroc ")]
    best = max(set(names) - {OWN, PROBABILITY}, key=lambda name: over(f"auroc {name}", SHIFTS + DOMAINS)[0])
    table = {}
    for name, key in ((OWN, OWN), (PROBABILITY, PROBABILITY), (BEST, best)):
        table[name] = {
            "AUROC, shifts": over(f"auroc {key}", SHIFTS),
            "AUROC, other domains": over(f"auroc {key}", DOMAINS),
            "FPR95, shifts": over(f"fpr95 {key}", SHIFTS),
        }
        if name != BEST:
            table[name] |= {
                "ECE, base": over(f"ece {key}", (BASE,)),
                "ECE, shifts": over(f"ece {key}", SHIFTS),
                "debiased ECE, base": over(f"debiased {key}", (BASE,)),
                "debiased ECE, shifts": over(f"debiased {key}", SHIFTS),
                "accuracy gained at 80% coverage, base": over(f"gain {key}", (BASE,)),
                "accuracy gained at 80% coverage, shifts": over(f"gain {key}", SHIFTS),
            }
    table[f"{BEST}: {best}"] = table.pop(BEST)
    return table


def draw(found: list[dict], path: Path) -> None:
    """AUROC and ECE by task and cell, own and by probability."""
    cells = [BASE, *SHIFTS, *DOMAINS]
    figure = Figure(figsize=(13, 7), layout="constrained")
    panels = [(f"{key} {name}", f"{title}, {name}") for key, title in (("auroc", "AUROC"), ("ece", "ECE"))
              for name in (OWN, PROBABILITY)]  # fmt: skip
    for axes, (key, title) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        values = np.array([[np.mean([e.get(key, np.nan) for e in found if (e["task"], e["cell"]) == (task, cell)])
                            for cell in cells] for task in TASKS])  # fmt: skip
        low, high = (0.4, 1.0) if key.startswith("auroc") else (0.0, 0.3)
        axes.imshow(values, vmin=low, vmax=high, cmap="viridis" if low else "viridis_r", aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                axes.text(column, row, f"{value:.2f}", ha="center", va="center")
        axes.set(title=title, xticks=range(len(cells)), yticks=range(len(TASKS)), yticklabels=TASKS)
        axes.set_xticklabels([cell.removeprefix("base/") for cell in cells])
    figure.savefig(path, dpi=90)


def write_page(found: list[dict], base: str) -> None:
    """Writes docs/reliability.md and docs/reliability.png."""
    draw(found, DOCS / "reliability.png")
    lines = [
        "# Does it know when it doesn't know?",
        "",
        f"Written by `benchmarks/reliability.py`, with `{base}`. For each task and each of {len(SEEDS)} seeds, OOD",
        f"scores are fitted on {UNLABELLED:,} unlabelled rows of `base` (train split), calibrator and abstention on",
        f"{LABELS} labels, one question a picture, as `leaml adapt` nearly has it by drawing from thousands of rows;",
        f"judged on {ROWS:,} test rows of `base` and of each shift and {DOMAIN_ROWS} of each domain ({A_PICTURE}",
        "questions a picture). Nothing is fitted on a shift or another domain. Mean over tasks and cells, ± standard",
        "deviation over seeds; ECE over 15 bins of equal width, debiased ECE over 15 of equal mass. \"Sequence",
        "probability\": that of the answer's tokens, as confidence and, negated, as OOD score. The best published",
        "score is picked by its mean AUROC on these sets, so it flatters.",
        "",
        "![AUROC and ECE by task and cell](reliability.png)",
    ]  # fmt: skip
    for task in (None, *TASKS):
        table = summarise(found, task)
        lines += ["", f"## {task or 'All tasks'}", "", f"| | goal | {' | '.join(table)} |",
                  "|---" * (len(table) + 2) + "|"]  # fmt: skip
        for figure, (goal, more) in GOALS.items():
            cells = [
                f"{row[figure][0]:.3f} ± {row[figure][1]:.3f}" if figure in row else "–" for row in table.values()
            ]
            lines.append(f"| {figure} | {'≥' if more else '≤'} {goal:.2f} | {' | '.join(cells)} |")
    (DOCS / "reliability.md").write_text("\n".join(lines) + "\n")


def _shown(figure: tuple[float, float] | None) -> str:
    return "–" if figure is None else f"{figure[0]:.3f} ± {figure[1]:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="leaml-smol")
    parser.add_argument("--folder", type=Path, default=Path("out/reliability"), help="of the answers so far")
    parser.add_argument("--json", action="store_true", help="one line for machines")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    model = LeamlForVisualQA.from_pretrained(arguments.base, dtype=fastest_dtype())
    answer = partial(predict, model, load_processor(arguments.base))
    found = [entry for task in TASKS for entry in judge_task(answer, task, arguments.folder)]
    write_page(found, arguments.base)
    print(json.dumps(summarise(found)) if arguments.json else (DOCS / "reliability.md").read_text())


if __name__ == "__main__":
    main()
