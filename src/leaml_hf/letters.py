"""Which letters stand in a picture, and where in it the answer to a question is written.

Two small parts of a LEAML base that its own answers do not pass through. With them a [`~leaml_hf.lexicon.Lexicon`]
answers in names that were never answers before.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


class LetterReader(nn.Module):
    """
    Tells the characters within each cell of a picture, from left to right or, in writing that goes up, upwards.

    Args:
        width (`int`): of the vision encoder's states, Dt.
        dim (`int`): inner width.
        characters (`int`): K that are told apart.
        slots (`int`): characters told within one cell.
    """

    def __init__(self, width: int, dim: int, characters: int, slots: int) -> None:
        super().__init__()
        self.slots = slots
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Conv2d(width, dim, 3, padding=1)  # letters lie across the edges of cells
        self.told = nn.Linear(dim, slots * (characters + 1))

    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        """
        Reads all cells.

        Args:
            cells (`torch.Tensor`): `[P, h, w, Dt]` states of P pictures, as the vision encoder leaves them.

        Returns:
            `torch.Tensor`: `[P, h, w, slots, K + 1]` float32 log-probabilities; the last is that of no character.
        """
        normed = self.norm(cells.to(self.norm.weight.dtype)).permute(0, 3, 1, 2)
        hidden = F.gelu(self.hidden(normed)).permute(0, 2, 3, 1)
        return self.told(hidden).unflatten(-1, (self.slots, -1)).float().log_softmax(-1)


class AnswerPointer(nn.Module):
    """
    Points to the places of a picture where the answer to a question is written, if it is: a pointer network (Vinyals
    et al. 2015, arXiv 1506.03134) with one choice more.

    Args:
        width (`int`): of vision states and of what a question found, Dv.
        dim (`int`): of the products.
    """

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1 / math.sqrt(dim)).log())
        self.asked, self.seen = (
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, dim))
            for _ in range(2)
        )
        self.nowhere = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))

    def forward(self, asked: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """
        Points for Q questions about each picture.

        Args:
            asked (`torch.Tensor`): `[P, Q, Dv]` what each question's last token found.
            states (`torch.Tensor`): `[P, N, Dv]` vision states.

        Returns:
            `torch.Tensor`: `[P, Q, N + 1]` float32 log-probabilities; the last is that of an answer which is not
                written.
        """
        dtype = self.scale.dtype
        asked, states = asked.to(dtype), states.to(dtype)
        places = self.scale.exp() * self.asked(asked) @ self.seen(states).transpose(1, 2)  # [P, Q, N]
        return torch.cat([places, self.nowhere(asked)], dim=-1).float().log_softmax(-1)
