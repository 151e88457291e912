"""The stream of source pictures that a base is pre-trained on: drawn on the fly from their index, never stored."""

import os
import re
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from ..data.visual_arrays.builder import draw_scene
from ..data.visual_arrays.conventions import COLOR_NAMES
from ..data.visual_arrays.renderers import render_page
from ..data.visual_arrays.scenes import CHART_KINDS, COMPONENTS, SHAPES, Scene
from ..data.visual_arrays.targets import (
    IGNORE,
    TARGETS,
    attribute_table,
    mark_targets,
    name_id,
    name_table,
    token_owners,
    token_targets,
)
from ..data.visual_arrays.wording import Question
from ..modeling_leaml import answer_span
from ..processing_leaml import LeamlProcessor
from .tower import NAMES, RIVALRY, SPELLED, TowerBatch

TASK_SHARES = {"chart": 0.45, "diagram": 0.25, "annotated": 0.2, "layout": 0.1}
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

    @lru_cache(maxsize=200_000)  # noqa: B019  (one stream lives as long as its run)
    def _tokens(self, text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Ids of a text, and where in it each token ends; of a long one the last `LONGEST`."""
        encoded = self.tokenizer(text, return_offsets_mapping=True)
        ids, spans = (encoded[key][-LONGEST:] for key in ("input_ids", "offset_mapping"))
        return tuple(ids), tuple(end for _, end in spans)

    def _names(self, question: Question, owners: np.ndarray) -> tuple[list[int], np.ndarray]:
        """For each name the token that it ends with, and the vision tokens of the marks it names `[NAMES, N]`."""
        places, named = [0] * NAMES, np.zeros((NAMES, len(owners)), bool)
        ends = self._tokens(question.text)[1]
        for k, (name, marks) in enumerate(question.names):
            stop = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", question.text).end()
            places[k] = next(i for i, end in enumerate(ends) if end >= stop)
            named[k] = np.isin(owners, marks)
        return places, named

    def _answers(
        self, texts: list[str], names: list[tuple[int, ...]], rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Answers `[n, SPELLED]` as places in the choices, and the choices `[C]`: what stands in the batch's pictures
        and questions, usual answers, and some others."""
        end = self.tokenizer.eos_token_id
        rows = [[*self._tokens(f" {text}")[0], end][:SPELLED] for text in texts]
        usual = [token for text in USUAL for token in self._tokens(f" {text}")[0]]
        others = rng.integers(len(self.tokenizer), size=OTHERS).tolist()
        written = [token for row in (*names, *rows) for token in row]
        choices = np.unique([end, *usual, *others, *written])
        table = np.full((len(rows), SPELLED), IGNORE)
        for place, row in enumerate(rows):
            table[place, : len(row)] = np.searchsorted(choices, row)
        return torch.from_numpy(table), torch.from_numpy(choices)

    def __iter__(self) -> Iterator[TowerBatch]:
        worker = torch.utils.data.get_worker_info()
        offset, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        for number in range(self.start + offset, self.num_batches, stride):
            yield self.batch(number)

    def batch(self, number: int) -> TowerBatch:
        """Batch `number`, the same whenever it is asked for."""
        pixels, targets, asked, names, meant, rivalry, claims = [], [], [], [], [], [], []
        choose = np.random.default_rng([97, number])
        cells = list(self.cells)
        for slot, cell in enumerate(choose.choice(len(cells), self.batch_size, p=list(self.cells.values()))):
            task, domain = cells[cell]
            index = number * self.batch_size + slot
            drawing, scene, questions = draw_scene(task, "base", self.split, index, domain=domain)
            pixels.append(torch.from_numpy(np.array(drawing.image)).permute(2, 0, 1))
            owners = token_owners(drawing, self.side)
            table = attribute_table(scene)
            targets.append(torch.from_numpy(token_targets(table, drawing, owners)))
            asked += [(task, question, owners) for question in questions]
            names += [mark.label for mark in scene.marks if mark.label]
            attributes = mark_targets(table)
            meant += [_meant(question, attributes) for question in questions]
            rivalry += [_rivalry(question, scene) for question in questions]
            claims += [_claim(question) for question in questions]
        for _ in range(self.pages):
            page, written = render_page("base", choose)
            pixels.append(torch.from_numpy(np.array(page.image)).permute(2, 0, 1))
            targets.append(torch.from_numpy(token_targets(name_table(written), page, token_owners(page, self.side))))
            names += written
        ids = [self._tokens(question.text)[0] for _, question, _ in asked]
        named = [self._names(question, owners) for _, question, owners in asked]
        input_ids, mask = _padded(ids)
        shape = (self.batch_size, -1, input_ids.shape[1])
        name_by_id = dict(sorted((name_id(name), name) for name in names))
        spelled = [self._tokens(f" {name}")[0] for name in name_by_id.values()]
        name_tokens, name_mask = _padded(spelled or [(0,)])
        answers, choices = self._answers([question.answer for _, question, _ in asked], spelled, choose)
        return TowerBatch(
            pixels=torch.stack(pixels),
            targets=torch.stack(targets),
            input_ids=input_ids.view(shape),
            mask=mask.view(shape),
            answers=answers,
            choices=choices,
            names=torch.tensor(list(name_by_id), dtype=torch.int64),
            name_tokens=name_tokens,
            name_mask=name_mask,
            relevant=torch.from_numpy(np.stack([np.isin(owners, q.relevant) for _, q, owners in asked])),
            name_ends=torch.tensor([places for places, _ in named]),
            named=torch.from_numpy(np.stack([where for _, where in named])),
            name_targets=torch.from_numpy(np.stack(meant)),
            rivalry=torch.from_numpy(np.stack(rivalry)),
            claims=torch.from_numpy(np.stack(claims)),
            programs=[f"{task}/{question.program}" for task, question, _ in asked],
            questions=[question.text for _, question, _ in asked],
            answer_texts=[question.answer for _, question, _ in asked],
            **self._prompts([question for _, question, _ in asked]),
        )

    def _prompts(self, asked: list[Question]) -> dict[str, torch.Tensor]:
        if self.processor is None:
            return {}
        text = self.processor.encode_text([q.text for q in asked], [q.answer for q in asked])
        labels = text["labels"][:, -answer_span(text["labels"]) :]
        return {"prompts": text["input_ids"], "prompt_mask": text["attention_mask"], "labels": labels}


def _padded(rows: list[tuple[int, ...]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of ids as one tensor, padded on the right, and which of it are ids."""
    lengths = torch.tensor([len(row) for row in rows])
    longest = int(lengths.max())
    return (
        torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows]),
        torch.arange(longest)[None] < lengths[:, None],
    )


def _meant(question: Question, attributes: np.ndarray) -> np.ndarray:
    """Attributes of the one mark that each name stands for `[NAMES, TARGETS]`, `IGNORE` where it is not one."""
    table = np.full((NAMES, len(TARGETS)), IGNORE)
    for k, (_, marks) in enumerate(question.names):
        if len(marks) == 1:
            table[k] = attributes[marks[0]]
    return table


def _rivalry(question: Question, scene: Scene) -> np.ndarray:
    """Which of two named marks has more `[NAMES, RIVALRY]`; comparisons stay at chance for very long without it."""
    table = np.full((NAMES, len(RIVALRY)), IGNORE)
    if len(question.names) == NAMES:
        first, second = (scene.marks[marks[0]] for _, marks in question.names)
        gaps = [first.value - second.value]
        if first.box is not None:
            gaps += [first.box[axis] + first.box[axis + 2] - second.box[axis] - second.box[axis + 2]
                     for axis in (0, 1)]  # fmt: skip
        for column, gap in enumerate(gaps):
            if abs(gap) > (0.4 if column == 0 else 0.05):
                table[:, column] = (gap > 0, gap < 0)
    return table


def _claim(question: Question) -> np.ndarray:
    """Whether what a question says of two names is so, at the first of them `[NAMES, 1]`."""
    table = np.full((NAMES, 1), IGNORE)
    if len(question.names) == NAMES and question.answer in ("yes", "no"):
        table[0] = question.answer == "yes"
    return table


def source_loader(stream: SourceStream, num_workers: int | None = None) -> DataLoader:
    """The stream's batches, in order, drawn in `num_workers` processes beside the training; by default one fewer than
    there are cores."""
    if num_workers is None:
        num_workers = max(1, (os.cpu_count() or 1) - 1)
    return DataLoader(stream, batch_size=None, num_workers=num_workers, prefetch_factor=4 if num_workers else None,
                      pin_memory=torch.cuda.is_available())  # fmt: skip
