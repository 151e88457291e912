"""Builds the folder of real charts: draws in several processes, balances the answers, swaps the finished folder in."""

import gc
import json
import os
import shutil
import tempfile
from collections import Counter, defaultdict
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np

from ...errors import LeamlInputError
from ..png import encode_png
from ..workers import finished
from .questions import PROGRAMS, Candidate, ask
from .sampling import KINDS, Chart, draw_size, sample_chart, supports
from .tables import RealTable, real_tables

VERSION = 2
MARKER = "real_charts.json"
SPLITS = {"train": 0.863, "validation": 0.056, "test": 0.081}
_KIND_CYCLE = ("bar", "line", "scatter", "pie", "hbar", "bar", "line", "pie", "scatter", "bar", "hbar")
_CHUNK = 50  # pictures that one task of a worker draws
_QUESTIONS = 5.25  # wanted rows a picture, on average
_MOST_QUESTIONS = 7
_ATTEMPTS = 2000


def default_cache_dir() -> Path:
    """
    Where data that is built once and used again is kept.

    Returns:
        `Path`: the folder in the environment variable `LEAML_CACHE`, else `~/.cache/leaml`; it need not exist.
    """
    return Path(os.environ.get("LEAML_CACHE") or Path.home() / ".cache" / "leaml")


def build_real_charts(
    output_dir: str | os.PathLike,
    num_pictures: int = 4640,
    seed: int = 0,
    num_workers: int | None = None,
    progress: bool = True,
) -> Path:
    """
    Draws charts of real tables and writes them with their questions as an ImageFolder.

    The tables of `train/`, `validation/` and `test/` are disjoint. The result depends on `num_pictures` and `seed`
    alone.
    A folder that is complete and was built with the same arguments is left as it is; a build that was killed leaves
    nothing behind that counts as complete, and the next one starts over.

    Args:
        output_dir (`str` or `os.PathLike`): the folder to write; it must be absent, empty or an earlier build.
        num_pictures (`int`, *optional*, defaults to 4640): pictures in all splits, at least 30; about five rows each.
        seed (`int`, *optional*, defaults to 0): decides tables, numbers, styles and questions.
        num_workers (`int`, *optional*): processes that draw; by default one for each core. With one, all is drawn in
            this process. More are started afresh ("spawn"), so a script needs its `if __name__ == "__main__":`.
        progress (`bool`, *optional*, defaults to `True`): show a progress bar on standard error.

    Returns:
        `Path`: the folder.

    Raises:
        [`LeamlInputError`]: if `num_pictures` is too small, or `output_dir` holds something else.
    """
    from filelock import FileLock

    if num_pictures < 30:
        raise LeamlInputError(f"num_pictures is {num_pictures}: ask for at least 30 pictures.")
    folder = Path(output_dir)
    wanted = {"version": VERSION, "num_pictures": num_pictures, "seed": seed}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if _built_with(folder) == wanted:
            return folder
        for stale in folder.parent.glob(f".{folder.name}.partial*"):
            shutil.rmtree(stale)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.partial-", dir=folder.parent))
        partial.chmod(0o755)
        rows = _draw_all(partial, num_pictures, seed, num_workers or os.cpu_count() or 1, progress)
        for split in SPLITS:
            lines = (json.dumps(row, ensure_ascii=False) for row in rows if row["split"] == split)
            (partial / split / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        marker = {**wanted, "num_rows": len(rows), "tables": [_about(table) for table in real_tables()]}
        (partial / MARKER).write_text(json.dumps(marker, indent=1), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    return folder


def _about(table: RealTable) -> dict[str, object]:
    about = asdict(table)
    del about["load"]
    return about


def _built_with(folder: Path) -> dict[str, int] | None:
    """The arguments an earlier build was made with; an error if the folder holds something else."""
    marker = folder / MARKER
    if marker.is_file():
        found = json.loads(marker.read_text(encoding="utf-8"))
        return {key: found[key] for key in ("version", "num_pictures", "seed")}
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise LeamlInputError(f"{folder} holds something other than real charts: choose a new or an empty folder.")
    return None


def _split_sizes(num_pictures: int) -> dict[str, int]:
    sizes = {split: round(share * num_pictures) for split, share in SPLITS.items()}
    return {**sizes, "train": num_pictures - sizes["validation"] - sizes["test"]}


def _draw_all(folder: Path, num_pictures: int, seed: int, num_workers: int, progress: bool) -> list[dict]:
    from tqdm import tqdm

    tasks = []
    for split, size in _split_sizes(num_pictures).items():
        (folder / split).mkdir(parents=True)
        starts = range(0, size, _CHUNK)
        tasks += [(folder / split, split, seed, start, min(size, start + _CHUNK)) for start in starts]
    drawn: dict[tuple[str, int], list[tuple[dict, list[Candidate]]]] = {}
    with tqdm(total=num_pictures, desc="real charts", unit="picture", disable=not progress) as bar:
        for task, pictures in finished(_draw_chunk, tasks, num_workers):
            drawn[task[1], task[3]] = pictures
            bar.update(len(pictures))
    rows = []
    for split in SPLITS:
        pictures = [picture for key in sorted(drawn) if key[0] == split for picture in drawn[key]]
        rows += choose_questions(pictures, np.random.default_rng([seed, len(pictures)]))
    return rows


def _draw_chunk(folder: Path, split: str, seed: int, start: int, stop: int) -> list[tuple[dict, list[Candidate]]]:
    """Draws and saves the pictures `start` to `stop` of a split; gives what is known about each and its questions."""
    from PIL import Image

    pictures = []
    gc.disable()  # a chart leaves thousands of objects; they are looked through once, at the end
    for index in range(start, stop):
        rng = np.random.default_rng([seed, tuple(SPLITS).index(split), index])
        table, chart, pixels, candidates = draw_one(split, _KIND_CYCLE[index % len(_KIND_CYCLE)], rng)
        name = f"{split}-{index:05d}.png"
        (folder / name).write_bytes(encode_png(Image.fromarray(pixels)))
        pictures.append((_facts(table, chart, split, index, seed, name), candidates))
    gc.enable()
    gc.collect()
    return pictures


def draw_one(split: str, kind: str, rng: np.random.Generator) -> tuple[RealTable, Chart, np.ndarray, list[Candidate]]:
    """
    Draws one chart from a table of a split.

    Args:
        split (`str`): `train`, `validation` or `test`.
        kind (`str`): `bar`, `hbar`, `line`, `pie` or `scatter`.
        rng (`np.random.Generator`): the only source of chance.

    Returns:
        `tuple`: the table, what the chart shows, the picture (uint8 `[320, 320, 3]`) and all questions it can bear.
    """
    from .drawing import draw_picture

    size = draw_size(kind, rng)
    tables, weights = _tables_for(split, kind)
    table = tables[rng.choice(len(tables), p=weights)]
    for attempt in range(1, _ATTEMPTS + 1):
        if attempt % 8 == 0:
            table = tables[rng.choice(len(tables), p=weights)]
        if attempt % 200 == 0:  # the tables of a small split may have no clear chart of this size
            size = draw_size(kind, rng)
        chart = sample_chart(table, kind, size, rng)
        if chart is None:
            continue
        candidates = ask(chart, rng)
        if len(candidates) < (2 if kind == "scatter" else 3):
            continue
        pixels = draw_picture(chart, rng)
        if pixels is not None:
            return table, chart, pixels, candidates
    raise RuntimeError(f"no {kind} chart could be drawn from the {split} tables")


@cache
def _tables_for(split: str, kind: str) -> tuple[list[RealTable], np.ndarray]:
    """Tables that bear charts of a kind, and their chances: the fewer other kinds a table bears, the higher."""
    kinds = {
        table: {other for other in KINDS if any(supports(source, other) for source in table.load())}
        for table in real_tables(split)
    }
    fitting = [table for table, others in kinds.items() if kind in others]
    weights = np.array([1 / len(kinds[table]) for table in fitting])
    return fitting, weights / weights.sum()


def _facts(table: RealTable, chart: Chart, split: str, index: int, seed: int, name: str) -> dict[str, object]:
    return {
        "file_name": name,
        "split": split,
        "index": index,
        "table": table.name,
        "source": table.package,
        "chart_type": chart.kind,
        "set_size": chart.set_size,
        "domain": "real",
        "seed": seed,
        "title": chart.title,
        "labels": chart.labels,
        "colors": chart.color_names,
        "values": [float(f"{value:.6g}") for value in chart.values],
    }


def choose_questions(pictures: list[tuple[dict, list[Candidate]]], rng: np.random.Generator) -> list[dict]:
    """
    Chooses about five questions for each picture so that programs are spread out and answers give nothing away.

    Of the questions whose answer comes from a short list, in each form, no answer is kept much more often than the
    rarest one; programs that have been asked least come first.

    Args:
        pictures (`list`): facts and candidate questions of each picture of one split.
        rng (`np.random.Generator`): breaks ties.

    Returns:
        `list[dict]`: rows of `metadata.jsonl`.
    """
    possible: dict[str, Counter] = defaultdict(Counter)
    for _, candidates in pictures:
        for candidate in candidates:
            possible[candidate.variant][candidate.answer] += 1
    used: dict[str, Counter] = defaultdict(Counter)
    asked: Counter = Counter()
    chosen: list[list[Candidate]] = [[] for _ in pictures]
    total = 0
    for turn in range(_MOST_QUESTIONS):
        for index in rng.permutation(len(pictures)):
            if turn >= 3 and total >= _QUESTIONS * len(pictures):
                break
            forms = {candidate.variant for candidate in chosen[index]}
            programs = Counter(candidate.program for candidate in chosen[index])
            unasked = [
                candidate
                for candidate in pictures[index][1]
                if candidate.variant not in forms and programs[candidate.program] < 2
            ]
            open_to_ask = [
                candidate
                for candidate in unasked
                if not candidate.closed or _allowed(candidate, used[candidate.variant], possible[candidate.variant])
            ]
            if turn == 2 and not chosen[index]:
                open_to_ask = open_to_ask or unasked[:1]  # every picture has a question, if only for its type
            if not open_to_ask:
                continue
            rng.shuffle(open_to_ask)
            candidate = min(open_to_ask, key=lambda item: (asked[item.program], used[item.variant][item.answer]))
            chosen[index].append(candidate)
            used[candidate.variant][candidate.answer] += 1
            asked[candidate.program] += 1
            total += 1
    rows = []
    for (facts, _), candidates in zip(pictures, chosen, strict=True):
        for place, candidate in enumerate(sorted(candidates, key=lambda item: PROGRAMS.index(item.program))):
            row = {key: value for key, value in facts.items() if key != "index"}
            row |= {"question": candidate.question, "answer": candidate.answer, "program": candidate.program}
            row |= {"variant": candidate.variant, "id": f"real-{facts['split']}-{facts['index']:05d}-{place}"}
            rows.append(row)
    return rows


def _allowed(candidate: Candidate, used: Counter, possible: Counter) -> bool:
    """Whether an answer may be given again: never far ahead of the one given least or, of many, of the rarest."""
    if len(possible) <= 4:
        return used[candidate.answer] <= min(used[answer] for answer in possible) + 1
    return used[candidate.answer] <= 1.1 * min(possible.values())
