# ruff: noqa: E402
"""A Hub on loopback, and tiny random backbones, tokenizer and pictures, for offline tests."""

import atexit
import copy
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from hub_server import HubServer

# The Hub of all tests, so that nothing is asked of the real one; huggingface_hub reads its address when imported.
HUB = HubServer()
HUB_CACHE = tempfile.mkdtemp()
atexit.register(shutil.rmtree, HUB_CACHE, ignore_errors=True)
os.environ.update(HUB.environment(HUB_CACHE))

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from leaml_hf import LeamlForVisualQA, LeamlProcessor
from leaml_hf.data.visual_arrays.baselines import visual_arrays_baselines
from leaml_hf.hub import baselines_section

torch.set_num_threads(1)
settings.register_profile("same cases on any machine", deadline=None, derandomize=True)
settings.load_profile("same cases on any machine")

SMALL_ADAPTER = {"fusion_dim": 16, "fusion_heads": 2, "fusion_ffn_dim": 16}
WORDS = [
    "<pad>", "<eos>", "<unk>", "<image>", "Question", "Answer", ":", "?", "how", "many", "bars", "what", "is", "the",
    "tallest", "colour", "red", "blue", "green", "one", "two", "three", "four", "of", "circle", "where",
]  # fmt: skip


@pytest.fixture(scope="module")
def quick_cards():
    """Data cards whose baselines are of few pictures."""
    with pytest.MonkeyPatch.context() as patch:
        few = partial(visual_arrays_baselines, train_pictures=200, test_pictures=100)
        patch.setattr(baselines_section, "visual_arrays_baselines", few)
        yield


def text_config(**options: object) -> LlamaConfig:
    values = {
        "vocab_size": 200,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": 1,
    }
    return LlamaConfig(**(values | options))


def vision_config(**options: object) -> ViTConfig:
    values = {
        "hidden_size": 24,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    return ViTConfig(**(values | options))


def make_connector_config() -> ViTConfig:
    """For the 4 x 4 cells of `make_vision`."""
    return ViTConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=4, patch_size=1,
        num_channels=24,
    )  # fmt: skip


def make_text(seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    return LlamaForCausalLM(text_config(initializer_range=0.2)).eval()


def make_vision(seed: int = 1) -> ViTModel:
    torch.manual_seed(seed)
    return ViTModel(vision_config(initializer_range=0.2), add_pooling_layer=False).eval()


def make_llava(seed: int = 2) -> LlavaForConditionalGeneration:
    torch.manual_seed(seed)
    from transformers import CLIPVisionConfig

    vision = CLIPVisionConfig(
        hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8
    )
    config = LlavaConfig(vision_config=vision, text_config=text_config(initializer_range=0.2), image_token_index=3)
    return LlavaForConditionalGeneration(config).eval()


def open_adapter(model: LeamlForVisualQA, seed: int = 3) -> LeamlForVisualQA:
    """Gives every part of the adapter an effect, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in model.fusion.values():
            layer.open_gate(0.7)
            layer.gate_proj.weight.normal_(std=0.2, generator=generator)
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(std=0.1, generator=generator)
    return model


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--families-table", type=Path, metavar="FILE", help="page to write from test_families.py")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Writes the page of families from what their tests found."""
    if (path := config.getoption("--families-table")) is None:
        return
    from families import write_table
    from test_families import CHECKS

    results = {}
    for outcome in ("passed", "skipped", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            family, found, check = report.nodeid.partition("[")[2].rstrip("]").partition(": ")
            if found and "test_families.py" in report.nodeid:
                reason = report.longrepr[2].removeprefix("Skipped: ") if outcome == "skipped" else "see the test"
                results[family, check] = (outcome, reason)
    whole = {family for family, _ in results if all((family, check) in results for check in CHECKS)}
    results = {key: found for key, found in results.items() if key[0] in whole}
    write_table(path, results, list(CHECKS))


@pytest.fixture(scope="session")
def hub() -> HubServer:
    """The Hub on loopback; alice is logged in."""
    return HUB


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation()])
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


@pytest.fixture()
def processor(tokenizer: PreTrainedTokenizerFast) -> LeamlProcessor:
    image_processor = ViTImageProcessorPil(size={"height": 32, "width": 32})
    return LeamlProcessor(image_processor=image_processor, tokenizer=tokenizer)


@pytest.fixture()
def llava_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Of `make_llava`."""
    image_processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    options = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return LlavaProcessor(image_processor=image_processor, tokenizer=tokenizer, **options)


@pytest.fixture()
def pictures() -> list[Image.Image]:
    generator = np.random.default_rng(0)
    return [Image.fromarray(generator.integers(0, 256, (40, 30, 3), dtype=np.uint8)) for _ in range(3)]


@pytest.fixture()
def composed() -> LeamlForVisualQA:
    return LeamlForVisualQA.from_backbones(
        make_vision(),
        make_text(),
        fusion_layers=[2, 3],
        lora_layers=[2, 3],
        fusion_dim=16,
        fusion_heads=2,
        fusion_ffn_dim=16,
    )


@pytest.fixture(scope="session")
def backbone_folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Saved vision encoder and causal LM."""
    folder = tmp_path_factory.mktemp("backbones")
    make_vision().save_pretrained(folder / "vision")
    make_text().save_pretrained(folder / "text")
    return folder / "vision", folder / "text"


@pytest.fixture(scope="session")
def shared(hub: HubServer, tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Models and adapters on the Hub, as [`shared_models.Shared`]."""
    from shared_models import share

    folder = tmp_path_factory.mktemp("shared")
    return share(
        folder, copy.deepcopy(tokenizer), make_vision(), make_text(), make_llava(), open_adapter, SMALL_ADAPTER
    )
