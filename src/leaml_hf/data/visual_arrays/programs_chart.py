"""Questions about what a chart says: its marks, their names, colours and values."""

import numpy as np

from .balance import flattens
from .scenes import GRID_KINDS, SERIES_KINDS, Scene
from .wording import (
    KIND_ANSWER,
    MORE,
    Question,
    all_marks,
    extreme,
    is_ranked,
    noun_of,
    pick,
    plural,
    yes_or_no,
)


def extreme_color(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.single_color or len(scene.marks) < 2 or not is_ranked(scene):
        return None
    i, word = extreme(rng, scene)
    noun = noun_of(scene)
    if scene.kind == "line":
        text = pick(rng, f"Which line color is {word}?", f"What color is the line that is {word}?",
                     f"Give the color of the line which is {word}.", f"The line that is {word} has which color?",
                     f"Tell me the color of the line that is {word}.")  # fmt: skip
    else:
        text = pick(rng, f"What color is the {noun} that is {word}?", f"Which color is the {word} {noun}?",
                     f"The {noun} that is {word} has which color?", f"Give the color of the {word} {noun}.",
                     f"In what color is the {word} {noun} shown?", f"Tell me the {word} {noun}'s color.",
                     f"Find the {word} {noun} and say its color.")  # fmt: skip
    return Question("extreme_color", text, scene.marks[i].color, (i,), len(scene.marks))


def extreme_label(rng: np.random.Generator, scene: Scene) -> Question | None:
    if len(scene.marks) < 2 or not scene.marks[0].label or not is_ranked(scene):
        return None
    i, word = extreme(rng, scene)
    noun = noun_of(scene)
    text = pick(rng, f"Which {noun} is {word}?", f"What is the name of the {noun} that is {word}?",
                 f"Name the {noun} that is {word}.", f"Give the label of the {noun} that is {word}.",
                 f"Tell me which {noun} is {word}.", f"What label has the {noun} that is {word}?")  # fmt: skip
    return Question("extreme_label", text, scene.marks[i].label, (i,), len(scene.marks))


def count(rng: np.random.Generator, scene: Scene) -> Question | None:
    nouns, n = plural(noun_of(scene)), len(scene.marks)
    if scene.kind in SERIES_KINDS + GRID_KINDS or (scene.task == "chart" and not flattens(scene)):
        return None  # series and rows, of which there are few, have programs of their own
    text = pick(rng, f"How many {nouns} are there?", f"Count the {nouns}.", f"What is the number of {nouns}?",
                 f"How many {nouns} are shown?", f"Give the number of {nouns}.",
                 f"Tell me how many {nouns} the picture has.")  # fmt: skip
    return Question("count", text, str(n), all_marks(scene), n)


def compare(rng: np.random.Generator, scene: Scene) -> Question | None:
    marks = scene.marks
    if len(marks) < 2 or not is_ranked(scene):
        return None
    for _ in range(10):
        a, b = (int(i) for i in rng.permutation(len(marks))[:2])
        gap = 5.0 if scene.kind == "pie" else 0.6
        if abs(marks[a].value - marks[b].value) >= gap:
            break
    else:
        return None
    noun, (more, less) = noun_of(scene), MORE[scene.kind]
    is_more = rng.random() < 0.7
    word = more if is_more else less
    answer = yes_or_no((marks[a].value > marks[b].value) == is_more)
    by_color = not scene.single_color and (rng.random() < 0.5 or not marks[0].label)
    first, second = (marks[a].color, marks[b].color) if by_color else (marks[a].label, marks[b].label)
    pair = (f"the {first} {noun}", f"the {second} {noun}") if by_color else (first, second)
    text = pick(rng, f"Is {first} {word} than {second}?", f"Is {pair[0]} {word} than {pair[1]}?",
                 f"Is the {noun} {first} {word} than the {noun} {second}?",
                 f"Between {first} and {second}, is {first} {word}?",
                 f"Is it true that {pair[0]} is {word} than {pair[1]}?",
                 f"Tell me whether {pair[0]} is {word} than {pair[1]}.")  # fmt: skip
    return Question("compare", text, answer, (a, b), 2, ((first, (a,)), (second, (b,))))


def label_to_color(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.single_color or not scene.marks[0].label:
        return None
    i = int(rng.integers(len(scene.marks)))
    word, noun = scene.marks[i].label, noun_of(scene)
    text = pick(rng, f"What color is {word}?", f"Which color has the {noun} {word}?", f"What is the color of {word}?",
                 f"Give the color of the {noun} {word}.", f"Tell me the color used for {word}.",
                 f"{word} is shown in what color?", f"In what color is the {noun} for {word}?")  # fmt: skip
    return Question("label_to_color", text, scene.marks[i].color, (i,), 1, ((word, (i,)),))


def color_to_label(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.single_color or not scene.marks[0].label:
        return None
    i = int(rng.integers(len(scene.marks)))
    color, noun = scene.marks[i].color, noun_of(scene)
    text = pick(rng, f"What is the {color} {noun} called?", f"What is {color}?",
                 f"What is the name of the {color} {noun}?", f"Give the label of the {color} {noun}.",
                 f"Which label has the {noun} in {color}?", f"Tell me what the {color} {noun} is.",
                 f"Name the {color} {noun}.")  # fmt: skip
    return Question("color_to_label", text, scene.marks[i].label, (i,), 1, ((color, (i,)),))


def position(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind not in ("bar", "hbar") and not scene.dots:
        return None
    i, word = extreme(rng, scene)
    side, noun = "top" if scene.kind == "hbar" else "left", noun_of(scene)
    text = pick(rng, f"Counting from the {side}, which {noun} is {word}?",
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
        text = pick(rng, f"What is the value of {name}?", f"How much is {name}?", f"What value has {name}?",
                     f"Give the value of {name}.", f"Tell me the number for {name}.",
                     f"What does {name} show as its value?")  # fmt: skip
        answer = scene.value_text(mark) if scene.show_values else scene.tick_text(mark.value)
    else:
        tick = scene.every * round(mark.value / scene.every)
        if abs(mark.value - tick) > 0.25 * scene.every or tick > scene.reach:
            return None
        text = pick(rng, f"Which number of the axis lies nearest to {name}?",
                     f"What axis number does {name} nearly reach?",
                     f"Give the number of the axis next to the end of {name}.",
                     f"About which number of the axis does {name} come to?",
                     f"Tell me the axis number nearest to the end of {name}.")  # fmt: skip
        answer = scene.tick_text(tick)
    return Question("value", text, answer, (i,), 1,
                    ((mark.color if by_color else mark.label, (i,)),))  # fmt: skip


def trend(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind not in ("line", "area"):
        return None
    i = int(rng.integers(len(scene.marks)))
    mark = scene.marks[i]
    if not mark.trend:
        return None
    by_color = rng.random() < 0.6 or not mark.label
    name = f"the {mark.color} {noun_of(scene)}" if by_color else mark.label
    text = pick(rng, f"Does {name} go up or down?", f"Is {name} going up or down?", f"Which way goes {name}?",
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
    text = pick(rng, f"Is the correlation of {name} positive, negative or none?",
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
    text = pick(rng, "Is the largest slice more than half?", "Does one slice take more than half of the pie?",
                 "Is any slice above 50%?", "Is there a slice that is more than half of the pie?",
                 "Tell me whether a slice is above half of the whole.")  # fmt: skip
    return Question("share", text, yes_or_no(scene.marks[i].value > 50), (i,), len(scene.marks))


def chart_type(rng: np.random.Generator, scene: Scene) -> Question | None:
    text = pick(rng, "What kind of chart is this?", "Which type of chart is shown?", "What chart type is it?",
                 "Name the type of this chart.", "What sort of chart do you see?",
                 "Give the chart type.")  # fmt: skip
    return Question("chart_type", text, KIND_ANSWER[scene.kind], all_marks(scene), 1)


PROGRAMS = (extreme_color, extreme_label, count, compare, label_to_color, color_to_label, position, value, trend,
            correlation, share, chart_type)  # fmt: skip
