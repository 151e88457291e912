"""Tensors that are computed once: in memory, or in a folder that later runs and other processes share."""

import os
import threading
from functools import cache
from hashlib import sha256
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..files import telling_if_full

MAX_BYTES = 2 * 2**30  # in memory; what comes later is computed whenever it is asked for


class FeatureStore:
    """
    Tensors by name. In a folder each name is a safetensors file, which is written beside its place and moved there
    when it is whole, and memory-mapped when it is read: a killed run goes on, and several may share it.

    Args:
        folder (`str` or `Path`, *optional*): defaults to keeping all in memory.
        max_bytes (`int`, *optional*): kept in memory at most.
    """

    def __init__(self, folder: str | os.PathLike | None = None, max_bytes: int = MAX_BYTES) -> None:
        self.folder = None if folder is None else Path(folder)
        self._room = max_bytes
        self._kept: dict[str, dict[str, Tensor]] = {}

    def get(self, name: str) -> dict[str, Tensor] | None:
        """The tensors of a name; `None` if they are not there, or their file is damaged."""
        if self.folder is None:
            return self._kept.get(name)
        path = self._path(name)
        try:
            return load_file(path) if path.exists() else None
        except SafetensorError:
            return None

    def put(self, name: str, tensors: dict[str, Tensor]) -> None:
        """Keeps tensors of the CPU under a name, where there is room."""
        if self.folder is not None:
            path = self._path(name)
            with telling_if_full(self.folder):
                path.parent.mkdir(parents=True, exist_ok=True)
                partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
                save_file({part: tensor.contiguous() for part, tensor in tensors.items()}, partial)
                partial.replace(path)
            return
        room = self._room + _size(self._kept.get(name, {}))
        if (size := _size(tensors)) <= room:
            self._room = room - size
            self._kept[name] = {part: tensor.clone() for part, tensor in tensors.items()}

    def _path(self, name: str) -> Path:
        digest = sha256(name.encode()).hexdigest()
        return self.folder / digest[:2] / f"{digest}.safetensors"


def _size(tensors: dict[str, Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())


@cache
def content_key(key: str) -> str:
    """A picture's key from its content: that of a file's bytes, where the key is its path."""
    return sha256(Path(key).read_bytes()).hexdigest() if os.path.isabs(key) and os.path.exists(key) else key
