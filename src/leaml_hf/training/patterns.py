"""A few labels tell which of the questions that a base already understands decide the new ones.

Pattern-exploiting training (Schick & Schütze 2021, arXiv 2001.07676) for pictures: a *pattern* asks in words that the
base knows, a *verbalizer* turns its answer into one of the domain's. There both are written by hand; here the patterns
are the questions that the base was trained on: ten labels are enough to choose among a few dozen of them and to read
the verbalizer off, where ten labels cannot teach a new wording by gradients.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from ..phrasebook import RELATIONS, Phrasebook, Rule, character_ngrams, compare, fill, number_of, template

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

Program = tuple[str, int]  # of the source, and the kind of answers
Ask = Callable[[Sequence[int], Sequence[str]], list[str]]  # (row, question) pairs to the base's answers
Encode = Callable[[Sequence[str]], np.ndarray]  # n texts to their meaning [n, D]
Reading = dict[str, str]  # what answers are expected to stand for; those left out stand for themselves

MAX_ANSWERS = 16  # of a program whose answers can be read by a table
MIN_LABELS = 2.0  # labels that are like a question, each weighed by its likeness
WIDTHS = ((0.1, 0.3), (0.35, 0.55))  # cosines from which a label counts for a question, and counts in full
MIN_LIKENESS = 0.25  # cosine of a question with the nearest labelled one
MIN_POSTERIOR = 0.5  # of the hypotheses that answer alike
SAME_RULE = 0.8  # share of labels on which two hypotheses that answer alike agree
MIN_ACCURACY = 0.75  # of a rule on labels left out in turn
MIN_GAIN = 0.1  # of a rule's accuracy over that of the base's own answers, and of the commonest label
STRANGE_WORDS = 0.2  # accuracy of the base's own answers up to which its words alone may be at fault
GENERAL = 3  # times that a question is asked in the source with no more than one word changed
GENERAL_PATTERNS = 4  # of a program
SLOT = "*"  # the word of a general pattern that changes
WORDING_WEIGHT = 10.0  # of the cosine between question and pattern in a program's log prior
EXPECTED_ANSWER = 1.0  # labels that what an answer is expected to stand for is worth
ANY_ANSWER = 0.5  # labels that "it tells nothing" is worth
OPPOSITE: Reading = {"yes": "no", "no": "yes"}
AS_IT_STANDS, ITS_OPPOSITE, PATTERNS, LABELS_ALONE = 0.5, 0.05, 0.4, 0.1  # prior probabilities
READINGS = ((({}, 0.7), (OPPOSITE, 0.3)), (({}, 1.0),), (({}, 1.0),))  # by kind of answer, with their priors
AS_HEARD = (({}, 1.0),)  # of a number that was compared: each relation has its opposite
SHIFTS = {0: 0.7, 1: 0.15, -1: 0.15}  # of a question's number, with their priors
NUMBER_IGNORED = 0.05  # prior of a pattern that leaves out the number of a question


@dataclass(frozen=True)
class _Way:
    """A way to ask: `pattern` for all questions, or for each the nearest in wording of a program's."""

    program: Program | None = None  # None for the question as it stands
    pattern: str | None = None  # with `SLOT` in place of the word that follows each question
    shift: int = 0
    relation: str | None = None  # of the number that is heard to that of the question


@dataclass
class _Hypothesis:
    """That what a way of asking is answered by, read so, decides the questions like one."""

    way: _Way | None  # None for the labels alone
    reading: Reading | None
    prior: float  # log
    heard: list[str]


class _Table:
    """
    Counts of (the base's answer, the label), weighed, and what they make likely, as a Dirichlet-multinomial.

    Args:
        heard (`Sequence[str]`): n answers.
        labels (`Sequence[str]`): n labels.
        weights (`np.ndarray`): `[n]`.
        reading (`Reading`, *optional*): what answers are expected to stand for; `None` if they tell nothing.
    """

    def __init__(self, heard: Sequence[str], labels: Sequence[str], weights: np.ndarray, reading: Reading | None):
        self.rows, self.reading = list(zip(heard, labels, weights.tolist(), strict=True)), reading
        self.both: dict[tuple[str, str], float] = defaultdict(float)
        self.label: dict[str, float] = defaultdict(float)
        for given, label, weight in self.rows:
            self.both[given, label] += weight
            self.label[label] += weight

    def expected(self, given: str) -> str | None:
        """What an answer stands for before any label is seen."""
        return None if self.reading is None else self.reading.get(given, given)

    @property
    def is_expected(self) -> bool:
        """Whether most answers stand for what was expected."""
        as_expected = sum(weight for given, label, weight in self.rows if self.expected(given) == label)
        return 2 * as_expected >= sum(self.label.values())

    @property
    def verbalizer(self) -> dict[str, str]:
        """What the answers stand for: as expected where most do, else as the labels say."""
        if self.is_expected:
            return dict(self.reading)
        often: dict[str, float] = defaultdict(float)
        for given, _, weight in self.rows:
            often[given] += weight
        return {given: _likeliest(self.probabilities(given)) for given in sorted(often, key=lambda g: (-often[g], g))}

    def probabilities(self, given: str, left_out: tuple[str, float] = ("", 0.0)) -> dict[str, float]:
        """Probability of each label where the answer is `given`; (label, weight) `left_out` is taken out before."""
        total = sum(self.label.values()) - left_out[1]
        expected = self.expected(given)
        words = {*self.label} if expected is None else {*self.label, expected}
        weight = {}
        for word in words:
            out = left_out[1] if word == left_out[0] else 0.0
            weight[word] = (
                self.both.get((given, word), 0.0) - out
                + EXPECTED_ANSWER * (word == expected)
                + ANY_ANSWER * (self.label.get(word, 0.0) - out + 0.5 / len(words)) / (total + 0.5)
            )  # fmt: skip
        scale = sum(weight.values())
        return {word: value / scale for word, value in weight.items()}

    def leave_one_out(self) -> tuple[float, list[str]]:
        """Weighed log likelihood of the labels, each by the others, and what they would be taken for."""
        found = [self.probabilities(given, (label, weight)) for given, label, weight in self.rows]
        likelihood = sum(w * float(np.log(p[label] + 1e-3)) for p, (_, label, w) in zip(found, self.rows, strict=True))
        return likelihood, [_likeliest(p) for p in found]


class PatternTeacher:
    """
    Finds out in which of its own words a base answers the questions of a new domain.

    For each labelled question, the labels of questions like it, weighed by their likeness, are evidence. The programs
    of the source with answers of that kind are hypotheses, each in several ways (the pattern nearest in wording to
    each question, or one of its general patterns; a question's number put in, or one more or less; yes and no as they
    are, or the other way round), and so are "the question as it stands" and "the labels alone". Their likelihoods,
    with each label left out in turn, and priors that favour the question as it stands and near wordings give posterior
    probabilities. Where hypotheses that answer alike win clearly, and tell more than the base's own answer, the best
    of them becomes a [`Rule`].

    Args:
        source (`Dataset`): rows with `question`, `answer` and `program` that the base was trained on.
        encode (`Callable`, *optional*): gives the meaning `[n, D]` of n texts, for likeness beside that of characters.
    """

    def __init__(self, source: "Dataset", encode: Encode | None = None) -> None:
        answers: dict[Program, set[str]] = defaultdict(set)
        questions: dict[Program, Counter] = defaultdict(Counter)
        for question, answer, program in zip(source["question"], source["answer"], source["program"], strict=True):
            answers[program, answer_kind(answer)].add(answer)
            questions[program, answer_kind(answer)][template(question)] += 1
        self.patterns = {p: list(questions[p]) for p in sorted(questions) if len(answers[p]) <= MAX_ANSWERS}
        self._general = {p: _general_patterns(questions[p], self.patterns[p]) for p in self.patterns}
        self._known = {answer for p in self.patterns for answer in answers[p]}
        self.encode = encode

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
            [`PatternTeacher`]: itself, with `rules` by labelled question and `trust` `[n]`: how often the base answers
            questions like each labelled one rightly, with its rule where there is one; NaN where too few are like it.
            `plain_trust` `[n]` is the same without rules.
        """
        self.labelled, self.answers = list(questions), list(answers)
        domain = sorted({*questions, *unlabeled})
        patterns = [pattern for group in self.patterns.values() for pattern in group]
        self._own = _Likeness(domain, domain, self.encode)  # tells the domain's questions apart
        self._vectors = self._own.vectors(self.labelled)
        self._both = _Likeness([*domain, *patterns], patterns, self.encode)
        self._pattern_vectors = {p: self._both.vectors(group) for p, group in self.patterns.items()}
        self._asked_vectors = self._own.vectors(self.labelled, self._both)
        self._kinds = np.array([answer_kind(answer) for answer in answers])
        named = [answer.lower() in question.lower() for question, answer in zip(questions, answers, strict=True)]
        numbered = [number_of(question) is not None for question in questions]
        # a choice that the question gives is a kind of its own, and so are questions that name a number
        own_kind = self._kinds + 3 * ((self._kinds == 2) & np.array(named)) + 6 * np.array(numbered)
        cosines = self._own.cosines(self._vectors, self._vectors)
        alike = own_kind[:, None] == own_kind[None]
        self._widths = [((cosines - low) / (high - low)).clip(0, 1) * alike for low, high in WIDTHS]  # of [n, n]
        self._kept = np.ones(len(questions), bool)
        centres = self._centres()
        needed = np.flatnonzero(self._widths[0][centres].sum(0)) if centres else np.array([], int)
        asked = self._ways_to_ask(needed)
        asked.update({(int(i), _Way()): questions[i] for i in range(len(questions))})
        pairs = list(dict.fromkeys((row, text) for (row, _), text in asked.items()))
        given = dict(zip(pairs, ask(*map(list, zip(*pairs, strict=True))), strict=True)) if pairs else {}
        self._heard = {(row, way): given[row, text] if way.relation is None
                       else compare(given[row, text], way.relation, questions[row])
                       for (row, way), text in asked.items()}  # fmt: skip
        self._find_rules()
        return self

    def without(self, rows: Sequence[int]) -> "PatternTeacher":
        """
        What would have been found without some of the labels; the base is not asked again.

        Args:
            rows (`Sequence[int]`): places of labels that are left out.

        Returns:
            [`PatternTeacher`]: another one.
        """
        other = copy(self)
        other._kept = self._kept.copy()
        other._kept[list(rows)] = False
        other._find_rules()
        return other

    def _centres(self) -> list[int]:
        """Labelled questions with labels enough around them for a rule."""
        enough = self._kept & (self._widths[0] @ self._kept >= MIN_LABELS)
        return [int(c) for c in np.flatnonzero(enough) if self._is_hopeful(self._widths[-1][c] * self._kept)]

    def _find_rules(self) -> None:
        """A rule for each labelled question that has one: that of the widest group of labels that one rule fits."""
        self.rules: dict[int, Rule] = {}
        self._ways: dict[int, _Way] = {}
        near = self._widths[-1] * self._kept
        totals = near.sum(1)
        plain = np.array([self._heard[i, _Way()] == answer for i, answer in enumerate(self.answers)], float)
        self.plain_trust = np.where(totals >= MIN_LABELS, near @ plain / totals.clip(1e-9), np.nan)
        self.trust = self.plain_trust.copy()
        for centre in self._centres():
            for width in self._widths:
                weights = width[centre] * self._kept
                if weights.sum() >= MIN_LABELS and self._choose(centre, weights, near[centre]):
                    break

    def nearest(self, questions: Sequence[str]) -> list[int | None]:
        """
        The labelled question that each question is most like.

        Args:
            questions (`Sequence[str]`): n questions.

        Returns:
            `list`: n places, or `None` where none is near.
        """
        likeness = np.where(self._kept, self._own.cosines(self._own.vectors(questions), self._vectors), -1.0)
        return [int(row.argmax()) if row.max() >= MIN_LIKENESS else None for row in likeness]

    def phrasebook(self, questions: Sequence[str]) -> Phrasebook:
        """
        What is asked in place of the labelled questions and of others.

        Args:
            questions (`Sequence[str]`): others of the domain.

        Returns:
            [`Phrasebook`].
        """
        best: dict[tuple, Rule] = {}  # of rules that do the same, the one with most labels speaks for all
        for centre, rule in self.rules.items():
            key = self._key(centre)
            if key not in best or rule.labels > best[key].labels:
                best[key] = rule
        place = {key: number for number, key in enumerate(best)}
        texts = list(dict.fromkeys([*self.labelled, *questions]))
        entries: dict[str, tuple[int, str] | None] = {}
        for text, centre in zip(texts, self.nearest(texts), strict=True):
            entry = None
            if centre in self.rules:
                asked = self._wording(self._ways[centre], [text])[0]
                entry = (place[self._key(centre)], asked)
            entries.setdefault(template(text), entry)
        return Phrasebook(list(best.values()), entries)

    def _key(self, centre: int) -> tuple:
        way = self._ways[centre]
        return way.program, way.shift, way.relation, tuple(sorted(self.rules[centre].verbalizer.items()))

    def _is_hopeful(self, weights: np.ndarray) -> bool:
        """Whether the labels come again or are answers that the source knows."""
        labels = [self.answers[i] for i in np.flatnonzero(weights)]
        counts = Counter(labels)
        return 2 * sum(counts[label] > 1 or label in self._known for label in labels) >= len(labels)

    def _ways_to_ask(self, rows: np.ndarray) -> dict[tuple[int, _Way], str]:
        """What each row is asked in each way."""
        kinds = self._kinds
        asked: dict[tuple[int, _Way], str] = {}
        self._scores: dict[tuple[int, _Way], float] = {}
        self._by_row: dict[int, list[_Way]] = defaultdict(list)
        self._numbered: set[tuple[int, _Way]] = set()  # where a question's number is put in
        limited = np.array([number_of(question) is not None for question in self.labelled]) & (kinds == 0)
        for program, patterns in self.patterns.items():
            related = limited[rows] & (program[1] == 1)  # a number that is heard can be compared with theirs
            chosen = rows[(kinds[rows] == program[1]) | related]
            if not len(chosen):
                continue
            likeness = self._both.cosines(self._asked_vectors[chosen], self._pattern_vectors[program])
            fitting = {pattern: (spots, likeness[:, spots].max(1).mean())
                       for pattern, spots in self._general[program].items()}  # fmt: skip
            fixed = sorted(fitting, key=lambda pattern: -fitting[pattern][1])[:GENERAL_PATTERNS]
            every = np.arange(len(patterns))
            for pattern in (None, *fixed):
                spots = every if pattern is None else fitting[pattern][0]
                for cosines, row in zip(likeness[:, spots], chosen, strict=True):
                    text, nearness = patterns[spots[cosines.argmax()]], float(cosines.max())
                    compared = kinds[row] != program[1]
                    shifts = SHIFTS if "#" in text and not compared else (0,)
                    for shift, relation in product(shifts, RELATIONS if compared else (None,)):
                        way = _Way(program, pattern, shift, relation)
                        filled = fill(text, self.labelled[row], shift)
                        if filled is not None:
                            asked[int(row), way], self._scores[int(row), way] = filled, nearness
                            self._by_row[int(row)].append(way)
                            if "#" in text:
                                self._numbered.add((int(row), way))
        return asked

    def _wording(self, way: _Way, questions: Sequence[str]) -> list[str]:
        """The pattern for each question, its number not yet put in."""
        if way.program is None:
            return [template(question) for question in questions]
        patterns = self.patterns[way.program]
        spots = np.arange(len(patterns)) if way.pattern is None else self._general[way.program][way.pattern]
        vectors = self._own.vectors(questions, self._both)
        nearest = self._both.cosines(vectors, self._pattern_vectors[way.program][spots]).argmax(1)
        return [patterns[spots[k]] for k in nearest]

    def _hypotheses(self, centre: int, members: np.ndarray, weights: np.ndarray) -> list[_Hypothesis]:
        def told(way: _Way) -> list[str]:
            return [self._heard[int(i), way] for i in members]

        kind = int(self._kinds[centre])
        found = [_Hypothesis(_Way(), {}, np.log(AS_IT_STANDS), told(_Way()))]
        if kind == 0:
            found.append(_Hypothesis(_Way(), OPPOSITE, np.log(ITS_OPPOSITE), told(_Way())))
        found.append(_Hypothesis(None, None, np.log(LABELS_ALONE), [""] * len(members)))
        asked = Counter(way for i in members for way in self._by_row[int(i)])
        ways = [way for way, count in asked.items() if count == len(members)]
        numbered = number_of(self.labelled[centre]) is not None

        def number_prior(way: _Way) -> float:
            if not numbered:
                return 1.0
            if way.relation is not None:
                return 1 / len(RELATIONS)
            return SHIFTS[way.shift] if all((int(i), way) in self._numbered for i in members) else NUMBER_IGNORED

        priors = np.array([
            WORDING_WEIGHT * np.average([self._scores[int(i), way] for i in members], weights=weights)
            + np.log(number_prior(way))
            for way in ways
        ])  # fmt: skip
        others = np.logaddexp.reduce(priors) if ways else 0.0
        for way, prior in zip(ways, priors, strict=True):
            for reading, share in READINGS[kind] if way.relation is None else AS_HEARD:
                found.append(_Hypothesis(way, reading, np.log(PATTERNS * share) + prior - others, told(way)))
        return found

    def _choose(self, centre: int, weights: np.ndarray, near: np.ndarray) -> bool:
        """
        Keeps the hypothesis that wins clearly, if one does, as the rule of questions like `centre`.

        Args:
            weights (`np.ndarray`): `[n]`, of the labels that are evidence.
            near (`np.ndarray`): `[n]`, of those of the questions most like it, for which the rule is to hold as well.

        Returns:
            `bool`: whether there is a rule.
        """
        members = np.flatnonzero(weights)
        weights, near = weights[members], near[members]
        labels = np.array([self.answers[i] for i in members])
        found = self._hypotheses(centre, members, weights)
        tables = [_Table(one.heard, labels.tolist(), weights, one.reading) for one in found]
        judged = [table.leave_one_out() for table in tables]
        scores = np.array([one.prior + likelihood for one, (likelihood, _) in zip(found, judged, strict=True)])
        posterior = np.exp(scores - np.logaddexp.reduce(scores))
        told = np.array([predictions for _, predictions in judged])  # [hypotheses, labels]
        alike = np.array([np.average(told == row, axis=1, weights=weights) >= SAME_RULE for row in told])
        programs = np.array([str(one.way and one.way.program) for one in found])
        ways_of_one = alike & (programs[:, None] == programs[None])  # the same in other words of one program
        real = np.array([one.way is not None for one in found])
        best = int(np.lexsort((posterior, ways_of_one @ posterior * real))[-1])
        one, certainty = found[best], float(posterior[alike[best]].sum())
        right, plain = told[best] == labels, np.array(found[0].heard) == labels
        accuracy, near_accuracy = (float(np.average(right, weights=w)) for w in (weights, near))
        plain_accuracy, near_plain = (float(np.average(plain, weights=w)) for w in (weights, near))
        alone = told[[other.way is None for other in found].index(True)]
        commonest = float(np.average(alone == labels, weights=weights))  # without the base
        if not tables[best].is_expected:  # a reading that the labels gave can say the commonest one to all
            commonest += MIN_GAIN
        if (
            one.way is None
            or (one.way.program is None and not one.reading and plain_accuracy > STRANGE_WORDS)
            or certainty < MIN_POSTERIOR
            or accuracy < max(MIN_ACCURACY, plain_accuracy + MIN_GAIN, commonest)
            or near_accuracy < max(MIN_ACCURACY, near_plain + MIN_GAIN)
        ):
            return False
        self._ways[centre] = one.way
        self.trust[centre] = accuracy
        self.rules[centre] = Rule(
            program=None if one.way.program is None else one.way.program[0],
            example=self.labelled[centre],
            pattern=self._wording(one.way, [self.labelled[centre]])[0],
            shift=one.way.shift,
            verbalizer=tables[best].verbalizer,
            labels=round(float(weights.sum()), 2),
            accuracy=accuracy,
            posterior=certainty,
            relation=one.way.relation,
        )
        logger.debug("%s", self.rules[centre])
        return True


class _Likeness:
    """
    Cosines between texts: by characters, and with `encode` the mean of that and of meanings around their own centre.

    Args:
        texts (`Sequence[str]`): for the weights of characters.
        centre (`Sequence[str]`): whose meaning is the centre.
        encode (`Callable`, *optional*): gives meanings.
    """

    def __init__(self, texts: Sequence[str], centre: Sequence[str], encode: Encode | None) -> None:
        self.characters = character_ngrams(len(texts)).fit(texts)
        self.encode, self.centre = encode, None if encode is None else encode(list(centre)).mean(0)

    def vectors(self, texts: Sequence[str], characters: "_Likeness | None" = None) -> np.ndarray:
        """`[n, features]` of length 1; characters weighed as in another, whose patterns these are compared to."""
        letters = (characters or self).characters.transform(texts).toarray().astype(np.float32)
        if self.encode is None:
            return letters
        meaning = self.encode(texts) - self.centre
        meaning /= np.linalg.norm(meaning, axis=1, keepdims=True).clip(1e-6)
        return np.concatenate([letters, meaning], 1) / np.sqrt(2)

    @staticmethod
    def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """`[n, m]` of vectors."""
        return left @ right.T


def _general_patterns(asked: Counter, patterns: list[str]) -> dict[str, np.ndarray]:
    """Questions that come often but for a word ("Count the *."), by their places in `patterns`; any picture fits."""
    alike: dict[str, list[int]] = defaultdict(list)
    for place, pattern in enumerate(patterns):
        words = pattern.split()
        if asked[pattern] >= GENERAL:
            alike[pattern].append(place)
        for spot in range(len(words)):
            alike[" ".join([*words[:spot], SLOT, *words[spot + 1 :]])].append(place)
    return {
        text: np.array(places)
        for text, places in alike.items()
        if sum(asked[patterns[k]] for k in places) >= GENERAL and (SLOT not in text or len(places) > 1)
    }


def _likeliest(probabilities: dict[str, float]) -> str:
    """The answer of the highest probability, of several the first in order."""
    return max(sorted(probabilities), key=probabilities.get)


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
