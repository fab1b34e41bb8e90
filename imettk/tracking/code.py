"""Which code ran: a hash of the package's sources."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable


@functools.cache
def code_version() -> str:
    """8 hex digits of the package's sources, the same from a folder and from the pack's zip."""
    digest = hashlib.sha256()
    for name, file in sorted(_sources(files("imettk"), ""), key=lambda one: one[0]):
        digest.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:8]


def _sources(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for one in folder.iterdir():
        if one.is_dir():
            yield from _sources(one, f"{prefix}{one.name}/")
        elif one.name.endswith(".py"):
            yield prefix + one.name, one
