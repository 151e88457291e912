"""Cuts small charts out of real tables: which marks, which numbers, which colours, which axis."""

import re
from dataclasses import dataclass, field

import numpy as np

from .palettes import palettes
from .tables import MONTHS, Cloud, Grid, RealTable

KINDS = ("bar", "hbar", "line", "pie", "scatter")
_STRIDES = (1, 1, 1, 2, 5, 10)
_SIZES = {"bar": (3, 8), "hbar": (3, 8), "pie": (3, 7), "line": (1, 5)}


@dataclass
class Chart:
    """
    Everything a chart shows, before it is drawn.

    Attributes:
        kind (`str`): one of `KINDS`.
        title (`str`): heading.
        labels (`list[str]`): what each mark (bar, slice, line, group of dots, dot) is called; empty for unnamed dots.
        values (`np.ndarray`): float64 `[marks]`: length of each bar, size of each slice, end of each line, height of
            each dot or mean height of each group.
        colors (`list[str]`): `#rrggbb` of each mark.
        color_names (`list[str]`): what a person calls these colours; all different where each mark has its own.
        own_colors (`bool`): each mark has a colour of its own.
        ticks (`np.ndarray`): the numbers on the axis that shows the values, increasing; empty for pies.
        limits (`tuple[float, float]`): both ends of that axis.
        printed (`list[str]`): the numbers written at the bars; empty if none are.
        legend (`bool`): the marks are named in a legend and not at the axis.
        lines (`np.ndarray`): float64 `[lines, points]` of a line chart.
        x_labels (`list[str]`): what the points of the lines are called.
        dots (`list[np.ndarray]`): x and y `[dots, 2]` of each group of a scatter plot.
        axis_names (`tuple[str, str]`): names of the axes of a scatter plot.
    """

    kind: str
    title: str
    labels: list[str]
    values: np.ndarray
    colors: list[str]
    color_names: list[str]
    own_colors: bool
    ticks: np.ndarray = field(default_factory=lambda: np.zeros(0))
    limits: tuple[float, float] = (0.0, 1.0)
    printed: list[str] = field(default_factory=list)
    legend: bool = False
    lines: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    x_labels: list[str] = field(default_factory=list)
    dots: list[np.ndarray] = field(default_factory=list)
    axis_names: tuple[str, str] = ("", "")

    @property
    def set_size(self) -> int:
        return len(self.values)

    @property
    def span(self) -> float:
        """Length of the axis that shows the values, or the whole of a pie."""
        return float(self.values.sum()) if self.kind == "pie" else self.limits[1] - self.limits[0]


def draw_size(kind: str, rng: np.random.Generator) -> int:
    """Number of marks of a new chart, uniform over what such a chart can have (1 is a scatter without groups)."""
    if kind == "scatter":
        return int(rng.choice([1, 1, 1, 1, 1, 2, 3, 4, 3, 4, 5, 6, 7, 8]))
    if kind == "line" and rng.random() < 0.3:
        return 1
    low, high = _SIZES[kind]
    return int(rng.integers(low, high + 1))


def supports(source: Grid | Cloud, kind: str) -> bool:
    """Whether charts of a kind can be cut from a source at all."""
    if isinstance(source, Cloud):
        return kind == "scatter"
    rows, columns = source.values.shape
    if kind in ("bar", "hbar"):
        return rows >= 3 or (columns >= 3 and (source.ordered or source.one_unit))
    return {"line": source.ordered and columns >= 5, "pie": source.additive and rows >= 3}.get(kind, False)


def sample_chart(table: RealTable, kind: str, size: int, rng: np.random.Generator) -> Chart | None:
    """
    Cuts one chart out of a table.

    Args:
        table (`RealTable`): where the numbers come from.
        kind (`str`): one of `KINDS`.
        size (`int`): number of marks, as `draw_size` gives it.
        rng (`np.random.Generator`): the only source of chance.

    Returns:
        `Chart` or `None`: `None` if what was drawn by lot has too few numbers; try again then.
    """
    sources = [source for source in table.load() if supports(source, kind)]
    if not sources:
        return None
    source = sources[rng.integers(len(sources))]
    if isinstance(source, Cloud):
        return _scatter(source, size, rng)
    if kind == "line":
        return _line(source, size, rng)
    return _bars_or_pie(source, kind, size, rng)


def _colors(size: int, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    fitting = [palette for palette in palettes() if len(palette) >= size]
    palette = fitting[rng.integers(len(fitting))]
    chosen = [palette[index] for index in rng.permutation(len(palette))[:size]]
    return [color for color, _ in chosen], [name for _, name in chosen]


def _ticks(low: float, high: float, from_zero: bool, bins: int) -> tuple[np.ndarray, tuple[float, float]]:
    """At least three round numbers, about `bins`, between `low` and `high`, and the limits of the axis."""
    from matplotlib.ticker import MaxNLocator

    pad = 0.08 * (high - (0.0 if from_zero else low))
    bottom, top = (0.0 if from_zero else low - pad), high + pad
    inside = np.zeros(0)
    while len(inside) < 3:
        ticks = MaxNLocator(nbins=bins, steps=[1, 2, 2.5, 5, 10]).tick_values(bottom, top)
        inside = ticks[(ticks >= bottom - 1e-9) & (ticks <= top + 1e-9)]
        bins += 1
    return inside, (bottom, top)


def _scaled(values: np.ndarray, title: str) -> tuple[np.ndarray, str]:
    """Large numbers in thousands or millions, which the title then says."""
    peak = float(np.abs(values).max())
    for unit, word in ((1e6, "millions"), (1e3, "thousands")):
        if peak >= 10 * unit:
            return values / unit, f"{title} ({word})"
    return values, title


def _in_order(labels: list[str]) -> bool:
    """Labels such as months, years or ages, which a chart must not shuffle."""
    return all(label in MONTHS or re.match(r"\d|.*\s\d+$", label) for label in labels)


def _place_extreme(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An order of the marks in which the largest (or smallest) comes late more often, to make all positions equal."""
    size = len(values)
    order = rng.permutation(size)
    extreme = int(values.argmax() if rng.random() < 0.5 else values.argmin())
    weights = 1.0 / np.array([min(6, 9 - max(place, 3)) for place in range(1, size + 1)])
    place = int(rng.choice(size, p=weights / weights.sum()))
    order = np.array([mark for mark in order if mark != extreme])
    return np.insert(order, place, extreme)


def _select_marks(
    grid: Grid, kind: str, size: int, rng: np.random.Generator
) -> tuple[list[str], np.ndarray, str] | None:
    rows, columns = grid.values.shape
    along_rows = rows >= size and (kind == "pie" or rows > 3 or rng.random() < 0.5)
    if along_rows:
        column = int(rng.integers(columns))
        values, labels, title = grid.values[:, column], grid.rows, f"{grid.title}: {grid.columns[column]}"
    elif columns >= size and kind != "pie" and (grid.ordered or grid.one_unit):
        row = int(rng.integers(rows))
        values, labels = grid.values[row], grid.columns
        title = f"{grid.title}: {grid.rows[row]}" if rows > 1 else grid.title
    else:
        return None
    usable = np.flatnonzero(np.isfinite(values) & (values > 0 if kind == "pie" else values >= 0))
    usable = usable[[len(labels[mark]) <= 10 for mark in usable]]
    if len(usable) < size:
        return None
    if grid.ordered and not along_rows:
        stride = int(rng.choice(_STRIDES))
        start = int(rng.integers(len(usable)))
        chosen = usable[start : start + stride * size : stride]
    else:
        chosen = np.sort(rng.choice(usable, size, replace=False))
    if len(chosen) < size or values[chosen].max() <= 0:
        return None
    names = [labels[mark] for mark in chosen]
    if not _in_order(names) and not (grid.ordered and not along_rows):
        chosen = chosen[_place_extreme(values[chosen], rng)]
    return [labels[mark] for mark in chosen], values[chosen], title


def _bars_or_pie(grid: Grid, kind: str, size: int, rng: np.random.Generator) -> Chart | None:
    marks = _select_marks(grid, kind, size, rng)
    if marks is None:
        return None
    labels, values, title = marks
    if kind == "pie":
        shares = values / values.sum()
        if shares.min() < 0.05 or shares.max() > 0.85:
            return None
        colors, names = _colors(size, rng)
        legend = bool(rng.random() < 0.35)
        return Chart("pie", title, labels, shares, colors, names, own_colors=True, legend=legend)
    if values.min() < 0.03 * values.max():  # a bar that nobody would see
        return None
    values, title = _scaled(values, title)
    own = bool(rng.random() < 0.6)
    colors, names = _colors(size if own else 1, rng)
    if not own:
        colors, names = colors * size, names * size
    ticks, limits = _ticks(
        0.0, float(values.max()), True, int(rng.integers(2, 4) if kind == "hbar" else rng.integers(3, 6))
    )
    legend = own and size <= 6 and bool(rng.random() < 0.3)
    chart = Chart(kind, title, labels, values, colors, names, own, ticks, limits, legend=legend)
    if rng.random() < 0.3 and (kind == "hbar" or size <= 5):
        chart.printed = [_number(value, float(values.max())) for value in values]
        chart.limits = (0.0, limits[1] * (1.18 if kind == "hbar" else 1.06))
    return chart


def _number(value: float, peak: float) -> str:
    """A number as it is written at a bar: three digits at most for the largest, no trailing zeros."""
    decimals = 0 if peak >= 100 else 1 if peak >= 1 else 2
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _line(grid: Grid, size: int, rng: np.random.Generator) -> Chart | None:
    rows, columns = grid.values.shape
    length = int(rng.integers(5, 13))
    stride = int(rng.choice([stride for stride in _STRIDES if 4 * stride < columns]))
    start = int(rng.integers(columns))
    window = np.arange(start, min(columns, start + stride * length), stride)
    if len(window) < 5 or rows < size:
        return None
    candidates = np.flatnonzero(np.isfinite(grid.values[:, window]).all(axis=1))
    if len(candidates) < size:
        return None
    if size == 1 and rng.random() < 0.5:  # a falling line as often as a rising one, where the table has both
        change = grid.values[candidates][:, window[-1]] - grid.values[candidates][:, window[0]]
        wanted = candidates[change < 0]
        candidates = wanted if len(wanted) else candidates
    chosen = rng.choice(candidates, size, replace=False)
    lines = grid.values[np.ix_(chosen, window)]
    title = f"{grid.title}: {grid.rows[chosen[0]]}" if size == 1 and rows > 1 else grid.title
    lines, title = _scaled(lines, title)
    low, high = float(lines.min()), float(lines.max())
    if high - low < 1e-3 * max(abs(high), 1e-9):
        return None
    ticks, limits = _ticks(low, high, low >= 0 and bool(rng.random() < 0.3), int(rng.integers(3, 6)))
    colors, names = _colors(size, rng)
    labels = [grid.rows[row] for row in chosen]
    x_labels = [grid.columns[column] for column in window]
    chart = Chart("line", title, labels, lines[:, -1], colors, names, size > 1, ticks, limits, legend=size > 1)
    chart.lines, chart.x_labels = lines, x_labels
    return chart


def _axes_pair(cloud: Cloud, rng: np.random.Generator) -> tuple[int, int]:
    """Two measurements that rise together, fall together or neither, each as often where the cloud has such."""
    correlations = np.corrcoef(cloud.values.T)  # [columns, columns]
    pairs = np.argwhere(~np.eye(len(correlations), dtype=bool))
    r = correlations[tuple(pairs.T)]
    kind = rng.integers(3)
    wanted = pairs[(r >= 0.55, r <= -0.5, np.abs(r) <= 0.2)[kind]]
    if rng.random() < 0.2 or not len(wanted):
        wanted = pairs
    x, y = (int(column) for column in wanted[rng.integers(len(wanted))])
    return (y, x) if cloud.columns[y] == "Year" else (x, y)


def _scatter(cloud: Cloud, size: int, rng: np.random.Generator) -> Chart | None:
    x, y = _axes_pair(cloud, rng)
    pairs = cloud.values[:, [x, y]]
    kinds = [] if cloud.groups is None else sorted(set(cloud.groups))
    if 1 < size <= len(kinds):
        chosen = [kinds[index] for index in rng.permutation(len(kinds))[:size]]
        dots = [_some(pairs[cloud.groups == kind], int(rng.integers(6, 14)), rng) for kind in chosen]
    elif size == 1:
        chosen = []
        dots = [_some(pairs, int(rng.integers(14, 50)), rng)]
    else:
        chosen = []
        if size == 2 or len(pairs) < size:
            return None
        dots = list(_some(pairs, size, rng)[:, None])
    together = np.concatenate(dots)  # [dots, 2]
    spread = together.max(axis=0) - together.min(axis=0)
    if min(len(group) for group in dots) < (3 if chosen else 1) or (spread <= 0).any():
        return None
    if not chosen and size > 1 and _closest(together / spread) < 0.12:
        return None
    ticks, limits = _ticks(float(together[:, 1].min()), float(together[:, 1].max()), False, int(rng.integers(3, 6)))
    own = size > 1 and (bool(chosen) or bool(rng.random() < 0.7))
    colors, names = _colors(size if own else 1, rng)
    if not own:
        colors, names = colors * size, names * size
    heights = np.array([group[:, 1].mean() for group in dots])
    chart = Chart("scatter", cloud.title, chosen, heights, colors, names, own, ticks, limits, legend=bool(chosen))
    chart.dots, chart.axis_names = dots, (cloud.columns[x], cloud.columns[y])
    return chart


def _some(pairs: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    return pairs[rng.choice(len(pairs), min(count, len(pairs)), replace=False)]


def _closest(points: np.ndarray) -> float:
    """Smallest distance between two points of `[points, 2]`."""
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)  # [points, points]
    return float(distances[np.triu_indices(len(points), 1)].min())
