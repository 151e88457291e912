"""The stream of source pictures that a base is pre-trained on: drawn on the fly from their index, never stored."""

import gc
import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import lru_cache

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from ..data.visual_arrays.builder import draw_scene
from ..data.visual_arrays.canvas import SIZE
from ..data.visual_arrays.conventions import COLOR_NAMES
from ..data.visual_arrays.renderers import render_page
from ..data.visual_arrays.scenes import CHART_KINDS, COMPONENTS, QUESTIONS_PER_SCENE, SHAPES, Scene
from ..data.visual_arrays.targets import (
    ATTRIBUTES,
    IGNORE,
    TARGETS,
    attribute_table,
    name_id,
    name_table,
    token_owners,
    token_targets,
)
from ..data.visual_arrays.wording import Question
from ..processing_leaml import LeamlProcessor
from .tower import CLAIM, NAMES, RIVALRY, SPELLED, TowerBatch

TASK_SHARES = {"chart": 0.45, "diagram": 0.27, "annotated": 0.15, "layout": 0.13}
DOMAIN_SHARES = {"synthetic": 0.8, "natural": 0.1, "medical": 0.1}
# Share of the pictures that each task and domain has.
CELLS = {(task, domain): of_task * of_domain for task, of_task in TASK_SHARES.items()
         for domain, of_domain in DOMAIN_SHARES.items()}  # fmt: skip
USUAL = (*COLOR_NAMES, *SHAPES, *CHART_KINDS, *COMPONENTS, *"0123456789.kM-", "yes", "no", "up", "down", "positive",
         "negative", "none", "open", "closed", "series", "parallel")  # fmt: skip
LONGEST = 48  # tokens of a question; of a longer one the last are kept, as a processor does
OTHERS = 256  # further tokens, drawn from the whole vocabulary, that an answer is told from


class SourceStream(IterableDataset):
    """Batches of drawn pictures with questions, token ids and dense targets.

    Args:
        tokenizer: turns a question into ids.
        batch_size (`int`): pictures a batch.
        start (`int`): batches to pass over, so that a resumed run goes on where it stopped.
        num_batches (`int`): where to end.
        split (`str`): Visual Arrays split.
        side (`int`): vision tokens in a row.
        pages (`int`): pages of names behind the pictures of each batch.
        cells (`dict`): share of the pictures of each task and domain; they sum to 1.
        processor ([`LeamlProcessor`], *optional*): prepares questions and answers for the language model, where that
            is to read them: half as slow as drawing, and so done where there are several processes.
    """

    def __init__(self, tokenizer, batch_size: int, start: int, num_batches: int, split: str = "train",
                 side: int = 14, pages: int = 0, cells: dict[tuple[str, str], float] = CELLS,
                 processor: LeamlProcessor | None = None) -> None:  # fmt: skip
        self.tokenizer, self.batch_size, self.start, self.num_batches = tokenizer, batch_size, start, num_batches
        self.split, self.side, self.pages, self.cells, self.processor = split, side, pages, cells, processor
        self.encoder = deepcopy(tokenizer.backend_tokenizer)  # calling the tokenizer takes ten times as long
        self.encoder.no_truncation()
        self.encoder.no_padding()

    def _tokens(self, text: str) -> tuple[list[int], list[int]]:
        """Ids of a text, and where in it each token ends; of a long one the last `LONGEST`."""
        encoded = self.encoder.encode(text)
        return encoded.ids[-LONGEST:], [end for _, end in encoded.offsets[-LONGEST:]]

    @lru_cache(maxsize=20_000)  # noqa: B019  (one stream lives as long as its run)
    def _name_ids(self, name: str) -> tuple[int, ...]:
        """Ids of a name or an answer, as it stands within a text."""
        return tuple(self._tokens(f" {name}")[0])

    def _answers(
        self, texts: list[str], names: list[tuple[int, ...]], rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Answers `[n, SPELLED]` as places in the choices, and the choices `[C]`: what stands in the batch's pictures
        and questions, usual answers, and some others."""
        end = self.tokenizer.eos_token_id
        rows = [[*self._name_ids(text), end][:SPELLED] for text in texts]
        usual = [token for text in USUAL for token in self._name_ids(text)]
        others = rng.integers(len(self.tokenizer), size=OTHERS).tolist()
        written = [token for row in (*names, *rows) for token in row]
        choices = np.unique([end, *usual, *others, *written])
        place_of = {token: place for place, token in enumerate(choices.tolist())}
        table = np.array([[place_of[token] for token in row] + [IGNORE] * (SPELLED - len(row)) for row in rows])
        return torch.from_numpy(table), torch.from_numpy(choices)

    def __iter__(self) -> Iterator[TowerBatch]:
        worker = torch.utils.data.get_worker_info()
        offset, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        for number in range(self.start + offset, self.num_batches, stride):
            yield self.batch(number)

    def batch(self, number: int) -> TowerBatch:
        """Batch `number`, the same whenever it is asked for."""
        count = self.batch_size + self.pages
        pixels = np.empty((count, SIZE, SIZE, 3), np.uint8)
        targets = np.empty((count, self.side**2, len(TARGETS)), np.int64)
        rows = self.batch_size * QUESTIONS_PER_SCENE
        relevant, named = np.zeros((rows, self.side**2), bool), np.zeros((rows, NAMES, self.side**2), bool)
        name_ends, name_targets, rivalry, claims = (
            np.full((rows, NAMES, *of_a_name), fill)
            for fill, *of_a_name in ((0,), (IGNORE, len(TARGETS)), (IGNORE, len(RIVALRY)), (IGNORE, len(CLAIM)))
        )
        asked, names, ids = [], [], []
        choose = np.random.default_rng([97, number])
        cells = list(self.cells)
        for slot, cell in enumerate(choose.choice(len(cells), self.batch_size, p=list(self.cells.values()))):
            task, domain = cells[cell]
            index = number * self.batch_size + slot
            drawing, scene, questions = draw_scene(task, "base", self.split, index, domain=domain)
            pixels[slot] = drawing.image
            owners, table = token_owners(drawing, self.side), attribute_table(scene)
            targets[slot] = token_targets(table, drawing, owners)
            shown = owners == np.arange(len(table))[:, None]  # [marks + cells, N]
            names += [mark.label for mark in scene.marks if mark.label]
            for row, question in enumerate(questions, slot * QUESTIONS_PER_SCENE):
                tokens, ends = self._tokens(question.text)
                asked.append((task, question))
                ids.append(tokens)
                relevant[row] = shown[list(question.relevant)].any(0)
                for k, (name, marks) in enumerate(question.names):
                    name_ends[row, k] = bisect_left(ends, _end_of(name, question.text))
                    named[row, k] = shown[list(marks)].any(0)
                    if len(marks) == 1:
                        name_targets[row, k, : len(ATTRIBUTES)] = table[marks[0]]
                if len(question.names) == NAMES:
                    _compare(question, scene, rivalry[row], claims[row])
        for slot in range(self.batch_size, count):
            page, written = render_page("base", choose)
            pixels[slot] = page.image
            targets[slot] = token_targets(name_table(written), page, token_owners(page, self.side))
            names += written
        input_ids, mask = _padded(ids)
        shape = (self.batch_size, -1, input_ids.shape[1])
        name_by_id = dict(sorted((name_id(name), name) for name in names))
        spelled = [self._name_ids(name) for name in name_by_id.values()]
        name_tokens, name_mask = _padded(spelled or [(0,)])
        answers, choices = self._answers([question.answer for _, question in asked], spelled, choose)
        return TowerBatch(
            pixels=torch.from_numpy(pixels).permute(0, 3, 1, 2),
            targets=torch.from_numpy(targets),
            input_ids=input_ids.view(shape),
            mask=mask.view(shape),
            answers=answers,
            choices=choices,
            names=torch.tensor(list(name_by_id), dtype=torch.int64),
            name_tokens=name_tokens,
            name_mask=name_mask,
            relevant=torch.from_numpy(relevant),
            name_ends=torch.from_numpy(name_ends),
            named=torch.from_numpy(named),
            name_targets=torch.from_numpy(name_targets),
            rivalry=torch.from_numpy(rivalry),
            claims=torch.from_numpy(claims),
            programs=[f"{task}/{question.program}" for task, question in asked],
            questions=[question.text for _, question in asked],
            answer_texts=[question.answer for _, question in asked],
            **self._prompts([question for _, question in asked]),
        )

    def _prompts(self, asked: list[Question]) -> dict[str, torch.Tensor]:
        if self.processor is None:
            return {}
        text = self.processor.encode_text([q.text for q in asked], [q.answer for q in asked])
        return {"prompts": text["input_ids"], "prompt_mask": text["attention_mask"], "labels": text["labels"]}


def _end_of(name: str, text: str) -> int:
    """Where a name ends in a text in which it stands as a word, perhaps also as a part of one. (A regular expression
    would have to be compiled for each name.)"""
    within = f" {text} "  # so that something stands before and behind
    start = within.index(name, 1)
    while any(char.isalnum() or char == "_" for char in (within[start - 1], within[start + len(name)])):
        start = within.index(name, start + 1)
    return start - 1 + len(name)


def _padded(rows: list[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of ids as one tensor, padded on the right, and which of it are ids."""
    lengths = torch.tensor([len(row) for row in rows])
    longest = int(lengths.max())
    return (
        torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows]),
        torch.arange(longest)[None] < lengths[:, None],
    )


def _compare(question: Question, scene: Scene, rivalry: np.ndarray, claims: np.ndarray) -> None:
    """Fills in which of two named marks has more `[NAMES, RIVALRY]`, as comparisons stay at chance for very long
    without it, and at the first of them whether what the question says of them is so `[NAMES, CLAIM]`."""
    first, second = (scene.marks[marks[0]] for _, marks in question.names)
    gaps = [] if scene.cells else [first.value - second.value]  # in grids the values of their cells are compared
    if first.box is not None:
        gaps += [first.box[axis] + first.box[axis + 2] - second.box[axis] - second.box[axis + 2] for axis in (0, 1)]
    for column, gap in enumerate(gaps):
        if abs(gap) > (0.4 if column == 0 else 0.05):
            rivalry[:, column] = (gap > 0, gap < 0)
    if question.answer in ("yes", "no"):
        claims[0] = question.answer == "yes"


def _freeze(_: int) -> None:
    gc.freeze()


def source_loader(stream: SourceStream, num_workers: int | None = None) -> DataLoader:
    """The stream's batches, in order, drawn in `num_workers` processes beside the training; by default one fewer than
    there are cores. The garbage collector of these passes over what they were started with."""
    if num_workers is None:
        num_workers = max(1, (os.cpu_count() or 1) - 1)
    return DataLoader(stream, batch_size=None, num_workers=num_workers, prefetch_factor=4 if num_workers else None,
                      pin_memory=torch.cuda.is_available(), worker_init_fn=_freeze)  # fmt: skip
