"""Content of diagrams: flow charts, trees, state machines, food webs and electric circuits.

Positions are content, not look: which boxes stand side by side is the same in every variant.
"""

import numpy as np

from .scenes import DIAGRAM_KINDS, LOADS, Link, Mark, Scene, draw_colors
from .words import ORDERED_WORDS, sample_words

Point = tuple[float, float]
ALPHABET = "abcdefgh"  # inputs of state machines
SEQUENCES = ("month", "long month", "weekday", "long weekday", "letter", "numeral")  # whose order everyone knows
_CREATURES = (
    (
        "Grass",
        "Algae",
        "Leaves",
        "Seeds",
        "Moss",
        "Clover",
        "Reeds",
        "Berries",
        "Acorns",
        "Wheat",
        "Kelp",
        "Roots",
        "Herbs",
        "Barley",
        "Nuts",
        "Bark",
        "Fern",
        "Corn",
        "Oats",
        "Buds",
        "Ivy",
        "Cactus",
        "Lichen",
        "Rice",
    ),
    (
        "Rabbit",
        "Mouse",
        "Snail",
        "Deer",
        "Shrimp",
        "Beetle",
        "Duck",
        "Vole",
        "Sparrow",
        "Hare",
        "Cricket",
        "Finch",
        "Squirrel",
        "Goose",
        "Moth",
        "Carp",
        "Locust",
        "Beaver",
        "Mole",
        "Quail",
        "Worm",
        "Gopher",
        "Tadpole",
        "Slug",
    ),
    (
        "Fox",
        "Owl",
        "Hawk",
        "Pike",
        "Snake",
        "Heron",
        "Lynx",
        "Eagle",
        "Otter",
        "Wolf",
        "Stork",
        "Weasel",
        "Badger",
        "Falcon",
        "Cougar",
        "Kite",
        "Marten",
        "Buzzard",
        "Mink",
        "Coyote",
        "Bobcat",
        "Osprey",
        "Perch",
        "Jackal",
    ),
)  # eaten by the next row
PART_LETTERS = "ABDEFGHKNPTUXZ"  # none of those that stand for a kind of part: a name must not tell it


def _box(centre: Point, width: float, height: float) -> tuple[float, float, float, float]:
    x, y = centre
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _node_colors(rng: np.random.Generator, n: int) -> tuple[list[str], bool]:
    """Colours of the nodes, and whether all have the same."""
    single = bool(rng.random() < 0.35)
    return (draw_colors(rng, 1) * n if single else draw_colors(rng, n)), single


def _flow(rng: np.random.Generator) -> Scene:
    """Steps that follow each other through the rows (or the columns) of a grid, with or without a side branch."""
    n = int(rng.integers(4, 9))
    columns = 3 if n > 4 else 2
    cells = [(k // columns, k % columns if (k // columns) % 2 == 0 else columns - 1 - k % columns) for k in range(n)]
    rows = cells[-1][0] + 1
    across = bool(rng.random() < 0.6)
    span = (columns, rows) if across else (rows, columns)
    width, height = 0.94 / span[0], 0.9 / span[1]
    hidden = bool(rng.random() < 0.35)
    names = _steps(rng, n) if hidden else sample_words(rng, n)
    colors, single = _node_colors(rng, n)
    shape = ("box", "oval", "box")[rng.integers(3)]
    marks = []
    for (row, column), name, color in zip(cells, names, colors, strict=True):
        i, j = (column, row) if across else (row, column)
        centre = (0.03 + (i + 0.5) * width, 0.05 + (j + 0.5) * height)
        marks.append(Mark(name, color, shape, 0.0, box=_box(centre, 0.74 * width, min(0.16, 0.5 * height))))
    if hidden:
        marks[int(rng.integers(1, n - 1))].state = "hidden"
    links = [Link(i, i + 1) for i in range(n - 1)]
    if not hidden and rng.random() < 0.4:
        links.pop(int(rng.integers(1, n - 2)))  # two ways that do not meet
    return Scene("diagram", "flow", marks, links=tuple(links), single_color=single)


def _steps(rng: np.random.Generator, n: int) -> list[str]:
    """Names in a known order, so that one that is missing can be told."""
    sets = [ORDERED_WORDS[name] for name in SEQUENCES if len(ORDERED_WORDS[name]) >= n]
    words = sets[rng.integers(len(sets))]
    start = int(rng.integers(len(words) - n + 1))
    return list(words[start : start + n])


def _tree(rng: np.random.Generator) -> Scene:
    """A root with two or three children, some of which have children of their own."""
    children = int(rng.integers(2, 4))
    parents = [0] * children
    for child in range(1, children + 1):
        parents += [child] * int(rng.integers(0, 3))
    if len(parents) == children:
        parents += [int(rng.integers(1, children + 1))]
    parents = parents[:7]
    n = len(parents) + 1
    level = [0, *(1 if parent == 0 else 2 for parent in parents)]
    leaves = [k for k in range(1, n) if k not in parents]
    order = sorted(leaves, key=lambda k: (k if level[k] == 1 else parents[k - 1], level[k], k))
    place = {k: (i + 0.5) / len(order) for i, k in enumerate(order)}
    for k in sorted(set(range(n)) - set(order), reverse=True):
        own = [place[c] for c in range(1, n) if parents[c - 1] == k]
        place[k] = float(np.mean(own))
    sideways = bool(rng.random() < 0.35)
    names, (colors, single) = sample_words(rng, n), _node_colors(rng, n)
    shape = ("box", "oval")[rng.integers(2)]
    marks = []
    for k in range(n):
        along, away = 0.03 + 0.94 * place[k], 0.14 + 0.36 * level[k]
        room = 0.94 / len(order)
        if sideways:
            box = _box((away + 0.02, along), 0.27, min(0.13, 0.7 * room))
        else:
            # neighbours in two heights where many stand side by side
            before = sum(level[other] == level[k] and place[other] < place[k] for other in range(n))
            low = 0.14 if len(order) > 3 and before % 2 else 0.0
            box = _box((along, away + low - 0.04), min(0.27, (1.8 if len(order) > 3 else 0.9) * room), 0.11)
        marks.append(Mark(names[k], colors[k], shape, float(level[k]), box=_inside(box)))
    links = tuple(Link(parent, child + 1) for child, parent in enumerate(parents))
    return Scene("diagram", "tree", marks, links=links, single_color=single)


def _inside(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    across = max(0.015 - left, 0.0) - max(right - 0.985, 0.0)
    down = max(0.015 - top, 0.0) - max(bottom - 0.985, 0.0)
    return (left + across, top + down, right + across, bottom + down)


def _states(rng: np.random.Generator) -> Scene:
    """States on a ring; an input leads from each to at most one other, and never straight back."""
    n = int(rng.integers(3, 7))
    turn = rng.uniform(0, 2 * np.pi)
    angles = turn + 2 * np.pi * np.arange(n) / n
    drawn = rng.permutation(20)[:n]
    names = [f"S{k}" for k in drawn] if rng.random() < 0.5 else [chr(ord("A") + k) for k in drawn]
    colors, single = _node_colors(rng, n)
    marks = [
        Mark(name, color, "oval", 0.0, box=_box((0.5 + 0.38 * np.cos(a), 0.5 + 0.38 * np.sin(a)), 0.16, 0.16))
        for name, color, a in zip(names, colors, angles, strict=True)
    ]
    for k in rng.permutation(n)[: int(rng.integers(1, n))]:
        marks[k].state = "final"
    inputs = [ALPHABET[i] for i in rng.permutation(len(ALPHABET))[:3]]
    pairs: dict[tuple[int, int], str] = {}
    order = rng.permutation(n)
    for source, target in zip(order, np.roll(order, -1), strict=True):  # a way around, with gaps
        if rng.random() < 0.85:
            pairs[int(source), int(target)] = inputs[rng.integers(3)]
    for _ in range(n):
        source, target = (int(i) for i in rng.permutation(n)[:2])
        used = {label for (a, _), label in pairs.items() if a == source}
        free = [label for label in inputs if label not in used]
        if (source, target) not in pairs and (target, source) not in pairs and free:
            pairs[source, target] = free[rng.integers(len(free))]
    links = tuple(Link(source, target, label) for (source, target), label in pairs.items())
    return Scene("diagram", "states", marks, links=links, single_color=single)


def _food_web(rng: np.random.Generator) -> Scene:
    """Plants, those that eat them and those that eat these; arrows run from the eaten to the eater."""
    sizes = np.array([(2, 3, 2), (3, 3, 2), (2, 3, 3)][rng.integers(3)])  # no plant feeds all three of the middle
    marks, levels = [], []
    n = int(sizes.sum())
    colors, single = _node_colors(rng, n)
    for level, size in enumerate(sizes):
        names = [_CREATURES[level][i] for i in rng.permutation(len(_CREATURES[level]))[:size]]
        levels.append(list(range(len(marks), len(marks) + size)))
        for k, name in enumerate(names):
            centre = ((k + 0.5) / size + rng.uniform(-0.03, 0.03), 0.86 - 0.36 * level)
            marks.append(Mark(name, colors[len(marks)], "oval", float(level), box=_inside(_box(centre, 0.28, 0.12))))
    links = []
    for level in (0, 1):
        for source in levels[level]:
            count = 1 if rng.random() < 0.6 else 2
            targets = rng.permutation(levels[level + 1])[:count]
            links += [Link(source, int(target)) for target in sorted(targets)]
        eating = {link.target for link in links}
        links += [Link(int(rng.choice(levels[level])), target) for target in levels[level + 1] if target not in eating]
    return Scene("diagram", "food_web", marks, links=tuple(links), single_color=single)


def _circuit(rng: np.random.Generator) -> Scene:
    """A loop with a battery at the left and parts on the other sides, two of them side by side now and then."""
    count = int(rng.integers(2, 5))
    kinds = rng.choice(LOADS, count).tolist()
    parallel = bool(rng.random() < 0.52)  # loops alone offer fewer questions, and are asked about branches more often
    middle, two = (0.38, (0.28, 0.46)) if parallel else (0.5, (0.36, 0.66))  # all between battery and branch
    tops = [(x, 0.14) for x in (two if count == 4 else (middle,))]
    spots = [*tops, (0.84, 0.5), (middle, 0.86)][:count]
    kinds, spots = ["battery", *kinds], [(0.16, 0.5), *spots]
    branches: tuple[int, ...] = ()
    if parallel:  # a second part beside the one on the right
        right = spots.index((0.84, 0.5))
        kinds.append(("resistor", "lamp", "motor")[rng.integers(3)])
        spots.append((0.6, 0.5))
        branches = (right, len(kinds) - 1)
    letter, numbers = PART_LETTERS[rng.integers(len(PART_LETTERS))], rng.permutation(9)[: len(kinds)] + 1
    marks = []
    for kind, spot, number in zip(kinds, spots, numbers, strict=True):
        state = ("open", "closed")[rng.integers(2)] if kind == "switch" else ""
        marks.append(Mark(f"{letter}{number}", "black", kind, 0.0, box=_box(spot, 0.16, 0.16), state=state))
    return Scene("diagram", "circuit", marks, branches=branches, single_color=True)


_KINDS = {"flow": _flow, "tree": _tree, "states": _states, "food_web": _food_web, "circuit": _circuit}


def sample_diagram(rng: np.random.Generator) -> Scene:
    """One diagram of any kind."""
    return _KINDS[DIAGRAM_KINDS[rng.integers(len(DIAGRAM_KINDS))]](rng)
