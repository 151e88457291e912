"""Charts a second on one core: Visual Arrays against matplotlib, the same charts, size and PNG coding, in one run.

    .venv/bin/python benchmarks/draw_charts.py

Both draw what a chart of the base variant has: bars, lines, pies, dots, areas, boxes or cells in its colours, page and
plot ground, title, axis title, numbers of the axis, grid, spines, names, legend, written values, outlines, markers and
font size, at 224 x 224 pixels with smoothed edges, and both encode it with `encode_png`. matplotlib is told where the
plot stands, writes in its own font, and has one figure with an Agg canvas that is cleared and used again. Scenes are
sampled before the clock starts; our rate with sampling is given too. The two take turns in rounds, and the
processor's time counts, so that a busy machine changes little; the figure given is the median of the rounds' ratios.
Prints a table, or with --json one line for machines; --sheet writes a picture with the first charts of both, to
compare by eye.
"""

import argparse
import io
import json
import resource
import statistics
import time

import matplotlib
import numpy as np
from PIL import Image

matplotlib.use("Agg")
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from leaml_hf.data.png import encode_png
from leaml_hf.data.visual_arrays.canvas import FULL, SCALE, SIZE, Canvas
from leaml_hf.data.visual_arrays.conventions import TITLE_WORDS, VARIANTS
from leaml_hf.data.visual_arrays.draws import Draws
from leaml_hf.data.visual_arrays.renderers import DRAW, render
from leaml_hf.data.visual_arrays.sampling import sample_scene
from leaml_hf.data.visual_arrays.scenes import Scene

BEFORE = 10_000  # charts, of the hundred thousands that a data set has
DPI = 100
POINTS = 72 / DPI / SCALE  # of a pixel at double size
BASE = VARIANTS["base"]
MARKERS = {"dot": "o", "square": "s", "none": "None"}


def look_rng(index: int) -> Draws:
    return Draws(0, "chart", "train", index, "base")


class Look(Canvas):
    """A canvas that keeps what was chosen while a scene was drawn on it, for another program to draw the same."""

    def __init__(self, scene: Scene, index: int) -> None:
        super().__init__(BASE, look_rng(index), len(scene.marks))
        self.colors: list[tuple[float, ...]] = []
        self.chosen: dict[tuple, object] = {}
        self.angles: dict[str, int] = {}  # of each text
        self.heading = self.axis_text = ""
        DRAW[scene.kind](self, scene)

    def choice(self, options: tuple) -> object:
        self.chosen[options] = super().choice(options)
        return self.chosen[options]

    def shade(self, name: str) -> tuple[int, int, int]:
        color = super().shade(name)
        self.colors.append(tuple(v / 255 for v in color))
        return color

    def text(self, x: float, y: float, text: str, *args, angle: int = 0, **options) -> tuple:
        self.angles[text] = angle
        return super().text(x, y, text, *args, angle=angle, **options)

    def title(self) -> bool:
        if super().title():
            self.heading = list(self.angles)[-1]
        return bool(self.heading)

    def axis_title(self, *args) -> float:
        room = super().axis_title(*args)
        self.axis_text = self.chosen[TITLE_WORDS] if room else ""
        return room


class Matplotlib:
    """Draws scenes with one figure that is cleared and used again."""

    def __init__(self) -> None:
        self.figure = Figure(figsize=(SIZE / DPI, SIZE / DPI), dpi=DPI)
        self.canvas = FigureCanvasAgg(self.figure)

    def draw(self, scene: Scene, look: Look) -> bytes:
        ink, ground, grid = (tuple(v / 255 for v in color) for color in (look.ink, look.ground, look.grid_color))
        size = POINTS * look.font_size
        font = FontProperties(size=size)
        left, top, right, bottom = (v / FULL for v in look.area)
        self.figure.clear()
        self.figure.set_facecolor(ground)
        axes = self.figure.add_axes((left, 1 - bottom, right - left, bottom - top))
        plot_ground = look.chosen.get(BASE.plot_grounds)
        axes.set_facecolor(
            ground if plot_ground is None or sum(look.ground) <= 380 else [v / 255 for v in plot_ground]
        )
        names, values = [mark.label for mark in scene.marks], [mark.value for mark in scene.marks]
        colors = look.colors[:1] * len(names) if scene.single_color else look.colors
        outline = {"edgecolor": ink, "linewidth": 2 * POINTS} if look.outline else {}
        marker = MARKERS[look.chosen.get(BASE.markers, "none")]
        match scene.kind:
            case "bar":
                handles = axes.bar(range(len(values)), values, 0.7, color=colors, **outline)
                axes.set_xticks(range(len(values)), [] if scene.has_key else names, rotation=look.angles.get(names[0]))
            case "hbar":
                handles = axes.barh(range(len(values)), values, 0.7, color=colors, **outline)
                axes.set_yticks(range(len(values)), [] if scene.has_key else names)
                axes.invert_yaxis()
            case "pie":
                wedges = {"edgecolor": ground, "linewidth": 3 * POINTS}
                handles = axes.pie(values, labels=None if scene.has_key else names, colors=colors, wedgeprops=wedges,
                                   textprops={"fontproperties": font, "color": ink})[0]  # fmt: skip
            case "line":
                across = np.linspace(0.04, 0.96, len(scene.marks[0].points))
                marker = marker if len(across) <= 8 else "None"
                handles = [axes.plot(across, mark.points, color=color, marker=marker, markersize=14 * POINTS,
                                     linewidth=5 * POINTS)[0]
                           for mark, color in zip(scene.marks, colors, strict=True)]  # fmt: skip
                written = [place for place, name in enumerate(scene.x_labels) if name in look.angles]
                axes.set_xticks(across[written], [scene.x_labels[place] for place in written])
            case "scatter":
                handles = [axes.plot(mark.points[:, 0], mark.points[:, 1] * scene.reach, linestyle="none", color=color,
                                     marker="o" if marker == "None" else marker, markersize=14 * POINTS)[0]
                           for mark, color in zip(scene.marks, colors, strict=True)]  # fmt: skip
                axes.set_xticks([])
            case "heatmap":
                self._heat_map(axes, scene, look, font, ink)
            case "boxplot":
                stats = [dict(zip(("whislo", "q1", "med", "q3", "whishi"), mark.points, strict=False),
                              fliers=mark.points[5:]) for mark in scene.marks]  # fmt: skip
                drawn = axes.bxp(stats, patch_artist=True, widths=0.6, capprops={"color": ink},
                                 whiskerprops={"color": ink}, medianprops={"color": ink, "linewidth": 2.5},
                                 flierprops={"marker": "o", "markersize": 12 * POINTS, "mfc": ink})  # fmt: skip
                for box, color in zip(drawn["boxes"], colors, strict=True):
                    box.set(facecolor=color, edgecolor=ink, linewidth=2 * POINTS)
                axes.set_xticks(range(1, len(names) + 1), names, rotation=look.angles.get(names[0]))
            case _:
                handles = self._series(axes, scene, look, outline)
        if scene.kind in ("bar", "hbar") and scene.show_values:
            axes.bar_label(handles, map(scene.value_text, scene.marks), fontproperties=font, color=ink)
        if scene.kind not in ("pie", "heatmap"):
            self._axis(axes, scene, look, font, ink, grid)
        if scene.kind in ("line", "scatter"):
            axes.set_xlim(0, 1)
        if look.heading:
            self.figure.text(0.5, 0.99, look.heading, fontproperties=font, size=size + 3 * POINTS, color=ink, va="top",
                             ha="center")  # fmt: skip
        if scene.has_key:
            print_size = FontProperties(size=POINTS * look.legend_size)
            beside = look.chosen[BASE.legend_places] == "right"
            place = ({"loc": "center left", "bbox_to_anchor": (1, 0.5)} if beside else
                     {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncols": min(3, len(names))})  # fmt: skip
            axes.legend(handles, names, prop=print_size, labelcolor=ink, frameon=False, handlelength=0.8,
                        handletextpad=0.3, columnspacing=0.8, borderaxespad=0.1, **place)  # fmt: skip
        self.canvas.draw()
        return encode_png(Image.fromarray(np.asarray(self.canvas.buffer_rgba())[..., :3]))

    def _series(self, axes, scene: Scene, look: Look, outline: dict) -> list:
        """Bars side by side or on top of each other, or areas; returns what the legend shows."""
        table, places = np.stack([mark.points for mark in scene.marks]), np.arange(len(scene.x_labels))
        lows = table.cumsum(0) - table if scene.kind == "stacked" or scene.stacked else np.zeros_like(table)
        written = [place for place, name in zip(places, scene.x_labels, strict=True) if name in look.angles]
        axes.set_xticks(written, [scene.x_labels[place] for place in written],
                        rotation=look.angles[scene.x_labels[written[0]]])  # fmt: skip
        handles = []
        for i, (row, low, color) in enumerate(zip(table, lows, look.colors, strict=True)):
            if scene.kind == "area":
                handles.append(axes.fill_between(places, low, low + row, color=color, linewidth=0))
                axes.plot(places, low + row, color=color, linewidth=5 * POINTS)
            elif scene.kind == "stacked":
                handles.append(axes.bar(places, row, 0.7, low, color=color, **outline))
            else:
                width = 0.8 / len(table)
                handles.append(
                    axes.bar(places + (i - (len(table) - 1) / 2) * width, row, width, color=color, **outline)
                )
        return handles

    def _heat_map(self, axes, scene: Scene, look: Look, font: FontProperties, ink: tuple) -> None:
        """Cells, their names and values, and the scale."""
        table = np.stack([mark.points for mark in scene.marks])
        shades = LinearSegmentedColormap.from_list("", ("white", look.colors[0], "black"))
        mesh = axes.pcolormesh(table, cmap=shades, vmin=0, vmax=scene.reach)
        axes.invert_yaxis()
        axes.set_yticks(np.arange(len(table)) + 0.5, [mark.label for mark in scene.marks])
        axes.set_xticks(np.arange(table.shape[1]) + 0.5, scene.x_labels, rotation=look.angles[scene.x_labels[0]])
        if scene.show_values:
            for (row, column), value in np.ndenumerate(table):
                axes.text(column + 0.5, row + 0.5, scene.tick_text(value), fontproperties=font, ha="center",
                          va="center", color="black" if value < scene.reach / 2 else "white")  # fmt: skip
        bar = self.figure.colorbar(mesh, ax=axes)
        bar.set_ticks(list(scene.numbered_ticks), labels=list(map(scene.tick_text, scene.numbered_ticks)))
        for one in (axes, bar.ax):
            one.tick_params(length=0, labelcolor=ink, pad=1.5)
            for label in (*one.get_xticklabels(), *one.get_yticklabels()):
                label.set_fontproperties(font)

    def _axis(self, axes, scene: Scene, look: Look, font: FontProperties, ink: tuple, grid: tuple) -> None:
        """The value axis: numbers, grid, spines and title."""
        vertical = scene.kind != "hbar"
        ticks, numbers = list(scene.numbered_ticks), [scene.tick_text(tick) for tick in scene.numbered_ticks]
        if vertical:
            axes.set_yticks(ticks, numbers)
            axes.set_ylim(0, scene.reach)
            axes.set_ylabel(look.axis_text, fontproperties=font, color=ink)
        else:
            numbers = [number if number in look.angles else "" for number in numbers]
            axes.set_xticks(ticks, numbers)
            axes.set_xlim(0, scene.reach)
            axes.set_xlabel(look.axis_text, fontproperties=font, color=ink)
        axes.tick_params(length=0, labelcolor=ink, pad=1.5)
        for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
            label.set_fontproperties(font)
        if look.chosen[BASE.grids] != "none":
            axes.set_axisbelow(True)
            axes.grid(axis="y" if vertical else "x", color=grid, linewidth=2 * POINTS)
        shown = {"box": ("left", "right", "top", "bottom"), "left-bottom": ("left", "bottom")}
        for side, spine in axes.spines.items():
            spine.set_visible(side in shown.get(look.chosen[BASE.spines], ()))
            spine.set_edgecolor(ink)
            spine.set_linewidth(2 * POINTS)


def ours(scene: Scene, index: int) -> bytes:
    return encode_png(render(scene, "base", look_rng(index)).image)


def measure(rounds: int, each: int) -> dict[str, float]:
    """Charts a second of each side and the ratio; charts drawn before the clock starts fill the caches of both."""
    peer, clock = Matplotlib(), time.process_time
    for index in range(rounds * each, rounds * each + BEFORE):
        scene = sample_scene("chart", "train", index)
        ours(scene, index)
        if index % 50 == 0:  # its caches hold but one font
            peer.draw(scene, Look(scene, index))
    sampling, own, other = [], [], []
    for number in range(rounds):
        part = range(number * each, (number + 1) * each)
        start = clock()
        scenes = [sample_scene("chart", "train", index) for index in part]
        sampled = clock()
        for scene, index in zip(scenes, part, strict=True):
            ours(scene, index)
        drawn = clock()
        looks = [Look(scene, index) for scene, index in zip(scenes, part, strict=True)]
        begun = clock()
        for scene, look in zip(scenes, looks, strict=True):
            peer.draw(scene, look)
        sampling.append(sampled - start)
        own.append(drawn - sampled)
        other.append(clock() - begun)
    ratios = [theirs / mine for mine, theirs in zip(own, other, strict=True)]
    return {
        "leaml_hf_per_s": each / statistics.median(own),
        "leaml_hf_with_sampling_per_s": each / statistics.median(map(sum, zip(own, sampling, strict=True))),
        "matplotlib_per_s": each / statistics.median(other),
        "ratio": statistics.median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def write_sheet(path: str, count: int = 12) -> None:
    """Writes the first charts of ours above matplotlib's, side by side."""
    peer, sheet = Matplotlib(), Image.new("RGB", (count * SIZE, 2 * SIZE))
    for index in range(count):
        scene = sample_scene("chart", "train", index)
        for row, data in enumerate((ours(scene, index), peer.draw(scene, Look(scene, index)))):
            sheet.paste(Image.open(io.BytesIO(data)), (index * SIZE, row * SIZE))
    sheet.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--each", type=int, default=200, help="charts of each side a round (default 200)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--sheet", help="write a picture with charts of both and measure nothing")
    args = parser.parse_args()
    if args.sheet:
        write_sheet(args.sheet)
        return
    out = measure(args.rounds, args.each)
    if args.json:
        print(json.dumps(out))
    else:
        sampled = f"({out['leaml_hf_with_sampling_per_s']:.1f} with sampling)"
        print(f"leaml_hf    {out['leaml_hf_per_s']:8.1f} charts/s  {sampled}")
        print(f"matplotlib  {out['matplotlib_per_s']:8.1f} charts/s")
        print(f"ratio       {out['ratio']:8.1f}  ({out['ratio_low']:.1f} to {out['ratio_high']:.1f} by round)")


if __name__ == "__main__":
    main()
