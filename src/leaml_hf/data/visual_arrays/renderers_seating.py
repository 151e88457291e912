"""Draws a table with its chairs and the people on them, seen from above."""

from .canvas import FULL, Canvas
from .renderers_layout import draw_mark, draw_page
from .scenes import Mark, Scene, centre, chair_name


def draw_seating(canvas: Canvas, scene: Scene) -> None:
    draw_page(canvas)
    table = scene.table
    box = tuple(v * FULL for v in table.box)
    wood = tuple(int(0.82 * v + 0.18 * i) for v, i in zip(canvas.ground, canvas.ink, strict=True))
    if table.is_round:
        canvas.draw.ellipse(box, fill=wood, outline=canvas.ink, width=3)
    else:
        canvas.draw.rounded_rectangle(box, radius=canvas.corner, fill=wood, outline=canvas.ink, width=3)
    for number, chair in enumerate(table.chairs):
        box = tuple(v * FULL for v in chair)
        canvas.draw.rounded_rectangle(box, radius=14, fill=canvas.ground, outline=canvas.ink, width=3)
        canvas.annotate(chair_name(number), box)
    for i, mark in enumerate(scene.marks):
        color = draw_mark(canvas, i, mark)
        if not mark.label:
            _head(canvas, mark, color)


def _head(canvas: Canvas, mark: Mark, color: tuple[int, int, int]) -> None:
    """Makes a person of a disc that carries no name."""
    (x, y), radius = (v * FULL for v in centre(mark.box)), 0.22 * FULL * (mark.box[2] - mark.box[0])
    shade = tuple(int(0.75 * v) if sum(color) > 180 else v + 60 for v in color)
    canvas.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=shade)
