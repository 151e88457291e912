"""Draws a `Scene` by one variant's conventions: a 224 x 224 picture and, for each mark, the boxes of its parts."""

import math
from dataclasses import replace

import numpy as np

from .canvas import FULL, Canvas, Drawing
from .conventions import VARIANTS
from .draws import Draws
from .lettering import set_line
from .noise import clutter, sense
from .pictures import Backdrop
from .renderers_annotated import draw_annotated
from .renderers_chart import draw_bars, draw_pie, draw_series
from .renderers_diagram import draw_circuit, draw_graph
from .renderers_grid import draw_grouped, draw_heat_map, draw_stacked
from .renderers_layout import draw_containment, draw_layout
from .renderers_seating import draw_seating
from .renderers_spread import draw_areas, draw_boxes
from .scenes import Scene
from .words import sample_words

DRAW = {"bar": draw_bars, "hbar": draw_bars, "line": draw_series, "scatter": draw_series, "pie": draw_pie,
         "grouped": draw_grouped, "stacked": draw_stacked, "area": draw_areas, "heatmap": draw_heat_map,
         "boxplot": draw_boxes,
         "flow": draw_graph, "tree": draw_graph, "states": draw_graph, "food_web": draw_graph, "circuit": draw_circuit,
         "layout": draw_layout, "seating": draw_seating, "containment": draw_containment,
         "annotated": draw_annotated}  # fmt: skip


def render(scene: Scene, variant: str, rng: Draws, backdrop: Backdrop | None = None) -> Drawing:
    """Draws a scene.

    Args:
        scene (`Scene`): what to show.
        variant (`str`): a key of `VARIANTS`.
        rng (`Draws`): decides the look, never the content.
        backdrop (`Backdrop`, *optional*): a picture to draw on; nothing moves for it.

    Returns:
        `Drawing`.
    """
    noise = VARIANTS[variant].noise
    canvas = Canvas(VARIANTS[variant], rng, len(scene.marks), backdrop)
    shown = _in_capitals(scene) if noise and rng.random() < noise.capitals else scene
    DRAW[scene.kind](canvas, shown)
    canvas.settle()
    if noise:
        many = rng.generator()
        clutter(canvas, noise, scene, many)
        canvas.image = sense(canvas.image, noise, many)
    return Drawing(canvas.image, canvas.parts, canvas.texts, canvas.annotations, backdrop.source if backdrop else None)


def _in_capitals(scene: Scene) -> Scene:
    """The same scene with its names in capitals, other than the questions have them."""
    marks = [replace(mark, label=mark.label.upper()) for mark in scene.marks]
    return replace(scene, marks=marks, x_labels=tuple(label.upper() for label in scene.x_labels))


def render_page(variant: str, rng: np.random.Generator, tries: int = 60) -> tuple[Drawing, list[str]]:
    """Draws a page of names in any order and size, some of them turned: reading alone, for pre-training.

    Args:
        variant (`str`): a key of `VARIANTS`.
        rng (`np.random.Generator`): decides all.
        tries (`int`, *optional*, defaults to 60): names that are tried; those that would touch others are left out.

    Returns:
        `tuple`: the drawing, with one part for each name, and the names.
    """
    canvas = Canvas(VARIANTS[variant], Draws(int(rng.integers(2**63))), 0)
    taken = np.zeros((FULL, FULL), bool)
    written: list[str] = []
    words = [word for _ in range(tries // 4) for word in sample_words(rng, 4)]
    angles = rng.choice((0, 0, 0, 45, 90), tries).tolist()
    sizes = rng.integers(*canvas.conventions.font_sizes, tries).tolist()
    spots = rng.random((tries, 2)).tolist()
    for word, angle, size, (across, down) in zip(words, angles, sizes, spots, strict=False):
        line = set_line(canvas.family, size, word)
        long, high = line.width, line.height
        turn = math.radians(angle)
        width = long * math.cos(turn) + high * math.sin(turn)
        height = long * math.sin(turn) + high * math.cos(turn)
        left, top = 3 + across * max(1, FULL - width - 6), 3 + down * max(1, FULL - height - 6)
        place = np.s_[int(top) : int(top + height) + 3, int(left) : int(left + width) + 3]
        if taken[place].any():
            continue
        taken[place] = True
        box = canvas.text(left, top, word, "lt", size, angle)
        canvas.parts.append([])
        canvas.note(len(written), box)
        written.append(word)
    return Drawing(canvas.image, canvas.parts, canvas.texts, canvas.annotations), written
