"""Real pictures behind the drawings of the domains `natural` and `medical`: where they come from, and crops of them.

Every picture is a file of an installed package, so that nothing is downloaded. A source belongs to one split for good,
and what shows the same thing or patient counts as one source: no crop of a training picture is ever tested on.
Things that look like drawn shapes (coins, a single round cell) would make counts ambiguous: no source shows them.
"""

import importlib.util
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from ...errors import LeamlInputError
from .scenes import rng_for

LONGEST = 800  # pixels that a decoded source is reduced to
SHARES = (0.5, 0.95)  # side of a crop, in the largest square that fits
LEAST = 170  # pixels of a crop's side, where the source has that many to choose from
TURN = 12  # degrees to either side, at most
CONTRAST, BRIGHTNESS = (0.8, 1.15), (-20, 20)  # brightness in grey levels
# How much of a picture a card covers, from nothing to all: charts and diagrams stand on one as they do on slides.
WASH: dict[str, tuple[float, float]] = {"chart": (0.72, 0.86), "diagram": (0.72, 0.86)}
_DISTRIBUTIONS = {"skimage": "scikit-image", "sklearn": "scikit-learn", "pydicom": "pydicom",
                  "data_store": "pydicom-data"}  # fmt: skip
_SCIKIT_IMAGE = "https://github.com/scikit-image/scikit-image/blob/v0.26.0/src/skimage/data/_fetchers.py"
_NEMA = "ftp://medical.nema.org/MEDICAL/Dicom/DataSets/WG04"
_GDCM = "https://github.com/malaterre/GDCM"


@dataclass(frozen=True)
class Source:
    """
    One picture of a package.

    Attributes:
        name (`str`): what it shows; unique.
        split (`str`): the only one of `SPLITS` that shows it.
        package (`str`): import name of the package that has it.
        path (`str`): below the package's folder.
        licence (`str`): SPDX identifier, or the package's own words, such as "public domain".
        credit (`str`): whose it is, as the package says.
        url (`str`): where the package says that it comes from, or what the package says of it.
        field (`tuple`, *optional*): what crops are taken from (left, top, right, bottom), in [0, 1]; leaves out
            writing and edges.
    """

    name: str
    split: str
    package: str
    path: str
    licence: str
    credit: str
    url: str
    field: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)


def _scikit_image(name: str, split: str, file: str, licence: str, credit: str, url: str = _SCIKIT_IMAGE) -> Source:
    return Source(name, split, "skimage", f"data/{file}", licence, credit, url)


def _dicom(name: str, split: str, file: str, credit: str, url: str, field: tuple, licence: str = "MIT") -> Source:
    return Source(name, split, "data_store", f"data/{file}.dcm", licence, credit, url, field)


SOURCES: dict[str, tuple[Source, ...]] = {
    "natural": (
        _scikit_image("astronaut", "train", "astronaut.png", "public domain", "NASA", "https://flic.kr/p/r9qvLn"),
        _scikit_image("brick", "train", "brick.png", "CC0-1.0", "CC0Textures",
                      "https://cc0textures.com/view.php?tex=Bricks25"),
        _scikit_image("camera", "train", "camera.png", "CC0-1.0", "Lav Varshney"),
        _scikit_image("clock", "train", "clock_motion.png", "public domain", "Stefan van der Walt"),
        _scikit_image("grass", "train", "grass.png", "CC0-1.0", "linolafett",
                      "https://www.deviantart.com/linolafett/art/Grass-01-434853879"),
        _scikit_image("hubble", "train", "hubble_deep_field.jpg", "public domain", "NASA",
                      "http://hubblesite.org/newscenter/archive/releases/2012/37/image/a/"),
        Source("china", "train", "sklearn", "datasets/images/china.jpg", "CC-BY-2.0", "danielbuechele",
               "https://www.flickr.com/photos/danielbuechele/6061409035/sizes/z/in/photostream/"),
        Source("flower", "validation", "sklearn", "datasets/images/flower.jpg", "CC-BY-2.0", "vultilion",
               "https://www.flickr.com/photos/vultilion/6056698931/sizes/z/in/photostream/"),
        _scikit_image("gravel", "validation", "gravel.png", "CC0-1.0", "CC0Textures",
                      "https://cc0textures.com/view.php?tex=Gravel04"),
        _scikit_image("cat", "test", "chelsea.png", "CC0-1.0", "Stefan van der Walt"),
        _scikit_image("coffee", "test", "coffee.png", "CC0-1.0", "Rachel Michetti"),
        _scikit_image("rocket", "test", "rocket.jpg", "public domain", "SpaceX",
                      "https://www.flickr.com/photos/spacexphotos/16511594820/in/photostream/"),
    ),
    "medical": (
        _scikit_image("retina", "train", "retina.jpg", "CC0-1.0", "Mikael Häggström",
                      "https://commons.wikimedia.org/wiki/File:Fundus_photograph_of_normal_left_eye.jpg"),
        _scikit_image("colon tissue", "train", "ihc.png", "no known copyright restrictions",
                      "Center for Microscopy and Molecular Imaging"),
        _dicom("chest X-ray", "train", "RG1_UNCR", "NEMA sample RG1", _NEMA, (0.02, 0.02, 0.97, 0.95)),
        _dicom("shoulder MR", "train", "MR2_UNCR", "NEMA sample MR2", _NEMA, (0.1, 0.1, 1.0, 0.9)),
        _dicom("lymph node ultrasound", "train", "US1_UNCR", "NEMA sample US1", _NEMA, (0.15, 0.315, 0.485, 0.6)),
        _dicom("brain perfusion CT", "train", "eCT_Supplemental", "NEMA sample CT0012",
               "ftp://medical.nema.org/medical/dicom/Multiframe/CT/nemamfct.images.tar.bz2", (0.04, 0.08, 0.8, 0.96)),
        Source("spine CT", "train", "pydicom", "data/test_files/CT_small.dcm", "MIT", "NEMA sample CT1", _NEMA),
        _dicom("bone scan", "validation", "JPEG2000_UNC", "NEMA sample NM1", _NEMA, (0.0, 0.04, 1.0, 0.92)),
        _dicom("pelvis ultrasound", "validation", "gdcm-US-ALOKA-16", "GDCM", _GDCM, (0.07, 0.3, 0.96, 0.84),
               "BSD-3-Clause"),
        _scikit_image("microaneurysms", "test", "microaneurysms.png", "CC0-1.0", "Andreas Maier",
                      "https://www5.cs.fau.de/research/data/fundus-images/"),
        _dicom("leg X-ray", "test", "RG3_UNCR", "NEMA sample RG3", _NEMA, (0.25, 0.0, 0.75, 0.78)),
        _dicom("abdomen MR", "test", "MR-SIEMENS-DICOM-WithOverlays", "GDCM", _GDCM, (0.05, 0.22, 0.95, 0.82),
               "BSD-3-Clause"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Backdrop:
    """What a drawing is laid over: a square RGB picture, and how much of it a card covers (0 to 1)."""

    image: Image.Image
    source: Source
    wash: float


@cache
def _folder(package: str) -> Path | None:
    """Where a package lies; it is not imported. None where it is not installed."""
    found = importlib.util.find_spec(package)
    return Path(found.origin).parent if found and found.origin else None


def check_pictures(domain: str) -> None:
    """Raises `LeamlInputError` with what to install where a package with pictures of the domain is missing."""
    needed = {source.package for source in SOURCES.get(domain, ())} | ({"pydicom"} if domain == "medical" else set())
    missing = sorted(_DISTRIBUTIONS[package] for package in needed if _folder(package) is None)
    if missing:
        raise LeamlInputError(f"The domain {domain} needs pictures of {' and '.join(missing)}; run "
                              "pip install 'leaml-hf[pictures]'.")  # fmt: skip


def _pixels(path: Path) -> np.ndarray:
    """Pixels `[height, width]` or `[height, width, 3]` of a DICOM file's first frame, bright where it is dense."""
    import pydicom

    with pydicom.dcmread(path) as data:
        pixels, kind = data.pixel_array, data.PhotometricInterpretation
        if kind == "PALETTE COLOR":
            pixels = pydicom.pixels.apply_color_lut(pixels, data) >> 8  # of 16 bits
        elif int(data.get("NumberOfFrames", 1)) > 1:
            pixels = pixels[0]
    return pixels.max() - pixels if kind == "MONOCHROME1" else pixels


@lru_cache(maxsize=32)
def source_image(source: Source) -> Image.Image:
    """
    What crops of a source are taken from: its field, in RGB, at most `LONGEST` pixels long.

    Raises:
        [`LeamlInputError`]: if the package is not installed or lacks the file.
    """
    folder = _folder(source.package)
    path = folder and folder / source.path
    if not path or not path.is_file():
        raise LeamlInputError(f"The picture '{source.name}' is not there; install {_DISTRIBUTIONS[source.package]} "
                              "with pip install 'leaml-hf[pictures]'.")  # fmt: skip
    if path.suffix != ".dcm":
        image = Image.open(path).convert("RGB")
    else:
        pixels = _pixels(path)
        if pixels.ndim == 2:  # 12 or 16 bits: from the darkest to the brightest that are not of the ground
            low, high = np.percentile(pixels[pixels > pixels.min()], (1, 99))
            pixels = ((pixels - low) * (255 / (high - low))).clip(0, 255)
        image = Image.fromarray(pixels.astype(np.uint8)).convert("RGB")
    image = image.crop(tuple(round(v * side) for v, side in zip(source.field, image.size * 2, strict=True)))
    image.thumbnail((LONGEST, LONGEST))
    return image


def _crop(image: Image.Image, rng: np.random.Generator, size: int) -> Image.Image:
    """A square of an image, turned a little, now and then mirrored, lighter or darker, as `size` x `size` pixels."""
    angle = np.radians(rng.uniform(-TURN, TURN))
    cos, sin = np.cos(angle), np.sin(angle)
    reach = cos + abs(sin)  # of a turned square, in its sides
    largest = min(image.size) / reach
    side = largest * rng.uniform(min(max(SHARES[0], LEAST / largest), SHARES[1] - 0.1), SHARES[1])
    x, y = (rng.uniform(side * reach / 2, length - side * reach / 2) for length in image.size)
    step = side / size * np.array([[cos, -sin], [sin, cos]])  # pixels of the image that one to the right, below is
    if rng.random() < 0.5:
        step[:, 0] *= -1
    corner = np.array([x, y]) - step.sum(1) * size / 2
    if side >= 2 * size:  # average rather than leave out
        factor = int(side // size)
        image, corner, step = image.reduce(factor), corner / factor, step / factor
    (ax, bx), (ay, by) = step
    square = image.transform((size, size), Image.Transform.AFFINE, (ax, bx, corner[0], ay, by, corner[1]),
                             Image.Resampling.BILINEAR)  # fmt: skip
    levels = (np.arange(256) - 128) * rng.uniform(*CONTRAST) + 128 + rng.uniform(*BRIGHTNESS)
    return square.point(levels.round().clip(0, 255).astype(int).tolist() * 3)


def sample_backdrop(domain: str, task: str, split: str, index: int, seed: int, size: int) -> Backdrop | None:
    """
    The picture that scene `index` is laid over, the same in all variants.

    Args:
        domain (`str`): a key of `SOURCES`; None is returned for any other.
        task (`str`): one of `TASKS`.
        split (`str`): one of `SPLITS`; only its sources are used.
        index (`int`): of the scene.
        seed (`int`): of the cell.
        size (`int`): of the picture, in pixels.

    Raises:
        [`LeamlInputError`]: if a package is missing.
    """
    sources = [source for source in SOURCES.get(domain, ()) if source.split == split]
    if not sources:
        return None
    rng = rng_for(seed, task, split, index, 4)
    source = sources[rng.integers(len(sources))]
    return Backdrop(_crop(source_image(source), rng, size), source, float(rng.uniform(*WASH.get(task, (0.0, 0.0)))))
