"""Questions about charts of several series: grouped bars, stacked bars and areas."""

from itertools import permutations

import numpy as np

from .balance import draw_claim, draw_from, draw_peak, stand_out
from .scenes import SERIES_KINDS, Scene
from .scenes_area import clear_cross
from .wording import Question, all_marks, noun_of, pick, plural, yes_or_no

GAP = 0.6  # ticks between bars, stacks or areas that are compared
PART_GAP = 0.45  # ticks between parts of a stack
MOST, LEAST = 0.56, 0.44  # shares of a stack that are clearly more or less than half


def _place_cells(scene: Scene, *places: int) -> tuple[int, ...]:
    return tuple(scene.cell(i, k) for k in places for i in all_marks(scene))


def _place_names(*places: int) -> tuple[str, ...]:
    return tuple(f"place {k}" for k in places)


def group_top(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "grouped":
        return None
    found = draw_peak(rng, scene.values.T, GAP)
    if found is None:
        return None
    k, most, i = found
    where, word = scene.x_labels[k], pick(rng, "tallest", "highest") if most else pick(rng, "shortest", "lowest")
    text = pick(rng, f"Which series has the {word} bar for {where}?", f"For {where}, which series is {word}?",
                f"Name the series with the {word} bar for {where}.",
                 f"Of the bars for {where}, which series is {word}?",
                f"Tell me which series is {word} for {where}.")  # fmt: skip
    return Question("group_top", text, scene.marks[i].label, (i, *_place_cells(scene, k)), len(scene.marks),
                    also=_place_names(k))  # fmt: skip


def group_peak(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "grouped":
        return None
    found = draw_peak(rng, scene.values, GAP)
    if found is None:
        return None
    i, most, k = found
    name, places = scene.marks[i].label, range(len(scene.x_labels))
    word = pick(rng, "tallest", "highest") if most else pick(rng, "shortest", "lowest")
    text = pick(rng, f"Where is the bar of {name} {word}?", f"For which group is {name} {word}?",
                f"In which group of bars is {name} {word}?", f"Name the group in which {name} is {word}.",
                f"Tell me where {name} has its {word} bar.")  # fmt: skip
    return Question("group_peak", text, scene.x_labels[k], (i, *(scene.cell(i, j) for j in places)), len(places),
                    ((name, (i,)),), _place_names(*places))  # fmt: skip


def group_compare(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "grouped":
        return None
    table = scene.values
    found = draw_claim(rng, [(a, b, k, bool(table[a, k] > table[b, k])) for a, b in permutations(range(len(table)), 2)
                             for k in range(table.shape[1]) if abs(table[a, k] - table[b, k]) >= GAP])  # fmt: skip
    if found is None:
        return None
    a, b, k, holds = found
    one, other, where = scene.marks[a].label, scene.marks[b].label, scene.x_labels[k]
    text = pick(rng, f"Is {one} higher than {other} for {where}?", f"For {where}, is {one} higher than {other}?",
                f"Is the bar of {one} taller than that of {other} for {where}?",
                f"For {where}, does {one} have a taller bar than {other}?",
                f"Tell me whether {one} is higher than {other} for {where}.")  # fmt: skip
    return Question("group_compare", text, yes_or_no(holds), (a, b, scene.cell(a, k), scene.cell(b, k)), 2,
                    ((one, (a,)), (other, (b,))), _place_names(k))  # fmt: skip


def group_change(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "grouped":
        return None
    table = scene.values
    places = range(table.shape[1])
    found = draw_claim(rng, [(i, k, m, bool(row[k] > row[m])) for i, row in enumerate(table)
                             for k, m in permutations(places, 2) if abs(row[k] - row[m]) >= GAP])  # fmt: skip
    if found is None:
        return None
    i, k, m, holds = found
    name, where, elsewhere = scene.marks[i].label, scene.x_labels[k], scene.x_labels[m]
    text = pick(rng, f"Is {name} higher for {where} than for {elsewhere}?",
                f"Does {name} have a taller bar for {where} than for {elsewhere}?",
                f"Of {name}, is the bar for {where} taller than that for {elsewhere}?",
                f"Is the bar of {name} for {where} higher than that for {elsewhere}?",
                f"Tell me whether {name} is higher for {where} than for {elsewhere}.")  # fmt: skip
    return Question("group_change", text, yes_or_no(holds), (i, scene.cell(i, k), scene.cell(i, m)), 2,
                    ((name, (i,)),), _place_names(k, m))  # fmt: skip


def group_value(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "grouped":
        return None
    i, k = scene.cells[rng.integers(len(scene.cells))]
    value = scene.marks[i].points[k]
    if not value.is_integer():
        return None
    name, where = scene.marks[i].label, scene.x_labels[k]
    text = pick(rng, f"What is the value of {name} for {where}?", f"For {where}, what is the value of {name}?",
                f"Which value has the bar of {name} for {where}?", f"Give the value of {name} for {where}.",
                f"Tell me how much {name} is for {where}.")  # fmt: skip
    return Question("group_value", text, scene.tick_text(value), (i, scene.cell(i, k)), 1, ((name, (i,)),),
                    _place_names(k))  # fmt: skip


def count_series(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind not in SERIES_KINDS:
        return None
    nouns = plural(noun_of(scene))
    text = pick(rng, f"How many {nouns} does the chart have?", f"How many {nouns} does the key list?",
                f"Count the {nouns} of the chart.", f"What number of {nouns} does the chart show?",
                f"Tell me how many {nouns} there are in the key.")  # fmt: skip
    return Question("count_series", text, str(len(scene.marks)), all_marks(scene), len(scene.marks))


def count_places(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind not in ("grouped", "stacked"):
        return None
    nouns = "groups of bars" if scene.kind == "grouped" else "stacks"
    text = pick(rng, f"How many {nouns} are there?", f"Count the {nouns}.", f"What is the number of {nouns}?",
                f"How many {nouns} stand beside each other?", f"Tell me how many {nouns} are shown.")  # fmt: skip
    places = range(len(scene.x_labels))
    return Question("count_places", text, str(len(places)), _place_cells(scene, *places), len(places))


def stack_part(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "stacked":
        return None
    found = draw_peak(rng, scene.values.T, PART_GAP)
    if found is None:
        return None
    k, most, i = found
    where, word = scene.x_labels[k], pick(rng, "largest", "biggest") if most else "smallest"
    text = pick(rng, f"Which part of the stack {where} is {word}?", f"What is the {word} part of {where}?",
                f"Of the parts of {where}, which is {word}?", f"Name the {word} part of the stack for {where}.",
                f"Tell me which part of {where} is {word}.")  # fmt: skip
    return Question("stack_part", text, scene.marks[i].label, (i, *_place_cells(scene, k)), len(scene.marks),
                    also=_place_names(k))  # fmt: skip


def stack_top(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "stacked":
        return None
    places = range(len(scene.x_labels))
    found = draw_from(rng, list(stand_out(scene.values.sum(0), GAP).items()))
    if found is None:
        return None
    most, k = found
    word = pick(rng, "tallest", "highest") if most else pick(rng, "shortest", "lowest")
    text = pick(rng, f"Which stack is {word}?", f"What is the name of the {word} stack?", f"Name the {word} stack.",
                f"Whose stack is the {word}?", f"Tell me which whole stack is {word}.")  # fmt: skip
    return Question("stack_top", text, scene.x_labels[k], _place_cells(scene, *places), len(places),
                    also=_place_names(*places))  # fmt: skip


def over_half(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "stacked":
        return None
    shares = scene.values / scene.values.sum(0)
    found = draw_claim(rng, [(i, k, bool(shares[i, k] > 0.5)) for i, k in scene.cells
                             if not LEAST < shares[i, k] < MOST])  # fmt: skip
    if found is None:
        return None
    i, k, holds = found
    name, where = scene.marks[i].label, scene.x_labels[k]
    text = pick(rng, f"Is {name} more than half of {where}?", f"Does {name} fill more than half of the stack {where}?",
                f"Of the stack for {where}, is more than half {name}?",
                f"Does {name} make up over half of the stack for {where}?",
                f"Tell me whether {name} is above half of the stack {where}.")  # fmt: skip
    return Question("over_half", text, yes_or_no(holds), (i, *_place_cells(scene, k)), 2, ((name, (i,)),),
                    _place_names(k))  # fmt: skip


def stack_compare(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "stacked":
        return None
    totals = scene.values.sum(0)
    found = draw_claim(rng, [(k, m, bool(totals[k] > totals[m])) for k, m in permutations(range(len(totals)), 2)
                             if abs(totals[k] - totals[m]) >= GAP])  # fmt: skip
    if found is None:
        return None
    k, m, holds = found
    one, other = scene.x_labels[k], scene.x_labels[m]
    text = pick(rng, f"Is the stack {one} higher than the stack {other}?", f"Is {one} taller than {other} in all?",
                f"Is the total of {one} above that of {other}?",
                 f"Does the stack for {one} rise above that for {other}?",
                f"Tell me whether the whole stack {one} is higher than {other}.")  # fmt: skip
    return Question("stack_compare", text, yes_or_no(holds), _place_cells(scene, k, m), 2, also=_place_names(k, m))


def stack_order(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "stacked" and not scene.stacked:
        return None
    at_top = bool(rng.random() < 0.5)
    i, end = (len(scene.marks) - 1, "top") if at_top else (0, "bottom")
    nouns = "stacks" if scene.kind == "stacked" else "areas"
    text = pick(rng, f"What color is at the {end} of the {nouns}?", f"Which color lies at the {end} of the {nouns}?",
                f"Name the color at the {end} of the {nouns}.", f"At the {end} of the {nouns}, which color is it?",
                f"Tell me the color at the {end} of the {nouns}.")  # fmt: skip
    cells = tuple(scene.cell(i, k) for j, k in scene.cells if j == i)
    return Question("stack_order", text, scene.marks[i].color, cells or (i,), 1)


def stack_total(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "stacked":
        return None
    k = int(rng.integers(len(scene.x_labels)))
    total, where = float(scene.values[:, k].sum().round(6)), scene.x_labels[k]
    if not total.is_integer():
        return None
    text = pick(rng, f"What is the total of {where}?", f"Which value does the whole stack {where} reach?",
                f"Give the value of the whole stack for {where}.", f"How much is {where} in all?",
                f"Tell me the total of the stack {where}.")  # fmt: skip
    return Question("stack_total", text, scene.tick_text(total), _place_cells(scene, k), 1, also=_place_names(k))


def area_top(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "area":
        return None
    end, side = ((0, "left"), (-1, "right"))[rng.integers(2)]
    i = len(scene.marks) - 1 if scene.stacked else int(scene.values[:, end].argmax())
    text = pick(rng, f"Which area reaches highest at the {side} edge?",
                 f"At the {side} edge, which area reaches highest?",
                f"Name the area that reaches highest at the {side} end.",
                f"Whose upper edge is the highest at the {side} end?",
                f"Tell me which area comes highest at the {side} edge.")  # fmt: skip
    return Question("area_top", text, scene.marks[i].label, all_marks(scene), len(scene.marks))


def thickest(rng: np.random.Generator, scene: Scene) -> Question | None:
    if not scene.stacked:
        return None
    end, side = ((0, "left"), (-1, "right"))[rng.integers(2)]
    i = stand_out(scene.values[:, end], PART_GAP).get(True)
    if i is None:
        return None
    text = pick(rng, f"Which area is thickest at the {side} edge?", f"At the {side} edge, which area is thickest?",
                f"Name the area that is thickest at the {side} end.",
                 f"Which area takes most room at the {side} edge?",
                f"Tell me which area is thickest at the {side} end.")  # fmt: skip
    return Question("thickest", text, scene.marks[i].label, all_marks(scene), len(scene.marks))


def areas_cross(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "area" or scene.stacked:
        return None
    marks = scene.marks
    found = draw_claim(rng, [(a, b, clear_cross(marks[a].points, marks[b].points))
                             for a, b in permutations(range(len(marks)), 2)])  # fmt: skip
    if found is None:
        return None
    a, b, holds = found
    one, other = marks[a], marks[b]
    by_color = rng.random() < 0.5
    first, second = (one.color, other.color) if by_color else (one.label, other.label)
    pair = f"the {first} and the {second} area" if by_color else f"{first} and {second}"
    text = pick(rng, f"Do the upper edges of {pair} cross?", f"Do {pair} cross each other?", f"Do {pair} cross?",
                f"Is there a place where the upper edges of {pair} cross?",
                f"Tell me whether the upper edges of {pair} cross.")  # fmt: skip
    return Question("areas_cross", text, yes_or_no(holds), (a, b), 2, ((first, (a,)), (second, (b,))))


def areas_stacked(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "area":
        return None
    text = pick(rng, "Are the areas stacked or do they overlap?", "Do the areas overlap or are they stacked?",
                "Stacked or overlap: what is true of the areas?", "Tell me whether the areas overlap or are stacked.",
                "Which is it, do the areas overlap or are they stacked?")  # fmt: skip
    return Question("areas_stacked", text, "stacked" if scene.stacked else "overlap", all_marks(scene),
                    len(scene.marks))  # fmt: skip


PROGRAMS = (group_top, group_peak, group_compare, group_change, group_value, count_series, count_places, stack_part,
            stack_top, over_half, stack_compare, stack_order, stack_total, area_top, thickest, areas_cross,
            areas_stacked)  # fmt: skip
