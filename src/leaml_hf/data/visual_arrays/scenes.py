"""What a picture shows, before it is drawn: marks with their attributes, sampled from an index and a seed alone."""

from dataclasses import dataclass

import numpy as np

from .conventions import COLOR_NAMES, FREE_WORDS, ORDERED_WORDS

CHART_KINDS = ("bar", "hbar", "line", "pie", "scatter")
SHAPES = ("circle", "square", "triangle", "star", "diamond", "hexagon", "cross")
STEPS = (1, 2, 5, 10, 20, 100)  # units of one tick; a value axis runs from 0 to 10 ticks
TASKS = ("chart", "layout")
SPLITS = ("train", "validation", "test")
QUESTIONS_PER_SCENE = 8


@dataclass
class Mark:
    """One object of a scene: a bar, a slice, a line, a group of points or a shape.

    Attributes:
        label: the word written for it, or "" where none is.
        color: one of `COLOR_NAMES`.
        shape: the chart's kind, or one of `SHAPES`.
        value: height in ticks (bars: 1-10), share in percent (pies), last value in ticks (lines), mean height
            (scatter).
        points: for lines the values in ticks at each x; for scatter groups `[n, 2]` positions in [0, 1].
        trend: "up", "down" or "" (lines, scatter).
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
    """A picture's content: `kind` (one of `CHART_KINDS` or "layout") and its marks in drawing order."""

    task: str
    kind: str
    marks: list[Mark]
    step: int = 1
    x_labels: tuple[str, ...] = ()
    single_color: bool = False
    show_values: bool = False
    occluded: tuple[int, int] | None = None  # (behind, in front)


def rng_for(seed: int, task: str, split: str, index: int, *stream: int) -> np.random.Generator:
    """Random stream of scene `index`: depends on the arguments alone, so row i is the same in any shard."""
    return np.random.default_rng([seed, TASKS.index(task), SPLITS.index(split), index, *stream])


def _words(rng: np.random.Generator, n: int) -> list[str]:
    """`n` distinct words of one set, in their order where they have one."""
    ordered = [words for words in ORDERED_WORDS.values() if len(words) >= n]
    free = [words for words in FREE_WORDS.values() if len(words) >= n]
    if rng.random() < 0.4:
        words = ordered[rng.integers(len(ordered))]
        start = rng.integers(len(words) - n + 1)
        return list(words[start : start + n])
    words = free[rng.integers(len(free))]
    return [words[i] for i in rng.permutation(len(words))[:n]]


def _colors(rng: np.random.Generator, n: int) -> list[str]:
    return [COLOR_NAMES[i] for i in rng.permutation(len(COLOR_NAMES))[:n]]


def _spread_values(rng: np.random.Generator, n: int) -> np.ndarray:
    """`n` values of 1-10 ticks whose largest and smallest are unique."""
    while True:
        values = rng.integers(1, 11, n)
        ordered = np.sort(values)
        if n == 1 or (ordered[-1] > ordered[-2] and ordered[0] < ordered[1]):
            return values


def _bars(rng: np.random.Generator, kind: str) -> Scene:
    n = int(rng.integers(3, 9))
    single = bool(rng.random() < 0.25)
    colors = _colors(rng, 1) * n if single else _colors(rng, n)
    values = _spread_values(rng, n)
    labels = _words(rng, n)
    marks = [Mark(w, c, kind, float(v)) for w, c, v in zip(labels, colors, values, strict=True)]
    step = STEPS[rng.integers(len(STEPS))]
    return Scene("chart", kind, marks, step=step, single_color=single, show_values=bool(rng.random() < 0.35))


def _lines(rng: np.random.Generator) -> Scene:
    n, length = int(rng.integers(1, 5)), int(rng.integers(4, 8))
    labels, colors = _words(rng, max(n, 2))[:n], _colors(rng, n)
    ends = np.sort(rng.permutation(np.arange(1, 10))[:n])[::-1]
    marks = []
    for label, color, end in zip(labels, colors, rng.permutation(ends), strict=True):
        rising = bool(rng.random() < 0.5)
        low, high = (0, end - 2) if rising else (end + 2, 10)
        if low > high:
            rising = not rising
            low, high = (0, end - 2) if rising else (end + 2, 10)
        start = rng.integers(low, high + 1)
        points = np.linspace(start, end, length) + rng.normal(0, 0.6, length) * (np.arange(length) % (length - 1) > 0)
        marks.append(Mark(label, color, "line", float(end), np.clip(points, 0, 10), "up" if rising else "down"))
    return Scene("chart", "line", marks, step=STEPS[rng.integers(len(STEPS))], x_labels=tuple(_words(rng, length)))


def _pie(rng: np.random.Generator) -> Scene:
    n = int(rng.integers(3, 8))
    big = rng.random() < 0.5  # half of the pies have a slice above one half
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
    labels, colors = _words(rng, n), _colors(rng, n)
    marks = [Mark(w, c, "pie", float(100 * s)) for w, c, s in zip(labels, colors, shares, strict=True)]
    return Scene("chart", "pie", marks)


def _scatter(rng: np.random.Generator) -> Scene:
    n = int(rng.integers(1, 5))
    labels, colors = _words(rng, max(n, 2))[:n], _colors(rng, n)
    marks = []
    heights = rng.permutation(np.linspace(0.2, 0.8, n)) if n > 1 else np.array([0.5])
    lefts = rng.permutation(np.linspace(0.25, 0.75, n)) if n > 1 else np.array([0.5])
    for label, color, cy, cx in zip(labels, colors, heights, lefts, strict=True):
        count = int(rng.integers(6, 13))
        slope = rng.choice((-1.0, 1.0))
        spread = 0.42 if n == 1 else 0.16
        x = np.linspace(-spread, spread, count)
        y = slope * x * (1.0 if n == 1 else 0.45) + rng.normal(0, 0.025 + 0.03 * (n == 1), count)
        points = np.clip(np.stack([cx + x, cy + y], 1), 0.02, 0.98)
        marks.append(Mark(label, color, "scatter", float(10 * cy), points, "up" if slope > 0 else "down"))
    return Scene("chart", "scatter", marks, step=STEPS[rng.integers(len(STEPS))])


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
