"""Files of one JSON object a line that a killed run goes on with."""

import json
import os
from pathlib import Path
from typing import Any


def read_journal(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Entries in their order, without a line cut off by a kill; none where there is no file."""
    path, entries = Path(path), []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return entries


def append_journal(path: str | os.PathLike, entry: dict[str, Any]) -> None:
    """Adds a line, on its own even where the last one was cut off."""
    with Path(path).open("a+") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        file.write("\n" * (file.read() not in ("", "\n")) + json.dumps(entry) + "\n")
