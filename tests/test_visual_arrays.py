"""Visual Arrays: rows are reproducible, answers are right, boxes and dense targets fit the picture."""

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import datasets
import numpy as np
import pytest
from chart_answers import CHART_TYPES, answer_kind
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from test_layout_scenes import ANSWERS

from leaml_hf import LeamlInputError
from leaml_hf.data.baselines import question_baselines
from leaml_hf.data.visual_arrays import draw_scene, iter_rows, load_visual_arrays
from leaml_hf.data.visual_arrays.baselines import visual_arrays_baselines
from leaml_hf.data.visual_arrays.builder import ask_scene
from leaml_hf.data.visual_arrays.canvas import FULL, SIZE, Canvas
from leaml_hf.data.visual_arrays.conventions import COLOR_NAMES, VARIANTS, Noise
from leaml_hf.data.visual_arrays.draws import Draws
from leaml_hf.data.visual_arrays.noise import clutter, sense
from leaml_hf.data.visual_arrays.pen import SCALE
from leaml_hf.data.visual_arrays.programs import PROGRAMS, ask
from leaml_hf.data.visual_arrays.renderers import DRAW, render_page
from leaml_hf.data.visual_arrays.sampling import sample_scene
from leaml_hf.data.visual_arrays.scenes import COMPONENTS, DIAGRAM_KINDS, SHAPES, TASKS, Link, Mark, Scene, rng_for
from leaml_hf.data.visual_arrays.subjects import SUBJECTS
from leaml_hf.data.visual_arrays.targets import (
    ATTRIBUTES,
    CHARACTERS,
    IGNORE,
    OPEN,
    SLOTS,
    TARGETS,
    attribute_table,
    name_id,
    token_owners,
    token_targets,
)
from leaml_hf.data.visual_arrays.wording import Question
from leaml_hf.data.visual_arrays.words import FREE_WORDS, ORDERED_WORDS, sample_words

SRC = Path(__file__).resolve().parents[1] / "src"
SIDE = 14
UPPER = {"tallest", "highest", "largest", "longest", "biggest"}
LOWER = {"shortest", "lowest", "smallest"}


def digest(rows) -> str:
    """Of pictures and all other cells."""
    total = hashlib.sha256()
    for row in rows:
        total.update(row["image"].tobytes())
        total.update(repr([(key, value) for key, value in row.items() if key != "image"]).encode())
    return total.hexdigest()


def centre(mark: Mark) -> tuple[float, float]:
    left, top, right, bottom = mark.box
    return (left + right) / 2, (top + bottom) / 2


def find(text: str, name: str) -> int:
    """Where a name stands in a text, not as a part of another word; -1 where it does not."""
    found = re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", text) if name else None
    return found.start() if found else -1


def answer_chart(question: Question, scene: Scene) -> str:
    """The answer read from the question's words and the scene alone."""
    words = re.findall(r"\w+", question.text)
    marks = scene.marks
    # "Day 1" stands in "Day 12" too: the longest name that fits is the one that is meant
    named = sorted((m for m in marks if find(question.text, m.label) >= 0), key=lambda m: -len(m.label))
    colored = [m for m in marks if m.color in words]
    by_value = sorted(marks, key=lambda m: m.value)
    extreme = by_value[-1] if UPPER & set(words) else by_value[0] if LOWER & set(words) else None
    match question.program:
        case "extreme_color":
            return extreme.color
        case "extreme_label":
            return extreme.label
        case "position":
            ordered = sorted(marks, key=lambda m: m.points[0, 0]) if scene.dots else marks
            return str([m is extreme for m in ordered].index(True) + 1)
        case "count":
            return str(len(marks))
        case "compare":
            both = named if len(named) == 2 else colored
            one, other = sorted(both, key=lambda m: find(question.text, m.label if both is named else m.color))
            is_more = bool({"taller", "longer", "larger", "higher"} & set(words))
            assert is_more != bool({"shorter", "smaller", "lower"} & set(words))
            return "yes" if (one.value > other.value) == is_more else "no"
        case "label_to_color":
            return named[0].color
        case "color_to_label":
            return colored[0].label
        case "value":
            mark = (named or colored)[0]
            if scene.show_values:
                number, digits = mark.value * scene.step, scene.decimals
            else:
                ticks = np.arange(0, scene.reach, 1 if mark.value.is_integer() else scene.every)
                number, digits = ticks[np.abs(ticks - mark.value).argmin()] * scene.step, None
            if scene.thousands and number >= 1e4:
                number, unit = (number / 1e6, "M") if number >= 1e6 else (number / 1e3, "k")
                return f"{number:.4g}{unit}"
            return f"{number:.7g}" if digits is None else f"{number:.{digits}f}"
        case "trend":
            points = (named or colored)[0].points
            return "up" if points[-1] > points[0] else "down"
        case "correlation":
            x, y = (colored or marks)[0].points.T
            r = np.corrcoef(x, y)[0, 1]
            return "none" if abs(r) < 0.3 else "positive" if r > 0 else "negative"
        case "share":
            return "yes" if max(m.value for m in marks) > 50 else "no"
        case "chart_type":
            return CHART_TYPES.get(scene.kind, scene.kind)
        case _:
            return answer_structure(question, scene, words, extreme)


def answer_structure(question: Question, scene: Scene, words: list[str], extreme: Mark | None) -> str:
    marks, n = scene.marks, len(scene.marks)
    ordered = sorted(marks, key=lambda m: m.points[0, 0]) if scene.dots else marks
    colored = [m for m in marks if m.color in words]
    heights = sorted(marks, key=lambda m: m.value)
    text = question.text
    yes_or_no = {True: "yes", False: "no"}
    match question.program:
        case "direction":
            return "upwards" if scene.kind == "bar" else "sideways"
        case "stance":
            return "stand" if scene.kind == "bar" else "lie"
        case "key":
            return yes_or_no[scene.has_key]
        case "own_color":
            return yes_or_no[(len({m.color for m in marks}) == 1) == bool({"alike", "one"} & set(words))]
        case "count_colors":
            return str(len({m.color for m in marks}))
        case "at_least":
            names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
            limit = next(int(w) if w.isdigit() else names.index(w) for w in words if w.isdigit() or w in names)
            holds = {"at least": n >= limit, "fewer than": n < limit, "no more": n <= limit, "exactly": n == limit}
            return yes_or_no[next(value for name, value in holds.items() if name in text)]
        case "half" | "which_half":
            earlier = extreme.points[0, 0] < 0.5 if scene.dots else marks.index(extreme) < (n - 1) / 2
            first, second = ("above", "below") if scene.kind == "hbar" else ("left", "right")
            asked = {first, second} & set(words)
            if question.program == "half":
                return yes_or_no[earlier == (asked == {first})]
            return first if earlier else second
        case "rank_color":
            rank = 1 if {"second", "2"} & set(words) else 2
            return (heights[::-1] if UPPER & set(words) else heights)[rank].color
        case "multiple":
            factors = {"half": 1.5, "two": 2, "three": 3, "four": 4, "six": 6, "ten": 10}
            factor = next(value for name, value in factors.items() if name in words)
            return yes_or_no[heights[-1].value > factor * heights[0].value]
        case "high_point":
            points = (colored or marks)[0].points
            lowest = bool({"lowest", "bottom"} & set(words))
            place = (points.argmin() if lowest else points.argmax()) / (len(points) - 1)
            return "early" if place <= 0.25 else "late" if place >= 0.75 else "midway"
        case "is_color":
            return yes_or_no[extreme.color in words]
        case "has_color":
            return yes_or_no[bool(colored)]
        case "neighbor_color":
            step = 1 if {"right", "below"} & set(words) else -1
            return marks[marks.index(colored[0]) + step].color
        case "place_color":
            ordinals = ["first", "second", "third", "fourth", "fifth"]
            place = next(
                int(w) - 1 if w.isdigit() else ordinals.index(w) for w in words if w.isdigit() or w in ordinals
            )
            return (ordered if {"left", "top"} & set(words) else ordered[::-1])[place].color
        case _:
            return answer_kind(question, scene)


def answer_layout(question: Question, scene: Scene) -> str:
    if scene.kind in ANSWERS:
        return ANSWERS[scene.kind](question, scene)
    words = re.findall(r"\w+", question.text)
    marks = scene.marks
    colored = [m for m in marks if m.color in words]
    match question.program:
        case "count":
            return str(len(marks))
        case "count_shape":
            return str(sum(m.shape + "s" in words or m.shape + "es" in words for m in marks))
        case "color_of_shape":
            return next(m.color for m in marks if m.shape in words)
        case "shape_of_color":
            return colored[0].shape
        case "label_to_shape":
            return next(m.shape for m in marks if m.label in words)
        case "relation":
            relation = re.search(r"left of|right of|above|below", question.text).group()
            pairs = re.findall(rf"({'|'.join(COLOR_NAMES)}) ({'|'.join(SHAPES)})", question.text)
            if question.text.startswith("Seen from"):
                pairs.reverse()
            (ax, ay), (bx, by) = (centre(next(m for m in marks if (m.color, m.shape) == pair)) for pair in pairs)
            holds = {"left of": ax < bx, "right of": ax > bx, "above": ay < by, "below": ay > by}
            return "yes" if holds[relation] else "no"
        case "outermost":
            axis = 0 if {"leftmost", "rightmost"} & set(words) else 1
            ordered = sorted(marks, key=lambda m: centre(m)[axis])
            mark = ordered[0 if {"leftmost", "topmost"} & set(words) else -1]
            return mark.color if "color" in words else mark.shape
        case "in_front":
            overlapping = [
                (a, b)
                for a, b in combinations(marks, 2)
                if a.box[0] < b.box[2] and b.box[0] < a.box[2] and a.box[1] < b.box[3] and b.box[1] < a.box[3]
            ]
            assert len(overlapping) == 1
            behind, front = overlapping[0]  # later marks are drawn over earlier ones
            return front.color if "front" in words else behind.color


def answer_diagram(question: Question, scene: Scene) -> str:
    """By another way than the programs: adjacency matrices, and names found in the question's text."""
    marks, n, text = scene.marks, len(scene.marks), question.text
    words = re.findall(r"\w+", text)
    steps = np.zeros((n, n), int)
    for link in scene.links:
        steps[link.source, link.target] += 1
    reach = sum(np.linalg.matrix_power(steps, k) for k in range(1, n)) > 0
    asked = [i for name, _ in question.names for i, mark in enumerate(marks) if mark.label == name]
    yes_or_no = {True: "yes", False: "no"}
    match question.program:
        case "next_node":
            return marks[steps[asked[0]].argmax()].label
        case "previous_node":
            return marks[steps[:, asked[0]].argmax()].label
        case "missing_step":
            place = next(i for i, mark in enumerate(marks) if mark.state == "hidden")
            return str(place + 1) if {"number", "place", "Counting"} & set(words) else marks[place].label
        case "path":
            return yes_or_no[bool(reach[asked[0], asked[1]])]
        case "linked":
            direct = steps + steps.T if scene.kind == "tree" else steps
            return yes_or_no[bool(direct[asked[0], asked[1]])]
        case "children":
            return str(steps[asked[0]].sum())
        case "degree":
            incoming = re.search(r"point at|end at|go into|lead to|arrows into", text)
            return str((steps[:, asked[0]] if incoming else steps[asked[0]]).sum())
        case "count_nodes":
            return str(n)
        case "count_links":
            return str(steps.sum())
        case "end_node":
            last = re.search(r"last|finish|end\?|From which", text)
            return marks[int((steps.sum(1) if last else steps.sum(0)).argmin())].label
        case "node_color":
            return marks[asked[0]].color
        case "transition":
            label = next(word for word in words if word in {link.label for link in scene.links})
            return next(marks[k.target].label for k in scene.links if k.source == asked[0] and k.label == label)
        case "final_state":
            return yes_or_no[marks[asked[0]].state == "final"]
        case "count_final":
            return str(sum(mark.state == "final" for mark in marks))
        case "count_component":
            kinds = {"batteries": "battery", "switches": "switch"}
            word = next(w for w in words if kinds.get(w, w.rstrip("s")) in COMPONENTS)
            return str(sum(mark.shape == kinds.get(word, word.rstrip("s")) for mark in marks))
        case "component":
            return marks[asked[0]].shape
        case "switch":
            return next(mark.state for mark in marks if mark.shape == "switch")
        case "branch":
            return "parallel" if set(asked) == set(scene.branches) else "series"
        case "parallel":
            return yes_or_no[bool(scene.branches)]
        case "component_name":
            return next(mark.label for mark in marks if mark.shape in words)


def answer_annotated(question: Question, scene: Scene) -> str:
    """From the boxes alone, in whose units all lengths are."""
    words = re.findall(r"\w+", question.text)
    marks, yes_or_no = scene.marks, {True: "yes", False: "no"}
    labelled = sorted((m for m in marks if m.label and m.label in words), key=lambda m: words.index(m.label))
    named = next((m for m in marks if f"{m.color} {m.shape}" in question.text), None)
    left, top, right, bottom = scene.region
    inside = [m for m in marks if left < centre(m)[0] < right and top < centre(m)[1] < bottom]

    def width(mark: Mark) -> float:
        return (mark.box[2] - mark.box[0]) / scene.scale_bar

    match question.program:
        case "pointed_color":
            return labelled[0].color
        case "pointed_shape":
            return labelled[0].shape
        case "call_out":
            return named.label
        case "is_labeled":
            return yes_or_no[named.label != ""]
        case "count_labels":
            return str(sum(m.label != "" for m in marks))
        case "in_box":
            return yes_or_no[any(m is named for m in inside)]
        case "count_in_box":
            return str(len(inside))
        case "count_outside":
            return str(len(marks) - len(inside))
        case "wider_than_bar":
            return yes_or_no[width(named) > 1]
        case "width":
            return f"{round(4 * width(named)) / 4 * scene.step:g}"
        case "same_color":
            return yes_or_no[labelled[0].color == labelled[1].color]
        case "larger":
            one, other = reversed(labelled) if question.text.startswith("Compared") else labelled
            return yes_or_no[width(one) > width(other)]


CHECKS = {"chart": answer_chart, "layout": answer_layout, "diagram": answer_diagram, "annotated": answer_annotated}


class TestRows:
    @pytest.mark.parametrize("task", TASKS)
    @pytest.mark.parametrize("variant", VARIANTS)
    def test_a_row_depends_on_its_number_alone(self, task, variant):
        rows = list(iter_rows(task, variant, "train", 0, 24, seed=3))
        assert digest(iter_rows(task, variant, "train", 5, 19, seed=3)) == digest(rows[5:19])
        assert digest(iter_rows(task, variant, "train", 13, 14, seed=3)) == digest(rows[13:14])

    def test_another_process_draws_the_same_bytes(self):
        script = (
            "from test_visual_arrays import digest\nfrom leaml_hf.data.visual_arrays import iter_rows\n"
            "print(digest(iter_rows('chart', 'style', 'test', 0, 40, seed=1)))"
        )
        env = {**os.environ, "PYTHONPATH": f"{SRC}{os.pathsep}{Path(__file__).parent}", "PYTHONHASHSEED": "7"}
        other = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
        assert other.stdout.strip() == digest(iter_rows("chart", "style", "test", 0, 40, seed=1))

    @pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "base"])
    @pytest.mark.parametrize("task", TASKS)
    def test_variants_share_content_and_differ_in_the_picture(self, task, variant):
        shared = ["program", "set_size", "distractors", "complexity", "kind"]
        shared += ["question", "answer"] if variant != "content" else []
        rows = zip(iter_rows(task, "base", "test", 0, 64), iter_rows(task, variant, "test", 0, 64), strict=True)
        for base, other in rows:
            assert all(base[key] == other[key] for key in shared)
            assert base["image"].tobytes() != other["image"].tobytes()
            assert base["shift_factors"] == [] and len(other["shift_factors"]) >= 2
            assert all(0 < strength <= 1 for strength in other["shift_strengths"])

    @pytest.mark.parametrize("task", TASKS)
    def test_content_changes_names_and_nothing_else(self, task):
        renamed = 0
        for index in range(40):
            base, told = (ask_scene(task, "test", index, variant=variant) for variant in ("base", "content"))
            names = dict(zip((m.label for m in base[0].marks), (m.label for m in told[0].marks), strict=True))
            names |= dict(zip(base[0].x_labels, told[0].x_labels, strict=True))
            assert len(set(names.values())) == len(names)
            renamed += any(old != new for old, new in names.items())
            for one, other in zip(base[1], told[1], strict=True):
                assert names.get(one.answer, one.answer) == other.answer
                assert one.relevant == other.relevant
        assert renamed > 10

    def test_other_subjects_have_words_of_their_own(self):
        common = {word for words in (*ORDERED_WORDS.values(), *FREE_WORDS.values()) for word in words}
        for name, terms in SUBJECTS.items():
            assert len(terms) == len(set(terms)) >= 20, name
            assert not common & set(terms), name
            assert max(map(len, terms)) <= 12

    def test_splits_tasks_and_seeds_differ(self):
        cells = [(split, seed) for split in ("train", "validation", "test") for seed in (0, 1)]
        pictures = [
            {row["image"].tobytes() for row in iter_rows("chart", "base", split, 0, 80, seed)} for split, seed in cells
        ]
        assert all(len(part) == 10 for part in pictures)
        assert not any(one & other for one, other in combinations(pictures, 2))

    def test_half_of_the_training_pictures_are_labelled(self):
        rows = list(iter_rows("layout", "base", "train", 0, 160))
        flags = {row["image"].tobytes(): row["labelled"] for row in rows}
        assert sum(flags.values()) == 10 and sum(row["labelled"] for row in rows) == 80
        assert all(row["labelled"] for row in iter_rows("layout", "base", "test", 0, 32))

    def test_ids_are_unique(self):
        ids = [
            row["id"]
            for task in TASKS
            for variant in ("base", "style")
            for split in ("train", "test")
            for row in iter_rows(task, variant, split, 0, 20)
        ]
        assert len(set(ids)) == len(ids)


class TestAnswers:
    @pytest.mark.parametrize("task", TASKS)
    def test_every_program_is_right(self, task):
        asked = Counter()
        for index in range(1500 if task == "chart" else 600):
            scene = sample_scene(task, "train", index)
            for question in ask(scene, rng_for(0, task, "train", index, 1), 8):
                assert CHECKS[task](question, scene) == question.answer, (index, question)
                asked[question.program] += 1
        assert set(asked) == {program.__name__ for program in PROGRAMS[task]}
        assert min(asked.values()) > 30

    @given(st.integers(0, 10**7), st.integers(0, 2**32 - 1), st.sampled_from(["train", "validation", "test"]))
    @settings(max_examples=60)
    def test_any_index_and_seed(self, index, seed, split):
        for task, check in CHECKS.items():
            drawing, scene, questions = draw_scene(task, "style", split, index, seed)
            assert len({question.text for question in questions}) == 8
            for question in questions:
                assert check(question, scene) == question.answer
                assert max(question.relevant, default=0) < len(drawing.parts)
            boxes = np.array([box for part in drawing.parts for box in part])
            assert ((boxes >= 0) & (boxes <= 1)).all()
            assert (boxes[:, :2] < boxes[:, 2:]).all()

    @pytest.mark.parametrize("task", TASKS)
    def test_names_stand_in_the_text_and_mean_their_marks(self, task):
        named = Counter()
        for index in range(300):
            scene = sample_scene(task, "train", index)
            for question in ask(scene, rng_for(0, task, "train", index, 1), 8):
                for name, marks in question.names:
                    assert max(marks, default=0) < len(scene.marks)
                    assert find(question.text, name) >= 0
                    for mark in (scene.marks[i] for i in marks):
                        words = {mark.label, mark.color, mark.shape, f"{mark.shape}s", f"{mark.shape}es"}
                        assert name in words | {f"{mark.color} {mark.shape}"}
                    named[question.program] += 1
        assert len(named) > 4

    def test_two_way_answers_are_balanced(self):
        answers = {}
        for task in TASKS:
            for index in range(1500 if task == "chart" else 600):
                scene = sample_scene(task, "train", index)
                for question in ask(scene, rng_for(0, task, "train", index, 1), 8):
                    answers.setdefault(question.program, Counter())[question.answer] += 1
        two_way = {"compare", "relation", "share", "trend", "key", "at_least", "multiple", "is_color", "has_color",
                   "parallel", "path", "branch", "switch", "linked", "direction", "stance", "own_color", "half",
                   "which_half", "final_state", "is_labeled", "in_box", "wider_than_bar", "same_color",
                   "larger", "group_compare", "group_change", "over_half", "stack_compare", "areas_cross",
                   "areas_stacked", "cell_compare", "has_outliers", "median_compare",
                   "over_quartile", "beside", "facing", "free_opposite", "in_color_box",
                   "box_in_box"}  # fmt: skip
        assert two_way == {name for name, count in answers.items() if len(count) == 2}
        for name in two_way:
            total = answers[name].total()
            assert max(answers[name].values()) / total < 0.53 + total**-0.5, (name, answers[name])


class TestBaselines:
    @pytest.mark.parametrize("task", TASKS)
    def test_questions_alone_tell_no_more_than_the_commonest_answer(self, task):
        pictures = 800 if task == "chart" else 500  # there are many programs for charts
        figures = visual_arrays_baselines(task, train_pictures=1200, test_pictures=pictures)
        assert figures["n"] == 8 * pictures
        assert figures["question_only"] < figures["prior"] + 0.02
        for name, part in figures["programs"].items():
            chance = 2 * (0.5 / part["n"]) ** 0.5  # two deviations of the difference of two readers
            assert part["question_only"] < part["prior"] + 0.05 + chance, (name, part)

    def test_a_question_that_gives_its_answer_away_is_found(self):
        rows = [("leak", f"Is it {word}?", "yes" if word == "so" else "no") for word in ("so", "other") * 50]
        figures = question_baselines(rows, rows)
        assert figures["programs"]["leak"] == {"n": 100, "prior": 0.5, "question_only": 1.0}


class TestBoxes:
    @pytest.mark.parametrize(
        ("task", "variant"),
        [("chart", "base"), ("chart", "annotation"), ("layout", "base"), ("diagram", "base"), ("annotated", "noise")],
    )
    def test_covering_what_decides_an_answer_changes_the_picture(self, task, variant):
        for row in iter_rows(task, variant, "test", 0, 240):
            boxes = np.array(row["relevant_boxes"]).reshape(-1, 4)
            if len(boxes) == 0:
                assert (row["program"], row["answer"]) in (
                    ("count_shape", "0"), ("has_color", "no"), ("count_component", "0"))  # fmt: skip
                continue
            assert boxes.min() >= 0
            assert boxes.max() <= 1
            covered = row["image"].copy()
            for box in boxes * covered.width:
                ImageDraw.Draw(covered).rectangle(tuple(box), fill=covered.getpixel((0, 0)))
            changed = (np.array(covered) != np.array(row["image"])).any(-1)
            assert changed.sum() >= 20, row["id"]

    def test_shapes_lie_within_the_box_or_beyond_it_and_are_as_wide_as_the_scale_bar_says(self):
        for index in range(200):
            drawing, scene, _ = draw_scene("annotated", "base", "train", index)
            ((left, top, right, bottom),) = drawing.annotations["region"]
            for mark in scene.marks:
                box = mark.box
                apart = box[2] < left or box[0] > right or box[3] < top or box[1] > bottom
                assert apart != (box[0] > left and box[2] < right and box[1] > top and box[3] < bottom)
            bar, _ = drawing.annotations["scale bar"]
            boxes = np.array([part[0] for part in drawing.parts])
            widths = (boxes[:, 2] - boxes[:, 0]) / (bar[2] - bar[0])
            assert np.allclose(widths, [mark.value for mark in scene.marks], rtol=0.02)

    def test_what_belongs_to_no_mark_is_among_the_boxes_that_decide(self):
        found = Counter()
        for index in range(40):
            drawing, _, questions = draw_scene("annotated", "base", "test", index)
            rows = iter_rows("annotated", "base", "test", 8 * index, 8 * index + 8)
            for row, question in zip(rows, questions, strict=True):
                for name in question.also:
                    assert all(
                        [round(v, 4) for v in box] in row["relevant_boxes"] for box in drawing.annotations[name]
                    )
                    found[name] += 1
        assert min(found["region"], found["scale bar"]) > 20

    def test_bars_have_the_height_of_their_value(self):
        for index in range(40):
            drawing, scene, _ = draw_scene("chart", "base", "train", index)
            if scene.kind == "bar":
                heights = [part[0][3] - part[0][1] for part in drawing.parts]
                values = np.array([m.value for m in scene.marks])
                assert np.allclose(np.array(heights) / heights[0], values / values[0], rtol=0.02)


class TestTurnedText:
    @pytest.mark.parametrize("angle", [45, 90])
    def test_it_is_the_straight_text_turned(self, angle):
        canvases = [Canvas(replace(VARIANTS["base"], fonts=VARIANTS["base"].fonts[:1]), Draws(3), 0)
                    for _ in range(2)]  # fmt: skip
        inks = []
        for canvas, turned in zip(canvases, (0, angle), strict=True):
            box = canvas.text(FULL / 2, FULL / 2, "Willow 70", "mm", 24, turned)
            drawn = np.abs(np.array(canvas.image, np.float32) - np.float32(canvas.ground)).sum(-1)
            top, bottom = int(box[1]) // SCALE, int(box[3]) // SCALE + 1
            assert drawn.any() and not drawn[:top].any() and not drawn[bottom:].any()
            inks.append(drawn)
        straight, turned = Image.fromarray(inks[0]).rotate(angle, Image.Resampling.BILINEAR), Image.fromarray(inks[1])
        assert np.sum(turned) == pytest.approx(np.sum(straight), rel=0.05)
        coarse = [np.array(ink.resize((SIZE // 4, SIZE // 4), Image.Resampling.BOX)).ravel()
                  for ink in (straight, turned)]  # fmt: skip
        assert np.corrcoef(*coarse)[0, 1] > 0.95
        text = canvases[1].texts[0]
        for glyph in text.glyphs():  # each character's middle has ink around it
            x, y = int(glyph.x * SIZE), int(glyph.y * SIZE)
            assert glyph.char == " " or inks[1][y - 5 : y + 6, x - 5 : x + 6].any()


class TestNoise:
    def test_patches_leave_characters_and_the_ends_of_marks(self):
        noise = Noise(patches=(6, 6), scribbles=(0, 0), strangers=(0, 0))
        patched = 0
        for index in range(30):
            scene = sample_scene("chart", "train", index)
            canvas = Canvas(VARIANTS["base"], Draws(index), len(scene.marks))
            DRAW[scene.kind](canvas, scene)
            before = np.array(canvas.image)
            clutter(canvas, noise, scene, canvas.rng.generator())
            changed = (np.array(canvas.image) != before).any(-1).repeat(SCALE, 0).repeat(SCALE, 1)
            patched += changed.any()
            for glyph in canvas.glyphs:
                x, y = int(glyph.x * FULL), int(glyph.y * FULL)
                assert not changed[max(0, y - 10) : y + 10, max(0, x - 10) : x + 10].any()
            if scene.kind in ("bar", "hbar"):
                for left, top, right, bottom in (part[0] for part in canvas.parts):
                    for x, y in ((left, top), (right, top), (left, bottom), (right, bottom)):
                        row, column = (min(int(v * FULL), FULL - 1) for v in (y, x))
                        assert not changed[row, column]
        assert patched > 25

    def test_every_kind_of_diagram_has_its_patches_and_none_covers_a_wire(self):
        noise, patched = Noise(patches=(2, 2), scribbles=(0, 0), strangers=(0, 0)), {}
        for index in range(100):
            scene = sample_scene("diagram", "train", index)
            canvas = Canvas(VARIANTS["base"], Draws(index), len(scene.marks))
            DRAW[scene.kind](canvas, scene)
            before = np.array(canvas.image)
            clutter(canvas, noise, scene, canvas.rng.generator())
            changed = (np.array(canvas.image) != before).any(-1).repeat(SCALE, 0).repeat(SCALE, 1)
            patched.setdefault(scene.kind, []).append(changed.any())
            wires = np.array(canvas.annotations.get("wires", ())).reshape(-1, 4) * FULL  # twice as wide as they are
            for left, top, right, bottom in wires.astype(int) + np.array([SCALE, SCALE, -SCALE, -SCALE]):
                assert not changed[top:bottom, left:right].any()
        assert set(patched) == set(DIAGRAM_KINDS)
        assert all(np.mean(found) > 0.9 for found in patched.values()), patched

    def test_a_poor_camera_changes_values_not_the_picture(self):
        image = draw_scene("chart", "base", "train", 0)[0].image
        seen = sense(image, Noise(), np.random.default_rng(0))
        assert (seen.size, seen.mode) == (image.size, "RGB")
        one, other = (np.asarray(picture, float).ravel() for picture in (image, seen))
        assert 2 < np.abs(one - other).mean() < 40
        assert np.corrcoef(one, other)[0, 1] > 0.9


class TestTargets:
    @pytest.mark.parametrize(("task", "variant"), [("chart", "base"), ("chart", "style"), ("layout", "style")])
    def test_tokens_of_a_mark_carry_its_attributes(self, task, variant):
        for index in range(30):
            drawing, scene, _ = draw_scene(task, variant, "train", index)
            targets = token_targets(attribute_table(scene), drawing, token_owners(drawing, SIDE))
            assert targets.shape == (SIDE * SIDE, len(TARGETS))
            table = attribute_table(scene)
            owned = np.flatnonzero(targets[:, list(ATTRIBUTES).index("count")] != IGNORE)
            seen = set()
            for token in owned:
                row, column = divmod(int(token), SIDE)
                marks = [
                    i
                    for i, part in enumerate(drawing.parts)
                    if any(
                        left * SIDE < column + 1 and right * SIDE > column - 0.5
                        and top * SIDE < row + 1 and bottom * SIDE > row - 0.5
                        for left, top, right, bottom in part
                    )
                ]  # fmt: skip
                same = [i for i in marks if (targets[token, : len(ATTRIBUTES)] == table[i]).all()]
                assert same, (index, token)
                owners = [*range(len(scene.marks)), *(i for i, _ in scene.cells)]
                colors = {COLOR_NAMES.index(scene.marks[owners[i]].color) for i in same}
                assert targets[token, 0] in ({IGNORE} if scene.kind == "heatmap" else colors)
                seen.update(same)
            assert len(seen) >= 0.8 * len(table) - 1  # some may lie wholly under others' tokens

    def test_classes_are_within_their_range(self):
        sizes = np.array(list(TARGETS.values()))
        for task in TASKS:
            for index in range(60):
                drawing, scene, _ = draw_scene(task, "base", "train", index)
                targets = token_targets(attribute_table(scene), drawing, token_owners(drawing, SIDE))
                assert ((targets == IGNORE) | ((targets >= 0) & ((targets < sizes) | (sizes == OPEN)))).all()

    def test_characters_stand_where_they_are_written(self):
        glyph_columns = [list(TARGETS).index(f"glyph_{slot}") for slot in range(SLOTS)]
        for index in range(30):
            drawing, scene, _ = draw_scene("chart", "base", "train", index)
            targets = token_targets(attribute_table(scene), drawing, token_owners(drawing, SIDE))
            written = {
                (int(g.y * SIDE), int(g.x * SIDE), int((1 - g.y if g.upwards else g.x) * SIDE * SLOTS) % SLOTS, g.char)
                for g in drawing.glyphs
            }
            for token, cells in enumerate(targets[:, glyph_columns]):
                row, column = divmod(token, SIDE)
                for slot, cell in enumerate(cells):
                    if 0 <= cell < len(CHARACTERS):
                        assert (row, column, slot, CHARACTERS[cell]) in written
            words = targets[:, list(TARGETS).index("word")]
            known = {name_id(mark.label) for mark in scene.marks}
            assert set(words[words != IGNORE].tolist()) <= known
            text = "".join(glyph.char for glyph in drawing.glyphs)
            assert all(mark.label in text for mark in scene.marks)

    def test_links_of_a_diagram_and_members_of_a_box_are_told(self):
        marks = [
            Mark(name, "red", "oval", 0.0, box=(0.0, 0.1 * i, 0.1, 0.1 * i + 0.1)) for i, name in enumerate("ABC")
        ]
        marks[2].state = "final"
        graph = Scene("diagram", "states", marks, links=(Link(0, 1, "x"), Link(0, 2, "y")))
        told = dict(zip(ATTRIBUTES, attribute_table(graph).T.tolist(), strict=True))
        assert told["leaving"] == [2, 0, 0] and told["reaching"] == [0, 1, 1] and told["links"] == [2, 2, 2]
        assert told["next"] == [IGNORE] * 3 and told["previous"] == [IGNORE, name_id("A"), name_id("A")]
        assert told["state"] == [0, 0, 1] and told["member"] == [IGNORE] * 3
        boxed = Scene("annotated", "annotated", marks, region=(0.0, 0.0, 0.5, 0.2))
        told = dict(zip(ATTRIBUTES, attribute_table(boxed).T.tolist(), strict=True))
        assert (told["member"], told["members"], told["called"]) == ([1, 1, 0], [2, 2, 2], [3, 3, 3])
        assert told["links"] == told["next"] == [IGNORE] * 3

    def test_the_shape_in_front_is_told_from_the_one_behind(self):
        occluded = [s for s in (sample_scene("layout", "train", i) for i in range(40)) if s.occluded]
        assert len(occluded) > 5
        column = list(ATTRIBUTES).index("front")
        for scene in occluded:
            behind, front = scene.occluded
            table = attribute_table(scene)
            assert (table[behind, column], table[front, column]) == (0, 1)
            assert front > behind


class TestWords:
    @given(st.integers(0, 2**32 - 1), st.integers(1, 8))
    @settings(max_examples=200)
    def test_names_are_distinct_and_short(self, seed, n):
        words = sample_words(np.random.default_rng(seed), n)
        assert len(set(words)) == len(words) == n
        assert all(1 <= len(word) <= 12 and word == word.strip() for word in words)
        assert not any(word in COLOR_NAMES for word in words)

    def test_chance_puts_no_insult_into_a_picture(self):
        rng = np.random.default_rng(5)
        words = {word.casefold() for _ in range(6000) for word in sample_words(rng, 8)}
        assert len(words) > 5000
        assert not [word for word in words if re.search("fuc?k|shit|kkk|cunt", word)]

    def test_the_vocabulary_is_open(self):
        rng = np.random.default_rng(0)
        first, second = ({word for _ in range(1500) for word in sample_words(rng, 5)} for _ in range(2))
        assert len(first) > 2000
        assert len(second - first) > 800


class TestPages:
    def test_names_stand_in_their_boxes_and_do_not_touch(self):
        for seed in range(6):
            drawing, names = render_page("base", np.random.default_rng(seed))
            assert len(drawing.parts) == len(names) > 10
            assert "".join(glyph.char for glyph in drawing.glyphs) == "".join(names)
            glyphs = iter(drawing.glyphs)
            for ((left, top, right, bottom),), name in zip(drawing.parts, names, strict=True):
                for _, glyph in zip(name, glyphs, strict=False):
                    assert left - 0.01 <= glyph.x <= right + 0.01 and top - 0.01 <= glyph.y <= bottom + 0.01


class TestLoad:
    def test_the_features_hold_every_cell(self):
        rows = load_visual_arrays("layout", "style", split="validation", num_rows=20, seed=2**31)
        assert len(rows) == 20
        assert isinstance(rows.features["image"], datasets.Image)
        assert rows[0]["image"].size == (224, 224)
        expected = next(iter_rows("layout", "style", "validation", 0, 1, seed=2**31))
        assert rows[0]["image"].convert("RGB").tobytes() == expected["image"].tobytes()
        for key, value in expected.items():
            if key == "relevant_boxes":
                assert np.allclose(rows[0][key], value, atol=1e-6)
            elif key not in ("image", "shift_strengths"):
                assert rows[0][key] == value
        assert set(rows["program"]) <= {program.__name__ for program in PROGRAMS["layout"]}
        assert set(SHAPES) > {row["answer"] for row in rows if row["program"] == "shape_of_color"}

    @pytest.mark.parametrize(
        "options",
        [
            {"task": "maps"},
            {"variant": "photo"},
            {"domain": "real"},
            {"split": "dev"},
            {"num_rows": 0},
            {"num_rows": -1},
        ],
    )
    def test_what_does_not_exist_is_told_in_a_sentence(self, options):
        with pytest.raises(LeamlInputError) as error:
            load_visual_arrays(**options)
        assert str(next(iter(options.values()))) in str(error.value)
        assert str(error.value).endswith(".")
        assert "\n" not in str(error.value)
