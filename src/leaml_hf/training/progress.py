"""What LEAML's trainer has in mind between two steps, written into a checkpoint and taken up again from there."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import Trainer
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, get_last_checkpoint, rotate_checkpoints

from ..adapters import VISION_HALF, adapter_state_dict, load_tensors
from ..checkpoints import ADAPTER_FILE, LEXICON_FILES, PHRASEBOOK_FILE
from ..errors import LeamlInputError
from ..files import PARTIAL, damaged, read_json, read_tensors, telling_if_full
from ..lexicon import Lexicon
from ..phrasebook import Phrasebook
from .objectives import AdapterSnapshot
from .rows import RowDataset

if TYPE_CHECKING:
    from .trainer import LeamlTrainer

TENSORS_FILE = "leaml_trainer.safetensors"
STATE_FILE = "leaml_trainer.json"


def last_checkpoint(folder: str | Path) -> str | None:
    """
    The checkpoint of a folder with the most steps.

    Args:
        folder (`str` or `Path`): of a training's output; need not be there.

    Returns:
        `str`: its path; `None` where there is none.
    """
    return get_last_checkpoint(str(folder)) if Path(folder).is_dir() else None


def load_adapter(model: nn.Module, folder: str | Path) -> None:
    """
    Sets a model's adapter to that of a checkpoint.

    Args:
        model (`LeamlForVisualQA`): with an adapter.
        folder (`str` or `Path`): of the checkpoint.

    Raises:
        [`LeamlInputError`]: if its file is missing or damaged, or of another adapter.
    """
    own = adapter_state_dict(dict(model.named_parameters()), model.adapter_name)
    load_tensors(own, read_tensors(Path(folder) / ADAPTER_FILE), ADAPTER_FILE)


def save_progress(trainer: "LeamlTrainer", folder: str | Path) -> None:
    """
    Writes `leaml_trainer.safetensors` (average, best adapter, teacher, text states that were kept) and
    `leaml_trainer.json` (all else), beside the adapter and phrasebook that `save_model` writes.

    Args:
        trainer ([`LeamlTrainer`]): between two steps.
        folder (`str` or `Path`): of the checkpoint, is there.
    """
    folder, best, batches = Path(folder), trainer.best, trainer.unlabeled_batches
    parts = {"average": trainer.average.values, "best": {} if best is None else best["values"]}
    parts["teacher"] = {} if trainer.teacher is None else trainer.teacher.values
    parts["text"] = {} if trainer.cache is None else trainer.cache.text_states
    tensors = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
    save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, folder / TENSORS_FILE)
    for number, (_, book) in enumerate(trainer.folds):
        if book is not None:
            (folder / f"fold-{number}").mkdir()
            book.save(folder / f"fold-{number}")
    state = {
        "rows": _row_counts(trainer),
        "reading": trainer.model.config.adapt_reading,
        "averaged": trainer.average.updates,
        "best": None if best is None else {"loss": best["loss"], "step": best["step"]},
        "start_accuracy": trainer.start_accuracy,
        "history": trainer.history,
        "rng": trainer._rng.bit_generator.state,
        "folds": len(trainer.folds),
        "trusted": None if trainer.trusted_rows is None else trainer.trusted_rows.tolist(),
        "draw": trainer.draw,
        "unlabeled_taken": 0 if batches is None else batches.taken,
        "replay_taken": 0 if trainer.replay is None else trainer.replay.taken,
        "kept_pairs": trainer.kept_pairs,
        "pairs_taken": 0 if trainer.pair_batches is None else trainer.pair_batches.taken,
    }
    (folder / STATE_FILE).write_text(json.dumps(state), encoding="utf-8")


def load_progress(trainer: "LeamlTrainer", folder: str | Path) -> None:
    """
    Brings a trainer to where another one was when it wrote a checkpoint.

    Args:
        trainer ([`LeamlTrainer`]): of the same rows, base, adapter and arguments, whose training has not begun.
        folder (`str` or `Path`): of the checkpoint.

    Raises:
        [`LeamlInputError`]: if a file is missing or damaged, or the checkpoint is of other rows.
    """
    folder = Path(folder)
    state, tensors = read_json(folder / STATE_FILE), read_tensors(folder / TENSORS_FILE)
    if state.get("rows") != _row_counts(trainer):
        raise LeamlInputError(
            f"{folder} is of a training on other rows: give the same data sets, or train without "
            "resume_from_checkpoint."
        )
    try:
        if state["reading"]:  # what follows looks at pictures
            adapter = read_tensors(folder / ADAPTER_FILE)
            trainer.model.set_reading({n: t for n, t in adapter.items() if n.startswith(VISION_HALF)})
        _set_progress(trainer, folder, state, tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, LeamlInputError):
            raise
        raise damaged(folder / STATE_FILE) from error


def _set_progress(trainer: "LeamlTrainer", folder: Path, state: dict, tensors: dict[str, torch.Tensor]) -> None:
    def part(prefix: str) -> dict[str, torch.Tensor]:
        return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}

    def on_device(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {n: values[n].to(p.device) for n, p in trainer.average.parameters.items()}

    trainer.average.values, trainer.average.updates = on_device(part("average.")), state["averaged"]
    if state["best"] is not None:
        trainer.best = state["best"] | {"values": on_device(part("best."))}
    if teacher := part("teacher."):
        trainer.teacher = AdapterSnapshot(trainer.model)
        trainer.teacher.values = on_device(teacher)
    if trainer.cache is not None:
        trainer.cache.text_states.update(part("text."))
    trainer.start_accuracy, trainer.history = state["start_accuracy"], state["history"]
    trainer._rng.bit_generator.state = state["rng"]
    trainer.model.phrasebook = _phrasebook(folder)
    if any((folder / file).exists() for file in LEXICON_FILES):
        trainer.model.lexicon = Lexicon.load(folder, trainer.model.config.letters, trainer.model.letters)
    trainer.train_dataset = RowDataset(trainer.labelled, phrasebook=trainer.model.phrasebook)
    if trainer.args.retrieved_examples:
        trainer.index_examples()
    if state["folds"]:
        parts = trainer._parts() if state["folds"] > 1 else [np.arange(len(trainer.held_out))]
        trainer.folds = [(trainer.held_out.select(rows), _phrasebook(folder / f"fold-{number}"))
                         for number, rows in enumerate(parts)]  # fmt: skip
    trainer.trusted_rows = None if state["trusted"] is None else np.array(state["trusted"], int)
    if state["draw"] is not None:
        trainer.teach(state["draw"], state["unlabeled_taken"])
    if trainer.replay is not None:
        trainer.replay.taken = state["replay_taken"]
    trainer.kept_pairs, trainer.pairs_taken = state["kept_pairs"], state["pairs_taken"]


def _phrasebook(folder: Path) -> Phrasebook | None:
    return Phrasebook.load(folder) if (folder / PHRASEBOOK_FILE).exists() else None


def _row_counts(trainer: "LeamlTrainer") -> list[int]:
    """Labelled, held-out, unlabelled and source rows."""
    given = (trainer.labelled, trainer.held_out, trainer.unlabeled, trainer.source)
    return [0 if rows is None else len(rows) for rows in given]


class WholeCheckpoints(Trainer):
    """A `Trainer` that writes a checkpoint elsewhere and moves it to its place when it is whole, so that a folder
    called `checkpoint-N` can always be gone on from."""

    _inside = ""  # of the output folder, where a checkpoint is written

    def _get_output_dir(self, trial: Any) -> str:
        return str(Path(super()._get_output_dir(trial)) / self._inside)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        output, name = Path(self._get_output_dir(trial)), f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        partial = output / PARTIAL
        with telling_if_full(output):
            shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
            self._inside = PARTIAL
            try:
                super()._save_checkpoint(model, trial)
                self._save_more(partial / name)
                shutil.rmtree(output / name, ignore_errors=True)  # of an earlier training
                (partial / name).rename(output / name)
            finally:
                self._inside = ""
                shutil.rmtree(partial, ignore_errors=True)
        rotate_checkpoints(str(output), self.args.save_total_limit, use_mtime=True)

    def _save_more(self, folder: Path) -> None:
        """What else a checkpoint holds."""


class CheckpointMixin(WholeCheckpoints):
    """The methods of [`LeamlTrainer`] that write checkpoints and end a training that one was the end of."""

    def _run_epoch(self, **kwargs: Any) -> None:
        if self.is_over:  # already when the checkpoint was written
            self.control.should_training_stop = True
        else:
            super()._run_epoch(**kwargs)

    @property
    def is_over(self) -> bool:
        """Whether all steps are done, or too many looks at the held-out labels were in vain."""
        if self.best is not None:
            in_vain = self.state.global_step - self.best["step"]
            if in_vain >= self.args.patience * self.args.evaluate_every:
                return True
        return self.state.global_step >= self.state.max_steps

    def _save_more(self, folder: Path) -> None:
        save_progress(self, folder)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        """Nothing yet: the training loop does it, after what the adapter's start decides."""
