"""Automatic search for options of a training: trials of Optuna on one backbone, judged by held-out labels alone."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import Trainer
from transformers.trainer_utils import BestRun, SaveStrategy

from ..errors import LeamlError, LeamlInputError
from .objectives import AdapterSnapshot

if TYPE_CHECKING:
    from optuna import Study, Trial

    from .trainer import LeamlTrainer

STUDY = "leaml"
RANGES = {
    "learning_rate": (5e-5, 1e-3),
    "consistency_weight": (0.1, 3.0),
    "unlabeled_share": (0.1, 1.0),
    "replay_share": (0.1, 1.0),
}
TIMES_STEPS = 2  # fewer or more


def search_space(trainer: "LeamlTrainer") -> dict[str, tuple[float, float]]:
    """
    What is searched unless an `hp_space` is given: `RANGES`, and half to twice the steps, on a logarithmic scale.

    Args:
        trainer ([`LeamlTrainer`]): what it has switched off is left out, and what it has set lies within the range.

    Returns:
        `dict[str, tuple]`: lowest and highest value by name of an argument.
    """
    args, space = trainer.args, dict(RANGES)
    if args.max_steps > 0:
        space["max_steps"] = (max(1, args.max_steps // TIMES_STEPS), TIMES_STEPS * args.max_steps)
    if trainer.unlabeled is None or not args.consistency_weight:
        del space["consistency_weight"], space["unlabeled_share"]
    if trainer.replay is None:
        del space["replay_share"]
    return {name: (min(low, getattr(args, name)), max(high, getattr(args, name)))
            for name, (low, high) in space.items()}  # fmt: skip


def suggest(trial: "Trial", space: dict[str, tuple[float, float]]) -> dict[str, float]:
    """
    Values of one trial.

    Args:
        trial (`Trial`): of Optuna.
        space (`dict[str, tuple]`): see [`search_space`].

    Returns:
        `dict[str, float]`: by name.
    """
    return {name: trial.suggest_int(name, *ends, log=True) if isinstance(ends[0], int)
            else trial.suggest_float(name, *ends, log=True) for name, ends in space.items()}  # fmt: skip


def held_out_loss(metrics: dict[str, float]) -> float:
    """What is minimised unless a `compute_objective` is given: `eval_loss` of [`LeamlTrainer.evaluate`]."""
    return metrics["eval_loss"]


def open_study(trainer: "LeamlTrainer", direction: str | list[str], options: dict[str, Any]) -> "Study":
    """
    Makes a study, or opens the one that a killed search left, and gives `options` the storage and sampler for it.

    Args:
        trainer ([`LeamlTrainer`]): its seed is that of the sampler (TPE: Bergstra et al. 2011).
        direction (`str` or `list[str]`): `"minimize"` or `"maximize"`.
        options (`dict`): of [`~optuna.create_study`], completed in place.

    Returns:
        `Study`: with the trials so far.

    Raises:
        [`LeamlInputError`]: if Optuna is not installed, or there is such a study and `load_if_exists` is not given.
    """
    try:
        import optuna
    except ImportError:
        raise LeamlInputError("The search needs Optuna: pip install 'leaml-hf[search]'.") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options.setdefault("storage", optuna.storages.InMemoryStorage())
    options.setdefault("study_name", STUDY)
    directions = {"directions" if isinstance(direction, list) else "direction": direction}
    named = {name: options[name] for name in ("storage", "study_name", "load_if_exists") if name in options}
    try:
        study = optuna.create_study(**named, **directions)
    except optuna.exceptions.DuplicatedStudyError:
        raise LeamlInputError(
            f"There is a study {options['study_name']} already: go on with it by load_if_exists=True, or give another "
            "study_name."
        ) from None
    options["load_if_exists"] = True
    seed = trainer.args.seed + len(study.trials)  # a search that goes on must not draw the same values again
    options.setdefault("sampler", optuna.samplers.TPESampler(seed=seed))
    options.setdefault("catch", (LeamlError,))  # a loss that is no number: the trial failed, the search goes on
    return study


def find_options(trainer: "LeamlTrainer", seconds: float, file: Path) -> dict[str, Any]:
    """
    Searches until a time budget is used up; the trials of a killed search count.

    Args:
        trainer ([`LeamlTrainer`]): with held-out rows.
        seconds (`float`): above 0, for all trials; the last one is ended, and one is made at least.
        file (`Path`): SQLite file that the study is kept in.

    Returns:
        `dict`: `options`, the best; `loss`, theirs on the held-out labels; and `trials`, with `options`, `loss` and
            `seconds` each.

    Raises:
        [`LeamlError`]: if no trial had a loss.
    """
    storage = {"storage": f"sqlite:///{file}", "study_name": STUDY, "load_if_exists": True}
    study = open_study(trainer, "minimize", dict(storage))
    spent = sum(trial["seconds"] for trial in _trials(study))
    trainer.hyperparameter_search(n_trials=None, timeout=max(0.0, seconds - spent), **storage)
    best = study.best_trial
    return {"options": best.params, "loss": best.value, "trials": _trials(study)}


def _trials(study: "Study") -> list[dict[str, Any]]:
    return [{"options": trial.params, "loss": trial.value, "seconds": round(trial.duration.total_seconds(), 1)}
            for trial in study.trials if trial.state.is_finished()]  # fmt: skip


class SearchMixin(Trainer):
    """The method of [`LeamlTrainer`] that searches for options."""

    def hyperparameter_search(
        self,
        hp_space: Callable[[Any], dict[str, float]] | None = None,
        compute_objective: Callable[[dict[str, float]], float] | None = None,
        n_trials: int | None = 20,
        direction: str | list[str] = "minimize",
        backend: str | None = "optuna",
        hp_name: Callable[[Any], str] | None = None,
        **kwargs: Any,
    ) -> BestRun | list[BestRun]:
        """
        Searches for options with Optuna. Each trial trains a new adapter on the same base, with what the frozen parts
        have computed already, and is judged by the held-out labels; the first one has the options as they are. The
        arguments and the adapter are left as they were.

        Held-out rows that chose among many options flatter the choice: report figures on other rows.

        Args:
            hp_space (`Callable`, *optional*): makes options of a trial; defaults to
                [`~training.search.search_space`].
            compute_objective (`Callable`, *optional*): of what `evaluate` returns; defaults to `eval_loss`.
            n_trials (`int`, *optional*, defaults to 20): trials at most; `None` for as many as `timeout` allows.
            direction (`str`, *optional*, defaults to `"minimize"`): or `"maximize"`.
            backend (`str`, *optional*, defaults to `"optuna"`): the only one.
            hp_name (`Callable`, *optional*): makes a trial's name.
            kwargs: `timeout` in seconds; `storage` (such as `"sqlite:///search.db"`), `study_name` and
                `load_if_exists=True` to go on with a search that was killed; others of [`~optuna.create_study`].

        Returns:
            `BestRun`: `objective`, and `hyperparameters` by name.

        Raises:
            [`LeamlInputError`]: if there are no held-out rows, or Optuna is not installed.
            [`LeamlError`]: if no trial ended.
        """
        if backend not in (None, "optuna"):
            raise LeamlInputError(
                f"Search with backend='optuna', which can go on after a kill; {backend} is not used."
            )
        if self.held_out is None:
            raise LeamlInputError("The search is judged by held-out labels: give the trainer an eval_dataset.")
        study = open_study(self, direction, kwargs)
        if hp_space is None:
            space = search_space(self)
            hp_space = partial(suggest, space=space)
            if not study.trials:
                study.enqueue_trial({name: getattr(self.args, name) for name in space})
        model, given_init, before = self.model, self.model_init, dict(vars(self.args))
        read_with = {name: tensor.clone() for name, tensor in model.reading_state().items()}
        if given_init is None:
            start = AdapterSnapshot(model)
            self.model_init = lambda: start.load(start.values) or model
        self.args.save_strategy = SaveStrategy.NO
        self._found = None
        objective = compute_objective or held_out_loss
        try:
            return super().hyperparameter_search(hp_space, objective, n_trials, direction, "optuna", hp_name, **kwargs)
        except ValueError as error:  # Optuna's, where there is no best trial
            raise LeamlError("No trial of the search ended with a number: lower learning_rate.") from error
        finally:
            vars(self.args).update(before)
            self.model = self.model_wrapped = self.call_model_init()  # transformers drops each trial's
            self.model.set_reading(read_with)
            self.model_init, self.hp_search_backend = given_init, None
            self.optimizer = self.lr_scheduler = None
            self._start_run()
