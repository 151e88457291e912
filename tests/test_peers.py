"""What LEAML is compared with: fine-tuning of all parameters goes on after a kill, and ends as if it had not been."""

import copy
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset

from leaml_hf.training import peers


@pytest.fixture()
def rows(pictures) -> Dataset:
    asked = [{"image": picture, "question": f"how many bars {word}", "answer": word}
             for picture in pictures for word in ("one", "two", "three", "four")]  # fmt: skip
    return Dataset.from_list(asked[:8])


@pytest.fixture()
def small(monkeypatch, composed, processor) -> None:
    """A tiny base, two rows a step and a checkpoint every two steps."""
    base = SimpleNamespace(from_pretrained=lambda *_, **__: copy.deepcopy(composed))
    replaced = {
        "LeamlForVisualQA": base,
        "resolve_base_path": str,
        "load_processor": lambda _: processor,
        "fastest_dtype": lambda: torch.float32,
        "FULL_BATCH": 2,
        "FULL_SAVE_STEPS": 2,
    }
    for name, value in replaced.items():
        monkeypatch.setattr(peers, name, value)


@pytest.mark.parametrize("when", ["in a step", "while a checkpoint is written"])
def test_a_killed_fine_tuning_goes_on(small, composed, rows, tmp_path, monkeypatch, when: str) -> None:
    whole = peers.train_all("base", rows, tmp_path / "whole").state_dict()
    changed = [name for name, tensor in composed.state_dict().items() if not torch.equal(tensor, whole[name])]
    assert any("vision" in name for name in changed) and any("lm_head" in name or "layers" in name for name in changed)

    collated, collate = [], peers.PixelCollator.__call__

    def counted(self, batch):
        collated.append(len(batch))
        if when == "in a step" and len(collated) == 6:
            raise KeyboardInterrupt
        return collate(self, batch)

    def stopped(self, output_dir):
        if when != "in a step" and len(collated) == 4:  # the weights are there already
            raise KeyboardInterrupt
        save_scheduler(self, output_dir)

    save_scheduler = peers.WholeTrainer._save_optimizer_and_scheduler
    monkeypatch.setattr(peers.PixelCollator, "__call__", counted)
    monkeypatch.setattr(peers.WholeTrainer, "_save_optimizer_and_scheduler", stopped)
    with pytest.raises(KeyboardInterrupt):
        peers.train_all("base", rows, tmp_path / "killed")
    collated.append(0)
    again = peers.train_all("base", rows, tmp_path / "killed").state_dict()
    assert len(collated) < 6 + 8  # not all of the eight steps again
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())
