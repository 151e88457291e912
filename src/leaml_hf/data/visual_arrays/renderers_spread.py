"""Draws area charts and box plots."""

import math

import numpy as np

from .canvas import Canvas
from .renderers_grid import open_plot, write_names
from .scenes import Scene
from .scenes_boxes import BOTTOM, LOWER, MEDIAN, TOP, UPPER

STRIPS = 8  # boxes of an area between two names of the axis


def draw_areas(canvas: Canvas, scene: Scene) -> None:
    """Stacked areas, or areas that overlap: these pale and with a line in full colour, the lowest in front."""
    place, _ = open_plot(canvas, scene, None)
    x0, y0, x1, y1 = canvas.area
    colors = [canvas.shade(mark.color) for mark in scene.marks]
    length = len(scene.x_labels)
    every = math.ceil(sum(canvas.text_width(word) + 8 for word in scene.x_labels) / (x1 - x0))
    across = np.linspace(x0, x1, length)
    for x, word in zip(across[::every].tolist(), scene.x_labels[::every], strict=True):
        canvas.text(x, y1 + 4, word, "mt")
    table = scene.values
    uppers = table.cumsum(0) if scene.stacked else table
    lowers = uppers - table if scene.stacked else np.zeros_like(table)
    order = list(range(len(table))) if scene.stacked else np.argsort(-table.mean(1)).tolist()
    dense = np.linspace(x0, x1, STRIPS * (length - 1) + 1)
    tops, bottoms = (y1 - (y1 - y0) * rows / scene.reach for rows in (uppers, lowers))
    shapes = np.empty((len(table), 2 * length, 2))  # along the top and back along the bottom
    shapes[:, :length, 0], shapes[:, :length, 1] = across, tops
    shapes[:, length:, 0], shapes[:, length:, 1] = across[::-1], bottoms[:, ::-1]
    boxes = np.empty((len(table), len(dense), 4))
    boxes[..., 0], boxes[..., 2] = np.maximum(dense - 4, x0), np.minimum(dense + 4, x1)
    for own, *edges in zip(boxes, tops, bottoms, strict=True):
        top, bottom = (np.interp(dense, across, edge) for edge in edges)
        own[:, 1] = top - 2
        own[:, 3] = np.maximum(bottom if scene.stacked else np.minimum(bottom, top + 10), top + 2)
    canvas.note_all(boxes.reshape(-1, 4), [len(dense)] * len(table))
    with canvas.close_up((x0 - 4, y0 - 4, x1 + 4, y1 + 4)):
        for i in order:
            pale = tuple(int(0.55 * c + 0.45 * g) for c, g in zip(colors[i], canvas.ground, strict=True))
            canvas.draw.polygon(shapes[i], fill=colors[i] if scene.stacked else pale)
        for i in order:
            color, width = (canvas.ground, 2) if scene.stacked else (colors[i], 6)
            canvas.stroke(shapes[i, :length], color, width)
    if place:
        canvas.legend(scene.marks, colors, place)


def draw_boxes(canvas: Canvas, scene: Scene) -> None:
    """Boxes with whiskers, a line at each median and dots for outliers."""
    names = [mark.label for mark in scene.marks]
    _, angle = open_plot(canvas, scene, names)
    x0, y0, x1, y1 = canvas.area
    slot = (x1 - x0) / len(names)
    width = slot * canvas.rng.uniform(0.4, 0.7)
    colors = [canvas.shade(mark.color) for mark in scene.marks]
    if scene.single_color:
        colors = colors[:1] * len(names)
    cap = width * canvas.choice((0.25, 0.4))
    centres = [x0 + (i + 0.5) * slot for i in range(len(names))]
    for i, (mark, x) in enumerate(zip(scene.marks, centres, strict=True)):
        ys = [y1 - (y1 - y0) * value / scene.reach for value in mark.points.tolist()]
        for end, edge in ((ys[LOWER], ys[BOTTOM]), (ys[UPPER], ys[TOP])):
            canvas.stroke([(x, edge), (x, end)], canvas.ink, 3)
            canvas.stroke([(x - cap, end), (x + cap, end)], canvas.ink, 3)
        box = (x - width / 2, ys[TOP], x + width / 2, ys[BOTTOM])
        canvas.fill_box(box, colors[i])
        canvas.stroke([box[:2], (box[2], box[1]), box[2:], (box[0], box[3]), box[:2]], canvas.ink, 2)
        dark = sum(colors[i]) < 300
        canvas.stroke([(box[0] + 1, ys[MEDIAN]), (box[2] - 1, ys[MEDIAN])], (255, 255, 255) if dark else (0, 0, 0), 5)
        whisker = (x - cap, ys[UPPER] - 2, x + cap, ys[LOWER] + 2)
        canvas.note(i, box, whisker)
        for y in ys[UPPER + 1 :]:
            canvas.marker("ring" if canvas.outline else "dot", x, y, 6, canvas.ink)
            canvas.note(i, (x - 7, y - 7, x + 7, y + 7))
    for i, box in enumerate(write_names(canvas, names, centres, angle)):
        canvas.note(i, box)
