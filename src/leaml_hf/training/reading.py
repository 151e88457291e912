"""Learning to read a new domain's letters from unlabelled questions, before any answer is learnt from.

Questions name what stands in their pictures ("What colour is Hazelwood?"): somewhere in the picture, in letters that
the base may never have seen, stands "Hazelwood". That is a label for the vision half that nobody had to write. Which
place of the picture it belongs to is found by expectation-maximisation with the base's own reader of names, as in
learning from bags of which some member is an instance (Dietterich et al. 1997; Andrews et al. 2002).
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import get_cosine_schedule_with_warmup

from ..adapters import round_adapter
from ..modeling_leaml import LeamlForVisualQA
from .names import MIN_PICTURES, NamedPictures, NamesMixin, bag_of
from .source_data import LONGEST
from .tower import SCALE, name_codes, reader_projection

logger = logging.getLogger(__name__)
PICTURES = 24  # with names, a step
KEPT = 12  # source pictures with names, a step
SOURCE_PICTURES = 300  # different ones
KEEP_WEIGHT = 3.0  # of the change of source states, as a share of their variance
SHARPNESS = 2.0  # power of a likelihood: many places that say little must not outweigh the one that tells a name
UPDATE_RATE = 6e-3  # learning rate times LoRA's scale
WARMUP = 0.1
LOOK = 50  # steps after which it must have helped
WORTH = 0.1  # of the labels' loss must go: with less, nothing more is answered rightly, and the source forgets some
ENCODED_AT_ONCE = 64


def naming_loss(codes: Tensor, logits: Tensor, named: Tensor, names: Tensor) -> Tensor:
    """
    Mean over pairs of picture and name of the expected negative log-likelihood of the name, told among all names of a
    batch, at the places where it may stand (one step of EM: their probabilities carry no gradient).

    Args:
        codes (`Tensor`): `[P, N, Dc]` unit vectors that were read at the places of P pictures.
        logits (`Tensor`): `[P, N]` of a name being written there.
        named (`Tensor`): `[P, W]` bool, which names are asked of which picture.
        names (`Tensor`): `[W, Dc]` unit vectors.

    Returns:
        `Tensor`: scalar, in nats.
    """
    picture, name = named.nonzero(as_tuple=True)  # [pairs]
    told = (SCALE * codes @ names.T).log_softmax(-1)[picture, :, name]  # [pairs, N]
    with torch.no_grad():
        standing = (SHARPNESS * told + F.logsigmoid(logits)[picture]).softmax(-1)
    return -(standing * told).sum(-1).mean()


def learn_to_read(
    model: LeamlForVisualQA, processor: Any, pictures: NamedPictures, source: NamedPictures, steps: int,
    seed: int = 0, progress: bool = False, helps: Callable[[], bool] | None = None,
) -> bool:  # fmt: skip
    """
    Trains LoRA in the vision half of a base by [`naming_loss`]; the base's reader of names, frozen, says what is read.
    Source pictures' names are read again with the others, and what these pictures look like behind the vision half is
    to stay as it was, so that the base's letters are not forgotten, and resampler, bridge and decoder go on
    understanding what they see.

    Args:
        model ([`LeamlForVisualQA`]): with a reader, and with LoRA for reading alone requiring gradients.
        processor ([`LeamlProcessor`]): of the model.
        pictures ([`NamedPictures`]): of the new domain.
        source ([`NamedPictures`]): of the base's source; the first `SOURCE_PICTURES` are used.
        steps (`int`): of `PICTURES` pictures each.
        seed (`int`, *optional*, defaults to 0): of the order.
        progress (`bool`, *optional*, defaults to `False`): whether to show a bar.
        helps (`Callable`, *optional*): whether what was learnt helps; asked after `LOOK` steps and at the end, where
            it did not help the first time not again.

    Returns:
        `bool`: whether it helped; `True` where that was not asked.
    """
    from tqdm.auto import tqdm

    device = model.device
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    scale = model.config.lora_alpha / model.config.lora_rank
    optimizer = torch.optim.AdamW(parameters, UPDATE_RATE / scale, weight_decay=0.0)
    schedule = get_cosine_schedule_with_warmup(optimizer, round(WARMUP * steps), steps)
    codes_of = NameCodes(model, processor.tokenizer)
    known = range(min(len(source), SOURCE_PICTURES))
    kept = torch.cat([processor(images=source.images([k]))["pixel_values"].to(model.dtype) for k in known])

    def encode(pixels: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=model.dtype == torch.bfloat16):
            return model.encode_vision(pixels.to(device)).float()

    model.eval()
    with torch.no_grad():  # before LoRA says anything
        as_it_was = torch.cat([encode(part).cpu() for part in kept.split(ENCODED_AT_ONCE)])
    spread = as_it_was.var().to(device)
    rng = np.random.default_rng([seed, 17])
    for step in tqdm(range(steps), desc="learning to read", disable=not progress, unit="step"):
        if step == LOOK and helps is not None and not helps():
            return False
        drawn = rng.choice(len(pictures), min(PICTURES, len(pictures)), replace=False)
        again = rng.choice(len(kept), min(KEPT, len(kept)), replace=False)
        pixels = processor(images=pictures.images(drawn))["pixel_values"]
        states = encode(torch.cat([pixels.to(kept.dtype), kept[again]]))
        names = [*(pictures.names[place] for place in drawn), *(source.names[place] for place in again)]
        loss = naming_loss(*model.reader(states), *codes_of(names))
        change = F.mse_loss(states[len(drawn) :], as_it_was[again].to(device)) / spread
        (loss + KEEP_WEIGHT * change).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    round_adapter(model)
    return helps is None or helps()


class NameCodes:
    """Which names are asked of which pictures `[P, W]`, and codes of these names `[W, Dc]`."""

    def __init__(self, model: LeamlForVisualQA, tokenizer: Any) -> None:
        self.words, self.tokenizer = model.get_input_embeddings().weight.detach(), tokenizer
        projection = reader_projection(self.words.shape[1], model.config.reader_dim)
        self.projection = projection.to(self.words.device)

    def __call__(self, names: Sequence[Sequence[str]]) -> tuple[Tensor, Tensor]:
        known, named = bag_of(names)
        tokens = self.tokenizer([f" {name}" for name in known], add_special_tokens=False, padding=True,
                                padding_side="right", truncation=True, max_length=LONGEST,
                                return_tensors="pt").to(self.words.device)  # fmt: skip
        codes = name_codes(self.words, tokens["input_ids"], tokens["attention_mask"].bool()) @ self.projection
        return named.to(codes.device), F.normalize(codes, dim=-1)


class ReadingMixin(NamesMixin):
    """The method of [`LeamlTrainer`] by which its adapter learns to read."""

    def learn_reading(self) -> None:
        """
        Lets the vision half learn to read from the names in unlabelled questions, and keeps that if the labels, none
        of which were used, become clearly likelier: their loss falls by a tenth.

        Does nothing where there is no reader, no source or too few pictures with names, or where the adapter has
        learnt to read before, or learns to see by the labels (`adapt_vision`).
        """
        model, config = self.model, self.model.config
        if (
            not self.args.reading_steps
            or self.unlabeled is None
            or self.source is None
            or model.reader is None
            or config.adapt_vision
            or config.adapt_reading
        ):
            return
        pictures, source = self.named_pictures, self.named_source
        entry: dict[str, Any] = {"step": 0, "named_pictures": len(pictures)}
        self.history.append(entry)
        if min(len(pictures), len(source)) < MIN_PICTURES:
            return
        labels = [(self._all_labelled(), None)]
        entry["unread_loss"] = self._loss(labels)
        model.add_reading()

        def helps() -> bool:
            entry["read_loss"] = self._loss(labels)
            logger.info("Loss of the labels before and after reading the questions' names: %.3f and %.3f.",
                        entry["unread_loss"], entry["read_loss"])  # fmt: skip
            return entry["read_loss"] < (1 - WORTH) * entry["unread_loss"]

        entry["reading_kept"] = learn_to_read(model, self.processing_class, pictures, source, self.args.reading_steps,
                                              self.args.seed, not self.args.disable_tqdm, helps)  # fmt: skip
        model.freeze_base()
        if not entry["reading_kept"]:
            model.drop_reading()
