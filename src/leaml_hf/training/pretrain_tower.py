"""Trains the vision half of `leaml-smol` on Visual Arrays' source split; resumes from its last checkpoint after a kill."""

import json
import logging
import math
import time
from collections import defaultdict
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetModel, ViTConfig, ViTModel

from ..data.visual_arrays.targets import LOCAL
from .source_data import SourceStream, source_loader
from .tower import DenseHeads, QuestionHead, TowerBatch

logger = logging.getLogger(__name__)
WIDTH = 192
LOCAL_WEIGHT = 2.0
READING_RATE = 2e-3


def tower_config() -> ResNetConfig:
    """A small ResNet that keeps 14 x 14 cells of a 224 x 224 picture."""
    return ResNetConfig(embedding_size=32, hidden_sizes=[32, 80, 192], depths=[1, 2, 2], layer_type="basic")


def connector_config() -> ViTConfig:
    """A ViT over the tower's cells: lets far parts of a picture see each other (which bar is the tallest)."""
    config = ViTConfig(hidden_size=WIDTH, num_hidden_layers=4, num_attention_heads=3, intermediate_size=2 * WIDTH,
                       image_size=14, patch_size=1, num_channels=192, hidden_act="relu")  # fmt: skip
    config._attn_implementation = "eager"  # faster than the fused kernel on a CPU at 197 tokens
    return config


class TowerModel(nn.Module):
    """Vision tower, connector and the training heads: `local` on the tower's cells, `dense` and `question` behind both."""

    def __init__(self, word_embeddings: Tensor) -> None:
        super().__init__()
        self.vision_tower = ResNetModel(tower_config())
        self.connector = ViTModel(connector_config(), add_pooling_layer=False)
        self.local = DenseHeads(self.vision_tower.config.hidden_sizes[-1], LOCAL)
        self.dense = DenseHeads(WIDTH)
        self.question = QuestionHead(word_embeddings, WIDTH)

    def cells(self, pixels: Tensor) -> Tensor:
        """uint8 [B, 3, 224, 224] -> [B, 192, 14, 14]."""
        values = (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        return self.vision_tower(values).last_hidden_state

    def read(self, batch: TowerBatch, cells: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Loss of what each cell shows by itself: characters and colours. Small print is not learnt without it."""
        loss, accuracy = self.local(cells.flatten(2).transpose(1, 2), batch.targets)
        return loss, {f"local/{name}": value for name, value in accuracy.items()}

    def forward(self, batch: TowerBatch) -> tuple[Tensor, dict[str, float], Tensor]:
        """Loss, accuracy of the dense targets, and which questions are answered rightly."""
        cells = self.cells(batch.pixels)
        local_loss, read = self.read(batch, cells)
        vision = self.connector(cells).last_hidden_state  # [B, 197, WIDTH]
        dense_loss, attributes = self.dense(vision[:, 1:], batch.targets)
        logits = self.question(batch.input_ids, batch.padding, vision).float()
        loss = F.cross_entropy(logits, batch.answers) + dense_loss + LOCAL_WEIGHT * local_loss
        accuracy = read | {f"dense/{name}": value for name, value in attributes.items()}
        return loss, accuracy, logits.argmax(1) == batch.answers


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

    def read(self) -> dict[str, float]:
        means = {k: round(self.sums[k] / self.counts[k], 4) for k in sorted(self.sums)}
        self.__init__()
        return means


@torch.no_grad()
def evaluate_tower(model: TowerModel, tokenizer, batches: int = 8, batch_size: int = 48) -> dict[str, float]:
    """Accuracy per task/program on the held-out source split."""
    model.eval()
    stream = SourceStream(tokenizer, batch_size, 0, batches, split="validation")
    means = Averages()
    for batch in stream:
        with torch.autocast("cpu", torch.bfloat16):
            correct = model(batch)[-1]
        for program, right in zip(batch.programs, correct.tolist(), strict=True):
            means.add(program, right)
            means.add(program.split("/")[0], right)
    model.train()
    return means.read()


def pretrain_tower(output_dir: Path, tokenizer, word_embeddings: Tensor, num_batches: int, reading_batches: int,
                   batch_size: int = 32, peak_rate: float = 1e-3, save_every: int = 250, evaluate_every: int = 1000) -> Path:  # fmt: skip
    """Trains for `num_batches`, the first `reading_batches` of them on the tower's own cells alone, going on from `output_dir`'s checkpoint where there is one.

    Returns:
        Path of `tower.safetensors`; `tower_log.jsonl` beside it has the curve.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    weights, state = output_dir / "tower.safetensors", output_dir / "tower_state.pt"
    torch.manual_seed(0)
    model = TowerModel(word_embeddings)
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak_rate, weight_decay=0.05, betas=(0.9, 0.98))
    start, seconds = 0, 0.0
    if state.exists():
        model.load_state_dict(load_file(weights), strict=True)
        saved = torch.load(state, weights_only=True)
        optimizer.load_state_dict(saved["optimizer"])
        start, seconds = saved["step"], saved["seconds"]
        logger.info("Going on from step %d.", start)
    stream = SourceStream(tokenizer, batch_size, start, num_batches)
    means, clock = Averages(), time.time()
    model.train()
    for step, batch in enumerate(source_loader(stream), start):
        reading = step < reading_batches
        for group in optimizer.param_groups:
            group["lr"] = schedule(step, reading_batches, READING_RATE, floor=0.2) if reading else schedule(
                step - reading_batches, num_batches - reading_batches, peak_rate)  # fmt: skip
        with torch.autocast("cpu", torch.bfloat16):
            if reading:
                loss, accuracy = model.read(batch, model.cells(batch.pixels))
            else:
                loss, accuracy, correct = model(batch)
                for program, right in zip(batch.programs, correct.tolist(), strict=True):
                    means.add(program, right)
                    means.add(program.split("/")[0], right)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        means.add("loss", loss.item())
        for name, value in accuracy.items():
            means.add(name, value)
        done = step + 1
        if done % save_every == 0 or done == num_batches:
            now = seconds + time.time() - clock
            line = {"step": done, "pictures": done * batch_size, "seconds": round(now, 1), **means.read()}
            if not reading and (done % evaluate_every == 0 or done == num_batches):
                line["heldout"] = evaluate_tower(model, tokenizer)
            with (output_dir / "tower_log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            logger.info("%s", line)
            save_file(model.state_dict(), weights.with_suffix(".tmp"))
            torch.save({"optimizer": optimizer.state_dict(), "step": done, "seconds": now}, state.with_suffix(".tmp"))
            weights.with_suffix(".tmp").replace(weights)
            state.with_suffix(".tmp").replace(state)
    return weights
