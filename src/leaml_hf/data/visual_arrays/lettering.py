"""Letters and lines of text, put together from cached bitmaps of characters.

A page is half as large as the pixels that things are placed in. Lines stand on whole pixels of the page; a character
has a bitmap for each half of a pixel that it may begin at.
"""

import contextlib
import math
from functools import cache, lru_cache
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from .conventions import font_path

SCALE = 2  # pixels that things are placed in, across one of a page
MASTER = 64  # size in pixels that characters are drawn at
EDGE = MASTER // 4  # empty pixels at both sides of them
LEVELS = [round(level / 17) * 17 for level in range(256)]  # 16 shades from page to ink, for a picture of few colors
Box = tuple[int, int, int, int]
_DIRECTION = {angle: (math.cos(math.radians(angle)), math.sin(math.radians(angle))) for angle in (45, 90)}
Core = object  # Pillow's own image: its checks around it take longer than a character


@cache
def _font(family: str) -> ImageFont.FreeTypeFont:
    font = ImageFont.truetype(font_path(family), MASTER, layout_engine=ImageFont.Layout.BASIC)
    # Variable fonts may begin at their thinnest weight; the others have but one.
    with contextlib.suppress(OSError, ValueError):
        font.set_variation_by_name("Regular")
    return font


@cache
def _master_glyph(family: str, char: str) -> tuple[Image.Image, Box, float]:
    """A character at size `MASTER`, `EDGE` from the left; its box (left, top, right, bottom) from the pen, and how
    far the pen moves, in pixels. Other sizes are reduced from it: outlines of variable fonts take long."""
    font = _font(family)
    page = Image.new("L", (4 * MASTER, 2 * MASTER))
    ImageDraw.Draw(page).text((MASTER, 0), char, fill=255, font=font)
    left, top, right, bottom = page.getbbox() or (MASTER, 0, MASTER + 1, 1)
    glyph = page.crop((left - EDGE, 0, right + EDGE, page.height))
    return glyph, (left - MASTER, top, right - MASTER, bottom), font.getlength(char)


@cache
def line_height(family: str, size: int) -> int:
    """Pixels from the top of a line of text to its bottom."""
    return math.ceil(sum(_font(family).getmetrics()) * size / MASTER)


class Letter:
    """A character of a font at one size: where it begins right of the pen, its width and how far the pen moves, in
    pixels; the row of the page, counted from the top of the line, that its bitmaps there begin at."""

    __slots__ = ("_box", "_page", "_rows", "_turned", "_whole", "advance", "left", "row", "stamps", "width")

    def __init__(self, family: str, size: int, char: str) -> None:
        scale = MASTER / size
        self._page, (start, top, end, bottom), advance = _master_glyph(family, char)
        self.left = math.floor(start / scale)
        self.width = math.ceil(end / scale) - self.left
        self.advance = advance / scale
        self.row = int(top / scale) // SCALE
        rows = self.row * SCALE, min(int(bottom / scale) + 1, line_height(family, size))
        left = EDGE - start + self.left * scale
        self._box = left, rows[0] * scale, left + self.width * scale, rows[1] * scale
        self._rows = rows[1] - rows[0]
        self._whole: Core | None = None
        self.stamps: list[Core | None] = [None, None]  # bitmaps on the page, by the half pixel that it begins at
        self._turned: dict[int, Turned] = {}

    @property
    def whole(self) -> Core:
        """Its bitmap at full size, without the empty rows above and below it."""
        if self._whole is None:
            self._whole = self._page.im.resize((self.width, self._rows), Image.Resampling.BOX, self._box)
        return self._whole

    def stamp(self, half: int) -> Core:
        """Draws one of `stamps` that is not there yet."""
        self.stamps[half] = reduced(self.whole, half, 0)
        return self.stamps[half]

    def turned(self, angle: int) -> "Turned":
        """Itself, turned to the left by some degrees."""
        found = self._turned.get(angle)
        if found is None:
            found = self._turned[angle] = Turned(self.whole, angle)
        return found

    @property
    def middle(self) -> float:
        """Row of its bitmap's middle at full size, from the top of the line."""
        return self.row * SCALE + self._rows / 2


class Turned:
    """A turned character: half its bitmap's width and height at full size, and its bitmaps on the page, by the half
    pixels that it begins at."""

    __slots__ = ("_whole", "half_height", "half_width", "stamps")

    def __init__(self, upright: Core, angle: int) -> None:
        mask = Image.new("L", upright.size)
        mask.im.paste(upright, (0, 0, *upright.size))
        self._whole = mask.rotate(angle, Image.Resampling.BILINEAR, expand=True).im
        self.half_width, self.half_height = self._whole.size[0] / 2, self._whole.size[1] / 2
        self.stamps: list[Core | None] = [None] * 4

    def stamp(self, place: int) -> Core:
        """Draws one of `stamps` that is not there yet."""
        self.stamps[place] = reduced(self._whole, place & 1, place >> 1)
        return self.stamps[place]


class _Alphabet(dict):
    """The letters of a font at one size, made when they are first asked for."""

    def __init__(self, family: str, size: int) -> None:
        super().__init__()
        self.font = family, size

    def __missing__(self, char: str) -> Letter:
        letter = self[char] = Letter(*self.font, char)
        return letter


_alphabet = cache(_Alphabet)


class Line(NamedTuple):
    """A line of text: its characters and where they begin, in pixels from where it begins; its width and height."""

    letters: list[Letter]
    lefts: list[int]
    width: int
    height: int

    @property
    def middles(self) -> list[float]:
        """Where the middles of its characters are, in pixels from where it begins."""
        pen, middles = -self.letters[0].left if self.letters else 0, []
        for letter in self.letters:
            middles.append(pen + letter.advance / 2)
            pen += letter.advance
        return middles

    def write(self, pen: Core, left: int, row: int, ink: int) -> None:
        """Writes on a page half as large, from one of its rows."""
        draw = pen.draw_bitmap
        for letter, start in zip(self.letters, self.lefts, strict=True):
            x = left + start
            draw((x >> 1, row + letter.row), letter.stamps[x & 1] or letter.stamp(x & 1), ink)

    def turned_size(self, angle: int) -> tuple[int, int]:
        """Width and height of the box around it when it is turned by 0 to 90 degrees."""
        right, up = _DIRECTION[angle]
        return math.ceil(self.width * right + self.height * up), math.ceil(self.width * up + self.height * right)

    def write_turned(self, pen: Core, x: float, y: float, angle: int, ink: int) -> None:
        """Writes on a page half as large, turned to the left around its middle at x, y."""
        right, up = _DIRECTION[angle]
        draw, middle, centre = pen.draw_bitmap, self.width / 2, self.height / 2
        for letter, start in zip(self.letters, self.lefts, strict=True):
            turned, along, down = letter.turned(angle), start + letter.width / 2 - middle, letter.middle - centre
            left = round(x + along * right + down * up - turned.half_width)
            top = round(y - along * up + down * right - turned.half_height)
            place = (left & 1) + 2 * (top & 1)
            draw((left >> 1, top >> 1), turned.stamps[place] or turned.stamp(place), ink)


def reduced(mask: Core, right: int, down: int) -> Core:
    """A bitmap on a page half as large, that begins some pixels right of a whole one and below it, with few levels."""
    width, height = mask.size
    width, height = width + right + 1 & ~1, height + down + 1 & ~1
    part = mask.crop((-right, -down, width - right, height - down))
    return part.reduce((SCALE, SCALE), (0, 0, width, height)).point(LEVELS, None)


@lru_cache(maxsize=20_000)
def set_line(family: str, size: int, text: str) -> Line:
    """Puts a text together."""
    letters = [*map(_alphabet(family, size).__getitem__, text)]
    pen, lefts, width = -letters[0].left if letters else 0, [], 1
    for letter in letters:
        start = round(pen + letter.left)
        lefts.append(start)
        if start + letter.width > width:  # sooner than `max`
            width = start + letter.width
        pen += letter.advance
    return Line(letters, lefts, width, line_height(family, size))
