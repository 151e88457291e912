"""Draws shapes on a page, and boxes around them."""

import math

from .canvas import FULL, Box, Canvas
from .scenes import Mark, Scene, centre, is_box
from .scenes_containment import EDGE


def polygon(shape: str, box: Box) -> list[tuple[float, float]]:
    """Corners of a shape inscribed in `box`."""
    x0, y0, x1, y1 = box
    cx, cy, r = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2
    if shape == "square":
        return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    if shape == "cross":
        a, b = r / 3, r
        offsets = [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b), (-a, b), (-a, a), (-b, a), (-b, -a),
                   (-a, -a)]  # fmt: skip
        return [(cx + dx, cy + dy) for dx, dy in offsets]
    corners = {"triangle": 3, "diamond": 4, "hexagon": 6, "star": 10}[shape]
    radii = [r if shape != "star" or k % 2 == 0 else 0.42 * r for k in range(corners)]
    turns = [2 * math.pi * k / corners - math.pi / 2 for k in range(corners)]
    return [(cx + q * math.cos(t), cy + q * math.sin(t)) for q, t in zip(radii, turns, strict=True)]


def draw_shape(canvas: Canvas, shape: str, box: Box, color: tuple[int, int, int]) -> None:
    """A filled shape inscribed in a pixel box."""
    outline = canvas.ink if canvas.outline else None
    if shape == "circle":
        canvas.draw.ellipse(box, fill=color, outline=outline, width=3)
    else:
        canvas.draw.polygon(polygon(shape, box), fill=color, outline=outline, width=3)


def draw_mark(canvas: Canvas, i: int, mark: Mark) -> tuple[int, int, int]:
    """A shape with its name, inside or on a tag; both are noted as parts of mark `i`. Returns its color."""
    box, color = tuple(v * FULL for v in mark.box), canvas.shade(mark.color)
    draw_shape(canvas, mark.shape, box, color)
    canvas.note(i, box)
    if mark.label and canvas.conventions.tags:
        canvas.note(i, canvas.tag(box, mark.label, canvas.font_size))
    elif mark.label:
        size = canvas.font_size + 4
        size = int(size * min(1.0, (box[2] - box[0] - 6) / canvas.text_width(mark.label, size)))
        ink, canvas.ink = canvas.ink, (255, 255, 255) if sum(color) < 380 else (0, 0, 0)
        canvas.text(*centre(box), mark.label, "mm", size)
        canvas.ink = ink
    return color


def draw_page(canvas: Canvas) -> None:
    """What lies behind a scene: ruled paper, a frame with a scale along two sides, or nothing."""
    if canvas.conventions.hatch and canvas.rng.random() < 0.5 and canvas.backdrop is None:
        for y in range(0, FULL, 28):
            canvas.draw.line((0, y, FULL, y), fill=canvas.grid_color, width=2)
    if canvas.conventions.frame:
        for k in range(1, 10):
            spot = FULL * k / 10
            canvas.draw.line((spot, 0, spot, 8), fill=canvas.ink, width=2)
            canvas.draw.line((0, spot, 8, spot), fill=canvas.ink, width=2)
        canvas.draw.rectangle((0, 0, FULL - 1, FULL - 1), outline=canvas.ink, width=3)


def draw_layout(canvas: Canvas, scene: Scene) -> None:
    draw_page(canvas)
    for i, mark in enumerate(scene.marks):
        draw_mark(canvas, i, mark)


def draw_containment(canvas: Canvas, scene: Scene) -> None:
    draw_page(canvas)
    edge = round(EDGE * FULL)
    for i, mark in enumerate(scene.marks):
        if not is_box(mark):
            draw_mark(canvas, i, mark)
            continue
        left, top, right, bottom = box = tuple(v * FULL for v in mark.box)
        canvas.draw.rounded_rectangle(box, radius=canvas.corner, outline=canvas.shade(mark.color), width=edge)
        canvas.note(i, (left, top, right, top + edge), (left, bottom - edge, right, bottom),
                    (left, top, left + edge, bottom), (right - edge, top, right, bottom))  # fmt: skip
