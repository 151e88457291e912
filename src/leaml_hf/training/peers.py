"""What LEAML is compared with, by a stock `Trainer`: plain LoRA on few labels, and fine-tuning of all parameters."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from safetensors.torch import load_model, save_model
from torch import Tensor
from transformers import PrinterCallback, TrainingArguments, set_seed
from transformers.utils import SAFE_WEIGHTS_NAME

from ..adapters import decoder_lora_modules, lora_config
from ..backbones import fastest_dtype, resolve_base_path
from ..modeling_leaml import LeamlForVisualQA
from ..processing_leaml import LeamlProcessor, load_processor
from .progress import WholeCheckpoints, last_checkpoint
from .rows import RowDataset

if TYPE_CHECKING:
    from datasets import Dataset

LORA_ALPHA = 16
LORA_EPOCHS = 10
FULL_EPOCHS = 2
FULL_BATCH = 64
FULL_LEARNING_RATE = 1e-4
FULL_SAVE_STEPS = 50


class PixelCollator:
    """Rows to inputs with pixels; each picture is decoded and scaled once.

    Args:
        processor ([`LeamlProcessor`]): of the model.
    """

    def __init__(self, processor: LeamlProcessor) -> None:
        self.processor = processor
        self._pixels: dict[str, Tensor] = {}

    def _of(self, key: str, load: Callable[[], Image.Image]) -> Tensor:
        if key not in self._pixels:
            self._pixels[key] = self.processor(images=[load()])["pixel_values"][0].half()
        return self._pixels[key].float()

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        batch = self.processor(questions=[row["question"] for row in rows], answers=[row["answer"] for row in rows])
        return {**batch, "pixel_values": torch.stack([self._of(row["key"], row["load_image"]) for row in rows])}


class WholeTrainer(WholeCheckpoints):
    """A `Trainer` whose checkpoints hold every weight: those of a LEAML base leave out its language model."""

    def _save(self, output_dir: str, state_dict: dict[str, Tensor] | None = None) -> None:
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        save_model(self.model, str(Path(output_dir, SAFE_WEIGHTS_NAME)))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_model(self.model, str(Path(resume_from_checkpoint, SAFE_WEIGHTS_NAME)))


def train_lora(base: str, rows: "Dataset", output: str | Path, seed: int = 0, rank: int = 8) -> LeamlForVisualQA:
    """
    Plain LoRA (Hu et al. 2022, arXiv 2106.09685) by PEFT in all linear modules of the decoder, on labelled rows alone.

    Args:
        base (`str`): a LEAML base.
        rows (`Dataset`): labelled rows, all of which are trained on.
        output (`str` or `Path`): folder for what `Trainer` writes.
        seed (`int`, *optional*, defaults to 0): of initial values and order.
        rank (`int`, *optional*, defaults to 8): of LoRA.

    Returns:
        [`LeamlForVisualQA`]: the base with trained LoRA, in evaluation mode.
    """
    from peft import get_peft_model

    set_seed(seed)
    model = LeamlForVisualQA.from_pretrained(resolve_base_path(base), dtype=fastest_dtype())
    modules = decoder_lora_modules(model, model.layers_path, list(range(model.num_layers)), None)
    wrapped = get_peft_model(model, lora_config("|".join(modules), rank, LORA_ALPHA, 0.0))
    _train(wrapped, base, rows, output, seed, num_train_epochs=LORA_EPOCHS, learning_rate=2e-4,
           per_device_train_batch_size=16, save_strategy="no")  # fmt: skip
    return model.eval()


def train_all(base: str, rows: "Dataset", output: str | Path, seed: int = 0) -> LeamlForVisualQA:
    """
    Fine-tunes every parameter of a base, vision tower included, on labelled rows; goes on from the last checkpoint in
    `output`, if there is one.

    Args:
        base (`str`): a LEAML base.
        rows (`Dataset`): labelled rows.
        output (`str` or `Path`): folder for what `Trainer` writes.
        seed (`int`, *optional*, defaults to 0): of the order.

    Returns:
        [`LeamlForVisualQA`]: fine-tuned, in evaluation mode.
    """
    set_seed(seed)
    model = LeamlForVisualQA.from_pretrained(resolve_base_path(base), dtype=torch.float32)
    model.requires_grad_(True)
    _train(model, base, rows, output, seed, num_train_epochs=FULL_EPOCHS, learning_rate=FULL_LEARNING_RATE,
           per_device_train_batch_size=FULL_BATCH, bf16=fastest_dtype() == torch.bfloat16,
           save_strategy="steps", save_steps=FULL_SAVE_STEPS, save_total_limit=1)  # fmt: skip
    return model.eval()


def _train(model: Any, base: str, rows: "Dataset", output: str | Path, seed: int, **options: Any) -> None:
    arguments = TrainingArguments(
        output_dir=str(output),
        seed=seed,
        lr_scheduler_type="cosine",
        warmup_steps=0.1,
        report_to="none",
        logging_strategy="no",
        remove_unused_columns=False,
        disable_tqdm=True,
        label_names=["labels"],
        use_cpu=not torch.accelerator.is_available(),  # bfloat16 is refused on a CPU that is not asked for
        dataloader_pin_memory=torch.cuda.is_available(),
        **options,
    )
    trainer = WholeTrainer(model, arguments, PixelCollator(load_processor(base)), RowDataset(rows))
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=last_checkpoint(output))
