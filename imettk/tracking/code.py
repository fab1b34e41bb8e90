"""A hash of the package's sources, so that a run says which code trained it."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable


@functools.cache
def code_version() -> str:
    """Return 8 hex digits for the package's sources, the same from a folder and from the pack's zip."""
    digest = hashlib.sha256()
    for name, file in sorted(_sources(files("imettk"), ""), key=lambda source: source[0]):
        digest.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:8]


def _sources(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    """Yield the path below the package and the file of each module."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _sources(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".py"):
            yield prefix + entry.name, entry
