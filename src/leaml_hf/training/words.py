"""The trainer's first look at its labels: the words in which a base is asked, and which answers can be trusted."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.budget import picture_keys
from ..evaluation.runner import CHUNK, open_pictures
from ..phrasebook import Phrasebook
from .meaning import QuestionMeaning
from .patterns import Ask, PatternTeacher
from .rows import RowDataset

if TYPE_CHECKING:
    from datasets import Dataset

ASKED_AT_ONCE = 96  # questions a forward pass
DRAWS = 8  # of unlabelled rows, that are looked at for the phrasebook
FOLDS = 3  # of held-out rows: each is judged with a phrasebook that its own labels had no part in


class WordsMixin:
    """The methods of [`LeamlTrainer`] that find out in which words its base is to be asked."""

    def find_words(self) -> None:
        """Finds out in which of its own words the base answers the new questions, and which answers can be trusted.

        From then on the model's `phrasebook` puts questions into those words, in training and in answering; only
        unlabelled rows whose like the base answers rightly are trained on.
        """
        rows = self.unlabeled
        labelled = self._all_labelled()
        if rows is not None:
            drawn = np.sort(self._rng.permutation(len(rows))[: DRAWS * self.args.refresh_rows])
            rows = rows.select(drawn)
        questions = [] if rows is None else rows["question"]
        self.model.eval()
        self.model.phrasebook = None  # an earlier one is found anew
        self.folds = [(fold, None) for fold, _ in self.folds]
        teacher = PatternTeacher(self.source, QuestionMeaning(self.model, self.processing_class.tokenizer)).fit(
            self._asker(labelled, spelled=True),
            labelled["question"],
            labelled["answer"],
            questions,
            self._asker(labelled, spelled=False),
        )
        book = teacher.phrasebook(questions)
        kept = self._helps(book, teacher)
        self.model.phrasebook = book if kept else None
        self.train_dataset = RowDataset(self.labelled, phrasebook=self.model.phrasebook)
        rules = [asdict(rule) for rule in book.rules]
        entry = {"step": 0, "patterns": rules if kept else [], "patterns_found": len(rules)}
        if rows is not None:
            trust = teacher.trust if kept else teacher.plain_trust
            asked = [0.0 if place is None else trust[place] for place in teacher.nearest(questions)]
            self.trusted_rows = drawn[np.array(asked) >= self.args.min_trust]
            entry["trusted"] = len(self.trusted_rows) / len(rows)
        self.history.append(entry)

    def _asker(self, rows: "Dataset", spelled: bool) -> Ask:
        """Gives the model's answers to questions about `rows`, or what its resampler spells, where it has one; only
        the pictures of one chunk are open at a time."""
        keys, model, processor = picture_keys(rows), self.model, self.processing_class

        def told(images: list[Any], questions: list[str]) -> list[str]:
            if spelled and model.can_spell:
                return model.spell(images, questions, processor, ASKED_AT_ONCE)
            return model.collect(images, questions, processor, ASKED_AT_ONCE).texts

        def ask(chosen: Sequence[int], questions: Sequence[str]) -> list[str]:
            order = sorted(range(len(chosen)), key=lambda k: keys[chosen[k]])  # rows of one picture share its encoding
            texts: dict[int, str] = {}
            for start in range(0, len(order), CHUNK):
                part = order[start : start + CHUNK]
                spots = {keys[chosen[k]]: int(chosen[k]) for k in part}
                opened = rows.select(list(spots.values()))["image"]
                pictures = open_pictures(model, processor, opened, list(spots), self.cache)
                answers = told([pictures[keys[chosen[k]]] for k in part], [questions[k] for k in part])
                texts.update(zip(part, answers, strict=True))
            return [texts[k] for k in range(len(chosen))]

        return ask

    def _parts(self) -> list[np.ndarray]:
        """Places of held-out rows, in `FOLDS` parts or fewer; rows of one picture are in one part."""
        picture = np.unique(picture_keys(self.held_out), return_inverse=True)[1]
        return [np.flatnonzero(picture % FOLDS == part) for part in np.unique(picture % FOLDS)]

    def _helps(self, book: Phrasebook, teacher: PatternTeacher) -> bool:
        """Whether it has rules, and no fewer held-out rows are answered rightly with what was found without them."""
        if self.held_out is None or not book.rules:
            return bool(book.rules)
        base_accuracy = self._predict(self.folds).correct.mean()
        alone, first = self.folds, len(self.labelled)  # held-out rows come after the others in what was taught
        self.folds = [(self.held_out.select(part), teacher.without(first + part).phrasebook([]))
                      for part in self._parts()]  # fmt: skip
        if self._predict(self.folds).correct.mean() >= base_accuracy:
            return True
        self.folds = alone
        return False
