"""Tables and curves of a study: methods side by side, from the lines of its journal."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import LeamlInputError
from .plots import budget_curves, method_bars, part_gaps

Run = Mapping[str, Any]
FIGURES = {
    "accuracy": "accuracy",
    "ece": "ECE",
    "auroc": "AUROC",
    "fpr95": "FPR95",
    "selective_accuracy_80": "accuracy at 80% coverage",
    "source_accuracy": "accuracy on the source",
}
RESAMPLES = 4000
MAIN_BUDGET = "1%"
ALL_TARGETS = "all targets"
OURS = {
    "leaml": "Ahead of the others",
    "leaml-lexicon": "Ahead of the others, without names as answers",
    "leaml-lexicon-reading": "Ahead of the others, without names as answers and without reading",
}
KNOWN = ("base", "lora", *OURS, "full")  # methods whose curves are drawn
PEERS = {"base": "base, no labels", "lora": "LoRA", "leaml": "LEAML", "full": "full fine-tuning, all labels"}


def paired_difference(
    runs: Sequence[Run], first: tuple[str, str], second: tuple[str, str], figure: str = "accuracy", seed: int = 0
) -> dict[str, tuple[float, float, float, int]]:
    """
    By how much one method is ahead of another on the same targets and seeds.

    Args:
        runs (`Sequence[Mapping]`): of `run_study`.
        first (`tuple[str, str]`): method and budget.
        second (`tuple[str, str]`): method and budget that are taken away.
        figure (`str`, *optional*, defaults to `"accuracy"`): of the runs.
        seed (`int`, *optional*, defaults to 0): of the resampling.

    Returns:
        `dict`: by target, and over `ALL_TARGETS` (each with equal weight): mean difference, lower and upper end of
        its 95% bootstrap interval over seeds, and how many seeds (for all targets: pairs) have both. Targets without
        a pair are left out.
    """
    found: dict[tuple[str, str], dict[tuple[str, int], float]] = defaultdict(dict)
    for run in runs:
        found[run["method"], run["budget"]][run["target"], run["seed"]] = run[figure]
    pairs: dict[str, list[float]] = defaultdict(list)
    for target, number in sorted(found[first].keys() & found[second].keys()):
        pairs[target].append(found[first][target, number] - found[second][target, number])
    rng = np.random.default_rng(seed)
    resampled = {target: np.array(gaps)[rng.integers(len(gaps), size=(RESAMPLES, len(gaps)))].mean(1)
                 for target, gaps in pairs.items()}  # fmt: skip
    means = {target: float(np.mean(gaps)) for target, gaps in pairs.items()}
    out = {target: (means[target], *_interval(resampled[target]), len(gaps)) for target, gaps in pairs.items()}
    if len(out) > 1:
        mean, together = float(np.mean(list(means.values()))), np.mean(list(resampled.values()), axis=0)
        out[ALL_TARGETS] = (mean, *_interval(together), sum(map(len, pairs.values())))
    return out


def _interval(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def summary(runs: Sequence[Run]) -> list[str]:
    """
    The outcome of a study in a few lines: LEAML with `MAIN_BUDGET` of the labels beside its peers, target by target.

    Args:
        runs (`Sequence[Mapping]`): of `run_study`.

    Returns:
        `list[str]`: a sentence and a table in Markdown; empty where LEAML was not run.
    """
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for run in runs:
        if run["budget"] == _peer_budget(run["method"]):
            found[run["target"], run["method"]].append(run["accuracy"])
    targets = sorted(target for target, method in found if method == "leaml")
    if not targets:
        return []
    gaps = [ahead(runs, "leaml", peer) for peer in ("lora", "full")]
    lines = [
        f"Accuracy in percent with {MAIN_BUDGET} of the labels, mean over seeds (their number in brackets);",
        "differences in points, between runs of the same seed, with 95% intervals.",
        "",
        f"| target | {' | '.join(PEERS.values())} | LEAML less LoRA | LEAML less full fine-tuning |",
        "|" + "---|" * (len(PEERS) + 3),
    ]
    for target in targets:
        means = [found[target, method] for method in PEERS]
        shown = [f"{100 * np.mean(values):.1f} ({len(values)})" if values else "" for values in means]
        lines.append(f"| {target} | {' | '.join(shown)} | {' | '.join(_gap(gap, target) for gap in gaps)} |")
    if len(targets) > 1:
        average = " | ".join(_gap(gap, ALL_TARGETS) for gap in gaps)
        lines.append(f"| **{ALL_TARGETS}** |{' |' * len(PEERS)} {average} |")
    return lines


def ahead(runs: Sequence[Run], method: str, other: str) -> dict[str, tuple[float, float, float, int]]:
    """
    [`paired_difference`] of two methods, each with the labels that it is shown with: `MAIN_BUDGET`, or all of `full`
    and of `base`, which sees none of them.

    Args:
        runs (`Sequence[Mapping]`): of `run_study`.
        method (`str`): of `study.METHODS`.
        other (`str`): that is taken away.

    Returns:
        `dict`: as of [`paired_difference`].
    """
    return paired_difference(runs, (method, _peer_budget(method)), (other, _peer_budget(other)))


def _peer_budget(method: str) -> str:
    return "100%" if method in ("base", "full") else MAIN_BUDGET


def _gap(by_target: Mapping[str, tuple[float, float, float, int]], target: str) -> str:
    if target not in by_target:
        return ""
    mean, low, high, _ = by_target[target]
    interval = f" ({100 * low:+.1f} to {100 * high:+.1f})" if high > low else ""
    return f"{100 * mean:+.1f}{interval}"


def write_comparison(runs: Sequence[Run], path: str | Path, command: str) -> Path:
    """
    Writes a page with the tables of a study, and its pictures beside it.

    Args:
        runs (`Sequence[Mapping]`): of `run_study`, one or more.
        path (`str` or `Path`): the .md file; the pictures' names begin with its own.
        command (`str`): that gave the runs.

    Returns:
        `Path`: the page.

    Raises:
        [`LeamlInputError`]: if there are no runs.
    """
    if not runs:
        raise LeamlInputError("There are no runs to compare yet.")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = _draw(runs, path)
    splits = sorted({run["split"] for run in runs})
    lines = [
        "# Methods side by side",
        "",
        f"Written by `{command}` from the journal of its runs; figures on the {' and '.join(splits)} split, means and",
        "deviations over seeds, accuracies in percent. Intervals: 95%, bootstrap over seeds. `leaml-words` is LEAML",
        "without its words, `leaml-lexicon+pairs` LEAML without names as answers and with pairs, which are off by",
        "default, and so on; seconds are of training, on different machines.",
        "",
        *([*short, ""] if (short := summary(runs)) else []),
        *(line for name, title in pictures.items() for line in (f"![{title}]({name})", "")),
    ]
    methods = list(dict.fromkeys((run["method"], run["budget"]) for run in sorted(runs, key=_order)))
    for target in sorted({run["target"] for run in runs}):
        lines += [f"## {target}", "", f"| method | labels | {' | '.join(FIGURES.values())} | seconds | seeds |",
                  "|" + "---|" * (len(FIGURES) + 4)]  # fmt: skip
        for method, budget in methods:
            chosen = [run for run in runs
                      if (run["target"], run["method"], run["budget"]) == (target, method, budget)]  # fmt: skip
            if chosen:
                labels = round(np.mean([run["labels"] for run in chosen]))
                shown = [_shown(figure, [run[figure] for run in chosen]) for figure in FIGURES]
                seconds = np.mean([run["train_seconds"] for run in chosen])
                lines.append(f"| {method} | {labels} | {' | '.join(shown)} | {seconds:.0f} | {len(chosen)} |")
        lines.append("")
    for ours in [method for method in OURS if any(method == run["method"] for run in runs)]:
        others = {f"{method}, {budget if method != 'base' else 'no'} labels":
                  paired_difference(runs, (ours, MAIN_BUDGET), (method, budget))
                  for method, budget in methods if method in KNOWN and method not in OURS}  # fmt: skip
        lines += [f"## {OURS[ours]}", "",
                  f"Accuracy with {MAIN_BUDGET} of the labels less that of the other, in points.", "",
                  *_gap_table("less", others), ""]  # fmt: skip
    parts = {f"{method}, {budget} labels": paired_difference(runs, (method, budget), (_rest(method), budget))
             for method, budget in methods if _is_part(method)}  # fmt: skip
    if parts:
        lines += ["## What each part does", "",
                  "Accuracy with (+) or without (-) the last part of each name less that of LEAML with all else of "
                  "it, in points.", "", *_gap_table("part", parts)]  # fmt: skip
    path.write_text("\n".join(lines).rstrip() + "\n")
    return path


def _is_part(method: str) -> bool:
    return method.startswith(("leaml-", "leaml+"))


def _rest(method: str) -> str:
    """A method without the last part of its name: `leaml` of `leaml-words`."""
    return method[: max(method.rfind("+"), method.rfind("-"))]


def _gap_table(title: str, gaps: Mapping[str, Mapping[str, tuple[float, float, float, int]]]) -> list[str]:
    """Lines of a table of differences by name, under `title`, and by target."""
    head = [f"| {title} | target | points | interval | pairs |", "|---|---|---|---|---|"]
    return head + [f"| {name} | {target} | {100 * mean:+.1f} | {100 * low:+.1f} to {100 * high:+.1f} | {count} |"
                   for name, by_target in gaps.items()
                   for target, (mean, low, high, count) in by_target.items()]  # fmt: skip


def _draw(runs: Sequence[Run], path: Path) -> dict[str, str]:
    """Draws what there is to draw beside a page: titles by file name."""
    drawn, curves = {}, [run for run in runs if run["method"] in KNOWN]
    above = {PEERS[method]: gaps for method in PEERS if method != "base" and (gaps := ahead(runs, method, "base"))}
    if PEERS["leaml"] in above:
        drawn[method_bars(path.with_name(f"{path.stem}-summary.png"), above).name] = "LEAML beside its peers"
    if curves:
        drawn[budget_curves(path.with_suffix(".png"), curves).name] = "Accuracy by label budget"
    parts = sorted({run["method"] for run in runs if _is_part(run["method"])})
    gaps = {part: paired_difference(runs, (part, MAIN_BUDGET), (_rest(part), MAIN_BUDGET)) for part in parts}
    gaps = {part: {target: gap for target, gap in by_target.items() if target != ALL_TARGETS}
            for part, by_target in gaps.items() if by_target}  # fmt: skip
    if gaps:
        drawn[part_gaps(path.with_name(f"{path.stem}-parts.png"), gaps).name] = "What each part of LEAML does"
    return drawn


def _order(run: Run) -> tuple:
    place = KNOWN.index(run["method"]) if run["method"] in KNOWN else len(KNOWN)
    return place, run["method"], float(run["budget"].rstrip("%"))


def _shown(figure: str, values: list[float]) -> str:
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None
    scale, digits = (100, 1) if "accuracy" in figure else (1, 3)
    spread = "" if deviation is None else f" ± {scale * deviation:.{digits}f}"
    return f"{scale * mean:.{digits}f}{spread}"
