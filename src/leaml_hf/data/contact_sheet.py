"""One picture that shows many small ones, to look over what was chosen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..images import load_image

COLUMNS, MOST = 8, 200
SIDE, MARGIN, LINE = 180, 12, 15  # pixels
LINES = 3  # of a question


def write_contact_sheet(path: str | Path, images: Sequence[Any], texts: Sequence[str], first: int = 1) -> Path:
    """
    Draws pictures in rows of eight, each with its number and a text.

    Args:
        path (`str` or `Path`): the PNG to write.
        images (`Sequence`): n pictures or files; the first 200 are drawn.
        texts (`Sequence[str]`): n texts; what doesn't fit in three lines is cut off.
        first (`int`, *optional*, defaults to 1): number of the first.

    Returns:
        `Path`: the PNG.

    Raises:
        [`LeamlInputError`]: if a picture can't be read.
    """
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), 11)
    count = min(len(texts), MOST)
    across, down = min(count, COLUMNS), -(-count // COLUMNS)
    width, height = SIDE + MARGIN, SIDE + MARGIN + LINES * LINE
    sheet = Image.new("RGB", (across * width + MARGIN, down * height + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for place in range(count):
        left, top = MARGIN + place % COLUMNS * width, MARGIN + place // COLUMNS * height
        small = load_image(images[place])
        small.thumbnail((SIDE, SIDE))
        sheet.paste(small, (left, top))
        for line, text in enumerate(_lines(f"{first + place}. {texts[place]}", font)):
            draw.text((left, top + SIDE + line * LINE), text, "#1c2733", font)
    sheet.save(path)
    return Path(path)


def _lines(text: str, font: Any) -> list[str]:
    """A text in lines that are no wider than a picture."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= SIDE:
            lines[-1] = longer
        else:
            lines.append(word)
    lines = [line for line in lines if line]
    return lines if len(lines) <= LINES else [*lines[: LINES - 1], lines[LINES - 1] + " …"]
