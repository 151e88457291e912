"""The search for options: trials on one backbone, a time budget, and a study that a kill does not end."""

import pytest
import torch
from conftest import SMALL_ADAPTER, make_text, make_vision
from test_resume import build, dies_at_call, run  # noqa: F401
from test_training import rows

from leaml_hf import LeamlError, LeamlForVisualQA, LeamlInputError, LeamlTrainer, LeamlTrainingArguments
from leaml_hf.training.search import find_options

optuna = pytest.importorskip("optuna")
SHORT = {"use_patterns": False, "max_steps": 2, "evaluate_every": 1, "save_strategy": "no"}


def parameters(trainer: LeamlTrainer) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in trainer.average.parameters.values()]


class TestSearch:
    def test_trials_start_alike_and_leave_all_as_it_was(self, build, tmp_path) -> None:  # noqa: F811
        trainer, starts, encoded = build("out", **SHORT), [], []
        judge, encode = trainer.judge, trainer.model.encode_pictures
        trainer.judge = lambda: starts.append((trainer.best, parameters(trainer))) or judge()
        trainer.model.encode_pictures = lambda pixels: encoded.append(len(pixels)) or encode(pixels)
        before, arguments = parameters(trainer), trainer.args.to_dict()
        best = trainer.hyperparameter_search(n_trials=3)
        starts = [values for found, values in starts if found is None]
        assert len(starts) == 3 and all(torch.equal(p, q) for s in starts for p, q in zip(s, before, strict=True))
        assert (
            sum(encoded) <= 10 + 6 + 6 + 5 * 16
        )  # each picture once: labelled, held-out, source, unlabelled and views
        assert best.hyperparameters.keys() == {"max_steps", "learning_rate", "consistency_weight", "unlabeled_share",
                                               "replay_share"}  # fmt: skip
        assert trainer.args.to_dict() == arguments
        assert all(torch.equal(p, q) for p, q in zip(parameters(trainer), before, strict=True))
        assert not list((tmp_path / "out").glob("run-*"))
        vars(trainer.args).update(best.hyperparameters)
        trainer.train()
        assert min(entry["heldout_loss"] for entry in trainer.history if "heldout_loss" in entry) == pytest.approx(
            best.objective, rel=0.05
        )

    def test_held_out_rows_alone_judge(self, build) -> None:  # noqa: F811
        trainer = build("out", **SHORT)
        given = []
        best = trainer.hyperparameter_search(
            lambda trial: {"learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-3)},
            lambda metrics: given.append(metrics) or metrics["eval_accuracy"],
            n_trials=2,
            direction="maximize",
        )
        assert len(given) == 2 and best.objective == max(metrics["eval_accuracy"] for metrics in given)
        with pytest.raises(LeamlInputError, match="eval_dataset"):
            build("other", eval_dataset=None, **SHORT).hyperparameter_search()
        with pytest.raises(LeamlInputError, match="optuna"):
            trainer.hyperparameter_search(backend="ray")

    def test_the_first_trial_has_the_options_as_they_are(self, build) -> None:  # noqa: F811
        trainer = build("out", replay_share=0.0, consistency_weight=0.0, **SHORT)
        best = trainer.hyperparameter_search(n_trials=1)
        assert best.hyperparameters == {"max_steps": 2, "learning_rate": pytest.approx(5e-3)}

    def test_a_model_init_is_called_for_each_trial(self, processor, tmp_path) -> None:
        backbones, made = (make_vision(), make_text()), []

        def make() -> LeamlForVisualQA:
            layers = {"fusion_layers": [2, 3], "lora_layers": []}
            made.append(LeamlForVisualQA.from_backbones(*backbones, **layers, **SMALL_ADAPTER))
            return made[-1]

        arguments = LeamlTrainingArguments(
            str(tmp_path), max_steps=1, replay_share=0.0, use_cpu=True, disable_tqdm=True
        )
        data = {"train_dataset": rows(6), "eval_dataset": rows(4, 2), "model_init": make}
        trainer = LeamlTrainer(None, arguments, processor, **data)
        trainer.hyperparameter_search(n_trials=2)
        assert len(made) == 4 and trainer.model is made[-1] and trainer.cache.model is made[-1]
        trainer.train()
        assert trainer.model is made[4] and not trainer.model.training
        with pytest.raises(LeamlInputError, match="model_init"):
            LeamlTrainer(make(), arguments, processor, **data)

    def test_a_trial_without_a_number_fails_alone(self, build) -> None:  # noqa: F811
        trainer = build("out", **SHORT)
        trainer.args.learning_rate = 1e38
        with pytest.raises(LeamlError, match="No trial"):
            trainer.hyperparameter_search(n_trials=1)

    def test_a_killed_study_goes_on_within_its_time(self, build, tmp_path) -> None:  # noqa: F811
        file = tmp_path / "search.sqlite3"

        def killed() -> None:
            trainer: LeamlTrainer = build("out", **SHORT)
            trainer.judge = dies_at_call(trainer.judge, 5)  # in the second trial
            trainer.hyperparameter_search(n_trials=5, storage=f"sqlite:///{file}", study_name="leaml")

        assert run(killed) == -9
        with pytest.raises(LeamlInputError, match="load_if_exists"):
            build("out", **SHORT).hyperparameter_search(storage=f"sqlite:///{file}", study_name="leaml")
        found = find_options(build("out", **SHORT), 1e-3, file)
        assert len(found["trials"]) == 1 and found["options"]["max_steps"] == 2  # its time was used up
        options = {"storage": f"sqlite:///{file}", "study_name": "leaml", "load_if_exists": True}
        build("out", **SHORT).hyperparameter_search(n_trials=1, **options)
        tried = [trial.params for trial in optuna.load_study(study_name="leaml", storage=options["storage"]).trials]
        assert len(tried) == 3 and tried[0] != tried[1] != tried[2]
