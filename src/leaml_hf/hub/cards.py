"""The card of an adapter or base, from its `config.json` and the figures in its `leaml_results.json`."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from ..checkpoints import LEXICON_FILES, RETRIEVAL_FILES, base_name
from ..configuration_leaml import LeamlConfig
from ..errors import LeamlInputError
from ..files import damaged, read_json
from ..training.adapt import HELD_OUT

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

CARD = "README.md"
RESULTS_FILE = "leaml_results.json"
EVAL_RESULTS_FILE = ".eval_results/leaml.yaml"
TASK = "visual-question-answering"
# key, the Hub's name of the metric, name, whether shown in percent
METRICS = (
    ("accuracy", "accuracy", "Accuracy", True),
    ("ece", "expected_calibration_error", "Calibration error (ECE)", False),
    ("brier", "brier_score", "Brier score", False),
    ("aurc", "aurc", "Area under risk-coverage (AURC)", False),
    ("coverage", "coverage", "Share of questions answered", True),
    ("selective_accuracy", "selective_accuracy", "Accuracy where answered", True),
    ("auroc", "roc_auc", "AUROC, unfamiliar pictures", False),
    ("auprc", "average_precision", "AUPRC, unfamiliar pictures", False),
    ("fpr95", "fpr_at_95_tpr", "Unfamiliar pictures taken for familiar (FPR95)", False),
)
_ABSOLUTE_PATH = re.compile(r"""(?<![^\s"'=])/(?:[^\s"'/]+/)+([^\s"'/]+)""")
WORST = 5  # kinds of question named as failure modes
_TEMPLATE = """---
{{ card_data }}
---

# {{ name }}

{{ summary }}

## Use

```python
import leaml_hf  # pip install leaml-hf; without it, give both lines below trust_remote_code=True
from transformers import AutoModel, AutoProcessor

model = AutoModel.from_pretrained("{{ repo_id }}")
processor = AutoProcessor.from_pretrained("{{ repo_id }}")
question = "{{ question }}"
answer = model.answer(["picture.png"], [question], processor)[0]
print(answer.text, answer.confidence)  # the answer, and the {{ "calibrated " if results }}probability that it is right
print(answer.is_ood, answer.abstained)  # whether the picture is unfamiliar, and whether not to rely on the answer
```

On the command line: `leaml answer {{ repo_id }} picture.png "{{ question }}"`
{% if results %}
## Measured

On {{ after.n }} questions of {{ results.data }} ({{ judged_on }}); "before" is the base as it is.

| | before | after |
|---|---|---|
{% for label, old, new in rows %}| {{ label }} | {{ old }} | {{ new }} |
{% endfor %}{% if sets %}
Unfamiliar pictures, by where they are from:

| set | AUROC | AUPRC | FPR95 |
|---|---|---|---|
{% for name, figures in sets.items() %}| {{ name }} | {{ "%.3f" | format(figures.auroc) }} \
| {{ "%.3f" | format(figures.auprc) }} | {{ "%.3f" | format(figures.fpr95) }} |
{% endfor %}{% endif %}{% endif %}
## Procedure

{{ procedure }}
{% if results.command %}
```bash
{{ results.command }}
```
{% endif %}
Learning from a domain's unlabelled pictures beside few labels is the idea of LEAML (arXiv 2510.03232); the gated
fusion, the words and the reliability module are leaml-hf's own.

## Failure modes

{% for sentence in failures %}- {{ sentence }}
{% endfor %}
## Limits

{% for sentence in limits %}- {{ sentence }}
{% endfor %}
## Environmental cost

{{ cost }}
"""


def write_card(
    folder: str | os.PathLike, repo_id: str, license: str | None = None, output: str | os.PathLike | None = None
) -> Path:
    """
    Writes the card of a saved model.

    Args:
        folder (`str` or `PathLike`): holds `config.json` and, for an adapter with figures, `leaml_results.json`.
        repo_id (`str`): its name on the Hub, for the title and the snippet.
        license (`str`, *optional*): identifier, such as `"apache-2.0"`; left out if it is not given.
        output (`str` or `PathLike`, *optional*): the file; defaults to `README.md` in the folder.

    Returns:
        `Path`: the card.

    Raises:
        [`LeamlInputError`]: if the folder has no LEAML configuration or the figures are damaged.
    """
    config, results = read_config(folder), _read_results(folder)
    file = Path(folder) / CARD if output is None else Path(output)
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise LeamlInputError(f"{file} is a link or no file: remove it, the card is written there.")
    with _figures(Path(folder)):
        beside = {name for name in (LEXICON_FILES[1], RETRIEVAL_FILES[1]) if (Path(folder) / name).is_file()}
        text = _card(config, results, repo_id, license, beside)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n", encoding="utf-8")
    return file


def _card(config: LeamlConfig, results: dict[str, Any], repo_id: str, license: str | None, beside: set[str]) -> str:
    from huggingface_hub import ModelCard, ModelCardData

    base = base_model(config)
    data = ModelCardData(
        license=license,
        language="en",
        library_name="leaml-hf",
        pipeline_tag="image-text-to-text",
        tags=["leaml", TASK, "calibration", "out-of-distribution-detection", "custom_code"],
        base_model=base,
        base_model_relation=base and "adapter",
        datasets=_hub_dataset(results) and [_hub_dataset(results)],
        model_name=repo_id.split("/")[-1],
        eval_results=list(_eval_results(results)) or None,
    )
    card = ModelCard.from_template(
        data,
        template_str=_TEMPLATE,
        name=repo_id.split("/")[-1],
        repo_id=repo_id,
        question=_example_question(results),
        summary=_summary(config, results),
        results=results,
        judged_on=_judged_on(results),
        after=results.get("after"),
        rows=list(_rows(results)),
        sets=results.get("after", {}).get("ood", {}),
        procedure=_procedure(config, results),
        failures=list(_failures(results)),
        limits=list(_limits(config, results, beside)),
        cost=_cost(results),
    )
    return str(card)


@contextmanager
def _figures(folder: Path) -> Iterator[None]:
    """Figures that are not of the form in which `leaml adapt` writes them fail in one way or another."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, TemplateError) as error:
        raise damaged(folder / RESULTS_FILE) from error


def write_eval_results(folder: str | os.PathLike) -> Path | None:
    """
    Writes the accuracy as `.eval_results/leaml.yaml`, where it is that on a data set of the Hub.

    Args:
        folder (`str` or `PathLike`): holds `leaml_results.json`, or not.

    Returns:
        `Path` or `None`: the file, if there is anything to write.
    """
    import yaml
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    results = _read_results(folder)
    dataset = _hub_dataset(results)
    if dataset is None:
        return None
    with _figures(Path(folder)):
        entry = EvalResultEntry(dataset, TASK, _value(results["after"]["accuracy"], True), date=results.get("date"),
                                notes=f"accuracy in percent; {results['command']}")  # fmt: skip
    file = Path(folder) / EVAL_RESULTS_FILE
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False), encoding="utf-8")
    return file


def public_results(results: dict[str, Any]) -> dict[str, Any]:
    """
    Figures as they may be published: folders of this machine are named by their last part.

    Args:
        results (`dict`): of `leaml_results.json`.

    Returns:
        `dict`: a copy.
    """
    text = json.dumps({key: value for key, value in results.items() if key != "output"})
    for name in {str(results.get(key, "")) for key in ("output", "data", "base")}:
        if Path(name).is_absolute():
            text = text.replace(name, Path(name).name)
    return json.loads(_ABSOLUTE_PATH.sub(r"\1", text))


def is_folder(name: str) -> bool:
    """
    Whether a name is that of a folder of this machine, and so means nothing to others.

    Args:
        name (`str`): of a model.

    Returns:
        `bool`.
    """
    return Path(name).is_absolute() or os.path.isdir(name)  # false for what cannot be a path


def base_model(config: LeamlConfig) -> str | list[str] | None:
    """
    What a model stands on, as the Hub knows it.

    Args:
        config ([`LeamlConfig`]): of the model.

    Returns:
        `str`, `list[str]` or `None`: Hub id of the base, or of the models that it was made from.
    """
    base = config.base_repo or config.base_name_or_path
    if base and "/" in base:
        return None if is_folder(base) else base
    names = [name for name in (config.text_name_or_path, config.vision_name_or_path) if name and not is_folder(name)]
    return names[0] if len(names) == 1 else names or None


def read_config(folder: str | os.PathLike) -> LeamlConfig:
    """
    The configuration in a folder.

    Args:
        folder (`str` or `PathLike`): holds `config.json`.

    Returns:
        [`LeamlConfig`].

    Raises:
        [`LeamlInputError`]: if it is not there, damaged, or of another kind of model.
    """
    file = Path(folder) / "config.json"
    content = read_json(file) if file.is_file() else {}
    if content.get("model_type") != LeamlConfig.model_type:
        raise LeamlInputError(f"{folder} has no LEAML configuration: give a folder that `leaml adapt` wrote.")
    return LeamlConfig.from_dict(content)


def _read_results(folder: str | os.PathLike) -> dict[str, Any]:
    file = Path(folder) / RESULTS_FILE
    return public_results(read_json(file)) if file.exists() else {}


def _hub_dataset(results: dict[str, Any]) -> str | None:
    """The data set if it is one of the Hub: `owner/name`, and no folder."""
    data = results.get("data", "")
    return data if re.fullmatch(r"[\w.-]+/[\w.-]+", data) and not os.path.exists(data) else None


def _judged_on(results: dict[str, Any]) -> str:
    return results.get("judged_on", "test")


def _value(value: float, percent: bool) -> float:
    return round(100 * value, 2) if percent else round(value, 4)


def _shown(value: float | None, percent: bool) -> str:
    if value is None:
        return "not measured"
    return f"{100 * value:.1f}%" if percent else f"{value:.3f}"


def _eval_results(results: dict[str, Any]) -> "Iterator[EvalResult]":
    from huggingface_hub import EvalResult

    for key, metric, label, percent in METRICS:
        value = results.get("after", {}).get(key)
        if value is not None:
            yield EvalResult(
                task_type=TASK,
                dataset_type=_hub_dataset(results) or Path(results["data"]).name,
                dataset_name=results["data"],
                dataset_split=None if _judged_on(results) == HELD_OUT else _judged_on(results),
                metric_type=metric,
                metric_name=label,
                metric_value=_value(value, percent),
            )


def _rows(results: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    if not results:
        return
    sides = [results["before"], results["after"]]
    for key, _, label, percent in METRICS:
        if any(side.get(key) is not None for side in sides):
            shown = [_shown(side.get(key), percent) for side in sides]
            if key == "accuracy":
                intervals = [side["accuracy_ci"] for side in sides]
                shown = [f"{text} ({_shown(low, True)} to {_shown(high, True)})"
                         for text, (low, high) in zip(shown, intervals, strict=True)]  # fmt: skip
            yield label, *shown


def _example_question(results: dict[str, Any]) -> str:
    for entry in results.get("history", []):
        for rule in entry.get("patterns", []):
            return re.sub(r'[\s"\\`]+', " ", rule["example"])
    return "How many bars are there?"


def _summary(config: LeamlConfig, results: dict[str, Any]) -> str:
    base = base_name(config)
    base = Path(base).name if is_folder(base) else base
    if not config.has_adapter:
        return (f"A base for LEAML adapters on {base}: vision encoder and bridge; the language model is loaded from "
                "where it is.")  # fmt: skip
    text = f"A LEAML adapter on {base}: it answers questions about pictures, and says how sure it is"
    if not results:
        return f"{text}. Its figures were not published with it."
    before, after = results["before"], results["after"]
    if results["handed_over"] == "base":
        return (f"{text}. No adapter was better than the base on the labels held back for that decision, so its "
                "weights change nothing; it has a reliability module. Accuracy "
                f"{_shown(after['accuracy'], True)}.")  # fmt: skip
    return (f"{text} and whether a picture is unfamiliar. With {results['labels_used']} labels and "
            f"{results['unlabeled_used']} unlabelled questions of {results['data']}, accuracy rose from "
            f"{_shown(before['accuracy'], True)} to {_shown(after['accuracy'], True)}.")  # fmt: skip


def _procedure(config: LeamlConfig, results: dict[str, Any]) -> str:
    if not config.has_adapter:
        return f"Made with `leaml pretrain` on drawn pictures. {_versions(config)}"
    layers = f"LoRA of rank {config.lora_rank} in decoder layers {_span(config.lora_layers)}"
    layers += " and the base's bridge" * config.adapt_bridge + " and vision encoder" * config.adapt_vision
    if config.adapt_reading:
        layers += " and, from the names in unlabelled questions alone, in the vision half"
    if config.fusion_layers:
        layers += f", gated cross-attention of width {config.fusion_dim} in layers {_span(config.fusion_layers)}"
    text = f"The base is frozen. Trained: {layers}. {_versions(config)}"
    if not results:
        return text
    rules = sum(len(entry.get("patterns", [])) for entry in results.get("history", []))
    if rules:
        text += f" {rules} kinds of question are put to the base in words that it knows."
    names = next((entry["names"] for entry in results.get("history", []) if entry.get("names_kept")), 0)
    if names:
        text += f" {names} names may be answers that the base does not know."
    helped = "taught the vision half to read and " * config.adapt_reading + "told the names and " * bool(names)
    helped += "helped to find the words and " * bool(rules)
    return (f"{text} {results['labels_used']} answers were used, those held back to stop early and to calibrate "
            f"included; {results['unlabeled_used']} questions without answers {helped}"
            f"gave the statistics of what is familiar. Seed {results['seed']}, one run.")  # fmt: skip


def _versions(config: LeamlConfig) -> str:
    versions = config.versions or {}
    return f"Made with {', '.join(f'{name} {version}' for name, version in versions.items())}." if versions else ""


def _span(layers: list[int]) -> str:
    if layers and layers == list(range(layers[0], layers[-1] + 1)) and len(layers) > 1:
        return f"{layers[0]} to {layers[-1]}"
    return ", ".join(map(str, layers)) or "none"


def _failures(results: dict[str, Any]) -> Iterator[str]:
    if not results:
        yield "Not measured: judge it on your own labelled pictures with `leaml evaluate` before you rely on it."
        return
    after, programs = results["after"], results.get("per_program", {})
    kinds = {name: f for name, f in programs.get("after", {}).items() if name and name != "None"}
    worst = sorted(kinds, key=lambda name: kinds[name]["accuracy"])[:WORST]
    if worst:
        named = ", ".join(f"{n} {_shown(kinds[n]['accuracy'], True)} of {kinds[n]['n']}" for n in worst)
        yield f"Kinds of question it is worst at: {named}."
    before = programs.get("before", {})
    fallen = {n: f["accuracy"] - before[n]["accuracy"] for n, f in kinds.items() if n in before}
    fallen = {name: change for name, change in fallen.items() if change < 0}
    if fallen:
        named = ", ".join(f"{n} {100 * fallen[n]:+.1f}" for n in sorted(fallen, key=fallen.get))
        yield f"Kinds of question that the adapter made worse, in points: {named}."
    if after.get("selective_accuracy") is not None:
        wrong = _shown(1 - after["selective_accuracy"], True)
        yield (f"It answers {_shown(after['coverage'], True)} of the questions and abstains from the others; "
               f"{wrong} of the answers that it gives are wrong.")  # fmt: skip
    for name, figures in after.get("ood", {}).items():
        yield f"It takes {_shown(figures['fpr95'], True)} of the pictures of {name} for familiar, at 95% of its own."


def _limits(config: LeamlConfig, results: dict[str, Any], beside: set[str]) -> Iterator[str]:
    if results:
        low, high = results["after"]["accuracy_ci"]
        yield (f"The accuracy's 95% interval is {_shown(low, True)} to {_shown(high, True)}; other seeds and other "
               "pictures give other figures.")  # fmt: skip
        if _judged_on(results) == HELD_OUT:
            yield "There was no test split: the labels that it was judged on also chose when to stop training."
        yield "Confidence is calibrated on familiar pictures; on others it is lowered, but may still be too high."
    if LEXICON_FILES[1] in beside:
        yield f"{LEXICON_FILES[1]} holds names from questions without answers."
    if RETRIEVAL_FILES[1] in beside:
        yield (f"{RETRIEVAL_FILES[1]} holds labelled questions with their answers, to put before new questions, "
               "and beside it lie states of their pictures and the brightness of each in 8 x 8 cells.")  # fmt: skip
    yield "Questions and answers are English and short: a word or a number. What training never asked is a guess."
    yield "Not for decisions about people or for diagnosis."
    if config.has_adapter:
        yield "It works on its own base only, and refuses another; the base's licence holds as well."


def _cost(results: dict[str, Any]) -> str:
    if not results:
        return "Not measured."
    took = f"Adapting, with both evaluations, took {results['seconds'] / 60:.0f} minutes"
    cost = results.get("cost")
    if not cost:
        return f"{took}; processor time, energy and emissions were not measured."
    used = f"{cost['cpu_seconds'] / 60:.0f} minutes of processor time on {cost['cores']} cores ({cost['processor']})"
    if cost.get("accelerator"):
        used += f" and {cost['accelerator']}"
    return (f"{took}: {used}, at most "
            f"{cost['peak_memory_mb']:,.0f} MB of memory. Energy and emissions were not measured.")  # fmt: skip
