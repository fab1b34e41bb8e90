"""JSON files that are whole even after a kill, and hashes of files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imettk.errors import MismatchError
from imettk.files import write_atomically


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON, atomically."""
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def read_json(path: Path, *, needs: Sequence[str] = ()) -> Any:
    """Read a JSON object; return None if there is no such file.

    Args:
        needs: keys that the object must have.

    Raises:
        MismatchError: the file is not a JSON object, or lacks a key.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise MismatchError(f"{path} is damaged, it is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise MismatchError(f"{path} is damaged, it holds {json.dumps(content)[:40]} instead of a JSON object")
    if missing := [name for name in needs if name not in content]:
        raise MismatchError(f"{path} is damaged, it lacks {', '.join(missing)}")
    return content


def sha256(path: Path) -> str:
    """Return the hex digest of a file's content, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
