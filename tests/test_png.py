import io

import numpy as np
import pytest
from PIL import Image

from leaml_hf.data.png import encode_png


def pictures():
    rng = np.random.default_rng(0)
    few = rng.integers(0, 256, (40, 3))
    blocks = few[rng.integers(0, 40, (12, 15))].repeat(8, 0).repeat(9, 1)
    blocks[20:60, 30:60] = few[rng.integers(0, 40, (40, 30))]
    many = np.stack(np.broadcast_arrays(np.arange(96)[:, None], np.arange(300) // 6, 0), -1)
    exactly = np.arange(256).repeat(64).reshape(128, 128)[..., None] * (1, 0, 1)
    return {
        "few colors": blocks,
        "256 colors": exactly,
        "more colors, in runs": many,
        "a photograph": rng.integers(0, 256, (50, 70, 3)),
        "one pixel": np.array([[[1, 2, 3]]]),
        "one color": np.full((9, 4, 3), 7),
    }


class TestEncodePng:
    @pytest.mark.parametrize("name", pictures())
    def test_nothing_is_lost(self, name):
        pixels = pictures()[name].astype(np.uint8)
        read = Image.open(io.BytesIO(encode_png(Image.fromarray(pixels))))
        assert read.mode == ("RGB" if name in ("more colors, in runs", "a photograph") else "P")
        assert np.array_equal(np.asarray(read.convert("RGB")), pixels)

    def test_what_lies_beside_the_colors_does_not_count(self):
        pixels = pictures()["few colors"].astype(np.uint8)
        beside = np.random.default_rng(1).integers(0, 256, (*pixels.shape[:2], 1), np.uint8)
        image = Image.frombytes(
            "RGB", pixels.shape[1::-1], np.concatenate([pixels, beside], -1).tobytes(), "raw", "RGBX"
        )
        assert encode_png(image) == encode_png(Image.fromarray(pixels))
