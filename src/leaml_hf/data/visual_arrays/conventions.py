"""What a drawing may look like: colours, fonts, words and layout habits, one `Conventions` per variant.

The `base` variant is broad on purpose (a base model trained on one style cannot be adapted); `style` draws the same
content with palettes, fonts, grounds and legends that `base` never uses. `content` looks like `base` and tells of
other subjects; `noise` is `base` seen badly; `annotation` keeps colours and fonts and changes how things are labelled.
"""

from dataclasses import dataclass, field, replace
from functools import cache

# Colour name -> anchor colours (RGB). Base draws jittered shades around the first list, style around the second.
BASE_SHADES: dict[str, list[tuple[int, int, int]]] = {
    "red": [(214, 39, 40), (228, 26, 28), (200, 30, 45), (235, 60, 50)],
    "orange": [(255, 127, 14), (245, 140, 30), (252, 141, 60), (230, 120, 10)],
    "yellow": [(250, 215, 40), (240, 220, 60), (245, 200, 20), (255, 235, 80)],
    "green": [(44, 160, 44), (60, 170, 75), (30, 140, 60), (80, 180, 70)],
    "olive": [(140, 145, 40), (150, 150, 60), (128, 128, 20), (165, 160, 50)],
    "cyan": [(23, 190, 207), (50, 200, 210), (70, 205, 220), (20, 175, 190)],
    "blue": [(31, 119, 180), (40, 90, 200), (55, 126, 184), (30, 70, 160)],
    "purple": [(148, 103, 189), (130, 60, 170), (152, 78, 163), (110, 70, 180)],
    "pink": [(227, 119, 194), (240, 130, 190), (247, 150, 200), (235, 100, 170)],
    "brown": [(140, 86, 75), (130, 80, 40), (160, 95, 50), (110, 65, 40)],
    "gray": [(127, 127, 127), (150, 150, 150), (110, 115, 120), (165, 165, 165)],
    "black": [(20, 20, 20), (35, 35, 40), (5, 5, 5), (45, 45, 45)],
}
STYLE_SHADES: dict[str, list[tuple[int, int, int]]] = {
    "red": [(250, 128, 114), (150, 10, 30), (255, 0, 0)],
    "orange": [(255, 179, 102), (255, 165, 0), (204, 85, 0)],
    "yellow": [(255, 245, 150), (255, 255, 0), (218, 190, 60)],
    "green": [(152, 223, 138), (0, 100, 0), (0, 230, 60)],
    "olive": [(196, 200, 120), (85, 90, 10), (160, 170, 0)],
    "cyan": [(158, 230, 235), (0, 255, 255), (0, 130, 140)],
    "blue": [(135, 170, 240), (0, 0, 128), (0, 0, 255)],
    "purple": [(197, 176, 230), (75, 0, 110), (160, 0, 255)],
    "pink": [(255, 200, 225), (255, 20, 147), (219, 80, 140)],
    "brown": [(205, 160, 120), (80, 40, 15), (139, 69, 19)],
    "gray": [(200, 200, 200), (85, 88, 92), (119, 136, 153)],
    "black": [(0, 0, 0), (25, 10, 30), (10, 25, 25)],
}
COLOR_NAMES = tuple(BASE_SHADES)

BASE_FONTS = ("roboto", "lora", "open_sans", "merriweather", "inter", "nunito", "work_sans", "source_serif_4",
              "pt_sans", "pt_serif", "bitter", "cabin")  # fmt: skip
TITLE_WORDS = (
    "Sales", "Visitors", "Rainfall", "Growth", "Votes", "Points", "Output", "Energy", "Traffic", "Orders", "Exports",
    "Income", "Members", "Results", "Survey", "Harvest", "Budget", "Score", "Weight", "Height", "Speed", "Share",
    "Report", "Total", "Weekly", "Monthly", "Yearly",
)  # fmt: skip


@cache
def font_path(family: str) -> str:
    """Path of the regular or variable TrueType file that the package `fontpkg-<family>` installs (OFL-1.1 fonts)."""
    from importlib.resources import files

    folder = files(f"fontpkg_{family}") / "files"
    upright = [p for p in folder.iterdir() if p.name.endswith(".ttf") and "Italic" not in p.name]
    return str(min(upright, key=lambda p: ("Bold" in p.name, p.name)))


@dataclass(frozen=True)
class Noise:
    """
    How much is laid over a picture; each range is drawn from uniformly.

    Attributes:
        patches (`tuple[int, int]`): opaque patches.
        scribbles (`tuple[int, int]`): thin lines and rings.
        strangers (`tuple[int, int]`): names that belong to no mark.
        capitals (`float`): rate of pictures whose names are written in capitals, other than in the question.
        sigma (`tuple[float, float]`): standard deviation of the sensor noise, in grey levels of 0 to 255.
        blur (`tuple[float, float]`): radius of a Gaussian blur, in pixels.
        quality (`tuple[int, int]`): of the JPEG coding that the picture has gone through.
    """

    patches: tuple[int, int] = (1, 3)
    scribbles: tuple[int, int] = (2, 5)
    strangers: tuple[int, int] = (1, 2)
    capitals: float = 0.5
    sigma: tuple[float, float] = (5.0, 14.0)
    blur: tuple[float, float] = (0.0, 0.6)
    quality: tuple[int, int] = (35, 75)


@dataclass(frozen=True)
class Conventions:
    """The drawing habits that one variant draws from; every list is sampled uniformly, every rate is in [0, 1]."""

    shades: dict[str, list[tuple[int, int, int]]]
    shade_jitter: int
    fonts: tuple[str, ...]
    grounds: tuple[tuple[int, int, int], ...]  # page colours (RGB); dark ones get light ink
    plot_grounds: tuple[tuple[int, int, int] | None, ...]  # colour of the plot area; None = that of the page
    legend_places: tuple[str, ...]
    spines: tuple[str, ...]
    grids: tuple[str, ...]
    value_axis_opposite: float = 0.0  # rate of value axes drawn at the right or the top
    hatch: float = 0.0  # rate of hatched fills
    upward_names: float = 0.3  # rate of names under bars written upwards
    slanted_names: float = 0.2  # rate of names under bars written at 45 degrees
    axis_titles: float = 0.25
    donut: float = 0.2
    outline: float = 0.4
    markers: tuple[str, ...] = ("dot", "none", "square")
    font_sizes: tuple[int, int] = (18, 28)  # at 448 pixels; half of that in the picture
    mirrored: float = 0.0  # rate of horizontal bars that grow from the right
    minor_ticks: bool = False
    units: tuple[str, ...] = ()  # written behind the titles of axes
    legend_headings: tuple[str, ...] = ()
    swatches: tuple[str, ...] = ("square",)
    tags: bool = False  # names of nodes and shapes on tags at their upper edge, not inside
    frame: bool = False  # numbered edges around shapes
    noise: Noise | None = None
    factors: dict[str, float] = field(default_factory=dict)  # what shifts against base, with strength in [0, 1]


_BASE = Conventions(
    shades=BASE_SHADES,
    shade_jitter=18,
    fonts=BASE_FONTS,
    grounds=((255, 255, 255),) * 5 + ((250, 248, 240), (240, 244, 250), (236, 236, 236), (32, 34, 40)),
    plot_grounds=(None, None, None, (234, 234, 242), (246, 246, 246)),
    legend_places=("right", "top"),
    spines=("left-bottom", "box", "none"),
    grids=("none", "value", "both"),
)
VARIANTS: dict[str, Conventions] = {
    "base": _BASE,
    "style": Conventions(
        shades=STYLE_SHADES,
        shade_jitter=6,
        fonts=("caveat", "source_code_pro"),
        grounds=((253, 240, 213), (222, 235, 220), (18, 24, 52), (62, 39, 35), (255, 228, 235)),
        plot_grounds=(None, (255, 252, 220), (210, 225, 232)),
        legend_places=("bottom", "left"),
        spines=("bottom", "arrows"),
        grids=("dashed", "dotted"),
        value_axis_opposite=0.7,
        hatch=0.4,
        donut=0.7,
        outline=0.8,
        markers=("triangle", "ring", "cross"),
        font_sizes=(22, 29),
        factors={"palette": 1.0, "font": 1.0, "ground": 1.0, "legend": 1.0, "axis": 0.7},
    ),
    "content": replace(_BASE, factors={"subject": 1.0, "terms": 0.7}),
    "noise": replace(_BASE, noise=Noise(), factors={"occlusion": 0.3, "clutter": 0.5, "labels": 0.5, "sensor": 0.5}),
    "annotation": replace(
        _BASE,
        upward_names=0.4,
        slanted_names=0.5,
        axis_titles=1.0,
        value_axis_opposite=0.5,
        mirrored=0.6,
        minor_ticks=True,
        units=("kg", "km", "%", "USD", "mm", "hours", "kWh", "per head"),
        legend_headings=("Key", "Legend", "Series", "Groups"),
        swatches=("disc", "stroke"),
        tags=True,
        frame=True,
        factors={"labels": 1.0, "scale": 0.5, "units": 1.0, "frame": 0.6},
    ),
}
