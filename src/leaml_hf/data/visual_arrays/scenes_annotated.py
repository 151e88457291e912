"""Content of annotated pictures: shapes of measurable sizes, some with call-outs, a box around a few, a scale bar."""

import numpy as np

from .scenes import SHAPES, Mark, Scene, draw_colors
from .words import ORDERED_WORDS

COLUMNS, ROWS = 4, 4
FIELD = (0.18, 0.04, 0.82, 0.84)  # left, top, right, bottom of where shapes lie; call-outs and scale bar lie around it
BAR_VALUES = (4, 8, 20, 40, 80, 200, 400)
QUARTERS = (2, 3, 4, 5)  # widths of shapes, in quarters of the scale bar
MAX_CALL_OUTS = 5
MARGIN = 0.006  # between shapes and the lines of the grid, along which the box runs


def sample_annotated(rng: np.random.Generator) -> Scene:
    """4 to 8 shapes, no two alike; some have a call-out and some lie in the box, but never all and never none."""
    n = int(rng.integers(4, 9))
    palette, kinds = draw_colors(rng, int(rng.integers(3, 6))), [SHAPES[i] for i in rng.permutation(len(SHAPES))[:4]]
    looks = [(color, shape) for color in palette for shape in kinds]
    looks = [looks[i] for i in rng.permutation(len(looks))[:n]]
    labels = [""] * n
    letters = rng.permutation(list(ORDERED_WORDS["letter"]))
    for i in rng.permutation(n)[: int(rng.integers(2, min(n - 1, MAX_CALL_OUTS) + 1))]:
        labels[i] = str(letters[i])
    bar = rng.uniform(0.104, 0.116)
    left, top, right, bottom = FIELD
    wide, high = (right - left) / COLUMNS, (bottom - top) / ROWS
    region, cells = _region_and_cells(rng, n)
    marks = []
    for (color, shape), label, cell in zip(looks, labels, cells, strict=True):
        size = bar * QUARTERS[rng.integers(len(QUARTERS))] / 4
        x = left + cell % COLUMNS * wide + rng.uniform(MARGIN, wide - size - MARGIN)
        y = top + cell // COLUMNS * high + rng.uniform(MARGIN, high - size - MARGIN)
        marks.append(Mark(label, color, shape, size / bar, box=(x, y, x + size, y + size)))
    a, b, c, d = region
    box = (left + a * wide, top + b * high, left + c * wide, top + d * high)
    step = BAR_VALUES[rng.integers(len(BAR_VALUES))]
    return Scene("annotated", "annotated", marks, step=step, scale_bar=bar, region=box)


def _region_and_cells(rng: np.random.Generator, n: int) -> tuple[tuple[int, int, int, int], np.ndarray]:
    """A box along the lines of the grid (first and last column and row), and cells for n shapes: 1 to n - 1 in it."""
    width, height = int(rng.integers(2, COLUMNS)), int(rng.integers(2, ROWS))
    first, top = int(rng.integers(COLUMNS - width + 1)), int(rng.integers(ROWS - height + 1))
    grid = np.arange(COLUMNS * ROWS)
    inside = (grid % COLUMNS >= first) & (grid % COLUMNS < first + width)
    inside &= (grid // COLUMNS >= top) & (grid // COLUMNS < top + height)
    most = min(n - 1, int(inside.sum()))
    count = int(rng.integers(max(1, n - int((~inside).sum())), most + 1))
    cells = np.concatenate([rng.permutation(grid[inside])[:count], rng.permutation(grid[~inside])[: n - count]])
    return (first, top, first + width, top + height), rng.permutation(cells)
