"""The `evaluate` module: equal to scikit-learn and torchmetrics, at home in `evaluate`, alone in the world."""

import ast
import http.server
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import datasets
import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score, roc_curve

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "metrics/leaml_ood"
CONFIDENT = {
    "predictions": ["a", "b", "c", "d"],
    "references": ["a", "b", "x", "d"],
    "confidences": [0.9, 0.8, 0.3, 0.6],
}
OOD = {"ood_scores": [0.1, 0.4, 0.35, 0.8], "ood_labels": [0, 0, 1, 1]}


def load_file(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


module = load_file(FOLDER / "leaml_ood.py")

# Sixteenths and bins that do not divide them: ties are the rule, and no value lies on a border of bins, where
# libraries differ (see `test_borders_of_bins`).
levels = st.integers(0, 16).map(lambda level: level / 16)
rows = st.lists(st.tuples(levels, st.booleans()), min_size=1, max_size=60)
both_kinds = rows.filter(lambda pairs: len({hit for _, hit in pairs}) == 2)
scores = st.floats(-1e6, 1e6, allow_subnormal=False)
any_scores = st.lists(st.tuples(scores, st.booleans()), min_size=2, max_size=60).filter(
    lambda pairs: len({hit for _, hit in pairs}) == 2
)


def columns(pairs):
    return np.array([key for key, _ in pairs]), np.array([int(hit) for _, hit in pairs])


def sample(n, seed=0, digits=None):
    generator = np.random.default_rng(seed)
    confidence = generator.random(n)
    confidence = confidence if digits is None else confidence.round(digits)
    return confidence, (generator.random(n) < 0.8 * confidence + 0.1).astype(int)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    import evaluate

    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", str(tmp_path / "metrics"))


@pytest.fixture()
def metric():
    return module.LeamlOod()


def test_module_is_up_to_date():
    update = load_file(ROOT / "metrics/update.py")
    text = update.MODULE.read_text()
    assert update.updated(text, [source.read_text() for source in update.SOURCES]) == text, "run `make metric`"


# ---- the figures ----


@given(any_scores)
def test_detection_equals_scikit_learn(pairs):
    key, hit = columns(pairs)
    figures = module.ood_figures(key, hit, tpr=0.8)
    assert figures["auroc"] == pytest.approx(roc_auc_score(hit, key), abs=1e-12)
    assert figures["auprc"] == pytest.approx(average_precision_score(hit, key), abs=1e-12)
    assert figures["auprc_in"] == pytest.approx(average_precision_score(1 - hit, -key), abs=1e-12)
    fpr, recall, _ = roc_curve(1 - hit, -key, drop_intermediate=False)
    assert figures["fpr_at_tpr"] == pytest.approx(fpr[np.flatnonzero(recall >= 0.8 - 1e-12)[0]])
    fpr, recall, _ = roc_curve(hit, key, drop_intermediate=False)
    reached = fpr[np.flatnonzero(recall >= 0.8 - 1e-12)[0]]
    assert module.fpr_at_tpr(key, hit, 0.8, positive="out") == pytest.approx(reached)


@given(both_kinds)
def test_detection_equals_torchmetrics(pairs):
    from torchmetrics.functional import classification as tm

    key, hit = columns(pairs)
    score, target = torch.from_numpy(key), torch.from_numpy(hit)
    assert module.auroc(key, hit) == pytest.approx(tm.binary_auroc(score, target).item(), abs=1e-6)
    assert module.auprc(key, hit) == pytest.approx(tm.binary_average_precision(score, target).item(), abs=1e-6)
    specificity, _ = tm.binary_specificity_at_sensitivity(1 - score, 1 - target, 0.77)
    assert module.fpr_at_tpr(key, hit, 0.77) == pytest.approx(1 - specificity.item(), abs=1e-6)


@given(rows, st.sampled_from([1, 3, 7, 11, 15]))
def test_calibration_equals_torchmetrics(pairs, bins):
    from torchmetrics.functional.classification import binary_calibration_error

    confidence, correct = columns(pairs)
    confidence = np.minimum(confidence + 1e-3, 1 - 1e-3)  # off the borders at 0 and 1
    expected = binary_calibration_error(torch.from_numpy(confidence), torch.from_numpy(correct), bins)
    assert module.ece(confidence, correct, bins) == pytest.approx(expected.item(), abs=1e-6)


def test_borders_of_bins():
    assert module.ece([0.5, 0.25], [1, 0], bins=2) == pytest.approx(abs(0.5 - 0.375))  # 0.5 is in the first bin
    assert module.ece([0.0, 1.0], [0, 1], bins=7) == 0
    borders = np.arange(101) / 100  # each border is in the bin that it closes, whatever rounding does
    assert module.reliability_bins(borders, borders > 0.5, bins=100)["count"].tolist() == [2] + [1] * 99


@given(rows)
def test_brier_and_nll_equal_scikit_learn(pairs):
    confidence, correct = columns(pairs)
    assert module.brier(confidence, correct) == pytest.approx(brier_score_loss(correct, confidence, pos_label=1))
    clipped = np.clip(confidence, 1e-6, 1 - 1e-6)
    assert module.nll(confidence, correct) == pytest.approx(log_loss(correct, clipped, labels=[0, 1]))


@given(rows, st.sampled_from([0.0, 0.01, 0.2, 0.5, 1.0]))
def test_coverage_at_risk_tries_every_threshold(pairs, risk):
    confidence, correct = columns(pairs)
    allowed = [
        given.mean() for t in set(confidence) if (given := confidence >= t).any() and 1 - correct[given].mean() <= risk
    ]
    assert module.coverage_at_risk(confidence, correct, risk) == pytest.approx(max(allowed, default=0.0))


@given(rows)
def test_excess_area_is_what_a_perfect_order_saves(pairs):
    confidence, correct = columns(pairs)
    best = module.aurc(np.where(correct, 1.0, 0.0), correct)
    perfect = np.sort(1 - correct).cumsum() / np.arange(1, len(correct) + 1)  # right ones first
    assert module.eaurc(confidence, correct) == pytest.approx(
        module.aurc(confidence, correct) - perfect.mean(), abs=1e-9
    )
    assert module.eaurc(np.where(correct, 1.0, 0.0), correct) <= best - perfect.mean() + 1e-9


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_constant_scores(value):
    key, hit = np.full(10, value), np.arange(10) < 4
    assert module.ood_figures(key, hit) == pytest.approx(
        {"auroc": 0.5, "auprc": 0.4, "auprc_in": 0.6, "fpr_at_tpr": 1.0}
    )
    figures = module.answer_figures(hit, key)
    gap = abs(0.4 - value)
    assert [figures[name] for name in ("ece", "ece_mass", "aurc")] == pytest.approx([gap, gap, 0.6])
    assert figures["coverage_at_risk_0.05"] == 0
    assert module.coverage_at_risk(key, hit, 0.6) == 1


@pytest.mark.parametrize("right", [0, 1])
def test_answers_all_right_or_all_wrong_have_figures(right):
    confidence = np.linspace(0.05, 0.95, 19)
    figures = module.answer_figures([right] * 19, confidence)
    assert figures["accuracy"] == right
    assert figures["eaurc"] == pytest.approx(0)
    assert figures["coverage_at_risk_0.01"] == right
    assert figures["brier"] == pytest.approx(np.mean((confidence - right) ** 2))


@pytest.mark.slow
def test_ten_million_rows():
    small, hit = sample(1000, digits=2)
    key, truth = np.tile(small, 10_000), np.tile(hit, 10_000)
    start = time.perf_counter()
    figures = module.ood_figures(key, truth)
    figures |= {"ece": module.ece(key, truth), "brier": module.brier(key, truth), "nll": module.nll(key, truth)}
    figures |= {"aurc": module.aurc(key, truth), "mass": module.ece(key, truth, scheme="mass")}
    assert time.perf_counter() - start < 60
    expected = module.ood_figures(small, hit)
    expected |= {"ece": module.ece(small, hit), "brier": module.brier(small, hit), "nll": module.nll(small, hit)}
    expected["mass"] = module.ece(small, hit, scheme="mass")
    assert figures.pop("aurc") == pytest.approx(module.aurc(small, hit), abs=2e-3)  # 1/n … 1 is finer with more rows
    assert figures == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
def test_ten_million_distinct_rows_equal_scikit_learn():
    key, hit = sample(10_000_000)
    assert module.auroc(key, hit) == pytest.approx(roc_auc_score(hit, key), abs=1e-10)
    assert module.auprc(key, hit) == pytest.approx(average_precision_score(hit, key), abs=1e-10)
    assert module.brier(key, hit) == pytest.approx(brier_score_loss(hit, key), abs=1e-10)


# ---- what is undefined ----


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "Give `predictions` with `references`"),
        ({"predictions": ["a"]}, "Give `predictions` with `references`"),
        ({"confidences": [0.5]}, "Give `predictions` with `references`"),
        ({"predictions": [], "references": []}, "non-empty"),
        ({"ood_scores": [], "ood_labels": []}, "non-empty"),
        (CONFIDENT | {"confidences": [0.9, float("nan"), 0.3, 0.6]}, "`confidence` is not a finite number"),
        (CONFIDENT | {"confidences": [0.9, 1.1, 0.3, 0.6]}, "probabilities between 0 and 1"),
        (CONFIDENT | {"confidences": [0.9, None, 0.3, 0.6]}, "`confidence` is not a finite number"),
        (CONFIDENT | {"confidences": ["high"] * 4}, "as numbers"),
        (CONFIDENT | {"references": ["a", "b", "x"]}, "4 predictions, 3 references, 4 confidences"),
        (CONFIDENT | {"predictions": [["a"], "b", None, "d"]}, "1 of 4 rows have none|not None"),
        ({"predictions": [float("nan")], "references": [1.0]}, "finite number, not nan"),
        (OOD | {"ood_labels": [1, 1, 1, 1]}, "all 4 labels are 1"),
        (OOD | {"ood_labels": [0, 0, 0, 0]}, "all 4 labels are 0"),
        (OOD | {"ood_labels": [0, 0.5, 1, 1]}, "zeros and ones"),
        (OOD | {"ood_scores": [0, 1, 2, float("inf")]}, "`ood_scores` is not a finite number"),
        (OOD | {"tpr": 0}, "`tpr` as a share"),
        (CONFIDENT | {"bins": 0}, "at least one bin"),
        (CONFIDENT | {"risks": [2]}, "`risk` as a share"),
        (CONFIDENT | {"tolerance": -1}, "tolerance must be zero or more"),
        (CONFIDENT | {"resamples": -1}, "at least one resample"),
    ],
)
@pytest.mark.parametrize("stored", [False, True])
def test_bad_input_is_refused_with_a_sentence(metric, inputs, message, stored):
    options = {name: inputs[name] for name in inputs if name not in module.INPUTS}
    rows = {name: inputs[name] for name in inputs if name in module.INPUTS}
    with pytest.raises(ValueError, match=message):
        if stored and rows:
            metric.add_batch(**rows)
            metric.compute(**options)
        else:
            metric.compute(**inputs)


def test_unknown_inputs_are_refused(metric):
    with pytest.raises(TypeError, match="confidence"):
        metric.compute(**CONFIDENT, confidence=[1])
    with pytest.raises(ValueError, match="Bad inputs"):
        metric.add_batch(**CONFIDENT, confidence=[1, 1, 1, 1])


# ---- answers ----


def test_relaxed_accuracy(metric):
    answers = {"predictions": ["12", "0.1", "The  Red", "seven"], "references": ["12.5", "0", "red", "7"]}
    assert metric.compute(**answers) == {"accuracy": 0.5}
    assert metric.compute(**answers, tolerance=0.05) == {"accuracy": 0.75}


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=1), st.sampled_from([None, 0.0, 0.3]))
def test_whole_numbers_are_judged_as_their_texts(pairs, tolerance):
    said, true = np.array(pairs).T
    judged = module.judge_answers(said, true, tolerance)
    assert judged.tolist() == module.judge_answers([str(a) for a in said], [str(b) for b in true], tolerance).tolist()
    assert judged.tolist() == module.judge_answers(said.astype(float), true.tolist(), tolerance).tolist()


@dataclass
class Answer:
    text: str
    confidence: float
    ood_score: float


@pytest.mark.parametrize("stored", [False, True])
def test_answers_of_models_and_pipelines(metric, stored):
    def figures(**inputs):
        if not stored:
            return metric.compute(**inputs)
        metric.add_batch(**inputs)
        return metric.compute()

    texts, references, confidences = CONFIDENT.values()
    expected = metric.compute(**CONFIDENT, **OOD)
    answers = [Answer(*row) for row in zip(texts, confidences, OOD["ood_scores"], strict=True)]
    assert figures(predictions=answers, references=references, ood_labels=OOD["ood_labels"]) == expected
    expected = metric.compute(**CONFIDENT)
    answers = [Answer(text, confidence, float("nan")) for text, confidence in zip(texts, confidences, strict=True)]
    assert figures(predictions=answers, references=references) == expected  # no reliability module: no score
    top = [[{"answer": a, "score": c}, {"answer": "?", "score": 0.0}] for a, c in zip(texts, confidences, strict=True)]
    assert figures(predictions=top, references=references) == expected
    assert figures(predictions=[best for best, _ in top], references=references) == expected
    generated = [{"generated_text": text} for text in texts]
    assert figures(predictions=generated, references=references) == {"accuracy": 0.75}
    assert figures(predictions=generated, references=references, confidences=confidences) == expected


def test_other_containers(metric):
    import pandas as pd

    expected = metric.compute(**CONFIDENT, **OOD)
    table = datasets.Dataset.from_dict(CONFIDENT | OOD)
    assert metric.compute(**{name: table[name] for name in table.column_names}) == expected
    assert metric.compute(**{name: column for name, column in pd.DataFrame(CONFIDENT | OOD).items()}) == expected
    numbers = {name: torch.tensor(column) for name, column in OOD.items()} | {
        "confidences": np.array(CONFIDENT["confidences"])
    }
    assert metric.compute(**(CONFIDENT | numbers)) == expected


# ---- within `evaluate` ----


def test_add_and_add_batch(metric):
    expected = metric.compute(**CONFIDENT, **OOD)
    for start in (0, 2):
        metric.add_batch(**{name: column[start : start + 2] for name, column in (CONFIDENT | OOD).items()})
    assert metric.compute() == expected
    for row in range(4):
        metric.add(prediction=CONFIDENT["predictions"][row], reference=CONFIDENT["references"][row],
                   **{name: column[row] for name, column in (CONFIDENT | OOD).items() if not name.endswith("ences")},
                   confidences=CONFIDENT["confidences"][row])  # fmt: skip
    assert metric.compute() == expected
    metric.add_batch(**{name: column[:2] for name, column in CONFIDENT.items()})
    assert metric.compute(**{name: column[2:] for name, column in CONFIDENT.items()}) == metric.compute(**CONFIDENT)
    metric.add_batch(**OOD)
    assert metric.compute().keys() == {"auroc", "auprc", "auprc_in", "fpr_at_tpr"}


def test_batches_with_other_inputs_are_refused(metric):
    metric.add_batch(**CONFIDENT)
    metric.add_batch(predictions=["a"], references=["a"])
    with pytest.raises(ValueError, match="Give `confidences` for every row or for none: 1 of 5"):
        metric.compute()
    assert metric.compute(predictions=["a"], references=["a"]) == {"accuracy": 1.0}


def test_keep_in_memory():
    metric = module.LeamlOod(keep_in_memory=True)
    metric.add_batch(**OOD)
    assert metric.compute()["auroc"] == 0.75


def test_combine(metric):
    import evaluate

    class Length(evaluate.Metric):
        def _info(self):
            features = datasets.Features({name: datasets.Value("string") for name in ("predictions", "references")})
            return evaluate.MetricInfo(description="", citation="", features=features)

        def _compute(self, predictions, references):
            return {"length": float(np.mean([len(text) for text in predictions]))}

    both = evaluate.combine([Length(), metric])
    answers = {name: CONFIDENT[name] for name in ("predictions", "references")}
    assert both.compute(**answers) == {"length": 1.0, "accuracy": 0.75}
    both.add_batch(**CONFIDENT, **OOD)
    assert both.compute() == {"length": 1.0} | metric.compute(**CONFIDENT, **OOD)
    both.add_batch(**CONFIDENT, ood_scores=None, ood_labels=None)
    assert both.compute() == {"length": 1.0} | metric.compute(**CONFIDENT)
    twice = evaluate.combine({"strict": metric, "other": module.LeamlOod()})
    assert twice.compute(**answers) == {"strict_accuracy": 0.75, "other_accuracy": 0.75}


class AnswerPipeline:
    """As `transformers` pipelines for text are called."""

    task = "text2text-generation"
    device = torch.device("cpu")

    def __call__(self, questions, **_):
        return [{"generated_text": question[-1]} for question in questions]


@pytest.mark.parametrize("strategy", ["simple", "bootstrap"])
def test_evaluator(metric, strategy, monkeypatch):
    import transformers
    from evaluate.evaluator.text2text_generation import Text2TextGenerationEvaluator

    # evaluate 0.4.6 asks transformers for a class, and in `evaluator(…)` for a task, that version 5 does not have
    monkeypatch.setattr(transformers, "TFPreTrainedModel", (), raising=False)
    data = datasets.Dataset.from_dict({"question": ["is it a", "is it b", "is it c"], "answer": ["a", "b", "x"]})
    results = Text2TextGenerationEvaluator().compute(
        model_or_pipeline=AnswerPipeline(), data=data, metric=metric, input_column="question", label_column="answer",
        strategy=strategy, n_resamples=20, random_state=0,
    )  # fmt: skip
    accuracy = results["accuracy"] if strategy == "simple" else results["accuracy"]["score"]
    assert accuracy == pytest.approx(2 / 3)


def test_intervals(metric):
    confidence, correct = sample(400, seed=1)
    inputs = {"predictions": correct, "references": np.ones_like(correct), "confidences": confidence,
              "ood_scores": confidence, "ood_labels": correct}  # fmt: skip
    plain = metric.compute(**inputs)
    results = metric.compute(**inputs, resamples=200, seed=1)
    assert results == metric.compute(**inputs, resamples=200, seed=1)
    assert {name: results[name] for name in plain} == plain
    intervals = {name: results[f"{name}_ci"] for name in plain}
    assert len(results) == 2 * len(plain)
    assert all(low <= high for low, high in intervals.values())
    for name in ("accuracy", "brier", "nll", "aurc", "auroc", "auprc", "auprc_in"):
        assert intervals[name][0] < plain[name] < intervals[name][1]
    assert intervals["accuracy"] == pytest.approx(module.wilson_interval(correct.sum(), 400), abs=0.02)
    narrow = metric.compute(**inputs, resamples=200, seed=1, confidence_level=0.5)
    assert np.diff(narrow["auroc_ci"]) < np.diff(results["auroc_ci"])


def test_intervals_equal_those_of_scipy(metric):
    from scipy.stats import bootstrap

    key, hit = sample(300, seed=2)
    found = metric.compute(ood_scores=key, ood_labels=hit, resamples=2000)["auroc_ci"]
    reference = bootstrap((key, hit), module.auroc, paired=True, vectorized=False,
                          n_resamples=1000, method="percentile", rng=0).confidence_interval  # fmt: skip
    assert found == pytest.approx([reference.low, reference.high], abs=0.012)


# ---- alone in the world ----


def test_imports_little():
    tree = ast.parse((FOLDER / "leaml_ood.py").read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    others = {name for name in imported if name.split(".")[0] not in sys.stdlib_module_names}
    assert others == {"datasets", "evaluate", "numpy"}


def offline(cache):
    """The environment of a process that reaches no network and has an empty cache."""
    nowhere = "http://127.0.0.1:9"
    return os.environ | {"HF_HOME": str(cache), "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": nowhere,
                         "http_proxy": nowhere, "https_proxy": nowhere, "no_proxy": ""}  # fmt: skip


LOADS = """
import sys
for name in ("leaml_hf", "transformers", "sklearn", "scipy.stats"):
    sys.modules[name] = None  # whoever imports it fails
import evaluate
for path in sys.argv[1:]:
    metric = evaluate.load(path)
    inputs = {"predictions": ["a", "b"], "references": ["a", "c"], "ood_scores": [0.1, 0.7], "ood_labels": [0, 1]}
    print(metric.name, metric.compute(**inputs)["auroc"])
"""


def test_loads_without_a_network(tmp_path):
    (tmp_path / "metrics").symlink_to(ROOT / "metrics")
    shutil.copytree(FOLDER, tmp_path / "org/leaml_ood", ignore=shutil.ignore_patterns("__pycache__"))  # a clone
    (tmp_path / "single").mkdir()
    shutil.copy(FOLDER / "leaml_ood.py", tmp_path / "single")
    paths = ["metrics/leaml_ood", "org/leaml_ood", "single/leaml_ood.py"]
    done = subprocess.run([sys.executable, "-c", LOADS, *paths], cwd=tmp_path, env=offline(tmp_path / "cache"),
                          capture_output=True, text=True, timeout=300)  # fmt: skip
    assert done.stdout.splitlines() == ["leaml_ood 1.0"] * 3, done.stderr


class Hub(http.server.BaseHTTPRequestHandler):
    """Serves the folder as the Hub serves a Space; there is no tag of the version of `evaluate`."""

    asked: ClassVar[list[str]] = []

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.asked.append(self.path)
        file = FOLDER / self.path.removeprefix("/spaces/org/leaml_ood/resolve/main/")
        body = file.read_bytes() if file.is_file() else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_loads_from_a_hub(tmp_path, monkeypatch):
    import evaluate

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/spaces/{{path}}/resolve/{{revision}}/{{name}}"
    monkeypatch.setattr(evaluate.config, "HUB_EVALUATE_URL", url)
    monkeypatch.setattr(evaluate.config, "HF_UPDATE_DOWNLOAD_COUNTS", False)
    monkeypatch.setattr(evaluate.config, "DOWNLOADED_EVALUATE_PATH", str(tmp_path / "downloads"))
    monkeypatch.setattr(evaluate.config, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    try:
        metric = evaluate.load("org/leaml_ood")
    finally:
        server.shutdown()
        server.server_close()
    assert {path.rsplit("/", 1)[1] for path in Hub.asked} == {"leaml_ood.py"}
    assert metric.compute(**CONFIDENT, **OOD) == module.LeamlOod().compute(**CONFIDENT, **OOD)


@pytest.mark.slow
def test_several_processes(tmp_path):
    program = (
        "import sys, evaluate\n"
        "m = evaluate.load(sys.argv[1], num_process=2, process_id=int(sys.argv[2]), experiment_id='two', "
        "cache_dir=sys.argv[3])\n"
        "m.add_batch(predictions=['a', 'b'], references=['a', 'x'], confidences=[0.9, 0.4])\n"
        "print(m.compute())\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(FOLDER), str(i), str(tmp_path / "shared")],
                         stdout=subprocess.PIPE, text=True, env=offline(tmp_path / str(i)))
        for i in range(2)
    ]  # fmt: skip
    first, second = (process.communicate(timeout=300)[0] for process in running)
    assert "'accuracy': 0.5" in first and "'aurc'" in first
    assert second.strip() == "None"


# ---- the Space ----


def test_space_card():
    front, card = (FOLDER / "README.md").read_text().removeprefix("---\n").split("\n---\n", 1)
    data = yaml.safe_load(front)
    assert data["sdk"] == "gradio" and (FOLDER / data["app_file"]).is_file()
    assert data["tags"] == ["evaluate", "metric"]
    figures = module.LeamlOod().compute(**CONFIDENT, **OOD)
    assert all(f"`{name}`" in card or name == "coverage_at_risk_0.05" for name in figures)


@pytest.fixture()
def app(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    yield load_file(FOLDER / "app.py")
    sys.modules.pop("leaml_ood", None)


def test_space_judges_its_example_and_files(app, tmp_path, metric):
    options = 0.05, 15, 0.95, 50
    figures, plots = app.judge(None, app.EXAMPLE, *options)
    assert plots is not None
    found = dict(zip(figures["figure"], figures["value"], strict=True))
    expected = metric.compute(**app.read_inputs(app.EXAMPLE), tolerance=0.05)
    assert found == pytest.approx(expected, abs=1e-4)
    assert (figures["low"] <= figures["high"]).all()
    app.EXAMPLE.to_csv(tmp_path / "rows.csv", index=False)
    again, _ = app.judge(str(tmp_path / "rows.csv"), None, *options)
    assert again.equals(figures)
    scores = app.EXAMPLE.assign(prediction="", reference="", confidence="")
    figures, plots = app.judge(None, scores, *options)
    assert list(figures["figure"]) == ["auroc", "auprc", "auprc_in", "fpr_at_tpr"] and plots is None
    with pytest.raises(ValueError, match="not a finite number"):
        app.judge(None, app.EXAMPLE.assign(confidence=["high", *["0.5"] * 9]), *options)
