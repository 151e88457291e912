"""Answers a data set row by row and turns what came out into figures; nothing of rows x tokens x words is kept."""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.budget import first_places, picture_keys, rows_with
from ..data.conversations import as_rows
from ..errors import LeamlInputError
from ..reliability import report_causes
from . import metrics
from .answers import answers_match

if TYPE_CHECKING:
    from datasets import Dataset

    from ..modeling_leaml import LeamlForVisualQA
    from ..processing_leaml import LeamlProcessor
    from ..training.cache import FrozenCache

CHUNK = 256  # rows whose pictures are open at a time
NUMBER_TOLERANCE = 0.05  # relative; the ChartQA rule (Masry et al. 2022)


@dataclass
class Predictions:
    """What a model said about n rows.

    Attributes:
        texts: n answers.
        raw_confidence: `[n]` probability of each answer's tokens, in [0, 1].
        correct: `[n]` bool; empty where the rows have no answers.
        states: `vision` `[n, Dv]`, `hidden` `[n, D]`, `logits` `[n, V]`: what OOD scores read.
        nll: mean negative log-likelihood of being right under `raw_confidence`, in nats; NaN without answers.
        seconds: wall time, decoding of pictures included.
    """

    texts: list[str]
    raw_confidence: np.ndarray
    correct: np.ndarray
    states: dict[str, np.ndarray]
    nll: float
    seconds: float

    @classmethod
    def join(cls, parts: "list[Predictions]") -> "Predictions":
        """Those of the rows of all parts, one after the other."""
        confidence, correct = (np.concatenate([getattr(part, name) for part in parts])
                               for name in ("raw_confidence", "correct"))  # fmt: skip
        states = {name: np.concatenate([part.states[name] for part in parts]) for name in parts[0].states}
        texts, seconds = [text for part in parts for text in part.texts], sum(part.seconds for part in parts)
        return cls(texts, confidence, correct, states, _nll(confidence, correct), seconds)


def predict(
    model: "LeamlForVisualQA",
    processor: "LeamlProcessor",
    dataset: "Dataset",
    batch_size: int = 64,
    tolerance: float | None = None,
    progress: bool = False,
    cache: "FrozenCache | None" = None,
    max_new_tokens: int = 8,
) -> Predictions:
    """Answers every row.

    Args:
        model ([`LeamlForVisualQA`]): put into evaluation mode.
        processor ([`LeamlProcessor`]): of the model.
        dataset (`Dataset`): rows with `image` and `question`; `answer` where there is one.
        batch_size (`int`, *optional*, defaults to 64): rows a forward pass.
        tolerance (`float`, *optional*): relative error that numbers may have; `None` for none.
        progress (`bool`, *optional*, defaults to `False`): whether to show a bar on standard error.
        cache ([`FrozenCache`], *optional*): of the model; pictures are looked up there.
        max_new_tokens (`int`, *optional*, defaults to 8): longest answer in tokens.

    Returns:
        [`Predictions`].

    Raises:
        LeamlInputError: if there is no row.
    """
    from tqdm.auto import tqdm

    if len(dataset) == 0:
        raise LeamlInputError("There are no rows to answer.")
    model.eval()
    start = time.perf_counter()
    keys = picture_keys(dataset)
    order = sorted(range(len(dataset)), key=lambda i: keys[i])  # rows of one picture share its encoding
    parts, answered = [], []
    for at in tqdm(range(0, len(order), CHUNK), desc="answering", disable=not progress, unit="chunk"):
        spots = order[at : at + CHUNK]
        rows = dataset.select(spots)
        pictures = open_pictures(model, processor, rows["image"], [keys[i] for i in spots], cache)
        questions = list(rows["question"])
        by_text = sorted(range(len(spots)), key=lambda k: questions[k])  # texts alike are alike in length, too
        images = [pictures[keys[spots[k]]] for k in by_text]
        asked = [questions[k] for k in by_text]
        parts.append(model.collect(images, asked, processor, batch_size, max_new_tokens))
        answered += [spots[k] for k in by_text]
    back = np.argsort(answered)
    texts = [text for part in parts for text in part.texts]
    texts = [texts[i] for i in back]
    confidence = np.concatenate([part.confidence for part in parts])[back]
    states = [part.states() for part in parts]
    states = {name: np.concatenate([part[name] for part in states])[back] for name in states[0]}
    answers = list(dataset["answer"]) if "answer" in dataset.column_names else [None]
    correct = np.array(
        [answers_match(t, a, tolerance) for t, a in zip(texts, answers, strict=True)] if all(answers) else []
    )
    nll = _nll(confidence, correct)
    return Predictions(texts, confidence, correct.astype(bool), states, nll, time.perf_counter() - start)


def open_pictures(
    model: "LeamlForVisualQA",
    processor: "LeamlProcessor",
    images: Sequence[Any],
    keys: Sequence[str],
    cache: "FrozenCache | None",
) -> dict[str, Any]:
    """Pictures by their key, each once: the vision states of a composed model, from `cache` where nothing that they
    depend on is trained, and the pictures themselves for others."""
    from ..training.cache import FrozenCache
    from ..training.views import WEAK

    first = first_places(keys)
    if not model.config.is_composed:
        return {key: images[place] for key, place in first.items()}
    known = cache if cache is not None and cache.vision_is_frozen else FrozenCache(model, processor)
    loaders = [partial(images.__getitem__, place) for place in first.values()]
    return dict(zip(first, known.pictures(list(first), [WEAK] * len(first), loaders, model), strict=True))


def picture_states(
    model: "LeamlForVisualQA", processor: "LeamlProcessor", rows: "Dataset", cache: "FrozenCache | None" = None
) -> dict[str, np.ndarray]:
    """What a model sees in the pictures of n rows with questions, without an answer: `vision` `[n, Dv]` and, of
    composed models, `places`, `texture` and `names`, as in [`~records.AnswerRecords`]; each picture is encoded
    once."""
    import torch

    from ..calls import VisionCall
    from ..records import states_of_pictures

    keys = picture_keys(rows)
    first = list(first_places(keys).items())
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    for start in range(0, len(first), CHUNK):
        names, places = zip(*first[start : start + CHUNK], strict=True)
        part = rows.select(places)
        pictures = open_pictures(model, processor, part["image"], names, cache)
        if model.config.is_composed:
            encoded = [pictures[name] for name in names]
            states, texture = (torch.stack([getattr(one, part) for one in encoded]).to(model.device)
                               for part in ("states", "texture"))  # fmt: skip
            seen = states_of_pictures(model, VisionCall(states=states, texture=texture), len(names))
            for kind, values in seen.items():
                found[kind] += list(values.float().cpu().numpy())
        else:
            opened = [pictures[name] for name in names]
            found["vision"] += list(model.collect(opened, list(part["question"]), processor, max_new_tokens=1).vision)
    spot = {key: place for place, (key, _) in enumerate(first)}
    by_picture = {name: np.stack(values) for name, values in found.items()}
    return {name: values[[spot[key] for key in keys]] for name, values in by_picture.items() if values.shape[1]}


def _nll(confidence: np.ndarray, correct: np.ndarray) -> float:
    return metrics.nll(confidence, correct) if len(correct) else float("nan")


def judge_predictions(predictions: Predictions, judged: dict[str, np.ndarray]) -> dict[str, Any]:
    """Figures of one data set from its predictions and what `Reliability.apply` made of them."""
    correct, confidence = predictions.correct, judged["confidence"]
    given = ~judged["abstained"]
    low, high = metrics.wilson_interval(float(correct.sum()), len(correct))
    return {
        "n": len(correct),
        "accuracy": metrics.accuracy(correct),
        "accuracy_ci": [low, high],
        "ece": metrics.ece(confidence, correct),
        "brier": metrics.brier(confidence, correct),
        "nll": metrics.nll(confidence, correct),
        "aurc": metrics.aurc(confidence, correct),
        "coverage": float(given.mean()),
        "selective_accuracy": float(correct[given].mean()) if given.any() else None,
        "latency_ms": 1000 * predictions.seconds / len(correct),
    }


def judge_ood(inside: np.ndarray, outside: np.ndarray) -> dict[str, float]:
    """AUROC, AUPRC and FPR95 of OOD scores: `inside` in-distribution rows, `outside` the others."""
    scores = np.concatenate([inside, outside])
    labels = np.concatenate([np.zeros(len(inside)), np.ones(len(outside))])
    return {
        "n": len(outside),
        "auroc": metrics.auroc(scores, labels),
        "auprc": metrics.auprc(scores, labels),
        "fpr95": metrics.fpr_at_tpr(scores, labels),
    }


def apply_reliability(model: "LeamlForVisualQA", predictions: Predictions) -> dict[str, np.ndarray]:
    """Calibrated confidence, OOD score and decisions; without a fitted reliability the usual stand-ins of a VLM: the
    probability of the answer's tokens, and one minus it as OOD score."""
    if model.reliability is not None:
        return model.reliability.apply(predictions.states, predictions.raw_confidence)
    n = len(predictions.texts)
    none = np.zeros(n, dtype=bool)
    raw = predictions.raw_confidence
    return {"confidence": raw, "ood_score": 1 - raw, "is_ood": none, "abstained": none}


@dataclass
class Evaluation:
    """Figures and, for plots and reports, the rows behind them."""

    results: dict[str, Any]
    predictions: list[dict[str, Any]]


def evaluate_model(
    model: "LeamlForVisualQA",
    processor: "LeamlProcessor",
    dataset: "Dataset",
    ood_datasets: "dict[str, Dataset] | None" = None,
    batch_size: int = 64,
    tolerance: float | None = None,
    progress: bool = False,
    cache: "FrozenCache | None" = None,
) -> Evaluation:
    """Accuracy, calibration, abstention and (with `ood_datasets`) OOD detection of a model.

    Args:
        model ([`LeamlForVisualQA`]): with or without fitted reliability.
        processor ([`LeamlProcessor`]): of the model.
        dataset (`Dataset`): labelled in-distribution rows; rows without question or answer are left out.
        ood_datasets (`dict[str, Dataset]`, *optional*): rows from elsewhere, by name.
        batch_size (`int`, *optional*, defaults to 64): rows a forward pass.
        tolerance (`float`, *optional*): relative error that numbers may have.
        progress (`bool`, *optional*, defaults to `False`): whether to show bars.
        cache ([`FrozenCache`], *optional*): of the model; pictures are looked up there.

    Returns:
        [`Evaluation`]; its results have `n, accuracy, accuracy_ci, ece, brier, nll, aurc, coverage,
        selective_accuracy, latency_ms, per_program`, with a fitted reliability `causes`, and with OOD data `auroc,
        auprc, fpr95` over all of it and each set's own under `ood`.

    Raises:
        LeamlInputError: if no row has both a question and an answer.
    """
    rows = rows_with(as_rows(dataset), "question", "answer")
    if len(rows) == 0:
        raise LeamlInputError("No row has both a question and an answer, so there is nothing to judge by.")
    seen = predict(model, processor, rows, batch_size, tolerance, progress, cache)
    judged = apply_reliability(model, seen)
    results = judge_predictions(seen, judged)
    results["per_program"] = _per_program(rows, seen.correct)
    if model.reliability is not None and model.reliability.boundary is not None:
        results["causes"] = report_causes(model.reliability.boundary.causes(seen.states, ~seen.correct), seen.correct)
    records = _records(rows, seen, judged, "test")
    outside = {}
    for name, other in (ood_datasets or {}).items():
        asked = rows_with(as_rows(other), "question")
        elsewhere = predict(model, processor, asked, batch_size, tolerance, progress, cache)
        verdict = apply_reliability(model, elsewhere)
        outside[name] = verdict["ood_score"]
        records += _records(asked, elsewhere, verdict, name)
    if outside:
        results["ood"] = {name: judge_ood(judged["ood_score"], scores) for name, scores in outside.items()}
        together = judge_ood(judged["ood_score"], np.concatenate(list(outside.values())))
        results |= {key: together[key] for key in ("auroc", "auprc", "fpr95")}
    return Evaluation(results, records)


def _per_program(rows: "Dataset", correct: np.ndarray) -> dict[str, dict[str, float]]:
    if "program" not in rows.column_names:
        return {}
    groups: dict[str, list[bool]] = defaultdict(list)
    for program, right in zip(rows["program"], correct, strict=True):
        groups[str(program)].append(bool(right))
    return {name: {"n": len(group), "accuracy": float(np.mean(group))} for name, group in sorted(groups.items())}


def _records(rows: "Dataset", seen: Predictions, judged: dict[str, np.ndarray], split: str) -> list[dict[str, Any]]:
    programs = rows["program"] if "program" in rows.column_names else [""] * len(rows)
    correct = seen.correct.tolist() if len(seen.correct) else [None] * len(rows)
    return [
        {"id": id_, "program": program, "question": question, "prediction": text, "answer": answer, "correct": right,
         "confidence": float(judged["confidence"][i]), "ood_score": float(judged["ood_score"][i]),
         "is_ood": bool(judged["is_ood"][i]), "abstained": bool(judged["abstained"][i]), "split": split}
        for i, (id_, program, question, text, answer, right) in enumerate(
            zip(rows["id"], programs, rows["question"], seen.texts, rows["answer"], correct, strict=True))
    ]  # fmt: skip
