"""The `noise` variant: clutter, partial visibility and sensor noise over a finished picture.

What decides an answer stays readable: nothing opaque covers a character, an end or corner of a mark, or much of one.
"""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .canvas import FULL, Canvas
from .conventions import Noise
from .pen import SCALE, Box
from .scenes import Scene
from .words import sample_words

COVERED = 0.2  # of a mark's boxes, at most, by one patch
SHAPED = ("layout", "annotated")  # tasks that ask about shapes: patches are stains there, which nobody counts as one
DROPS = 9  # of a stain
SCALES = (1.0, 0.7, 0.5)  # of a patch, until there is room for it


def clutter(canvas: Canvas, noise: Noise, scene: Scene, rng: np.random.Generator) -> None:
    """Draws patches, scribbles and strangers on a page.

    Args:
        canvas (`Canvas`): with a finished drawing.
        noise (`Noise`): how much.
        scene (`Scene`): what it shows; no stranger has the name of one of its marks.
        rng (`np.random.Generator`): decides.
    """
    parts = [np.array(boxes).reshape(-1, 4) * FULL for boxes in canvas.parts]
    written = np.array([(glyph.x * FULL, glyph.y * FULL) for glyph in canvas.glyphs]).reshape(-1, 2)
    names = {mark.label for mark in scene.marks}
    # slices are many small boxes, whose corners decide nothing
    ends = np.zeros((0, 2)) if scene.kind == "pie" else np.concatenate([_corners(boxes) for boxes in parts])
    fixed = [_corners(np.array(boxes) * FULL) for boxes in canvas.annotations.values()]
    untouched = np.concatenate([written, ends, *fixed])
    covered = 0.0 if scene.kind == "circuit" else COVERED  # every bit of wire matters
    kept = [*parts, np.array(canvas.annotations.get("wires", ())).reshape(-1, 4) * FULL]
    for _ in range(_between(rng, noise.patches)):
        size = rng.uniform(30, 75, 2)
        places = (_free_place(rng, kept, untouched, scale * size, covered) for scale in SCALES)
        box = next((place for place in places if place is not None), None)
        if box is not None:
            shade = tuple(int(v) for v in rng.integers(120, 256, 3))
            if scene.task in SHAPED:
                _stain(canvas, box, shade, rng)
            else:
                canvas.draw.rectangle(box, fill=shade, outline=tuple(int(0.7 * v) for v in shade), width=2)
    layer = Image.new("RGBA", (FULL, FULL))
    pen = ImageDraw.Draw(layer)
    for _ in range(_between(rng, noise.scribbles)):
        color = (*(int(v) for v in rng.integers(0, 256, 3)), int(rng.integers(70, 130)))
        if rng.random() < 0.4:  # the ring that a cup leaves
            x, y, radius = *rng.uniform(0, FULL, 2), rng.uniform(40, 110)
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=color, width=5)
        else:
            points = rng.uniform(0, FULL, 2) + np.cumsum(rng.normal(0, 45, (6, 2)), 0)
            pen.line([tuple(point) for point in points], fill=color, width=int(rng.integers(2, 5)), joint="curve")
    layer = layer.reduce(SCALE)
    canvas.image.paste(layer, (0, 0), layer)
    for _ in range(_between(rng, noise.strangers)):
        name = next(word for word in [*sample_words(rng, 8), "Note"] if word not in names)
        size = max(14, canvas.font_size - 4)
        box = _free_place(rng, kept, written, (canvas.text_width(name, size) + 6, size + 6), 0.0)
        if box is not None:
            canvas.text(box[0] + 3, box[1] + 3, name, "lt", size)


def sense(image: Image.Image, noise: Noise, rng: np.random.Generator) -> Image.Image:
    """The picture as a poor camera or scanner gives it: blur, Gaussian noise, another exposure, JPEG.

    Args:
        image (`PIL.Image.Image`): RGB.
        noise (`Noise`): how much.
        rng (`np.random.Generator`): decides.

    Returns:
        `PIL.Image.Image`: of the same size.
    """
    blurred = image.filter(ImageFilter.GaussianBlur(rng.uniform(*noise.blur)))
    pixels = np.asarray(blurred, np.float32)
    pixels = (pixels - 128) * rng.uniform(0.8, 1.1) + 128 + rng.uniform(-14, 14)
    pixels = pixels + rng.normal(0, rng.uniform(*noise.sigma), pixels.shape)
    noisy, buffer = Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8)), io.BytesIO()
    noisy.save(buffer, "JPEG", quality=_between(rng, noise.quality))
    return Image.open(buffer).convert("RGB")


def _stain(canvas: Canvas, box: Box, shade: tuple[int, int, int], rng: np.random.Generator) -> None:
    """A stain of drops that run into each other, within a box in pixels."""
    left, top, right, bottom = box
    for _ in range(DROPS):
        radius = rng.uniform(0.1, 0.28) * min(right - left, bottom - top)
        x = rng.uniform(left + radius, right - radius)
        y = rng.uniform(top + radius, bottom - radius)
        canvas.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=shade)


def _between(rng: np.random.Generator, bounds: tuple[int, int]) -> int:
    return int(rng.integers(bounds[0], bounds[1] + 1))


def _free_place(
    rng: np.random.Generator, parts: list[np.ndarray], points: np.ndarray, size: tuple[float, float], covered: float,
    tries: int = 40,
) -> tuple[float, float, float, float] | None:  # fmt: skip
    """A box (left, top, right, bottom) in pixels that is not near any of the points `[n, 2]` and covers no more than a
    share of any mark; None if none was found."""
    width, height = size
    for _ in range(tries):
        left, top = rng.uniform(0, max(1, FULL - width)), rng.uniform(0, max(1, FULL - height))
        right, bottom = left + width, top + height
        margin = 14
        near = (points > (left - margin, top - margin)).all(1) & (points < (right + margin, bottom + margin)).all(1)
        if near.any():
            continue
        if all(_overlap(boxes, (left, top, right, bottom)) <= covered for boxes in parts):
            return left, top, right, bottom
    return None


def _corners(boxes: np.ndarray) -> np.ndarray:
    """Corners `[4 * n, 2]` of boxes `[n, 4]`."""
    return np.concatenate([boxes[:, [x, y]] for x in (0, 2) for y in (1, 3)])


def _overlap(boxes: np.ndarray, other: tuple[float, float, float, float]) -> float:
    """Share of the area of boxes `[n, 4]` that lies in another box."""
    low, high = np.maximum(boxes[:, :2], other[:2]), np.minimum(boxes[:, 2:], other[2:])
    shared = np.clip(high - low, 0, None).prod(1).sum()
    return float(shared / max((boxes[:, 2:] - boxes[:, :2]).prod(1).sum(), 1e-9))
