"""Reads which names are written in a picture: unknown ones tell unfamiliar content, which no density of states does.

A part of a LEAML base that answers do not pass through.
"""

import torch
import torch.nn.functional as F
from torch import nn

NAMES = 16  # of a picture, at most
PLACES = 32  # where they are looked for: a name often stands over several
WRITTEN = 0.3  # probability of a name from which on a place counts
SAME = 0.7  # cosine of the codes of two places from which on they count as one name


class NameReader(nn.Module):
    """
    Tells at each place of a picture whether a name is written there, and which, as a code: a unit vector that is the
    same wherever a name stands, and another one for another name.

    Args:
        width (`int`): of vision states, Dv.
        dim (`int`): of the codes, Dc.
        ffn_dim (`int`): inner width.
    """

    def __init__(self, width: int, dim: int, ffn_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, ffn_dim)
        self.code = nn.Linear(ffn_dim, dim)
        self.written = nn.Linear(width, 1)

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Reads all places.

        Args:
            states (`torch.Tensor`): `[P, N, Dv]` vision states of P pictures.

        Returns:
            `tuple[torch.Tensor, torch.Tensor]`: float32 codes `[P, N, Dc]` of length 1, and logits `[P, N]` of a name
                being written there.
        """
        states = states.to(self.norm.weight.dtype)
        return self._codes(states), self._logits(states)

    def _codes(self, states: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.code(F.gelu(self.hidden(self.norm(states)))).float(), dim=-1)

    def _logits(self, states: torch.Tensor) -> torch.Tensor:
        return self.written(states)[..., 0].float()

    @torch.no_grad()
    def read(self, states: torch.Tensor) -> torch.Tensor:
        """
        What names pictures have.

        Args:
            states (`torch.Tensor`): `[P, N, Dv]`.

        Returns:
            `torch.Tensor`: `[P, NAMES, Dc]` codes of different names, the likeliest first; zeros behind them where
                there are fewer.
        """
        states = states.to(self.norm.weight.dtype)
        logits, places = self._logits(states).topk(min(PLACES, states.shape[1]), dim=1)  # [P, n]
        codes = self._codes(states.gather(1, places[..., None].expand(-1, -1, states.shape[2])))  # [P, n, Dc]
        same = codes @ codes.transpose(1, 2) > SAME  # [P, n, n]
        kept = logits.sigmoid() > WRITTEN
        for place in range(1, kept.shape[1]):
            kept[:, place] &= ~(same[:, place, :place] & kept[:, :place]).any(1)
        order = kept.int().argsort(dim=1, descending=True, stable=True)[:, :NAMES]  # kept ones first, as they came
        found = codes.gather(1, order[..., None].expand(-1, -1, codes.shape[2]))
        found = found * kept.gather(1, order)[..., None]
        return F.pad(found, (0, 0, 0, NAMES - found.shape[1]))
