"""Adapters in a process that has no leaml_hf: the code comes from the repo."""

import ast
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from huggingface_hub import snapshot_download
from shared_models import ADAPTERS, QUESTIONS

from leaml_hf.backbones import resolve_base_path
from leaml_hf.checkpoints import AUTO_MAP
from leaml_hf.hub.remote_code import ENTRIES, needed_modules, write_remote_code

SCRIPT = """
import importlib.util, json, sys
assert importlib.util.find_spec("leaml_hf") is None
from transformers import AutoConfig, AutoModel, AutoModelForVisualQuestionAnswering, AutoProcessor
out = {{}}
for auto_class, place in zip((AutoModel, AutoModelForVisualQuestionAnswering) * 2, {places!r}):
    try:
        auto_class.from_pretrained(place, trust_remote_code=False)
        sys.exit("ran code nobody trusted")
    except ValueError as error:
        assert "trust_remote_code=True" in str(error)
    config = AutoConfig.from_pretrained(place, trust_remote_code=True)
    assert type(config).__module__.startswith("transformers_modules"), type(config)
    model = auto_class.from_pretrained(place, trust_remote_code=True)
    processor = AutoProcessor.from_pretrained(place, trust_remote_code=True)
    answers = model.answer([{picture!r}], {questions!r}, processor, max_new_tokens=3)
    out[place] = [(a.text, round(a.confidence, 5), round(a.ood_score, 4), a.is_ood, a.abstained) for a in answers]
assert not any(name.startswith("leaml_hf") for name in sys.modules)
print(json.dumps(out))
"""


def run_without_package(hub, cache: Path, script: str, **variables: str) -> subprocess.CompletedProcess:
    """A fresh interpreter that sees the installed packages but not this one: `-S` leaves editable installs out."""
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    environment = hub.environment(cache, PYTHONPATH=os.pathsep.join(libraries), **variables)
    return subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, env=environment)


def test_answers_are_alike_by_hub_id_and_by_folder(hub, shared, tmp_path):
    folder = snapshot_download("org/leaml-chart", local_dir=tmp_path / "chart")
    script = SCRIPT.format(places=[*ADAPTERS, folder], picture=str(shared.picture), questions=list(QUESTIONS))
    done = run_without_package(hub, tmp_path / "cache", script)
    assert done.returncode == 0, done.stderr[-2000:]
    out = json.loads(done.stdout.splitlines()[-1])
    assert out.pop(folder) == out["org/leaml-chart"]
    assert {name: [tuple(told) for told in answers] for name, answers in out.items()} == {
        name: shared.expected(name) for name in ADAPTERS
    }


def test_the_shipped_base_names_its_modules():
    folder = Path(resolve_base_path("leaml-smol"))
    assert json.loads((folder / "config.json").read_text())["auto_map"] == AUTO_MAP
    maps = json.loads((folder / "processor_config.json").read_text())["auto_map"]
    assert maps == {"AutoProcessor": "processing_leaml.LeamlProcessor"}


def test_the_modules_are_flat_and_import_nothing_else_of_the_package(tmp_path):
    files = write_remote_code(tmp_path)
    names = {file.stem for file in files}
    assert set(ENTRIES) < names and {"reliability", "reliability_ood", "phrasebook"} < names
    assert len(files) == len(needed_modules()) == len(list(tmp_path.iterdir()))
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1 and node.module in names, (file.name, ast.unparse(node))
            elif isinstance(node, ast.Import | ast.ImportFrom):
                assert "leaml_hf" not in ast.unparse(node)
