"""Tensors and plain values in one safetensors file: no pickle (people share these), no zip (Kaggle unpacks zips)."""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from imettk.errors import CheckpointError
from imettk.tracking.files import replace_atomically


@dataclass(frozen=True)
class TensorFile:
    """Tensors by name, and plain values."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose name begins with `prefix.`, without it."""
        return {name[len(prefix) + 1 :]: value for name, value in self.tensors.items() if name.startswith(f"{prefix}.")}


def save_tensors(
    path: Path,
    tensors: dict[str, Tensor],
    values: dict[str, Any],
    *,
    before: Callable[[str], None] = lambda digest: None,
) -> str:
    """Write a file with `values` as JSON in its header, atomically; returns its SHA-256.

    Equal content gives equal bytes: the header has one entry, since safetensors does not keep the order of several.
    Writing and hashing leave Python's lock to other threads.

    Args:
        before: told the SHA-256 when all is on the disk, before the file takes its place.

    Raises:
        OSError: it cannot be written.
    """
    content = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    header = {"imettk": json.dumps(values, sort_keys=True)}
    with replace_atomically(path) as temporary:
        try:
            safetensors.torch.save_file(content, temporary, header)
        except safetensors.SafetensorError as error:  # what a full disk is to the library
            raise OSError(f"{path} cannot be written: {error}") from None
        with open(temporary, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as written:
            digest = hashlib.sha256(written).hexdigest()
        before(digest)
    return digest


def read_tensors(path: Path) -> TensorFile:
    """Read what `save_tensors` wrote; `CheckpointError` if it is something else or damaged."""
    return parse_tensors(path.read_bytes(), path)


def parse_tensors(content: bytes, path: Path) -> TensorFile:
    """The same from a file's content; `path` is what an error names."""
    try:
        tensors = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return TensorFile(tensors, json.loads(header["__metadata__"]["imettk"]))
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is not a file of imettk, or damaged: {error}") from None


def read_values(path: Path) -> dict[str, Any]:
    """The plain values alone, without reading the tensors."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return json.loads(file.metadata()["imettk"])
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not a file of imettk, or damaged: {error}") from None
