"""Benchmarks and examples are run by hand: what they import from the package has to be there still."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted([*ROOT.glob("benchmarks/*.py"), *ROOT.glob("examples/*.py")])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_what_a_script_imports_is_there(script: Path) -> None:
    nodes = [node for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.ImportFrom)]
    own = [node for node in nodes if (node.module or "").split(".")[0] == "leaml_hf"]
    assert own
    for node in own:
        module = import_module(node.module)
        missing = [name.name for name in node.names if not hasattr(module, name.name)]
        assert not missing, f"{node.module} has no {', '.join(missing)}"
