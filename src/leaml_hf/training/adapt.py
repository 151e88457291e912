"""The whole way from a folder of pictures with few labels to an adapter with its figures and a report."""

import json
import logging
import math
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.budget import LabelledPool, draw_labels, rows_with
from ..data.sources import complete_rows, evaluation_split, load_data
from ..errors import LeamlInputError
from ..files import written_whole
from ..inspection import cost_so_far

if TYPE_CHECKING:
    from datasets import Dataset

    from .cache import FrozenCache
    from .trainer import LeamlTrainer

logger = logging.getLogger(__name__)
OOD_SETS = ("visual-arrays:layout/base", "visual-arrays:chart/style")
HELD_OUT = "held-out labels"  # what figures are on where there is no test or validation split
RELIABILITY_ROWS = 1000  # unlabelled rows that OOD scores are fitted on, at most
MIN_RELIABILITY_ROWS = 8
OOD_ROWS = 200  # of each set
FOREIGN_SHOWN = 40
LOOKS = 8  # at the held-out labels in a long training
EXAMPLES = 12  # pictures in the report
RELEVANCE_ROWS = 32  # labelled rows by which layers are measured
TRAINING = "_training"  # folder in the output, of a training that is not over
ASKED_FILE = "asked.json"  # there: what it was asked for
STUDY_FILE = "search.sqlite3"
CHECKPOINTS = {"save_strategy": "steps", "save_steps": 0.25, "save_total_limit": 1}  # a share of the steps
# Of adapters on shipped bases, whose questions read the picture themselves: little is left for new attention to do.
SHIPPED_OPTIONS = {
    "adapt_bridge": True,
    "lora_alpha": 80,
    "fusion_dim": 32,
    "fusion_heads": 2,
    "fusion_ffn_dim": 32,
}


def sample_rows(dataset: "Dataset", count: int | None, seed: int) -> "Dataset":
    """`count` rows at random, in their order; all of them where there are fewer or `count` is None."""
    if count is None or len(dataset) <= count:
        return dataset
    return dataset.select(np.sort(np.random.default_rng([seed, 31]).permutation(len(dataset))[:count]))


def adapt(
    data: str,
    base: str,
    output: str | Path,
    labels: str = "1%",
    ood: tuple[str, ...] = OOD_SETS,
    seed: int = 0,
    test_rows: int | None = 800,
    progress: bool = False,
    command: str = "",
    layers: list[int] | str | None = None,
    adapter_options: dict[str, Any] | None = None,
    search: float | None = None,
    **training_options: Any,
) -> dict[str, Any]:
    """Adapts a base to DATA. A training that was killed goes on if the same is asked for again.

    Args:
        data (`str`): see `load_data`.
        base (`str`): name of a shipped base, folder or Hub id.
        output (`str` or `Path`): folder for adapter, `leaml_results.json` and `report.html`; must be new or empty, or
            an earlier output.
        labels (`str`, *optional*, defaults to `"1%"`): how many answers of the training split may be used, held-out
            ones included.
        ood (`tuple[str, ...]`, *optional*): DATA of pictures from elsewhere, to measure OOD detection on.
        seed (`int`, *optional*, defaults to 0): of everything drawn at random.
        test_rows (`int`, *optional*, defaults to 800): test rows judged at most; None for all.
        progress (`bool`, *optional*, defaults to `False`): whether to show bars.
        command (`str`, *optional*): written beside the figures.
        layers (`list[int]` or `str`, *optional*): decoder layers to adapt, or `"relevant"` for those that matter most
            for some of the labelled rows; defaults to the upper third.
        adapter_options (`dict`, *optional*): of `LeamlForVisualQA.from_backbone`; `dtype` defaults to the machine's
            fastest, and shipped bases are adapted with `SHIPPED_OPTIONS`.
        search (`float`, *optional*): seconds to search for training options by the held-out labels first.
        training_options: of `LeamlTrainingArguments`; without `max_steps` many labels get more steps than its default.

    Returns:
        `dict`: `output, labels_used, unlabeled_used, seconds, before, after, handed_over` and more, as in
        `leaml_results.json`.

    Raises:
        LeamlInputError: if DATA, base, label budget or output cannot be used.
    """
    from ..evaluation.report import write_report
    from ..evaluation.runner import evaluate_model
    from .progress import last_checkpoint
    from .search import find_options

    start, spent = time.perf_counter(), cost_so_far()["cpu_seconds"]
    output = check_output(output)
    splits = load_data(data, ("train", "validation", "test"), seed)
    if "train" not in splits:
        raise LeamlInputError(f"{data} has no training pictures; put them into train/ or into the folder itself.")
    pool = draw_labels(splits["train"], labels, seed)
    familiar = familiar_rows(data, pool, splits["train"], seed)
    judged_on, judged = _judged(data, splits, pool)
    test = sample_rows(judged, test_rows, seed)
    outside = {name: outside_rows(name, OOD_ROWS, seed) for name in ood}
    _make_output(output)
    unlabelled = len(rows_with(pool.unlabelled, "question"))
    logger.info("%d labels (%d of them held out), %d unlabelled rows, %d test rows.", pool.labels_used,
                len(pool.held_out), unlabelled, len(test))  # fmt: skip
    training, options = output / TRAINING, CHECKPOINTS | training_options
    trainer = make_trainer(pool, base, training, seed, progress, layers, adapter_options, **options)
    asked = {"data": data, "base": base, "labels": pool.labels_used, "unlabelled": unlabelled, "seed": seed,
             "layers": layers, "adapter": adapter_options, "search": search, "training": training_options}  # fmt: skip
    _take_up(training, asked)
    model, processor = trainer.model, trainer.processing_class
    before = evaluate_model(model, processor, test, outside, progress=progress, cache=trainer.cache)
    searched = None
    if search is not None:
        searched = find_options(trainer, search, training / STUDY_FILE)
        vars(trainer.args).update(searched["options"])
    trainer.train(resume_from_checkpoint=last_checkpoint(training))
    trainer.fit_reliability(familiar)
    trainer.save_model(str(output))
    after = evaluate_model(model, processor, test, outside, progress=progress, cache=trainer.cache)
    results = {
        "output": str(output),
        "base": base,
        "data": data,
        "seed": seed,
        "command": command,
        "judged_on": judged_on,
        "labels_used": pool.labels_used,
        "unlabeled_used": unlabelled,
        "before": before.results,
        "after": after.results,
        "per_program": {"before": before.results["per_program"], "after": after.results["per_program"]},
        "handed_over": "adapter" if trainer.better_than_base else "base",
        "history": trainer.history + trainer.state.log_history,
        "arguments": {
            **options_for(base, layers, adapter_options),
            **training_options,
            **(searched["options"] if searched else {}),
        },
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(time.perf_counter() - start, 1),
    }
    results["foreign"] = _show_foreign(trainer, output)
    if searched:
        results["search"] = searched
    results["cost"] = cost_so_far()
    results["cost"]["cpu_seconds"] = round(results["cost"]["cpu_seconds"] - spent, 1)
    with written_whole(output) as partial:
        (partial / "leaml_results.json").write_text(json.dumps(results, indent=1))
        write_report(partial, results, after.predictions, _examples(model, processor, test, outside, seed))
    shutil.rmtree(training)
    return results


def _take_up(folder: Path, asked: dict[str, Any]) -> None:
    """Leaves in the folder of a training what a killed one left there if that was asked for the same, and nothing
    else."""
    file, content = folder / ASKED_FILE, json.dumps(asked, default=str)
    if not file.exists() or file.read_text() != content:
        shutil.rmtree(folder, ignore_errors=True)
        with written_whole(folder) as partial:
            (partial / ASKED_FILE).write_text(content)


def _steps(labels: int) -> dict[str, int]:
    """Steps that see each of many labels twice, with `LOOKS` looks at the held-out ones; few get the defaults."""
    from .arguments import LeamlTrainingArguments as Defaults

    steps = 2 * labels // Defaults.per_device_train_batch_size
    return {} if steps <= Defaults.max_steps else {"max_steps": steps, "evaluate_every": math.ceil(steps / LOOKS)}


def familiar_rows(data: str, pool: LabelledPool, train: "Dataset", seed: int) -> "Dataset":
    """Rows of DATA, unlabelled ones if there are enough, that tell what is familiar."""
    rows = rows_with(pool.unlabelled, "question")
    if len(rows) < MIN_RELIABILITY_ROWS:
        rows = rows_with(train, "question")
    if len(rows) < MIN_RELIABILITY_ROWS:
        raise LeamlInputError(f"{data} has only {len(rows)} training rows with a question; at least "
                              f"{MIN_RELIABILITY_ROWS} are needed to know what is familiar.")  # fmt: skip
    return sample_rows(rows, RELIABILITY_ROWS, seed)


def make_trainer(
    pool: LabelledPool,
    base: str,
    output: str | Path,
    seed: int = 0,
    progress: bool = False,
    layers: list[int] | str | None = None,
    adapter_options: dict[str, Any] | None = None,
    cache: "FrozenCache | None" = None,
    **training_options: Any,
) -> "LeamlTrainer":
    """A trainer of a new adapter on a base; arguments as in `adapt`, and `cache` as in [`LeamlTrainer`]."""
    import torch
    from transformers import PrinterCallback, set_seed

    from ..backbones import fastest_dtype
    from ..modeling_leaml import LeamlForVisualQA
    from ..processing_leaml import load_processor
    from ..relevance import RELEVANT
    from .arguments import LeamlTrainingArguments
    from .replay import replay_rows
    from .trainer import LeamlTrainer

    set_seed(seed)
    options = options_for(base, layers, adapter_options)
    processor = load_processor(base)
    examples = None
    if layers == RELEVANT:
        rows = pool.labelled.select(range(min(RELEVANCE_ROWS, len(pool.labelled))))
        examples = [processor.collate([row]) for row in rows]
    model = LeamlForVisualQA.from_backbone(base, examples=examples, **({"dtype": fastest_dtype()} | options))
    arguments = LeamlTrainingArguments(
        **_steps(len(pool.labelled)) | training_options,
        output_dir=str(output),
        seed=seed,
        disable_tqdm=not progress,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    needed = arguments.replay_share or arguments.use_patterns
    source = replay_rows(base, list(pool.labelled["question"]), seed) if needed else None
    trainer = LeamlTrainer(
        model, arguments, processor, pool.labelled, pool.unlabelled if len(pool.unlabelled) else None, pool.held_out,
        source, cache=cache,
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)  # the history has what it prints
    return trainer


def options_for(base: str, layers: list[int] | str | None, given: dict[str, Any] | None) -> dict[str, Any]:
    """Options of an adapter: what a shipped base is known to take well, what is given, and the layers asked for."""
    from ..backbones import SHIPPED_BASES

    chosen = {} if layers is None else {"fusion_layers": layers, "lora_layers": layers}
    return (SHIPPED_OPTIONS if base in SHIPPED_BASES else {}) | (given or {}) | chosen


def _show_foreign(trainer: "LeamlTrainer", output: Path) -> float:
    """Share of the unlabelled rows that looked as if from another domain; many are warned of, with a contact sheet."""
    from ..data.contact_sheet import write_contact_sheet
    from .mismatch import MANY_FOREIGN

    share = next((entry["foreign"] for entry in reversed(trainer.history) if "foreign" in entry), 0.0)
    if share > MANY_FOREIGN:
        shown = trainer.foreign.select(range(min(len(trainer.foreign), FOREIGN_SHOWN)))
        sheet = write_contact_sheet(output / "foreign.png", shown["image"], shown["question"])
        logger.warning("%.0f%% of the unlabelled pictures look as if they were from another domain than the labelled "
                       "ones and were left out; some of them are in %s.", 100 * share, sheet)  # fmt: skip
    return share


def outside_rows(name: str, count: int | None, seed: int) -> "Dataset":
    """At most `count` rows with a question of DATA `name`, which stands for what is out of distribution."""
    return sample_rows(complete_rows(evaluation_split(name, seed), name, ("question",)), count, seed)


def check_output(output: str | Path) -> Path:
    """Refuses an output folder that holds something else, so that nothing is overwritten by mistake."""
    output = Path(output)
    if output.is_file():
        raise LeamlInputError(f"{output} is a file; give a folder for the output.")
    begun = any((output / name).exists() for name in ("config.json", TRAINING))
    if output.is_dir() and any(output.iterdir()) and not begun:
        raise LeamlInputError(f"{output} holds files that are not an adapter; give a new folder for the output.")
    return output


def _make_output(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LeamlInputError(
            f"{output} cannot be made ({error.strerror}); give another folder for the output."
        ) from None


def _judged(data: str, splits: dict[str, "Dataset"], pool: LabelledPool) -> tuple[str, "Dataset"]:
    """Name and rows of the test split; without one the validation split, and without that the held-out labels."""
    for name in ("test", "validation"):
        if name in splits and any(splits[name]["answer"]):
            return name, complete_rows(splits[name], data, ("question", "answer"))
    logger.warning("There is no test or validation split with answers: figures are on the held-out labels, which also "
                   "chose the stopping point, so they are a little too good.")  # fmt: skip
    return HELD_OUT, pool.held_out


def _examples(
    model: Any, processor: Any, test: "Dataset", outside: dict[str, "Dataset"], seed: int
) -> list[dict[str, Any]]:
    """Rows for the report with picture, answer and evidence: from the test split, and two of each OOD set."""
    examples = []
    for name, dataset, count in [("test", test, EXAMPLES), *((name, rows, 2) for name, rows in outside.items())]:
        rows = sample_rows(dataset, count, seed + 1)
        answers = model.answer(rows["image"], rows["question"], processor)
        examples += [{**row, "image": row["image"].convert("RGB"), "split": name, "truth": row["answer"],
                      "prediction": answer.text, "confidence": answer.confidence, "ood_score": answer.ood_score,
                      "is_ood": answer.is_ood, "abstained": answer.abstained, "evidence": answer.evidence}
                     for row, answer in zip(rows, answers, strict=True)]  # fmt: skip
    return examples
