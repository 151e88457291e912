"""The `leaml` command: help, exit codes, one line for an error, one JSON object for a result."""

import argparse
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from conftest import SMALL_ADAPTER, WORDS, make_connector_config, make_llava, make_text, make_vision, open_adapter
from PIL import Image
from safetensors.torch import load_file
from test_resume import dies_at_call, run
from test_training import rows
from transformers import PreTrainedTokenizerFast
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from leaml_hf import LeamlForVisualQA, LeamlProcessor, LeamlTrainer, cli
from leaml_hf.cli import main
from leaml_hf.data import sources
from leaml_hf.evaluation import blind
from leaml_hf.evaluation.environments import ENVIRONMENTS
from leaml_hf.hub import data_card
from leaml_hf.training import progress, trainer

COMMANDS = ("adapt", "answer", "evaluate", "select", "generate", "pretrain", "inspect", "publish", "card", "doctor")
LAYOUT = "visual-arrays:layout/base"


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture()
def leaml(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the command in this process, without network."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(sources, "VISUAL_ARRAYS_ROWS", {"train": 16, "validation": 8, "test": 8})
    capsys.readouterr()

    def run(*arguments: object) -> Result:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def adapter(
    backbone_folders: tuple[Path, Path], tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A saved adapter on two tiny backbones, with its processor."""
    folder = tmp_path_factory.mktemp("adapter")
    vision, text = backbone_folders
    model = LeamlForVisualQA.from_backbones(vision, text, fusion_layers=[2, 3], lora_layers=[3], **SMALL_ADAPTER)
    open_adapter(model).save_pretrained(folder)
    save_processor(tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def base(
    backbone_folders: tuple[Path, Path], tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A saved base with an open bridge, with its processor."""
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(5)
    model = LeamlForVisualQA.from_backbones(
        make_vision(), str(backbone_folders[1]), fusion_layers=[], lora_layers=[], bridge_layers=[1, 3], bridge_dim=16,
        bridge_heads=2, bridge_ffn_dim=16, connector_config=make_connector_config(),
    )  # fmt: skip
    for layer in model.bridge.values():
        layer.open_gate(0.8)
    model.save_pretrained(folder)
    save_processor(tokenizer, folder)
    return folder


def save_processor(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    image_processor = ViTImageProcessorPil(size={"height": 32, "width": 32})
    LeamlProcessor(image_processor=image_processor, tokenizer=tokenizer).save_pretrained(folder)


def write_folder(folder: Path, count: int, answered: int) -> Path:
    """`count` pictures with a question each, `answered` of them with an answer."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        Image.new("RGB", (12, 12), (20 * number % 256, 90, 30)).save(folder / f"{number}.png")
        answer = WORDS[16 + number % 3] if number < answered else None
        rows.append({"file_name": f"{number}.png", "question": "what is the colour ?", "answer": answer})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture()
def charts(tmp_path: Path) -> Path:
    for split, count in (("train", 24), ("test", 6)):
        write_folder(tmp_path / "charts" / split, count, count if split == "test" else 16)
    return tmp_path / "charts"


@pytest.fixture()
def picture(tmp_path: Path) -> Path:
    Image.new("RGB", (20, 10), "red").save(tmp_path / "red.png")
    return tmp_path / "red.png"


def assert_refused(result: Result, reason: str) -> None:
    """Exit code 2, one line that says why, and nothing on standard output."""
    assert (result.code, result.out) == (2, ""), result
    assert result.err.count("\n") == 1, result.err
    assert result.err.startswith("leaml: ")
    assert reason in result.err


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def strict_json(text: str) -> dict[str, Any]:
    """One JSON object and nothing else; NaN and infinity are no JSON."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


class TestUse:
    @pytest.mark.parametrize("name", COMMANDS)
    def test_help_has_an_example(self, leaml, name):
        result = leaml(name, "--help")
        assert result.code == 0
        assert f"example: leaml {name}" in " ".join(result.out.split())
        assert {"--json", "--quiet", "--seed"} <= set(
            result.out.replace(",", " ").replace("[", " ").replace("]", " ").split()
        )

    def test_the_commands_are_those_tested_here(self):
        actions = cli._parser()._subparsers._group_actions
        names = {
            name for action in actions if isinstance(action, argparse._SubParsersAction) for name in action.choices
        }
        assert set(COMMANDS) <= names

    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["fly"],
            ["answer", "model", "picture.png"],
            ["adapt", "data"],
            ["evaluate", "model"],
            ["evaluate", "model", "data", "--rows", "0"],
            ["evaluate", "model", "data", "--tolerance", "much"],
            ["adapt", "data", "--output", "out", "--max-steps", "-3"],
            ["select", "data"],
            ["select", "data", "--output", "x.csv", "--method", "best"],
            ["generate", LAYOUT, "--output", "out", "--rows", "many"],
            ["doctor", "--seed", "-1"],
            ["doctor", "--seed", str(2**32)],
        ],
    )
    def test_wrong_use_is_code_2(self, leaml, arguments):
        result = leaml(*arguments)
        assert (result.code, result.out) == (2, "")
        assert "usage: leaml" in result.err


class TestAnswer:
    def test_answers_are_one_object(self, leaml, adapter, picture):
        result = leaml("answer", adapter, picture, "how many bars ?", "what is the colour ?", "--json")
        assert (result.code, result.err) == (0, "")
        answers = strict_json(result.out)["answers"]
        assert [a["question"] for a in answers] == ["how many bars ?", "what is the colour ?"]
        for answer in answers:
            assert 0 <= answer["confidence"] <= 1
            assert sum(map(sum, answer["evidence"])) == pytest.approx(1, abs=1e-3)

    def test_without_json_it_is_for_people(self, leaml, adapter, picture):
        result = leaml("answer", adapter, picture, "how many bars ?")
        assert result.code == 0
        assert "confidence" in result.out

    @pytest.mark.parametrize("content", [None, b"", b"not a picture"])
    def test_the_picture_is_looked_at_before_the_model(self, leaml, tmp_path, content):
        path = tmp_path / "bad.png"
        if content is not None:
            path.write_bytes(content)
        result = leaml("answer", tmp_path / "no-model", path, "what ?")
        assert_refused(result, "There is no picture file" if content is None else "can't be read as a picture")

    def test_an_empty_question_is_told(self, leaml, adapter, picture):
        assert_refused(leaml("answer", adapter, picture, "what ?", " "), "Question 2 of 2 is empty")


class TestBadModels:
    @pytest.fixture(params=["answer", "evaluate", "inspect"])
    def use(self, request, leaml, picture, tmp_path) -> Callable[[Path], Result]:
        arguments = {
            "answer": [picture, "what ?"],
            "evaluate": [write_folder(tmp_path / "some" / "test", 2, 2).parent],
        }
        return lambda model: leaml(request.param, model, *arguments.get(request.param, []))

    def test_a_missing_folder(self, use, tmp_path):
        assert_refused(use(tmp_path / "nowhere"), "nowhere")

    def test_an_empty_folder(self, use, tmp_path):
        (tmp_path / "empty").mkdir()
        assert_refused(use(tmp_path / "empty"), "empty")

    def test_a_folder_with_another_model(self, use, backbone_folders):
        assert_refused(use(backbone_folders[1]), "not a LEAML model")

    def test_a_cut_configuration(self, use, adapter, tmp_path):
        shutil.copytree(adapter, tmp_path / "cut")
        (tmp_path / "cut" / "config.json").write_text('{"model_type": "leaml"')
        assert_refused(use(tmp_path / "cut"), "cut")

    def test_a_cut_adapter_file(self, use, adapter, tmp_path):
        shutil.copytree(adapter, tmp_path / "cut")
        file = tmp_path / "cut" / "leaml_adapter.safetensors"
        file.write_bytes(file.read_bytes()[:-40])
        assert_refused(use(tmp_path / "cut"), "damaged or cut short")

    def test_a_missing_adapter_file(self, use, adapter, tmp_path):
        shutil.copytree(adapter, tmp_path / "cut")
        (tmp_path / "cut" / "leaml_adapter.safetensors").unlink()
        assert_refused(use(tmp_path / "cut"), "no leaml_adapter.safetensors")

    def test_an_adapter_of_another_base(self, use, adapter, tmp_path):
        make_text(seed=9).save_pretrained(tmp_path / "text")
        shutil.copytree(adapter, tmp_path / "foreign")
        config = json.loads((adapter / "config.json").read_text())
        config["text_name_or_path"] = str(tmp_path / "text")
        (tmp_path / "foreign" / "config.json").write_text(json.dumps(config))
        assert_refused(use(tmp_path / "foreign"), "was trained on another base")


class TestEvaluate:
    def test_figures_are_one_object(self, leaml, adapter, charts):
        result = leaml("evaluate", adapter, charts, "--ood", LAYOUT, "--rows", 5, "--quiet", "--json")
        assert (result.code, result.err) == (0, "")
        figures = strict_json(result.out)
        assert figures["n"] == 5
        assert figures["ood"][LAYOUT]["n"] == 5
        keys = "accuracy accuracy_ci ece brier nll aurc coverage selective_accuracy latency_ms auroc auprc fpr95"
        assert set(keys.split()) <= set(figures)
        assert leaml("evaluate", adapter, charts, "--quiet").code == 0

    def test_environments_are_figures_by_strength_and_a_picture(self, leaml, adapter, charts, tmp_path):
        options = ["--environments", "blur,occlusion", "--plot", tmp_path / "made.png", "--quiet"]
        result = leaml("evaluate", adapter, charts, *options, "--json")
        assert (result.code, result.err) == (0, "")
        figures = strict_json(result.out)["environments"]
        assert list(figures) == ["clean", "blur", "occlusion"]
        assert list(figures["blur"]) == ["1", "2", "3", "4", "5"]
        assert {"accuracy", "ece", "auroc", "confidence_auroc"} <= set(figures["occlusion"]["3"])
        with Image.open(tmp_path / "made.png") as drawn:
            assert drawn.format == "PNG"
        assert "AUROC of the OOD score by strength\n  blur" in leaml("evaluate", adapter, charts, *options).out

    @pytest.mark.parametrize(("options", "reason"), [
        (["--environments", "blur,fog"], "no environment fog"), (["--environments", ""], "no environment"),
        (["--plot", "made.png"], "give --environments too"),
    ])  # fmt: skip
    def test_bad_environments_are_told_before_anything_is_loaded(self, leaml, options, reason):
        assert_refused(leaml("evaluate", "no-model", "no-data", *options), reason)

    def test_the_help_names_all_environments(self, leaml):
        told = "".join(leaml("evaluate", "--help").out.split())
        assert ",".join(ENVIRONMENTS) in told

    def test_rows_are_drawn_among_those_with_answers(self, leaml, adapter, tmp_path):
        folder = write_folder(tmp_path / "few" / "test", 40, 3).parent
        assert strict_json(leaml("evaluate", adapter, folder, "--rows", 3, "--quiet", "--json").out)["n"] == 3

    @pytest.mark.parametrize(("make", "reason"), [
        (lambda folder: None, "neither a folder here nor a data set"),
        (lambda folder: folder.mkdir(), "holds no pictures"),
        (lambda folder: write_folder(folder / "test", 3, 0), "has no row with question and answer"),
        (lambda folder: (write_folder(folder, 3, 3) / "1.png").write_bytes(b""), "can't be read as a picture"),
        (lambda folder: (write_folder(folder, 3, 3) / "1.png").unlink(), "there is no such file"),
    ])  # fmt: skip
    def test_data_is_looked_at_before_the_model(self, leaml, tmp_path, make, reason):
        make(tmp_path / "data")
        assert_refused(leaml("evaluate", tmp_path / "no-model", tmp_path / "data"), reason)
        good = write_folder(tmp_path / "good" / "test", 2, 2).parent
        if reason != "has no row with question and answer":  # what is unfamiliar needs no answers
            assert_refused(leaml("evaluate", tmp_path / "no-model", good, "--ood", tmp_path / "data"), reason)

    def test_unknown_cells_are_told(self, leaml, adapter):
        assert_refused(leaml("evaluate", adapter, "visual-arrays:maps"), "no task 'maps'")


class TestSelect:
    def test_rows_are_chosen_answered_and_learnt_from(self, leaml, base, charts, tmp_path):
        first, second, before = tmp_path / "first.jsonl", tmp_path / "second.csv", contents(charts)
        result = leaml("select", charts, "--base", base, "--budget", 5, "--output", first, "--quiet", "--json")
        assert (result.code, result.err) == (0, "")
        out = strict_json(result.out)
        assert (out["method"], out["rows"], out["earlier"], len(out["chosen"])) == ("stratified", 24, 0, 5)
        assert Image.open(out["picture"]).width > 0
        chosen = [json.loads(line) for line in first.read_text().splitlines()]
        assert [row["id"] for row in chosen] == out["chosen"]
        assert all(row["answer"] is None for row in chosen)  # of 24 rows, 16 have an answer
        first.write_text(
            "".join(json.dumps(row | {"answer": WORDS[16 + i % 3]}) + "\n" for i, row in enumerate(chosen))
        )
        options = ("--base", base, "--ood", LAYOUT, "--max-steps", 2, "--quiet", "--json")
        result = leaml("adapt", charts, "--labels", first, "--output", tmp_path / "out", *options)
        assert result.code == 0, result.err
        assert strict_json(result.out)["labels_used"] == 5
        result = leaml("select", charts, "--adapter", tmp_path / "out", "--labels", first, "--budget", 3, "--output",
                       second, "--quiet", "--json")  # fmt: skip
        out = strict_json(result.out)
        assert (out["method"], out["earlier"], len(out["chosen"])) == ("uncertain", 5, 3)
        assert not {row["id"] for row in chosen} & set(out["chosen"])
        assert len(second.read_text().splitlines()) == 1 + 5 + 3
        assert contents(charts) == before

    @pytest.mark.parametrize(
        ("budget", "reason"), [("99", "only 8"), ("1%", "ask for more"), ("few", "a share such as 1%")]
    )
    def test_a_budget_that_cannot_be_met_is_told(self, leaml, base, charts, tmp_path, budget, reason):
        result = leaml("select", charts, "--base", base, "--budget", budget, "--output", tmp_path / "x.csv", "--quiet")
        assert_refused(result, reason)
        assert not (tmp_path / "x.csv").exists()

    @pytest.mark.parametrize(("output", "labels", "reason"), [
        ("x.txt", None, "should end in .jsonl or .csv"), ("there.csv", None, "is there already"),
        ("x.csv", "nowhere.csv", "There is no file"),
    ])  # fmt: skip
    def test_files_are_looked_at_before_the_base_is_loaded(self, leaml, charts, tmp_path, output, labels, reason):
        (tmp_path / "there.csv").write_text("id\n")
        more = ("--labels", tmp_path / labels) if labels else ()
        assert_refused(
            leaml("select", charts, "--base", tmp_path / "no-base", "--output", tmp_path / output, *more), reason
        )

    def test_data_without_training_rows_or_questions_is_told(self, leaml, base, tmp_path):
        for split, reason in (("train", "No row has a question"), ("test", "none of train")):
            (tmp_path / split / split).mkdir(parents=True)
            Image.new("RGB", (9, 9)).save(tmp_path / split / split / "bare.png")
            result = leaml("select", tmp_path / split, "--base", base, "--output", tmp_path / "x.csv", "--quiet")
            assert_refused(result, reason)


class TestAdapt:
    def test_from_a_folder_to_an_adapter(self, leaml, base, charts, tmp_path):
        output, before = tmp_path / "out", contents(charts)
        result = leaml("adapt", charts, "--base", base, "--output", output, "--labels", "8", "--ood", LAYOUT,
                       "--max-steps", 2, "--quiet", "--json")  # fmt: skip
        assert (result.code, result.err) == (0, "")
        out = strict_json(result.out)
        assert (out["labels_used"], out["unlabeled_used"], out["output"]) == (8, 16, str(output))
        assert out["before"]["n"] == out["after"]["n"] == 6
        assert "auroc" in out["after"]
        assert {"leaml_adapter.safetensors", "leaml_results.json", "report.html"} <= set(contents(output))
        assert contents(charts) == before
        assert leaml("answer", output, charts / "test" / "0.png", "what is the colour ?", "--json").code == 0

    def test_a_killed_training_goes_on_if_the_same_is_asked_for(self, leaml, base, charts, tmp_path, monkeypatch):
        def adapt(output: str, steps: int = 4) -> Result:
            return leaml("adapt", charts, "--base", base, "--output", tmp_path / output, "--labels", "8", "--ood",
                         LAYOUT, "--max-steps", steps, "--quiet", "--json")  # fmt: skip

        def killed() -> None:
            monkeypatch.setattr(LeamlTrainer, "compute_loss", dies_at_call(LeamlTrainer.compute_loss, 4))
            adapt("killed")

        seen, load = [], progress.load_progress
        monkeypatch.setattr(trainer, "load_progress", lambda *given: seen.append(Path(given[1]).name) or load(*given))
        assert run(killed) == -signal.SIGKILL
        shutil.copytree(tmp_path / "killed", tmp_path / "otherwise")
        assert (adapt("unbroken").code, adapt("killed").code, seen) == (0, 0, ["checkpoint-3"])
        ends = [load_file(tmp_path / output / "leaml_adapter.safetensors") for output in ("unbroken", "killed")]
        assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())
        assert not list((tmp_path / "killed").glob("_*"))
        assert adapt("otherwise", steps=2).code == 0 and len(seen) == 1  # something else is asked for

    def test_without_replay_the_words_are_found_still(self, leaml, base, charts, tmp_path, monkeypatch):
        source, found = rows(8, 5).add_column("program", ["hue"] * 8), []
        monkeypatch.setattr("leaml_hf.training.replay.replay_rows", lambda *given: source)
        monkeypatch.setattr(
            LeamlTrainer, "find_words", lambda self: found.append(self.replay) or self.history.append({})
        )
        result = leaml("adapt", charts, "--base", base, "--output", tmp_path / "out", "--labels", "8", "--ood", LAYOUT,
                       "--max-steps", 2, "--replay-share", 0, "--quiet", "--json")  # fmt: skip
        assert (result.code, found) == (0, [None]), result.err

    def test_the_best_options_of_a_search_are_used(self, leaml, base, charts, tmp_path):
        pytest.importorskip("optuna")
        result = leaml("adapt", charts, "--base", base, "--output", tmp_path / "out", "--labels", "8", "--ood", LAYOUT,
                       "--max-steps", 2, "--search", 0.1, "--no-lexicon", "--letter-steps", 3, "--quiet",
                       "--json")  # fmt: skip
        assert (result.code, result.err) == (0, "")
        out = strict_json(result.out)
        assert (out["arguments"]["use_lexicon"], out["arguments"]["letter_steps"]) == (False, 3)
        assert len(out["search"]["trials"]) == 1 and out["search"]["options"].items() <= out["arguments"].items()

    @pytest.mark.parametrize(("count", "answered", "labels", "reason"), [
        (6, 0, "all", "no answers at all"), (6, 1, "all", "Only 1 label may be used"),
        (6, 6, "1", "Only 1 label may be used"), (6, 6, "1%", "no label at all"), (6, 6, "few", "takes a share"),
        (0, 0, "all", "holds no pictures"),
    ])  # fmt: skip
    def test_labels_are_counted_before_the_base_is_loaded(self, leaml, tmp_path, count, answered, labels, reason):
        data = write_folder(tmp_path / "data" / "train", count, answered).parent
        result = leaml("adapt", data, "--base", tmp_path / "no-base", "--output", tmp_path / "out", "--labels", labels)
        assert_refused(result, reason)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("bare", [0, 10])
    def test_nothing_unlabelled_but_pictures_without_a_question(self, leaml, base, tmp_path, bare):
        data = write_folder(tmp_path / "data" / "train", 12, 12).parent
        for number in range(bare):
            Image.new("RGB", (9, 9), (number, 200, 200)).save(data / "train" / f"bare{number}.png")
        result = leaml("adapt", data, "--base", base, "--output", tmp_path / "out", "--labels", "all", "--ood", LAYOUT,
                       "--max-steps", 2, "--quiet", "--json")  # fmt: skip
        assert result.code == 0, result.err
        out = strict_json(result.out)
        assert (out["labels_used"], out["unlabeled_used"]) == (12, 0)

    def test_too_few_questions_are_told_before_training(self, leaml, tmp_path):
        data = write_folder(tmp_path / "data" / "train", 6, 6).parent
        result = leaml("adapt", data, "--base", tmp_path / "no-base", "--output", tmp_path / "out", "--labels", "all")
        assert_refused(result, "only 6 training rows with a question")

    def test_a_bad_picture_is_found_before_the_base_is_loaded(self, leaml, charts, tmp_path):
        (charts / "train" / "5.png").write_bytes(b"\x89PNG")
        result = leaml("adapt", charts, "--base", tmp_path / "no-base", "--output", tmp_path / "out", "--labels", "8")
        assert_refused(result, "5.png can't be read")

    @pytest.mark.parametrize(("layers", "expected"), [("3,0", [[0, 3]]), ("relevant", [[0], [1], [2], [3]])])
    def test_layers_are_those_asked_for(self, leaml, base, charts, tmp_path, layers, expected):
        result = leaml("adapt", charts, "--base", base, "--output", tmp_path / "out", "--labels", "8", "--ood", LAYOUT,
                       "--layers", layers, "--max-steps", 1, "--quiet")  # fmt: skip
        assert result.code == 0, result.err
        config = json.loads((tmp_path / "out" / "config.json").read_text())
        assert config["fusion_layers"] == config["lora_layers"] and config["lora_layers"] in expected
        arguments = json.loads((tmp_path / "out" / "leaml_results.json").read_text())["arguments"]
        assert arguments["lora_layers"] == ([3, 0] if layers == "3,0" else layers)

    def test_layers_that_are_not_there_are_told(self, leaml, base, charts, tmp_path):
        options = ["--base", base, "--output", tmp_path / "out", "--labels", "8", "--ood", LAYOUT, "--layers"]
        assert_refused(leaml("adapt", charts, *options, "1,4"), "layer 4, but the backbone has layers 0 to 3")
        for layers in ("", "1,", "1;2", "-1", "highest", "1.5", str(2**63)):
            result = leaml("adapt", charts, *options, layers)
            assert (result.code, result.out) == (2, "") and "argument --layers" in result.err

    def test_a_missing_base_is_told(self, leaml, charts, tmp_path):
        result = leaml("adapt", charts, "--base", tmp_path / "no-base", "--output", tmp_path / "out", "--labels", "8")
        assert_refused(result, "no-base")

    def test_an_adapter_is_no_base(self, leaml, adapter, charts, tmp_path):
        result = leaml("adapt", charts, "--base", adapter, "--output", tmp_path / "out", "--labels", "8")
        assert_refused(result, "has an adapter already")

    def test_other_files_are_not_overwritten(self, leaml, base, charts, tmp_path, picture):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.txt").write_text("mine")
        for output in (tmp_path / "out", picture, picture / "below"):
            assert_refused(
                leaml("adapt", charts, "--base", base, "--output", output, "--labels", "8"), "for the output"
            )
        assert contents(tmp_path / "out") == {"thesis.txt": b"mine"}

    def test_bad_input_leaves_an_earlier_output_alone(self, leaml, adapter, charts, tmp_path):
        shutil.copytree(adapter, tmp_path / "out")
        before = contents(tmp_path / "out")
        options = ["--base", tmp_path / "no-base", "--output", tmp_path / "out"]
        assert leaml("adapt", charts, *options, "--labels", "1").code == 2
        assert leaml("adapt", tmp_path / "nowhere", *options).code == 2
        assert leaml("adapt", charts, *options, "--labels", "8").code == 2
        assert contents(tmp_path / "out") == before


class TestGenerate:
    def test_a_cell_is_written(self, leaml, tmp_path):
        result = leaml("generate", "visual-arrays:layout/style", "--rows", 16, "--output", tmp_path / "out", "--json")
        assert (result.code, result.err) == (0, "")
        assert strict_json(result.out) == {"output": str(tmp_path / "out")}
        for split in ("train", "validation", "test"):
            assert len((tmp_path / "out" / split / "metadata.jsonl").read_text().splitlines()) == 16
        before = contents(tmp_path / "out")
        assert_refused(leaml("generate", LAYOUT, "--output", tmp_path / "out"), "is not empty")
        assert contents(tmp_path / "out") == before

    def test_what_cannot_be_drawn_is_told(self, leaml, tmp_path):
        assert_refused(leaml("generate", "visual-arrays:maps", "--output", tmp_path / "out"), "no task 'maps'")
        assert_refused(leaml("generate", tmp_path, "--output", tmp_path / "out"), "cannot be generated")
        unfit = leaml("generate", LAYOUT, "--output", tmp_path / "out", "--blind", "leaml-smol")
        assert_refused(unfit, "give --format parquet too")
        assert not (tmp_path / "out").exists()

    def test_a_model_is_asked_for_the_card(self, leaml, tmp_path, monkeypatch):
        asked = []
        monkeypatch.setattr(cli, "_load", lambda model: (f"{model} model", f"{model} processor"))
        monkeypatch.setattr(blind, "measure_blind", lambda *given, progress: asked.append(given))
        monkeypatch.setattr(data_card, "baselines_section", lambda folder, tasks: str(tasks))
        options = ("--format", "parquet", "--rows", 8, "--output", tmp_path / "out", "--blind", "leaml-smol")
        assert leaml("generate", LAYOUT, *options).code == 0
        assert asked == [("leaml-smol model", "leaml-smol processor", "leaml-smol", ["layout"], str(tmp_path / "out"))]


class TestInspectAndDoctor:
    def test_the_reference_adds_two_to_four_percent(self, leaml):
        result = leaml("inspect", "reference", "--json")
        assert (result.code, result.err) == (0, "")
        assert 2 < strict_json(result.out)["parameters"]["percent"] < 4

    def test_a_model_without_an_adapter_shows_the_one_it_would_get(self, leaml, tmp_path):
        make_llava().save_pretrained(tmp_path)
        out = strict_json(leaml("inspect", tmp_path, "--layers", "0,2", "--lora-rank", "4", "--json").out)
        assert (out["adapter"], out["fusion_layers"], out["lora_layers"]) == ("planned", [0, 2], [0, 2])
        place = "backbone.model.language_model.layers.2"
        assert out["places"][place][:2] == ["gated cross-attention", "LoRA self_attn.q_proj"]
        made = LeamlForVisualQA.from_backbone(tmp_path, [0, 2], [0, 2], lora_rank=4)
        assert out["parameters"] == made.num_added_parameters()
        assert place in leaml("inspect", tmp_path).out or "layers.3" in leaml("inspect", tmp_path).out
        assert_refused(leaml("inspect", tmp_path, "--layers", "7"), "layer 7, but the backbone has layers 0 to 3")

    def test_an_adapter_names_its_base(self, leaml, adapter, backbone_folders):
        out = strict_json(leaml("inspect", adapter, "--json").out)
        assert str(backbone_folders[1]) in out["base"]
        assert (out["adapter"], out["fusion_layers"]) == ("trained", [2, 3])
        assert "percent" in leaml("inspect", adapter).out

    def test_doctor_tells_versions(self, leaml):
        result = leaml("doctor", "--json")
        assert result.code == 0
        assert {"torch", "transformers", "peft", "shipped bases", "cache"} <= set(strict_json(result.out))
        assert "torch" in leaml("doctor").out


def test_a_failure_is_code_1_and_one_line(leaml, monkeypatch):
    def fail(args: argparse.Namespace) -> None:
        raise OSError("the disk\nis full")

    monkeypatch.setattr(cli, "_doctor", fail)
    assert leaml("doctor") == Result(1, "", "leaml: the disk is full\n")
