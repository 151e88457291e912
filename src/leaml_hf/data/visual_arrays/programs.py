"""Questions about a scene: one function per program, each giving wording, answer and the marks that decide it."""

from collections.abc import Callable

import numpy as np

from . import programs_annotated as annotated
from . import programs_boxes as boxes
from . import programs_chart as chart
from . import programs_containment as containment
from . import programs_diagram as diagram
from . import programs_heat_map as heat_map
from . import programs_layout as layout
from . import programs_seating as seating
from . import programs_series as series
from . import programs_structure as structure
from .scenes import Scene
from .wording import Question

Program = Callable[[np.random.Generator, Scene], Question | None]
# Of kinds of scene that share no program with the others of their task.
OF_KIND: dict[str, tuple[Program, ...]] = {
    "layout": layout.PROGRAMS,
    "seating": seating.PROGRAMS,
    "containment": containment.PROGRAMS,
}
PROGRAMS: dict[str, tuple[Program, ...]] = {
    "chart": chart.PROGRAMS + structure.PROGRAMS + series.PROGRAMS + heat_map.PROGRAMS + boxes.PROGRAMS,
    "layout": sum(OF_KIND.values(), ()),
    "diagram": diagram.PROGRAMS,
    "annotated": annotated.PROGRAMS,
}
MAX_TRIES = 40
ONCE = {
    "count",
    "at_least",
    "multiple",
    "own_color",
    "count_nodes",
    "count_links",
    "count_labels",
    "count_in_box",
    "count_outside",
    "count_series",
    "count_places",
    "count_rows",
    "count_columns",
    "count_outlying",
    "count_people",
    "count_chairs",
    "free_chairs",
    "count_boxes",
    "count_unboxed",
}  # more of them would tell


def ask(scene: Scene, rng: np.random.Generator, count: int) -> list[Question]:
    """`count` different questions about a scene, programs in random order, each once before any comes again."""
    programs = OF_KIND.get(scene.kind, PROGRAMS[scene.task])
    questions: list[Question] = []
    seen: set[str] = set()
    for _ in range(MAX_TRIES):
        for k in rng.permutation(len(programs)):
            question = programs[k](rng, scene)
            if question is not None and not {question.text, question.program} & seen:
                seen.add(question.program if question.program in ONCE else question.text)
                questions.append(question)
                if len(questions) == count:
                    return questions
    raise RuntimeError(f"A {scene.kind} scene offers fewer than {count} questions.")
