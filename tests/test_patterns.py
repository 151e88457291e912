"""The teacher that asks a base in words it knows: rules from a few labels, on a world whose facts are known."""

import datasets
import numpy as np
import pytest

from leaml_hf.training.patterns import PatternTeacher, answer_kind

KNOWN = {
    "direction": ("Do the bars grow upwards or sideways?", "Which way do the bars grow, upwards or sideways?"),
    "key": ("Is there a key?", "Are the colors explained beside the picture?"),
    "share": ("Is any slice above 50%?", "Does one slice take more than half of the pie?"),
    "count": ("How many bars are there?", "Count the bars."),
}
NEW = {
    "orientation": ("Are the bars vertical or horizontal?", "Vertical or horizontal: how are the bars drawn?"),
    "legend": ("Does the chart have a legend?", "Can you see a legend?"),
    "number": ("How many columns can you see?", "Tell me how many columns are drawn."),
}


class World:
    """Pictures whose facts decide all questions; the base answers those it knows, and says "blue" to the others."""

    def __init__(self, rows: int, seed: int = 0, sees: float = 1.0) -> None:
        self.rng = np.random.default_rng(seed)
        self.up, self.key, self.share = self.rng.random((3, rows)) < 0.5
        self.count = self.rng.integers(2, 8, rows)
        self.sees = sees

    def truth(self, row: int, question: str) -> str:
        if "vertical" in question.lower():
            return "vertical" if self.up[row] else "horizontal"
        if "grow" in question:
            return "upwards" if self.up[row] else "sideways"
        if "legend" in question or "key" in question or "explained" in question:
            return "yes" if self.key[row] else "no"
        if "slice" in question:
            return "yes" if self.share[row] else "no"
        return str(self.count[row])

    def ask(self, rows, questions) -> list[str]:
        known = {text for texts in KNOWN.values() for text in texts}
        return [
            self.truth(i, q) if q in known and self.rng.random() < self.sees else "blue"
            for i, q in zip(rows, questions, strict=True)
        ]


def source() -> datasets.Dataset:
    world = World(20, seed=9)
    rows = [
        {"question": text, "answer": world.truth(i, text), "program": program}
        for i in range(20)
        for program, texts in KNOWN.items()
        for text in texts
    ]
    return datasets.Dataset.from_list(rows)


def labelled(world: World, kinds=tuple(NEW), labels: int = 8) -> tuple[list[str], list[str]]:
    """Row i asks of kind i mod len(kinds), in one of its two wordings."""
    questions = [NEW[kinds[i % len(kinds)]][i // len(kinds) % 2] for i in range(labels * len(kinds))]
    return questions, [world.truth(i, question) for i, question in enumerate(questions)]


class TestPatternTeacher:
    def test_eight_labels_tell_which_known_question_decides_a_new_one(self):
        world = World(200)
        questions, answers = labelled(world)
        teacher = PatternTeacher(source()).fit(world.ask, questions, answers)
        rules = {rule.program: rule for rule in teacher.rules.values()}
        assert rules.keys() == {"direction", "key", "count"}
        assert rules["direction"].verbalizer == {"upwards": "vertical", "sideways": "horizontal"}
        assert rules["direction"].pattern in KNOWN["direction"] and rules["direction"].accuracy == 1.0
        fresh = [NEW[kind][i % 2] for i in range(60) for kind in NEW]
        found = teacher.answer(world.ask, fresh)
        right = [answer[0] == world.truth(i, fresh[i]) for i, answer in enumerate(found) if answer]
        assert len(right) > 150 and np.mean(right) > 0.98
        assert all(0.5 <= answer[1] <= 1 for answer in found if answer)

    def test_a_number_that_no_label_showed_stands_for_itself(self):
        world = World(200)
        world.count[:] = 3
        questions, answers = labelled(world, ("number",))
        teacher = PatternTeacher(source()).fit(world.ask, questions, answers)
        world.count[:] = 5
        assert {answer and answer[0] for answer in teacher.answer(world.ask, [NEW["number"][0]] * 9)} <= {"5", None}

    def test_an_unknown_word_is_not_taken_for_an_answer(self):
        world = World(200)
        questions, answers = labelled(world, ("orientation",))
        teacher = PatternTeacher(source()).fit(world.ask, questions, answers)
        assert teacher.rules
        world.sees = 0.0
        assert teacher.answer(world.ask, [NEW["orientation"][0]] * 5) == [None] * 5

    def test_a_question_of_another_kind_has_no_rule(self):
        world = World(200)
        teacher = PatternTeacher(source()).fit(world.ask, *labelled(world))
        assert teacher.groups(["Name Kenya's fruit."]) == [None]

    def test_what_the_base_answers_rightly_itself_needs_no_rule(self):
        world = World(200)
        questions = [KNOWN["key"][i % 2] for i in range(10)]
        teacher = PatternTeacher(source()).fit(
            world.ask, questions, [world.truth(i, q) for i, q in enumerate(questions)]
        )
        assert teacher.rules == {} and teacher.answer(world.ask, questions) == [None] * 10

    def test_chance_rarely_makes_a_rule(self):
        made = 0
        for seed in range(40):
            world = World(200, seed)
            questions, _ = labelled(world, ("orientation",))
            answers = world.rng.choice(["vertical", "horizontal"], len(questions)).tolist()
            made += bool(PatternTeacher(source()).fit(world.ask, questions, answers).rules)
        assert made <= 4

    @pytest.mark.parametrize("count", [0, 1, 3])
    def test_too_few_labels_make_no_rule(self, count):
        world = World(200)
        questions, answers = labelled(world, ("orientation",))
        teacher = PatternTeacher(source())
        if count:
            teacher.fit(world.ask, questions[:count], answers[:count])
        assert teacher.answer(world.ask, questions) == [None] * len(questions)

    def test_programs_with_open_answers_are_left_out(self):
        rows = [
            {"question": f"What is item {i}?", "answer": f"name {chr(97 + i)}", "program": "name"} for i in range(20)
        ]
        assert PatternTeacher(datasets.Dataset.from_list(rows)).patterns == {}


def test_kinds_of_answers():
    assert [answer_kind(answer) for answer in ("Yes", "no", "3", "25%", "4.5k", "red", "left")] == [
        0,
        0,
        1,
        1,
        1,
        2,
        2,
    ]
