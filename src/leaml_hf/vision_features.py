"""Where a vision encoder, or an image-text-to-text model, has its vision states."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from .errors import LeamlInputError

PROJECTIONS = ("multi_modal_projector", "image_to_text_projection", "language_projection", "visual_projection",
               "perceiver_resampler")  # fmt: skip
ENCODERS = ("vision_model", "encoder")
"""Names under which models without `get_image_features` keep the part whose output text reads, best first: projections
at any depth, and encoders that stand beside the decoder."""
OF_OWN_GENERATE = {"blip-2": "language_projection"}
"""Where `generate` of a model goes past its `get_image_features`: the part that it goes through, by model type."""
FLAT = 1e-2  # a step of early features, which are near 1, that is as good as none
TINY = 1e-6  # a length that is as good as none


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


def picture_texture(stages: Sequence[torch.Tensor]) -> torch.Tensor:
    """
    How pictures are drawn or taken, not what they show, as the statistics of early features tell it (Gatys et al.
    2016; for out-of-distribution detection: Sastry & Oore 2020, arXiv 1912.12510): the means of an encoder's first two
    stages over the picture, and how much the first differs from place to place, the mean logarithm of the step to the
    next one: a plain page has none, a photograph has some everywhere.

    Args:
        stages (`Sequence[torch.Tensor]`): `[P, C, h, w]` or `[P, N, C]` each; the first two are read, or one if there
            is only one.

    Returns:
        `torch.Tensor`: `[P, Dt]` float32, Dt = 2 C of the first stage + C of the second.
    """
    tokens = [stage.flatten(2).transpose(1, 2) if stage.dim() == 4 else stage for stage in stages[:2]]  # [P, N, C]
    first = tokens[0].float()
    steps = (first - first.roll(1, dims=1)).abs()  # a step over the picture's edge, once a row, does not matter
    return torch.cat([*(stage.float().mean(1) for stage in tokens), (steps + FLAT).log().mean(1)], dim=1)


def picture_places(states: torch.Tensor) -> torch.Tensor:
    """
    Where in a picture something stands, which no mean over it tells: an axis or a legend that has moved, say. Of each
    place, the cosine of its state with the picture's mean state, and how far it is from that mean, in lengths of the
    mean: neither depends on the directions in which a vision encoder writes things down.

    Args:
        states (`torch.Tensor`): `[P, N, Dv]`, of the same N places in all pictures.

    Returns:
        `torch.Tensor`: `[P, 2 N]` float32, the cosines first.
    """
    states = states.float()
    mean = states.mean(1)  # [P, Dv]
    along, own = torch.einsum("pnd,pd->pn", states, mean), states.square().sum(2)  # [P, N]
    length = mean.norm(dim=1, keepdim=True).clamp(min=TINY)  # [P, 1]
    cosine = along / (own.sqrt().clamp(min=TINY) * length)
    distance = (own - 2 * along + length.square()).clamp(min=0).sqrt() / length
    return torch.cat([cosine, distance], dim=1)


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


def _feature_owners(backbone: PreTrainedModel) -> list[PreTrainedModel]:
    parts = (part for part in backbone.modules() if isinstance(part, PreTrainedModel))
    return [part for part in parts if hasattr(part, "get_image_features")]


def find_image_features(backbone: PreTrainedModel, path: str | None = None) -> str | None:
    """
    Where an image-text-to-text model makes the picture features that its text reads.

    Args:
        backbone (`PreTrainedModel`): the model.
        path (`str`, *optional*): a module that gives them; defaults to the model's `get_image_features`, or else to
            the part that hands vision over to text.

    Returns:
        `str` or `None`: name of the module; `None` for `get_image_features`.

    Raises:
        [`LeamlInputError`]: if there is none; the message says how to name one.
    """
    modules = dict(backbone.named_modules())
    path = path or OF_OWN_GENERATE.get(backbone.config.model_type)
    if path is None and _feature_owners(backbone):
        return None
    places = (name for part in PROJECTIONS for name in modules if name.rpartition(".")[2] == part)
    beside = (f"{prefix}{part}" for part in ENCODERS for prefix in ("", f"{backbone.base_model_prefix}."))
    found = path or next((name for name in (*places, *beside) if name in modules), None)
    if found not in modules:
        raise LeamlInputError(
            f"No picture features were found in {type(backbone).__name__}"
            f"{f': it has no module {path}' if path else ''}: name the module that gives them, as in "
            "vision_features='model.vision_projection'."
        )
    return found


def image_feature_size(backbone: PreTrainedModel, path: str | None) -> int | None:
    """
    Width of picture features.

    Args:
        backbone (`PreTrainedModel`): an image-text-to-text model.
        path (`str`, *optional*): from [`find_image_features`].

    Returns:
        `int` or `None`: that of an encoder there, or else of the module's last weight; `None` for
            `get_image_features`, whose features are as wide as the decoder.
    """
    if path is None:
        return None
    part = backbone.get_submodule(path)
    if isinstance(part, PreTrainedModel):
        return vision_hidden_size(part.config)
    return list(part.parameters())[-1].shape[0]


@contextmanager
def capture_image_features(
    backbone: PreTrainedModel, keep: Callable[[Any], None], path: str | None = None, known: Any = None
) -> Iterator[None]:
    """
    Hands on the picture features that a model makes while it runs, so that no vision tower runs twice.

    Args:
        backbone (`PreTrainedModel`): an image-text-to-text model.
        keep (`Callable`): called with each result.
        path (`str`, *optional*): from [`find_image_features`].
        known (*optional*): what `get_image_features` gave for the same pictures before, and now gives again without
            running; of no use with `path`.
    """
    if path is not None:
        first = lambda output: output if isinstance(output, torch.Tensor) else output[0]  # noqa: E731
        handle = backbone.get_submodule(path).register_forward_hook(lambda module, args, out: keep(first(out)))
        try:
            yield
        finally:
            handle.remove()
        return
    owners = _feature_owners(backbone)

    def watched(original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)  # `generate` reads the signature
        def get_image_features(*args: Any, **kwargs: Any) -> Any:
            features = original(*args, **kwargs) if known is None else known
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
    features: Any, image_token_counts: torch.Tensor | None, batch_size: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Sorts the image features of an image-text-to-text model by row.

    Args:
        features (`ModelOutput`, `tuple`, `list` or `torch.Tensor`): what `get_image_features` gave.
        image_token_counts (`torch.Tensor`, *optional*): `[B]` image tokens in each row's text.
        batch_size (`int`, *optional*): rows B; defaults to one a piece.

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
    if pooled is None:
        raise LeamlInputError(
            f"The backbone gives its picture features as {type(features).__name__}, which says not which of them go "
            "with the text: name the module that gives them as vision_features=."
        )
    pieces = [piece.reshape(-1, piece.shape[-1]) for piece in pooled]  # each [n, Dv]
    total, rows = sum(piece.shape[0] for piece in pieces), batch_size or len(pieces)
    counts = [] if image_token_counts is None else image_token_counts.tolist()
    if counts and sum(counts) == total:
        pieces = list(torch.cat(pieces).split(counts))
    elif len(pieces) != rows:
        alike = len({len(piece) for piece in pieces}) == 1 and len(set(counts)) <= 1
        if len(pieces) % rows or not alike:
            raise LeamlInputError(
                f"The backbone made {total} image features for {rows} rows, which does not fit the image tokens in "
                "the text: use the backbone's own processor."
            )
        pieces = list(torch.cat(pieces).chunk(rows))
    lengths = torch.tensor([piece.shape[0] for piece in pieces], device=pieces[0].device)
    states = nn.utils.rnn.pad_sequence(pieces, batch_first=True)  # [B, N, Dv]
    mask = torch.arange(states.shape[1], device=states.device)[None] < lengths[:, None]  # [B, N]
    return states, mask
