"""Makes the Auto classes of transformers know LEAML, without importing PyTorch before an Auto class is used.

The Auto classes live in three modules of transformers whose import costs seconds. Each is matched with the module of
this package that it has to know. A finder that wraps the loading of these modules and of this package's own, and of
nothing else, registers a pair as soon as both have been executed, in whichever order that happens.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


def _register_config() -> None:
    from transformers.models.auto.configuration_auto import AutoConfig

    from .configuration_leaml import LeamlConfig

    AutoConfig.register(LeamlConfig.model_type, LeamlConfig, exist_ok=True)


def _register_models() -> None:
    from transformers.models.auto import modeling_auto

    from .configuration_leaml import LeamlConfig
    from .modeling_leaml import LeamlForVisualQA

    for auto_class in (
        modeling_auto.AutoModel,
        modeling_auto.AutoModelForImageTextToText,
        modeling_auto.AutoModelForVisualQuestionAnswering,
    ):
        auto_class.register(LeamlConfig, LeamlForVisualQA, exist_ok=True)


def _register_processor() -> None:
    from transformers.models.auto.processing_auto import AutoProcessor

    from .configuration_leaml import LeamlConfig
    from .processing_leaml import LeamlProcessor

    AutoProcessor.register(LeamlConfig, LeamlProcessor, exist_ok=True)


_PAIRS: tuple[tuple[str, str, Callable[[], None]], ...] = (
    ("transformers.models.auto.configuration_auto", f"{__package__}.configuration_leaml", _register_config),
    ("transformers.models.auto.modeling_auto", f"{__package__}.modeling_leaml", _register_models),
    ("transformers.models.auto.processing_auto", f"{__package__}.processing_leaml", _register_processor),
)
_watched = {auto_module for auto_module, _, _ in _PAIRS}
_executed: set[str] = set()
_registered: set[str] = set()
_own_being_executed: list[str] = []


def _after_import(name: str) -> None:
    """Registers the pairs that are complete, and imports the own half of the others unless a module of this package is
    only half there, which it may need: what is left then is done when that module is."""
    _executed.add(name)
    if _own_being_executed:
        return
    for auto_module, own_module, register in _PAIRS:
        if auto_module not in _executed or auto_module in _registered:
            continue
        importlib.import_module(own_module)
        if auto_module not in _registered:  # else the import has done it
            _registered.add(auto_module)
            register()


class _WatchImports(MetaPathFinder):
    """Finds the watched modules as usual and runs the registration right after they have been executed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        is_own = fullname.startswith(f"{__package__}.")
        spec = PathFinder.find_spec(fullname, path) if is_own or fullname in _watched else None
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            if is_own:
                _own_being_executed.append(fullname)
            try:
                execute(module)
            finally:
                if is_own:
                    _own_being_executed.remove(fullname)
            _after_import(fullname)

        spec.loader.exec_module = execute_and_register
        return spec


def register_auto_classes() -> None:
    """Registers LEAML with the Auto classes: now where they are loaded, later where they are not."""
    if any(isinstance(finder, _WatchImports) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _WatchImports())
    for auto_module, _, _ in _PAIRS:
        if auto_module in sys.modules:
            _after_import(auto_module)
