"""Questions about diagrams: next and missing steps, ways through them, direct links, counts, and circuits."""

from collections import deque

import numpy as np

from .scenes import LOADS, Scene
from .wording import Question, all_marks, pick, plural, yes_or_no

NODE = {"flow": "step", "tree": "box", "states": "state", "food_web": "living thing", "circuit": "part"}
LINK = {"flow": "arrow", "tree": "line", "states": "arrow", "food_web": "arrow"}


def _written(scene: Scene) -> list[int]:
    """Marks whose name stands in the picture."""
    return [i for i, mark in enumerate(scene.marks) if mark.state != "hidden"]


def _named(scene: Scene, *marks: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((scene.marks[i].label, (i,)) for i in marks)


def _targets(scene: Scene, source: int) -> list[int]:
    return [link.target for link in scene.links if link.source == source]


def _sources(scene: Scene, target: int) -> list[int]:
    return [link.source for link in scene.links if link.target == target]


def _distances(scene: Scene, start: int) -> dict[int, int]:
    """Links on the shortest way from `start` to each mark that can be reached from there."""
    found, queue = {start: 0}, deque([start])
    while queue:
        here = queue.popleft()
        for there in _targets(scene, here):
            if there not in found:
                found[there] = found[here] + 1
                queue.append(there)
    return found


def _is_ordered(scene: Scene) -> bool:
    """Whether the names themselves tell what follows what."""
    return any(mark.state == "hidden" for mark in scene.marks)


def _pair(rng: np.random.Generator, scene: Scene, joined: set[tuple[int, int]]) -> tuple[tuple[int, int], bool] | None:
    """Two marks and whether they are among `joined`, equally often where a scene has both kinds of pairs.

    In a food web both are such that the second might well eat the first: names tell who never does.
    """
    written = _written(scene)
    pairs = [(i, j) for i in written for j in written if i != j]
    if scene.kind == "food_web":
        pairs = [(i, j) for i, j in pairs if scene.marks[j].value == scene.marks[i].value + 1]
    ways = [[pair for pair in pairs if (pair in joined) == holds] for holds in (False, True)]
    if not all(ways):
        return None
    holds = bool(rng.random() < 0.5)
    return _choice(rng, ways[holds]), holds


def _choice(rng: np.random.Generator, options: list) -> object | None:
    return options[rng.integers(len(options))] if options else None


def next_node(rng: np.random.Generator, scene: Scene) -> Question | None:
    """What the only link of a mark leads to."""
    if scene.kind not in ("flow", "food_web") or _is_ordered(scene):
        return None
    written = _written(scene)
    i = _choice(rng, [k for k in written if len(t := _targets(scene, k)) == 1 and t[0] in written])
    if i is None:
        return None
    (j,), name = _targets(scene, i), scene.marks[i].label
    if scene.kind == "flow":
        text = pick(rng, f"Which step comes right after {name}?", f"What is the next step after {name}?",
                    f"Where does the arrow from {name} lead?", f"Name the step that follows {name}.",
                    f"After {name}, what comes next?")  # fmt: skip
    else:
        text = pick(rng, f"What eats {name}?", f"Which living thing feeds on {name}?",
                    f"Where does the arrow from {name} lead?", f"By what is {name} eaten?",
                    f"Name the living thing that eats {name}.")  # fmt: skip
    return Question("next_node", text, scene.marks[j].label, (i, j), 2, _named(scene, i))


def previous_node(rng: np.random.Generator, scene: Scene) -> Question | None:
    """Where the only link to a mark comes from."""
    if scene.kind not in ("flow", "food_web", "tree") or _is_ordered(scene):
        return None
    written = _written(scene)
    i = _choice(rng, [k for k in written if len(s := _sources(scene, k)) == 1 and s[0] in written])
    if i is None:
        return None
    (j,), name = _sources(scene, i), scene.marks[i].label
    text = {
        "flow": pick(rng, f"Which step comes right before {name}?", f"What is the step before {name}?",
                     f"From where does an arrow lead to {name}?", f"Name the step that {name} follows.",
                     f"Just before {name}, what is done?"),
        "tree": pick(rng, f"Which box does {name} hang on?", f"What is {name} a part of?",
                     f"To which box one level up is {name} joined?", f"Name the parent of {name}.",
                     f"From which box does {name} come?"),
        "food_web": pick(rng, f"What does {name} eat?", f"On what does {name} feed?",
                         f"From where does an arrow lead to {name}?", f"Name the food of {name}.",
                         f"Which living thing is eaten by {name}?"),
    }[scene.kind]  # fmt: skip
    return Question("previous_node", text, scene.marks[j].label, (i, j), 2, _named(scene, i))


def missing_step(rng: np.random.Generator, scene: Scene) -> Question | None:
    """The step whose name is not written, or its place in the order."""
    hidden = next((i for i, mark in enumerate(scene.marks) if mark.state == "hidden"), None)
    if hidden is None:
        return None
    if rng.random() < 0.6:
        text = pick(rng, "Which step is missing?", "What belongs in the empty step?",
                    "Name the step that is left out.",
                    "What should stand where the question mark is?",
                    "Which name is missing in the row of steps?")  # fmt: skip
        answer = scene.marks[hidden].label
    else:
        text = pick(rng, "Counting along the arrows, which step is empty?",
                    "At which place in the order is the question mark?", "What number has the step without a name?",
                    "Follow the arrows: which number is the empty step?",
                    "Give the place of the empty step in the order.")  # fmt: skip
        answer = str(hidden + 1)
    return Question("missing_step", text, answer, all_marks(scene), len(scene.marks))


def path(rng: np.random.Generator, scene: Scene) -> Question | None:
    """Whether there is a way along the arrows."""
    if scene.kind not in ("flow", "states", "food_web") or _is_ordered(scene):
        return None
    reach = {i: _distances(scene, i) for i in _written(scene)}
    found = _pair(rng, scene, {(i, j) for i, ways in reach.items() for j in ways})
    if found is None:
        return None
    pair, holds = found
    first, second = (scene.marks[i].label for i in pair)
    text = pick(rng, f"Can you get from {first} to {second} along the arrows?",
                f"Do the arrows lead from {first} to {second} in the end?",
                f"Starting at {first}, can {second} be reached?", f"Is there a way from {first} to {second}?",
                f"Tell me whether the arrows connect {first} to {second}.")  # fmt: skip
    return Question("path", text, yes_or_no(holds), pair, 2 + reach[pair[0]].get(pair[1], 0),
                    _named(scene, *pair))  # fmt: skip


def linked(rng: np.random.Generator, scene: Scene) -> Question | None:
    """Whether one link joins two marks; in trees whichever way, otherwise in this direction."""
    if scene.kind == "circuit" or _is_ordered(scene):
        return None
    direct = {(link.source, link.target) for link in scene.links}
    if scene.kind == "tree":
        direct |= {(b, a) for a, b in direct}
    found = _pair(rng, scene, direct)
    if found is None:
        return None
    pair, holds = found
    (first, second), noun = (scene.marks[i].label for i in pair), LINK[scene.kind]
    if scene.kind == "tree":
        text = pick(rng, f"Does a line join {first} and {second}?", f"Are {first} and {second} joined directly?",
                    f"Is there a line between {first} and {second}?", f"Do {first} and {second} share a line?",
                    f"Tell me whether a line runs between {first} and {second}.")  # fmt: skip
    else:
        text = pick(rng, f"Does an {noun} run from {first} to {second}?",
                    f"Is there an {noun} from {first} to {second}?",
                    f"Does {first} point straight at {second}?", f"Does one {noun} lead from {first} to {second}?",
                    f"Tell me whether an {noun} goes from {first} to {second}.")  # fmt: skip
    return Question("linked", text, yes_or_no(holds), pair, 2, _named(scene, *pair))


def children(rng: np.random.Generator, scene: Scene) -> Question | None:
    """How many marks hang on one of a tree."""
    if scene.kind != "tree":
        return None
    i, answer = _by_degree(rng, {k: len(_targets(scene, k)) for k in _written(scene)})
    name = scene.marks[i].label
    text = pick(rng, f"How many children has {name}?", f"How many boxes hang on {name}?",
                f"Count the children of {name}.", f"How many parts belong directly to {name}?",
                f"Give the number of boxes right below {name} in the tree.")  # fmt: skip
    return Question("children", text, str(answer), (i,), 1 + answer, _named(scene, i))


def degree(rng: np.random.Generator, scene: Scene) -> Question | None:
    """How many arrows leave or reach a mark."""
    if scene.kind != "states":  # steps have one each, and living things tell which they are
        return None
    leaving = bool(rng.random() < 0.5)
    count = _targets if leaving else _sources
    i, answer = _by_degree(rng, {k: len(count(scene, k)) for k in _written(scene)})
    name = scene.marks[i].label
    if leaving:
        text = pick(rng, f"How many arrows leave {name}?", f"How many arrows start at {name}?",
                    f"Count the arrows that come out of {name}.", f"How many arrows point away from {name}?",
                    f"Give the number of arrows from {name}.")  # fmt: skip
    else:
        text = pick(rng, f"How many arrows point at {name}?", f"How many arrows end at {name}?",
                    f"Count the arrows that go into {name}.", f"How many arrows lead to {name}?",
                    f"Give the number of arrows into {name}.")  # fmt: skip
    return Question("degree", text, str(answer), (i,), 1 + answer, _named(scene, i))


def _by_degree(rng: np.random.Generator, degrees: dict[int, int]) -> tuple[int, int]:
    """First the number, of those that there are, then a mark that has it: most marks are alike."""
    answer = int(_choice(rng, sorted(set(degrees.values()))))
    return int(_choice(rng, [k for k, degree in degrees.items() if degree == answer])), answer


def count_nodes(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind == "food_web":  # seven or eight, always
        return None
    nouns, n = plural(NODE[scene.kind]), len(scene.marks)
    text = pick(rng, f"How many {nouns} are there?", f"Count the {nouns}.", f"What is the number of {nouns}?",
                f"How many {nouns} does the diagram have?", f"Give the number of {nouns}.")  # fmt: skip
    return Question("count_nodes", text, str(n), tuple(range(n)), n)


def count_links(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind == "circuit":
        return None
    nouns, n = plural(LINK[scene.kind]), len(scene.links)
    text = pick(rng, f"How many {nouns} are there?", f"Count the {nouns}.", f"What is the number of {nouns}?",
                f"How many {nouns} does the diagram have?", f"Give the number of {nouns}.")  # fmt: skip
    return Question("count_links", text, str(n), all_marks(scene), n)


def end_node(rng: np.random.Generator, scene: Scene) -> Question | None:
    """The one mark where everything starts, or ends."""
    if scene.kind not in ("flow", "tree"):
        return None
    written = _written(scene)
    starts = [i for i in range(len(scene.marks)) if not _sources(scene, i)]
    ends = [i for i in range(len(scene.marks)) if not _targets(scene, i)]
    if scene.kind == "tree":
        i = starts[0]
        text = pick(rng, "What is the root of the tree?", "Which box has no parent?", "Where does the tree start?",
                    "Name the box that all others come from.", "Which box is the root?")  # fmt: skip
    elif len(starts) == 1 and rng.random() < 0.5:
        i = starts[0]
        text = pick(rng, "Which step is the first?", "Where do the steps begin?", "Name the first step.",
                    "At which step does it all start?", "To which step does no arrow lead?")  # fmt: skip
    elif len(ends) == 1:
        i = ends[0]
        text = pick(rng, "Which step is the last?", "Where do the steps finish?", "Name the last step.",
                    "At which step does it all end?", "From which step does no arrow start?")  # fmt: skip
    else:
        return None
    return Question("end_node", text, scene.marks[i].label, (i,), len(scene.marks)) if i in written else None


def node_color(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.single_color:
        return None
    i = int(_choice(rng, _written(scene)))
    name = scene.marks[i].label
    text = pick(rng, f"What color is {name}?", f"What is the color of {name}?", f"In which color is {name} drawn?",
                f"Tell me the color of {name}.", f"Which color has {name}?")  # fmt: skip
    return Question("node_color", text, scene.marks[i].color, (i,), 1, _named(scene, i))


def transition(rng: np.random.Generator, scene: Scene) -> Question | None:
    """Where an input leads."""
    link = _choice(rng, list(scene.links)) if scene.kind == "states" else None
    if link is None:
        return None
    name = scene.marks[link.source].label
    text = pick(rng, f"From state {name}, where does input {link.label} lead?",
                f"The machine is in {name} and reads {link.label}: which state comes next?",
                f"Which state follows {name} on input {link.label}?",
                f"After reading {link.label} in state {name}, what is the new state?",
                f"Give the state that {link.label} leads to from {name}.")  # fmt: skip
    answer = scene.marks[link.target].label
    return Question("transition", text, answer, (link.source, link.target), 2, _named(scene, link.source))


def count_final(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "states":
        return None
    final = tuple(i for i, mark in enumerate(scene.marks) if mark.state == "final")
    text = pick(rng, "How many states have a double ring?", "Count the states with two rings.",
                "How many final states are there?", "What is the number of states with a double ring?",
                "Give the number of final states.")  # fmt: skip
    return Question("count_final", text, str(len(final)), final, len(scene.marks))


def final_state(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "states":
        return None
    holds = bool(rng.random() < 0.5)
    i = _choice(rng, [k for k, mark in enumerate(scene.marks) if (mark.state == "final") == holds])
    if i is None:
        return None
    name = scene.marks[i].label
    text = pick(rng, f"Has {name} a double ring?", f"Is {name} a final state?", f"Is {name} drawn with two rings?",
                f"May the machine end in {name}?", f"Tell me whether {name} has a double ring.")  # fmt: skip
    return Question("final_state", text, yes_or_no(holds), (i,), 1, _named(scene, i))


def count_component(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "circuit":
        return None
    kind = LOADS[rng.integers(len(LOADS))]
    found = tuple(i for i, mark in enumerate(scene.marks) if mark.shape == kind)
    nouns = plural(kind)
    text = pick(rng, f"How many {nouns} are there?", f"Count the {nouns}.", f"What is the number of {nouns}?",
                f"How many {nouns} does the circuit have?", f"Give the number of {nouns}.")  # fmt: skip
    return Question("count_component", text, str(len(found)), found, len(scene.marks))


def component(rng: np.random.Generator, scene: Scene) -> Question | None:
    """What kind of part a name stands at."""
    if scene.kind != "circuit":
        return None
    i = int(rng.integers(len(scene.marks)))
    name = scene.marks[i].label
    text = pick(rng, f"What kind of part is {name}?", f"Which symbol is drawn at {name}?", f"What is {name}?",
                f"Name the kind of part that {name} is.", f"Tell me what {name} stands for.")  # fmt: skip
    return Question("component", text, scene.marks[i].shape, (i,), 1, _named(scene, i))


def switch(rng: np.random.Generator, scene: Scene) -> Question | None:
    found = [i for i, mark in enumerate(scene.marks) if mark.shape == "switch"]
    if len(found) != 1:
        return None
    i = found[0]
    text = pick(rng, "Is the switch open or closed?", "In which position is the switch, open or closed?",
                "Open or closed: how is the switch drawn?", "Tell me whether the switch is open or closed.",
                "Does the drawing show the switch open or closed?")  # fmt: skip
    return Question("switch", text, scene.marks[i].state, (i,), 1)


def branch(rng: np.random.Generator, scene: Scene) -> Question | None:
    """Whether two parts lie side by side between the same points, or one after the other."""
    if not scene.branches:  # without branches every answer would be the same
        return None
    outside = [i for i in range(len(scene.marks)) if i not in scene.branches]
    pair = scene.branches if rng.random() < 0.5 else tuple(rng.permutation(outside)[:2].tolist())
    first, second = (scene.marks[i].label for i in pair)
    text = pick(rng, f"Are {first} and {second} in series or in parallel?",
                f"Series or parallel: how are {first} and {second} connected?",
                f"How do {first} and {second} lie, in series or in parallel?",
                f"Tell me whether {first} and {second} are in series or in parallel.",
                f"Is {first} in series or in parallel with {second}?")  # fmt: skip
    return Question("branch", text, "parallel" if pair == scene.branches else "series", pair, 2,
                    _named(scene, *pair))  # fmt: skip


def parallel(rng: np.random.Generator, scene: Scene) -> Question | None:
    """Whether the circuit has side branches at all."""
    if scene.kind != "circuit":
        return None
    text = pick(rng, "Does the current split anywhere?", "Is any part in parallel with another?",
                "Does the circuit branch?", "Is there more than one way for the current?",
                "Tell me whether the wire forks.")  # fmt: skip
    return Question("parallel", text, yes_or_no(bool(scene.branches)), all_marks(scene), 1)


def component_name(rng: np.random.Generator, scene: Scene) -> Question | None:
    """The name of the only part of its kind."""
    if scene.kind != "circuit":
        return None
    kinds = [mark.shape for mark in scene.marks]
    i = _choice(rng, [k for k, kind in enumerate(kinds) if kinds.count(kind) == 1 and kind != "battery"])
    if i is None:
        return None
    kind = scene.marks[i].shape
    text = pick(rng, f"What is written at the {kind}?", f"Which name has the {kind}?", f"How is the {kind} labelled?",
                f"Read the label of the {kind}.", f"Give the name that stands at the {kind}.")  # fmt: skip
    return Question("component_name", text, scene.marks[i].label, (i,), 1)


PROGRAMS = (next_node, previous_node, missing_step, path, linked, children, degree, count_nodes, count_links, end_node,
            node_color, transition, count_final, final_state, count_component, component, switch, branch, parallel,
            component_name)  # fmt: skip
