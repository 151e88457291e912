"""Do chosen rows teach more than random ones? Rules found from few labels of real charts, by how the rows were chosen.

    .venv/bin/python benchmarks/selection.py                      # all ways, five seeds; goes on where it was killed
    .venv/bin/python benchmarks/selection.py --budget 1% --methods random stratified

Each run chooses training rows, finds the words to ask the base in from their labels (`PatternTeacher`, no step of
training), and answers the same validation rows. In two rounds, half of the rows are chosen first, and the others among
those that the base, asked in the words of the first, is unsure of. What the base said is kept, so that later runs ask
less. Writes docs/selection.md and its picture from the results files.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from leaml_hf import LeamlForVisualQA
from leaml_hf.backbones import fastest_dtype
from leaml_hf.data.budget import parse_budget, picture_keys
from leaml_hf.data.sources import load_data
from leaml_hf.data.visual_arrays import load_visual_arrays
from leaml_hf.evaluation.answers import answers_match
from leaml_hf.evaluation.runner import open_pictures, predict
from leaml_hf.phrasebook import Phrasebook
from leaml_hf.processing_leaml import load_processor
from leaml_hf.training.adapt import sample_rows
from leaml_hf.training.cache import FrozenCache
from leaml_hf.training.coverage import uncertain
from leaml_hf.training.meaning import QuestionMeaning
from leaml_hf.training.patterns import PatternTeacher
from leaml_hf.training.selection import MOST_ASKED, RowFeatures, cover, row_features

DOCS = Path(__file__).resolve().parent.parent / "docs"
ROUNDS = "stratified+uncertain"
METHODS = ("random", "stratified", "typical", "k-center", ROUNDS)
CHUNK = 256  # questions asked at a time
KNOWN_QUESTIONS = 800  # of unlabelled rows, for the weights of words


class Base:
    """The base as it is; what it said once is not asked again."""

    def __init__(self, name: str) -> None:
        self.model = LeamlForVisualQA.from_backbone(name, dtype=fastest_dtype()).eval()
        self.processor = load_processor(name)
        self.cache = FrozenCache(self.model, self.processor)
        self.meaning = QuestionMeaning(self.model, self.processor.tokenizer)
        self._said: dict[tuple[str, str, bool], str] = {}

    def say(self, rows, places: Sequence[int], questions: Sequence[str], spell: bool) -> list[str]:
        """Answers, as they are spelt or as they are given, to questions about the pictures of `rows`."""
        keys = picture_keys(rows)
        asked = [(keys[place], question, spell) for place, question in zip(places, questions, strict=True)]
        new = {ask: int(place) for ask, place in zip(asked, places, strict=True) if ask not in self._said}
        new = dict(sorted(new.items()))
        for start in range(0, len(new), CHUNK):
            part = list(new)[start : start + CHUNK]
            images = rows.select([new[ask] for ask in part])["image"]
            pictures = open_pictures(self.model, self.processor, images, [key for key, _, _ in part], self.cache)
            shown, posed = [pictures[key] for key, _, _ in part], [question for _, question, _ in part]
            if spell:
                texts = self.model.spell(shown, posed, self.processor)
            else:
                texts = self.model.collect(shown, posed, self.processor, 64).texts
            self._said.update(zip(part, texts, strict=True))
        return [self._said[ask] for ask in asked]

    def doubts(self, rows, book: Phrasebook) -> np.ndarray:
        """`[n]`: how probable it is that each answer is wrong, in its own opinion."""
        self.model.phrasebook = book
        confidence = predict(self.model, self.processor, rows, cache=self.cache).raw_confidence
        self.model.phrasebook = None
        return 1 - confidence

    def accuracy(self, rows, book: Phrasebook) -> float:
        """Share of `rows` that are answered rightly with a phrasebook."""
        found = book.find(rows["question"])
        texts = self.say(rows, range(len(rows)), [asked for asked, _ in found], spell=False)
        texts = [text if rule is None else rule.said(text, question)
                 for text, (_, rule), question in zip(texts, found, rows["question"], strict=True)]  # fmt: skip
        return float(np.mean([answers_match(*pair) for pair in zip(texts, rows["answer"], strict=True)]))


def choose(
    method: str, base: Base, source: Any, train: Any, features: RowFeatures, count: int, seed: int
) -> list[int]:
    """Places of `count` rows."""
    rng = np.random.default_rng([seed, 4711])
    if method == "random":
        return rng.permutation(len(train))[:count].tolist()
    if method != ROUNDS:
        return cover(method, features, count, (), seed)
    first = cover("stratified", features, count // 2, (), seed)
    free = rng.permutation(np.setdiff1d(np.arange(len(train)), first))[:MOST_ASKED]
    doubts = base.doubts(train.select(free), find_words(base, source, train, first))
    return [*first, *free[uncertain(features.joined[free], doubts, count - len(first), seed)].tolist()]


def find_words(base: Base, source: Any, train: Any, chosen: list[int], questions: Sequence[str] = ()) -> Phrasebook:
    """What the labels of the chosen rows lead to."""
    labelled = train.select(chosen)
    known = sample_rows(train, KNOWN_QUESTIONS, 0)["question"]
    teacher = PatternTeacher(source, base.meaning).fit(
        lambda places, asked: base.say(labelled, places, asked, spell=True),
        labelled["question"], labelled["answer"], known,
    )  # fmt: skip
    return teacher.phrasebook([*known, *questions])


def run(base: Base, source: Any, train: Any, test: Any, chosen: list[int]) -> dict:
    """How good the words are that the labels of the chosen rows lead to."""
    start, labelled = time.perf_counter(), train.select(chosen)
    book = find_words(base, source, train, chosen, test["question"])
    return {
        "labels": len(chosen),
        "programs": len(set(labelled["program"])),
        "pictures": len(set(picture_keys(labelled))),
        "rules": len(book.rules),
        "accuracy": base.accuracy(test, book),
        "seconds": round(time.perf_counter() - start, 1),
    }


def draw(results: list[dict], plain: float, path: Path) -> None:
    """Each run as a dot, by method, with the median as a line."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    names = list(dict.fromkeys(result["method"] for result in results))
    for place, name in enumerate(names):
        values = [result["accuracy"] for result in results if result["method"] == name]
        axes.scatter([place] * len(values), values, color="#2457c5", zorder=2)
        axes.hlines(np.median(values), place - 0.25, place + 0.25, color="#d9730d", linewidth=2)
    axes.axhline(plain, color="#66727f", linestyle="--", label="base without labels")
    axes.set(xticks=range(len(names)), xticklabels=names, xlim=(-0.6, len(names) - 0.4), ylabel="accuracy")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=110)


def write_page(results: list[dict], plain: float, rows: int, budget: str) -> None:
    """Writes docs/selection.md and docs/selection.png."""
    draw(results, plain, DOCS / "selection.png")
    of = {(result["method"], result["seed"]): result for result in results}
    names = list(dict.fromkeys(result["method"] for result in results))
    seeds = sorted({result["seed"] for result in results})
    lines = [
        "# Chosen rows against random ones",
        "",
        f"Written by `benchmarks/selection.py --budget {budget}`: rules found from {results[0]['labels']} labels",
        "of the training rows of real charts, no step of training; accuracy in percent on the same",
        f"{rows} validation rows, whose tables training never saw. The base without any label has {100 * plain:.1f}.",
        "",
        f"| chosen | {' | '.join(f'seed {seed}' for seed in seeds)} | median | mean | mean gain over random |",
        "|" + "---|" * (len(seeds) + 4),
    ]
    for name in names:
        values = {seed: 100 * of[name, seed]["accuracy"] for seed in seeds if (name, seed) in of}
        both = [seed for seed in values if ("random", seed) in of]
        gains = np.array([values[seed] - 100 * of["random", seed]["accuracy"] for seed in both])
        spread = f" ± {gains.std(ddof=1) / np.sqrt(len(gains)):.1f}" if len(gains) > 1 else ""
        gain = "" if name == "random" else f"{gains.mean():+.1f}{spread}"
        cells = [f"{values[seed]:.1f}" if seed in values else "" for seed in seeds]
        middle, mean = np.median(list(values.values())), np.mean(list(values.values()))
        lines.append(f"| {name} | {' | '.join(cells)} | **{middle:.1f}** | {mean:.1f} | {gain} |")
    lines += ["", "±: standard error over the seeds.", "", "![Accuracy by way of choosing](selection.png)", ""]
    (DOCS / "selection.md").write_text("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", default="0.5%")
    parser.add_argument("--rows", type=int, default=500, help="validation rows that are answered")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--folder", type=Path, default=Path("out/selection"), help="of the results")
    parser.add_argument("--json", action="store_true", help="the figures as one line")
    arguments = parser.parse_args()
    folder = arguments.folder / f"{arguments.budget.strip('%')}-{arguments.rows}"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [(method, seed) for seed in arguments.seeds for method in arguments.methods]
    files = {(method, seed): folder / f"{method}-{seed}.json" for method, seed in wanted}
    plain_file = folder / "base.json"
    if not plain_file.exists() or not all(file.exists() for file in files.values()):
        data = load_data("real-charts", ("train", "validation"))
        train, test = data["train"], sample_rows(data["validation"], arguments.rows, 0)
        base = Base("leaml-smol")
        stored = arguments.folder / "features.npz"
        if not stored.exists():
            np.savez(stored, **row_features(train, base.model, base.processor)._asdict())
        features, count = RowFeatures(**np.load(stored)), parse_budget(arguments.budget, len(train))
        source = load_visual_arrays("chart", "base", split="train", num_rows=2400)
        plain_file.write_text(json.dumps(base.accuracy(test, Phrasebook([], {}))))
        for (method, seed), file in files.items():
            if not file.exists():
                chosen = choose(method, base, source, train, features, count, seed)
                found = run(base, source, train, test, chosen)
                file.write_text(json.dumps({"method": method, "seed": seed, **found}))
                if not arguments.json:
                    print(file.read_text(), flush=True)
    results = [json.loads(file.read_text()) for file in files.values()]
    write_page(results, json.loads(plain_file.read_text()), arguments.rows, arguments.budget)
    if arguments.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
