"""Grouped and stacked bars, areas, heat maps and box plots: answers, boxes, wording and dense targets."""

import re
from collections import Counter, defaultdict
from itertools import chain

import numpy as np
import pytest
from chart_answers import answer_kind
from PIL import ImageDraw

from leaml_hf.data.baselines import question_baselines
from leaml_hf.data.visual_arrays import draw_scene, iter_rows
from leaml_hf.data.visual_arrays.builder import ask_scene
from leaml_hf.data.visual_arrays.conventions import COLOR_NAMES, VARIANTS
from leaml_hf.data.visual_arrays.draws import Draws
from leaml_hf.data.visual_arrays.programs import PROGRAMS
from leaml_hf.data.visual_arrays.renderers import render
from leaml_hf.data.visual_arrays.sampling import sample_scene
from leaml_hf.data.visual_arrays.scenes import GRID_KINDS, SERIES_KINDS, Scene
from leaml_hf.data.visual_arrays.scenes_area import sample_areas
from leaml_hf.data.visual_arrays.scenes_boxes import sample_boxes
from leaml_hf.data.visual_arrays.scenes_grid import sample_grouped, sample_heat_map, sample_stacked
from leaml_hf.data.visual_arrays.targets import ATTRIBUTES, IGNORE, attribute_table, name_id

SAMPLERS = {"grouped": sample_grouped, "stacked": sample_stacked, "area": sample_areas, "heatmap": sample_heat_map,
            "boxplot": sample_boxes}  # fmt: skip
OWN = {
    "grouped": {"group_top", "group_peak", "group_compare", "group_change", "group_value", "count_places"},
    "stacked": {"stack_part", "stack_top", "over_half", "stack_compare", "stack_order", "stack_total",
                "count_places"},
    "area": {"area_top", "thickest", "areas_cross", "areas_stacked", "stack_order", "trend"},
    "heatmap": {"count_rows", "count_columns", "cell_row", "cell_column", "column_peak", "row_peak", "cell_compare",
                "cell_value"},
    "boxplot": {"median_top", "median_color", "box_spread", "whisker_top", "has_outliers", "count_outlying",
                "median_compare", "over_quartile", "median_value", "count"},
}  # fmt: skip
SHARED = {"count_series", "label_to_color", "color_to_label", "has_color", "at_least", "key"}
NEW = set().union(*OWN.values(), {"count_series"}) - {"count", "trend"}


@pytest.fixture(scope="module")
def asked() -> list:
    """Scenes and questions of 1,200 charts."""
    return [ask_scene("chart", "train", index) for index in range(1200)]


def scenes(kind: str, count: int):
    return [SAMPLERS[kind](np.random.default_rng([5, i])) for i in range(count)]


def picture(scene: Scene, variant: str = "base", seed: int = 0):
    return render(scene, variant, Draws(seed))


class TestQuestions:
    def test_new_kinds_are_45_in_100(self, asked):
        kinds = Counter(scene.kind for scene, _ in asked)
        assert 0.4 < sum(kinds[kind] for kind in SAMPLERS) / len(asked) < 0.5
        assert all(kinds[kind] > 70 for kind in SAMPLERS)

    def test_each_kind_is_asked_what_suits_it(self, asked):
        found = defaultdict(set)
        for scene, questions in asked:
            found[scene.kind] |= {question.program for question in questions}
        for kind, own in OWN.items():
            general = {"chart_type"} | (SHARED if kind in SERIES_KINDS else SHARED - {"count_series"})
            assert own | {"chart_type"} <= found[kind] <= own | general, kind
        for kind in set(found) - set(OWN):
            assert not found[kind] & NEW

    def test_answers_are_right(self, asked):
        count = Counter()
        for scene, questions in asked:
            for question in questions:
                if question.program in NEW:
                    assert answer_kind(question, scene) == question.answer, question
                    count[question.program] += 1
        assert set(count) == NEW
        assert min(count.values()) > 10

    @pytest.mark.parametrize("kind", SAMPLERS)
    def test_each_program_has_five_wordings_or_more(self, kind):
        texts, programs = defaultdict(set), [p for p in PROGRAMS["chart"] if p.__name__ in NEW & OWN[kind]]
        for number, scene in enumerate(scenes(kind, 40)):
            names = sorted({*scene.x_labels, *(mark.label for mark in scene.marks), *COLOR_NAMES}, key=len)
            blank = re.compile("|".join(rf"(?<![\w.]){re.escape(name)}(?!\w)" for name in reversed(names)))
            rng = np.random.default_rng(number)
            for program in programs * 4:
                question = program(rng, scene)
                if question:
                    texts[question.program].add(blank.sub("_", question.text))
        assert set(texts) == {program.__name__ for program in programs}
        assert all(len(wordings) >= 5 for wordings in texts.values())

    @pytest.mark.parametrize("kind", SAMPLERS)
    def test_questions_alone_tell_no_more_than_the_commonest_answer(self, kind):
        programs = [program for program in PROGRAMS["chart"] if program.__name__ in NEW & OWN[kind] | {"count_series"}]
        rows = []
        for number, scene in enumerate(scenes(kind, 480)):
            found = [program(np.random.default_rng([6, number, k]), scene) for k, program in enumerate(programs)]
            rows.append([(q.program, q.text, q.answer) for q in found if q])
        figures = question_baselines(*(chain(*part) for part in (rows[:240], rows[240:])))["programs"]
        assert set(figures) >= NEW & OWN[kind]
        for name, part in figures.items():
            chance = 2 * (0.5 / part["n"]) ** 0.5  # two deviations of the difference of two readers
            assert part["question_only"] < part["prior"] + 0.05 + chance, (name, part)

    def test_compared_values_differ_enough_to_be_seen(self):
        for scene in scenes("heatmap", 100):
            values = np.sort(np.concatenate([mark.points for mark in scene.marks]))
            assert values[-1] - values[-2] >= 2 <= values[1] - values[0]
        for scene in scenes("area", 100):
            edges = np.stack([mark.points for mark in scene.marks])
            for ends in edges[:, [0, -1]].T if not scene.stacked else []:
                assert np.diff(np.sort(ends)).min() >= 0.8
        for scene in scenes("boxplot", 100):
            for mark in scene.marks:
                assert (np.diff(mark.points[:5]) >= 0.1).all() and mark.value == mark.points[2]
                beyond = np.maximum(mark.points[5:] - mark.points[4], mark.points[0] - mark.points[5:])
                assert (beyond >= 0.45).all()

    def test_areas_that_overlap_can_be_told_from_a_stack(self):
        for scene in scenes("area", 100):
            if not scene.stacked:
                order = np.argsort(np.stack([mark.points[[0, -1]] for mark in scene.marks]), 0)
                assert (order[:, 0] != order[:, 1]).any()

    def test_names_of_places_are_not_names_of_marks(self):
        for kind in (*GRID_KINDS, "area"):
            for scene in scenes(kind, 60):
                words = [set(re.findall(r"\w+", " ".join(names))) for names in
                         ([mark.label for mark in scene.marks], scene.x_labels)]  # fmt: skip
                assert not words[0] & words[1]


class TestPictures:
    @pytest.mark.parametrize("kind", GRID_KINDS)
    @pytest.mark.parametrize("variant", ["base", "style", "annotation"])
    def test_a_cell_stands_in_its_column_with_its_size(self, kind, variant):
        for number, scene in enumerate(scenes(kind, 12)):
            drawing = picture(scene, variant, number)
            boxes = {(i, k): np.array(drawing.parts[scene.cell(i, k)][0]) for i, k in scene.cells}
            assert len(drawing.parts) == len(scene.marks) + len(scene.cells)
            for (i, k), box in boxes.items():
                if kind == "heatmap":
                    assert np.allclose(box[[0, 2]], boxes[0, k][[0, 2]], atol=0.002)
                    assert np.allclose(box[[1, 3]], boxes[i, 0][[1, 3]], atol=0.002)
                    continue
                height = (box[3] - box[1]) / (boxes[0, 0][3] - boxes[0, 0][1])
                assert height == pytest.approx(scene.marks[i].points[k] / scene.marks[0].points[0], rel=0.03)
                below = boxes[i - 1, k][1] if kind == "stacked" and i else boxes[0, 0][3]
                assert box[3] == pytest.approx(below, abs=0.002)
                if k:
                    assert box[0] > boxes[len(scene.marks) - 1, k - 1][2]

    def test_another_value_changes_its_own_cell(self):
        """Drawn again with one value changed, what differs lies in the boxes of that cell, its row or above it."""
        for number, scene in enumerate(scenes("heatmap", 8)):
            before = picture(scene, seed=number)
            i, k = scene.cells[number % len(scene.cells)]
            old = scene.marks[i].points[k]
            scene.marks[i].points[k] = 10.0 - old if old != 5 else 9.0
            after = picture(scene, seed=number)
            rows, columns = np.nonzero((np.array(before.image) != np.array(after.image)).any(-1))
            left, top, right, bottom = np.array(before.parts[scene.cell(i, k)][0]) * 224
            assert len(rows) > 0.5 * (right - left) * (bottom - top)
            assert left - 2 < columns.min() and columns.max() < right + 2
            assert top - 2 < rows.min() and rows.max() < bottom + 2

    def test_darker_cells_have_more(self):
        for variant in ("base", "style", "annotation"):
            for number, scene in enumerate(scenes("heatmap", 10)):
                scene.show_values = False
                drawing = picture(scene, variant, number)
                pixels = np.array(drawing.image, float).sum(-1)
                levels = defaultdict(list)
                for i, k in scene.cells:
                    left, top, right, bottom = np.array(drawing.parts[scene.cell(i, k)][0]) * 224
                    place = pixels[int((top + bottom) / 2), int((left + right) / 2)]
                    levels[scene.marks[i].points[k]].append(place)
                means = [np.mean(levels[value]) for value in sorted(levels)]
                assert (np.diff(means) < -5).all()
                assert all(np.ptp(same) < 3 for same in levels.values())

    def test_boxes_have_the_height_of_their_quartiles(self):
        for number, scene in enumerate(scenes("boxplot", 12)):
            drawing = picture(scene, seed=number)
            boxes = np.array([part[0] for part in drawing.parts])
            spread = np.array([mark.points[3] - mark.points[1] for mark in scene.marks])
            heights = boxes[:, 3] - boxes[:, 1]
            assert np.allclose(heights / heights[0], spread / spread[0], rtol=0.03)
            for part, mark in zip(drawing.parts, scene.marks, strict=True):
                assert len(part) == 2 + (len(mark.points) - 5) + 1  # box, whiskers, outliers, name

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_boxes_that_decide_lie_on_what_is_drawn(self, variant):
        kinds = Counter()
        for row in iter_rows("chart", variant, "validation", 0, 240):
            if row["kind"] not in SAMPLERS:
                continue
            kinds[row["kind"]] += 1
            boxes = np.array(row["relevant_boxes"]).reshape(-1, 4)
            if len(boxes) == 0:
                assert (row["program"], row["answer"]) == ("has_color", "no")
                continue
            assert (boxes[:, :2] < boxes[:, 2:]).all() and boxes.min() >= 0 and boxes.max() <= 1
            assert 0 <= row["distractors"] <= row["set_size"]
            covered = row["image"].copy()
            for box in boxes * covered.width:
                ImageDraw.Draw(covered).rectangle(tuple(box), fill=covered.getpixel((0, 0)))
            assert (np.array(covered) != np.array(row["image"])).any(-1).sum() >= 12, row["id"]
        assert set(kinds) == set(SAMPLERS)


class TestTargets:
    @pytest.mark.parametrize("kind", SAMPLERS)
    def test_what_the_table_says_of_marks_and_cells(self, kind):
        for scene in scenes(kind, 20):
            table = dict(zip(ATTRIBUTES, attribute_table(scene).T, strict=True))
            n, cells = len(scene.marks), scene.cells
            assert all(len(column) == n + len(cells) for column in table.values())
            assert set(table["count"]) == {n}
            owners = [*range(n), *(i for i, _ in cells)]
            assert table["label"].tolist() == [name_id(scene.marks[i].label) for i in owners]
            if kind == "heatmap":
                assert set(table["color"]) == {IGNORE}
            else:
                assert table["color"].tolist() == [COLOR_NAMES.index(scene.marks[i].color) for i in owners]
            if cells:
                assert set(table["value"][:n]) == {IGNORE}
                values = np.array([scene.marks[i].points[k] for i, k in cells])
                assert np.abs(table["value"][n:] - values).max() <= 0.5
                assert table["place"][n:].tolist() == [k for _, k in cells]
                best = {k: max(mark.points[k] for mark in scene.marks) for _, k in cells}
                assert all((rank == 0) == (scene.marks[i].points[k] == best[k])
                           for (i, k), rank in zip(cells, table["rank_from_top"][n:], strict=True))  # fmt: skip


def test_a_scene_does_not_depend_on_what_was_drawn_before():
    one = sample_scene("chart", "test", 9)
    assert one.kind == sample_scene("chart", "test", 9).kind
    drawings = [draw_scene("chart", "base", "test", 9)[0].image.tobytes() for _ in range(2)]
    assert drawings[0] == drawings[1]
