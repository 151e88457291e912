"""Content of box plots."""

import numpy as np

from .scenes import Mark, Scene, draw_axis, draw_colors, draw_first_tick
from .words import sample_words

LOWER, BOTTOM, MEDIAN, TOP, UPPER = range(5)  # of `Mark.points`; outliers follow
HIGHEST = 10.3  # ticks


def sample_boxes(rng: np.random.Generator) -> Scene:
    """2 to 6 boxes with whiskers; from none to three of them, but never all of more than two, have outliers."""
    n = int(rng.integers(2, 7))
    single = bool(rng.random() < 0.4)
    colors = draw_colors(rng, 1) * n if single else draw_colors(rng, n)
    whole = bool(rng.random() < 0.6)
    medians = rng.integers(3, 9, n).astype(float) if whole else rng.uniform(2.5, 8.0, n).round(2)
    outlying = rng.permutation(n)[: int(rng.integers(0, min(n, 3) + 1))]
    marks = []
    for i, (name, color, median) in enumerate(zip(sample_words(rng, n), colors, medians, strict=True)):
        down, up = rng.uniform(0.45, 1.7, 2)
        bottom, top = median - down, min(median + up, 9.3)
        lower, upper = max(bottom - rng.uniform(0.4, 1.2), 0.2), min(top + rng.uniform(0.4, 1.2), HIGHEST)
        points = [lower, bottom, median, top, upper]
        if i in outlying:
            points += _outliers(rng, lower, upper)
        marks.append(Mark(name, color, "boxplot", float(median), np.array(points)))
    return Scene("chart", "boxplot", marks, **draw_axis(rng, every=2), first_tick=draw_first_tick(rng),
                 single_color=single)  # fmt: skip


def _outliers(rng: np.random.Generator, lower: float, upper: float) -> list[float]:
    """One or two points clearly beyond the whiskers, on a side that has room for them."""
    sides = [side for side, room in ((-1, lower - 0.2), (1, HIGHEST - upper)) if room > 0.9]
    side = sides[rng.integers(len(sides))]
    first = (upper if side > 0 else lower) + side * rng.uniform(0.5, 0.7)
    second = first + side * rng.uniform(0.4, 0.6)
    return [first, second] if rng.random() < 0.5 and 0.2 < second < HIGHEST else [first]
