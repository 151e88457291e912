"""What a picture shows, before it is drawn: marks with their attributes."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .conventions import COLOR_NAMES

CHART_KINDS = ("bar", "hbar", "line", "pie", "scatter", "grouped", "stacked", "area", "heatmap", "boxplot")
SERIES_KINDS = ("grouped", "stacked", "area")  # charts whose marks are series
GRID_KINDS = (
    "grouped",
    "stacked",
    "heatmap",
)  # charts whose marks have a cell (a bar, a part) for each name of an axis
SHAPES = ("circle", "square", "triangle", "star", "diamond", "hexagon", "cross")
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 25, 50, 100, 200, 500, 1000, 2000, 5000, 20_000, 100_000)  # units of a tick
DIAGRAM_KINDS = ("flow", "tree", "states", "food_web", "circuit")
NODE_SHAPES = ("box", "oval", "rhombus")
COMPONENTS = ("resistor", "lamp", "capacitor", "motor", "battery", "switch")
LOADS = tuple(kind for kind in COMPONENTS if kind != "battery")  # of a battery there is always one
LAYOUT_KINDS = ("layout", "seating", "containment")
TASKS = ("chart", "layout", "diagram", "annotated")
SPLITS = ("train", "validation", "test")
QUESTIONS_PER_SCENE = 8


@dataclass
class Mark:
    """One object of a scene: a bar, a slice, a line, a series, a row of cells, a group of points or a shape.

    Attributes:
        label: the name written for it, or "" where none is.
        color: one of `COLOR_NAMES`.
        shape: the chart's kind, or one of `SHAPES`, `NODE_SHAPES` or `COMPONENTS`.
        value: height in ticks (bars: up to 10), share in percent (pies), last value in ticks (lines, areas), mean
            height (scatter), mean of its cells in ticks (grids), median in ticks (box plots), width in scale bars
            (annotated).
        points: for lines, areas and grids the values in ticks at each x; for box plots the ends of lower whisker, box,
            median, box and upper whisker, then outliers, in ticks; for scatter groups `[n, 2]` positions in [0, 1].
        trend: "up", "down", "none" or "" where there is none to speak of (lines, areas, scatter).
        box: all but charts: (left, top, right, bottom) in [0, 1]; later marks lie in front of earlier ones.
        state: diagram: "final" (a state that ends), "hidden" (a step whose name is not written), "open" or "closed"
            (switches), else "".
    """

    label: str
    color: str
    shape: str
    value: float
    points: np.ndarray | None = None
    trend: str = ""
    box: tuple[float, float, float, float] | None = None
    state: str = ""


@dataclass(frozen=True)
class Link:
    """An arrow (in trees a line) of a diagram, from one mark to another, with what is written at it."""

    source: int
    target: int
    label: str = ""


@dataclass(frozen=True)
class Table:
    """A table seen from above, with its chairs in the order of the clock.

    Attributes:
        box: (left, top, right, bottom) of its top, in [0, 1]; an ellipse if `is_round`.
        chairs: boxes of the chairs, in [0, 1].
        sides: at which side each chair stands; chairs at a round table all stand at the same.
        opposite: of each chair the one straight across; -1 where there is none.
        taken: the chair of each mark.
    """

    is_round: bool
    box: tuple[float, float, float, float]
    chairs: tuple[tuple[float, float, float, float], ...]
    sides: tuple[int, ...]
    opposite: tuple[int, ...]
    taken: tuple[int, ...]

    @property
    def sitter(self) -> dict[int, int]:
        """The mark that sits on each chair that is not free."""
        return {chair: mark for mark, chair in enumerate(self.taken)}

    @property
    def ring(self) -> list[int]:
        """The marks in the order of the clock."""
        return [mark for _, mark in sorted(self.sitter.items())]

    def across(self, mark: int) -> int | None:
        """The mark straight across from another, None where nobody is."""
        return self.sitter.get(self.opposite[self.taken[mark]])

    def are_neighbors(self, one: int, other: int) -> bool | None:
        """Whether two chairs stand side by side; None around the corner of a table, where opinions may differ."""
        if (one - other) % len(self.chairs) not in (1, len(self.chairs) - 1):
            return False
        return True if self.sides[one] == self.sides[other] else None


@dataclass
class Scene:
    """A picture's content.

    Attributes:
        task: one of `TASKS`.
        kind: one of `CHART_KINDS`, `DIAGRAM_KINDS` or `LAYOUT_KINDS`, or "annotated".
        marks: in drawing order.
        step: units of one tick of the value axis, or of the scale bar.
        first_tick: number of the tick at which the value axis starts (0 for bars).
        reach: ticks that the value axis is long.
        every: a number stands at every so many ticks.
        decimals: digits behind the point of written values.
        thousands: whether numbers from 10,000 on are written with k and M.
        x_labels: names along the horizontal axis of lines, areas and grids.
        single_color: all marks have one colour, which nobody asks for.
        has_key: charts: a legend beside the plot gives the names; otherwise they stand at the marks.
        show_values: values are written at the bars, or in the cells.
        stacked: area: every area begins where the one below it ends.
        dots: scatter: every mark is one dot rather than a group of them.
        occluded: layout: the mark behind and the one in front of it.
        table: seating: what the marks, who are people, sit at.
        holders: containment: of each mark the box directly around it, a mark itself; -1 where there is none.
        links: diagram: its arrows.
        branches: circuit: marks that lie side by side between the same two points.
        region: annotated: the box drawn around some marks (left, top, right, bottom), in [0, 1].
        scale_bar: annotated: length of the scale bar, in [0, 1].
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
    stacked: bool = False
    dots: bool = False
    occluded: tuple[int, int] | None = None
    table: Table | None = None
    holders: tuple[int, ...] = ()
    links: tuple[Link, ...] = ()
    branches: tuple[int, ...] = ()
    region: tuple[float, float, float, float] | None = None
    scale_bar: float = 0.0

    @property
    def cells(self) -> list[tuple[int, int]]:
        """Mark and place along the axis of each cell, in the order of their parts; none but in grids."""
        places = len(self.x_labels) if self.kind in GRID_KINDS else 0
        return [(i, k) for i in range(len(self.marks)) for k in range(places)]

    @property
    def values(self) -> np.ndarray:
        """Values in ticks `[marks, places]` of areas and grids."""
        return np.stack([mark.points for mark in self.marks])

    def cell(self, mark: int, place: int) -> int:
        """Number of a cell among a drawing's parts: cells follow the marks."""
        return len(self.marks) + mark * len(self.x_labels) + place

    @property
    def numbered_ticks(self) -> range:
        """Ticks of the value axis that a number stands at."""
        return range(0, int(self.reach) + 1, self.every)

    @cached_property
    def tick_texts(self) -> dict[int, str]:
        """What is written at each numbered tick."""
        return {tick: self.tick_text(tick) for tick in self.numbered_ticks}

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


def chair_name(chair: int) -> str:
    """How the box of a chair is called among a drawing's annotations."""
    return f"chair {chair}"


def rng_for(seed: int, task: str, split: str, index: int, *stream: int) -> np.random.Generator:
    """Random stream of scene `index`: depends on the arguments alone, so row i is the same in any shard."""
    words = [seed, TASKS.index(task), SPLITS.index(split), index, *stream]
    is_small = min(words) >= 0 and max(words) < 2**32  # an array of 32 bits gives the same stream, sooner
    return np.random.default_rng(np.array(words, np.uint32) if is_small else words)


def centre(box: tuple[float, float, float, float]) -> tuple[float, float]:
    """Middle of a box (left, top, right, bottom)."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def is_inside(box: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    """Whether a box (left, top, right, bottom) lies wholly in another."""
    return other[0] <= box[0] and box[2] <= other[2] and other[1] <= box[1] and box[3] <= other[3]


def is_box(mark: Mark) -> bool:
    """Whether a mark of a containment scene is a box, rather than a shape that may lie in one."""
    return mark.shape == "box"


def draw_colors(rng: np.random.Generator, n: int) -> list[str]:
    """`n` different colour names."""
    return [COLOR_NAMES[i] for i in rng.permutation(len(COLOR_NAMES))[:n]]


def draw_axis(rng: np.random.Generator, every: int | None = None) -> dict[str, float | bool]:
    """Numbers of a value axis, at every so many ticks (by default one or two)."""
    step = STEPS[rng.integers(len(STEPS))]
    every = every or (2 if rng.random() < 0.7 else 1)
    return {"step": step, "every": every, "thousands": bool(rng.random() < 0.5)}


def draw_first_tick(rng: np.random.Generator) -> int:
    """Tick at which a value axis starts that need not start at 0."""
    return 0 if rng.random() < 0.5 else 2 * int(rng.integers(1, 20))
