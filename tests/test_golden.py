"""
An adapter saved once and for all still loads, and answers as it did: no name, shape or format drifts unnoticed.

    .venv/bin/python tests/test_golden.py    # writes it anew, only where a new format is meant to replace the old one
"""

import json
import sys
from pathlib import Path

import pytest
import torch

GOLDEN = Path(__file__).parent / "golden"
QUESTIONS = ["how many bars ?", "what is the colour ?"]


def observe(folder: Path) -> dict:
    """What a caller sees of the adapter."""
    from leaml_hf import LeamlForVisualQA
    from leaml_hf.processing_leaml import load_processor

    model = LeamlForVisualQA.from_pretrained(folder / "adapter", vision=folder / "vision", text=folder / "text")
    processor = load_processor(folder / "adapter")
    picture = str(folder / "picture.png")
    with torch.no_grad():
        logits = model(**processor(images=[picture] * 2, questions=QUESTIONS)).logits
    answers = model.answer([picture], QUESTIONS, processor, max_new_tokens=2)
    return {
        "logits": logits[:, -1, :8].tolist(),
        "answers": [[a.text, a.confidence, a.ood_score, a.is_ood, a.abstained] for a in answers],
        "added": model.num_added_parameters()["added"],
    }


def test_it_loads_and_answers_as_it_did():
    expected, seen = json.loads((GOLDEN / "expected.json").read_text()), observe(GOLDEN)
    torch.testing.assert_close(torch.tensor(seen["logits"]), torch.tensor(expected["logits"]), rtol=1e-4, atol=1e-5)
    assert seen["added"] == expected["added"]
    for told, before in zip(seen["answers"], expected["answers"], strict=True):
        assert [told[0], *told[3:]] == [before[0], *before[3:]]
        assert told[1:3] == pytest.approx(before[1:3], rel=1e-3)


def write(folder: Path) -> None:
    from conftest import WORDS, open_adapter, text_config, vision_config
    from PIL import Image
    from shared_models import fit_reliability
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast, ViTModel
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    from leaml_hf import LeamlForVisualQA, LeamlProcessor
    from leaml_hf.adapters import round_adapter
    from leaml_hf.phrasebook import Phrasebook, Rule

    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "initializer_range": 0.3}
    text = LlamaForCausalLM(text_config(**small, num_hidden_layers=3, vocab_size=len(WORDS), num_attention_heads=2))
    vision = ViTModel(vision_config(**small, num_hidden_layers=1, image_size=16), add_pooling_layer=False)
    text.save_pretrained(folder / "text")
    vision.save_pretrained(folder / "vision")
    model = LeamlForVisualQA.from_backbones(
        folder / "vision", folder / "text", fusion_layers=[1, 2], lora_layers=[0, 2], lora_rank=2, adapt_vision=True,
        fusion_dim=8, fusion_heads=2, fusion_ffn_dim=8,
    )  # fmt: skip
    model.config.vision_name_or_path, model.config.text_name_or_path = "org/golden-vision", "org/golden-text"
    round_adapter(open_adapter(model))
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation()])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    image_processor = ViTImageProcessorPil(size={"height": 16, "width": 16})
    processor = LeamlProcessor(image_processor=image_processor, tokenizer=tokenizer)
    model.reliability = fit_reliability(model, processor, seed=0)
    rule = Rule("count", QUESTIONS[0], "how many of the bars ?", 0, {"one": "red"}, 10.0, 0.9, 0.9)
    model.phrasebook = Phrasebook([rule], {QUESTIONS[0]: (0, rule.pattern), QUESTIONS[1]: None})
    model.save_pretrained(folder / "adapter")
    processor.save_pretrained(folder / "adapter")
    Image.effect_noise((20, 20), 80).convert("RGB").save(folder / "picture.png")
    (folder / "expected.json").write_text(json.dumps(observe(folder), indent=1) + "\n")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    write(GOLDEN)
