"""Questions about people at a table, seen from above: who sits where, and which chairs are free.

Sides are told by the clock ("next clockwise"), which is the same for who sits there and who looks at the picture.
"""

import numpy as np

from .scenes import Scene, chair_name
from .wording import Question, all_marks, choose, pick, yes_or_no

Named = tuple[str, tuple[int, ...]]


def _person(scene: Scene, i: int) -> tuple[str, Named]:
    """How a person is called in a question, and the words of it that are the name."""
    mark = scene.marks[i]
    return (mark.label, (mark.label, (i,))) if mark.label else (f"the {mark.color} person", (mark.color, (i,)))


def _told(scene: Scene, i: int) -> str:
    """How a person is called in an answer."""
    return scene.marks[i].label or scene.marks[i].color


def _across(scene: Scene) -> dict[int, int]:
    """Of each person the one straight across, where there is one."""
    facing = {i: scene.table.across(i) for i in all_marks(scene)}
    return {i: other for i, other in facing.items() if other is not None}


def opposite(rng: np.random.Generator, scene: Scene) -> Question | None:
    across = _across(scene)
    if not across:
        return None
    i = list(across)[rng.integers(len(across))]
    who, name = _person(scene, i)
    text = pick(rng, f"Who sits opposite {who}?", f"Who is seated straight across from {who}?",
                f"Which person sits opposite {who}?", f"Look straight across the table from {who}: who is there?",
                f"Tell me who sits across from {who}.")  # fmt: skip
    return Question("opposite", text, _told(scene, across[i]), (i, across[i]), 2, (name,))


def next_person(rng: np.random.Generator, scene: Scene) -> Question | None:
    """Who comes next by the clock or against it, free chairs passed over."""
    i, way = int(rng.integers(len(scene.marks))), pick(rng, "clockwise", "counterclockwise")
    ring = scene.table.ring
    other = ring[(ring.index(i) + (1 if way == "clockwise" else -1)) % len(ring)]
    who, name = _person(scene, i)
    text = pick(rng, f"Going {way} from {who}, who comes next?", f"Who is the next person {way} from {who}?",
                f"Starting at {who}, whom do you meet first going {way}?", f"Which person follows {who} {way}?",
                f"Tell me who is next after {who} going {way}.")  # fmt: skip
    return Question("next_person", text, _told(scene, other), (i, other), 2, (name,))


def seated_between(rng: np.random.Generator, scene: Scene) -> Question | None:
    """Who has two others right beside; at small tables there is someone on either side of them."""
    table, sitter, count = scene.table, scene.table.sitter, len(scene.table.chairs)
    found = []
    for chair in sitter if count > 4 else ():
        sides = [(chair - 1) % count, (chair + 1) % count]
        if all(side in sitter and table.are_neighbors(chair, side) for side in sides):
            found.append((sitter[chair], *(sitter[side] for side in rng.permutation(sides))))
    if not found:
        return None
    i, a, b = found[rng.integers(len(found))]
    (one, name), (other, other_name) = _person(scene, a), _person(scene, b)
    text = pick(rng, f"Who sits between {one} and {other}?", f"Which person has {one} and {other} on both sides?",
                f"Between {one} and {other}, who is seated?", f"Who has the chair between {one} and {other}?",
                f"Tell me who is seated between {one} and {other}.")  # fmt: skip
    return Question("seated_between", text, _told(scene, i), (i, a, b), 3, (name, other_name))


def beside(rng: np.random.Generator, scene: Scene) -> Question | None:
    table, people = scene.table, all_marks(scene)
    pairs = [((a, b), table.are_neighbors(table.taken[a], table.taken[b])) for a in people for b in people if a != b]
    chosen = choose(rng, [(pair, holds) for pair, holds in pairs if holds is not None])
    if chosen is None:
        return None
    (a, b), holds = chosen
    (one, name), (other, other_name) = _person(scene, a), _person(scene, b)
    text = pick(rng, f"Does {one} sit right beside {other}?", f"Is {one} sitting next to {other}?",
                f"Are the chairs of {one} and {other} side by side?", f"Do {one} and {other} sit side by side?",
                f"Tell me whether {one} is seated next to {other}.")  # fmt: skip
    return Question("beside", text, yes_or_no(holds), (a, b), 2, (name, other_name))


def facing(rng: np.random.Generator, scene: Scene) -> Question | None:
    across, people = _across(scene), all_marks(scene)
    chosen = choose(rng, [((a, b), across.get(a) == b) for a in people for b in people if a != b])
    if chosen is None:
        return None
    (a, b), holds = chosen
    (one, name), (other, other_name) = _person(scene, a), _person(scene, b)
    text = pick(rng, f"Do {one} and {other} sit opposite each other?", f"Does {one} sit straight across from {other}?",
                f"Is {one} seated opposite {other}?", f"Do {one} and {other} face each other across the table?",
                f"Tell me whether {one} sits opposite {other}.")  # fmt: skip
    return Question("facing", text, yes_or_no(holds), (a, b), 2, (name, other_name))


def free_opposite(rng: np.random.Generator, scene: Scene) -> Question | None:
    """Whether the chair across from someone is free."""
    table = scene.table
    chosen = choose(rng, [(i, table.opposite[chair] not in table.sitter) for i, chair in enumerate(table.taken)
                          if table.opposite[chair] >= 0])  # fmt: skip
    if chosen is None:
        return None
    i, holds = chosen
    who, name = _person(scene, i)
    text = pick(rng, f"Is the chair opposite {who} free?", f"Is the seat straight across from {who} empty?",
                f"Has {who} an empty chair opposite?", f"Does nobody sit across from {who}?",
                f"Tell me whether the chair opposite {who} is free.")  # fmt: skip
    return Question("free_opposite", text, yes_or_no(holds), (i,), 2, (name,),
                    (chair_name(table.opposite[table.taken[i]]),))  # fmt: skip


def count_people(rng: np.random.Generator, scene: Scene) -> Question | None:
    n = len(scene.marks)
    text = pick(rng, "How many people sit at the table?", "Count the people at the table.",
                "What is the number of people?", "How many chairs are taken?",
                "Give the number of people around the table.")  # fmt: skip
    return Question("count_people", text, str(n), all_marks(scene), n)


def count_chairs(rng: np.random.Generator, scene: Scene) -> Question | None:
    count = len(scene.table.chairs)
    text = pick(rng, "How many chairs stand at the table?", "Count all the chairs, free or not.",
                "What is the number of chairs?", "How many people could sit at the table?",
                "Give the number of seats at the table.")  # fmt: skip
    return Question("count_chairs", text, str(count), all_marks(scene), count, also=_all_chairs(scene))


def free_chairs(rng: np.random.Generator, scene: Scene) -> Question | None:
    count = len(scene.table.chairs)
    text = pick(rng, "How many chairs are free?", "Count the empty chairs.", "How many seats does nobody sit on?",
                "What is the number of free seats?", "Give the number of empty chairs.")  # fmt: skip
    answer = str(count - len(scene.marks))
    return Question("free_chairs", text, answer, all_marks(scene), count, also=_all_chairs(scene))


def _all_chairs(scene: Scene) -> tuple[str, ...]:
    return tuple(chair_name(chair) for chair in range(len(scene.table.chairs)))


PROGRAMS = (opposite, next_person, seated_between, beside, facing, free_opposite, count_people, count_chairs,
            free_chairs)  # fmt: skip
