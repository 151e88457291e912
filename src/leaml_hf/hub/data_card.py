"""The card of a folder of Visual Arrays shards: its YAML makes `load_dataset(folder, "chart-style")` work anywhere."""

import os
from collections import defaultdict
from pathlib import Path

from PIL import Image, ImageDraw

from ..data.shards import cell_of, read_manifest
from ..data.visual_arrays.builder import draw_scene
from ..data.visual_arrays.canvas import SIZE
from ..data.visual_arrays.conventions import VARIANTS
from ..data.visual_arrays.pictures import SOURCES
from ..data.visual_arrays.programs import PROGRAMS
from ..errors import LeamlInputError
from .baselines_section import baselines_section

LICENSE = "apache-2.0"
SHEET = "sheet.png"
_TEXT = """# Visual Arrays

Pictures with questions whose answers are known exactly, for controlled domain shifts: each task is drawn in a variant
`base` and in one variant per shift, with the same content, questions, set sizes and answers row by row, so that a
difference between two variants is due to the shift alone. Row i depends on the cell, the split, the seed and i.

```python
from datasets import load_dataset

rows = load_dataset("{name}", "{config}", split="test", streaming=True)
```

![One picture of every cell]({sheet})

## Sizes

{sizes}

## What shifts

{shifts}

## Columns

`image` (224 x 224 PNG), `question`, `answer`, `id`, `task`, `variant`, `domain`, `kind` (of chart or diagram),
`program` (the kind of question), `set_size` (objects in the picture), `distractors` (those that the answer does not
rest on), `complexity` (objects that must be read and compared), `relevant_boxes` (left, top, right, bottom in [0, 1]
of what decides the answer), `shift_factors` with `shift_strengths` (0 to 1), `seed`, `labelled`. Eight questions share
a picture. Every row has its answer; a method that keeps to the label budget reads only those of `labelled` rows (in
the training split those of every other picture) and treats the others as unlabelled. `source` and `licence` tell which
real picture lies behind the drawing, and under which licence; both are empty in the domain `synthetic`.

Programs: {programs}.

## What the questions give away

{baselines}
{pictures}
## Limits

{limits} Phrases come from templates, five or more a program. Questions are in English. Numbers are written with a
decimal point.

Fonts are those of the Google Fonts collection under the SIL Open Font License; names in the pictures are common words,
and invented ones; any likeness to a company or person means nothing.
"""

_PICTURES = """
## Real pictures

Rows of {domains} show what the rows of `synthetic` with the same number show, over crops of these pictures, turned a
little, mirrored, lighter or darker. Each picture belongs to one split.

| picture | domain | split | licence | credit |
|---|---|---|---|---|
{rows}
"""
_ALL_DRAWN = "Everything here is drawn: no result on it says how a model does on photographs or scans."
_DRAWN_OVER = """What is asked for is drawn, over few real pictures: no result on it says how a model understands
photographs or scans themselves, and none of it serves a diagnosis."""


def write_data_card(folder: str | os.PathLike, name: str = "org/visual-arrays") -> Path:
    """
    Writes `README.md` with YAML configs, and a contact sheet, from the manifest of a folder of shards and from what
    `measure_blind` left there.

    Args:
        folder (`str` or `os.PathLike`): an output of `write_shards`.
        name (`str`, *optional*, defaults to `"org/visual-arrays"`): how the data set is called on the Hub.

    Returns:
        `Path`: the card.

    Raises:
        [`LeamlInputError`]: if the folder has no finished shards.
    """
    from huggingface_hub import DatasetCardData

    folder = Path(folder)
    rows: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for file, entry in sorted(read_manifest(folder).items()):
        _, config, shard = file.split("/")
        rows[config][shard.split("-")[0]] += entry["rows"]
    if not rows:
        raise LeamlInputError(f"{folder} has no finished shards; run leaml generate --format parquet first.")
    total = sum(sum(splits.values()) for splits in rows.values())
    cells = [cell_of(config) for config in rows]
    domains = list(dict.fromkeys(domain for *_, domain in cells))
    real = [domain for domain in domains if domain in SOURCES]
    licences = {source.licence.lower() for domain in real for source in SOURCES[domain] if " " not in source.licence}
    data = DatasetCardData(
        license=[LICENSE, *sorted(licences)] if licences else LICENSE,
        language="en",
        pretty_name="Visual Arrays",
        task_categories=["visual-question-answering"],
        tags=[*domains, "charts", "diagrams", "domain-shift", "out-of-distribution"],
        size_categories=_size_category(total),
        configs=[
            {
                "config_name": config,
                "data_files": [{"split": split, "path": f"data/{config}/{split}-*.parquet"} for split in splits],
            }
            for config, splits in rows.items()
        ],
    )
    _sheet(cells).save(folder / SHEET)
    names = list(next(iter(rows.values())))
    lines = [f"| config | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {c} | " + " | ".join(f"{splits.get(s, 0):,}" for s in names) + " |" for c, splits in rows.items()]
    shifts = [
        f"- `{variant}`: " + (", ".join(f"{factor} ({strength:g})" for factor, strength in look.factors.items())
                              or "nothing")
        for variant, look in VARIANTS.items()
    ]  # fmt: skip
    programs = "; ".join(f"{task}: {', '.join(p.__name__ for p in PROGRAMS[task])}" for task in PROGRAMS)
    text = _TEXT.format(name=name, config=next(iter(rows)), sheet=SHEET, sizes="\n".join(lines),
                        shifts="\n".join(shifts), programs=programs,
                        baselines=baselines_section(folder, sorted({task for task, *_ in cells})),
                        pictures=_pictures(real),
                        limits=_DRAWN_OVER if real else _ALL_DRAWN)  # fmt: skip
    card = folder / "README.md"
    card.write_text(f"---\n{data.to_yaml()}\n---\n\n{text}")
    return card


def _pictures(domains: list[str]) -> str:
    """A table of the real pictures of the domains, "" where there are none."""
    rows = [
        f"| [{source.name}]({source.url}) | {domain} | {source.split} | {source.licence} | {source.credit} |"
        for domain in domains
        for source in SOURCES[domain]
    ]
    named = " and ".join(f"`{domain}`" for domain in domains)
    return _PICTURES.format(domains=named, rows="\n".join(rows)) if rows else ""


def _size_category(total: int) -> str:
    """The Hub's name for a number of rows."""
    for limit, name in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")):
        if total < limit:
            return name
    return "1M<n<10M"


def _sheet(cells: list[tuple[str, str, str]], across: int = 4) -> Image.Image:
    """`across` pictures of each cell in a row, the cell's name above them."""
    room, side = 18, SIZE
    sheet = Image.new("RGB", (across * (side + 4), len(cells) * (side + room)), "white")
    pen = ImageDraw.Draw(sheet)
    for row, (task, variant, domain) in enumerate(cells):
        top = row * (side + room)
        pen.text((4, top + 3), f"{task} / {variant} / {domain}", fill="black")
        for k in range(across):
            sheet.paste(draw_scene(task, variant, "test", k, domain=domain)[0].image, (k * (side + 4), top + room))
    return sheet
