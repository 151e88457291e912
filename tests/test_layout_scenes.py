"""Seating and containment: answers read from geometry alone, chairs and boxes that can be told, targets that fit."""

import math
import re
from collections import Counter

import numpy as np
import pytest
from PIL import ImageDraw

from leaml_hf.data.visual_arrays import draw_scene, iter_rows
from leaml_hf.data.visual_arrays.builder import ask_scene
from leaml_hf.data.visual_arrays.canvas import SIZE
from leaml_hf.data.visual_arrays.conventions import VARIANTS
from leaml_hf.data.visual_arrays.programs import OF_KIND, ask
from leaml_hf.data.visual_arrays.sampling import sample_scene
from leaml_hf.data.visual_arrays.scenes import LAYOUT_KINDS, Mark, Scene, rng_for
from leaml_hf.data.visual_arrays.targets import ATTRIBUTES, IGNORE, MAX_MARKS, attribute_table, name_id
from leaml_hf.data.visual_arrays.wording import Question

YES_OR_NO = {True: "yes", False: "no"}


def middle(box) -> np.ndarray:
    return np.array([box[0] + box[2], box[1] + box[3]]) / 2


def mentioned(text: str, marks: list[Mark]) -> list[Mark]:
    """Marks that a question calls by their names, in its order."""
    places = {}
    for i, mark in enumerate(marks):
        names = [mark.label, f"{mark.color} {mark.shape}", f"{mark.color} person"]
        found = re.search("|".join(rf"\b{re.escape(name)}\b" for name in names if name), text)
        if found:
            places[found.start()] = i
    return [marks[i] for _, i in sorted(places.items())]


def facing(scene: Scene, spot: np.ndarray) -> np.ndarray | None:
    """Middle of the chair across the table: through the middle of a round one, straight over the others."""
    left, _, right, _ = scene.table.box
    across = 2 * middle(scene.table.box) - spot
    if not scene.table.is_round:
        axis = 0 if left < spot[0] < right else 1
        across[axis] = spot[axis]
    chairs = [middle(chair) for chair in scene.table.chairs]
    return next((chair for chair in chairs if np.abs(chair - across).max() < 0.01), None)


def answer_seating(question: Question, scene: Scene) -> str:
    text, chairs = question.text, [middle(chair) for chair in scene.table.chairs]
    spots = [middle(mark.box) for mark in scene.marks]
    asked = mentioned(text, scene.marks)
    where = [middle(mark.box) for mark in asked]

    def told(mark: Mark) -> str:
        return mark.label or mark.color

    def sitter(spot: np.ndarray | None) -> Mark | None:
        near = [m for m, own in zip(scene.marks, spots, strict=True) if spot is not None and np.allclose(own, spot)]
        return near[0] if near else None

    apart = min(np.hypot(*(chairs[0] - chair)) for chair in chairs[1:])
    match question.program:
        case "opposite":
            return told(sitter(facing(scene, where[0])))
        case "next_person":
            turn = -1 if "counterclockwise" in text else 1
            angles = [math.atan2(y - 0.5, x - 0.5) for x, y in spots]  # y points downwards: they grow with the clock
            start = math.atan2(where[0][1] - 0.5, where[0][0] - 0.5)
            away = [turn * (angle - start) % (2 * math.pi) for angle in angles]
            away = [angle if 1e-6 < angle < 2 * math.pi - 1e-6 else 9 for angle in away]
            return told(scene.marks[int(np.argmin(away))])
        case "seated_between":
            near = [m for m, own in zip(scene.marks, spots, strict=True)
                    if all(1e-6 < np.hypot(*(own - spot)) < 1.01 * apart for spot in where)]  # fmt: skip
            assert len(near) == 1
            return told(near[0])
        case "beside":
            return YES_OR_NO[bool(np.hypot(*(where[0] - where[1])) < 1.01 * apart)]
        case "facing":
            return YES_OR_NO[sitter(facing(scene, where[0])) is asked[1]]
        case "free_opposite":
            assert facing(scene, where[0]) is not None
            return YES_OR_NO[sitter(facing(scene, where[0])) is None]
        case "count_people":
            return str(len(spots))
        case "count_chairs":
            return str(len(chairs))
        case "free_chairs":
            return str(sum(sitter(chair) is None for chair in chairs))


def answer_containment(question: Question, scene: Scene) -> str:
    boxes = [mark for mark in scene.marks if mark.shape == "box"]
    shapes = [mark for mark in scene.marks if mark.shape != "box"]
    asked = mentioned(question.text, scene.marks)

    def lies_in(mark: Mark, box: Mark) -> bool:
        x, y = middle(mark.box)
        inside = box.box[0] < x < box.box[2] and box.box[1] < y < box.box[3]
        return inside and box is not mark and size(box) > size(mark)

    def size(mark: Mark) -> float:
        return (mark.box[2] - mark.box[0]) * (mark.box[3] - mark.box[1])

    held = {box.color: sum(lies_in(shape, box) for shape in shapes) for box in boxes}
    match question.program:
        case "holder":
            return min((box for box in boxes if lies_in(asked[0], box)), key=size).color
        case "in_color_box" | "box_in_box":
            return YES_OR_NO[lies_in(*asked)]
        case "box_content":
            (shape,) = (shape for shape in shapes if lies_in(shape, asked[0]))
            return shape.shape
        case "count_in_color_box":
            return str(held[asked[0].color])
        case "count_unboxed":
            return str(sum(not any(lies_in(shape, box) for box in boxes) for shape in shapes))
        case "count_boxes":
            return str(len(boxes))
        case "innermost":
            depths = {box.color: sum(lies_in(box, other) for other in boxes) for box in boxes}
            assert list(depths.values()).count(max(depths.values())) == 1
            return max(depths, key=depths.get)
        case "fullest":
            assert list(held.values()).count(max(held.values())) == 1
            return max(held, key=held.get)


ANSWERS = {"seating": answer_seating, "containment": answer_containment}


def scenes(kind: str, count: int, split: str = "train"):
    """The first `count` scenes of a kind, with their numbers."""
    found = ((i, sample_scene("layout", split, i)) for i in range(12 * count))
    return [(i, scene) for i, scene in found if scene.kind == kind][:count]


@pytest.fixture(scope="module", params=ANSWERS)
def kind(request):
    return request.param


def test_kinds_come_with_their_shares():
    found = Counter(sample_scene("layout", "train", i).kind for i in range(1000))
    assert set(found) == set(LAYOUT_KINDS)
    assert all(160 < found[kind] < 240 for kind in ANSWERS)


class TestPrograms:
    def test_answers_can_be_read_from_the_geometry(self, kind):
        asked = Counter()
        for index, scene in scenes(kind, 250):
            for question in ask(scene, rng_for(0, "layout", "train", index, 1), 8):
                assert ANSWERS[kind](question, scene) == question.answer, (index, question)
                asked[question.program] += 1
        assert set(asked) == {program.__name__ for program in OF_KIND[kind]}
        assert min(asked.values()) > 40

    def test_each_has_five_phrases_or_more(self, kind):
        phrases = {}
        for index, scene in scenes(kind, 150):
            for question in ask(scene, rng_for(0, "layout", "train", index, 1), 8):
                text = re.sub(r"counterclockwise", "clockwise", question.text)
                for mark in mentioned(text, scene.marks):
                    for name in (f"the {mark.color} {mark.shape}", f"the {mark.color} person",
                                 f"the shape marked {mark.label}", mark.label):  # fmt: skip
                        text = re.sub(rf"\b{re.escape(name)}\b", "*", text) if name else text
                phrases.setdefault(question.program, Counter())[text] += 1
        assert all(len(found) == 5 for found in phrases.values()), phrases

    def test_numbers_are_asked_for_about_equally_often(self, kind):
        answers = {}
        for index, scene in scenes(kind, 300):
            for question in ask(scene, rng_for(0, "layout", "train", index, 1), 8):
                if question.answer.isdigit():
                    answers.setdefault(question.program, Counter())[question.answer] += 1
        for program, found in answers.items():
            assert len(found) >= 3 and max(found.values()) / found.total() < 0.45, (program, found)


class TestScenes:
    def test_people_sit_on_chairs_of_their_own_around_the_table(self):
        for _, scene in scenes("seating", 150):
            table = scene.table
            assert len(set(table.taken)) == len(scene.marks) <= MAX_MARKS
            chairs = [middle(chair) for chair in table.chairs]
            angles = np.unwrap([math.atan2(y - 0.5, x - 0.5) for x, y in chairs])
            assert (np.diff(angles) > 0).all() and angles[-1] - angles[0] < 2 * math.pi  # by the clock
            for chair in table.chairs:
                assert min(chair) > 0.01 and max(chair) < 0.99
            for i, spot in enumerate(chairs):
                assert all(np.abs(spot - other).max() > 0.16 for other in chairs[:i])
                across = facing(scene, spot)
                assert (table.opposite[i] < 0) == (across is None)
                assert across is None or np.allclose(chairs[table.opposite[i]], across)
            assert 0 <= len(table.chairs) - len(scene.marks) <= 3

    def test_boxes_lie_in_each_other_or_apart_with_edges_that_do_not_touch(self):
        nested = 0
        for _, scene in scenes("containment", 150):
            boxes = [mark.box for mark in scene.marks if mark.shape == "box"]
            assert 2 <= len(boxes) <= 4 and len(scene.marks) <= MAX_MARKS
            assert len({(mark.color, mark.shape) for mark in scene.marks}) == len(scene.marks)
            for mark in scene.marks:
                for box in boxes:
                    if box is mark.box:
                        continue
                    inner, outer = np.array(mark.box), np.array(box)
                    gap = inner - outer
                    apart = (inner[2:] < outer[:2]).any() or (outer[2:] < inner[:2]).any()
                    around = mark.shape == "box" and (gap[:2] < 0).all() and (gap[2:] > 0).all()
                    assert apart or around or (min(*gap[:2], *-gap[2:]) > 0.02)  # an edge's width
                    nested += around
        assert nested > 60


class TestPictures:
    @pytest.mark.parametrize("variant", VARIANTS)
    def test_covering_what_decides_changes_the_picture(self, kind, variant):
        for index, scene in scenes(kind, 8, "test"):
            for row in iter_rows("layout", variant, "test", 8 * index, 8 * index + 8):
                boxes = np.array(row["relevant_boxes"]) * SIZE
                assert len(boxes) and row["kind"] == kind and row["set_size"] == len(scene.marks)
                covered = row["image"].copy()
                for box in boxes:
                    ImageDraw.Draw(covered).rectangle(tuple(box), fill=covered.getpixel((2, SIZE - 12)))
                assert (np.array(covered) != np.array(row["image"])).any(-1).sum() >= 20, row["id"]

    def test_what_decides_a_count_is_the_edge_of_the_box_and_the_shapes_in_it(self):
        for index, scene in scenes("containment", 20):
            drawing, _, questions = draw_scene("layout", "base", "train", index)
            for question in (q for q in questions if q.program == "count_in_color_box"):
                box = scene.marks[question.relevant[0]].box
                inside = [i for i, m in enumerate(scene.marks) if m.shape != "box"
                          and all(box[k] < middle(m.box)[k] < box[k + 2] for k in (0, 1))]  # fmt: skip
                assert sorted(question.relevant[1:]) == inside and len(inside) == int(question.answer)
                assert len(drawing.parts[question.relevant[0]]) == 4  # its edges, not what is within

    def test_free_chairs_show_the_page_and_taken_ones_their_sitter(self):
        for index, scene in scenes("seating", 20):
            drawing, *_ = draw_scene("layout", "base", "train", index)
            pixels = np.asarray(drawing.image, int)
            for number, chair in enumerate(scene.table.chairs):
                [box] = drawing.annotations[f"chair {number}"]
                assert np.allclose(box, chair, atol=1e-3)
                x, y = (int(v * SIZE) for v in middle(box) + np.array([0, 0.045]))
                ground = pixels[2, 2]
                assert (np.abs(pixels[y, x] - ground).sum() < 12) == (number not in scene.table.taken)

    def test_content_keeps_who_sits_where(self):
        for index, scene in scenes("seating", 30):
            told, questions = ask_scene("layout", "train", index, variant="content")
            assert told.table == scene.table
            assert all(answer_seating(question, told) == question.answer for question in questions)


class TestTargets:
    def test_seats(self):
        for _, scene in scenes("seating", 40):
            told = dict(zip(ATTRIBUTES, attribute_table(scene).T, strict=True))
            assert (told["links"] == len(scene.table.chairs)).all()
            assert (told["members"] == len(scene.table.chairs) - len(scene.marks)).all()
            for i, mark in enumerate(scene.marks):
                asked = f"{mark.label or f'{mark.color} person'} clockwise"
                following = answer_seating(Question("next_person", asked, "", (), 1), scene)
                assert told["next"][i] == (name_id(following) if mark.label else IGNORE)
                across = facing(scene, middle(mark.box))
                taken = across is not None and any(np.allclose(middle(m.box), across) for m in scene.marks)
                assert told["member"][i] == taken

    def test_boxes(self):
        for _, scene in scenes("containment", 40):
            told = dict(zip(ATTRIBUTES, attribute_table(scene).T, strict=True))
            for i, mark in enumerate(scene.marks):
                asked = Question("count_in_color_box", f"the {mark.color} box", "", (), 1)
                if mark.shape == "box":
                    assert str(told["members"][i]) == answer_containment(asked, scene)
                assert (told["reaching"][i] > 0) == told["member"][i] == (scene.holders[i] >= 0)
