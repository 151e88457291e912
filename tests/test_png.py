import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from leaml_hf.data.png import encode_png

NONE, UP = 0, 2


def pictures():
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, (40, 3))
    return {
        "plain areas": (colors[rng.integers(0, 40, (12, 15))].repeat(8, 0).repeat(9, 1), NONE),
        "one color": (np.full((9, 40, 3), 7), NONE),
        "a photograph": (rng.integers(0, 256, (50, 70, 3)), UP),
        "one pixel": (np.array([[[1, 2, 3]]]), UP),
    }


class TestEncodePng:
    @pytest.mark.parametrize("name", pictures())
    def test_nothing_is_lost_and_the_filter_suits_the_picture(self, name):
        pixels, row_filter = pictures()[name]
        data = encode_png(Image.fromarray(pixels.astype(np.uint8)))
        read = Image.open(io.BytesIO(data))
        assert read.mode == "RGB"
        assert np.array_equal(np.asarray(read), pixels)
        start = data.index(b"IDAT")
        (length,) = struct.unpack(">I", data[start - 4 : start])
        rows = zlib.decompress(data[start + 4 : start + 4 + length])
        rest = len(pixels) - 1  # there is nothing above the first row
        assert list(rows[:: 1 + 3 * pixels.shape[1]]) == [NONE, *[row_filter] * rest]
