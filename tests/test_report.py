import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from leaml_hf.errors import LeamlInputError
from leaml_hf.evaluation.plots import evidence_overlay, history_curves, learning_curve, program_bars
from leaml_hf.evaluation.report import write_report

EVIL = "<script>alert('x')</script> & \"$x$\""
FIGURES = ["learning_curve.png", "programs.png", "reliability.png", "risk_coverage.png", "roc.png"]


def side(accuracy, low, high, ece):
    return {
        "n": 100,
        "accuracy": accuracy,
        "accuracy_ci": [low, high],
        "ece": ece,
        "latency_ms": 41.23,
        "ood": {"photographs": {"auroc": 0.5 + accuracy / 2, "auprc": 0.7, "fpr95": 0.25}},
    }


@pytest.fixture
def results():
    return {
        "before": side(0.5, 0.4, 0.6, 0.2),
        "after": side(0.75, 0.66, 0.82, 0.05),
        "labels_used": 120,
        "unlabeled_used": 11880,
        "seconds": 1312.0,
        "base": "leaml-smol",
        "data": EVIL,
        "seed": 7,
        "command": "leaml adapt pictures --labels 1%",
        "history": [{"step": 10, "heldout_accuracy": 0.6}, {"step": 0, "loss": 2.0}, {"step": 10, "loss": 1.0}],
        "handed_over": "adapter",
        "per_program": {
            "before": {"count": {"n": 50, "accuracy": 0.4}},
            "after": {"count": {"n": 50, "accuracy": 0.6}, EVIL: {"n": 50, "accuracy": 0.9}},
        },
    }


@pytest.fixture
def predictions():
    generator = np.random.default_rng(0)
    made = []
    for number in range(60):
        split = ["test", "test", "photographs"][number % 3]
        score = float(generator.normal(0 if split == "test" else 3))
        made.append(
            {
                "id": f"row-{number}",
                "program": EVIL,
                "prediction": "7",
                "answer": EVIL,
                "correct": bool(number % 2),
                "confidence": float(generator.random()),
                "ood_score": score,
                "is_ood": score > 1.6,
                "split": split,
            }
        )
    return made


@pytest.fixture
def example():
    return {
        "image": Image.new("RGB", (640, 320), "white"),
        "question": EVIL,
        "prediction": "seven",
        "answer": "8",
        "correct": False,
        "confidence": 0.625,
        "evidence": np.full((7, 7), 1 / 49),
        "is_ood": True,
        "abstained": True,
    }


class Page(HTMLParser):
    """Collects the tags with their attributes, and the text outside of styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(text)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def page(*arguments):
    path = write_report(*arguments)
    read = Page(path.read_text(encoding="utf-8"))
    assert not read.open
    return read


def test_report_is_one_file_and_its_figures(tmp_path, results, predictions, example):
    read = page(tmp_path / "new", results, predictions, [example])
    assert sorted(path.name for path in (tmp_path / "new" / "report").iterdir()) == FIGURES
    sources = [attributes["src"] for tag, attributes in read.tags if tag == "img"]
    assert len(sources) == len(FIGURES) + 2
    for source in sources:
        kind, content = source.split(";base64,")
        assert kind in ("data:image/png", "data:image/jpeg")
        Image.open(io.BytesIO(base64.b64decode(content))).verify()
    assert all(attributes["alt"] for tag, attributes in read.tags if tag == "img")
    links = [value for _, attributes in read.tags for key, value in attributes.items() if key in ("href", "src")]
    assert all(link.startswith("data:") for link in links)


def test_report_shows_the_figures(tmp_path, results, predictions, example):
    text = page(tmp_path, results, predictions, [example]).text
    for shown in (
        "The adapter was handed over. It answers 75.0% of the 100 test questions correctly, against 50.0% for the ",
        "base (+25.0 points).",
        "50.0% 40.0% to 60.0% 75.0% 66.0% to 82.0% +25.0 points",
        "Calibration error (ECE) 0.200 0.050 -0.150",
        "photographs 0.750 0.875 0.700 0.700 0.250 0.250",
        "120 labels used",
        "11,880 unlabelled pictures used",
        "22 min",
        "Seed 7.",
        "leaml adapt pictures --labels 1%",
        "Confidence 62.5%",
        "unfamiliar picture",
        "abstained",
        "the most confident mistakes",
    ):
        assert shown in text
    assert "may be chance" not in text


def test_an_example_is_judged_by_its_answer_where_it_has_one(tmp_path, results, example):
    del example["correct"]
    shown = [
        {**example, "prediction": "Eight"},
        {**example, "prediction": "9"},
        {**example, "answer": None, "split": "photographs"},
    ]
    read = page(tmp_path, results, [], shown)
    tags = re.findall(r"Confidence 62\.5% (\w+ \w+)", read.text)
    assert tags == ["right unfamiliar", "wrong unfamiliar", "from photographs"]
    assert "Truth: not known" in read.text


def test_rows_from_elsewhere_may_have_no_answer(tmp_path, results, predictions):
    for row in predictions:
        if row["split"] != "test":
            row.update(answer=None, correct=None)
    page(tmp_path, results, predictions, [])
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == FIGURES


def test_most_confident_mistakes_are_of_the_test_set_and_in_order(tmp_path, results, predictions):
    text = page(tmp_path, results, predictions, []).text
    wrong = [row for row in predictions if row["split"] == "test" and not row["correct"]]
    expected = [row["id"] for row in sorted(wrong, key=lambda row: -row["confidence"])[:10]]
    assert re.findall(r"row-\d+", text) == expected


def test_everything_is_escaped(tmp_path, results, predictions, example):
    results = {**results, "base": EVIL, "command": EVIL, "seed": EVIL}
    results["after"] = {**results["after"], "ood": {EVIL: results["after"]["ood"]["photographs"]}}
    read = page(tmp_path, results, [{**row, "id": EVIL} for row in predictions], [{**example, "prediction": EVIL}])
    assert "script" not in {tag for tag, _ in read.tags}
    assert read.text.count(EVIL) > 10


def test_the_base_handed_over_is_said(tmp_path, results):
    text = page(tmp_path, {**results, "handed_over": "base"}, [], []).text
    assert "The base was handed over, without an adapter." in text
    assert "The base answers 50.0% of 100 test questions correctly." in text


def test_what_the_base_is_asked_instead_is_shown(tmp_path, results):
    assert "What the base knew already" not in page(tmp_path, results, [], []).text
    rule = {"program": "key", "example": EVIL, "pattern": "Is there a key?", "verbalizer": {"yes": "yes", "no": EVIL},
            "labels": 8, "accuracy": 0.875, "posterior": 0.9}  # fmt: skip
    results["history"].append({"step": 0, "patterns": [rule]})
    text = page(tmp_path, results, [], []).text
    assert "Is there a key?" in text and "87.5% of 8" in text and f"no → {EVIL}" in text


def test_what_it_learnt_to_read_from_is_shown_if_it_was_kept(tmp_path, results):
    entry = {"step": 0, "named_pictures": 2039, "unread_loss": 1.3, "read_loss": 1.104, "reading_kept": False}
    results["history"].append(entry)
    assert "What it learnt to read" not in page(tmp_path, results, [], []).text
    entry["reading_kept"] = True
    text = page(tmp_path, results, [], []).text
    assert "about 2039 pictures" in text and "loss fell from 1.30 to 1.10" in text


def test_names_that_may_be_answers_are_told_if_they_were_kept(tmp_path, results):
    entry = {"step": 0, "names": 959, "right_without_names": 0.64, "right_with_names": 0.7, "names_kept": False}
    results["history"].append(entry)
    assert "Names as answers" not in page(tmp_path, results, [], []).text
    entry["names_kept"] = True
    text = page(tmp_path, results, [], []).text
    assert "959 names" in text and "70.0% are right" in text and "64.0% without" in text
    results["history"][-1] |= {"right_with_letters": 0.72, "letters_kept": True}
    text = page(tmp_path, results, [], []).text
    assert "was learnt from their pictures" in text and "72.0% are right" in text


def test_overlapping_intervals_are_said(tmp_path, results):
    results["after"]["accuracy_ci"] = [0.55, 0.9]
    assert "The 95% intervals overlap" in page(tmp_path, results, [], []).text


def test_a_worse_figure_is_marked(tmp_path, results):
    results["after"]["ece"] = 0.4
    path = write_report(tmp_path, results, [], [])
    assert '<td class="bad">+0.200</td>' in path.read_text()


def test_figures_that_are_missing_are_left_out(tmp_path, results, predictions):
    small = {key: results[key] for key in ("base", "data", "seed", "command", "handed_over")}
    small["before"], small["after"] = {"accuracy": 0.5}, {"accuracy": 0.5, "ece": float("nan"), "brier": None}
    small["history"], small["per_program"] = [{"step": 3, "train_runtime": 1.0}], {"before": {}, "after": {}}
    plain = [{**row, "ood_score": float("nan"), "is_ood": False} for row in predictions]
    read = page(tmp_path, small, plain, [])
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["reliability.png", "risk_coverage.png"]
    assert "n/a labels used" in read.text
    assert "Telling unfamiliar pictures apart" not in read.text
    assert "nan" not in read.text
    assert "Brier" not in read.text


def test_figures_of_all_sets_together_are_shown(tmp_path, results):
    results["before"] = {"accuracy": 0.5}
    results["after"] = {"accuracy": 0.6, "auroc": 0.91, "auprc": 0.8, "fpr95": 0.3}
    assert "all sets together n/a 0.910 n/a 0.800 n/a 0.300" in page(tmp_path, results, [], []).text


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r, p, e: r.pop("handed_over"), r"Give results the keys \['handed_over'\]"),
        (lambda r, p, e: r["after"].pop("accuracy"), r"results\['after'\] the keys"),
        (lambda r, p, e: p[3].pop("confidence"), "Give each prediction the keys"),
        (lambda r, p, e: e.pop("image"), "Give each example the keys"),
        (lambda r, p, e: e.update(evidence=np.ones((7, 7))), r"evidence as a map \[h, w\]"),
    ],
)
def test_missing_parts_are_named(tmp_path, results, predictions, example, spoil, message):
    spoil(results, predictions, example)
    with pytest.raises(LeamlInputError, match=message):
        write_report(tmp_path, results, predictions, [example])


def test_evidence_lights_up_where_the_model_looked():
    evidence = np.full((4, 4), 0.01)
    evidence[0, 3] = 0.85
    picture = Image.new("RGB", (80, 40), "white")
    overlay = np.asarray(evidence_overlay(picture, evidence)).astype(int)
    assert overlay.shape == (40, 80, 3)
    changed = np.abs(overlay - 255).sum(axis=2)
    assert changed[3, 76] > 100
    assert (changed[20:, :40] == 0).all()


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_even_evidence_leaves_the_picture_as_it_is(mode):
    picture = Image.effect_noise((30, 50), 80).convert(mode)
    overlay = evidence_overlay(picture, np.full((14, 14), 1 / 196))
    assert np.array_equal(np.asarray(overlay), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("evidence", [np.ones(4) / 4, np.zeros((2, 2)), np.array([[2.0, -1.0]]), np.zeros((0, 3))])
def test_evidence_of_another_form_is_refused(evidence):
    with pytest.raises(LeamlInputError, match="evidence as a map"):
        evidence_overlay(Image.new("RGB", (8, 8)), evidence)


def test_plots_refuse_nothing_to_draw(tmp_path):
    with pytest.raises(LeamlInputError, match="at least one program"):
        program_bars(tmp_path / "x.png", {}, {})
    with pytest.raises(LeamlInputError, match="`loss` or a `heldout_accuracy`"):
        learning_curve(tmp_path / "x.png", [{"step": 1, "pseudo_kept": 0.5}])


def test_history_is_put_in_order_and_read_by_either_name():
    history = [
        {"step": 20, "heldout_accuracy": 0.7},
        {"step": 10, "eval_accuracy": 0.6, "loss": 1.5},
        {"step": 20, "loss": 1.0, "learning_rate": 1e-4},
        {"step": 20, "train_runtime": 3.0},
    ]
    assert history_curves(history) == {
        "Training loss": [(10, 1.5), (20, 1.0)],
        "Held-out accuracy": [(10, 0.6), (20, 0.7)],
    }
