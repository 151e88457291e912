"""What the frozen backbone computes, computed once: vision states by picture and view, lower text states by text."""

from collections.abc import Callable, Sequence
from itertools import islice

import torch
from PIL import Image
from torch import Tensor

from ..processing_leaml import LeamlProcessor
from .views import view_of

ENCODED_AT_ONCE = 64  # pictures
MAX_BYTES = 2**30  # of vision states that are kept; further ones are computed whenever they are asked for


class FrozenCache:
    """
    Vision states (as they are) and lower text states (in bfloat16) of a composed model, kept in memory.

    Lower text states never change in training; vision states do where LoRA is in the vision half.

    Args:
        model (`LeamlForVisualQA`): composed, in evaluation mode while the cache fills.
        processor (`LeamlProcessor`): turns pictures and texts into tensors.
        seed (`int`, *optional*, defaults to 0): of the strong views; a view of a picture is always the same.
    """

    def __init__(self, model: torch.nn.Module, processor: LeamlProcessor, seed: int = 0) -> None:
        self.model, self.processor, self.seed = model, processor, seed
        self.vision_is_frozen = not model.config.adapt_vision
        self._vision: dict[tuple[str, int], Tensor] = {}
        self._lower: dict[str, Tensor] = {}

    @torch.no_grad()
    def vision(self, keys: Sequence[str], views: Sequence[int], images: Sequence[Callable[[], Image.Image]]) -> Tensor:
        """States `[B, N, Dv]` of B pictures, `keys` naming their content; `images` decode those not here yet."""
        wanted = list(zip(keys, views, strict=True))
        missing = {spot: i for i, spot in enumerate(wanted) if spot not in self._vision}
        new: dict[tuple[str, int], Tensor] = {}
        spots = list(missing)
        for start in range(0, len(spots), ENCODED_AT_ONCE):
            part = spots[start : start + ENCODED_AT_ONCE]
            pictures = [view_of(images[missing[key, view]](), key, view, self.seed) for key, view in part]
            pixels = self.processor(images=pictures)["pixel_values"].to(self.model.device)
            new.update(zip(part, self.model.encode_vision(pixels).cpu(), strict=True))
        stacked = torch.stack([self._vision[spot] if spot in self._vision else new[spot] for spot in wanted])
        room = MAX_BYTES // stacked[0].nbytes - len(self._vision)
        self._vision.update((spot, states.clone()) for spot, states in islice(new.items(), max(0, room)))
        return stacked

    @torch.no_grad()
    def lower(self, texts: Sequence[str], input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """States `[B, T, D]` that enter the first adapted layer, for left-padded `input_ids` of `texts`."""
        missing = [i for i, text in enumerate(texts) if text not in self._lower]
        if missing:
            device = self.model.device
            states = self.model.encode_lower(input_ids[missing].to(device), attention_mask[missing].to(device)).cpu()
            for i, row, mask in zip(missing, states, attention_mask[missing], strict=True):
                self._lower[texts[i]] = row[mask.bool()].to("cpu", torch.bfloat16)
        batch = torch.zeros(*input_ids.shape, next(iter(self._lower.values())).shape[-1])
        for row, text in zip(batch, texts, strict=True):
            states = self._lower[text]
            row[len(row) - len(states) :] = states
        return batch
