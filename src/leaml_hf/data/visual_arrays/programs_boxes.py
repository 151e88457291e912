"""Questions about box plots: medians, quartiles, whiskers and outliers."""

from itertools import permutations

import numpy as np

from .balance import draw_claim, draw_from, stand_out
from .scenes import Scene
from .scenes_boxes import BOTTOM, LOWER, MEDIAN, TOP, UPPER
from .wording import Question, all_marks, pick, yes_or_no

GAP = 0.6  # ticks between medians, or ends of whiskers, that are compared
SPREAD_GAP = 0.4  # ticks between heights of boxes


def _column(scene: Scene, place: int) -> np.ndarray:
    return np.array([mark.points[place] for mark in scene.marks])


def _has_outliers(scene: Scene) -> list[bool]:
    return [len(mark.points) > UPPER + 1 for mark in scene.marks]


def _median(rng: np.random.Generator, scene: Scene) -> tuple[int, str] | None:
    """The box with the highest or the lowest median, and which of these it is."""
    found = draw_from(rng, list(stand_out(_column(scene, MEDIAN), GAP).items()))
    return found and (found[1], "highest" if found[0] else "lowest")


def median_top(rng: np.random.Generator, scene: Scene) -> Question | None:
    found = _median(rng, scene) if scene.kind == "boxplot" else None
    if found is None:
        return None
    i, word = found
    text = pick(rng, f"Which box has the {word} median?", f"Whose median is {word}?",
                f"Name the box with the {word} median.", f"What is the box with the {word} median called?",
                f"Tell me which box has the {word} median.")  # fmt: skip
    return Question("median_top", text, scene.marks[i].label, all_marks(scene), len(scene.marks))


def median_color(rng: np.random.Generator, scene: Scene) -> Question | None:
    found = _median(rng, scene) if scene.kind == "boxplot" and not scene.single_color else None
    if found is None:
        return None
    i, word = found
    text = pick(rng, f"What color is the box with the {word} median?",
                 f"Which color has the box whose median is {word}?",
                f"Give the color of the box with the {word} median.",
                f"In what color is the box of the {word} median shown?",
                f"Tell me the color of the box with the {word} median.")  # fmt: skip
    return Question("median_color", text, scene.marks[i].color, all_marks(scene), len(scene.marks))


def box_spread(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "boxplot":
        return None
    found = draw_from(rng, list(stand_out(_column(scene, TOP) - _column(scene, BOTTOM), SPREAD_GAP).items()))
    if found is None:
        return None
    most, i = found
    size, word = ("tallest", "largest") if most else ("shortest", "smallest")
    text = pick(rng, f"Which box is the {size}, from its lower to its upper edge?",
                f"Which box has the {word} interquartile range?", f"Name the box with the {word} interquartile range.",
                f"Not counting whiskers, which box is {size}?",
                f"Tell me which box spans the {word} range between its quartiles.")  # fmt: skip
    return Question("box_spread", text, scene.marks[i].label, all_marks(scene), len(scene.marks))


def whisker_top(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "boxplot":
        return None
    upper = bool(rng.random() < 0.5)
    i = stand_out(_column(scene, UPPER if upper else LOWER), GAP).get(upper)
    if i is None:
        return None
    which, word = ("upper", "highest") if upper else ("lower", "lowest")
    text = pick(rng, f"Whose {which} whisker reaches {word}?", f"Which box has the whisker that reaches {word}?",
                f"Name the box with the whisker that reaches {word}.",
                f"Outliers aside, which box with its whiskers reaches {word}?",
                f"Tell me which box has the {which} whisker that ends {word}.")  # fmt: skip
    return Question("whisker_top", text, scene.marks[i].label, all_marks(scene), len(scene.marks))


def has_outliers(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "boxplot":
        return None
    found = draw_claim(rng, list(enumerate(_has_outliers(scene))))
    if found is None:
        return None
    i, holds = found
    name = scene.marks[i].label
    text = pick(rng, f"Does {name} have outliers?", f"Are there any outliers for {name}?",
                f"Does a point lie beyond the whiskers of {name}?", f"Has the box {name} got outliers?",
                f"Tell me whether {name} has outliers.")  # fmt: skip
    return Question("has_outliers", text, yes_or_no(holds), (i,), 1, ((name, (i,)),))


def count_outlying(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "boxplot":
        return None
    found = sum(_has_outliers(scene))
    text = pick(rng, "How many boxes have outliers?", "For how many boxes are there outliers?",
                "Count the boxes that have outliers.", "What is the number of boxes with outliers?",
                "Tell me how many boxes have points beyond their whiskers.")  # fmt: skip
    return Question("count_outlying", text, str(found), all_marks(scene), len(scene.marks))


def median_compare(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "boxplot":
        return None
    medians = _column(scene, MEDIAN)
    found = draw_claim(rng, [(a, b, bool(medians[a] > medians[b])) for a, b in permutations(range(len(medians)), 2)
                             if abs(medians[a] - medians[b]) >= GAP])  # fmt: skip
    if found is None:
        return None
    a, b, holds = found
    one, other = scene.marks[a].label, scene.marks[b].label
    text = pick(rng, f"Is the median of {one} higher than that of {other}?",
                 f"Does {one} have a higher median than {other}?",
                f"By their medians, is {one} above {other}?", f"Is the median of {one} above the median of {other}?",
                f"Tell me whether {one} has a higher median than {other}.")  # fmt: skip
    return Question("median_compare", text, yes_or_no(holds), (a, b), 2, ((one, (a,)), (other, (b,))))


def over_quartile(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "boxplot":
        return None
    medians, tops = _column(scene, MEDIAN), _column(scene, TOP)
    found = draw_claim(rng, [(a, b, bool(medians[a] > tops[b])) for a, b in permutations(range(len(tops)), 2)
                             if abs(medians[a] - tops[b]) >= SPREAD_GAP])  # fmt: skip
    if found is None:
        return None
    a, b, holds = found
    one, other = scene.marks[a].label, scene.marks[b].label
    text = pick(rng, f"Is the median of {one} above the upper quartile of {other}?",
                f"Is the median of {one} above the upper edge of the box {other}?",
                f"Does the median of {one} lie above the whole box {other}?",
                f"Is the median line of {one} higher than the top of the box {other}?",
                f"Tell me whether the median of {one} is above the upper edge of the box {other}.")  # fmt: skip
    return Question("over_quartile", text, yes_or_no(holds), (a, b), 2, ((one, (a,)), (other, (b,))))


def median_value(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "boxplot":
        return None
    i = int(rng.integers(len(scene.marks)))
    median, name = scene.marks[i].points[MEDIAN], scene.marks[i].label
    if not median.is_integer():
        return None
    text = pick(rng, f"What is the median of {name}?", f"Which value has the median of {name}?",
                f"Give the median of {name}.", f"At which value lies the median line of {name}?",
                f"Tell me the median of the box {name}.")  # fmt: skip
    return Question("median_value", text, scene.tick_text(median), (i,), 1, ((name, (i,)),))


PROGRAMS = (median_top, median_color, box_spread, whisker_top, has_outliers, count_outlying, median_compare,
            over_quartile, median_value)  # fmt: skip
