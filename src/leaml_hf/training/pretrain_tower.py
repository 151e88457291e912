"""Trains the vision half of `leaml-smol` on Visual Arrays' source split; resumes from its checkpoint after a kill."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetModel, ViTConfig, ViTModel

from ..adapters import load_tensors
from ..data.visual_arrays.targets import ATTRIBUTES, IGNORE, LOCAL, TARGETS
from ..resampler import QuestionResampler
from .source_data import LONGEST, SourceStream, source_loader
from .stage import Averages, Stage, Step, schedule
from .tower import (
    CLAIM,
    RIVALRY,
    SPELLED,
    DenseHeads,
    NameHead,
    QuestionHead,
    TowerBatch,
    name_codes,
    question_grounding,
)

WIDTH = 192
RESAMPLER = {"num_layers": 4, "num_heads": 4, "ffn_dim": 4 * WIDTH, "max_tokens": LONGEST, "answer_tokens": SPELLED}
# What goes on in the base: its names there and in a `TowerModel`.
KEPT_PARTS = {"vision_tower": "vision_tower", "connector": "connector", "resampler": "question.resampler"}
LOCAL_WEIGHT = 2.0
ANSWER_WEIGHT = 5.0
GROUNDING_WEIGHT = 1.0
NAMED_WEIGHT = 0.5
NAMES_WEIGHT = 1.0
LABEL, WORD, NEXT, PREVIOUS = (list(TARGETS).index(name) for name in ("label", "word", "next", "previous"))
READING_RATE = 2e-3
PAGE_SHARE = 0.4  # pages of names beside the pictures, as a share of these


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
    """Vision tower, connector, question head, and training heads: `local` on the tower's cells, `dense` behind both,
    `named`, `rivals` and `claims` on the names in a question, behind the resampler's first, second and third layer.
    Names are told by `words` (where they are written), `labels` (all over their mark), `next` and `previous` (all over
    the marks that a link joins to theirs) and `asked` (in a question)."""

    def __init__(self, word_embeddings: Tensor) -> None:
        super().__init__()
        self.vision_tower = ResNetModel(tower_config())
        self.connector = ViTModel(connector_config(), add_pooling_layer=False)
        self.local = DenseHeads(self.vision_tower.config.hidden_sizes[-1], LOCAL)
        self.dense = DenseHeads(WIDTH)
        self.named = DenseHeads(WIDTH, tuple(ATTRIBUTES))
        self.rivals = DenseHeads(WIDTH, targets=RIVALRY)
        self.claims = DenseHeads(WIDTH, targets=CLAIM)
        size = word_embeddings.shape[1]
        self.words, self.labels, self.next, self.previous, self.asked = (NameHead(WIDTH, size) for _ in range(5))
        self.question = QuestionHead(word_embeddings, QuestionResampler(word_embeddings.shape[1], WIDTH, **RESAMPLER))

    def cells(self, pixels: Tensor) -> Tensor:
        """uint8 [B, 3, 224, 224] -> [B, 192, 14, 14]."""
        values = (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        return self.vision_tower(values).last_hidden_state

    def read(self, batch: TowerBatch, cells: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of what each cell shows by itself: characters and colours. Small print is not learnt without it."""
        loss, accuracy = self.local(cells.flatten(2).transpose(1, 2), batch.targets)
        return loss, {f"local/{name}": value for name, value in accuracy.items()}

    def forward(self, batch: TowerBatch) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Loss, accuracy of the dense targets, and which questions are answered rightly."""
        cells = self.cells(batch.pixels)
        local_loss, read = self.read(batch, cells)
        vision = self.connector(cells).last_hidden_state  # [B, 197, WIDTH]
        dense_loss, attributes = self.dense(vision[:, 1:], batch.targets)
        logits, reading = self.question(batch.input_ids, batch.mask, vision[: len(batch.input_ids), 1:], batch.choices)
        answer_loss = F.cross_entropy(logits.flatten(0, 1), batch.answers.flatten(), ignore_index=IGNORE)
        right = ((logits.argmax(-1) == batch.answers) | (batch.answers == IGNORE)).all(1)
        grounding = question_grounding(reading, self.question.resampler.grounded_heads, batch)
        places = batch.name_ends[..., None].expand(-1, -1, WIDTH)
        first, second, third = (
            states.flatten(0, 1).gather(1, places) for states in reading.behind[:3]
        )  # [P * Q, NAMES, WIDTH]
        named_loss, meant = self.named(first, batch.name_targets)
        codes = name_codes(self.question.words, batch.name_tokens, batch.name_mask)
        loss_of_names = vision.new_zeros(())
        for head, tokens, targets in (
            ("words", vision[:, 1:], batch.targets[..., WORD]),
            ("labels", vision[:, 1:], batch.targets[..., LABEL]),
            ("next", vision[:, 1:], batch.targets[..., NEXT]),
            ("previous", vision[:, 1:], batch.targets[..., PREVIOUS]),
            ("asked", first, batch.name_targets[..., LABEL]),
        ):
            read_loss, meant[f"names_{head}"] = getattr(self, head)(tokens, targets, batch.names, codes)
            loss_of_names = loss_of_names + read_loss
        rival_loss, compared = self.rivals(second, batch.rivalry)
        claim_loss, claimed = self.claims(third, batch.claims)
        loss = (
            ANSWER_WEIGHT * answer_loss
            + dense_loss
            + LOCAL_WEIGHT * local_loss
            + GROUNDING_WEIGHT * sum(grounding.values())
        )
        loss = loss + NAMED_WEIGHT * named_loss + rival_loss + claim_loss + NAMES_WEIGHT * loss_of_names
        accuracy = read | {f"dense/{name}": value for name, value in attributes.items()}
        accuracy |= {f"named/{name}": value for name, value in meant.items()}
        accuracy |= {f"rivals/{name}": value for name, value in (compared | claimed).items()}
        return loss, accuracy | {"answer_loss": answer_loss} | grounding, right


@torch.no_grad()
def evaluate_tower(model: TowerModel, tokenizer, batches: int = 8, batch_size: int = 48) -> dict[str, float]:
    """Accuracy per task/program on the held-out source split."""
    model.eval()
    device = model.question.words.device
    stream = SourceStream(tokenizer, batch_size, 0, batches, split="validation")
    means = Averages()
    for batch in source_loader(stream):
        with torch.autocast(device.type, torch.bfloat16):
            correct = model(batch.to(device))[-1]
        means.add_programs(batch.programs, correct)
    model.train()
    return means.read()


def pretrain_tower(
    output: Path, tokenizer, word_embeddings: Tensor, num_batches: int, reading: float,
    batch_size: int = 32, peak_rate: float = 1e-3, start: dict[str, Tensor] | None = None,
    device: torch.device | str = "cpu", stop_after: int | None = None, **options: Any,
) -> Path:  # fmt: skip
    """Trains for `num_batches`, a first share of them on the tower's own cells alone.

    Args:
        output (`Path`): for `tower.safetensors`, its log and checkpoint, which a killed run goes on from.
        tokenizer: of the language model.
        word_embeddings (`Tensor`): `[V, D]` of the language model, frozen.
        num_batches (`int`): batches in all.
        reading (`float`): share of the reading phase, from 0 to below 1.
        batch_size (`int`, *optional*, defaults to 32): pictures a batch.
        peak_rate (`float`, *optional*, defaults to 1e-3): learning rate after the reading phase.
        start (`dict[str, Tensor]`, *optional*): weights of vision half and resampler to begin with.
        device (`torch.device`, *optional*, defaults to the CPU): where to train.
        stop_after (`int`, *optional*): ends early, as a kill would.
        options: of [`Stage`].

    Returns:
        `Path`: of the weights of a [`TowerModel`].
    """
    torch.manual_seed(0)
    device = torch.device(device)
    model = TowerModel(word_embeddings).train()
    if start is not None:
        own = {name: tensor.data for name, tensor in model.state_dict(keep_vars=True).items()}
        parts = tuple(f"{name}." for name in KEPT_PARTS.values())
        load_tensors({name: tensor for name, tensor in own.items() if name.startswith(parts)}, start, "The given base")
    model.to(device)
    fused = device.type == "cuda"
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05, betas=(0.9, 0.98), fused=fused)

    def rates(done: float) -> list[float]:
        if done < reading:
            return [schedule(done / reading, READING_RATE, warmup=0.15, floor=0.2)]
        return [schedule((done - reading) / (1 - reading), peak_rate)]

    def step(done: float, batch: TowerBatch) -> Step:
        with torch.autocast(device.type, torch.bfloat16):
            if done < reading:
                return Step(*model.read(batch, model.cells(batch.pixels)))
            return Step(*model(batch))

    stage = Stage("tower", output, model, optimizer, step, rates, lambda: evaluate_tower(model, tokenizer),
                  pages=round(PAGE_SHARE * batch_size), **options)  # fmt: skip
    return stage.run(tokenizer, batch_size, num_batches, stop_after)
