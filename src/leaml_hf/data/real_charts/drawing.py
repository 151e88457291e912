"""Draws charts with matplotlib in randomised styles, and turns down a picture in which text is cut off or overlaps."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from .questions import tick_text
from .sampling import Chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

PICTURE_SIZE = 320  # pixels
_DPI = 100
_PAD = 5  # pixels that stay free at each side
_SMALLEST_AXES = {"pie": 140, "bar": 95, "hbar": 95, "line": 95, "scatter": 110}  # pixels
_SHEETS = (
    "default",
    "default",
    "ggplot",
    "bmh",
    "fivethirtyeight",
    "Solarize_Light2",
    "tableau-colorblind10",
    "seaborn-v0_8",
    "seaborn-v0_8-whitegrid",
    "seaborn-v0_8-darkgrid",
    "seaborn-v0_8-white",
    "seaborn-v0_8-ticks",
    "seaborn-v0_8-dark",
)
_FONTS = (("DejaVu Sans", 16.0), ("DejaVu Serif", 16.0), ("STIXGeneral", 19.0))  # family, pixels


@contextmanager
def _style(rng: np.random.Generator) -> Iterator[tuple[float, bool]]:
    """A random style sheet, font, grid and frame; gives the size of text in points and whether the sheet is plain."""
    from matplotlib import rc_context, style

    sheet = _SHEETS[rng.integers(len(_SHEETS))]
    family, pixels = _FONTS[rng.choice(len(_FONTS), p=(0.55, 0.25, 0.2))]
    points = pixels * float(rng.uniform(1.0, 1.12)) * 72 / _DPI
    settings = {
        "font.family": [family],
        "font.size": points,
        **dict.fromkeys(("axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"), points),
        "axes.axisbelow": True,
        "axes.unicode_minus": False,
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), "#222222"),
        "figure.dpi": _DPI,
    }
    with rc_context():
        style.use(sheet)
        with rc_context(settings):
            if rng.random() < 0.4:
                rc = {"axes.grid": bool(rng.random() < 0.5), "axes.spines.top": False, "axes.spines.right": False}
            else:
                rc = {}
            with rc_context(rc):
                yield points, sheet in ("default", "tableau-colorblind10")


def draw_picture(chart: Chart, rng: np.random.Generator) -> np.ndarray | None:
    """
    Draws a chart.

    Args:
        chart (`Chart`): what to show.
        rng (`np.random.Generator`): chooses the style.

    Returns:
        `np.ndarray` or `None`: uint8 RGB `[320, 320, 3]`; `None` if text does not fit in this style: try another then.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with _style(rng) as (points, plain):
        inches = PICTURE_SIZE / _DPI
        figure = Figure(figsize=(inches, inches), dpi=_DPI)
        canvas = FigureCanvasAgg(figure)
        if plain and rng.random() < 0.3:
            figure.set_facecolor(("#f7f3e8", "#eef3f7", "#f2f2f2")[rng.integers(3)])
        axes = figure.add_axes((0.15, 0.15, 0.75, 0.65))
        top = _title(figure, chart.title, points, rng)
        if top is None:
            return None
        _DRAW[chart.kind](axes, chart, points, rng)
        if not _fit(figure, axes, top, _SMALLEST_AXES[chart.kind]):
            return None
        canvas.draw()
        if not _readable(figure, axes):
            return None
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _title(figure: "Figure", title: str, points: float, rng: np.random.Generator) -> float | None:
    """Writes the title in one or two lines; gives the height in pixels up to which the chart may reach."""
    from textwrap import wrap

    bold = "bold" if rng.random() < 0.3 else "normal"
    left = rng.random() < 0.3
    renderer = figure.canvas.get_renderer()
    for width in (34, 28, 24, 20):
        lines = wrap(title, width, break_long_words=False)
        text = figure.text(
            0.03 if left else 0.5, 0.975, "\n".join(lines), ha="left" if left else "center", va="top",
            fontsize=points * 1.04, fontweight=bold, linespacing=1.05,
        )  # fmt: skip
        box = text.get_window_extent(renderer)
        if box.x0 >= _PAD and box.x1 <= PICTURE_SIZE - _PAD and len(lines) <= 2:
            return box.y0 - _PAD
        text.remove()
    return None


def _legend(axes: "Axes", handles: list, labels: list[str], rng: np.random.Generator) -> None:
    """A legend beside the axes, where it hides nothing."""
    longest = max(len(label) for label in labels)
    options = {"handlelength": 1.1, "handletextpad": 0.4, "columnspacing": 0.9, "labelspacing": 0.25, "borderpad": 0.3}
    options |= {"borderaxespad": 0.0, "frameon": bool(rng.random() < 0.5)}
    if longest <= 5 and rng.random() < 0.6:
        axes.legend(handles, labels, loc="center left", bbox_to_anchor=(1.04, 0.5), **options)
        return
    columns = 3 if longest <= 6 and len(labels) > 2 else 2
    if rng.random() < 0.35:
        axes.legend(handles, labels, loc="lower center", bbox_to_anchor=(0.5, 1.03), ncols=columns, **options)
    else:
        below = -0.06 if axes.get_aspect() == 1.0 else -0.04
        axes.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, below), ncols=columns, **options)


def _value_axis(axes: "Axes", chart: Chart, horizontal: bool = False) -> None:
    axis = axes.xaxis if horizontal else axes.yaxis
    axis.set_ticks(chart.ticks, [tick_text(float(tick)) for tick in chart.ticks])
    (axes.set_xlim if horizontal else axes.set_ylim)(*chart.limits)
    axes.tick_params(length=3, pad=3)


def _bars(axes: "Axes", chart: Chart, points: float, rng: np.random.Generator) -> None:
    flat = chart.kind == "hbar"
    places = np.arange(chart.set_size)
    width = float(rng.uniform(0.55, 0.88))
    edge = {"edgecolor": "black", "linewidth": 0.8} if rng.random() < 0.25 else {"linewidth": 0}
    patches = (axes.barh if flat else axes.bar)(places, chart.values, width, color=chart.colors, **edge)
    _value_axis(axes, chart, horizontal=flat)
    axis = axes.yaxis if flat else axes.xaxis
    axis.grid(False)
    if flat:
        axes.set_ylim(chart.set_size - 0.45, -0.55)
    else:
        axes.set_xlim(-0.55, chart.set_size - 0.45)
    if chart.legend:
        axis.set_ticks([])
        _legend(axes, list(patches), chart.labels, rng)
    else:
        longest = max(len(label) for label in chart.labels)
        turned = not flat and longest * points * 0.85 > 235 / chart.set_size
        slant = turned and chart.set_size <= 6 and rng.random() < 0.4
        options = (
            {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if slant else {"rotation": 90 if turned else 0}
        )
        axis.set_ticks(places, chart.labels, **options)
        axis.set_tick_params(length=0)
    for place, value, text in zip(places, chart.values, chart.printed, strict=bool(chart.printed)):
        spot = (value, place) if flat else (place, value)
        align = {"ha": "left", "va": "center"} if flat else {"ha": "center", "va": "bottom"}
        axes.annotate(
            text, spot, xytext=(3, 0) if flat else (0, 1), textcoords="offset points", annotation_clip=False, **align
        )


def _pie(axes: "Axes", chart: Chart, points: float, rng: np.random.Generator) -> None:
    hole = float(rng.uniform(0.45, 0.6)) if rng.random() < 0.25 else 1.0
    wedges = axes.pie(
        chart.values,
        colors=chart.colors,
        labels=None if chart.legend else chart.labels,
        labeldistance=1.08,
        startangle=float(rng.uniform(0, 360)),
        counterclock=bool(rng.random() < 0.5),
        wedgeprops={"width": hole, "edgecolor": "white" if rng.random() < 0.6 else "black", "linewidth": 1.0},
    )[0]
    axes.set_aspect("equal")
    if chart.legend:
        _legend(axes, list(wedges), chart.labels, rng)


def _lines(axes: "Axes", chart: Chart, points: float, rng: np.random.Generator) -> None:
    marker = (None, None, "o", "s", "^")[rng.integers(5)]
    width = float(rng.uniform(1.8, 3.2))
    places = np.arange(chart.lines.shape[1])
    handles = [
        axes.plot(places, line, color=color, linewidth=width, marker=marker, markersize=width * 2.4)[0]
        for line, color in zip(chart.lines, chart.colors, strict=True)
    ]
    _value_axis(axes, chart)
    step = -(-len(places) * max(len(label) for label in chart.x_labels) // 16)
    axes.xaxis.set_ticks(places[::step], chart.x_labels[::step])
    axes.set_xlim(-0.3, len(places) - 0.7)
    if chart.legend:
        _legend(axes, handles, chart.labels, rng)


def _scatter(axes: "Axes", chart: Chart, points: float, rng: np.random.Generator) -> None:
    from matplotlib.ticker import MaxNLocator

    marker = ("o", "o", "s", "^", "D")[rng.integers(5)]
    size = float(
        rng.uniform(25, 50) if chart.set_size == 1 else rng.uniform(50, 80) if chart.legend else rng.uniform(90, 150)
    )
    handles = [
        axes.scatter(group[:, 0], group[:, 1], s=size, color=color, marker=marker, linewidths=0)
        for group, color in zip(chart.dots, chart.colors, strict=True)
    ]
    _value_axis(axes, chart)
    axes.margins(x=0.08)
    low, high = axes.get_xlim()
    ticks = [
        tick for tick in MaxNLocator(nbins=3, integer=high - low >= 4).tick_values(low, high) if low <= tick <= high
    ]
    axes.xaxis.set_ticks(ticks, [tick_text(float(tick)) for tick in ticks])
    axes.set_xlabel(chart.axis_names[0], labelpad=3)
    axes.set_ylabel(chart.axis_names[1], labelpad=5)
    if chart.legend:
        _legend(axes, handles, chart.labels, rng)
        axes.get_legend().set_bbox_to_anchor((0.5, 1.03), transform=axes.transAxes)
        axes.get_legend().set_loc("lower center")


_DRAW = {"bar": _bars, "hbar": _bars, "pie": _pie, "line": _lines, "scatter": _scatter}


def _fit(figure: "Figure", axes: "Axes", top: float, smallest: float) -> bool:
    """Moves the axes so that all that belongs to them lies inside the picture; false if too little room is left."""
    renderer = figure.canvas.get_renderer()
    for _ in range(2):
        outer, inner = axes.get_tightbbox(renderer), axes.get_window_extent(renderer)
        left = _PAD + inner.x0 - outer.x0
        bottom = _PAD + inner.y0 - outer.y0
        width = PICTURE_SIZE - _PAD - (outer.x1 - inner.x1) - left
        height = top - (outer.y1 - inner.y1) - bottom
        if min(width, height) < smallest:
            return False
        axes.set_position([edge / PICTURE_SIZE for edge in (left, bottom, width, height)])
    return True


def text_boxes(figure: "Figure", axes: "Axes") -> list["Bbox"]:
    """Boxes in pixels of all text that is seen, one list over title, axes, marks and legend."""
    renderer = figure.canvas.get_renderer()
    texts = [*figure.texts, *axes.texts, axes.xaxis.label, axes.yaxis.label]
    texts += axes.get_legend().get_texts() if axes.get_legend() else []
    if axes.axison:
        for axis in (axes.xaxis, axes.yaxis):
            texts += [label for label in axis.get_ticklabels() if label.get_rotation() in (0, 90)]
    return [text.get_window_extent(renderer) for text in texts if text.get_text() and text.get_visible()]


def _readable(figure: "Figure", axes: "Axes") -> bool:
    """No text is cut off by the edge of the picture, and no two texts touch."""
    boxes = text_boxes(figure, axes)
    whole = all(
        box.x0 >= 1 and box.y0 >= 1 and box.x1 <= PICTURE_SIZE - 1 and box.y1 <= PICTURE_SIZE - 1 for box in boxes
    )
    tight = axes.get_tightbbox(figure.canvas.get_renderer())
    inside = tight.x0 >= 0 and tight.y0 >= 0 and tight.x1 <= PICTURE_SIZE and tight.y1 <= PICTURE_SIZE
    apart = all(
        first.x1 <= second.x0 or second.x1 <= first.x0 or first.y1 <= second.y0 or second.y1 <= first.y0
        for index, first in enumerate(boxes)
        for second in boxes[:index]
    )
    return whole and inside and apart
