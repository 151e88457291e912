"""Parquet shards: the same bytes wherever they are drawn, whole after a kill, and read by `load_dataset`."""

import datasets
import pytest
from huggingface_hub import DatasetCard
from PIL import Image

from leaml_hf import LeamlInputError
from leaml_hf.data.shards import (
    MANIFEST,
    cell_of,
    config_name,
    read_manifest,
    shard_path,
    verify_shards,
    write_shards,
)
from leaml_hf.data.visual_arrays import load_visual_arrays
from leaml_hf.data.visual_arrays.builder import grid
from leaml_hf.data.visual_arrays.dataset_builder import VisualArrays
from leaml_hf.hub.data_card import SHEET, write_data_card

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


@pytest.fixture(scope="module")
def published(tmp_path_factory, quick_cards):
    folder = tmp_path_factory.mktemp("published")
    for cell in ("chart/content", "diagram/noise"):
        write_shards(f"visual-arrays:{cell}", folder, {"train": 24, "test": 8}, num_workers=1)
    write_data_card(folder, "org/visual-arrays")
    return folder


class TestCard:
    def test_a_config_is_loaded_by_its_name(self, published, tmp_path):
        assert datasets.get_dataset_config_names(str(published)) == ["chart-content", "diagram-noise"]
        loaded = datasets.load_dataset(str(published), "diagram-noise", cache_dir=str(tmp_path))
        assert {split: len(rows) for split, rows in loaded.items()} == {"test": 8, "train": 24}
        streamed = datasets.load_dataset(str(published), "chart-content", split="test", streaming=True)
        assert next(iter(streamed))["variant"] == "content"

    def test_the_card_tells_sizes_and_shows_every_cell(self, published):
        card = DatasetCard.load(published / "README.md")
        assert (card.data.license, card.data.size_categories) == ("apache-2.0", "n<1K")
        assert card.data.task_categories == ["visual-question-answering"]
        assert "| chart-content | 8 | 24 |" in card.text
        with Image.open(published / SHEET) as sheet:
            assert sheet.height > 2 * 224

    def test_a_folder_without_shards_is_told(self, tmp_path):
        with pytest.raises(LeamlInputError, match="no finished shards"):
            write_data_card(tmp_path)

    def test_every_cell_has_a_config_name(self):
        assert [cell_of(config_name("visual-arrays:" + "/".join(cell))) for cell in grid()] == grid()


def test_the_builder_draws_the_same_rows(tmp_path):
    builder = VisualArrays(config_name="layout-style", num_rows=24, cache_dir=str(tmp_path))
    builder.download_and_prepare()
    drawn = load_visual_arrays("layout", "style", split="test", num_rows=24)
    for row, other in zip(builder.as_dataset("test"), drawn, strict=True):
        assert row.pop("image").tobytes() == other.pop("image").tobytes()
        assert row == other
    assert next(iter(builder.as_streaming_dataset("train")))["variant"] == "style"
