"""Content of charts: bars, lines, pies, groups of points and single dots; and which kinds come how often."""

import numpy as np

from .scenes import CHART_KINDS, Mark, Scene, draw_axis, draw_colors, draw_first_tick
from .scenes_area import sample_areas
from .scenes_boxes import sample_boxes
from .scenes_grid import sample_grouped, sample_heat_map, sample_stacked
from .words import sample_words

_SHARES = [0.11] * 5 + [0.09] * 5  # of `CHART_KINDS`: bars, lines, pies and dots somewhat more often than the others


def _spread_values(rng: np.random.Generator, n: int, whole: bool) -> np.ndarray:
    """`n` values of up to 10 ticks whose largest and smallest stand apart by half a tick or more."""
    while True:
        values = rng.integers(1, 11, n).astype(float) if whole else rng.uniform(0.3, 10.0, n).round(2)
        ordered = np.sort(values)
        if n == 1 or (ordered[-1] - ordered[-2] >= 0.5 and ordered[1] - ordered[0] >= 0.5):
            return values


def _bars(rng: np.random.Generator, kind: str) -> Scene:
    n = int(rng.integers(3, 9)) if rng.random() < 0.9 else 2
    single = bool(rng.random() < 0.25)
    colors = draw_colors(rng, 1) * n if single else draw_colors(rng, n)
    whole = bool(rng.random() < 0.4)
    values = _spread_values(rng, n, whole)
    labels = sample_words(rng, n)
    marks = [Mark(w, c, kind, float(v)) for w, c, v in zip(labels, colors, values, strict=True)]
    axis = draw_axis(rng)
    places = 1 if axis["step"] < 1 else 0
    if not whole and axis["step"] < 50 and rng.random() < 0.4:
        places += 1
    reach = 10.5 if whole else float(values.max() * rng.uniform(1.03, 1.15))
    return Scene("chart", kind, marks, **axis, single_color=single, show_values=bool(rng.random() < 0.4),
                 decimals=places, reach=reach, has_key=not single and bool(rng.random() < 0.25))  # fmt: skip


def _lines(rng: np.random.Generator) -> Scene:
    n = int(rng.integers(1, 6))
    length = int(rng.integers(4, 8)) if rng.random() < 0.6 else int(rng.integers(8, 31))
    labels, colors = sample_words(rng, max(n, 2))[:n], draw_colors(rng, n)
    if n == 1 and rng.random() < 0.5:
        labels = [""]
    ends = np.sort(rng.permutation(np.arange(1, 10))[:n])[::-1]
    noise = rng.uniform(0.2, 1.2)
    marks = []
    for label, color, end in zip(labels, colors, rng.permutation(ends), strict=True):
        rising = bool(rng.random() < 0.5)
        low, high = (0, end - 2) if rising else (end + 2, 10)
        if low > high:
            rising = not rising
            low, high = (0, end - 2) if rising else (end + 2, 10)
        start = rng.integers(low, high + 1)
        bend = rng.normal(0, 1.5) * np.sin(np.linspace(0, np.pi * rng.integers(1, 4), length))
        wobble = (bend + rng.normal(0, noise, length)) * (np.arange(length) % (length - 1) > 0)
        trend = "up" if rising else "down"
        if rng.random() < 0.4:  # a hill or a valley between the ends: neither up nor down
            along = np.linspace(0, 1, length)
            hill = np.exp(-((along - rng.uniform(0.35, 0.65)) ** 2) / 0.02)
            wobble += rng.choice((-1, 1)) * rng.uniform(5, 12) * hill
            trend = ""
        points = np.clip(np.linspace(start, end, length) + wobble, 0, 10)
        marks.append(Mark(label, color, "line", float(end), points, trend))
    if length > 8:
        gap = int(rng.choice((1, 1, 2, 5)))
        first = int(rng.integers(1850, 2031 - gap * length))
        x_labels = tuple(str(first + gap * i) for i in range(length))
    else:
        x_labels = tuple(sample_words(rng, length))
    return Scene("chart", "line", marks, **draw_axis(rng), x_labels=x_labels, first_tick=draw_first_tick(rng),
                 has_key=bool(labels[0]))  # fmt: skip


def _pie(rng: np.random.Generator) -> Scene:
    n = int(rng.integers(3, 8)) if rng.random() < 0.9 else 2
    big = bool(rng.random() < 0.5) or n == 2  # half of the pies have a slice above one half
    while True:
        shares = rng.dirichlet(np.full(n, 2.0))
        if big:
            top = rng.uniform(0.56, 0.72)
            rest = np.delete(shares, shares.argmax())
            shares[shares != shares.max()] *= (1 - top) / rest.sum()
            shares[shares.argmax()] = top
        ordered = np.sort(shares)
        apart = ordered[0] > 0.04 and ordered[1] - ordered[0] > 0.02 and ordered[-1] - ordered[-2] > 0.04
        if apart and (big or ordered[-1] < 0.45):
            break
    labels, colors = sample_words(rng, n), draw_colors(rng, n)
    marks = [Mark(w, c, "pie", float(100 * s)) for w, c, s in zip(labels, colors, shares, strict=True)]
    return Scene("chart", "pie", marks, has_key=bool(rng.random() < 0.5))


def _scatter(rng: np.random.Generator) -> Scene:
    axis = draw_axis(rng) | {"first_tick": draw_first_tick(rng)}
    if rng.random() < 0.4:
        dots = _dots(rng)
        return Scene("chart", "scatter", dots, **axis, dots=True, has_key=bool(dots[0].label))
    n = int(rng.integers(1, 5))
    labels, colors = sample_words(rng, max(n, 2))[:n], draw_colors(rng, n)
    if n == 1 and rng.random() < 0.7:
        labels = [""]
    marks = []
    heights = rng.permutation(np.linspace(0.2, 0.8, n)) if n > 1 else np.array([0.5])
    lefts = rng.permutation(np.linspace(0.25, 0.75, n)) if n > 1 else np.array([0.5])
    for label, color, cy, cx in zip(labels, colors, heights, lefts, strict=True):
        count = int(rng.integers(6, 13)) if n > 1 else int(rng.integers(8, 40))
        slope = rng.choice((-1.0, 1.0)) if n > 1 or rng.random() < 0.7 else 0.0
        spread = 0.42 if n == 1 else 0.16
        x = np.linspace(-spread, spread, count) + rng.normal(0, 0.03 * (n == 1), count)
        if slope:
            y = slope * x * (1.0 if n == 1 else 0.45) + rng.normal(0, 0.025 + rng.uniform(0.03, 0.1) * (n == 1), count)
        else:
            y = rng.uniform(-spread, spread, count)
        points = np.clip(np.stack([cx + x, cy + y], 1), 0.02, 0.98)
        r = np.corrcoef(points.T)[0, 1]
        trend = "none" if abs(r) < 0.3 else "" if abs(r) < 0.5 else "up" if r > 0 else "down"
        marks.append(Mark(label, color, "scatter", float(10 * cy), points, trend))
    return Scene("chart", "scatter", marks, **axis, has_key=bool(labels[0]))


def _dots(rng: np.random.Generator) -> list[Mark]:
    """Single dots of their own colours, highest and lowest apart from the rest."""
    n = int(rng.integers(2, 9))
    colors = draw_colors(rng, n)
    labels = sample_words(rng, n) if n <= 5 and rng.random() < 0.5 else [""] * n
    across = (rng.permutation(n) + rng.uniform(0.2, 0.8, n)) / n
    heights = _spread_values(rng, n, whole=False) / 10.5
    points = np.stack([0.04 + 0.92 * across, 0.02 + 0.94 * heights], 1)
    return [
        Mark(label, color, "scatter", float(10 * point[1]), point[None])
        for label, color, point in zip(labels, colors, points, strict=True)
    ]


_SAMPLERS = {"line": _lines, "pie": _pie, "scatter": _scatter, "grouped": sample_grouped, "stacked": sample_stacked,
             "area": sample_areas, "heatmap": sample_heat_map, "boxplot": sample_boxes}  # fmt: skip


def sample_chart(rng: np.random.Generator) -> Scene:
    """One chart of any kind."""
    kind = CHART_KINDS[rng.choice(len(CHART_KINDS), p=_SHARES)]
    if kind in ("bar", "hbar"):
        return _bars(rng, kind)
    return _SAMPLERS[kind](rng)
