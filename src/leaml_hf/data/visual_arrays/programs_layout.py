"""Questions about shapes on a page: which, how many, where, and which lies in front."""

from collections.abc import Callable

import numpy as np

from .programs_chart import count
from .scenes import SHAPES, Mark, Scene, centre
from .wording import Question, pick, plural, yes_or_no


def _unique(scene: Scene, key: Callable[[Mark], object]) -> list[int]:
    keys = [key(m) for m in scene.marks]
    return [i for i, k in enumerate(keys) if keys.count(k) == 1]


def count_shape(rng: np.random.Generator, scene: Scene) -> Question | None:
    present = sorted({m.shape for m in scene.marks})
    shape = present[rng.integers(len(present))] if rng.random() < 0.85 else SHAPES[rng.integers(len(SHAPES))]
    found = tuple(i for i, m in enumerate(scene.marks) if m.shape == shape)
    shapes = plural(shape)
    text = pick(rng, f"How many {shapes} are there?", f"Count the {shapes}.", f"What is the number of {shapes}?",
                 f"How many {shapes} are shown?", f"Give the number of {shapes}.")  # fmt: skip
    return Question("count_shape", text, str(len(found)), found, len(scene.marks), ((shapes, found),))


def color_of_shape(rng: np.random.Generator, scene: Scene) -> Question | None:
    found = _unique(scene, lambda m: m.shape)
    if not found:
        return None
    i = found[rng.integers(len(found))]
    shape = scene.marks[i].shape
    text = pick(rng, f"What color is the {shape}?", f"Which color has the {shape}?", f"The {shape} has which color?",
                 f"Give the color of the {shape}.", f"Tell me the color of the {shape}.")  # fmt: skip
    return Question("color_of_shape", text, scene.marks[i].color, (i,), 1, ((shape, (i,)),))


def shape_of_color(rng: np.random.Generator, scene: Scene) -> Question | None:
    found = _unique(scene, lambda m: m.color)
    if not found:
        return None
    i = found[rng.integers(len(found))]
    color = scene.marks[i].color
    text = pick(rng, f"What shape is {color}?", f"Which shape is the {color} one?", f"What is the {color} shape?",
                 f"Name the shape in {color}.", f"Tell me which shape is {color}.")  # fmt: skip
    return Question("shape_of_color", text, scene.marks[i].shape, (i,), 1, ((color, (i,)),))


def label_to_shape(rng: np.random.Generator, scene: Scene) -> Question | None:
    if not scene.marks[0].label:
        return None
    i = int(rng.integers(len(scene.marks)))
    word = scene.marks[i].label
    if scene.occluded and i == scene.occluded[0]:
        return None  # its letter may be covered
    text = pick(rng, f"What shape is marked {word}?", f"Which shape has the letter {word}?",
                 f"Name the shape with the letter {word}.", f"The letter {word} is on which shape?",
                 f"Tell me the shape of {word}.")  # fmt: skip
    return Question("label_to_shape", text, scene.marks[i].shape, (i,), 1, ((word, (i,)),))


def relation(rng: np.random.Generator, scene: Scene) -> Question | None:
    found = _unique(scene, lambda m: (m.color, m.shape))
    if len(found) < 2:
        return None
    a, b = (found[i] for i in rng.permutation(len(found))[:2])
    (ax, ay), (bx, by) = centre(scene.marks[a].box), centre(scene.marks[b].box)
    first, second = (f"{scene.marks[i].color} {scene.marks[i].shape}" for i in (a, b))
    word, holds, gap = [("left of", ax < bx, abs(ax - bx)), ("right of", ax > bx, abs(ax - bx)),
                        ("above", ay < by, abs(ay - by)),
                        ("below", ay > by, abs(ay - by))][rng.integers(4)]  # fmt: skip
    if gap < 0.08:
        return None
    text = pick(rng, f"Is the {first} {word} the {second}?", f"Is it true that the {first} is {word} the {second}?",
                 f"Does the {first} lie {word} the {second}?", f"Tell me whether the {first} is {word} the {second}.",
                 f"Seen from the {second}, is the {first} {word} it?")  # fmt: skip
    return Question("relation", text, yes_or_no(holds), (a, b), 2, ((first, (a,)), (second, (b,))))


def outermost(rng: np.random.Generator, scene: Scene) -> Question | None:
    side = pick(rng, "leftmost", "rightmost", "topmost", "lowest")
    axis, sign = {"leftmost": (0, 1), "rightmost": (0, -1), "topmost": (1, 1), "lowest": (1, -1)}[side]
    reach = sorted((sign * centre(m.box)[axis], i) for i, m in enumerate(scene.marks))
    if reach[1][0] - reach[0][0] < 0.04:
        return None
    i = reach[0][1]
    by_color = rng.random() < 0.5
    if by_color:
        text = pick(rng, f"What color is the {side} shape?", f"Give the color of the {side} shape.",
                     f"Tell me the color of the shape that is {side}.")  # fmt: skip
    else:
        text = pick(rng, f"Which shape is {side}?", f"Name the {side} shape.", f"What is the {side} shape?")
    answer = scene.marks[i].color if by_color else scene.marks[i].shape
    return Question("outermost", text, answer, (i,), len(scene.marks))


def in_front(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.occluded is None:
        return None
    behind, front = scene.occluded
    text, answer = [("Which color is in front?", front), ("What color is the shape in front?", front),
                    ("Which color is partly covered?", behind), ("What color is the shape behind?", behind),
                    ("Give the color of the shape that another one covers.", behind)][rng.integers(5)]  # fmt: skip
    return Question("in_front", text, scene.marks[answer].color, (behind, front), 2)


PROGRAMS = (count, count_shape, color_of_shape, shape_of_color, label_to_shape, relation, outermost, in_front)
