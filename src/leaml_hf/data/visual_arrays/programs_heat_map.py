"""Questions about heat maps: shades, rows and columns."""

import numpy as np

from .balance import draw_claim, draw_peak, stand_out
from .scenes import Scene
from .wording import Question, all_marks, pick, yes_or_no

GAP = 2  # steps of a scale of ten, in shade, between cells that are compared
SHADES = {True: ("darkest", "highest"), False: ("lightest", "lowest")}


def _all_cells(scene: Scene) -> tuple[int, ...]:
    return tuple(scene.cell(i, k) for i, k in scene.cells)


def _place_names(scene: Scene) -> tuple[str, ...]:
    return tuple(f"place {k}" for k in range(len(scene.x_labels)))


def _extreme(rng: np.random.Generator, scene: Scene) -> tuple[int, int, str]:
    """Row and column of the darkest or the lightest cell, and what it is called."""
    most = bool(rng.random() < 0.5)
    found = stand_out(scene.values.ravel(), GAP)[most]
    shade, value = SHADES[most]
    return *divmod(found, len(scene.x_labels)), pick(rng, f"{shade} cell", f"cell of the {value} value")


def count_rows(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "heatmap":
        return None
    text = pick(rng, "How many rows of cells are there?", "Count the rows of cells.",
                 "How many rows does the grid have?",
                "What is the number of rows?", "Tell me how many rows of cells are shown.")  # fmt: skip
    n = len(scene.marks)
    return Question("count_rows", text, str(n), (*all_marks(scene), *_all_cells(scene)), n)


def count_columns(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "heatmap":
        return None
    text = pick(rng, "How many columns of cells are there?", "Count the columns of cells.",
                "How many columns does the grid have?", "What is the number of columns?",
                "Tell me how many columns of cells are shown.")  # fmt: skip
    n = len(scene.x_labels)
    return Question("count_columns", text, str(n), _all_cells(scene), n, also=_place_names(scene))


def cell_row(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "heatmap":
        return None
    i, k, word = _extreme(rng, scene)
    text = pick(rng, f"Which row has the {word}?", f"In which row is the {word}?", f"Name the row with the {word}.",
                f"What is the row of the {word} called?", f"Tell me the row that has the {word}.")  # fmt: skip
    return Question("cell_row", text, scene.marks[i].label, (i, scene.cell(i, k)), len(scene.cells))


def cell_column(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "heatmap":
        return None
    i, k, word = _extreme(rng, scene)
    text = pick(rng, f"Which column has the {word}?", f"In which column is the {word}?",
                f"Name the column with the {word}.", f"What is the column of the {word} called?",
                f"Tell me the column that has the {word}.")  # fmt: skip
    return Question("cell_column", text, scene.x_labels[k], (scene.cell(i, k),), len(scene.cells),
                    also=(f"place {k}",))  # fmt: skip


def column_peak(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "heatmap":
        return None
    found = draw_peak(rng, scene.values.T, GAP)
    if found is None:
        return None
    k, most, i = found
    word, column = SHADES[most][0], scene.x_labels[k]
    text = pick(rng, f"In the column {column}, which row is {word}?", f"Which row is {word} in the column {column}?",
                f"Name the row of the {word} cell in the column {column}.",
                f"Of the cells in the column {column}, in which row is the {word}?",
                f"Tell me which row is {word} in the column {column}.")  # fmt: skip
    cells = tuple(scene.cell(j, k) for j in all_marks(scene))
    return Question("column_peak", text, scene.marks[i].label, (i, *cells), len(cells), also=(f"place {k}",))


def row_peak(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "heatmap":
        return None
    found = draw_peak(rng, scene.values, GAP)
    if found is None:
        return None
    i, most, k = found
    word, row = SHADES[most][0], scene.marks[i].label
    text = pick(rng, f"In the row {row}, which column is {word}?", f"Which column is {word} in the row {row}?",
                f"Name the column of the {word} cell in the row {row}.",
                f"Of the cells in the row {row}, in which column is the {word}?",
                f"Tell me which column is {word} in the row {row}.")  # fmt: skip
    cells = tuple(scene.cell(i, j) for j in range(len(scene.x_labels)))
    return Question("row_peak", text, scene.x_labels[k], (i, *cells), len(cells), ((row, (i,)),),
                    _place_names(scene))  # fmt: skip


def cell_compare(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "heatmap":
        return None
    table = scene.values
    found = draw_claim(rng, [(one, other, bool(table[one] > table[other])) for one in scene.cells
                             for other in scene.cells if abs(table[one] - table[other]) >= GAP])  # fmt: skip
    if found is None:
        return None
    (i, k), (j, m), holds = found
    one, other = (f"{scene.marks[row].label} and {scene.x_labels[column]}" for row, column in ((i, k), (j, m)))
    is_darker = bool(rng.random() < 0.5)
    word = "darker" if is_darker else "lighter"
    text = pick(rng, f"Is the cell of {one} {word} than that of {other}?",
                f"Is the cell for {one} {word} than the cell for {other}?",
                f"Is it {word} where {one} meet than where {other} meet?",
                f"Compared with the cell of {other}, is the cell of {one} {word}?",
                f"Tell me whether the cell of {one} is {word} than that of {other}.")  # fmt: skip
    return Question("cell_compare", text, yes_or_no(holds == is_darker), (i, j, scene.cell(i, k), scene.cell(j, m)), 2,
                    also=tuple({f"place {k}": 0, f"place {m}": 0}))  # fmt: skip


def cell_value(rng: np.random.Generator, scene: Scene) -> Question | None:
    if scene.kind != "heatmap" or not scene.show_values:
        return None
    i, k = scene.cells[rng.integers(len(scene.cells))]
    row, column = scene.marks[i].label, scene.x_labels[k]
    text = pick(rng, f"What is the value of {row} and {column}?", f"Which number is written for {row} and {column}?",
                f"Give the number in the row {row} and the column {column}.",
                f"What is written in the cell of {row} and {column}?",
                f"Tell me the value in the row {row}, column {column}.")  # fmt: skip
    return Question("cell_value", text, scene.tick_text(scene.marks[i].points[k]), (i, scene.cell(i, k)), 1,
                    ((row, (i,)),), (f"place {k}",))  # fmt: skip


PROGRAMS = (count_rows, count_columns, cell_row, cell_column, column_peak, row_peak, cell_compare,
            cell_value)  # fmt: skip
