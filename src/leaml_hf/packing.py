"""Rows of a batch joined to longer ones with next to no padding, for passes that wait for products."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .calls import ChosenPlaces, VisionCall

JOINED = 64  # tokens that rows are joined to, unless one is longer: attention then costs little more than before
STEP = 8  # lengths are multiples of it: few shapes leave few gaps in memory, and few kernels to be made


@dataclass
class Packing:
    """
    Where the tokens of B rows lie in R joined ones.

    Args:
        index (`torch.Tensor`): `[R, L]` long, the place of each token among the B * T there were. Where a joined row
            is filled up, its first token stands again.
        own (`torch.Tensor`): `[R, L]` bool, `False` there.
        shape (`tuple[int, int]`): B and T.
    """

    index: Tensor
    own: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, kept: Tensor, groups: Sequence[Sequence[int]]) -> "Packing":
        """
        Lays rows one behind the other.

        Args:
            kept (`torch.Tensor`): `[B, T]` bool, `False` for tokens that are left out.
            groups (`Sequence[Sequence[int]]`): the rows that each joined one is made of.
        """
        places = torch.arange(kept.numel(), device=kept.device).view(kept.shape)
        joined = [torch.cat([places[row][kept[row]] for row in group]) for group in groups]
        index = pad_sequence(joined, batch_first=True, padding_value=-1)
        index = F.pad(index, (0, -index.shape[1] % STEP), value=-1)
        own = index >= 0
        return cls(torch.where(own, index, index[:, :1]), own, (kept.shape[0], kept.shape[1]))

    @property
    def rows(self) -> Tensor:
        """`torch.Tensor`: `[R, L]` long, the row that each token comes from."""
        return self.index // self.shape[1]

    def pack(self, values: Tensor) -> Tensor:
        """
        Joins rows.

        Args:
            values (`torch.Tensor`): `[B, T, ...]`.

        Returns:
            `torch.Tensor`: `[R, L, ...]`.
        """
        return values.flatten(0, 1)[self.index]

    def unpack(self, values: Tensor) -> Tensor:
        """
        Takes joined rows apart.

        Args:
            values (`torch.Tensor`): `[R, L, ...]`.

        Returns:
            `torch.Tensor`: `[B, T, ...]`, 0 for tokens that were left out.
        """
        apart = values.new_zeros(self.shape[0] * self.shape[1], *values.shape[2:])
        return apart.index_put((self.index[self.own],), values[self.own]).unflatten(0, self.shape)

    def move(self, places: ChosenPlaces) -> ChosenPlaces:
        """
        The same places in joined rows.

        Args:
            places ([`ChosenPlaces`]): none of a token that was left out.
        """
        moved = torch.empty(self.shape[0] * self.shape[1], dtype=torch.long, device=self.index.device)
        moved[self.index[self.own]] = self.own.flatten().nonzero()[:, 0]
        length = self.index.shape[1]
        at = moved[places.rows * self.shape[1] + places.columns % self.shape[1]]
        return ChosenPlaces(places.rows, lines=at // length, columns=at % length - length)


def group_rows(lengths: Sequence[int]) -> list[list[int]]:
    """
    Shares rows out to groups of like length in all, the longest first, each to the group that has least (Graham 1969,
    doi 10.1137/0117039).

    Args:
        lengths (`Sequence[int]`): tokens of each row; rows without any are in no group.

    Returns:
        `list[list[int]]`: places of rows.
    """
    count = max(1, round(sum(lengths) / max(JOINED, *lengths)))
    groups: list[list[int]] = [[] for _ in range(count)]
    filled = [0] * count
    for row in sorted(filter(lengths.__getitem__, range(len(lengths))), key=lengths.__getitem__, reverse=True):
        least = filled.index(min(filled))
        groups[least].append(row)
        filled[least] += lengths[row]
    return groups


def pack_call(call: VisionCall, attention_mask: Tensor) -> tuple[VisionCall, Packing, Tensor] | None:
    """
    A call whose rows are joined, without what comes after the last place wanted of each.

    Args:
        call ([`VisionCall`]): of a base with a resampler, with places chosen.
        attention_mask (`torch.Tensor`): `[B, T]`, 0 where padded.

    Returns:
        `tuple` or `None`: the call; where its tokens lie; and their positions `[R, L]`, which begin anew with each
            row. `None` where less than a tenth of the tokens is saved.
    """
    columns = call.chosen.columns % attention_mask.shape[1]
    last = columns.new_full((len(attention_mask),), -1).scatter_reduce(0, call.chosen.rows, columns, "amax")
    kept = attention_mask.bool() & (torch.arange(attention_mask.shape[1], device=last.device) <= last[:, None])
    if not kept.any() or not kept[call.chosen.rows, columns].all():  # nothing is wanted, or padding is
        return None
    groups = group_rows(kept.sum(1).tolist())
    text, seen = Packing.of(kept, groups), Packing.of(call.mask, groups)
    if text.index.numel() > 0.9 * kept.numel():
        return None
    positions = torch.where(text.own, text.pack(kept.cumsum(1) - 1), 0)
    return replace(
        call,
        states=seen.pack(call.states),
        mask=(text.rows[:, :, None] == seen.rows[:, None]) & seen.own[:, None],
        asked=text.pack(call.asked.expand(text.shape)),
        chosen=text.move(call.chosen),
    ), text, positions  # fmt: skip
