"""Draws a `Scene` by one variant's conventions: a 224 x 224 picture and, for each mark, the boxes of its parts.

Everything is drawn at twice the size and reduced (Pillow does not smooth shapes); text comes from cached bitmaps.
"""

import contextlib
import math
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .conventions import TITLE_WORDS, VARIANTS, Conventions, font_path
from .scenes import Mark, Scene
from .words import sample_words

SIZE = 224
SCALE = 2
FULL = SIZE * SCALE
Box = tuple[float, float, float, float]


@dataclass
class Glyph:
    """One written character: its centre in [0, 1], and whether its line runs straight upwards."""

    char: str
    x: float
    y: float
    upwards: bool = False


@dataclass
class Drawing:
    """A 224 x 224 RGB picture, the boxes of each mark's parts (in [0, 1]), and every character."""

    image: Image.Image
    parts: list[list[Box]]
    glyphs: list[Glyph]


@cache
def _font(family: str, size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.truetype(font_path(family), size, layout_engine=ImageFont.Layout.BASIC)
    # Variable fonts may begin at their thinnest weight; the others have but one.
    with contextlib.suppress(OSError, ValueError):
        font.set_variation_by_name("Regular")
    return font


@lru_cache(maxsize=20_000)
def _text_mask(family: str, size: int, text: str) -> Image.Image:
    font = _font(family, size)
    left, _, right, _ = font.getbbox(text)
    ascent, descent = font.getmetrics()
    mask = Image.new("L", (max(1, right - left), ascent + descent))
    ImageDraw.Draw(mask).text((-left, 0), text, fill=255, font=font)
    return mask


@lru_cache(maxsize=20_000)
def _glyph_centres(family: str, size: int, text: str) -> tuple[float, ...]:
    font = _font(family, size)
    ends = [font.getlength(text[:i]) for i in range(len(text) + 1)]
    return tuple((a + b) / 2 for a, b in pairwise(ends))


class Canvas:
    """A page at double size with the look that one picture has, and the parts drawn on it so far."""

    def __init__(self, conventions: Conventions, rng: np.random.Generator, num_marks: int) -> None:
        c = self.conventions = conventions
        self.rng = rng
        self.ground = c.grounds[rng.integers(len(c.grounds))]
        dark = sum(self.ground) < 300
        self.ink = (225, 225, 225) if dark else tuple(int(v) for v in rng.integers(0, 90, 1).repeat(3))
        self.grid_color = tuple(int(g + (i - g) * 0.22) for g, i in zip(self.ground, self.ink, strict=True))
        self.family = c.fonts[rng.integers(len(c.fonts))]
        self.font_size = int(rng.integers(c.font_sizes[0], c.font_sizes[1] + 1))
        self.outline = bool(rng.random() < c.outline)
        self.hatched = bool(rng.random() < c.hatch)
        self.image = Image.new("RGB", (FULL, FULL), self.ground)
        self.draw = ImageDraw.Draw(self.image)
        self.parts: list[list[Box]] = [[] for _ in range(num_marks)]
        self.glyphs: list[Glyph] = []

    def choice(self, options: tuple) -> object:
        return options[self.rng.integers(len(options))]

    def shade(self, name: str) -> tuple[int, int, int]:
        """A shade of the named colour that stands out from the page."""
        anchors = self.conventions.shades[name]
        jitter = self.conventions.shade_jitter
        neutral = name in ("gray", "black")  # a tint would make them another colour
        color = anchors[self.rng.integers(len(anchors))] + self.rng.integers(-jitter, jitter + 1, 1 if neutral else 3)
        if np.abs(color - self.ground).sum() < 60:  # black on a dark page, say: pull it away from the page
            color = color + (45 if sum(self.ground) < 380 else -45)
        return tuple(int(v) for v in np.clip(color, 0, 255))

    def text(self, x: float, y: float, text: str, anchor: str = "mm", size: int | None = None, angle: int = 0) -> Box:
        """Writes `text` with its anchor (l/m/r, t/m/b) at x, y, turned by `angle` degrees to the left; returns its box
        in pixels, kept inside the page."""
        size = size or self.font_size
        flat = _text_mask(self.family, size, text)
        mask = flat.rotate(angle, Image.Resampling.BICUBIC, expand=True) if angle else flat
        left = x - mask.width * {"l": 0, "m": 0.5, "r": 1}[anchor[0]]
        top = y - mask.height * {"t": 0, "m": 0.5, "b": 1}[anchor[1]]
        left = min(max(2, left), FULL - mask.width - 2)
        top = min(max(1, top), FULL - mask.height - 1)
        self.image.paste(self.ink, (int(left), int(top)), mask)
        turn = math.radians(angle)
        for char, along in zip(text, _glyph_centres(self.family, size, text), strict=True):
            away = along - flat.width / 2  # of the middle of the text
            across, down = left + mask.width / 2 + away * math.cos(turn), top + mask.height / 2 - away * math.sin(turn)
            self.glyphs.append(Glyph(char, across / FULL, down / FULL, angle == 90))
        return left, top, left + mask.width, top + mask.height

    def text_width(self, text: str) -> int:
        return _text_mask(self.family, self.font_size, text).width

    def note(self, mark: int, *boxes: Box) -> None:
        """Records pixel boxes as parts of a mark, in [0, 1]."""
        self.parts[mark] += [tuple(round(min(max(v / FULL, 0.0), 1.0), 4) for v in box) for box in boxes]

    def fill_box(self, box: Box, color: tuple[int, int, int]) -> None:
        left, top, right, bottom = box
        self.draw.rectangle(box, fill=color, outline=self.ink if self.outline else None, width=2)
        if self.hatched:
            line = tuple(int(0.6 * v) for v in color)
            for start in range(int(left - (bottom - top)), int(right), 14):
                a, b = max(start, left), min(start + (bottom - top), right)
                if b > a:
                    self.draw.line((a, bottom - (a - start), b, bottom - (b - start)), fill=line, width=2)

    def legend_place(self, scene: Scene) -> str | None:
        """Where the legend goes; `None` where the names stand at their marks."""
        return self.choice(self.conventions.legend_places) if scene.has_key else None

    def legend(self, marks: list[Mark], colors: list[tuple[int, int, int]], place: str) -> None:
        """Swatches with names; the room that `plot_area` left at `place` is used."""
        row = self.font_size + 8
        widths = [self.text_width(m.label) + self.font_size + 14 for m in marks]
        if place in ("right", "left"):
            x = FULL - max(widths) - 4 if place == "right" else 6
            y = max(30, (FULL - row * len(marks)) / 2)
            spots = [(x, y + i * row) for i in range(len(marks))]
        else:
            spots, x, y = [], 8.0, 40.0 if place == "top" else FULL - 2.0 * row - 4
            for width in widths:
                if x + width > FULL - 4:
                    x, y = 8.0, y + row
                spots.append((x, y))
                x += width
        for i, (x, y) in enumerate(spots):
            swatch = (x, y + 3, x + self.font_size - 4, y + self.font_size - 1)
            self.fill_box(swatch, colors[i])
            self.note(i, swatch, self.text(x + self.font_size + 2, y + self.font_size / 2 + 1, marks[i].label, "lm"))

    def plot_area(self, left: float, right: float, top: float, bottom: float) -> None:
        """Margins in pixels around the plot; draws its ground."""
        self.area = (left, top, FULL - right, FULL - bottom)
        ground = self.choice(self.conventions.plot_grounds)
        if ground is not None and sum(self.ground) > 380:
            self.draw.rectangle(self.area, fill=ground)

    def title(self) -> bool:
        if self.rng.random() < 0.5:
            return False
        words = [TITLE_WORDS[i] for i in self.rng.integers(len(TITLE_WORDS), size=2)]
        self.text(FULL / 2, 4, " ".join(words), "mt", self.font_size + 3)
        return True

    def axis_title(self, vertical: bool) -> float:
        """Writes a title along the value axis now and then; returns the room it takes, in pixels."""
        if self.rng.random() >= self.conventions.axis_titles:
            return 0.0
        text = self.choice(TITLE_WORDS)
        if vertical:
            self.text(2, FULL / 2, text, "lm", angle=90)
        else:
            self.text(FULL / 2, FULL - 2, text, "mb")
        return self.font_size + 4

    def value_axis(self, scene: Scene, vertical: bool) -> None:
        """Ticks with numbers, grid lines and spines; `vertical` when values rise upwards."""
        x0, y0, x1, y1 = self.area
        c = self.conventions
        opposite = bool(self.rng.random() < c.value_axis_opposite)
        grid, spines = self.choice(c.grids), self.choice(c.spines)
        room = (x1 - x0) * scene.every / scene.reach
        crowded = 1
        while not vertical and self._widest_number(scene) + 8 > room * crowded:
            crowded += 1
        for tick in scene.numbered_ticks:
            if vertical:
                y = y1 - (y1 - y0) * tick / scene.reach
                self.text(x1 + 6 if opposite else x0 - 6, y, scene.tick_text(tick), "lm" if opposite else "rm")
                line = (x0, y, x1, y)
            else:
                x = x0 + (x1 - x0) * tick / scene.reach
                if tick % (scene.every * crowded) == 0:
                    self.text(x, y0 - 4 if opposite else y1 + 4, scene.tick_text(tick), "mb" if opposite else "mt")
                line = (x, y0, x, y1)
            if grid in ("value", "both"):
                self.draw.line(line, fill=self.grid_color, width=2)
            elif grid in ("dashed", "dotted"):
                self._broken_line(line, 10 if grid == "dashed" else 3)
        if spines == "box":
            self.draw.rectangle(self.area, outline=self.ink, width=2)
        elif spines in ("left-bottom", "arrows", "bottom"):
            self.draw.line((x0, y1, x1, y1), fill=self.ink, width=3)
            if spines != "bottom":
                self.draw.line((x0, y0, x0, y1), fill=self.ink, width=3)
            if spines == "arrows":
                self.draw.polygon([(x0 - 6, y0 + 6), (x0 + 6, y0 + 6), (x0, y0 - 6)], fill=self.ink)
                self.draw.polygon([(x1 - 6, y1 - 6), (x1 - 6, y1 + 6), (x1 + 6, y1)], fill=self.ink)

    def _widest_number(self, scene: Scene) -> int:
        return max(self.text_width(scene.tick_text(tick)) for tick in scene.numbered_ticks)

    def number_room(self, scene: Scene) -> int:
        """Pixels that the numbers of the value axis take beside it."""
        return self._widest_number(scene) + 12

    def _broken_line(self, line: Box, dash: int) -> None:
        x0, y0, x1, y1 = line
        steps = int(max(abs(x1 - x0), abs(y1 - y0)) // (2 * dash))
        for i in range(steps):
            a, b = i / steps, (i + 0.5) / steps
            points = (x0 + (x1 - x0) * a, y0 + (y1 - y0) * a, x0 + (x1 - x0) * b, y0 + (y1 - y0) * b)
            self.draw.line(points, fill=self.grid_color, width=2)

    def marker(self, kind: str, x: float, y: float, r: float, color: tuple[int, int, int]) -> None:
        box = (x - r, y - r, x + r, y + r)
        if kind == "dot":
            self.draw.ellipse(box, fill=color)
        elif kind == "square":
            self.draw.rectangle(box, fill=color)
        elif kind == "triangle":
            self.draw.polygon([(x - r, y + r), (x + r, y + r), (x, y - r)], fill=color)
        elif kind == "ring":
            self.draw.ellipse(box, outline=color, width=4)
        elif kind == "cross":
            self.draw.line((x - r, y - r, x + r, y + r), fill=color, width=4)
            self.draw.line((x - r, y + r, x + r, y - r), fill=color, width=4)


def _legend_margins(canvas: Canvas, scene: Scene, place: str | None) -> dict[str, float]:
    widest = max(canvas.text_width(m.label) for m in scene.marks) + canvas.font_size + 22
    rows = (2 * canvas.font_size + 20) if len(scene.marks) > 3 else canvas.font_size + 12
    return {
        "left": 8 + (widest if place == "left" else 0),
        "right": 12 + (widest if place == "right" else 0),
        "top": 42 + (rows if place == "top" else 0),
        "bottom": 12 + (2 * canvas.font_size + 16 if place == "bottom" else 0),
    }


def _draw_bars(canvas: Canvas, scene: Scene) -> None:
    marks, vertical = scene.marks, scene.kind == "bar"
    colors = [canvas.shade(m.color) for m in marks]
    if scene.single_color:
        colors = colors[:1] * len(marks)
    canvas.title()
    place = canvas.legend_place(scene)
    margin = _legend_margins(canvas, scene, place)
    number = canvas.number_room(scene)
    words = max(canvas.text_width(m.label) for m in marks) + 10
    opposite_room = number if canvas.conventions.value_axis_opposite else 0
    title = canvas.axis_title(vertical)
    angle = _names_angle(canvas, words, (FULL - number - opposite_room - title) / len(marks)) if vertical else 0
    if vertical:
        below = {0: 2 * canvas.font_size, 45: 0.71 * (words + canvas.font_size), 90: words}[angle]
        above = canvas.font_size if scene.show_values else 0
        canvas.plot_area(margin["left"] + number + title, margin["right"] + opposite_room, margin["top"] + above,
                         margin["bottom"] + (0 if place else below))  # fmt: skip
    else:
        top = margin["top"] + (canvas.font_size if opposite_room else 0)
        end = max(number, canvas.text_width(max(map(scene.value_text, marks), key=len)) if scene.show_values else 0)
        canvas.plot_area(margin["left"] + (8 if place else words), margin["right"] + end, top,
                         margin["bottom"] + canvas.font_size + 8 + title)  # fmt: skip
    canvas.value_axis(scene, vertical)
    x0, y0, x1, y1 = canvas.area
    slot = ((x1 - x0) if vertical else (y1 - y0)) / len(marks)
    width = slot * canvas.rng.uniform(0.5, 0.92)
    crowded = vertical and max(canvas.text_width(m.label) for m in marks) > slot - 4
    for i, mark in enumerate(marks):
        centre = (i + 0.5) * slot
        reach = mark.value / scene.reach
        if vertical:
            box = (x0 + centre - width / 2, y1 - (y1 - y0) * reach, x0 + centre + width / 2, y1)
        else:
            box = (x0, y0 + centre - width / 2, x0 + (x1 - x0) * reach, y0 + centre + width / 2)
        canvas.fill_box(box, colors[i])
        canvas.note(i, box)
        if not place:
            if angle == 90:
                canvas.note(i, canvas.text(x0 + centre, y1 + 4, mark.label, "mt", angle=90))
            elif angle:
                canvas.note(i, canvas.text(x0 + centre + canvas.font_size / 2, y1 + 2, mark.label, "rt", angle=angle))
            elif vertical:
                low = canvas.font_size * 0.95 if crowded and i % 2 else 0  # long names stand in two rows
                canvas.note(i, canvas.text(x0 + centre, y1 + 2 + low, mark.label, "mt"))
            else:
                canvas.note(i, canvas.text(x0 - 6, y0 + centre, mark.label, "rm"))
        if scene.show_values:
            text = scene.value_text(mark)
            spot = (x0 + centre, box[1] - 2, text, "mb") if vertical else (box[2] + 4, y0 + centre, text, "lm")
            canvas.note(i, canvas.text(*spot))
    if place:
        canvas.legend(marks, colors, place)


def _names_angle(canvas: Canvas, widest: float, slot: float) -> int:
    """Degrees by which the names under bars are turned; long ones always are."""
    turned = canvas.rng.random() - canvas.conventions.upward_names
    if turned < 0 or (widest > 1.9 * slot and turned < 0.4):
        return 90
    return 45 if turned < canvas.conventions.slanted_names or widest > 1.9 * slot else 0


def _draw_series(canvas: Canvas, scene: Scene) -> None:
    """Lines and scatter: value axis, legend, and x words or none."""
    marks, lines = scene.marks, scene.kind == "line"
    colors = [canvas.shade(m.color) for m in marks]
    canvas.title()
    place = canvas.legend_place(scene)
    margin = _legend_margins(canvas, scene, place)
    number = canvas.number_room(scene)
    title = canvas.axis_title(vertical=True)
    opposite_room = number if canvas.conventions.value_axis_opposite else 0
    canvas.plot_area(margin["left"] + number + title, margin["right"] + opposite_room, margin["top"],
                     margin["bottom"] + canvas.font_size + 8)  # fmt: skip
    canvas.value_axis(scene, vertical=True)
    x0, y0, x1, y1 = canvas.area
    kind = canvas.choice(canvas.conventions.markers)
    if not lines and kind == "none":
        kind = "dot"
    thick = int(canvas.rng.integers(3, 9))
    radius = canvas.rng.uniform(8, 12) if scene.dots else canvas.rng.uniform(5, 8)
    if lines:
        count = len(scene.x_labels)
        every = math.ceil(sum(canvas.text_width(w) + 8 for w in scene.x_labels) / (x1 - x0))
        for i in range(0, count, every):
            canvas.text(x0 + (x1 - x0) * (0.04 + 0.92 * i / (count - 1)), y1 + 4, scene.x_labels[i], "mt")
    for i, mark in enumerate(marks):
        if lines:
            across = np.linspace(0.04, 0.96, len(mark.points))
            spots = np.stack([x0 + (x1 - x0) * across, y1 - (y1 - y0) * mark.points / scene.reach], 1)
            canvas.draw.line([tuple(p) for p in spots], fill=colors[i], width=thick, joint="curve")
            pieces = max(2, 24 // len(spots))
            dense = np.concatenate([np.linspace(a, b, pieces + 1)[:-1] for a, b in pairwise(spots)])
            canvas.note(i, *((x - 4, y - 4, x + 4, y + 4) for x, y in dense))
        else:
            spots = np.stack([x0 + (x1 - x0) * mark.points[:, 0], y1 - (y1 - y0) * mark.points[:, 1]], 1)
            canvas.note(i, *((x - 6, y - 6, x + 6, y + 6) for x, y in spots))
        if (kind != "none" and len(spots) <= 8) or not lines:
            for x, y in spots:
                canvas.marker(kind, x, y, radius, colors[i])
    if place:
        canvas.legend(marks, colors, place)


def _draw_pie(canvas: Canvas, scene: Scene) -> None:
    marks = scene.marks
    colors = [canvas.shade(m.color) for m in marks]
    canvas.title()
    place = canvas.legend_place(scene)
    margin = _legend_margins(canvas, scene, place)
    around = 0 if place else max(canvas.text_width(m.label) for m in marks) * 0.8 + 6
    canvas.area = (margin["left"] + around, margin["top"] + (0 if place else 22), FULL - margin["right"] - around,
                   FULL - margin["bottom"] - (0 if place else 22))  # fmt: skip
    x0, y0, x1, y1 = canvas.area
    cx, cy, r = (x0 + x1) / 2, (y0 + y1) / 2, min(x1 - x0, y1 - y0) / 2
    hole = r * canvas.rng.uniform(0.35, 0.55) if canvas.rng.random() < canvas.conventions.donut else 0.0
    angle = canvas.rng.uniform(0, 360)
    border = canvas.ground if canvas.rng.random() < 0.5 else (canvas.ink if canvas.outline else None)
    for i, mark in enumerate(marks):
        end = angle + 3.6 * mark.value
        canvas.draw.pieslice((cx - r, cy - r, cx + r, cy + r), angle, end, fill=colors[i], outline=border, width=3)
        for radius in (0.35, 0.6, 0.85):
            rho = hole + (r - hole) * radius
            for a in np.radians(np.linspace(angle, end, max(2, int(mark.value / 3)) + 2)[1:-1]):
                x, y = cx + rho * math.cos(a), cy + rho * math.sin(a)
                canvas.note(i, (x - 5, y - 5, x + 5, y + 5))
        if not place:
            a = math.radians((angle + end) / 2)
            x, y = cx + (r + 8) * math.cos(a), cy + (r + 14) * math.sin(a)
            anchor = "l" if math.cos(a) > 0.3 else "r" if math.cos(a) < -0.3 else "m"
            canvas.note(i, canvas.text(x, y, mark.label, anchor + "m"))
        angle = end
    if hole:
        canvas.draw.ellipse((cx - hole, cy - hole, cx + hole, cy + hole), fill=canvas.ground)
    if place:
        canvas.legend(marks, colors, place)


def polygon(shape: str, box: Box) -> list[tuple[float, float]]:
    """Corners of a shape inscribed in `box`."""
    x0, y0, x1, y1 = box
    cx, cy, r = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2
    if shape == "square":
        return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    if shape == "cross":
        a, b = r / 3, r
        offsets = [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b), (-a, b), (-a, a), (-b, a), (-b, -a),
                   (-a, -a)]  # fmt: skip
        return [(cx + dx, cy + dy) for dx, dy in offsets]
    corners = {"triangle": 3, "diamond": 4, "hexagon": 6, "star": 10}[shape]
    radii = [r if shape != "star" or k % 2 == 0 else 0.42 * r for k in range(corners)]
    turns = [2 * math.pi * k / corners - math.pi / 2 for k in range(corners)]
    return [(cx + q * math.cos(t), cy + q * math.sin(t)) for q, t in zip(radii, turns, strict=True)]


def _draw_layout(canvas: Canvas, scene: Scene) -> None:
    if canvas.conventions.hatch and canvas.rng.random() < 0.5:
        for y in range(0, FULL, 28):
            canvas.draw.line((0, y, FULL, y), fill=canvas.grid_color, width=2)
    for i, mark in enumerate(scene.marks):
        box = tuple(v * FULL for v in mark.box)
        color = canvas.shade(mark.color)
        outline = canvas.ink if canvas.outline else None
        if mark.shape == "circle":
            canvas.draw.ellipse(box, fill=color, outline=outline, width=3)
        else:
            canvas.draw.polygon(polygon(mark.shape, box), fill=color, outline=outline, width=3)
        canvas.note(i, box)
        if mark.label:
            ink, canvas.ink = canvas.ink, (255, 255, 255) if sum(color) < 380 else (0, 0, 0)
            canvas.text((box[0] + box[2]) / 2, (box[1] + box[3]) / 2, mark.label, "mm", canvas.font_size + 4)
            canvas.ink = ink


_DRAW = {"bar": _draw_bars, "hbar": _draw_bars, "line": _draw_series, "scatter": _draw_series, "pie": _draw_pie,
         "layout": _draw_layout}  # fmt: skip


def render(scene: Scene, variant: str, rng: np.random.Generator) -> Drawing:
    """Draws a scene.

    Args:
        scene (`Scene`): what to show.
        variant (`str`): a key of `VARIANTS`.
        rng (`np.random.Generator`): decides the look, never the content.

    Returns:
        `Drawing`.
    """
    canvas = Canvas(VARIANTS[variant], rng, len(scene.marks))
    _DRAW[scene.kind](canvas, scene)
    return Drawing(canvas.image.reduce(SCALE), canvas.parts, canvas.glyphs)


def render_page(variant: str, rng: np.random.Generator, tries: int = 60) -> tuple[Drawing, list[str]]:
    """Draws a page of names in any order and size, some of them turned: reading alone, for pre-training.

    Args:
        variant (`str`): a key of `VARIANTS`.
        rng (`np.random.Generator`): decides all.
        tries (`int`, *optional*, defaults to 60): names that are tried; those that would touch others are left out.

    Returns:
        `tuple`: the drawing, with one part for each name, and the names.
    """
    canvas = Canvas(VARIANTS[variant], rng, 0)
    taken = np.zeros((FULL, FULL), bool)
    written: list[str] = []
    words = [word for _ in range(tries // 4) for word in sample_words(rng, 4)]
    for word in words:
        angle = int(rng.choice((0, 0, 0, 45, 90)))
        size = int(rng.integers(*canvas.conventions.font_sizes))
        flat = _text_mask(canvas.family, size, word)
        turn = math.radians(angle)
        width = flat.width * math.cos(turn) + flat.height * math.sin(turn)
        height = flat.width * math.sin(turn) + flat.height * math.cos(turn)
        left, top = (float(rng.uniform(3, max(4, FULL - room - 3))) for room in (width, height))
        place = np.s_[int(top) : int(top + height) + 3, int(left) : int(left + width) + 3]
        if taken[place].any():
            continue
        taken[place] = True
        box = canvas.text(left, top, word, "lt", size, angle)
        canvas.parts.append([])
        canvas.note(len(written), box)
        written.append(word)
    return Drawing(canvas.image.reduce(SCALE), canvas.parts, canvas.glyphs), written
