"""The Auto classes know LEAML whatever is imported first."""

import subprocess
import sys

import pytest

CHECK = """
from transformers import AutoConfig, AutoModel, AutoProcessor
from leaml_hf import LeamlConfig, LeamlForVisualQA
assert AutoConfig.for_model("leaml").__class__ is LeamlConfig
assert AutoModel._model_mapping[LeamlConfig] is LeamlForVisualQA
"""


@pytest.mark.parametrize(
    "first",
    [
        "import leaml_hf",
        "import leaml_hf.backbones",
        "import leaml_hf.checkpoints",
        "import leaml_hf.modeling_leaml",
        "import leaml_hf.processing_leaml",
        "import leaml_hf.training.trainer",
        "from transformers import AutoModel, AutoProcessor; import leaml_hf",
        "import leaml_hf; from transformers import AutoModelForCausalLM",
    ],
)
def test_registered_whatever_comes_first(first: str) -> None:
    done = subprocess.run([sys.executable, "-c", first + CHECK], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]


def test_importing_the_package_does_not_import_torch() -> None:
    script = "import sys, leaml_hf, leaml_hf.cli; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
