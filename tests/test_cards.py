"""Cards: metadata that the Hub reads, figures that are those measured, and a snippet that runs."""

import json
import re
from pathlib import Path

import pytest
import yaml
from huggingface_hub import HfApi, ModelCard
from shared_models import RESULTS

from leaml_hf import LeamlInputError
from leaml_hf.cli import main
from leaml_hf.hub.cards import EVAL_RESULTS_FILE, write_card, write_eval_results

MODEL_CARDS = Path(__file__).resolve().parent.parent / "model_cards"


@pytest.fixture()
def folder(shared, tmp_path: Path) -> Path:
    """Configuration and figures of an adapter."""
    config = (shared.folders["org/leaml-based"] / "config.json").read_text()
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "leaml_results.json").write_text(json.dumps(RESULTS))
    return tmp_path


def change(folder: Path, **results: object) -> None:
    (folder / "leaml_results.json").write_text(json.dumps(RESULTS | results))


def section(card: ModelCard, title: str) -> str:
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", card.text, re.DOTALL | re.MULTILINE)[1]


def test_the_hub_reads_its_metadata(shared):
    card = ModelCard.load("org/leaml-based")
    card.validate()
    assert card.data.library_name == "leaml-hf" and card.data.pipeline_tag == "image-text-to-text"
    assert card.data.base_model == "org/tiny-base" and card.data.base_model_relation == "adapter"
    figures = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert figures["accuracy"] == 75.0 and figures["expected_calibration_error"] == 0.05 and figures["roc_auc"] == 0.91
    assert {(r.task_type, r.dataset_name, r.dataset_split) for r in card.data.eval_results} == {
        ("visual-question-answering", "charts", "test")
    }
    info = HfApi().model_info("org/leaml-based")
    assert info.pipeline_tag == "image-text-to-text" and "leaml" in info.tags
    assert ModelCard.load("org/leaml-chart").data.base_model == ["org/tiny-text", "org/tiny-vision"]
    assert ModelCard.load("org/leaml-llava").data.base_model == "org/tiny-llava"


@pytest.mark.parametrize("name", ["org/leaml-based", "org/leaml-llava"])
def test_its_snippet_runs(shared, name, tmp_path, monkeypatch, capsys):
    (snippet,) = re.findall(r"```python\n(.*?)```", ModelCard.load(name).text, re.DOTALL)
    (tmp_path / "picture.png").write_bytes(shared.picture.read_bytes())
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "README.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_figures_failures_limits_and_cost_are_those_measured(folder):
    card = ModelCard(write_card(folder, "org/leaml-based", "apache-2.0").read_text())
    assert card.data.license == "apache-2.0"
    assert "accuracy rose from 50.0% to 75.0%" in card.text
    assert "| Accuracy | 50.0% (43.0% to 57.0%) | 75.0% (69.0% to 81.0%) |" in section(card, "Measured")
    assert "| layouts | 0.910 | 0.800 | 0.400 |" in section(card, "Measured")
    assert "leaml adapt charts --labels 40" in section(card, "Procedure") and "/home/me" not in str(card)
    assert "40 answers" in section(card, "Procedure") and "Seed 3" in section(card, "Procedure")
    failures = section(card, "Failure modes")
    assert "value 55.0% of 100, count 95.0% of 100" in failures and "in points: value -5.0" in failures
    assert (
        "10.0% of the answers that it gives are wrong" in failures and "40.0% of the pictures of layouts" in failures
    )
    assert "69.0% to 81.0%" in section(card, "Limits")
    cost = section(card, "Environmental cost")
    assert "took 5 minutes: 9 minutes of processor time on 2 cores (A processor)" in cost and "2,100 MB" in cost
    assert "Energy and emissions were not measured" in cost


def test_it_says_what_was_not_measured_or_not_better(folder):
    change(folder, handed_over="base", judged_on="held-out labels", cost=None)
    card = ModelCard(write_card(folder, "org/x").read_text())
    assert "No adapter was better than the base" in card.text and "There was no test split" in card.text
    assert "5 minutes; processor time, energy and emissions were not measured" in section(card, "Environmental cost")
    assert card.data.eval_results[0].dataset_split is None
    (folder / "leaml_results.json").unlink()
    card = ModelCard(write_card(folder, "org/x").read_text())
    assert card.data.eval_results is None and "Not measured" in section(card, "Failure modes")
    assert "## Measured" not in card.text
    base = ModelCard.load("org/tiny-base")
    assert base.data.base_model == "org/tiny-text" and "A base for LEAML adapters" in base.text


def test_it_says_where_labelled_examples_are_published(shared):
    cards = {name: section(ModelCard.load(name), "Limits") for name in ("org/leaml-chart", "org/leaml-based")}
    assert "leaml_retrieval.json holds labelled questions" in cards["org/leaml-chart"]
    assert "leaml_retrieval" not in cards["org/leaml-based"]


def test_a_base_in_a_folder_is_not_named_by_its_place(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"base_name_or_path": str(tmp_path / "my base")}))
    card = ModelCard(write_card(folder, "org/x").read_text())
    assert card.data.base_model is None and "adapter on my base:" in card.text and str(tmp_path) not in str(card)


def test_figures_on_a_data_set_of_the_hub_are_also_eval_results(folder):
    assert write_eval_results(folder) is None
    change(folder, data="org/my-charts")
    assert ModelCard(write_card(folder, "org/x").read_text()).data.datasets == ["org/my-charts"]
    file = write_eval_results(folder)
    assert file == folder / EVAL_RESULTS_FILE
    first = yaml.safe_load(file.read_text())[0]
    assert (
        first["dataset"] == {"id": "org/my-charts", "task_id": "visual-question-answering"} and first["value"] == 75.0
    )


def test_the_command_writes_it_where_it_is_wanted(folder, tmp_path, capsys):
    assert main(["card", str(folder), "--repo", "org/x", "--output", str(tmp_path / "cards" / "x.md"), "--json"]) == 0
    assert "# x\n" in Path(json.loads(capsys.readouterr().out)["card"]).read_text()
    (folder / "config.json").write_text("{")
    with pytest.raises(LeamlInputError, match=r"config\.json again: it is damaged"):
        write_card(folder, "org/x")
    assert main(["card", str(tmp_path / "none")]) == 2


def test_the_projects_own_cards_are_what_the_command_writes(tmp_path):
    folders = [folder for folder in MODEL_CARDS.iterdir() if folder.is_dir()]
    assert folders
    for folder in folders:
        written = write_card(folder, f"org/{folder.name}", "apache-2.0", tmp_path / f"{folder.name}.md")
        assert written.read_text() == (folder / "README.md").read_text()
