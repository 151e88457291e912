"""PNG files of drawn pictures, written fast."""

import struct
import zlib

import numpy as np
from PIL import Image

_TRUE_COLOR, _INDEXED = 2, 3  # color types (PNG specification, section 6.1)
_NONE, _UP = 0, 2  # row filters: bytes as they are, or less those of the row above (section 9.2)
_MULTIPLIERS = [np.uint32(0x9E3779B1 * (2 * k + 1) % 2**32) for k in range(32)]
_KEY_SHIFT = np.uint32(32 - 14)


def encode_png(image: Image.Image) -> bytes:
    """
    A picture as a PNG file, some five times as fast as Pillow, which tries five filters on each row: pictures of up to
    256 colors, as most drawings are, with a palette; others as what changes from one row to the next.

    Args:
        image (`PIL.Image.Image`): RGB.

    Returns:
        `bytes`: the file.
    """
    indexed = _indexed(np.frombuffer(image.tobytes("raw", "RGBX"), "<u4"))
    if indexed:
        palette, indices = indexed
        rows, kind = indices.reshape(image.height, -1), _INDEXED
    else:
        rows, kind = np.asarray(image).reshape(image.height, -1), _TRUE_COLOR
    filtered = np.empty((image.height, 1 + rows.shape[1]), np.uint8)
    if indexed:
        filtered[:, 0], filtered[:, 1:] = _NONE, rows
    else:
        filtered[:, 0], filtered[0, 1:] = _UP, rows[0]
        np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    header = struct.pack(">IIBBBBB", image.width, image.height, 8, kind, 0, 0, 0)  # 8 bits a channel or index
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(filtered, 1)), (b"IEND", b"")]
    if indexed:
        chunks.insert(1, (b"PLTE", palette))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def _indexed(pixels: np.ndarray) -> tuple[bytes, np.ndarray] | None:
    """
    Palette (RGB) and index of each pixel, `None` if there are more than 256 colors.

    Args:
        pixels (`np.ndarray`): flat, of type "<u4": red in the lowest byte, the highest byte of no meaning.
    """
    # neighbours are mostly equal: colors are looked up once for each run of them
    ends = np.flatnonzero(pixels[1:] != pixels[:-1])
    if ends.size > pixels.size // 4:  # a photograph
        return None
    bounds = np.empty(ends.size + 2, ends.dtype)
    bounds[0], bounds[-1] = 0, pixels.size
    np.add(ends, 1, out=bounds[1:-1])
    colors = pixels.take(bounds[:-1]) & np.uint32(0xFFFFFF)
    ranked = np.sort(colors)
    first = np.ones(ranked.size, bool)
    np.not_equal(ranked[1:], ranked[:-1], out=first[1:])
    palette = ranked[first]
    if palette.size > 256:
        return None
    ranks, table = np.arange(palette.size, dtype=np.uint8), np.empty(2**14, np.uint8)
    for multiplier in _MULTIPLIERS:
        keys = palette * multiplier >> _KEY_SHIFT
        table[keys] = ranks
        if (table[keys] == ranks).all():
            return (palette.view(np.uint8).reshape(-1, 4)[:, :3].tobytes(),
                    np.repeat(table[colors * multiplier >> _KEY_SHIFT], bounds[1:] - bounds[:-1]))  # fmt: skip
    return None
