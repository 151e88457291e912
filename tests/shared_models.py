"""Tiny models on the Hub of the tests: backbones, a base, and adapters on each kind of them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import HfApi
from PIL import Image
from transformers import CLIPImageProcessorPil, LlavaProcessor, PreTrainedTokenizerFast
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from leaml_hf import LeamlForVisualQA, LeamlProcessor
from leaml_hf.hub.publish import publish
from leaml_hf.phrasebook import Phrasebook, Rule
from leaml_hf.processing_leaml import load_processor
from leaml_hf.reliability import Reliability
from leaml_hf.retrieval import ExampleIndex, thumbnail

QUESTIONS = ("how many bars ?", "what is the colour ?")
ADAPTERS = ("org/leaml-chart", "org/leaml-based", "org/leaml-llava")  # composed, on a LEAML base, on an existing VLM
SIDE = {"n": 200, "accuracy": 0.5, "accuracy_ci": [0.43, 0.57], "ece": 0.2, "brier": 0.3, "nll": 1.2, "aurc": 0.4,
        "coverage": 1.0, "selective_accuracy": 0.5, "latency_ms": 12.0, "auroc": 0.6, "auprc": 0.5, "fpr95": 0.9,
        "ood": {"layouts": {"auroc": 0.6, "auprc": 0.5, "fpr95": 0.9}}}  # fmt: skip
RESULTS: dict[str, Any] = {
    "output": "/home/me/out", "base": "org/tiny-base", "data": "/home/me/charts", "seed": 3, "date": "2026-11-26",
    "command": "leaml adapt /home/me/charts --labels 40 --ood visual-arrays:layout/base --ood /home/me/other",
    "judged_on": "test",
    "labels_used": 40, "unlabeled_used": 300,
    "handed_over": "adapter", "seconds": 300.0, "before": SIDE,
    "after": SIDE | {"accuracy": 0.75, "accuracy_ci": [0.69, 0.81], "ece": 0.05, "auroc": 0.91, "coverage": 0.6,
                     "selective_accuracy": 0.9, "ood": {"layouts": {"auroc": 0.91, "auprc": 0.8, "fpr95": 0.4}}},
    "per_program": {"before": {"count": {"n": 100, "accuracy": 0.4}, "value": {"n": 100, "accuracy": 0.6}},
                    "after": {"count": {"n": 100, "accuracy": 0.95}, "value": {"n": 100, "accuracy": 0.55}}},
    "history": [], "arguments": {},
    "cost": {"cpu_seconds": 540.0, "cores": 2, "processor": "A processor", "accelerator": None,
             "peak_memory_mb": 2100.0},
}  # fmt: skip


@dataclass
class Shared:
    """Repos on the Hub, and the folders that adapters were published from."""

    folders: dict[str, Path]
    models: dict[str, LeamlForVisualQA]
    picture: Path

    def expected(self, repo_id: str) -> list[tuple]:
        """What the adapter answers before it is published."""
        model = self.models[repo_id]
        return told(model, load_processor(self.folders[repo_id]), self.picture)


def told(model: LeamlForVisualQA, processor: Any, picture: Path) -> list[tuple]:
    """Answers to two questions, with all that a caller sees."""
    answers = model.answer([str(picture)], QUESTIONS, processor, max_new_tokens=3)
    return [(a.text, round(a.confidence, 5), round(a.ood_score, 4), a.is_ood, a.abstained) for a in answers]


def share(
    folder: Path, tokenizer: PreTrainedTokenizerFast, vision: Any, text: Any, llava: Any, opened: Any, sizes: dict
) -> Shared:
    """Builds and publishes all of it."""
    from conftest import make_connector_config

    api = HfApi()
    image_processor = ViTImageProcessorPil(size={"height": 32, "width": 32})
    processor = LeamlProcessor(image_processor=image_processor, tokenizer=tokenizer)
    options = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    clip = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    llava_processor = LlavaProcessor(image_processor=clip, tokenizer=tokenizer, **options)
    for name, parts in {"tiny-vision": [vision], "tiny-text": [text, tokenizer],
                        "tiny-llava": [llava, llava_processor]}.items():  # fmt: skip
        for part in parts:
            part.save_pretrained(folder / name)
        api.create_repo(f"org/{name}")
        api.upload_folder(repo_id=f"org/{name}", folder_path=folder / name)
    torch.manual_seed(5)
    base = LeamlForVisualQA.from_backbones(
        vision, "org/tiny-text", fusion_layers=[], lora_layers=[], bridge_layers=[1, 3], bridge_dim=16, bridge_heads=2,
        bridge_ffn_dim=16, connector_config=make_connector_config(),
    )  # fmt: skip
    for layer in base.bridge.values():
        layer.open_gate(0.8)
    base.save_pretrained(folder / "tiny-base")
    processor.save_pretrained(folder / "tiny-base")
    publish(folder / "tiny-base", "org/tiny-base")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)).save(
        folder / "picture.png"
    )

    models = {
        "org/leaml-chart": LeamlForVisualQA.from_backbones("org/tiny-vision", "org/tiny-text", **sizes),
        "org/leaml-based": LeamlForVisualQA.from_backbone("org/tiny-base", adapt_bridge=True, **sizes),
        "org/leaml-llava": LeamlForVisualQA.from_backbone("org/tiny-llava", **sizes),
    }
    shared = Shared({name: folder / name.split("/")[1] for name in models}, models, folder / "picture.png")
    for seed, (name, model) in enumerate(models.items()):
        opened(model, seed=seed)
        own = llava_processor if name == "org/leaml-llava" else processor
        model.reliability = fit_reliability(model, own, seed)
        rule = Rule("count", QUESTIONS[0], "how many of the bars ?", 0, {"one": "red"}, 10.0, 0.9, 0.9)
        model.phrasebook = Phrasebook([rule], {QUESTIONS[0]: (0, rule.pattern), QUESTIONS[1]: None})
        if name != "org/leaml-based":
            model.retrieval = index_examples(model, seed)
        model.save_pretrained(shared.folders[name])
        own.save_pretrained(shared.folders[name])
        (shared.folders[name] / "leaml_results.json").write_text(json.dumps(RESULTS))
        (shared.folders[name] / "report.html").write_text("<img>")  # stays on this machine
        publish(shared.folders[name], name)
    return shared


def index_examples(model: LeamlForVisualQA, seed: int) -> ExampleIndex:
    """Of noise."""
    generator = np.random.default_rng(seed)
    small = thumbnail(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    pictures, words = (generator.normal(size=(6, width))
                       for width in (model.vision_size, model.get_input_embeddings().embedding_dim))  # fmt: skip
    examples = [(QUESTIONS[i % 2], ("one", "red")[i % 2]) for i in range(6)]
    return ExampleIndex.fit(examples, pictures, np.stack([small] * 6), words, 2, model.config.base_fingerprint)


def fit_reliability(model: LeamlForVisualQA, processor: Any, seed: int) -> Reliability:
    """On noise, and on labels that are right at random."""
    generator = np.random.default_rng(seed)
    pictures = [Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(12)]
    records = model.collect(pictures, QUESTIONS[:1] * 12, processor, max_new_tokens=2)
    correct = generator.integers(0, 2, 12).astype(float)
    return Reliability.fit(records.states(), records.confidence, correct, groups=range(12), seed=seed)
