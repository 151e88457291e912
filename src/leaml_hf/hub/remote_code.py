"""The modules that load a LEAML model where this package is not installed (`trust_remote_code=True`).

transformers copies the modules that `auto_map` names from the repo, and what they import relatively, if all lie in one
folder. So the modules they need are written flat: `reliability/ood/base.py` becomes `reliability_ood_base.py`, and the
relative imports say so.
"""

import ast
import re
from importlib.util import resolve_name
from pathlib import Path

from .. import __version__

PACKAGE = Path(__file__).resolve().parent.parent
ENTRIES = ("configuration_leaml", "modeling_leaml", "processing_leaml")
_RELATIVE = re.compile(r"^(\s*)from (\.+)([\w.]+) import", re.MULTILINE)
_HEADER = "# Part of leaml-hf {} (Apache-2.0), written flat for trust_remote_code: change it there, not here.\n"


def needed_modules() -> list[str]:
    """
    The modules of this package that the three entries need, themselves included.

    Returns:
        `list[str]`: names without the package's, such as `"reliability.ood"`, in alphabetical order.
    """
    found, pending = set(), list(ENTRIES)
    while pending:
        module = pending.pop()
        if module not in found:
            found.add(module)
            pending += _relative_imports(module)
    return sorted(found)


def write_remote_code(folder: Path) -> list[Path]:
    """
    Writes the modules flat.

    Args:
        folder (`Path`): is there.

    Returns:
        `list[Path]`: the files, `modeling_leaml.py` and what it needs.
    """
    files = []
    for module in needed_modules():

        def flat_import(found: re.Match[str], module: str = module) -> str:
            return f"{found[1]}from .{_flat(_resolve(module, found[2] + found[3]))} import"

        text = _RELATIVE.sub(flat_import, _source(module).read_text(encoding="utf-8"))
        files.append(folder / f"{_flat(module)}.py")
        files[-1].write_text(_HEADER.format(__version__) + text, encoding="utf-8")
    return files


def _source(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _flat(module: str) -> str:
    return module.replace(".", "_")


def _resolve(module: str, relative: str) -> str:
    """The module that `from <relative> import` means inside `module`; both without the package's name."""
    package = module if _source(module).name == "__init__.py" else module.rpartition(".")[0]
    return resolve_name(relative, f"root.{package}".rstrip(".")).removeprefix("root.")


def _relative_imports(module: str) -> list[str]:
    nodes = ast.walk(ast.parse(_source(module).read_text(encoding="utf-8")))
    relative = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.level]
    return [_resolve(module, "." * node.level + node.module) for node in relative]
