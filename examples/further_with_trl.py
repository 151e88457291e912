"""An adapter of `leaml adapt` is trained further by TRL's SFTTrainer.

    pip install trl
    python examples/further_with_trl.py out/my-charts my-charts --output out/my-charts-further

SFTTrainer prepares text by itself, which answers to pictures do not need: rows go to the model as LEAML's processor
makes them, with the loss on answers alone. What comes out is a LEAML adapter like the one that went in.
"""

import argparse

import torch
from trl import SFTConfig, SFTTrainer

from leaml_hf import LeamlForVisualQA
from leaml_hf.data.budget import rows_with
from leaml_hf.data.sources import load_data
from leaml_hf.processing_leaml import load_processor


def train_further(adapter: str, data: str, output: str, steps: int = 20, batch_size: int = 8) -> None:
    """Trains an adapter on all labelled rows of DATA's training split, and saves it."""
    model, processor = LeamlForVisualQA.from_pretrained(adapter), load_processor(adapter)
    model.freeze_base()
    arguments = SFTConfig(
        output,
        max_steps=steps,
        per_device_train_batch_size=batch_size,
        learning_rate=1e-4,
        max_length=None,
        bf16=torch.cuda.is_available(),
        gradient_checkpointing=False,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        label_names=["labels"],
        save_strategy="no",
        report_to="none",
    )
    rows = rows_with(load_data(data, ("train",))["train"], "question", "answer")
    rows = rows.select_columns(["image", "question", "answer"]).rename_column("image", "picture")  # no chat of its own

    def collate(batch: list[dict]) -> dict:
        return processor.collate([{**row, "image": row["picture"]} for row in batch])

    trainer = SFTTrainer(model, arguments, collate, rows, processing_class=processor.tokenizer)
    trainer.train()
    model.save_pretrained(output)
    processor.save_pretrained(output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("adapter", help="folder or Hub id")
    parser.add_argument("data", help="a folder of pictures, a Hub data set, or visual-arrays:task/variant/domain")
    parser.add_argument("--output", required=True)
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    train_further(given.adapter, given.data, given.output, given.steps)
