"""Bar charts a second on one core: Visual Arrays against whatever draws charts into PNG files faster than matplotlib.

    make bench-bars                             # installs the others first
    .venv/bin/python benchmarks/draw_bars.py    # those that are not there are left out

The same upright bars for all, at 224 x 224 pixels: values, names, colours, page, axis numbers, grid and title, in each
program's own font and layout; names stand upright where a program can't turn them, and legends and written values are
left out. Vega-Lite (vl-convert) and pygal (CairoSVG) write PNG themselves, all others use `encode_png`. matplotlib,
pyqtgraph and CairoSVG keep what they can between charts. Scenes are sampled before the clock starts, all take turns in
rounds, and the processor's time of all threads counts. Prints a table, or with --json one line for machines; --sheet
writes a picture with the first charts of all, to compare by eye.
"""

import argparse
import importlib.util
import io
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from draw_charts import Look, Matplotlib, ours
from PIL import Image

from leaml_hf.data.png import encode_png
from leaml_hf.data.visual_arrays.canvas import SCALE, SIZE
from leaml_hf.data.visual_arrays.conventions import font_path
from leaml_hf.data.visual_arrays.sampling import sample_scene
from leaml_hf.data.visual_arrays.scenes import Scene

Chart = tuple[Scene, int, Look]
OWN = "leaml_hf"
NEEDED = {"vl-convert": ["vl_convert"], "pygal": ["pygal", "cairosvg"], "pyqtgraph": ["pyqtgraph", "PySide6"]}


def hexadecimal(color: tuple) -> str:
    """#rrggbb of whole numbers to 255, or of shares of 1."""
    return "#" + "".join(f"{v if isinstance(v, int) else round(255 * v):02x}" for v in color[:3])


def bars(scene: Scene, look: Look) -> list[tuple[str, float, str]]:
    """Name, value and colour of each bar."""
    colors = look.colors[:1] * len(scene.marks) if scene.single_color else look.colors
    return [(m.label, m.value, hexadecimal(c)) for m, c in zip(scene.marks, colors, strict=False)]


def vl_convert() -> Callable[[Chart], bytes]:
    import vl_convert

    def draw(chart: Chart) -> bytes:
        scene, _, look = chart
        table = bars(scene, look)
        ink, size = hexadecimal(look.ink), look.font_size / SCALE
        text = {"labelColor": ink, "labelFontSize": size, "title": None}
        ticks = list(scene.numbered_ticks)
        return vl_convert.vegalite_to_png({
            "width": SIZE, "height": SIZE, "autosize": {"type": "fit", "contains": "padding"},
            "background": hexadecimal(look.ground), "title": {"text": look.heading, "color": ink},
            "data": {"values": [{"name": name, "value": value} for name, value, _ in table]}, "mark": "bar",
            "encoding": {
                "x": {"field": "name", "type": "nominal", "sort": None, "axis": text},
                "y": {"field": "value", "type": "quantitative", "scale": {"domain": [0, scene.reach]},
                      "axis": {**text, "values": ticks, "gridColor": hexadecimal(look.grid_color)}},
                "color": {"field": "name", "type": "nominal", "legend": None, "sort": None,
                          "scale": {"range": [color for _, _, color in table]}},
            },
        })  # fmt: skip

    return draw


def pygal() -> Callable[[Chart], bytes]:
    import cairosvg
    import pygal
    from pygal.style import Style

    def draw(chart: Chart) -> bytes:
        scene, _, look = chart
        table, size = bars(scene, look), look.font_size / SCALE
        style = Style(background=hexadecimal(look.ground), plot_background=hexadecimal(look.ground), opacity=1,
                      foreground=hexadecimal(look.ink), label_font_size=size, major_label_font_size=size,
                      title_font_size=size + 2)  # fmt: skip
        page = pygal.Bar(width=SIZE, height=SIZE, title=look.heading or None, js=[], style=style, show_legend=False,
                         range=(0, scene.reach), margin=4)  # fmt: skip
        page.x_labels = [name for name, _, _ in table]
        page.y_labels = list(scene.numbered_ticks)
        page.add("", [{"value": value, "color": color} for _, value, color in table])
        return cairosvg.svg2png(page.render())

    return draw


def pyqtgraph() -> Callable[[Chart], bytes]:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    import pyqtgraph
    from PySide6.QtGui import QFont, QFontDatabase, QImage

    app = pyqtgraph.mkQApp()
    family = QFontDatabase.applicationFontFamilies(QFontDatabase.addApplicationFont(font_path("roboto")))[0]
    widget = pyqtgraph.PlotWidget()
    widget.resize(SIZE, SIZE)
    plot, below, beside = widget.getPlotItem(), widget.getAxis("bottom"), widget.getAxis("left")
    app.setFont(QFont(family))

    def draw(chart: Chart) -> bytes:
        scene, _, look = chart
        table, font = bars(scene, look), QFont(family)
        font.setPixelSize(look.font_size // SCALE)
        plot.clear()
        widget.setBackground(hexadecimal(look.ground))
        plot.addItem(pyqtgraph.BarGraphItem(x=range(len(table)), height=[value for _, value, _ in table], width=0.7,
                                            brushes=[color for _, _, color in table],
                                            pen=look.ink if look.outline else None))  # fmt: skip
        below.setTicks([[(place, name) for place, (name, _, _) in enumerate(table)]])
        beside.setTicks([[(tick, scene.tick_text(tick)) for tick in scene.numbered_ticks]])
        for axis in (below, beside):
            axis.setTickFont(font)
            axis.setTextPen(look.ink)
        plot.setYRange(0, scene.reach, padding=0)
        plot.showGrid(y=True)
        plot.setTitle(look.heading or None, color=hexadecimal(look.ink))
        image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
        pixels = np.frombuffer(image.constBits(), np.uint8).reshape(SIZE, image.bytesPerLine())[:, : 3 * SIZE]
        return encode_png(Image.fromarray(np.ascontiguousarray(pixels).reshape(SIZE, SIZE, 3)))

    draw.app = app  # it must outlive the drawing
    return draw


def matplotlib() -> Callable[[Chart], bytes]:
    peer = Matplotlib()
    return lambda chart: peer.draw(chart[0], chart[2])


def programs() -> dict[str, Callable[[Chart], bytes]]:
    """All that are installed, ours first."""
    found = {OWN: lambda chart: ours(*chart[:2]), "matplotlib": matplotlib()}
    for name, make in (("vl-convert", vl_convert), ("pygal", pygal), ("pyqtgraph", pyqtgraph)):
        if all(importlib.util.find_spec(module) for module in NEEDED[name]):
            found[name] = make()
    return found


def charts(count: int) -> list[Chart]:
    """Upright bars, without legend and written values."""
    scenes = ((sample_scene("chart", "train", index), index) for index in range(100 * count))
    upright = ((replace(scene, show_values=False, has_key=False), index) for scene, index in scenes
               if scene.kind == "bar")  # fmt: skip
    return [(scene, index, Look(scene, index)) for (scene, index), _ in zip(upright, range(count), strict=False)]


def measure(rounds: int, each: int) -> dict[str, float]:
    """Charts a second of each program: medians of the rounds; the first round fills the caches and is left out."""
    drawn, made, clock = charts((rounds + 1) * each), programs(), time.process_time
    seconds: dict[str, list[float]] = {name: [] for name in made}
    for first in range(0, len(drawn), each):
        for name, draw in made.items():
            start = clock()
            for chart in drawn[first : first + each]:
                draw(chart)
            seconds[name].append(clock() - start)
    return {name: each / statistics.median(values[1:]) for name, values in seconds.items()}


def write_sheet(path: str, count: int = 8) -> None:
    """Writes the first charts of all programs, a row each."""
    made = programs()
    sheet = Image.new("RGB", (count * SIZE, len(made) * SIZE), "white")
    for column, chart in enumerate(charts(count)):
        for row, draw in enumerate(made.values()):
            sheet.paste(Image.open(io.BytesIO(draw(chart))).convert("RGB"), (column * SIZE, row * SIZE))
    sheet.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--each", type=int, default=40, help="charts of each program a round (default 40)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--sheet", help="write a picture with charts of all and measure nothing")
    args = parser.parse_args()
    if args.sheet:
        write_sheet(args.sheet)
        return
    rates = measure(args.rounds, args.each)
    if args.json:
        print(json.dumps(rates))
        return
    for name, rate in rates.items():
        times = "" if name == OWN else f"  {OWN} is {rates[OWN] / rate:.1f} times as fast"
        print(f"{name:11} {rate:8.1f} charts/s{times}")


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # some versions of PySide6 abort when the interpreter takes them down
