"""What the frozen backbone computes, computed once: vision states by picture and view, lower states by text."""

import hashlib
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..answering import EncodedPicture
from ..data.budget import first_places
from ..errors import LeamlInputError
from ..prefix import encode_prefix
from ..processing_leaml import LeamlProcessor
from ..retrieval import thumbnail
from ..running import evaluating
from .store import FeatureStore, content_key
from .views import view_of

ENCODED_AT_ONCE = 64  # pictures
ROWS_AT_ONCE = 8  # pictures with their questions, through the lower layers of an existing model
KEPT = 2  # version of what is kept of a picture; 2: a thumbnail, too
TEXT = "text."  # before the names of what there is one of for each token
CLOSE = 1e-2  # of the largest logit: how much kept states may change them


def _folder_for(folder: str | Path | None, model: torch.nn.Module, processor: Any, seed: int) -> Path | None:
    """A folder of its own for each base, processor, lowest adapted layer, number format, seed of views and version of
    what is kept."""
    if folder is None:
        return None
    inner = getattr(processor, "processor", processor)
    numbers = map(str, (model.first_adapted_layer, model.dtype, seed, KEPT))
    parts = [model.fingerprint(), inner.to_json_string(), *numbers]
    return Path(folder) / hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _reader(model: torch.nn.Module) -> str:
    """Tells vision states by what the vision half has learnt to read with; nothing for the base's own."""
    digest = hashlib.sha256()
    for tensor in (learnt := model.reading_state()).values():
        digest.update(tensor.detach().cpu().numpy().tobytes())
    return f"\0{digest.hexdigest()[:16]}" if learnt else ""


class FrozenCache:
    """
    Vision states, what questions read in them, and lower text states (in bfloat16) of a composed model.

    Lower text states never change in training; vision states do where LoRA is in the vision half, and what is read
    where it is in the bridge.

    Args:
        model (`LeamlForVisualQA`): composed, in evaluation mode while the cache fills.
        processor (`LeamlProcessor`): turns pictures and texts into tensors.
        seed (`int`, *optional*, defaults to 0): of the strong views; a view of a picture is always the same.
        folder (`str` or `Path`, *optional*): where vision states are kept for later runs; defaults to memory.

    Attributes:
        text_states (`dict[str, Tensor]`): lower states `[T, D]` by text. By rounding they depend on what else was in
            their batch, so that a checkpoint keeps them.
        keeps_cells (`bool`): whether a picture's cells are kept before the model has a lexicon that needs them.
    """

    def __init__(
        self, model: torch.nn.Module, processor: LeamlProcessor, seed: int = 0, folder: str | Path | None = None
    ) -> None:
        self.model, self.processor, self.seed = model, processor, seed
        self.vision_is_frozen = not model.config.adapt_vision
        self.reading_is_frozen = (
            self.vision_is_frozen and model.resampler is not None and not model.config.adapt_bridge
        )
        self.keeps_cells = False
        self._read: dict[tuple[str, int, str, str], dict[str, Tensor]] = {}
        self._vision = FeatureStore(_folder_for(folder, model, processor, seed))
        self.text_states: dict[str, Tensor] = {}

    @torch.no_grad()
    def pictures(
        self,
        keys: Sequence[str],
        views: Sequence[int],
        images: Sequence[Callable[[], Image.Image]],
        model: torch.nn.Module | None = None,
    ) -> list[EncodedPicture]:
        """B pictures, encoded; `keys` name their content, and `images` decode those not here yet. By another `model`
        on the same base, if one is given."""
        model = model or self.model
        wanted = list(zip(keys, views, strict=True))
        first = first_places(wanted)
        reader = _reader(model)
        names = {spot: self._name(spot, reader) for spot in first}
        found = {spot: self._vision.get(name) for spot, name in names.items()}
        wants_cells = model.lexicon is not None
        spots = [spot for spot, kept in found.items() if kept is None or (wants_cells and "cells" not in kept)]
        for start in range(0, len(spots), ENCODED_AT_ONCE):
            part = spots[start : start + ENCODED_AT_ONCE]
            pictures = [view_of(images[first[key, view]](), key, view, self.seed) for key, view in part]
            pixels = self.processor(images=pictures)["pixel_values"].to(model.device)
            states, texture, cells = model.encode_pictures(pixels)
            kept = {"states": states, "texture": texture}
            kept["thumbnail"] = torch.from_numpy(np.stack([thumbnail(picture) for picture in pictures]))
            if cells is not None and (wants_cells or self.keeps_cells):
                kept["cells"] = cells.to(torch.bfloat16)
            kept = {name: values.cpu() for name, values in kept.items()}
            for place, spot in enumerate(part):
                found[spot] = {name: values[place] for name, values in kept.items()}
                self._vision.put(names[spot], found[spot])
        return [EncodedPicture(**found[spot]) for spot in wanted]

    def _name(self, spot: tuple[str, int], reader: str) -> str:
        key, view = spot
        return f"{key if self._vision.folder is None else content_key(key)}\0{view}{reader}"

    @torch.no_grad()
    def lower(self, texts: Sequence[str], input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """States `[B, T, D]` that enter the first adapted layer, for left-padded `input_ids` of `texts`."""
        missing = [i for i, text in enumerate(texts) if text not in self.text_states]
        if missing:
            device = self.model.device
            states = self.model.encode_lower(input_ids[missing].to(device), attention_mask[missing].to(device)).cpu()
            for i, row, mask in zip(missing, states, attention_mask[missing], strict=True):
                self.text_states[texts[i]] = row[mask.bool()].to("cpu", torch.bfloat16)
        batch = torch.zeros(*input_ids.shape, next(iter(self.text_states.values())).shape[-1])
        for row, text in zip(batch, texts, strict=True):
            states = self.text_states[text]
            row[len(row) - len(states) :] = states
        return batch

    def inputs(self, rows: Sequence[dict[str, Any]], views: Sequence[int]) -> dict[str, Tensor]:
        """Inputs of the model for rows of a [`RowDataset`], seen in some views."""
        keys, images = [row["key"] for row in rows], [row["load_image"] for row in rows]
        questions, answers, examples = _texts(rows)
        pictures = None
        if not self.vision_is_frozen:
            pictures = [view_of(load(), k, v, self.seed) for load, k, v in zip(images, keys, views, strict=True)]
        batch = dict(self.processor(images=pictures, questions=questions, answers=answers, examples=examples))
        if self.reading_is_frozen:
            batch |= self._readings(rows, views, batch.pop("question_ids"), batch.pop("question_mask"))
        elif pictures is None:
            batch["vision_states"] = torch.stack([picture.states for picture in self.pictures(keys, views, images)])
        texts = ["\n".join(_words(row)) for row in rows]
        batch["lower_states"] = self.lower(texts, batch["input_ids"], batch["attention_mask"])
        return batch

    def _readings(
        self, rows: Sequence[dict[str, Any]], views: Sequence[int], question_ids: Tensor, question_mask: Tensor
    ) -> dict[str, Tensor]:
        """What rows' questions, padded on the right, read in their pictures. Each is read alone: what comes out must
        not depend, in its last bits, on what else is in a batch, or no training could be gone on from."""
        reader = _reader(self.model)
        names = [(row["key"], view, row["question"], reader) for row, view in zip(rows, views, strict=True)]
        missing = [i for i, name in enumerate(names) if name not in self._read]
        keys, images = ([rows[i][name] for i in missing] for name in ("key", "load_image"))
        for i, picture in zip(missing, self.pictures(keys, [views[i] for i in missing], images), strict=True):
            ids = question_ids[i, question_mask[i].bool()][None].to(self.model.device)
            read = self.model.read_questions(ids, torch.ones_like(ids), picture.states[None].to(ids.device))
            self._read[names[i]] = {name: value[0].cpu() for name, value in read.items()}
        read = [self._read[name] for name in names]
        batch = {"question_states": pad_sequence([one["question_states"] for one in read], batch_first=True)}
        if "spelled" in read[0]:
            batch["spelled"] = torch.stack([one["spelled"] for one in read])
        return batch | {"question_mask": question_mask}


class PrefixCache:
    """
    What an existing image-text-to-text model computes below its first adapted layer, by picture, view, question and
    answer: its vision encoder and lower layers run once a row, however many epochs there are.

    Args:
        model (`LeamlForVisualQA`): over an existing model, in evaluation mode while the cache fills.
        processor (`LeamlBackboneProcessor`): turns pictures and texts into tensors.
        seed (`int`, *optional*, defaults to 0): of the strong views; a view of a picture is always the same.
        folder (`str` or `Path`, *optional*): where states are kept for later runs; defaults to memory.
    """

    vision_is_frozen = False  # states of a picture alone are not kept

    def __init__(
        self, model: torch.nn.Module, processor: Any, seed: int = 0, folder: str | Path | None = None
    ) -> None:
        self.model, self.processor, self.seed = model, processor, seed
        self._rows = FeatureStore(_folder_for(folder, model, processor, seed))
        self.text_states: dict[str, Tensor] = {}  # none without a picture
        self._checked = False

    def inputs(self, rows: Sequence[dict[str, Any]], views: Sequence[int]) -> dict[str, Tensor]:
        """
        Inputs of the model for rows of a [`RowDataset`], seen in some views.

        Raises:
            [`LeamlInputError`]: if this model's states can't be kept, since it uses pictures in its upper layers too.
        """
        on_disk = self._rows.folder is not None
        names = ["\0".join((content_key(row["key"]) if on_disk else row["key"], str(view), *_words(row)))
                 for row, view in zip(rows, views, strict=True)]  # fmt: skip
        first = first_places(names)
        found = {name: self._rows.get(name) for name in first}
        missing = [name for name, row in found.items() if row is None]
        for start in range(0, len(missing), ROWS_AT_ONCE):
            part = missing[start : start + ROWS_AT_ONCE]
            places = [first[name] for name in part]
            encoded = self._encode([rows[i] for i in places], [views[i] for i in places])
            for name, row in zip(part, encoded, strict=True):
                found[name] = row
                self._rows.put(name, row)
        return self._padded([found[name] for name in names])

    @torch.no_grad()
    def _encode(self, rows: list[dict[str, Any]], views: list[int]) -> list[dict[str, Tensor]]:
        """Inputs and states of each row by itself: `[T, …]` of its text, `[N, Dv]` of its picture, and what else there
        is one of for each row."""
        pictures = [view_of(row["load_image"](), row["key"], view, self.seed)
                    for row, view in zip(rows, views, strict=True)]  # fmt: skip
        questions, answers, examples = _texts(rows)
        inputs = dict(self.processor(images=pictures, questions=questions, answers=answers, examples=examples))
        labels = inputs.pop("labels")
        on_device = {name: value.to(self.model.device) for name, value in inputs.items()}
        rest = {name: value for name, value in on_device.items() if not name.startswith("pixel_")}
        with evaluating(self.model):
            prefix = encode_prefix(self.model, on_device)
            if not self._checked:
                self._check(on_device, rest, prefix)
        mask = inputs["attention_mask"].bool()
        kept = {name: value.cpu() for name, value in rest.items()} | {"labels": labels}
        kept["lower_states"] = prefix.lower_states.cpu()
        if any(len(value) != len(rows) for value in kept.values()):
            raise LeamlInputError("This model's inputs are not one for each row, so nothing of it can be kept.")
        of_text = {name for name, value in kept.items() if value.shape[1:2] == mask.shape[1:]}
        return [{f"{TEXT}{name}" if name in of_text else name: value[i][mask[i]] if name in of_text else value[i]
                 for name, value in kept.items()}
                | {"vision_states": prefix.vision_states[i][prefix.vision_mask[i]].cpu()}
                for i in range(len(rows))]  # fmt: skip

    def _check(self, inputs: dict[str, Tensor], rest: dict[str, Tensor], prefix: Any) -> None:
        """Whether the model says the same when it is given its own states, as it does if nothing above needs more."""
        try:
            whole = self.model(**inputs).logits
            parts = self.model(**rest, lower_states=prefix.lower_states, vision_states=prefix.vision_states,
                               vision_mask=prefix.vision_mask).logits  # fmt: skip
        except (TypeError, ValueError, RuntimeError, LookupError) as error:
            raise LeamlInputError(f"This model can't run without its pictures ({type(error).__name__}), so nothing "
                                  "of it can be kept.") from None  # fmt: skip
        whole = whole[:, -parts.shape[1] :]
        mask = inputs["attention_mask"].bool()[:, -parts.shape[1] :]
        if not torch.allclose(whole[mask], parts[mask], rtol=CLOSE, atol=CLOSE * float(whole.abs().max())):
            raise LeamlInputError(
                "This model uses its pictures in its upper layers too, so nothing of it can be kept."
            )
        self._checked = True

    def _padded(self, rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """One batch: what belongs to the text is padded on the left, states of pictures on the right."""
        fill = {"input_ids": self.processor.tokenizer.pad_token_id, "labels": -100}
        batch = {}
        for key in rows[0].keys() - {"vision_states"}:
            name, values = key.removeprefix(TEXT), [row[key] for row in rows]
            if key != name:
                longest = max(map(len, values))
                values = [_pad_left(value, longest, fill.get(name, 0)) for value in values]
            batch[name] = torch.stack(values)
        states = [row["vision_states"] for row in rows]
        most = max(map(len, states))
        batch["vision_states"] = torch.stack([F.pad(one, (0, 0, 0, most - len(one))) for one in states])
        batch["vision_mask"] = torch.arange(most)[None] < torch.tensor([len(one) for one in states])[:, None]
        return batch


def _texts(rows: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """Questions, answers and examples of rows of a [`RowDataset`]."""
    return [[row[name] for row in rows] for name in ("question", "answer", "examples")]


def _words(row: dict[str, Any]) -> list[str]:
    """All that is put to the decoder, the question and its answer first."""
    return [row["question"], row["answer"], *chain.from_iterable(row["examples"])]


def _pad_left(value: Tensor, length: int, fill: int) -> Tensor:
    """`[T, …]` to `[length, …]`."""
    return torch.cat([value.new_full((length - len(value), *value.shape[1:]), fill), value])
