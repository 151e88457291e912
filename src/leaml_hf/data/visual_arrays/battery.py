"""The diagnostic battery: the visual arrays task of cognitive psychology, in its storage and its selective forms.

Martin et al. (2021, Journal of Experimental Psychology: General, "The visual arrays task: Visual storage capacity or
attention control?"): VA-color and VA-orient ask for all items, VA-color-S only for those on the cued side, VA-orient-S
only for those of the cued colour. A model sees both arrays at once, so what is computed from its answers is k-like.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from ...errors import LeamlInputError
from .conventions import BASE_SHADES, COLOR_NAMES

if TYPE_CHECKING:
    from datasets import Dataset

CONDITIONS = ("VA-color", "VA-orient", "VA-color-S", "VA-orient-S")
FORMS = ("single_probe", "whole_display")
PRESENTATIONS = ("one_picture", "two_pictures", "two_turns")
SET_SIZES = tuple(range(1, 9))
DISTRACTORS = tuple(range(9))
ORIENTATIONS = (0, 45, 90, 135)  # degrees from upright
CUED_COLORS = ("red", "blue")
SIDES = ("left", "right")
WIDTH, HEIGHT = 448, 224  # pixels of one array
_COLUMNS, _ROWS = 8, 4  # places; a side has half of the columns
_REMEMBER = "Remember this array."
_PROBE = {
    "color": ("Is the item of the second array of another colour than it was?",
              "One item is shown again: did its colour change?",
              "Compare the single item with the first array: has its colour changed?"),
    "orient": ("Is the bar of the second array turned another way than it was?",
               "One bar is shown again: did its orientation change?",
               "Compare the single bar with the first array: has its orientation changed?"),
}  # fmt: skip
_WHOLE = {
    "color": ("Did any {which}item change its colour?", "Has the colour of some {which}item changed?",
              "Compare the two arrays: does a {which}item have another colour?"),
    "orient": ("Did any {which}bar change its orientation?", "Has the orientation of some {which}bar changed?",
               "Compare the two arrays: is a {which}bar turned another way?"),
}  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One item of an array: its centre in pixels, its colour, its orientation (None: a square), whether it counts."""

    x: float
    y: float
    color: str
    orientation: int | None
    is_target: bool


@dataclass(frozen=True)
class Trial:
    """
    One trial.

    Attributes:
        condition (`str`): one of `CONDITIONS`.
        form (`str`): `single_probe` (only the item asked for is shown again) or `whole_display`.
        cue (`str`): the side or colour that counts; "" in the storage forms.
        before (`tuple[Item, ...]`): first array, targets first.
        after (`tuple[Item, ...]`): second array.
        probed (`tuple[int, ...]`): places in `before` of what changed, or of the probe.
        change_kind (`str`): "none"; "novel" where the new feature belongs to no other target; "binding" where it does,
            so that only who has which feature gives the change away (in whole displays two targets swap theirs).
    """

    condition: str
    form: str
    cue: str
    before: tuple[Item, ...]
    after: tuple[Item, ...]
    probed: tuple[int, ...]
    change_kind: str

    @property
    def set_size(self) -> int:
        return sum(item.is_target for item in self.before)

    @property
    def feature(self) -> str:
        """What may change: "color" or "orient"."""
        return self.condition.split("-")[1]


def sample_trial(
    condition: str, form: str, set_size: int, distractors: int, change: bool, rng: np.random.Generator
) -> Trial:
    """
    Draws one trial by lot.

    Args:
        condition (`str`): one of `CONDITIONS`.
        form (`str`): one of `FORMS`.
        set_size (`int`): items that count, 1 to 8.
        distractors (`int`): items that do not, 0 to 8; 0 in the storage forms.
        change (`bool`): whether the item asked for (or one of all) changes.
        rng (`np.random.Generator`): the only source of chance.

    Returns:
        [`Trial`].
    """
    selective, feature = condition.endswith("-S"), condition.split("-")[1]
    cues = (SIDES if feature == "color" else CUED_COLORS) if selective else ("",)
    cue = cues[rng.integers(len(cues))]
    items = [*_items(condition, cue, set_size, True, rng), *_items(condition, cue, distractors, False, rng)]
    before = _placed(items, condition, cue, rng)
    probe = int(rng.integers(set_size))
    after, probed, kind = list(before), (probe,), "none"
    if change:
        after, probed, kind = _changed(before, feature, probe, form, rng)
    shown = after if form == "whole_display" else [after[probe]]
    return Trial(condition, form, cue, tuple(before), tuple(shown), probed, kind)


def _items(condition: str, cue: str, count: int, is_target: bool, rng: np.random.Generator) -> list[Item]:
    if condition.startswith("VA-color"):
        colors = [COLOR_NAMES[i] for i in rng.permutation(len(COLOR_NAMES))[:count]]
        return [Item(0, 0, color, None, is_target) for color in colors]
    turns = [ORIENTATIONS[i] for i in rng.integers(len(ORIENTATIONS), size=count)]
    if not cue:
        return [Item(0, 0, CUED_COLORS[rng.integers(2)], turn, is_target) for turn in turns]
    color = cue if is_target else CUED_COLORS[1 - CUED_COLORS.index(cue)]
    return [Item(0, 0, color, turn, is_target) for turn in turns]


def _placed(items: list[Item], condition: str, cue: str, rng: np.random.Generator) -> list[Item]:
    """Items at places of their own; with a cued side, targets there and distractors on the other one."""
    cells = [divmod(int(cell), _COLUMNS) for cell in rng.permutation(_COLUMNS * _ROWS)]
    if condition == "VA-color-S":
        left = [cell for cell in cells if cell[1] < _COLUMNS // 2]
        right = [cell for cell in cells if cell[1] >= _COLUMNS // 2]
        cued, other = (left, right) if cue == "left" else (right, left)
        targets = sum(item.is_target for item in items)
        cells = [*cued[:targets], *other]
    placed = []
    for item, (row, column) in zip(items, cells, strict=False):
        x = (column + 0.5 + rng.uniform(-0.12, 0.12)) * WIDTH / _COLUMNS
        y = (row + 0.5 + rng.uniform(-0.12, 0.12)) * HEIGHT / _ROWS
        placed.append(replace(item, x=round(x, 1), y=round(y, 1)))
    return placed


def _changed(
    before: list[Item], feature: str, probe: int, form: str, rng: np.random.Generator
) -> tuple[list[Item], tuple[int, ...], str]:
    """The array after a change; novel features and bindings come equally often where both are possible."""
    name = "color" if feature == "color" else "orientation"
    own = getattr(before[probe], name)
    targets = [i for i, item in enumerate(before) if item.is_target]
    others = [i for i in targets if getattr(before[i], name) != own]
    features = COLOR_NAMES if feature == "color" else ORIENTATIONS
    novel = [value for value in features if value not in {getattr(before[i], name) for i in targets}]
    binding = bool(others) and (not novel or rng.random() < 0.5)
    after = list(before)
    if binding:
        other = others[rng.integers(len(others))]
        after[probe] = replace(before[probe], **{name: getattr(before[other], name)})
        if form == "whole_display":
            after[other] = replace(before[other], **{name: own})
            return after, (probe, other), "binding"
        return after, (probe,), "binding"
    after[probe] = replace(before[probe], **{name: novel[rng.integers(len(novel))]})
    return after, (probe,), "novel"


def draw_array(items: tuple[Item, ...], cue: str = "") -> Image.Image:
    """
    Draws one array.

    Args:
        items (`tuple[Item, ...]`): its items.
        cue (`str`, *optional*): "left" or "right" for an arrow in the middle.

    Returns:
        `Image.Image`: RGB, 448 x 224.
    """
    scale = 2
    image = Image.new("RGB", (WIDTH * scale, HEIGHT * scale), (228, 228, 228))
    draw = ImageDraw.Draw(image)
    for item in items:
        color = BASE_SHADES[item.color][0]
        if item.orientation is None:
            half_width = half_height = 15.0
        else:
            half_width, half_height = 6.0, 21.0
        turn = math.radians(item.orientation or 0)
        corners = [(-half_width, -half_height), (half_width, -half_height), (half_width, half_height),
                   (-half_width, half_height)]  # fmt: skip
        draw.polygon(
            [
                (
                    scale * (item.x + dx * math.cos(turn) - dy * math.sin(turn)),
                    scale * (item.y + dx * math.sin(turn) + dy * math.cos(turn)),
                )
                for dx, dy in corners
            ],
            fill=color,
        )
    if cue in SIDES:
        middle, reach = scale * WIDTH / 2, 14 * scale * (1 if cue == "right" else -1)
        foot = scale * HEIGHT / 2
        draw.line((middle - reach, foot, middle + reach, foot), fill=(0, 0, 0), width=3 * scale)
        head = [(middle + reach, foot), (middle + reach / 3, foot - 8 * scale), (middle + reach / 3, foot + 8 * scale)]
        draw.polygon(head, fill=(0, 0, 0))
    return image.reduce(scale)


def present(trial: Trial, presentation: str) -> tuple[list[Image.Image], list[str]]:
    """
    A trial as a model gets it.

    Args:
        trial ([`Trial`]): what is shown.
        presentation (`str`): `one_picture` (224 x 224, the first array above the second), `two_pictures` (448 x 224
            each, one turn) or `two_turns` (the same, one picture a turn).

    Returns:
        `tuple`: the pictures, and what is said at each turn without the question (of the last turn).
    """
    arrays = [draw_array(trial.before, trial.cue), draw_array(trial.after)]
    if presentation != "one_picture":
        return arrays, [_REMEMBER] if presentation == "two_turns" else []
    page = Image.new("RGB", (WIDTH, 2 * HEIGHT), (255, 255, 255))
    for place, array in enumerate(arrays):
        page.paste(array.resize((WIDTH, HEIGHT - 3)), (0, place * (HEIGHT + 3)))
    return [page.reduce(2)], []


def _question(trial: Trial, rng: np.random.Generator) -> str:
    phrases = (_PROBE if trial.form == "single_probe" else _WHOLE)[trial.feature]
    which = f"{trial.cue} " if trial.cue else ""
    text = phrases[rng.integers(len(phrases))].format(which=which)
    if trial.cue and trial.form == "single_probe":
        kind = "side" if trial.cue in SIDES else "bars"
        text = f"Attend to the {trial.cue} {kind}. {text}"
    return text


def _probe_boxes(trial: Trial, presentation: str) -> list[list[float]]:
    """Boxes in [0, 1] of the last picture in which the answer lives: the probe, or all targets of a whole display."""
    shown = [item for item in trial.after if item.is_target]
    boxes = []
    for item in shown:
        left, top, right, bottom = item.x - 22, item.y - 22, item.x + 22, item.y + 22
        box = np.array([left / WIDTH, top / HEIGHT, right / WIDTH, bottom / HEIGHT]).clip(0, 1)
        if presentation == "one_picture":
            box[1::2] = (box[1::2] * (HEIGHT - 3) + HEIGHT + 3) / (2 * HEIGHT)
        boxes.append([round(float(value), 4) for value in box])
    return boxes


def iter_battery(
    condition: str,
    form: str = "single_probe",
    presentation: str = "one_picture",
    set_sizes: tuple[int, ...] = SET_SIZES,
    distractors: tuple[int, ...] = (0,),
    start: int = 0,
    stop: int = 1000,
    seed: int = 0,
) -> Iterator[dict[str, Any]]:
    """
    Rows `start` to `stop - 1` of the battery; row i depends on the other arguments and i alone.

    Set sizes and distractor counts take turns, and each cell has a change and no change in turn.

    Args:
        condition (`str`): "VA-color", "VA-orient", "VA-color-S" or "VA-orient-S".
        form (`str`, *optional*, defaults to `"single_probe"`): or "whole_display".
        presentation (`str`, *optional*, defaults to `"one_picture"`): or "two_pictures", "two_turns".
        set_sizes (`tuple[int, ...]`, *optional*): of 1 to 8.
        distractors (`tuple[int, ...]`, *optional*, defaults to `(0,)`): of 0 to 8; only 0 in the storage forms.
        start (`int`, *optional*, defaults to 0): first row.
        stop (`int`, *optional*, defaults to 1000): behind the last row.
        seed (`int`, *optional*, defaults to 0): another seed gives other trials.

    Yields:
        `dict`: `images`, `turns`, `question`, `answer` ("yes" where something changed), `id` and the metadata of each
        trial.

    Raises:
        LeamlInputError: if an argument is not one of the choices.
    """
    _check(condition, form, presentation, set_sizes, distractors)
    cells = [(size, count) for size in set_sizes for count in distractors]
    for i in range(start, stop):
        rng = np.random.default_rng(
            [seed, CONDITIONS.index(condition), FORMS.index(form), i, 7919]
        )  # the presentation does not enter: the same trials are shown in each
        size, count = cells[i // 2 % len(cells)]
        trial = sample_trial(condition, form, size, count, bool(i % 2), rng)
        images, turns = present(trial, presentation)
        yield {
            "images": images,
            "turns": turns,
            "question": _question(trial, rng),
            "answer": "yes" if i % 2 else "no",
            "id": f"{condition}-{form}-{presentation}-{seed}-{i}",
            "condition": condition,
            "form": form,
            "presentation": presentation,
            "program": f"{condition}/{form}",
            "set_size": size,
            "distractors": count,
            "change_kind": trial.change_kind,
            "cue": trial.cue,
            "relevant_boxes": _probe_boxes(trial, presentation),
            "seed": seed,
        }


def _check(
    condition: str, form: str, presentation: str, set_sizes: tuple[int, ...], distractors: tuple[int, ...]
) -> None:
    for name, value, choices in (("condition", condition, CONDITIONS), ("form", form, FORMS),
                                 ("presentation", presentation, PRESENTATIONS)):  # fmt: skip
        if value not in choices:
            raise LeamlInputError(f"The battery has no {name} '{value}'; choose one of {', '.join(choices)}.")
    if not set_sizes or not set(set_sizes) <= set(SET_SIZES):
        raise LeamlInputError(f"set_sizes must be of 1 to 8, not {set_sizes}.")
    allowed = DISTRACTORS if condition.endswith("-S") else (0,)
    if not distractors or not set(distractors) <= set(allowed):
        raise LeamlInputError(f"{condition} takes distractors of {allowed[0]} to {allowed[-1]}, not {distractors}.")


def load_battery(condition: str, num_rows: int = 1000, **options: Any) -> "Dataset":
    """
    The first rows of a condition of the battery as a data set.

    Args:
        condition (`str`): "VA-color", "VA-orient", "VA-color-S" or "VA-orient-S".
        num_rows (`int`, *optional*, defaults to 1000): rows, half of them with a change.
        options: of [`iter_battery`].

    Returns:
        `datasets.Dataset` with `images`, `question`, `answer`, `id` and the metadata of each trial; with one picture a
        trial also with `image`, so that it can be evaluated like any other data.

    Raises:
        LeamlInputError: if an argument is not one of the choices or `num_rows` is below 1.
    """
    import datasets

    if num_rows < 1:
        raise LeamlInputError(f"num_rows must be at least 1, not {num_rows}.")
    rows = list(iter_battery(condition, start=0, stop=num_rows, **options))
    string, integer = datasets.Value("string"), datasets.Value("int32")
    features = {
        "images": datasets.List(datasets.Image()),
        "turns": datasets.List(string),
        **dict.fromkeys(("question", "answer", "id", "condition", "form", "presentation", "program"), string),
        **dict.fromkeys(("set_size", "distractors"), integer),
        **dict.fromkeys(("change_kind", "cue"), string),
        "relevant_boxes": datasets.List(datasets.List(datasets.Value("float32"))),
        "seed": datasets.Value("int64"),
    }
    if len(rows[0]["images"]) == 1:
        features = {"image": datasets.Image(), **features}
        rows = [{"image": row["images"][0], **row} for row in rows]
    return datasets.Dataset.from_list(rows, features=datasets.Features(features))
