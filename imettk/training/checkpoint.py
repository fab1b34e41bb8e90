"""Checkpoints: one safetensors file each, whole or not there, newest valid one first.

A checkpoint holds what the position does not give: weights, averaged weights, optimizer moments, and plain values as
JSON in the file's header. No pickle (people share these), no zip (the platform unpacks zips). Its SHA-256 is written
last, beside it, in the format of `sha256sum`; a file without a matching one does not exist for the loader.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from imettk.errors import CheckpointError
from imettk.tracking.files import write_atomically

KEPT = 2  # so that one bad file does not cost the run
_NAME = re.compile(r"step-(\d{8})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and plain values."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose name begins with `prefix.`, without it."""
        return {name[len(prefix) + 1 :]: value for name, value in self.tensors.items() if name.startswith(f"{prefix}.")}


def save_tensors(path: Path, tensors: dict[str, Tensor], values: dict[str, Any]) -> str:
    """Write a safetensors file with `values` as JSON in its header, atomically; returns its SHA-256.

    Equal content gives equal bytes: the header has one entry, since safetensors does not keep the order of several.
    """
    content = safetensors.torch.save(
        {name: value.detach().cpu().contiguous() for name, value in tensors.items()},
        {"imettk": json.dumps(values, sort_keys=True)},
    )
    write_atomically(path, content)
    return hashlib.sha256(content).hexdigest()


def read_tensors(path: Path) -> Checkpoint:
    """Read what `save_tensors` wrote; `CheckpointError` if it is something else or damaged."""
    return _parse(path.read_bytes(), path)


def save_checkpoint(folder: Path, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Write the checkpoint of a step and remove all but the newest `KEPT`."""
    path = folder / f"step-{step:08d}.safetensors"
    digest = save_tensors(path, tensors, values)
    write_atomically(_digest_file(path), f"{digest}  {path.name}\n".encode())
    for old in _by_step([folder])[KEPT:]:
        _digest_file(old).unlink(missing_ok=True)
        old.unlink(missing_ok=True)


def load_newest(folders: Iterable[Path], warn: Callable[[str], None]) -> Checkpoint | None:
    """The valid checkpoint of the highest step in any of these folders, or None where there is no checkpoint at all.

    Args:
        warn: told of each file that is not valid and is passed over.

    Raises:
        CheckpointError: there are checkpoints, and none is valid. Nothing is removed.
    """
    paths = _by_step(folders)
    for path in paths:
        content = path.read_bytes()
        try:
            digest = _digest_file(path).read_text().split()[0]
        except (FileNotFoundError, IndexError):
            warn(f"{path} has no SHA-256 beside it (killed while saving?): passed over")
            continue
        if hashlib.sha256(content).hexdigest() != digest:
            warn(f"{path} does not match its SHA-256 (damaged): passed over")
            continue
        return _parse(content, path)
    if paths:
        raise CheckpointError(
            f"none of the {len(paths)} checkpoints is valid, the newest is {paths[0]}; "
            "remove them to start this fold again, or give --inputs with a good one"
        )
    return None


def _parse(content: bytes, path: Path) -> Checkpoint:
    try:
        tensors = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return Checkpoint(tensors, json.loads(header["__metadata__"]["imettk"]))
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is not a file of imettk, or damaged: {error}") from None


def _by_step(folders: Iterable[Path]) -> list[Path]:
    """Checkpoints in these folders, newest first."""
    found = [
        (int(match[1]), path)
        for folder in folders
        for path in sorted(folder.glob("step-*.safetensors"))
        if (match := _NAME.fullmatch(path.name))
    ]
    return [path for _, path in sorted(found, key=lambda pair: -pair[0])]


def _digest_file(path: Path) -> Path:
    return path.with_suffix(".sha256")
