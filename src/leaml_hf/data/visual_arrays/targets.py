"""Dense targets for pre-training: every token that shows a part of an object predicts all of that object's attributes.

Binding (which label belongs to which colour and height) is learnt from these, not from question-answer pairs alone.
"""

import math
import string
import zlib

import numpy as np

from .canvas import Drawing, Glyph
from .conventions import COLOR_NAMES
from .scenes import CHART_KINDS, COMPONENTS, GRID_KINDS, NODE_SHAPES, SHAPES, STEPS, Scene, is_box, is_inside

IGNORE = -100
PARTS = 5  # of a line, in which its highest and its lowest point lie
OPEN = 0  # in place of the number of classes: the class is a `name_id`, of which there is no end
MAX_MARKS = 8
MAX_LINKS = 15
STATES = ("", "final", "hidden", "open", "closed")
KINDS = CHART_KINDS + SHAPES + NODE_SHAPES + COMPONENTS
ATTRIBUTES: dict[str, int] = {
    "color": len(COLOR_NAMES),
    "label": OPEN,
    "shape": len(KINDS) + 1,  # the last class: no object here
    "value": 11,
    "step": len(STEPS),
    "rank_from_top": MAX_MARKS,
    "rank_from_bottom": MAX_MARKS,
    "place": MAX_MARKS,
    "place_vertical": MAX_MARKS,
    "count": MAX_MARKS + 1,
    "trend": 2,
    "peak": PARTS,
    "valley": PARTS,
    "front": 2,
    "kin": MAX_MARKS + 1,  # marks of the same shape (not charts)
    "state": len(STATES),
    "leaving": MAX_MARKS,  # links from here; at a table: people right beside
    "reaching": MAX_MARKS,  # links to here; in boxes: boxes around it
    "links": MAX_LINKS + 1,  # in the whole diagram; at a table: chairs
    "next": OPEN,  # name of the only mark that a link leads to; at a table: of the next clockwise
    "previous": OPEN,
    "member": 2,  # whether it lies in the box (annotated), a box or a branch (circuits); at a table: faces someone
    "members": MAX_MARKS + 1,  # of these; at a table: free chairs; in boxes: shapes in this one, or in that around it
    "called": MAX_MARKS + 1,  # marks with a call-out
}
CHARACTERS = string.ascii_letters + string.digits + ".-"
SLOTS = 3  # characters told apart within one token, from left to right
GLYPHS = {f"glyph_{slot}": len(CHARACTERS) + 1 for slot in range(SLOTS)}  # the last class: no character here
TARGETS = {**ATTRIBUTES, **GLYPHS, "word": OPEN}  # word: the label, where it is written
LOCAL = (*GLYPHS, "color")  # what a cell shows by itself: the tower learns this first, alone
_COLOR_ID = {name: i for i, name in enumerate(COLOR_NAMES)}


def name_id(name: str) -> int:
    """A number below 2^32 for a name, the same everywhere."""
    return zlib.crc32(name.encode())


def _ranks(values: list[float]) -> np.ndarray:
    return np.argsort(np.argsort(values, kind="stable"), kind="stable")


def _part(place: int, length: int) -> int:
    """Which of the `PARTS` of a row of `length` a place lies in."""
    return min(PARTS - 1, PARTS * int(place) // (length - 1))


def attribute_table(scene: Scene) -> np.ndarray:
    """Attributes of each mark, and behind them of each cell, `[marks + cells, len(ATTRIBUTES)]` (int64), `IGNORE`
    where one does not apply."""
    marks, n = scene.marks, len(scene.marks)
    columns = np.full((len(ATTRIBUTES), n), IGNORE)
    table = dict(zip(ATTRIBUTES, columns, strict=True))
    table["color"][:] = [_COLOR_ID[m.color] for m in marks]
    table["label"][:] = [name_id(m.label) if m.label else IGNORE for m in marks]
    table["shape"][:] = [KINDS.index(m.shape) for m in marks]
    table["count"][:] = n
    if scene.kind == "heatmap":
        table["color"][:] = IGNORE  # shades from nearly white to nearly black
    if scene.kind in GRID_KINDS:
        return np.stack([*np.stack(list(table.values()), 1), *_cell_rows(table, scene)])
    if scene.task == "chart":
        values = [m.value for m in marks]
        scale = 10 if scene.kind == "pie" else 1
        table["value"][:] = [round(v / scale) for v in values]
        table["rank_from_bottom"][:] = _ranks(values)
        table["rank_from_top"][:] = _ranks([-v for v in values])
        if scene.kind != "pie":
            table["step"][:] = STEPS.index(scene.step)
        if scene.kind in ("bar", "hbar", "boxplot"):
            table["place"][:] = np.arange(n)
        elif scene.dots:
            table["place"][:] = _ranks([m.points[0, 0] for m in marks])
        if scene.kind == "line":
            table["peak"][:] = [_part(m.points.argmax(), len(m.points)) for m in marks]
            table["valley"][:] = [_part(m.points.argmin(), len(m.points)) for m in marks]
        if scene.kind in ("line", "scatter", "area"):
            table["trend"][:] = [{"up": 1, "down": 0}.get(m.trend, IGNORE) for m in marks]
    else:
        table["place"][:] = _ranks([m.box[0] + m.box[2] for m in marks])
        table["place_vertical"][:] = _ranks([m.box[1] + m.box[3] for m in marks])
        table["kin"][:] = [sum(other.shape == m.shape for other in marks) for m in marks]
        if scene.occluded is not None:
            table["front"][list(scene.occluded)] = (0, 1)
    if scene.kind == "seating":
        _tell_seats(table, scene)
    elif scene.kind == "containment":
        _tell_boxes(table, scene)
    if scene.task == "diagram":
        table["state"][:] = [STATES.index(m.state) for m in marks]
    if scene.kind == "circuit":
        _tell_members(table, [i in scene.branches for i in range(n)])
    elif scene.task == "diagram":
        table["links"][:] = len(scene.links)
        for end, count, name in (("source", "leaving", "next"), ("target", "reaching", "previous")):
            other = "target" if end == "source" else "source"
            for i in range(n):
                joined = [getattr(link, other) for link in scene.links if getattr(link, end) == i]
                table[count][i] = len(joined)
                if len(joined) == 1:
                    table[name][i] = name_id(marks[joined[0]].label)
    elif scene.task == "annotated":
        table["value"][:] = [round(4 * m.value) for m in marks]
        table["called"][:] = sum(bool(m.label) for m in marks)
        _tell_members(table, [is_inside(m.box, scene.region) for m in marks])
    return columns.T


def _cell_rows(table: dict[str, np.ndarray], scene: Scene) -> list[np.ndarray]:
    """A cell has what its mark has, its own value, its rank among those of its place, and its place."""
    values = scene.values
    rows = []
    for i, k in scene.cells:
        row = {name: column[i] for name, column in table.items()}
        row |= {"value": round(values[i, k]), "step": STEPS.index(scene.step), "place": k,
                "rank_from_top": (values[:, k] > values[i, k]).sum(),
                "rank_from_bottom": (values[:, k] < values[i, k]).sum()}  # fmt: skip
        rows.append(np.array(list(row.values())))
    return rows


def _tell_members(table: dict[str, np.ndarray], members: list[bool]) -> None:
    table["member"][:], table["members"][:] = members, sum(members)


def _tell_seats(table: dict[str, np.ndarray], scene: Scene) -> None:
    seats, marks = scene.table, scene.marks
    table["member"][:] = [seats.across(i) is not None for i in range(len(marks))]
    table["members"][:] = len(seats.chairs) - len(marks)
    table["links"][:] = len(seats.chairs)
    table["leaving"][:] = [sum(bool(seats.are_neighbors(a, b)) for b in seats.taken) for a in seats.taken]
    for mark, other in zip(seats.ring, np.roll(seats.ring, -1), strict=True):
        if marks[mark].label:
            table["next"][mark], table["previous"][other] = name_id(marks[other].label), name_id(marks[mark].label)


def _tell_boxes(table: dict[str, np.ndarray], scene: Scene) -> None:
    boxes = [i for i, mark in enumerate(scene.marks) if is_box(mark)]
    for i, mark in enumerate(scene.marks):
        nearest = i if i in boxes else scene.holders[i]
        table["member"][i] = scene.holders[i] >= 0
        table["reaching"][i] = sum(is_inside(mark.box, scene.marks[k].box) for k in boxes if k != i)
        if nearest >= 0:
            table["members"][i] = sum(not is_box(other) and is_inside(other.box, scene.marks[nearest].box)
                                      for other in scene.marks)  # fmt: skip


def name_table(names: list[str]) -> np.ndarray:
    """What is known of names that stand alone: `[names, len(ATTRIBUTES)]`, `IGNORE` but for the name."""
    table = np.full((len(names), len(ATTRIBUTES)), IGNORE)
    table[:, list(ATTRIBUTES).index("label")] = [name_id(name) for name in names]
    return table


def glyph_targets(glyphs: list[Glyph], side: int) -> np.ndarray:
    """Characters in each token of a `side` x `side` grid in the order of reading: `[side * side, SLOTS]`, `IGNORE`
    where there is no text."""
    slots = np.full((side, side, SLOTS), IGNORE)
    for glyph in glyphs:
        if glyph.char in CHARACTERS and 0 <= glyph.x < 1 and 0 <= glyph.y < 1:
            along = 1 - glyph.y if glyph.upwards else glyph.x
            slot = int(along * side * SLOTS) % SLOTS
            slots[int(glyph.y * side), int(glyph.x * side), slot] = CHARACTERS.index(glyph.char)
    slots = slots.reshape(side * side, SLOTS)
    has_text = (slots != IGNORE).any(1, keepdims=True)
    return np.where(has_text & (slots == IGNORE), len(CHARACTERS), slots)


def token_owners(drawing: Drawing, side: int) -> np.ndarray:
    """The mark that each token of a `side` x `side` grid shows a part of: `[side * side]`, -1 for none."""
    owner = np.full((side, side), -1)
    for mark, boxes in enumerate(drawing.parts):
        for left, top, right, bottom in boxes:
            rows = slice(int(top * side), max(int(top * side) + 1, round(bottom * side)))
            columns = slice(int(left * side), max(int(left * side) + 1, round(right * side)))
            owner[rows, columns] = mark
    return owner.reshape(-1)


def token_targets(attributes: np.ndarray, drawing: Drawing, owners: np.ndarray) -> np.ndarray:
    """Targets of a grid of tokens.

    Args:
        attributes (`np.ndarray`): `[marks, len(ATTRIBUTES)]` from `attribute_table`.
        drawing (`Drawing`): how it was drawn.
        owners (`np.ndarray`): `[side * side]` from `token_owners`.

    Returns:
        `[side * side, len(TARGETS)]` int64; tokens without an object carry only the class "no object" under `shape`,
        and the characters that stand there.
    """
    background = np.full((1, len(ATTRIBUTES)), IGNORE)
    background[0, list(ATTRIBUTES).index("shape")] = ATTRIBUTES["shape"] - 1
    objects = np.concatenate([attributes, background])[owners]
    glyphs = glyph_targets(drawing.glyphs, math.isqrt(len(owners)))
    word = np.where((glyphs != IGNORE).any(1), objects[:, list(ATTRIBUTES).index("label")], IGNORE)
    return np.concatenate([objects, glyphs, word[:, None]], 1)
