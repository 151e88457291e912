"""The domains natural and medical: the rows of synthetic over real pictures, whose sources no two splits share."""

import numpy as np
import pytest
from huggingface_hub import DatasetCard
from PIL import Image

from leaml_hf import LeamlInputError
from leaml_hf.data.shards import read_manifest, write_shards
from leaml_hf.data.sources import parse_cell
from leaml_hf.data.visual_arrays import draw_scene, iter_rows, load_visual_arrays
from leaml_hf.data.visual_arrays import pictures as real
from leaml_hf.data.visual_arrays.builder import DOMAINS, grid
from leaml_hf.data.visual_arrays.canvas import FULL, RIM, SIZE, Canvas
from leaml_hf.data.visual_arrays.conventions import VARIANTS
from leaml_hf.data.visual_arrays.dataset_builder import VisualArrays
from leaml_hf.data.visual_arrays.draws import Draws
from leaml_hf.data.visual_arrays.pen import SCALE
from leaml_hf.data.visual_arrays.pictures import SOURCES, Backdrop, sample_backdrop, source_image
from leaml_hf.data.visual_arrays.scenes import SPLITS, TASKS
from leaml_hf.hub.data_card import write_data_card

LICENCES = {"CC0-1.0", "CC-BY-2.0", "MIT", "BSD-3-Clause", "public domain", "no known copyright restrictions"}
CELLS = [(task, variant, domain) for task, variant, domain in grid() if domain in SOURCES]


def cells(rows):
    """Rows without what a domain may change."""
    return [{k: v for k, v in row.items() if k not in ("image", "id", "domain", "source", "licence")} for row in rows]


class TestSources:
    @pytest.mark.parametrize("domain", SOURCES)
    def test_each_split_has_pictures_of_its_own(self, domain):
        sources = SOURCES[domain]
        assert len(sources) >= 12
        assert len({source.name for source in sources}) == len(sources)
        assert len({(source.package, source.path) for source in sources}) == len(sources)
        shares = [sum(source.split == split for source in sources) / len(sources) for split in SPLITS]
        assert np.allclose(shares, (0.6, 0.15, 0.25), atol=0.05), shares

    @pytest.mark.parametrize("source", [s for sources in SOURCES.values() for s in sources], ids=lambda s: s.name)
    def test_a_source_is_a_real_picture_under_a_known_licence(self, source):
        image = source_image(source)
        assert image.mode == "RGB"
        assert min(image.size) >= 100
        assert max(image.size) <= real.LONGEST
        assert np.asarray(image.convert("L")).std() > 8
        assert source.licence in LICENCES
        assert source.credit
        assert source.url.startswith(("https://", "http://", "ftp://"))

    @pytest.mark.parametrize("domain", SOURCES)
    def test_rows_of_a_split_show_all_of_its_sources_and_no_other(self, domain):
        for split in SPLITS:
            shown = {sample_backdrop(domain, "chart", split, i, 0, 28).source.name for i in range(80)}
            assert shown == {source.name for source in SOURCES[domain] if source.split == split}

    def test_crops_stay_within_their_source_and_differ(self):
        plain = Image.new("RGB", (120, 300), (255, 255, 255))
        rng = np.random.default_rng(0)
        levels = [np.asarray(real._crop(plain, rng, 64)) for _ in range(40)]
        assert all(level.min() == level.max() > 150 for level in levels)
        crops = {real._crop(source_image(SOURCES["natural"][0]), rng, 64).tobytes() for _ in range(40)}
        assert len(crops) == 40

    @pytest.mark.parametrize(("domain", "missing"), [("natural", "skimage"), ("medical", "data_store")])
    def test_a_missing_package_is_told_in_a_sentence(self, domain, missing, monkeypatch):
        folder = real._folder
        monkeypatch.setattr(real, "_folder", lambda package: None if package == missing else folder(package))
        name = real._DISTRIBUTIONS[missing]
        with pytest.raises(LeamlInputError, match=rf"needs pictures of {name}; run pip install .*\[pictures\]'\.$"):
            load_visual_arrays("layout", domain=domain, num_rows=8)
        with pytest.raises(LeamlInputError, match=name):
            parse_cell(f"visual-arrays:chart/base/{domain}")
        assert len(load_visual_arrays("layout", num_rows=8)) == 8


class TestRows:
    @pytest.mark.parametrize(("task", "variant", "domain"), CELLS)
    def test_only_the_picture_differs_from_synthetic(self, task, variant, domain):
        drawn = list(iter_rows(task, variant, "test", 0, 24))
        rows = list(iter_rows(task, variant, "test", 0, 24, domain=domain))
        assert cells(rows) == cells(drawn)
        assert {row["domain"] for row in rows} == {domain}
        assert not {row["id"] for row in rows} & {row["id"] for row in drawn}
        for row, other in zip(rows, drawn, strict=True):
            assert (row["image"].size, row["image"].mode) == ((SIZE, SIZE), "RGB")
            assert row["image"].tobytes() != other["image"].tobytes()
        licences = {source.name: source.licence for source in SOURCES[domain] if source.split == "test"}
        assert all(licences[row["source"]] == row["licence"] for row in rows)

    @pytest.mark.parametrize("domain", SOURCES)
    @pytest.mark.parametrize("task", TASKS)
    def test_every_part_and_character_is_where_synthetic_has_it(self, task, domain):
        for index in range(20):
            drawing, other = (draw_scene(task, "base", "train", index, 0, name)[0] for name in (domain, "synthetic"))
            assert drawing.parts == other.parts
            assert drawing.glyphs == other.glyphs
            assert drawing.annotations == other.annotations

    @pytest.mark.parametrize("domain", SOURCES)
    def test_the_colors_of_shapes_are_those_of_synthetic(self, domain):
        for index in range(20):
            drawing, scene, _ = draw_scene("layout", "base", "train", index, 0, domain)
            plain = draw_scene("layout", "base", "train", index)[0]
            pixels, others = np.asarray(drawing.image), np.asarray(plain.image)
            for mark, [box, *_] in zip(scene.marks, drawing.parts, strict=True):
                x, y = (int((box[k] + box[k + 2]) / 2 * SIZE) for k in (0, 1))
                assert (pixels[y, x] == others[y, x]).all(), mark

    @pytest.mark.parametrize("domain", SOURCES)
    def test_rows_depend_on_their_number_alone(self, domain):
        rows = list(iter_rows("annotated", "noise", "train", 0, 24, seed=3, domain=domain))
        again = list(iter_rows("annotated", "noise", "train", 13, 14, seed=3, domain=domain))
        assert again[0]["image"].tobytes() == rows[13]["image"].tobytes()
        assert again[0]["source"] == rows[13]["source"]

    def test_variants_of_a_row_show_the_same_source(self):
        shown = [draw_scene("chart", variant, "train", 5, 0, "natural")[0].source for variant in VARIANTS]
        assert len(set(shown)) == 1

    def test_synthetic_rows_have_no_source(self):
        row = next(iter_rows("chart", "base", "train", 0, 1))
        assert (row["source"], row["licence"], row["domain"]) == ("", "", "synthetic")


@pytest.mark.parametrize("ground", [(0, 0, 0), (255, 255, 255)])
def test_what_is_drawn_has_a_rim_that_tells_it_from_any_picture(ground):
    backdrop = Backdrop(Image.new("RGB", (SIZE, SIZE), ground), SOURCES["natural"][0], 0.0)
    canvas = Canvas(VARIANTS["base"], Draws(0), 0, backdrop)
    canvas.ground, canvas.ink = (250, 250, 250), (10, 10, 10)
    canvas.image.paste((*canvas.ground, 0), (0, 0, SIZE, SIZE))
    middle = FULL // 2
    canvas.draw.line((0, middle, FULL, middle), fill=canvas.ink, width=3)
    canvas.settle()
    column = [canvas.image.getpixel((25, (middle + offset) // SCALE)) for offset in (0, RIM, 10)]
    assert column == [(10, 10, 10), (250, 250, 250), ground]


class TestOutputs:
    def test_a_spec_names_a_domain(self):
        for domain in DOMAINS:
            assert parse_cell(f"visual-arrays:annotated/style/{domain}") == ("annotated", "style", domain)

    def test_shards_and_their_card_name_sources_and_licences(self, tmp_path, quick_cards):
        write_shards("visual-arrays:layout/base/natural", tmp_path, {"train": 16, "test": 8}, num_workers=1)
        assert {name.split("/")[1] for name in read_manifest(tmp_path)} == {"layout-base-natural"}
        card = DatasetCard.load(write_data_card(tmp_path))
        assert card.data.license == ["apache-2.0", "cc-by-2.0", "cc0-1.0"]
        assert "natural" in card.data.tags
        for source in SOURCES["natural"]:
            assert f"| [{source.name}]({source.url}) | natural | {source.split} | {source.licence} |" in card.text

    def test_the_builder_draws_the_same_rows(self, tmp_path):
        builder = VisualArrays(config_name="annotated-base-medical", num_rows=8, cache_dir=str(tmp_path))
        builder.download_and_prepare()
        expected = load_visual_arrays("annotated", domain="medical", split="validation", num_rows=8)
        for row, other in zip(builder.as_dataset("validation"), expected, strict=True):
            assert row.pop("image").tobytes() == other.pop("image").tobytes()
            assert row == other
