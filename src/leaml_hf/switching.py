"""Several adapters on one base: loaded side by side, one active at a time, each with its own reliability module."""

import re
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

from torch import nn

from .adapters import ADAPTER_NAME, activate_lora, remove_lora
from .backbones import load_config
from .checkpoints import HUB_OPTIONS, lay_adapter
from .configuration_leaml import LeamlConfig
from .errors import LeamlInputError

if TYPE_CHECKING:
    from .lexicon import Lexicon
    from .phrasebook import Phrasebook
    from .reliability import Reliability
    from .retrieval import ExampleIndex


BESIDE = ("reliability", "phrasebook", "lexicon", "retrieval")  # attributes of the model that an adapter brings


@dataclass
class _Shelved:
    """What an adapter that is not active consists of, beside its LoRA and its gates."""

    config: LeamlConfig
    reliability: "Reliability | None"
    phrasebook: "Phrasebook | None"
    lexicon: "Lexicon | None"
    retrieval: "ExampleIndex | None"


class SwitchingMixin:
    """
    The methods of [`LeamlForVisualQA`] for more than one adapter.

    LoRA lies in PEFT's layers under each adapter's name. Of all else, the model's own attributes are the active
    adapter's; the others' are shelved.
    """

    adapter_name: str = ADAPTER_NAME  # of the active one

    def load_adapter(self, peft_model_id: str | PathLike, adapter_name: str | None = None, **kwargs: Any) -> None:
        """
        Loads another adapter of the same base beside those that are here, and makes it the active one.

        Args:
            peft_model_id (`str` or `PathLike`): folder or Hub id of a LEAML adapter.
            adapter_name (`str`, *optional*, defaults to `"default"`): what to call it.
            kwargs: `revision`, `token`, `cache_dir`, `local_files_only` and `subfolder` for the Hub.

        Raises:
            [`LeamlInputError`]: if the name is taken or no name, a file is missing or damaged, or the adapter belongs
                to another base; the model is then as it was.
        """
        name = adapter_name or ADAPTER_NAME
        if name in self.adapter_names():
            raise LeamlInputError(f"There is an adapter {name} already: give this one another adapter_name.")
        if not re.fullmatch(r"[\w-]+", name) or hasattr(self.shelved_fusion, name):
            raise LeamlInputError(f"{name} can't be the name of an adapter: use letters, digits, - and _.")
        hub = {key: kwargs[key] for key in HUB_OPTIONS if kwargs.get(key) is not None}
        path = str(peft_model_id)
        config = load_config(path, **hub)
        if config.model_type != LeamlConfig.model_type or not config.has_adapter:
            raise LeamlInputError(f"{path} holds a {config.model_type} model, not a LEAML adapter: give an adapter.")
        self.unmerge_adapter()
        before, training = self.adapter_name, self.training
        base = self.config  # where there is no adapter yet
        self._shelve()
        self.adapter_name = name
        try:
            lay_adapter(self, config, path, hub)
        except BaseException:
            self.config, self.fusion = base, nn.ModuleDict()
            self._take_down(before)
            remove_lora(self, name)
            raise
        finally:
            self.train(training)
        self._activate()

    def set_adapter(self, adapter_name: str) -> None:
        """
        Makes an adapter the active one: its LoRA and gates, calibrator, thresholds, phrasebook, lexicon and examples.

        Args:
            adapter_name (`str`): one of [`~LeamlForVisualQA.adapter_names`].

        Raises:
            [`LeamlInputError`]: if there is none of that name.
        """
        if adapter_name not in self.adapter_names():
            known = ", ".join(self.adapter_names()) or "none"
            raise LeamlInputError(f"There is no adapter {adapter_name}: choose from {known}, or use load_adapter.")
        if adapter_name != self.adapter_name:
            self.unmerge_adapter()
            self._shelve()
            self._take_down(adapter_name)

    def delete_adapter(self, adapter_names: str | list[str]) -> None:
        """
        Forgets adapters that are not active.

        Args:
            adapter_names (`str` or `list[str]`): their names.

        Raises:
            [`LeamlInputError`]: if one is active or there is none of that name.
        """
        for name in [adapter_names] if isinstance(adapter_names, str) else adapter_names:
            if name not in self._shelf:
                raise LeamlInputError(f"{name} is not a shelved adapter: choose from {', '.join(self._shelf)}.")
            remove_lora(self, name)
            del self._shelf[name], self.shelved_fusion[name]

    def active_adapters(self) -> list[str]:
        """
        The active adapter.

        Returns:
            `list[str]`: its name; empty for a base.
        """
        return [self.adapter_name] if self.config.has_adapter else []

    def adapter_names(self) -> list[str]:
        """
        All adapters that are loaded.

        Returns:
            `list[str]`: names, in alphabetical order.
        """
        return sorted([*self.active_adapters(), *self._shelf])

    def _shelve(self) -> None:
        if self.config.has_adapter:
            self._shelf[self.adapter_name] = _Shelved(self.config, *(getattr(self, name) for name in BESIDE))
            self.shelved_fusion[self.adapter_name] = self.fusion
        for name in BESIDE:
            setattr(self, name, None)

    def _take_down(self, name: str) -> None:
        if name in self._shelf:
            kept = self._shelf.pop(name)
            self.config = kept.config
            for part in BESIDE:
                setattr(self, part, getattr(kept, part))
            self.fusion = self.shelved_fusion.pop(name)
        self.adapter_name = name
        self._activate()

    def _activate(self) -> None:
        activate_lora(self, self.adapter_name)
        self.freeze_base()
        self._lower_states_checked = False
