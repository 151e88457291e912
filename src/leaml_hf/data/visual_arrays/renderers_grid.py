"""Draws charts with a cell for each pair of names: grouped bars, stacked bars and heat maps."""

from collections.abc import Callable

import numpy as np

from .canvas import FULL, Box, Canvas
from .renderers_chart import legend_margins, names_angle
from .scenes import Scene

Color = tuple[int, int, int]
BESIDE = 0.26  # of the page, at most, for a legend beside many bars
TINT, DEEP = 0.9, 0.62  # how far the ends of a heat map's scale are from its hue: to white, to black


def open_plot(canvas: Canvas, scene: Scene, names: list[str] | None) -> tuple[str | None, int]:
    """Title, axes, and room for a legend and for names of places below, or for a line of print where there are none;
    returns the place of the legend and the names' angle."""
    canvas.title()
    place = canvas.legend_place(scene)
    if place in ("left", "right") and canvas.legend_width(scene.marks) > BESIDE * FULL:
        place = next(other for other in canvas.conventions.legend_places if other in ("top", "bottom"))
    margin = legend_margins(canvas, scene, place)
    number = canvas.number_room(scene)
    title = canvas.axis_title(True, margin)
    left, right = (8, number) if canvas.opposite else (number, 0)
    room = FULL - margin["left"] - margin["right"] - left - right - title
    angle, below = names_below(canvas, names, room / len(names)) if names else (0, canvas.font_size + 8)
    canvas.plot_area(margin["left"] + left + title, margin["right"] + right, margin["top"], margin["bottom"] + below)
    canvas.value_axis(scene, vertical=True)
    return place, angle


def names_below(canvas: Canvas, names: list[str], slot: float) -> tuple[int, float]:
    """Angle of the names under slots of some pixels, and the room that they take."""
    words = max(map(canvas.text_width, names)) + 10
    angle = names_angle(canvas, words, slot)
    return angle, {0: 2 * canvas.font_size, 45: 0.71 * (words + canvas.font_size), 90: words}[angle] + 2


def write_names(canvas: Canvas, names: list[str], centres: list[float], angle: int) -> list[Box]:
    """Names under the plot, at some pixels from the left; returns their boxes."""
    y = canvas.area[3]
    if angle == 90:
        return [canvas.text(x, y + 4, name, "mt", angle=90) for x, name in zip(centres, names, strict=True)]
    if angle:
        half = canvas.font_size / 2
        return [canvas.text(x + half, y + 2, name, "rt", angle=45) for x, name in zip(centres, names, strict=True)]
    crowded = max(map(canvas.text_width, names)) > centres[1] - centres[0] - 4  # long names stand in two rows
    low = canvas.font_size * 0.95 if crowded else 0
    return [canvas.text(x, y + 2 + low * (k % 2), name, "mt")
            for k, (x, name) in enumerate(zip(centres, names, strict=True))]  # fmt: skip


def _finish(canvas: Canvas, scene: Scene, colors: list[Color], place: str | None, angle: int) -> None:
    """Names of the places, which no mark owns, and the legend."""
    x0, _, x1, _ = canvas.area
    slot = (x1 - x0) / len(scene.x_labels)
    centres = [x0 + (k + 0.5) * slot for k in range(len(scene.x_labels))]
    for k, box in enumerate(write_names(canvas, list(scene.x_labels), centres, angle)):
        canvas.annotate(f"place {k}", box)
    if place:
        canvas.legend(scene.marks, colors, place)


def draw_grouped(canvas: Canvas, scene: Scene) -> None:
    """Bars of all series side by side at each place."""
    place, angle = open_plot(canvas, scene, list(scene.x_labels))
    colors = [canvas.shade(mark.color) for mark in scene.marks]
    x0, y0, x1, y1 = canvas.area
    slot = (x1 - x0) / len(scene.x_labels)
    width = slot * canvas.rng.uniform(0.7, 0.86) / len(scene.marks)
    gap = canvas.rng.uniform(0, 0.12) * width
    table = scene.values.tolist()
    for i, k in scene.cells:
        left = x0 + (k + 0.5) * slot + (i - len(scene.marks) / 2) * width
        box = (left, y1 - (y1 - y0) * table[i][k] / scene.reach, left + width - gap, y1)
        canvas.fill_box(box, colors[i])
        canvas.note(scene.cell(i, k), box)
    _finish(canvas, scene, colors, place, angle)


def draw_stacked(canvas: Canvas, scene: Scene) -> None:
    """Parts on top of each other at each place, the first mark at the bottom."""
    place, angle = open_plot(canvas, scene, list(scene.x_labels))
    colors = [canvas.shade(mark.color) for mark in scene.marks]
    x0, y0, x1, y1 = canvas.area
    slot = (x1 - x0) / len(scene.x_labels)
    width = slot * canvas.rng.uniform(0.5, 0.85)
    edges = np.cumsum([np.zeros(len(scene.x_labels)), *(mark.points for mark in scene.marks)], 0) / scene.reach
    edges = edges.tolist()
    for i, k in scene.cells:
        left = x0 + (k + 0.5) * slot - width / 2
        box = (left, y1 - (y1 - y0) * edges[i + 1][k], left + width, y1 - (y1 - y0) * edges[i][k])
        canvas.fill_box(box, colors[i])
        canvas.note(scene.cell(i, k), box)
    _finish(canvas, scene, colors, place, angle)


def draw_heat_map(canvas: Canvas, scene: Scene) -> None:
    """Cells from light to dark, row by row, with names at the left and below, and a scale beside or below them."""
    canvas.title()
    marks, size = scene.marks, canvas.font_size
    names = max(canvas.text_width(mark.label) for mark in marks) + 10
    at_right = canvas.choice(canvas.conventions.legend_places) in ("right", "left")
    number = canvas.number_room(scene)
    right = number + 32 if at_right else 14
    angle, below = names_below(canvas, list(scene.x_labels), (FULL - names - 8 - right) / len(scene.x_labels))
    canvas.area = (names + 8, 44, FULL - right, FULL - below - (10 if at_right else size + 44))
    x0, y0, x1, y1 = canvas.area
    wide, high = (x1 - x0) / len(scene.x_labels), (y1 - y0) / len(marks)
    scale = _scale(canvas.shade(marks[0].color))
    gap = canvas.choice((0.0, 0.0, 3.0))
    text_size = size
    table = scene.values.tolist()
    written = [scene.tick_text(value) for row in table for value in row]
    while text_size > 13 and max(canvas.text_width(text, text_size) for text in written) > wide - 6:
        text_size -= 1
    for (i, k), text in zip(scene.cells, written, strict=True):
        box = (x0 + k * wide, y0 + i * high, x0 + (k + 1) * wide - gap, y0 + (i + 1) * high - gap)
        color = scale(table[i][k] / scene.reach)
        canvas.draw.rectangle(box, fill=color)
        if scene.show_values:
            canvas.text_on(color, (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, text, text_size)
        canvas.note(scene.cell(i, k), box)
    for i, mark in enumerate(marks):
        canvas.note(i, canvas.text(x0 - 6, y0 + (i + 0.5) * high, mark.label, "rm"))
    _finish(canvas, scene, [], None, angle)
    line = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
    if canvas.outline:
        canvas.stroke(line, canvas.ink, 2)
    bar = (x1 + 12, y0, x1 + 30, y1) if at_right else (x0, FULL - size - 24, x1, FULL - size - 8)
    _color_bar(canvas, scene, scale, bar, at_right)


def _scale(hue: Color) -> Callable[[float], Color]:
    """From [0, 1] to a shade of a hue, light to dark."""
    ends = [(v + (255 - v) * TINT, v * (1 - DEEP)) for v in hue]

    def shade(share: float) -> Color:
        return tuple([int(light + (dark - light) * share) for light, dark in ends])

    return shade


def _color_bar(canvas: Canvas, scene: Scene, scale: Callable[[float], Color], box: Box, upright: bool) -> None:
    """The scale with its numbers, dark at the top or the right."""
    left, top, right, bottom = box
    steps = 24
    for step in range(steps):
        a, b = step / steps, (step + 1) / steps
        if upright:
            part = (left, bottom - (bottom - top) * b, right, bottom - (bottom - top) * a)
        else:
            part = (left + (right - left) * a, top, left + (right - left) * b, bottom)
        canvas.draw.rectangle(part, fill=scale((a + b) / 2))
    written = []
    for tick, text in scene.tick_texts.items():
        share = tick / scene.reach
        if upright:
            written.append(canvas.text(right + 5, bottom - (bottom - top) * share, text, "lm"))
        else:
            written.append(canvas.text(left + (right - left) * share, bottom + 1, text, "mt"))
    canvas.annotate("scale", box, *written)
