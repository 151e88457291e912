"""Adapter folders that are damaged or made to do harm: refused in one sentence, and nothing is run or written."""

import json
import resource
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import pytest
import torch
from conftest import HUB_CACHE, SMALL_ADAPTER, open_adapter
from mutations import MARKER, mutate
from shared_models import QUESTIONS, RESULTS, fit_reliability, index_examples
from transformers import PreTrainedTokenizerFast
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from leaml_hf import LeamlError, LeamlForVisualQA, LeamlInputError, LeamlProcessor
from leaml_hf.hub.cards import write_card
from leaml_hf.hub.peft_files import write_peft_files
from leaml_hf.hub.publish import NAMES, stage
from leaml_hf.phrasebook import Phrasebook, Rule
from leaml_hf.processing_leaml import load_processor

CASES, SLOW_CASES, GROUP = 2_000, 20_000, 250
WHOLE = 8  # one case in so many is loaded with its base, the others beside another adapter
SECONDS = 60  # for one case, on a busy machine
MEMORY = 4 * 2**30  # more than before
LONGEST = 1_200  # characters of a message


class Watch:
    """Notes what this process opens for writing, starts, and looks up for a pickle, while it is on."""

    EVENTS = frozenset({
        "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class", "os.remove", "os.rename",
        "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate", "shutil.rmtree", "os.chmod",
    })  # fmt: skip

    def __init__(self) -> None:
        self.on, self.seen = False, []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            path, _, flags = args
            writes = flags & 0b11  # O_WRONLY or O_RDWR
            if not writes or str(path).startswith((HUB_CACHE, "/dev/null")) or "__pycache__" in str(path):
                return
            self.seen.append(f"open {path}")
        elif event in self.EVENTS and not str(args[0]).startswith(HUB_CACHE) and "__pycache__" not in str(args[0]):
            self.seen.append(f"{event} {args[0]}")

    @contextmanager
    def watching(self) -> Iterator[list[str]]:
        self.on, self.seen = True, []
        try:
            yield self.seen
        finally:
            self.on = False


WATCH = Watch()


class Stuck(BaseException):
    """A case took too long."""


@contextmanager
def limits() -> Iterator[None]:
    """Time and memory for one case."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stuck

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass
class Sound:
    """The folder before anything was done to it, and a model with the same adapter."""

    folder: Path
    model: LeamlForVisualQA
    processor: LeamlProcessor
    batch: dict[str, torch.Tensor]
    logits: torch.Tensor


def logits_of(model: LeamlForVisualQA, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return model(**batch).logits


@pytest.fixture(scope="module")
def sound(
    backbone_folders: tuple[Path, Path], tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> Sound:
    folder = tmp_path_factory.mktemp("sound")
    model = LeamlForVisualQA.from_backbones(*backbone_folders, fusion_layers=[2, 3], lora_layers=[3], **SMALL_ADAPTER)
    open_adapter(model)
    image_processor = ViTImageProcessorPil(size={"height": 32, "width": 32})
    processor = LeamlProcessor(image_processor=image_processor, tokenizer=tokenizer)
    model.reliability = fit_reliability(model, processor, seed=0)
    rule = Rule("count", QUESTIONS[0], "how many of the bars ?", 0, {"one": "red"}, 10.0, 0.9, 0.9)
    model.phrasebook = Phrasebook([rule], {QUESTIONS[0]: (0, rule.pattern), QUESTIONS[1]: None})
    model.retrieval = index_examples(model, seed=0)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "leaml_results.json").write_text(json.dumps(RESULTS))
    write_card(folder, "org/sound")
    write_peft_files(folder, model.config)
    torch.manual_seed(0)
    ids = torch.randint(4, 26, (2, 6))
    batch = {"input_ids": ids, "pixel_values": torch.randn(2, 3, 32, 32)}
    return Sound(folder, model, processor, batch, logits_of(model, batch))


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(file): (file.lstat().st_size, file.lstat().st_mtime_ns) for file in folder.rglob("*")}


def use(sound: Sound, folder: Path, changed: str, whole: bool) -> None:
    """What people do with such a folder, as far as it reads the changed file."""
    if changed in ("leaml_results.json", "README.md"):
        write_card(folder, "org/fuzzed")
    elif "processor" in changed or "token" in changed:
        load_processor(folder)
    elif whole:
        assert torch.isfinite(logits_of(LeamlForVisualQA.from_pretrained(folder), sound.batch)).all()
    else:
        sound.model.load_adapter(folder, "fuzzed")
        assert torch.isfinite(logits_of(sound.model, sound.batch)).all()


def attempt(sound: Sound, number: int, sandbox: Path) -> str:
    """One case; returns what came of it, or fails with the case's number."""
    rng = Random(number)
    folder, outside = sandbox / "adapter", sandbox / "outside"
    shutil.copytree(sound.folder, folder)
    changed, how = mutate(folder, outside, rng)
    case = f"case {number} ({changed}: {how})"
    before = listing(outside)
    result, watched = "loaded", WATCH.watching()
    try:
        with watched as seen, limits():
            use(sound, folder, changed, rng.randrange(WHOLE) == 0)
    except LeamlError as error:
        result = "refused"
        message = str(error)
        assert message and message.isprintable() and len(message) <= LONGEST, f"{case}: {message!r}"
    except (Exception, Stuck) as error:
        raise AssertionError(f"{case}: {type(error).__name__}: {str(error)[:500]}") from error
    finally:
        if "fuzzed" in sound.model.adapter_names():
            sound.model.set_adapter("default")
            sound.model.delete_adapter("fuzzed")
    seen = [what for what in seen if str(folder) not in what]  # the card is written there
    assert not seen, f"{case}: {seen}"
    assert listing(outside) == before and not (outside / MARKER).exists(), case
    assert {path.name for path in sandbox.iterdir()} == {"adapter", "outside"}, case
    shutil.rmtree(folder)
    return result


def attempt_all(sound: Sound, numbers: range, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    for file in sound.folder.iterdir():
        if file.is_file():
            shutil.copyfile(file, outside / file.name)
    (outside / "evil.py").write_text(f"open({str(outside / MARKER)!r}, 'w')\n")
    results = [attempt(sound, number, tmp_path) for number in numbers]
    assert sound.model.adapter_names() == ["default"]
    assert torch.equal(logits_of(sound.model, sound.batch), sound.logits)
    assert min(results.count("refused"), results.count("loaded")) > len(numbers) // 20


@pytest.mark.parametrize("start", range(0, CASES, GROUP))
def test_a_changed_folder_is_refused_or_sound(sound, tmp_path, start):
    attempt_all(sound, range(start, start + GROUP), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(CASES, CASES + SLOW_CASES, 10 * GROUP))
def test_many_more_are_refused_or_sound(sound, tmp_path, start):
    attempt_all(sound, range(start, start + 10 * GROUP), tmp_path)


@pytest.mark.parametrize(
    ("file", "values", "reason"),
    [
        ("config.json", {"base_fingerprint": "sha256:" + "0" * 64}, "was trained on another base"),
        ("config.json", {"format": 2}, "config.json has format 2, but this version reads format 1"),
        ("config.json", {"lora_rank": 10**6}, "not of lora_rank 1000000"),
        ("config.json", {"fusion_dim": 2**20}, "not of fusion_dim 1048576"),
        ("config.json", {"fusion_dim": 2**62}, "fusion_dim must be from 1 to"),
        ("config.json", {"base_name_or_path": "ITSELF"}, "for a LEAML base, but .* is none"),
        ("config.json", {"has_adapter": True}, "it sets has_adapter"),
        ("config.json", {"lora_targets": 5}, "config.json again: it is damaged"),
        ("config.json", {"base_name_or_path": None, "text_name_or_path": None}, "names no text backbone"),
        ("leaml_phrasebook.json", {"format": 2}, "leaml_phrasebook.json has format 2"),
        ("leaml_retrieval.json", {"format": 2}, r"leaml_retrieval.json has format 2"),
        ("leaml_retrieval.json", {"k": 9}, "it is damaged"),
        ("leaml_reliability.json", {"labeled_rows": 9}, "it is damaged"),
    ],
)
def test_what_is_wrong_is_said(sound, tmp_path, file, values, reason):
    folder = tmp_path / "adapter"
    shutil.copytree(sound.folder, folder)
    values = {name: str(folder) if value == "ITSELF" else value for name, value in values.items()}
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(content | values))
    with pytest.raises(LeamlInputError, match=reason), limits():
        LeamlForVisualQA.from_pretrained(folder)


def test_a_snapshot_of_the_hub_cache_is_published(sound, tmp_path):
    """There every file is a link to the repo's blobs; a link to another repo's is still one to elsewhere."""
    repo = tmp_path / "models--me--adapter"
    snapshot = repo / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    shutil.copytree(sound.folder, repo / "blobs")
    config = json.loads((repo / "blobs" / "config.json").read_text())
    named = {key: f"org/{key}" for key in NAMES if config.get(key) is not None}
    (repo / "blobs" / "config.json").write_text(json.dumps(config | named))
    for file in (repo / "blobs").iterdir():
        (snapshot / file.name).symlink_to(Path("..", "..", "blobs", file.name))
    (tmp_path / "staging").mkdir()
    files = stage(snapshot, tmp_path / "staging", "org/fuzzed")
    assert {"config.json", "leaml_adapter.safetensors"} <= {file.name for file in files}
    other = tmp_path / "models--you--private" / "blobs"
    other.mkdir(parents=True)
    (other / "secret").write_text("{}")
    (snapshot / "leaml_notes.json").symlink_to(other / "secret")
    with pytest.raises(LeamlInputError, match="is a link to a file elsewhere"):
        stage(snapshot, tmp_path / "staging", "org/fuzzed")


def test_a_link_to_elsewhere_is_not_published(sound, tmp_path):
    folder, staging = tmp_path / "adapter", tmp_path / "staging"
    shutil.copytree(sound.folder, folder)
    staging.mkdir()
    (tmp_path / "private.json").write_text("{}")
    (folder / "leaml_notes.json").symlink_to(tmp_path / "private.json")
    with pytest.raises(LeamlInputError, match="is a link to a file elsewhere"):
        stage(folder, staging, "org/fuzzed")
    assert not (staging / "leaml_notes.json").exists()
