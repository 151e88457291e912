"""What other cameras, screens and senders do to the answers, and how soon a drift monitor notices.

    .venv/bin/python benchmarks/environments.py                          # leaml-smol, 2,300 answers
    .venv/bin/python benchmarks/environments.py --model out/my-charts --json

Charts of Visual Arrays, variant base, test split, one question a picture. Writes docs/environments.md and its picture;
answers that are in --folder already are not asked for again.
"""

import argparse
import json
from pathlib import Path

import joblib
import numpy as np
from tqdm import tqdm

from leaml_hf import LeamlForVisualQA, Reliability
from leaml_hf.backbones import fastest_dtype
from leaml_hf.data.visual_arrays import load_visual_arrays
from leaml_hf.data.visual_arrays.builder import QUESTIONS_PER_SCENE
from leaml_hf.evaluation.environments import ENVIRONMENTS, environment_rows
from leaml_hf.evaluation.metrics import wilson_interval
from leaml_hf.evaluation.plots import environment_panels
from leaml_hf.evaluation.runner import Predictions, predict
from leaml_hf.evaluation.shifts import CLEAN, judge_environments
from leaml_hf.processing_leaml import load_processor
from leaml_hf.reliability.drift import DriftMonitor, energy_test

DOCS = Path(__file__).resolve().parent.parent / "docs"
STRENGTHS = (1, 3, 5)
FITTED, REFERENCE = 120, 200  # rows for the reliability of a base that has none, and for the monitor
FITTED_ROWS, REFERENCE_ROWS = ("fitted", 0), ("reference", 0)
QUIET = 20  # clean rows before the drift
FALSE_ALARM = 0.05
STREAMS, QUIET_STREAMS = 100, 500
WATCHED = ("OOD score", "its parts", "vision states")


def answer_all(model: LeamlForVisualQA, processor, count: int, folder: Path) -> dict[tuple[str, int], Predictions]:
    """By environment and strength, with those of clean rows to fit on (`FITTED_ROWS`) and to refer to
    (`REFERENCE_ROWS`); answers are kept in `folder`."""
    pictures = FITTED + REFERENCE + count
    drawn = load_visual_arrays("chart", "base", "synthetic", "test", pictures * QUESTIONS_PER_SCENE)
    one_each = np.arange(pictures) * QUESTIONS_PER_SCENE + np.arange(pictures) % QUESTIONS_PER_SCENE
    fitted, reference, judged = (drawn.select(part) for part in np.split(one_each, [FITTED, FITTED + REFERENCE]))
    rows = {FITTED_ROWS: fitted, REFERENCE_ROWS: reference}
    settings = [*rows, CLEAN, *((name, strength) for strength in STRENGTHS for name in ENVIRONMENTS)]
    folder.mkdir(parents=True, exist_ok=True)
    answers = {}
    for name, strength in tqdm(settings):
        file = folder / f"{name}-{strength}-{count}.joblib"
        if not file.exists():
            seen = judged if name not in ENVIRONMENTS else environment_rows(judged, name, strength)
            joblib.dump(predict(model, processor, rows.get((name, strength), seen)), file)
        answers[name, strength] = joblib.load(file)
    return answers


def watched(reliability: Reliability, seen: Predictions) -> dict[str, np.ndarray]:
    """What a monitor may watch of n rows, by name: `[n, 1]`, `[n, scores]` and `[n, D]`."""
    score, parts = reliability.ood.score(seen.states), reliability.ood.components(seen.states)
    columns = (score[:, None], np.column_stack(list(parts.values())), seen.states["vision"])
    return dict(zip(WATCHED, columns, strict=True))


def false_alarms(clean: np.ndarray, horizon: int | None) -> int:
    """Alarms among `QUIET_STREAMS` streams of the rows of `clean` `[n, D]` that are not drawn as reference."""
    count = 0
    for seed in range(QUIET_STREAMS):
        rows = np.random.default_rng([seed, 1]).permutation(clean)
        monitor = DriftMonitor(FALSE_ALARM, horizon, seed=seed).fit(rows[:REFERENCE])
        count += monitor.update(rows[REFERENCE:]).alarm
    return count


def delays(reference: np.ndarray, clean: np.ndarray, drifted: np.ndarray, horizon: int | None) -> np.ndarray:
    """Rows from the drift to the alarm in `STREAMS` streams of `QUIET` clean rows and then drifted ones of other
    pictures, in random order; infinite where no alarm came, and left out where it came before the drift."""
    found = []
    for seed in range(STREAMS):
        order = np.random.default_rng([seed, 2]).permutation(len(clean))
        monitor = DriftMonitor(FALSE_ALARM, horizon, seed=seed).fit(reference)
        row = monitor.update(np.concatenate([clean[order[:QUIET]], drifted[order[QUIET:]]])).alarm_row
        if row is None or row > QUIET:
            found.append(np.inf if row is None else row - QUIET)
    return np.array(found)


def measure_drift(
    reliability: Reliability, reference: Predictions, answers: dict[tuple[str, int], Predictions]
) -> dict[str, dict]:
    """By what is watched: false alarms, and the median delay and share of streams with an alarm by environment and
    strength."""
    known = watched(reliability, reference)
    views = {setting: watched(reliability, seen) for setting, seen in answers.items()}
    horizon = len(views[CLEAN][WATCHED[0]])
    found = {}
    for name in WATCHED:
        clean = np.concatenate([known[name], views[CLEAN][name]])
        by_setting = {}
        for (environment, strength), view in views.items():
            if (environment, strength) != CLEAN:
                rows = delays(known[name], views[CLEAN][name], view[name], horizon)
                by_setting.setdefault(environment, {})[str(strength)] = {
                    "delay": float(np.median(rows)) if np.isfinite(np.median(rows)) else None,
                    "seen": float(np.isfinite(rows).mean()),
                }
        found[name] = {"whole stream": false_alarms(clean, None), "horizon": false_alarms(clean, horizon),
                       "environments": by_setting}  # fmt: skip
    return found


def batch_tests(reference: Predictions, answers: dict[tuple[str, int], Predictions]) -> dict[str, dict[str, float]]:
    """p-values of the energy test of the vision states of all judged rows against the reference."""
    found: dict[str, dict[str, float]] = {}
    for (name, strength), seen in answers.items():
        p_value = energy_test(reference.states["vision"], seen.states["vision"])[1]
        found.setdefault(name, {})[str(strength)] = p_value
    return found


def table(figures: dict[str, dict], cell, header: str) -> list[str]:
    """A table with a row for each environment and a column for each strength; `cell` writes what stands in one."""
    lines = [f"| {header} | {' | '.join(map(str, STRENGTHS))} |", "|" + "---|" * (len(STRENGTHS) + 1)]
    for name, by_strength in figures.items():
        if name != CLEAN[0]:
            cells = " | ".join(cell(by_strength[str(strength)]) for strength in STRENGTHS)
            lines.append(f"| {name.replace('_', ' ')} | {cells} |")
    return lines


def write_page(results: dict, model: str) -> None:
    """Writes docs/environments.md and docs/environments.png."""
    figures, drift = results["figures"], results["drift"]
    environment_panels(DOCS / "environments.png", figures)
    clean = figures["clean"]
    low, high = clean["accuracy_ci"]
    lines = [
        f"# `{model}` in other environments",
        "",
        "Written by `benchmarks/environments.py`: charts of Visual Arrays (base variant, test split), a question for",
        f"each of {clean['n']} pictures, the same in every cell. Confidence and OOD scores of the base are fitted on",
        f"{FITTED} other clean rows. What each environment does: `leaml_hf.evaluation.environments`.",
        "",
        f"Clean: accuracy {clean['accuracy']:.2f} ({low:.2f}–{high:.2f}), ECE {clean['ece']:.3f}, "
        f"AUROC of the confidence {_number(clean['confidence_auroc'])}.",
        "",
        "![Figures by environment and strength](environments.png)",
        "",
    ]
    for key, title in (("accuracy", "accuracy"), ("ece", "ECE"), ("auroc", "AUROC of the OOD score"),
                       ("confidence_auroc", "AUROC of the confidence")):  # fmt: skip
        lines += [*table(figures, lambda found, key=key: _number(found[key]), title), ""]
    lines += [
        "AUROC of the OOD score: view against clean row, 0.5 where it can't tell them apart. AUROC of the confidence:",
        "right against wrong answers of the same environment.",
        "",
        "## How soon a drift monitor notices",
        "",
        f"`DriftMonitor` with a reference of {REFERENCE} clean rows. Stated false-alarm rate: {FALSE_ALARM:.0%}, over",
        f"the whole stream, or within {clean['n']} rows (`horizon={clean['n']}`). Alarms in {QUIET_STREAMS} streams",
        f"of {clean['n']} clean rows, each with another division into reference and stream (95% interval, Wilson):",
        "",
        "| watched | whole stream | horizon |",
        "|---|---|---|",
        *(f"| {name} | {_rate(found['whole stream'])} | {_rate(found['horizon'])} |" for name, found in drift.items()),
        "",
        f"Median rows from the drift to the alarm, with the horizon, over {STREAMS} streams of {QUIET} clean rows and",
        f"{clean['n'] - QUIET} drifted ones; in brackets the share of streams with an alarm, where it is not all.",
    ]
    for name, found in drift.items():
        lines += ["", *table(found["environments"], _delay, name)]
    p_values = results["batch"]
    lines += [
        "",
        f"One look at all {clean['n']} rows: p-value of the energy test of the vision states against the reference",
        f"(clean: {p_values['clean']['0']:.3f}).",
        "",
        *table(p_values, lambda p: f"{p:.3f}", "energy test"),
    ]
    (DOCS / "environments.md").write_text("\n".join(lines) + "\n")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _rate(alarms: int) -> str:
    low, high = wilson_interval(alarms, QUIET_STREAMS)
    return f"{alarms / QUIET_STREAMS:.1%} ({low:.1%}–{high:.1%})"


def _delay(found: dict[str, float | None]) -> str:
    shown = "–" if found["delay"] is None else f"{found['delay']:.0f}"
    return shown if found["seen"] == 1 else f"{shown} ({found['seen']:.0%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="leaml-smol")
    parser.add_argument("--rows", type=int, default=80, help="judged in each environment")
    parser.add_argument("--folder", type=Path, default=Path("out/environments"), help="of the answers so far")
    parser.add_argument("--json", action="store_true", help="one line for machines")
    arguments = parser.parse_args()
    model = LeamlForVisualQA.from_pretrained(arguments.model, dtype=fastest_dtype())
    processor = load_processor(arguments.model)
    answers = answer_all(model, processor, arguments.rows, arguments.folder / Path(arguments.model).name)
    fitted, reference = answers.pop(FITTED_ROWS), answers.pop(REFERENCE_ROWS)
    if model.reliability is None:
        model.reliability = Reliability.fit(fitted.states, fitted.raw_confidence, fitted.correct,
                                            labeled_states=fitted.states)  # fmt: skip
    results = {
        "figures": judge_environments(model, answers),
        "drift": measure_drift(model.reliability, reference, answers),
        "batch": batch_tests(reference, answers),
    }
    write_page(results, Path(arguments.model).name)
    if arguments.json:
        print(json.dumps(results))
        return
    for name in ENVIRONMENTS:
        print(f"{name:14}", *(f"{results['figures'][name][str(s)]['accuracy']:.2f}" for s in STRENGTHS))
    print("docs/environments.md is written")


if __name__ == "__main__":
    main()
