"""Adapters that go through the Hub: what is in them, who can load them, and several on one base."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from conftest import SMALL_ADAPTER, open_adapter
from huggingface_hub import HfApi, constants, snapshot_download
from peft import PeftConfig, PeftModel
from safetensors.torch import load, load_file
from shared_models import ADAPTERS, Shared, told
from test_remote_code import run_without_package
from test_training import rows
from transformers import AutoModel, AutoModelForImageTextToText, AutoModelForVisualQuestionAnswering, AutoProcessor

from leaml_hf import (
    LeamlError,
    LeamlForVisualQA,
    LeamlInputError,
    LeamlProcessor,
    LeamlTrainer,
    LeamlTrainingArguments,
)
from leaml_hf.adapters import round_adapter
from leaml_hf.cli import main
from leaml_hf.hub.publish import publish
from leaml_hf.processing_leaml import load_processor
from leaml_hf.training.adapt import SHIPPED_OPTIONS

AUTO_CLASSES = (AutoModel, AutoModelForImageTextToText, AutoModelForVisualQuestionAnswering)


@pytest.mark.parametrize("name", ADAPTERS)
def test_auto_classes_load_it_by_hub_id_and_by_folder(shared, name):
    expected = shared.expected(name)
    for auto_class, place in [*((auto_class, name) for auto_class in AUTO_CLASSES), (AutoModel, shared.folders[name])]:
        model = auto_class.from_pretrained(place)
        assert type(model) is LeamlForVisualQA
        assert told(model, AutoProcessor.from_pretrained(place), shared.picture) == expected


def test_the_installed_package_goes_before_the_code_of_a_repo(shared):
    model = AutoModel.from_pretrained("org/leaml-chart", trust_remote_code=True)
    processor = AutoProcessor.from_pretrained("org/leaml-chart", trust_remote_code=True)
    assert type(model) is LeamlForVisualQA and type(processor) is LeamlProcessor


class TestWhatIsPublished:
    def test_the_adapter_alone_with_reliability_processor_card_and_code(self, hub, shared):
        files = hub.files("org/leaml-chart")
        assert {"config.json", "leaml_adapter.safetensors", "leaml_reliability.safetensors", "leaml_reliability.json",
                "leaml_phrasebook.json", "leaml_results.json", "processor_config.json", "tokenizer.json", "README.md",
                "modeling_leaml.py", "configuration_leaml.py", "processing_leaml.py", "peft/adapter_config.json",
                "peft/adapter_model.safetensors"} <= files.keys()  # fmt: skip
        assert "adapter_config.json" not in files and "report.html" not in files
        own = shared.models["org/leaml-chart"].num_added_parameters()
        assert len(files["leaml_adapter.safetensors"]) < 4 * own["added"] + 10_000 * len(own)

    def test_nothing_tells_of_this_machine(self, hub, shared):
        for name in ADAPTERS:
            files = hub.files(name)
            for path in ("config.json", "leaml_results.json", "README.md", "peft/adapter_config.json"):
                assert b"/home/me" not in files[path] and str(shared.folders[name].parent).encode() not in files[path]
            results = json.loads(files["leaml_results.json"])
            assert results["command"] == "leaml adapt charts --labels 40 --ood visual-arrays:layout/base --ood other"

    def test_an_adapter_on_a_folder_needs_the_bases_hub_id(self, shared, tmp_path):
        base = snapshot_download("org/tiny-base", local_dir=tmp_path / "base")
        open_adapter(LeamlForVisualQA.from_backbone(base, **SMALL_ADAPTER)).save_pretrained(tmp_path / "adapter")
        with pytest.raises(LeamlInputError, match="publish it first"):
            publish(tmp_path / "adapter", "org/unfinished")
        publish(tmp_path / "adapter", "org/finished", base="org/tiny-base")
        shutil.rmtree(base)
        assert AutoModel.from_pretrained("org/finished").config.base_name_or_path == "org/tiny-base"

    def test_what_the_new_version_lacks_is_deleted(self, hub, shared, tmp_path):
        folder = tmp_path / "again"
        shutil.copytree(shared.folders["org/leaml-chart"], folder)
        publish(folder, "org/again")
        (folder / "leaml_phrasebook.json").unlink()
        publish(folder, "org/again")
        assert "leaml_phrasebook.json" not in hub.files("org/again")
        assert AutoModel.from_pretrained("org/again").phrasebook is None

    def test_a_card_of_ones_own_is_kept(self, hub, shared, tmp_path):
        folder = tmp_path / "own"
        shutil.copytree(shared.folders["org/leaml-chart"], folder)
        (folder / "README.md").write_text("---\nlicense: mit\n---\nMine.\n")
        publish(folder, "org/own", private=True)
        assert hub.files("org/own")["README.md"].endswith(b"Mine.\n")
        assert HfApi().model_info("org/own").private


class TestWhereItIsLoaded:
    def test_a_token_opens_a_private_adapter_and_its_private_base(self, shared, tmp_path, monkeypatch):
        publish(snapshot_download("org/tiny-base", local_dir=tmp_path / "base"), "private-base", private=True)
        model = LeamlForVisualQA.from_backbone("alice/private-base", **SMALL_ADAPTER)
        open_adapter(model).push_to_hub("private-adapter", private=True)
        monkeypatch.setenv("HF_TOKEN", "hf_bob")
        shutil.rmtree(constants.HF_HUB_CACHE)
        with pytest.raises(OSError, match="alice/private-adapter"):
            AutoModel.from_pretrained("alice/private-adapter")
        assert AutoModel.from_pretrained("alice/private-adapter", token="hf_alice").config.has_adapter

    def test_offline_it_comes_from_the_cache(self, hub, shared, tmp_path):
        model = AutoModel.from_pretrained("org/leaml-based")
        model.phrasebook = None
        model.push_to_hub("org/cached", private=True)
        for repo_id in ("org/cached", "org/tiny-base", "org/tiny-text"):
            snapshot_download(repo_id, cache_dir=tmp_path / "hub")
        script = (
            "from leaml_hf import LeamlForVisualQA\n"
            "from transformers import AutoModel\n"
            "model = AutoModel.from_pretrained('org/cached')\n"
            "print(type(model).__name__, model.reliability is not None, model.phrasebook)"
        )
        hub.requests.clear()
        environment = hub.environment(tmp_path, HF_HUB_OFFLINE="1")
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
        assert done.stdout.split() == ["LeamlForVisualQA", "True", "None"], done.stderr[-2000:]
        assert not hub.requests


class TestModelPushToHub:
    def test_model_and_processor_one_by_one(self, shared):
        model = shared.models["org/leaml-chart"]
        assert model.push_to_hub("by-hand").endswith("alice/by-hand")
        AutoProcessor.from_pretrained(shared.folders["org/leaml-chart"]).push_to_hub("by-hand")
        again = AutoModel.from_pretrained("alice/by-hand")
        processor = AutoProcessor.from_pretrained("alice/by-hand")
        assert told(again, processor, shared.picture) == shared.expected("org/leaml-chart")

    def test_a_tag_names_a_version_for_ever(self, shared, tmp_path):
        model = shared.models["org/leaml-chart"]
        model.save_pretrained(tmp_path / "versions", push_to_hub=True, private=True)
        HfApi().create_tag("alice/versions", tag="v1")
        shared.models["org/leaml-based"].push_to_hub("versions")
        first = AutoModel.from_pretrained("alice/versions", revision="v1")
        assert first.config.base_fingerprint == model.config.base_fingerprint
        second = AutoModel.from_pretrained("alice/versions")
        assert second.config.base_fingerprint != model.config.base_fingerprint


def test_a_trainer_pushes_what_it_trained(hub, shared, tmp_path):
    model = LeamlForVisualQA.from_backbone("org/tiny-base", **SMALL_ADAPTER)
    options = {"max_steps": 2, "per_device_train_batch_size": 4, "replay_share": 0.0, "use_cpu": True}
    arguments = LeamlTrainingArguments(
        tmp_path / "trained", hub_model_id="org/trained", hub_private_repo=True, disable_tqdm=True, **options
    )
    trainer = LeamlTrainer(model, arguments, load_processor("org/tiny-base"), rows(12), rows(12, 1), rows(8, 2))
    trainer.train()
    trainer.fit_reliability()
    (tmp_path / "trained" / "checkpoint-2").mkdir()
    (tmp_path / "trained" / "checkpoint-2" / "model.safetensors").write_bytes(b"large")
    trainer.create_model_card(license="mit")
    assert trainer.push_to_hub(blocking=False).result()["repo"] == "org/trained"
    files = hub.files("org/trained")
    assert not any(name.startswith("checkpoint-") for name in files)
    assert HfApi().model_info("org/trained").private
    assert b"license: mit" in files["README.md"] and b'from_pretrained("org/trained")' in files["README.md"]
    assert {tensor.dtype for tensor in load(files["leaml_adapter.safetensors"]).values()} == {torch.float16}
    again, processor = AutoModel.from_pretrained("org/trained"), AutoProcessor.from_pretrained("org/trained")
    assert told(again, processor, shared.picture) == told(model, trainer.processing_class, shared.picture)


class TestCommand:
    def test_publish_to_a_private_repo_and_a_branch(self, hub, shared, capsys):
        folder = shared.folders["org/leaml-chart"]
        assert main(["publish", str(folder), "by-command", "--private", "--revision", "next", "--json"]) == 0
        out = json.loads(capsys.readouterr().out)
        assert out["repo"] == "alice/by-command" and out["revision"] == "next"
        assert out["commit"] == HfApi().model_info("alice/by-command", revision="next").sha
        assert hub.files("alice/by-command").keys() == {".gitattributes"}
        assert HfApi().model_info("alice/by-command").private
        assert main(["answer", "org/leaml-chart", str(shared.picture), "how many bars ?", "--quiet"]) == 0

    @pytest.mark.parametrize(("token", "repo", "code", "reason"), [
        ("hf_wrong", "org/leaml-chart", 1, "hf auth login"),
        ("hf_alice", "bob/leaml-chart", 1, "hf auth login"),
        ("hf_alice", "no/such/name", 2, "can't be the name of a repo"),
    ])  # fmt: skip
    def test_what_the_hub_refuses_is_said_in_a_line(self, shared, monkeypatch, capsys, token, repo, code, reason):
        monkeypatch.setenv("HF_TOKEN", token)
        assert main(["publish", str(shared.folders["org/leaml-chart"]), repo]) == code
        told = capsys.readouterr()
        assert told.out == "" and told.err.startswith("leaml: ") and told.err.count("\n") == 1 and reason in told.err

    def test_without_a_hub_it_says_so(self, shared, monkeypatch, capsys):
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
        assert main(["publish", str(shared.folders["org/leaml-chart"]), "org/leaml-chart"]) == 1
        assert "run it again" in capsys.readouterr().err

    def test_a_folder_that_is_no_adapter_is_refused(self, shared, tmp_path, capsys):
        assert main(["publish", str(tmp_path), "org/nothing"]) == 2
        assert "holds no LEAML model" in capsys.readouterr().err
        for name in ("config.json", "leaml_results.json", "leaml_adapter.safetensors"):
            folder = tmp_path / name.split(".")[0]
            shutil.copytree(shared.folders["org/leaml-chart"], folder)
            (folder / name).write_text("{")
            assert main(["publish", str(folder), "org/nothing"]) == 2
            assert name in (told := capsys.readouterr().err) and "damaged" in told

    def test_a_broken_upload_is_resumed_by_the_same_command(self, hub, shared, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
        model = open_adapter(shared.models["org/leaml-chart"], seed=9)
        model.save_pretrained(tmp_path / "adapter")
        open_adapter(model, seed=0)  # as it was
        hub.cut_uploads = [100] * 60
        assert main(["publish", str(tmp_path / "adapter"), "org/broken"]) == 1
        assert "run it again" in capsys.readouterr().err
        assert hub.files("org/broken").keys() == {".gitattributes"}
        hub.cut_uploads = []
        assert main(["publish", str(tmp_path / "adapter"), "org/broken"]) == 0
        assert "modeling_leaml.py" in hub.files("org/broken")


def test_peft_itself_loads_the_adapter_on_a_leaml_model(shared):
    name = "org/leaml-chart"
    inputs = AutoProcessor.from_pretrained(name)(images=[str(shared.picture)], questions=["how many bars ?"])
    plain = LeamlForVisualQA.from_backbones("org/tiny-vision", "org/tiny-text", lora_layers=[], **SMALL_ADAPTER)
    with torch.no_grad():
        expected = shared.models[name](**inputs).logits
        assert not torch.equal(plain(**inputs).logits, expected)
        model = PeftModel.from_pretrained(plain, name, subfolder="peft")
        assert torch.equal(model(**inputs).logits, expected)
    config = PeftConfig.from_pretrained("org/leaml-based", subfolder="peft")
    assert config.base_model_name_or_path == "org/tiny-base" and config.r == 8


class TestSwitching:
    @pytest.fixture()
    def others(self, shared: Shared) -> list[str]:
        """Two adapters on one base that differ in everything."""
        for seed, layers in ((21, [1]), (22, [0, 3])):
            model = LeamlForVisualQA.from_backbones(
                "org/tiny-vision", "org/tiny-text", fusion_layers=layers, lora_layers=layers, lora_rank=seed % 7 + 1,
                fusion_dim=8, fusion_heads=1, fusion_ffn_dim=4,
            )  # fmt: skip
            open_adapter(model, seed=seed).push_to_hub(f"org/other-{seed}")
        return ["org/other-21", "org/other-22"]

    def test_each_answers_as_if_it_were_alone(self, shared, others):
        processor = AutoProcessor.from_pretrained("org/leaml-chart")
        alone = {name: told(AutoModel.from_pretrained(name), processor, shared.picture)
                 for name in ("org/leaml-chart", *others)}  # fmt: skip
        model = AutoModel.from_pretrained("org/leaml-chart")
        model.load_adapter(others[0], adapter_name="first")
        assert model.active_adapters() == ["first"]
        model.load_adapter(others[1], adapter_name="second")
        assert model.adapter_names() == ["default", "first", "second"]
        for _ in range(2):
            for own, name in zip(("default", "first", "second"), alone, strict=True):
                model.set_adapter(own)
                assert repr(told(model, processor, shared.picture)) == repr(alone[name])  # NaN without reliability
                assert (model.reliability is None) == (own != "default")
                trained = {n for n, p in model.named_parameters() if p.requires_grad}
                assert all(f".{own}." in n for n in trained if ".lora_" in n) and any(".lora_" in n for n in trained)
                assert not any(n.startswith("shelved") for n in trained)

    def test_the_active_one_is_saved_merged_and_counted(self, shared, others, tmp_path):
        model = AutoModel.from_pretrained("org/leaml-chart")
        alone = AutoModel.from_pretrained(others[0])
        model.load_adapter(others[0], adapter_name="first")
        assert model.num_added_parameters() == alone.num_added_parameters()
        model.save_pretrained(tmp_path / "first")
        alone.save_pretrained(tmp_path / "alone")
        read = lambda name: load_file(tmp_path / name / "leaml_adapter.safetensors")  # noqa: E731
        assert read("first").keys() == read("alone").keys()
        assert all(torch.equal(tensor, read("alone")[key]) for key, tensor in read("first").items())
        assert model.merge_adapter() == alone.merge_adapter()
        model.set_adapter("default")  # takes it out of the weights first
        assert told(model, AutoProcessor.from_pretrained("org/leaml-chart"), shared.picture) == shared.expected(
            "org/leaml-chart"
        )

    def test_a_base_takes_its_first_adapter(self, shared):
        base = LeamlForVisualQA.from_pretrained("org/tiny-base")
        assert base.active_adapters() == []
        base.load_adapter("org/leaml-based")
        processor = AutoProcessor.from_pretrained("org/leaml-based")
        assert told(base, processor, shared.picture) == shared.expected("org/leaml-based")

    def test_what_does_not_fit_leaves_everything_as_it_was(self, shared, others, tmp_path):
        model = AutoModel.from_pretrained("org/leaml-chart")
        folder = tmp_path / "cut"
        shutil.copytree(snapshot_download(others[0]), folder)
        (folder / "leaml_adapter.safetensors").write_bytes(b"cut short")
        for place, name, reason in [
            (folder, "cut", "damaged"),
            ("org/leaml-based", "based", "another base"),
            ("org/tiny-base", "base", "not a LEAML adapter"),
            (others[0], "default", "already"),
            (others[0], "a.b", "can't be the name"),
        ]:
            with pytest.raises(LeamlInputError, match=reason):
                model.load_adapter(place, adapter_name=name)
            assert model.adapter_names() == model.active_adapters() == ["default"]
        processor = AutoProcessor.from_pretrained("org/leaml-chart")
        assert told(model, processor, shared.picture) == shared.expected("org/leaml-chart")
        with pytest.raises(LeamlInputError, match="no adapter other"):
            model.set_adapter("other")

    def test_a_shelved_one_is_forgotten(self, shared, others):
        model = AutoModel.from_pretrained("org/leaml-chart")
        model.load_adapter(others[0], adapter_name="first")
        with pytest.raises(LeamlInputError, match="not a shelved adapter"):
            model.delete_adapter("first")
        model.delete_adapter("default")
        assert model.adapter_names() == ["first"] and not any(".default." in name for name in model.state_dict())


def test_the_errors_of_the_hub_are_ours(shared, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(LeamlError, match="hf auth login"):
        shared.models["org/leaml-chart"].push_to_hub("org/none")


@pytest.mark.slow
def test_an_adapter_on_the_shipped_base_is_small_and_needs_no_package(hub, shared, tmp_path):
    publish("leaml-smol", "org/leaml-smol")
    model = LeamlForVisualQA.from_backbone("leaml-smol", **SHIPPED_OPTIONS)
    round_adapter(open_adapter(model))
    model.save_pretrained(tmp_path / "chart")
    load_processor("leaml-smol").save_pretrained(tmp_path / "chart")
    publish(tmp_path / "chart", "org/leaml-smol-chart", base="org/leaml-smol")
    files = hub.files("org/leaml-smol-chart")
    assert len(files["leaml_adapter.safetensors"]) < 10e6
    assert json.loads(files["config.json"])["base_name_or_path"] == "leaml-smol"
    loaded = AutoModel.from_pretrained("org/leaml-smol-chart")
    asked = [str(shared.picture)], ["How many bars are there?"], load_processor("org/leaml-smol-chart")
    expected = loaded.answer(*asked)[0].text
    script = (
        "from transformers import AutoModel, AutoProcessor\n"
        "model = AutoModel.from_pretrained('org/leaml-smol-chart', trust_remote_code=True)\n"
        "processor = AutoProcessor.from_pretrained('org/leaml-smol', trust_remote_code=True)\n"
        f"print(model.answer([{str(shared.picture)!r}], ['How many bars are there?'], processor)[0].text)"
    )
    done = run_without_package(hub, tmp_path / "cache", script)
    assert done.stdout.splitlines()[-1:] == [expected], done.stderr[-2000:]
