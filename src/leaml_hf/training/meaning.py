"""What a question means, read from a language model's states."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..backbones import decoder_layers, find_decoder, lower_hidden_states

if TYPE_CHECKING:
    from ..modeling_leaml import LeamlForVisualQA

PROMPT = 'The question "{}" means in one word: "'
DEPTH = 0.75  # of the decoder's layers: where questions of one kind were nearest to each other
BATCH = 128


class QuestionMeaning:
    """
    Meanings of questions: the state of a causal language model that is about to say one in a word (PromptEOL, Jiang et
    al. 2023, arXiv 2307.16645), three quarters of the way up. Each text is read once.

    Args:
        model ([`LeamlForVisualQA`]): whose decoder reads; its fused layers see no picture here.
        tokenizer: of the model.
    """

    def __init__(self, model: "LeamlForVisualQA", tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer
        self._known: dict[str, np.ndarray] = {}

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """
        Reads questions.

        Args:
            texts (`Sequence[str]`): n questions.

        Returns:
            `np.ndarray`: `[n, D]` float32.
        """
        missing = sorted({text for text in texts if text not in self._known}, key=lambda text: (len(text), text))
        for start in range(0, len(missing), BATCH):
            part = missing[start : start + BATCH]
            self._known.update(zip(part, self._read(part), strict=True))
        return np.stack([self._known[text] for text in texts])

    def _read(self, texts: list[str]) -> np.ndarray:
        decoder = find_decoder(self.model.backbone)
        prompts = [PROMPT.format(text) for text in texts]
        inputs = self.tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left").to(self.model.device)
        layer = int(DEPTH * len(decoder_layers(decoder)))
        states = lower_hidden_states(decoder, layer, inputs["input_ids"], inputs["attention_mask"])
        return states[:, -1].float().cpu().numpy()
