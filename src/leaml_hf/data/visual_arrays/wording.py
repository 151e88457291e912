"""A question about a scene, and the words that the programs share."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from .scenes import Scene

Option = TypeVar("Option")


@dataclass(frozen=True)
class Question:
    """A question about a scene.

    Attributes:
        relevant: indices of the marks, and behind them of the cells, that decide the answer.
        complexity: how many marks must be read and compared.
        names: the words of `text` that name marks, each with the indices of these marks.
        also: annotations that the answer rests on beside marks (keys of `Drawing.annotations`).
    """

    program: str
    text: str
    answer: str
    relevant: tuple[int, ...]
    complexity: int
    names: tuple[tuple[str, tuple[int, ...]], ...] = ()
    also: tuple[str, ...] = ()


NOUN = {
    "bar": "bar",
    "hbar": "bar",
    "line": "line",
    "pie": "slice",
    "scatter": "group",
    "grouped": "series",
    "stacked": "series",
    "area": "area",
    "heatmap": "row",
    "boxplot": "box",
    "layout": "shape",
    "annotated": "shape",
}
MOST = {"bar": ("tallest", "highest", "largest"), "hbar": ("longest", "largest", "biggest"),
        "line": ("highest at the end",), "pie": ("largest", "biggest"), "scatter": ("highest",)}  # fmt: skip
LEAST = {"bar": ("shortest", "lowest", "smallest"), "hbar": ("shortest", "smallest"),
         "line": ("lowest at the end",), "pie": ("smallest",), "scatter": ("lowest",)}  # fmt: skip
MORE = {"bar": ("taller", "shorter"), "hbar": ("longer", "shorter"),
        "line": ("higher at the end", "lower at the end"), "pie": ("larger", "smaller"),
        "scatter": ("higher", "lower")}  # fmt: skip
KIND_ANSWER = {"bar": "bar", "hbar": "bar", "line": "line", "pie": "pie", "scatter": "scatter",
               "grouped": "grouped bar", "stacked": "stacked bar", "area": "area", "heatmap": "heat map",
               "boxplot": "box"}  # fmt: skip


def noun_of(scene: Scene) -> str:
    return "dot" if scene.dots else NOUN[scene.kind]


def pick(rng: np.random.Generator, *options: str) -> str:
    return options[rng.integers(len(options))]


def choose(rng: np.random.Generator, options: Iterable[tuple[Option, bool]]) -> tuple[Option, bool] | None:
    """One of the options that something holds for, or one of the others, as a coin falls; None where all are alike."""
    ways: tuple[list[Option], list[Option]] = ([], [])
    for option, holds in options:
        ways[bool(holds)].append(option)
    if not all(ways):
        return None
    coin = bool(rng.random() < 0.5)
    return ways[coin][rng.integers(len(ways[coin]))], coin


def yes_or_no(holds: bool) -> str:
    return "yes" if holds else "no"


def plural(noun: str) -> str:
    if noun.endswith("ry"):
        return f"{noun[:-1]}ies"
    if noun == "series":
        return noun
    return f"{noun}es" if noun.endswith(("x", "ch", "ss")) else f"{noun}s"


def all_marks(scene: Scene) -> tuple[int, ...]:
    return tuple(range(len(scene.marks)))


def is_ranked(scene: Scene) -> bool:
    """Whether marks have one value each, by which questions rank them in a word of `MOST`."""
    return scene.kind in MOST


def extreme(rng: np.random.Generator, scene: Scene) -> tuple[int, str]:
    values = [m.value for m in scene.marks]
    if rng.random() < 0.5:
        return int(np.argmax(values)), pick(rng, *MOST[scene.kind])
    return int(np.argmin(values)), pick(rng, *LEAST[scene.kind])
