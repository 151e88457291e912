"""A few labels tell which of the questions that a base already understands decide the new ones.

Pattern-exploiting training (Schick & Schütze 2021, arXiv 2001.07676) for pictures: a *pattern* asks in words that the
base knows, a *verbalizer* turns its answer into one of the domain's. There both are written by hand; here the patterns
are the questions that the base was trained on: ten labels are enough to choose among a few dozen of them and to read
the verbalizer off, where ten labels cannot teach a new wording by gradients.
"""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from ..phrasebook import RELATIONS, Phrasebook, Rule, character_ngrams, compare, fill, number_of, template
from .evidence import NO_WORD, Reading, as_expected, leave_one_out, read_off

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

Program = tuple[str, int]  # of the source, and the kind of answers
Ask = Callable[[Sequence[int], Sequence[str]], list[str]]  # (row, question) pairs to the base's answers
Encode = Callable[[Sequence[str]], np.ndarray]  # n texts to their meaning [n, D]

MAX_ANSWERS = 16  # of a program whose answers can be read by a table
MIN_LABELS = 2.0  # labels that are like a question, each weighed by its likeness
WIDTHS = ((0.1, 0.3), (0.35, 0.55))  # cosines from which a label counts for a question, and counts in full
CHOICES = 2  # that a question must name to be one between them: one alone may be what it is about
MIN_LIKENESS = 0.25  # cosine of a question with the nearest labelled one
MIN_POSTERIOR = 0.5  # of the hypotheses that answer alike
SAME_RULE = 0.8  # share of labels on which two hypotheses that answer alike agree
MIN_ACCURACY = 0.75  # of a rule on labels left out in turn
MIN_GAIN = 0.1  # of a rule's accuracy over that of the base's own answers, and of the commonest label
STRANGE_WORDS = 0.2  # accuracy of the base's own answers up to which its words alone may be at fault
PATTERNS_OF_PROGRAM = 40  # the commonest
SOURCE_QUESTIONS = 400  # the commonest, which a phrasebook leaves as they are
GENERAL = 3  # times that a question is asked in the source with no more than one word changed
GENERAL_PATTERNS = 4  # of a program
SLOT = "*"  # the word of a general pattern that changes
WORDING_WEIGHT = 10.0  # of the cosine between question and pattern in a program's log prior
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


@dataclass(frozen=True)
class _Asked:
    """What a labelled question is asked in one way."""

    row: int
    way: _Way
    question: str
    nearness: float = 0.0  # cosine of pattern and question
    numbered: bool = False  # whether the question's number was put in


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
        self.patterns = {
            p: [t for t, _ in questions[p].most_common(PATTERNS_OF_PROGRAM)]
            for p in sorted(questions)
            if len(answers[p]) <= MAX_ANSWERS
        }
        self._general = {p: _general_patterns(questions[p], self.patterns[p]) for p in self.patterns}
        self._source_answers = {p: answers[p] for p in self.patterns}
        self._known = set().union(*self._source_answers.values())
        self._source = [text for text, _ in sum(questions.values(), Counter()).most_common(SOURCE_QUESTIONS)]
        self.encode = encode

    def fit(
        self,
        ask: Ask,
        questions: Sequence[str],
        answers: Sequence[str],
        unlabeled: Sequence[str] = (),
        ask_plainly: Ask | None = None,
    ) -> "PatternTeacher":
        """
        Finds the rules.

        Args:
            ask (`Callable`): gives the base's answers to (labelled row, question) pairs, or a guess at them that is
                good for questions of the source.
            questions (`Sequence[str]`): n labelled questions.
            answers (`Sequence[str]`): their n labels.
            unlabeled (`Sequence[str]`, *optional*): further questions of the domain, for the weights of words.
            ask_plainly (`Callable`, *optional*): gives the base's own answers, where `ask` guesses at them: to a
                question as it stands, whose words may be strange to it, it may answer something else.

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
        self._is_choice = (self._kinds == 2) & np.array(named)
        own_kind = self._kinds + 3 * self._is_choice + 6 * np.array(numbered)
        cosines = self._own.cosines(self._vectors, self._vectors)
        alike = own_kind[:, None] == own_kind[None]
        self._widths = [((cosines - low) / (high - low)).clip(0, 1) * alike for low, high in WIDTHS]  # of [n, n]
        self._kept = np.ones(len(questions), bool)
        centres = self._centres()
        needed = np.flatnonzero(self._widths[0][centres].sum(0)) if centres else np.array([], int)
        as_they_stand = [_Asked(row, _Way(), question) for row, question in enumerate(self.labelled)]
        other_ways = list(self._ways_to_ask(needed))
        self._hear([*as_they_stand, *other_ways], [*_told(ask_plainly or ask, as_they_stand), *_told(ask, other_ways)])
        self._find_rules()
        return self

    def _hear(self, asked: list[_Asked], told: list[str]) -> None:
        """Keeps what was told in W ways of asking the n labelled questions, as numbers of words; way 0 is as they
        stand."""
        heard = [answer if one.way.relation is None else compare(answer, one.way.relation, self.labelled[one.row])
                 for one, answer in zip(asked, told, strict=True)]  # fmt: skip
        self._words = np.array(sorted({*heard, *self.answers, *OPPOSITE}))
        self._ways = list(dict.fromkeys(one.way for one in asked))
        place = {way: k for k, way in enumerate(self._ways)}
        spots = [place[one.way] for one in asked], [one.row for one in asked]
        shape = (len(self._ways), len(self.labelled))
        self._heard, self._nearness, self._numbered = np.full(shape, NO_WORD), np.zeros(shape), np.zeros(shape, bool)
        self._heard[spots] = np.searchsorted(self._words, heard)  # [W, n]
        self._nearness[spots] = [one.nearness for one in asked]
        self._numbered[spots] = [one.numbered for one in asked]
        self._label = np.searchsorted(self._words, self.answers)  # [n]

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
        self._chosen: dict[int, _Way] = {}
        near = self._widths[-1] * self._kept
        totals = near.sum(1)
        plain = (self._heard[0] == self._label).astype(float)
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
        What is asked in place of the labelled questions and of others. The commonest questions of the source are in
        it, too, as they stand, so that none of those is taken for one of the domain and answered by its rules.

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
            if centre in self.rules and self._offers(text, centre):
                asked = self._wording(self._chosen[centre], [text])[0]
                entry = (place[self._key(centre)], asked)
            entries.setdefault(template(text), entry)
        if best:
            entries = dict.fromkeys(self._source) | entries
        return Phrasebook(list(best.values()), entries)

    def _offers(self, question: str, centre: int) -> bool:
        """Whether a question leaves the choice that the rule of a labelled one decides: where that one names its
        answers, so must this one ("Positive, negative or none?" is not asked as "Bar or line?")."""
        program, verbalizer = self._chosen[centre].program, self.rules[centre].verbalizer
        if program is None or not self._is_choice[centre]:
            return True
        choices = {verbalizer.get(answer, answer) for answer in self._source_answers[program]}
        return _named(question, choices) >= min(CHOICES, _named(self.labelled[centre], choices))

    def _key(self, centre: int) -> tuple:
        way = self._chosen[centre]
        return way.program, way.shift, way.relation, tuple(sorted(self.rules[centre].verbalizer.items()))

    def _is_hopeful(self, weights: np.ndarray) -> bool:
        """Whether the labels come again or are answers that the source knows."""
        labels = [self.answers[i] for i in np.flatnonzero(weights)]
        counts = Counter(labels)
        return 2 * sum(counts[label] > 1 or label in self._known for label in labels) >= len(labels)

    def _ways_to_ask(self, rows: np.ndarray) -> Iterator[_Asked]:
        """What each row is asked in each way."""
        kinds = self._kinds
        limited = np.array([number_of(question) is not None for question in self.labelled], bool) & (kinds == 0)
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
                for cosines, row in zip(likeness[:, spots], chosen.tolist(), strict=True):
                    text, nearness = patterns[spots[cosines.argmax()]], float(cosines.max())
                    compared = kinds[row] != program[1]
                    shifts = SHIFTS if "#" in text and not compared else (0,)
                    for shift, relation in product(shifts, RELATIONS if compared else (None,)):
                        filled = fill(text, self.labelled[row], shift)
                        if filled is not None:
                            way = _Way(program, pattern, shift, relation)
                            yield _Asked(row, way, filled, nearness, "#" in text)

    def _wording(self, way: _Way, questions: Sequence[str]) -> list[str]:
        """The pattern for each question, its number not yet put in."""
        if way.program is None:
            return [template(question) for question in questions]
        patterns = self.patterns[way.program]
        spots = np.arange(len(patterns)) if way.pattern is None else self._general[way.program][way.pattern]
        vectors = self._own.vectors(questions, self._both)
        nearest = self._both.cosines(vectors, self._pattern_vectors[way.program][spots]).argmax(1)
        return [patterns[spots[k]] for k in nearest]

    def _hypotheses(
        self, centre: int, members: np.ndarray, weights: np.ndarray
    ) -> list[tuple[int | None, Reading, float]]:
        """Ways of asking that all members were asked in (`None` for the labels alone), how the answers are read, and
        log priors."""
        kind = int(self._kinds[centre])
        found: list[tuple[int | None, Reading, float]] = [(0, {}, np.log(AS_IT_STANDS))]
        if kind == 0:
            found.append((0, OPPOSITE, np.log(ITS_OPPOSITE)))
        found.append((None, {}, np.log(LABELS_ALONE)))
        ways = np.flatnonzero((self._heard[:, members] != NO_WORD).all(1))[1:]
        if not len(ways):
            return found
        numbered = number_of(self.labelled[centre]) is not None
        number_put_in = self._numbered[ways][:, members].all(1)

        def number_prior(way: _Way, put_in: bool) -> float:
            if not numbered:
                return 1.0
            if way.relation is not None:
                return 1 / len(RELATIONS)
            return SHIFTS[way.shift] if put_in else NUMBER_IGNORED

        of_number = [number_prior(self._ways[k], put_in) for k, put_in in zip(ways, number_put_in, strict=True)]
        nearness = self._nearness[ways][:, members] @ (weights / weights.sum())
        priors = WORDING_WEIGHT * nearness + np.log(of_number)
        priors += np.log(PATTERNS) - np.logaddexp.reduce(priors)
        for way, prior in zip(ways.tolist(), priors.tolist(), strict=True):
            for reading, share in READINGS[kind] if self._ways[way].relation is None else AS_HEARD:
                found.append((way, reading, np.log(share) + prior))
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
        weights, near, labels = weights[members], near[members], self._label[members]
        found = self._hypotheses(centre, members, weights)
        ways = np.array([NO_WORD if way is None else way for way, _, _ in found])
        heard = np.where(ways[:, None] == NO_WORD, NO_WORD, self._heard[ways][:, members])  # [H, members]
        expected = np.where([[reading == OPPOSITE] for _, reading, _ in found], self._opposite(heard), heard)
        likelihood, told = leave_one_out(heard, labels, weights, expected)
        scores = likelihood + np.array([prior for _, _, prior in found])
        posterior = np.exp(scores - np.logaddexp.reduce(scores))
        alike = (told[:, None] == told[None]) @ weights >= SAME_RULE * weights.sum()  # [H, H]
        real = ways != NO_WORD
        programs = [self._ways[way].program if way != NO_WORD else NO_WORD for way in ways]
        program = np.array([programs.index(one) for one in programs])
        ways_of_one = alike & (program[:, None] == program[None])  # the same in other words of one program
        right, plain = told == labels, heard[0] == labels
        support = ways_of_one @ posterior * real
        best = int(np.lexsort((posterior, support))[-1])
        in_own_words = alike[best] & (ways > 0)
        if ways[best] == 0 and np.average(plain, weights=weights) <= STRANGE_WORDS and in_own_words.any():
            best = int(np.lexsort((posterior, support * in_own_words))[-1])  # what is strange is said in many ways
        accuracy, near_accuracy = (float(np.average(right[best], weights=w)) for w in (weights, near))
        plain_accuracy, near_plain = (float(np.average(plain, weights=w)) for w in (weights, near))
        commonest = float(np.average(right[ways == NO_WORD][0], weights=weights))  # without the base
        way, reading = self._ways[ways[best]], found[best][1]
        words = [self._words[numbers].tolist() for numbers in (heard[best], labels)]
        if as_expected(*words, weights, reading):
            verbalizer = dict(reading)
        else:
            verbalizer = read_off(*words, weights, reading)
            commonest += MIN_GAIN  # a reading that the labels gave can say the commonest one to all
        certainty = float(posterior[alike[best]].sum())
        if (
            not real[best]
            or (way.program is None and not reading and plain_accuracy > STRANGE_WORDS)
            or certainty < MIN_POSTERIOR
            or accuracy < max(MIN_ACCURACY, plain_accuracy + MIN_GAIN, commonest)
            or near_accuracy < max(MIN_ACCURACY, near_plain + MIN_GAIN)
        ):
            return False
        self._chosen[centre] = way
        self.trust[centre] = accuracy
        self.rules[centre] = Rule(
            program=None if way.program is None else way.program[0],
            example=self.labelled[centre],
            pattern=self._wording(way, [self.labelled[centre]])[0],
            shift=way.shift,
            verbalizer=verbalizer,
            labels=round(float(weights.sum()), 2),
            accuracy=accuracy,
            posterior=certainty,
            relation=way.relation,
        )
        logger.debug("%s", self.rules[centre])
        return True

    def _opposite(self, words: np.ndarray) -> np.ndarray:
        """Numbers of words, "yes" and "no" exchanged."""
        yes, no = np.searchsorted(self._words, ["yes", "no"])
        return np.select([words == yes, words == no], [no, yes], words)


def _named(text: str, answers: Iterable[str]) -> int:
    """How many of some answers stand in a text as words."""
    return sum(re.search(rf"(?<!\w){re.escape(one)}(?!\w)", text, re.IGNORECASE) is not None for one in answers)


def _told(ask: Ask, asked: list[_Asked]) -> list[str]:
    """The answer to each, asked once where several are the same."""
    pairs = list(dict.fromkeys((one.row, one.question) for one in asked))
    given = dict(zip(pairs, ask(*map(list, zip(*pairs, strict=True))), strict=True)) if pairs else {}
    return [given[one.row, one.question] for one in asked]


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
