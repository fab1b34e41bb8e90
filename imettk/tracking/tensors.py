"""Tensors and plain values in one safetensors file: no pickle (people share these), no zip (Kaggle unpacks zips)."""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from imettk.errors import CheckpointError
from imettk.files import replace_atomically

_DIGEST_KEY, _NO_DIGEST = '{"sha256": "', "0" * 64


@dataclass(frozen=True)
class TensorFile:
    """Tensors by name, and plain values."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose name begins with `prefix.`, without it."""
        return {name[len(prefix) + 1 :]: value for name, value in self.tensors.items() if name.startswith(f"{prefix}.")}


def save_tensors(path: Path, tensors: dict[str, Tensor], values: dict[str, Any]) -> str:
    """Write a file with `values` as JSON in its header, atomically; returns the SHA-256 that it carries.

    The hash is that of the whole file with zeros in its own place. It stands in the header, so no kill and no copy
    parts it from what it vouches for. Equal content gives equal bytes: the header has one entry, since safetensors
    does not keep the order of several. Writing and hashing leave Python's lock to other threads.

    Raises:
        OSError: it cannot be written.
    """
    content = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    text = json.dumps(values, sort_keys=True)
    header = {"imettk": f'{_DIGEST_KEY}{_NO_DIGEST}"{", " if values else ""}{text[1:]}'}
    with replace_atomically(path) as temporary:
        try:
            safetensors.torch.save_file(content, temporary, header)
        except safetensors.SafetensorError as error:  # what a full disk is to the library
            raise OSError(f"{path} cannot be written: {error}") from None
        with open(temporary, "r+b") as file, mmap.mmap(file.fileno(), 0) as written:
            place = _place_of_digest(written)
            assert place is not None
            digest = hashlib.sha256(written).hexdigest()
            written[place : place + len(digest)] = digest.encode()
            written.flush()
    return digest


def read_tensors(path: Path) -> TensorFile:
    """Read what `save_tensors` wrote; `CheckpointError` if it is something else or damaged."""
    return parse_tensors(path.read_bytes(), path)


def parse_tensors(content: bytes, path: Path, *, hashed: bool = False) -> TensorFile:
    """Read the same from a file's content.

    Args:
        path: what an error names.
        hashed: the content has been compared with its SHA-256 already.
    """
    if not hashed and matches_digest(content) is False:
        raise CheckpointError(f"{path} is damaged, its content does not match the SHA-256 in it")
    try:
        tensors = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return TensorFile(tensors, _plain(header["__metadata__"]["imettk"]))
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is not a file of imettk, or damaged: {error}") from None


def read_values(path: Path) -> dict[str, Any]:
    """The plain values alone, without reading the tensors."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return _plain(file.metadata()["imettk"])
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not a file of imettk, or damaged: {error}") from None


def matches_digest(content: bytes) -> bool | None:
    """Return whether a file's content matches the SHA-256 in it; None where it carries none (up to version 0.1.0)."""
    place = _place_of_digest(content)
    if place is None:
        return None
    end = place + len(_NO_DIGEST)
    view = memoryview(content)
    digest = hashlib.sha256(view[:place])
    digest.update(_NO_DIGEST.encode())
    digest.update(view[end:])
    return digest.hexdigest().encode() == content[place:end]


def carries_digest(content: bytes) -> bool:
    """Return whether a file's content holds a SHA-256 of itself, without comparing it."""
    return _place_of_digest(content) is not None


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Return whether no number in any of the tensors is infinite or NaN."""
    return all(bool(value.isfinite().all()) for value in tensors if value.is_floating_point())


def _place_of_digest(content: bytes | mmap.mmap) -> int | None:
    """Return the offset of a file's SHA-256: the first of the plain values, which come first in the header."""
    key = json.dumps({"__metadata__": {"imettk": _DIGEST_KEY}}, separators=(",", ":"))[: -len('"}}')].encode()
    return 8 + len(key) if content[8 : 8 + len(key)] == key else None


def _plain(text: str) -> dict[str, Any]:
    values = json.loads(text)
    values.pop("sha256", None)
    return values
