"""Adapters go on with TRL's SFTTrainer, as the example shows, and come back."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL_ADAPTER, open_adapter
from PIL import Image

from leaml_hf import LeamlForVisualQA
from leaml_hf.processing_leaml import load_processor

pytest.importorskip("trl")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))


@pytest.fixture()
def adapter(backbone_folders: tuple[Path, Path], processor, tmp_path: Path) -> Path:
    model = LeamlForVisualQA.from_backbones(
        *backbone_folders, fusion_layers=[2, 3], lora_layers=[2, 3], **SMALL_ADAPTER
    )
    open_adapter(model).save_pretrained(tmp_path / "adapter")
    processor.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.fixture()
def pictures_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    rng, colours = np.random.default_rng(0), {"red": (220, 20, 20), "blue": (20, 20, 220)}
    rows = []
    for number in range(12):
        name = list(colours)[number % 2]
        shade = np.clip(np.array(colours[name]) + rng.integers(-20, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(shade).save(folder / f"{number}.png")
        rows.append({"file_name": f"{number}.png", "question": "what is the colour ?", "answer": name})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder.parent


def test_an_adapter_is_trained_further(adapter: Path, pictures_folder: Path, tmp_path: Path, monkeypatch) -> None:
    from further_with_trl import train_further

    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    train_further(str(adapter), str(pictures_folder), str(tmp_path / "further"), steps=6, batch_size=4)
    before, after = (LeamlForVisualQA.from_pretrained(folder) for folder in (adapter, tmp_path / "further"))
    changed = {name for name, value in after.state_dict().items()
               if "pooler" not in name and not torch.equal(value, before.state_dict()[name])}  # fmt: skip
    assert changed and [n for n in changed if ".lora_" not in n and not n.startswith("fusion.")] == []
    processor = load_processor(tmp_path / "further")
    rows = [{"image": Image.open(pictures_folder / "train" / f"{n}.png"), "question": "what is the colour ?",
             "answer": ("red", "blue")[n % 2]} for n in range(12)]  # fmt: skip
    with torch.no_grad():
        losses = [model.eval()(**processor.collate(rows)).loss.item() for model in (before, after)]
    assert losses[1] < losses[0]
