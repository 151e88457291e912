"""Keeps questions from giving their answers away: what is usual in charts, and which questions to pass over for it."""

import zlib
from functools import lru_cache

import numpy as np

from .scenes import Scene
from .scenes_chart import sample_chart
from .wording import noun_of

CHARTS = 4000
RARE = 0.03  # what fewer charts than this show is not asked for


@lru_cache
def _usual() -> dict[str, np.ndarray]:
    """By noun, of each chart: how many marks it has, and how often its least value fits into its greatest `[2, n]`."""
    rng, found = np.random.default_rng(0), {}
    for _ in range(CHARTS):
        scene = sample_chart(rng)
        values = [mark.value for mark in scene.marks]
        found.setdefault(noun_of(scene), []).append((len(values), max(values) / max(min(values), 1e-6)))
    return {noun: np.array(rows).T for noun, rows in found.items()}


def usual_counts(noun: str) -> np.ndarray:
    """Numbers of marks in charts whose marks are called `noun`: `[n]`."""
    return _usual()[noun][0]


def usual_ratios(noun: str) -> np.ndarray:
    """Greatest by least value in charts whose marks are called `noun`: `[n]`."""
    return _usual()[noun][1]


def scene_rng(scene: Scene, program: str) -> np.random.Generator:
    """What a scene has for a program, however often this is tried: another try must not give it another chance."""
    return np.random.default_rng(zlib.crc32(f"{program} {[mark.value for mark in scene.marks]}".encode()))


def evens_out(rng: np.random.Generator, holds: bool, share: float) -> bool:
    """Whether to ask, so that what holds for a `share` of the charts is true in half of the questions."""
    if not 0 < share < 1:
        return False
    return bool(rng.random() < ((1 - share) / share if holds else share / (1 - share)))


def flattens(scene: Scene) -> bool:
    """Whether to ask for the number of marks, so that all numbers that are not rare are asked for equally often."""
    counts, count = usual_counts(noun_of(scene)), len(scene.marks)
    shares = np.bincount(counts.astype(int), minlength=count + 1) / len(counts)
    chance = shares[shares >= RARE].min() / max(shares[count], RARE)
    return bool(shares[count] >= RARE and scene_rng(scene, "count").random() < chance)


def stand_out(values: np.ndarray, gap: float) -> dict[bool, int]:
    """Where the greatest (True) and the least (False) of some values are, if they stand apart from the others."""
    order, found = np.argsort(values), {}
    if values[order[-1]] - values[order[-2]] >= gap:
        found[True] = int(order[-1])
    if values[order[1]] - values[order[0]] >= gap:
        found[False] = int(order[0])
    return found


def draw_from(rng: np.random.Generator, options: list[tuple]) -> tuple | None:
    """One of some options; None where there are none."""
    return options[rng.integers(len(options))] if options else None


def draw_peak(rng: np.random.Generator, rows: np.ndarray, gap: float) -> tuple[int, bool, int] | None:
    """A row of values, whether its greatest or its least, and its place, which stands apart from the row's others."""
    return draw_from(rng, [(i, most, k) for i, row in enumerate(rows) for most, k in stand_out(row, gap).items()])


def draw_claim(rng: np.random.Generator, claims: list[tuple]) -> tuple | None:
    """One of some claims, whose last part tells whether it holds. First a coin tells whether it shall hold, so that
    what is usual does not matter; None unless some hold and some do not."""
    by_truth = [[claim for claim in claims if claim[-1] == holds] for holds in (False, True)]
    return draw_from(rng, by_truth[rng.integers(2)]) if all(by_truth) else None
