"""Draws charts."""

import contextlib
import itertools
import math

import numpy as np

from .canvas import FULL, Canvas
from .scenes import Scene

ARC = np.linspace(0, 1, 49)  # points of a slice's arc


def legend_margins(canvas: Canvas, scene: Scene, place: str | None) -> dict[str, float]:
    """Pixels around the plot that titles and a legend at `place` take."""
    if place is None:
        return {"left": 8, "right": 12, "top": 42, "bottom": 12}
    widest = canvas.legend_width(scene.marks) + 8
    rows = canvas.legend_rows(scene.marks)[1] * (canvas.legend_size + 8)
    return {
        "left": 8 + (widest if place == "left" else 0),
        "right": 12 + (widest if place == "right" else 0),
        "top": 42 + (rows + 6 if place == "top" else 0),
        "bottom": 12 + (rows if place == "bottom" else 0),
    }


def draw_bars(canvas: Canvas, scene: Scene) -> None:
    marks, vertical = scene.marks, scene.kind == "bar"
    colors = [canvas.shade(m.color) for m in marks]
    if scene.single_color:
        colors = colors[:1] * len(marks)
    canvas.title()
    place = canvas.legend_place(scene)
    margin = legend_margins(canvas, scene, place)
    number = canvas.number_room(scene)
    words = max(canvas.text_width(m.label) for m in marks) + 10
    left, right = (8, number) if canvas.opposite else (number, 0)
    title = canvas.axis_title(vertical, margin)
    angle = names_angle(canvas, words, (FULL - left - right - title) / len(marks)) if vertical else 0
    mirrored = not vertical and canvas.rng.random() < canvas.conventions.mirrored
    if vertical:
        below = {0: 2 * canvas.font_size, 45: 0.71 * (words + canvas.font_size), 90: words}[angle]
        above = canvas.font_size if scene.show_values else 0
        canvas.plot_area(margin["left"] + left + title, margin["right"] + right, margin["top"] + above,
                         margin["bottom"] + (0 if place else below))  # fmt: skip
    else:
        top = margin["top"] + (canvas.font_size if canvas.opposite else 0)
        end = max(number, canvas.text_width(max(map(scene.value_text, marks), key=len)) if scene.show_values else 0)
        sides = (8 if place else words, end)
        before, behind = sides[::-1] if mirrored else sides
        canvas.plot_area(margin["left"] + before, margin["right"] + behind, top,
                         margin["bottom"] + canvas.font_size + 8 + title)  # fmt: skip
    canvas.value_axis(scene, vertical, mirrored)
    x0, y0, x1, y1 = canvas.area
    slot = ((x1 - x0) if vertical else (y1 - y0)) / len(marks)
    width = slot * canvas.rng.uniform(0.5, 0.92)
    crowded = vertical and max(canvas.text_width(m.label) for m in marks) > slot - 4
    for i, mark in enumerate(marks):
        centre = (i + 0.5) * slot
        reach = mark.value / scene.reach
        if vertical:
            box = (x0 + centre - width / 2, y1 - (y1 - y0) * reach, x0 + centre + width / 2, y1)
        elif mirrored:
            box = (x1 - (x1 - x0) * reach, y0 + centre - width / 2, x1, y0 + centre + width / 2)
        else:
            box = (x0, y0 + centre - width / 2, x0 + (x1 - x0) * reach, y0 + centre + width / 2)
        canvas.fill_box(box, colors[i])
        canvas.note(i, box)
        if not place:
            if angle == 90:
                canvas.note(i, canvas.text(x0 + centre, y1 + 4, mark.label, "mt", angle=90))
            elif angle:
                canvas.note(i, canvas.text(x0 + centre + canvas.font_size / 2, y1 + 2, mark.label, "rt", angle=angle))
            elif vertical:
                low = canvas.font_size * 0.95 if crowded and i % 2 else 0  # long names stand in two rows
                canvas.note(i, canvas.text(x0 + centre, y1 + 2 + low, mark.label, "mt"))
            elif mirrored:
                canvas.note(i, canvas.text(x1 + 6, y0 + centre, mark.label, "lm"))
            else:
                canvas.note(i, canvas.text(x0 - 6, y0 + centre, mark.label, "rm"))
        if scene.show_values:
            text = scene.value_text(mark)
            if vertical:
                spot = (x0 + centre, box[1] - 2, text, "mb")
            else:
                spot = (box[0] - 4, y0 + centre, text, "rm") if mirrored else (box[2] + 4, y0 + centre, text, "lm")
            canvas.note(i, canvas.text(*spot))
    if place:
        canvas.legend(marks, colors, place)


def names_angle(canvas: Canvas, widest: float, slot: float) -> int:
    """Degrees by which the names under bars are turned; long ones always are."""
    turned = canvas.rng.random() - canvas.conventions.upward_names
    if turned < 0 or (widest > 1.9 * slot and turned < 0.4):
        return 90
    return 45 if turned < canvas.conventions.slanted_names or widest > 1.9 * slot else 0


def draw_series(canvas: Canvas, scene: Scene) -> None:
    """Lines and scatter: value axis, legend, and x words or none."""
    marks, lines = scene.marks, scene.kind == "line"
    colors = [canvas.shade(m.color) for m in marks]
    canvas.title()
    place = canvas.legend_place(scene)
    margin = legend_margins(canvas, scene, place)
    number = canvas.number_room(scene)
    title = canvas.axis_title(True, margin)
    left, right = (8, number) if canvas.opposite else (number, 0)
    canvas.plot_area(margin["left"] + left + title, margin["right"] + right, margin["top"],
                     margin["bottom"] + canvas.font_size + 8)  # fmt: skip
    canvas.value_axis(scene, vertical=True)
    x0, y0, x1, y1 = canvas.area
    kind = canvas.choice(canvas.conventions.markers)
    if not lines and kind == "none":
        kind = "dot"
    thick = canvas.rng.integers(3, 9)
    radius = canvas.rng.uniform(8, 12) if scene.dots else canvas.rng.uniform(5, 8)
    if lines:
        count = len(scene.x_labels)
        half, apart = [canvas.text_width(word) / 2 + 4 for word in scene.x_labels], 0.92 * (x1 - x0) / (count - 1)
        every = next(step for step in range(1, count + 1)
                     if all(half[i] + half[i + step] < step * apart for i in range(0, count - step, step))
                     )  # fmt: skip
        for i in range(0, count, every):
            canvas.text(x0 + (x1 - x0) * (0.04 + 0.92 * i / (count - 1)), y1 + 4, scene.x_labels[i], "mt")
    if lines:
        spots = np.empty((len(marks), count, 2))
        spots[..., 0] = x0 + (x1 - x0) * np.linspace(0.04, 0.96, count)
        spots[..., 1] = y1 - (y1 - y0) / scene.reach * scene.values
        steps = np.arange(pieces := max(2, 24 // count))[:, None] / pieces
        traced = (spots[:, :-1, None] + steps * np.diff(spots, axis=1)[:, :, None]).reshape(len(marks), -1, 2)
        margin = radius + thick
        plot = (x0, spots[..., 1].min() - margin, x1, spots[..., 1].max() + margin)
    else:
        spots = traced = [(x0, y1) + (x1 - x0, y0 - y1) * mark.points for mark in marks]
    canvas.note_spots(traced, 4 if lines else 6)
    with canvas.close_up(plot) if lines else contextlib.nullcontext():
        for i, color in enumerate(colors):
            if lines:
                canvas.draw.line(spots[i], fill=color, width=thick, joint="curve")
            if not lines or (kind != "none" and count <= 8):
                for x, y in spots[i].tolist():
                    canvas.marker(kind, x, y, radius, color)
    if place:
        canvas.legend(marks, colors, place)


def draw_pie(canvas: Canvas, scene: Scene) -> None:
    marks = scene.marks
    colors = [canvas.shade(m.color) for m in marks]
    canvas.title()
    place = canvas.legend_place(scene)
    margin = legend_margins(canvas, scene, place)
    around = 0 if place else max(canvas.text_width(m.label) for m in marks) * 0.8 + 6
    canvas.area = (margin["left"] + around, margin["top"] + (0 if place else 22), FULL - margin["right"] - around,
                   FULL - margin["bottom"] - (0 if place else 22))  # fmt: skip
    x0, y0, x1, y1 = canvas.area
    cx, cy, r = (x0 + x1) / 2, (y0 + y1) / 2, min(x1 - x0, y1 - y0) / 2
    hole = r * canvas.rng.uniform(0.35, 0.55) if canvas.rng.random() < canvas.conventions.donut else 0.0
    angle = canvas.rng.uniform(0, 360)
    border = canvas.ground if canvas.rng.random() < 0.5 else (canvas.ink if canvas.outline else None)
    turns = np.radians(angle + 3.6 * np.cumsum([0.0, *(mark.value for mark in marks)]))
    arcs = turns[:-1, None] + np.diff(turns)[:, None] * ARC
    unit = np.stack([np.cos(arcs), np.sin(arcs)], -1)  # [slices, points, 2]
    with canvas.close_up((cx - r, cy - r, cx + r + 1, cy + r + 1), is_empty=True):
        rim = 3 if border else 0
        if border:
            canvas.draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=border)
        slices = np.empty((len(marks), 1 + len(ARC), 2))
        slices[:, 0], slices[:, 1:] = (cx, cy), (cx, cy) + (r - rim) * unit
        for color, shape in zip(colors, slices, strict=True):
            canvas.draw.polygon(shape, fill=color)
        if border:
            for end in ((cx, cy) + (r - 1) * unit[:, -1]).tolist():
                canvas.draw.line((cx, cy, *end), fill=border, width=rim)
        if hole:
            canvas.draw.ellipse((cx - hole, cy - hole, cx + hole, cy + hole), fill=canvas.ground)
    radii = hole + (r - hole) * np.array([0.35, 0.6, 0.85])[:, None]
    ends = turns.tolist()
    counts = [max(2, int(mark.value / 3)) for mark in marks]
    inner = np.concatenate([start + (end - start) / (count + 1) * np.arange(1, count + 1)
                            for count, start, end in zip(counts, ends[:-1], ends[1:], strict=True)])  # fmt: skip
    rays = np.stack([cx + radii * np.cos(inner), cy + radii * np.sin(inner)], -1)  # [radii, angles, 2]
    behind = itertools.accumulate(counts)
    canvas.note_spots([rays[:, last - count : last].reshape(-1, 2)
                       for count, last in zip(counts, behind, strict=True)], 5)  # fmt: skip
    if not place:
        for i, mark in enumerate(marks):
            a = (ends[i] + ends[i + 1]) / 2
            x, y = cx + (r + 8) * math.cos(a), cy + (r + 14) * math.sin(a)
            anchor = "l" if math.cos(a) > 0.3 else "r" if math.cos(a) < -0.3 else "m"
            canvas.note(i, canvas.text(x, y, mark.label, anchor + "m"))
    if place:
        canvas.legend(marks, colors, place)
