"""Questions a teacher would ask about a chart, with answers worked out from the numbers behind it."""

from dataclasses import dataclass

import numpy as np

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
)
CLEAR = 0.06  # the least difference, as a part of the axis, that a question may rest on

_NOUNS = {"bar": "bar", "hbar": "bar", "pie": "slice", "line": "line", "scatter": "dot"}
_MOST = {
    "bar": ("tallest", "shortest"),
    "hbar": ("longest", "shortest"),
    "pie": ("largest", "smallest"),
    "scatter": ("highest", "lowest"),
}
_MORE = {"bar": ("taller", "shorter"), "hbar": ("longer", "shorter"), "pie": ("bigger", "smaller")}
_THRESHOLDS = (("half", 1 / 2), ("a third", 1 / 3), ("a quarter", 1 / 4))

_TEMPLATES = {
    "extreme_color": (
        "What colour is the {most} {noun}?",
        "Look for the {most} {noun}: which colour is it?",
        "The {most} {noun} is drawn in which colour?",
        "Name the colour of the {most} {noun}.",
    ),
    "extreme_color_line": (
        "What colour is the line that ends {most}?",
        "At the right-hand end, which colour is {most}?",
        "Follow the lines to the right: which colour finishes {most}?",
        "Name the colour of the line that finishes {most}.",
    ),
    "extreme_label": (
        "Which one has the {most} {noun}?",
        "Whose {noun} is the {most}?",
        "What is the {most} {noun} called?",
        "Read the name of the {most} {noun}.",
    ),
    "extreme_label_line": (
        "Which line ends {most}?",
        "Whose line finishes {most} on the right?",
        "What is the line called that ends {most}?",
    ),
    "count": (
        "How many {noun}s are there?",
        "Count the {noun}s in the chart.",
        "How many {noun}s has the chart got?",
        "How many {noun}s can you see?",
    ),
    "count_colors": (
        "How many colours of dots are there?",
        "In how many different colours are the dots drawn?",
        "How many groups of dots does the legend show?",
    ),
    "compare_color": (
        "Is the {first} {noun} {more} than the {second} one?",
        "Would you say the {first} {noun} is {more} than the {second} {noun}?",
        "Compare {first} with {second}: is the {first} {noun} {more}?",
    ),
    "compare_color_line": (
        "Does the {first} line end {more} than the {second} one?",
        "On the right, is the {first} line {more} than the {second} line?",
        "Does {first} finish {more} than {second}?",
    ),
    "compare_label": (
        "Is the {noun} for {first} {more} than the one for {second}?",
        "Does {first} have a {more} {noun} than {second}?",
        "Compare {first} and {second}: is the {noun} of {first} {more}?",
    ),
    "compare_place": (
        "Is the {first} {noun} {more} than the {second}?",
        "Would you say the {first} {noun} is {more} than the {second} one?",
        "Look at both ends: is the {first} {noun} {more} than the {second}?",
    ),
    "label_to_color": (
        "What colour is the {noun} of {label}?",
        "Which colour stands for {label}?",
        "In which colour is {label} drawn?",
        "Find {label}. What colour is it?",
    ),
    "color_to_label": (
        "What does the {color} {noun} stand for?",
        "Whose {noun} is {color}?",
        "Which name belongs to the {color} {noun}?",
        "Read the label of the {color} {noun}.",
    ),
    "position_bar": (
        "Counting from the left, which bar is the {most}?",
        "Which bar from the left is the {most}?",
        "The {most} bar is number what from the left?",
    ),
    "position_hbar": (
        "Counting from the top, which bar is the {most}?",
        "Which bar from the top is the {most}?",
        "The {most} bar is number what from the top?",
    ),
    "position_scatter": (
        "Counting from the left, which dot is the {most}?",
        "Which dot from the left is the {most}?",
        "The {most} dot is number what from the left?",
    ),
    "trend": (
        "Overall, does the line go up or down?",
        "From left to right, is the line heading up or down?",
        "Taken as a whole, does this go up or down?",
    ),
    "trend_color": (
        "Overall, does the {color} line go up or down?",
        "From left to right, is the {color} line heading up or down?",
        "Has the {color} line gone up or down by the end?",
    ),
    "share": (
        "Is the largest slice more than {part} of the pie?",
        "Does the biggest slice take up more than {part} of the circle?",
        "Would you say the largest slice covers more than {part}?",
    ),
    "value_extreme": (
        "What number is written at the {most} bar?",
        "Read the number at the {most} bar.",
        "Which number does the {most} bar carry?",
    ),
    "value_label": (
        "What number is written at the bar of {label}?",
        "Read the number that belongs to {label}.",
        "Which number does {label} have?",
    ),
    "value_tick": (
        "Which number on the axis is closest to the end of the {most} bar?",
        "Near which axis number does the {most} bar end?",
        "Read the axis: the {most} bar reaches roughly which number?",
    ),
    "value_tick_line": (
        "Which number on the axis is closest to where the line ends?",
        "Near which axis number does the line finish?",
        "Read the axis: the line ends at roughly which number?",
    ),
    "correlation": (
        "Is the correlation of the dots positive, negative or none?",
        "What correlation do the dots show: positive, negative or none?",
        "As we move right, how are the heights correlated: positive, negative or none?",
    ),
    "chart_type": (
        "What type of chart is this: bar, line, pie or scatter?",
        "Which kind of chart am I showing you: bar, line, pie or scatter?",
        "Is this a bar, line, pie or scatter chart?",
    ),
}


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
    found += _counts(chart, rng) + _extremes(chart, rng) + _comparisons(chart, rng)
    if chart.labels and chart.own_colors:
        noun = "group" if chart.kind == "scatter" else _NOUNS[chart.kind]
        for mark in rng.permutation(chart.set_size)[:2]:
            words = {"noun": noun, "label": chart.labels[mark], "color": chart.color_names[mark]}
            found.append(_say(rng, "label_to_color", chart.kind, chart.color_names[mark], **words))
            found.append(_say(rng, "color_to_label", chart.kind, chart.labels[mark], **words))
    found += {"bar": _values, "hbar": _values, "pie": _shares, "line": _trends, "scatter": _correlations}[chart.kind](
        chart, rng
    )
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
    phrases = _TEMPLATES[template]
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
    noun = _NOUNS[chart.kind]
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
        most = ("highest", "lowest")[side] if line else _MOST[chart.kind][side]
        words = {"most": most, "noun": _NOUNS[chart.kind]}
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
    noun = _NOUNS[chart.kind]
    side = int(rng.integers(2))
    more = ("higher", "lower")[side] if chart.kind == "line" else _MORE[chart.kind][side]
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
        most = _MOST[chart.kind][side]
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
    found = []
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
