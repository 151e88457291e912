import hashlib
import json
import re
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from leaml_hf.data.real_charts import build_real_charts, default_cache_dir, real_charts_baselines, real_tables
from leaml_hf.data.real_charts.builder import MARKER, choose_questions, draw_one
from leaml_hf.data.real_charts.palettes import color_name, palettes
from leaml_hf.data.real_charts.questions import CLEAR, PROGRAMS, Candidate, ask, tick_text
from leaml_hf.data.real_charts.sampling import KINDS, Chart
from leaml_hf.data.real_charts.tables import MAX_LABEL, Grid
from leaml_hf.errors import LeamlInputError

SPLITS = ("train", "validation", "test")
SIZE = 33  # pictures of a small build: every kind three times


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_real_charts(tmp_path_factory.mktemp("charts") / "real", SIZE, seed=3, num_workers=1, progress=False)


def read_rows(folder, split):
    return [json.loads(line) for line in (folder / split / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# ------------------------------------------------------------------------------------------------------------- tables


def test_there_are_many_tables_in_disjoint_splits():
    names = {split: {table.name for table in real_tables(split)} for split in SPLITS}
    assert len(real_tables()) >= 36
    assert sum(len(part) for part in names.values()) == len(set().union(*names.values())) == len(real_tables())
    assert 0.5 <= len(names["train"]) / len(real_tables()) <= 0.65
    assert 0.25 <= len(names["test"]) / len(real_tables()) <= 0.35


@pytest.mark.parametrize("table", real_tables(), ids=lambda table: table.name)
def test_a_table_gives_numbers_with_short_labels(table):
    assert table.licence and table.columns
    for source in table.load():
        if isinstance(source, Grid):
            assert source.values.shape == (len(source.rows), len(source.columns))
            assert all(0 < len(label) <= MAX_LABEL for label in source.rows)
            assert len(set(source.rows)) == len(source.rows) and len(set(source.columns)) == len(source.columns)
            assert np.isfinite(source.values).any()
        else:
            assert source.values.shape[1] == len(source.columns) >= 2
            assert np.isfinite(source.values).all()


def test_numbers_are_those_of_the_source():
    tables = {table.name: table for table in real_tables()}
    nile = tables["nile"].load()[0]
    assert dict(zip(nile.columns, nile.values[0], strict=True))["1871"] == 1120  # Cobb 1978
    setosa = tables["iris"].load()[0]
    np.testing.assert_allclose(setosa.values[setosa.rows.index("Setosa")], [5.006, 3.428, 1.462, 0.246], atol=1e-3)


# ------------------------------------------------------------------------------------------------------------- colours


@pytest.mark.parametrize(
    "color, name",
    [
        *[("#1f77b4", "blue"), ("#ff7f0e", "orange"), ("#d62728", "red"), ("#8c564b", "brown"), ("#ffff00", "yellow")],
        *[("#808080", "gray"), ("#000000", "black"), ("#008080", "teal"), ("#ff69b4", "pink"), ("#ccb974", None)],
    ],
)
def test_color_names(color, name):
    assert color_name(color) == name


def test_no_palette_has_two_colors_of_one_name():
    assert len(palettes()) >= 12
    for palette in palettes():
        assert len({name for _, name in palette}) == len(palette) >= 5


# ------------------------------------------------------------------------------------------------------------ pictures


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split", SPLITS)
def test_every_kind_is_drawn_whole_from_every_split(split, kind):
    rng = np.random.default_rng([SPLITS.index(split), KINDS.index(kind)])
    table, chart, pixels, candidates = draw_one(split, kind, rng)
    assert table.split == split and chart.kind == kind and candidates
    assert pixels.shape == (320, 320, 3) and pixels.dtype == np.uint8
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (border == border[0]).all()  # nothing is cut off at the edge


@pytest.mark.parametrize("kind", ["bar", "hbar", "pie", "line"])
def test_the_named_colors_are_in_the_picture(kind):
    rng = np.random.default_rng(7)
    chart = None
    while chart is None or not chart.own_colors:
        _, chart, pixels, _ = draw_one("train", kind, rng)
    for color, name in zip(chart.colors, chart.color_names, strict=True):
        drawn = np.array([int(color[start : start + 2], 16) for start in (1, 3, 5)])
        assert (np.abs(pixels.astype(int) - drawn).max(axis=-1) <= 2).sum() >= 25
        assert color_name(color) == name


# ----------------------------------------------------------------------------------------------------------- questions


@given(
    values=st.lists(st.floats(0.5, 100), min_size=3, max_size=8),
    kind=st.sampled_from(["bar", "hbar"]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60)
def test_questions_about_bars_are_answered_from_the_values(values, kind, seed):
    palette = next(palette for palette in palettes() if len(palette) >= 8)
    names = [name for _, name in palette][: len(values)]
    labels = [f"L{place}" for place in range(len(values))]
    numbers = np.array(values)
    chart = Chart(kind, "t", labels, numbers, ["#000000"] * len(values), names, own_colors=True)
    chart.ticks, chart.limits = np.arange(0.0, 120, 20), (0.0, 110.0)
    gap = np.diff(np.sort(numbers))
    for item in ask(chart, np.random.default_rng(seed)):
        most = re.search(r"tallest|longest|shortest", item.question)
        mark = (numbers.argmin() if most[0] == "shortest" else numbers.argmax()) if most else None
        if item.program in ("extreme_color", "extreme_label", "position"):
            assert (gap[0] if most[0] == "shortest" else gap[-1]) >= CLEAR * 110
            expected = {"extreme_color": names, "extreme_label": labels, "position": range(1, 9)}[item.program][mark]
            assert item.answer == str(expected)
        elif item.program == "count":
            assert item.answer == str(len(values))
        elif item.program == "value":
            assert abs(float(item.answer) - numbers[mark]) <= 4
        elif item.program == "label_to_color":
            assert item.answer == names[int(re.search(r"L(\d)", item.question)[1])]
        elif item.program == "second_color":
            assert item.answer == names[np.argsort(numbers)[-2]]
            assert gap[-1] >= CLEAR * 110 and gap[-2] >= CLEAR * 110
        elif item.program == "twice":
            assert item.answer == ("yes" if numbers.max() > 2 * numbers.min() else "no")
        elif item.program == "side":
            ends = ("left", "right") if kind == "bar" else ("top", "bottom")
            assert item.answer == ends[int(numbers.argmax() > (len(values) - 1) / 2)]
        elif item.program == "orientation":
            assert item.answer == {"bar": "vertical", "hbar": "horizontal"}[kind]
        elif item.program == "more_than":
            assert item.answer == ("yes" if len(values) > int(re.search(r"\d+", item.question)[0]) else "no")
        elif item.program in ("legend", "one_color"):
            assert item.answer == "no"


@pytest.mark.parametrize(("points", "part"), [([9, 2, 1, 3, 2], "start"), ([1, 2, 9, 2, 1], "middle"),
                                              ([1, 2, 3, 5, 9], "end"), ([1, 9, 1, 1, 1], None),
                                              ([9, 2, 1, 3, 8.9], None)])  # fmt: skip
def test_a_line_peaks_in_the_part_that_holds_its_clear_maximum(points, part):
    line = np.array([points], dtype=float)
    chart = Chart("line", "t", ["a"], line[:, -1], ["#0000ff"], ["blue"], False, np.arange(0.0, 12, 2), (0.0, 10.0))
    chart.lines = line
    asked = [item.answer for item in ask(chart, np.random.default_rng(0)) if item.program == "peak"]
    assert asked == ([] if part is None else [part])


def test_comparisons_come_in_both_answers_and_agree_with_the_values(folder):
    seen = 0
    for split in SPLITS:
        for row in read_rows(folder, split):
            if not row["variant"].startswith("compare_color:"):
                continue
            found = [name for name in re.findall(r"[a-z]+", row["question"].casefold()) if name in row["colors"]]
            first, second = found[0], next(name for name in found if name != found[0])
            value = dict(zip(row["colors"], row["values"], strict=True))
            shrinks = row["variant"].split(":")[1] in ("shorter", "smaller")
            assert row["answer"] == ("yes" if (value[first] > value[second]) != shrinks else "no")
            seen += 1
    assert seen


def test_tick_text():
    assert [tick_text(value) for value in (0.25, 5.0, 9999.0, 20000.0, 2.5e6)] == ["0.25", "5", "9999", "20k", "2.5M"]


def test_closed_answers_are_kept_in_balance():
    rng = np.random.default_rng(0)
    facts = {"split": "train", "file_name": "x.png"}
    pictures = [
        ({**facts, "index": index}, [Candidate("share", "share:half", "?", "yes" if index % 5 else "no", closed=True),
                                     Candidate("value", "value:", "?", "1")])
        for index in range(100)
    ]  # fmt: skip
    rows = choose_questions(pictures, rng)
    counts = Counter(row["answer"] for row in rows if row["program"] == "share")
    assert counts["no"] == 20 and counts["yes"] <= 22
    assert len({row["id"] for row in rows}) == len(rows)


# --------------------------------------------------------------------------------------------------------------- build


def test_the_folder_is_an_image_folder(folder):
    tables = defaultdict(set)
    for split in SPLITS:
        rows = read_rows(folder, split)
        assert {row["file_name"] for row in rows} == {path.name for path in (folder / split).glob("*.png")}
        for row in rows:
            tables[split].add(row["table"])
            assert row["domain"] == "real" and row["split"] == split and row["seed"] == 3
            assert row["program"] in PROGRAMS and row["chart_type"] in KINDS
            assert row["question"] and len(row["answer"]) >= 1 and len(row["answer"].split()) <= 2
            assert row["set_size"] == len(row["values"]) == len(row["colors"])
        with Image.open(folder / split / rows[0]["file_name"]) as image:
            assert image.size == (320, 320) and image.mode == "RGB"
        assert tables[split] <= {table.name for table in real_tables(split)}


def test_datasets_reads_every_row(folder, tmp_path):
    from datasets import load_dataset

    loaded = load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(tmp_path))
    assert {split: len(loaded[split]) for split in SPLITS} == {
        split: len(read_rows(folder, split)) for split in SPLITS
    }
    assert {"image", "question", "answer", "id", "program"} <= set(loaded["test"].column_names)


def test_the_same_seed_gives_the_same_bytes_in_any_number_of_processes(folder, tmp_path):
    again = build_real_charts(tmp_path / "again", SIZE, seed=3, num_workers=2, progress=False)
    assert digest(again) == digest(folder)


def test_a_finished_build_is_kept_and_a_half_one_is_not(folder, tmp_path):
    before = digest(folder)
    stamp = (folder / MARKER).stat().st_mtime_ns
    assert build_real_charts(folder, SIZE, seed=3, num_workers=1, progress=False) == folder
    assert (folder / MARKER).stat().st_mtime_ns == stamp

    target = tmp_path / "charts"
    killed = tmp_path / ".charts.partial" / "train"  # what a killed build leaves
    killed.mkdir(parents=True)
    (killed / "train-99999.png").write_bytes(b"half")
    build_real_charts(target, SIZE, seed=3, num_workers=1, progress=False)
    assert digest(target) == before
    assert not killed.exists()

    build_real_charts(target, SIZE, seed=4, num_workers=1, progress=False)  # other arguments: built anew
    assert json.loads((target / MARKER).read_text())["seed"] == 4
    assert digest(target) != before


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(LeamlInputError, match="something other than real charts"):
        build_real_charts(tmp_path, SIZE, num_workers=1, progress=False)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with pytest.raises(LeamlInputError, match="at least 30"):
        build_real_charts(tmp_path / "small", 5, num_workers=1, progress=False)


def test_baselines(folder, tmp_path):
    figures = real_charts_baselines(folder)
    assert figures["n"] == len(read_rows(folder, "test")) == sum(part["n"] for part in figures["programs"].values())
    assert 0 <= figures["prior"] <= 1 and 0 <= figures["question_only"] <= 0.6
    with pytest.raises(LeamlInputError, match="build the real charts first"):
        real_charts_baselines(tmp_path)


def test_cache_dir_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("LEAML_CACHE", str(tmp_path))
    assert default_cache_dir() == tmp_path
    monkeypatch.delenv("LEAML_CACHE")
    assert default_cache_dir().parts[-2:] == (".cache", "leaml")
