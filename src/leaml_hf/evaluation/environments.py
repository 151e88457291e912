"""
Pictures as another camera, screen or sender would give them: eight environments, each at five strengths.

The kinds and the five strengths follow ImageNet-C (Hendrycks and Dietterich, 2019, https://arxiv.org/abs/1903.12261),
covered parts Cutout (DeVries and Taylor, 2017, https://arxiv.org/abs/1708.04552); the amounts are this project's own,
chosen for charts. A view is as hard to read for a large picture as for a small one, but for compression, whose blocks
are 8 pixels wide. Blur, JPEG, resampling, geometry and curves are Pillow's.

A picture's random choices (grain, direction, corners, places) depend on seed, picture and environment, not on the
strength: a stronger view is the same change taken further. Questions keep their answers as long as they can be read
from the view at all; colours that are asked for may not survive a strong cast.
"""

import hashlib
import io
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ..data.budget import picture_keys
from ..data.png import encode_png
from ..errors import LeamlInputError
from ..images import load_image

if TYPE_CHECKING:
    from datasets import Dataset

STRENGTHS = (1, 2, 3, 4, 5)
GRAINS = 240  # along the shorter side, at most
GAMMA = 2.2  # of displays, about; light adds up before it

Change = Callable[[Image.Image, float, np.random.Generator], Image.Image]


def _blur(image: Image.Image, radius: float, rng: np.random.Generator) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(radius * min(image.size)))


def _noise(image: Image.Image, sigma: float, rng: np.random.Generator) -> Image.Image:
    """Grain of a pixel, or of more where the picture is large, so that it stays when the picture is reduced."""
    pixels = np.asarray(image, np.float32)  # [H, W, 3]
    height, width, _ = pixels.shape
    size = max(1, round(min(height, width) / GRAINS))
    grain = rng.standard_normal((-(-height // size), -(-width // size), 3), np.float32)
    pixels = pixels + sigma * grain.repeat(size, 0).repeat(size, 1)[:height, :width]
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


def _exposure(image: Image.Image, stops: float, rng: np.random.Generator) -> Image.Image:
    """Twice or half the light for each stop; which of the two is drawn."""
    gain = 2 ** (stops * rng.choice((-1, 1)))
    light = (np.arange(256) / 255) ** GAMMA * gain
    table = (255 * light.clip(0, 1) ** (1 / GAMMA)).round().astype(int).tolist()
    return image.point(table * 3)


def _compression(image: Image.Image, quality: float, rng: np.random.Generator) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(quality))
    return Image.open(buffer).convert("RGB")


def _resolution(image: Image.Image, pixels: float, rng: np.random.Generator) -> Image.Image:
    scale = min(1.0, pixels / min(image.size))
    small = tuple(max(1, round(scale * side)) for side in image.size)
    return image.resize(small, Image.Resampling.BOX).resize(image.size, Image.Resampling.BILINEAR)


def _colour_cast(image: Image.Image, depth: float, rng: np.random.Generator) -> Image.Image:
    """Light of another colour: the channels keep different shares of their value, the strongest all of it."""
    hue = 2 * np.pi * (rng.random() + np.arange(3) / 3)
    gains = 1 - depth * (1 - np.cos(hue)) / 2  # [3]
    return image.point([round(gain * value) for gain in gains / gains.max() for value in range(256)])


def _perspective(image: Image.Image, reach: float, rng: np.random.Generator) -> Image.Image:
    """Each corner moves inwards by up to `reach` of the sides, so all of the picture stays in view; what it leaves
    free has the colour of its first pixel."""
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float) * image.size  # [4, 2], clockwise
    inwards = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)]) * image.size
    moved = corners + reach * rng.uniform(0.2, 1, (4, 2)) * inwards
    rows = []
    for (x, y), (u, v) in zip(moved, corners, strict=True):  # the transform maps places of the view to the picture's
        rows += [(x, y, 1, 0, 0, 0, -u * x, -u * y), (0, 0, 0, x, y, 1, -v * x, -v * y)]
    coefficients = np.linalg.solve(np.array(rows), corners.ravel())
    return image.transform(image.size, Image.Transform.PERSPECTIVE, coefficients.tolist(),
                           Image.Resampling.BICUBIC, fillcolor=image.getpixel((0, 0)))  # fmt: skip


def _occlusion(image: Image.Image, share: float, rng: np.random.Generator) -> Image.Image:
    """An opaque patch in each quarter, at a place that stays; together they cover `share` of the area."""
    view = image.copy()
    draw = ImageDraw.Draw(view)
    size = np.array(image.size)
    for quarter in ((0, 0), (0.5, 0), (0, 0.5), (0.5, 0.5)):
        aspect, shade = rng.uniform(0.7, 1.4), tuple(int(value) for value in rng.integers(0, 256, 3))
        half = np.sqrt(share / 4 * np.array([aspect, 1 / aspect])) / 2  # of the sides
        middle = quarter + rng.uniform(0.17, 0.33, 2)
        draw.rectangle([*((middle - half) * size), *((middle + half) * size)], fill=shade)
    return view


ENVIRONMENTS: dict[str, tuple[Change, tuple[float, ...]]] = {
    "blur": (_blur, (0.003, 0.006, 0.010, 0.016, 0.025)),  # deviation, of the shorter side
    "noise": (_noise, (6, 12, 22, 38, 60)),  # deviation of a pixel's channel, of 255
    "exposure": (_exposure, (0.4, 0.8, 1.2, 1.7, 2.3)),  # stops more or fewer
    "compression": (_compression, (50, 25, 14, 8, 4)),  # JPEG quality
    "resolution": (_resolution, (160, 112, 80, 57, 40)),  # pixels left of the shorter side
    "colour_cast": (_colour_cast, (0.12, 0.24, 0.38, 0.54, 0.72)),  # of the weakest channel lost
    "perspective": (_perspective, (0.04, 0.08, 0.12, 0.17, 0.23)),  # of the sides, at most, that a corner moves
    "occlusion": (_occlusion, (0.02, 0.05, 0.10, 0.18, 0.30)),  # of the area
}


def check_environments(names: tuple[str, ...], strengths: tuple[int, ...] = STRENGTHS) -> None:
    """Raises [`LeamlInputError`] where a name or strength is unknown or there is none."""
    unknown = [name for name in names if name not in ENVIRONMENTS]
    if unknown or not names:
        raise LeamlInputError(f"There is no environment {', '.join(unknown) or 'given'}; there are "
                              f"{', '.join(ENVIRONMENTS)}.")  # fmt: skip
    if not strengths or not set(strengths) <= set(STRENGTHS):
        raise LeamlInputError(f"Strengths are 1 to {STRENGTHS[-1]}, not {', '.join(map(str, strengths)) or 'none'}.")


def environment_view(image: Image.Image, name: str, strength: int, key: str, seed: int = 0) -> Image.Image:
    """
    A picture in an environment: the same for each call.

    Args:
        image (`PIL.Image.Image`): RGB.
        name (`str`): one of `ENVIRONMENTS`: blur, noise, exposure, compression, resolution, colour_cast, perspective
            or occlusion.
        strength (`int`): 1 (slight) to 5 (severe).
        key (`str`): names the picture; decides the random choices together with `seed` and `name`.
        seed (`int`, *optional*, defaults to 0): another seed makes other choices.

    Returns:
        `PIL.Image.Image`: RGB, of the same size.

    Raises:
        [`LeamlInputError`]: if there is no such environment or strength.
    """
    check_environments((name,), (strength,))
    change, amounts = ENVIRONMENTS[name]
    rng = np.random.default_rng([seed, zlib.crc32(key.encode()), zlib.crc32(name.encode())])
    return change(image, amounts[strength - 1], rng)


def environment_rows(dataset: "Dataset", name: str, strength: int, seed: int = 0) -> "Dataset":
    """
    Rows with their pictures in an environment; rows that share a picture share its view.

    Args:
        dataset (`Dataset`): rows with `image`.
        name (`str`): as in [`environment_view`].
        strength (`int`): as in [`environment_view`].
        seed (`int`, *optional*, defaults to 0): as in [`environment_view`].

    Returns:
        `Dataset`: the same rows, in memory; pictures as PNG.

    Raises:
        [`LeamlInputError`]: if there is no such environment or strength, or a picture can't be read.
    """
    from datasets import Image as ImageFeature

    views: dict[str, bytes] = {}
    keys = picture_keys(dataset)
    for key, picture in zip(keys, dataset["image"], strict=True):
        if key not in views:
            image = load_image(picture)
            content = hashlib.sha256(image.tobytes()).hexdigest()  # the same wherever the file lies
            views[key] = encode_png(environment_view(image, name, strength, content, seed))
    pictures = [{"bytes": views[key], "path": None} for key in keys]
    return dataset.remove_columns("image").add_column("image", pictures, feature=ImageFeature())
