"""The `leaml` command. With `--json` standard output holds one JSON object; everything else goes to standard error."""

import argparse
import contextlib
import json
import logging
import math
import shlex
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import LeamlError, LeamlInputError

logger = logging.getLogger("leaml_hf")
DATA_HELP = "a folder of pictures, a Hub data set, real-charts, or visual-arrays:task/variant/domain"
MODEL_HELP = "a folder, a Hub id, or a shipped base (leaml-smol)"
ROWS = 800  # of each split of a cell that `generate` draws
ENVIRONMENT_ROWS = 200  # that `evaluate --environments` judges unless told otherwise


def _adapt(args: argparse.Namespace) -> dict[str, Any]:
    from .training.adapt import OOD_SETS, adapt

    _load_silently()
    named = ("layers", "max_steps", "learning_rate", "reading_steps", "use_lexicon", "letter_steps",
             "consistency_weight", "replay_share", "calibration_objective", "feature_cache_dir", "pseudo_qa_weight",
             "neuron_share", "retrieved_examples", "curriculum_steps", "search")  # fmt: skip
    options = {name: getattr(args, name) for name in named}
    return adapt(
        args.data,
        args.base,
        args.output,
        labels=args.labels,
        ood=tuple(args.ood or OOD_SETS),
        seed=args.seed,
        test_rows=args.test_rows,
        progress=not args.quiet,
        command=args.command_line,
        **{name: value for name, value in options.items() if value is not None},
    )


def _print_adapt(out: dict[str, Any]) -> None:
    before, after = out["before"], out["after"]
    print(
        f"{out['data']}: {out['labels_used']} labels, {out['unlabeled_used']} unlabelled rows, {out['seconds']:.0f} s"
    )
    print(f"{'':22}{'before':>10}{'after':>10}")
    for key in ("accuracy", "ece", "auroc", "auprc", "fpr95", "coverage", "selective_accuracy"):
        if after.get(key) is not None:
            print(f"{key:22}{before[key] if before.get(key) is not None else math.nan:>10.3f}{after[key]:>10.3f}")
    low, high = after["accuracy_ci"]
    print(f"accuracy after: {after['accuracy']:.3f} (95% interval {low:.3f} to {high:.3f}, {after['n']} questions)")
    if out["handed_over"] == "base":
        print("No adapter was better than the base on the held-out labels, so the base is what was saved.")
    print(f"Adapter, leaml_results.json and report.html are in {out['output']}")


def _load_silently() -> None:
    """Loading rows and weights shows no bars and no reports, so that an error stands alone; downloads keep theirs."""
    import datasets
    from huggingface_hub.utils import enable_progress_bars
    from transformers.utils import logging as transformers_logging

    datasets.disable_progress_bars()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    enable_progress_bars()


def _load(model: str) -> tuple[Any, Any]:
    from .modeling_leaml import LeamlForVisualQA
    from .processing_leaml import load_processor

    return LeamlForVisualQA.from_pretrained(model), load_processor(model)


def _load_base(base: str) -> tuple[Any, Any]:
    """A base as `leaml adapt` starts from it."""
    from .backbones import fastest_dtype
    from .modeling_leaml import LeamlForVisualQA
    from .processing_leaml import load_processor

    return LeamlForVisualQA.from_backbone(base, dtype=fastest_dtype()), load_processor(base)


def _answer(args: argparse.Namespace) -> dict[str, Any]:
    from .processing_leaml import load_image

    _load_silently()
    image = load_image(args.image)
    model, processor = _load(args.model)
    answers = model.answer([image] * len(args.question), args.question, processor)
    return {
        "answers": [
            {"question": question, "answer": a.text, "confidence": a.confidence, "is_ood": a.is_ood,
             "ood_score": None if math.isnan(a.ood_score) else a.ood_score, "abstained": a.abstained, "cause": a.cause,
             "evidence": a.evidence.round(5).tolist()}
            for question, a in zip(args.question, answers, strict=True)
        ]
    }  # fmt: skip


def _print_answer(out: dict[str, Any]) -> None:
    for a in out["answers"]:
        score = "not fitted" if a["ood_score"] is None else f"{a['ood_score']:.2f}"
        unfamiliar = " (outside what this adapter knows)" if a["is_ood"] else ""
        print(a["question"])
        print(f"  answer      {a['answer']}")
        print(f"  confidence  {a['confidence']:.2f}")
        print(f"  OOD score   {score}{unfamiliar}")
        print(f"  abstains    {'yes: too unsure to rely on' if a['abstained'] else 'no'}")
        if a["cause"] not in (None, "familiar"):
            print(f"  because of  {a['cause']}")


def _evaluate(args: argparse.Namespace) -> dict[str, Any]:
    from .data.sources import complete_rows, evaluation_split
    from .evaluation.environments import check_environments
    from .evaluation.runner import evaluate_model
    from .training.adapt import outside_rows, sample_rows

    _load_silently()
    if args.environments:
        check_environments(args.environments)
    elif args.plot:
        raise LeamlInputError("--plot draws the figures of environments; give --environments too.")
    labelled = complete_rows(evaluation_split(args.data, args.seed), args.data, ("question", "answer"))
    count = args.rows or (ENVIRONMENT_ROWS if args.environments else None)
    dataset = sample_rows(labelled, count, args.seed)
    outside = {name: outside_rows(name, count, args.seed) for name in args.ood or ()}
    model, processor = _load(args.model)
    options = {"tolerance": args.tolerance, "progress": not args.quiet}
    results = evaluate_model(model, processor, dataset, outside, **options).results
    if args.environments:
        results["environments"] = _judge_environments(args, model, processor, dataset, options)
    return results


def _judge_environments(
    args: argparse.Namespace, model: Any, processor: Any, dataset: Any, options: dict[str, Any]
) -> dict[str, Any]:
    """Figures by environment and strength, and their picture where one is asked for."""
    from .evaluation.plots import environment_panels
    from .evaluation.shifts import answer_in_environments, judge_environments

    names = args.environments
    answered = answer_in_environments(model, processor, dataset, names, seed=args.seed, **options)
    figures = judge_environments(model, answered)
    if args.plot:
        environment_panels(args.plot, figures)
    return figures


def _print_evaluate(out: dict[str, Any]) -> None:
    low, high = out["accuracy_ci"]
    print(f"{'accuracy':20}{out['accuracy']:>8.3f}   95% interval {low:.3f} to {high:.3f}, {out['n']} questions")
    for key in (
        "ece",
        "brier",
        "nll",
        "aurc",
        "coverage",
        "selective_accuracy",
        "latency_ms",
        "auroc",
        "auprc",
        "fpr95",
    ):
        if out.get(key) is not None:
            print(f"{key:20}{out[key]:>8.3f}")
    for cause, part in out.get("causes", {}).items():
        print(f"{cause:20}{part['share']:>8.1%}   of the questions, accuracy {part['accuracy']:.3f}")
    for program, figures in out["per_program"].items():
        print(f"  {program:18}{figures['accuracy']:>8.3f}   {figures['n']} questions")
    for key, title in (("accuracy", "accuracy"), ("ece", "ECE"), ("auroc", "AUROC of the OOD score")):
        if "environments" in out:
            _print_environments(out["environments"], key, title)


def _print_environments(figures: dict[str, Any], key: str, title: str) -> None:
    clean = figures["clean"].get(key)
    print(f"{title} by strength" + ("" if clean is None else f", clean {clean:.3f}"))
    for name, by_strength in figures.items():
        if name != "clean":
            print(f"  {name:18}" + "".join(f"{found[key]:>8.3f}" for found in by_strength.values()))


def _select(args: argparse.Namespace) -> dict[str, Any]:
    from .data.chosen import check_new, read_chosen, write_chosen
    from .data.contact_sheet import write_contact_sheet
    from .data.sources import load_data
    from .training.selection import select_rows

    _load_silently()
    check_new(args.output)
    rows = load_data(args.data, ("train",), args.seed)["train"]
    earlier: list[int] = []
    if args.labels:
        rows, earlier = read_chosen(args.labels, rows)
    method = args.method or ("uncertain" if args.adapter else "stratified")
    model, processor = _load(args.adapter) if args.adapter else _load_base(args.base)
    chosen = select_rows(rows, args.budget, model, processor, method, earlier, args.seed, progress=not args.quiet)
    output = write_chosen(args.output, rows.select([*earlier, *chosen]))
    shown = rows.select(chosen)
    first = len(earlier) + 1  # the numbers are those of the file's rows
    picture = write_contact_sheet(output.with_suffix(".png"), shown["image"], shown["question"], first)
    return {"output": str(output), "picture": str(picture), "method": method, "rows": len(rows),
            "earlier": len(earlier), "chosen": list(shown["id"])}  # fmt: skip


def _print_select(out: dict[str, Any]) -> None:
    print(f"{len(out['chosen'])} of {out['rows']} rows are in {out['output']}, pictured in {out['picture']}.")
    print(f"Fill in the column answer, then: leaml adapt DATA --labels {out['output']} …")


def _generate(args: argparse.Namespace) -> dict[str, Any]:
    from .data.export import write_folder
    from .data.real_charts import build_real_charts
    from .data.sources import REAL_CHARTS

    if args.data == REAL_CHARTS:
        folder = build_real_charts(Path(args.output), seed=args.seed, progress=not args.quiet)
        return {"output": str(folder)}
    if args.format == "parquet":
        return _generate_shards(args)
    if args.blind:
        raise LeamlInputError("--blind writes into the card of shards; give --format parquet too.")
    return {"output": str(write_folder(args.data, Path(args.output), args.rows or ROWS, args.seed))}


def _generate_shards(args: argparse.Namespace) -> dict[str, Any]:
    """One cell, or with `visual-arrays` all of them, and the card."""
    from .data.shards import FULL_ROWS, verify_shards, write_shards
    from .data.sources import VISUAL_ARRAYS, parse_cell
    from .data.visual_arrays.builder import grid
    from .data.visual_arrays.scenes import SPLITS
    from .evaluation.blind import measure_blind
    from .hub.data_card import write_data_card

    if args.blind:
        _load_silently()
    asked = _load(args.blind) if args.blind else None  # first, so that a wrong name is told before hours of drawing
    whole = args.data == VISUAL_ARRAYS.rstrip(":")
    cells = [VISUAL_ARRAYS + "/".join(cell) for cell in grid()] if whole else [args.data]
    total = {"configs": 0, "rows": 0, "shards": 0, "written": 0, "bytes": 0}
    for domain, full in FULL_ROWS.items():
        of_domain = [cell for cell in cells if parse_cell(cell)[2] == domain]
        if of_domain:
            rows = full if whole and args.rows is None else dict.fromkeys(SPLITS, args.rows or ROWS)
            out = write_shards(of_domain, args.output, rows, args.seed, progress=not args.quiet)
            out["configs"] = len(of_domain)
            total = {name: count + out[name] for name, count in total.items()}
    if asked:
        tasks = sorted({parse_cell(cell)[0] for cell in cells})
        measure_blind(*asked, args.blind, tasks, args.output, progress=not args.quiet)
    card = write_data_card(args.output)
    return {"output": args.output, **total, "verified": verify_shards(args.output), "card": str(card)}


def _pretrain(args: argparse.Namespace) -> dict[str, Any]:
    from .training.pretrain import pretrain_base

    return pretrain_base(Path(args.output), args.pictures, args.rows, args.start, args.batch_size, args.learning_rate,
                         args.minutes, args.workers, args.device, args.passes)  # fmt: skip


def _inspect(args: argparse.Namespace) -> dict[str, Any]:
    from .inspection import inspect_model

    _load_silently()
    return inspect_model(args.model, args.layers, args.lora_rank)


def _print_inspect(out: dict[str, Any]) -> None:
    for part, count in out["parameters"].items():
        print(f"{part:18}{count:>16,}" if isinstance(count, int) else f"{part:18}{count:>16.2f}")
    for key, value in out.items():
        if key not in ("parameters", "places"):
            print(f"{key:18}{value}")
    for place, added in out["places"].items():
        print(f"  {place:42}{', '.join(added)}")


def _card(args: argparse.Namespace) -> dict[str, Any]:
    from .hub.cards import write_card

    return {"card": str(write_card(args.folder, args.repo or Path(args.folder).name, args.license, args.output))}


def _publish(args: argparse.Namespace) -> dict[str, Any]:
    from .hub.publish import publish

    return publish(args.folder, args.repo, args.private or None, args.revision, base=args.base)


def _print_publish(out: dict[str, Any]) -> None:
    print(f"{out['url']} has {len(out['files'])} files, {out['bytes'] / 1e6:.1f} MB, at {out['revision']}")


def _benchmark(args: argparse.Namespace) -> dict[str, Any]:
    from .evaluation.comparison import ahead, write_comparison
    from .training.study import BUDGETS, METHODS, TARGETS, run_study

    _load_silently()
    runs = run_study(
        args.output,
        args.targets or TARGETS,
        args.methods or METHODS,
        args.budgets or BUDGETS,
        [args.seed + number for number in range(args.seeds)],
        args.base,
        args.rows,
        args.test_rows,
        args.validation,
    )
    page = write_comparison(runs, Path(args.output) / "comparison.md", args.command_line)
    gaps = {other: {target: {"difference": mean, "low": low, "high": high, "pairs": pairs}
                    for target, (mean, low, high, pairs) in ahead(runs, "leaml", other).items()}
            for other in ("base", "lora", "full")}  # fmt: skip
    return {"page": str(page), "runs": len(runs), "ahead": gaps}


def _print_benchmark(out: dict[str, Any]) -> None:
    for other, targets in out["ahead"].items():
        for target, gap in targets.items():
            print(f"LEAML less {other:5} on {target:38}{100 * gap['difference']:+6.1f} points "
                  f"({100 * gap['low']:+.1f} to {100 * gap['high']:+.1f}, {gap['pairs']} pairs)")  # fmt: skip
    print(f"{out['runs']} runs; tables and curves are in {out['page']}")


def _doctor(args: argparse.Namespace) -> dict[str, Any]:
    from .inspection import examine_installation

    return examine_installation()


def _print_pairs(out: dict[str, Any]) -> None:
    for key, value in out.items():
        print(f"{key:24}{value}")


def _integer(least: int, most: int = 2**63 - 1) -> Callable[[str], int]:
    """For argparse: reads a whole number from `least` to `most`."""

    def read(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be from {least} to {most}, not {value}")
        return value

    read.__name__ = "whole number"  # in argparse's own message
    return read


def _layers(text: str) -> list[int]:
    """For argparse: reads layer numbers with commas between them."""
    return [_integer(0)(part) for part in text.split(",")]


def _environments(text: str) -> tuple[str, ...]:
    """For argparse: reads names with commas between them, or all."""
    from .evaluation.environments import ENVIRONMENTS

    return tuple(ENVIRONMENTS) if text == "all" else tuple(text.split(","))


def _layers_or_rule(text: str) -> list[int] | str:
    return text if text == "relevant" else _layers(text)


_layers_or_rule.__name__ = "list of layer numbers, or relevant"
_layers.__name__ = "list of layer numbers such as 20,22,31"


def _above_zero(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
    return value


_above_zero.__name__ = "number"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="leaml", description="Label-efficient adapters that know when they don't know."
    )
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else on standard output"
    )
    common.add_argument("--quiet", action="store_true", help="no progress bars")
    common.add_argument(
        "--seed", type=_integer(0, 2**32 - 1), default=0, help="seed of everything drawn at random (default 0)"
    )

    def command(name: str, run: Callable, show: Callable, summary: str, example: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name, parents=[common], help=summary, description=summary, epilog=f"example: {example}"
        )
        sub.set_defaults(run=run, show=show)
        return sub

    adapt = command("adapt", _adapt, _print_adapt, "Train an adapter with few labels and the unlabelled rest.",
                    "leaml adapt my-charts --base leaml-smol --labels 1%% --output out/my-charts")  # fmt: skip
    adapt.add_argument("data", help=DATA_HELP)
    adapt.add_argument("--base", default="leaml-smol", help=MODEL_HELP)
    adapt.add_argument(
        "--labels",
        default="1%",
        help="share (1%%), number (200) or all of the answers that may be used, or a file of "
        "leaml select with answers",
    )
    adapt.add_argument("--output", required=True, help="folder for adapter, figures and report")
    adapt.add_argument(
        "--ood", action="append", metavar="DATA", help="pictures from elsewhere to measure OOD detection on"
    )
    adapt.add_argument(
        "--test-rows", type=_integer(1), default=800, help="test questions judged at most (default 800)"
    )
    adapt.add_argument("--layers", type=_layers_or_rule, metavar="0,1,…|relevant",
                       help="decoder layers to adapt, or relevant: those that matter most for labelled rows (default: "
                       "the upper third)")  # fmt: skip
    adapt.add_argument("--max-steps", type=_integer(1), help="training steps at most")
    adapt.add_argument("--learning-rate", type=float, help="peak learning rate")
    adapt.add_argument("--reading-steps", type=_integer(0), metavar="N", help="steps in which a base with a reader of "
                       "names learns to read from unlabelled questions (default 200; 0 for none)")  # fmt: skip
    adapt.add_argument("--no-lexicon", action="store_const", const=False, dest="use_lexicon",
                       help="names in unlabelled questions are no answers")  # fmt: skip
    adapt.add_argument("--letter-steps", type=_integer(0), metavar="N", help="steps in which the letters of such "
                       "names are learnt from unlabelled pictures (default 500; 0 for none)")  # fmt: skip
    adapt.add_argument("--consistency-weight", type=float, help="weight of what a teacher says "
                       "of unlabelled pictures (default 0: none is asked)")  # fmt: skip
    adapt.add_argument("--replay-share", type=float, help="source rows per labelled row; 0 for none")
    adapt.add_argument("--calibration-objective", choices=("focal", "mmce"), help="what the loss adds for calibration")
    adapt.add_argument("--pseudo-qa-weight", type=float, help="weight of questions and answers that are written for "
                       "unlabelled pictures (default 0: none are)")  # fmt: skip
    adapt.add_argument("--neuron-share", type=float, help="share of LoRA's output neurons that are tuned, those that "
                       "matter most (default 1)")  # fmt: skip
    adapt.add_argument("--retrieved-examples", type=_integer(0), metavar="K",
                       help="labelled examples that are put before each question (default 0)")  # fmt: skip
    adapt.add_argument("--curriculum-steps", type=_integer(0), metavar="N", help="steps in which training goes from "
                       "the easiest rows to all of them (default 0: all from the start)")  # fmt: skip
    adapt.add_argument("--feature-cache-dir", metavar="DIR", help="keep what the frozen parts compute for later runs")
    adapt.add_argument("--search", type=_above_zero, metavar="SECONDS",
                       help="search so long for training options, by the held-out labels")  # fmt: skip

    answer = command("answer", _answer, _print_answer, "Answer questions about a picture.",
                     'leaml answer out/my-charts chart.png "Which bar is the tallest?"')  # fmt: skip
    answer.add_argument("model", help=MODEL_HELP)
    answer.add_argument("image", help="a picture file")
    answer.add_argument("question", nargs="+", help="one or more questions")

    evaluate = command("evaluate", _evaluate, _print_evaluate,
                       "Accuracy, calibration and OOD figures on labelled pictures.",
                       "leaml evaluate out/my-charts my-charts --ood visual-arrays:layout/base --json")  # fmt: skip
    evaluate.add_argument("model", help=MODEL_HELP)
    evaluate.add_argument("data", help=DATA_HELP)
    evaluate.add_argument("--ood", action="append", metavar="DATA", help="pictures from elsewhere")
    evaluate.add_argument("--rows", type=_integer(1), help="questions judged at most, drawn by seed (default: all, or "
                          f"{ENVIRONMENT_ROWS} with --environments)")  # fmt: skip
    evaluate.add_argument("--environments", type=_environments, metavar="NAMES",
                          help="ask again in all, or in blur,noise,exposure,compression,resolution,colour_cast,"
                          "perspective,occlusion, at five strengths each")  # fmt: skip
    evaluate.add_argument("--plot", metavar="PNG", help="(with --environments) draw the figures by strength")
    evaluate.add_argument("--tolerance", type=float, help="relative error that numbers may have, such as 0.05")

    select = command("select", _select, _print_select,
                     "Choose rows for a person to answer: so many of each kind of question.",
                     "leaml select my-charts --budget 1%% --output out/to-answer.csv")  # fmt: skip
    select.add_argument("data", help=DATA_HELP)
    select.add_argument("--budget", default="1%", help="share (1%%) or number (200) of rows to choose (default 1%%)")
    select.add_argument("--output", required=True, metavar="FILE",
                        help="new .csv or .jsonl to fill in; a picture of the chosen rows lies beside it")  # fmt: skip
    select.add_argument("--base", default="leaml-smol", help="what leaml adapt will start from (default leaml-smol)")
    select.add_argument("--adapter", metavar="DIR", help="an adapter of an earlier round: rows that it is unsure of")
    select.add_argument("--labels", metavar="FILE", help="rows of earlier rounds: they come first in the new file")
    select.add_argument("--method", choices=("stratified", "typical", "k-center", "uncertain"),
                        help="default: stratified, with --adapter uncertain")  # fmt: skip

    generate = command("generate", _generate, _print_pairs, "Write a drawn data set.",
                       "leaml generate visual-arrays:chart/style --rows 800 --output out/chart-style")  # fmt: skip
    generate.add_argument(
        "data", help="real-charts, visual-arrays:task/variant/domain, or (parquet) visual-arrays for every cell"
    )
    generate.add_argument("--rows", type=_integer(1),
                          help=f"rows a split (default {ROWS}; of every cell a million pairs in all)")  # fmt: skip
    generate.add_argument("--format", choices=("imagefolder", "parquet"), default="imagefolder",
                          help="imagefolder (default), or parquet: shards that a killed run goes on with")  # fmt: skip
    generate.add_argument("--output", required=True, help="folder to write")
    generate.add_argument("--blind", metavar="MODEL",
                          help="(parquet) ask a model with other questions' pictures, and write into the card how "
                          "often it is right; goes on after a kill")  # fmt: skip

    pretrain = command("pretrain", _pretrain, _print_pairs,
                       "Train the base leaml-smol on drawn pictures; resumes after a kill.",
                       "leaml pretrain --output out/leaml-smol")  # fmt: skip
    pretrain.add_argument("--output", required=True, help="folder for checkpoints and the base")
    pretrain.add_argument("--pictures", type=_integer(1), default=256_000,
                          help="pictures for the vision half at most (default 256000)")  # fmt: skip
    pretrain.add_argument("--rows", type=_integer(1), default=48_000,
                          help="questions for the bridge at most (default 48000)")  # fmt: skip
    pretrain.add_argument(
        "--start", metavar="MODEL", help="a base whose vision half, resampler and bridge to go on from"
    )
    pretrain.add_argument("--batch-size", type=_integer(1), default=32, help="pictures a batch (default 32)")
    pretrain.add_argument(
        "--learning-rate",
        type=_above_zero,
        default=1e-3,
        help="peak at 32 pictures a batch; rises with their square root (default 0.001)",
    )
    pretrain.add_argument("--minutes", type=_above_zero, default=math.inf,
                          help="end after so long; rates fall by the clock (default: no limit)")  # fmt: skip
    pretrain.add_argument("--workers", type=_integer(1), help="processes that draw (default: cores less one)")
    pretrain.add_argument("--passes", type=_integer(1), default=1,
                          help="times that the vision half is trained on each picture drawn (default 1)")  # fmt: skip
    pretrain.add_argument("--device", choices=("cpu", "cuda"), help="where to train (default: a GPU if there is one)")

    inspect = command("inspect", _inspect, _print_inspect, "Parameters added, adapted layers and base of a model.",
                      "leaml inspect reference")  # fmt: skip
    inspect.add_argument("model", help=f"{MODEL_HELP}, or reference (ViT-L/16 and a 7B LM, sizes only); any other "
                         "image-text-to-text model is shown with the adapter that it would get")  # fmt: skip
    inspect.add_argument("--layers", type=_layers, metavar="0,1,…", help="layers of an adapter that is not there yet")
    inspect.add_argument("--lora-rank", type=_integer(1), default=8, help="its rank of LoRA (default 8)")

    publish = command("publish", _publish, _print_publish,
                      "Upload an adapter with its card, its figures and the code that loads it.",
                      "leaml publish out/my-charts my-name/leaml-my-charts --private")  # fmt: skip
    publish.add_argument("folder", metavar="DIR", help="what leaml adapt wrote, or a shipped base (leaml-smol)")
    publish.add_argument("repo", metavar="REPO", help="name of the repo on the Hub; made if it is not there")
    publish.add_argument("--private", action="store_true", help="make a new repo private")
    publish.add_argument("--revision", help="branch to upload to; made if it is not there")
    publish.add_argument("--base", metavar="REPO", help="Hub id of the adapter's base, where it was a folder")

    card = command("card", _card, _print_pairs, "Write the card of an adapter from its figures, to look at and edit.",
                   "leaml card out/my-charts --repo my-name/leaml-my-charts --license apache-2.0")  # fmt: skip
    card.add_argument("folder", metavar="DIR", help="what leaml adapt wrote")
    card.add_argument("--repo", help="its name on the Hub (default: the folder's name)")
    card.add_argument("--license", help="identifier such as apache-2.0")
    card.add_argument("--output", metavar="FILE", help="default: README.md in the folder, which publish then takes")

    benchmark = command("benchmark", _benchmark, _print_benchmark,
                        "Methods side by side over targets, label budgets and seeds; goes on after a kill.",
                        "leaml benchmark --output out/study --targets real-charts --seeds 2")  # fmt: skip
    benchmark.add_argument("--output", required=True, help="folder for the journal of runs, tables and curves")
    benchmark.add_argument("--targets", nargs="+", metavar="DATA", help=f"{DATA_HELP} (default: five of them)")
    benchmark.add_argument("--methods", nargs="+", metavar="METHOD",
                           help="leaml, leaml-words (without them) and so on, lora, base, full")  # fmt: skip
    benchmark.add_argument("--budgets", nargs="+", metavar="SHARE", help="label budgets (default: 0.5%% to 100%%)")
    benchmark.add_argument("--seeds", type=_integer(1), default=5, help="how many, from --seed on (default 5)")
    benchmark.add_argument("--base", default="leaml-smol", help="a LEAML base (default leaml-smol)")
    benchmark.add_argument("--rows", type=_integer(16), default=20_000,
                           help="training rows of a drawn target (default 20000)")  # fmt: skip
    benchmark.add_argument("--test-rows", type=_integer(1), default=1000, help="rows judged at most (default 1000)")
    benchmark.add_argument("--validation", action="store_true", help="judge on the validation split")

    command("doctor", _doctor, _print_pairs, "Check the installation.", "leaml doctor")
    return parser


def _one_line(error: Exception) -> str:
    return "leaml: " + " ".join(str(error).split())


def main(argv: list[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv (`list[str]`, *optional*): defaults to `sys.argv[1:]`.

    Returns:
        `int`: 0 done, 1 failed, 2 wrong use or bad input.
    """
    arguments = sys.argv[1:] if argv is None else argv
    args = _parser().parse_args(arguments)
    args.command_line = shlex.join(["leaml", *arguments])
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logger.setLevel(logging.WARNING if args.quiet else logging.INFO)
    warnings.filterwarnings("ignore", message="Image size")  # Pillow's; such a picture is refused with a sentence
    try:
        with contextlib.redirect_stdout(sys.stderr):  # libraries print there too
            out = args.run(args)
    except LeamlInputError as error:
        print(_one_line(error), file=sys.stderr)
        return 2
    except (LeamlError, OSError) as error:
        print(_one_line(error), file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(out))
    else:
        args.show(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
