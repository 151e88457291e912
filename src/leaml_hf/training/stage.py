"""One stage of pre-training: a loop over drawn batches with a log and checkpoints, which a killed run goes on from."""

import json
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .source_data import SourceStream, source_loader
from .tower import TowerBatch

logger = logging.getLogger(__name__)


def schedule(step: int, total: int, peak: float, warmup: int = 150, floor: float = 0.02) -> float:
    """Linear warm-up, then a cosine down to `floor` of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))


class Averages:
    """Means per key since the last reading."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = defaultdict(float)
        self.counts: dict[str, int] = defaultdict(int)

    def add(self, key: str, value: float) -> None:
        self.sums[key] += value
        self.counts[key] += 1

    def add_programs(self, programs: list[str], correct: list[bool]) -> None:
        """Adds each row under "task/program" and under its task."""
        for program, right in zip(programs, correct, strict=True):
            self.add(program, float(right))
            self.add(program.split("/")[0], float(right))

    def read(self) -> dict[str, float]:
        means = {k: round(self.sums[k] / self.counts[k], 4) for k in sorted(self.sums)}
        self.sums.clear()
        self.counts.clear()
        return means


@dataclass
class Step:
    """What one batch gave: the loss to follow, figures for the log, which questions were right (None: none asked)."""

    loss: Tensor
    figures: dict[str, float]
    correct: Tensor | None = None


@dataclass
class Stage:
    """
    A stage of pre-training.

    Args:
        name (`str`): of its files: `{name}.safetensors`, `{name}_state.pt` and `{name}_log.jsonl`.
        output (`Path`): their folder.
        trained (`nn.Module`): everything that is saved and whose gradients are clipped together at 1.0.
        optimizer (`torch.optim.Optimizer`): over its parameters.
        step (`Callable`): number and batch to a [`Step`].
        rates (`Callable`): step number to the learning rate of each parameter group.
        evaluate (`Callable`): held-out accuracy per task and program.
        save_every (`int`): steps between log lines and checkpoints.
        evaluate_every (`int`): steps between held-out figures, a multiple of `save_every`.
        pages (`int`): pages of names in each batch.
    """

    name: str
    output: Path
    trained: nn.Module
    optimizer: torch.optim.Optimizer
    step: Callable[[int, TowerBatch], Step]
    rates: Callable[[int], list[float]]
    evaluate: Callable[[], dict[str, float]]
    save_every: int = 100
    evaluate_every: int = 500
    pages: int = 0

    @property
    def weights(self) -> Path:
        return self.output / f"{self.name}.safetensors"

    @property
    def state(self) -> Path:
        return self.output / f"{self.name}_state.pt"

    def run(self, tokenizer, batch_size: int, num_batches: int, stop_after: int | None = None) -> Path:
        """
        Trains up to `num_batches` batches, going on from the last checkpoint.

        Args:
            tokenizer: of the language model.
            batch_size (`int`): pictures a batch.
            num_batches (`int`): batches in all, those of earlier runs counted.
            stop_after (`int`, *optional*): ends early after so many batches, as a kill would.

        Returns:
            `Path`: of the weights.
        """
        self.output.mkdir(parents=True, exist_ok=True)
        start, seconds = self._restore()
        last = num_batches if stop_after is None else min(num_batches, stop_after)
        means, clock = Averages(), time.time()
        stream = SourceStream(tokenizer, batch_size, start, last, pages=self.pages)
        for number, batch in enumerate(source_loader(stream), start):
            for group, rate in zip(self.optimizer.param_groups, self.rates(number), strict=True):
                group["lr"] = rate
            out = self.step(number, batch)
            out.loss.backward()
            nn.utils.clip_grad_norm_(self.trained.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
            means.add("loss", out.loss.item())
            for key, value in out.figures.items():
                means.add(key, value)
            if out.correct is not None:
                means.add_programs(batch.programs, out.correct.tolist())
            done = number + 1
            if done % self.save_every == 0 or done == last:
                now = seconds + time.time() - clock
                line = {"step": done, "pictures": done * batch_size, "seconds": round(now, 1), **means.read()}
                if out.correct is not None and (done % self.evaluate_every == 0 or done == num_batches):
                    line["heldout"] = self.evaluate()
                self._save(done, now, line)
        return self.weights

    def _restore(self) -> tuple[int, float]:
        if not self.state.exists():
            return 0, 0.0
        self.trained.load_state_dict(load_file(self.weights))
        saved = torch.load(self.state, weights_only=True)
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
