"""Questions about a scene: one function per program, each giving wording, answer and the marks that decide it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .scenes import SHAPES, Mark, Scene


@dataclass(frozen=True)
class Question:
    """A question about a scene.

    Attributes:
        relevant: indices of the marks that decide the answer.
        complexity: how many marks must be read and compared.
        names: the words of `text` that name marks, each with the indices of these marks.
    """

    program: str
    text: str
    answer: str
    relevant: tuple[int, ...]
    complexity: int
    names: tuple[tuple[str, tuple[int, ...]], ...] = ()


NOUN = {"bar": "bar", "hbar": "bar", "line": "line", "pie": "slice", "scatter": "group", "layout": "shape"}
MOST = {"bar": ("tallest", "highest", "largest"), "hbar": ("longest", "largest", "biggest"),
        "line": ("highest at the end",), "pie": ("largest", "biggest"), "scatter": ("highest",)}  # fmt: skip
LEAST = {"bar": ("shortest", "lowest", "smallest"), "hbar": ("shortest", "smallest"),
         "line": ("lowest at the end",), "pie": ("smallest",), "scatter": ("lowest",)}  # fmt: skip
MORE = {"bar": ("taller", "shorter"), "hbar": ("longer", "shorter"),
        "line": ("higher at the end", "lower at the end"), "pie": ("larger", "smaller"),
        "scatter": ("higher", "lower")}  # fmt: skip
KIND_ANSWER = {"bar": "bar", "hbar": "bar", "line": "line", "pie": "pie", "scatter": "scatter"}


def _noun(scene: Scene) -> str:
    return "dot" if scene.dots else NOUN[scene.kind]


def _pick(rng: np.random.Generator, *options: str) -> str:
    return options[rng.integers(len(options))]


def _extreme(rng: np.random.Generator, scene: Scene) -> tuple[int, str]:
    values = [m.value for m in scene.marks]
    if rng.random() < 0.5:
        return int(np.argmax(values)), _pick(rng, *MOST[scene.kind])
    return int(np.argmin(values)), _pick(rng, *LEAST[scene.kind])


def extreme_color(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.single_color or len(scene.marks) < 2:
        return None
    i, word = _extreme(rng, scene)
    noun = _noun(scene)
    if scene.kind == "line":
        text = _pick(rng, f"Which line color is {word}?", f"What color is the line that is {word}?",
                     f"Give the color of the line which is {word}.", f"The line that is {word} has which color?",
                     f"Tell me the color of the line that is {word}.")  # fmt: skip
    else:
        text = _pick(rng, f"What color is the {noun} that is {word}?", f"Which color is the {word} {noun}?",
                     f"The {noun} that is {word} has which color?", f"Give the color of the {word} {noun}.",
                     f"In what color is the {word} {noun} shown?", f"Tell me the {word} {noun}'s color.",
                     f"Find the {word} {noun} and say its color.")  # fmt: skip
    return Question("extreme_color", text, scene.marks[i].color, (i,), len(scene.marks))


def extreme_label(rng: np.random.Generator, scene: Scene) -> Question | None:
    if len(scene.marks) < 2 or not scene.marks[0].label:
        return None
    i, word = _extreme(rng, scene)
    noun = _noun(scene)
    text = _pick(rng, f"Which {noun} is {word}?", f"What is the name of the {noun} that is {word}?",
                 f"Name the {noun} that is {word}.", f"Give the label of the {noun} that is {word}.",
                 f"Tell me which {noun} is {word}.", f"What label has the {noun} that is {word}?")  # fmt: skip
    return Question("extreme_label", text, scene.marks[i].label, (i,), len(scene.marks))


def count(rng: np.random.Generator, scene: Scene) -> Question | None:
    noun, n = _noun(scene), len(scene.marks)
    text = _pick(rng, f"How many {noun}s are there?", f"Count the {noun}s.", f"What is the number of {noun}s?",
                 f"How many {noun}s are shown?", f"Give the number of {noun}s.",
                 f"Tell me how many {noun}s the picture has.")  # fmt: skip
    return Question("count", text, str(n), tuple(range(n)), n)


def compare(rng: np.random.Generator, scene: Scene) -> Question | None:
    marks = scene.marks
    if len(marks) < 2:
        return None
    for _ in range(10):
        a, b = (int(i) for i in rng.permutation(len(marks))[:2])
        gap = 5.0 if scene.kind == "pie" else 0.6
        if abs(marks[a].value - marks[b].value) >= gap:
            break
    else:
        return None
    noun, (more, less) = _noun(scene), MORE[scene.kind]
    is_more = rng.random() < 0.7
    word = more if is_more else less
    answer = "yes" if (marks[a].value > marks[b].value) == is_more else "no"
    by_color = not scene.single_color and (rng.random() < 0.5 or not marks[0].label)
    first, second = (marks[a].color, marks[b].color) if by_color else (marks[a].label, marks[b].label)
    pair = (f"the {first} {noun}", f"the {second} {noun}") if by_color else (first, second)
    text = _pick(rng, f"Is {first} {word} than {second}?", f"Is {pair[0]} {word} than {pair[1]}?",
                 f"Is the {noun} {first} {word} than the {noun} {second}?",
                 f"Between {first} and {second}, is {first} {word}?",
                 f"Is it true that {pair[0]} is {word} than {pair[1]}?",
                 f"Tell me whether {pair[0]} is {word} than {pair[1]}.")  # fmt: skip
    return Question("compare", text, answer, (a, b), 2, ((first, (a,)), (second, (b,))))


def label_to_color(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.single_color or not scene.marks[0].label:
        return None
    i = int(rng.integers(len(scene.marks)))
    word, noun = scene.marks[i].label, _noun(scene)
    text = _pick(rng, f"What color is {word}?", f"Which color has the {noun} {word}?", f"What is the color of {word}?",
                 f"Give the color of the {noun} {word}.", f"Tell me the color used for {word}.",
                 f"{word} is shown in what color?", f"In what color is the {noun} for {word}?")  # fmt: skip
    return Question("label_to_color", text, scene.marks[i].color, (i,), 1, ((word, (i,)),))


def color_to_label(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.single_color or not scene.marks[0].label:
        return None
    i = int(rng.integers(len(scene.marks)))
    color, noun = scene.marks[i].color, _noun(scene)
    text = _pick(rng, f"What is the {color} {noun} called?", f"What is {color}?",
                 f"What is the name of the {color} {noun}?", f"Give the label of the {color} {noun}.",
                 f"Which label has the {noun} in {color}?", f"Tell me what the {color} {noun} is.",
                 f"Name the {color} {noun}.")  # fmt: skip
    return Question("color_to_label", text, scene.marks[i].label, (i,), 1, ((color, (i,)),))


def position(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind not in ("bar", "hbar") and not scene.dots:
        return None
    i, word = _extreme(rng, scene)
    side, noun = "top" if scene.kind == "hbar" else "left", _noun(scene)
    text = _pick(rng, f"Counting from the {side}, which {noun} is {word}?",
                 f"At which place from the {side} is the {word} {noun}?",
                 f"Count from the {side}: what is the place of the {word} {noun}?",
                 f"What position from the {side} has the {word} {noun}?",
                 f"Starting at the {side}, give the number of the {word} {noun}.")  # fmt: skip
    place = sum(m.points[0, 0] < scene.marks[i].points[0, 0] for m in scene.marks) if scene.dots else i
    return Question("position", text, str(place + 1), (i,), len(scene.marks))


def value(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind not in ("bar", "hbar"):
        return None
    i = int(rng.integers(len(scene.marks)))
    mark = scene.marks[i]
    by_color = not scene.single_color and rng.random() < 0.5
    name = f"the {mark.color} bar" if by_color else mark.label
    if scene.show_values or mark.value.is_integer():
        text = _pick(rng, f"What is the value of {name}?", f"How much is {name}?", f"What value has {name}?",
                     f"Give the value of {name}.", f"Tell me the number for {name}.",
                     f"What does {name} show as its value?")  # fmt: skip
        answer = scene.value_text(mark) if scene.show_values else scene.tick_text(mark.value)
    else:
        tick = scene.every * round(mark.value / scene.every)
        if abs(mark.value - tick) > 0.25 * scene.every or tick > scene.reach:
            return None
        text = _pick(rng, f"Which number of the axis lies nearest to {name}?",
                     f"What axis number does {name} nearly reach?",
                     f"Give the number of the axis next to the end of {name}.",
                     f"About which number of the axis does {name} come to?",
                     f"Tell me the axis number nearest to the end of {name}.")  # fmt: skip
        answer = scene.tick_text(tick)
    return Question("value", text, answer, (i,), 1,
                    ((mark.color if by_color else mark.label, (i,)),))  # fmt: skip


def trend(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "line":
        return None
    i = int(rng.integers(len(scene.marks)))
    mark = scene.marks[i]
    by_color = rng.random() < 0.6 or not mark.label
    name = f"the {mark.color} line" if by_color else mark.label
    text = _pick(rng, f"Does {name} go up or down?", f"Is {name} going up or down?", f"Which way goes {name}?",
                 f"Up or down: where does {name} go?", f"Tell me whether {name} goes up or down.",
                 f"In which direction does {name} move, up or down?")  # fmt: skip
    return Question("trend", text, mark.trend, (i,), 1, ((mark.color if by_color else mark.label, (i,)),))


def correlation(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "scatter" or scene.dots:
        return None
    i = int(rng.integers(len(scene.marks)))
    mark = scene.marks[i]
    if not mark.trend:
        return None
    several = len(scene.marks) > 1
    name = f"the {mark.color} group" if several else "the group"
    text = _pick(rng, f"Is the correlation of {name} positive, negative or none?",
                 f"Which sign has the correlation of {name}, if any?",
                 f"Give the sign of the correlation of {name}, or none.",
                 f"Tell me whether {name} has a positive or a negative correlation or none.",
                 f"Positive, negative or none: what is the correlation of {name}?")  # fmt: skip
    answer = {"up": "positive", "down": "negative", "none": "none"}[mark.trend]
    return Question("correlation", text, answer, (i,), 1, ((mark.color, (i,)),) if several else ())


def share(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "pie":
        return None
    i = int(np.argmax([m.value for m in scene.marks]))
    text = _pick(rng, "Is the largest slice more than half?", "Does one slice take more than half of the pie?",
                 "Is any slice above 50%?", "Is there a slice that is more than half of the pie?",
                 "Tell me whether a slice is above half of the whole.")  # fmt: skip
    return Question("share", text, "yes" if scene.marks[i].value > 50 else "no", (i,), len(scene.marks))


def chart_type(rng: np.random.Generator, scene: Scene) -> Question | None:
    text = _pick(rng, "What kind of chart is this?", "Which type of chart is shown?", "What chart type is it?",
                 "Name the type of this chart.", "What sort of chart do you see?",
                 "Give the chart type.")  # fmt: skip
    return Question("chart_type", text, KIND_ANSWER[scene.kind], tuple(range(len(scene.marks))), 1)


def _unique(scene: Scene, key: Callable[[Mark], object]) -> list[int]:
    keys = [key(m) for m in scene.marks]
    return [i for i, k in enumerate(keys) if keys.count(k) == 1]


def count_shape(rng: np.random.Generator, scene: Scene) -> Question | None:
    present = sorted({m.shape for m in scene.marks})
    shape = present[rng.integers(len(present))] if rng.random() < 0.85 else SHAPES[rng.integers(len(SHAPES))]
    found = tuple(i for i, m in enumerate(scene.marks) if m.shape == shape)
    plural = shape + ("es" if shape == "cross" else "s")
    text = _pick(rng, f"How many {plural} are there?", f"Count the {plural}.", f"What is the number of {plural}?",
                 f"How many {plural} are shown?", f"Give the number of {plural}.")  # fmt: skip
    return Question("count_shape", text, str(len(found)), found, len(scene.marks), ((plural, found),))


def color_of_shape(rng: np.random.Generator, scene: Scene) -> Question | None:
    found = _unique(scene, lambda m: m.shape)
    if not found:
        return None
    i = found[rng.integers(len(found))]
    shape = scene.marks[i].shape
    text = _pick(rng, f"What color is the {shape}?", f"Which color has the {shape}?", f"The {shape} has which color?",
                 f"Give the color of the {shape}.", f"Tell me the color of the {shape}.")  # fmt: skip
    return Question("color_of_shape", text, scene.marks[i].color, (i,), 1, ((shape, (i,)),))


def shape_of_color(rng: np.random.Generator, scene: Scene) -> Question | None:
    found = _unique(scene, lambda m: m.color)
    if not found:
        return None
    i = found[rng.integers(len(found))]
    color = scene.marks[i].color
    text = _pick(rng, f"What shape is {color}?", f"Which shape is the {color} one?", f"What is the {color} shape?",
                 f"Name the shape in {color}.", f"Tell me which shape is {color}.")  # fmt: skip
    return Question("shape_of_color", text, scene.marks[i].shape, (i,), 1, ((color, (i,)),))


def label_to_shape(rng: np.random.Generator, scene: Scene) -> Question | None:
    if not scene.marks[0].label:
        return None
    i = int(rng.integers(len(scene.marks)))
    word = scene.marks[i].label
    if scene.occluded and i == scene.occluded[0]:
        return None  # its letter may be covered
    text = _pick(rng, f"What shape is marked {word}?", f"Which shape has the letter {word}?",
                 f"Name the shape with the letter {word}.", f"The letter {word} is on which shape?",
                 f"Tell me the shape of {word}.")  # fmt: skip
    return Question("label_to_shape", text, scene.marks[i].shape, (i,), 1, ((word, (i,)),))


def _centre(mark: Mark) -> tuple[float, float]:
    return (mark.box[0] + mark.box[2]) / 2, (mark.box[1] + mark.box[3]) / 2


def relation(rng: np.random.Generator, scene: Scene) -> Question | None:
    found = _unique(scene, lambda m: (m.color, m.shape))
    if len(found) < 2:
        return None
    a, b = (found[i] for i in rng.permutation(len(found))[:2])
    (ax, ay), (bx, by) = _centre(scene.marks[a]), _centre(scene.marks[b])
    first, second = (f"{scene.marks[i].color} {scene.marks[i].shape}" for i in (a, b))
    word, holds, gap = [("left of", ax < bx, abs(ax - bx)), ("right of", ax > bx, abs(ax - bx)),
                        ("above", ay < by, abs(ay - by)),
                        ("below", ay > by, abs(ay - by))][rng.integers(4)]  # fmt: skip
    if gap < 0.08:
        return None
    text = _pick(rng, f"Is the {first} {word} the {second}?", f"Is it true that the {first} is {word} the {second}?",
                 f"Does the {first} lie {word} the {second}?", f"Tell me whether the {first} is {word} the {second}.",
                 f"Seen from the {second}, is the {first} {word} it?")  # fmt: skip
    return Question("relation", text, "yes" if holds else "no", (a, b), 2, ((first, (a,)), (second, (b,))))


def outermost(rng: np.random.Generator, scene: Scene) -> Question | None:
    side = _pick(rng, "leftmost", "rightmost", "topmost", "lowest")
    axis, sign = {"leftmost": (0, 1), "rightmost": (0, -1), "topmost": (1, 1), "lowest": (1, -1)}[side]
    reach = sorted((sign * _centre(m)[axis], i) for i, m in enumerate(scene.marks))
    if reach[1][0] - reach[0][0] < 0.04:
        return None
    i = reach[0][1]
    by_color = rng.random() < 0.5
    if by_color:
        text = _pick(rng, f"What color is the {side} shape?", f"Give the color of the {side} shape.",
                     f"Tell me the color of the shape that is {side}.")  # fmt: skip
    else:
        text = _pick(rng, f"Which shape is {side}?", f"Name the {side} shape.", f"What is the {side} shape?")
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


PROGRAMS: dict[str, tuple[Callable[[np.random.Generator, Scene], Question | None], ...]] = {
    "chart": (extreme_color, extreme_label, count, compare, label_to_color, color_to_label, position, value, trend,
              correlation, share, chart_type),
    "layout": (count, count_shape, color_of_shape, shape_of_color, label_to_shape, relation, outermost, in_front),
}  # fmt: skip
MAX_TRIES = 40


def ask(scene: Scene, rng: np.random.Generator, count: int) -> list[Question]:
    """`count` different questions about a scene, programs in random order, each once before any comes again."""
    programs = PROGRAMS[scene.task]
    questions: list[Question] = []
    seen: set[str] = set()
    for _ in range(MAX_TRIES):
        for k in rng.permutation(len(programs)):
            question = programs[k](rng, scene)
            if question is not None and question.text not in seen:
                seen.add(question.text)
                questions.append(question)
                if len(questions) == count:
                    return questions
    raise RuntimeError(f"A {scene.kind} scene offers fewer than {count} questions.")
