"""Draws annotated pictures: shapes with call-outs at the margins, a box around some of them, a scale bar below."""

import math

from .canvas import FULL, Box, Canvas
from .renderers_layout import draw_shape
from .scenes import Mark, Scene, centre
from .scenes_annotated import FIELD

GAP = 0.1  # between call-outs of one side
UNITS = ("mm", "cm", "m", "km")


def draw_annotated(canvas: Canvas, scene: Scene) -> None:
    left, top, right, bottom = (v * FULL for v in FIELD)
    if canvas.rng.random() < 0.6 and canvas.backdrop is None:  # a plate that the shapes lie on
        tint = tuple(int(0.92 * v + 0.08 * i) for v, i in zip(canvas.ground, canvas.ink, strict=True))
        canvas.draw.rounded_rectangle((left - 8, top - 8, right + 8, bottom + 8), radius=60, fill=tint)
    for i, mark in enumerate(scene.marks):
        box = tuple(v * FULL for v in mark.box)
        draw_shape(canvas, mark.shape, box, canvas.shade(mark.color))
        canvas.note(i, box)
    _region(canvas, tuple(v * FULL for v in scene.region))
    end = str(canvas.choice(canvas.conventions.markers))
    centres = [centre(mark.box) for mark in scene.marks]
    middle = (FIELD[0] + FIELD[2]) / 2
    for x, anchor in ((0.04, "lm"), (0.96, "rm")):
        side = [i for i, mark in enumerate(scene.marks) if mark.label and (centres[i][0] < middle) == (x < 0.5)]
        side.sort(key=lambda i: centres[i][1])
        for i, y in zip(side, _spread([centres[i][1] for i in side]), strict=True):
            _call_out(canvas, i, scene.marks[i], x * FULL, y * FULL, anchor, end)
    _scale_bar(canvas, scene)


def _spread(heights: list[float]) -> list[float]:
    """Heights in rising order, moved apart to `GAP`."""
    places: list[float] = []
    for height in heights:
        places.append(max(height, places[-1] + GAP) if places else max(height, 0.06))
    limit = FIELD[3]
    for k in reversed(range(len(places))):
        places[k] = min(places[k], limit)
        limit = places[k] - GAP
    return places


def _region(canvas: Canvas, box: Box) -> None:
    left, top, right, bottom = box
    if canvas.conventions.hatch or canvas.rng.random() < 0.4:
        for line in ((left, top, right, top), (left, bottom, right, bottom), (left, top, left, bottom),
                     (right, top, right, bottom)):  # fmt: skip
            canvas.broken_line(line, 8, canvas.ink)
    else:
        canvas.draw.rounded_rectangle(box, radius=canvas.corner, outline=canvas.ink, width=3)
    canvas.annotate("region", box)


def _call_out(canvas: Canvas, i: int, mark: Mark, x: float, y: float, anchor: str, end: str) -> None:
    """A name at the margin with a line to its shape: to the middle, or as an arrow to the edge (`end` "none")."""
    (cx, cy), size = (v * FULL for v in centre(mark.box)), canvas.font_size
    width = canvas.text_width(mark.label, size)
    start = x + (width + 5) * (1 if anchor == "lm" else -1)
    away = math.hypot(cx - start, cy - y)
    ux, uy = (cx - start) / away, (cy - y) / away
    is_arrow = end in ("none", "triangle")
    short = (mark.box[2] - mark.box[0]) * FULL / 2 * 0.9 if is_arrow else 0.0
    tip = (cx - ux * short, cy - uy * short)
    if canvas.conventions.tags:  # the line has a knee
        knee = (start + (cx - start) * 0.3, y)
        canvas.draw.line((start, y, *knee, *tip), fill=canvas.ink, width=3, joint="curve")
        canvas.note(i, canvas.tag((x, y, 2 * start - x, y) if anchor == "lm" else (2 * start - x, y, x, y),
                                  mark.label, size))  # fmt: skip
    else:
        canvas.draw.line((start, y, *tip), fill=canvas.ink, width=3)
        canvas.note(i, canvas.text(x, y, mark.label, anchor, size))
    if is_arrow:
        canvas.arrow_head(tip, (ux, uy), 14 if end == "triangle" else 10)
        return
    for radius, color in ((7, canvas.ground), (5, canvas.ink)):  # with a rim, so that it shows on any color
        canvas.marker(end, cx, cy, radius, color)


def _scale_bar(canvas: Canvas, scene: Scene) -> None:
    """A bar with its length in figures, at the lower left, middle or right."""
    length, y = scene.scale_bar * FULL, 0.955 * FULL
    x = canvas.choice((0.08, 0.5 - scene.scale_bar / 2, 0.92 - scene.scale_bar)) * FULL
    canvas.draw.rectangle((x, y - 3, x + length, y + 3), fill=canvas.ink)
    if canvas.conventions.minor_ticks:
        canvas.draw.rectangle((x + length / 4, y - 1, x + length / 2, y + 1), fill=canvas.ground)
        for spot in (x, x + length):
            canvas.draw.line((spot, y - 8, spot, y + 8), fill=canvas.ink, width=2)
    text = f"{scene.step:g} {canvas.choice(UNITS)}"
    written = canvas.text(x + length / 2, y - 7, text, "mb", min(canvas.font_size, 22))
    canvas.annotate("scale bar", (x, y - 3, x + length, y + 3), written)
