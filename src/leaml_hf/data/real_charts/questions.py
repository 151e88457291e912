"""Questions a teacher would ask about a chart, with answers worked out from the numbers behind it."""

from dataclasses import dataclass

import numpy as np

from .phrases import MORE, MOST, NOUNS, TEMPLATES
from .sampling import Chart

PROGRAMS = (
    "extreme_color",
    "extreme_label",
    "count",
    "compare",
    "label_to_color",
    "color_to_label",
    "position",
    "trend",
    "share",
    "value",
    "correlation",
    "chart_type",
    "orientation",
    "legend",
    "one_color",
    "more_than",
    "side",
    "second_color",
    "twice",
    "peak",
)
# Structure and reasoning in the manner of DVQA (Kafle et al. 2018) and FigureQA (Kahou et al. 2018). The source split
# of Visual Arrays asks of such things too, but in other words and with other answers: a base meets new wordings here,
# and not only new looks.
NEW_PROGRAMS = PROGRAMS[PROGRAMS.index("orientation") :]
CLEAR = 0.06  # the least difference, as a part of the axis, that a question may rest on

_THRESHOLDS = (("half", 1 / 2), ("a third", 1 / 3), ("a quarter", 1 / 4))


@dataclass(frozen=True)
class Candidate:
    """
    One question that could be asked about a picture.

    Attributes:
        program (`str`): one of `PROGRAMS`.
        variant (`str`): the form of the question; answers are balanced within each form.
        question (`str`): as it is asked.
        answer (`str`): one or two words, or what is written in the picture.
        closed (`bool`): the answer comes from a short fixed list, which is kept in balance.
    """

    program: str
    variant: str
    question: str
    answer: str
    closed: bool = False


def tick_text(value: float) -> str:
    """How a number is written at an axis, with `k` for thousands and `M` for millions from 10,000 on."""
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= max(unit, 1e4):
            return f"{value / unit:g}{letter}"
    return f"{value:.6g}"


def ask(chart: Chart, rng: np.random.Generator) -> list[Candidate]:
    """
    All that may be asked about a chart, with clear answers only.

    Args:
        chart (`Chart`): what the picture shows.
        rng (`np.random.Generator`): chooses marks and phrases.

    Returns:
        `list[Candidate]`: comparisons come in pairs, one answered yes and one no.
    """
    found = [_say(rng, "chart_type", "", "bar" if chart.kind == "hbar" else chart.kind, closed=True)]
    found += _counts(chart, rng) + _extremes(chart, rng) + _comparisons(chart, rng) + _structure(chart, rng)
    if chart.labels and chart.own_colors:
        noun = "group" if chart.kind == "scatter" else NOUNS[chart.kind]
        for mark in rng.permutation(chart.set_size)[:2]:
            words = {"noun": noun, "label": chart.labels[mark], "color": chart.color_names[mark]}
            found.append(_say(rng, "label_to_color", chart.kind, chart.color_names[mark], **words))
            found.append(_say(rng, "color_to_label", chart.kind, chart.labels[mark], **words))
    found += {"bar": _values, "hbar": _values, "pie": _shares, "line": _trends, "scatter": _correlations}[chart.kind](
        chart, rng
    )
    if chart.kind != "line" and chart.set_size > 2 and not (chart.kind == "scatter" and chart.legend):
        found += _order(chart, rng)
    return found


def _say(
    rng: np.random.Generator,
    template: str,
    variant: str,
    answer: str,
    program: str | None = None,
    closed: bool = False,
    **words: str,
) -> Candidate:
    phrases = TEMPLATES[template]
    question = phrases[rng.integers(len(phrases))].format(**words)
    return Candidate(program or template, f"{template}:{variant}", question, answer, closed)


def _counts(chart: Chart, rng: np.random.Generator) -> list[Candidate]:
    size = str(chart.set_size)
    if chart.kind == "scatter":
        if chart.legend:
            return [_say(rng, "count_colors", "", size, "count", closed=True)]
        return [_say(rng, "count", "dot", size, closed=True, noun="dot")] if chart.set_size > 1 else []
    if chart.kind == "line" and chart.set_size == 1:
        return []
    noun = NOUNS[chart.kind]
    return [_say(rng, "count", noun, size, closed=True, noun=noun)]


def _extremes(chart: Chart, rng: np.random.Generator) -> list[Candidate]:
    if chart.set_size < 2 or (chart.kind == "scatter" and chart.legend):
        return []
    found = []
    line = chart.kind == "line"
    for sign, side in ((1, 0), (-1, 1)):
        order = np.argsort(-sign * chart.values)
        mark = int(order[0])
        if abs(chart.values[mark] - chart.values[order[1]]) < CLEAR * chart.span:
            continue
        most = ("highest", "lowest")[side] if line else MOST[chart.kind][side]
        words = {"most": most, "noun": NOUNS[chart.kind]}
        suffix = "_line" if line else ""
        if chart.own_colors:
            found.append(_say(rng, f"extreme_color{suffix}", most, chart.color_names[mark], "extreme_color", **words))
        if chart.labels:
            found.append(_say(rng, f"extreme_label{suffix}", most, chart.labels[mark], "extreme_label", **words))
        if chart.kind in ("bar", "hbar", "scatter"):
            place = _place(chart, mark)
            if place is not None:
                found.append(_say(rng, f"position_{chart.kind}", most, str(place), "position", closed=True, **words))
    return found


def _place(chart: Chart, mark: int) -> int | None:
    """Place of a mark from the left (or the top), from 1; `None` if another dot is nearly above or below it."""
    if chart.kind != "scatter":
        return mark + 1
    across = np.concatenate(chart.dots)[:, 0]
    others = np.delete(across, mark)
    if np.abs(others - across[mark]).min() < CLEAR * (across.max() - across.min()):
        return None
    return int((others < across[mark]).sum()) + 1


def _comparisons(chart: Chart, rng: np.random.Generator) -> list[Candidate]:
    if chart.set_size < 2 or chart.kind == "scatter":
        return []
    noun = NOUNS[chart.kind]
    side = int(rng.integers(2))
    more = ("higher", "lower")[side] if chart.kind == "line" else MORE[chart.kind][side]
    ways = [("compare_label", chart.labels)]
    if chart.own_colors:
        ways.append(("compare_color_line" if chart.kind == "line" else "compare_color", chart.color_names))
    found = []
    for template, names in ways:
        pair = rng.permutation(chart.set_size)[:2]
        if template == "compare_label" and chart.kind == "line":
            continue
        found += _both_ways(chart, rng, template, [(int(mark), names[mark]) for mark in pair], more, side, noun)
    if chart.kind in ("bar", "hbar"):
        ends = [
            (0, "first" if chart.kind == "bar" else "top"),
            (chart.set_size - 1, "last" if chart.kind == "bar" else "bottom"),
        ]
        found += _both_ways(chart, rng, "compare_place", ends, more, side, noun)
    return found


def _both_ways(
    chart: Chart,
    rng: np.random.Generator,
    template: str,
    pair: list[tuple[int, str]],
    more: str,
    side: int,
    noun: str,
) -> list[Candidate]:
    difference = chart.values[pair[0][0]] - chart.values[pair[1][0]]
    if abs(difference) < CLEAR * chart.span:
        return []
    found = []
    for sign, (first, second) in ((1, pair), (-1, pair[::-1])):
        answer = "yes" if (sign * difference > 0) == (side == 0) else "no"
        variant = f"{more}:{first[1]}" if template == "compare_place" else more
        words = {"first": first[1], "second": second[1], "more": more, "noun": noun}
        found.append(_say(rng, template, variant, answer, "compare", closed=True, **words))
    return found


def _nearest_tick(chart: Chart, value: float) -> str | None:
    """The axis number that a value is plainly closest to."""
    distances = np.abs(chart.ticks - value)
    step = float(np.diff(chart.ticks).min())
    return tick_text(float(chart.ticks[distances.argmin()])) if distances.min() <= 0.2 * step else None


def _values(chart: Chart, rng: np.random.Generator) -> list[Candidate]:
    order = np.argsort(chart.values)
    found = []
    for mark, neighbour, side in ((order[-1], order[-2], 0), (order[0], order[1], 1)):
        if abs(chart.values[mark] - chart.values[neighbour]) < CLEAR * chart.span:
            continue
        most = MOST[chart.kind][side]
        if chart.printed:
            found.append(_say(rng, "value_extreme", most, chart.printed[mark], "value", most=most))
        elif chart.values[mark] >= CLEAR * chart.span:
            text = _nearest_tick(chart, float(chart.values[mark]))
            if text not in (None, "0"):
                found.append(_say(rng, "value_tick", most, text, "value", most=most))
    if chart.printed:
        mark = int(rng.integers(chart.set_size))
        found.append(_say(rng, "value_label", "", chart.printed[mark], "value", label=chart.labels[mark]))
    return found


def _shares(chart: Chart, rng: np.random.Generator) -> list[Candidate]:
    largest = float(chart.values.max())
    return [
        _say(rng, "share", part, "yes" if largest > limit else "no", closed=True, part=part)
        for part, limit in _THRESHOLDS
        if abs(largest - limit) >= 0.04
    ]


def _trends(chart: Chart, rng: np.random.Generator) -> list[Candidate]:
    found = _peaks(chart, rng)
    for mark in rng.permutation(chart.set_size):
        points = chart.lines[mark]
        change = points[-1] - points[0]
        slope = np.polyfit(np.arange(len(points)), points, 1)[0]
        if abs(change) < 0.25 * chart.span or change * slope <= 0:
            continue
        template = "trend_color" if chart.set_size > 1 else "trend"
        answer = "up" if change > 0 else "down"
        found.append(_say(rng, template, "", answer, "trend", closed=True, color=chart.color_names[mark]))
    if chart.set_size == 1:
        text = _nearest_tick(chart, float(chart.values[0]))
        if text is not None:
            found.append(_say(rng, "value_tick_line", "", text, "value"))
    return found


def _correlations(chart: Chart, rng: np.random.Generator) -> list[Candidate]:
    dots = np.concatenate(chart.dots)
    if len(dots) < 14:
        return []
    r = float(np.corrcoef(dots.T)[0, 1])
    if 0.25 < abs(r) < 0.5:
        return []
    answer = "none" if abs(r) <= 0.25 else "positive" if r > 0 else "negative"
    return [_say(rng, "correlation", "", answer, closed=True)]


def _structure(chart: Chart, rng: np.random.Generator) -> list[Candidate]:
    """What a chart is made of, whatever its numbers say."""
    found = []
    if chart.kind in ("bar", "hbar"):
        answer = "vertical" if chart.kind == "bar" else "horizontal"
        found.append(_say(rng, "orientation", "", answer, closed=True))
    found.append(_say(rng, "legend", chart.kind, "yes" if chart.legend else "no", closed=True))
    single_marks = chart.kind in ("bar", "hbar") or (chart.kind == "scatter" and not chart.legend)
    noun = NOUNS[chart.kind]
    if single_marks and chart.set_size > 2:
        found.append(_say(rng, "one_color", noun, "no" if chart.own_colors else "yes", closed=True, noun=noun))
    if chart.kind != "scatter" or (single_marks and chart.set_size > 2):
        limit = max(1, chart.set_size + int(rng.integers(-2, 2)))
        answer = "yes" if chart.set_size > limit else "no"
        found.append(_say(rng, "more_than", noun, answer, closed=True, noun=noun, limit=str(limit)))
    return found


def _order(chart: Chart, rng: np.random.Generator) -> list[Candidate]:
    """Where the largest mark is, which comes second, and how far the largest and the smallest lie apart."""
    order = np.argsort(-chart.values)
    values, clear = chart.values[order], CLEAR * chart.span
    if values[0] - values[1] < clear:
        return []
    found = []
    most, least = MOST[chart.kind]
    words = {"noun": NOUNS[chart.kind], "most": most}
    if chart.own_colors and values[1] - values[2] >= clear:
        answer = chart.color_names[order[1]]
        found.append(_say(rng, "second_color", chart.kind, answer, **words))
    if chart.kind in ("bar", "hbar", "pie") and not 1.7 < values[0] / values[-1] < 2.4:
        answer = "yes" if values[0] > 2 * values[-1] else "no"
        found.append(_say(rng, "twice", chart.kind, answer, closed=True, least=least, **words))
    if chart.kind != "pie":
        if chart.kind == "scatter":
            across = np.concatenate(chart.dots)[:, 0]
            place = (across[order[0]] - across.min()) / (across.max() - across.min())
        else:
            place = order[0] / (chart.set_size - 1)
        if abs(place - 0.5) > 0.08:
            one, other = ("top", "bottom") if chart.kind == "hbar" else ("left", "right")
            words |= {"one": one, "other": other, "One": one.capitalize()}
            found.append(_say(rng, "side", chart.kind, one if place < 0.5 else other, closed=True, **words))
    return found


def _peaks(chart: Chart, rng: np.random.Generator) -> list[Candidate]:
    """In which part of a line its highest point lies."""
    found = []
    for mark in rng.permutation(chart.set_size)[:2]:
        points = chart.lines[mark]
        along = np.linspace(0, 1, len(points))
        parts = {"start": along <= 0.2, "middle": (along >= 0.35) & (along <= 0.65), "end": along >= 0.8}
        answer = next((name for name, part in parts.items() if part[points.argmax()]), None)
        if answer is None or points.max() - points[~parts[answer]].max() < CLEAR * chart.span:
            continue
        template = "peak_color" if chart.set_size > 1 else "peak"
        found.append(_say(rng, template, "", answer, "peak", closed=True, color=chart.color_names[mark]))
    return found
