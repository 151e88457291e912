"""What a person calls a colour, and matplotlib's colour cycles cut down to colours with a clear name."""

from functools import cache

import numpy as np

# Colours that people call by one name: nearest anchor wins, in CIELAB.
_ANCHORS = {
    "blue": "0000ff 1f77b4 377eb8 4c72b0 348abd 006ba4 5f9ed1 a1c9f4 023eff 001c7f 0072b2 4878d0 30a2da 268bd2 3f90da",
    "orange": "ff7f0e ffa500 dd8452 fc8d62 d95f02 c85200 ffb482 e69f00 d55e00 ee854a ff7c00 ffa90e de8f05",
    "green": "2ca02c 4daf4a 008000 55a868 8eba42 66a61e 8de5a1 6acc64 12711c 467821 1ac938 a6d854 6d904f 33a02c",
    "red": "d62728 e41a1c ff0000 c44e52 a60628 e24a33 d65f5f e8000b dc322f fc4f30 bd1f01 b1001c",
    "purple": "9467bd 984ea3 800080 8172b3 7570b3 988ed5 7a68a6 8b2be2 591e71 d0bbff 956cb4 6c71c4 832db6 810f7c",
    "brown": "8c564b a65628 937860 8c613c 592f0d 9f4800 a6761d 8b4513",
    "pink": "e377c2 f781bf e78ac3 ffb5b8 da8bc3 fab0e4 f14cc1 dc7ec0 ffc0cb e7298a d33682 fbafe4 ff9da7",
    "gray": "7f7f7f 8c8c8c 999999 b3b3b3 666666 777777 ababab cfcfcf 898989 595959 797979 94a4a2 8b8b8b",
    "olive": "bcbd22 808000 a9a72a",
    "cyan": "17becf 00ffff 00d7ff b9f2f0 92dadd",
    "yellow": "ffff00 ffd92f ffff33 f0e442 ffc400 fff000 ffcc00",
    "black": "000000 222222 1a1a1a",
    "teal": "008080 006374 1b9e77 2aa198 66c2a5",
}
# Colours between two names, which are never asked about.
_UNCLEAR = [
    "ccb974",
    "fbc15e",
    "ff9f9b",
    "debb9b",
    "ffbc79",
    "b8850a",
    "8c0800",
    "a23582",
    "3c3c3c",
    "e5c494",
    "ece133",
    "cc78bc",
    "cb4b16",
    "ca9161",
    "d5bb67",
    "b5a642",
    "fffea3",
    "b9ac70",
    "e76300",
    "717581",
    "832d00",
    "4b0082",
    "a2c8ec",
    "ffffb3",
    "bebada",
    "fb8072",
    "80b1d3",
    "8b8b00",
    "b58900",
    "56b4e9",
    "cc79a7",
    "e5ae38",
    "859900",
    "009e73",
    "029e73",
    "64b5cd",
    "82c6e2",
    "e6ab02",
    "bfbf00",
]
_EXTRA_CYCLES = (
    "1f77b4 d62728 2ca02c ff7f0e 000000 9467bd 17becf ffcc00",
    "008080 e24a33 ffcc00 9467bd 8c564b 7f7f7f f781bf 0000ff",
    "808000 17becf d62728 000000 ffa500 984ea3 377eb8 8c564b",
    "33a02c e377c2 222222 006ba4 ffd92f a65628 00ffff e41a1c",
    "808000 f781bf 008080 ff7f0e 1a1a1a 595959 ffcc00 17becf",
    "66c2a5 8c613c a9a72a 222222 fab0e4 ff7f0e 7f7f7f 4878d0",
    "000000 b3b3b3 2aa198 fff000 a65628 8de5a1 00d7ff da8bc3",
)
_COLORMAPS = ("tab10", "Set1", "Set2", "Dark2")
_MARGIN = 6.0


def _lab(colors: np.ndarray) -> np.ndarray:
    """sRGB in 0..1 `[..., 3]` to CIELAB (D65) `[..., 3]`."""
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = linear @ np.array(to_xyz).T / np.array([0.95047, 1.0, 1.08883])
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _rgb(code: str) -> list[float]:
    return [int(code[start : start + 2], 16) / 255 for start in (0, 2, 4)]


@cache
def _anchors() -> tuple[list[str], np.ndarray]:
    pairs = [(name, code) for name, codes in _ANCHORS.items() for code in codes.split()]
    pairs += [("", code) for code in _UNCLEAR]
    return [name for name, _ in pairs], _lab(np.array([_rgb(code) for _, code in pairs]))


def color_name(color: str) -> str | None:
    """
    The name that a person would give to a colour.

    Args:
        color (`str`): `#rrggbb`.

    Returns:
        `str` or `None`: one of thirteen names, by the nearest anchor in CIELAB; `None` if it lies between names.
    """
    names, anchors = _anchors()
    distances = np.linalg.norm(anchors - _lab(np.array(_rgb(color.lstrip("#")))), axis=1)  # [anchors]
    name = names[int(distances.argmin())]
    others = distances[[other != name for other in names]]
    return name if name and others.min() - distances.min() >= _MARGIN else None


@cache
def palettes() -> tuple[tuple[tuple[str, str], ...], ...]:
    """
    The colour cycles charts are drawn with: those of matplotlib's style sheets and colour maps, and four more.

    Returns:
        `tuple`: cycles of `(#rrggbb, name)`, each with at least five colours, no two of the same name, none so light
        that it is lost on white.
    """
    from matplotlib import colormaps, style
    from matplotlib.colors import to_hex

    cycles = [[to_hex(color) for color in colormaps[name].colors] for name in _COLORMAPS]
    for sheet in sorted(style.library):
        cycle = style.library[sheet].get("axes.prop_cycle")
        if cycle is not None:
            cycles.append([to_hex(color) for color in cycle.by_key()["color"]])
    cycles += [[f"#{code}" for code in codes.split()] for codes in _EXTRA_CYCLES]
    clear = []
    for cycle in cycles:
        named: dict[str, str] = {}
        for color in cycle:
            name = color_name(color)
            if name is not None and _lab(np.array(_rgb(color[1:])))[0] <= 88:
                named.setdefault(name, color)
        if len(named) >= 5:
            clear.append(tuple((color, name) for name, color in named.items()))
    return tuple(dict.fromkeys(clear))
