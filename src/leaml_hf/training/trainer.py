"""LeamlTrainer: few labels, many unlabelled pictures, and guards against making a base worse."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from datasets import concatenate_datasets
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset
from transformers import EvalPrediction, Trainer, TrainerCallback, set_seed

from ..adapters import round_adapter
from ..answering import words_asked
from ..backbones import attention_for_training
from ..data.budget import picture_keys, rows_with
from ..data.conversations import as_rows
from ..errors import LeamlError, LeamlInputError
from ..evaluation.runner import Predictions, picture_states, predict
from ..modeling_leaml import LeamlForVisualQA, answer_places
from ..phrasebook import Phrasebook
from ..processing_leaml import LeamlProcessor
from ..quick_lora import quick_lora
from ..reliability import Reliability
from .arguments import LeamlTrainingArguments
from .batches import EndlessBatches
from .cache import FrozenCache, PrefixCache
from .curriculum import PacedSampler, competence, easy_first
from .examples import ExampleFinder
from .naming import NamingMixin
from .neurons import qa_neurons, tuning_only
from .objectives import (
    AdapterSnapshot,
    AnswerTokens,
    AveragedAdapter,
    answer_loss,
    calibration_error,
    consistency_loss,
    focal_loss,
    row_losses,
    spelling_consistency,
    spelling_loss,
)
from .progress import CheckpointMixin, last_checkpoint, load_adapter, load_progress
from .pseudo_qa import PairsMixin
from .publishing import PublishingMixin
from .reading import ReadingMixin
from .rows import LeamlCollator, RowDataset
from .search import SearchMixin
from .views import WEAK
from .words import WordsMixin

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)
REPLAYED = 400  # source rows that are replayed, again and again: their pictures are encoded once
EARLIER_ANSWERS = 200  # at most: where there are more labels, the held-out ones are enough to calibrate with
TEMPERATURES = 2.0 ** np.arange(-1, 4.5, 0.5)  # at which held-out answers are judged


class LeamlTrainer(
    ReadingMixin, NamingMixin, WordsMixin, PairsMixin, CheckpointMixin, SearchMixin, PublishingMixin, Trainer
):
    """
    Trains a LEAML adapter with few labels and the unlabelled rest.

    First the vision half of a base with a reader of names learns to read the domain's letters from the names in
    unlabelled questions ([`~training.reading.learn_to_read`]), and is frozen from then on, if that makes the
    labels clearly likelier. Then a [`~training.patterns.PatternTeacher`] finds out from all labels in which words the
    base is to be asked (held-out rows are judged with what was found without their labels), and whether the names in
    unlabelled questions may be answers ([`~lexicon.Lexicon`]). Each step then adds up the losses on labelled rows and
    on source rows that are replayed. With `consistency_weight` there is a third, on unlabelled rows with questions
    whose like is answered rightly, where a teacher, the adapter's exponential average of some steps ago, is to be
    agreed with; with `pseudo_qa_weight` a fourth, on pairs that a [`~training.pseudo_qa.PairGenerator`] wrote for
    unlabelled pictures and that the averaged adapter agrees with.
    Every `evaluate_every` steps the averaged adapter is judged on `eval_dataset`: of those that answer no fewer
    rows rightly than the start, the one with the lowest loss of the right answers, at the temperature that suits
    it best, is kept (accuracy on a few dozen rows is mostly noise). If none has a lower loss, the start is what
    remains: the base, asked in the words that were found.

    With `save_strategy="steps"` a training that was killed goes on with `train(resume_from_checkpoint=True)` and ends
    in the adapter that it would have ended in: bit for bit on one thread of a CPU, as far as a picture is encoded
    alike in any batch (for an existing model with `feature_cache_dir`), and up to rounding elsewhere. A checkpoint
    holds the adapter but not the base; a folder is called `checkpoint-N` only when it is whole.

    With `retrieved_examples`, the nearest labelled examples of other pictures stand before each question but those of
    the source. The start is judged without them: where no step does better with them, they are dropped.

    Args:
        model ([`LeamlForVisualQA`]): with an adapter; `None` if `model_init` makes it.
        args ([`LeamlTrainingArguments`]): options.
        processing_class ([`LeamlProcessor`]): of the model.
        train_dataset (`Dataset`): labelled rows. This and the other data sets may also hold conversations, see
            [`~data.conversations.as_rows`].
        unlabeled_dataset (`Dataset`, *optional*): rows with a question, whose answers are never read, and pictures
            without one, which only the pair generator uses; defaults to the rows of `train_dataset` that have no
            answer.
        eval_dataset (`Dataset`, *optional*): labelled rows kept out of the losses: early stop, guard, calibration.
        replay_dataset (`Dataset`, *optional*): labelled rows of the source data; with a `program` their questions
            are also what the base is asked about unlabelled pictures.
        cache ([`FrozenCache`] or [`PrefixCache`], *optional*): of an earlier trainer with the same base and seed, to
            compute nothing again; defaults to a new one.
        model_init (`Callable`, *optional*): makes the model anew for each training, with a new adapter on the same
            base.
        kwargs: for [`~transformers.Trainer`].

    Raises:
        [`LeamlInputError`]: if there is no model or it has no adapter, there is nothing to train on, or there are
            several processes.
    """

    def __init__(
        self,
        model: LeamlForVisualQA | None,
        args: LeamlTrainingArguments,
        processing_class: LeamlProcessor,
        train_dataset: "Dataset",
        unlabeled_dataset: "Dataset | None" = None,
        eval_dataset: "Dataset | None" = None,
        replay_dataset: "Dataset | None" = None,
        cache: FrozenCache | PrefixCache | None = None,
        model_init: Callable[..., LeamlForVisualQA] | None = None,
        **kwargs: Any,
    ) -> None:
        if args.world_size > 1:
            raise LeamlInputError(
                f"LEAML trains in one process, but there are {args.world_size}: start it with --num_processes 1."
            )
        if (model is None) == (model_init is None):
            raise LeamlInputError("Give LeamlTrainer a model, or None and a model_init that makes it.")
        self.model_init = model_init
        if model is None:
            set_seed(args.seed)
            model = self.call_model_init()
        if not model.config.has_adapter:
            raise LeamlInputError(
                "The model has no adapter to train: make one with LeamlForVisualQA.from_backbone(...)."
            )
        train_dataset, unlabeled_dataset, eval_dataset, replay_dataset = (
            None if rows is None else as_rows(rows)
            for rows in (train_dataset, unlabeled_dataset, eval_dataset, replay_dataset)
        )
        if unlabeled_dataset is None and not all(train_dataset["answer"]):
            unlabeled_dataset = train_dataset.select([i for i, a in enumerate(train_dataset["answer"]) if not a])
        train_dataset, eval_dataset = (
            rows if rows is None or all(rows["answer"]) else rows_with(rows, "question", "answer")
            for rows in (train_dataset, eval_dataset)
        )
        if len(train_dataset) == 0:
            raise LeamlInputError("There are no labelled rows to train on.")
        self.cache = cache or _cache_for(model, processing_class, args, train_dataset)
        self.labelled = train_dataset
        self.rows_collator = LeamlCollator(processing_class, self.cache)
        self.held_out = eval_dataset
        # parts of the held-out rows, with the phrasebook that each is judged with
        self.folds: list[tuple[Dataset, Phrasebook | None]] = (
            [] if eval_dataset is None else [(eval_dataset, model.phrasebook)]
        )
        self.unlabeled: Dataset | None = None  # with a question
        if unlabeled_dataset is not None and "question" in unlabeled_dataset.column_names:
            self.unlabeled = rows_with(unlabeled_dataset, "question") or None
        self.pictures = (unlabeled_dataset or None) if args.pseudo_qa_weight else None  # that pairs are written for
        super().__init__(
            model=model,
            args=args,
            data_collator=self.rows_collator,
            train_dataset=RowDataset(train_dataset, phrasebook=model.phrasebook),
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            **kwargs,
        )
        self.model_init = model_init
        self.label_names = ["labels"]
        self.source = self._replayed = replay_dataset
        if replay_dataset is not None:
            kept = np.random.default_rng([args.seed, 8]).permutation(len(replay_dataset))[:REPLAYED]
            self._replayed = replay_dataset.select(np.sort(kept))
        self._found: tuple[Any, ...] | None = None  # before the first step of the first trial of a search
        self.add_callback(_Guards(self))
        self._start_run()

    def _start_run(self) -> None:
        """All that a training changes, as it is before the first step."""
        args = self.args
        if self.cache is not None:
            self.cache.model = self.model
        self.replay = self._cycle(self._replayed, args.replay_share) if args.replay_share else None
        self.unlabeled_batches: EndlessBatches | None = None  # each as it is, and as the student sees it
        self.teacher: AdapterSnapshot | None = None
        self.draw: dict[str, Any] | None = None  # what the teacher was asked last
        self.foreign: Dataset | None = None  # unlabelled rows, of those looked at last, as if from another domain
        self.trusted_rows: np.ndarray | None = None  # places of unlabelled rows; `None` for all
        self.pairs: Dataset | None = None  # that were written
        self.judged_pairs: list[tuple[Dataset, Dataset, Phrasebook | None]] = []  # with labels of the same pictures
        self.kept_pairs: list[bool] | None = None  # which of them the averaged adapter agrees with
        self.pairs_taken = 0  # batches of these before a checkpoint that is gone on from
        self.pair_batches: EndlessBatches | None = None
        self.average = AveragedAdapter(self.model, args.teacher_decay)
        self.best: dict[str, Any] | None = None
        self.start_accuracy: float | None = None  # on the held-out labels, before the first step
        self.history: list[dict[str, float]] = []
        self.easy_first: np.ndarray | None = None  # places of labelled rows, in a curriculum
        self._rng = np.random.default_rng([args.seed, 5])

    @property
    def trusted(self) -> "Dataset | None":
        """Unlabelled rows of whose like enough are answered rightly."""
        return self.unlabeled if self.trusted_rows is None else self.unlabeled.select(self.trusted_rows)

    # Losses

    @cached_property
    def words(self) -> Tensor:
        """The decoder's word embeddings `[V, De]` as unit vectors."""
        return F.normalize(self.model.get_input_embeddings().weight.detach().float(), dim=-1)

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        """Loss of labelled rows, plus that of unlabelled and of replayed rows while there are any."""
        if self.unlabeled_batches is not None:
            plain, seen = map(self._prepare_inputs, next(self.unlabeled_batches))
            with torch.no_grad(), self.teacher:  # before there is a graph: the parameters change for a moment
                told, told_spelled = self._forward(model, plain)
        loss = self._rows_loss(model, inputs)
        if self.unlabeled_batches is not None:
            answers, spelled = self._forward(model, seen)
            loss = loss + self.args.consistency_weight * consistency_loss(answers, told.logits)
            if spelled is not None:
                weight = self.args.consistency_weight * self.args.spelling_weight
                loss = loss + weight * spelling_consistency(spelled, told_spelled)
        if self.replay is not None:
            loss = loss + self.args.replay_share * self._rows_loss(model, self._prepare_inputs(next(self.replay)))
        if self.pair_batches is not None:
            pairs = self._prepare_inputs(next(self.pair_batches))
            loss = loss + self.args.pseudo_qa_weight * self._rows_loss(model, pairs)
        if not torch.isfinite(loss):
            raise LeamlError(
                f"The loss became {loss.item()} at step {self.state.global_step}; lower learning_rate. The best "
                "adapter so far is kept."
            )
        return (loss, {}) if return_outputs else loss

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """0, as for models that can't tell: counting all parameters for all tokens, as is done elsewhere at each step,
        would count what is frozen and does not run."""
        return 0

    def _forward(self, model: torch.nn.Module, inputs: dict[str, Any]) -> tuple[AnswerTokens, Tensor | None]:
        """What the model says of the answers, and what a resampler spells."""
        inputs = dict(inputs)
        labels, weights = inputs.pop("labels"), inputs.pop("weights")
        places = answer_places(labels)
        if inputs.get("lower_states") is not None and self.model.config.is_composed:
            inputs.pop("input_ids")
            places = places[:, :-1]
            for name in ("lower_states", "attention_mask"):  # nothing comes after the last token
                inputs[name] = inputs[name][:, :-1]
        with ExitStack() as quick:
            if not self.args.gradient_checkpointing:  # what runs again there runs outside
                quick.enter_context(attention_for_training(self.model, labels.shape[1]))
                quick.enter_context(quick_lora(self.model))
            output = model(**inputs, logits_to_keep=places)
        return AnswerTokens.of(output.logits, labels, weights), output.spelled

    def _rows_loss(self, model: torch.nn.Module, inputs: dict[str, Any]) -> Tensor:
        answers, spelled = self._forward(model, inputs)
        if self.args.calibration_objective == "focal":
            loss = focal_loss(answers)
        else:
            loss = answer_loss(answers, self.args.label_smoothing_factor)
        if self.args.calibration_objective == "mmce":
            loss = loss + self.args.calibration_weight * calibration_error(answers)
        if spelled is not None and self.args.spelling_weight:
            spelling = spelling_loss(spelled, inputs["labels"], inputs["weights"], self.words)
            loss = loss + self.args.spelling_weight * spelling
        return loss

    def _cycle(
        self,
        rows: "Dataset | TorchDataset | None",
        share: float,
        collate: Callable[[list], Any] | None = None,
        taken: int = 0,
        pace: Callable[[int], float] | None = None,
    ) -> EndlessBatches | None:
        """Endless batches of rows, `share` of the labelled batch each; at a `pace` if they are sorted."""
        if rows is None or len(rows) == 0:
            return None
        dataset = rows if isinstance(rows, TorchDataset) else RowDataset(rows)
        size = self._batch_size(dataset, share)
        return EndlessBatches(dataset, size, collate or self.rows_collator, self.args.seed, taken, pace)

    def _share(self, number: int) -> float:
        """Of the rows that a batch is drawn from."""
        length = self.args.curriculum_steps * self.args.gradient_accumulation_steps
        return competence(number, self.args.curriculum_start, length)

    def _get_train_sampler(self, train_dataset: TorchDataset | None = None) -> Sampler | None:
        if not self.args.curriculum_steps:
            return super()._get_train_sampler(train_dataset)
        return PacedSampler(self.easy_first, self._train_batch_size, self._share, self.args.seed)

    def _batch_size(self, dataset: TorchDataset, share: float) -> int:
        return min(len(dataset), max(1, round(share * self.args.per_device_train_batch_size)))

    # The teachers

    def _all_labelled(self) -> "Dataset":
        """Rows that are trained on, then the held-out ones."""
        parts = [self.labelled] if self.held_out is None else [self.labelled, self.held_out]
        return concatenate_datasets([part.select_columns(["image", "question", "answer"]) for part in parts])

    def index_examples(self) -> None:
        """Makes the model's index of labelled examples, and puts them before the questions that are trained on."""
        self.model.eval()
        rows = RowDataset(self.labelled, phrasebook=self.model.phrasebook)
        self.model.retrieval = self.finder.fit(rows, self.args.retrieved_examples)
        self.train_dataset.examples = self.finder.find(rows)
        self.model.train()

    @cached_property
    def finder(self) -> ExampleFinder:
        """Of labelled examples, by what the model saw when it was asked first."""
        return ExampleFinder(self.model, self.processing_class, self.cache)

    def _rows(
        self, rows: "Dataset", answers: Sequence[str] | None = None, phrasebook: Phrasebook | None = None
    ) -> RowDataset:
        """Rows as the model answers them: in its own words, and with examples where it retrieves them."""
        posed = RowDataset(rows, answers, phrasebook=phrasebook)
        if self.model.retrieval is not None and len(posed):
            posed.examples = self.finder.find(posed)
        return posed

    def _predict(self, folds: "list[tuple[Dataset, Phrasebook | None]]") -> Predictions:
        """Answers to labelled rows, fold by fold."""
        book, answered = self.model.phrasebook, []
        try:
            for rows, without in folds:
                self.model.phrasebook = without
                answered.append(predict(self.model, self.processing_class, rows, cache=self.cache))
        finally:
            self.model.phrasebook = book
        return Predictions.join(answered)

    def refresh_teacher(self) -> None:
        """The averaged adapter, as it is now, becomes the teacher, and answers a draw of unlabelled rows."""
        rows = self.trusted
        drawn = np.sort(self._rng.permutation(len(rows))[: self.args.refresh_rows])
        with self.average:
            self.teacher = AdapterSnapshot(self.model)
            predictions = predict(self.model, self.processing_class, rows.select(drawn), cache=self.cache)
        self.model.train()
        foreign = self._note_foreign(rows.select(drawn), predictions.states)
        order = np.arange(len(drawn))
        if self.args.curriculum_steps:
            order = easy_first(rows.select(drawn), lambda: -predictions.raw_confidence)
        self.teach({"rows": drawn[order].tolist(), "texts": [predictions.texts[i] for i in order],
                    "foreign": foreign[order].tolist(), "step": self.state.global_step})  # fmt: skip

    def teach(self, draw: dict[str, Any], taken: int = 0) -> None:
        """
        From now on the student learns from a draw.

        Args:
            draw (`dict`): `rows`, places of n trusted rows, in a curriculum from easy to hard; `texts`, the
                teacher's answers; `foreign`, whether they are left out; and `step`, when they were drawn.
            taken (`int`, *optional*, defaults to 0): batches of them that were taken before.
        """
        self.draw = draw
        foreign = np.array(draw["foreign"], bool)
        rows = self.trusted.select(np.array(draw["rows"])[~foreign])
        texts = [text for text, is_foreign in zip(draw["texts"], foreign, strict=True) if not is_foreign]
        taught, share = self._rows(rows, texts, self.model.phrasebook), self.args.unlabeled_share
        drawn = taken * self._batch_size(taught, share)
        views = LeamlCollator(self.processing_class, self.cache, self.args.strong_views, self.args.seed, drawn)
        before = draw["step"] * self.args.gradient_accumulation_steps  # batches
        pace = (lambda number: self._share(before + number)) if self.args.curriculum_steps else None
        self.unlabeled_batches = self._cycle(
            taught, share, lambda batch: (self.rows_collator(batch), views(batch)), taken, pace
        )

    def judge(self) -> None:
        """Judges the averaged adapter on the held-out labels and keeps it if it is the best so far."""
        with self.average:
            predictions = self._predict(self.folds)
            loss = self._loss(self.folds)
        self.model.train()
        accuracy = float(predictions.correct.mean())
        self.history.append({"step": self.state.global_step, "heldout_accuracy": accuracy,
                             "heldout_nll": predictions.nll, "heldout_loss": loss})  # fmt: skip
        logger.info("step %d: held-out accuracy %.3f, loss %.3f", self.state.global_step, accuracy, loss)
        start = self.best is None
        if start:
            self.start_accuracy = accuracy
        if start or (accuracy >= self.start_accuracy and loss < self.best["loss"]):
            values = {n: v.clone() for n, v in self.average.values.items()}
            self.best = {"loss": loss, "step": self.state.global_step, "values": values}

    def _loss(self, folds: "list[tuple[Dataset, Phrasebook | None]]") -> float:
        """Mean loss of the right answers of labelled rows at the temperature that suits them best: what is left of
        over-confidence is the calibrator's to mend, and no reason to keep a step."""
        rows = ConcatDataset([self._rows(fold, phrasebook=book) for fold, book in folds])
        total = np.zeros(len(TEMPERATURES))
        for told in self._told(rows):
            total += [len(told.weights) * answer_loss(replace(told, logits=told.logits / t), 0.0).item()
                      for t in TEMPERATURES]  # fmt: skip
        return float(total.min()) / len(rows)

    def _losses(self, rows: TorchDataset) -> np.ndarray:
        """`[n]`, of the right answer of each row."""
        return np.concatenate([row_losses(told, 0.0).cpu().numpy() for told in self._told(rows)])

    @torch.no_grad()
    def _told(self, rows: TorchDataset) -> Iterator[AnswerTokens]:
        """What the model says of the rows' answers, batch by batch."""
        self.model.eval()
        size = self.args.per_device_train_batch_size
        for start in range(0, len(rows), size):
            batch = self.rows_collator([rows[i] for i in range(start, min(start + size, len(rows)))])
            yield self._forward(self.model, self._prepare_inputs(batch))[0]

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """
        Trains, then leaves the best adapter (by held-out labels; without them the average) in the model, and with it
        the labelled examples that it retrieves.

        Args:
            resume_from_checkpoint (`str` or `bool`, *optional*): a checkpoint to go on from, or `True` for the last
                one in the output folder.
            args, kwargs: see [`~transformers.Trainer.train`].

        Raises:
            [`LeamlInputError`]: if there is no such checkpoint, or it is damaged or of another training.
            [`LeamlError`]: if the loss or the adapter is no number any more, or the disk is full.
        """
        if resume_from_checkpoint is True:
            resume_from_checkpoint = last_checkpoint(self.args.output_dir)
            if resume_from_checkpoint is None:
                raise LeamlInputError(
                    f"{self.args.output_dir} holds no checkpoint: train without resume_from_checkpoint."
                )
        try:
            return super().train(resume_from_checkpoint, *args, **kwargs)
        finally:
            self.average.load(self.average.values if self.best is None else self.best["values"])
            round_adapter(self.model)
            self.model.eval()
            if self.best is not None and self.best["step"] == 0:
                self.model.retrieval = None
            elif self.model.retrieval is not None and self.model.config.adapt_vision:  # what is seen has changed
                del self.finder
                self.index_examples()
                self.model.eval()

    def _neurons(self) -> AbstractContextManager[None]:
        """Inside the `with` block only the neurons that matter for the labelled rows are tuned."""
        if self.args.neuron_share == 1:
            return nullcontext()
        self.model.eval()
        rows = RowDataset(self.labelled, phrasebook=self.model.phrasebook)
        batches = DataLoader(rows, self.args.per_device_train_batch_size, collate_fn=self.rows_collator)
        chosen = qa_neurons(self.model, batches, lambda rows: self._rows_loss(self.model, self._prepare_inputs(rows)),
                            self.args.neuron_share)  # fmt: skip
        return tuning_only(self.model, chosen)

    def get_decay_parameter_names(self, model: torch.nn.Module) -> list[str]:
        """Parameters with weight decay; LoRA's B has none where only some neurons are tuned, the others must stay."""
        names = super().get_decay_parameter_names(model)
        return names if self.args.neuron_share == 1 else [name for name in names if ".lora_B." not in name]

    def _inner_training_loop(
        self,
        batch_size: int | None = None,
        args: LeamlTrainingArguments | None = None,
        resume_from_checkpoint: str | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> Any:
        self._start_run()
        self.model.retrieval = None  # of an earlier training
        if resume_from_checkpoint is not None:
            load_progress(self, resume_from_checkpoint)
        elif trial is None or self._found is None:
            with self.keeping_cells():
                self.learn_reading()
                if self.args.use_patterns and self.source is not None and "program" in self.source.column_names:
                    self.find_words()
                self.find_names()
            kept = {name: tensor.clone() for name, tensor in self.model.reading_state().items()}
            found = kept, self.model.phrasebook, self.model.lexicon, self.trusted_rows, list(self.history)
            self._found = *found, self._rng.bit_generator.state
        else:
            kept, self.model.phrasebook, self.model.lexicon, self.trusted_rows, history, rng = self._found
            self._rng.bit_generator.state = rng
            self.model.set_reading(kept)
            self.history = list(history)
        # what follows reads the adapter as it is at the start, where a checkpoint is gone on from as well
        if self.args.curriculum_steps:
            alone = RowDataset(self.labelled, phrasebook=self.model.phrasebook)  # without examples
            self.easy_first = easy_first(self.labelled, lambda: self._losses(alone))
        if self.pictures is not None:
            self.write_pairs()
            if self.kept_pairs is not None:
                self.learn_pairs(self.kept_pairs, self.pairs_taken)
        with self._neurons():
            if resume_from_checkpoint is not None:
                load_adapter(self.model, resume_from_checkpoint)
            return super()._inner_training_loop(batch_size, args, resume_from_checkpoint, trial, ignore_keys_for_eval)

    # Evaluation

    def evaluate(
        self,
        eval_dataset: "Dataset | None" = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """
        Answers labelled rows with the adapter as it is.

        Args:
            eval_dataset (`Dataset`, *optional*): rows with question and answer; defaults to the held-out ones, each
                asked in words that its own label had no part in.
            ignore_keys (`list[str]`, *optional*): ignored.
            metric_key_prefix (`str`, *optional*, defaults to `"eval"`): before the names.

        Returns:
            `dict[str, float]`: `eval_loss`, of the right answers at the temperature that suits them best, in nats;
                `eval_accuracy` in [0, 1]; and what `compute_metrics` makes of an [`~transformers.EvalPrediction`] of
                the answers as texts (`predictions`) and the right ones (`label_ids`).

        Raises:
            [`LeamlInputError`]: if there are no such rows.
        """
        folds = self.folds
        if eval_dataset is not None:
            folds = [(rows_with(as_rows(eval_dataset), "question", "answer"), self.model.phrasebook)]
        if not any(len(rows) for rows, _ in folds):
            raise LeamlInputError(
                "evaluate() needs rows with question and answer: give an eval_dataset that has some."
            )
        predictions = self._predict(folds)
        metrics = {"loss": self._loss(folds), "accuracy": float(predictions.correct.mean())}
        if self.compute_metrics is not None:
            answers = [answer for rows, _ in folds for answer in rows["answer"]]
            metrics |= self.compute_metrics(EvalPrediction(np.array(predictions.texts), np.array(answers)))
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in metrics.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    @property
    def better_than_base(self) -> bool:
        """Whether the base in its own words, reading what it did not before, or some step, was better on the labels
        than the base alone."""
        found = bool(self.model.phrasebook or self.model.lexicon or self.model.config.adapt_reading)
        return self.best is None or self.best["step"] > 0 or found

    # Reliability

    def fit_reliability(self, id_dataset: "Dataset | None" = None) -> Reliability:
        """
        Fits OOD scores on unlabelled in-distribution rows, those that look foreign left out, and the calibrator on
        the held-out labels, and on what the base says of those that were trained on if that helps.

        Args:
            id_dataset (`Dataset`, *optional*): rows with pictures and questions; defaults to the unlabelled rows.

        Returns:
            [`Reliability`], which is the model's from now on and is saved with it.

        Raises:
            [`LeamlInputError`]: if there are no such rows.
        """
        rows = self.unlabeled if id_dataset is None else rows_with(as_rows(id_dataset), "question")
        if rows is None or len(rows) < 8:
            raise LeamlInputError("fit_reliability needs 8 or more unlabelled rows with questions; give id_dataset.")
        states, groups = self._familiar(rows), np.array(picture_keys(rows))
        foreign = self._note_foreign(rows, states)
        if (~foreign).sum() >= 8:
            states, groups = {name: state[~foreign] for name, state in states.items()}, groups[~foreign]
        held = self._predict(self.folds) if self.folds else None
        self.model.reliability = Reliability.fit(
            states,
            [] if held is None else held.raw_confidence,
            [] if held is None else held.correct,
            groups=groups,
            labeled_states=None if held is None else held.states,
            seed=self.args.seed,
            earlier=None if held is None else self._earlier_answers(),
        )
        return self.model.reliability

    def _familiar(self, rows: "Dataset") -> dict[str, np.ndarray]:
        """States of rows that the default OOD scores and the boundary read: nothing has to be answered for them."""
        if not self.model.config.is_composed:
            return predict(self.model, self.processing_class, rows, cache=self.cache, max_new_tokens=1).states
        self.model.eval()
        asked = words_asked(self.model, self.processing_class, list(rows["question"]))
        return picture_states(self.model, self.processing_class, rows, self.cache) | {"question": asked}

    def _earlier_answers(self) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Confidence, correct and states of the base's answers, in the words found, to labels that are trained on."""
        untrained, retrieval = AdapterSnapshot(self.model), self.model.retrieval
        untrained.values = {name: torch.zeros_like(value) for name, value in untrained.values.items()}
        rows = self.labelled.select(range(min(len(self.labelled), EARLIER_ANSWERS)))
        self.model.retrieval = None
        try:
            with untrained:
                told = predict(self.model, self.processing_class, rows, cache=self.cache)
        finally:
            self.model.retrieval = retrieval
        return told.raw_confidence, told.correct, told.states


def _cache_for(
    model: LeamlForVisualQA, processor: LeamlProcessor, args: LeamlTrainingArguments, rows: "Dataset"
) -> FrozenCache | PrefixCache | None:
    """What keeps the frozen parts' states; `None` for an existing model whose states can't be kept."""
    if model.config.is_composed:
        return FrozenCache(model, processor, args.seed, args.feature_cache_dir)
    cache = PrefixCache(model, processor, args.seed, args.feature_cache_dir)
    try:
        cache.inputs([RowDataset(rows)[0]], [WEAK])
    except LeamlInputError as reason:
        logger.info("%s Each step runs the whole model.", reason)
        return None
    return cache


class _Guards(TrainerCallback):
    """Moves the average, refreshes the teacher and the choice of pairs, judges, and stops early."""

    def __init__(self, trainer: LeamlTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: LeamlTrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        if self.trainer.held_out is not None and self.trainer.best is None:  # else taken up from a checkpoint
            self.trainer.judge()  # the start, without examples
        if args.retrieved_examples and self.trainer.model.retrieval is None:
            self.trainer.index_examples()

    def on_step_begin(self, args: LeamlTrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        start = math.ceil(args.consistency_start * state.max_steps)
        since = state.global_step - start
        if since < 0 or since % args.refresh_steps:
            return
        if args.consistency_weight and self.trainer.trusted:
            self.trainer.refresh_teacher()
        if self.trainer.pairs is not None:
            self.trainer.choose_pairs()

    def on_step_end(self, args: LeamlTrainingArguments, state: Any, control: Any, **kwargs: Any) -> Any:
        trainer = self.trainer
        if not torch.stack([p.sum() for p in trainer.average.parameters.values()]).isfinite().all():
            raise LeamlError(
                f"The adapter holds NaN or infinity after step {state.global_step}; lower learning_rate. The best "
                "adapter so far is kept."
            )
        trainer.average.update()
        if trainer.held_out is not None and (state.global_step % args.evaluate_every == 0 or
                                             state.global_step == state.max_steps):  # fmt: skip
            trainer.judge()
            control.should_training_stop |= trainer.is_over
        return control
