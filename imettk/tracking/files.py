"""Files that a kill at any moment leaves whole."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imettk.errors import MismatchError


def write_atomically(path: Path, content: bytes) -> None:
    """Write under another name, flush to the disk, rename: a reader finds the old content or the new, never a part."""
    with replace_atomically(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Gives the name to write the new content under; it takes the place of `path` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
