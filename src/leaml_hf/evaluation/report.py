"""The report of an adaptation: one HTML file that needs nothing beside it, and its figures as PNGs."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import LeamlInputError
from .answers import answers_match

if TYPE_CHECKING:
    from PIL import Image

MOST_EXAMPLES = 24
_PICTURE_SIZE = 320  # pixels on the longer side, in the report
# key, label, whether shown in percent, whether higher is better
_FIGURES = (
    ("ece", "Calibration error (ECE)", False, False),
    ("brier", "Brier score", False, False),
    ("nll", "Negative log-likelihood", False, False),
    ("aurc", "Area under risk-coverage (AURC)", False, False),
    ("coverage", "Coverage: questions answered", True, None),
    ("selective_accuracy", "Accuracy where answered", True, True),
    ("latency_ms", "Latency, ms a question", False, None),
)
_OOD_FIGURES = (("auroc", "AUROC", True), ("auprc", "AUPRC", True), ("fpr95", "FPR95", False))

_STYLE = """
:root{--ink:#1c2733;--muted:#66727f;--line:#e4e8ed;--blue:#2457c5;--good:#1a7f4f;--bad:#b3372f;--soft:#f6f8fa}
*{box-sizing:border-box}
body{margin:0;background:var(--soft);color:var(--ink)}
body{font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1080px;margin:0 auto;padding:40px 24px 64px}
h1{font-size:30px;line-height:1.2;margin:0 0 6px;letter-spacing:-.02em}
h2{font-size:20px;margin:44px 0 12px;letter-spacing:-.01em}
.lead{font-size:18px;margin:18px 0 0;max-width:62em}.muted,figcaption{color:var(--muted)}.small{font-size:14px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:14px;margin:26px 0 0}
.card,figure,table,.example,code{background:#fff;border:1px solid var(--line);border-radius:12px}
.card{padding:16px 18px}.card b{display:block;font-size:28px;line-height:1.25;letter-spacing:-.02em}
.card span{color:var(--muted);font-size:14px}
.scroll{overflow-x:auto}
table{width:100%;border-collapse:separate;border-spacing:0;font-variant-numeric:tabular-nums}
th,td{padding:9px 16px;text-align:right;border-top:1px solid var(--line)}
thead th{border-top:0;color:var(--muted);font-weight:600;font-size:14px}
th:first-child,td:first-child,.words td,.words th{text-align:left}tbody th{font-weight:500}
td small{display:block;color:var(--muted);font-size:13px}
.good{color:var(--good);font-weight:600}.bad{color:var(--bad);font-weight:600}
.figures{display:grid;grid-template-columns:1fr 1fr;gap:18px}.wide{grid-column:1/-1}
figure{margin:0;padding:16px}figure img{width:100%;height:auto;display:block}
figure h3{margin:0 0 8px;font-size:16px}figcaption{font-size:14px;margin-top:8px}
.examples{display:grid;grid-template-columns:repeat(auto-fill,minmax(318px,1fr));gap:18px}
.example{overflow:hidden}.pictures{display:flex;justify-content:center;background:#eef1f4}
.pictures img{width:50%;aspect-ratio:1;object-fit:contain;display:block}
.words{overflow-wrap:anywhere}.example .words{padding:14px 16px 16px}
.example p{margin:2px 0}.example .question{margin:0 0 8px;font-weight:600}
.bar{height:6px;border-radius:3px;background:var(--line);margin:10px 0 4px}
.bar i{display:block;height:100%;border-radius:3px;background:var(--blue)}
.tag{display:inline-block;font-size:12px;font-weight:600;border-radius:99px;padding:2px 9px;margin:8px 6px 0 0}
.tag{background:#eef1f4}.tag.good{background:#e3f4ea}.tag.bad{background:#fbe9e7}
code{display:block;padding:12px 14px;font-size:13px;white-space:pre-wrap;overflow-wrap:anywhere}
@media(max-width:760px){.figures{grid-template-columns:1fr}th,td{padding:8px 10px}main{padding:24px 14px}}
@media print{body{background:#fff}figure,.example,table{break-inside:avoid}}
"""
_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>LEAML report: {{ results.data }}</title><style>{{ style | safe }}</style></head><body><main>
<h1>LEAML report</h1>
<p class="muted" style="margin:0">{{ results.base }} on {{ results.data }}</p>
<p class="lead"><strong>{{ verdict[0] }}</strong> {{ verdict[1:] | join(" ") }}</p>
<div class="cards">
{% for value, label in cards %}<div class="card"><b>{{ value }}</b><span>{{ label }}</span></div>
{% endfor %}</div>
<h2>Before and after</h2><div class="scroll"><table><thead><tr>
<th scope="col">On {{ after.n | count }} test questions</th>
<th scope="col">Before</th><th scope="col">After</th><th scope="col">Change</th></tr></thead><tbody>
{% for row in headline %}<tr><th scope="row">{{ row.label }}</th>
<td>{{ row.before }}{% if row.before_ci %}<small>{{ row.before_ci }}</small>{% endif %}</td>
<td>{{ row.after }}{% if row.after_ci %}<small>{{ row.after_ci }}</small>{% endif %}</td>
<td class="{{ row.verdict }}">{{ row.change }}</td></tr>
{% endfor %}</tbody></table></div>
{% if ood %}<h2>Telling unfamiliar pictures apart</h2><div class="scroll"><table><thead><tr><th scope="col">Set</th>
{% for label in ood_labels %}<th scope="col">{{ label }} before</th><th scope="col">after</th>{% endfor %}</tr></thead>
<tbody>{% for row in ood %}<tr><th scope="row">{{ row.name }}</th>
{% for cell in row.cells %}<td>{{ cell.before }}</td><td class="{{ cell.verdict }}">{{ cell.after }}</td>
{% endfor %}</tr>{% endfor %}</tbody></table></div>
<p class="muted small">AUROC and AUPRC: higher is better; 0.5 is chance for AUROC. FPR95: the share of unfamiliar
pictures taken for familiar when 95% of the familiar ones are accepted; lower is better.</p>{% endif %}
{% if figures %}<h2>Figures</h2><div class="figures">
{% for figure in figures %}<figure{% if figure.wide %} class="wide"{% endif %}><h3>{{ figure.title }}</h3>
<img src="{{ figure.source }}" alt="{{ figure.title }}"><figcaption>{{ figure.caption }}</figcaption></figure>
{% endfor %}</div>{% endif %}
{% if read %}<h2>What it learnt to read</h2>
<p class="muted small">The names in the questions about {{ read.named_pictures }} pictures told its vision half what is
written there, in letters that may be new to it. The labels, none of which were used for that, became likelier: their
loss fell from {{ "%.2f" | format(read.unread_loss) }} to {{ "%.2f" | format(read.read_loss) }}.</p>{% endif %}
{% if names %}<h2>Names as answers</h2>
<p class="muted small">{{ names.names }} names in questions without an answer may be answers, where they stand where an
answer is written and the base does not know better{% if names.letters_kept %}; how they are written was learnt from
their pictures{% endif %}. Of the labels, none of which were used for that, {{ names.right | percent }} are right
so, and {{ names.right_without_names | percent }} without.</p>{% endif %}
{% if patterns %}<h2>What the base knew already</h2>
<p class="muted small">Questions whose answers the labels found in questions that the base was trained on;
the model is asked those in their place, so that it need not learn new words for what it knows.</p>
<div class="scroll"><table class="words"><thead><tr>
<th scope="col">Asked here</th><th scope="col">Asked in its place</th><th scope="col">Its answers stand for</th>
<th scope="col">Right on labels left out</th></tr></thead><tbody>
{% for rule in patterns %}<tr><td>{{ rule.example }}</td><td>{{ rule.pattern }}</td>
<td>{% for heard, meant in rule.verbalizer.items() %}
{{ heard }} → {{ meant }}{{ ", " if not loop.last }}{% endfor %}</td>
<td>{{ rule.accuracy | percent }} of {{ "%.0f" | format(rule.labels) }}</td></tr>
{% endfor %}</tbody></table></div>{% endif %}
{% if examples %}<h2>Examples</h2>
<p class="muted small">Left the picture, right where the model looked for its answer.</p><div class="examples">
{% for example in examples %}<section class="example"><div class="pictures">
{% for source in example.sources %}<img src="{{ source }}" alt="{{ ["Picture", "Evidence"][loop.index0] }}">
{% endfor %}</div><div class="words"><p class="question">{{ example.question }}</p>
<p>Answer: <span class="{{ example.mark[0] }}">{{ example.prediction }}</span></p>
<p class="muted">Truth: {{ "not known" if example.answer is none else example.answer }}</p>
<div class="bar"><i style="width:{{ example.width }}%"></i></div>
<p class="muted small">Confidence {{ example.confidence | percent }}</p>
{% if example.mark[1] %}<span class="tag {{ example.mark[0] }}">{{ example.mark[1] }}</span>{% endif %}
{% if example.split and example.split != "test" %}<span class="tag">from {{ example.split }}</span>{% endif %}
{% if example.is_ood %}<span class="tag">unfamiliar picture</span>{% endif %}
{% if example.abstained %}<span class="tag">abstained</span>{% endif %}</div></section>
{% endfor %}</div>{% endif %}
{% if mistakes %}<h2>Where it fails: the most confident mistakes</h2>
<div class="scroll"><table class="words"><thead><tr><th scope="col">Row</th><th scope="col">Program</th>
<th scope="col">Answer</th><th scope="col">Truth</th><th scope="col">Confidence</th></tr></thead><tbody>
{% for row in mistakes %}<tr><td>{{ row.id }}</td><td>{{ row.program }}</td><td>{{ row.prediction }}</td>
<td>{{ row.answer }}</td><td>{{ row.confidence | percent }}</td></tr>
{% endfor %}</tbody></table></div>{% endif %}
<h2>How it was made</h2><p class="muted small">Seed {{ results.seed }}.</p><code>{{ results.command }}</code>
</main></body></html>
"""


def _known(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and bool(np.isfinite(value))


def _percent(value: float | None) -> str:
    return f"{100 * value:.1f}%" if _known(value) else "n/a"


def _number(value: float | None) -> str:
    if not _known(value):
        return "n/a"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _count(value: int | None) -> str:
    return f"{value:,}" if _known(value) else "n/a"


def _duration(seconds: float | None) -> str:
    if not _known(seconds):
        return "n/a"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _better(before: float | None, after: float | None, higher: bool | None) -> str:
    if higher is None or not _known(before) or not _known(after) or before == after:
        return ""
    return "good" if (after > before) == higher else "bad"


def _verdict(results: Mapping[str, Any]) -> list[str]:
    """Sentences on what was handed over and how far the figures carry."""
    before, after = results["before"], results["after"]
    if results["handed_over"] == "base":
        return [
            "The base was handed over, without an adapter.",
            "The adapter that was trained did not beat it on the labelled rows held back for that decision.",
            f"The base answers {_percent(before['accuracy'])} of {_count(before.get('n'))} test questions correctly.",
        ]
    points = 100 * (after["accuracy"] - before["accuracy"])
    sentences = [
        "The adapter was handed over.",
        f"It answers {_percent(after['accuracy'])} of the {_count(after.get('n'))} test questions correctly, against "
        f"{_percent(before['accuracy'])} for the base ({points:+.1f} points).",
    ]
    intervals = [side.get("accuracy_ci") for side in (before, after)]
    if all(intervals) and intervals[0][1] >= intervals[1][0] and intervals[1][1] >= intervals[0][0]:
        sentences.append("The 95% intervals overlap: with so few test questions the difference may be chance.")
    return sentences


def _interval(side: Mapping[str, Any]) -> str:
    interval = side.get("accuracy_ci")
    return f"{_percent(interval[0])} to {_percent(interval[1])}" if interval else ""


def _cards(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    before, after = results["before"], results["after"]
    return [
        (_percent(after["accuracy"]), f"right answers, before {_percent(before['accuracy'])}"),
        (_number(after.get("ece")), f"calibration error, before {_number(before.get('ece'))}"),
        (_count(results.get("labels_used")), "labels used"),
        (_count(results.get("unlabeled_used")), "unlabelled pictures used"),
        (_duration(results.get("seconds")), "from start to finish"),
    ]


def _headline(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, str]]:
    rows = []
    for key, label, percent, higher in (("accuracy", "Accuracy, 95% interval", True, True), *_FIGURES):
        old, new = before.get(key), after.get(key)
        if not _known(old) and not _known(new):
            continue
        both = _known(old) and _known(new)
        show = _percent if percent else _number
        digits = 3 if both and max(old, new) < 10 else 1
        change = (f"{100 * (new - old):+.1f} points" if percent else f"{new - old:+.{digits}f}") if both else ""
        change = "unchanged" if both and old == new else change
        row = {"label": label, "before": show(old), "after": show(new), "change": change}
        row["verdict"] = _better(old, new, higher)
        if key == "accuracy":
            row.update(before_ci=_interval(before), after_ci=_interval(after))
        rows.append(row)
    return rows


def _ood_sets(side: Mapping[str, Any]) -> Mapping[str, Mapping[str, float]]:
    if side.get("ood"):
        return side["ood"]
    return {"all sets together": side} if _known(side.get("auroc")) else {}


def _ood_table(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    old, new = _ood_sets(before), _ood_sets(after)
    rows = []
    for name in dict.fromkeys([*new, *old]):
        cells = []
        for key, _, higher in _OOD_FIGURES:
            values = old.get(name, {}).get(key), new.get(name, {}).get(key)
            verdict = _better(*values, higher)
            cells.append({"before": _number(values[0]), "after": _number(values[1]), "verdict": verdict})
        rows.append({"name": name, "cells": cells})
    return rows


def _data_url(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _embed(image: "Image.Image") -> str:
    image = image.convert("RGB")
    image.thumbnail((_PICTURE_SIZE, _PICTURE_SIZE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return _data_url(buffer.getvalue(), "jpeg")


def _example(example: Mapping[str, Any]) -> dict[str, Any]:
    from .plots import evidence_overlay

    pictures = [example["image"]]
    if example.get("evidence") is not None:
        pictures.append(evidence_overlay(example["image"], example["evidence"]))
    correct = example.get("correct")
    if correct is None and example["answer"] is not None:
        correct = answers_match(example["prediction"], example["answer"])
    mark = ("", "") if correct is None else ("good", "right") if correct else ("bad", "wrong")
    shown = {"mark": mark, "width": round(100 * float(example["confidence"]), 1)}
    return {**example, **shown, "sources": [_embed(picture) for picture in pictures]}


def _draw(folder: Path, results: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    from . import plots

    test = [row for row in predictions if row["split"] == "test"]
    confidence, correct = [row["confidence"] for row in test], [float(row["correct"]) for row in test]
    scored = [row for row in predictions if _known(row.get("ood_score"))]
    familiar = [row["ood_score"] for row in scored if row["split"] == "test"]
    unfamiliar: dict[str, list[float]] = {}
    for row in scored:
        if row["split"] != "test":
            unfamiliar.setdefault(row["split"], []).append(row["ood_score"])
    drawn = []

    def add(path: Path, title: str, caption: str, wide: bool = False) -> None:
        source = _data_url(path.read_bytes(), "png")
        drawn.append({"source": source, "title": title, "caption": caption, "wide": wide})

    if test:
        add(
            plots.reliability_diagram(folder / "reliability.png", confidence, correct),
            "Does the confidence keep its word?",
            "Points on the line: of answers given with 80% confidence, 80% are right. Below: how many answers.",
        )
        add(
            plots.risk_coverage(folder / "risk_coverage.png", confidence, correct),
            "Fewer answers, fewer mistakes",
            "How the share of mistakes falls when only the most confident answers are given.",
        )
    if familiar and unfamiliar:
        accepted = [row["ood_score"] for row in scored if not row["is_ood"]]
        threshold = max(accepted) if 0 < len(accepted) < len(scored) else None
        add(
            plots.roc_curves(folder / "roc.png", familiar, unfamiliar, threshold),
            "Does it notice unfamiliar pictures?",
            "Dots, where there are any, mark the threshold in use, set to accept 95% of familiar pictures.",
        )
    if plots.history_curves(results.get("history", [])):
        add(
            plots.learning_curve(folder / "learning_curve.png", results["history"]),
            "How it learned",
            "Loss on the training rows, and accuracy on labels held back, where it was measured.",
        )
    programs = results.get("per_program", {})
    if programs.get("after"):
        add(
            plots.program_bars(folder / "programs.png", programs["before"], programs["after"]),
            "By kind of question",
            "Accuracy on the test questions before and after.",
            wide=True,
        )
    return drawn


def write_report(
    folder: str | Path,
    results: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    examples: Sequence[Mapping[str, Any]],
) -> Path:
    """
    Writes `report.html`, which holds all its pictures, and the figures once more as PNGs in `report/`.

    Args:
        folder (`str` or `Path`): made if it is not there.
        results (`Mapping`): `before` and `after` (the base and what was handed over: `n`, `accuracy`, `accuracy_ci`,
            `ece` and so on as from `evaluate`, and under `ood` the `auroc`, `auprc` and `fpr95` of each set by its
            name), `labels_used`, `unlabeled_used`, `seconds`, `base`, `data`, `seed`, `command`, `handed_over`
            (`"adapter"` or `"base"`), and optionally `history` (entries with `step` and any of `loss`,
            `heldout_accuracy`, `patterns`: rules as of `phrasebook`, `named_pictures`, `unread_loss`, `read_loss` and
            `reading_kept` of learning to read, and `names`, `right_without_names`, `right_with_names`, `names_kept`,
            `right_with_letters` and `letters_kept` of names as answers) and `per_program` (`before` and `after`, each
            by program with `n` and `accuracy`).
            Figures that are missing are left out or shown as "n/a".
        predictions (`Sequence[Mapping]`): one for each row, of what was handed over: `id`, `program`, `prediction`,
            `answer`, `correct`, `confidence`, `ood_score`, `is_ood`, `split` (`"test"` or an out-of-distribution set's
            name). Of rows that are not from the test split, `answer` and `correct` may be `None`.
        examples (`Sequence[Mapping]`): to show with their picture, 24 at most: `image` (`PIL.Image.Image`),
            `question`, `prediction`, `answer` (or `None`), `confidence`, and optionally `correct` (by default, whether
            the answers match), `evidence` (`[h, w]`, sums to 1), `is_ood`, `abstained` and `split`.

    Returns:
        `Path`: `report.html`.

    Raises:
        [`LeamlInputError`]: if a key that has no default is missing.
    """
    from jinja2 import Environment

    _require(results, "results", ("before", "after", "handed_over", "base", "data", "seed", "command"))
    for side in ("before", "after"):
        _require(results[side], f"results['{side}']", ("accuracy",))
    for row in predictions:
        _require(row, "each prediction", ("id", "prediction", "answer", "correct", "confidence", "split"))
    for row in examples:
        _require(row, "each example", ("image", "question", "prediction", "answer", "confidence"))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    environment = Environment(autoescape=True)
    environment.filters.update(percent=_percent, count=_count)
    asked = next((entry for entry in results.get("history", []) if "patterns" in entry), {})
    wrong = [row for row in predictions if row["split"] == "test" and not row["correct"]]
    page = environment.from_string(_TEMPLATE).render(
        style=_STYLE,
        results=results,
        after=results["after"],
        cards=_cards(results),
        verdict=_verdict(results),
        headline=_headline(results["before"], results["after"]),
        ood=_ood_table(results["before"], results["after"]),
        ood_labels=[label for _, label, _ in _OOD_FIGURES],
        read=_kept(results.get("history", []), "reading_kept"),
        names=_names(results.get("history", [])),
        patterns=asked.get("patterns", []),
        figures=_draw(folder / "report", results, predictions),
        examples=[_example(example) for example in examples[:MOST_EXAMPLES]],
        mistakes=sorted(wrong, key=lambda row: -row["confidence"])[:10],
    )
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _kept(history: Sequence[Mapping[str, Any]], what: str) -> Mapping[str, Any] | None:
    """What a training tells of something that it kept, if it did."""
    return next((entry for entry in history if entry.get(what)), None)


def _names(history: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """What a training found of names as answers, if it kept them, and the share of labels that are `right` so."""
    entry = _kept(history, "names_kept")
    best = "right_with_letters" if entry and entry.get("letters_kept") else "right_with_names"
    return entry and {**entry, "right": entry[best]}


def _require(mapping: Mapping[str, Any], what: str, keys: Sequence[str]) -> None:
    missing = [key for key in keys if key not in mapping]
    if missing:
        raise LeamlInputError(f"Give {what} the keys {missing}, without which there is no report.")
