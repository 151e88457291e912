"""One stage of pre-training: a loop over drawn batches with a log and checkpoints, which a killed run goes on from."""

import json
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..processing_leaml import LeamlProcessor
from .source_data import SourceStream, source_loader
from .tower import TowerBatch

logger = logging.getLogger(__name__)

ROUND = 16  # batches that come in turn, where each is trained on more than once


def schedule(done: float, peak: float, warmup: float = 0.02, floor: float = 0.02) -> float:
    """Linear warm-up, then a cosine down to `floor` of the peak.

    Args:
        done (`float`): share of the run that is done, 0 to 1.
        peak (`float`): the highest rate.
        warmup (`float`, *optional*, defaults to 0.02): share of the run that the warm-up takes, below 1.
        floor (`float`, *optional*, defaults to 0.02): share of the peak that is left at the end.

    Returns:
        `float`: the rate.
    """
    if done < warmup:
        return peak * done / warmup
    falling = min(1.0, (done - warmup) / (1 - warmup))
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * falling)))


def drawn_batches(steps: int, passes: int) -> int:
    """How many batches so many steps take, where rounds of `ROUND` batches are each trained on `passes` times."""
    if passes == 1:
        return steps
    rounds, within = divmod(steps, ROUND * passes)
    return ROUND * rounds + min(within, ROUND)


class Averages:
    """Means per key since the last reading. Until then tensors are kept as they are: reading one waits for a GPU."""

    def __init__(self) -> None:
        self.figures: dict[str, list[Tensor]] = defaultdict(list)
        self.judged: list[tuple[list[str], Tensor]] = []

    def add(self, key: str, value: Tensor) -> None:
        """Adds a figure, a scalar; NaN counts for nothing."""
        self.figures[key].append(value.detach())

    def add_programs(self, programs: list[str], correct: Tensor) -> None:
        """Adds each row, `correct` `[n]` bool, under "task/program" and under its task."""
        self.judged.append((programs, correct))

    def read(self) -> dict[str, float]:
        """Mean of each key that there is a figure for, by name."""
        found = {key: torch.stack(values).float().cpu() for key, values in self.figures.items()}
        means = {key: values.nanmean().item() for key, values in found.items() if not values.isnan().all()}
        right: dict[str, list[bool]] = defaultdict(list)
        for programs, correct in self.judged:
            for program, one in zip(programs, correct.tolist(), strict=True):
                right[program].append(one)
                right[program.split("/")[0]].append(one)
        means |= {key: sum(values) / len(values) for key, values in right.items()}
        self.figures.clear()
        self.judged.clear()
        return {key: round(means[key], 4) for key in sorted(means)}


@dataclass
class Step:
    """What one batch gave: the loss to follow, figures for the log, which questions were right (None: none asked)."""

    loss: Tensor
    figures: dict[str, Tensor]
    correct: Tensor | None = None


@dataclass
class Stage:
    """
    A stage of pre-training.

    Args:
        name (`str`): of its files: `{name}.safetensors`, `{name}_state.pt` and `{name}_log.jsonl`.
        output (`Path`): their folder.
        trained (`nn.Module`): everything that is saved and whose gradients are clipped together at 1.0; batches go to
            its device.
        optimizer (`torch.optim.Optimizer`): over its parameters.
        step (`Callable`): share of the stage that is done (0 to 1) and batch to a [`Step`].
        rates (`Callable`): share that is done to the learning rate of each parameter group.
        evaluate (`Callable`): held-out accuracy per task and program.
        save_every (`int`): steps between log lines and checkpoints.
        evaluate_every (`int`): steps between held-out figures, a multiple of `save_every`; 0 for none.
        pages (`int`): pages of names in each batch.
        workers (`int`, *optional*): processes that draw; defaults to one fewer than there are cores.
        minutes (`float`): when to end at the latest; a run that it ends follows the same schedule, by the clock.
        passes (`int`): how often each batch is trained on, with others between, where drawing is what takes the time
            (data echoing: Choi et al. 2019, arXiv 1907.05550).
        processor ([`LeamlProcessor`], *optional*): for steps that have the language model read the questions.
    """

    name: str
    output: Path
    trained: nn.Module
    optimizer: torch.optim.Optimizer
    step: Callable[[float, TowerBatch], Step]
    rates: Callable[[float], list[float]]
    evaluate: Callable[[], dict[str, float]]
    save_every: int = 100
    evaluate_every: int = 500
    pages: int = 0
    workers: int | None = None
    minutes: float = math.inf
    passes: int = 1
    processor: LeamlProcessor | None = None

    @property
    def weights(self) -> Path:
        return self.output / f"{self.name}.safetensors"

    @property
    def state(self) -> Path:
        return self.output / f"{self.name}_state.pt"

    def run(self, tokenizer, batch_size: int, num_batches: int, stop_after: int | None = None) -> Path:
        """
        Trains up to `num_batches` steps, going on from the last checkpoint.

        Args:
            tokenizer: of the language model.
            batch_size (`int`): pictures a batch.
            num_batches (`int`): steps in all, those of earlier runs counted.
            stop_after (`int`, *optional*): ends early after so many steps, as a kill would.

        Returns:
            `Path`: of the weights.
        """
        self.output.mkdir(parents=True, exist_ok=True)
        start, seconds = self._restore()
        last = num_batches if stop_after is None else min(num_batches, stop_after)
        if seconds >= 60 * self.minutes:
            return self.weights
        device = next(self.trained.parameters()).device
        means, begun = Averages(), time.time() - seconds
        for number, batch in enumerate(self._batches(tokenizer, batch_size, start, last, device), start):
            share = max(number / num_batches, (time.time() - begun) / (60 * self.minutes))
            for group, rate in zip(self.optimizer.param_groups, self.rates(share), strict=True):
                group["lr"] = rate
            out = self.step(share, batch)
            out.loss.backward()
            nn.utils.clip_grad_norm_(self.trained.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
            means.add("loss", out.loss)
            for key, value in out.figures.items():
                means.add(key, value)
            if out.correct is not None:
                means.add_programs(batch.programs, out.correct)
            done, is_over = number + 1, time.time() - begun >= 60 * self.minutes
            if done % self.save_every == 0 or done == last or is_over:
                figures, now = means.read(), time.time() - begun
                pictures = drawn_batches(done, self.passes) * batch_size
                line = {"step": done, "pictures": pictures, "seconds": round(now, 1), **figures}
                if out.correct is not None and self.evaluate_every and done % self.evaluate_every == 0:
                    line["heldout"] = self.evaluate()
                self._save(done, now, line)
            if is_over:
                break
        return self.weights

    def _batches(
        self, tokenizer, batch_size: int, start: int, last: int, device: torch.device
    ) -> Iterator[TowerBatch]:
        """The batches of steps `start` to `last` - 1, on the device."""
        length = ROUND if self.passes > 1 else 1
        begin = start - start % (length * self.passes)  # a round that was left is drawn again
        ends = (drawn_batches(step, self.passes) for step in (begin, last))
        stream = SourceStream(tokenizer, batch_size, *ends, pages=self.pages, processor=self.processor)
        drawn, kept = iter(source_loader(stream, self.workers)), []
        for step in range(begin, last):
            place = step % (length * self.passes)
            if place < length:
                kept[place:] = [next(drawn).to(device)]
            if step >= start:
                yield kept[place % length]

    def _restore(self) -> tuple[int, float]:
        if not self.state.exists():
            return 0, 0.0
        self.trained.load_state_dict(load_file(self.weights))
        saved = torch.load(self.state, map_location="cpu", weights_only=True)
        self.optimizer.load_state_dict(saved["optimizer"])
        logger.info("%s: going on from step %d.", self.name, saved["step"])
        return saved["step"], saved["seconds"]

    def _save(self, done: int, seconds: float, line: dict) -> None:
        with (self.output / f"{self.name}_log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        logger.info("%s: %s", self.name, line)
        partial = [path.with_name(path.name + ".part") for path in (self.weights, self.state)]
        save_file(self.trained.state_dict(), partial[0])
        torch.save({"optimizer": self.optimizer.state_dict(), "step": done, "seconds": seconds}, partial[1])
        for path, target in zip(partial, (self.weights, self.state), strict=True):
            path.replace(target)
