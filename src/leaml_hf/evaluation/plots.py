"""The pictures of the report: each function draws one figure and saves it as a PNG; none needs a display."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import LeamlInputError
from .metrics import auroc, reliability_bins, risk_coverage_curve, wilson_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL import Image

BEFORE, AFTER, INK, MUTED, GRID = "#a9b4c2", "#2457c5", "#1c2733", "#66727f", "#e4e8ed"
SERIES = ("#2457c5", "#d9730d", "#1a8a5a", "#9b3fb5", "#c4314b", "#0b8793")


def _figure(
    width: float, height: float, panels: int = 1, columns: int = 1, **grid: Any
) -> tuple["Figure", list["Axes"]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axes = np.ravel(figure.subplots(-(-panels // columns), columns, **grid)).tolist()
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color(MUTED)
        ax.tick_params(colors=MUTED, labelsize=9)
        ax.grid(color=GRID, linewidth=0.8)
        ax.set_axisbelow(True)
    return figure, axes


def _label(ax: "Axes", x: str = "", y: str = "") -> None:
    ax.set_xlabel(x, color=INK, fontsize=10)
    ax.set_ylabel(y, color=INK, fontsize=10)


def _legend(ax: "Axes", **options: Any) -> None:
    ax.legend(frameon=False, fontsize=9, labelcolor=INK, **options)


def _save(figure: "Figure", path: str | Path) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, facecolor="white")
    return path


def reliability_diagram(
    path: str | Path, confidence: Sequence[float], correct: Sequence[float], bins: int = 10
) -> Path:
    """
    Accuracy against confidence by bin, with 95% Wilson intervals, above a histogram of the confidences.

    Args:
        path (`str` or `Path`): the PNG to write.
        confidence (`Sequence[float]`): `[n]` probabilities in [0, 1].
        correct (`Sequence[float]`): `[n]` zeros and ones.
        bins (`int`, *optional*, defaults to 10): bins of equal width.

    Returns:
        `Path`: the PNG.

    Raises:
        [`LeamlInputError`]: if the inputs are not of that form.
    """
    table = reliability_bins(confidence, correct, bins)
    successes = table["accuracy"] * table["count"]
    intervals = [wilson_interval(min(s, n), int(n)) for s, n in zip(successes, table["count"], strict=True)]
    low, high = np.array(intervals).T
    accuracy = table["accuracy"]
    figure, (top, bottom) = _figure(5.2, 5.4, 2, sharex=True, height_ratios=[3, 1])
    top.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="perfect calibration")
    errors = np.maximum([accuracy - low, high - accuracy], 0)
    top.errorbar(
        table["confidence"], accuracy, errors, fmt="o", color=AFTER, ecolor=AFTER, elinewidth=1.3, capsize=3,
        markersize=6, label="observed, 95% interval",
    )  # fmt: skip
    top.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    _label(top, y="Share of right answers")
    _legend(top, loc="upper left")
    counts, edges = np.histogram(confidence, bins=bins, range=(0, 1))
    drawn = bottom.bar(edges[:-1], counts, width=1 / bins, align="edge", color=AFTER, alpha=0.75, edgecolor="white")
    bottom.bar_label(drawn, labels=[str(c) if c else "" for c in counts], fontsize=8, color=MUTED, padding=1)
    bottom.margins(y=0.25)
    _label(bottom, "Confidence", "Answers")
    return _save(figure, path)


def roc_curves(
    path: str | Path, familiar: Sequence[float], unfamiliar: Mapping[str, Sequence[float]], threshold: float | None
) -> Path:
    """
    Share of unfamiliar pictures flagged against the share of familiar ones flagged, one curve for each set.

    Args:
        path (`str` or `Path`): the PNG to write.
        familiar (`Sequence[float]`): out-of-distribution scores of the test rows, `[n]`, higher = more unfamiliar.
        unfamiliar (`Mapping[str, Sequence[float]]`): the scores of each out-of-distribution set by its name.
        threshold (`float`, *optional*): scores above it are flagged; its points are marked.

    Returns:
        `Path`: the PNG.

    Raises:
        [`LeamlInputError`]: if a set is empty.
    """
    from sklearn.metrics import roc_curve

    figure, (ax,) = _figure(5.2, 4.6)
    ax.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for number, (name, scores) in enumerate(unfamiliar.items()):
        labels = np.repeat([0, 1], [len(familiar), len(scores)])
        everything = np.concatenate([familiar, scores])
        area = auroc(everything, labels)
        colour = SERIES[number % len(SERIES)]
        false, true, _ = roc_curve(labels, everything)
        ax.plot(false, true, color=colour, linewidth=2, label=_plain(f"{name} (AUROC {area:.3f})"))
        if threshold is not None:
            flagged = np.mean(np.asarray(familiar) > threshold), np.mean(np.asarray(scores) > threshold)
            ax.plot(*flagged, marker="o", color=colour, markeredgecolor="white", markersize=8)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    _label(ax, "Familiar pictures flagged", "Unfamiliar pictures flagged")
    _legend(ax, loc="lower right")
    return _save(figure, path)


def risk_coverage(path: str | Path, confidence: Sequence[float], correct: Sequence[float]) -> Path:
    """
    Share of wrong answers against the share of questions answered, the most confident first.

    Args:
        path (`str` or `Path`): the PNG to write.
        confidence (`Sequence[float]`): `[n]` probabilities in [0, 1].
        correct (`Sequence[float]`): `[n]` zeros and ones.

    Returns:
        `Path`: the PNG.

    Raises:
        [`LeamlInputError`]: if the inputs are not of that form.
    """
    coverage, risk = risk_coverage_curve(confidence, correct)
    kept = np.arange(1, len(risk) + 1)
    shown = np.unique(np.linspace(0, len(risk) - 1, 200).astype(int))
    band = np.array([wilson_interval(risk[i] * kept[i], int(kept[i])) for i in shown])
    figure, (ax,) = _figure(5.2, 4.6)
    ax.fill_between(
        coverage[shown], band[:, 0], band[:, 1], color=AFTER, alpha=0.14, linewidth=0, label="95% interval"
    )
    ax.plot(coverage, risk, color=AFTER, linewidth=2, label="most confident first")
    ax.axhline(risk[-1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="all questions answered")
    ax.set(xlim=(0, 1.01), ylim=(0, min(1.0, max(0.1, 1.6 * float(risk[len(risk) // 10 :].max())))))
    _label(ax, "Share of questions answered", "Share of wrong answers")
    _legend(ax, loc="upper left")
    return _save(figure, path)


def history_curves(history: Sequence[Mapping[str, float]]) -> dict[str, list[tuple[float, float]]]:
    """
    The curves that a training history holds.

    Args:
        history (`Sequence[Mapping]`): entries with `step` and any of `loss` and `heldout_accuracy` (or
            `eval_accuracy`).

    Returns:
        `dict[str, list[tuple]]`: (step, value) in order of the steps, by the curve's label; only curves with a point.
    """
    curves: dict[str, list[tuple[float, float]]] = {"Training loss": [], "Held-out accuracy": []}
    names = {"loss": "Training loss", "heldout_accuracy": "Held-out accuracy", "eval_accuracy": "Held-out accuracy"}
    for entry in history:
        for key, label in names.items():
            if key in entry:
                curves[label].append((entry["step"], entry[key]))
    return {label: sorted(points) for label, points in curves.items() if points}


def learning_curve(path: str | Path, history: Sequence[Mapping[str, float]]) -> Path:
    """
    Training loss, and accuracy on held-out labels where it was measured, over the steps.

    Args:
        path (`str` or `Path`): the PNG to write.
        history (`Sequence[Mapping]`): see [`history_curves`].

    Returns:
        `Path`: the PNG.

    Raises:
        [`LeamlInputError`]: if no entry has a loss or an accuracy.
    """
    curves = history_curves(history)
    if not curves:
        raise LeamlInputError("Give a history in which at least one entry has a `loss` or a `heldout_accuracy`.")
    figure, axes = _figure(5.2, 2.3 * len(curves) + 0.4, len(curves), sharex=True)
    for ax, (label, points), colour in zip(axes, curves.items(), SERIES, strict=False):
        marker = "o" if len(points) < 40 else ""
        ax.plot(*zip(*points, strict=True), color=colour, linewidth=2, marker=marker, markersize=4)
        _label(ax, y=label)
    axes[-1].set_xlabel("Step", color=INK, fontsize=10)
    return _save(figure, path)


def program_bars(
    path: str | Path, before: Mapping[str, Mapping[str, float]], after: Mapping[str, Mapping[str, float]]
) -> Path:
    """
    Accuracy before and after by program (kind of question), the highest on top.

    Args:
        path (`str` or `Path`): the PNG to write.
        before (`Mapping[str, Mapping]`): by program, `accuracy` (in [0, 1]) and `n` (rows); may lack programs.
        after (`Mapping[str, Mapping]`): the same for what was handed over; at least one program.

    Returns:
        `Path`: the PNG.

    Raises:
        [`LeamlInputError`]: if there is no program.
    """
    if not after:
        raise LeamlInputError("Give the accuracy of at least one program.")
    names = sorted(after, key=lambda name: after[name]["accuracy"])
    position = np.arange(len(names))
    figure, (ax,) = _figure(10.4, 1.0 + 0.44 * len(names))
    known = [(y, before[name]["accuracy"]) for y, name in enumerate(names) if name in before]
    if known:
        ax.barh(
            *zip(*((y - 0.2, value) for y, value in known), strict=True), height=0.36, color=BEFORE, label="before"
        )
    values = [after[name]["accuracy"] for name in names]
    ax.barh(position + 0.2, values, height=0.36, color=AFTER, label="after")
    for y, value in enumerate(values):
        ax.annotate(f"{value:.0%}", (value, y + 0.2), (4, 0), textcoords="offset points", va="center", fontsize=8)
    ax.set_yticks(position, [_plain(f"{name} (n = {after[name]['n']})") for name in names], color=INK)
    ax.grid(visible=False, axis="y")
    ax.set(xlim=(0, 1.08), xticks=np.linspace(0, 1, 6))
    _label(ax, "Accuracy")
    _legend(ax, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, reverse=True)
    return _save(figure, path)


def _plain(text: str) -> str:
    """A name as it is: matplotlib would read dollar signs as mathematics."""
    return text.replace("$", r"\$")


def environment_panels(path: str | Path, figures: Mapping[str, Mapping[str, Any]]) -> Path:
    """
    Accuracy with its 95% interval, ECE and both AUROCs by strength, one panel for each environment.

    Args:
        path (`str` or `Path`): the PNG to write.
        figures (`Mapping[str, Mapping]`): what `shifts.judge_environments` gave: `clean`, which stands at strength 0,
            and one environment or more.

    Returns:
        `Path`: the PNG.

    Raises:
        [`LeamlInputError`]: if there is no environment beside `clean`.
    """
    names = [name for name in figures if name != "clean"]
    if not names:
        raise LeamlInputError("Give the figures of at least one environment.")
    columns = min(4, len(names))
    lines = {"accuracy": "accuracy, 95% interval", "ece": "ECE", "auroc": "AUROC of the OOD score: clean or not",
             "confidence_auroc": "AUROC of the confidence: right or wrong"}  # fmt: skip
    width, height = max(3.6, 2.8 * columns), 2.3 * -(-len(names) // columns) + 0.6
    figure, axes = _figure(width, height, len(names), columns, sharey=True)
    for ax, name in zip(axes, names, strict=False):
        by_strength = {0: figures["clean"]} | {int(strength): found for strength, found in figures[name].items()}
        low, high = zip(*(found["accuracy_ci"] for found in by_strength.values()), strict=True)
        ax.fill_between(list(by_strength), low, high, color=SERIES[0], alpha=0.14, linewidth=0)
        for (key, label), colour in zip(lines.items(), SERIES, strict=False):
            points = [(strength, found[key]) for strength, found in by_strength.items() if found.get(key) is not None]
            if points:
                ax.plot(*zip(*points, strict=True), color=colour, linewidth=1.8, marker="o", markersize=3, label=label)
        ax.set(xlim=(-0.2, 5.2), ylim=(-0.02, 1.02), xticks=range(6))
        ax.set_title(name.replace("_", " "), color=INK, fontsize=10)
    for ax in axes[len(names) :]:
        ax.set_visible(False)
    for ax in axes[max(0, len(names) - columns) : len(names)]:
        _label(ax, "Strength (0: as it is)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9,
                  labelcolor=INK)  # fmt: skip
    return _save(figure, path)


def method_bars(path: str | Path, gaps: Mapping[str, Mapping[str, tuple[float, float, float, int]]]) -> Path:
    """
    How far methods are ahead of the base, target by target, with intervals.

    Args:
        path (`str` or `Path`): the PNG to write.
        gaps (`Mapping[str, Mapping]`): difference, its interval and the number of pairs by method and target, in
            shares; one to three methods.

    Returns:
        `Path`: the PNG.
    """
    targets = list(dict.fromkeys(target for by_target in gaps.values() for target in by_target))
    figure, (ax,) = _figure(1.2 + 1.5 * len(targets), 3.6)
    width = 0.8 / len(gaps)
    for place, ((method, by_target), colour) in enumerate(zip(gaps.items(), (BEFORE, AFTER, MUTED), strict=False)):
        mean, low, high = 100 * np.array([by_target.get(target, (np.nan,) * 4)[:3] for target in targets]).T
        at = np.arange(len(targets)) + width * (place - (len(gaps) - 1) / 2)
        ax.bar(at, mean, width, yerr=[mean - low, high - mean], capsize=2, ecolor=INK, label=method,
               color=colour, error_kw={"linewidth": 1})  # fmt: skip
        for x, value, top in zip(at, mean, high, strict=True):
            if np.isfinite(value):
                ax.annotate(f"{value:+.1f}", (x, max(top, 0)), (0, 4), textcoords="offset points", ha="center",
                            fontsize=8, color=INK)  # fmt: skip
    ax.axhline(0, color=INK, linewidth=0.8)
    ax.set_xticks(range(len(targets)), [_plain(target.removeprefix("visual-arrays:")) for target in targets])
    ax.tick_params(axis="x", colors=INK)
    ax.grid(visible=False, axis="x")
    _label(ax, y="Points above the base")
    figure.legend(loc="outside lower center", ncols=len(gaps), frameon=False, fontsize=9, labelcolor=INK)
    return _save(figure, path)


def budget_curves(path: str | Path, runs: Sequence[Mapping[str, Any]]) -> Path:
    """
    Accuracy against the share of labels, one panel for each target; what has one budget alone is a level line.

    Seeds differ in their rows and so in what any method reaches: where the base was run, each run is shown by how many
    points it is above the base with the same target and seed, and left out if there is none.

    Args:
        path (`str` or `Path`): the PNG to write.
        runs (`Sequence[Mapping]`): of a study, with `target, seed, method, budget, accuracy`, one or more.

    Returns:
        `Path`: the PNG.
    """
    start = {(run["target"], run["seed"]): run["accuracy"] for run in runs if run["method"] == "base"}
    if start:
        runs = [{**run, "accuracy": 100 * (run["accuracy"] - start[run["target"], run["seed"]])}
                for run in runs if (run["target"], run["seed"]) in start]  # fmt: skip
    targets, methods = (sorted({run[name] for run in runs}) for name in ("target", "method"))
    columns = min(3, len(targets))
    figure, axes = _figure(3.4 * columns, 2.6 * -(-len(targets) // columns) + 0.5, len(targets), columns)
    for ax, target in zip(axes, targets, strict=False):
        for place, (method, colour) in enumerate(zip(methods, SERIES, strict=False)):
            by_budget: dict[float, list[float]] = {}
            for run in runs:
                if (run["target"], run["method"]) == (target, method):
                    by_budget.setdefault(float(run["budget"].rstrip("%")), []).append(run["accuracy"])
            if method in ("base", "full") and by_budget:
                ax.axhline(np.mean(by_budget.popitem()[1]), color=colour, linewidth=1.4, linestyle="--", label=method)
            elif by_budget:
                budgets = sorted(by_budget)
                means = [np.mean(by_budget[budget]) for budget in budgets]
                spread = [np.std(by_budget[budget]) for budget in budgets]
                beside = [budget * 1.03**place for budget in budgets]  # so that intervals do not hide each other
                ax.errorbar(beside, means, spread, color=colour, linewidth=1.8, marker="o", markersize=4, capsize=2,
                            label=method)  # fmt: skip
        ax.set_xscale("log")
        ax.set_xticks([0.5, 1, 2, 5], ["0.5%", "1%", "2%", "5%"])
        ax.set_xlim(0.4, 6.2)
        ax.minorticks_off()
        ax.set_title(_plain(target.removeprefix("visual-arrays:")), color=INK, fontsize=10)
        _label(ax, "Labels", "Points above the base" if start else "Accuracy")
    for ax in axes[len(targets) :]:
        ax.set_visible(False)
    handles = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9,
                  labelcolor=INK)  # fmt: skip
    return _save(figure, path)


def part_gaps(path: str | Path, gaps: Mapping[str, Mapping[str, tuple[float, float, float, int]]]) -> Path:
    """
    What LEAML's accuracy becomes without one of its parts, or with one that is off by default (the last of each name):
    a line for each, a dot with its interval for each target.

    Args:
        path (`str` or `Path`): the PNG to write.
        gaps (`Mapping[str, Mapping]`): difference, its interval and the number of pairs by part and target, in shares.

    Returns:
        `Path`: the PNG.
    """
    targets = list(dict.fromkeys(target for by_target in gaps.values() for target in by_target))
    figure, axes = _figure(6.8, 0.42 * len(gaps) + 1.4)
    (ax,) = axes
    for place, (target, colour) in enumerate(zip(targets, SERIES, strict=False)):
        shown = [(row, by_target[target]) for row, by_target in enumerate(gaps.values()) if target in by_target]
        rows, values = zip(*shown, strict=True)
        mean, low, high = 100 * np.array([value[:3] for value in values]).T
        beside = np.array(rows) + 0.12 * (place - (len(targets) - 1) / 2)
        ax.errorbar(mean, beside, xerr=[mean - low, high - mean], color=colour, linestyle="none", marker="o",
                    markersize=5, capsize=2, label=_plain(target.removeprefix("visual-arrays:")))  # fmt: skip
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.set(yticks=range(len(gaps)), yticklabels=gaps, ylim=(len(gaps) - 0.5, -0.5))  # the first at the top
    _label(ax, "Accuracy, points above the same but for the last part")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9, labelcolor=INK)
    return _save(figure, path)


def evidence_overlay(image: "Image.Image", evidence: np.ndarray) -> "Image.Image":
    """
    Lays a heat map of where the model looked over a picture.

    Only evidence above an even spread is coloured, on a scale that ends at its peak but at no less than three times
    the even share; so a model that looked everywhere alike leaves the picture as it is.

    Args:
        image (`PIL.Image.Image`): the picture.
        evidence (`np.ndarray`): `[h, w]`, 0 or more, sums to 1.

    Returns:
        `PIL.Image.Image`: RGB, of the picture's size.

    Raises:
        [`LeamlInputError`]: if the evidence is not such a map.
    """
    from matplotlib import colormaps
    from PIL import Image

    evidence = np.asarray(evidence, dtype=np.float64)
    if (
        evidence.ndim != 2
        or not evidence.size
        or not (evidence >= 0).all()
        or not np.isclose(evidence.sum(), 1, atol=0.01)
    ):
        raise LeamlInputError("Give the evidence as a map [h, w] of numbers of 0 or more that sum to 1.")
    relative = evidence * evidence.size  # 1 where evenly spread
    strength = np.clip((relative - 1) / (max(3.0, float(relative.max())) - 1), 0, 1)
    small = Image.fromarray(strength.astype(np.float32))
    strength = np.clip(np.asarray(small.resize(image.size, Image.Resampling.BILINEAR)), 0, 1)  # [H, W]
    colour = colormaps["inferno"](0.45 + 0.45 * strength)[..., :3] * 255  # [H, W, 3]
    alpha = (0.65 * np.sqrt(strength))[..., None]
    picture = np.asarray(image.convert("RGB"), dtype=np.float64)
    return Image.fromarray(np.round(picture * (1 - alpha) + colour * alpha).astype(np.uint8))
