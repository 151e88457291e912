"""What the fused layers see in one pass through the decoder, and what they leave behind."""

from dataclasses import dataclass, field
from typing import Any

import torch

from .fusion import KeyValue


@dataclass
class ChosenPlaces:
    """
    n places of a text whose logits are wanted.

    Args:
        rows (`torch.Tensor`): `[n]` long, the row of the batch that each belongs to.
        lines (`torch.Tensor`): `[n]` long, the row of the decoder's states that it lies in.
        columns (`torch.Tensor`): `[n]` long, where, counted from the end (-1 is the last), since some models have the
            picture before the text.
    """

    rows: torch.Tensor
    lines: torch.Tensor
    columns: torch.Tensor

    @classmethod
    def of(cls, mask: torch.Tensor) -> "ChosenPlaces":
        """
        Those of a mask.

        Args:
            mask (`torch.Tensor`): `[B, T]` bool.
        """
        rows, columns = mask.nonzero(as_tuple=True)
        return cls(rows, rows, columns - mask.shape[1])

    def pick(self, values: torch.Tensor) -> torch.Tensor:
        """
        What stands at these places.

        Args:
            values (`torch.Tensor`): `[B, T, ...]`.

        Returns:
            `torch.Tensor`: `[n, ...]`.
        """
        return values[self.lines, self.columns]


@dataclass
class VisionCall:
    """
    What the fused layers need during one pass through the decoder, and what they leave behind.

    Args:
        states (`torch.Tensor`, *optional*): `[P, N, Dv]` vision states of P pictures, or with a resampler `[B, N, Dv]`
            what each row's question found; `None` for text alone.
        mask (`torch.Tensor`, *optional*): `[P, N]` bool, `False` where a state is padding, or `[B, T, N]`, `False`
            where a token is not to see it.
        index (`torch.Tensor`, *optional*): `[B]` long, the picture of each row; defaults to row b looking at picture
            b.
        image_token_counts (`torch.Tensor`, *optional*): `[B]` image tokens in each row (existing image-text-to-text
            models).
        picture_states (`torch.Tensor`, *optional*): `[P, N, Dv]` vision states, where `states` come from a resampler.
        picture_index (`torch.Tensor`, *optional*): `[B]` picture of each row there.
        looked (`torch.Tensor`, *optional*): `[B, N]` where each row's question looked there.
        spelled (`torch.Tensor`, *optional*): `[B, S, De]` the answer as the resampler spells it.
        texture (`torch.Tensor`, *optional*): `[P, Dt]` of the pictures; only of composed models.
        cells (`torch.Tensor`, *optional*): `[P, h, w, Dt]` of the pictures; only of bases that read letters.
        features (*optional*): what the backbone's `get_image_features` gave, or is to give again without running
            (existing image-text-to-text models).
        asked (`torch.Tensor`, *optional*): `[B, 1]` or `[B, T]` long, tokens of each row's question and of the
            examples before it; where a resampler has read it.
        since (`torch.Tensor`, *optional*): `[B, T]` how many tokens more than its question a row has, in this pass.
        chosen ([`ChosenPlaces`], *optional*): places whose logits are wanted, until only these are left; defaults to
            all.
        keep_key_values (`bool`): whether keys and values of the pictures are kept for the next decoding step.
        record (`bool`): whether attention and gates of the first pass are kept.
    """

    states: torch.Tensor | None = None
    mask: torch.Tensor | None = None
    index: torch.Tensor | None = None
    image_token_counts: torch.Tensor | None = None
    picture_states: torch.Tensor | None = None
    picture_index: torch.Tensor | None = None
    looked: torch.Tensor | None = None
    spelled: torch.Tensor | None = None
    texture: torch.Tensor | None = None
    cells: torch.Tensor | None = None
    features: Any = None
    asked: torch.Tensor | None = None
    since: torch.Tensor | None = None
    chosen: ChosenPlaces | None = None
    keep_key_values: bool = False
    record: bool = False
    key_values: dict[str, KeyValue] = field(default_factory=dict)
    attentions: dict[str, torch.Tensor] = field(default_factory=dict)
    gates: dict[str, torch.Tensor] = field(default_factory=dict)
    last_hidden_state: torch.Tensor | None = None

    def chosen_logits(self, logits: torch.Tensor) -> torch.Tensor:
        """
        Logits of the chosen places.

        Args:
            logits (`torch.Tensor`): `[1, n, V]` from an output head that saw no others, else `[B, T, V]`.

        Returns:
            `torch.Tensor`: `[n, V]`.
        """
        return logits[0] if self.chosen is None else self.chosen.pick(logits)

    def select(self, rows: list[int]) -> "VisionCall":
        """
        A call of some rows, for more passes; of a base with a resampler.

        Args:
            rows (`list[int]`): b places of rows.

        Returns:
            [`VisionCall`]: that records nothing.
        """
        return VisionCall(
            states=self.states[rows],
            mask=self.mask[rows],
            spelled=self.spelled[rows],
            asked=self.asked[rows],
            keep_key_values=True,
            key_values={name: (keys[rows], values[rows]) for name, (keys, values) in self.key_values.items()},
        )

    def rows(self, batch_size: int) -> torch.Tensor | None:
        """
        The picture of each of `batch_size` rows.

        Args:
            batch_size (`int`): rows in the decoder now; a multiple of the rows at the start where beams were added.

        Returns:
            `torch.Tensor` or `None`: `[batch_size]`, or `None` where row b looks at picture b.
        """
        if self.index is None and self.states.shape[0] == batch_size:
            return None
        index = torch.arange(self.states.shape[0], device=self.states.device) if self.index is None else self.index
        return index.repeat_interleave(batch_size // index.shape[0]) if index.shape[0] != batch_size else index


def tokens_asked(question_mask: torch.Tensor, example_tokens: torch.Tensor | None) -> torch.Tensor:
    """
    How long a text is up to the end of its question.

    Args:
        question_mask (`torch.Tensor`): `[B, Tq]`, 0 where padded.
        example_tokens (`torch.Tensor`, *optional*): `[B]`, of the examples before it.

    Returns:
        `torch.Tensor`: `[B, 1]` long.
    """
    asked = question_mask.sum(1, keepdim=True)
    return asked if example_tokens is None else asked + example_tokens[:, None]
