"""Draws charts."""

import math

import numpy as np

from .canvas import FULL, Canvas
from .scenes import Scene


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
    thick = int(canvas.rng.integers(3, 9))
    radius = canvas.rng.uniform(8, 12) if scene.dots else canvas.rng.uniform(5, 8)
    if lines:
        count = len(scene.x_labels)
        every = math.ceil(sum(canvas.text_width(w) + 8 for w in scene.x_labels) / (x1 - x0))
        for i in range(0, count, every):
            canvas.text(x0 + (x1 - x0) * (0.04 + 0.92 * i / (count - 1)), y1 + 4, scene.x_labels[i], "mt")
    for i, mark in enumerate(marks):
        if lines:
            across = np.linspace(0.04, 0.96, len(mark.points))
            spots = np.stack([x0 + (x1 - x0) * across, y1 - (y1 - y0) * mark.points / scene.reach], 1)
            pieces = max(2, 24 // len(spots))
            steps = np.arange(pieces)[:, None] / pieces
            dense = (spots[:-1, None] + steps * (spots[1:] - spots[:-1])[:, None]).reshape(-1, 2)
            spots = spots.tolist()
            canvas.draw.line([tuple(p) for p in spots], fill=colors[i], width=thick, joint="curve")
            canvas.note(i, *((x - 4, y - 4, x + 4, y + 4) for x, y in dense.tolist()))
        else:
            spots = np.stack([x0 + (x1 - x0) * mark.points[:, 0], y1 - (y1 - y0) * mark.points[:, 1]], 1).tolist()
            canvas.note(i, *((x - 6, y - 6, x + 6, y + 6) for x, y in spots))
        if (kind != "none" and len(spots) <= 8) or not lines:
            for x, y in spots:
                canvas.marker(kind, x, y, radius, colors[i])
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
    for i, mark in enumerate(marks):
        end = angle + 3.6 * mark.value
        canvas.draw.pieslice((cx - r, cy - r, cx + r, cy + r), angle, end, fill=colors[i], outline=border, width=3)
        steps = max(2, int(mark.value / 3)) + 1
        for radius in (0.35, 0.6, 0.85):
            rho = hole + (r - hole) * radius
            for step in range(1, steps):
                a = math.radians(angle + (end - angle) * step / steps)
                x, y = cx + rho * math.cos(a), cy + rho * math.sin(a)
                canvas.note(i, (x - 5, y - 5, x + 5, y + 5))
        if not place:
            a = math.radians((angle + end) / 2)
            x, y = cx + (r + 8) * math.cos(a), cy + (r + 14) * math.sin(a)
            anchor = "l" if math.cos(a) > 0.3 else "r" if math.cos(a) < -0.3 else "m"
            canvas.note(i, canvas.text(x, y, mark.label, anchor + "m"))
        angle = end
    if hole:
        canvas.draw.ellipse((cx - hole, cy - hole, cx + hole, cy + hole), fill=canvas.ground)
    if place:
        canvas.legend(marks, colors, place)
