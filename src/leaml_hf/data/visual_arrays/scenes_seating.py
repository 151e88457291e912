"""Content of seating scenes: people around a table, seen from above."""

import math

import numpy as np

from .scenes import Mark, Scene, Table, draw_colors
from .words import FREE_WORDS

Point = tuple[float, float]
LONGEST = 4  # characters of a name, which has to fit on its owner
NAMES = tuple(name for name in FREE_WORDS["person"] if len(name) <= LONGEST)
PERSON, CHAIR = 0.14, 0.16
RING = 0.37  # from the middle of a round table to the middle of its chairs
APART = 0.19  # chairs side by side at a rectangular table
DEPTH = 0.16  # of a rectangular table, half of it


def sample_seating(rng: np.random.Generator) -> Scene:
    """3 to 6 people, and none to three free chairs, at a round or a rectangular table."""
    people, free = int(rng.integers(3, 7)), int(rng.integers(4))
    count = people + free
    is_round = count % 2 == 1 or count < 4 or bool(rng.random() < 0.3)
    spots, sides, opposite, box = _round(rng, count) if is_round else _rectangular(rng, count)
    taken = [int(chair) for chair in rng.permutation(count)[:people]]
    labels = [str(name) for name in rng.permutation(NAMES)[:people]] if rng.random() < 0.5 else [""] * people
    marks = [
        Mark(label, color, "circle", 0.0, box=_around(spots[chair], PERSON))
        for label, color, chair in zip(labels, draw_colors(rng, people), taken, strict=True)
    ]
    chairs = tuple(_around(spot, CHAIR) for spot in spots)
    return Scene("layout", "seating", marks, table=Table(is_round, box, chairs, sides, opposite, tuple(taken)))


def _around(spot: Point, size: float) -> tuple[float, float, float, float]:
    return spot[0] - size / 2, spot[1] - size / 2, spot[0] + size / 2, spot[1] + size / 2


Places = tuple[list[Point], tuple[int, ...], tuple[int, ...], tuple[float, float, float, float]]


def _round(rng: np.random.Generator, count: int) -> Places:
    """Middles of chairs, the side of each and the one across from it, and the table's box."""
    turns = rng.uniform(0, 2 * math.pi) + 2 * math.pi * np.arange(count) / count
    spots = [(0.5 + RING * math.cos(turn), 0.5 + RING * math.sin(turn)) for turn in turns]
    opposite = tuple((i + count // 2) % count if count % 2 == 0 else -1 for i in range(count))
    return spots, (0,) * count, opposite, _around((0.5, 0.5), 2 * (RING - CHAIR / 2))


def _rectangular(rng: np.random.Generator, count: int) -> Places:
    """As for a round table: chairs along both long sides and, now and then, at both ends."""
    ends = 1 if count == 8 or (count == 6 and rng.random() < 0.5) else 0
    along = count // 2 - ends
    half, away = along * APART / 2, DEPTH + CHAIR / 2
    row = [(k + 0.5) * APART - half for k in range(along)]
    spots = [(x, -away) for x in row] + [(half + CHAIR / 2, 0.0)] * ends
    spots += [(-x, -y) for x, y in spots]  # clockwise, so that the other half is this one turned by 180 degrees
    sides = (0,) * along + (1,) * ends + (2,) * along + (3,) * ends
    facing = [*reversed(range(along + ends, count - ends)), *[count - 1] * ends]
    opposite = tuple(facing + [facing.index(i) for i in range(along + ends, count)])
    left, top, right, bottom = -half, -DEPTH, half, DEPTH
    for _ in range(int(rng.integers(4))):  # quarter turns
        spots = [(-y, x) for x, y in spots]
        left, top, right, bottom = -bottom, left, -top, right
    box = (0.5 + left, 0.5 + top, 0.5 + right, 0.5 + bottom)
    return [(0.5 + x, 0.5 + y) for x, y in spots], sides, opposite, box
