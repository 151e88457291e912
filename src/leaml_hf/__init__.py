"""LEAML for Hugging Face: label-efficient adapters that answer, say how sure they are, and say what is unfamiliar.

Importing the package registers its classes with `AutoConfig`, `AutoModel`, `AutoModelForImageTextToText`,
`AutoModelForVisualQuestionAnswering` and `AutoProcessor`; PyTorch is only imported when a model is asked for.
"""

from importlib import import_module
from typing import Any

from .errors import LeamlError, LeamlInputError
from .registration import register_auto_classes

__version__ = "0.1.0"

_LAZY = {
    "Answer": ".answering",
    "AnswerRecords": ".answering",
    "DriftMonitor": ".reliability.drift",
    "GatedCrossAttention": ".fusion",
    "LeamlConfig": ".configuration_leaml",
    "LeamlForVisualQA": ".modeling_leaml",
    "LeamlOutput": ".modeling_leaml",
    "LeamlProcessor": ".processing_leaml",
    "LeamlTrainer": ".training.trainer",
    "LeamlTrainingArguments": ".training.arguments",
    "Reliability": ".reliability",
    "evaluate_model": ".evaluation.runner",
    "load_data": ".data.sources",
    "load_image": ".processing_leaml",
    "load_visual_arrays": ".data.visual_arrays",
    "publish": ".hub.publish",
    "select_rows": ".training.selection",
}

__all__ = ["LeamlError", "LeamlInputError", "__version__", *sorted(_LAZY)]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


register_auto_classes()
