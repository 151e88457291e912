"""Content of area charts: areas that overlap, each from the ground on, or that lie on each other."""

import numpy as np

from .scenes import Mark, Scene, draw_axis, draw_colors
from .words import sample_two_sets

APART = 0.8  # ticks between the ends of areas that overlap


def sample_areas(rng: np.random.Generator) -> Scene:
    """2 to 4 areas over 4 to 7 places."""
    n, length = int(rng.integers(2, 5)), int(rng.integers(4, 8))
    names, places = sample_two_sets(rng, n, length)
    colors = draw_colors(rng, n)
    stacked = bool(rng.random() < 0.5)
    table = _layers(rng, n, length) if stacked else _overlapping(rng, n, length)
    marks = []
    for name, color, row in zip(names, colors, table, strict=True):
        rise = row[-1] - row[0]
        trend = "" if stacked or abs(rise) < 1.5 else "up" if rise > 0 else "down"
        marks.append(Mark(name, color, "area", float(row[-1]), row, trend))
    top = table.sum(0).max() if stacked else table.max()
    return Scene("chart", "area", marks, **draw_axis(rng, every=2), reach=float(top * rng.uniform(1.04, 1.15)),
                 x_labels=tuple(places), has_key=True, stacked=stacked)  # fmt: skip


def _overlapping(rng: np.random.Generator, n: int, length: int) -> np.ndarray:
    """Heights in ticks `[n, length]`; any two of them are apart at both ends, and clearly cross once or not at all.
    Some do: otherwise nobody could tell them from areas that lie on each other."""
    along = np.linspace(0, 1, length)
    while True:
        starts, ends = (rng.permutation(np.arange(1, 10))[:n] for _ in range(2))
        bend = rng.normal(0, 0.8) * np.sin(np.pi * along)
        table = (starts[:, None] * (1 - along) + ends[:, None] * along + bend).clip(0.5, 10)
        crossing = [clear_cross(a, b) for k, a in enumerate(table) for b in table[:k]]
        if None not in crossing and any(crossing):
            return table.round(2)


def clear_cross(one: np.ndarray, other: np.ndarray) -> bool | None:
    """Whether the upper edges of two areas cross; None where it would be hard to see."""
    gaps = one - other
    if min(abs(gaps[0]), abs(gaps[-1])) < APART:
        return None
    if gaps[0] * gaps[-1] < 0:
        return True
    return False if abs(gaps).min() > 0.5 and (gaps * gaps[0] > 0).all() else None


def _layers(rng: np.random.Generator, n: int, length: int) -> np.ndarray:
    """Thicknesses in ticks `[n, length]`, thickest and next apart at both ends."""
    along = np.linspace(0, 1, length)
    while True:
        starts, ends = rng.uniform(0.8, 10 / n, (2, n))
        ordered = np.sort([starts, ends], 1)
        if (ordered[:, -1] - ordered[:, -2]).min() > 0.5:
            wobble = rng.normal(0, 0.25, (n, length)) * (np.arange(length) % (length - 1) > 0)
            return (starts[:, None] * (1 - along) + ends[:, None] * along + wobble).clip(0.6).round(2)
