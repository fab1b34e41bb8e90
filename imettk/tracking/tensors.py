"""Tensors and plain values in one safetensors file.

Not a pickle, because people share these files in public datasets; not a zip, because Kaggle unpacks zips.
"""

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
    """Tensors by name, and plain values that JSON can hold."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors whose names begin with `prefix.`, under the rest of their names."""
        return {name[len(prefix) + 1 :]: value for name, value in self.tensors.items() if name.startswith(f"{prefix}.")}


def save_tensors(path: Path, tensors: dict[str, Tensor], values: dict[str, Any]) -> str:
    """Write a file atomically, with `values` as JSON in its header; return the SHA-256 that it carries.

    The hash is that of the whole file with zeros in place of the hash. It is part of the header, so that no kill and no
    copy can separate it from the file. Equal content gives equal bytes. Writing and hashing release the GIL.

    Raises:
        OSError: it cannot be written.
    """
    content = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    text = json.dumps(values, sort_keys=True)
    # One entry only: safetensors does not keep the order of several, and the bytes would differ from run to run.
    header = {"imettk": f'{_DIGEST_KEY}{_NO_DIGEST}"{", " if values else ""}{text[1:]}'}
    with replace_atomically(path) as temporary:
        try:
            safetensors.torch.save_file(content, temporary, header)
        except safetensors.SafetensorError as error:  # how the library reports a full disk
            raise OSError(f"{path} cannot be written: {error}") from None
        with open(temporary, "r+b") as file, mmap.mmap(file.fileno(), 0) as written:
            place = _place_of_digest(written)
            assert place is not None
            digest = hashlib.sha256(written).hexdigest()
            written[place : place + len(digest)] = digest.encode()
            written.flush()
    return digest


def read_tensors(path: Path) -> TensorFile:
    """Read what `save_tensors` wrote; raise `CheckpointError` if it is damaged or another kind of file."""
    return parse_tensors(path.read_bytes(), path)


def parse_tensors(content: bytes, path: Path, *, hashed: bool = False) -> TensorFile:
    """Read what `save_tensors` wrote from a file's content.

    Args:
        path: the file, for error messages.
        hashed: True if the content has been compared with its SHA-256 already.
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
    """Read only the plain values, not the tensors."""
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
    """Return the plain values of a header's entry, without the hash."""
    values = json.loads(text)
    values.pop("sha256", None)
    return values
