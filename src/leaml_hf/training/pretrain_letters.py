"""Fourth stage of pre-training: letters, and where answers are written, on a base that else stays as it is."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.visual_arrays.targets import CHARACTERS, GLYPHS, IGNORE, TARGETS, name_id
from ..letters import AnswerPointer, LetterReader
from ..modeling_leaml import LeamlForVisualQA
from ..resampler import last_tokens
from .pretrain_tower import PAGE_SHARE, WORD
from .source_data import USUAL
from .stage import Stage, Step, schedule
from .tower import TowerBatch

PASSES = 2  # on each batch: encoding takes as long
NOTHING = len(CHARACTERS)  # the class of no character
EMPTY_WEIGHT = 0.5  # of places without any text, which most are
GLYPH_COLUMNS = [list(TARGETS).index(name) for name in GLYPHS]


class LettersModel(nn.Module):
    """
    A reader of letters and a pointer with what they are taught.

    Args:
        letters ([`LetterReader`]): is trained.
        pointer ([`AnswerPointer`]): is trained.
    """

    def __init__(self, letters: LetterReader, pointer: AnswerPointer) -> None:
        super().__init__()
        self.letters, self.pointer = letters, pointer

    def forward(self, batch: TowerBatch) -> Step:
        """
        Loss of a batch.

        Args:
            batch ([`TowerBatch`]): with `cells`, `vision` and `asked`.

        Returns:
            [`Step`]: `letters`: share of the characters that are told; `pointed` and `nowhere`: share of the questions
                whose answer is written, or is not, that are pointed at it, or nowhere.
        """
        told = self.letters(batch.cells).flatten(1, 2)  # [P + S, N, slots, K + 1]
        right = batch.targets[..., GLYPH_COLUMNS]
        is_text = right != IGNORE
        loss = F.nll_loss(told[is_text], right[is_text])
        loss = loss - EMPTY_WEIGHT * told[~is_text][:, NOTHING].mean()
        is_letter = is_text & (right != NOTHING)
        figures = {"letters": (told[is_letter].argmax(-1) == right[is_letter]).float().mean()}
        places = written_at(batch)  # [P, Q, N + 1]
        is_known = places.any(-1)
        pointed = self.pointer(batch.asked, batch.vision[: len(places)])
        loss = loss - pointed.masked_fill(~places, -torch.inf)[is_known].logsumexp(-1).mean()
        hit = places.gather(-1, pointed.argmax(-1, keepdim=True))[..., 0].float()
        for name, rows in (("pointed", is_known & ~places[..., -1]), ("nowhere", places[..., -1])):
            figures[name] = hit[rows].mean()
        return Step(loss, figures)


def written_at(batch: TowerBatch) -> Tensor:
    """
    Where answers are written, as far as that is known: names at their marks, and usual answers and numbers nowhere.

    Args:
        batch ([`TowerBatch`]): with targets.

    Returns:
        `Tensor`: `[P, Q, N + 1]` bool, last whether an answer is not written; none for answers that stand in the
            picture for something else than the name of a mark.
    """
    answers, pictures = batch.answer_texts, len(batch.input_ids)
    ids = torch.tensor([name_id(answer) for answer in answers]).to(batch.targets).view(pictures, -1)
    places = batch.targets[:pictures, None, :, WORD] == ids[..., None]  # [P, Q, N]
    is_usual = torch.tensor([answer in USUAL or answer.replace(".", "").isdigit() for answer in answers])
    nowhere = is_usual.to(places.device).view(pictures, -1) & ~places.any(-1)
    return torch.cat([places, nowhere[..., None]], dim=-1)


def pretrain_letters(
    model: LeamlForVisualQA, tokenizer, output: Path, num_batches: int, batch_size: int = 32, peak_rate: float = 2e-3,
    device: torch.device | str = "cpu", stop_after: int | None = None, **options: Any,
) -> Path:  # fmt: skip
    """Trains what reads letters and what points to answers of a base whose other parts are trained; nothing else
    changes.

    Args:
        model ([`LeamlForVisualQA`]): a base with `letters`, all of `CHARACTERS`.
        tokenizer: of its language model.
        output (`Path`): for `letters.safetensors`, its log and checkpoint, which a killed run goes on from.
        num_batches (`int`): batches that are drawn; each is trained on twice.
        batch_size (`int`, *optional*, defaults to 32): pictures a batch, with pages of names beside them.
        peak_rate (`float`, *optional*, defaults to 2e-3): highest learning rate.
        device (`torch.device`, *optional*, defaults to the CPU): where to train; the model stays there.
        stop_after (`int`, *optional*): ends early, as a kill would.
        options: of [`Stage`].

    Returns:
        `Path`: of the weights.
    """
    model.to(device).requires_grad_(False).eval()
    words = model.get_input_embeddings()
    trained = LettersModel(model.letters, model.pointer).to(device).requires_grad_(True)
    optimizer = torch.optim.AdamW(trained.parameters(), weight_decay=0.01)

    @torch.no_grad()
    def read(batch: TowerBatch) -> None:
        with torch.autocast(model.device.type, torch.bfloat16):
            cells, vision, _ = model.encode_cells(batch.pixels.float() / 127.5 - 1)
            states = model.resampler(words(batch.input_ids), batch.mask, vision[: len(batch.input_ids)]).states
        batch.cells, batch.vision = cells.float(), vision.float()
        batch.asked = last_tokens(states.float(), batch.mask)

    def step(done: float, batch: TowerBatch) -> Step:
        if batch.asked is None:
            read(batch)
        return trained(batch)

    stage = Stage("letters", output, trained, optimizer, step, lambda done: [schedule(done, peak_rate)], dict,
                  pages=round(PAGE_SHARE * batch_size), passes=PASSES, **options)  # fmt: skip
    return stage.run(tokenizer, batch_size, PASSES * num_batches, stop_after)
