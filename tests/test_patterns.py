"""The teacher that asks a base in words it knows: rules from a few labels, on a world whose facts are known."""

from contextlib import nullcontext
from dataclasses import replace

import datasets
import numpy as np
import pytest
from conftest import SMALL_ADAPTER
from transformers import AutoModel

from leaml_hf import LeamlForVisualQA
from leaml_hf.errors import LeamlInputError
from leaml_hf.phrasebook import Phrasebook, Rule
from leaml_hf.training.meaning import QuestionMeaning
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

    def ask_strangely(self, rows, questions) -> list[str]:
        """As `ask`, but for words of its own where a question is new to it."""
        words = [("lies", "stands")[int(self.up[i])] for i in rows]
        told = zip(self.ask(rows, questions), questions, words, strict=True)
        return [word if "vertical" in question.lower() else answer for answer, question, word in told]


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


def found_rules(world: World, questions: list[str], answers: list[str]) -> list[Rule]:
    return list(PatternTeacher(source()).fit(world.ask, questions, answers).rules.values())


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
        found = teacher.phrasebook([]).find(fresh)
        heard = world.ask(range(len(fresh)), [asked for asked, _ in found])
        right = [rule.said(answer, fresh[i]) == world.truth(i, fresh[i])
                 for i, (answer, (_, rule)) in enumerate(zip(heard, found, strict=True)) if rule]  # fmt: skip
        assert len(right) > 150 and np.mean(right) > 0.98
        assert np.nanmin(teacher.trust) > 0.9

    def test_a_question_as_it_stands_is_judged_by_the_bases_own_answers_not_by_a_guess_at_them(self):
        world = World(200)
        questions, answers = labelled(world, ("orientation",))
        known = source().filter(lambda row: row["program"] != "direction")
        by_guess = PatternTeacher(known).fit(world.ask_strangely, questions, answers)
        assert {rule.program for rule in by_guess.rules.values()} == {None}
        assert by_guess.rules[0].verbalizer == {"stands": "vertical", "lies": "horizontal"}
        teacher = PatternTeacher(known).fit(world.ask_strangely, questions, answers, ask_plainly=world.ask)
        assert teacher.rules == {} and np.nanmax(teacher.plain_trust) == 0

    def test_a_question_that_the_base_knows_goes_before_strange_answers_that_tell_as_much(self):
        world = World(200)
        rules = PatternTeacher(source()).fit(world.ask_strangely, *labelled(world, ("orientation",))).rules
        assert {rule.program for rule in rules.values()} == {"direction"}

    def test_a_number_that_no_label_showed_stands_for_itself(self):
        world = World(200)
        world.count[:] = 3 + np.arange(200) // 2 % 2
        (rule, *_) = found_rules(world, *labelled(world, ("number",)))
        assert rule.said("5", "") == "5"

    def test_a_question_of_another_kind_is_asked_as_it_stands(self):
        world = World(200)
        teacher = PatternTeacher(source()).fit(world.ask, *labelled(world))
        assert teacher.phrasebook([]).find(["Name Kenya's fruit."]) == [("Name Kenya's fruit.", None)]
        assert teacher.nearest(["Name Kenya's fruit."]) == [None]

    def test_a_question_between_other_choices_is_asked_as_it_stands(self):
        world = World(200)
        teacher = PatternTeacher(source()).fit(world.ask, *labelled(world, ("orientation",), 12))
        assert {rule.program for rule in teacher.rules.values()} == {"direction"}
        alike = ["Horizontal or vertical bars?", "Are the vertical bars red or blue?", "Are the bars narrow or wide?"]
        assert None not in teacher.nearest(alike)
        assert [rule is not None for _, rule in teacher.phrasebook(alike).find(alike)] == [True, False, False]

    def test_questions_of_the_source_are_asked_as_they_stand(self):
        world = World(200)
        book = PatternTeacher(source()).fit(world.ask, *labelled(world)).phrasebook([])
        known = [text for texts in KNOWN.values() for text in texts]
        assert book.find(known) == [(text, None) for text in known]
        of_domain = Phrasebook(book.rules, {text: asked for text, asked in book.questions.items() if asked})
        assert any(rule for _, rule in of_domain.find(known))

    def test_a_question_of_the_source_that_means_something_else_in_the_domain_has_its_rule(self):
        world = World(200)
        questions = ["Is there a key?" if i % 2 else "Does the chart have a legend?" for i in range(16)]
        answers = ["no" if world.key[i] else "yes" for i in range(16)]  # the other way round
        book = PatternTeacher(source()).fit(world.ask, questions, answers).phrasebook([])
        (asked, rule), *_ = book.find(["Is there a key?"])
        assert (rule.said("yes", asked), rule.said("no", asked)) == ("no", "yes")

    def test_what_the_base_answers_rightly_itself_needs_no_rule(self):
        world = World(200)
        questions = [KNOWN["key"][i % 2] for i in range(10)]
        assert found_rules(world, questions, [world.truth(i, q) for i, q in enumerate(questions)]) == []

    def test_chance_rarely_makes_a_rule(self):
        made = 0
        for seed in range(40):
            world = World(200, seed)
            questions, _ = labelled(world, ("orientation",))
            answers = world.rng.choice(["vertical", "horizontal"], len(questions)).tolist()
            made += bool(found_rules(world, questions, answers))
        assert made <= 4

    def test_yes_and_no_may_be_the_other_way_round(self):
        world = World(200)
        questions = [f"Is the picture without {'a' if i % 2 else 'any'} legend?" for i in range(12)]
        answers = ["no" if world.key[i] else "yes" for i in range(12)]
        rules = found_rules(world, questions, answers)
        assert {rule.program for rule in rules} == {"key"}
        assert rules[0].verbalizer == {"yes": "no", "no": "yes"} and rules[0].unsaid("yes") == "no"

    def test_the_number_of_a_question_is_put_in_and_shifted(self):
        rng = np.random.default_rng(0)
        counts = rng.integers(2, 9, 200)
        rows = [
            {"question": f"Are at least {n} bars drawn?", "answer": ("yes", "no")[n > 4], "program": "at_least"}
            for n in range(2, 9)
            for _ in range(3)
        ]
        limits = counts[:16] - np.arange(16) % 2  # so that one more or less decides
        questions = [f"Can you count more than {limit} bars?" for limit in limits]
        answers = ["yes" if count > limit else "no" for count, limit in zip(counts, limits, strict=False)]

        def ask(chosen, asked):
            numbers = [int(text.split("least ")[1].split()[0]) if "least" in text else 0 for text in asked]
            return ["yes" if counts[i] >= number else "no" for i, number in zip(chosen, numbers, strict=True)]

        teacher = PatternTeacher(datasets.Dataset.from_list(rows)).fit(ask, questions, answers)
        asked, rule = teacher.phrasebook([]).find(["Can you count more than 11 bars?"])[0]
        assert asked == "Are at least 12 bars drawn?" and rule.verbalizer == {}

    def test_a_number_that_is_heard_is_compared_with_that_of_the_question(self):
        world = World(200)
        limits = world.count[:16] - np.arange(16) % 2
        questions = [f"Can you count more than {limit} bars?" for limit in limits]
        answers = ["yes" if world.count[i] > limit else "no" for i, limit in enumerate(limits)]
        teacher = PatternTeacher(source()).fit(world.ask, questions, answers)
        question = "Can you count more than 11 bars?"
        asked, rule = teacher.phrasebook([]).find([question])[0]
        assert asked in KNOWN["count"] and rule.relation == "more"
        assert [rule.said(told, question) for told in ("12", "11", "twelve", "blue")] == ["yes", "no", "yes", "blue"]

    def test_labels_left_out_have_no_part_in_what_is_found_without_them(self):
        world = World(200)
        questions, answers = labelled(world)
        left_out = range(0, len(questions), 3)  # all of the first kind
        wrong = [{"vertical": "horizontal", "horizontal": "vertical"}.get(answer, answer) for answer in answers]
        whole, other = (PatternTeacher(source()).fit(world.ask, questions, given) for given in (answers, wrong))
        found = [teacher.without(left_out) for teacher in (whole, other)]
        assert found[0].rules == found[1].rules and {rule.program for rule in found[0].rules.values()} == {
            "key",
            "count",
        }
        assert {rule.program for rule in whole.rules.values()} == {"direction", "key", "count"}
        assert found[0].nearest(questions[:1]) != [0] and np.isnan(found[0].trust[0])

    def test_one_label_tells_nothing(self):
        world = World(200)
        questions, answers = labelled(world, ("orientation",))
        teacher = PatternTeacher(source()).fit(world.ask, questions[:1], answers[:1], questions)
        assert teacher.rules == {} and np.isnan(teacher.trust).all()

    def test_two_labels_make_no_rule(self):
        world = World(200)
        questions, answers = labelled(world, ("orientation",))
        assert found_rules(world, questions[:2], answers[:2]) == []

    def test_programs_with_open_answers_are_left_out(self):
        rows = [
            {"question": f"What is item {i}?", "answer": f"name {chr(97 + i)}", "program": "name"} for i in range(20)
        ]
        assert PatternTeacher(datasets.Dataset.from_list(rows)).patterns == {}


class TestPhrasebook:
    rule = Rule("at_least", "More than 4?", "At least # bars?", 1, {"yes": "no", "no": "yes"}, 8.0, 1.0, 0.9)

    def book(self) -> Phrasebook:
        return Phrasebook([self.rule], {"Are there more than # bars?": (0, "At least # bars?"), "Which color?": None})

    def test_it_asks_trains_and_reads_in_the_models_words(self):
        book = self.book()
        assert book.find(["Are there more than 7 bars?"]) == [("At least 8 bars?", self.rule)]
        assert book.teach(["Are there more than 7 bars?", "Which color?"], ["yes", "red"]) == (
            ["At least 8 bars?", "Which color?"],
            ["no", "red"],
        )
        assert book.find([]) == [] and Phrasebook([], {}).find(["x"]) == [("x", None)]

    def test_a_compared_number_is_read_but_cannot_be_taught(self):
        rule = Rule("count", "More than 4?", "How many bars?", 0, {}, 8.0, 1.0, 0.9, "at least")
        book = Phrasebook([rule], {"Are there more than # bars?": (0, "How many bars?")})
        question = "Are there more than 7 bars?"
        assert book.find([question]) == [("How many bars?", rule)]
        assert [rule.said(told, question) for told in ("7", "6", "many")] == ["yes", "no", "many"]
        assert book.teach([question], ["yes"]) == ([question], ["yes"])

    @pytest.mark.parametrize("relation", [None, "at most", "beyond"])
    def test_a_relation_is_read_again_if_there_is_such_a_one(self, tmp_path, relation):
        rule = replace(self.rule, relation=relation)
        Phrasebook([rule], {}).save(tmp_path)
        with nullcontext() if relation != "beyond" else pytest.raises(LeamlInputError, match="again"):
            assert Phrasebook.load(tmp_path).rules == [rule]

    @pytest.mark.parametrize("question", ["Are there more than many bars?", "Which color?", "Zzz"])
    def test_without_a_number_or_a_rule_a_question_stays(self, question):
        assert self.book().find([question]) == [(question, None)]

    def test_round_trip(self, tmp_path):
        self.book().save(tmp_path)
        read = Phrasebook.load(tmp_path)
        assert read.rules == [self.rule] and read.questions == self.book().questions

    @pytest.mark.parametrize(
        "text", ["", "[]", "{", '{"format": 1, "rules": [{}], "questions": {}}', '{"format": 2}',
                 '{"format": 1, "rules": [], "questions": {"a": [3, "b"]}}']
    )  # fmt: skip
    def test_a_damaged_file_gets_a_sentence(self, tmp_path, text):
        (tmp_path / "leaml_phrasebook.json").write_text(text)
        with pytest.raises(LeamlInputError, match="again"):
            Phrasebook.load(tmp_path)


class TestQuestionMeaning:
    def test_a_question_means_the_same_in_any_company(self, composed, tokenizer):
        composed.eval()
        questions = ["how many?", "what colour is the circle on the left?", "how many?"]
        together = QuestionMeaning(composed, tokenizer)(questions)
        assert together.shape == (3, 32) and np.array_equal(together[0], together[2])
        for row, question in enumerate(questions):  # neither padding nor neighbours matter
            assert np.allclose(QuestionMeaning(composed, tokenizer)([question])[0], together[row], atol=2e-2)
        assert np.abs(together[0] - together[1]).max() > 0.1

    def test_each_text_is_read_once(self, composed, tokenizer):
        meaning = QuestionMeaning(composed, tokenizer)
        first = meaning(["how many?"])
        meaning.model = None  # reading would fail now
        assert np.array_equal(meaning(["how many?"]), first)


class TestSavedWithTheModel:
    def asked(self, model, processor, pictures, monkeypatch) -> tuple[list[str], str]:
        """What the processor is given for one question, and the answer read from a model that says "no"."""
        seen = []
        plain = type(processor).__call__

        def call(self, *args, **options):
            seen.extend(options.get("questions") or ())
            return plain(self, *args, **options)

        monkeypatch.setattr(type(processor), "__call__", call)
        monkeypatch.setattr(type(processor), "decode_answers", lambda self, tokens: ["no"] * len(tokens))
        return seen, model.answer(pictures[:1], ["Are there more than 7 bars?"], processor)[0].text

    def test_a_loaded_model_asks_and_reads_in_its_own_words(self, composed, backbone_folders, processor, pictures,
                                                            tmp_path, monkeypatch):  # fmt: skip
        model = LeamlForVisualQA.from_backbones(*map(str, backbone_folders), **SMALL_ADAPTER)
        model.phrasebook = TestPhrasebook().book()
        model.save_pretrained(tmp_path)
        loaded = AutoModel.from_pretrained(tmp_path)
        assert loaded.phrasebook.questions == model.phrasebook.questions
        asked, answer = self.asked(loaded, processor, pictures, monkeypatch)
        assert asked == ["At least 8 bars?"] and answer == "yes"

    def test_saving_without_one_removes_an_older_one(self, backbone_folders, tmp_path):
        model = LeamlForVisualQA.from_backbones(*map(str, backbone_folders), **SMALL_ADAPTER)
        model.phrasebook = TestPhrasebook().book()
        model.save_pretrained(tmp_path)
        model.phrasebook = None
        model.save_pretrained(tmp_path)
        assert AutoModel.from_pretrained(tmp_path).phrasebook is None


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
