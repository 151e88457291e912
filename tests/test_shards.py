"""Parquet shards: the same bytes wherever they are drawn, whole after a kill, and read by `load_dataset`."""

import datasets
import pytest

from leaml_hf import LeamlInputError
from leaml_hf.data.shards import MANIFEST, read_manifest, shard_path, verify_shards, write_shards
from leaml_hf.data.visual_arrays import load_visual_arrays

CELL = "visual-arrays:chart/style"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    write_shards(CELL, folder, {"train": 50, "test": 20}, shard_rows=20, num_workers=1)
    return folder


def test_load_dataset_reads_the_layout_without_this_package(folder, tmp_path):
    files = {split: str(folder / f"data/chart-style/{split}-*.parquet") for split in ("train", "test")}
    loaded = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 50, "test": 20}
    drawn = load_visual_arrays("chart", "style", split="train", num_rows=50)
    assert loaded["train"].features == drawn.features
    for row, other in zip(loaded["train"], drawn, strict=True):
        assert row.pop("image").tobytes() == other.pop("image").tobytes()
        assert row == other
    streamed = datasets.load_dataset("parquet", data_files=files, streaming=True, split="test")
    assert next(iter(streamed))["image"].size == (224, 224)


def test_any_number_of_processes_gives_the_same_bytes_and_a_finished_output_is_left_alone(folder, tmp_path):
    out = write_shards(CELL, tmp_path, {"train": 50, "test": 20}, shard_rows=20, num_workers=2)
    assert (out["shards"], out["written"], out["rows"]) == (4, 4, 70)
    assert {n: e["sha256"] for n, e in read_manifest(tmp_path).items()} == {
        n: e["sha256"] for n, e in read_manifest(folder).items()
    }
    assert write_shards(CELL, tmp_path, {"train": 50, "test": 20}, shard_rows=20)["written"] == 0


def test_a_killed_run_goes_on_where_it_stopped(folder, tmp_path):
    write_shards(CELL, tmp_path, {"train": 50, "test": 20}, shard_rows=20, num_workers=1)
    lines = (tmp_path / MANIFEST).read_text().splitlines()
    lost = shard_path("chart-style", "train", 1, 3)
    kept = [line for line in lines if lost not in line]
    (tmp_path / MANIFEST).write_text("\n".join([*kept, lines[1][:30]]))  # killed while it wrote this line
    (tmp_path / MANIFEST).open("a").write("\n")
    (tmp_path / lost).write_bytes(b"half")
    assert write_shards(CELL, tmp_path, {"train": 50, "test": 20}, shard_rows=20, num_workers=1)["written"] == 1
    assert verify_shards(tmp_path) == 4
    assert read_manifest(tmp_path) == read_manifest(folder)
    rows = datasets.load_dataset("parquet", data_files=str(tmp_path / "data/chart-style/train-*.parquet"),
                                 split="train", cache_dir=str(tmp_path / "cache"))  # fmt: skip
    assert len(set(rows["id"])) == 50


def test_damage_is_found(tmp_path):
    write_shards(CELL, tmp_path, {"test": 16}, num_workers=1)
    shard = tmp_path / shard_path("chart-style", "test", 0, 1)
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(LeamlInputError, match="differs from its checksum"):
        verify_shards(tmp_path)
    shard.unlink()
    with pytest.raises(LeamlInputError, match="is missing"):
        verify_shards(tmp_path)
    with pytest.raises(LeamlInputError, match=MANIFEST):
        verify_shards(tmp_path / "data")


@pytest.mark.parametrize(
    ("spec", "rows", "reason"),
    [("visual-arrays:maps", 8, "no task"), (CELL, 0, "at least 1"), (CELL, 8, "other arguments")],
)
def test_wrong_use_is_told(folder, spec, rows, reason):
    with pytest.raises(LeamlInputError, match=reason):
        write_shards(spec, folder, {"train": rows}, num_workers=1)


def test_several_cells_share_a_folder(tmp_path):
    for cell in ("chart/base", "layout/style"):
        write_shards(f"visual-arrays:{cell}", tmp_path, {"test": 8}, num_workers=1)
    assert {name.split("/")[1] for name in read_manifest(tmp_path)} == {"chart-base", "layout-style"}
