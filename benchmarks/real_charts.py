"""The main job over several seeds: real charts with 1% of their labels, before and after.

    .venv/bin/python benchmarks/real_charts.py                 # runs seeds 0, 1, 2 that are not there yet (8 min each)
    .venv/bin/python benchmarks/real_charts.py --json          # the figures as one line

Each seed is one `leaml adapt`, whose `leaml_results.json` is read if it is there. Writes docs/real-charts.md and its
picture from these files alone.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from leaml_hf.training.adapt import adapt

DOCS = Path(__file__).resolve().parent.parent / "docs"
COMMAND = "leaml adapt real-charts --base leaml-smol --labels 1% --test-rows 1500 --seed {}"


def run(seed: int, folder: Path) -> dict:
    """Results of a seed, from its file if there is one."""
    file = folder / f"seed{seed}" / "leaml_results.json"
    if not file.exists():
        command = COMMAND.format(seed)
        adapt("real-charts", "leaml-smol", file.parent, seed=seed, test_rows=1500, progress=True, command=command)
    return json.loads(file.read_text())


def figures(results: dict) -> dict[str, float]:
    """What stands in a row of the table; accuracies in percent, the gain in points."""
    before, after = results["before"], results["after"]
    return {
        "seed": results["seed"],
        "labels": results["labels_used"],
        "before": 100 * before["accuracy"],
        "after": 100 * after["accuracy"],
        "gain": 100 * (after["accuracy"] - before["accuracy"]),
        "ECE before": before["ece"],
        "ECE after": after["ece"],
        "AUROC": after["auroc"],
        "AUPRC": after["auprc"],
        "FPR95": after["fpr95"],
        "answered": 100 * after["coverage"],
        "right of these": 100 * after["selective_accuracy"],
    }


def programs(runs: list[dict]) -> list[tuple[str, int, float, float]]:
    """(program, questions, median accuracy before, median after), the largest gain first."""
    rows = []
    for name, seen in runs[0]["per_program"]["after"].items():
        found = [[r["per_program"][side][name]["accuracy"] for r in runs if name in r["per_program"][side]]
                 for side in ("before", "after")]  # fmt: skip
        rows.append((name, seen["n"], *(float(np.median(values)) for values in found)))
    return sorted(rows, key=lambda row: row[2] - row[3])


def draw(rows: list[tuple[str, int, float, float]], path: Path) -> None:
    """Each program's accuracy before and after, as a line between two dots."""
    figure = Figure(figsize=(8, 0.32 * len(rows) + 1), layout="constrained")
    axes = figure.subplots()
    for height, (_, _, before, after) in enumerate(reversed(rows)):
        axes.plot([before, after], [height] * 2, color="#9aa7bd", linewidth=2, zorder=1)
    heights = range(len(rows))
    axes.scatter([row[2] for row in reversed(rows)], heights, color="#9aa7bd", label="base", zorder=2)
    axes.scatter([row[3] for row in reversed(rows)], heights, color="#2457c5", label="with the adapter", zorder=3)
    axes.set(yticks=heights, yticklabels=[row[0] for row in reversed(rows)], xlim=(-0.02, 1.02), xlabel="accuracy")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=110)


def write_page(runs: list[dict]) -> None:
    """Writes docs/real-charts.md and docs/real-charts.png."""
    table = [figures(results) for results in runs]
    names = list(table[0])
    middle = {name: float(np.median([row[name] for row in table])) for name in names[2:]}
    rows = programs(runs)
    draw(rows, DOCS / "real-charts.png")
    lines = [
        "# Real charts with 1% of their labels",
        "",
        "Written by `benchmarks/real_charts.py` from the `leaml_results.json` of each run. Figures on the test split,",
        "whose tables training never saw; accuracies in percent. OOD: against layout scenes and style-shifted charts.",
        "",
        f"| {' | '.join(names)} |",
        "|" + "---|" * len(names),
        *(f"| {' | '.join(_shown(name, row[name]) for name in names)} |" for row in table),
        f"| **median** | | {' | '.join(f'**{_shown(name, value)}**' for name, value in middle.items())} |",
        "",
        "![Accuracy by kind of question](real-charts.png)",
        "",
        "| kind of question | test questions | base | with the adapter |",
        "|---|---|---|---|",
        *(f"| {name} | {count} | {100 * before:.1f} | {100 * after:.1f} |" for name, count, before, after in rows),
        "",
        "Medians over the seeds. Each row comes from:",
        "",
        "```bash",
        *(COMMAND.format(results["seed"]) for results in runs),
        "```",
    ]
    (DOCS / "real-charts.md").write_text("\n".join(lines) + "\n")


def _shown(name: str, value: float) -> str:
    if name[:3] in ("ECE", "AUR", "AUP", "FPR"):
        return f"{value:.3f}"
    if name == "gain":
        return f"{value:+.1f}"
    return f"{value:.0f}" if name in ("seed", "labels") else f"{value:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=Path("out/real-charts-seeds"), help="of the runs")
    parser.add_argument("--json", action="store_true", help="one line for machines")
    arguments = parser.parse_args()
    runs = [run(seed, arguments.folder) for seed in arguments.seeds]
    write_page(runs)
    table = [figures(results) for results in runs]
    if arguments.json:
        print(json.dumps(table))
        return
    for row in table:
        print(f"seed {row['seed']}: {row['before']:.1f} -> {row['after']:.1f} ({row['gain']:+.1f})")
    print(f"median gain {np.median([row['gain'] for row in table]):+.1f} points; docs/real-charts.md is written")


if __name__ == "__main__":
    main()
