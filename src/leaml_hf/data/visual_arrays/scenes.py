"""What a picture shows, before it is drawn: marks with their attributes, sampled from an index and a seed alone."""

from dataclasses import dataclass

import numpy as np

from .conventions import COLOR_NAMES
from .words import ORDERED_WORDS, sample_words

CHART_KINDS = ("bar", "hbar", "line", "pie", "scatter")
SHAPES = ("circle", "square", "triangle", "star", "diamond", "hexagon", "cross")
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 25, 50, 100, 200, 500, 1000, 2000, 5000, 20_000, 100_000)  # units of a tick
TASKS = ("chart", "layout")
SPLITS = ("train", "validation", "test")
QUESTIONS_PER_SCENE = 8


@dataclass
class Mark:
    """One object of a scene: a bar, a slice, a line, a group of points or a shape.

    Attributes:
        label: the name written for it, or "" where none is.
        color: one of `COLOR_NAMES`.
        shape: the chart's kind, or one of `SHAPES`.
        value: height in ticks (bars: up to 10), share in percent (pies), last value in ticks (lines), mean height
            (scatter).
        points: for lines the values in ticks at each x; for scatter groups `[n, 2]` positions in [0, 1].
        trend: "up", "down", "none" or "" where there is none to speak of (lines, scatter).
        box: layout only: (left, top, right, bottom) in [0, 1]; later marks lie in front of earlier ones.
    """

    label: str
    color: str
    shape: str
    value: float
    points: np.ndarray | None = None
    trend: str = ""
    box: tuple[float, float, float, float] | None = None


@dataclass
class Scene:
    """A picture's content.

    Attributes:
        task: one of `TASKS`.
        kind: one of `CHART_KINDS`, or "layout".
        marks: in drawing order.
        step: units of one tick of the value axis.
        first_tick: number of the tick at which the value axis starts (0 for bars).
        reach: ticks that the value axis is long.
        every: a number stands at every so many ticks.
        decimals: digits behind the point of written values.
        thousands: whether numbers from 10,000 on are written with k and M.
        x_labels: names along the horizontal axis of lines.
        single_color: all marks have one colour, which nobody asks for.
        has_key: charts: a legend beside the plot gives the names; otherwise they stand at the marks.
        show_values: values are written at the bars.
        dots: scatter: every mark is one dot rather than a group of them.
        occluded: layout: the mark behind and the one in front of it.
    """

    task: str
    kind: str
    marks: list[Mark]
    step: float = 1
    first_tick: int = 0
    reach: float = 10.5
    every: int = 2
    decimals: int = 0
    thousands: bool = False
    x_labels: tuple[str, ...] = ()
    single_color: bool = False
    has_key: bool = False
    show_values: bool = False
    dots: bool = False
    occluded: tuple[int, int] | None = None

    @property
    def numbered_ticks(self) -> range:
        """Ticks of the value axis that a number stands at."""
        return range(0, int(self.reach) + 1, self.every)

    def tick_text(self, tick: float) -> str:
        """What is written at a tick of the value axis, counted from its start."""
        return self._number((tick + self.first_tick) * self.step, ".7g")

    def value_text(self, mark: Mark) -> str:
        """What is written at a bar."""
        return self._number(mark.value * self.step, f".{self.decimals}f")

    def _number(self, value: float, form: str) -> str:
        if self.thousands:
            for unit, letter in ((1e6, "M"), (1e3, "k")):
                if value >= max(unit, 1e4):
                    return f"{value / unit:.4g}{letter}"
        return f"{value:{form}}"


def rng_for(seed: int, task: str, split: str, index: int, *stream: int) -> np.random.Generator:
    """Random stream of scene `index`: depends on the arguments alone, so row i is the same in any shard."""
    return np.random.default_rng([seed, TASKS.index(task), SPLITS.index(split), index, *stream])


def _colors(rng: np.random.Generator, n: int) -> list[str]:
    return [COLOR_NAMES[i] for i in rng.permutation(len(COLOR_NAMES))[:n]]


def _spread_values(rng: np.random.Generator, n: int, whole: bool) -> np.ndarray:
    """`n` values of up to 10 ticks whose largest and smallest stand apart by half a tick or more."""
    while True:
        values = rng.integers(1, 11, n).astype(float) if whole else rng.uniform(0.3, 10.0, n).round(2)
        ordered = np.sort(values)
        if n == 1 or (ordered[-1] - ordered[-2] >= 0.5 and ordered[1] - ordered[0] >= 0.5):
            return values


def _axis(rng: np.random.Generator) -> dict[str, float | bool]:
    """Numbers of a value axis."""
    step = STEPS[rng.integers(len(STEPS))]
    return {"step": step, "every": 2 if rng.random() < 0.7 else 1, "thousands": bool(rng.random() < 0.5)}


def _bars(rng: np.random.Generator, kind: str) -> Scene:
    n = int(rng.integers(3, 9)) if rng.random() < 0.9 else 2
    single = bool(rng.random() < 0.25)
    colors = _colors(rng, 1) * n if single else _colors(rng, n)
    whole = bool(rng.random() < 0.4)
    values = _spread_values(rng, n, whole)
    labels = sample_words(rng, n)
    marks = [Mark(w, c, kind, float(v)) for w, c, v in zip(labels, colors, values, strict=True)]
    axis = _axis(rng)
    places = 1 if axis["step"] < 1 else 0
    if not whole and axis["step"] < 50 and rng.random() < 0.4:
        places += 1
    reach = 10.5 if whole else float(values.max() * rng.uniform(1.03, 1.15))
    return Scene("chart", kind, marks, **axis, single_color=single, show_values=bool(rng.random() < 0.4),
                 decimals=places, reach=reach, has_key=not single and bool(rng.random() < 0.25))  # fmt: skip


def _lines(rng: np.random.Generator) -> Scene:
    n = int(rng.integers(1, 6))
    length = int(rng.integers(4, 8)) if rng.random() < 0.6 else int(rng.integers(8, 31))
    labels, colors = sample_words(rng, max(n, 2))[:n], _colors(rng, n)
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
        points = np.clip(np.linspace(start, end, length) + wobble, 0, 10)
        marks.append(Mark(label, color, "line", float(end), points, "up" if rising else "down"))
    if length > 8:
        gap = int(rng.choice((1, 1, 2, 5)))
        first = int(rng.integers(1850, 2031 - gap * length))
        x_labels = tuple(str(first + gap * i) for i in range(length))
    else:
        x_labels = tuple(sample_words(rng, length))
    return Scene("chart", "line", marks, **_axis(rng), x_labels=x_labels, first_tick=_first_tick(rng),
                 has_key=bool(labels[0]))  # fmt: skip


def _first_tick(rng: np.random.Generator) -> int:
    return 0 if rng.random() < 0.5 else 2 * int(rng.integers(1, 20))


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
    labels, colors = sample_words(rng, n), _colors(rng, n)
    marks = [Mark(w, c, "pie", float(100 * s)) for w, c, s in zip(labels, colors, shares, strict=True)]
    return Scene("chart", "pie", marks, has_key=bool(rng.random() < 0.5))


def _scatter(rng: np.random.Generator) -> Scene:
    axis = _axis(rng) | {"first_tick": _first_tick(rng)}
    if rng.random() < 0.4:
        dots = _dots(rng)
        return Scene("chart", "scatter", dots, **axis, dots=True, has_key=bool(dots[0].label))
    n = int(rng.integers(1, 5))
    labels, colors = sample_words(rng, max(n, 2))[:n], _colors(rng, n)
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
    colors = _colors(rng, n)
    labels = sample_words(rng, n) if n <= 5 and rng.random() < 0.5 else [""] * n
    across = (rng.permutation(n) + rng.uniform(0.2, 0.8, n)) / n
    heights = _spread_values(rng, n, whole=False) / 10.5
    points = np.stack([0.04 + 0.92 * across, 0.02 + 0.94 * heights], 1)
    return [
        Mark(label, color, "scatter", float(10 * point[1]), point[None])
        for label, color, point in zip(labels, colors, points, strict=True)
    ]


def _layout(rng: np.random.Generator) -> Scene:
    n = int(rng.integers(3, 9))
    cells = rng.permutation(16)[:n]
    palette = _colors(rng, int(rng.integers(3, 7)))
    kinds = [SHAPES[i] for i in rng.permutation(len(SHAPES))[: int(rng.integers(2, 6))]]
    labels = list(rng.permutation(list(ORDERED_WORDS["letter"]))[:n]) if rng.random() < 0.4 else [""] * n
    marks = []
    for cell, label in zip(cells, labels, strict=True):
        size = rng.uniform(0.13, 0.20)
        left = 0.03 + (cell % 4) * 0.24 + rng.uniform(0, 0.22 - size)
        top = 0.03 + (cell // 4) * 0.24 + rng.uniform(0, 0.22 - size)
        color, shape = palette[rng.integers(len(palette))], kinds[rng.integers(len(kinds))]
        marks.append(Mark(str(label), color, shape, 0.0, box=(left, top, left + size, top + size)))
    occluded = None
    if rng.random() < 0.4:
        behind = int(rng.integers(n - 1))
        left, top, right, _ = marks[behind].box
        size = right - left
        dx, dy = rng.choice((-0.45, 0.45), 2) * size
        left, top = np.clip([left + dx, top + dy], 0.01, 0.99 - size)
        others = [c for c in COLOR_NAMES if c not in {m.color for m in marks[:-1]}]
        front = marks[-1]
        marks[-1] = Mark(front.label, others[rng.integers(len(others))], front.shape, 0.0,
                         box=(left, top, left + size, top + size))  # fmt: skip
        if not any(_overlap(marks[-1].box, m.box) for i, m in enumerate(marks[:-1]) if i != behind):
            occluded = (behind, n - 1)
        else:
            marks.pop()
    return Scene("layout", "layout", marks, occluded=occluded)


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def sample_scene(task: str, split: str, index: int, seed: int = 0) -> Scene:
    """Content of scene `index`; no variant enters, so that all variants share programs, set sizes and answers."""
    rng = rng_for(seed, task, split, index, 0)
    if task == "layout":
        return _layout(rng)
    kind = CHART_KINDS[rng.integers(len(CHART_KINDS))]
    if kind in ("bar", "hbar"):
        return _bars(rng, kind)
    return {"line": _lines, "pie": _pie, "scatter": _scatter}[kind](rng)
