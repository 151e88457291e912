"""Shapes on a page must look as if drawn by Pillow at double size and reduced."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from leaml_hf.data.visual_arrays.pen import SCALE, Pen

SIZE = 40
INK, PAPER, OTHER = (20, 60, 200), (250, 240, 230), (200, 30, 90)
SHAPES = {
    "box": ("rectangle", (11, 12, 40.7, 33.2), {"fill": INK}),
    "box with an outline": ("rectangle", (10.5, 13, 41, 30), {"fill": INK, "outline": OTHER, "width": 3}),
    "thin box": ("rectangle", (11, 12, 11, 33), {"fill": INK}),
    "box beyond the page": ("rectangle", (51, 62, 90, 95), {"fill": INK}),
    "line across": ("line", (5, 17, 61, 17), {"fill": INK, "width": 2}),
    "thick line down": ("line", (22.4, 8, 22.9, 50), {"fill": INK, "width": 5}),
    "slanted line": ("line", (5, 9, 61, 37), {"fill": INK, "width": 4}),
    "disc": ("ellipse", (13, 20, 28, 35), {"fill": INK}),
    "polygon": ("polygon", [(10, 10), (60.5, 22), (31, 55)], {"fill": INK}),
    "rounded box": ("rounded_rectangle", (9, 9, 52, 43), {"radius": 8, "fill": INK, "outline": OTHER, "width": 3}),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_as_if_drawn_at_double_size(name):
    kind, place, look = SHAPES[name]
    page, large = (Image.new("RGB", (side, side), PAPER) for side in (SIZE, SIZE * SCALE))
    getattr(Pen(page), kind)(place, **look)
    getattr(ImageDraw.Draw(large), kind)(place, **look)
    expected = np.asarray(large.reduce(SCALE), int)
    assert (expected != PAPER).any()
    assert np.abs(np.asarray(page, int) - expected).max() <= 2


@pytest.mark.parametrize("is_empty", [True, False])
def test_a_close_up_changes_but_what_is_drawn_in_it(is_empty):
    page = Image.new("RGB", (SIZE, SIZE), PAPER)
    Pen(page).rectangle((0, 0, 20, 20), fill=OTHER)
    before = np.asarray(page)
    with Pen(page).close_up((31, 31, 70, 70), is_empty) as near:
        near.line([(35, 40), (50, 60), (66, 41)], fill=INK, width=4, joint="curve")
    changed = (np.asarray(page) != before).any(-1)
    assert changed.any()
    assert not changed[:15].any()
    assert not changed[:, :15].any()


def test_a_close_up_beyond_the_page_is_left_out():
    page = Image.new("RGB", (SIZE, SIZE), PAPER)
    Pen(page).line((200, 210, 260, 250), fill=INK, width=3)
    assert page.getcolors() == [(SIZE * SIZE, PAPER)]
