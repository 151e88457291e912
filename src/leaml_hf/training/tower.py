"""First stage of pre-training a base: the vision half with a small question head and dense object-level targets."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.visual_arrays.targets import IGNORE, OPEN, TARGETS
from ..resampler import QuestionResampler, Reading, last_tokens

SPELLED = 6  # tokens of an answer that the resampler spells, its end included
NAMES = 2  # names of marks in a question, at most
RIVALRY = {"value": 2, "x": 2, "y": 2}  # whether the mark of a name has more of it than that of the other name
CLAIM = {"claim": 2}  # whether what a question says of the first of two names is so
SCALE = 16.0  # of cosines, at the start


class QuestionHead(nn.Module):
    """The base's question resampler, judged by the answers it spells: what the vision half is trained with.

    A spelt token is told among those that a batch has at hand (sampled softmax).

    Args:
        word_embeddings (`Tensor`): `[V, De]` of the language model, frozen.
        resampler ([`QuestionResampler`]): spells `SPELLED` tokens; goes on in the base.
    """

    def __init__(self, word_embeddings: Tensor, resampler: QuestionResampler) -> None:
        super().__init__()
        self.register_buffer("words", word_embeddings, persistent=False)  # [V, De]
        self.resampler = resampler
        self.log_scale = nn.Parameter(torch.tensor(SCALE).log())

    def forward(self, input_ids: Tensor, mask: Tensor, vision: Tensor, choices: Tensor) -> tuple[Tensor, Reading]:
        """input_ids, mask (True = a token) [P, Q, T]; vision [P, N, D]; choices [C] token ids.

        Returns logits [P * Q, SPELLED, C] and the reading.
        """
        reading = self.resampler(self.words[input_ids], mask, vision)
        spelled = self.resampler.spell_answer(last_tokens(reading.states, mask)).flatten(0, 1)
        likeness = spelled @ F.normalize(self.words[choices].float(), dim=-1).T
        return self.log_scale.exp() * likeness, reading


def name_codes(word_embeddings: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """
    One unit vector per name, from the language model's embeddings of its tokens.

    Each place in a name has its own fixed signs, so that "12" and "21" differ (binding by sign vectors: Gayler 1998).

    Args:
        word_embeddings (`Tensor`): `[V, De]`.
        ids (`Tensor`): `[W, T]` token ids.
        mask (`Tensor`): `[W, T]` bool, `False` where padded.

    Returns:
        `Tensor`: `[W, De]`.
    """
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (64, word_embeddings.shape[1]), generator=generator) * 2.0 - 1.0
    signs[0] = 1.0
    embedded = F.normalize(word_embeddings[ids].float(), dim=-1) * signs[: ids.shape[1]].to(ids.device)
    return F.normalize((embedded * mask[..., None]).sum(1), dim=-1)


def reader_projection(embedding_size: int, dim: int) -> Tensor:
    """
    What takes the codes of names to the width of a reader of names: at random, which keeps their angles (Johnson and
    Lindenstrauss 1984).

    Args:
        embedding_size (`int`): De of the codes.
        dim (`int`): Dc of the reader.

    Returns:
        `Tensor`: `[De, Dc]`, the same each time.
    """
    return torch.randn((embedding_size, dim), generator=torch.Generator().manual_seed(0)) / math.sqrt(dim)


class NameHead(nn.Module):
    """
    Tells names by likeness to their codes, among the names of a batch (InfoNCE: van den Oord et al. 2018, eq. 4).

    Args:
        width (`int`): of the tokens.
        embedding_size (`int`): of the codes.
    """

    def __init__(self, width: int, embedding_size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, embedding_size)
        self.log_scale = nn.Parameter(torch.tensor(SCALE).log())

    def forward(self, tokens: Tensor, targets: Tensor, names: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """tokens [..., D], targets [...] `name_id`s or `IGNORE`, names [W] sorted ids, codes [W, De].

        Returns loss and accuracy; 0 and NaN where there is nothing to tell.
        """
        keep = targets != IGNORE
        told = F.normalize(self.out(self.norm(tokens[keep])).float(), dim=-1)
        return tell_names(told, targets[keep], names, codes, self.log_scale.exp())


def tell_names(told: Tensor, targets: Tensor, names: Tensor, codes: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """told [n, De] unit vectors, targets [n] `name_id`s, names [W] sorted ids, codes [W, De].

    Returns loss and accuracy; 0 and NaN where there is nothing to tell.
    """
    target = torch.searchsorted(names, targets)
    logits = scale * told @ codes.T
    return mean_loss(logits, target), hit_rate(logits, target)


def mean_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy of logits [n, C] and classes [n] that are not `IGNORE`; 0 where all are."""
    counted = (target != IGNORE).sum().clamp(min=1)
    return F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="sum") / counted


def hit_rate(logits: Tensor, target: Tensor) -> Tensor:
    """Share of classes [n], those that are `IGNORE` left out, that logits [n, C] tell; NaN where all are."""
    return (logits.argmax(1) == target).sum() / (target != IGNORE).sum()


def grounding_loss(looked: Tensor, relevant: Tensor) -> Tensor:
    """
    Mean negative log of the attention that falls on the marks that are asked for.

    Questions that name a mark stay at chance for very long without it: nothing tells the attention where to look.

    Args:
        looked (`Tensor`): `[Q, N]` attention, 0 or more, of sum 1 at most.
        relevant (`Tensor`): `[Q, N]` bool; rows without any token are left out.

    Returns:
        `Tensor`: scalar; 0 where no row has a token.
    """
    asked = relevant.any(1)
    surprise = -((looked.float() * relevant).sum(1) + 1e-6).log()  # [Q]
    return (surprise * asked).sum() / asked.sum().clamp(min=1)


def question_grounding(reading: Reading, grounded_heads: int, batch: "TowerBatch") -> dict[str, Tensor]:
    """
    Tells the resampler where to look.

    - `at_names`: in the first layer the last token of each name looks at the marks it names;
    - `at_end`: in the last layer the last token of the question looks at the marks that decide the answer;
    - `at_first`: there it also looks, within the question, at the first name.

    Args:
        reading ([`Reading`]): of the batch's questions.
        grounded_heads (`int`): heads that are told; the others are free.
        batch ([`TowerBatch`]): the questions.

    Returns:
        `dict[str, Tensor]`: the three losses, scalars.
    """
    first, last = (
        weights[:, :grounded_heads].mean(1).flatten(0, 1) for weights in (reading.across[0], reading.across[-1])
    )  # [P * Q, T, N]
    rows, ends = torch.arange(len(first), device=first.device), batch.mask.flatten(0, 1).sum(1) - 1
    at_names = [
        grounding_loss(first[rows, batch.name_ends[:, k]], batch.named[:, k]) for k in range(batch.named.shape[1])
    ]
    within = reading.within[-1][:, 0]  # [P * Q, T, T]: one head
    is_first = F.one_hot(batch.name_ends[:, 0], within.shape[-1]).bool() & batch.named[:, 0].any(1, keepdim=True)
    return {
        "at_names": torch.stack(at_names).mean(),
        "at_end": grounding_loss(last[rows, ends], batch.relevant),
        "at_first": grounding_loss(within[rows, ends], is_first),
    }


class DenseHeads(nn.Module):
    """One linear classifier per target with a fixed number of classes, on every token.

    Args:
        width (`int`): of the tokens.
        names (`tuple[str, ...]`): targets to predict, of `targets`; defaults to all that are not open.
        targets (`dict[str, int]`): columns of the targets, and the classes of each.
    """

    def __init__(self, width: int, names: tuple[str, ...] | None = None, targets: dict[str, int] = TARGETS) -> None:
        super().__init__()
        self.sizes = {name: targets[name] for name in names or targets if targets[name] != OPEN}
        self.columns = [list(targets).index(name) for name in self.sizes]
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, sum(self.sizes.values()))

    def forward(self, tokens: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """tokens [B, N, D], targets [B, N, TARGETS] -> summed loss and the accuracy of each target, NaN where there is
        nothing to tell."""
        logits = self.out(self.norm(tokens)).float().flatten(0, 1)  # [B * N, classes]
        loss, accuracy = logits.new_zeros(()), {}
        for name, column, part in zip(
            self.sizes, self.columns, logits.split(list(self.sizes.values()), 1), strict=True
        ):
            target = targets[..., column].flatten()
            loss = loss + mean_loss(part, target)
            accuracy[name] = hit_rate(part, target)
        return loss, accuracy


@dataclass
class TowerBatch:
    """
    P pictures with Q questions each, and S pages of names behind them.

    Args:
        pixels (`Tensor`): `[P + S, 3, H, W]` uint8.
        targets (`Tensor`): `[P + S, N, TARGETS]`.
        input_ids (`Tensor`): `[P, Q, T]`, padded on the right.
        mask (`Tensor`): `[P, Q, T]` bool, `False` where padded.
        answers (`Tensor`): `[P * Q, SPELLED]` places in `choices`, `IGNORE` behind the end.
        choices (`Tensor`): `[C]` sorted ids of the tokens that an answer may consist of here.
        names (`Tensor`): `[W]` sorted `name_id`s of all names in the pictures.
        name_tokens (`Tensor`): `[W, T]` their token ids, padded on the right.
        name_mask (`Tensor`): `[W, T]` bool, `False` where padded.
        relevant (`Tensor`): `[P * Q, N]` bool: the tokens of the marks that decide the answer.
        name_ends (`Tensor`): `[P * Q, NAMES]` where in the question a name ends.
        named (`Tensor`): `[P * Q, NAMES, N]` bool: the tokens of the marks it names; none where there is no name.
        name_targets (`Tensor`): `[P * Q, NAMES, TARGETS]`: attributes of the mark that a name stands for.
        rivalry (`Tensor`): `[P * Q, NAMES, RIVALRY]`: 1 where a name's mark has more than the other name's, else 0.
        claims (`Tensor`): `[P * Q, NAMES, 1]`: at the first of two names, 1 where what is said of it is so, else 0.
        programs (`list[str]`): P * Q of "task/program".
        questions (`list[str]`): P * Q texts.
        answer_texts (`list[str]`): P * Q texts.
        prompts (`Tensor`, *optional*): `[P * Q, L]` what the language model reads, answers included, padded on the
            left.
        prompt_mask (`Tensor`, *optional*): `[P * Q, L]`, 0 where padded.
        labels (`Tensor`, *optional*): `[P * Q, S]` tokens of the answers at the end of it, -100 before them.
        vision (`Tensor`, *optional*): `[P + S, N, Dv]` states of a frozen vision half, kept by a stage that trains
            more than once on them, as the others.
        cells (`Tensor`, *optional*): `[P + S, h, w, Dt]` states of a frozen vision encoder.
        asked (`Tensor`, *optional*): `[P, Q, D]` what the last tokens of questions found by a frozen resampler.
    """

    pixels: Tensor
    targets: Tensor
    input_ids: Tensor
    mask: Tensor
    answers: Tensor
    choices: Tensor
    names: Tensor
    name_tokens: Tensor
    name_mask: Tensor
    relevant: Tensor
    name_ends: Tensor
    named: Tensor
    name_targets: Tensor
    rivalry: Tensor
    claims: Tensor
    programs: list[str]
    questions: list[str]
    answer_texts: list[str]
    prompts: Tensor | None = None
    prompt_mask: Tensor | None = None
    labels: Tensor | None = None
    vision: Tensor | None = None
    cells: Tensor | None = None
    asked: Tensor | None = None

    def to(self, device: torch.device) -> "TowerBatch":
        """The batch with its tensors on a device; from pinned memory they follow while other work goes on."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "TowerBatch":
        """The batch in memory that a GPU copies from by itself; for `DataLoader`."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "TowerBatch":
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: change(value) for name, value in values.items() if isinstance(value, Tensor)})
