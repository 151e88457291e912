"""Letters, where answers are written, and the names that a lexicon finds there."""

import copy
import json
import math
from itertools import combinations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import SMALL_ADAPTER, make_connector_config, make_text
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import sign
from transformers import ResNetConfig, ResNetModel

from leaml_hf import LeamlForVisualQA, LeamlInputError
from leaml_hf.answering import EncodedPicture
from leaml_hf.letters import AnswerPointer, LetterReader
from leaml_hf.lexicon import Lexicon, word_scores
from leaml_hf.processing_leaml import LeamlProcessor
from leaml_hf.training.cache import FrozenCache
from leaml_hf.training.views import WEAK

ALPHABET = "abcdeN12"


def letter_places(word: str) -> list[int]:
    return [ALPHABET.index(letter) for letter in word]


def by_enumeration(lines: np.ndarray, pointed: np.ndarray, word: list[int]) -> float:
    """All ways to put the letters of a word, in order, into the frames of any of `[R, T, K + 1]` lines."""
    scores, frames = [], lines.shape[1]
    for line, weights in zip(lines, pointed, strict=True):
        odds, skipped = line - line[:, -1:], line[:, -1] - line.max(1)
        for places in combinations(range(frames), len(word)):
            score = sum(odds[t, letter] + weights[t] / len(word) for t, letter in zip(places, word, strict=True))
            outer = [t for t in range(places[0] - 1, places[-1] + 2) if 0 <= t < frames and t not in places]
            scores.append(score + sum(skipped[t] for t in outer))
    return float(np.logaddexp.reduce(scores))


class TestScores:
    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 1000))
    def test_are_the_sum_over_all_places(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        lines = torch.from_numpy(rng.normal(0, 2, (2, 5, 4))).log_softmax(-1)
        pointed = torch.from_numpy(rng.normal(0, 1, (2, 5)))
        words = [[0], [1, 2], [2, 0, 0]]
        letters = torch.tensor([word + [-1] * (3 - len(word)) for word in words])
        expected = [by_enumeration(lines.numpy(), pointed.numpy(), word) for word in words]
        np.testing.assert_allclose(word_scores(lines, pointed, letters).logsumexp(0), expected, rtol=1e-5)


def written(word: str, row: int = 1, start: int = 2, upwards: bool = False, side: int = 4, slots: int = 3):
    """Letters of a picture in which one word stands: `[side, side, slots, K + 1]` log-probabilities."""
    told = torch.full((side, side, slots, len(ALPHABET) + 1), -8.0)
    told[..., -1] = 0.0
    for frame, letter in enumerate(letter_places(word), start):
        cell, slot = divmod(frame, slots)
        place = (side - 1 - cell, row, slot) if upwards else (row, cell, slot)
        told[place][ALPHABET.index(letter) if isinstance(letter, str) else letter] = 4.0
    return told.log_softmax(-1)


def pointing(places: list[tuple[int, int]], side: int = 4, nowhere: float = 0.01) -> torch.Tensor:
    share = torch.full((side, side), 1e-6)
    for place in places:
        share[place] = 1 / len(places)
    return torch.cat([(1 - nowhere) * share.flatten() / share.sum(), torch.tensor([nowhere])]).log()


class TestLexicon:
    names = ("ab", "ba", "cab", "N 12", "dee", "N12a")

    @pytest.mark.parametrize("upwards", [False, True])
    @pytest.mark.parametrize("name", ["ab", "ba", "cab", "dee"])
    def test_the_name_that_stands_there_is_found(self, name, upwards) -> None:
        lexicon = Lexicon(self.names, ALPHABET)
        places = [(3 - cell, 1) if upwards else (1, cell) for cell in (0, 1)]
        found = lexicon.spot(written(name, upwards=upwards), pointing(places), "?")
        assert found.name == name and 1 / len(self.names) < found.probability <= 1

    def test_what_is_pointed_at_decides(self) -> None:
        lexicon = Lexicon(self.names, ALPHABET)
        told = torch.cat([written("ab", row=1)[:2], written("dee", row=3)[2:]])
        assert lexicon.spot(told, pointing([(1, 0), (1, 1)]), "?").name == "ab"
        assert lexicon.spot(told, pointing([(3, 0), (3, 1)]), "?").name == "dee"

    def test_characters_that_are_not_told_are_passed_over(self) -> None:
        found = Lexicon(self.names, ALPHABET).spot(written("N12"), pointing([(1, 0), (1, 1)]), "?")
        assert found.name == "N 12"

    def test_names_in_the_question_do_not_answer_it(self) -> None:
        lexicon = Lexicon(("ab", "ba"), ALPHABET)
        told, pointed = written("ab"), pointing([(1, 0), (1, 1)])
        assert lexicon.spot(told, pointed, "what follows ab ?").name == "ba"
        assert lexicon.spot(told, pointed, "what follows ab and ba ?") is None
        assert lexicon.spot(told, pointed, "is abba above ?").name == "ab"  # no word of it
        assert Lexicon((), ALPHABET).spot(told, pointed, "?") is None
        assert Lexicon(("ü",), ALPHABET).names == []

    def test_the_base_answers_what_it_knows_better(self) -> None:
        """By its confidence, by the names that it says itself, and by names in the question."""
        told, pointed = written("ab"), pointing([(1, 0), (1, 1)])

        def limit(lexicon: Lexicon, question: str) -> float:
            """The base's confidence from which on it answers; beyond 1, too."""
            low, high = 0.0, 1e3
            for _ in range(60):
                middle = (low + high) / 2
                found = lexicon.spot(told, pointed, question, middle)
                low, high = (low, middle) if found is None else (middle, high)
            return low

        def probability(*names: str) -> float:
            return Lexicon(names, ALPHABET).spot(told, pointed, "?").probability

        margin, likely = math.exp(0.5), probability("ab", "dee")
        assert limit(Lexicon(("ab", "dee"), ALPHABET), "?") == pytest.approx(margin * likely, rel=1e-4)
        odds = probability("ab", "cab") / (1 - probability("ab", "cab"))
        both = Lexicon(("ab", "dee", "cab"), ALPHABET, known=["cab", "N12"])
        assert both.names == ["ab", "dee"] and both.known == ["cab", "N12"]
        assert limit(both, "?") == pytest.approx(margin * likely * odds, rel=1e-4)
        assert limit(both, "after N12 ?") == pytest.approx(margin * likely * odds / math.e, rel=1e-4)
        for question in ("after dee ?", "after dee, not N12 ?"):
            assert limit(both, question) == pytest.approx(margin * odds * math.e, rel=1e-4)
        assert Lexicon(("ba", "dee"), ALPHABET, known=["ab"]).spot(told, pointed, "?", 0.9) is None

    def test_it_is_written_and_read(self, tmp_path) -> None:
        torch.manual_seed(0)
        base, learnt = (LetterReader(6, 8, len(ALPHABET), 2).half().float() for _ in range(2))
        cells = torch.randn(1, 2, 2, 6)
        for reader in (None, learnt):
            Lexicon(self.names, ALPHABET, ["dad"], reader).save(tmp_path)
            again = Lexicon.load(tmp_path, ALPHABET, base)
            assert again.names == list(self.names) and again.known == ["dad"]
            assert again.reader is None if reader is None else torch.equal(again.reader(cells), learnt(cells))

    @pytest.mark.parametrize("content", ['{"format": 9, "names": []}', '{"format": 1}', "[]", "{"])
    def test_what_is_damaged_is_said(self, tmp_path, content) -> None:
        Lexicon(self.names, ALPHABET).save(tmp_path)
        (tmp_path / "leaml_lexicon.json").write_text(content)
        with pytest.raises(LeamlInputError, match=r"leaml_lexicon\."):
            Lexicon.load(tmp_path, ALPHABET, LetterReader(6, 8, len(ALPHABET), 2))

    def test_changed_or_foreign_letters_are_refused(self, tmp_path) -> None:
        own, other = LetterReader(6, 8, len(ALPHABET), 2), LetterReader(6, 9, len(ALPHABET), 2)
        Lexicon(self.names, ALPHABET, reader=own).save(tmp_path)
        with pytest.raises(LeamlInputError, match=r"does not fit this model"):
            Lexicon.load(tmp_path, ALPHABET, other)
        tensors = tmp_path / "leaml_lexicon.safetensors"
        tensors.write_bytes(tensors.read_bytes()[:-1] + b"\x01")
        with pytest.raises(LeamlInputError, match=r"leaml_lexicon\.safetensors"):
            Lexicon.load(tmp_path, ALPHABET, own)

    @pytest.mark.parametrize("changes", [{"names": 3}, {"names": [3]}, {"known": None}, {"known": [[]]}])
    def test_names_are_texts(self, tmp_path, changes) -> None:
        Lexicon(self.names, ALPHABET).save(tmp_path)
        config = json.loads((tmp_path / "leaml_lexicon.json").read_text()) | changes
        (tmp_path / "leaml_lexicon.json").write_text(json.dumps(config))
        assert sign(tmp_path, "leaml_lexicon")
        with pytest.raises(LeamlInputError, match=r"leaml_lexicon\.json"):
            Lexicon.load(tmp_path, ALPHABET, LetterReader(6, 8, len(ALPHABET), 2))


class TestParts:
    def test_letters_and_places_are_probabilities(self) -> None:
        torch.manual_seed(0)
        letters = LetterReader(6, 8, 5, 2)(torch.randn(3, 4, 7, 6))
        assert letters.shape == (3, 4, 7, 2, 6)
        torch.testing.assert_close(letters.exp().sum(-1), torch.ones(3, 4, 7, 2))
        pointed = AnswerPointer(6, 4)(torch.randn(3, 2, 6), torch.randn(3, 9, 6))
        assert pointed.shape == (3, 2, 10)
        torch.testing.assert_close(pointed.exp().sum(-1), torch.ones(3, 2))


RESAMPLER = {"resampler_layers": 1, "resampler_heads": 2, "resampler_ffn_dim": 16, "resampler_max_tokens": 12}


BRIDGE = {"bridge_layers": [3], "bridge_dim": 16, "bridge_heads": 2, "bridge_ffn_dim": 16}
LAYERS = {"fusion_layers": [2, 3], "lora_layers": [2, 3]}
TOWER = ResNetConfig(embedding_size=8, hidden_sizes=[8, 24], depths=[1, 1], layer_type="basic")


@pytest.fixture()
def model() -> LeamlForVisualQA:
    torch.manual_seed(0)
    return LeamlForVisualQA.from_backbones(
        ResNetModel(TOWER), make_text(), connector_config=make_connector_config(), **RESAMPLER, **BRIDGE,
        letters=ALPHABET, letters_dim=8, **LAYERS, **SMALL_ADAPTER,
    )  # fmt: skip


@pytest.fixture()
def reading(processor) -> LeamlProcessor:
    return LeamlProcessor(processor.image_processor, processor.tokenizer, max_question_tokens=12)


class TestModel:
    def test_what_is_written_is_answered_by_the_lexicon(self, model, reading, pictures, monkeypatch) -> None:
        asked = [pictures[0], pictures[1]], ["how many", "how many bars"]
        plain = model.collect(*asked, reading)
        model.lexicon = Lexicon(("ab", "ba"), ALPHABET)
        monkeypatch.setattr(
            model.pointer,
            "forward",
            lambda asked, states: (
                F.pad(torch.full((len(asked), 1, states.shape[1]), -3.0), (0, 1), value=0.0)
                + torch.tensor([[[-0.1]], [[-3.0]]])
            ),
        )
        told = model.collect(*asked, reading)
        assert told.texts[0] == plain.texts[0] and told.texts[1] in ("ab", "ba")
        assert told.confidence[0] == plain.confidence[0] and 0.5 <= told.confidence[1] <= 1

    def test_cells_are_kept_with_pictures(self, model, reading, pictures, tmp_path) -> None:
        keys, load = ["a", "b"], [lambda k=k: pictures[k] for k in range(2)]
        expected = model.encode_pictures(reading(images=pictures[:2])["pixel_values"])[2]
        plain = FrozenCache(model, reading, folder=tmp_path).pictures(keys, [WEAK] * 2, load)
        assert all(picture.cells is None for picture in plain)  # nothing needs them
        for folder, keeps_cells in ((None, True), (tmp_path, False), (tmp_path, False)):
            cache = FrozenCache(model, reading, folder=folder)
            cache.keeps_cells = keeps_cells
            model.lexicon = None if keeps_cells else Lexicon(("ab", "ba"), ALPHABET)
            kept = cache.pictures(keys, [WEAK] * 2, load)
            found = torch.stack([picture.cells.float() for picture in kept])
            torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)
        asked = ["how many", "how many bars"], reading
        assert model.collect(kept, *asked).texts == model.collect(pictures[:2], *asked).texts

    def test_pictures_without_cells_are_refused(self, model, reading, pictures) -> None:
        states, textures, _ = model.encode_pictures(reading(images=pictures[:1])["pixel_values"])
        model.lexicon = Lexicon(("ab", "ba"), ALPHABET)
        with pytest.raises(LeamlInputError, match="give the picture itself or its cells"):
            model.collect([EncodedPicture(states[0], textures[0])], ["how many"], reading)

    def test_it_comes_and_goes_with_its_adapter(self, backbone_folders, tmp_path) -> None:
        base = LeamlForVisualQA.from_backbones(
            ResNetModel(TOWER), backbone_folders[1], connector_config=make_connector_config(), **RESAMPLER, **BRIDGE,
            letters=ALPHABET, letters_dim=8, fusion_layers=[], lora_layers=[],
        )  # fmt: skip
        base.save_pretrained(tmp_path / "base")
        one = LeamlForVisualQA.from_backbone(tmp_path / "base", **LAYERS, **SMALL_ADAPTER)
        assert not any(p.requires_grad for part in (one.letters, one.pointer) for p in part.parameters())
        assert one.fingerprint() == LeamlForVisualQA.from_pretrained(tmp_path / "base").fingerprint()
        one.save_pretrained(tmp_path / "plain")
        learnt = copy.deepcopy(one.letters).half().float()
        torch.nn.init.normal_(learnt.norm.weight).half().float()
        one.lexicon = Lexicon(("ab", "ba"), ALPHABET, reader=learnt)
        one.save_pretrained(tmp_path / "named")
        counts = one.num_added_parameters()
        assert counts["lexicon"] == sum(p.numel() for p in learnt.parameters())
        assert counts["added"] == counts["lora"] + counts["fusion"] + counts["lexicon"]
        loaded = LeamlForVisualQA.from_pretrained(tmp_path / "named")
        assert loaded.lexicon.names == ["ab", "ba"]
        loaded.load_adapter(tmp_path / "plain", "plain")
        assert loaded.lexicon is None
        loaded.set_adapter("default")
        assert loaded.lexicon.names == ["ab", "ba"]
        one.lexicon = None
        one.save_pretrained(tmp_path / "named")
        assert LeamlForVisualQA.from_pretrained(tmp_path / "named").lexicon is None
