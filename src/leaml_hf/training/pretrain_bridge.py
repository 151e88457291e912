"""Second stage of pre-training: gated cross-attention into a frozen LM's upper layers, from what questions found."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..data.visual_arrays import load_visual_arrays
from ..evaluation.runner import predict
from ..modeling_leaml import LeamlForVisualQA, answer_places
from ..processing_leaml import LeamlProcessor
from .objectives import AnswerTokens, answer_loss
from .source_data import CELLS
from .stage import Averages, Stage, Step, schedule
from .tower import DenseHeads, TowerBatch, grounding_loss

GATE = 0.75  # tanh(alpha) at the start: from closed gates a bridge crawls
GROUNDING_WEIGHT = 0.5
DENSE_WEIGHT = 0.1
HELD_OUT_ROWS = 160  # of each task and domain


def heldout_accuracy(
    model: LeamlForVisualQA, processor: LeamlProcessor, rows: int = HELD_OUT_ROWS
) -> dict[str, float]:
    """Accuracy of generated answers on the held-out source split, per task and program."""
    means = Averages()
    for task, domain in CELLS:
        dataset = load_visual_arrays(task, "base", domain, "validation", rows)
        correct = torch.from_numpy(predict(model, processor, dataset).correct)
        means.add_programs([f"{task}/{program}" for program in dataset["program"]], correct)
    return means.read()


def pretrain_bridge(
    model: LeamlForVisualQA, processor: LeamlProcessor, dense: DenseHeads, output: Path, num_batches: int,
    batch_size: int = 12, peak_rate: float = 1e-3, vision_rate: float = 2e-4, vision_from: float = 0.5,
    device: torch.device | str = "cpu", stop_after: int | None = None, **options: Any,
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
        vision_from (`float`, *optional*, defaults to 0.5): share of the stage after which they join.
        device (`torch.device`, *optional*, defaults to the CPU): where to train; the model stays there.
        stop_after (`int`, *optional*): ends early, as a kill would.
        options: of [`Stage`].

    Returns:
        `Path`: of the weights of bridge, resampler, vision half and dense heads.
    """
    model.to(device).requires_grad_(False).eval()  # batch statistics of the tower stay
    dense.to(device)
    model.backbone.to(torch.bfloat16)
    lower = ("vision_tower", "connector", "resampler")
    vision = nn.ModuleDict({part: getattr(model, part) for part in lower} | {"dense": dense})
    trained = nn.ModuleDict({"bridge": model.bridge, **vision}).requires_grad_(True)
    for layer in model.bridge.values():
        if not layer.alpha.any():  # a new one
            layer.open_gate(GATE)
    groups = [{"params": list(part.parameters())} for part in (model.bridge, vision)]
    fused = torch.device(device).type == "cuda"
    optimizer = torch.optim.AdamW(groups, weight_decay=0.02, betas=(0.9, 0.98), fused=fused)

    def rates(done: float) -> list[float]:
        return [schedule(done, peak_rate), schedule(done, vision_rate)]

    def step(done: float, batch: TowerBatch) -> Step:
        return _step(model, dense, batch, joint=done >= vision_from)

    stage = Stage("bridge", output, trained, optimizer, step, rates, lambda: heldout_accuracy(model, processor),
                  processor=processor, **options)  # fmt: skip
    weights = stage.run(processor.tokenizer, batch_size, num_batches, stop_after)
    model.backbone.to(torch.float32)
    return weights


def _step(model: LeamlForVisualQA, dense: DenseHeads, batch: TowerBatch, joint: bool) -> Step:
    """Loss of a batch and which of its questions are right; with `joint`, resampler and vision half learn."""
    pixels = batch.pixels.float() / 127.5 - 1
    index = torch.arange(len(pixels), device=model.device).repeat_interleave(len(batch.questions) // len(pixels))
    model.resampler.requires_grad_(joint)
    with torch.autocast(model.device.type, torch.bfloat16):
        with torch.set_grad_enabled(joint):
            vision = model.encode_vision(pixels)
        out = model(input_ids=batch.prompts, attention_mask=batch.prompt_mask,
                    question_ids=batch.input_ids.flatten(0, 1), question_mask=batch.mask.flatten(0, 1),
                    vision_states=vision, vision_index=index, logits_to_keep=answer_places(batch.labels))  # fmt: skip
        extra = DENSE_WEIGHT * dense(vision, batch.targets)[0] if joint else 0.0
    grounding = grounding_loss(out.looked, batch.relevant)
    weights = torch.ones(len(batch.labels), device=model.device)
    answers = AnswerTokens.of(out.logits, batch.labels, weights)
    loss = answer_loss(answers, 0.0)
    figures = {"answer_loss": loss, "grounding": grounding}
    return Step(loss + GROUNDING_WEIGHT * grounding + extra, figures, answers.are_right(answers.logits.argmax(-1)))
