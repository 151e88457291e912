"""How a domain's questions are put to a model in words that it knows, and what its answers then stand for."""

import json
import operator
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import LeamlInputError
from .files import damaged, read_json

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

FILE_NAME = "leaml_phrasebook.json"
FORMAT = 1
MIN_LIKENESS = 0.2  # cosine of a question with the nearest one of the phrasebook
NUMBER_WORDS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
RELATIONS = {
    "more": operator.gt,
    "at least": operator.ge,
    "equal": operator.eq,
    "at most": operator.le,
    "fewer": operator.lt,
}
_NUMBER = re.compile(  # a whole number that stands alone
    rf"(?<![\w.,-])(?:\d+|(?i:{'|'.join(NUMBER_WORDS)}))(?![\w-]|[.,]\d)"
)


@dataclass(frozen=True)
class Rule:
    """
    How a group of questions is asked.

    Args:
        program (`str` or `None`): of the source whose questions are asked instead; `None` if they are asked as they
            stand, and only the answers stand for something else.
        example (`str`): a question of the group.
        pattern (`str`): what is asked in its place; "#" is the question's number.
        shift (`int`): added to that number ("more than 4" is "at least 5").
        verbalizer (`dict[str, str]`): the model's answers and what they stand for; others stand for themselves.
        relation (`str`, *optional*): a key of `RELATIONS`, where the model is asked for a number instead, and whether
            it is so related to the number of the question ("more than 4" by "how many") says yes or no.
        labels (`float`): labelled questions that spoke for it, each weighed by its likeness to the group.
        accuracy (`float`): share of these that it answers rightly when each is left out of it, in [0, 1].
        posterior (`float`): of the hypotheses that answer so, given the labels, in [0, 1].
    """

    program: str | None
    example: str
    pattern: str
    shift: int
    verbalizer: dict[str, str]
    labels: float
    accuracy: float
    posterior: float
    relation: str | None = None

    def is_sound(self) -> bool:
        """Whether the values are of the kinds that they should be, as those of a file may not be."""
        texts = [self.example, self.pattern, *self.verbalizer, *self.verbalizer.values()]
        texts += [] if self.program is None else [self.program]
        return (
            all(isinstance(text, str) for text in texts)
            and isinstance(self.shift, int)
            and abs(self.shift) < 10**6
            and self.relation in (None, *RELATIONS)
        )

    def said(self, answer: str, question: str) -> str:
        """What the model's answer stands for as one to `question`, which names a number if the rule has a relation."""
        told = answer if self.relation is None else compare(answer, self.relation, question)
        return self.verbalizer.get(told, told)

    def unsaid(self, label: str) -> str | None:
        """The model's answer that stands for a label; of several the first; `None` if the label doesn't tell it."""
        if self.relation is not None:
            return None
        return next((answer for answer, meant in self.verbalizer.items() if meant == label), label)


class Phrasebook:
    """
    Questions of a domain, and for those that have a [`Rule`] what is asked in their place.

    A new question is treated as the nearest one of the phrasebook (cosine of character n-grams); where none is near,
    it is asked as it stands.

    Args:
        rules (`Sequence[Rule]`): the rules.
        questions (`dict[str, tuple[int, str] | None]`): a question of the domain to its rule's place in `rules` and
            what is asked, numbers as "#"; `None` if it is asked as it stands.
    """

    def __init__(self, rules: Sequence[Rule], questions: dict[str, tuple[int, str] | None]) -> None:
        self.rules, self.questions = list(rules), dict(questions)

    @cached_property
    def _index(self):
        known = list(self.questions)
        vectorizer = character_ngrams(len(known)).fit(known)
        return known, vectorizer, vectorizer.transform(known)

    def find(self, questions: Sequence[str]) -> list[tuple[str, Rule | None]]:
        """
        What is asked in place of each question.

        Args:
            questions (`Sequence[str]`): n questions.

        Returns:
            `list[tuple]`: n of (what is asked, its rule); (the question itself, `None`) where there is no rule.
        """
        found: list[tuple[str, Rule | None]] = [(question, None) for question in questions]
        if not (self.rules and self.questions and found):
            return found
        known, vectorizer, vectors = self._index
        likeness = (vectorizer.transform(map(template, questions)) @ vectors.T).toarray()  # [n, known]
        for row, question in enumerate(questions):
            nearest = likeness[row].argmax()
            entry = self.questions[known[nearest]] if likeness[row, nearest] >= MIN_LIKENESS else None
            asked = None if entry is None else fill(entry[1], question, self.rules[entry[0]].shift)
            if asked is not None:
                found[row] = (asked, self.rules[entry[0]])
        return found

    def teach(self, questions: Sequence[str], answers: Sequence[str]) -> tuple[list[str], list[str]]:
        """
        Rows to train on: what is asked, and the model's own words for the answers; as they stand where an answer does
        not tell what the model would have to say.

        Args:
            questions (`Sequence[str]`): n questions of the domain.
            answers (`Sequence[str]`): n answers in the domain's words.

        Returns:
            `tuple[list[str], list[str]]`: n questions and n answers as the model is to see them.
        """
        rows = []
        for question, answer, (asked, rule) in zip(questions, answers, self.find(questions), strict=True):
            told = answer if rule is None else rule.unsaid(answer)
            rows.append((question, answer) if told is None else (asked, told))
        return [asked for asked, _ in rows], [told for _, told in rows]

    def save(self, folder: str | Path) -> None:
        """
        Writes `leaml_phrasebook.json`.

        Args:
            folder (`str` or `Path`): is there.
        """
        content = {"format": FORMAT, "rules": [asdict(rule) for rule in self.rules], "questions": self.questions}
        text = json.dumps(content, indent=1, ensure_ascii=False)
        (Path(folder) / FILE_NAME).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> "Phrasebook":
        """
        Reads what `save` wrote.

        Args:
            folder (`str` or `Path`): holds the file.

        Returns:
            [`Phrasebook`].

        Raises:
            [`LeamlInputError`]: if the file is damaged, or of a format that this version can't read.
        """
        file = Path(folder) / FILE_NAME
        content = read_json(file)
        if content.get("format") != FORMAT:
            raise LeamlInputError(
                f"Update leaml_hf or save the adapter again: {file} has format {content.get('format')}, but this "
                f"version reads format {FORMAT}."
            )
        try:
            rules = [Rule(**rule) for rule in content["rules"]]
            questions = {text: None if entry is None else (int(entry[0]), str(entry[1]))
                         for text, entry in content["questions"].items()}  # fmt: skip
            sound = all(rule.is_sound() for rule in rules)
            sound &= all(entry is None or 0 <= entry[0] < len(rules) for entry in questions.values())
            book = cls(rules, questions)
            book.find(["?"])  # fails where no question has a word
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            raise damaged(file) from error
        if not sound:
            raise damaged(file)
        return book


def character_ngrams(texts: int) -> "TfidfVectorizer":
    """
    Parts of words, so that "colour" and "color" are alike; those in two of `texts` texts or more.

    Args:
        texts (`int`): how many texts it will be fitted on.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=min(2, max(1, texts - 1)))


def number_of(question: str) -> int | None:
    """The whole number that a question names; `None` where there is none or more than one."""
    found = _NUMBER.findall(question)
    if len(found) != 1:
        return None
    word = found[0].lower()
    return NUMBER_WORDS.index(word) + 2 if word in NUMBER_WORDS else int(word)


def template(question: str) -> str:
    """A question with "#" in place of the one number that it names."""
    return question if number_of(question) is None else _NUMBER.sub("#", question)


def fill(pattern: str, question: str, shift: int) -> str | None:
    """A pattern with the question's number, `shift` added, in place of "#"; `None` where the question lacks one."""
    if "#" not in pattern:
        return pattern
    number = number_of(question)
    return None if number is None else pattern.replace("#", str(number + shift))


def compare(answer: str, relation: str, question: str) -> str:
    """Whether an answer's number has a relation to that of a question: "yes", "no", or the answer if there is none."""
    told, limit = number_of(answer), number_of(question)
    if told is None or limit is None:
        return answer
    return "yes" if RELATIONS[relation](told, limit) else "no"
