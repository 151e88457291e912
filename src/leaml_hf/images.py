"""How pictures are read, whatever their format."""

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from .errors import LeamlInputError

MAX_PIXELS = 50_000_000
Picture = str | os.PathLike | Image.Image | np.ndarray


def load_image(picture: Picture) -> Image.Image:
    """
    Reads a picture as RGB.

    Transparent parts become white, 16-bit pictures are scaled to 8 bits, the first frame of an animation is taken, and
    a photo is turned upright.

    Args:
        picture (`str`, `PathLike`, `PIL.Image.Image` or `np.ndarray`): a file or a picture in memory (an array `[h,
            w]` or `[h, w, 3 or 4]` of `uint8`).

    Returns:
        `PIL.Image.Image`: in mode RGB, one pixel or more a side.

    Raises:
        [`LeamlInputError`]: if it can't be read, is empty, or has more than 50 million pixels.
    """
    if isinstance(picture, (str, os.PathLike)):
        name = str(picture)
        if not Path(picture).is_file():
            raise LeamlInputError(f"There is no picture file {name}: check the path.")
    else:
        name = "The picture"
    try:
        if isinstance(picture, np.ndarray):
            image = Image.fromarray(picture)
        else:
            image = picture if isinstance(picture, Image.Image) else Image.open(picture)
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise LeamlInputError(
                f"{name} has {width} x {height} pixels: make it smaller than {MAX_PIXELS // 10**6} million."
            )
        if width < 1 or height < 1:
            raise LeamlInputError(f"{name} is empty ({width} x {height} pixels): give another.")
        if getattr(image, "n_frames", 1) > 1:
            image.seek(0)
        return _to_rgb(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError as error:
        raise LeamlInputError(
            f"{name} has too many pixels: make it smaller than {MAX_PIXELS // 10**6} million."
        ) from error
    except LeamlInputError:
        raise
    except (OSError, SyntaxError, ValueError, TypeError, EOFError) as error:
        raise LeamlInputError(f"{name} can't be read as a picture: it is damaged or of an unknown format.") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":  # 16 or 32 bits a pixel
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        scale = 65535.0 if values.max() > 255 else 255.0
        image = Image.fromarray(np.clip(values * (255.0 / scale), 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
