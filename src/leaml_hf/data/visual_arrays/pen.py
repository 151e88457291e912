"""Draws shapes with smoothed edges on a page, in pixels of twice its size (Pillow does not smooth shapes).

What runs along the page is blended straight on it, by the part of each pixel that it covers; all else is drawn on a
close-up: a part of the page at double size, which is reduced when it is finished.
"""

import contextlib
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache

import numpy as np
from PIL import Image, ImageDraw

from .lettering import SCALE, Core

Box = tuple[float, float, float, float]
Color = tuple[int, int, int]


@lru_cache(maxsize=4096)
def _edge(length: int, first: bool, last: bool, upright: bool) -> Core:
    """A mask of half-covered pixels in a row or column; of those at its ends, a quarter may be covered."""
    levels = [128] * length
    if first:
        levels[0] = 64
    if last:
        levels[-1] = 64
    mask = Image.new("L", (1, length) if upright else (length, 1))
    mask.putdata(levels)
    return mask.im


@lru_cache(maxsize=4096)
def _oval(width: int, height: int, right: int, down: int, rim: int) -> Core:
    """A mask of an ellipse, or of its rim, that begins some pixels right of the corner and below it."""
    size = [-(-side // SCALE) * SCALE for side in (width + right, height + down)]
    mask, box = Image.new("L", size), (right, down, right + width - 1, down + height - 1)
    ImageDraw.Draw(mask).ellipse(box, **({"outline": 255, "width": rim} if rim else {"fill": 255}))
    return mask.reduce(SCALE).im


def _bare(image: Image.Image) -> Core:
    """What `ImageDraw` draws with, without its checks, which take longer than a small shape."""
    return Image.core.draw(image.im, 0)


class Pen:
    """Draws on a page."""

    def __init__(self, page: Image.Image) -> None:
        self.page = page
        self.core = _bare(page)

    def _fill(self, left: int, top: int, right: int, bottom: int, ink: int) -> None:
        """Fills a box of whole pixels at double size; right and bottom are the first outside."""
        core = self.core
        x0, y0, x1, y1 = (left + 1) >> 1, (top + 1) >> 1, right >> 1, bottom >> 1
        if x0 < x1 and y0 < y1:
            core.draw_rectangle((x0, y0, x1 - 1, y1 - 1), ink, 1)
        at_left, at_right = left & 1, right & 1
        if top & 1 or bottom & 1:
            start = left >> 1
            length = ((right + 1) >> 1) - start
            edge = _edge(length, at_left, at_right, False)
            if top & 1:
                core.draw_bitmap((start, y0 - 1), edge, ink)
            if bottom & 1:
                core.draw_bitmap((start, y1), edge, ink)
        if (at_left or at_right) and y0 < y1:
            edge = _edge(y1 - y0, False, False, True)
            if at_left:
                core.draw_bitmap((x0 - 1, y0), edge, ink)
            if at_right:
                core.draw_bitmap((x1, y0), edge, ink)

    def rectangle(self, box: Box, fill: Color | None = None, outline: Color | None = None, width: int = 1) -> None:
        left, top, right, bottom = map(int, box)
        right, bottom = right + 1, bottom + 1
        if outline is not None:
            ink = self.core.draw_ink(outline)
            if fill is None:
                self._fill(left, top, right, top + width, ink)
                self._fill(left, bottom - width, right, bottom, ink)
                self._fill(left, top + width, left + width, bottom - width, ink)
                self._fill(right - width, top + width, right, bottom - width, ink)
                return
            self._fill(left, top, right, bottom, ink)
            left, top, right, bottom = left + width, top + width, right - width, bottom - width
        if left < right and top < bottom:
            self._fill(left, top, right, bottom, self.core.draw_ink(fill))

    def line(self, points: Sequence, fill: Color, width: int = 1, joint: str | None = None) -> None:
        spots = _flat(points)
        whole = list(map(int, spots))
        steps = list(zip(whole[::2], whole[1::2], whole[2::2], whole[3::2], strict=False))
        for x0, y0, x1, y1 in steps:
            if x0 != x1 and y0 != y1:
                xs, ys = spots[::2], spots[1::2]
                with self.close_up((min(xs) - width, min(ys) - width, max(xs) + width, max(ys) + width)) as near:
                    near.line(spots, fill, width, joint)
                return
        before, behind = (width - 1) // 2, width // 2 + 1
        ink = self.core.draw_ink(fill)
        for x0, y0, x1, y1 in steps:
            if y0 == y1:
                left, right = (x0, x1) if x0 < x1 else (x1, x0)
                self._fill(left, y0 - before, right + 1, y0 + behind, ink)
            else:
                top, bottom = (y0, y1) if y0 < y1 else (y1, y0)
                self._fill(x0 - before, top, x0 + behind, bottom + 1, ink)

    def ellipse(self, box: Box, fill: Color | None = None, outline: Color | None = None, width: int = 1) -> None:
        left, top, right, bottom = map(int, box)
        if outline is not None and fill is not None:
            self._oval(left, top, right, bottom, outline)
            self._oval(left + width, top + width, right - width, bottom - width, fill)
        else:
            self._oval(left, top, right, bottom, outline or fill, width if outline else 0)

    def _oval(self, left: int, top: int, right: int, bottom: int, color: Color, rim: int = 0) -> None:
        if left <= right and top <= bottom:
            mask = _oval(right + 1 - left, bottom + 1 - top, left & 1, top & 1, rim)
            self.core.draw_bitmap((left >> 1, top >> 1), mask, self.core.draw_ink(color))

    def rounded_rectangle(self, box: Box, **look) -> None:
        with self.close_up(box) as near:
            near.rounded_rectangle(box, **look)

    def polygon(self, points: Sequence, fill: Color, **look) -> None:
        spots = _flat(points)
        with self.close_up((min(spots[::2]), min(spots[1::2]), max(spots[::2]), max(spots[1::2]))) as near:
            near.polygon(spots, fill, **look)

    @contextlib.contextmanager
    def close_up(self, box: Box, is_empty: bool = False) -> Iterator["CloseUp"]:
        """A part of the page at double size to draw on, in the same pixels; nothing else may draw there meanwhile."""
        # at least one pixel, and none beyond the page
        width, height = self.page.size
        left, top, right, bottom = (int(v) // SCALE for v in box)
        left, top = min(max(0, left), width - 1), min(max(0, top), height - 1)
        right, bottom = min(max(right, left) + 1, width), min(max(bottom, top) + 1, height)
        size = ((right - left) * SCALE, (bottom - top) * SCALE)
        if is_empty:
            part = Image.new(self.page.mode, size, self.page.getpixel((left, top)))
        else:
            part = self.page.resize(size, Image.Resampling.NEAREST, (left, top, right, bottom))
        yield CloseUp(part, left * SCALE, top * SCALE)
        # by Pillow's own images again: their wrappers take as long as a small part
        self.page.im.paste(part.im.reduce((SCALE, SCALE), (0, 0, *size)), (left, top, right, bottom))


class CloseUp:
    """Draws on a part of a page at double size that begins at `left`, `top`."""

    def __init__(self, part: Image.Image, left: int, top: int) -> None:
        self.part, self.core = part, _bare(part)
        self.left, self.top = left, top

    @cached_property
    def draw(self) -> ImageDraw.ImageDraw:
        return ImageDraw.Draw(self.part)

    def _moved(self, points: Sequence) -> list[float]:
        if isinstance(points, np.ndarray):
            return (points - (self.left, self.top)).ravel().tolist()
        spots = _flat(points)
        spots[::2], spots[1::2] = [x - self.left for x in spots[::2]], [y - self.top for y in spots[1::2]]
        return spots

    def rectangle(self, box: Box, **look) -> None:
        self.draw.rectangle(self._moved(box), **look)

    def rounded_rectangle(self, box: Box, **look) -> None:
        self.draw.rounded_rectangle(self._moved(box), **look)

    def ellipse(self, box: Box, **look) -> None:
        self.draw.ellipse(self._moved(box), **look)

    def polygon(self, points: Sequence, fill: Color, **look) -> None:
        if look:
            self.draw.polygon(self._moved(points), fill, **look)
        else:
            self.core.draw_polygon(self._moved(points), self.core.draw_ink(fill), 1)

    def line(self, points: Sequence, fill: Color, width: int = 1, joint: str | None = None) -> None:
        """A line; its joints are round if there is a `joint`."""
        spots, core = self._moved(points), self.core
        ink = core.draw_ink(fill)
        core.draw_lines(spots, ink, width)
        if joint and width > 2:
            before, behind = (width - 1) // 2, width // 2
            for x, y in zip(spots[2:-2:2], spots[3:-2:2], strict=True):
                core.draw_ellipse((int(x) - before, int(y) - before, int(x) + behind, int(y) + behind), ink, 1)


def _flat(points: Sequence) -> list[float]:
    """Points as pairs (an array or a list), or one after the other, in one list."""
    if isinstance(points, np.ndarray):
        return points.ravel().tolist()
    return [v for point in points for v in point] if isinstance(points[0], (tuple, list)) else list(points)
