"""Third stage of pre-training: the reader of names, on a vision half that stays as it is."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.visual_arrays.targets import IGNORE
from ..modeling_leaml import LeamlForVisualQA
from ..name_reader import WRITTEN, NameReader
from .pretrain_tower import PAGE_SHARE, WORD
from .stage import Stage, Step, schedule
from .tower import SCALE, TowerBatch, name_codes, reader_projection, tell_names

PASSES = 2  # on each batch: drawing takes as long


class ReaderModel(nn.Module):
    """
    A reader with what it is taught: codes of names, from the language model's embeddings of their tokens, projected to
    the reader's width.

    Args:
        reader ([`NameReader`]): is trained.
        word_embeddings (`Tensor`): `[V, De]` of the language model, frozen.
    """

    def __init__(self, reader: NameReader, word_embeddings: Tensor) -> None:
        super().__init__()
        self.reader = reader
        self.log_scale = nn.Parameter(torch.tensor(SCALE).log())
        self.register_buffer("words", word_embeddings, persistent=False)  # [V, De]
        projection = reader_projection(word_embeddings.shape[1], reader.code.out_features)
        self.register_buffer("projection", projection, persistent=False)  # [De, Dc]

    def forward(self, states: Tensor, batch: TowerBatch) -> Step:
        """Loss of a batch whose vision states are `[P + S, N, Dv]`; `names`: share of the places with a name where it
        is told among all names of the batch; `written`: share of all places at which it is rightly seen whether there
        is one."""
        codes, logits = self.reader(states)
        names = name_codes(self.words, batch.name_tokens, batch.name_mask) @ self.projection
        target = batch.targets[..., WORD]
        is_written = target != IGNORE
        loss, told = tell_names(codes[is_written], target[is_written], batch.names, F.normalize(names, dim=-1),
                                self.log_scale.exp())  # fmt: skip
        seen = F.binary_cross_entropy_with_logits(logits, is_written.float())
        right = ((logits.sigmoid() > WRITTEN) == is_written).float().mean()
        return Step(loss + seen, {"names": told, "written": right})


def pretrain_reader(
    model: LeamlForVisualQA, tokenizer, output: Path, num_batches: int, batch_size: int = 32, peak_rate: float = 3e-3,
    device: torch.device | str = "cpu", stop_after: int | None = None, **options: Any,
) -> Path:  # fmt: skip
    """Trains the reader of a base whose vision half is trained; nothing else changes.

    Args:
        model ([`LeamlForVisualQA`]): a base with `reader_dim`.
        tokenizer: of its language model.
        output (`Path`): for `reader.safetensors`, its log and checkpoint, which a killed run goes on from.
        num_batches (`int`): batches that are drawn; each is trained on twice.
        batch_size (`int`, *optional*, defaults to 32): pictures a batch, with pages of names beside them.
        peak_rate (`float`, *optional*, defaults to 3e-3): highest learning rate.
        device (`torch.device`, *optional*, defaults to the CPU): where to train; the model stays there.
        stop_after (`int`, *optional*): ends early, as a kill would.
        options: of [`Stage`].

    Returns:
        `Path`: of the weights.
    """
    model.to(device).requires_grad_(False).eval()
    words = model.get_input_embeddings().weight.detach().float()
    trained = ReaderModel(model.reader, words).to(device).requires_grad_(True)
    optimizer = torch.optim.AdamW(trained.parameters(), weight_decay=0.01, betas=(0.9, 0.98))

    def step(done: float, batch: TowerBatch) -> Step:
        if batch.vision is None:
            with torch.no_grad(), torch.autocast(model.device.type, torch.bfloat16):
                batch.vision = model.encode_vision(batch.pixels.float() / 127.5 - 1)
        return trained(batch.vision.float(), batch)

    stage = Stage("reader", output, trained, optimizer, step, lambda done: [schedule(done, peak_rate)], dict,
                  pages=round(PAGE_SHARE * batch_size), passes=PASSES, **options)  # fmt: skip
    return stage.run(tokenizer, batch_size, PASSES * num_batches, stop_after)
