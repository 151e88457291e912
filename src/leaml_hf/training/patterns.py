"""A few labels tell which of the questions that a base already understands decide the new ones.

Pattern-exploiting training (Schick & Schütze 2021, arXiv 2001.07676) for pictures: a *pattern* asks in words that the
base knows, a *verbalizer* turns its answer into one of the domain's. There both are written by hand; here the patterns
are the questions that the base was trained on: ten labels are enough to choose among a few dozen of them and to read
the verbalizer off, where ten labels cannot teach a new wording by gradients.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from sklearn.cluster import AgglomerativeClustering
from sklearn.feature_extraction.text import TfidfVectorizer

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

Program = tuple[str, int]  # of the source, and the kind of answers
Ask = Callable[[Sequence[int], Sequence[str]], list[str]]  # (row, question) pairs to the base's answers

MAX_ANSWERS = 16  # of a program whose answers can be read by a table
MIN_LABELS = 4  # of a group of questions
GROUP_DISTANCE = 0.6  # cosine, between groups of questions
ANSWER_KIND_WEIGHT = 0.5  # of the kind of answer beside the words of a question
MIN_LIKENESS = 0.2  # cosine of a question with the nearest labelled one
MIN_POSTERIOR = 0.5  # of the programs that answer alike
SAME_RULE = 0.8  # share of labels on which two programs that answer alike agree
MIN_ACCURACY = 0.75  # of a rule on labels left out in turn
GENERAL = 5  # times that a question is asked in the source without a word changed
GENERAL_PATTERNS = 4  # of a program, for a group
MIN_GAIN = 0.1  # of a rule's accuracy over that of the base's own answers
WORDING_WEIGHT = 10.0  # of the cosine between question and pattern in a program's log prior
MIN_PROBABILITY = 0.5  # of an answer that a rule gives
SAME_ANSWER = 1.0  # labels that "the same word means the same" is worth
ANY_ANSWER = 0.5  # labels that "it tells nothing" is worth


@dataclass(frozen=True)
class Rule:
    """
    How a group of questions is answered.

    Args:
        program (`str`): of the source whose questions are asked instead.
        example (`str`): a question of the group.
        pattern (`str`): what is asked in its place.
        verbalizer (`dict[str, str]`): the pattern's answers, as far as the labels show them, and what they stand for.
        labels (`int`): labelled questions of the group.
        accuracy (`float`): share of these that the rule answers rightly when each is left out of it, in [0, 1].
        posterior (`float`): of the programs that answer so, given the labels, in [0, 1].
    """

    program: str
    example: str
    pattern: str
    verbalizer: dict[str, str]
    labels: int
    accuracy: float
    posterior: float


@dataclass
class _Table:
    """Counts of (the pattern's answer, the label) and what they make likely, as a Dirichlet-multinomial."""

    pairs: list[tuple[str, str]]
    identity: bool = True
    _both: Counter = field(init=False)
    _label: Counter = field(init=False)

    def __post_init__(self) -> None:
        self._both, self._label = Counter(self.pairs), Counter(label for _, label in self.pairs)

    @property
    def heard(self) -> set[str]:
        """The pattern's answers that the labels show."""
        return {heard for heard, _ in self.pairs}

    @property
    def is_identity(self) -> bool:
        """Whether most answers stand for themselves, so that new ones may be taken as they are."""
        return 2 * sum(heard == label for heard, label in self.pairs) >= len(self.pairs)

    def probabilities(self, given: str, left_out: tuple[str, str] | None = None) -> dict[str, float]:
        """Probability of each label where the pattern is answered by `given`; `left_out` is taken out before."""
        both, label, total = Counter(self._both), Counter(self._label), len(self.pairs)
        if left_out is not None:
            both[left_out] -= 1
            label[left_out[1]] -= 1
            total -= 1
        words = {*self._label, given} if self.identity else {*self._label}
        weight = {
            word: both[given, word]
            + SAME_ANSWER * (self.identity and word == given)
            + ANY_ANSWER * (label[word] + 0.5 / len(words)) / (total + 0.5)
            for word in words
        }
        return {word: value / sum(weight.values()) for word, value in weight.items()}

    def leave_one_out(self) -> tuple[float, list[str]]:
        """Log likelihood of the labels, each by the others, and what they would be taken for."""
        found = [(self.probabilities(given, (given, label)), label) for given, label in self.pairs]
        likelihood = sum(float(np.log(p[label] + 1e-3)) for p, label in found)
        return likelihood, [_likeliest(p) for p, _ in found]


@dataclass
class _Hypothesis:
    """That a program's questions decide those of a group: `pattern` for all, or for each the nearest in wording."""

    program: Program | None
    pattern: str | None
    asked: list[str]
    prior: float  # log
    table: _Table | None = None


class PatternTeacher:
    """
    Answers questions of a new domain by asking the base in words that it knows.

    Labelled questions are put into groups by their words and the kind of their answer. For each group the programs of
    the source with answers of that kind are hypotheses, each in several ways (the pattern nearest in wording to each
    question, or one of its general patterns for the whole group), and so are "the question as it stands" and "the
    labels alone". Their likelihoods, with each label left out in turn, and priors that favour the question as it
    stands and near wordings give posterior probabilities. Where programs that answer alike win clearly, and tell more
    than the base's own answer, the best of them becomes a [`Rule`].

    Args:
        source (`Dataset`): rows with `question`, `answer` and `program` that the base was trained on.
    """

    def __init__(self, source: "Dataset") -> None:
        answers: dict[Program, set[str]] = defaultdict(set)
        questions: dict[Program, Counter] = defaultdict(Counter)
        for question, answer, program in zip(source["question"], source["answer"], source["program"], strict=True):
            answers[program, answer_kind(answer)].add(answer)
            questions[program, answer_kind(answer)][question] += 1
        self.patterns = {p: list(questions[p]) for p in sorted(questions) if len(answers[p]) <= MAX_ANSWERS}
        self._general = {  # those that name nothing of their own picture, so that they fit any
            p: np.array([questions[p][text] >= GENERAL for text in self.patterns[p]]) for p in self.patterns
        }
        self.known = {answer for p in self.patterns for answer in answers[p]}
        self.rules: dict[int, Rule] = {}
        self._found: dict[int, _Hypothesis] = {}

    def fit(
        self, ask: Ask, questions: Sequence[str], answers: Sequence[str], unlabeled: Sequence[str] = ()
    ) -> "PatternTeacher":
        """
        Finds the rules.

        Args:
            ask (`Callable`): gives the base's answers to (labelled row, question) pairs.
            questions (`Sequence[str]`): n labelled questions.
            answers (`Sequence[str]`): their n labels.
            unlabeled (`Sequence[str]`, *optional*): further questions of the domain, for the weights of words.

        Returns:
            [`PatternTeacher`]: itself.
        """
        texts = sorted({*questions, *unlabeled})
        self._own = _vectorizer(len(texts)).fit(texts)  # tells the domain's questions apart
        texts += [pattern for group in self.patterns.values() for pattern in group]
        self._both = _vectorizer(len(texts)).fit(texts)
        self._patterns = {p: self._both.transform(group) for p, group in self.patterns.items()}
        self._questions = self._own.transform(questions)
        self._groups = self._group(questions, answers)
        members = {int(group): np.flatnonzero(self._groups == group).tolist() for group in np.unique(self._groups)}
        members = {g: rows for g, rows in members.items() if self._is_hopeful([answers[i] for i in rows])}
        hypotheses = {
            group: self._hypotheses([questions[i] for i in rows], [answers[i] for i in rows])
            for group, rows in members.items()
        }
        pairs = list(dict.fromkeys(
            pair for group, rows in members.items() for one in hypotheses[group]
            for pair in zip(rows, one.asked, strict=True)
        ))  # fmt: skip
        given = dict(zip(pairs, ask(*map(list, zip(*pairs, strict=True))), strict=True)) if pairs else {}
        for group, found in hypotheses.items():
            labels = [answers[i] for i in members[group]]
            for one in found:
                heard = [given[pair] for pair in zip(members[group], one.asked, strict=True)]
                one.table = _Table(list(zip(heard, labels, strict=True)))
            self._choose(group, found, questions[members[group][0]])
        return self

    def answer(self, ask: Ask, questions: Sequence[str]) -> list[tuple[str, float] | None]:
        """
        Answers the questions that a rule is for.

        Args:
            ask (`Callable`): gives the base's answers to (row, question) pairs.
            questions (`Sequence[str]`): n questions, of rows 0 to n - 1.

        Returns:
            `list`: n of (answer, probability), or `None` where there is no rule or its answer is not clear.
        """
        groups = self.groups(questions)
        rows = [i for i, group in enumerate(groups) if group is not None]
        if not rows:
            return [None] * len(questions)
        texts = [self._wording(self._found[groups[i]], [questions[i]])[0] for i in rows]
        found: list[tuple[str, float] | None] = [None] * len(questions)
        for i, heard in zip(rows, ask(rows, texts), strict=True):
            table = self._found[groups[i]].table
            likely = table.probabilities(heard)
            best = _likeliest(likely)
            if likely[best] >= MIN_PROBABILITY and (table.is_identity or heard in table.heard):
                found[i] = (best, likely[best])
        return found

    def groups(self, questions: Sequence[str]) -> list[int | None]:
        """
        The group of each question.

        Args:
            questions (`Sequence[str]`): n questions.

        Returns:
            `list`: n keys of `rules`, or `None` where no rule is for a question.
        """
        if not self.rules:
            return [None] * len(questions)
        likeness = (self._own.transform(questions) @ self._questions.T).toarray()  # [n, labelled]
        nearest = likeness.argmax(1)
        return [
            int(self._groups[k]) if row[k] >= MIN_LIKENESS and self._groups[k] in self.rules else None
            for row, k in zip(likeness, nearest, strict=True)
        ]

    def _group(self, questions: Sequence[str], answers: Sequence[str]) -> np.ndarray:
        if len(questions) < 2:
            return np.zeros(len(questions), int)
        kinds = [answer_kind(answer) for answer in answers]
        kinds = [  # a choice that the question gives is a kind of its own
            kind + (kind == 2 and answer.lower() in question.lower())
            for kind, question, answer in zip(kinds, questions, answers, strict=True)
        ]
        features = np.concatenate([self._questions.toarray(), ANSWER_KIND_WEIGHT * np.eye(4)[kinds]], 1)
        clustering = AgglomerativeClustering(
            None, metric="cosine", linkage="average", distance_threshold=GROUP_DISTANCE
        )
        return clustering.fit_predict(features)

    def _is_hopeful(self, answers: Sequence[str]) -> bool:
        """Whether a group has enough labels, and labels that come again or that the source knows."""
        counts = Counter(answers)
        learnable = sum(counts[answer] > 1 or answer in self.known for answer in answers)
        return len(answers) >= MIN_LABELS and 2 * learnable >= len(answers)

    def _hypotheses(self, questions: Sequence[str], answers: Sequence[str]) -> "list[_Hypothesis]":
        kind = Counter(map(answer_kind, answers)).most_common(1)[0][0]
        found = [_Hypothesis(None, None, list(questions), np.log(0.5))]
        for program in self.patterns:
            if program[1] != kind:
                continue
            likeness = (self._both.transform(questions) @ self._patterns[program].T).toarray()  # [n, patterns]
            ways = [(None, likeness.max(1).mean())]
            general = np.where(self._general[program], likeness.mean(0), -1.0)
            ways += [(self.patterns[program][k], general[k]) for k in np.argsort(-general)[:GENERAL_PATTERNS]]
            for pattern, score in ways:
                if score >= 0:
                    one = _Hypothesis(program, pattern, [], WORDING_WEIGHT * score)
                    one.asked = self._wording(one, questions)
                    found.append(one)
        others = np.logaddexp.reduce([one.prior for one in found[1:]]) if found[1:] else 0.0
        for one in found[1:]:
            one.prior += np.log(0.45) - others
        return found

    def _wording(self, hypothesis: "_Hypothesis", questions: Sequence[str]) -> list[str]:
        """What a hypothesis asks in place of each question."""
        if hypothesis.pattern is not None:
            return [hypothesis.pattern] * len(questions)
        likeness = (self._both.transform(questions) @ self._patterns[hypothesis.program].T).toarray()
        return [self.patterns[hypothesis.program][k] for k in likeness.argmax(1)]

    def _choose(self, group: int, found: "list[_Hypothesis]", example: str) -> None:
        """Keeps the hypothesis that wins clearly, if one does, as the rule of a group."""
        labels = [label for _, label in found[0].table.pairs]
        plain = float(np.mean([heard == label for heard, label in found[0].table.pairs]))
        alone = _Hypothesis(None, None, [], np.log(0.05), _Table([("", label) for label in labels], identity=False))
        found = [*found, alone]
        judged = [one.table.leave_one_out() for one in found]
        scores = np.array([one.prior + likelihood for one, (likelihood, _) in zip(found, judged, strict=True)])
        posterior = np.exp(scores - np.logaddexp.reduce(scores))
        best = int(posterior.argmax())
        one, told = found[best], np.array([predictions for _, predictions in judged])  # [hypotheses, labels]
        accuracy = float((told[best] == np.array(labels)).mean())
        agree = (told == told[best]).mean(1) >= SAME_RULE  # several programs may ask for the same in other words
        certainty = float(posterior[agree & np.array([other.program is not None for other in found])].sum())
        if one.program is None or certainty < MIN_POSTERIOR or accuracy < max(MIN_ACCURACY, plain + MIN_GAIN):
            return
        likely = {heard: one.table.probabilities(heard) for heard in sorted(one.table.heard)}
        verbalizer = {heard: _likeliest(given) for heard, given in likely.items()}
        self._found[group] = one
        self.rules[group] = Rule(one.program[0], example, one.asked[0], verbalizer, len(labels), accuracy, certainty)
        logger.info("%s", self.rules[group])


def _likeliest(probabilities: dict[str, float]) -> str:
    """The answer of the highest probability, of several the first in order."""
    return max(sorted(probabilities), key=probabilities.get)


def _vectorizer(texts: int) -> TfidfVectorizer:
    """Parts of words, so that "colour" and "color" are alike; those in two questions or more."""
    return TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=min(2, texts))


def answer_kind(answer: str) -> int:
    """
    The kind of an answer.

    Args:
        answer (`str`): for instance "no".

    Returns:
        `int`: 0 for yes or no, 1 for a number, 2 for something else.
    """
    if answer.lower() in ("yes", "no"):
        return 0
    return 1 if any(character.isdigit() for character in answer) else 2
