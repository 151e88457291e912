"""Reads the files of a saved model: JSON and safetensors, neither of which can hold code, and nothing else; and writes
files so that they are whole or not there."""

import errno
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from .errors import LeamlError, LeamlInputError

if TYPE_CHECKING:
    import numpy as np
    import torch

PARTIAL = "_partial"  # folder of files that are not whole yet; uploads leave out what begins with "_"
FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def telling_if_full(folder: Path) -> Iterator[None]:
    """
    Inside the `with` block a full disk is one sentence.

    Args:
        folder (`Path`): where files are written.

    Raises:
        [`LeamlError`]: if there is no space left there.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        told = str(error)  # safetensors' errors have no number; PyTorch's writer names only itself
        is_full = getattr(error, "errno", None) in FULL or any(f"os error {number})" in told for number in FULL)
        if is_full or "inline_container" in told:
            raise LeamlError(
                f"The disk of {folder} is full: what was saved there before is as it was; free some space and go on."
            ) from error
        raise


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """
    Gives a folder for new files, which are moved to their places in `folder` when all of them are written.

    Args:
        folder (`Path`): made if it is not there; what it holds stays as it is if writing fails.

    Raises:
        [`LeamlError`]: if the disk is full.
    """
    partial = folder / PARTIAL
    with telling_if_full(folder):
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
        try:
            partial.mkdir(parents=True)
            yield partial
            for file in [path for path in partial.rglob("*") if path.is_file()]:
                place = folder / file.relative_to(partial)
                place.parent.mkdir(parents=True, exist_ok=True)
                file.replace(place)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def read_bytes(file: Path) -> bytes:
    """
    The content of a file.

    Args:
        file (`Path`): a regular one, or a link to one, as in the cache of the Hub.

    Returns:
        `bytes`.

    Raises:
        [`LeamlInputError`]: if there is none; a folder or a pipe is no file to read.
    """
    _check_is_file(file)
    return file.read_bytes()


def read_json(file: Path) -> dict[str, Any]:
    """
    The JSON object in a file.

    Args:
        file (`Path`): in UTF-8.

    Returns:
        `dict[str, Any]`.

    Raises:
        [`LeamlInputError`]: if there is no such file or it holds anything else: it is cut short, names a value twice,
            is nested too deep, or holds text or numbers that can't be written again.
    """
    content = read_bytes(file)
    try:
        found = json.loads(content.decode("utf-8"), object_pairs_hook=_unique)
        json.dumps(found, ensure_ascii=False).encode("utf-8")  # fails on one half of a surrogate pair
    except (ValueError, RecursionError) as error:
        raise damaged(file) from error
    if not isinstance(found, dict):
        raise damaged(file)
    return found


def read_tensors(file: Path) -> "dict[str, torch.Tensor]":
    """
    The tensors in a file.

    Args:
        file (`Path`): in the safetensors format.

    Returns:
        `dict[str, torch.Tensor]`: by name.

    Raises:
        [`LeamlInputError`]: if there is no such file, or it is damaged or of another format.
    """
    from safetensors.torch import load_file

    _check_is_file(file)
    try:
        return load_file(file)
    except (SafetensorError, KeyError) as error:  # KeyError: a number format that PyTorch lacks
        raise damaged(file) from error


def parse_arrays(content: bytes, file: Path) -> "dict[str, np.ndarray]":
    """
    The arrays in the content of a file.

    Args:
        content (`bytes`): in the safetensors format.
        file (`Path`): where it is from, for messages.

    Returns:
        `dict[str, np.ndarray]`: by name; each of finite floating-point numbers.

    Raises:
        [`LeamlInputError`]: if it is damaged or of another format.
    """
    import numpy as np
    from safetensors.numpy import load

    try:
        arrays = load(content)
    except (SafetensorError, KeyError) as error:  # KeyError: a number format that NumPy lacks
        raise damaged(file) from error
    if not all(array.dtype.kind == "f" and np.isfinite(array).all() for array in arrays.values()):
        raise damaged(file)
    return arrays


def read_checked(folder: Path, config_name: str, tensors_name: str, version: int) -> "tuple[dict, dict]":
    """
    Reads a JSON object and a file of arrays that were saved together.

    Args:
        folder (`Path`): holds both.
        config_name (`str`): of the JSON file; its object has `format`, and in `sha256` the [`digest`] of both.
        tensors_name (`str`): of the safetensors file.
        version (`int`): the format that can be read.

    Returns:
        `tuple[dict, dict]`: the object without the checksum, and the arrays by name.

    Raises:
        [`LeamlInputError`]: if a file is missing, cut short or changed, or of another format.
    """
    tensors, config = read_bytes(folder / tensors_name), read_json(folder / config_name)
    if config.get("format") != version:
        raise LeamlInputError(
            f"Update leaml_hf or save the adapter again: {folder / config_name} has format {config.get('format')}, "
            f"but this version reads format {version}."
        )
    expected = config.pop("sha256", None)
    try:
        is_whole = expected == digest(config, tensors)
    except ValueError as error:
        raise damaged(folder / config_name) from error
    if not is_whole:
        raise damaged(folder / tensors_name)
    return config, parse_arrays(tensors, folder / tensors_name)


def digest(config: Mapping[str, Any], tensors: bytes) -> str:
    """
    The checksum of a JSON object and a file of tensors that belong together.

    Args:
        config (`Mapping`): the object, without the checksum.
        tensors (`bytes`): the content of the other file.

    Returns:
        `str`: 64 hexadecimal digits.

    Raises:
        `ValueError`: if a number is not finite.
    """
    canonical = json.dumps(config, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode() + b"\0" + tensors).hexdigest()


def damaged(file: Path) -> LeamlInputError:
    """
    The error for a file that isn't what it should be.

    Args:
        file (`Path`): that file.

    Returns:
        [`LeamlInputError`]: to raise.
    """
    return LeamlInputError(f"Fetch or save {file} again: it is damaged or cut short.")


def _check_is_file(file: Path) -> None:
    if not file.is_file():
        raise LeamlInputError(f"Put {file.name} back into {file.parent}: it is missing there.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; readers differ in which of two values for one name they take, so there must be one."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found
