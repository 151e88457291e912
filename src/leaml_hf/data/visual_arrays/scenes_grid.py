"""Content of charts with a value for each pair of names: grouped bars, stacked bars and heat maps."""

import numpy as np

from .scenes import Mark, Scene, draw_axis, draw_colors
from .words import sample_two_sets

CELL_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20)  # short numbers, that have room in a cell
# Of these there are light and dark shades.
HUES = ("red", "orange", "green", "olive", "cyan", "blue", "purple", "pink", "brown", "gray")


def _marks(names: list[str], colors: list[str], kind: str, table: np.ndarray) -> list[Mark]:
    return [
        Mark(name, color, kind, float(row.mean()), row) for name, color, row in zip(names, colors, table, strict=True)
    ]


def sample_grouped(rng: np.random.Generator) -> Scene:
    """2 to 4 series of bars at 2 to 5 places."""
    n, m = int(rng.integers(2, 5)), int(rng.integers(2, 6))
    names, places = sample_two_sets(rng, n, m)
    whole = bool(rng.random() < 0.7)
    table = rng.integers(1, 11, (n, m)).astype(float) if whole else rng.uniform(0.5, 10.0, (n, m)).round(2)
    reach = 10.5 if whole else float(table.max() * rng.uniform(1.03, 1.15))
    return Scene("chart", "grouped", _marks(names, draw_colors(rng, n), "grouped", table), **draw_axis(rng, every=2),
                 reach=reach, x_labels=tuple(places), has_key=True)  # fmt: skip


def sample_stacked(rng: np.random.Generator) -> Scene:
    """2 to 5 stacks of the same 2 to 4 parts; in half of the stacks one part is clearly more than half."""
    n, m = int(rng.integers(2, 5)), int(rng.integers(2, 6))
    names, places = sample_two_sets(rng, n, m)
    whole = bool(rng.random() < 0.7)
    totals = rng.integers(3, 11, m).astype(float) if whole else rng.uniform(3.0, 10.0, m)
    table = np.stack([total * _shares(rng, n) for total in totals], 1)
    reach = 10.5 if whole else float(totals.max() * rng.uniform(1.03, 1.15))
    return Scene("chart", "stacked", _marks(names, draw_colors(rng, n), "stacked", table), **draw_axis(rng, every=2),
                 reach=reach, x_labels=tuple(places), has_key=True)  # fmt: skip


def _shares(rng: np.random.Generator, n: int) -> np.ndarray:
    """Parts of a whole, none too small to see, the largest apart from the others."""
    big = n == 2 or rng.random() < 0.5
    while True:
        shares = rng.dirichlet(np.full(n, 1.5 if big else 4.0))
        ordered = np.sort(shares)
        if (
            ordered[0] > 0.1
            and ordered[-1] - ordered[-2] > 0.08
            and (ordered[-1] > 0.57 if big else ordered[-1] < 0.45)
        ):
            return shares


def sample_heat_map(rng: np.random.Generator) -> Scene:
    """2 to 6 rows and columns of cells, from light (little) to dark (much); the lightest and the darkest stand out."""
    n, m = int(rng.integers(2, 7)), int(rng.integers(2, 7))
    names, places = sample_two_sets(rng, n, m)
    table = rng.integers(2, 9, (n, m)).astype(float)
    table.flat[rng.permutation(n * m)[:2]] = 10, 0  # two steps of the scale from all others: clear to the eye
    step = CELL_STEPS[rng.integers(len(CELL_STEPS))]
    written = bool(rng.random() < 0.7) and m <= 5
    hue = HUES[rng.integers(len(HUES))]
    return Scene("chart", "heatmap", _marks(names, [hue] * n, "heatmap", table), step=step, reach=10.0, every=5,
                 x_labels=tuple(places), single_color=True, show_values=written)  # fmt: skip
