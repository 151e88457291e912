"""Charts a second on one core: Visual Arrays against matplotlib, the same scenes, size and PNG coding, in one run.

    .venv/bin/python benchmarks/draw_charts.py

Both draw the same bars, lines, pies and dots with names, title, axis and legend at 224 x 224 pixels and encode them as
PNG (compression level 1); matplotlib reuses one figure and draws straight into an Agg canvas. The two take turns in
short rounds, so that a busy machine slows both; the figure given is the median of the rounds' ratios. Prints a table,
or with --json one line for machines.
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
from matplotlib.figure import Figure

from leaml_hf.data.visual_arrays.canvas import SIZE
from leaml_hf.data.visual_arrays.conventions import BASE_SHADES
from leaml_hf.data.visual_arrays.renderers import render
from leaml_hf.data.visual_arrays.sampling import sample_scene
from leaml_hf.data.visual_arrays.scenes import Scene, rng_for

DPI = 100


def encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


class Matplotlib:
    """Draws scenes with one figure that is cleared and used again."""

    def __init__(self) -> None:
        self.figure = Figure(figsize=(SIZE / DPI, SIZE / DPI), dpi=DPI)
        self.canvas = FigureCanvasAgg(self.figure)

    def draw(self, scene: Scene) -> bytes:
        self.figure.clear()
        axes = self.figure.add_axes((0.15, 0.15, 0.8, 0.75))
        names = [mark.label for mark in scene.marks]
        colors = [np.array(BASE_SHADES[mark.color][0]) / 255 for mark in scene.marks]
        values = [mark.value for mark in scene.marks]
        match scene.kind:
            case "bar":
                axes.bar(range(len(values)), values, color=colors, tick_label=names)
            case "hbar":
                axes.barh(range(len(values)), values, color=colors, tick_label=names)
            case "pie":
                axes.pie(values, labels=names, colors=colors, textprops={"fontsize": 7})
            case "line":
                for mark, color in zip(scene.marks, colors, strict=True):
                    axes.plot(mark.points, color=color, label=mark.label)
            case "scatter":
                for mark, color in zip(scene.marks, colors, strict=True):
                    axes.scatter(*mark.points.T, color=[color], label=mark.label, s=12)
        axes.set_title("Sales", fontsize=8)
        axes.tick_params(labelsize=7)
        if scene.kind in ("line", "scatter") and scene.has_key:
            axes.legend(fontsize=6)
        self.canvas.draw()
        return encode(Image.fromarray(np.asarray(self.canvas.buffer_rgba())).convert("RGB"))


def ours(scene: Scene, index: int) -> bytes:
    return encode(render(scene, "base", rng_for(0, "chart", "train", index, 2, 0)).image)


def measure(rounds: int, each: int) -> dict[str, float]:
    peer, ratios, rates = Matplotlib(), [], {"leaml_hf": [], "matplotlib": []}
    scenes = [sample_scene("chart", "train", index) for index in range(rounds * each)]
    for index in range(20):  # fonts and caches of both
        ours(scenes[index], index)
        peer.draw(scenes[index])
    for number in range(rounds):
        part = range(number * each, (number + 1) * each)
        start = time.perf_counter()
        for index in part:
            ours(scenes[index], index)
        middle = time.perf_counter()
        for index in part:
            peer.draw(scenes[index])
        end = time.perf_counter()
        rates["leaml_hf"].append(each / (middle - start))
        rates["matplotlib"].append(each / (end - middle))
        ratios.append((end - middle) / (middle - start))
    return {
        "leaml_hf_per_s": statistics.median(rates["leaml_hf"]),
        "matplotlib_per_s": statistics.median(rates["matplotlib"]),
        "ratio": statistics.median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--each", type=int, default=40, help="charts of each side a round (default 40)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    out = measure(args.rounds, args.each)
    if args.json:
        print(json.dumps(out))
    else:
        print(f"leaml_hf    {out['leaml_hf_per_s']:8.1f} charts/s")
        print(f"matplotlib  {out['matplotlib_per_s']:8.1f} charts/s")
        print(f"ratio       {out['ratio']:8.1f}  ({out['ratio_low']:.1f} to {out['ratio_high']:.1f} by round)")


if __name__ == "__main__":
    main()
