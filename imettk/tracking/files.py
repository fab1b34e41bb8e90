"""JSON files that a kill at any moment leaves whole, and hashes of files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from imettk.errors import MismatchError
from imettk.files import write_atomically


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON, atomically."""
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read JSON, or None where there is no such file; `MismatchError` where it holds something else."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise MismatchError(f"{path} is damaged, it holds no JSON: {error}") from None


def sha256(path: Path) -> str:
    """Hex digest of a file's content, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
