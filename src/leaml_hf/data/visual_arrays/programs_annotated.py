"""Questions about annotated pictures: what call-outs point at, what lies in the box, and how wide things are."""

import numpy as np

from .scenes import Scene, is_inside
from .wording import Question, all_marks, choose, pick, yes_or_no

FULL_WIDTH = ("circle", "square", "diamond", "cross")  # shapes as wide as the box that they are drawn in
REGION, SCALE_BAR = ("region",), ("scale bar",)


def _name(scene: Scene, i: int) -> str:
    return f"{scene.marks[i].color} {scene.marks[i].shape}"


def _labelled(scene: Scene) -> list[int]:
    return [i for i, mark in enumerate(scene.marks) if mark.label]


def _sized(scene: Scene) -> list[int]:
    return [i for i, mark in enumerate(scene.marks) if mark.shape in FULL_WIDTH]


def _inside(scene: Scene) -> list[bool]:
    return [is_inside(mark.box, scene.region) for mark in scene.marks]


def pointed_color(rng: np.random.Generator, scene: Scene) -> Question | None:
    i = int(rng.permutation(_labelled(scene))[0])
    label = scene.marks[i].label
    text = pick(rng, f"What color is the shape that {label} points to?", f"Which color has the shape marked {label}?",
                 f"Follow the line from {label}: what color is the shape?", f"Give the color of the shape at {label}.",
                 f"Tell me the color of what is labeled {label}.")  # fmt: skip
    return Question("pointed_color", text, scene.marks[i].color, (i,), 1, ((label, (i,)),))


def pointed_shape(rng: np.random.Generator, scene: Scene) -> Question | None:
    i = int(rng.permutation(_labelled(scene))[0])
    label = scene.marks[i].label
    text = pick(rng, f"Which shape does {label} point to?", f"What shape is marked {label}?",
                 f"Follow the line from {label}: which shape is there?", f"Name the shape that {label} stands for.",
                 f"Tell me which shape is labeled {label}.")  # fmt: skip
    return Question("pointed_shape", text, scene.marks[i].shape, (i,), 1, ((label, (i,)),))


def call_out(rng: np.random.Generator, scene: Scene) -> Question | None:
    i = int(rng.permutation(_labelled(scene))[0])
    name = _name(scene, i)
    text = pick(rng, f"Which label points to the {name}?", f"How is the {name} labeled?",
                 f"Give the label of the {name}.", f"What is written at the line to the {name}?",
                 f"Tell me the {name}'s label.")  # fmt: skip
    return Question("call_out", text, scene.marks[i].label, (i,), 1, ((name, (i,)),))


def is_labeled(rng: np.random.Generator, scene: Scene) -> Question | None:
    i, holds = choose(rng, enumerate(bool(mark.label) for mark in scene.marks))
    name = _name(scene, i)
    text = pick(rng, f"Is the {name} labeled?", f"Does a line point to the {name}?", f"Has the {name} got a label?",
                 f"Does any label belong to the {name}?", f"Tell me whether the {name} is labeled.")  # fmt: skip
    return Question("is_labeled", text, yes_or_no(holds), (i,), 1, ((name, (i,)),))


def count_labels(rng: np.random.Generator, scene: Scene) -> Question | None:
    found = tuple(_labelled(scene))
    text = pick(rng, "How many shapes are labeled?", "How many shapes have a label?", "Count the labeled shapes.",
                 "What is the number of labeled shapes?", "To how many shapes do lines point?")  # fmt: skip
    return Question("count_labels", text, str(len(found)), found, len(scene.marks))


def in_box(rng: np.random.Generator, scene: Scene) -> Question | None:
    i, holds = choose(rng, enumerate(_inside(scene)))
    name = _name(scene, i)
    text = pick(rng, f"Is the {name} inside the box?", f"Does the box contain the {name}?",
                 f"Does the {name} lie within the box?", f"Is the {name} one of the shapes in the box?",
                 f"Tell me whether the {name} is in the box.")  # fmt: skip
    return Question("in_box", text, yes_or_no(holds), (i,), 1, ((name, (i,)),), REGION)


def count_in_box(rng: np.random.Generator, scene: Scene) -> Question | None:
    found = tuple(i for i, inside in enumerate(_inside(scene)) if inside)
    text = pick(rng, "How many shapes are inside the box?", "Count the shapes in the box.",
                 "How many shapes does the box contain?", "What is the number of shapes within the box?",
                 "Tell me how many shapes lie in the box.")  # fmt: skip
    return Question("count_in_box", text, str(len(found)), found, len(scene.marks), also=REGION)


def count_outside(rng: np.random.Generator, scene: Scene) -> Question | None:
    found = tuple(i for i, inside in enumerate(_inside(scene)) if not inside)
    text = pick(rng, "How many shapes are outside the box?", "Count the shapes that are not in the box.",
                 "How many shapes lie beyond the box?", "What is the number of shapes outside the box?",
                 "Tell me how many shapes the box leaves out.")  # fmt: skip
    return Question("count_outside", text, str(len(found)), all_marks(scene), len(scene.marks), also=REGION)


def wider_than_bar(rng: np.random.Generator, scene: Scene) -> Question | None:
    sized = [i for i in _sized(scene) if abs(scene.marks[i].value - 1) > 0.01]
    chosen = choose(rng, [(i, scene.marks[i].value > 1) for i in sized])
    if chosen is None:
        return None
    i, holds = chosen
    name = _name(scene, i)
    text = pick(rng, f"Is the {name} wider than the scale bar?", f"Is the {name} longer than the scale bar?",
                 f"Does the {name} measure more than the scale bar?", f"Would the scale bar fit into the {name}?",
                 f"Tell me whether the {name} is wider than the scale bar.")  # fmt: skip
    return Question("wider_than_bar", text, yes_or_no(holds), (i,), 2, ((name, (i,)),), SCALE_BAR)


def width(rng: np.random.Generator, scene: Scene) -> Question | None:
    sized = _sized(scene)
    if not sized:
        return None
    i = sized[rng.integers(len(sized))]
    name = _name(scene, i)
    text = pick(rng, f"How wide is the {name}, by the scale bar?",
                 f"By the scale bar, what is the width of the {name}?",
                 f"Measure the {name} against the scale bar: how wide is it?", f"What does the {name} measure across?",
                 f"Give the width of the {name} in units of the scale.")  # fmt: skip
    return Question("width", text, f"{scene.marks[i].value * scene.step:.4g}", (i,), 2, ((name, (i,)),), SCALE_BAR)


def same_color(rng: np.random.Generator, scene: Scene) -> Question | None:
    found = _labelled(scene)
    chosen = choose(
        rng, [((a, b), scene.marks[a].color == scene.marks[b].color) for a in found for b in found if a != b]
    )
    if chosen is None:
        return None
    (i, k), holds = chosen
    one, other = scene.marks[i].label, scene.marks[k].label
    text = pick(rng, f"Do {one} and {other} point to shapes of the same color?",
                 f"Have the shapes at {one} and {other} the same color?",
                 f"Is the color of the shape marked {one} that of the one marked {other}?",
                 f"Are {one} and {other} labels of shapes with one color?",
                 f"Tell me whether the shapes labeled {one} and {other} are alike in color.")  # fmt: skip
    return Question("same_color", text, yes_or_no(holds), (i, k), 2, ((one, (i,)), (other, (k,))))


def larger(rng: np.random.Generator, scene: Scene) -> Question | None:
    found = _labelled(scene)
    values = [mark.value for mark in scene.marks]
    pairs = [(a, b) for a in found for b in found if abs(values[a] - values[b]) > 0.45]
    if not pairs:
        return None
    i, k = pairs[rng.integers(len(pairs))]
    one, other = scene.marks[i].label, scene.marks[k].label
    text = pick(rng, f"Is the shape at {one} larger than the one at {other}?",
                 f"Does {one} mark a larger shape than {other}?",
                 f"Is what {one} points to larger than what {other} points to?",
                 f"Compared with the shape labeled {other}, is the one labeled {one} larger?",
                 f"Tell me whether the shape at {one} is larger than that at {other}.")  # fmt: skip
    return Question("larger", text, yes_or_no(values[i] > values[k]), (i, k), 2, ((one, (i,)), (other, (k,))))


PROGRAMS = (pointed_color, pointed_shape, call_out, is_labeled, count_labels, in_box, count_in_box, count_outside,
            wider_than_bar, width, same_color, larger)  # fmt: skip
