"""Second stage of pre-training: gated cross-attention from the trained vision half into the upper layers of a frozen LM."""

import json
import logging
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ..data.visual_arrays import load_visual_arrays
from ..evaluation.runner import predict
from ..modeling_leaml import LeamlForVisualQA, answer_span
from ..processing_leaml import LeamlProcessor
from .cache import FrozenCache
from .objectives import answer_loss
from .pretrain_tower import Averages, schedule
from .source_data import SourceStream, source_loader
from .tower import DenseHeads, TowerBatch

logger = logging.getLogger(__name__)
GATE = 0.75  # tanh(alpha) at the start: from closed gates a bridge crawls
HELD_OUT_ROWS = 480


def heldout_accuracy(
    model: LeamlForVisualQA, processor: LeamlProcessor, rows: int = HELD_OUT_ROWS
) -> dict[str, float]:
    """Accuracy of generated answers on the held-out source split, per task and program."""
    means = Averages()
    for task in ("chart", "layout"):
        dataset = load_visual_arrays(task, "base", split="validation", num_rows=rows)
        for program, right in zip(dataset["program"], predict(model, processor, dataset).correct, strict=True):
            means.add(task, float(right))
            means.add(f"{task}/{program}", float(right))
    return means.read()


def trained_parts(model: LeamlForVisualQA, with_vision: bool) -> nn.ModuleDict:
    """What is trained: the bridge, and at the end the vision half too."""
    parts = {"bridge": model.bridge}
    return nn.ModuleDict(
        parts | {"vision_tower": model.vision_tower, "connector": model.connector} if with_vision else parts
    )


def pretrain_bridge(model: LeamlForVisualQA, processor: LeamlProcessor, output_dir: Path, num_batches: int,
                    dense: DenseHeads, batch_size: int = 12, peak_rate: float = 1e-3, vision_rate: float = 1e-4,
                    vision_from: float = 0.6, save_every: int = 100, evaluate_every: int = 500) -> None:  # fmt: skip
    """Trains the bridge of a base whose vision half is trained; goes on from its checkpoint where there is one.

    Args:
        model ([`LeamlForVisualQA`]): a base with `bridge_layers`.
        processor ([`LeamlProcessor`]): of the model.
        output_dir (`Path`): for checkpoint and `bridge_log.jsonl`.
        num_batches (`int`): batches in all, of `batch_size` pictures with 8 questions each.
        dense ([`DenseHeads`]): trained heads, which keep the vision half's states what they are while it is trained on.
        peak_rate (`float`): learning rate of the bridge; `vision_rate` of the vision half, which joins at the share
            `vision_from` of the batches.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    weights, state = output_dir / "bridge.safetensors", output_dir / "bridge_state.pt"
    model.requires_grad_(False)
    model.backbone.to(torch.bfloat16)
    everything = nn.ModuleDict({**trained_parts(model, True), "dense": dense}).requires_grad_(True)
    for layer in model.bridge.values():
        layer.open_gate(GATE)
    groups = [{"params": list(model.bridge.parameters()), "peak": peak_rate},
              {"params": [*model.vision_tower.parameters(), *model.connector.parameters(), *dense.parameters()],
               "peak": vision_rate}]  # fmt: skip
    optimizer = torch.optim.AdamW(groups, lr=peak_rate, weight_decay=0.02, betas=(0.9, 0.98))
    start, seconds = 0, 0.0
    if state.exists():
        everything.load_state_dict(load_file(weights), strict=True)
        saved = torch.load(state, weights_only=True)
        optimizer.load_state_dict(saved["optimizer"])
        start, seconds = saved["step"], saved["seconds"]
    cache = FrozenCache(model, processor)
    stream = SourceStream(processor.tokenizer, batch_size, start, num_batches)
    means, clock = Averages(), time.time()
    for step, batch in enumerate(source_loader(stream), start):
        joint = step >= vision_from * num_batches
        for group in optimizer.param_groups:
            group["lr"] = schedule(step, num_batches, group["peak"], warmup=100)
        loss, correct = _step(model, processor, cache, dense, batch, joint)
        loss.backward()
        nn.utils.clip_grad_norm_(everything.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        means.add("loss", loss.item())
        for program, right in zip(batch.programs, correct.tolist(), strict=True):
            means.add(program, right)
            means.add(program.split("/")[0], right)
        done = step + 1
        if done % save_every == 0 or done == num_batches:
            now = seconds + time.time() - clock
            line = {"step": done, "rows": done * batch_size * 8, "seconds": round(now, 1), **means.read()}
            if done % evaluate_every == 0 or done == num_batches:
                line["heldout"] = heldout_accuracy(model, processor)
            with (output_dir / "bridge_log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            logger.info("%s", line)
            save_file(everything.state_dict(), weights.with_suffix(".tmp"))
            torch.save({"optimizer": optimizer.state_dict(), "step": done, "seconds": now}, state.with_suffix(".tmp"))
            weights.with_suffix(".tmp").replace(weights)
            state.with_suffix(".tmp").replace(state)
    model.backbone.to(torch.float32)


def _step(model: LeamlForVisualQA, processor: LeamlProcessor, cache: FrozenCache, dense: DenseHeads, batch: TowerBatch,
          joint: bool) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Loss of a batch and which of its rows are right; with `joint`, gradients reach the vision half."""
    model.eval()  # batch statistics of the tower stay
    text = processor(questions=batch.questions, answers=batch.answer_texts)
    texts = [f"{q}\n{a}" for q, a in zip(batch.questions, batch.answer_texts, strict=True)]
    pixels = batch.pixels.float() / 127.5 - 1
    index = torch.arange(len(pixels)).repeat_interleave(len(texts) // len(pixels))
    with torch.autocast("cpu", torch.bfloat16):
        lower = cache.lower(texts, text["input_ids"], text["attention_mask"])
        with torch.set_grad_enabled(joint):
            vision = model.encode_vision(pixels)
        span = answer_span(text["labels"])
        logits = model(lower_states=lower.to(torch.bfloat16), attention_mask=text["attention_mask"], vision_states=vision,
                       vision_index=index, logits_to_keep=span).logits  # fmt: skip
        extra = dense(vision, batch.targets)[0] * 0.1 if joint else 0.0
    labels = text["labels"][:, -span:]
    loss = answer_loss(logits, labels, torch.ones(len(labels)), 0.0) + extra
    wrong = (logits[:, :-1].argmax(-1) != labels[:, 1:]) & (labels[:, 1:] != -100)
    return loss, ~wrong.any(1)
