"""Second stage of pre-training: gated cross-attention into a frozen LM's upper layers, from what questions found."""

from pathlib import Path

import torch
from torch import nn

from ..data.visual_arrays import load_visual_arrays
from ..evaluation.runner import predict
from ..modeling_leaml import LeamlForVisualQA, answer_span
from ..processing_leaml import LeamlProcessor
from .cache import FrozenCache
from .objectives import answer_loss
from .stage import Averages, Stage, Step, schedule
from .tower import DenseHeads, TowerBatch, grounding_loss

GATE = 0.75  # tanh(alpha) at the start: from closed gates a bridge crawls
GROUNDING_WEIGHT = 0.5
DENSE_WEIGHT = 0.1
HELD_OUT_ROWS = 480


def heldout_accuracy(
    model: LeamlForVisualQA, processor: LeamlProcessor, rows: int = HELD_OUT_ROWS
) -> dict[str, float]:
    """Accuracy of generated answers on the held-out source split, per task and program."""
    means = Averages()
    for task in ("chart", "layout"):
        dataset = load_visual_arrays(task, "base", split="validation", num_rows=rows)
        correct = predict(model, processor, dataset).correct.tolist()
        means.add_programs([f"{task}/{program}" for program in dataset["program"]], correct)
    return means.read()


def pretrain_bridge(
    model: LeamlForVisualQA, processor: LeamlProcessor, dense: DenseHeads, output: Path, num_batches: int,
    batch_size: int = 12, peak_rate: float = 1e-3, vision_rate: float = 2e-4, vision_from: float = 0.5,
    stop_after: int | None = None, **options: int,
) -> Path:  # fmt: skip
    """Trains the bridge of a base whose vision half and resampler are trained, and towards the end these with it.

    Args:
        model ([`LeamlForVisualQA`]): a base with `bridge_layers`; its language model stays frozen.
        processor ([`LeamlProcessor`]): of the model.
        dense ([`DenseHeads`]): trained heads, which keep the vision half's states what they are when it is trained on.
        output (`Path`): for `bridge.safetensors`, its log and checkpoint, which a killed run goes on from.
        num_batches (`int`): batches in all.
        batch_size (`int`, *optional*, defaults to 12): pictures a batch, with 8 questions each.
        peak_rate (`float`, *optional*, defaults to 1e-3): learning rate of the bridge.
        vision_rate (`float`, *optional*, defaults to 2e-4): that of vision half and resampler.
        vision_from (`float`, *optional*, defaults to 0.5): share of the batches after which they join.
        stop_after (`int`, *optional*): ends early, as a kill would.
        options: of [`Stage`].

    Returns:
        `Path`: of the weights of bridge, resampler, vision half and dense heads.
    """
    model.requires_grad_(False).eval()  # batch statistics of the tower stay
    model.backbone.to(torch.bfloat16)
    lower = ("vision_tower", "connector", "resampler")
    vision = nn.ModuleDict({part: getattr(model, part) for part in lower} | {"dense": dense})
    trained = nn.ModuleDict({"bridge": model.bridge, **vision}).requires_grad_(True)
    for layer in model.bridge.values():
        if not layer.alpha.any():  # a new one
            layer.open_gate(GATE)
    groups = [{"params": list(part.parameters())} for part in (model.bridge, vision)]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.02, betas=(0.9, 0.98))
    cache = FrozenCache(model, processor)
    joint_from = vision_from * num_batches

    def rates(number: int) -> list[float]:
        return [schedule(number, num_batches, peak_rate), schedule(number, num_batches, vision_rate)]

    def step(number: int, batch: TowerBatch) -> Step:
        return _step(model, processor, cache, dense, batch, joint=number >= joint_from)

    stage = Stage("bridge", output, trained, optimizer, step, rates, lambda: heldout_accuracy(model, processor),
                  **options)  # fmt: skip
    weights = stage.run(processor.tokenizer, batch_size, num_batches, stop_after)
    model.backbone.to(torch.float32)
    return weights


def _step(model: LeamlForVisualQA, processor: LeamlProcessor, cache: FrozenCache, dense: DenseHeads, batch: TowerBatch,
          joint: bool) -> Step:  # fmt: skip
    """Loss of a batch and which of its questions are right; with `joint`, resampler and vision half learn."""
    text = processor(questions=batch.questions, answers=batch.answer_texts)
    texts = [f"{q}\n{a}" for q, a in zip(batch.questions, batch.answer_texts, strict=True)]
    pixels = batch.pixels.float() / 127.5 - 1
    index = torch.arange(len(pixels)).repeat_interleave(len(texts) // len(pixels))
    model.resampler.requires_grad_(joint)
    with torch.autocast("cpu", torch.bfloat16):
        lower = cache.lower(texts, text["input_ids"], text["attention_mask"])
        with torch.set_grad_enabled(joint):
            vision = model.encode_vision(pixels)
        span = answer_span(text["labels"])
        out = model(lower_states=lower.to(torch.bfloat16), attention_mask=text["attention_mask"],
                    question_ids=text["question_ids"], question_mask=text["question_mask"],
                    vision_states=vision, vision_index=index, logits_to_keep=span)  # fmt: skip
        extra = DENSE_WEIGHT * dense(vision, batch.targets)[0] if joint else 0.0
    grounding = grounding_loss(out.looked, batch.relevant)
    labels = text["labels"][:, -span:]
    loss = answer_loss(out.logits, labels, torch.ones(len(labels)), 0.0)
    wrong = (out.logits[:, :-1].argmax(-1) != labels[:, 1:]) & (labels[:, 1:] != -100)
    figures = {"answer_loss": loss.item(), "grounding": grounding.item()}
    return Step(loss + GROUNDING_WEIGHT * grounding + extra, figures, ~wrong.any(1))
