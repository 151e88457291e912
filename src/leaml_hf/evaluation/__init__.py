"""How good the answers are: comparing answers, figures with intervals, and the report."""

from .answers import answers_match, normalize_answer

__all__ = ["answers_match", "normalize_answer"]
