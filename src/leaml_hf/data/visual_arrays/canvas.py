"""The page that a picture is drawn on: text, fills, legends, axes, and where each part and character stands.

Places are in pixels of twice the page's size, `FULL` across.
"""

import contextlib
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .conventions import TITLE_WORDS, Conventions
from .draws import Draws
from .lettering import set_line
from .pen import SCALE, Box, CloseUp, Color, Pen
from .pictures import Backdrop, Source
from .scenes import Mark, Scene

SIZE = 224
FULL = SIZE * SCALE
_SHARES = {"l": 0.0, "t": 0.0, "m": 0.5, "r": 1.0, "b": 1.0}
# anchor -> shares of a text that lie left of it and above it
_BEFORE = {across + down: (_SHARES[across], _SHARES[down]) for across in "lmr" for down in "tmb"}
RIM = 3  # pixels of the page's colour around what is drawn over a picture
_STEEP = [min(255, 8 * level) for level in range(256)]


class Glyph(NamedTuple):
    """One written character: its centre in [0, 1], and whether its line runs straight upwards."""

    char: str
    x: float
    y: float
    upwards: bool = False


class Text(NamedTuple):
    """A written text: its font and size, its middle in pixels and its angle."""

    text: str
    family: str
    size: int
    x: float
    y: float
    angle: int

    def glyphs(self) -> Iterator[Glyph]:
        right, up = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))  # of a pixel along the text
        line = set_line(self.family, self.size, self.text)
        for char, middle in zip(self.text, line.middles, strict=True):
            along = middle - line.width / 2
            yield Glyph(char, (self.x + along * right) / FULL, (self.y - along * up) / FULL, self.angle == 90)


class Written:
    """What has `texts`, of which every character can be told when it is asked for."""

    texts: list[Text]

    @property
    def glyphs(self) -> list[Glyph]:
        """Every written character."""
        return [glyph for text in self.texts for glyph in text.glyphs()]


@dataclass
class Drawing(Written):
    """A 224 x 224 RGB picture, the boxes of each mark's parts (in [0, 1]), what is written, the boxes of
    annotations that belong to no mark, and the real picture behind it all, where there is one."""

    image: Image.Image
    parts: list[list[Box]]
    texts: list[Text]
    annotations: dict[str, list[Box]]
    source: Source | None = None


def _share_of_page(box: Box) -> Box:
    left, top, right, bottom = box
    if left < 0 or top < 0 or right > FULL or bottom > FULL:
        return tuple([0.0 if v < 0 else 1.0 if v > FULL else v / FULL for v in box])
    return left / FULL, top / FULL, right / FULL, bottom / FULL


@cache
def _card(level: int) -> Image.Image:
    """A mask of `level` (0 to 255) but for a narrow edge of the page."""
    mask = Image.new("L", (FULL, FULL))
    ImageDraw.Draw(mask).rounded_rectangle((8, 8, FULL - 9, FULL - 9), radius=14, fill=level)
    return mask.reduce(SCALE)


class Canvas(Written):
    """A page with the look that one picture has, and the parts drawn on it so far; with a backdrop, the
    page is transparent until `settle`."""

    def __init__(self, conventions: Conventions, rng: Draws, num_marks: int, backdrop: Backdrop | None = None) -> None:
        c = self.conventions = conventions
        self.rng = rng
        self.ground = c.grounds[rng.integers(len(c.grounds))]
        dark = sum(self.ground) < 300
        self.ink = (225, 225, 225) if dark else (rng.integers(0, 90),) * 3
        self.grid_color = tuple([int(g + (i - g) * 0.22) for g, i in zip(self.ground, self.ink, strict=True)])
        self.family = c.fonts[rng.integers(len(c.fonts))]
        self.font_size = rng.integers(c.font_sizes[0], c.font_sizes[1] + 1)
        self.legend_size = self.font_size
        self.outline = rng.random() < c.outline
        self.hatched = rng.random() < c.hatch
        self.opposite = rng.random() < c.value_axis_opposite  # the value axis is at the right or the top
        self.corner = rng.integers(0, 16)  # of boxes, in pixels
        self.backdrop = backdrop
        # with a backdrop, the fourth channel tells what is drawn (of RGBA, `reduce` would weigh colours by it)
        mode, color = ("RGBX", (*self.ground, 0)) if backdrop else ("RGB", self.ground)
        self.image = Image.new(mode, (SIZE, SIZE), color)
        self.draw: Pen | CloseUp = Pen(self.image)
        self.parts: list[list[Box]] = [[] for _ in range(num_marks)]
        self.texts: list[Text] = []
        self.annotations: dict[str, list[Box]] = {}

    def settle(self) -> None:
        """Lays what is drawn over the backdrop, all of it with a rim in the page's colour, so that it can be read."""
        if self.backdrop is None:
            return
        page, drawn = self.backdrop.image.copy(), self.image
        if self.backdrop.wash:
            page.paste(self.ground, (0, 0), _card(round(255 * self.backdrop.wash)))
        rim = drawn.getchannel("X").filter(ImageFilter.BoxBlur(RIM / SCALE)).point(_STEEP)
        page.paste(drawn.convert("RGB"), (0, 0), rim)
        self.image = page
        self.draw = Pen(page)

    @contextlib.contextmanager
    def close_up(self, box: Box, is_empty: bool = False) -> Iterator[None]:
        """Draws several slanted or round shapes within a box at once, which saves time, more if nothing is drawn there
        yet; no text meanwhile."""
        pen = self.draw
        with pen.close_up(box, is_empty) as self.draw:
            yield
        self.draw = pen

    def choice(self, options: tuple) -> object:
        return options[self.rng.integers(len(options))]

    def shade(self, name: str) -> Color:
        """A shade of the named colour that stands out from the page."""
        anchors, jitter = self.conventions.shades[name], self.conventions.shade_jitter
        draw = self.rng.integers
        red, green, blue = anchors[draw(len(anchors))]
        red += (offset := draw(-jitter, jitter + 1))
        is_gray = name in ("gray", "black")  # a tint would make them another colour
        green += offset if is_gray else draw(-jitter, jitter + 1)
        blue += offset if is_gray else draw(-jitter, jitter + 1)
        page = self.ground
        away = 0
        if abs(red - page[0]) + abs(green - page[1]) + abs(blue - page[2]) < 60:  # black on a dark page, say
            away = 45 if sum(page) < 380 else -45
        return tuple([0 if v < 0 else 255 if v > 255 else v for v in (red + away, green + away, blue + away)])

    def text(self, x: float, y: float, text: str, anchor: str = "mm", size: int | None = None, angle: int = 0) -> Box:
        """Writes `text` with its anchor (l/m/r, t/m/b) at x, y, turned by `angle` degrees to the left; returns its box
        in pixels, kept inside the page."""
        size = size or self.font_size
        line = set_line(self.family, size, text)
        width, height = line.width, line.height
        if angle:
            width, height = line.turned_size(angle)
        across, down = _BEFORE[anchor]
        left = min(max(2, x - width * across), FULL - width - 2)
        top = min(max(1, y - height * down), FULL - height - 1)
        pen = self.draw.core
        ink = pen.draw_ink(self.ink)
        if angle:
            line.write_turned(pen, left + width / 2, top + height / 2, angle, ink)
        else:
            row = round(top / SCALE)
            top = row * SCALE
            line.write(pen, int(left), row, ink)
        self.texts.append(Text(text, self.family, size, left + width / 2, top + height / 2, angle))
        return left, top, left + width, top + height

    def text_width(self, text: str, size: int | None = None) -> int:
        return set_line(self.family, size or self.font_size, text).width

    def note(self, mark: int, *boxes: Box) -> None:
        """Records pixel boxes as parts of a mark, or of a cell behind the marks, in [0, 1]."""
        while mark >= len(self.parts):
            self.parts.append([])
        self.parts[mark] += map(_share_of_page, boxes)

    def note_all(self, boxes: np.ndarray, counts: Iterable[int]) -> None:
        """Records pixel boxes `[n, 4]`, so many for each mark in turn, as their parts."""
        shares = zip(*(boxes / FULL).clip(0, 1).T.tolist(), strict=True)
        for parts, count in zip(self.parts, counts, strict=True):
            parts += itertools.islice(shares, count)

    def note_spots(self, spots: Sequence[np.ndarray], reach: float) -> None:
        """Records squares around pixels, `[n, 2]` for each mark, as its parts."""
        together = np.concatenate(spots)
        self.note_all(np.concatenate([together - reach, together + reach], 1), map(len, spots))

    def annotate(self, name: str, *boxes: Box) -> None:
        """Records pixel boxes of what belongs to no mark."""
        self.annotations.setdefault(name, []).extend(_share_of_page(box) for box in boxes)

    def fill_box(self, box: Box, color: Color) -> None:
        left, top, right, bottom = box
        self.draw.rectangle(box, fill=color, outline=self.ink if self.outline else None, width=2)
        if self.hatched:
            line = tuple(int(0.6 * v) for v in color)
            with self.close_up(box):
                for start in range(int(left - (bottom - top)), int(right), 14):
                    a, b = max(start, left), min(start + (bottom - top), right)
                    if b > a:
                        self.draw.line((a, bottom - (a - start), b, bottom - (b - start)), fill=line, width=2)

    def legend_place(self, scene: Scene) -> str | None:
        """Where the legend goes, its print as small as the page needs; `None` where names stand at their marks."""
        if not scene.has_key:
            return None
        place = self.choice(self.conventions.legend_places)
        beside = place in ("right", "left")
        while self.legend_size > 12 and (self.legend_width(scene.marks) > 0.4 * FULL if beside
                                         else self.legend_rows(scene.marks)[1] > 3):  # fmt: skip
            self.legend_size -= 1
        return place

    def legend_width(self, marks: list[Mark]) -> float:
        """Pixels across of the longest entry."""
        return max(map(self._entry_width, marks))

    def _entry_width(self, mark: Mark) -> float:
        return set_line(self.family, self.legend_size, mark.label).width + self.legend_size + 14

    def legend_rows(self, marks: list[Mark]) -> tuple[list[tuple[float, int]], int]:
        """Left edge and row of each entry of a legend above or below the plot, and the number of rows."""
        spots, x, line = [], 8.0, 0
        for mark in marks:
            width = self._entry_width(mark)
            if spots and x + width > FULL - 4:
                x, line = 8.0, line + 1
            spots.append((x, line))
            x += width
        return spots, line + 1

    def legend(self, marks: list[Mark], colors: list[Color], place: str) -> None:
        """Swatches with names; the room that `plot_area` left at `place` is used."""
        size = self.legend_size
        row = size + 8
        if place in ("right", "left"):
            x = FULL - self.legend_width(marks) - 4 if place == "right" else 6
            y = max(30, (FULL - row * len(marks)) / 2)
            spots = [(x, y + i * row) for i in range(len(marks))]
            if self.conventions.legend_headings:
                heading = self.choice(self.conventions.legend_headings)
                self.text(x, y - 4, heading, "lb", size)
                frame = (x - 4, y - size - 8, x + self.legend_width(marks) - 2, y + row * len(marks) + 2)
                self.draw.rectangle(frame, outline=self.ink, width=2)
        else:
            wrapped, rows = self.legend_rows(marks)
            y = 40 if place == "top" else FULL - rows * row - 4
            spots = [(x, y + line * row) for x, line in wrapped]
        kind = self.choice(self.conventions.swatches)
        for i, (x, y) in enumerate(spots):
            swatch = (x, y + 3, x + size - 4, y + size - 1)
            self._swatch(kind, swatch, colors[i])
            self.note(i, swatch, self.text(x + size + 2, y + size / 2 + 1, marks[i].label, "lm", size))

    def _swatch(self, kind: str, box: Box, color: Color) -> None:
        if kind == "square":
            self.fill_box(box, color)
        elif kind == "disc":
            self.draw.ellipse(box, fill=color, outline=self.ink if self.outline else None, width=2)
        else:
            middle = (box[1] + box[3]) / 2
            self.draw.line((box[0], middle, box[2], middle), fill=color, width=6)

    def tag(self, box: Box, text: str, size: int) -> Box:
        """Writes a name on a tag at the upper edge of a box; returns the tag's box."""
        width, middle = self.text_width(text, size) + 8, (box[0] + box[2]) / 2
        half = 0.6 * size
        place = (middle - width / 2, box[1] - half, middle + width / 2, box[1] + half)
        self.draw.rounded_rectangle(place, radius=5, fill=self.ground, outline=self.ink, width=2)
        self.text(middle, box[1], text, "mm", size)
        return place

    def plot_area(self, left: float, right: float, top: float, bottom: float) -> None:
        """Margins in pixels around the plot; draws its ground."""
        self.area = (left, top, FULL - right, FULL - bottom)
        ground = self.choice(self.conventions.plot_grounds)
        if ground is not None and sum(self.ground) > 380 and self.backdrop is None:
            self.draw.rectangle(self.area, fill=ground)

    def title(self) -> bool:
        if self.rng.random() < 0.5:
            return False
        self.text(FULL / 2, 4, f"{self.choice(TITLE_WORDS)} {self.choice(TITLE_WORDS)}", "mt", self.font_size + 3)
        return True

    def axis_title(self, vertical: bool, margin: dict[str, float]) -> float:
        """Writes a title along the value axis, inside the margins, now and then; returns the room it takes."""
        if self.rng.random() >= self.conventions.axis_titles:
            return 0.0
        text = self.choice(TITLE_WORDS)
        if self.conventions.units:
            text = f"{text} ({self.choice(self.conventions.units)})"
        if vertical:
            self.text(margin["left"] - 6, FULL / 2, text, "lm", angle=90)
        else:
            self.text(FULL / 2, FULL - margin["bottom"] + 10, text, "mb")
        return self.font_size + 4

    def value_axis(self, scene: Scene, vertical: bool, mirrored: bool = False) -> None:
        """Ticks with numbers, grid lines and spines; values rise upwards (`vertical`), to the right, or to the left
        (`mirrored`)."""
        x0, y0, x1, y1 = self.area
        c = self.conventions
        opposite = self.opposite
        grid, spines = self.choice(c.grids), self.choice(c.spines)
        room = (x1 - x0) * scene.every / scene.reach
        crowded = 1
        while not vertical and self._widest_number(scene) + 8 > room * crowded:
            crowded += 1
        for tick, number in scene.tick_texts.items():
            if vertical:
                y = y1 - (y1 - y0) * tick / scene.reach
                self.text(x1 + 6 if opposite else x0 - 6, y, number, "lm" if opposite else "rm")
                line = (x0, y, x1, y)
            else:
                x = x1 - (x1 - x0) * tick / scene.reach if mirrored else x0 + (x1 - x0) * tick / scene.reach
                if tick % (scene.every * crowded) == 0:
                    self.text(x, y0 - 4 if opposite else y1 + 4, number, "mb" if opposite else "mt")
                line = (x, y0, x, y1)
            if grid in ("value", "both"):
                self.draw.line(line, fill=self.grid_color, width=2)
            elif grid in ("dashed", "dotted"):
                self.broken_line(line, 10 if grid == "dashed" else 3, self.grid_color)
        if c.minor_ticks:
            for tick in np.arange(0, scene.reach, scene.every / 4):
                along = tick / scene.reach
                if vertical:
                    x, y = (x1 if opposite else x0), y1 - (y1 - y0) * along
                    self.draw.line((x - 4, y, x + 4, y), fill=self.ink, width=2)
                else:
                    x, y = (x1 - (x1 - x0) * along if mirrored else x0 + (x1 - x0) * along), y0 if opposite else y1
                    self.draw.line((x, y - 4, x, y + 4), fill=self.ink, width=2)
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
        return max(map(self.text_width, scene.tick_texts.values()))

    def number_room(self, scene: Scene) -> int:
        """Pixels that the numbers of the value axis take beside it."""
        return self._widest_number(scene) + 12

    def broken_line(self, line: Box, dash: int, color: Color) -> None:
        x0, y0, x1, y1 = line
        steps = int(max(abs(x1 - x0), abs(y1 - y0)) // (2 * dash))
        for i in range(steps):
            a, b = i / steps, (i + 0.5) / steps
            points = (x0 + (x1 - x0) * a, y0 + (y1 - y0) * a, x0 + (x1 - x0) * b, y0 + (y1 - y0) * b)
            self.draw.line(points, fill=color, width=2)

    def arrow_head(self, tip: tuple[float, float], towards: tuple[float, float], length: float) -> None:
        """A filled head that ends at `tip` and points along the unit vector `towards`; as wide as it is long."""
        (x, y), (ux, uy) = tip, towards
        back, side = (x - ux * length, y - uy * length), (-uy * length * 0.5, ux * length * 0.5)
        self.draw.polygon([tip, (back[0] + side[0], back[1] + side[1]), (back[0] - side[0], back[1] - side[1])],
                          fill=self.ink)  # fmt: skip

    def marker(self, kind: str, x: float, y: float, r: float, color: Color) -> None:
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

    def stroke(self, points: Sequence, color: Color, width: int = 3) -> None:
        """A line through points, in pixels, with round joints."""
        self.draw.line(points, fill=color, width=width, joint="curve")

    def text_on(self, fill: Color, x: float, y: float, text: str, size: int) -> Box:
        """Writes a text around x, y in black or white, whichever stands out from what it is written on."""
        ink, self.ink = self.ink, (15, 15, 15) if sum(fill) > 380 else (245, 245, 245)
        box = self.text(x, y, text, "mm", size)
        self.ink = ink
        return box
