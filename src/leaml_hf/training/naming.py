"""Names that were never answers: which of those in unlabelled questions answer, and in which letters they stand there.

A question says that a name stands in its picture, and nothing where. So a reader of letters is trained to find it
there, in whatever line, rather than the names of other pictures, as one is to tell what images and captions belong
together (Radford et al. 2021, arXiv 2103.00020), over bags of lines (Dietterich et al. 1997).
"""

import copy
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import get_cosine_schedule_with_warmup

from ..letters import LetterReader
from ..lexicon import Lexicon, letter_places, spelt, word_scores
from ..modeling_leaml import LeamlForVisualQA
from .names import MIN_PICTURES, NamedPictures, NamesMixin, bag_of

logger = logging.getLogger(__name__)
PICTURES = 12  # with names, a step
KEPT = 24  # source pictures, a step
MOST_PICTURES = 1500  # with names, that are learnt from
SOURCE_PICTURES = 200  # different ones
RATE = 1e-3
WARMUP = 0.04
SHORTEST = 2  # letters of a name that is looked for: one letter stands everywhere
TEXT = 0.3  # probability of any letter from which on a frame counts as text
FLOOR = -30.0  # score of a name that stands nowhere
ENCODED_AT_ONCE = 48


def spotting_loss(told: Tensor, letters: Tensor, named: Tensor) -> Tensor:
    """
    Mean over pairs of picture and name of the negative log-odds that the name, and not one of the others, stands in
    a row of the picture.

    Args:
        told (`Tensor`): `[P, h, w, slots, K + 1]` log-probabilities, of a [`~letters.LetterReader`].
        letters (`Tensor`): `[W, L]` long, those of W names, -1 behind them.
        named (`Tensor`): `[P, W]` bool, which names stand in which picture.

    Returns:
        `Tensor`: scalar, in nats.
    """
    lines = told.flatten(2, 3)  # [P, h, w * slots, K + 1]
    has_text = (1 - lines[..., -1].detach().exp() > TEXT).sum(-1) >= SHORTEST  # [P, h]
    picture, row = has_text.nonzero(as_tuple=True)
    lines = lines[picture, row]
    by_line = word_scores(lines, lines.new_zeros(lines.shape[:2]), letters)  # [lines, W]
    scores = torch.stack([by_line[picture == k].logsumexp(0) for k in range(len(told))]).clamp(min=FLOOR)  # [P, W]
    others = scores.masked_fill(named, -torch.inf).logsumexp(-1, keepdim=True).clamp(min=FLOOR)
    return F.softplus(others - scores)[named].mean()


def readable_names(pictures: NamedPictures, characters: str) -> dict[int, list[str]]:
    """By the place of a picture, its names as they are spelt with `characters`, if any has `SHORTEST` of them."""
    spelt_names = ([spelt(name, characters) for name in of_it] for of_it in pictures.names)
    long = ([word for word in words if len(word) >= SHORTEST] for words in spelt_names)
    return {place: words for place, words in enumerate(long) if words}


@torch.no_grad()
def cells_of(model: LeamlForVisualQA, processor: Any, pictures: NamedPictures, places: Sequence[int]) -> Tensor:
    """The vision encoder's states `[P, h, w, Dt]` of some pictures, in bfloat16."""
    parts = []
    for start in range(0, len(places), ENCODED_AT_ONCE):
        pixels = processor(images=pictures.images(places[start : start + ENCODED_AT_ONCE]))["pixel_values"]
        parts.append(model.encode_cells(pixels.to(model.device))[0].to("cpu", torch.bfloat16))
    return torch.cat(parts)


def learn_letters(
    model: LeamlForVisualQA, processor: Any, pictures: NamedPictures, source: NamedPictures, steps: int,
    seed: int = 0, progress: bool = False,
) -> LetterReader:  # fmt: skip
    """
    Trains a copy of a base's reader of letters by [`spotting_loss`]. What it tells of source pictures is to stay as it
    was, so that letters are not forgotten for the sake of names.

    Args:
        model ([`LeamlForVisualQA`]): reads letters; is left as it is.
        processor ([`LeamlProcessor`]): of the model.
        pictures ([`NamedPictures`]): of the new domain, some with [`readable_names`]; up to `MOST_PICTURES` are used.
        source ([`NamedPictures`]): of the base's source; the first `SOURCE_PICTURES` are used.
        steps (`int`): of `PICTURES` pictures each.
        seed (`int`, *optional*, defaults to 0): of the order.
        progress (`bool`, *optional*, defaults to `False`): whether to show a bar.

    Returns:
        [`LetterReader`]: whose values float16 holds.
    """
    from tqdm.auto import tqdm

    device, rng = model.device, np.random.default_rng([seed, 19])
    readable = readable_names(pictures, model.config.letters)
    chosen = np.sort(rng.choice([*readable], min(MOST_PICTURES, len(readable)), replace=False))
    shown = cells_of(model, processor, pictures, chosen)
    kept = cells_of(model, processor, source, range(min(len(source), SOURCE_PICTURES)))
    reader = copy.deepcopy(model.letters).float().requires_grad_(True)
    with torch.no_grad():
        as_it_was = torch.cat([reader(part.to(device)).cpu() for part in kept.split(ENCODED_AT_ONCE)])
    optimizer = torch.optim.AdamW(reader.parameters(), RATE)
    schedule = get_cosine_schedule_with_warmup(optimizer, round(WARMUP * steps), steps)
    names = [readable[place] for place in chosen]
    for _ in tqdm(range(steps), desc="learning letters", disable=not progress, unit="step"):
        drawn = rng.choice(len(names), min(PICTURES, len(names)), replace=False)
        again = rng.choice(len(kept), min(KEPT, len(kept)), replace=False)
        bag, named = bag_of([names[place] for place in drawn])
        letters = letter_places(bag, model.config.letters).to(device)
        told, of_source = reader(torch.cat([shown[drawn], kept[again]]).to(device)).split([len(drawn), len(again)])
        was = as_it_was[again].to(device)
        texts = (1 - was[..., -1].exp()).sum()
        change = F.kl_div(of_source, was, reduction="sum", log_target=True) / texts
        (spotting_loss(told, letters, named.to(device)) + change).backward()
        nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return reader.requires_grad_(False).half().to(model.letters.norm.weight.dtype)


class NamingMixin(NamesMixin):
    """The methods of [`LeamlTrainer`] by which names that were never answers become answers."""

    @contextmanager
    def keeping_cells(self) -> Iterator[None]:
        """Inside the `with` block cells of pictures are kept, where names may be found in them later."""
        if self._may_find_names:
            self.cache.keeps_cells = True
        try:
            yield
        finally:
            if self._may_find_names:
                self.cache.keeps_cells = False

    def find_names(self) -> None:
        """
        Lets the names in unlabelled questions be answers, and keeps that if more labels, none of which were used, are
        answered rightly. If so, their letters are learnt from the pictures, and that is kept if no fewer labels are
        right.

        Does nothing where the base does not read letters, or no unlabelled question names anything; letters are learnt
        where there are source rows and enough pictures with names.
        """
        model = self.model
        model.lexicon = None  # an earlier one is found anew
        if not self._may_find_names:
            return
        lexicon = Lexicon(self.named_pictures.different_names(), model.config.letters, self._known_names())
        entry: dict[str, Any] = {"step": 0, "names": len(lexicon.names)}
        self.history.append(entry)
        if not lexicon.names:
            return
        labels = [(self._all_labelled(), model.phrasebook)]

        def right() -> float:
            return float(self._predict(labels).correct.mean())

        entry["right_without_names"] = right()
        model.lexicon = lexicon
        entry["right_with_names"] = right()
        logger.info("Labels answered rightly before and after names in questions may be answers: %.3f and %.3f.",
                    entry["right_without_names"], entry["right_with_names"])  # fmt: skip
        entry["names_kept"] = entry["right_with_names"] > entry["right_without_names"]
        if not entry["names_kept"]:
            model.lexicon = None
            return
        if not self.args.letter_steps or self.source is None:
            return
        readable = readable_names(self.named_pictures, model.config.letters)
        if min(len(readable), len(self.named_source)) < MIN_PICTURES:
            return
        reader = learn_letters(model, self.processing_class, self.named_pictures, self.named_source,
                               self.args.letter_steps, self.args.seed, not self.args.disable_tqdm)  # fmt: skip
        model.lexicon = Lexicon(lexicon.names, model.config.letters, lexicon.known, reader)
        entry["right_with_letters"] = right()
        entry["letters_kept"] = entry["right_with_letters"] >= entry["right_with_names"]
        if not entry["letters_kept"]:
            model.lexicon = lexicon

    @property
    def _may_find_names(self) -> bool:
        return self.args.use_lexicon and self.unlabeled is not None and self.model.letters is not None

    def _known_names(self) -> list[str]:
        """Of the base's source: in questions or as answers."""
        if self.source is None:
            return []
        return sorted({*self.named_source.different_names(), *self.source["answer"]})
