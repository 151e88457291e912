"""Seconds and memory of few-label training: LEAML, TRL's SFTTrainer and the stock Trainer, both with PEFT's LoRA.

    .venv/bin/python benchmarks/training.py                                         # leaml-smol, five minutes
    .venv/bin/python benchmarks/training.py --backbone llava --rows 32 --epochs 2   # five minutes, too

All get the same rows, batches, steps, number format and loss (answers alone), LoRA has rank 8 in all linear layers of
the decoder, and nothing saves or judges. Each runs in a process of its own, whose largest memory is what counts. The
first epoch has whatever is kept for later ones; a run of 20 epochs is reckoned as the first and 19 times the mean of
the others. `llava` has random weights: a SigLIP-sized vision tower and a Llama of the size of SmolLM2-135M. Writes
docs/training-speed.md of the last results of each backbone.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from leaml_hf import LeamlForVisualQA, LeamlTrainer, LeamlTrainingArguments
from leaml_hf.adapters import decoder_lora_modules, lora_config
from leaml_hf.backbones import decoder_layers, fastest_dtype, find_decoder, module_path, resolve_base_path
from leaml_hf.data.visual_arrays import load_visual_arrays
from leaml_hf.processing_leaml import LeamlBackboneProcessor, load_processor

DOCS = Path(__file__).resolve().parent.parent / "docs"
BACKBONES = ("leaml-smol", "llava")
METHODS = {"leaml_hf": "LEAML", "trl": "TRL SFTTrainer, LoRA", "trainer": "Trainer, LoRA"}
EPOCHS = 20  # of a run with few labels
SIDE = 224
BATCH = 16


def make_backbone(name: str) -> tuple[Any, Any]:
    """Backbone and processor."""
    if name == "leaml-smol":
        return LeamlForVisualQA.from_pretrained(resolve_base_path(name), dtype=fastest_dtype()), load_processor(name)
    tokenizer = load_processor("leaml-smol").tokenizer
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    text = LlamaConfig(vocab_size=len(tokenizer), hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
                       num_attention_heads=9, num_key_value_heads=3, tie_word_embeddings=True,
                       pad_token_id=tokenizer.pad_token_id)  # fmt: skip
    vision = CLIPVisionConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
                              image_size=SIDE, patch_size=16)  # fmt: skip
    token = tokenizer.convert_tokens_to_ids("<image>")
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=token, image_token_id=token)
    torch.manual_seed(0)
    pixels = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    processor = LlavaProcessor(image_processor=pixels, tokenizer=tokenizer, patch_size=16,
                               vision_feature_select_strategy="default", num_additional_image_tokens=1)  # fmt: skip
    model = LlavaForConditionalGeneration(config).to(fastest_dtype())
    return model, LeamlBackboneProcessor(processor)


class Clock(TrainerCallback):
    """Wall time of each epoch."""

    def __init__(self) -> None:
        self.epochs: list[float] = []

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        self.start = time.perf_counter()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        self.epochs.append(time.perf_counter() - self.start)


def measure(backbone: str, method: str, rows: int, epochs: int) -> dict[str, Any]:
    """Seconds of each epoch and the largest memory of this process in MiB."""
    model, processor = make_backbone(backbone)
    data = load_visual_arrays("chart", "style", num_rows=rows)
    clock, start = Clock(), time.perf_counter()
    common = {"num_train_epochs": epochs, "per_device_train_batch_size": BATCH, "learning_rate": 2e-4, "seed": 0,
              "report_to": "none", "save_strategy": "no", "logging_strategy": "no", "remove_unused_columns": False,
              "disable_tqdm": True, "max_grad_norm": 1.0, "dataloader_pin_memory": False}  # fmt: skip
    set_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        if method == "leaml_hf":
            adapted = LeamlForVisualQA.from_backbone(model)
            arguments = LeamlTrainingArguments(folder, max_steps=-1, consistency_weight=0.0, replay_share=0.0,
                                               use_patterns=False, spelling_weight=0.0, **common)  # fmt: skip
            trainer = LeamlTrainer(adapted, arguments, processor, data, callbacks=[clock])
        else:
            trainer = make_peer(method, model, processor, data, folder, common, clock)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"backbone": backbone, "rows": rows, "method": method, "epochs": clock.epochs, "memory_mib": peak,
            "seconds": time.perf_counter() - start}  # fmt: skip


def make_peer(
    method: str, model: Any, processor: Any, data: Any, folder: str, common: dict[str, Any], clock: Clock
) -> Trainer:
    """A trainer of plain LoRA."""
    decoder = decoder_layers(find_decoder(getattr(model, "backbone", model)))
    lora = lora_config("|".join(decoder_lora_modules(model, module_path(model, decoder), list(range(len(decoder))),
                                                     None)), 8, 16, 0.0)  # fmt: skip
    if method == "trainer":
        from peft import get_peft_model

        arguments = TrainingArguments(folder, label_names=["labels"], **common)
        return Trainer(get_peft_model(model, lora), arguments, processor.collate, data, callbacks=[clock])
    from trl import SFTConfig, SFTTrainer

    arguments = SFTConfig(folder, max_length=None, gradient_checkpointing=False, label_names=["labels"],
                          dataset_kwargs={"skip_prepare_dataset": True}, bf16=False, **common)  # fmt: skip
    data = data.select_columns(["image", "question", "answer"]).rename_column("image", "picture")  # no chat of its own

    def collate(rows: list[dict[str, Any]]) -> Any:
        return processor.collate([{**row, "image": row["picture"]} for row in rows])

    return SFTTrainer(model, arguments, collate, data, processing_class=processor.tokenizer, peft_config=lora,
                      callbacks=[clock])  # fmt: skip


def reckon(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What stands in the table."""
    table = []
    for run in runs:
        first, later = run["epochs"][0], sum(run["epochs"][1:]) / len(run["epochs"][1:])
        named = {name: run[name] for name in ("backbone", "rows", "method", "memory_mib")}
        table.append({**named, "first_epoch_s": first, "epoch_s": later, "run_s": first + (EPOCHS - 1) * later})
    own = {row["backbone"]: row for row in table if row["method"] == "leaml_hf"}
    for row in table:
        for name in ("epoch_s", "run_s", "memory_mib"):
            row[f"{name}_ratio"] = row[name] / own[row["backbone"]][name]
    return table


def write_page(table: list[dict[str, Any]]) -> None:
    lines = [
        "# Seconds and memory of training",
        "",
        f"Written by `benchmarks/training.py`: labelled charts, {BATCH} a batch, "
        f"{torch.get_num_threads()} cores, {str(fastest_dtype()).removeprefix('torch.')}; in brackets how many times "
        f"LEAML's. A run has {EPOCHS} epochs, the first of which fills LEAML's cache.",
        "",
        "| backbone | rows | training | first epoch, s | later epoch, s | run, s | memory, MiB |",
        "|---|---|---|---|---|---|---|",
        *(f"| {row['backbone']} | {row['rows']} | {METHODS[row['method']]} | {row['first_epoch_s']:.1f} | "
          f"{row['epoch_s']:.1f} ({row['epoch_s_ratio']:.1f}) | {row['run_s']:.0f} ({row['run_s_ratio']:.1f}) | "
          f"{row['memory_mib']:.0f} ({row['memory_mib_ratio']:.2f}) |" for row in table),
    ]  # fmt: skip
    (DOCS / "training-speed.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default=BACKBONES[0], choices=BACKBONES)
    parser.add_argument("--rows", type=int, default=192)
    parser.add_argument("--epochs", type=int, default=3, help="that are measured")
    parser.add_argument("--folder", type=Path, default=Path("out/training"), help="of the results")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", choices=METHODS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.backbone, args.one, args.rows, args.epochs)))
        return
    runs = []
    for method in METHODS:
        command = [sys.executable, __file__, "--backbone", args.backbone, "--rows", str(args.rows)]
        out = subprocess.run([*command, "--epochs", str(args.epochs), "--one", method], check=True,
                             stdout=subprocess.PIPE, text=True).stdout  # fmt: skip
        runs.append(json.loads(out.splitlines()[-1]))
        print(method, [round(second, 1) for second in runs[-1]["epochs"]], file=sys.stderr)
    args.folder.mkdir(parents=True, exist_ok=True)
    (args.folder / f"{args.backbone}.json").write_text(json.dumps(reckon(runs)))
    files = [args.folder / f"{backbone}.json" for backbone in BACKBONES]
    table = [row for file in files if file.exists() for row in json.loads(file.read_text())]
    write_page(table)
    print(json.dumps(table) if args.json else (DOCS / "training-speed.md").read_text())


if __name__ == "__main__":
    main()
