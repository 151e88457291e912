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

MASTER = 64  # size in pixels that characters are drawn at
EDGE = MASTER // 4  # empty pixels at both sides of them
LEVELS = [round(level / 17) * 17 for level in range(256)]  # 16 shades from page to ink, for a picture of few colors
WHOLE = 2  # number of a character's bitmap at full size
Core = object  # Pillow's own image: its checks around it take longer than a character


@cache
def _font(family: str) -> ImageFont.FreeTypeFont:
    font = ImageFont.truetype(font_path(family), MASTER, layout_engine=ImageFont.Layout.BASIC)
    # Variable fonts may begin at their thinnest weight; the others have but one.
    with contextlib.suppress(OSError, ValueError):
        font.set_variation_by_name("Regular")
    return font


@cache
def _master_glyph(family: str, char: str) -> tuple[Image.Image, int, int, float]:
    """A character at size `MASTER`, `EDGE` from the left; where it begins and ends right of the pen, and how far the
    pen moves, in pixels. Other sizes are reduced from it: outlines of variable fonts take long."""
    font = _font(family)
    page = Image.new("L", (4 * MASTER, 2 * MASTER))
    ImageDraw.Draw(page).text((MASTER, 0), char, fill=255, font=font)
    left, _, right, _ = page.getbbox() or (MASTER, 0, MASTER + 1, 0)
    return page.crop((left - EDGE, 0, right + EDGE, page.height)), left - MASTER, right - MASTER, font.getlength(char)


@cache
def line_height(family: str, size: int) -> int:
    """Pixels from the top of a line of text to its bottom."""
    return math.ceil(sum(_font(family).getmetrics()) * size / MASTER)


class Letter:
    """A character of a font at one size: where it begins right of the pen, its width and how far the pen moves, in
    pixels."""

    __slots__ = ("_page", "_scale", "_start", "advance", "height", "left", "stamps", "width")

    def __init__(self, family: str, size: int, char: str) -> None:
        self._page, self._start, end, advance = _master_glyph(family, char)
        self._scale = MASTER / size
        self.height = line_height(family, size)
        self.left = math.floor(self._start / self._scale)
        self.width = math.ceil(end / self._scale) - self.left
        self.advance = advance / self._scale
        self.stamps: list[Core | None] = [None] * 3  # on the page, by the half pixel it begins at; at full size

    def stamp(self, kind: int) -> Core:
        """Draws a bitmap that is not there yet: one of two on the page, or the `WHOLE` one."""
        if kind == WHOLE:
            left = EDGE - self._start + self.left * self._scale
            box = (left, 0, left + self.width * self._scale, self.height * self._scale)
            self.stamps[kind] = self._page.im.resize((self.width, self.height), Image.Resampling.BOX, box)
        else:
            self.stamps[kind] = reduced(self.stamps[WHOLE] or self.stamp(WHOLE), kind, 0)
        return self.stamps[kind]


_letter = lru_cache(maxsize=50_000)(Letter)


class Line(NamedTuple):
    """A line of text: its characters, where they begin and where their middles are, in pixels from where it begins;
    its width and height."""

    letters: list[Letter]
    lefts: list[int]
    middles: list[float]
    width: int
    height: int

    def write(self, pen: Core, left: int, row: int, ink: int) -> None:
        """Writes on a page half as large, from one of its rows."""
        for letter, start in zip(self.letters, self.lefts, strict=True):
            x = left + start
            half = x & 1
            pen.draw_bitmap((x >> 1, row), letter.stamps[half] or letter.stamp(half), ink)

    def turned(self, angle: int) -> Image.Image:
        """Its bitmap at full size, turned to the left by some degrees."""
        mask = Image.new("L", (self.width, self.height))
        pen = ImageDraw.Draw(mask).draw
        for letter, start in zip(self.letters, self.lefts, strict=True):
            pen.draw_bitmap((start, 0), letter.stamps[WHOLE] or letter.stamp(WHOLE), 255)
        return mask.rotate(angle, Image.Resampling.BILINEAR, expand=True)


def reduced(mask: Core, right: int, down: int) -> Core:
    """A bitmap on a page half as large, that begins some pixels right of a whole one and below it, with few levels."""
    width, height = (side + shift + 1 & ~1 for side, shift in zip(mask.size, (right, down), strict=True))
    part = mask.crop((-right, -down, width - right, height - down))
    return part.reduce((2, 2), (0, 0, width, height)).point(LEVELS, None)


@lru_cache(maxsize=20_000)
def set_line(family: str, size: int, text: str) -> Line:
    """Puts a text together."""
    letters, lefts, middles, width, pen = [], [], [], 1, 0.0
    for char in text:
        letter = _letter(family, size, char)
        if not lefts:
            pen = -letter.left
        begin = round(pen + letter.left)
        letters.append(letter)
        lefts.append(begin)
        middles.append(pen + letter.advance / 2)
        width = max(width, begin + letter.width)
        pen += letter.advance
    return Line(letters, lefts, middles, width, line_height(family, size))
