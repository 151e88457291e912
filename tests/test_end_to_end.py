"""The way of the quickstart, small: shipped base, real charts, adapter, report, and what AutoModel makes of it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoProcessor

from leaml_hf import LeamlForVisualQA, LeamlInputError, cli
from leaml_hf.data import sources
from leaml_hf.data.real_charts import build_real_charts
from leaml_hf.data.visual_arrays import load_visual_arrays

QUESTION = "How many bars are there?"


@pytest.fixture(scope="module")
def charts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_real_charts(
        tmp_path_factory.mktemp("charts") / "real", num_pictures=40, num_workers=1, progress=False
    )


@pytest.fixture(scope="module")
def adapted(charts: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("adapted") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "VISUAL_ARRAYS_ROWS", {"train": 16, "validation": 16, "test": 24})
        command = ["adapt", str(charts), "--labels", "40", "--output", str(folder), "--max-steps", "4", "--quiet",
                   "--test-rows", "30", "--ood", "visual-arrays:layout/base"]  # fmt: skip
        assert cli.main(command) == 0
    return folder, json.loads((folder / "leaml_results.json").read_text())


@pytest.fixture(scope="module")
def loaded(adapted: tuple[Path, dict]) -> LeamlForVisualQA:
    return AutoModel.from_pretrained(adapted[0])


def test_results_have_what_the_design_promises(adapted: tuple[Path, dict]) -> None:
    folder, results = adapted
    assert results["labels_used"] == 40 and results["handed_over"] in ("adapter", "base")
    for side in ("before", "after"):
        assert {"n", "accuracy", "accuracy_ci", "ece", "brier", "nll", "aurc", "coverage", "selective_accuracy",
                "latency_ms", "auroc", "auprc", "fpr95"} <= results[side].keys()  # fmt: skip
    assert results["command"].startswith("leaml adapt")
    files = {path.name for path in folder.iterdir()}
    assert {"config.json", "leaml_adapter.safetensors", "leaml_reliability.safetensors", "leaml_reliability.json",
            "leaml_results.json", "report.html", "tokenizer.json"} <= files  # fmt: skip
    assert (folder / "leaml_adapter.safetensors").stat().st_size < 25e6
    assert "<img" in (folder / "report.html").read_text()


def test_a_loaded_adapter_answers_as_a_loaded_adapter(
    adapted: tuple[Path, dict], loaded: LeamlForVisualQA, charts
) -> None:
    folder, _ = adapted
    assert isinstance(loaded, LeamlForVisualQA)
    again = LeamlForVisualQA.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    picture = next((charts / "test").glob("*.png"))
    inputs = processor(images=[str(picture)], questions=[QUESTION])
    with torch.no_grad():
        assert torch.equal(loaded(**inputs).logits, again(**inputs).logits)
    answer = loaded.answer([str(picture)], [QUESTION], processor)[0]
    assert 0 <= answer.confidence <= 1 and np.isfinite(answer.ood_score)
    assert answer.evidence.shape == (14, 14) and answer.evidence.sum() == pytest.approx(1, abs=1e-4)


def test_answer_and_evaluate_commands(adapted: tuple[Path, dict], charts: Path, capsys: pytest.CaptureFixture) -> None:
    folder, _ = adapted
    picture = next((charts / "test").glob("*.png"))
    capsys.readouterr()
    assert cli.main(["answer", str(folder), str(picture), QUESTION, "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("answer", "confidence", "OOD score", "abstains"))
    assert cli.main(["evaluate", str(folder), str(charts), "--rows", "12", "--json", "--quiet"]) == 0
    out = json.loads(capsys.readouterr().out)
    assert out["n"] == 12 and 0 <= out["accuracy"] <= 1


def test_an_untrained_adapter_equals_the_shipped_base(loaded: LeamlForVisualQA) -> None:
    base = LeamlForVisualQA.from_pretrained("leaml-smol")
    fresh = LeamlForVisualQA.from_backbone("leaml-smol")
    processor = AutoProcessor.from_pretrained(Path(cli.__file__).parent / "bases" / "leaml-smol")
    row = load_visual_arrays("chart", split="test", num_rows=1)[0]
    inputs = processor(images=[row["image"]], questions=[row["question"]])
    with torch.no_grad():
        assert torch.equal(base(**inputs).logits, fresh(**inputs).logits)


def test_the_shipped_base_reads_charts() -> None:
    base = LeamlForVisualQA.from_pretrained("leaml-smol")
    processor = AutoProcessor.from_pretrained(Path(cli.__file__).parent / "bases" / "leaml-smol")
    rows = load_visual_arrays("chart", split="test", num_rows=160)
    texts = [answer.text for answer in base.answer(rows["image"], rows["question"], processor)]
    known = [i for i, program in enumerate(rows["program"]) if program in ("count", "chart_type", "share", "position")]
    assert np.mean([texts[i] == rows["answer"][i] for i in known]) > 0.8


def test_a_base_of_other_weights_is_refused(adapted: tuple[Path, dict], tmp_path: Path) -> None:
    base = LeamlForVisualQA.from_pretrained("leaml-smol")
    with torch.no_grad():
        next(base.bridge.parameters()).add_(1.0)
    with pytest.raises(LeamlInputError, match="another base"):
        LeamlForVisualQA.from_pretrained(adapted[0], base=base)
