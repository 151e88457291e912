"""Writes cells of Visual Arrays as parquet shards with embedded pictures, in a layout that `load_dataset` reads.

Each shard depends on its arguments alone, so that any machine writes the same bytes with the same library versions; a
killed run goes on with the shards that are missing, without a duplicate or a gap.
"""

import hashlib
import os
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from ..errors import LeamlInputError
from .journal import append_journal, read_journal
from .sources import parse_cell
from .visual_arrays.builder import DOMAINS, cell_name, grid, iter_encoded_rows, row_features
from .workers import finished

MANIFEST = "checksums.jsonl"
SHARD_ROWS = 4000
# Rows of each cell, by domain, at full size: a million training pairs, 200,000 a variant, half of them labelled.
FULL_ROWS = {domain: {"train": 30_000 if domain == "synthetic" else 10_000, "validation": 800, "test": 1600}
             for domain in DOMAINS}  # fmt: skip


def config_name(spec: str) -> str:
    """`chart-style` of `visual-arrays:chart/style`; the domain is added where it is not synthetic."""
    return cell_name(*parse_cell(spec))


def cell_of(config: str) -> tuple[str, str, str]:
    """Task, variant and domain of a `config_name`."""
    return next(cell for cell in grid() if cell_name(*cell) == config)


def shard_path(config: str, split: str, shard: int, shards: int) -> str:
    """Where a shard lies below the output folder, as data sets on the Hub have it."""
    return f"data/{config}/{split}-{shard:05d}-of-{shards:05d}.parquet"


def write_shards(
    specs: str | Sequence[str],
    output: str | os.PathLike,
    rows: dict[str, int],
    seed: int = 0,
    shard_rows: int = SHARD_ROWS,
    num_workers: int | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """
    Writes cells as parquet shards; what a killed run has written is kept.

    Args:
        specs (`str` or `Sequence[str]`): `visual-arrays:task/variant/domain`, or several of them.
        output (`str` or `os.PathLike`): a folder; cells may be added to it later.
        rows (`dict[str, int]`): rows of each split of a cell.
        seed (`int`, *optional*, defaults to 0): of the drawing.
        shard_rows (`int`, *optional*, defaults to 4000): rows of a shard, the last one of a split excepted.
        num_workers (`int`, *optional*): processes; by default one for each core. More than one are started afresh
            ("spawn"), so a script needs its `if __name__ == "__main__":`.
        progress (`bool`, *optional*, defaults to `False`): whether to show a bar.

    Returns:
        `dict`: `output, configs, rows, shards, written` (shards that were not there yet) and `bytes` of all shards.

    Raises:
        [`LeamlInputError`]: if the cell does not exist, a number is below 1, or the folder holds shards of the same
            cell made with other arguments.
    """
    from tqdm import tqdm

    specs = [specs] if isinstance(specs, str) else list(specs)
    cells = {config_name(spec): parse_cell(spec) for spec in specs}
    if shard_rows < 1 or not rows or min(rows.values()) < 1:
        raise LeamlInputError(f"Rows and rows of a shard must be at least 1, not {rows} and {shard_rows}.")
    folder = Path(output)
    if folder.is_file():
        raise LeamlInputError(f"{folder} is a file; give a folder.")
    tasks = []
    for (config, (task, variant, domain)), (split, count) in product(cells.items(), rows.items()):
        shards = -(-count // shard_rows)
        for shard in range(shards):
            start, name = shard * shard_rows, shard_path(config, split, shard, shards)
            tasks.append((name, task, variant, domain, split, start, min(count, start + shard_rows), seed))
    listed = read_manifest(folder)
    _check_arguments(folder, set(cells), listed, tasks)
    missing = [(folder, *task) for task in tasks if task[0] not in listed or not (folder / task[0]).is_file()]
    total = len(cells) * sum(rows.values())
    with tqdm(total=total, desc=", ".join(cells)[:40], unit="row", disable=not progress) as bar:
        bar.update(total - sum(stop - start for *_, start, stop, _ in missing))
        for _, entry in finished(_write_shard, missing, num_workers or os.cpu_count() or 1):
            append_journal(folder / MANIFEST, entry)
            bar.update(entry["rows"])
    size = sum((folder / task[0]).stat().st_size for task in tasks)
    return {"output": str(folder), "configs": list(cells), "rows": total, "shards": len(tasks),
            "written": len(missing), "bytes": size}  # fmt: skip


def _check_arguments(folder: Path, configs: set[str], listed: dict[str, dict[str, Any]], tasks: list[tuple]) -> None:
    """Refuses to mix shards of a cell that were made with different arguments."""
    wanted = {name: [start, stop, seed] for name, *_, start, stop, seed in tasks}
    for name, entry in listed.items():
        config = name.split("/")[1]
        if config in configs and wanted.get(name) != [entry["start"], entry["stop"], entry["seed"]]:
            raise LeamlInputError(f"{folder} holds shards of {config} made with other arguments ({name}); give a new "
                                  "folder.")  # fmt: skip


def read_manifest(folder: str | os.PathLike) -> dict[str, dict[str, Any]]:
    """Entries of the manifest by file: `file, rows, start, stop, seed, sha256`, without a line cut off by a kill."""
    return {entry["file"]: entry for entry in read_journal(Path(folder) / MANIFEST)}


def verify_shards(folder: str | os.PathLike) -> int:
    """
    Checks every shard against the manifest.

    Args:
        folder (`str` or `os.PathLike`): an output of [`write_shards`].

    Returns:
        `int`: shards that are whole.

    Raises:
        [`LeamlInputError`]: if there is no manifest, or a shard is missing or differs; the sentence names it.
    """
    entries = read_manifest(folder)
    if not entries:
        raise LeamlInputError(f"{folder} has no {MANIFEST}; it is not a finished output of leaml generate.")
    for name, entry in entries.items():
        path = Path(folder) / name
        if not path.is_file() or _sha256(path) != entry["sha256"]:
            state = "differs from its checksum" if path.is_file() else "is missing"
            raise LeamlInputError(f"{name} {state}; delete it and run leaml generate again.")
    return len(entries)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_shard(
    folder: Path, name: str, task: str, variant: str, domain: str, split: str, start: int, stop: int, seed: int
) -> dict[str, Any]:
    """Draws one shard, writes it beside its place and moves it there when it is whole."""
    import datasets
    from pyarrow import parquet

    columns: dict[str, list[Any]] = {column: [] for column in row_features()}
    for row in iter_encoded_rows(task, variant, split, start, stop, seed, domain):
        for column, values in columns.items():
            values.append(row[column])
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    rows = datasets.Dataset.from_dict(columns, features=row_features())
    parquet.write_table(rows.with_format("arrow")[:].cast(rows.features.arrow_schema), partial)
    partial.replace(path)
    return {"file": name, "rows": stop - start, "start": start, "stop": stop, "seed": seed, "sha256": _sha256(path)}
