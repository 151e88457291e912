"""Content of layout scenes: shapes on a page (one of them now and then partly covered), seats at a table, boxes."""

import numpy as np

from .conventions import COLOR_NAMES
from .scenes import LAYOUT_KINDS, SHAPES, Mark, Scene, draw_colors
from .scenes_containment import sample_containment
from .scenes_seating import sample_seating
from .words import ORDERED_WORDS

SHARES = (0.6, 0.2, 0.2)  # of `LAYOUT_KINDS`


def sample_layout(rng: np.random.Generator) -> Scene:
    """One scene of any of `LAYOUT_KINDS`."""
    return _KINDS[LAYOUT_KINDS[rng.choice(len(LAYOUT_KINDS), p=SHARES)]](rng)


def _shapes(rng: np.random.Generator) -> Scene:
    """3 to 8 shapes."""
    n = int(rng.integers(3, 9))
    cells = rng.permutation(16)[:n]
    palette = draw_colors(rng, int(rng.integers(3, 7)))
    kinds = [SHAPES[i] for i in rng.permutation(len(SHAPES))[: int(rng.integers(2, 6))]]
    labels = list(rng.permutation(list(ORDERED_WORDS["letter"]))[:n]) if rng.random() < 0.4 else [""] * n
    marks = []
    for cell, label in zip(cells, labels, strict=True):
        size = rng.uniform(0.13, 0.20)
        left = 0.03 + (cell % 4) * 0.24 + rng.uniform(0, 0.22 - size)
        top = 0.03 + (cell // 4) * 0.24 + rng.uniform(0, 0.22 - size)
        color, shape = palette[rng.integers(len(palette))], kinds[rng.integers(len(kinds))]
        marks.append(Mark(str(label), color, shape, 0.0, box=(left, top, left + size, top + size)))
    occluded = None
    if rng.random() < 0.4:
        behind = int(rng.integers(n - 1))
        left, top, right, _ = marks[behind].box
        size = right - left
        dx, dy = rng.choice((-0.45, 0.45), 2) * size
        left, top = np.clip([left + dx, top + dy], 0.01, 0.99 - size)
        others = [c for c in COLOR_NAMES if c not in {m.color for m in marks[:-1]}]
        front = marks[-1]
        marks[-1] = Mark(front.label, others[rng.integers(len(others))], front.shape, 0.0,
                         box=(left, top, left + size, top + size))  # fmt: skip
        if not any(_overlap(marks[-1].box, m.box) for i, m in enumerate(marks[:-1]) if i != behind):
            occluded = (behind, n - 1)
        else:
            marks.pop()
    return Scene("layout", "layout", marks, occluded=occluded)


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


_KINDS = {"layout": _shapes, "seating": sample_seating, "containment": sample_containment}
