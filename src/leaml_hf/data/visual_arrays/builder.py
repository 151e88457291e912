"""Rows of Visual Arrays: row i depends on (seed, task, variant, domain, split, i) alone."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...errors import LeamlInputError
from ..png import encode_png
from .canvas import SIZE, Drawing
from .conventions import VARIANTS
from .draws import Draws
from .pictures import SOURCES, check_pictures, sample_backdrop
from .programs import ask
from .renderers import render
from .sampling import sample_scene
from .scenes import QUESTIONS_PER_SCENE, SPLITS, TASKS, Scene, rng_for
from .subjects import retell
from .wording import Question

if TYPE_CHECKING:
    from datasets import Dataset, Features

DOMAINS = ("synthetic", *SOURCES)


def ask_scene(task: str, split: str, index: int, seed: int = 0, variant: str = "base") -> tuple[Scene, list[Question]]:
    """Content of picture `index` and its questions: the same in every variant, but for the names in `content`."""
    scene = sample_scene(task, split, index, seed)
    if variant == "content":
        scene = retell(scene, rng_for(seed, task, split, index, 3))
    return scene, ask(scene, rng_for(seed, task, split, index, 1), QUESTIONS_PER_SCENE)


def draw_scene(
    task: str, variant: str, split: str, index: int, seed: int = 0, domain: str = "synthetic"
) -> tuple[Drawing, Scene, list[Question]]:
    """Picture `index` as drawn in a variant, its content and its questions; domains differ in what lies behind it."""
    scene, questions = ask_scene(task, split, index, seed, variant)
    rng = Draws(seed, task, split, index, variant)
    drawing = render(scene, variant, rng, sample_backdrop(domain, task, split, index, seed, SIZE))
    return drawing, scene, questions


def _row(
    task: str, variant: str, domain: str, split: str, seed: int, index: int, slot: int, drawn: tuple
) -> dict[str, Any]:
    drawing, scene, questions = drawn
    question, source = questions[slot], drawing.source
    return {
        "image": drawing.image,
        "question": question.text,
        "answer": question.answer,
        "id": f"{cell_name(task, variant, domain)}-{split}-{seed}-{index}-{slot}",
        "task": task,
        "variant": variant,
        "domain": domain,
        "kind": scene.kind,
        "program": question.program,
        "set_size": len(scene.cells) or len(scene.marks),
        "distractors": _distractors(scene, set(question.relevant)),
        "complexity": question.complexity,
        "relevant_boxes": [
            [round(v, 4) for v in box]
            for boxes in (
                *(drawing.parts[mark] for mark in question.relevant),
                *(drawing.annotations[name] for name in question.also),
            )
            for box in boxes
        ],
        "shift_factors": list(VARIANTS[variant].factors),
        "shift_strengths": list(VARIANTS[variant].factors.values()),
        "seed": seed,
        "labelled": split != "train" or index % 2 == 0,
        "source": source.name if source else "",
        "licence": source.licence if source else "",
    }


def _distractors(scene: Scene, relevant: set[int]) -> int:
    """Cells that decide nothing, where some do; marks that decide nothing elsewhere."""
    cells = {part for part in relevant if part >= len(scene.marks)}
    return len(scene.cells) - len(cells) if cells else len(scene.marks) - len(relevant)


def grid() -> list[tuple[str, str, str]]:
    """All cells: task, variant and domain."""
    return [(task, variant, domain) for task in TASKS for variant in VARIANTS for domain in DOMAINS]


def cell_name(task: str, variant: str, domain: str) -> str:
    """How a cell is called as a config: `chart-style`; the domain is added where it is not the first."""
    return f"{task}-{variant}" + ("" if domain == DOMAINS[0] else f"-{domain}")


def check_cell(task: str, variant: str, domain: str, split: str) -> None:
    """Raises `LeamlInputError` with the choices where a cell of the grid does not exist, or with what to install where
    the pictures of its domain are missing."""
    for name, value, choices in (("task", task, TASKS), ("variant", variant, tuple(VARIANTS)),
                                 ("domain", domain, DOMAINS), ("split", split, SPLITS)):  # fmt: skip
        if value not in choices:
            raise LeamlInputError(f"Visual Arrays has no {name} '{value}'; choose one of {', '.join(choices)}.")
    check_pictures(domain)


def iter_rows(
    task: str, variant: str, split: str, start: int, stop: int, seed: int = 0, domain: str = "synthetic"
) -> Iterator[dict[str, Any]]:
    """Rows `start` to `stop - 1` of a cell; a picture is drawn once for the questions it serves."""
    drawn, current = None, -1
    for i in range(start, stop):
        index, slot = divmod(i, QUESTIONS_PER_SCENE)
        if index != current:
            drawn, current = draw_scene(task, variant, split, index, seed, domain), index
        yield _row(task, variant, domain, split, seed, index, slot, drawn)


def iter_encoded_rows(
    task: str, variant: str, split: str, start: int, stop: int, seed: int = 0, domain: str = "synthetic"
) -> Iterator[dict[str, Any]]:
    """`iter_rows` for a `datasets.Image` column: each picture is a PNG file, encoded once for its questions."""
    encoded, last = {}, None
    for row in iter_rows(task, variant, split, start, stop, seed, domain):
        if row["image"] is not last:
            last = row["image"]
            encoded = {"bytes": encode_png(last), "path": None}
        yield {**row, "image": encoded}


def row_features() -> "Features":
    """Columns of a row and their types."""
    import datasets

    string, integer = datasets.Value("string"), datasets.Value("int32")
    return datasets.Features(
        {
            "image": datasets.Image(),
            **dict.fromkeys(("question", "answer", "id", "task", "variant", "domain", "kind", "program"), string),
            **dict.fromkeys(("set_size", "distractors", "complexity"), integer),
            "relevant_boxes": datasets.List(datasets.List(datasets.Value("float32"))),
            "shift_factors": datasets.List(string),
            "shift_strengths": datasets.List(datasets.Value("float32")),
            "seed": datasets.Value("int64"),
            "labelled": datasets.Value("bool"),
            **dict.fromkeys(("source", "licence"), string),
        }
    )


def load_visual_arrays(
    task: str = "chart",
    variant: str = "base",
    domain: str = "synthetic",
    split: str = "train",
    num_rows: int = 1000,
    seed: int = 0,
) -> "Dataset":
    """Draws the first `num_rows` rows of one cell of Visual Arrays.

    Args:
        task (`str`, *optional*, defaults to `"chart"`): one of `TASKS`: "chart", "layout", "diagram" or "annotated".
        variant (`str`, *optional*, defaults to `"base"`): one of `VARIANTS`; content, questions and answers of row i
            are the same in all variants, but for the names in "content".
        domain (`str`, *optional*, defaults to `"synthetic"`): "synthetic" (drawn on a page), or the same drawn over
            real pictures: "natural" (photographs) or "medical"; `source` and `licence` tell of each row's picture.
        split (`str`, *optional*, defaults to `"train"`): "train", "validation" or "test"; no picture is in two splits.
        num_rows (`int`, *optional*, defaults to 1000): rows; 8 questions share a picture.
        seed (`int`, *optional*, defaults to 0): another seed gives other pictures.

    Returns:
        `datasets.Dataset` with `image`, `question`, `answer`, `id` and the metadata of each row. Every row has its
            answer; `labelled` tells which a method that keeps to the label budget may read: of the training split
            those of every other picture.

    Raises:
        LeamlInputError: if the cell does not exist, a package with its pictures is missing or `num_rows` is below 1.
    """
    import datasets

    check_cell(task, variant, domain, split)
    if num_rows < 1:
        raise LeamlInputError(f"num_rows must be at least 1, not {num_rows}.")
    rows = list(iter_encoded_rows(task, variant, split, 0, num_rows, seed, domain))
    return datasets.Dataset.from_list(rows, features=row_features())
