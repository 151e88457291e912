"""Where a vision encoder, or an image-text-to-text model, has its vision states."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from .errors import LeamlInputError


def vision_hidden_size(config: PreTrainedConfig) -> int:
    """
    Width of the last hidden states of a vision encoder.

    Args:
        config (`PreTrainedConfig`): of the encoder.

    Returns:
        `int`: width Dv.
    """
    size = getattr(config, "hidden_size", None) or getattr(config, "hidden_sizes", None)
    return size[-1] if isinstance(size, (list, tuple)) else size


def vision_encoder(model: PreTrainedModel) -> PreTrainedModel:
    """
    The vision part of a vision or vision–text model.

    Args:
        model (`PreTrainedModel`): for instance a ViT, or a whole CLIP.

    Returns:
        `PreTrainedModel`: `model.vision_model` if `model` also has a text part, else `model`.
    """
    return model.vision_model if hasattr(model, "text_model") and hasattr(model, "vision_model") else model


def encoder_states(
    output: Any, config: PreTrainedConfig, image_size: tuple[int, int]
) -> tuple[torch.Tensor, tuple[int, int]]:
    """
    Patch states and their grid from the output of a vision encoder.

    Extra tokens before the patches (class, registers) are dropped.

    Args:
        output (`ModelOutput`): has `last_hidden_state`, `[P, N, Dv]` or `[P, Dv, h, w]`.
        config (`PreTrainedConfig`): of the encoder.
        image_size (`tuple[int, int]`): height and width of the pictures in pixels.

    Returns:
        `tuple[torch.Tensor, tuple[int, int]]`: `[P, h * w, Dv]` and (h, w).
    """
    states = output.last_hidden_state
    if states.dim() == 4:  # [P, Dv, h, w]
        return states.flatten(2).transpose(1, 2), (states.shape[2], states.shape[3])  # [P, h * w, Dv]
    tokens = states.shape[1]
    patch = getattr(config, "patch_size", None)
    if isinstance(patch, int):
        rows, columns = image_size[0] // patch, image_size[1] // patch
        if 0 < rows * columns <= tokens:
            return states[:, tokens - rows * columns :], (rows, columns)
    if square_grid(tokens)[0] == 1 < square_grid(tokens - 1)[0]:
        return states[:, 1:], square_grid(tokens - 1)
    return states, square_grid(tokens)


def square_grid(tokens: int) -> tuple[int, int]:
    """
    The grid that a number of tokens forms.

    Args:
        tokens (`int`): how many.

    Returns:
        `tuple[int, int]`: equal sides if it is a square number, else one row.
    """
    side = round(tokens**0.5)
    return (side, side) if side * side == tokens else (1, tokens)


@contextmanager
def capture_image_features(backbone: PreTrainedModel, keep: Callable[[Any], None]) -> Iterator[None]:
    """
    Hands on what `get_image_features` gives while a model runs, so that no vision tower runs twice.

    Args:
        backbone (`PreTrainedModel`): an image-text-to-text model.
        keep (`Callable`): called with each result.
    """
    owners = [
        module
        for module in backbone.modules()
        if isinstance(module, PreTrainedModel) and hasattr(module, "get_image_features")
    ]

    def watched(original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)  # `generate` reads the signature
        def get_image_features(*args: Any, **kwargs: Any) -> Any:
            features = original(*args, **kwargs)
            keep(features)
            return features

        return get_image_features

    for owner in owners:
        owner.get_image_features = watched(owner.get_image_features)
    try:
        yield
    finally:
        for owner in owners:
            del owner.get_image_features


def pad_image_features(
    features: Any, image_token_counts: torch.Tensor | None, batch_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Sorts the image features of an image-text-to-text model by row.

    Args:
        features (`ModelOutput`, `tuple`, `list` or `torch.Tensor`): what `get_image_features` gave.
        image_token_counts (`torch.Tensor`, *optional*): `[B]` image tokens in each row's text.
        batch_size (`int`): rows B.

    Returns:
        `tuple[torch.Tensor, torch.Tensor]`: states `[B, N, Dv]` and mask `[B, N]`, `False` where padded.

    Raises:
        [`LeamlInputError`]: if the features can't be told apart by row.
    """
    pooled = getattr(features, "pooler_output", None)
    if isinstance(pooled, torch.Tensor) and pooled.dim() < 3:
        pooled = None
    if pooled is None:
        pooled = getattr(features, "last_hidden_state", features)
    pieces = [piece.reshape(-1, piece.shape[-1]) for piece in pooled]  # each [n, Dv]
    total = sum(piece.shape[0] for piece in pieces)
    if image_token_counts is not None and int(image_token_counts.sum()) == total:
        pieces = list(torch.cat(pieces).split(image_token_counts.tolist()))
    elif len(pieces) != batch_size:
        raise LeamlInputError(
            f"The backbone made {total} image features for {batch_size} rows, which does not fit the image tokens in "
            "the text: "
            "use the backbone's own processor."
        )
    lengths = torch.tensor([piece.shape[0] for piece in pieces], device=pieces[0].device)
    states = nn.utils.rnn.pad_sequence(pieces, batch_first=True)  # [B, N, Dv]
    mask = torch.arange(states.shape[1], device=states.device)[None] < lengths[:, None]  # [B, N]
    return states, mask
