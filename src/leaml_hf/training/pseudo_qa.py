"""Pseudo question–answer pairs: a second adapter of the same model writes them for pictures without labels.

The LEAML paper (arXiv 2510.03232) tunes a question–answer generator on the few labels, regularises it by caption
distillation, and trains on what it writes. That captions are the frozen backbone's own, and that a pair is kept only
where the answering model agrees with it and is sure of it, is this project's doing.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler
from transformers import get_cosine_schedule_with_warmup

from ..answering import prepare_inputs
from ..data.budget import first_places, picture_keys
from ..errors import LeamlError
from ..evaluation.answers import answers_match, normalize_answer
from ..evaluation.runner import open_pictures, picture_states, predict
from ..running import evaluating
from .neurons import qa_neurons, tuning_only
from .objectives import AdapterSnapshot, AnswerTokens, answer_loss, consistency_loss
from .rows import LeamlCollator, RowDataset

if TYPE_CHECKING:
    from datasets import Dataset

    from ..modeling_leaml import LeamlForVisualQA
    from ..phrasebook import Phrasebook
    from ..processing_leaml import LeamlProcessor
    from .cache import FrozenCache, PrefixCache

Forward = Callable[[dict[str, Any]], AnswerTokens]  # of a batch

INSTRUCTION = "Write a question about this picture and its answer."
CAPTION = "Describe this picture."
CAPTIONED = 64  # unlabelled pictures whose captions are held on to
CAPTION_TOKENS = 24
PAIRS_A_PICTURE = 4
TOP_P = 0.9  # of nucleus sampling (Holtzman et al. 2020, arXiv 1904.09751)
AT_ONCE = 64  # rows
MIN_PROBABILITY = 0.5  # of a kept answer: from there on it is also what the answering model says itself
SEPARATOR = re.compile(r"\s*\bAnswer\s*:\s*")


def pair_text(question: str, answer: str) -> str:
    """What the generator is to write: question and answer on one line."""
    return f"{' '.join(question.split())} Answer: {' '.join(answer.split())}"


def parse_pair(text: str) -> tuple[str, str] | None:
    """Question and answer that were written; `None` where one is missing, or there is more than one answer."""
    parts = SEPARATOR.split(text.strip())
    return (parts[0], parts[1]) if len(parts) == 2 and all(parts) else None


def rows_of(pictures: "Dataset", questions: Sequence[str], answers: Sequence[str]) -> "Dataset":
    """n rows with the pictures of n rows, and other questions and answers."""
    from datasets import Value

    text, rows = Value("string"), pictures.select_columns("image")
    return rows.add_column("question", questions, feature=text).add_column("answer", answers, feature=text)


def one_row_a_picture(rows: "Dataset") -> "Dataset":
    """The first row of each picture."""
    return rows.select(list(first_places(picture_keys(rows)).values()))


class PairGenerator:
    """
    Writes questions about pictures, and their answers: a second set of values of a model's own adapter.

    Args:
        model ([`LeamlForVisualQA`]): with an adapter, whose values are the same after each method.
        processor ([`LeamlProcessor`]): of the model.
        forward (`Callable`): gives [`AnswerTokens`] of a batch.
        cache ([`FrozenCache`] or [`PrefixCache`], *optional*): of the model's frozen parts.
        steps (`int`, *optional*, defaults to 60): of AdamW.
        learning_rate (`float`, *optional*, defaults to 2e-4): its peak, after a warm-up and before a cosine to 0.
        batch_size (`int`, *optional*, defaults to 16): labelled rows, and as many pictures with captions, a step.
        caption_weight (`float`, *optional*, defaults to 1.0): of caption distillation; 0 for none.
        neuron_share (`float`, *optional*, defaults to 1.0): of the neurons that are tuned, see
            [`~training.neurons.qa_neurons`].
        seed (`int`, *optional*, defaults to 0): of order and sampling.
    """

    def __init__(
        self,
        model: "LeamlForVisualQA",
        processor: "LeamlProcessor",
        forward: Forward,
        cache: "FrozenCache | PrefixCache | None" = None,
        steps: int = 60,
        learning_rate: float = 2e-4,
        batch_size: int = 16,
        caption_weight: float = 1.0,
        neuron_share: float = 1.0,
        seed: int = 0,
    ) -> None:
        self.model, self.processor, self.forward, self.cache = model, processor, forward, cache
        self.steps, self.learning_rate, self.batch_size = steps, learning_rate, batch_size
        self.caption_weight, self.neuron_share, self.seed = caption_weight, neuron_share, seed
        self.collator = LeamlCollator(processor, cache)

    def fit(self, labelled: "Dataset", pictures: "Dataset") -> "PairGenerator":
        """
        Tunes it to write the labelled pairs, while captions stay as likely as they were.

        Args:
            labelled (`Dataset`): rows with `image`, `question`, `answer`.
            pictures (`Dataset`): rows with `image`, without labels; the first `CAPTIONED` are captioned by the model
                as it is, which with a new adapter is the frozen backbone.

        Returns:
            [`PairGenerator`]: itself.

        Raises:
            [`LeamlError`]: if the loss becomes infinite or NaN.
        """
        texts = [pair_text(q, a) for q, a in zip(labelled["question"], labelled["answer"], strict=True)]
        self.longest = max(map(len, self.processor.answer_ids(texts)))  # tokens
        written = RowDataset(rows_of(labelled, [INSTRUCTION] * len(texts), texts))
        start, was_training = AdapterSnapshot(self.model), self.model.training
        captions = self._captions(pictures) if self.caption_weight else None
        neurons = nullcontext()
        if self.neuron_share < 1:
            self.model.eval()
            batches = DataLoader(written, self.batch_size, collate_fn=self.collator)
            neurons = tuning_only(self.model, qa_neurons(self.model, batches, self._written_loss, self.neuron_share))
        optimizer = torch.optim.AdamW(start.parameters.values(), self.learning_rate, weight_decay=0.0)
        schedule = get_cosine_schedule_with_warmup(optimizer, self.steps // 10, self.steps)
        self.model.train()
        try:
            with neurons:
                for batch, captioned in zip(self._batches(written), self._batches(captions), strict=True):
                    optimizer.zero_grad()
                    loss = self._loss(batch, captioned, start)
                    if not torch.isfinite(loss):
                        raise LeamlError(
                            f"The loss of the pair generator became {loss.item()}; lower learning_rate, or set "
                            "pseudo_qa_weight to 0."
                        )
                    loss.backward()
                    torch.nn.utils.clip_grad_norm_(start.parameters.values(), 1.0)
                    optimizer.step()
                    schedule.step()
            self.adapter = AdapterSnapshot(self.model)
        finally:
            optimizer.zero_grad()
            start.load(start.values)
            self.model.train(was_training)
        return self

    def _loss(self, batch: dict[str, Any], captioned: dict[str, Any] | None, start: AdapterSnapshot) -> Tensor:
        if captioned is None:
            return self._written_loss(batch)
        with torch.no_grad(), start:  # before there is a graph: the parameters change for a moment
            told = self.forward(captioned)
        loss = self._written_loss(batch)
        return loss + self.caption_weight * consistency_loss(self.forward(captioned), told.logits)

    def _written_loss(self, batch: dict[str, Any]) -> Tensor:
        return answer_loss(self.forward(batch), smoothing=0.0)

    def _captions(self, pictures: "Dataset") -> RowDataset | None:
        """The first pictures with what the model, as it is, says of them."""
        pictures = pictures.select(range(min(CAPTIONED, len(pictures))))
        if len(pictures) == 0:
            return None
        asked = rows_of(pictures, [CAPTION] * len(pictures), [""] * len(pictures))
        with _asked_as_it_stands(self.model):
            said = predict(self.model, self.processor, asked, cache=self.cache, max_new_tokens=CAPTION_TOKENS)
        return RowDataset(asked, said.texts)

    def _batches(self, rows: RowDataset | None) -> Iterator[dict[str, Any] | None]:
        """A batch of rows for each step."""
        if rows is None:
            return iter([None] * self.steps)
        generator = torch.Generator().manual_seed(self.seed)
        drawn = RandomSampler(rows, replacement=True, num_samples=self.steps * self.batch_size, generator=generator)
        return iter(DataLoader(rows, self.batch_size, sampler=drawn, collate_fn=self.collator))

    @torch.no_grad()
    def write(self, pictures: "Dataset") -> "Dataset":
        """
        Samples `PAIRS_A_PICTURE` pairs for each picture; those that are cut off or lack a part, and repeated
        questions, are left out.

        Args:
            pictures (`Dataset`): n rows with `image`, each picture once.

        Returns:
            `Dataset`: at most `PAIRS_A_PICTURE * n` rows with `image`, `question`, `answer`.
        """
        found: dict[tuple[int, str], tuple[int, str, str]] = {}
        with evaluating(self.model), self.adapter, _asked_as_it_stands(self.model), torch.random.fork_rng():
            torch.manual_seed(self.seed)
            for place, text in self._sampled(pictures):
                if (pair := parse_pair(text)) is not None:
                    found.setdefault((place, normalize_answer(pair[0])), (place, *pair))
        places, questions, answers = (
            (list(column) for column in zip(*found.values(), strict=True)) if found else ([],) * 3
        )
        return rows_of(pictures.select(places), questions, answers)

    def _sampled(self, pictures: "Dataset") -> Iterator[tuple[int, str]]:
        """Places in `pictures`, and what was written to its end about each."""
        keys, tokenizer = picture_keys(pictures), self.processor.tokenizer
        for start in range(0, len(keys), AT_ONCE // PAIRS_A_PICTURE):
            part = range(start, min(start + AT_ONCE // PAIRS_A_PICTURE, len(keys)))
            images = pictures.select(part)["image"]
            opened = open_pictures(self.model, self.processor, images, [keys[i] for i in part], self.cache)
            places = [place for place in part for _ in range(PAIRS_A_PICTURE)]
            inputs = prepare_inputs(self.model, [opened[keys[i]] for i in places], [INSTRUCTION] * len(places),
                                    self.processor)  # fmt: skip
            inputs = {name: value.to(self.model.device) for name, value in inputs.items() if name != "texture"}
            tokens = self.model.generate(
                **inputs,
                max_new_tokens=self.longest,
                do_sample=True,
                num_beams=1,
                temperature=1.0,
                top_p=TOP_P,
                top_k=0,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
            )
            first = 1 if self.model.backbone.config.is_encoder_decoder else inputs["input_ids"].shape[1]
            tokens = tokens[:, first:]  # [B, new tokens]
            ended = (tokens == tokenizer.eos_token_id).any(1).tolist()
            for place, text, whole in zip(places, self.processor.decode_answers(tokens), ended, strict=True):
                if whole:
                    yield place, text


@torch.no_grad()
def agreed(
    pairs: "Dataset", phrasebook: "Phrasebook | None", forward: Forward, collators: Sequence[LeamlCollator]
) -> np.ndarray:
    """
    Which pairs the answering model agrees with, and is sure of, however it sees the picture.

    A pair's answer, end token included, must have a probability of `MIN_PROBABILITY` in each view; from 0.5 on no
    other answer can be likelier, so it is then what the model says itself.

    Args:
        pairs (`Dataset`): n rows with `image`, `question`, `answer`.
        phrasebook ([`Phrasebook`], *optional*): that questions are asked by.
        forward (`Callable`): of the answering model, as in [`PairGenerator`].
        collators (`Sequence[LeamlCollator]`): one for each view.

    Returns:
        `np.ndarray`: `[n]` bool.
    """
    rows = RowDataset(pairs, phrasebook=phrasebook)
    kept = [torch.stack([answer_probability(forward(view(part))) for view in collators]).min(0).values.cpu()
            for part in DataLoader(rows, AT_ONCE, collate_fn=list)]  # fmt: skip
    return torch.cat(kept).numpy() >= MIN_PROBABILITY if kept else np.zeros(0, dtype=bool)


def answer_probability(answers: AnswerTokens) -> Tensor:
    """
    Probability of each row's answer tokens.

    Args:
        answers ([`AnswerTokens`]): of B rows.

    Returns:
        `Tensor`: `[B]` in [0, 1].
    """
    log_likelihood = -F.cross_entropy(answers.logits.float(), answers.tokens, reduction="none")  # [n]
    return log_likelihood.new_zeros(len(answers.weights)).index_add(0, answers.rows, log_likelihood).exp()


def pair_precision(pairs: "Dataset", labelled: "Dataset") -> tuple[int, int]:
    """
    How many pairs are right, of those whose question somebody has answered for the same picture.

    Args:
        pairs (`Dataset`): n rows with `image`, `question`, `answer`.
        labelled (`Dataset`): rows with labels of the same pictures; questions are compared as answers are, after
            [`~evaluation.answers.normalize_answer`].

    Returns:
        `tuple[int, int]`: pairs that are right, and pairs that could be compared.
    """
    known = defaultdict(list)
    for key, question, answer in zip(picture_keys(labelled), labelled["question"], labelled["answer"], strict=True):
        known[key, normalize_answer(question)].append(answer)
    asked = zip(picture_keys(pairs), map(normalize_answer, pairs["question"]), pairs["answer"], strict=True)
    right = [any(answers_match(answer, label) for label in known[key, question])
             for key, question, answer in asked if (key, question) in known]  # fmt: skip
    return sum(right), len(right)


@contextmanager
def _asked_as_it_stands(model: "LeamlForVisualQA") -> Iterator[None]:
    """Inside the `with` block a model is asked without phrasebook, lexicon and examples: instructions are no questions
    of the domain."""
    parts = ("phrasebook", "lexicon", "retrieval")
    kept = [getattr(model, name) for name in parts]
    for name in parts:
        setattr(model, name, None)
    try:
        yield
    finally:
        for name, part in zip(parts, kept, strict=True):
            setattr(model, name, part)


class PairsMixin:
    """The methods of [`LeamlTrainer`] that have pairs written and choose those to learn from."""

    def write_pairs(self) -> None:
        """Tunes a generator on the labelled rows, and lets it write pairs for a draw of unlabelled pictures (those
        that look foreign left out) and for the held-out ones, whose labels tell later how many are right."""
        args = self.args
        drawn = np.random.default_rng([args.seed, 9]).permutation(len(self.pictures))[: args.refresh_rows]
        pictures = one_row_a_picture(self.pictures.select(np.sort(drawn)))
        asked = rows_of(pictures, [INSTRUCTION] * len(pictures), [""] * len(pictures))
        states = picture_states(self.model, self.processing_class, asked, self.cache)
        pictures = pictures.select(np.flatnonzero(~self._foreign(states)))
        generator = PairGenerator(
            self.model, self.processing_class, self._answers, self.cache, args.pseudo_qa_steps, args.learning_rate,
            args.per_device_train_batch_size, args.caption_weight, args.neuron_share, args.seed,
        ).fit(self.labelled, pictures)  # fmt: skip
        self.pairs = generator.write(pictures)
        self.judged_pairs = [(generator.write(one_row_a_picture(fold)), fold, book) for fold, book in self.folds]

    def _answers(self, batch: dict[str, Any]) -> AnswerTokens:
        return self._forward(self.model, self._prepare_inputs(batch))[0]

    def choose_pairs(self) -> None:
        """Those pairs are trained on that the averaged adapter, as it is now, agrees with."""
        # rows of an existing model are asked once, so their lower states are not worth keeping
        cache = self.cache if self.model.config.is_composed else None
        plain, strong = (LeamlCollator(self.processing_class, cache, view, self.args.seed) for view in (False, True))
        self.model.eval()
        with self.average:
            kept = agreed(self.pairs, self.model.phrasebook, self._answers, (plain, strong))
            judged = [(pairs.select(np.flatnonzero(agreed(pairs, book, self._answers, (plain, strong)))), fold)
                      for pairs, fold, book in self.judged_pairs]  # fmt: skip
        self.model.train()
        right, compared = np.sum([pair_precision(pairs, fold) for pairs, fold in judged] or [(0, 0)], axis=0).tolist()
        self.history.append({
            "step": self.state.global_step,
            "pairs_written": len(kept),
            "pairs_kept": float(kept.mean()) if len(kept) else None,
            "pair_precision": right / compared if compared else None,
            "pair_precision_n": compared,
        })  # fmt: skip
        self.learn_pairs(kept.tolist())

    def learn_pairs(self, kept: list[bool], taken: int = 0) -> None:
        """
        From now on the student learns from some of the pairs.

        Args:
            kept (`list[bool]`): which of them.
            taken (`int`, *optional*, defaults to 0): batches of them that were taken before.
        """
        self.kept_pairs, share = kept, self.args.unlabeled_share
        chosen = self._rows(self.pairs.select(np.flatnonzero(kept)), phrasebook=self.model.phrasebook)
        drawn = taken * self._batch_size(chosen, share)
        seen = LeamlCollator(self.processing_class, self.cache, self.args.strong_views, self.args.seed, drawn)
        self.pair_batches = self._cycle(chosen, share, seen, taken)
