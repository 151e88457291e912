"""Brings the outcome of the study in README.md up to date with its journal: `make readme`."""

from pathlib import Path

from leaml_hf.data.journal import read_journal
from leaml_hf.evaluation.comparison import summary

ROOT = Path(__file__).resolve().parent.parent
JOURNAL = ROOT / "docs" / "study" / "runs.jsonl"
BEGIN, END = "<!-- written by make readme -->\n", "<!-- end -->\n"


def with_summary(readme: str) -> str:
    """The text of a README with the summary of the study between `BEGIN` and `END`."""
    head, rest = readme.split(BEGIN)
    tail = rest.split(END)[1]
    return head + BEGIN + "\n".join(summary(read_journal(JOURNAL))) + "\n" + END + tail


if __name__ == "__main__":
    file = ROOT / "README.md"
    file.write_text(with_summary(file.read_text()))
