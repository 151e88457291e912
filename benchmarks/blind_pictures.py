"""How much of the answers needs the picture: leaml-smol on Visual Arrays with the right pictures and shuffled ones.

    .venv/bin/python benchmarks/blind_pictures.py

Both run over the same held-out questions in one go; beside them stand the commonest answer of each program and a
reader of the question alone, neither of which sees a picture. Prints a table by program, or with --json one line.
"""

import argparse
import json
from collections import defaultdict

import numpy as np

from leaml_hf import LeamlForVisualQA
from leaml_hf.data.visual_arrays import load_visual_arrays
from leaml_hf.data.visual_arrays.baselines import visual_arrays_baselines
from leaml_hf.data.visual_arrays.scenes import QUESTIONS_PER_SCENE
from leaml_hf.evaluation.runner import predict
from leaml_hf.processing_leaml import load_processor

BASE = "leaml-smol"


def accuracies(model, processor, task: str, rows: int) -> dict[str, dict[str, float]]:
    """By program: `n`, and accuracy with the right `picture` and with that of another row (`blind`)."""
    dataset = load_visual_arrays(task, "base", split="test", num_rows=rows)
    pictures = dataset["image"]
    others = dataset.remove_columns("image").add_column(
        "image", [pictures[(i + rows // 2 // QUESTIONS_PER_SCENE * QUESTIONS_PER_SCENE) % rows] for i in range(rows)],
        feature=dataset.features["image"],
    )  # fmt: skip
    correct = {
        name: predict(model, processor, given).correct for name, given in (("picture", dataset), ("blind", others))
    }
    found = defaultdict(list)
    for i, program in enumerate(dataset["program"]):
        found[program].append(i)
    return {
        program: {"n": len(where)} | {name: float(np.mean(hits[where])) for name, hits in correct.items()}
        for program, where in sorted(found.items())
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1600, help="questions a task (default: 1600)")
    parser.add_argument("--json", action="store_true", help="one line for machines")
    arguments = parser.parse_args()
    model, processor = LeamlForVisualQA.from_pretrained(BASE), load_processor(BASE)
    results = {}
    for task in ("chart", "layout"):
        alone = visual_arrays_baselines(task)["programs"]
        programs = accuracies(model, processor, task, arguments.rows)
        results[task] = {name: figures | {key: alone[name][key] for key in ("prior", "question_only")}
                         for name, figures in programs.items() if name in alone}  # fmt: skip
    if arguments.json:
        print(json.dumps(results))
        return
    columns = ("picture", "blind", "prior", "question_only")
    for task, programs in results.items():
        print(f"\n{task:18s} {'n':>5s} " + " ".join(f"{column:>14s}" for column in columns))
        for name, figures in programs.items():
            print(f"{name:18s} {figures['n']:5d} " + " ".join(f"{figures[column]:14.3f}" for column in columns))


if __name__ == "__main__":
    main()
