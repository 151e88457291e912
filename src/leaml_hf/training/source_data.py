"""The stream of source pictures that a base is pre-trained on: drawn on the fly from their index, never stored."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from ..data.visual_arrays.builder import draw_scene
from ..data.visual_arrays.targets import token_owners, token_targets
from .tower import ANSWER_ID, TowerBatch

CHART_SHARE = 0.75  # of the pictures; the rest are layout scenes


class SourceStream(IterableDataset):
    """Batches of drawn pictures with questions, token ids and dense targets.

    Args:
        tokenizer: turns a question into ids.
        batch_size (`int`): pictures a batch.
        start (`int`): batches to pass over, so that a resumed run goes on where it stopped.
        split (`str`): Visual Arrays split.
        side (`int`): vision tokens in a row.
        num_batches (`int`): where to end.
    """

    def __init__(self, tokenizer, batch_size: int, start: int, num_batches: int, split: str = "train",
                 side: int = 14) -> None:  # fmt: skip
        self.tokenizer, self.batch_size, self.start, self.num_batches = tokenizer, batch_size, start, num_batches
        self.split, self.side = split, side

    @lru_cache(maxsize=200_000)  # noqa: B019  (one stream lives as long as its run)
    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text)["input_ids"])

    def __iter__(self) -> Iterator[TowerBatch]:
        worker = torch.utils.data.get_worker_info()
        offset, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        for number in range(self.start + offset, self.num_batches, stride):
            yield self.batch(number)

    def batch(self, number: int) -> TowerBatch:
        pixels, targets, ids, relevant, programs, texts, answers = [], [], [], [], [], [], []
        choose = np.random.default_rng([97, number])
        for slot, is_chart in enumerate(choose.random(self.batch_size) < CHART_SHARE):
            task = "chart" if is_chart else "layout"
            index = number * self.batch_size + slot
            drawing, scene, questions = draw_scene(task, "base", self.split, index)
            pixels.append(torch.from_numpy(np.array(drawing.image)).permute(2, 0, 1))
            owners = token_owners(drawing, self.side)
            targets.append(torch.from_numpy(token_targets(scene, drawing, owners)))
            for question in questions:
                ids.append(self._ids(question.text))
                relevant.append(torch.from_numpy(np.isin(owners, question.relevant)))
                texts.append(question.text)
                answers.append(question.answer)
                programs.append(f"{task}/{question.program}")
        longest = max(map(len, ids))
        input_ids = torch.tensor([list(i) + [0] * (longest - len(i)) for i in ids])
        padding = torch.arange(longest)[None] >= torch.tensor([len(i) for i in ids])[:, None]
        answer_ids = torch.tensor([ANSWER_ID[answer] for answer in answers])
        return TowerBatch(torch.stack(pixels), torch.stack(targets), input_ids, padding, answer_ids,
                          torch.stack(relevant), programs, texts, answers)  # fmt: skip


def source_loader(stream: SourceStream, num_workers: int = 1) -> DataLoader:
    """The stream's batches, drawn in `num_workers` processes beside the training."""
    return DataLoader(stream, batch_size=None, num_workers=num_workers, prefetch_factor=4 if num_workers else None)
