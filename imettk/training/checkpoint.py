"""Checkpoints: one safetensors file each, either whole or absent, written in a thread beside the training.

A checkpoint holds what the position does not give: weights, averaged weights, optimizer moments, and plain values. It
carries its own SHA-256 (see `save_tensors`). Versions up to 0.1.0 wrote that beside it, in the format of `sha256sum`:
a file that has lost it is still read, with a warning, if header, size and weights agree.
"""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imettk.errors import CheckpointError
from imettk.tracking.tensors import TensorFile, all_finite, carries_digest, matches_digest, parse_tensors, save_tensors

KEPT = 2  # so that one damaged file does not cost the run
SPARE_BYTES = 64 << 20  # left free on the disk, for journals and predictions
_NAME = re.compile(r"step-(\d{8})\.safetensors")


@dataclass(frozen=True)
class Checkpoints:
    """Folder, header and search of a fold's checkpoints.

    Attributes:
        folder: receives them.
        values: plain values that each of them carries, such as the recipe's fingerprint.
        find: returns the newest valid one that meets a condition, in any folder of the run, or None.
    """

    folder: Path
    values: dict[str, Any]
    find: Callable[[Callable[[TensorFile], bool]], TensorFile | None]


class CheckpointWriter:
    """Writes checkpoints of one fold in a thread; the caller waits only while tensors are copied to host memory.

    Args:
        folder: of the checkpoints.
        on_done: receives the step and the seconds that writing took; called from the thread.
        on_failure: receives the step and the error; older checkpoints are untouched. Called from the thread.
    """

    def __init__(
        self, folder: Path, *, on_done: Callable[[int, float], None], on_failure: Callable[[int, OSError], None]
    ) -> None:
        self._folder, self._on_done, self._on_failure = folder, on_done, on_failure
        self._host: dict[str, Tensor] = {}
        self._thread: threading.Thread | None = None
        self._fault: Exception | None = None
        # Left by a process that was killed while writing: our temporary files, and those of safetensors itself.
        for left in (*folder.glob(".*.tmp"), *folder.glob(".tmp*")):
            left.unlink(missing_ok=True)

    def write(self, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Copy the tensors, and write them while the caller continues; an earlier checkpoint is waited for first."""
        self.wait()
        self._host = _copy_to_host(tensors, self._host)
        self._thread = threading.Thread(target=self._run, args=(step, self._host, values), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until the current checkpoint, if any, is on the disk; raise here what its thread raised."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault

    def _run(self, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        started = time.monotonic()
        try:
            bad = [name for name, value in tensors.items() if name.startswith("model.") and not all_finite([value])]
            if bad:
                # A NaN gradient that nothing clips reaches the weights; the next losses will show it, and roll back.
                raise OSError(f"{bad[0]} is not finite")
            save_checkpoint(self._folder, step, tensors, values)
            self._on_done(step, time.monotonic() - started)
        except OSError as error:
            self._on_failure(step, error)
        except Exception as error:
            self._fault = error


def save_checkpoint(folder: Path, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Write the checkpoint of a step, keep `KEPT` - 1 older ones, and remove all others.

    Checkpoints of later steps belong to a course that was given up: they are damaged, or older than a rollback.

    Raises:
        OSError: it cannot be written, or the disk has no room for it; at least one older one is still there.
    """
    make_room(folder, sum(value.nbytes for value in tensors.values()))
    path = folder / f"step-{step:08d}.safetensors"
    save_tensors(path, tensors, values)
    _digest_file(path).unlink(missing_ok=True)  # an earlier version's, which would not match the new file
    paths = _by_step([folder])
    place = paths.index(path)
    # Only valid ones count: two damaged files would otherwise push out the last good one.
    older = [other for other in paths[place + 1 :] if is_valid(other)][: KEPT - 1]
    _remove([other for other in paths if other != path and other not in older])


def load_newest(
    folders: Iterable[Path], warn: Callable[[str], None], *, fits: Callable[[TensorFile], bool] = lambda _: True
) -> TensorFile | None:
    """Return the valid checkpoint of the highest step in any of these folders, or None if there is no checkpoint.

    Args:
        warn: receives a line about each file that is not valid and is skipped.
        fits: whether a valid checkpoint is acceptable; None is returned if there are valid ones but none is.

    Raises:
        CheckpointError: there are checkpoints, and none is valid. Nothing is removed.
    """
    paths = _by_step(folders)
    num_valid = 0
    for path in paths:
        content = path.read_bytes()  # whole: its hash decides, and reading it twice would take twice as long
        if fault := _fault(path, content):
            warn(f"{path} {fault}: skipped")
            continue
        if not carries_digest(content) and not _digests(path):
            warn(f"{path} has lost its SHA-256; header, size and weights agree, so it is taken")
        num_valid += 1
        if fits(checkpoint := parse_tensors(content, path, hashed=True)):
            return checkpoint
    if paths and num_valid == 0:
        raise CheckpointError(
            f"none of the {len(paths)} checkpoints is valid, the newest is {paths[0]}; "
            "remove them to start this fold again, or give --inputs with a good one"
        )
    return None


def _copy_to_host(tensors: dict[str, Tensor], host: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors to host memory, into the memory of earlier copies (`host`) where shapes agree."""
    copies: dict[str, Tensor] = {}
    for name, value in tensors.items():
        old = host.get(name)
        if old is None or old.shape != value.shape or old.dtype != value.dtype or old.stride() != value.stride():
            old = torch.empty_like(value, device="cpu", pin_memory=value.is_cuda)
        copies[name] = old.copy_(value.detach(), non_blocking=True)
    # The next step overwrites the tensors: the copies must be complete when this returns.
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
    return copies


def _fault(path: Path, content: bytes) -> str | None:
    """Return what is wrong with a checkpoint of this content, or None."""
    own = matches_digest(content)
    digests = _digests(path) if own is None else []
    if own is False or (digests and hashlib.sha256(content).hexdigest() not in digests):
        return "does not match its SHA-256 (damaged)"
    if own or digests:
        return None
    try:
        tensors = parse_tensors(content, path, hashed=True).part("model")
    except CheckpointError:
        return "is short or damaged"
    return None if all_finite(tensors.values()) else "has no SHA-256, and weights that are not finite"


def is_valid(path: Path) -> bool:
    """Return whether a file is a whole checkpoint; it is read again only if time or size have changed."""
    status = path.stat()
    return _is_valid_since(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)  # writing a checkpoint asks about the one before
def _is_valid_since(path: Path, changed_at: int, size: int) -> bool:
    return _fault(path, path.read_bytes()) is None


def _digests(path: Path) -> list[str]:
    """Return what versions up to 0.1.0 wrote beside a checkpoint: its SHA-256, and that of the file it replaced."""
    try:
        lines = _digest_file(path).read_text(errors="replace").splitlines()
    except OSError:
        return []
    return [line.split()[0] for line in lines if line.strip()]


def make_room(folder: Path, num_bytes: int) -> None:
    """Remove all but the newest valid checkpoint if the next file would not fit beside them.

    Raises:
        OSError: there is still no room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    needed = num_bytes + SPARE_BYTES
    if shutil.disk_usage(folder).free < needed:
        paths = _by_step([folder])
        newest = next(filter(is_valid, paths), None)
        _remove([path for path in paths if path != newest])
    if (free := shutil.disk_usage(folder).free) < needed:
        raise OSError(errno.ENOSPC, f"{folder} has {free >> 20} MiB free, {needed >> 20} MiB are needed")


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        _digest_file(path).unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def _by_step(folders: Iterable[Path]) -> list[Path]:
    """Return the checkpoints in these folders, newest first."""
    found = [
        (int(match[1]), path)
        for folder in folders
        for path in sorted(folder.glob("step-*.safetensors"))
        if (match := _NAME.fullmatch(path.name))
    ]
    return [path for _, path in sorted(found, key=lambda pair: -pair[0])]


def _digest_file(path: Path) -> Path:
    return path.with_suffix(".sha256")
