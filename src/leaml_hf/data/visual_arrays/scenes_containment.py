"""Content of containment scenes: shapes in boxes, boxes in boxes, and shapes in none."""

import numpy as np

from .scenes import SHAPES, Mark, Scene, draw_colors, is_box, is_inside
from .words import ORDERED_WORDS

SIDE = 3  # cells of the grid along which boxes run
FIELD = 0.96  # of the page, the grid's
INSET = 0.034  # from a box to the one around it, where both run along the same line
DEEPEST = 3  # boxes around each other
GAP, EDGE = 0.004, 0.02  # from a box to the line that it runs along, and how wide its edge is
SHAPE = (0.1, 0.16)  # sizes of shapes; where boxes crowd, they are small
ROOMY = ("circle", "square", "diamond", "hexagon")  # shapes that a letter fits in
OUTSIDE = 3  # shapes that lie in no box, at most; each number is equally likely
NESTED = 0.7  # share of the scenes with a box in a box
TRIES = 20

Cells = frozenset[tuple[int, int]]


def sample_containment(rng: np.random.Generator) -> Scene:
    """2 to 4 boxes and 3 to 6 shapes, no two alike; a box lies wholly in another one or beside it."""
    boxes = int(rng.integers(2, 5))
    shapes = int(rng.integers(3, 9 - boxes))
    nested, areas = bool(rng.random() < NESTED), []
    while not areas or nested != any(area < other for area in areas for other in areas):
        areas = _areas(rng, boxes, SIDE if nested else SIDE - 1)
    colors = draw_colors(rng, boxes + int(rng.integers(2, 5)))  # shapes have none of the colors of boxes
    lettered = bool(rng.random() < 0.4)
    kinds = list(ROOMY) if lettered else [SHAPES[i] for i in rng.permutation(len(SHAPES))[:4]]
    looks = [(color, shape) for color in colors[boxes:] for shape in kinds]
    looks = [looks[i] for i in rng.permutation(len(looks))[:shapes]]
    letters = rng.permutation(list(ORDERED_WORDS["letter"]))[:shapes]
    labels = [str(letter) for letter in letters] if lettered else [""] * shapes
    marks = [
        Mark("", color, "box", 0.0, box=_box(area, sum(area < other for other in areas)))
        for area, color in zip(areas, colors[:boxes], strict=True)
    ]
    for cell, label, (color, shape) in zip(_cells(rng, areas, shapes), labels, looks, strict=True):
        around = sum(cell in area for area in areas)
        room = FIELD / SIDE - 2 * (_inset(around - 1) + EDGE if around else GAP) - GAP
        size = rng.uniform(SHAPE[0], min(SHAPE[1], room))
        x, y = (_line(v + 0.5) - size / 2 + rng.uniform(-1, 1) * (room - size) / 2 for v in cell)
        marks.append(Mark(label, color, shape, 0.0, box=(x, y, x + size, y + size)))
    return Scene("layout", "containment", marks, holders=tuple(_holder(marks, i) for i in range(len(marks))))


def _line(cells: float) -> float:
    """Where on the page something lies that is so many cells away from the grid's edge."""
    return (1 - FIELD) / 2 + cells * FIELD / SIDE


def _inset(depth: int) -> float:
    """From the line that a box with so many boxes around it runs along to the box."""
    return GAP + INSET * depth


def _box(area: Cells, depth: int) -> tuple[float, float, float, float]:
    """Around some cells, the more inside them the more boxes there are around it."""
    inset, (left, top), (right, bottom) = _inset(depth), min(area), max(area)
    return _line(left) + inset, _line(top) + inset, _line(right + 1) - inset, _line(bottom + 1) - inset


def _areas(rng: np.random.Generator, count: int, longest: int) -> list[Cells]:
    """Rectangles of cells, each of which lies in another or beside it and has a cell that is in none within it."""
    areas: list[Cells] = []
    while len(areas) < count:
        for _ in range(TRIES):
            wide, high = (int(v) for v in rng.integers(1, longest + 1, 2))
            left, top = (int(rng.integers(SIDE - length + 1)) for length in (wide, high))
            area = frozenset((x, y) for x in range(left, left + wide) for y in range(top, top + high))
            if _fits([*areas, area]):
                areas.append(area)
                break
        else:
            areas = []  # no room is left beside these
    return areas


def _fits(areas: list[Cells]) -> bool:
    for i, area in enumerate(areas):
        others = areas[:i] + areas[i + 1 :]
        within = [other for other in others if other < area]
        around = [other for other in others if area < other]
        if any(area & other for other in others if other not in within and other not in around):
            return False
        if len(around) >= DEEPEST or area <= frozenset().union(*within):
            return False
    return len(frozenset().union(*areas)) < SIDE * SIDE


def _cells(rng: np.random.Generator, areas: list[Cells], count: int) -> list[tuple[int, int]]:
    """A cell for each shape; how many lie in no box is drawn first."""
    boxed = sorted(frozenset().union(*areas))
    rest = [(x, y) for x in range(SIDE) for y in range(SIDE) if (x, y) not in boxed]
    outside = max(count - len(boxed), int(rng.integers(min(OUTSIDE, count, len(rest)) + 1)))
    cells = [boxed[i] for i in rng.permutation(len(boxed))[: count - outside]]
    return cells + [rest[i] for i in rng.permutation(len(rest))[:outside]]


def _holder(marks: list[Mark], i: int) -> int:
    """The smallest box that a mark lies in, -1 where it lies in none."""
    around = [k for k, mark in enumerate(marks) if k != i and is_box(mark) and is_inside(marks[i].box, mark.box)]
    return min(around, key=lambda k: marks[k].box[2] - marks[k].box[0] + marks[k].box[3] - marks[k].box[1], default=-1)
