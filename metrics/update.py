"""Copies the functions of leaml_hf.evaluation into metrics/leaml_ood/leaml_ood.py, between its two marks.

    .venv/bin/python metrics/update.py    (or: make metric)

`evaluate.load` wants a module that stands alone, and the package wants no file outside `src`. So the functions are
written in the package, and the module has a copy of what follows the imports there. A test fails if it is out of date.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [ROOT / "src/leaml_hf/evaluation" / name for name in ("answers.py", "metrics.py")]
MODULE = Path(__file__).parent / "leaml_ood/leaml_ood.py"
BEGIN = "# ---- written by metrics/update.py from leaml_hf.evaluation: change it there ----\n"
END = "# ---- end of what metrics/update.py writes ----\n"


def body(source: str) -> str:
    """A file without its docstring and imports."""
    nodes = ast.parse(source).body
    last = max(node.end_lineno for node in nodes if isinstance(node, ast.Import | ast.ImportFrom))
    return "".join(source.splitlines(keepends=True)[last:]).strip("\n") + "\n"


def updated(module: str, sources: list[str]) -> str:
    """The module's text with the functions as they are in the sources."""
    before, rest = module.split(BEGIN)
    after = rest.split(END)[1]
    return before + BEGIN + "\n" + "\n\n".join(body(source) for source in sources) + "\n\n" + END + after


if __name__ == "__main__":
    MODULE.write_text(updated(MODULE.read_text(), [source.read_text() for source in SOURCES]))
