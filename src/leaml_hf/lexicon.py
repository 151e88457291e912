"""The names of a domain, and which of them answers a question because it stands where the answer is written."""

import copy
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

from .adapters import load_tensors
from .errors import LeamlInputError
from .files import damaged, digest, read_checked
from .letters import LetterReader
from .resampler import last_tokens

if TYPE_CHECKING:
    from .calls import VisionCall
    from .modeling_leaml import LeamlForVisualQA
    from .records import AnswerRecords

CONFIG_NAME, TENSORS_NAME = "leaml_lexicon.json", "leaml_lexicon.safetensors"
FORMAT = 1
TEMPERATURE = 5.0  # at which probabilities of names are near the share of them that are right
POINTED = 3.0  # power of the pointer's share: letters are told from each other with too much certainty
SHARE = 1e-3  # of the pointer that each place has at least
NEAR = 2e-3  # of the pointer from which on letters of a place count among those of a name
ABSENT = -6.0  # log-odds of a letter that stands nowhere
LINES = 5  # of a picture, rows and columns, in which a name is looked for
CANDIDATES = 80  # names whose letters stand there in any order, of which the right order is looked for
LONGEST = 32  # letters of a name that are looked for
MOST_WORDS = 8  # of a name in a question
WRITTEN = 0.5  # probability that an answer is not written below which it counts as written
LEAST = 1e-6  # confidence of the base; less counts as this
ASKED = 1.0  # log-odds of a new name as the answer where the question names another; against it, a known one
MARGIN = -0.5  # log-odds from which on a name answers
NEVER = -1e4  # log-odds
_WORD = re.compile(r"[^\W_]+")


class Spotted(NamedTuple):
    """A name that was found, and its probability among all names of the lexicon."""

    name: str
    probability: float


def word_scores(lines: torch.Tensor, pointed: torch.Tensor, letters: torch.Tensor) -> torch.Tensor:
    """
    How strongly names stand in each of some lines: the log of the sum, over all places, of the odds of a name's
    letters against none, in their order and with blanks between them, by the forward pass of connectionist temporal
    classification (Graves et al. 2006) without repetitions: a letter stands in one frame. Other letters between a
    name's own, or right before or behind it, cost their odds against none.

    Args:
        lines (`torch.Tensor`): `[R, T, K + 1]` log-probabilities of characters in T frames of R lines, the last of
            no character.
        pointed (`torch.Tensor`): `[R, T]` log-weights of the frames.
        letters (`torch.Tensor`): `[W, L]` long, those of W names, -1 behind them.

    Returns:
        `torch.Tensor`: `[R, W]`; the log-weight counts as the mean over a name's letters.
    """
    frames, length = lines.shape[1], letters.shape[1]
    lengths = (letters >= 0).sum(1)  # [W]
    odds = lines - lines[..., -1:]
    told = odds[..., letters.clamp(min=0)].masked_fill(letters < 0, NEVER)  # [R, T, W, L]
    told = told + (pointed[..., None] / lengths)[..., None]
    skipped = lines[..., -1] - lines.max(-1).values  # [R, T]
    before, behind = F.pad(skipped, (1, 0))[:, :frames], F.pad(skipped, (0, 1))[:, 1:]
    so_far = lines.new_full((lines.shape[0], *letters.shape), NEVER)  # [R, W, L] up to each letter
    last = (lengths - 1)[None, :, None].expand(lines.shape[0], -1, 1)
    ends = []
    for t in range(frames):
        started = torch.cat([before[:, t, None, None].expand(-1, len(letters), 1), so_far[..., : length - 1]], dim=2)
        here = started + told[:, t]
        ends.append(here.gather(2, last)[..., 0] + behind[:, t, None])
        so_far = torch.logaddexp(here, so_far + skipped[:, t, None, None])
    return torch.stack(ends).logsumexp(0)


def spelt(name: str, characters: str) -> str:
    """The letters of a name that are told apart, `LONGEST` at most."""
    return "".join(character for character in name if character in characters)[:LONGEST]


def letter_places(words: Sequence[str], characters: str) -> torch.Tensor:
    """Places `[W, L]` long among `characters` of the letters of words, -1 behind them."""
    places = {character: place for place, character in enumerate(characters)}
    longest = max(map(len, words), default=1)
    rows = [[places[letter] for letter in word] + [-1] * (longest - len(word)) for word in words]
    return torch.tensor(rows, dtype=torch.long).view(-1, longest)


class _Names:
    """Names, different in their letters, with the places of these among `characters` and how often each is there."""

    def __init__(self, names: Sequence[str], characters: str) -> None:
        by_letters: dict[str, str] = {}
        for name in names:
            if letters := spelt(name, characters):
                by_letters.setdefault(letters, name)
        self.names, self.phrases = list(by_letters.values()), list(map(_phrase, by_letters.values()))
        self.letters = letter_places(list(by_letters), characters)
        self.counts = torch.stack([(self.letters == k).sum(1) for k in range(len(characters))], dim=1).float()

    def likely(self, odds: torch.Tensor, asked: set[str]) -> list[int]:
        """Of those that are not in a question, the `CANDIDATES` whose letters stand there in any order."""
        order = (self.counts @ odds).topk(min(CANDIDATES, len(self.names))).indices.tolist()
        return [place for place in order if self.phrases[place] not in asked]


class Lexicon:
    """
    Names that may answer a question though the base never said them.

    Args:
        names (`Sequence[str]`): different ones.
        characters (`str`): that a base's [`~letters.LetterReader`] tells apart; others in a name are passed over.
        known (`Sequence[str]`, *optional*): that the base says by itself, where they stand; none of them is a name of
            the lexicon.
        reader ([`~letters.LetterReader`], *optional*): that learnt the letters of the domain; defaults to the base's.
    """

    def __init__(
        self, names: Sequence[str], characters: str, known: Sequence[str] = (), reader: LetterReader | None = None
    ) -> None:
        said = set(known)
        self._new = _Names([name for name in names if name not in said], characters)
        self._known = _Names(known, characters)
        self.reader = reader

    @property
    def names(self) -> list[str]:
        """Those that may answer."""
        return self._new.names

    @property
    def known(self) -> list[str]:
        """Those that the base says by itself."""
        return self._known.names

    def spot(
        self, told: torch.Tensor, pointed: torch.Tensor, question: str, confidence: float = 0.0
    ) -> Spotted | None:
        """
        The name that answers a question, if it is likelier than what the base says: by its log-odds against the other
        names, and those of the best name against the best of the known ones, and a question that names one or the
        other counts, too.

        Args:
            told (`torch.Tensor`): `[h, w, slots, K + 1]` of the picture, from a [`~letters.LetterReader`].
            pointed (`torch.Tensor`): `[h * w + 1]` of the question, from an [`~letters.AnswerPointer`].
            question (`str`): whose own names do not answer it.
            confidence (`float`, *optional*, defaults to 0.0): of what the base says, in [0, 1].

        Returns:
            [`Spotted`] or `None` where the base is to answer.
        """
        lines, weights = _lines(told, pointed)
        odds = (lines - lines[..., -1:])[..., :-1].clamp(min=ABSENT)
        odds = odds.where(weights[..., None].exp() > NEAR + SHARE, ABSENT).flatten(0, 1).amax(0)  # [K]
        asked = _phrases(question)
        new, known = (part.likely(odds, asked) for part in (self._new, self._known))
        if not new:
            return None
        letters = pad_sequence([*self._new.letters[new], *self._known.letters[known]], True, padding_value=-1)
        scores = word_scores(lines, POINTED * weights, letters).logsumexp(0) / TEMPERATURE
        scores, others = scores[: len(new)], scores[len(new) :]
        best = int(scores.argmax())
        probability = float(scores.softmax(0)[best])
        evidence = math.log(probability / max(confidence, LEAST))
        evidence += float(scores[best] - others.max()) if known else 0.0
        if not asked.isdisjoint(self._new.phrases):
            evidence += ASKED
        elif not asked.isdisjoint(self._known.phrases):
            evidence -= ASKED
        return Spotted(self.names[new[best]], probability) if evidence > MARGIN else None

    @torch.no_grad()
    def answer(
        self, model: "LeamlForVisualQA", call: "VisionCall", questions: Sequence[str], records: "AnswerRecords"
    ) -> None:
        """
        Puts a name of the lexicon, and its probability, in the place of each answer that is written in its picture and
        that the base does not know better.

        Args:
            model ([`LeamlForVisualQA`]): that answered.
            call ([`VisionCall`]): of B rows, with cells.
            questions (`Sequence[str]`): B questions.
            records ([`AnswerRecords`]): of B rows; `texts` and `confidence` change.

        Raises:
            [`LeamlInputError`]: if there are no cells of pictures that were encoded before.
        """
        if call.cells is None:
            raise LeamlInputError(
                "This model finds names by their letters: give the picture itself or its cells too, or set "
                "model.lexicon to None."
            )
        pictures = list(range(len(questions))) if call.picture_index is None else call.picture_index.tolist()
        asked = last_tokens(call.states, call.mask)  # [B, Dv]
        pointed = model.pointer(asked[:, None], call.picture_states[pictures])[:, 0].cpu()  # [B, N + 1]
        rows = (pointed[:, -1].exp() < WRITTEN).nonzero()[:, 0].tolist()
        read = sorted({pictures[row] for row in rows})
        reader = (self.reader or model.letters).to(call.cells.device)
        told = dict(zip(read, reader(call.cells[read]).cpu(), strict=True)) if read else {}
        for row in rows:
            found = self.spot(told[pictures[row]], pointed[row], questions[row], float(records.confidence[row]))
            if found is not None:
                records.texts[row], records.confidence[row] = found

    def save(self, folder: str | Path) -> None:
        """
        Writes `leaml_lexicon.json` (names, with a checksum) and `leaml_lexicon.safetensors` (what tells letters, in
        float16; none where the base does).

        Args:
            folder (`str` or `Path`): is there.
        """
        from safetensors.torch import save

        parts = {} if self.reader is None else self.reader.state_dict()
        tensors = save({name: tensor.half().cpu().contiguous() for name, tensor in parts.items()})
        config: dict[str, Any] = {"format": FORMAT, "names": self.names, "known": self.known}
        config["sha256"] = digest(config, tensors)
        (Path(folder) / TENSORS_NAME).write_bytes(tensors)
        text = json.dumps(config, indent=1, ensure_ascii=False)
        (Path(folder) / CONFIG_NAME).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path, characters: str, letters: LetterReader) -> "Lexicon":
        """
        Reads what `save` wrote.

        Args:
            folder (`str` or `Path`): holds both files.
            characters (`str`): of the base.
            letters ([`~letters.LetterReader`]): of the base.

        Returns:
            [`Lexicon`].

        Raises:
            [`LeamlInputError`]: if a file is missing, cut short or changed, of a format that this version can't read,
                or of another base.
        """
        folder = Path(folder)
        config, arrays = read_checked(folder, CONFIG_NAME, TENSORS_NAME, FORMAT)
        names, known = config.get("names"), config.get("known")
        if not all(isinstance(part, list) and all(isinstance(name, str) for name in part) for part in (names, known)):
            raise damaged(folder / CONFIG_NAME)
        reader = None
        if arrays:
            reader = copy.deepcopy(letters)
            given = {name: torch.from_numpy(array) for name, array in arrays.items()}
            load_tensors(dict(reader.state_dict()), given, str(folder / TENSORS_NAME))
        return cls(names, characters, known, reader)


def _lines(told: torch.Tensor, pointed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The `LINES` rows and columns that are pointed at most, as frames `[R, T, K + 1]` and log-weights `[R, T]`;
    columns are read upwards."""
    height, width, slots, _ = told.shape
    share = (pointed[:-1].softmax(0) + SHARE).log().view(height, width, 1).expand(-1, -1, slots)
    found = [
        line
        for letters, weights in ((told, share), (told.flip(0).transpose(0, 1), share.flip(0).transpose(0, 1)))
        for line in zip(letters.flatten(1, 2), weights.flatten(1, 2), strict=True)
    ]
    most = torch.stack([weights.max() for _, weights in found]).topk(min(LINES, len(found))).indices.tolist()
    return tuple(pad_sequence([found[place][part] for place in most], True) for part in (0, 1))


def _phrase(text: str) -> str:
    return " ".join(_WORD.findall(text))


def _phrases(text: str) -> set[str]:
    """All sequences of up to `MOST_WORDS` whole words in a text, among which its names are."""
    words = _WORD.findall(text)
    return {" ".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, i + MOST_WORDS + 1)}
