"""Checkpoints: one safetensors file each, whole or not there, newest valid one first, written beside the training.

A checkpoint holds what the position does not give: weights, averaged weights, optimizer moments, and plain values. It
carries its own SHA-256 (see `save_tensors`). Versions up to 0.1.0 wrote that beside it, in the format of `sha256sum`:
where a file has lost it, it is read all the same if header, size and weights agree, with a warning.
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

KEPT = 2  # so that one bad file does not cost the run
SPARE_BYTES = 64 << 20  # left free on the disk, for journals and predictions
_NAME = re.compile(r"step-(\d{8})\.safetensors")


@dataclass(frozen=True)
class Checkpoints:
    """A fold's checkpoints.

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
        on_done: told the step and the seconds that writing took; called from the thread.
        on_failure: told the step and the error; older checkpoints are as they were. Called from the thread.
    """

    def __init__(
        self, folder: Path, *, on_done: Callable[[int, float], None], on_failure: Callable[[int, OSError], None]
    ) -> None:
        self._folder, self._on_done, self._on_failure = folder, on_done, on_failure
        self._host: dict[str, Tensor] = {}
        self._thread: threading.Thread | None = None
        self._fault: Exception | None = None
        # By a process that was killed while writing: ours, and what safetensors writes before it renames it to ours.
        for left in (*folder.glob(".*.tmp"), *folder.glob(".tmp*")):
            left.unlink(missing_ok=True)

    def write(self, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Copy the tensors, and write them while the caller goes on; waits for an earlier checkpoint first."""
        self.wait()
        self._host = _copy_to_host(tensors, self._host)
        self._thread = threading.Thread(target=self._run, args=(step, self._host, values), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return when the checkpoint in hand, if any, is on the disk; a fault of the program in it is raised here."""
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
                # A gradient that is no number gets by where nothing clips it; the next losses will show it.
                raise OSError(f"{bad[0]} is not finite")
            save_checkpoint(self._folder, step, tensors, values)
            self._on_done(step, time.monotonic() - started)
        except OSError as error:
            self._on_failure(step, error)
        except Exception as error:
            self._fault = error


def save_checkpoint(folder: Path, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Write the checkpoint of a step, and remove older ones but `KEPT` - 1, and later ones.

    Later ones are those of a future that was given up: damaged, or before a rollback.

    Raises:
        OSError: it cannot be written, or the disk has no room for it; at least one older one is still there.
    """
    make_room(folder, sum(value.nbytes for value in tensors.values()))
    path = folder / f"step-{step:08d}.safetensors"
    save_tensors(path, tensors, values)
    _digest_file(path).unlink(missing_ok=True)  # of an earlier version's file of this step
    paths = _by_step([folder])
    place = paths.index(path)
    older = [other for other in paths[place + 1 :] if is_valid(other)][: KEPT - 1]
    _remove([other for other in paths if other != path and other not in older])


def load_newest(
    folders: Iterable[Path], warn: Callable[[str], None], *, fits: Callable[[TensorFile], bool] = lambda _: True
) -> TensorFile | None:
    """The valid checkpoint of the highest step in any of these folders, or None where there is no checkpoint at all.

    Args:
        warn: told of each file that is not valid and is passed over.
        fits: says whether a valid one will do; None is returned where there are valid ones and none does.

    Raises:
        CheckpointError: there are checkpoints, and none is valid. Nothing is removed.
    """
    paths = _by_step(folders)
    num_valid = 0
    for path in paths:
        content = path.read_bytes()
        if fault := _fault(path, content):
            warn(f"{path} {fault}: passed over")
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
    """Copies in host memory; `host` are earlier copies, whose memory is used again where it fits."""
    copies: dict[str, Tensor] = {}
    for name, value in tensors.items():
        old = host.get(name)
        if old is None or old.shape != value.shape or old.dtype != value.dtype or old.stride() != value.stride():
            old = torch.empty_like(value, device="cpu", pin_memory=value.is_cuda)
        copies[name] = old.copy_(value.detach(), non_blocking=True)
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return copies


def _fault(path: Path, content: bytes) -> str | None:
    """What is wrong with a checkpoint of this content, or None."""
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
    """Whether a file is a whole checkpoint; one that is as it was when it was last looked at is not read again."""
    status = path.stat()
    return _is_valid_since(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)  # the one before is looked at whenever a checkpoint is written
def _is_valid_since(path: Path, changed_at: int, size: int) -> bool:
    return _fault(path, path.read_bytes()) is None


def _digests(path: Path) -> list[str]:
    """What a version up to 0.1.0 wrote beside a checkpoint: its SHA-256, and that of the file it was replacing."""
    try:
        lines = _digest_file(path).read_text(errors="replace").splitlines()
    except OSError:
        return []
    return [line.split()[0] for line in lines if line.strip()]


def make_room(folder: Path, num_bytes: int) -> None:
    """Free the disk of all but the newest valid checkpoint where the next file would not fit beside them.

    Raises:
        OSError: there is no room even so.
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
