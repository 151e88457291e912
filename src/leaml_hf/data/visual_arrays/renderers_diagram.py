"""Draws diagrams: nodes with arrows between them, and circuits."""

import math

import numpy as np

from .canvas import FULL, Box, Canvas
from .scenes import Mark, Scene, centre

WIRE = 4
HEAD = 15  # length of an arrow's head in pixels
Point = tuple[float, float]


def _border(box: Box, towards: Point, oval: bool) -> Point:
    """Where the line from the middle of a node to a point leaves the node."""
    x, y = centre(box)
    dx, dy = towards[0] - x, towards[1] - y
    a, b = (box[2] - box[0]) / 2 + 3, (box[3] - box[1]) / 2 + 3
    scale = 1 / math.hypot(dx / a, dy / b) if oval else 1 / max(abs(dx) / a, abs(dy) / b)
    return x + dx * scale, y + dy * scale


def _text_size(canvas: Canvas, scene: Scene, boxes: list[Box]) -> int:
    """The largest font size, the page's own at most, in which every name fits its node."""
    shrink = min((box[2] - box[0] - 12) / canvas.text_width(mark.label or "?")
                 for mark, box in zip(scene.marks, boxes, strict=True))  # fmt: skip
    return max(14, int(canvas.font_size * min(1.0, shrink)))


def _ink_on(color: tuple[int, int, int]) -> tuple[int, int, int]:
    return (255, 255, 255) if sum(color) < 380 else (0, 0, 0)


def _node(canvas: Canvas, mark: Mark, box: Box, color: tuple[int, int, int], size: int) -> Box:
    """Draws a node with its name; returns the box of both."""
    draw, oval = canvas.draw, mark.shape == "oval"
    outline, width = (canvas.ink, 3) if canvas.outline or mark.state == "final" else (None, 1)
    if oval:
        draw.ellipse(box, fill=color, outline=outline, width=width)
    else:
        draw.rounded_rectangle(box, radius=canvas.corner, fill=color, outline=outline, width=width)
    if mark.state == "final":
        inner = tuple(v + d for v, d in zip(box, (7, 7, -7, -7), strict=True))
        draw.ellipse(inner, outline=_ink_on(color), width=3)
    name = "?" if mark.state == "hidden" else mark.label
    if canvas.conventions.tags:
        text = canvas.tag(box, name, size)
        return (min(box[0], text[0]), text[1], max(box[2], text[2]), box[3])
    ink, canvas.ink = canvas.ink, _ink_on(color)
    text = canvas.text(*centre(box), name, "mm", size)
    canvas.ink = ink
    return (min(box[0], text[0]), box[1], max(box[2], text[2]), box[3])


def _arrow(canvas: Canvas, start: Point, end: Point, head: bool) -> None:
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = math.hypot(dx, dy)
    if length < 1:
        return
    ux, uy = dx / length, dy / length
    tail = (end[0] - ux * HEAD * 0.7, end[1] - uy * HEAD * 0.7) if head else end
    canvas.draw.line((*start, *tail), fill=canvas.ink, width=WIRE)
    if head:
        canvas.arrow_head(end, (ux, uy), HEAD)


def draw_graph(canvas: Canvas, scene: Scene) -> None:
    """Flow charts, trees, state machines and food webs."""
    marks = scene.marks
    colors = [canvas.shade(mark.color) for mark in marks]
    if scene.single_color:
        colors = colors[:1] * len(marks)
    boxes = [tuple(v * FULL for v in mark.box) for mark in marks]
    size = _text_size(canvas, scene, boxes)
    ovals = [mark.shape == "oval" for mark in marks]
    labels = []
    for link in scene.links:
        a, b = link.source, link.target
        start = _border(boxes[a], centre(boxes[b]), ovals[a])
        end = _border(boxes[b], centre(boxes[a]), ovals[b])
        _arrow(canvas, start, end, head=scene.kind != "tree")
        steps = np.linspace(0, 1, 7)[1:-1, None]
        for x, y in np.array(start) * (1 - steps) + np.array(end) * steps:
            spot = (x - 5, y - 5, x + 5, y + 5)
            canvas.note(a, spot)
            canvas.note(b, spot)
        if link.label:
            at = tuple(0.6 * s + 0.4 * e for s, e in zip(start, end, strict=True))
            labels.append((link, at))
    for i, (mark, box, color) in enumerate(zip(marks, boxes, colors, strict=True)):
        canvas.note(i, _node(canvas, mark, box, color, size))
    for link, (x, y) in labels:
        half = canvas.font_size * 0.55
        canvas.draw.ellipse((x - half, y - half, x + half, y + half), fill=canvas.ground)
        box = canvas.text(x, y, link.label, "mm")
        canvas.note(link.source, box)
        canvas.note(link.target, box)


def draw_circuit(canvas: Canvas, scene: Scene) -> None:
    """A loop of wire with symbols (IEC 60617: boxes for resistors; or zigzags)."""
    left, right, top, bottom = (v * FULL for v in (0.16, 0.84, 0.14, 0.86))
    boxes = [tuple(v * FULL for v in mark.box) for mark in scene.marks]
    zigzag = canvas.rng.random() < 0.5
    wires = [
        (left, top, right, top),
        (right, top, right, bottom),
        (left, bottom, right, bottom),
        (left, top, left, bottom),
    ]
    if scene.branches:
        x = centre(boxes[scene.branches[1]])[0]
        wires.append((x, top, x, bottom))
        for y in (top, bottom):
            canvas.draw.ellipse((x - 7, y - 7, x + 7, y + 7), fill=canvas.ink)
    for wire in wires:
        canvas.draw.line(wire, fill=canvas.ink, width=WIRE)
        canvas.annotate("wires", (wire[0] - WIRE, wire[1] - WIRE, wire[2] + WIRE, wire[3] + WIRE))
    for i, (mark, box) in enumerate(zip(scene.marks, boxes, strict=True)):
        x, y = centre(box)
        upright = abs(y - FULL / 2) < 1
        _symbol(canvas, mark, (x, y), upright, zigzag)
        if upright:
            name = canvas.text(x - 26 if x < FULL * 0.7 else x + 26, y, mark.label, "rm" if x < FULL * 0.7 else "lm")
        else:
            name = canvas.text(x, y + 24, mark.label, "mt")
        canvas.note(i, (x - 30, y - 30, x + 30, y + 30), name)


def _symbol(canvas: Canvas, mark: Mark, at: Point, upright: bool, zigzag: bool) -> None:
    """Draws a part's symbol over the wire; its own axis runs along the wire."""
    x, y = at
    ground, ink, draw = canvas.ground, canvas.ink, canvas.draw

    def place(*points: Point) -> list[Point]:
        """Points (along, across) of the symbol on the page."""
        return [(x + across, y + along) if upright else (x + along, y + across) for along, across in points]

    def box(along: float, across: float) -> Box:
        (x0, y0), (x1, y1) = place((-along, -across), (along, across))
        return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)

    if mark.shape == "resistor":
        draw.rectangle(box(28, 11), fill=ground, outline=None if zigzag else ink, width=WIRE)
        if zigzag:
            teeth = [(-28.0, 0.0), *((-24.0 + 8 * k, 11.0 if k % 2 else -11.0) for k in range(7)), (28.0, 0.0)]
            draw.line(place(*teeth), fill=ink, width=WIRE, joint="curve")
    elif mark.shape in ("lamp", "motor"):
        draw.ellipse(box(22, 22), fill=ground, outline=ink, width=WIRE)
        if mark.shape == "lamp":
            for sign in (1, -1):
                draw.line(place((-14, -14 * sign), (14, 14 * sign)), fill=ink, width=WIRE)
        else:
            canvas.text(x, y, "M", "mm")
    elif mark.shape in ("capacitor", "battery"):
        draw.rectangle(box(7, 24), fill=ground)
        second = 12 if mark.shape == "battery" else 24
        draw.line(place((-8, -24), (-8, 24)), fill=ink, width=WIRE)
        draw.line(place((8, -second), (8, second)), fill=ink, width=WIRE + (3 if mark.shape == "battery" else 0))
    else:  # switch
        draw.rectangle(box(22, 8), fill=ground)
        for along in (-24, 24):
            ((cx, cy),) = place((along, 0))
            draw.ellipse((cx - 5, cy - 5, cx + 5, cy + 5), fill=ink)
        tip = (22, -24) if mark.state == "open" else (24, 0)
        draw.line(place((-24, 0), tip), fill=ink, width=WIRE)
