"""Weak and strong views of a picture that keep its answers: no flips, no change of hue."""

import zlib

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

WEAK = -1  # the picture as it is; views 0, 1, … are strong


def strong_view(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A strongly changed picture with the same answers.

    Brightness, contrast, saturation, blur, sensor noise, a small shift and scale; hue, order and orientation stay,
    since questions are about them, and nothing is covered, since it might be what is asked for.

    Args:
        image (`Image.Image`): RGB.
        rng (`np.random.Generator`): decides the change.

    Returns:
        `Image.Image`: RGB of the same size.
    """
    width, height = image.size
    scale = rng.uniform(0.9, 1.0)
    inner = image.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BILINEAR)
    corner = image.getpixel((0, 0))
    view = Image.new("RGB", image.size, corner)
    view.paste(
        inner, tuple(int(rng.integers(0, full - part + 1)) for full, part in zip(image.size, inner.size, strict=True))
    )
    for enhancer, low, high in ((ImageEnhance.Brightness, 0.75, 1.2), (ImageEnhance.Contrast, 0.7, 1.3),
                                (ImageEnhance.Color, 0.7, 1.4)):  # fmt: skip
        view = enhancer(view).enhance(rng.uniform(low, high))
    if rng.random() < 0.4:
        view = view.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.6) * width / 320))
    pixels = np.asarray(view).astype(np.float32)
    if rng.random() < 0.5:
        pixels += rng.normal(0, rng.uniform(2, 8), pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def view_of(image: Image.Image, key: str, view: int, seed: int = 0) -> Image.Image:
    """The picture itself (`WEAK`), or its strong view of that number: the same for each call.

    Args:
        image (`Image.Image`): any mode.
        key (`str`): names the picture's content.
        view (`int`): `WEAK`, or 0 and up.
        seed (`int`, *optional*, defaults to 0): another seed gives other strong views.
    """
    if view == WEAK:
        return image
    return strong_view(image.convert("RGB"), np.random.default_rng([seed, zlib.crc32(key.encode()), view]))
