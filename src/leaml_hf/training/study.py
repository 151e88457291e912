"""Methods side by side: each run of a method with some labels of a target is a line of a journal."""

import logging
import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.budget import LabelledPool, draw_labels
from ..data.journal import append_journal, read_journal
from ..data.sources import VISUAL_ARRAYS, complete_rows, load_data, parse_cell
from ..data.visual_arrays import load_visual_arrays
from ..data.visual_arrays.scenes import TASKS
from ..errors import LeamlInputError
from ..evaluation.metrics import selective_accuracy
from ..evaluation.runner import Evaluation, evaluate_model, predict
from .adapt import familiar_rows, make_trainer, outside_rows, sample_rows

if TYPE_CHECKING:
    from datasets import Dataset

    from .cache import FrozenCache

logger = logging.getLogger(__name__)
JOURNAL = "runs.jsonl"
TARGETS = (
    "real-charts",
    "visual-arrays:chart/style",
    "visual-arrays:diagram/content",
    "visual-arrays:annotated/annotation",
    "visual-arrays:chart/style/natural",
)
BUDGETS = ("0.5%", "1%", "2%", "5%", "100%")
# LEAML, what is left of it without one of its parts, and LEAML with one that is off by default: options of
# `LeamlTrainingArguments`
LEAML = {
    "leaml": {},
    "leaml-lexicon": {"use_lexicon": False},
    "leaml-reading": {"reading_steps": 0},
    "leaml-replay": {"replay_share": 0.0},
    "leaml-words": {"use_patterns": False},
    "leaml-spelling": {"spelling_weight": 0.0},
    "leaml+consistency": {"consistency_weight": 1.0},
    "leaml+pairs": {"pseudo_qa_weight": 1.0},
    "leaml+neurons": {"neuron_share": 0.1},
    "leaml+examples": {"retrieved_examples": 4},
    "leaml+focal": {"calibration_objective": "focal"},
    "leaml+mmce": {"calibration_objective": "mmce"},
    "leaml+curriculum": {"curriculum_steps": 12},
}
FOREIGN = "leaml+foreign"  # LEAML with a pool half of which is of another task
METHODS = (*LEAML, FOREIGN, "lora", "base", "full")  # LEAML first: others find the pictures that it has encoded
ROWS = 20_000  # of the training split of a drawn target
TEST_ROWS = 1000
SOURCE_ROWS = 400  # of the base's own source, on which forgetting is seen
OUTSIDE_ROWS = 200  # of each OOD set


class Target:
    """Data of one target and seed: rows to learn from and to be judged on, OOD sets, and rows of the source."""

    def __init__(self, name: str, seed: int, rows: int, test_rows: int, validation: bool) -> None:
        self.name, self.seed = name, seed
        judged_on = "validation" if validation else "test"
        if name.startswith(VISUAL_ARRAYS):
            cell = parse_cell(name)
            self.train = load_visual_arrays(*cell, "train", rows, seed)
            judged = load_visual_arrays(*cell, judged_on, test_rows, seed)
            self.task = cell[0]
        else:
            loaded = load_data(name, ("train", judged_on), seed)
            self.train, judged, self.task = loaded["train"], loaded[judged_on], "chart"
        self.test = sample_rows(complete_rows(judged, name, ("question", "answer")), test_rows, seed)
        others = [task for task in TASKS if task != self.task][:2]
        self.outside = {cell: outside_rows(cell, OUTSIDE_ROWS, seed)
                        for cell in (f"{VISUAL_ARRAYS}{task}/base" for task in others)}  # fmt: skip
        self.source = load_visual_arrays(self.task, "base", split="test", num_rows=SOURCE_ROWS, seed=seed)
        self.cache: FrozenCache | None = None  # of the base's frozen parts, shared by all runs

    def half_foreign(self, pool: LabelledPool) -> LabelledPool:
        """The pool with as many unlabelled rows of another task as it has of its own."""
        from datasets import concatenate_datasets

        other = next(task for task in TASKS if task != self.task)
        rows = load_visual_arrays(other, "base", split="train", num_rows=len(pool.unlabelled), seed=self.seed)
        own = pool.unlabelled.select_columns(["image", "question", "answer"])
        rows = rows.select_columns(["image", "question"]).add_column("answer", [None] * len(rows))
        return replace(pool, unlabelled=concatenate_datasets([own, rows.cast(own.features)]))


def run_study(
    output: str | Path,
    targets: Sequence[str] = TARGETS,
    methods: Sequence[str] = METHODS,
    budgets: Sequence[str] = BUDGETS,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    base: str = "leaml-smol",
    rows: int = ROWS,
    test_rows: int = TEST_ROWS,
    validation: bool = False,
) -> list[dict[str, Any]]:
    """
    Runs methods with label budgets of targets over seeds; runs that are in the journal already are not run again, so a
    killed study goes on, and several processes may share the work by target or seed.

    The base is asked once a target and seed; all parameters are fine-tuned with all labels alone; parts of LEAML are
    left out at the budget of 1% alone.

    Args:
        output (`str` or `Path`): folder of the journal.
        targets (`Sequence[str]`, *optional*): DATA, see `load_data`.
        methods (`Sequence[str]`, *optional*): of `METHODS`.
        budgets (`Sequence[str]`, *optional*): label budgets.
        seeds (`Sequence[int]`, *optional*): of data, draws of labels and training.
        base (`str`, *optional*, defaults to `"leaml-smol"`): a LEAML base.
        rows (`int`, *optional*, defaults to 20000): training rows of a drawn target.
        test_rows (`int`, *optional*, defaults to 1000): rows judged at most.
        validation (`bool`, *optional*, defaults to `False`): whether to judge on the validation split, as for any
            choice of options.

    Returns:
        `list[dict]`: all runs in the journal.

    Raises:
        [`LeamlInputError`]: if a method, target or budget does not exist.
    """
    unknown = set(methods) - set(METHODS)
    if unknown:
        raise LeamlInputError(f"There is no method '{min(unknown)}'; choose from {', '.join(METHODS)}.")
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    journal = output / JOURNAL
    done = {_key(run) for run in read_journal(journal)}
    for seed, name in product(seeds, targets):
        wanted = [(method, budget) for budget, method in product(budgets, methods) if _makes_sense(method, budget)]
        wanted = [run for run in wanted if (name, seed, *run) not in done]
        target = Target(name, seed, rows, test_rows, validation) if wanted else None
        for method, budget in wanted:
            named = {"target": name, "seed": seed, "method": method, "budget": budget, "base": base}
            figures = _run(target, method, budget, base, output)
            entry = {**named, "split": "validation" if validation else "test", **figures}
            append_journal(journal, entry)
            logger.info("%s, seed %d: %s with %s of the labels has %.3f after %.0f s", name, seed, method, budget,
                        entry["accuracy"], entry["seconds"])  # fmt: skip
    return read_journal(journal)


def _key(run: dict[str, Any]) -> tuple:
    return run["target"], run["seed"], run["method"], run["budget"]


def _makes_sense(method: str, budget: str) -> bool:
    if method in ("base", "full"):
        return budget == "100%"
    return budget == "1%" or (method in ("lora", "leaml") and budget != "100%")


def _run(target: Target, method: str, budget: str, base: str, output: Path) -> dict[str, Any]:
    """Figures of one run; what takes hours keeps checkpoints beside the journal until it ends."""
    from ..processing_leaml import load_processor
    from .peers import train_all, train_lora

    start = time.perf_counter()
    pool = draw_labels(target.train, budget, target.seed)
    kept = output / "-".join((method, re.sub(r"\W+", "-", target.name), str(target.seed)))
    with tempfile.TemporaryDirectory() as folder:
        if method == "base":
            model = _load_base(base)
        elif method == "lora":
            model = train_lora(base, _all_labels(pool), folder, target.seed)
        elif method == "full":
            model = train_all(base, _all_labels(pool), kept, target.seed)
        else:
            pool = target.half_foreign(pool) if method == FOREIGN else pool
            trainer = make_trainer(pool, base, folder, target.seed, cache=target.cache, **LEAML.get(method, {}))
            target.cache = trainer.cache
            trainer.train()
            trainer.fit_reliability(familiar_rows(target.name, pool, target.train, target.seed))
            model = trainer.model
    trained = time.perf_counter()
    processor, cache = load_processor(base), None if method == "full" else target.cache
    judged = evaluate_model(model, processor, target.test, target.outside, cache=cache)
    source = predict(model, processor, target.source, cache=cache)
    shutil.rmtree(kept, ignore_errors=True)
    return {
        "labels": 0 if method == "base" else pool.labels_used,
        **_figures(judged),
        "source_accuracy": float(source.correct.mean()),
        "train_seconds": round(trained - start, 1),
        "seconds": round(time.perf_counter() - start, 1),
        "date": datetime.now(UTC).date().isoformat(),
    }


def _load_base(base: str) -> Any:
    from accelerate import Accelerator

    from ..backbones import fastest_dtype, resolve_base_path
    from ..modeling_leaml import LeamlForVisualQA

    model = LeamlForVisualQA.from_pretrained(resolve_base_path(base), dtype=fastest_dtype())
    return model.to(Accelerator().device).eval()


def _all_labels(pool: LabelledPool) -> "Dataset":
    from datasets import concatenate_datasets

    return concatenate_datasets([pool.labelled, pool.held_out])


def _figures(judged: Evaluation) -> dict[str, Any]:
    wanted = ("n", "accuracy", "ece", "brier", "nll", "aurc", "coverage", "auroc", "auprc", "fpr95")
    tested = [row for row in judged.predictions if row["split"] == "test"]
    confident = selective_accuracy([row["confidence"] for row in tested], [row["correct"] for row in tested], 0.8)
    return {name: judged.results[name] for name in wanted} | {"selective_accuracy_80": confident}
