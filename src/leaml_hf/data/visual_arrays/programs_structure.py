"""Questions about how a chart is built and ordered: its key, its halves, ranks, multiples and neighbours.

A base learns from them to look at the whole of a picture, not only at the mark that a question names; what a new
domain asks is then more often a new wording of something known. The kinds are those of FigureQA (Kahou et al. 2018)
and DVQA (Kafle et al. 2018); the wordings are our own.
"""

import numpy as np

from .balance import evens_out, scene_rng, usual_counts, usual_ratios
from .conventions import COLOR_NAMES
from .scenes import SERIES_KINDS, Scene
from .wording import LEAST, MOST, Question, all_marks, extreme, is_ranked, noun_of, pick, plural, yes_or_no

COUNTED = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
MULTIPLES = (("one and a half times", 1.5), ("two times", 2.0), ("three times", 3.0), ("four times", 4.0),
             ("six times", 6.0), ("ten times", 10.0))  # fmt: skip
CLEAR = 0.15  # how far a ratio must be from the multiple that is asked for, as a part of it


def _across(scene: Scene) -> np.ndarray | None:
    """Places of the marks from the left (or from the top) in [0, 1]; None where marks have no place of their own."""
    if scene.kind in ("bar", "hbar"):
        return (np.arange(len(scene.marks)) + 0.5) / len(scene.marks)
    return np.array([mark.points[0, 0] for mark in scene.marks]) if scene.dots else None


def direction(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind not in ("bar", "hbar"):
        return None
    text = pick(rng, "Which way do the bars grow, upwards or sideways?", "Do the bars grow upwards or sideways?",
                "Tell me which way the bars point: upwards or sideways.", "Do the bars point upwards or sideways?",
                "Upwards or sideways: which way do the bars go?")  # fmt: skip
    return Question("direction", text, "upwards" if scene.kind == "bar" else "sideways", all_marks(scene), 1)


def stance(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind not in ("bar", "hbar"):
        return None
    text = pick(rng, "Do the bars stand up or lie on their side?", "Do the bars stand or lie?",
                "Stand or lie: what do the bars do?", "Tell me whether the bars stand or lie.",
                "Would you say that the bars stand or that they lie?")  # fmt: skip
    return Question("stance", text, "stand" if scene.kind == "bar" else "lie", all_marks(scene), 1)


def key(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind == "heatmap":  # its scale explains shades, which is a matter of words
        return None
    # three kinds always have a key and one never has
    if scene.kind in SERIES_KINDS and not evens_out(scene_rng(scene, "key"), True, 0.75):
        return None
    text = pick(rng, "Is there a key?", "Is there a list that tells what each color means?",
                "Are the colors explained beside the picture?", "Does a key belong to this picture?",
                "Tell me whether the colors are explained in a key.")  # fmt: skip
    return Question("key", text, yes_or_no(scene.has_key), all_marks(scene), 1)


def own_color(rng: np.random.Generator, scene: Scene) -> Question | None:
    if (
        scene.kind not in ("bar", "hbar")
        or len(scene.marks) < 2
        or not evens_out(scene_rng(scene, "own_color"), not scene.single_color, 0.68)
    ):
        return None
    text, single = [("Has each bar a color of its own?", False), ("Do the bars differ in color?", False),
                    ("Are the bars painted alike?", True), ("Is there only one color of bars?", True),
                    ("Tell me whether the bars differ in color.", False)][rng.integers(5)]  # fmt: skip
    return Question("own_color", text, yes_or_no(scene.single_color == single), all_marks(scene), len(scene.marks))


def count_colors(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind not in ("bar", "hbar") or (scene.single_color and rng.random() < 0.5):
        return None
    text = pick(rng, "How many different colors do the bars have?", "In how many colors are the bars painted?",
                "Count the colors of the bars.", "What is the number of colors of the bars?",
                "Tell me how many colors the bars have.")  # fmt: skip
    answer = str(len({mark.color for mark in scene.marks}))
    return Question("count_colors", text, answer, all_marks(scene), len(scene.marks))


def at_least(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind == "heatmap":
        return None
    n, noun = len(scene.marks), noun_of(scene)
    nouns, own = plural(noun), scene_rng(scene, "at_least")
    counts, limit = usual_counts(noun), int(own.integers(2, 10))
    word, holds, share = [
        ("at least", n >= limit, (counts >= limit).mean()),
        ("fewer than", n < limit, (counts < limit).mean()),
        ("no more than", n <= limit, (counts <= limit).mean()),
        ("exactly", n == limit, (counts == limit).mean()),
    ][own.integers(4)]
    if not evens_out(own, holds, share):
        return None
    number = str(limit) if rng.random() < 0.6 else COUNTED[limit]
    text = pick(rng, f"Are there {word} {number} {nouns}?", f"Is the number of {nouns} {word} {number}?",
                f"Has the picture {word} {number} {nouns}?", f"Do you see {word} {number} {nouns}?",
                f"Tell me whether {word} {number} {nouns} are shown.")  # fmt: skip
    return Question("at_least", text, yes_or_no(holds), all_marks(scene), n)


def half(rng: np.random.Generator, scene: Scene) -> Question | None:
    found = _off_middle(rng, scene)
    if found is None:
        return None
    i, word, before = found
    noun = noun_of(scene)
    one, other = ("above", "below") if scene.kind == "hbar" else ("left of", "right of")
    side = one if rng.random() < 0.5 else other
    text = pick(rng, f"Is the {word} {noun} {side} the middle?", f"Does the {word} {noun} lie {side} the middle?",
                f"Tell me whether the {word} {noun} is {side} the middle.",
                f"Seen from the middle, is the {word} {noun} {side} it?",
                f"Is it true that the {word} {noun} lies {side} the middle?")  # fmt: skip
    return Question("half", text, yes_or_no(before == (side == one)), (i,), len(scene.marks))


def which_half(rng: np.random.Generator, scene: Scene) -> Question | None:
    found = _off_middle(rng, scene)
    if found is None or scene.kind == "hbar":
        return None
    i, word, before = found
    noun = noun_of(scene)
    text = pick(rng, f"Is the {word} {noun} left or right of the middle?",
                f"On which side of the middle is the {word} {noun}?",
                f"Seen from the middle, where is the {word} {noun}?", f"Left or right: where is the {word} {noun}?",
                f"Tell me whether the {word} {noun} is on the left or on the right.")  # fmt: skip
    return Question("which_half", text, "left" if before else "right", (i,), len(scene.marks))


def _off_middle(rng: np.random.Generator, scene: Scene) -> tuple[int, str, bool] | None:
    """An extreme mark away from the middle, what it is called, and whether it lies before the middle."""
    across = _across(scene)
    if across is None or len(across) < 2:
        return None
    i, word = extreme(rng, scene)
    return None if abs(across[i] - 0.5) < 0.06 else (i, word, bool(across[i] < 0.5))


def rank_color(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.single_color or len(scene.marks) < 4 or not is_ranked(scene):
        return None
    values = np.array([mark.value for mark in scene.marks])
    word, order = [(pick(rng, *MOST[scene.kind]), np.argsort(-values)),
                   (pick(rng, *LEAST[scene.kind]), np.argsort(values))][rng.integers(2)]  # fmt: skip
    rank = int(rng.integers(1, 3))
    i = int(order[rank])
    gaps = np.abs(np.delete(values, i) - values[i])
    if gaps.min() < (2.0 if scene.kind == "pie" else 0.4):
        return None
    noun, which = noun_of(scene), ORDINALS[rank]
    text = pick(rng, f"By rank, which color is the {which} {word} {noun}?",
                f"Order the {noun}s from the {word} on: which color is the {which}?",
                f"Starting with the {word} {noun}, which color is {which} in rank?",
                f"Give the color of rank {rank + 1} from the {word} {noun} on.")  # fmt: skip
    return Question("rank_color", text, scene.marks[i].color, (i,), len(scene.marks))


def multiple(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind not in ("bar", "hbar", "pie") or len(scene.marks) < 2:
        return None
    values = np.array([mark.value for mark in scene.marks])
    high, low = int(values.argmax()), int(values.argmin())
    ratio, usual = values[high] / values[low], usual_ratios(noun_of(scene))
    own = scene_rng(scene, "multiple")
    name, factor = MULTIPLES[own.integers(len(MULTIPLES))]
    clear = np.abs(usual / factor - 1) >= CLEAR
    holds = bool(ratio > factor)
    if abs(ratio / factor - 1) < CLEAR or not evens_out(own, holds, (usual[clear] > factor).mean()):
        return None
    noun, most, least = noun_of(scene), pick(rng, *MOST[scene.kind]), pick(rng, *LEAST[scene.kind])
    text = pick(rng, f"Is the {most} {noun} more than {name} the {least} {noun}?",
                f"Does the {least} {noun} fit {name} into the {most} {noun}?",
                f"Is {name} the {least} {noun} less than the {most} {noun}?",
                f"Tell me whether the {most} {noun} is over {name} the {least} one.")  # fmt: skip
    return Question("multiple", text, yes_or_no(holds), (high, low), len(scene.marks))


def _part_of_peak(points: np.ndarray) -> str | None:
    """In which part of a line its highest point is; None where another part comes near it."""
    along = np.linspace(0, 1, len(points))
    parts = {"early": along <= 0.25, "midway": (along > 0.3) & (along < 0.7), "late": along >= 0.75}
    answer = next((name for name, part in parts.items() if part[points.argmax()]), None)
    return answer if answer and points.max() - points[~parts[answer]].max() >= 0.3 else None


def high_point(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "line":
        return None
    found: dict[str, list[tuple[int, bool]]] = {}
    for i, mark in enumerate(scene.marks):
        for upper in (True, False):
            part = _part_of_peak(mark.points if upper else -mark.points)
            if part:
                found.setdefault(part, []).append((i, upper))
    if not found:
        return None
    answer = pick(rng, *sorted(found))  # first the answer: most lines have their ends at the ends
    i, upper = found[answer][rng.integers(len(found[answer]))]
    color = scene.marks[i].color
    named = len(scene.marks) > 1 or rng.random() < 0.5
    line = f"the {color} line" if named else "the line"
    word = pick(rng, "highest", "top") if upper else pick(rng, "lowest", "bottom")
    text = pick(rng, f"Does {line} reach its {word} point early, midway or late?",
                f"When is {line} at its {word} point: early, midway or late?",
                f"Early, midway or late: when has {line} its {word} value?")  # fmt: skip
    return Question("high_point", text, answer, (i,), 1, ((color, (i,)),) if named else ())


def is_color(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.single_color or len(scene.marks) < 2 or not is_ranked(scene):
        return None
    i, word = extreme(rng, scene)
    others = [k for k in range(len(scene.marks)) if k != i]
    j = i if rng.random() < 0.5 else others[rng.integers(len(others))]
    color, noun = scene.marks[j].color, noun_of(scene)
    text = pick(rng, f"Is the {noun} that is {word} {color}?", f"Is {color} the color of the {noun} that is {word}?",
                f"Is it the {color} {noun} that is {word}?",
                f"Tell me whether the {noun} that is {word} is {color}.")  # fmt: skip
    return Question("is_color", text, yes_or_no(i == j), (i,), len(scene.marks), ((color, (j,)),))


def has_color(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind == "heatmap":
        return None
    present = sorted({mark.color for mark in scene.marks})
    if rng.random() < 0.5:
        color = present[rng.integers(len(present))]
    else:
        absent = [name for name in COLOR_NAMES if name not in present]
        color = absent[rng.integers(len(absent))]
    found = tuple(i for i, mark in enumerate(scene.marks) if mark.color == color)
    noun = noun_of(scene)
    article = "an" if color[0] in "aeiou" else "a"
    text = pick(rng, f"Is there {article} {color} {noun}?", f"Is any {noun} {color}?",
                f"Do you see {article} {color} {noun}?",
                f"Tell me whether one of the {plural(noun)} is {color}.")  # fmt: skip
    return Question("has_color", text, yes_or_no(bool(found)), found, len(scene.marks), ((color, found),))


def neighbor_color(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.single_color or scene.kind not in ("bar", "hbar") or len(scene.marks) < 2:
        return None
    i = int(rng.integers(len(scene.marks) - 1))
    after = bool(rng.random() < 0.5)
    known, asked = (i, i + 1) if after else (i + 1, i)
    side = {("bar", True): "right of", ("bar", False): "left of", ("hbar", True): "below",
            ("hbar", False): "above"}[scene.kind, after]  # fmt: skip
    color = scene.marks[known].color
    text = pick(rng, f"What color is the bar just {side} the {color} one?", f"Which color is next, {side} {color}?",
                f"Give the color of the bar directly {side} the {color} bar.")  # fmt: skip
    return Question("neighbor_color", text, scene.marks[asked].color, (asked,), 2, ((color, (known,)),))


def place_color(rng: np.random.Generator, scene: Scene) -> Question | None:
    across = _across(scene)
    if across is None or scene.single_color or len(scene.marks) < 2:
        return None
    order = np.argsort(across)
    start, other = ("top", "bottom") if scene.kind == "hbar" else ("left", "right")
    if rng.random() < 0.4:
        start, order = other, order[::-1]
    place = int(rng.integers(min(len(order), 5)))
    i = int(order[place])
    noun, which = noun_of(scene), ORDINALS[place]
    text = pick(rng, f"What color is the {which} {noun} from the {start}?",
                f"Which color is {which}, counted from the {start}?",
                f"From the {start}, what is the color of {noun} number {place + 1}?",
                f"Tell me the color of the {which} {noun} from the {start}.")  # fmt: skip
    return Question("place_color", text, scene.marks[i].color, (i,), place + 1)


PROGRAMS = (direction, stance, key, own_color, count_colors, at_least, half, which_half, rank_color, multiple,
            high_point, is_color, has_color, neighbor_color, place_color)  # fmt: skip
