"""Uploads an adapter or a base: its files, its card, and the modules that load it without this package."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ..backbones import SHIPPED_BASES, resolve_base_path
from ..checkpoints import ADAPTER_FILE, BASE_FILE
from ..errors import LeamlError, LeamlInputError
from ..files import read_json
from .cards import CARD, RESULTS_FILE, is_folder, public_results, read_config, write_card, write_eval_results
from .peft_files import write_peft_files
from .remote_code import write_remote_code

PROCESSOR_FILES = ("*processor_config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json",
                   "chat_template*", "*.jinja", "vocab.*", "merges.txt", "*.model")  # fmt: skip
# Nothing else leaves the machine: a report shows pictures of the training data, a checkpoint is large.
PUBLISHED = ("config.json", "leaml_*.json", "leaml_*.safetensors", CARD, *PROCESSOR_FILES)
REPLACED = ("leaml_*", "peft/*", ".eval_results/*")  # deleted from the repo where this version has no such file
NAMES = ("base_name_or_path", "vision_name_or_path", "text_name_or_path")


def publish(
    folder: str | os.PathLike,
    repo_id: str,
    private: bool | None = None,
    revision: str | None = None,
    token: str | None = None,
    base: str | None = None,
    message: str | None = None,
) -> dict[str, Any]:
    """
    Uploads a saved model; a broken upload goes on where it broke off when it is called again.

    Args:
        folder (`str` or `PathLike`): holds an adapter or a base, or is the name of a shipped base.
        repo_id (`str`): `"name"` or `"owner/name"` on the Hub; made if it is not there.
        private (`bool`, *optional*): whether a new repo is private; defaults to what its owner has set.
        revision (`str`, *optional*): branch; made if it is not there. Defaults to the main one.
        token (`str`, *optional*): defaults to `HF_TOKEN`, or that of `hf auth login`.
        base (`str`, *optional*): Hub id of the adapter's base, where it is not known by one yet.
        message (`str`, *optional*): of the commit.

    Returns:
        `dict`: `repo` (its full id), `url`, `revision`, `commit`, `files` and `bytes`.

    Raises:
        [`LeamlInputError`]: if the folder holds no such model, its base has no Hub id, or the repo's name is none.
        [`LeamlError`]: if the Hub refused, or the upload broke off.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as staging:
        try:
            files = stage(folder, staging, repo_id, base)
            repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            if revision is not None:
                api.create_branch(repo_id, branch=revision, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repo_id,
                folder_path=staging,
                revision=revision,
                commit_message=message or f"Upload {Path(folder).resolve().name} with leaml",
                delete_patterns=list(REPLACED),
            )
        except HFValidationError as error:
            raise LeamlInputError(f"{repo_id} can't be the name of a repo: {error}") from error
        except LeamlError:
            raise
        except Exception as error:
            raise LeamlError(_why(error, repo_id)) from error
        size = sum(file.stat().st_size for file in files)
    return {
        "repo": repo_id,
        "url": f"{api.endpoint}/{repo_id}",
        "revision": revision or "main",
        "commit": commit.oid,
        "files": sorted(str(file.relative_to(staging)) for file in files),
        "bytes": size,
    }


def stage(folder: str | os.PathLike, staging: str | os.PathLike, repo_id: str, base: str | None = None) -> list[Path]:
    """
    Lays out what is published.

    Args:
        folder (`str` or `PathLike`): as in [`publish`].
        staging (`str` or `PathLike`): an empty folder.
        repo_id (`str`): for the card.
        base (`str`, *optional*): as in [`publish`].

    Returns:
        `list[Path]`: the files there.

    Raises:
        [`LeamlInputError`]: if the folder holds no such model or its base has no Hub id.
    """
    source, staging = Path(resolve_base_path(str(folder))), Path(staging)
    if not (source / "config.json").is_file() or not any((source / f).is_file() for f in (ADAPTER_FILE, BASE_FILE)):
        raise LeamlInputError(f"{folder} holds no LEAML model: give a folder with config.json and {ADAPTER_FILE}.")
    for file in source.iterdir():
        if file.is_file() and any(fnmatch(file.name, pattern) for pattern in PUBLISHED):
            if not any(file.resolve().is_relative_to(place) for place in _own_places(source)):
                raise LeamlInputError(f"{file} is a link to a file elsewhere: put there what is to be published.")
            shutil.copyfile(file, staging / file.name)
    _change_json(staging / "config.json", lambda config: _public_config(config, base))
    if (staging / RESULTS_FILE).exists():
        _change_json(staging / RESULTS_FILE, public_results)
    if not (staging / CARD).exists():
        write_card(staging, repo_id)
    write_eval_results(staging)
    write_peft_files(staging, read_config(staging))
    write_remote_code(staging)
    return [file for file in staging.rglob("*") if file.is_file()]


def _own_places(source: Path) -> list[Path]:
    """Where files of a folder may lie: in it, or, for a snapshot in the cache of the Hub, among its repo's blobs."""
    source = source.resolve()
    repo = source.parent.parent
    is_snapshot = source.parent.name == "snapshots" and repo.name.startswith("models--")
    return [source, repo / "blobs"] if is_snapshot else [source]


def _public_config(config: dict[str, Any], base: str | None) -> dict[str, Any]:
    name = config.get("base_name_or_path")
    if base is not None and name in SHIPPED_BASES:
        config = config | {"base_repo": base}  # for those whose installation has no such base
    elif base is not None and name is not None:
        config = config | {"base_name_or_path": base, "base_revision": None}
    for key in NAMES:
        name = config.get(key)
        if name is not None and is_folder(name):
            raise LeamlInputError(
                f"The base is the folder {name} of this machine: publish it first, and give its Hub id with --base."
                if key == "base_name_or_path"
                else f"The base was made from the folder {name} of this machine: make it from a model on the Hub."
            )
    return config


def _change_json(file: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    content = change(read_json(file))
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _why(error: Exception, repo_id: str) -> str:
    """One sentence on why the Hub has not got it, and what to do."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    reason = " ".join(str(error.__cause__ or error).split())
    if status in (401, 403):
        return f"The Hub lets nobody write to {repo_id} with this token: log in with `hf auth login` ({reason})"
    return f"The upload to {repo_id} broke off: run it again, what has arrived is not sent twice ({reason})"
