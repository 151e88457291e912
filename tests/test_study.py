"""Studies of methods: the journal, the differences between methods, the page, and a real one."""

import itertools
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import bootstrap

from leaml_hf.cli import main
from leaml_hf.data.budget import draw_labels, picture_keys
from leaml_hf.data.visual_arrays.builder import ask_scene
from leaml_hf.data.visual_arrays.scenes import TASKS
from leaml_hf.errors import LeamlInputError
from leaml_hf.evaluation.comparison import paired_difference, summary, write_comparison
from leaml_hf.training.replay import nearest_task, replay_rows
from leaml_hf.training.study import Target, run_study

ROOT = Path(__file__).resolve().parent.parent
TARGETS, SEEDS = ("charts", "circuits"), (0, 1, 2, 3, 4)


def make_run(target: str, seed: int, method: str, budget: str, accuracy: float) -> dict:
    return {"target": target, "seed": seed, "method": method, "budget": budget, "split": "test", "labels": 200,
            "accuracy": accuracy, "ece": 0.05, "auroc": 0.9, "fpr95": 0.2, "selective_accuracy_80": 0.7,
            "source_accuracy": 0.8, "train_seconds": 3.0}  # fmt: skip


@pytest.fixture()
def runs() -> list[dict]:
    rng = np.random.default_rng(0)
    return [make_run(target, seed, method, budget, float(mean + rng.normal(0, 0.02)))
            for target, seed in itertools.product(TARGETS, SEEDS)
            for method, budget, mean in (("leaml", "1%", 0.6), ("leaml", "2%", 0.62), ("lora", "1%", 0.5),
                                         ("base", "100%", 0.45), ("leaml-words", "1%", 0.55))]  # fmt: skip


def test_a_difference_is_taken_pair_by_pair(runs: list[dict]) -> None:
    gaps = paired_difference(runs, ("leaml", "1%"), ("lora", "1%"))
    for target in TARGETS:
        own = [[r["accuracy"] for r in runs if (r["target"], r["method"], r["budget"]) == (target, method, "1%")]
               for method in ("leaml", "lora")]  # fmt: skip
        mean, low, high, pairs = gaps[target]
        each = np.subtract(*own)
        assert mean == pytest.approx(each.mean())
        assert pairs == len(SEEDS)
        expected = bootstrap((each,), np.mean, method="percentile", n_resamples=20_000, rng=1).confidence_interval
        assert (low, high) == pytest.approx(tuple(expected), abs=0.003)
    assert gaps["all targets"][0] == pytest.approx(np.mean([gaps[target][0] for target in TARGETS]))
    assert gaps["all targets"][3] == len(TARGETS) * len(SEEDS)


def test_only_seeds_that_both_have_are_compared(runs: list[dict]) -> None:
    fewer = [r for r in runs if r["method"] != "lora" or (r["target"] == "charts" and r["seed"] < 2)]
    gaps = paired_difference(fewer, ("leaml", "1%"), ("lora", "1%"))
    assert list(gaps) == ["charts"]
    assert gaps["charts"][3] == 2
    assert paired_difference(runs, ("leaml", "1%"), ("full", "100%")) == {}


def test_the_page_has_every_method_and_its_picture(runs: list[dict], tmp_path: Path) -> None:
    page = write_comparison(runs, tmp_path / "deep" / "study.md", "leaml benchmark --output out")
    text = page.read_text()
    for word in (*TARGETS, "leaml-words", "| lora | 200 |", "leaml benchmark --output out", "all targets"):
        assert word in text
    assert page.with_suffix(".png").stat().st_size > 10_000
    assert "](study-parts.png)" in text and (tmp_path / "deep" / "study-parts.png").stat().st_size > 5_000
    with pytest.raises(LeamlInputError, match="no runs"):
        write_comparison([], tmp_path / "none.md", "")


def test_the_summary_sets_leaml_beside_its_peers(runs: list[dict]) -> None:
    full = [make_run("charts", 0, "full", "100%", 0.75)]
    own = {seed: next(r["accuracy"] for r in runs
                      if (r["target"], r["seed"], r["method"], r["budget"]) == ("charts", seed, "leaml", "1%"))
           for seed in SEEDS}  # fmt: skip
    table = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ") for line in summary([*runs, *full])[5:]}
    assert list(table) == ["charts", "circuits", "**all targets**"]
    assert table["charts"][3] == f"{100 * np.mean([*own.values()]):.1f} (5)"
    assert table["charts"][4] == "75.0 (1)"
    assert table["charts"][6] == f"{100 * (own[0] - 0.75):+.1f}"  # of the one seed that both have, without interval
    gap = paired_difference(runs, ("leaml", "1%"), ("lora", "1%"))["all targets"]
    assert "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * value for value in gap[:3])) in "".join(
        table["**all targets**"]
    )
    assert summary([run for run in runs if run["method"] != "leaml"]) == []


def test_the_readme_has_the_figures_of_the_study() -> None:
    script = runpy.run_path(str(ROOT / "benchmarks" / "readme.py"))
    readme = (ROOT / "README.md").read_text()
    assert script["with_summary"](readme) == readme, "run make readme"


def test_a_part_is_compared_with_the_same_without_it(runs: list[dict], tmp_path: Path) -> None:
    parts = [make_run("charts", seed, method, "1%", accuracy) for seed in SEEDS
             for method, accuracy in (("leaml-lexicon", 0.55), ("leaml-lexicon+pairs", 0.56))]  # fmt: skip
    text = write_comparison([*runs, *parts], tmp_path / "study.md", "").read_text()
    ahead, by_part = text.split("## What each part does")
    assert "| leaml" not in ahead.split("## Ahead of the others")[1]
    assert "| lora, 1% labels | charts | +" in ahead.split("## Ahead of the others, without names as answers")[1]
    assert "| leaml-lexicon+pairs, 1% labels | charts | +1.0 | +1.0 to +1.0 | 5 |" in by_part
    assert "| leaml-lexicon, 1% labels | charts | -" in by_part


@pytest.mark.parametrize(("kept", "drawn"), [
    ({"leaml-words"}, set()),
    ({"leaml", "lora"}, {"study.png"}),
    ({"leaml", "base"}, {"study.png", "study-summary.png"}),
    ({"leaml", "leaml-words"}, {"study.png", "study-parts.png"}),
])  # fmt: skip
def test_what_cannot_be_drawn_yet_is_left_out(
    kept: set[str], drawn: set[str], runs: list[dict], tmp_path: Path
) -> None:
    text = write_comparison([run for run in runs if run["method"] in kept], tmp_path / "study.md", "").read_text()
    assert {path.name for path in tmp_path.glob("*.png")} == drawn
    assert text.count("](study") == len(drawn)


def test_runs_of_the_journal_are_not_run_again(
    runs: list[dict], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    journal = tmp_path / "runs.jsonl"
    journal.write_text("".join(json.dumps(run) + "\n" for run in runs) + '{"target": "cut o')
    arguments = [str(tmp_path), "--targets", *TARGETS, "--methods", "leaml", "lora", "--budgets", "1%", "--json"]
    assert main(["benchmark", "--output", *arguments]) == 0
    out = json.loads(capsys.readouterr().out)
    assert out["runs"] == len(runs)
    assert out["ahead"]["lora"]["charts"]["pairs"] == len(SEEDS)
    assert Path(out["page"]).exists()


def test_a_method_that_does_not_exist_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["benchmark", "--output", str(tmp_path), "--methods", "magic"]) == 2
    assert "magic" in capsys.readouterr().err


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("variant", ["style", "content"])
def test_questions_of_a_task_are_nearest_to_their_own(task: str, variant: str) -> None:
    asked = [question.text for scene in range(900, 906) for question in ask_scene(task, "test", scene, 1, variant)[1]]
    assert nearest_task(asked) == task


def test_only_the_source_of_shipped_bases_can_be_replayed() -> None:
    assert replay_rows("org/some-model", ["How many bars are there?"]) is None


def test_half_of_a_foreign_pool_is_of_another_task() -> None:
    target = Target("visual-arrays:layout/style", 0, rows=64, test_rows=8, validation=False)
    pool = draw_labels(target.train, "16")
    mixed = target.half_foreign(pool)
    own, foreign = mixed.unlabelled.select(range(48)), mixed.unlabelled.select(range(48, 96))
    assert len(mixed.unlabelled) == 2 * len(pool.unlabelled) == 96
    assert picture_keys(own) == picture_keys(pool.unlabelled) and own["question"] == pool.unlabelled["question"]
    assert not set(picture_keys(foreign)) & set(picture_keys(target.train))
    assert set(mixed.unlabelled["answer"]) == {None}
    assert mixed.labelled is pool.labelled and mixed.held_out is pool.held_out


@pytest.mark.slow
def test_a_study_of_all_methods(tmp_path: Path) -> None:
    arguments = {"targets": ["visual-arrays:layout/style"], "seeds": [0], "rows": 800, "test_rows": 24}
    first = run_study(tmp_path, budgets=["1%"], methods=["leaml", "lora"], **arguments)
    runs = run_study(tmp_path, budgets=["1%", "100%"], methods=["leaml", "leaml+foreign", "lora", "base", "full"],
                     **arguments)  # fmt: skip
    assert runs[:2] == first
    assert [(run["method"], run["budget"]) for run in runs] == [
        ("leaml", "1%"), ("lora", "1%"), ("leaml+foreign", "1%"), ("base", "100%"), ("full", "100%"),
    ]  # fmt: skip
    assert all(0 <= run["accuracy"] <= 1 and 0 <= run["source_accuracy"] <= 1 for run in runs)
    assert [run["labels"] for run in runs] == [8, 8, 8, 0, 800]
