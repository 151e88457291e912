"""Questions about boxes: what lies in which, how many, and which box lies within which."""

from collections.abc import Callable

import numpy as np

from .scenes import Scene, is_box, is_inside
from .wording import Question, choose, pick, yes_or_no

Named = tuple[str, tuple[int, ...]]


def _boxes(scene: Scene) -> list[int]:
    return [i for i, mark in enumerate(scene.marks) if is_box(mark)]


def _shapes(scene: Scene) -> list[int]:
    return [i for i, mark in enumerate(scene.marks) if not is_box(mark)]


def _within(scene: Scene, box: int) -> list[int]:
    """Shapes in a box, those in boxes within it included."""
    return [i for i in _shapes(scene) if is_inside(scene.marks[i].box, scene.marks[box].box)]


def _around(scene: Scene, mark: int) -> list[int]:
    """Boxes around a mark, the nearest first."""
    found = []
    while (mark := scene.holders[mark]) >= 0:
        found.append(mark)
    return found


def _name(rng: np.random.Generator, scene: Scene, i: int) -> tuple[str, Named]:
    """How a mark is called in a question, and the words of it that name the mark."""
    mark = scene.marks[i]
    if mark.label and rng.random() < 0.5:
        return f"the shape marked {mark.label}", (mark.label, (i,))
    return f"the {mark.color} {mark.shape}", (f"{mark.color} {mark.shape}", (i,))


def holder(rng: np.random.Generator, scene: Scene) -> Question | None:
    """The box that is directly around a shape."""
    held = [i for i in _shapes(scene) if scene.holders[i] >= 0]
    if not held:
        return None
    i = held[rng.integers(len(held))]
    it, name = _name(rng, scene, i)
    text = pick(rng, f"What color is the box directly around {it}?", f"Which box is the nearest one around {it}?",
                f"Which color has the innermost box around {it}?",
                f"Give the color of the box that {it} lies directly in.",
                f"Tell me the color of the nearest box around {it}.")  # fmt: skip
    k = scene.holders[i]
    return Question("holder", text, scene.marks[k].color, (i, k), 2, (name,))


def in_color_box(rng: np.random.Generator, scene: Scene) -> Question | None:
    """Whether a shape lies in a box; first the box, so that neither name tells."""
    shapes = _shapes(scene)
    boxes = [k for k in _boxes(scene) if 0 < len(_within(scene, k)) < len(shapes)]
    if not boxes:
        return None
    k = boxes[rng.integers(len(boxes))]
    within = _within(scene, k)
    i, holds = choose(rng, [(i, i in within) for i in shapes])
    (it, name), (box, box_name) = _name(rng, scene, i), _name(rng, scene, k)
    text = pick(rng, f"Is {it} inside {box}?", f"Does {it} lie in {box}?", f"Can {it} be found within {box}?",
                f"Is it true that {it} is in {box}?", f"Tell me whether {it} lies inside {box}.")  # fmt: skip
    return Question("in_color_box", text, yes_or_no(holds), (i, k), 2, (name, box_name))


def box_content(rng: np.random.Generator, scene: Scene) -> Question | None:
    """The only shape in a box."""
    single = [k for k in _boxes(scene) if len(_within(scene, k)) == 1]
    if not single:
        return None
    k = single[rng.integers(len(single))]
    (i,) = _within(scene, k)
    box, name = _name(rng, scene, k)
    text = pick(rng, f"Which shape lies in {box}?", f"What shape is inside {box}?", f"What shape does {box} contain?",
                f"Name the shape that {box} holds.", f"Tell me which shape is within {box}.")  # fmt: skip
    return Question("box_content", text, scene.marks[i].shape, (i, k), 2, (name,))


def count_in_color_box(rng: np.random.Generator, scene: Scene) -> Question | None:
    """How many shapes a box holds; first the number, of those that there are, since small ones are usual."""
    numbers = {k: len(_within(scene, k)) for k in _boxes(scene)}
    present = sorted(set(numbers.values()))
    answer = present[rng.integers(len(present))]
    found = [k for k, number in numbers.items() if number == answer]
    k = found[rng.integers(len(found))]
    box, name = _name(rng, scene, k)
    text = pick(rng, f"How many shapes are inside {box}?", f"How many shapes lie in {box}?",
                f"Count all shapes within {box}.", f"What is the number of shapes in {box}?",
                f"Give the number of shapes that {box} contains.")  # fmt: skip
    return Question("count_in_color_box", text, str(answer), (k, *_within(scene, k)), 1 + answer, (name,))


def count_unboxed(rng: np.random.Generator, scene: Scene) -> Question | None:
    free = [i for i in _shapes(scene) if scene.holders[i] < 0]
    text = pick(rng, "How many shapes are in no box?", "Count the shapes that lie outside all boxes.",
                "How many shapes lie beside the boxes?", "What is the number of shapes without a box around them?",
                "Give the number of shapes that are not in any box.")  # fmt: skip
    return Question("count_unboxed", text, str(len(free)), tuple(range(len(scene.marks))), len(scene.marks))


def count_boxes(rng: np.random.Generator, scene: Scene) -> Question | None:
    found = tuple(_boxes(scene))
    text = pick(rng, "How many boxes are there?", "Count the boxes.", "What is the number of boxes?",
                "How many boxes are drawn?", "Give the number of boxes.")  # fmt: skip
    return Question("count_boxes", text, str(len(found)), found, len(found))


def box_in_box(rng: np.random.Generator, scene: Scene) -> Question | None:
    """Whether a box lies in another."""
    boxes = _boxes(scene)
    pairs = [(a, b) for a in boxes for b in boxes if a != b]
    chosen = choose(rng, [((a, b), b in _around(scene, a)) for a, b in pairs])
    if chosen is None:
        return None
    (a, b), holds = chosen
    (one, name), (other, other_name) = _name(rng, scene, a), _name(rng, scene, b)
    text = pick(rng, f"Is {one} inside {other}?", f"Does {one} lie within {other}?", f"Is {one} drawn in {other}?",
                f"Is it true that {one} lies inside {other}?", f"Tell me whether {one} is in {other}.")  # fmt: skip
    return Question("box_in_box", text, yes_or_no(holds), (a, b), 2, (name, other_name))


def innermost(rng: np.random.Generator, scene: Scene) -> Question | None:
    """The only box with the most boxes around it."""
    k = _only(_boxes(scene), lambda k: len(_around(scene, k)))
    if k is None:
        return None
    text = pick(rng, "What color is the innermost box?", "Which box is the innermost?",
                "Give the color of the box that lies deepest in others.",
                "Which color has the box with most boxes around it?",
                "Tell me the color of the innermost box.")  # fmt: skip
    return Question("innermost", text, scene.marks[k].color, (k, *_around(scene, k)), len(_boxes(scene)))


def fullest(rng: np.random.Generator, scene: Scene) -> Question | None:
    """The only box with the most shapes in it."""
    k = _only(_boxes(scene), lambda k: len(_within(scene, k)))
    if k is None:
        return None
    text = pick(rng, "Which box has the most shapes inside?", "What color is the box with the most shapes in it?",
                "Which box holds more shapes than any other?",
                "Which color has the box that contains the most shapes?",
                "Tell me the color of the box that holds the most shapes.")  # fmt: skip
    return Question("fullest", text, scene.marks[k].color, (k, *_within(scene, k)), len(scene.marks))


def _only(options: list[int], size: Callable[[int], int]) -> int | None:
    """The one that is larger than all others; None where there is none."""
    *_, second, first = sorted(options, key=size)
    return first if size(first) > size(second) else None


PROGRAMS = (holder, in_color_box, box_content, count_in_color_box, count_unboxed, count_boxes, box_in_box, innermost,
            fullest)  # fmt: skip
