"""What knowing costs: answers with confidence, OOD score, cause and evidence against plain ones of the same adapter.

    .venv/bin/python benchmarks/latency.py                 # about 5 minutes on two cores
    .venv/bin/python benchmarks/latency.py --adapter out/real-charts --json

Three ways take turns over the same rows, so that whatever else the machine does befalls all: `answer`; the same code
with nothing recorded, which gives the words alone; and `generate` of transformers with the same adapter, token by
token. `leaml-smol` carries a real adapter; `llava` is the random LLaVA of benchmarks/training.py with a new one. The
ratio is that of each pair of turns: its median, and a 95% bootstrap interval of that. Writes docs/latency.md.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from training import make_backbone

from leaml_hf import LeamlForVisualQA
from leaml_hf.answering import CALL_INPUTS, prepare_inputs
from leaml_hf.backbones import fastest_dtype
from leaml_hf.data.visual_arrays import load_visual_arrays
from leaml_hf.decoding import tell
from leaml_hf.processing_leaml import as_leaml_processor, load_processor
from leaml_hf.quick_lora import quick_lora
from leaml_hf.reliability import Reliability

DOCS = Path(__file__).resolve().parent.parent / "docs"
FIT_ROWS = 160
SHAPES = {1: 60, 32: 8}  # rows at a time, turns
NEW_TOKENS = 8
MOST_OTHERS = 0.03  # of answers, where bfloat16 makes two tokens equally likely
WAYS = ("answer", "plain", "generate")


@torch.no_grad()
def plain(model: LeamlForVisualQA, pictures: list[Any], questions: list[str], processor: Any) -> list[str]:
    """What `answer` does, without records, states and judgement."""
    with quick_lora(model):
        inputs = prepare_inputs(model, pictures, questions, processor)
        given = {name: inputs.pop(name, None) for name in CALL_INPUTS}
        call = model._new_call(**given, keep_key_values=True)
        told = tell(model, call, given, inputs, processor.tokenizer, NEW_TOKENS)
    return processor.decode_answers(told.tokens)


@torch.no_grad()
def stock(model: LeamlForVisualQA, pictures: list[Any], questions: list[str], processor: Any) -> list[str]:
    """`generate` of transformers."""
    inputs = dict(processor(images=pictures, questions=questions))
    tokens = model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False,
                            pad_token_id=processor.tokenizer.pad_token_id)  # fmt: skip
    return processor.decode_answers(tokens[:, inputs["input_ids"].shape[1] :])


def load(name: str, adapter: str) -> tuple[LeamlForVisualQA, Any]:
    if name == "leaml-smol":
        model, processor = LeamlForVisualQA.from_pretrained(adapter, dtype=fastest_dtype()), load_processor(adapter)
        model.phrasebook = None  # `generate` has none, and all are to answer the same questions
        return model.eval(), processor
    backbone, processor = make_backbone(name)
    model, processor = LeamlForVisualQA.from_backbone(backbone).eval(), as_leaml_processor(processor)
    rows = load_visual_arrays("chart", num_rows=FIT_ROWS)
    seen = model.collect(rows["image"], rows["question"], processor)
    right = np.random.default_rng(0).integers(2, size=FIT_ROWS)  # random weights are never right
    model.reliability = Reliability.fit(seen.states(), seen.confidence, right, labeled_states=seen.states())
    return model, processor


def measure(name: str, adapter: str) -> list[dict[str, Any]]:
    """Milliseconds a row of each way, and the ratios."""
    model, processor = load(name, adapter)

    def full(model: LeamlForVisualQA, pictures: list[Any], questions: list[str], processor: Any) -> list[str]:
        return [answer.text for answer in model.answer(pictures, questions, processor, max_new_tokens=NEW_TOKENS)]

    ways: dict[str, Callable[..., list[str]]] = {"answer": full, "plain": plain, "generate": stock}
    table = []
    for size, turns in SHAPES.items():
        rows = load_visual_arrays("chart", "style", split="test", num_rows=size * turns)
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        others = 0
        for turn in range(-1, turns):  # the first warms up
            part = rows.select(range(max(turn, 0) * size, (max(turn, 0) + 1) * size))
            pictures, questions, told = part["image"][:], part["question"][:], {}
            for way in np.roll(list(ways), turn):
                start = time.perf_counter()
                told[way] = ways[way](model, pictures, questions, processor)
                if turn >= 0:
                    seconds[way].append(time.perf_counter() - start)
            others += sum(map(str.__ne__, told["answer"], told["plain"]))
        if others > MOST_OTHERS * size * (turns + 1):
            raise SystemExit(f"{name}: {others} answers differ from plain ones.")
        entry: dict[str, Any] = {"backbone": name, "rows": size}
        for way, times in seconds.items():
            entry[f"{way}_ms"] = 1000 * float(np.median(times)) / size
        for way in ("plain", "generate"):
            entry[f"to_{way}"] = ratio(seconds["answer"], seconds[way])
        table.append(entry)
    return table


def ratio(ours: list[float], theirs: list[float]) -> list[float]:
    """Median of paired ratios, and its 95% bootstrap interval."""
    pairs = np.array(ours) / np.array(theirs)
    drawn = np.random.default_rng(0).integers(len(pairs), size=(2000, len(pairs)))
    low, high = np.quantile(np.median(pairs[drawn], axis=1), [0.025, 0.975])
    return [float(np.median(pairs)), float(low), float(high)]


def write_page(table: list[dict[str, Any]]) -> None:
    lines = [
        "# What knowing costs",
        "",
        f"Written by `benchmarks/latency.py`, {torch.get_num_threads()} cores. Median milliseconds a question, each",
        "about a picture of its own, read and encoded anew. `answer` gives words, calibrated confidence, OOD score,",
        "cause and evidence map; \"words alone\" is the same code with nothing recorded; `generate` is that of",
        "transformers with the same adapter. Ratios are medians over pairs of turns, with 95% bootstrap intervals.",
        "",
        "| backbone | rows at once | `answer` | words alone | `generate` | answer / words alone | answer / generate |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in table:
        cells = [f"{row[f'{way}_ms']:.1f}" for way in WAYS]
        cells += ["{:.3f} ({:.3f}–{:.3f})".format(*row[f"to_{way}"]) for way in ("plain", "generate")]
        lines.append(f"| {row['backbone']} | {row['rows']} | {' | '.join(cells)} |")
    (DOCS / "latency.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--adapter", default="out/real-charts", help="on leaml-smol")
    parser.add_argument("--backbones", nargs="+", default=("leaml-smol", "llava"))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    table = [row for name in arguments.backbones for row in measure(name, arguments.adapter)]
    write_page(table)
    print(json.dumps(table) if arguments.json else (DOCS / "latency.md").read_text())


if __name__ == "__main__":
    main()
