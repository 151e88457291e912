"""How well a base answers each cell of Visual Arrays as it is: the gap that adaptation has to close.

    .venv/bin/python benchmarks/base_accuracy.py                    # 60 cells of 160 rows, about 10 minutes
    .venv/bin/python benchmarks/base_accuracy.py --rows 400 --json

Held-out pictures: validation split of the base variant, whose train split the base learnt, test split of the shifted
ones. Writes docs/base-accuracy.md and its picture; cells that are in --file already are not answered again.
"""

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from leaml_hf import LeamlForVisualQA
from leaml_hf.backbones import fastest_dtype
from leaml_hf.data.visual_arrays import load_visual_arrays
from leaml_hf.data.visual_arrays.builder import DOMAINS
from leaml_hf.data.visual_arrays.conventions import VARIANTS
from leaml_hf.data.visual_arrays.scenes import TASKS
from leaml_hf.evaluation.metrics import wilson_interval
from leaml_hf.evaluation.runner import predict
from leaml_hf.processing_leaml import load_processor

DOCS = Path(__file__).resolve().parent.parent / "docs"


def judge(model: LeamlForVisualQA, processor, task: str, variant: str, domain: str, rows: int) -> dict:
    """Accuracy and answer prior of a cell, in all and by program, kind of picture and set size."""
    split = "validation" if variant == "base" else "test"
    data = load_visual_arrays(task, variant, domain, split, rows)
    correct = predict(model, processor, data).correct
    by_program: dict[str, Counter] = defaultdict(Counter)
    for program, answer in zip(data["program"], data["answer"], strict=True):
        by_program[program][answer] += 1
    prior = sum(max(answers.values()) for answers in by_program.values()) / len(data)
    result = {"rows": len(data), "accuracy": float(correct.mean()), "prior": prior}
    for column in ("program", "kind", "set_size"):
        groups: dict[str, list[bool]] = defaultdict(list)
        for value, right in zip(data[column], correct, strict=True):
            groups[str(value)].append(bool(right))
        result[column] = {value: [len(group), float(np.mean(group))] for value, group in sorted(groups.items())}
    return result


def draw(cells: dict[str, dict], path: Path) -> None:
    """Accuracy of each cell as a coloured square."""
    figure = Figure(figsize=(10.5, 3.4), layout="constrained")
    for axes, domain in zip(figure.subplots(1, len(DOMAINS), sharey=True), DOMAINS, strict=True):
        values = np.array([[cells[f"{t}/{v}/{domain}"]["accuracy"] for v in VARIANTS] for t in TASKS])
        axes.imshow(values, vmin=0, vmax=1, cmap="viridis", aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.6 else "black")
        axes.set(title=domain, xticks=range(len(VARIANTS)), yticks=range(len(TASKS)), yticklabels=TASKS)
        axes.set_xticklabels(list(VARIANTS), rotation=30, ha="right")
    figure.savefig(path, dpi=110)


def write_page(cells: dict[str, dict], base: str) -> None:
    """Writes docs/base-accuracy.md and docs/base-accuracy.png."""
    draw(cells, DOCS / "base-accuracy.png")
    rows = min(cell["rows"] for cell in cells.values())
    lines = [
        f"# What `{base}` answers as it is",
        "",
        f"Written by `benchmarks/base_accuracy.py`: {rows} held-out rows a cell or more, answers generated,",
        "95% intervals (Wilson). The base learnt the train split of the variant `base` alone: to it the others are",
        "shifts. Prior: the most frequent answer of each program.",
        "",
        "![Accuracy by cell](base-accuracy.png)",
        "",
        "| task | variant | domain | prior | accuracy | interval |",
        "|---|---|---|---|---|---|",
    ]
    for name, cell in cells.items():
        low, high = wilson_interval(round(cell["accuracy"] * cell["rows"]), cell["rows"])
        lines.append(f"| {' | '.join(name.split('/'))} | {cell['prior']:.2f} | {cell['accuracy']:.2f} | "
                     f"{low:.2f}–{high:.2f} |")  # fmt: skip
    for column, title in (("kind", "kind of picture"), ("set_size", "set size")):
        lines += ["", f"## By {title}, variant `base`, synthetic", "", f"| task | {title} | rows | accuracy |",
                  "|---|---|---|---|"]  # fmt: skip
        for task in TASKS:
            found = cells[f"{task}/base/synthetic"][column]
            lines += [f"| {task} | {value} | {count} | {share:.2f} |" for value, (count, share) in found.items()]
    (DOCS / "base-accuracy.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="leaml-smol")
    parser.add_argument("--rows", type=int, default=160, help="of a cell")
    parser.add_argument("--file", type=Path, default=Path("out/base-accuracy.json"), help="of the figures so far")
    parser.add_argument("--json", action="store_true", help="one line for machines")
    arguments = parser.parse_args()
    model = LeamlForVisualQA.from_pretrained(arguments.base, dtype=fastest_dtype())
    processor = load_processor(arguments.base)
    cells = json.loads(arguments.file.read_text()) if arguments.file.exists() else {}
    names = [(task, variant, domain) for domain in DOMAINS for variant in VARIANTS for task in TASKS]
    for name in names:
        if "/".join(name) not in cells:
            cells["/".join(name)] = judge(model, processor, *name, arguments.rows)
            arguments.file.parent.mkdir(parents=True, exist_ok=True)
            arguments.file.write_text(json.dumps(cells))
            if not arguments.json:
                print("/".join(name), f"{cells['/'.join(name)]['accuracy']:.3f}", flush=True)
    write_page({"/".join(name): cells["/".join(name)] for name in names}, arguments.base)
    if arguments.json:
        print(json.dumps({name: cell["accuracy"] for name, cell in cells.items()}))


if __name__ == "__main__":
    main()
